//! The commands in flight, by their identifiers.

use crate::Violation;

/// What is known of a command identifier.
#[derive(Debug)]
struct Slot<T> {
    /// What came with the command that is in flight, if one is.
    token: Option<T>,
    /// The identifier that the slot last used.
    cid: u16,
    /// The age of the queue when it was last used; 0 if it never was.
    born: u32,
    /// Its place in the sequence of all submission entries.
    place: u64,
}

/// All identifiers of a queue, and a stack of the free ones.
///
/// The low bits of an identifier are the index of a slot; the rest counts its uses, so that a late or
/// repeated completion does not pass for that of the slot's next command.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Box<[Slot<T>]>,
    free: Vec<u16>,
    /// What to add to a slot's identifier at its next use; 0 if the index takes all bits.
    step: u16,
    mask: u16,
}

/// A free slot, reserved for a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reserved {
    pub(crate) index: u16,
    pub(crate) cid: u16,
}

impl<T> Slots<T> {
    /// Room for `count` commands.
    pub(crate) fn new(count: u16) -> Self {
        let slot = |cid| Slot { token: None, cid, born: 0, place: 0 };
        // No index has all bits set, so that no identifier is FFFFh (NVMe Base 2.1 §4.1.1).
        let mask = u16::MAX.checked_shr(count.leading_zeros()).unwrap_or(0);
        Self {
            slots: (0..count).map(slot).collect(),
            free: (0..count).rev().collect(),
            step: mask.wrapping_add(1),
            mask,
        }
    }

    /// How many commands there is room for.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many commands are in flight.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot and the identifier that the next command will have, if there is room.
    #[inline]
    pub(crate) fn reserve(&self) -> Option<Reserved> {
        let index = *self.free.last()?;
        let slot = self.slots.get(usize::from(index))?;
        Some(Reserved { index, cid: slot.cid.wrapping_add(self.step) })
    }

    /// Puts a command in flight in the slot that was reserved last. `born` is positive.
    #[inline]
    pub(crate) fn occupy(&mut self, reserved: Reserved, token: T, place: u64, born: u32) {
        if let Some(slot) = self.slots.get_mut(usize::from(reserved.index)) {
            *slot = Slot { token: Some(token), cid: reserved.cid, born, place };
            self.free.pop();
        }
    }

    /// Takes a command out of flight, if `fetched` says of its place that it can have been completed.
    ///
    /// # Errors
    /// `None` in the error if it was not fetched; else what is wrong with the identifier.
    #[inline]
    pub(crate) fn complete(
        &mut self,
        cid: u16,
        fetched: impl FnOnce(u64) -> bool,
    ) -> Result<T, Option<Violation>> {
        let index = cid & self.mask;
        let slot = match self.slots.get_mut(usize::from(index)) {
            Some(slot) if slot.cid == cid => slot,
            _ => return Err(Some(Violation::UnknownCommand { cid })),
        };
        if slot.token.is_some() && !fetched(slot.place) {
            return Err(None);
        }
        let again = slot.born != 0;
        let token = slot.token.take().ok_or(Some(if again {
            Violation::Duplicate { cid }
        } else {
            Violation::UnknownCommand { cid }
        }))?;
        self.free.push(index);
        Ok(token)
    }

    /// The identifiers in flight that are at least as old as `born`.
    pub(crate) fn since(&self, born: u32) -> impl Iterator<Item = u16> + '_ {
        let flying = self.slots.iter().filter(|slot| slot.token.is_some());
        flying.filter(move |slot| slot.born <= born).map(|slot| slot.cid)
    }

    /// Takes every command out of flight.
    pub(crate) fn drain(&mut self) -> Vec<(u16, T)> {
        let cids: Vec<u16> = self.since(u32::MAX).collect();
        cids.into_iter().filter_map(|cid| Some((cid, self.complete(cid, |_| true).ok()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_tell_uses_of_a_slot_apart() {
        let mut slots = Slots::new(3);
        let first = slots.reserve().unwrap();
        slots.occupy(first, "first", 0, 1);
        assert_eq!(slots.complete(first.cid, |_| true), Ok("first"));
        let second = slots.reserve().unwrap();
        assert_eq!((second.index, second.cid), (first.index, first.cid + 4));
        slots.occupy(second, "second", 1, 1);
        let late = Violation::UnknownCommand { cid: first.cid };
        assert_eq!(slots.complete(first.cid, |_| true), Err(Some(late)));
        assert_eq!(slots.complete(second.cid, |_| false), Err(None));
        assert_eq!(slots.complete(second.cid, |_| true), Ok("second"));
        let again = Violation::Duplicate { cid: second.cid };
        assert_eq!(slots.complete(second.cid, |_| true), Err(Some(again)));
    }

    #[test]
    fn every_size_gives_each_identifier_once_and_never_ffff() {
        let mut identifiers = 0;
        for count in [1, 2, 3, 4, 7, 8, 31, 32, 255, 4095, 4096, 65_534, 65_535] {
            let mut slots = Slots::new(count);
            for round in 0..3_u32 {
                let mut seen = std::collections::BTreeSet::new();
                while let Some(reserved) = slots.reserve() {
                    assert!(seen.insert(reserved.cid) && reserved.cid != u16::MAX);
                    slots.occupy(reserved, (), 0, round + 1);
                    identifiers += 1;
                }
                assert_eq!((seen.len(), slots.in_flight()), (count.into(), count.into()));
                assert_eq!(slots.since(round + 1).count(), usize::from(count));
                assert_eq!(slots.drain().len(), usize::from(count));
                assert_eq!(slots.in_flight(), 0);
            }
        }
        println!("identifiers handed out: {identifiers}");
    }
}
