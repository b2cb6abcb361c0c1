//! The commands in flight, by their identifiers.

use crate::Violation;

/// What is known of a command identifier.
#[derive(Debug)]
struct Slot<T> {
    /// What came with the command that is in flight, if one is.
    token: Option<T>,
    /// The identifier that the slot last used.
    cid: u16,
    /// While the slot is free: the next one that is.
    next: u16,
    /// The place of its last command in the sequence of all submission entries.
    place: u64,
}

/// All identifiers of a queue, and a stack of the free ones.
///
/// The low bits of an identifier are the index of a slot; the rest counts its uses, so that a late or
/// repeated completion does not pass for that of the slot's next command.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Box<[Slot<T>]>,
    /// The slot at the top of the stack; [`NONE`] if it is empty.
    free: u16,
    /// What to add to a slot's identifier at its next use; 0 if the index takes all bits.
    step: u16,
    mask: usize,
}

/// No slot: there are at most 65 535, so none has this index.
const NONE: u16 = u16::MAX;
/// The place of the last command of a slot that had none.
const NEVER: u64 = u64::MAX;

impl<T> Slots<T> {
    /// Room for `count` commands.
    pub(crate) fn new(count: u16) -> Self {
        // No index has all bits set, so that no identifier is FFFFh (NVMe Base 2.1 §4.1.1).
        let mask = u16::MAX.checked_shr(count.leading_zeros()).unwrap_or(0);
        let slot = |cid: u16| {
            let last = cid.checked_add(1) == Some(count);
            let next = if last { NONE } else { cid.wrapping_add(1) };
            Slot { token: None, cid, next, place: NEVER }
        };
        Self {
            slots: (0..count).map(slot).collect(),
            free: if count == 0 { NONE } else { 0 },
            step: mask.wrapping_add(1),
            mask: mask.into(),
        }
    }

    /// How many commands there is room for.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The slot that the next command will have, if there is room.
    pub(crate) fn next(&self) -> Option<u16> {
        self.slots.get(usize::from(self.free)).map(|_| self.free)
    }

    /// Puts a command in flight in the next slot, if there is one and `write` takes the identifier; else
    /// the token comes back.
    #[inline(always)]
    pub(crate) fn occupy(
        &mut self,
        token: T,
        place: u64,
        write: impl FnOnce(u16) -> Option<()>,
    ) -> Result<u16, T> {
        let Some(slot) = self.slots.get_mut(usize::from(self.free)) else { return Err(token) };
        let cid = slot.cid.wrapping_add(self.step);
        if write(cid).is_none() {
            return Err(token);
        }
        self.free = slot.next;
        (slot.token, slot.cid, slot.place) = (Some(token), cid, place);
        Ok(cid)
    }

    /// Takes a command out of flight, if it is one of the first `known` that were submitted. `None` if
    /// there is something wrong with it: see [`Slots::violation`].
    #[inline(always)]
    pub(crate) fn complete(&mut self, cid: u16, known: u64) -> Option<T> {
        let index = usize::from(cid) & self.mask;
        let slot = self.slots.get_mut(index)?;
        if slot.cid != cid || slot.place >= known {
            return None;
        }
        let token = slot.token.take()?;
        slot.next = self.free;
        self.free = index_bits(index);
        Some(token)
    }

    /// Why a completion with this identifier cannot be, given that it was not accepted.
    #[cold]
    pub(crate) fn violation(&self, cid: u16) -> Violation {
        match self.slots.get(usize::from(cid) & self.mask) {
            Some(slot) if slot.cid == cid && slot.token.is_some() => {
                Violation::NotSubmitted { cid }
            }
            Some(slot) if slot.cid == cid && slot.place != NEVER => Violation::Duplicate { cid },
            _ => Violation::UnknownCommand { cid },
        }
    }

    /// The identifiers in flight whose commands were among the first `known` that were submitted.
    pub(crate) fn among(&self, known: u64) -> impl Iterator<Item = u16> + '_ {
        let flying = self.slots.iter().filter(|slot| slot.token.is_some());
        flying.filter(move |slot| slot.place < known).map(|slot| slot.cid)
    }

    /// Takes every command out of flight.
    pub(crate) fn drain(&mut self) -> Vec<(u16, T)> {
        let cids: Vec<u16> = self.among(NEVER).collect();
        cids.into_iter().filter_map(|cid| Some((cid, self.complete(cid, NEVER)?))).collect()
    }
}

/// An index as a slot holds it; it is below 65535.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a mask of 16 bits made it")]
const fn index_bits(index: usize) -> u16 {
    index as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_tell_uses_of_a_slot_apart() {
        let mut slots = Slots::new(3);
        let first = slots.occupy("first", 0, |_| Some(())).unwrap();
        assert_eq!(slots.complete(first, 1), Some("first"));
        assert_eq!(slots.occupy("not written", 1, |_| None), Err("not written"));
        let second = slots.occupy("second", 1, |_| Some(())).unwrap();
        assert_eq!(second, first + 4);
        assert_eq!(slots.complete(first, 2), None);
        assert_eq!(slots.violation(first), Violation::UnknownCommand { cid: first });
        assert_eq!(slots.complete(second, 1), None);
        assert_eq!(slots.violation(second), Violation::NotSubmitted { cid: second });
        assert_eq!(slots.complete(second, 2), Some("second"));
        assert_eq!(slots.complete(second, 2), None);
        assert_eq!(slots.violation(second), Violation::Duplicate { cid: second });
    }

    #[test]
    fn every_size_gives_each_identifier_once_and_never_ffff() {
        let mut identifiers = 0;
        for count in [0, 1, 2, 3, 4, 7, 8, 31, 32, 255, 4095, 4096, 65_534, 65_535] {
            let mut slots = Slots::new(count);
            for round in 0..3_u64 {
                let mut seen = std::collections::BTreeSet::new();
                while let Ok(cid) = slots.occupy((), round, |_| Some(())) {
                    assert!(seen.insert(cid) && cid != u16::MAX);
                    identifiers += 1;
                }
                assert_eq!((seen.len(), slots.next()), (count.into(), None));
                assert_eq!(slots.among(round + 1).count(), usize::from(count));
                assert_eq!(slots.among(round).count(), 0);
                assert_eq!(slots.drain().len(), usize::from(count));
                assert_eq!(slots.among(NEVER).count(), 0);
            }
        }
        println!("identifiers handed out: {identifiers}");
    }
}
