//! Verification: both ends are read again, through host memory, and compared block by block.

use std::ops::ControlFlow;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, Digest};

use crate::Error;
use crate::platform::{Attachment, Client, Done, Op, Platform, Ticket};
use crate::transfer::Job;
use crate::transfer::patience::Patience;

/// The first block that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// Its number, from 0.
    pub block: u64,
    /// Where it begins, in bytes from the job's start.
    pub at: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The source's checksum: CRC-64/NVMe over its position and bytes.
    pub source: u64,
    /// The sink's.
    pub sink: u64,
}

/// Reads the job's bytes from both ends and compares each block by a checksum over its position and
/// contents. `None` if all are equal.
///
/// The way is another than the transfer's own: through host memory, so that an error of the path, or
/// data that never left a cache on it, shows. Before each read the memory gets bytes that are others for each end, so
/// that a read which succeeds and brings nothing shows, too. If `watch` breaks off, and what is read does not come in
/// half a second, that is the end.
///
/// # Errors
/// Whatever reading says; [`Error::Interrupted`].
pub fn verify(
    platform: &dyn Platform,
    source: &mut dyn Client,
    sink: &mut dyn Client,
    job: Job,
    watch: &dyn Fn() -> ControlFlow<()>,
) -> Result<Option<Mismatch>, Error> {
    job.check()?;
    let host = platform.host_memory()?;
    let mut sides = [
        Side::new(platform, source, host.as_ref(), job.from, job.block, POISONS[0])?,
        Side::new(platform, sink, host.as_ref(), job.to, job.block, POISONS[1])?,
    ];
    for block in 0..job.len.div_ceil(job.block) {
        let at = block * job.block;
        let len = job.block.min(job.len - at);
        for side in &mut sides {
            side.begin(at, len)?;
        }
        let [source, sink] = sides.each_mut().map(|side| side.finish(at, len, watch));
        let (source, sink) = (source?, sink?);
        if source != sink {
            return Ok(Some(Mismatch { block, at, len, source, sink }));
        }
    }
    platform.check().map(|()| None)
}

/// So many bytes of a block are looked at at a time: beside the two blocks themselves no more memory is taken.
const PIECE: u64 = 64 << 10;

/// What memory has before a block of the source, and of the sink, is read into it.
const POISONS: [u8; 2] = [0xa5, 0x5a];

/// An end that is read again.
struct Side<'a> {
    platform: &'a dyn Platform,
    client: &'a mut dyn Client,
    attachment: Attachment,
    base: u64,
    /// What the memory has before a block is read.
    poison: u8,
    buffer: Vec<u8>,
    done: Vec<Done>,
}

impl<'a> Side<'a> {
    fn new(
        platform: &'a dyn Platform,
        client: &'a mut dyn Client,
        host: &dyn crate::platform::Provider,
        base: u64,
        block: u64,
        poison: u8,
    ) -> Result<Self, Error> {
        let memory = Arc::new(host.alloc(block)?);
        let attachment = client.attach(&memory)?;
        let (buffer, done) = (vec![0; usize::try_from(block.min(PIECE)).unwrap_or(0)], Vec::new());
        Ok(Self { platform, client, attachment, base, poison, buffer, done })
    }

    /// Starts to read a block. Where the job ends within one of the client's own blocks, that is read
    /// to its end, and what is beyond the job is not looked at.
    fn begin(&mut self, at: u64, len: u64) -> Result<(), Error> {
        let len = len.next_multiple_of(self.client.capabilities().block);
        self.buffer.fill(self.poison);
        for (at, len) in pieces(len) {
            self.attachment.memory.write(at, self.buffer.get(..len).unwrap_or_default())?;
        }
        let op = Op::Fill { from: self.base + at, len };
        self.client.submit(op, &self.attachment, 0..len, Ticket(0))
    }

    /// Waits for the block; returns its checksum.
    fn finish(
        &mut self,
        at: u64,
        len: u64,
        watch: &dyn Fn() -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let mut patience = Patience::new(watch);
        while self.done.is_empty() {
            self.client.poll(&mut self.done)?;
            if !self.done.is_empty() {
                break;
            }
            if patience.is_over(self.platform.clock().now()) {
                return Err(Error::Interrupted);
            }
            self.platform.clock().relax();
        }
        for done in self.done.drain(..) {
            done.result?;
        }
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        digest.update(&at.to_le_bytes());
        for (at, len) in pieces(len) {
            let data = self.buffer.get_mut(..len).unwrap_or_default();
            self.attachment.memory.read(at, data)?;
            digest.update(data);
        }
        Ok(digest.finalize())
    }
}

/// A block in pieces: where each begins, and its length.
fn pieces(len: u64) -> impl Iterator<Item = (u64, usize)> {
    let piece = usize::try_from(PIECE).unwrap_or(usize::MAX);
    (0..len).step_by(piece).map(move |at| (at, usize::try_from((len - at).min(PIECE)).unwrap_or(0)))
}
