//! A timing wheel: events of the near future, by buckets of time.

use p2pdma_pci::Instant;

/// What events are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) at: Instant,
    /// The how-manieth event it is.
    pub(super) made: u64,
}

/// How long a bucket lasts, as a power of two in picoseconds: 33 ns. A wheel of a thousand of them covers
/// what a few links and a queue of commands take, and mostly there is one event in a bucket.
const BUCKET_SHIFT: u32 = 15;
const BUCKETS: usize = 1024;
const WORDS: usize = BUCKETS / 64;

/// No slot.
const NONE: u32 = u32::MAX;

/// Events within a turn of the wheel from the present on, each in the bucket of its time. Neither putting
/// one in nor finding the first depends on how many there are.
#[derive(Debug)]
pub(super) struct Wheel<E> {
    first: Key,
    /// The first's slot.
    at: u32,
    /// The first free slot; beyond the last if there is none.
    free: u32,
    /// Which words of `used` are not zero.
    words: u32,
    /// Which buckets are not empty.
    used: [u64; WORDS],
    /// The slot of each bucket's last event; the others hang on it.
    buckets: Box<[u32; BUCKETS]>,
    slots: Vec<Slot<E>>,
}

#[derive(Debug)]
struct Slot<E> {
    key: Key,
    /// The next in the bucket, or the next free slot.
    next: u32,
    event: Option<E>,
}

/// What is later than every event.
const NEVER: Key = Key { at: Instant::NEVER, made: u64::MAX };

/// The bucket of an instant, on a wheel without end.
#[inline]
fn turn(at: Instant) -> u64 {
    at.since(Instant::ZERO).picos() >> BUCKET_SHIFT
}

#[inline]
fn bucket(at: Instant) -> usize {
    usize::try_from(turn(at) % BUCKETS as u64).unwrap_or(0)
}

impl<E> Wheel<E> {
    pub(super) fn new() -> Self {
        Self {
            first: NEVER,
            at: NONE,
            free: 0,
            words: 0,
            used: [0; WORDS],
            buckets: Box::new([NONE; BUCKETS]),
            slots: Vec::new(),
        }
    }

    /// Whether an event belongs on the wheel at present.
    #[inline]
    pub(super) fn reaches(now: Instant, at: Instant) -> bool {
        turn(at).wrapping_sub(turn(now)) < BUCKETS as u64
    }

    /// The first event's key.
    #[inline]
    pub(super) fn first(&self) -> Key {
        self.first
    }

    /// Puts an event on the wheel.
    #[inline(always)]
    pub(super) fn push(&mut self, key: Key, event: E) {
        let bucket = bucket(key.at);
        let slot = self.free;
        let hung = std::mem::replace(&mut self.buckets[bucket], slot);
        self.used[bucket / 64] |= 1 << (bucket % 64);
        self.words |= 1 << (bucket / 64);
        // Which of the two is earlier cannot be predicted: no branch, please.
        let earlier = key.at < self.first.at;
        self.first.at = if earlier { key.at } else { self.first.at };
        self.first.made = if earlier { key.made } else { self.first.made };
        self.at = if earlier { slot } else { self.at };
        let taken = Slot { key, next: hung, event: Some(event) };
        match self.slots.get_mut(slot as usize) {
            Some(place) => self.free = std::mem::replace(place, taken).next,
            None => self.grow(taken),
        }
    }

    #[cold]
    fn grow(&mut self, slot: Slot<E>) {
        self.slots.push(slot);
        // As many as do not fit would not fit memory.
        self.free = u32::try_from(self.slots.len()).unwrap_or(NONE);
    }

    /// Takes the first event.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<E> {
        let (slot, bucket) = (self.at, bucket(self.first.at));
        let place = self.slots.get_mut(slot as usize)?;
        let event = place.event.take();
        let next = std::mem::replace(&mut place.next, self.free);
        self.free = slot;
        if self.buckets[bucket] == slot {
            self.buckets[bucket] = next;
        } else {
            self.unhang(bucket, slot, next);
        }
        if self.buckets[bucket] == NONE {
            self.used[bucket / 64] &= !(1 << (bucket % 64));
            let empty = self.used[bucket / 64] == 0;
            self.words &= !(u32::from(empty) << (bucket / 64));
        }
        (self.first, self.at) = self.find(bucket);
        event
    }

    /// Takes a slot out of a bucket in which it is not the last.
    #[cold]
    fn unhang(&mut self, bucket: usize, slot: u32, next: u32) {
        let mut at = self.buckets[bucket];
        while let Some(place) = self.slots.get_mut(at as usize) {
            if place.next == slot {
                place.next = next;
                return;
            }
            at = place.next;
        }
    }

    /// The first event, which is in no bucket before `from` but in a later turn.
    #[inline]
    fn find(&self, from: usize) -> (Key, u32) {
        let Some(bucket) = self.next_used(from) else { return (NEVER, NONE) };
        let mut slot = self.buckets[bucket];
        let (mut first, mut at) = (NEVER, NONE);
        while let Some(place) = self.slots.get(slot as usize) {
            if place.key < first {
                (first, at) = (place.key, slot);
            }
            slot = place.next;
        }
        (first, at)
    }

    /// The first bucket that is not empty, from one on and around.
    #[inline]
    fn next_used(&self, from: usize) -> Option<usize> {
        let (word, bit) = (from / 64, from % 64);
        let here = self.used[word] >> bit;
        if here != 0 {
            return Some(from + here.trailing_zeros() as usize);
        }
        let later = self.words & !((2_u32 << word) - 1);
        let words = if later != 0 { later } else { self.words };
        let word = words.trailing_zeros() as usize;
        let used = self.used.get(word)?;
        Some(word * 64 + used.trailing_zeros() as usize)
    }
}

/// A turn of the wheel.
#[cfg(test)]
pub(super) const TURN: p2pdma_pci::Duration =
    p2pdma_pci::Duration::from_picos((BUCKETS as u64) << BUCKET_SHIFT);
