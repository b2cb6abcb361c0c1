//! The host's own ends: files, patterns, nothing. The processor copies, one block at a time.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use p2pdma_pci::Bdf;

use crate::memory::PeerMemory;
use crate::platform::{Attachment, Capabilities, Client, Done, Mapping, Op, Ticket};
use crate::{Error, pattern};

/// An end on the host.
#[derive(Debug)]
pub struct HostClient {
    content: Content,
    /// Beyond this there is nothing.
    end: u64,
    buffer: Vec<u8>,
    ended: Vec<Done>,
}

#[derive(Debug)]
enum Content {
    File {
        file: File,
        name: String,
        len: u64,
    },
    Zero,
    Null,
    Pattern {
        seed: u64,
    },
    /// A device's memory, by the processor.
    Memory(Arc<PeerMemory>),
}

/// The processor copies this much at a time at most.
const LONGEST: u64 = 1 << 20;

impl HostClient {
    /// A file of `len` bytes: what it has as a source, what it may get as a sink. `name` is for
    /// messages.
    #[must_use]
    pub fn file(file: File, name: &str, len: u64) -> Self {
        Self::new(Content::File { file, name: name.to_owned(), len })
    }

    /// Zeroes without end; as a sink, nothing else may come.
    #[must_use]
    pub fn zero() -> Self {
        Self::new(Content::Zero)
    }

    /// As a sink, takes everything and keeps nothing; as a source, empty.
    #[must_use]
    pub fn null() -> Self {
        Self::new(Content::Null)
    }

    /// A pattern without end, in which every eight bytes tell their position and the seed: as a sink
    /// it checks what comes.
    #[must_use]
    pub fn pattern(seed: u64) -> Self {
        Self::new(Content::Pattern { seed })
    }

    /// A device's memory, which the processor reads and writes.
    #[must_use]
    pub fn memory(memory: Arc<PeerMemory>) -> Self {
        Self::new(Content::Memory(memory))
    }

    fn new(content: Content) -> Self {
        Self { content, end: u64::MAX, buffer: Vec::new(), ended: Vec::new() }
    }

    /// The same, of which only the bytes before `end` count: beyond it zeroes are read, and what is
    /// written is forgotten. So a transfer in a device's whole blocks carries a tail that is none.
    #[must_use]
    pub fn ending_at(mut self, end: u64) -> Self {
        self.end = end;
        self
    }

    fn carry_out(&mut self, op: Op, memory: &PeerMemory, range: &Range<u64>) -> Result<(), Error> {
        let len = memory.check_range(range)?;
        // At most LONGEST, by the capabilities that the transfer keeps to.
        let size = usize::try_from(len).map_err(|_| Error::OutsideMemory {
            offset: range.start,
            len,
            size: memory.len(),
        })?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(size, 0);
        let (Op::Fill { from: at, .. } | Op::Drain { to: at, .. }) = op;
        let kept = self.before_end(at, size);
        let result = match op {
            Op::Fill { from, .. } => {
                let (data, padding) = buffer.split_at_mut(kept);
                padding.fill(0);
                let read = self.content.read(from, data);
                read.and_then(|()| memory.write(range.start, &buffer))
            }
            Op::Drain { to, .. } => {
                let data = memory.read(range.start, &mut buffer);
                data.and_then(|()| self.content.write(to, &buffer[..kept]))
            }
        };
        self.buffer = buffer;
        if result.is_ok() && self.content.is_a_devices() {
            memory.count_staged(kept as u64);
        }
        result
    }

    /// How many of `len` bytes from `at` on lie before the end.
    fn before_end(&self, at: u64, len: usize) -> usize {
        usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX).min(len)
    }
}

impl Content {
    /// Whether it is a device's memory, so that what the processor copies stands for what a device moves.
    fn is_a_devices(&self) -> bool {
        matches!(self, Self::Memory(memory) if memory.owner().is_some())
    }

    fn read(&self, from: u64, data: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::File { file, name, .. } => {
                file.read_exact_at(data, from).map_err(|error| in_file(name, &error))
            }
            Self::Zero | Self::Null => {
                data.fill(0);
                Ok(())
            }
            Self::Pattern { seed } => {
                pattern::fill(*seed, from, data);
                Ok(())
            }
            Self::Memory(memory) => memory.read(from, data),
        }
    }

    fn write(&self, to: u64, data: &[u8]) -> Result<(), Error> {
        match self {
            Self::File { file, name, .. } => {
                file.write_all_at(data, to).map_err(|error| in_file(name, &error))
            }
            Self::Null => Ok(()),
            Self::Zero => match data.iter().position(|&byte| byte != 0) {
                None => Ok(()),
                Some(at) => Err(Error::Mismatch { at: to + at as u64 }),
            },
            Self::Pattern { seed } => match pattern::first_difference(*seed, to, data) {
                None => Ok(()),
                Some(at) => Err(Error::Mismatch { at: to + at as u64 }),
            },
            Self::Memory(memory) => memory.write(to, data),
        }
    }
}

fn in_file(name: &str, error: &io::Error) -> Error {
    Error::File { name: name.to_owned(), reason: error.to_string(), kind: error.kind() }
}

impl Client for HostClient {
    fn bdf(&self) -> Option<Bdf> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        let size = match &self.content {
            Content::File { len, .. } => *len,
            Content::Memory(memory) => memory.len(),
            Content::Zero | Content::Null | Content::Pattern { .. } => u64::MAX,
        };
        Capabilities { size, block: 1, max_transfer: LONGEST, depth: usize::MAX }
    }

    fn attach(&mut self, memory: &Arc<PeerMemory>) -> Result<Attachment, Error> {
        Ok(Attachment::new(memory, Mapping::Processor))
    }

    /// Done at once: the processor has nobody to wait for.
    fn submit(
        &mut self,
        op: Op,
        memory: &Attachment,
        range: Range<u64>,
        ticket: Ticket,
    ) -> Result<(), Error> {
        let result = self.carry_out(op, &memory.memory, &range);
        self.ended.push(Done { ticket, result });
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        done.append(&mut self.ended);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        match &self.content {
            Content::File { file, name, .. } => {
                file.sync_all().map_err(|error| in_file(name, &error))
            }
            Content::Memory(memory) => memory.persist(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use p2pdma_pci::topology::Allowlist;

    use super::*;
    use crate::{FabricPlatform, Platform, Storage, presets};

    #[test]
    fn a_tail_is_padded_with_zeroes_and_cut_again() {
        let machine = presets::machine("default", None).unwrap();
        let platform =
            FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap();
        let memory = Arc::new(platform.host_memory().unwrap().alloc(4096).unwrap());
        memory.write(0, &[0xff; 4096]).unwrap();
        let carry = |mut client: HostClient, op| {
            let attachment = client.attach(&memory).unwrap();
            let mut done = Vec::new();
            client.submit(op, &attachment, 0..4096, Ticket(0)).unwrap();
            client.poll(&mut done).unwrap();
            done.pop().unwrap().result
        };
        let fill = Op::Fill { from: 8192, len: 4096 };
        carry(HostClient::pattern(7).ending_at(9192), fill).unwrap();
        let mut data = [0xff; 4096];
        memory.read(0, &mut data).unwrap();
        assert_eq!(pattern::first_difference(7, 8192, &data[..1000]), None);
        assert!(data[1000..].iter().all(|&byte| byte == 0));

        let drain = Op::Drain { to: 8192, len: 4096 };
        carry(HostClient::pattern(7).ending_at(9192), drain).unwrap();
        let whole = carry(HostClient::pattern(7), drain);
        assert!(matches!(whole, Err(Error::Mismatch { at: 9192 })), "{whole:?}");
    }
}
