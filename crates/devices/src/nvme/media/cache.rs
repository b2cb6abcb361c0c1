//! A volatile write cache in front of a medium.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{Fill, Media, MediaError, Take, length};

/// Keeps what is written until it is flushed or there is no more room; a loss of power loses any part
/// of it.
///
/// Every range is a whole number of granules, which are the namespace's blocks with their metadata: a
/// block is lost or kept as a whole.
#[derive(Debug)]
pub(crate) struct CachedMedia {
    below: Box<dyn Media>,
    granule: u64,
    /// By number of the granule.
    dirty: BTreeMap<u64, Box<[u8]>>,
    /// How many granules may be dirty.
    room: usize,
    chance: Chance,
}

impl CachedMedia {
    /// A cache of `bytes` in front of a medium, which is used in granules of `granule` bytes. `seed`
    /// decides what a loss of power loses.
    pub(crate) fn new(below: Box<dyn Media>, granule: u64, bytes: u64, seed: u64) -> Self {
        let room = length(bytes / granule).max(1);
        let (dirty, chance) = (BTreeMap::new(), Chance(seed));
        Self { below, granule, dirty, room, chance }
    }

    /// The medium was formatted to blocks of another size: nothing of it is kept.
    pub(crate) fn reformat(&mut self, granule: u64) {
        let bytes = self.room as u64 * self.granule;
        self.dirty.clear();
        self.granule = granule;
        self.room = length(bytes / granule).max(1);
    }

    /// Writes the dirty granules of a range down, first to last.
    fn write_back(&mut self, first: u64, end: u64) -> Result<(), MediaError> {
        let mut from = first;
        while let Some((&index, data)) = self.dirty.range(from..end).next() {
            put(&mut *self.below, index * self.granule, data)?;
            self.dirty.remove(&index);
            from = index + 1;
        }
        Ok(())
    }

    fn granules(&self, at: u64, len: u64) -> std::ops::Range<u64> {
        at / self.granule..(at + len).div_ceil(self.granule)
    }
}

fn put(below: &mut dyn Media, at: u64, data: &[u8]) -> Result<(), MediaError> {
    let mut rest = data;
    below.write(at, data.len() as u64, &mut |piece| {
        let (now, later) = rest.split_at(piece.len().min(rest.len()));
        piece[..now.len()].copy_from_slice(now);
        rest = later;
        ControlFlow::Continue(())
    })
}

impl Media for CachedMedia {
    fn holds_data(&self) -> bool {
        self.below.holds_data()
    }

    fn read(&mut self, at: u64, len: u64, take: &mut Take<'_>) -> Result<(), MediaError> {
        let (mut next, end) = (at, at + len);
        let mut stopped = false;
        let range = self.granules(at, len);
        let mut dirty = self.dirty.range(range).peekable();
        while next < end && !stopped {
            let clean_until = dirty.peek().map_or(end, |(index, _)| **index * self.granule);
            if next < clean_until {
                self.below.read(next, clean_until - next, &mut |piece| {
                    let flow = take(piece);
                    stopped = flow.is_break();
                    flow
                })?;
                next = clean_until;
            } else if let Some((_, data)) = dirty.next() {
                stopped = take(data).is_break();
                next += self.granule;
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, len: u64, fill: &mut Fill<'_>) -> Result<(), MediaError> {
        let range = self.granules(at, len);
        for index in range {
            let mut data = vec![0; length(self.granule)].into_boxed_slice();
            if fill(&mut data).is_break() {
                break;
            }
            while self.dirty.len() >= self.room {
                let Some((&oldest, _)) = self.dirty.first_key_value() else { break };
                self.write_back(oldest, oldest + 1)?;
            }
            self.dirty.insert(index, data);
        }
        Ok(())
    }

    fn discard(&mut self, at: u64, len: u64) -> Result<(), MediaError> {
        let range = self.granules(at, len);
        let gone: Vec<u64> = self.dirty.range(range).map(|(index, _)| *index).collect();
        for index in gone {
            self.dirty.remove(&index);
        }
        self.below.discard(at, len)
    }

    fn flush(&mut self, at: u64, len: u64) -> Result<(), MediaError> {
        let range = self.granules(at, len);
        self.write_back(range.start, range.end)?;
        self.below.flush(at, len)
    }

    fn power_cut(&mut self) {
        for (index, data) in std::mem::take(&mut self.dirty) {
            // What was on its way to the medium at that moment may or may not have got there.
            if self.chance.flip() {
                let _ = put(&mut *self.below, index * self.granule, &data);
            }
        }
        self.below.power_cut();
    }
}

/// A fair coin that falls the same way in every run (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn flip(&mut self) -> bool {
        // Zero is the one state that never changes.
        let mut state = self.0 | 1 << 63;
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0 = state;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 63 == 1
    }
}
