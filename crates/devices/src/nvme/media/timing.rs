//! How long the media take.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use p2pdma_pci::{Duration, Instant};

/// How long one direction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceTime {
    /// For how long a command occupies one of the units.
    pub latency: Duration,
    /// Bytes per second that all units move together; 0 for no limit.
    pub bytes_per_second: u64,
}

/// The media of a subsystem as a queue with several servers: each command occupies one unit for its
/// latency, then the bytes pass a pipe per direction. A command that finds every unit occupied waits
/// for the first that becomes free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTiming {
    /// Reading.
    pub read: ServiceTime,
    /// Writing.
    pub write: ServiceTime,
    /// How many commands are served at a time: dies, roughly. At least 1.
    pub units: u16,
}

/// The direction of a media access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The media's occupancy.
#[derive(Debug)]
pub(crate) struct MediaClock {
    timing: MediaTiming,
    /// When each unit becomes free.
    units: BinaryHeap<Reverse<Instant>>,
    /// When each direction's pipe becomes free.
    pipes: [Instant; 2],
}

impl MediaClock {
    pub(crate) fn new(timing: MediaTiming) -> Self {
        let units = (0..timing.units.max(1)).map(|_| Reverse(Instant::ZERO)).collect();
        Self { timing, units, pipes: [Instant::ZERO; 2] }
    }

    /// Serves an access that could begin at `from`; returns when it is done.
    pub(crate) fn serve(&mut self, direction: Direction, from: Instant, bytes: u64) -> Instant {
        let (service, pipe) = match direction {
            Direction::Read => (self.timing.read, &mut self.pipes[0]),
            Direction::Write => (self.timing.write, &mut self.pipes[1]),
        };
        let free = self.units.pop().map_or(Instant::ZERO, |unit| unit.0);
        let found = free.max(from) + service.latency;
        self.units.push(Reverse(found));
        let picos = u128::from(bytes) * 1_000_000_000_000;
        let passage = picos.checked_div(u128::from(service.bytes_per_second)).unwrap_or(0);
        let passage = Duration::from_picos(u64::try_from(passage).unwrap_or(u64::MAX));
        *pipe = found.max(*pipe) + passage;
        *pipe
    }

    /// Power was lost: nothing is under way any more.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.timing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Instant {
        Instant::ZERO + Duration::from_micros(micros)
    }

    fn clock(units: u16, bytes_per_second: u64) -> MediaClock {
        let read = ServiceTime { latency: Duration::from_micros(80), bytes_per_second };
        let write = ServiceTime { latency: Duration::from_micros(10), bytes_per_second };
        MediaClock::new(MediaTiming { read, write, units })
    }

    #[test]
    fn units_serve_side_by_side_and_then_one_after_another() {
        let mut clock = clock(2, 0);
        let done = [0; 4].map(|from| clock.serve(Direction::Read, micros(from), 4096));
        assert_eq!(done, [80, 80, 160, 160].map(micros));
        assert_eq!(clock.serve(Direction::Read, micros(1000), 4096), micros(1080));
    }

    #[test]
    fn a_short_write_overtakes_a_read() {
        let mut clock = clock(2, 0);
        let read = clock.serve(Direction::Read, micros(0), 4096);
        assert!(clock.serve(Direction::Write, micros(1), 4096) < read);
    }

    #[test]
    fn bandwidth_limits_each_direction() {
        // A million bytes at 1 GB/s are a millisecond.
        let mut clock = clock(64, 1_000_000_000);
        let done = [0; 2].map(|from| clock.serve(Direction::Read, micros(from), 1_000_000));
        assert_eq!(done, [1080, 2080].map(micros));
        assert_eq!(clock.serve(Direction::Write, micros(0), 1_000_000), micros(1010));
    }
}
