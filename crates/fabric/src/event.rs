//! The one event queue: what happens next, and in which order.

use std::collections::VecDeque;

use p2pdma_pci::Instant;

use crate::agenda::Agenda;

/// Events in the order of their time, and of their making where times are equal.
///
/// Events for the present instant, which is all of them without a timing model, take a plain queue
/// beside the agenda.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    now: Instant,
    present: VecDeque<E>,
    future: Agenda<E>,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self { now: Instant::ZERO, present: VecDeque::new(), future: Agenda::new() }
    }

    /// The present.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Adds an event. One in the past happens now.
    #[inline]
    pub(crate) fn push(&mut self, at: Instant, event: E) {
        if at <= self.now {
            self.present.push_back(event);
        } else {
            self.future.push(at, event);
        }
    }

    /// When the next event happens.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let at = if self.present.is_empty() { self.future.first_at() } else { self.now };
        (at < Instant::NEVER).then_some(at.max(self.now))
    }

    /// Takes the next event and moves the present to it.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<E> {
        // One of the agenda that is due was made before the present began, hence before everything in
        // the present's queue.
        if let Some(event) = self.future.pop_due(self.now) {
            return Some(event);
        }
        if let Some(event) = self.present.pop_front() {
            return Some(event);
        }
        self.now = self.now.max(self.next_at()?);
        self.future.pop()
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
