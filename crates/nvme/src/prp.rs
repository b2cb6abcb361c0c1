//! Physical region pages: the data pointer of most commands (NVMe Base 2.1 §4.3.1).

use p2pdma_pci::Iova;
use p2pdma_spec::nvme::prp::PrpEntry;
use p2pdma_spec::nvme::queue::DataPointer;
use zerocopy::IntoBytes as _;

use crate::data::{ListSlot, Segment};
use crate::{Error, PAGE};

/// Where in a page data of some length may begin to be all in that page: the common case, which needs one
/// entry. In units of 4 bytes, to which data are aligned; 0 if there is no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places(u16);

impl Places {
    pub(crate) const NONE: Self = Self(0);

    /// The places for data of `len` bytes.
    #[inline]
    pub(crate) fn of(len: u64) -> Self {
        let count = if len == 0 { None } else { PAGE.checked_sub(len).map(|last| last / 4 + 1) };
        Self(count.and_then(|count| u16::try_from(count).ok()).unwrap_or(0))
    }

    /// Whether data that begin at `iova` begin at such a place.
    #[inline(always)]
    pub(crate) fn contain(self, iova: Iova) -> bool {
        let [low, high, ..] = iova.0.to_le_bytes();
        // What is lost to the alignment becomes a number that is larger than any count.
        let unit = u16::from_le_bytes([low, high]).rotate_right(2);
        unit & OFFSET_UNITS < self.0
    }
}

/// The bits of an address that count within a page, rotated to the right by 2.
const OFFSET_UNITS: u16 = 0x0FFF_u16.rotate_right(2);

/// The pointer to several runs of addresses.
///
/// # Errors
/// [`Error::Misaligned`], [`Error::Gap`] or [`Error::Length`] if the runs cannot be expressed,
/// [`Error::TooLong`] if they need more entries than the list has.
pub(crate) fn segments(segments: &[Segment], list: ListSlot<'_>) -> Result<DataPointer, Error> {
    let mut rest = check(segments)?.saturating_sub(1);
    let mut pages = segments.iter().flat_map(|segment| pages(*segment));
    let first = pages.next().unwrap_or(0);
    match rest {
        0 => return Ok(DataPointer::prp(first, 0)),
        1 => return Ok(DataPointer::prp(first, pages.next().unwrap_or(0))),
        _ => {}
    }
    let mut writer = Writer { list, at: 0, buffer: [PrpEntry::default(); 32], filled: 0 };
    for page in pages {
        if writer.is_last_of_page()? && rest > 1 {
            writer.push(writer.next_page()?)?;
        }
        writer.push(page)?;
        rest -= 1;
    }
    writer.flush()?;
    Ok(DataPointer::prp(first, list.address(0)?))
}

/// Counts the pages, if physical region pages can express the segments.
fn check(segments: &[Segment]) -> Result<u64, Error> {
    let mut count = 0_u64;
    for (index, &segment) in segments.iter().enumerate() {
        let Segment { iova, len } = segment;
        let last = segment.last()?;
        if len == 0 {
            return Err(Error::Length { what: "a segment", expected: 1, actual: 0 });
        }
        if index == 0 && !iova.0.is_multiple_of(4) {
            let what = "the start of data";
            return Err(Error::Misaligned { what, iova, len, align: 4 });
        }
        let inner_start = index > 0 && !iova.0.is_multiple_of(PAGE);
        let inner_end = index + 1 < segments.len() && last % PAGE != PAGE - 1;
        if inner_start || inner_end {
            return Err(Error::Gap { index, iova, len });
        }
        count = count.saturating_add(last / PAGE - iova.0 / PAGE + 1);
    }
    Ok(count)
}

/// The address of a segment's first byte, and of every page behind it.
fn pages(segment: Segment) -> impl Iterator<Item = u64> {
    let first = segment.iova.0;
    let last = first.saturating_add(segment.len.saturating_sub(1));
    let page = first / PAGE + 1..=last / PAGE;
    std::iter::once(first).chain(page.map(|page| page * PAGE))
}

/// Writes a list, many entries at a time.
struct Writer<'a> {
    list: ListSlot<'a>,
    /// Where in the slot the buffer's first entry goes.
    at: usize,
    buffer: [PrpEntry; 32],
    filled: usize,
}

impl Writer<'_> {
    /// Where the next entry goes.
    fn position(&self) -> usize {
        self.at + self.filled * size_of::<PrpEntry>()
    }

    /// Whether the next entry is the last of its page.
    fn is_last_of_page(&self) -> Result<bool, Error> {
        let end = self.list.address(self.position())?.saturating_add(8);
        Ok(end.is_multiple_of(PAGE))
    }

    /// Where the list goes on after the next entry.
    fn next_page(&self) -> Result<u64, Error> {
        self.list.address(self.position() + size_of::<PrpEntry>())
    }

    fn push(&mut self, address: u64) -> Result<(), Error> {
        if self.filled == self.buffer.len() {
            self.flush()?;
        }
        if let Some(entry) = self.buffer.get_mut(self.filled) {
            *entry = PrpEntry::new(address);
            self.filled += 1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let len = self.filled * size_of::<PrpEntry>();
        let end = self.at + len;
        if end > self.list.len() {
            let most = self.list.len() as u64 / 8 * PAGE;
            return Err(Error::TooLong { len: end as u64 / 8 * PAGE, most });
        }
        self.list.write(self.at, self.buffer[..self.filled].as_bytes())?;
        (self.at, self.filled) = (end, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
