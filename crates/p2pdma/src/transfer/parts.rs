//! Which bytes of a job are to be moved: all of them, or those that are not there yet.

use std::ops::Range;

/// Ranges of a job, in bytes from its start: in order, none of them empty, and apart from one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Parts(Vec<Range<u64>>);

impl Parts {
    /// All of a job of `len` bytes.
    #[must_use]
    pub fn whole(len: u64) -> Self {
        Self::new(Some(0..len))
    }

    /// These ranges, in any order; they may be empty, touch, and overlap.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        sorted.sort_unstable_by_key(|range| range.start);
        let mut parts: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match parts.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => parts.push(range),
            }
        }
        Self(parts)
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// How many bytes they have together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the last one ends; 0 if there is none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }

    /// What is left of them without `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut others = other.0.iter().peekable();
        for range in &self.0 {
            let mut at = range.start;
            while let Some(taken) = others.peek().filter(|taken| taken.start < range.end) {
                if at < taken.start {
                    left.push(at..taken.start);
                }
                at = at.max(taken.end);
                if taken.end > range.end {
                    // It takes from the next range, too.
                    break;
                }
                others.next();
            }
            if at < range.end {
                left.push(at..range.end);
            }
        }
        Self(left)
    }

    /// The same up to `end`.
    #[must_use]
    pub fn up_to(&self, end: u64) -> Self {
        Self::new(self.0.iter().map(|range| range.start..range.end.min(end)))
    }

    /// The same in whole blocks of `unit` bytes, each of which has a byte of them.
    #[must_use]
    pub fn in_whole(&self, unit: u64) -> Self {
        let unit = unit.max(1);
        let below = |at: u64| at - at % unit;
        Self::new(self.0.iter().map(|range| {
            let end = range.end.checked_next_multiple_of(unit);
            below(range.start)..end.unwrap_or(range.end)
        }))
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the test's numbers are small")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: usize = 100;

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        let range = (0..LEN as u64, 0..20_u64);
        let cut = |(start, len): (u64, u64)| start..(start + len).min(LEN as u64);
        proptest::collection::vec(range.prop_map(cut), 0..12)
    }

    /// Which bytes are in it.
    fn bits(ranges: &[Range<u64>]) -> [bool; LEN] {
        let mut bits = [false; LEN];
        for range in ranges {
            bits[range.start as usize..range.end as usize].fill(true);
        }
        bits
    }

    fn is_in_form(parts: &Parts) -> bool {
        let apart = parts.0.windows(2).all(|pair| pair[0].end < pair[1].start);
        apart && parts.0.iter().all(|range| !range.is_empty())
    }

    proptest! {
        #[test]
        fn they_are_sets_of_bytes(one in ranges(), other in ranges(), unit in 1..9_u64, end in 0..100_u64) {
            let (set, taken) = (Parts::new(one.clone()), Parts::new(other.clone()));
            prop_assert_eq!(bits(set.ranges()), bits(&one));
            prop_assert_eq!(set.bytes(), bits(&one).iter().filter(|bit| **bit).count() as u64);
            let left = set.without(&taken);
            let both: Vec<(bool, bool)> = bits(&one).into_iter().zip(bits(&other)).collect();
            prop_assert!(bits(left.ranges()).into_iter().eq(both.iter().map(|(a, b)| *a && !b)));
            let cut = set.up_to(end);
            let before = bits(&one).into_iter().enumerate().map(|(at, bit)| bit && (at as u64) < end);
            prop_assert!(bits(cut.ranges()).into_iter().eq(before));
            let whole = set.in_whole(unit);
            for parts in [&set, &left, &cut, &whole] {
                prop_assert!(is_in_form(parts), "{parts:?}");
            }
            prop_assert!(set.without(&whole).is_empty());
            for block in whole.ranges().iter().flat_map(|range| (range.start..range.end).step_by(unit as usize)) {
                prop_assert!(!set.without(&set.without(&Parts::new(Some(block..block + unit)))).is_empty());
            }
        }
    }

    #[test]
    fn all_of_it_and_nothing() {
        assert_eq!(Parts::whole(7).ranges(), [Range { start: 0, end: 7 }]);
        assert_eq!((Parts::whole(7).end(), Parts::whole(0).end()), (7, 0));
        assert!(Parts::whole(0).is_empty() && Parts::whole(7).without(&Parts::whole(8)).is_empty());
        let last = Parts::new(Some(5..u64::MAX)).in_whole(4);
        assert_eq!(last.ranges(), [Range { start: 4, end: u64::MAX }]);
    }
}
