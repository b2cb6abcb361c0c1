//! The one event queue: what happens next, and in which order.

mod wheel;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use p2pdma_pci::Instant;

use wheel::{Key, Wheel};

/// Events in the order of their time, and of their making where times are equal.
///
/// Events for the present instant, which is all of them without a timing model, take a plain queue. Those
/// of the next microseconds are on a wheel, and the few beyond in a heap.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    now: Instant,
    made: u64,
    present: VecDeque<E>,
    near: Wheel<E>,
    far: BinaryHeap<Reverse<Far<E>>>,
}

#[derive(Debug)]
struct Far<E> {
    key: Key,
    event: E,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::ZERO,
            made: 0,
            present: VecDeque::new(),
            near: Wheel::new(),
            far: BinaryHeap::new(),
        }
    }

    /// The present.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Adds an event. One in the past happens now; one at the end of time never.
    ///
    /// Inlined, so that the event is written into its place field by field: to read it as a whole just
    /// after that stalls the processor.
    #[inline(always)]
    pub(crate) fn push(&mut self, at: Instant, event: E) {
        if at <= self.now {
            return self.push_present(event);
        }
        self.made += 1;
        let key = Key { at, made: self.made };
        if Wheel::<E>::reaches(self.now, at) {
            self.near.push(key, event);
        } else {
            self.push_far(key, event);
        }
    }

    #[inline(never)]
    fn push_present(&mut self, event: E) {
        self.present.push_back(event);
    }

    #[cold]
    fn push_far(&mut self, key: Key, event: E) {
        self.far.push(Reverse(Far { key, event }));
    }

    /// The first of those that are not for the present.
    #[inline]
    fn first(&self) -> Key {
        let near = self.near.first();
        match self.far.peek() {
            None => near,
            Some(Reverse(far)) => near.min(far.key),
        }
    }

    /// When the next event happens.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let at = if self.present.is_empty() { self.first().at } else { self.now };
        (at < Instant::NEVER).then_some(at.max(self.now))
    }

    /// Takes the next event and moves the present to it.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let first = self.first();
        // One that is due was made before the present began, hence before everything that is for the
        // present.
        if first.at > self.now
            && let Some(event) = self.present.pop_front()
        {
            return Some(event);
        }
        if first.at == Instant::NEVER {
            return None;
        }
        self.now = self.now.max(first.at);
        if first == self.near.first() {
            self.near.pop()
        } else {
            self.far.pop().map(|Reverse(far)| far.event)
        }
    }

    /// Moves the present forward; never past an event that waits.
    pub(crate) fn advance(&mut self, to: Instant) {
        let limit = self.next_at().unwrap_or(to);
        self.now = self.now.max(to.min(limit));
    }

    /// Forgets every waiting event, as a power cut does.
    pub(crate) fn clear(&mut self) {
        self.present.clear();
        self.near = Wheel::new();
        self.far.clear();
    }
}

impl<E> PartialEq for Far<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
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
        self.key.cmp(&other.key)
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
        queue.push(at(10), ());
        queue.advance(at(50));
        assert_eq!((queue.now(), queue.next_at()), (at(10), Some(at(10))));
        assert_eq!(queue.pop(), Some(()));
        queue.advance(at(50));
        assert_eq!((queue.now(), queue.next_at()), (at(50), None));
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
                queue.push(when, made);
                model.push((when, made));
                for _ in 0..pops {
                    model.sort();
                    let next = model.first().map(|(when, _)| *when);
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
