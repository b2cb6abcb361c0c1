//! What waits for its time.

mod row;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use p2pdma_pci::Instant;

use row::{Key, Row};

/// Things that wait for an instant: they come in the order of their instants, and of their making where
/// those are equal.
///
/// A sorted row holds what has its place near one of the row's ends, as most things have: they are
/// pushed in order, or overtake all others. The rest goes into a heap. Both hold keys alone; the things
/// themselves stay in their slots. Nothing is allocated once the agenda is as large as it gets.
#[derive(Debug, Clone)]
pub struct Agenda<T> {
    /// The instant of the first; [`Instant::NEVER`] if there is nothing.
    first: Instant,
    made: u64,
    row: Row,
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Slot<T>>,
    /// The first free slot; beyond the last if there is none.
    free: u32,
}

#[derive(Debug, Clone)]
enum Slot<T> {
    Taken(T),
    /// Which slot is the next free one.
    Free(u32),
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Agenda<T> {
    /// An agenda with nothing on it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            first: Instant::NEVER,
            made: 0,
            row: Row::new(),
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: 0,
        }
    }

    /// Puts something on it. What has the last instant of all never comes.
    #[inline]
    pub fn push(&mut self, at: Instant, thing: T) {
        let slot = self.free;
        match self.slots.get_mut(slot as usize) {
            Some(place) => {
                if let Slot::Free(next) = std::mem::replace(place, Slot::Taken(thing)) {
                    self.free = next;
                }
            }
            None => self.grow(thing),
        }
        self.made += 1;
        self.first = self.first.min(at);
        let key = Key { at, made: self.made, slot };
        if !self.row.insert(key) {
            self.heap.push(Reverse(key));
        }
    }

    #[cold]
    fn grow(&mut self, thing: T) {
        self.slots.push(Slot::Taken(thing));
        // As many as do not fit would not fit memory.
        self.free = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
    }

    /// The instant of the first; [`Instant::NEVER`] if there is nothing.
    #[inline]
    #[must_use]
    pub fn first_at(&self) -> Instant {
        self.first
    }

    /// Takes the first off, if its instant has come.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.first > now { None } else { self.pop() }
    }

    /// Takes the first off.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let key = if self.heap.is_empty() {
            let key = self.row.pop_front()?;
            self.first = self.row.front().map_or(Instant::NEVER, |key| key.at);
            key
        } else {
            self.pop_of_both()?
        };
        let free = Slot::Free(std::mem::replace(&mut self.free, key.slot));
        match std::mem::replace(self.slots.get_mut(key.slot as usize)?, free) {
            Slot::Taken(thing) => Some(thing),
            Slot::Free(_) => None,
        }
    }

    #[inline(never)]
    fn pop_of_both(&mut self) -> Option<Key> {
        let key = match self.heap.peek() {
            Some(Reverse(key)) if self.row.front().is_none_or(|front| key < front) => {
                self.heap.pop()?.0
            }
            _ => self.row.pop_front()?,
        };
        let next = self.row.front().map_or(Instant::NEVER, |key| key.at);
        self.first = self.heap.peek().map_or(next, |Reverse(key)| key.at.min(next));
        Some(key)
    }

    /// Takes off everything for which `is_meant` says so, in order.
    pub fn take(&mut self, mut is_meant: impl FnMut(&T) -> bool) -> Vec<T> {
        let (mut taken, mut kept) = (Vec::new(), Self::new());
        loop {
            let at = self.first;
            let Some(thing) = self.pop() else { break };
            if is_meant(&thing) {
                taken.push(thing);
            } else {
                kept.push(at, thing);
            }
        }
        *self = kept;
        taken
    }

    /// Takes everything off.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2pdma_pci::Duration;
    use proptest::prelude::*;

    proptest! {
        /// Against a stable sort, with things taken off now and then.
        #[test]
        fn order_is_time_then_making(
            steps in proptest::collection::vec((0u64..50, 0u8..4, 0u8..40), 1..300),
        ) {
            let mut agenda = Agenda::new();
            let mut model: Vec<(Instant, usize)> = Vec::new();
            for (made, (picos, pops, take)) in steps.into_iter().enumerate() {
                let at = Instant::ZERO + Duration::from_picos(picos);
                agenda.push(at, made);
                model.push((at, made));
                model.sort();
                for _ in 0..pops {
                    let first = model.first().map_or(Instant::NEVER, |(at, _)| *at);
                    prop_assert_eq!(agenda.first_at(), first);
                    let expected = (!model.is_empty()).then(|| model.remove(0).1);
                    prop_assert_eq!(agenda.pop(), expected);
                }
                if take == 0 {
                    let meant = |made: &usize| made.is_multiple_of(3);
                    let expected: Vec<usize> =
                        model.extract_if(.., |(_, made)| meant(made)).map(|(_, made)| made).collect();
                    prop_assert_eq!(agenda.take(meant), expected);
                }
                let now = Instant::ZERO + Duration::from_picos(10);
                if made.is_multiple_of(7) {
                    let due = model.first().is_some_and(|(at, _)| *at <= now);
                    let expected = due.then(|| model.remove(0).1);
                    prop_assert_eq!(agenda.pop_due(now), expected);
                }
            }
            prop_assert!(agenda.slots.len() <= 300);
            agenda.clear();
            prop_assert_eq!((agenda.first_at(), agenda.pop()), (Instant::NEVER, None));
        }
    }
}
