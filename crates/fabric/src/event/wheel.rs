//! A timing wheel: events of the near future, by buckets of time.

use p2pdma_pci::Instant;

/// How long a bucket lasts, as a power of two in picoseconds: 33 ns. A wheel of a thousand of them covers
/// what a few links and a queue of commands take, and there are few events in a bucket.
const BUCKET_SHIFT: u32 = 15;
const BUCKETS: usize = 1024;
const WORDS: usize = BUCKETS / 64;

/// No slot.
const NONE: u32 = u32::MAX;

/// Events within a turn of the wheel from the present on, each in the bucket of its time, where they hang in
/// their order. Neither putting one in nor finding the first depends on how many buckets there are.
#[derive(Debug)]
pub(super) struct Wheel<E> {
    /// When the first event happens; never if there is none.
    first: Instant,
    /// The first free slot; beyond the last if there is none.
    free: u32,
    /// Which words of `used` are not zero.
    words: u32,
    /// Which buckets are not empty.
    used: [u64; WORDS],
    /// The slot of each bucket's first event; the others hang on it.
    buckets: Box<[u32; BUCKETS]>,
    slots: Vec<Slot<E>>,
}

/// A line of the cache each.
#[derive(Debug)]
#[repr(align(64))]
struct Slot<E> {
    at: Instant,
    /// The next in the bucket, or the next free slot.
    next: u32,
    event: Option<E>,
}

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
            first: Instant::NEVER,
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

    /// When the first event happens; never if there is none.
    #[inline]
    pub(super) fn first(&self) -> Instant {
        self.first
    }

    /// Puts an event on the wheel, behind those of the same time. It is made in its place, field by
    /// field: to read it as a whole just after that stalls the processor.
    #[inline(always)]
    pub(super) fn push(&mut self, at: Instant, make: impl FnOnce() -> E) {
        let bucket = bucket(at);
        let slot = self.free;
        self.used[bucket / 64] |= 1 << (bucket % 64);
        self.words |= 1 << (bucket / 64);
        self.first = self.first.min(at);
        let next = self.hang(bucket, slot, at);
        match self.slots.get_mut(slot as usize) {
            Some(place) => {
                self.free = place.next;
                (place.at, place.next) = (at, next);
                // A free place has none, which there is no need to look for.
                std::mem::forget(place.event.replace(make()));
            }
            None => self.grow(Slot { at, next, event: Some(make()) }),
        }
    }

    #[cold]
    fn grow(&mut self, slot: Slot<E>) {
        self.slots.push(slot);
        // As many as do not fit would not fit memory.
        self.free = u32::try_from(self.slots.len()).unwrap_or(NONE);
    }

    /// Hangs a slot behind those of its bucket that are not later; returns the one that follows.
    #[inline(always)]
    fn hang(&mut self, bucket: usize, slot: u32, at: Instant) -> u32 {
        let (mut before, mut next) = (NONE, self.buckets[bucket]);
        while let Some(place) = self.slots.get(next as usize)
            && place.at <= at
        {
            (before, next) = (next, place.next);
        }
        match self.slots.get_mut(before as usize) {
            Some(place) => place.next = slot,
            None => self.buckets[bucket] = slot,
        }
        next
    }

    /// Takes the first event.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<E> {
        let bucket = bucket(self.first);
        let slot = self.buckets[bucket];
        let place = self.slots.get_mut(slot as usize)?;
        let event = place.event.take();
        let next = std::mem::replace(&mut place.next, self.free);
        self.free = slot;
        self.buckets[bucket] = next;
        if next == NONE {
            self.used[bucket / 64] &= !(1 << (bucket % 64));
            let empty = self.used[bucket / 64] == 0;
            self.words &= !(u32::from(empty) << (bucket / 64));
        }
        self.first = self.find(bucket);
        event
    }

    /// When the first event happens, which is in no bucket before `from` but in a later turn.
    #[inline]
    fn find(&self, from: usize) -> Instant {
        let first = self.next_used(from).map(|bucket| self.buckets[bucket]);
        let place = first.and_then(|slot| self.slots.get(slot as usize));
        place.map_or(Instant::NEVER, |place| place.at)
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
