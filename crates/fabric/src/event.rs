//! The one event queue: what happens next, and in which order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use p2pdma_pci::Instant;

/// Events in the order of their time, and of their making where times are equal.
///
/// Events for the present instant, which is all of them without a timing model, take a plain queue
/// beside the heap.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    now: Instant,
    sequence: u64,
    present: VecDeque<E>,
    future: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Instant,
    sequence: u64,
    event: E,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::ZERO,
            sequence: 0,
            present: VecDeque::new(),
            future: BinaryHeap::new(),
        }
    }

    /// The present.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Adds an event. One in the past happens now.
    #[inline]
    pub(crate) fn push(&mut self, at: Instant, event: E) {
        if at <= self.now {
            self.present.push_back(event);
        } else {
            self.sequence += 1;
            self.future.push(Reverse(Entry { at, sequence: self.sequence, event }));
        }
    }

    /// When the next event happens.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        if self.present.is_empty() {
            self.future.peek().map(|entry| entry.0.at.max(self.now))
        } else {
            Some(self.now)
        }
    }

    /// Takes the next event and moves the present to it.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<E> {
        // An entry of the heap that is due was made before the present began, hence before
        // everything in the present's queue.
        let due = self.future.peek().is_some_and(|entry| entry.0.at <= self.now);
        if !due && let Some(event) = self.present.pop_front() {
            return Some(event);
        }
        let Reverse(entry) = self.future.pop()?;
        self.now = self.now.max(entry.at);
        Some(entry.event)
    }

    /// Moves the present forward; never past an event that waits.
    pub(crate) fn advance(&mut self, to: Instant) {
        let limit = self.next_at().unwrap_or(to);
        self.now = self.now.max(to.min(limit));
    }

    /// Forgets every waiting event, as a power cut does.
    pub(crate) fn clear(&mut self) {
        self.present.clear();
        self.future.clear();
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
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

    proptest! {
        /// Against a stable sort: events come by time, and by order of making within a time.
        #[test]
        fn order_is_time_then_making(steps in proptest::collection::vec((0u64..20, 0u8..4), 1..300)) {
            let mut queue = EventQueue::new();
            let mut model: Vec<(Instant, usize)> = Vec::new();
            for (made, (delay, pops)) in steps.into_iter().enumerate() {
                let when = queue.now() + Duration::from_picos(delay);
                queue.push(when, made);
                model.push((when, made));
                for _ in 0..pops {
                    model.sort();
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
