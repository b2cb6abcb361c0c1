//! Copies the first 512 KiB of one SSD to another, through the controller memory buffer of the first: the host sees no
//! byte of it. Then it reads both again.
//!
//! `cmb_copy` does it in a machine in software; `cmb_copy 0000:03:00.0 0000:05:00.0` on this one, once
//! `p2pdma bind take` has moved both to vfio. **What the second has there is overwritten.**

#![expect(clippy::print_stdout, reason = "this is a program")]

mod support;

use std::error::Error;
use std::sync::Arc;

use p2pdma::Duration;
use p2pdma::nvme::{Command, Controller, Namespace, QueueOptions, QueuePair, Segment};

/// Bytes of a command, and how many commands.
const BLOCK: u64 = 64 << 10;
const BLOCKS: u64 = 8;
const LIMIT: Duration = Duration::from_millis(30_000);

fn main() -> Result<(), Box<dyn Error>> {
    let (controllers, machine) = support::controllers(&["nvme0", "nvme2"])?;
    let [source, sink] = controllers.as_slice() else { return Err("two SSDs, please".into()) };
    let (source, sink) = (Ssd::open(source)?, Ssd::open(sink)?);
    if machine.is_some() {
        // A new machine's SSDs are empty.
        source.fill_with_text()?;
    }

    // The buffer as its own controller calls it, and as the other one does. The mapping asks the topology for a path,
    // and is refused without one.
    let buffer = source.controller.cmb()?.allocate(BLOCK * BLOCKS, 4096)?;
    let window = buffer.map_peer(sink.controller.function())?;
    let (inside, outside) = (buffer.segment(), window.segment());
    source.carry(Namespace::read, inside, &Arc::new(buffer))?;
    sink.carry(Namespace::write, outside, &Arc::new(window))?;

    // A status proves nothing: the bytes do.
    let (there, here) = (sink.first_bytes()?, source.first_bytes()?);
    if there != here {
        return Err("the copy differs from what was copied".into());
    }
    println!(
        "copied {} bytes from {} to {}",
        here.len(),
        source.controller.bdf(),
        sink.controller.bdf()
    );
    Ok(())
}

/// A controller, and its first namespace.
struct Ssd<'a> {
    controller: &'a Controller,
    namespace: Namespace,
}

impl<'a> Ssd<'a> {
    fn open(controller: &'a Controller) -> Result<Self, Box<dyn Error>> {
        Ok(Self { controller, namespace: controller.namespace(1)? })
    }

    /// Moves all blocks, with all commands in flight at once, and looks at how each of them ended.
    ///
    /// The memory belongs to the commands until they are over: each has a handle of it as its token, which the queue
    /// gives back with the command's completion. Where an error leaves commands in flight, the queue goes, and keeps
    /// their handles for good unless the controller says that it is done with them.
    fn carry<M>(
        &self,
        command: fn(&Namespace, u64, u32) -> Result<Command, p2pdma::nvme::Error>,
        segment: Segment,
        memory: &Arc<M>,
    ) -> Result<(), Box<dyn Error>> {
        let size = u64::from(self.namespace.format().data);
        let mut queue: QueuePair<(u64, Arc<M>)> =
            self.controller.queue_pair(&QueueOptions::entries(32))?;
        for number in 0..BLOCKS {
            let command =
                command(&self.namespace, number * BLOCK / size, u32::try_from(BLOCK / size)?)?;
            let part =
                segment.slice(number * BLOCK..(number + 1) * BLOCK).ok_or("too little memory")?;
            let token = (number, Arc::clone(memory));
            queue.submit(&command, part.into(), token).map_err(|rejected| rejected.error)?;
        }
        // One write of the doorbell for all of them: the wait rings it.
        let mut over = 0;
        while let Some(completion) = queue.wait(LIMIT)? {
            let (number, _) = completion.token;
            completion.outcome.map_err(|failure| format!("block {number}: {failure}"))?;
            over += 1;
        }
        if over == BLOCKS {
            Ok(())
        } else {
            Err(format!("{over} of {BLOCKS} were completed").into())
        }
    }

    /// What the SSD has, by way of host memory.
    fn first_bytes(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut bytes = vec![0; usize::try_from(BLOCK * BLOCKS)?];
        let buffer = Arc::new(self.controller.alloc_dma(bytes.len())?);
        self.carry(Namespace::read, Segment::from(&*buffer), &buffer)?;
        buffer.memory().read(0, &mut bytes)?;
        Ok(bytes)
    }

    fn fill_with_text(&self) -> Result<(), Box<dyn Error>> {
        let line = b"peer to peer, and no byte of it in host memory. ";
        let text: Vec<u8> =
            line.iter().copied().cycle().take(usize::try_from(BLOCK * BLOCKS)?).collect();
        let buffer = Arc::new(self.controller.alloc_dma(text.len())?);
        buffer.memory().write(0, &text)?;
        self.carry(Namespace::write, Segment::from(&*buffer), &buffer)
    }
}
