//! Who has which part of an address range: the allocator behind DMA buffers, device addresses and
//! pools of peer memory.

use std::collections::BTreeMap;
use std::ops::Range;

/// Hands out aligned parts of a range, first fit, and takes them back.
///
/// Deterministic: the same calls give the same answers.
#[derive(Debug, Clone, Default)]
pub struct RangeAllocator {
    /// Start to end of every free run; no two touch.
    free: BTreeMap<u64, u64>,
}

impl RangeAllocator {
    /// An allocator over `range`, all of it free.
    #[must_use]
    pub fn new(range: Range<u64>) -> Self {
        let mut free = BTreeMap::new();
        if !range.is_empty() {
            free.insert(range.start, range.end);
        }
        Self { free }
    }

    /// Takes `len` bytes at a multiple of `align`, or `None` if no free run is long enough.
    ///
    /// `None` too for a length of zero or an alignment that is no power of two.
    pub fn allocate(&mut self, len: u64, align: u64) -> Option<u64> {
        if len == 0 || !align.is_power_of_two() {
            return None;
        }
        let at = self.free.iter().find_map(|(&start, &end)| {
            let at = start.checked_next_multiple_of(align)?;
            (at.checked_add(len)? <= end).then_some(at)
        })?;
        self.take(at, len).then_some(at)
    }

    /// Takes exactly `len` bytes at `start`. False, and no change, if any of them is not free.
    pub fn take(&mut self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len).filter(|&end| end > start) else { return false };
        let around = self.free.range(..=start).next_back().map(|(&from, &to)| (from, to));
        let Some((from, to)) = around.filter(|&(_, to)| end <= to) else { return false };
        self.free.remove(&from);
        if from < start {
            self.free.insert(from, start);
        }
        if end < to {
            self.free.insert(end, to);
        }
        true
    }

    /// Gives `len` bytes at `start` back. False, and no change, if any of them was free already.
    pub fn release(&mut self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len).filter(|&end| end > start) else {
            return false;
        };
        let before = self.free.range(..end).next_back().map(|(&from, &to)| (from, to));
        if before.is_some_and(|(_, to)| to > start) {
            return false;
        }
        let merged_start = match before {
            Some((from, to)) if to == start => from,
            _ => start,
        };
        let merged_end = self.free.remove(&end).unwrap_or(end);
        self.free.insert(merged_start, merged_end);
        true
    }

    /// How many bytes are free, in whatever pieces.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.free.iter().map(|(start, end)| end - start).sum()
    }

    /// The longest free run in bytes: what one allocation can have at most.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.free.iter().map(|(start, end)| end - start).max().unwrap_or(0)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the test's numbers are small")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn double_and_foreign_releases_are_refused() {
        let mut ranges = RangeAllocator::new(0x1000..0x9000);
        let at = ranges.allocate(0x1000, 0x2000).unwrap();
        assert_eq!(at, 0x2000);
        assert!(!ranges.release(0x1800, 0x1000));
        assert!(!ranges.release(0x2000, 0));
        assert!(!ranges.take(0x2fff, 2) && !ranges.take(0x8fff, 2) && !ranges.take(0x4000, 0));
        assert!(ranges.take(0x4000, 0x1000) && !ranges.take(0x4000, 1));
        assert!(ranges.release(0x4000, 0x1000));
        assert!(ranges.release(at, 0x1000));
        assert!(!ranges.release(at, 0x1000));
        assert_eq!((ranges.available(), ranges.largest()), (0x8000, 0x8000));
    }

    proptest! {
        /// Against a bitmap: no two allocations overlap, and everything comes back.
        #[test]
        fn nothing_is_handed_out_twice(
            steps in proptest::collection::vec((1u64..40, 0u32..5, any::<bool>()), 1..200),
        ) {
            let mut ranges = RangeAllocator::new(64..512);
            let mut bitmap = [false; 512];
            let mut held: Vec<(u64, u64)> = Vec::new();
            for (len, shift, release) in steps {
                if release && !held.is_empty() {
                    let (at, len) = held.swap_remove(0);
                    prop_assert!(ranges.release(at, len));
                    bitmap[at as usize..(at + len) as usize].fill(false);
                } else if let Some(at) = ranges.allocate(len, 1 << shift) {
                    let taken = &mut bitmap[at as usize..(at + len) as usize];
                    prop_assert!(at >= 64 && at % (1 << shift) == 0 && !taken.contains(&true));
                    taken.fill(true);
                    held.push((at, len));
                } else {
                    let fits = |at: usize| bitmap[at..].len() >= len as usize
                        && !bitmap[at..at + len as usize].contains(&true);
                    prop_assert!(!(64..512).filter(|at| at % (1 << shift) == 0).any(fits));
                }
                let free = bitmap[64..].iter().filter(|taken| !**taken).count() as u64;
                prop_assert_eq!(ranges.available(), free);
            }
            for (at, len) in held {
                prop_assert!(ranges.release(at, len));
            }
            prop_assert_eq!((ranges.available(), ranges.largest()), (448, 448));
        }
    }
}
