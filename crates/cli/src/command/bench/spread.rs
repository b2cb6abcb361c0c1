//! The middle of several figures, and how sure it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The middle half of several figures, and between which bounds the true median is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Spread {
    /// A quarter of them are below.
    pub(crate) lower_quartile: f64,
    pub(crate) median: f64,
    /// A quarter of them are above.
    pub(crate) upper_quartile: f64,
    /// Where the median of all rounds that there could have been is.
    pub(crate) interval: Interval,
}

/// Bounds, and how probable it is that what is sought is between them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Interval {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    /// From 0 to 1, if the rounds do not depend on each other; nothing is assumed of how they scatter.
    pub(crate) confidence: f64,
}

impl Spread {
    /// Of figures, which it sorts. `None` without any.
    pub(crate) fn of(figures: &mut [f64]) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            // Between the two nearest, in proportion.
            let place = (figures.len().checked_sub(1)?) * quarter;
            let (below, part) = (place / 4, place % 4);
            let low = *figures.get(below)?;
            let high = *figures.get(below + 1).unwrap_or(&low);
            Some(low + (high - low) * [0.0, 0.25, 0.5, 0.75][part])
        };
        Some(Self {
            lower_quartile: at(1)?,
            median: at(2)?,
            upper_quartile: at(3)?,
            interval: Interval::of_median(figures)?,
        })
    }
}

/// How sure intervals are, where there are enough rounds: six.
const WANTED: f64 = 0.95;

impl Interval {
    /// From the k-th figure to the k-th from the end, of figures in order. The median is outside if fewer
    /// than k of them fell to one side of it, which is as probable as that few heads of a coin; k is the
    /// highest with which that is improbable enough, or 1.
    fn of_median(sorted: &[f64]) -> Option<Self> {
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let count = u32::try_from(sorted.len()).ok()?;
        // Exact up to 1023 rounds, and beyond that in the middle, where it matters.
        let (mut term, mut outside) = (0.5_f64.powf(f64::from(count)), 0.0);
        let mut best = None;
        for k in 0..count / 2 {
            outside += term;
            if best.is_none() || 2.0 * outside <= 1.0 - WANTED {
                best = Some((k as usize, 1.0 - 2.0 * outside));
            }
            term *= f64::from(count - k) / f64::from(k + 1);
        }
        let Some((k, confidence)) = best else {
            return Some(Self { lower: first, upper: last, confidence: 0.0 });
        };
        let (lower, upper) = (*sorted.get(k)?, *sorted.get(sorted.len() - 1 - k)?);
        Some(Self { lower, upper, confidence })
    }

    /// Of a ratio of two medians: both are within theirs at once at least this often.
    pub(crate) fn over(self, divisor: Self) -> Self {
        Self {
            lower: self.lower / divisor.upper,
            upper: self.upper / divisor.lower,
            confidence: (self.confidence + divisor.confidence - 1.0).max(0.0),
        }
    }

    /// `0.021-0.024`
    pub(crate) fn text(&self, digits: usize) -> String {
        format!("{:.digits$}-{:.digits$}", self.lower, self.upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quartiles_are_interpolated() {
        let spread = |figures: &mut [f64]| {
            let Spread { lower_quartile, median, upper_quartile, .. } =
                Spread::of(figures).unwrap();
            [lower_quartile, median, upper_quartile]
        };
        assert_eq!(spread(&mut [5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
        assert_eq!(spread(&mut [1.0, 2.0]), [1.25, 1.5, 1.75]);
        assert_eq!(spread(&mut [7.0]), [7.0, 7.0, 7.0]);
        assert!(Spread::of(&mut []).is_none());
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Conover, Practical Nonparametric Statistics, table of the binomial distribution.
        let known =
            [(5, 0, 0.9375), (6, 0, 0.96875), (9, 1, 0.9609), (20, 5, 0.9586), (30, 9, 0.9572)];
        for (count, k, confidence) in known {
            let mut figures: Vec<f64> = (0..count).map(f64::from).collect();
            let found = Spread::of(&mut figures).unwrap().interval;
            assert_eq!((found.lower, found.upper), (f64::from(k), f64::from(count - 1 - k)));
            assert!((found.confidence - confidence).abs() < 1e-4, "{count}: {found:?}");
        }
    }

    #[test]
    fn one_round_says_nothing_of_others() {
        let interval = Spread::of(&mut [3.0]).unwrap().interval;
        assert_eq!((interval.lower, interval.upper, interval.confidence), (3.0, 3.0, 0.0));
    }

    proptest! {
        /// What is between the bounds is the median as often as is said: of numbers that are drawn evenly.
        #[test]
        fn the_true_median_is_between_the_bounds_as_often_as_is_said(
            rounds in proptest::collection::vec(proptest::collection::vec(0.0..1.0_f64, 11), 400),
        ) {
            let within = rounds.into_iter().filter(|round| {
                let interval = Spread::of(&mut round.clone()).unwrap().interval;
                interval.lower <= 0.5 && 0.5 <= interval.upper
            });
            // 0.988; fewer than 0.95 of 400 would be one in ten million.
            prop_assert!(within.count() >= 380);
        }
    }
}
