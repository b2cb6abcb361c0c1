//! Blocks that cannot be read.

use std::collections::BTreeMap;

use p2pdma_spec::nvme::status::Status;

/// Blocks that Write Uncorrectable made unreadable, as runs: start to end.
#[derive(Debug, Default)]
pub(crate) struct BadBlocks {
    runs: BTreeMap<u64, u64>,
    /// How many blocks there are in all runs.
    total: u64,
    /// Whether they are other blocks than when this was last cleared.
    pub(crate) changed: bool,
}

/// No host can make more blocks bad than this, so that it cannot make the device eat all memory.
pub(crate) const MOST_BAD_BLOCKS: u64 = 1 << 20;

impl BadBlocks {
    /// Whether any of the blocks is bad.
    #[inline]
    pub(crate) fn any(&self, first: u64, count: u64) -> bool {
        !self.runs.is_empty() && self.search(first, count)
    }

    fn search(&self, first: u64, count: u64) -> bool {
        let before = self.runs.range(..first + count).next_back();
        before.is_some_and(|(_, &end)| end > first)
    }

    /// Blocks were written, and can be read again.
    #[inline]
    pub(crate) fn heal(&mut self, first: u64, count: u64) {
        if self.any(first, count) {
            self.cut(first, first + count);
        }
    }

    fn cut(&mut self, first: u64, end: u64) {
        while let Some((&start, &stop)) = self.runs.range(..end).next_back() {
            if stop <= first {
                break;
            }
            self.runs.remove(&start);
            self.changed = true;
            self.total -= stop.min(end) - start.max(first);
            if start < first {
                self.runs.insert(start, first);
            }
            if stop > end {
                self.runs.insert(end, stop);
            }
        }
    }

    /// Makes blocks bad.
    pub(crate) fn mark(&mut self, first: u64, count: u64) -> Result<(), Status> {
        if self.total + count > MOST_BAD_BLOCKS {
            return Err(Status::WRITE_FAULT);
        }
        let (mut start, mut end) = (first, first + count);
        self.cut(start, end);
        if let Some((&before, &stop)) = self.runs.range(..start).next_back()
            && stop == start
        {
            start = before;
        }
        if let Some(stop) = self.runs.remove(&end) {
            end = stop;
        }
        self.runs.insert(start, end);
        self.total += count;
        self.changed = true;
        Ok(())
    }

    /// The runs: start and end of each, in order, none touching the next.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|(&start, &end)| (start, end))
    }

    /// None is bad any more.
    pub(crate) fn clear(&mut self) {
        *self = Self { changed: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a bitmap.
        #[test]
        fn bad_blocks_are_those_that_were_marked_and_not_healed(
            steps in proptest::collection::vec((any::<bool>(), 0_u64..100, 1_u64..30), 1..60),
        ) {
            let (mut bad, mut bitmap) = (BadBlocks::default(), [false; 130]);
            for (mark, first, count) in steps {
                let range = usize::try_from(first).unwrap()..usize::try_from(first + count).unwrap();
                bitmap[range].fill(mark);
                if mark {
                    bad.mark(first, count).unwrap();
                } else {
                    bad.heal(first, count);
                }
                for (block, expected) in (0..).zip(bitmap) {
                    prop_assert_eq!(bad.any(block, 1), expected);
                }
                let total = bitmap.iter().filter(|is_bad| **is_bad).count();
                prop_assert_eq!(bad.total, total as u64);
                let runs: Vec<_> = bad.runs.iter().collect();
                prop_assert!(runs.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }
}
