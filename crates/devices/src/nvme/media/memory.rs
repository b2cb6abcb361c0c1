//! A medium in private memory, of which only what is written costs anything.

use std::ops::ControlFlow;

use memmap2::{MmapMut, MmapOptions};
use p2pdma_mem::prefetch;

use super::{Fill, Media, MediaError, Take, length, take_zeroes};

/// Memory is mapped in chunks of this size, when they are first written.
const CHUNK: u64 = 256 << 20;
/// Within a chunk, so many pieces are known to be zeroes until they are written.
const PIECES: usize = 128;
const PIECE: u64 = CHUNK / PIECES as u64;
/// The most bytes: half of what a process can address, so that all of it can be written, in principle.
pub(crate) const MOST_MEMORY: u64 = 64 << 40;
/// Up to this size huge pages are asked for: they make random access a third faster, but a single
/// block then costs 2 MiB, which a sparse terabyte could not bear.
const HUGE_UP_TO: u64 = 4 << 30;

/// How much of a read is fetched ahead; beyond it the processor does so by itself.
const EXPECTED: u64 = 4096;

/// Zeroes, until written. Nothing but a new format or a discard takes them back: a loss of power does
/// not.
#[derive(Debug)]
pub(crate) struct MemoryMedia {
    /// As many as were needed so far.
    chunks: Vec<Option<Chunk>>,
    /// How many there can be.
    limit: usize,
    huge: bool,
}

#[derive(Debug)]
struct Chunk {
    bytes: MmapMut,
    /// The pieces that may hold something else than zeroes.
    touched: [bool; PIECES],
}

impl MemoryMedia {
    /// A medium of at most [`MOST_MEMORY`] bytes, which costs nothing yet.
    pub(crate) fn new(capacity: u64) -> Self {
        let limit = length(capacity.min(MOST_MEMORY).div_ceil(CHUNK));
        Self { chunks: Vec::new(), limit, huge: capacity <= HUGE_UP_TO }
    }

    /// Makes a place for a chunk further up than any before.
    #[cold]
    fn grow(&mut self, index: usize) -> Result<(), MediaError> {
        if index >= self.limit {
            return Err(MediaError::Full);
        }
        self.chunks.resize_with(index + 1, || None);
        Ok(())
    }
}

impl Chunk {
    fn new(huge: bool) -> Result<Self, MediaError> {
        let map = MmapOptions::new().len(length(CHUNK)).no_reserve_swap().map_anon()?;
        #[cfg(target_os = "linux")]
        if huge {
            // A hint: a kernel without huge pages refuses it, and nothing is lost.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = huge;
        Ok(Self { bytes: map, touched: [false; PIECES] })
    }

    /// The bytes from `at` on, to be written.
    #[inline]
    fn touch(&mut self, at: u64, len: u64) -> &mut [u8] {
        let (first, last) = (length(at / PIECE), length((at + len - 1) / PIECE));
        self.touched[first] = true;
        if first != last {
            self.touched[first..=last].fill(true);
        }
        &mut self.bytes[length(at)..length(at + len)]
    }

    fn zero(&mut self, at: u64, len: u64) {
        let end = at + len;
        for piece in at / PIECE..=(end - 1) / PIECE {
            let touched = &mut self.touched[length(piece)];
            if !*touched {
                continue;
            }
            let (first, last) = (piece * PIECE, (piece + 1) * PIECE);
            self.bytes[length(at.max(first))..length(end.min(last))].fill(0);
            *touched = first < at || end < last;
        }
    }
}

/// The parts of a range that lie in one chunk each: chunk, offset in it, length.
#[inline]
fn parts(at: u64, len: u64) -> impl Iterator<Item = (usize, u64, u64)> {
    let end = at + len;
    let mut next = at;
    std::iter::from_fn(move || {
        let part = (CHUNK - next % CHUNK).min(end - next);
        let found = (part > 0).then_some((length(next / CHUNK), next % CHUNK, part));
        next += part;
        found
    })
}

/// Where a range lies that is in one chunk: the chunk, the offset in it.
#[inline]
fn whole(at: u64, len: u64) -> Option<(usize, u64)> {
    let offset = at % CHUNK;
    (len <= CHUNK - offset).then_some((length(at / CHUNK), offset))
}

impl Media for MemoryMedia {
    fn holds_data(&self) -> bool {
        true
    }

    fn read(&mut self, at: u64, len: u64, take: &mut Take<'_>) -> Result<(), MediaError> {
        // The usual case.
        if let Some((index, offset)) = whole(at, len)
            && let Some(Some(chunk)) = self.chunks.get(index)
        {
            // There is nothing behind it that could be left out.
            let _ = take(&chunk.bytes[length(offset)..length(offset + len)]);
            return Ok(());
        }
        for (index, offset, part) in parts(at, len) {
            let flow = match self.chunks.get(index) {
                Some(Some(chunk)) => take(&chunk.bytes[length(offset)..length(offset + part)]),
                _ => take_zeroes(part, take),
            };
            if flow == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn expect(&self, at: u64, len: u64) {
        let len = len.min(EXPECTED);
        if let Some((index, offset)) = whole(at, len)
            && let Some(Some(chunk)) = self.chunks.get(index)
        {
            prefetch(&chunk.bytes[length(offset)..length(offset + len)]);
        }
    }

    fn write(&mut self, at: u64, len: u64, fill: &mut Fill<'_>) -> Result<(), MediaError> {
        if let Some((index, offset)) = whole(at, len)
            && let Some(Some(chunk)) = self.chunks.get_mut(index)
        {
            let _ = fill(chunk.touch(offset, len));
            return Ok(());
        }
        for (index, offset, part) in parts(at, len) {
            if index >= self.chunks.len() {
                self.grow(index)?;
            }
            let slot = &mut self.chunks[index];
            let chunk = match slot {
                Some(chunk) => chunk,
                None => slot.insert(Chunk::new(self.huge)?),
            };
            if fill(chunk.touch(offset, part)) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn discard(&mut self, at: u64, len: u64) -> Result<(), MediaError> {
        for (index, offset, part) in parts(at, len) {
            let Some(slot) = self.chunks.get_mut(index) else { break };
            if part == CHUNK {
                *slot = None;
            } else if let Some(chunk) = slot {
                chunk.zero(offset, part);
                if chunk.touched == [false; PIECES] {
                    *slot = None;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self, _: u64, _: u64) -> Result<(), MediaError> {
        Ok(())
    }

    fn power_cut(&mut self) {}
}
