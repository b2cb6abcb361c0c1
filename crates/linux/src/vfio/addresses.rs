//! Which addresses memory of this process is given.

use std::collections::BTreeMap;
use std::ops::Range;

use p2pdma_mem::RangeAllocator;
use p2pdma_pci::Bdf;

use super::VfioError;

/// Mappings are of whole pages.
pub(super) const PAGE: u64 = 4096;

/// Refuses an IOMMU that maps no pages as small as these, or a kernel whose own are larger: what is mapped here begins and
/// ends with pages of the NVMe driver's.
pub(super) fn check_page(bdf: Bdf, least: u64) -> Result<(), VfioError> {
    if least > PAGE { Err(VfioError::Pages { bdf, least }) } else { Ok(()) }
}

/// Addresses that the IOMMUs take and no BAR has.
#[derive(Debug)]
pub(super) struct Addresses {
    run: Range<u64>,
    free: RangeAllocator,
    /// Where each part that is given out begins, and its length.
    given: BTreeMap<u64, u64>,
}

impl Addresses {
    /// Those of the longest run within `ranges`, first and last addresses, that touches nothing to be avoided.
    pub(super) fn new(ranges: &[(u64, u64)], avoid: &[Range<u64>]) -> Option<Self> {
        let run = longest(ranges, avoid)?;
        Some(Self { free: RangeAllocator::new(run.clone()), run, given: BTreeMap::new() })
    }

    /// From now on only those within `ranges`. What is given out and lies elsewhere is the error, and nothing changes.
    pub(super) fn keep_to(&mut self, ranges: &[(u64, u64)]) -> Result<(), Range<u64>> {
        let mut free = RangeAllocator::new(self.run.clone());
        for gap in gaps(ranges, &self.run) {
            free.take(gap.start, gap.end - gap.start);
        }
        for (&at, &len) in &self.given {
            if !free.take(at, len) {
                return Err(at..at + len);
            }
        }
        self.free = free;
        Ok(())
    }

    pub(super) fn allocate(&mut self, len: u64) -> Option<u64> {
        let at = self.free.allocate(len, PAGE)?;
        self.given.insert(at, len);
        Some(at)
    }

    pub(super) fn release(&mut self, at: u64, len: u64) {
        if self.given.remove(&at).is_some() {
            self.free.release(at, len);
        }
    }
}

/// The parts of `run`, in whole pages, that are in none of the `ranges`.
fn gaps(ranges: &[(u64, u64)], run: &Range<u64>) -> Vec<Range<u64>> {
    let mut ranges = ranges.to_vec();
    ranges.sort_unstable();
    let (mut from, mut gaps) = (run.start, Vec::new());
    for (first, last) in ranges {
        gaps.push(from..first.next_multiple_of(PAGE).min(run.end));
        from = from.max(last.saturating_add(1) / PAGE * PAGE);
    }
    gaps.push(from..run.end);
    gaps.retain(|gap| !gap.is_empty());
    gaps
}

/// The longest run of whole pages within inclusive ranges that touches nothing to be avoided.
fn longest(ranges: &[(u64, u64)], avoid: &[Range<u64>]) -> Option<Range<u64>> {
    let mut avoid = avoid.to_vec();
    avoid.sort_by_key(|range| range.start);
    let mut best = 0..0;
    let mut offer = |start: u64, end: u64| {
        // The first megabyte is no place for anything: a zero is what a broken device emits.
        let start = start.max(1 << 20).next_multiple_of(PAGE);
        let end = end / PAGE * PAGE;
        if end.saturating_sub(start) > best.end - best.start {
            best = start..end;
        }
    };
    for &(first, last) in ranges {
        let (mut from, end) = (first, last.saturating_add(1));
        for taken in avoid.iter().filter(|taken| taken.end > first && taken.start < end) {
            offer(from, taken.start.min(end));
            from = from.max(taken.end);
        }
        offer(from, end);
    }
    (!best.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: (u64, u64) = (1 << 20, (2 << 20) - 1);

    #[test]
    fn an_iommu_that_comes_later_leaves_fewer_addresses() {
        let mut addresses = Addresses::new(&[RUN], &[]).unwrap();
        let first = addresses.allocate(PAGE).unwrap();
        assert_eq!(first, 1 << 20);
        // Its interrupts' window, and what is beyond its width.
        let narrow = [(0x10_0000, 0x10_1fff), (0x10_4800, 0x10_7fff)];
        addresses.keep_to(&narrow).unwrap();
        let rest: Vec<u64> = std::iter::from_fn(|| addresses.allocate(PAGE)).collect();
        assert_eq!(rest, [0x10_1000, 0x10_5000, 0x10_6000, 0x10_7000]);
        // It leaves, and one comes that does not take what is given out.
        addresses.keep_to(&[RUN]).unwrap();
        assert_eq!(addresses.allocate(PAGE), Some(0x10_2000));
        assert_eq!(addresses.keep_to(&narrow), Err(0x10_2000..0x10_3000));
        addresses.release(0x10_2000, PAGE);
        addresses.keep_to(&narrow).unwrap();
        assert_eq!(addresses.allocate(PAGE), None);
        addresses.release(first, PAGE);
        assert_eq!(addresses.allocate(PAGE), Some(first));
        // What was never given is not taken back.
        addresses.release(0x10_3000, PAGE);
        assert_eq!(addresses.allocate(PAGE), None);
    }

    #[test]
    fn an_iommu_of_larger_pages_is_refused() {
        let bdf: Bdf = "0000:03:00.0".parse().unwrap();
        for least in [1, 512, PAGE] {
            check_page(bdf, least).unwrap();
        }
        let refused = check_page(bdf, 16 << 10).unwrap_err();
        assert!(matches!(refused, VfioError::Pages { bdf: named, least: 16_384 } if named == bdf));
    }

    #[test]
    fn gaps_are_what_no_range_has() {
        let run = 0x1000..0x9000;
        assert_eq!(gaps(&[(0, u64::MAX)], &run), [0..0; 0]);
        assert_eq!(gaps(&[], &run).as_slice(), std::slice::from_ref(&run));
        let ranges = [(0x6000, 0x7fff), (0, 0x2fff), (0x2000, 0x3fff), (0x10_0000, 0x20_0000)];
        assert_eq!(gaps(&ranges, &run), [0x4000..0x6000, 0x8000..0x9000]);
    }

    #[test]
    fn addresses_are_the_longest_run_without_a_bar() {
        let usual = [(0, 0xfedf_ffff), (0xfef0_0000, (1 << 39) - 1)];
        assert_eq!(longest(&usual, &[]), Some(0xfef0_0000..1 << 39));
        let bars = [0x70_0000_0000..0x70_0400_0000, 0xfe00_0000..0xfe00_4000];
        assert_eq!(longest(&usual, &bars), Some(0xfef0_0000..0x70_0000_0000));
        let bar = 0x10_0000_0000..0x10_0000_1000;
        assert_eq!(longest(&usual, std::slice::from_ref(&bar)), Some(0x10_0000_1000..1 << 39));
    }

    #[test]
    fn the_first_megabyte_and_parts_of_pages_are_left_out() {
        assert_eq!(longest(&[(0, 0x1f_f7ff)], &[]), Some(0x10_0000..0x1f_f000));
        assert_eq!(longest(&[(0, 0xf_ffff)], &[]), None);
        assert_eq!(longest(&[(0, u64::MAX)], &[]), Some(0x10_0000..u64::MAX / PAGE * PAGE));
        let all = 0..3 << 20;
        assert_eq!(longest(&[(1 << 20, (2 << 20) - 1)], std::slice::from_ref(&all)), None);
        // Overlapping BARs, as nobody should have them.
        let avoid = [0x20_0000..0x40_0000, 0x30_0000..0x31_0000];
        assert_eq!(longest(&[(1 << 20, 0x4f_ffff)], &avoid), Some(0x10_0000..0x20_0000));
    }
}
