//! Time as the library sees it: it never reads a wall clock, it asks a [`Clock`].

use std::fmt;
use std::ops::{Add, AddAssign, Mul, Sub};

/// A point in time, in picoseconds since its clock began.
///
/// Picoseconds because a 64-byte packet passes a sixth-generation x16 link in half a nanosecond;
/// 64 bits of them last 213 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

/// A span of time in picoseconds, up to 213 days; sums saturate there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

impl Instant {
    /// The clock's beginning.
    pub const ZERO: Self = Self(0);

    /// A time that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Picoseconds since the clock began.
    #[must_use]
    pub const fn picos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span in picoseconds.
    #[must_use]
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    /// A span in nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos.saturating_mul(1_000))
    }

    /// A span in microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000_000))
    }

    /// A span in milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000_000))
    }

    /// The length in picoseconds.
    #[must_use]
    pub const fn picos(self) -> u64 {
        self.0
    }

    /// The length in seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display and ratios; 53 bits suffice")]
    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e12
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    #[inline]
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Duration> for Instant {
    #[inline]
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Add for Duration {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Duration {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<u64> for Duration {
    type Output = Self;
    #[inline]
    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl fmt::Display for Duration {
    /// Three or four digits and a unit: `1.250 ns`, `86.40 us`, `412.0 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            0..1_000 => return write!(f, "{} ps", self.0),
            1_000..1_000_000 => (1e3, "ns"),
            1_000_000..1_000_000_000 => (1e6, "us"),
            1_000_000_000..1_000_000_000_000 => (1e9, "ms"),
            _ => (1e12, "s"),
        };
        let value = self.as_secs_f64() * 1e12 / value;
        let digits = if value < 10.0 {
            3
        } else if value < 100.0 {
            2
        } else {
            1
        };
        write!(f, "{value:.digits$} {unit}")
    }
}

/// A source of time and a way to wait.
///
/// On hardware, `relax` is a spin hint. In the software fabric it lets events happen until the loop may
/// notice one, so a polling loop is what drives the simulation, and waiting for a dead device costs no
/// real time.
pub trait Clock: Send + Sync {
    /// The time by this clock.
    fn now(&self) -> Instant;

    /// Called once per turn of a polling loop that found nothing.
    fn relax(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_print_as_people_write_them() {
        for (picos, text) in [
            (512, "512 ps"),
            (1_250, "1.250 ns"),
            (86_400_000, "86.40 us"),
            (412_000_000_000, "412.0 ms"),
            (2_000_000_000_000, "2.000 s"),
        ] {
            assert_eq!(Duration::from_picos(picos).to_string(), text);
        }
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        assert_eq!(Instant::NEVER + Duration::from_millis(1), Instant::NEVER);
        assert_eq!(Instant::ZERO.since(Instant::NEVER), Duration::ZERO);
        assert_eq!(Duration::from_millis(u64::MAX) * 2, Duration::from_picos(u64::MAX));
    }
}
