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
        Self { content, buffer: Vec::new(), ended: Vec::new() }
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
        let result = match op {
            Op::Fill { from, .. } => {
                let read = self.content.read(from, &mut buffer);
                read.and_then(|()| memory.write(range.start, &buffer))
            }
            Op::Drain { to, .. } => {
                let read = memory.read(range.start, &mut buffer);
                read.and_then(|()| self.content.write(to, &buffer))
            }
        };
        self.buffer = buffer;
        result
    }
}

impl Content {
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
            _ => Ok(()),
        }
    }
}
