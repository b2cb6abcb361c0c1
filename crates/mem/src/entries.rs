//! The slots of a ring in shared memory.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use crate::copy;
use crate::shared::sealed::Sealed as _;
use crate::shared::{OutOfBounds, SharedMemory, Word};

/// Shared memory as a row of entries of `N` 64-bit words each.
///
/// What a ring does per entry costs one comparison: alignment and bounds of all entries are checked when
/// the row is made. Every word is accessed whole and atomically, in no order but the one that is asked
/// for.
#[derive(Debug, Clone)]
pub struct SharedEntries<const N: usize> {
    /// The first entry, at hand: through the memory it is two loads further away.
    base: *mut u8,
    count: usize,
    _memory: SharedMemory,
}

// SAFETY: `base` points into `_memory`, which is kept for as long, and which may be used by any thread
// like `SharedMemory` itself: every access is atomic, and no reference into it exists.
unsafe impl<const N: usize> Send for SharedEntries<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for SharedEntries<N> {}

impl<const N: usize> SharedEntries<N> {
    const SIZE: usize = N * size_of::<u64>();

    /// The first `count` entries of `memory`.
    ///
    /// # Errors
    /// [`OutOfBounds`] if there are not so many, or the memory is not aligned to 8 bytes.
    pub fn new(memory: SharedMemory, count: usize) -> Result<Self, OutOfBounds> {
        let len = count.saturating_mul(Self::SIZE);
        if !(memory.base() as usize).is_multiple_of(size_of::<u64>()) {
            return Err(memory.out(0, len));
        }
        let memory = memory.slice(0..len)?;
        Ok(Self { base: memory.base(), count, _memory: memory })
    }

    /// How many entries there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Drops all entries from number `count` on.
    pub fn truncate(&mut self, count: usize) {
        self.count = self.count.min(count);
    }

    /// An entry; `None` beyond the last.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<SharedEntry<'_, N>> {
        if index >= self.count {
            return None;
        }
        // Below the mapping's end, so nothing wraps.
        let at = self.base.wrapping_add(index.wrapping_mul(Self::SIZE));
        Some(SharedEntry { at, _row: PhantomData })
    }
}

/// One entry of a row.
#[derive(Debug, Clone, Copy)]
pub struct SharedEntry<'a, const N: usize> {
    at: *mut u8,
    _row: PhantomData<&'a SharedMemory>,
}

impl<const N: usize> SharedEntry<'_, N> {
    /// Loads word `WORD` of the entry.
    #[inline]
    #[must_use]
    pub fn load<const WORD: usize>(self, order: Ordering) -> u64 {
        const { assert!(WORD < N, "the entry has no such word") };
        // SAFETY: the entry lies within its memory, whose mapping lives as long as the borrow, and is
        // aligned to 8 bytes; `WORD < N`.
        unsafe { u64::load(self.at.wrapping_add(WORD * size_of::<u64>()), order) }
    }

    /// Stores a word at byte `AT` of the entry.
    #[inline]
    pub fn store<const AT: usize, W: Word>(self, word: W) {
        const {
            assert!(AT + size_of::<W>() <= N * size_of::<u64>(), "the entry has no such word");
            assert!(AT.is_multiple_of(size_of::<W>()), "the word is not aligned");
        }
        // SAFETY: as in `load`: the word lies within the entry, and is aligned as the entry is to 8.
        unsafe { W::store(self.at.wrapping_add(AT), word, Ordering::Relaxed) };
    }
}

impl SharedEntry<'_, 8> {
    /// Stores the whole entry.
    #[inline]
    pub fn fill(self, bytes: &[u8; 64]) {
        // SAFETY: the entry has 64 bytes and lies within its memory, as in `load`; `bytes` are private
        // memory that nobody writes while they are borrowed, so they cannot overlap it.
        unsafe { copy::copy_line(bytes.as_ptr(), self.at) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_needs_room_and_alignment() {
        let memory = SharedMemory::anonymous(4096).unwrap();
        assert_eq!(SharedEntries::<8>::new(memory.clone(), 64).unwrap().len(), 64);
        assert!(SharedEntries::<8>::new(memory.clone(), 65).is_err());
        assert!(SharedEntries::<8>::new(memory.clone(), usize::MAX).is_err());
        assert!(SharedEntries::<2>::new(memory.slice(4..4096).unwrap(), 1).is_err());
        let mut row = SharedEntries::<2>::new(memory.clone(), 8).unwrap();
        row.truncate(9);
        row.truncate(4);
        assert!(row.get(3).is_some() && row.get(4).is_none());
        let none = SharedEntries::<2>::new(memory, 0).unwrap();
        assert!(none.is_empty() && none.get(0).is_none());
    }

    proptest! {
        /// Against the same bytes accessed as bytes: each entry is where it should be, and alone there.
        #[test]
        fn entries_are_where_they_should_be(
            start in 0_usize..8, count in 1_usize..50, writes: Vec<(usize, [u64; 2])>,
        ) {
            let memory = SharedMemory::anonymous(4096).unwrap();
            memory.fill(0, 4096, 0xa5).unwrap();
            let part = memory.slice(start * 8..4096).unwrap();
            let entries = SharedEntries::<2>::new(part, count).unwrap();
            let mut model = vec![0xa5_u8; 4096];
            for (index, words) in writes {
                let index = index % (count + 2);
                let Some(entry) = entries.get(index) else {
                    prop_assert!(index >= count);
                    continue;
                };
                entry.store::<0, u64>(words[0]);
                entry.store::<8, u64>(words[1]);
                let at = start * 8 + index * 16;
                model[at..at + 8].copy_from_slice(&words[0].to_le_bytes());
                model[at + 8..at + 16].copy_from_slice(&words[1].to_le_bytes());
                prop_assert_eq!(entry.load::<1>(Ordering::Acquire), words[1]);
                prop_assert_eq!(entry.load::<0>(Ordering::Relaxed), words[0]);
            }
            let mut bytes = vec![0; 4096];
            memory.read(0, &mut bytes).unwrap();
            prop_assert_eq!(bytes, model);
        }
    }

    /// A line, and words of every size on top of it.
    #[test]
    fn a_line_is_stored_whole_and_words_go_where_they_should() {
        let memory = SharedMemory::anonymous(4096).unwrap();
        let entries = SharedEntries::<8>::new(memory.clone(), 3).unwrap();
        let mut line = [0; 64];
        (1..).zip(&mut line).for_each(|(value, byte)| *byte = value);
        let entry = entries.get(1).unwrap();
        entry.fill(&line);
        entry.store::<2, u16>(0xaabb);
        entry.store::<60, u32>(0x1122_3344);
        line[2..4].copy_from_slice(&[0xbb, 0xaa]);
        line[60..].copy_from_slice(&[0x44, 0x33, 0x22, 0x11]);
        let mut bytes = [0; 192];
        memory.read(0, &mut bytes).unwrap();
        assert_eq!(
            (&bytes[..64], &bytes[64..128], &bytes[128..]),
            (&[0; 64][..], &line[..], &[0; 64][..])
        );
    }
}
