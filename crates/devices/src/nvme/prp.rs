//! Physical Region Pages, walked (NVMe Base 2.1 §4.3.1).

use p2pdma_spec::nvme::prp::{ENTRY_SIZE, PrpEntry, entries_to_page_end};
use p2pdma_spec::nvme::queue::DataPointer;
use p2pdma_spec::nvme::status::Status;
use zerocopy::IntoBytes as _;

use super::dma::{Dma, Use};
use super::segments::Segments;

/// How many entries of a list are read at a time, at most.
const READ_AHEAD: usize = 512;

/// Finds the memory of `len` bytes that begin at `pointer`. `page` is the memory page size.
///
/// Every list entry is read once. The work is bounded by the length: a page of a list stands for at
/// least one page of data, its first one excepted, wherever its chain leads.
#[inline(always)]
pub(crate) fn walk(
    dma: &mut Dma<'_, '_>,
    pointer: DataPointer,
    len: u32,
    page: u64,
    usage: Use,
    segments: &mut Segments,
) -> Result<(), Status> {
    let first = pointer.prp1;
    if !first.address().is_multiple_of(4) {
        return Err(Status::PRP_OFFSET_INVALID);
    }
    // A page has at most 64 KiB.
    let room = page - first.offset(page);
    let in_first = u32::try_from(room).unwrap_or(u32::MAX).min(len);
    segments.start(dma, first.address(), in_first, usage)?;
    match len - in_first {
        0 => Ok(()),
        rest => walk_on(dma, pointer.prp2, rest, page, usage, segments),
    }
}

/// What the second entry stands for: the rest if that fits a page, else a list.
#[inline(never)]
fn walk_on(
    dma: &mut Dma<'_, '_>,
    second: PrpEntry,
    len: u32,
    page: u64,
    usage: Use,
    segments: &mut Segments,
) -> Result<(), Status> {
    if u64::from(len) > page {
        return walk_list(dma, second, len, page, usage, segments);
    }
    if second.offset(page) != 0 {
        return Err(Status::PRP_OFFSET_INVALID);
    }
    segments.push(dma, second.address(), len, usage)
}

fn walk_list(
    dma: &mut Dma<'_, '_>,
    list: PrpEntry,
    len: u32,
    page: u64,
    usage: Use,
    segments: &mut Segments,
) -> Result<(), Status> {
    if !list.address().is_multiple_of(ENTRY_SIZE) {
        return Err(Status::PRP_OFFSET_INVALID);
    }
    let (mut list, mut rest) = (list, u64::from(len));
    let mut entries = [PrpEntry::default(); READ_AHEAD];
    loop {
        let room = entries_to_page_end(list, page);
        let needed = rest.div_ceil(page);
        // If the list does not end in this page, the page's last entry leads to the next one.
        let chained = needed > room;
        let (mut at, mut left) = (list.address(), needed.min(room));
        let mut last = PrpEntry::default();
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(READ_AHEAD).min(READ_AHEAD);
            let batch = &mut entries[..count];
            dma.own().check(at, count as u64 * ENTRY_SIZE, Use::List)?;
            dma.read_control(at, batch.as_mut_bytes())?;
            at = at.saturating_add(count as u64 * ENTRY_SIZE);
            left -= count as u64;
            let data = if chained && left == 0 { &batch[..count - 1] } else { &batch[..] };
            for entry in data {
                if entry.offset(page) != 0 {
                    return Err(Status::PRP_OFFSET_INVALID);
                }
                let here = u32::try_from(rest.min(page)).unwrap_or(u32::MAX);
                segments.push(dma, entry.address(), here, usage)?;
                rest -= u64::from(here);
            }
            last = batch[count - 1];
        }
        if !chained {
            return Ok(());
        }
        if last.offset(page) != 0 {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        list = last;
    }
}
