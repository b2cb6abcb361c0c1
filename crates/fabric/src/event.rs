//! The one event queue: what happens next, and in which order.

mod wheel;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use p2pdma_pci::Instant;

use wheel::Wheel;

/// Room for so many events of one instant from the start: as many as several threads' interrupts and doorbells are.
const USUAL: usize = 64;

/// Events in the order of their time, and of their making where times are equal.
///
/// Events for the present instant, which is all of them without a timing model, take a plain queue. Those
/// of the next microseconds are on a wheel, and the few beyond in a heap.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    now: Instant,
    present: VecDeque<E>,
    near: Wheel<E>,
    far: BinaryHeap<Reverse<Far<E>>>,
    /// When the first of the far ones happens; never if there is none.
    far_at: Instant,
    /// How many events have been far.
    made: u64,
}

#[derive(Debug)]
struct Far<E> {
    at: Instant,
    /// The how-manieth far event it is.
    made: u64,
    event: E,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::ZERO,
            present: VecDeque::with_capacity(USUAL),
            near: Wheel::new(),
            far: BinaryHeap::new(),
            far_at: Instant::NEVER,
            made: 0,
        }
    }

    /// The present.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Adds the event that `make` makes. One in the past happens now; one at the end of time never.
    #[inline(always)]
    pub(crate) fn push(&mut self, at: Instant, make: impl FnOnce() -> E) {
        if at <= self.now {
            self.push_present(make());
        } else if Wheel::<E>::reaches(self.now, at) {
            self.near.push(at, make);
        } else {
            self.push_far(at, make());
        }
    }

    #[inline(never)]
    fn push_present(&mut self, event: E) {
        self.present.push_back(event);
    }

    #[cold]
    fn push_far(&mut self, at: Instant, event: E) {
        self.made += 1;
        self.far.push(Reverse(Far { at, made: self.made, event }));
        self.far_at = self.far_at.min(at);
    }

    #[cold]
    fn pop_far(&mut self) -> Option<E> {
        let first = self.far.pop().map(|Reverse(far)| far.event);
        self.far_at = self.far.peek().map_or(Instant::NEVER, |Reverse(far)| far.at);
        first
    }

    /// When the next event happens; never if there is none. That is not before the present.
    #[inline]
    pub(crate) fn next_at(&self) -> Instant {
        let later = self.near.first().min(self.far_at);
        if self.present.is_empty() { later } else { self.now }
    }

    /// Takes the next event and moves the present to it.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<E> {
        let near = self.near.first();
        let first = near.min(self.far_at);
        // One that is due was made before the present began, hence before everything that is for the
        // present.
        if first > self.now
            && let Some(event) = self.present.pop_front()
        {
            return Some(event);
        }
        if first == Instant::NEVER {
            return None;
        }
        self.now = first;
        // Of two for one instant, the far one was made when that was too far away for the other.
        if near < self.far_at { self.near.pop() } else { self.pop_far() }
    }

    /// Moves the present forward; never past an event that waits.
    #[inline]
    pub(crate) fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to.min(self.next_at()));
    }

    /// Forgets every waiting event, as a power cut does.
    pub(crate) fn clear(&mut self) {
        self.present.clear();
        self.near = Wheel::new();
        self.far.clear();
        self.far_at = Instant::NEVER;
    }
}

impl<E> PartialEq for Far<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.made) == (other.at, other.made)
    }
}

impl<E> Eq for Far<E> {}

impl<E> PartialOrd for Far<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Far<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.made).cmp(&(other.at, other.made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2pdma_pci::Duration;
    use proptest::prelude::*;

    fn at(picos: u64) -> Instant {
        Instant::ZERO + Duration::from_picos(picos)
    }

    #[test]
    fn the_present_never_passes_a_waiting_event() {
        let mut queue = EventQueue::new();
        queue.push(at(10), || ());
        queue.advance(at(50));
        assert_eq!((queue.now(), queue.next_at()), (at(10), at(10)));
        assert_eq!(queue.pop(), Some(()));
        queue.advance(at(50));
        assert_eq!((queue.now(), queue.next_at()), (at(50), Instant::NEVER));
    }

    /// Close together, about a turn of the wheel apart, and far beyond.
    fn delay() -> impl Strategy<Value = u64> {
        let turn = wheel::TURN.picos();
        prop_oneof![0u64..20, 0..3 * turn, turn - 40_000..turn + 40_000, Just(turn), 0..40 * turn]
    }

    proptest! {
        /// Against a stable sort: events come by time, and by order of making within a time.
        #[test]
        fn order_is_time_then_making(steps in proptest::collection::vec((delay(), 0u8..4), 1..300)) {
            let mut queue = EventQueue::new();
            let mut model: Vec<(Instant, usize)> = Vec::new();
            for (made, (delay, pops)) in steps.into_iter().enumerate() {
                let when = queue.now() + Duration::from_picos(delay);
                queue.push(when, || made);
                model.push((when, made));
                for _ in 0..pops {
                    model.sort();
                    let next = model.first().map_or(Instant::NEVER, |(when, _)| *when);
                    prop_assert_eq!(queue.next_at(), next);
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    prop_assert_eq!(queue.pop(), expected.map(|(_, made)| made));
                    if let Some((when, _)) = expected {
                        prop_assert_eq!(queue.now(), when);
                    }
                }
            }
        }
    }
}
