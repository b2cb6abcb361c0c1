//! What waits for its time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use p2pdma_pci::Instant;

/// Things that wait for an instant: they come in the order of their instants, and of their making where
/// those are equal.
///
/// What is pushed in that order anyway, as most things are, is put at the end of a queue; only what
/// overtakes goes into a heap. Both hold keys alone: the things themselves stay in their slots. Nothing is
/// allocated once it is as large as it gets.
#[derive(Debug, Clone)]
pub struct Agenda<T> {
    made: u64,
    in_order: VecDeque<Key>,
    overtaking: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Instant,
    /// The how-manieth thing it is.
    made: u64,
    slot: u32,
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
            made: 0,
            in_order: VecDeque::new(),
            overtaking: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Puts something on it.
    #[inline]
    pub fn push(&mut self, at: Instant, thing: T) {
        self.made += 1;
        let key = Key { at, made: self.made, slot: self.keep(thing) };
        if self.in_order.back().is_none_or(|last| last.at <= at) {
            self.in_order.push_back(key);
        } else {
            self.overtaking.push(Reverse(key));
        }
    }

    #[inline]
    fn keep(&mut self, thing: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(slot as usize) {
                *place = Some(thing);
            }
            return slot;
        }
        self.slots.push(Some(thing));
        // As many would not fit memory.
        u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
    }

    /// The instant of the first.
    #[inline]
    #[must_use]
    pub fn first_at(&self) -> Option<Instant> {
        match (self.in_order.front(), self.overtaking.peek()) {
            (Some(key), None) | (None, Some(Reverse(key))) => Some(key.at),
            (Some(key), Some(Reverse(other))) => Some(key.at.min(other.at)),
            (None, None) => None,
        }
    }

    /// Takes the first off, with its instant.
    #[inline]
    pub fn pop(&mut self) -> Option<(Instant, T)> {
        let overtakes = match (self.in_order.front(), self.overtaking.peek()) {
            (Some(key), Some(Reverse(other))) => other < key,
            (front, _) => front.is_none(),
        };
        let key = if overtakes {
            self.overtaking.pop().map(|Reverse(key)| key)
        } else {
            self.in_order.pop_front()
        }?;
        let thing = self.slots.get_mut(key.slot as usize)?.take()?;
        self.free.push(key.slot);
        Some((key.at, thing))
    }

    /// Takes the first off, if its instant has come.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.first_at().is_none_or(|at| at > now) {
            return None;
        }
        self.pop().map(|(_, thing)| thing)
    }

    /// Takes off everything for which `is_meant` says so, in order.
    pub fn take(&mut self, mut is_meant: impl FnMut(&T) -> bool) -> Vec<T> {
        let (mut taken, mut kept) = (Vec::new(), Self::new());
        while let Some((at, thing)) = self.pop() {
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
                    prop_assert_eq!(agenda.first_at(), model.first().map(|(at, _)| *at));
                    let expected = (!model.is_empty()).then(|| model.remove(0));
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
            prop_assert_eq!(agenda.first_at(), None);
        }
    }
}
