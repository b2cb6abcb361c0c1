//! Doorbells, and their shadows in host memory.

use std::sync::atomic::{Ordering, fence};

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{Bar, Bdf};

use crate::Error;

/// A queue's doorbell: the register, and its shadow if the controller offers one.
#[derive(Debug)]
pub(crate) struct Doorbell {
    bar: Bar,
    offset: u64,
    shadow: Option<ShadowDoorbell>,
}

/// A doorbell's place in the shadow doorbell buffer and in the event index buffer
/// (NVMe Base 2.1 §5.2.5).
#[derive(Debug, Clone)]
pub(crate) struct ShadowDoorbell {
    pub(crate) values: SharedMemory,
    pub(crate) events: SharedMemory,
    pub(crate) offset: usize,
}

impl Doorbell {
    pub(crate) fn new(bar: Bar, offset: u64, shadow: Option<ShadowDoorbell>) -> Self {
        Self { bar, offset, shadow }
    }

    pub(crate) fn bdf(&self) -> Bdf {
        self.bar.owner()
    }

    /// Tells the controller that the index moved from `old` to `new`.
    ///
    /// Whatever was written to host memory before is visible to whoever sees the new index. On the way
    /// to a register that is the promise of [`p2pdma_pci::BarAccess::write`], which is ordered after
    /// earlier stores; the fence keeps the compiler to it.
    #[inline]
    pub(crate) fn ring(&self, old: u16, new: u16) -> Result<(), Error> {
        fence(Ordering::Release);
        if let Some(shadow) = &self.shadow
            && !shadow.update(old, new)?
        {
            return Ok(());
        }
        Ok(self.bar.write32(self.offset, u32::from(new))?)
    }
}

impl ShadowDoorbell {
    /// Stores the index; says whether the controller wants the register written as well.
    fn update(&self, old: u16, new: u16) -> Result<bool, Error> {
        self.values.store(self.offset, u32::from(new), Ordering::Release)?;
        // The controller stores its event index and then looks at the value; we do the opposite. One of
        // the two must see the other's store (NVMe Base 2.1 annex B.5), which takes a full fence.
        fence(Ordering::SeqCst);
        let event: u32 = self.events.load(self.offset, Ordering::Acquire)?;
        let [low, high, ..] = event.to_le_bytes();
        Ok(passed(u16::from_le_bytes([low, high]), old, new))
    }
}

/// Whether an index that moved from `old` to `new` went past `event`, all of them modulo 2^16.
const fn passed(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::passed;

    /// The condition, counted out step by step.
    #[test]
    fn an_event_is_passed_when_the_index_steps_over_it() {
        let mut cases = 0;
        for old in [0_u16, 1, 7, u16::MAX - 2, u16::MAX] {
            for steps in 0..6 {
                let new = old.wrapping_add(steps);
                for distance in 0..8 {
                    let event = old.wrapping_sub(2).wrapping_add(distance);
                    let stepped = (0..steps).any(|step| old.wrapping_add(step) == event);
                    assert_eq!(passed(event, old, new), stepped, "{event} {old} {new}");
                    cases += 1;
                }
            }
        }
        println!("shadow doorbell cases: {cases}");
    }
}
