//! Keys in order, near whose ends others find their places.

use p2pdma_pci::Instant;

/// What an agenda sorts by, and where the thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) at: Instant,
    /// The how-manieth thing it is.
    pub(super) made: u64,
    pub(super) slot: u32,
}

/// Sorted keys in a ring: taken from the front, put in near the front or near the back.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// As many as a power of two, or none; those that are not in use hold anything.
    ring: Vec<Key>,
    /// Where the first is, modulo the ring's length.
    first: usize,
    len: usize,
}

/// How many keys are looked at from each end to find a place.
const REACH: usize = 6;

impl Row {
    pub(super) const fn new() -> Self {
        Self { ring: Vec::new(), first: 0, len: 0 }
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&Key> {
        if self.len == 0 { None } else { self.ring.get(self.place(0)) }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Key> {
        let key = *self.front()?;
        self.first = self.first.wrapping_add(1);
        self.len -= 1;
        Some(key)
    }

    /// Puts a key where it belongs, behind all that have the same instant. False if that is too far from
    /// both ends.
    #[inline]
    pub(super) fn insert(&mut self, key: Key) -> bool {
        if self.len == self.ring.len() {
            self.grow();
        }
        // Most keys belong at the end, and most others near the front.
        if self.len == 0 || self.at(self.len - 1) <= key.at {
            self.put(self.len, key);
            self.len += 1;
            return true;
        }
        self.insert_inside(key)
    }

    #[inline(never)]
    fn insert_inside(&mut self, key: Key) -> bool {
        let reach = REACH.min(self.len);
        if let Some(before) = (0..reach).find(|&index| self.at(index) > key.at) {
            self.first = self.first.wrapping_sub(1);
            for index in 0..before {
                self.shift(index + 1, index);
            }
            self.put(before, key);
        } else if let Some(behind) =
            (1..reach).find(|&index| self.at(self.len - 1 - index) <= key.at)
        {
            for index in (self.len - behind..self.len).rev() {
                self.shift(index, index + 1);
            }
            self.put(self.len - behind, key);
        } else {
            return false;
        }
        self.len += 1;
        true
    }

    #[inline]
    fn place(&self, index: usize) -> usize {
        self.first.wrapping_add(index) & self.ring.len().wrapping_sub(1)
    }

    #[inline]
    fn at(&self, index: usize) -> Instant {
        self.ring.get(self.place(index)).map_or(Instant::NEVER, |key| key.at)
    }

    #[inline]
    fn put(&mut self, index: usize, key: Key) {
        let place = self.place(index);
        if let Some(slot) = self.ring.get_mut(place) {
            *slot = key;
        }
    }

    #[inline]
    fn shift(&mut self, from: usize, to: usize) {
        if let Some(&key) = self.ring.get(self.place(from)) {
            self.put(to, key);
        }
    }

    #[cold]
    fn grow(&mut self) {
        let keys = (0..self.len).filter_map(|index| self.ring.get(self.place(index)).copied());
        let mut ring: Vec<Key> = keys.collect();
        let unused = Key { at: Instant::NEVER, made: 0, slot: 0 };
        ring.resize((self.len * 2).max(16), unused);
        (self.ring, self.first) = (ring, 0);
    }
}
