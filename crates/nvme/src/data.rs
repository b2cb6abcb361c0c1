//! What a command's data pointer is made from, and the memory in which its lists are built.

use std::ops::Range;

use p2pdma_pci::{DmaBuffer, Iova, PeerWindow};

use crate::memory::QueueMemory;
use crate::{Error, PAGE};

/// Memory at one run of addresses, as the controller that will use it emits them.
///
/// It holds nothing: whoever makes one keeps the memory behind it until the command has been completed
/// (see the crate's front page).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins; a multiple of 4.
    pub iova: Iova,
    /// Its length in bytes.
    pub len: u64,
}

impl Segment {
    /// `len` bytes at `iova`.
    #[must_use]
    pub const fn new(iova: Iova, len: u64) -> Self {
        Self { iova, len }
    }

    /// Part of it; `None` if the range is reversed, ends beyond it, or its address exceeds 2^64.
    #[must_use]
    pub fn slice(self, range: Range<u64>) -> Option<Self> {
        let len = range.end.checked_sub(range.start)?;
        (range.end <= self.len).then_some(())?;
        Some(Self { iova: self.iova.checked_add(range.start)?, len })
    }

    /// The address of its last byte; of the first, if it is empty.
    pub(crate) fn last(self) -> Result<u64, Error> {
        let last = self.iova.checked_add(self.len.saturating_sub(1));
        let most = u64::MAX - self.iova.0;
        last.map(|last| last.0).ok_or(Error::TooLong { len: self.len, most })
    }
}

impl From<&DmaBuffer> for Segment {
    fn from(buffer: &DmaBuffer) -> Self {
        Self::new(buffer.iova(), buffer.len() as u64)
    }
}

impl From<&PeerWindow> for Segment {
    fn from(window: &PeerWindow) -> Self {
        Self::new(window.iova(), window.len())
    }
}

/// A piece of a scatter gather list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SglSegment {
    /// Memory.
    Block(Segment),
    /// So many bytes of what is read are thrown away. Reads only.
    BitBucket(u32),
}

/// Where a command's data are.
#[derive(Debug, Clone, Copy, Default)]
pub enum Data<'a> {
    /// The command moves none.
    #[default]
    None,
    /// One run of addresses: any multiple of 4 to begin with. The fast case.
    Contiguous(Segment),
    /// Several runs, as physical region pages: all but the first begin, and all but the last end, at a
    /// multiple of 4096.
    Segments(&'a [Segment]),
    /// Several runs of any length, as a scatter gather list, if the controller supports them.
    Sgl(&'a [SglSegment]),
}

impl From<Segment> for Data<'_> {
    #[inline]
    fn from(segment: Segment) -> Self {
        Self::Contiguous(segment)
    }
}

impl From<&DmaBuffer> for Data<'_> {
    fn from(buffer: &DmaBuffer) -> Self {
        Self::Contiguous(buffer.into())
    }
}

impl From<&PeerWindow> for Data<'_> {
    fn from(window: &PeerWindow) -> Self {
        Self::Contiguous(window.into())
    }
}

/// Memory for the lists of every command that a queue can have in flight, a slot each.
#[derive(Debug)]
pub(crate) struct Lists {
    memory: QueueMemory,
    stride: usize,
    /// The most bytes that a list in a slot can describe.
    pub(crate) max_transfer: u64,
}

/// The least bytes of a slot: 16 descriptors of a scatter gather list.
const LEAST: usize = 256;
/// Entries that fit a page.
const PER_PAGE: u64 = PAGE / 8;

impl Lists {
    /// How many bytes a slot must have for transfers of up to `max_transfer` bytes.
    ///
    /// As many entries as the transfer has pages, one more because it can begin within a page, one less
    /// because the first is in the command. Up to a page, a power of two, so that no slot crosses a page
    /// boundary; beyond that, pages that each lose their last entry to the next page's address
    /// (NVMe Base 2.1 §4.3.1).
    pub(crate) fn stride(max_transfer: u64) -> Option<usize> {
        let entries = max_transfer.div_ceil(PAGE);
        let bytes = if entries <= PER_PAGE {
            usize::try_from(entries * 8).ok()?.next_power_of_two().max(LEAST)
        } else {
            let pages = 1 + (entries - PER_PAGE).div_ceil(PER_PAGE - 1);
            usize::try_from(pages.checked_mul(PAGE)?).ok()?
        };
        Some(bytes)
    }

    /// Slots in `memory`, which begins at a page.
    pub(crate) fn new(memory: QueueMemory, stride: usize, max_transfer: u64) -> Self {
        Self { memory, stride, max_transfer }
    }

    /// No slots: transfers of up to a page need none, since two entries are in the command.
    pub(crate) fn none() -> Self {
        Self { memory: QueueMemory::Gone, stride: 0, max_transfer: PAGE }
    }

    /// The slot of a command.
    #[inline]
    pub(crate) fn slot(&self, index: u16) -> ListSlot<'_> {
        let offset = usize::from(index) * self.stride;
        ListSlot { memory: &self.memory, offset, len: self.stride }
    }

    pub(crate) fn strip(&mut self) -> QueueMemory {
        std::mem::take(&mut self.memory)
    }

    /// The memory, if it is the host's.
    pub(crate) fn into_host(self) -> Option<DmaBuffer> {
        match self.memory {
            QueueMemory::Host(buffer) => Some(buffer),
            QueueMemory::Cmb(_) | QueueMemory::Gone => None,
        }
    }
}

/// Memory for the list of one command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListSlot<'a> {
    memory: &'a QueueMemory,
    offset: usize,
    len: usize,
}

impl ListSlot<'_> {
    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the controller finds byte `at` of the slot.
    pub(crate) fn address(&self, at: usize) -> Result<u64, Error> {
        let offset = (self.offset + at) as u64;
        let address = self.memory.iova().checked_add(offset).map(|iova| iova.0);
        address.ok_or(Error::TooLong { len: offset, most: u64::MAX - self.memory.iova().0 })
    }

    /// Writes bytes at `at`.
    pub(crate) fn write(&self, at: usize, data: &[u8]) -> Result<(), Error> {
        self.memory.write(self.offset + at, data)
    }
}
