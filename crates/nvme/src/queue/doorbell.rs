//! Doorbells, and their shadows in host memory.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use p2pdma_mem::OutOfBounds;
use p2pdma_pci::{Bar, Bdf, DmaBuffer, Function};
use p2pdma_spec::nvme::queue::DataPointer;
use p2pdma_spec::nvme::registers::offset::DOORBELLS;

use crate::{Error, PAGE};

/// A queue's doorbell: the register, and its shadow if the controller offers one.
#[derive(Debug)]
pub(crate) struct Doorbell {
    bar: Bar,
    offset: u64,
    shadow: Option<ShadowDoorbell>,
}

/// The buffers that mirror the doorbells of a controller: a page each, laid out like the registers
/// (NVMe Base 2.1 §5.2.5).
///
/// They stay as long as any queue may still write to them, though the controller was reset since and has
/// forgotten them.
#[derive(Debug)]
pub(crate) struct ShadowBuffers {
    values: DmaBuffer,
    events: DmaBuffer,
}

/// The shadow doorbells of a controller.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    pub(crate) buffers: Option<Arc<ShadowBuffers>>,
    /// Whether the controller said that it uses them. One that offered them and then refused may use them all
    /// the same: so the memory stays, and what is in it is right, but the registers are written every time.
    pub(crate) accepted: bool,
}

/// A doorbell's place in both buffers.
#[derive(Debug)]
struct ShadowDoorbell {
    buffers: Arc<ShadowBuffers>,
    offset: usize,
    accepted: bool,
}

impl Doorbell {
    /// The register at an offset of BAR 0.
    pub(crate) fn new(bar: Bar, offset: u64) -> Self {
        Self { bar, offset, shadow: None }
    }

    /// Goes on with a place in the buffers, if they have one for it: as after the creation of the queue, both
    /// index and event index are 0. Without buffers, with the register alone.
    pub(crate) fn mirror(&mut self, shadow: &Shadow) -> Result<(), Error> {
        let place = self.offset.checked_sub(DOORBELLS).filter(|at| at + 4 <= PAGE);
        let place = place.and_then(|at| usize::try_from(at).ok());
        let buffers = shadow.buffers.as_ref().map(Arc::clone);
        let accepted = shadow.accepted;
        self.shadow = place.zip(buffers).map(|(offset, buffers)| ShadowDoorbell {
            buffers,
            offset,
            accepted,
        });
        Ok(self.shadow.as_ref().map_or(Ok(()), ShadowDoorbell::restart)?)
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

impl ShadowBuffers {
    pub(crate) fn new(function: &dyn Function) -> Result<Self, Error> {
        let page = || function.alloc_dma(PAGE_BYTES);
        Ok(Self { values: page()?, events: page()? })
    }

    /// How a command names them.
    pub(crate) fn data_pointer(&self) -> DataPointer {
        DataPointer::prp(self.values.iova().0, self.events.iova().0)
    }
}

/// [`PAGE`], as the length of an allocation.
const PAGE_BYTES: usize = 4096;

impl ShadowDoorbell {
    fn restart(&self) -> Result<(), OutOfBounds> {
        self.buffers.values.memory().fill(self.offset, 4, 0)?;
        self.buffers.events.memory().fill(self.offset, 4, 0)
    }

    /// Stores the index; says whether the controller wants the register written as well.
    fn update(&self, old: u16, new: u16) -> Result<bool, Error> {
        let (values, events) = (self.buffers.values.memory(), self.buffers.events.memory());
        values.store(self.offset, u32::from(new), Ordering::Release)?;
        // The controller stores its event index and then looks at the value; we do the opposite. One of
        // the two must see the other's store (NVMe Base 2.1 annex B.5), which takes a full fence.
        fence(Ordering::SeqCst);
        let event: u32 = events.load(self.offset, Ordering::Acquire)?;
        let [low, high, ..] = event.to_le_bytes();
        Ok(!self.accepted || passed(u16::from_le_bytes([low, high]), old, new))
    }
}

/// Whether an index that moved from `old` to `new` went past `event`, all of them modulo 2^16: right for
/// indexes of every queue, since none of them lies where the index jumps from the last entry to 0.
const fn passed(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        /// The same in queues, whose indexes begin again at 0 long before 2^16.
        #[test]
        fn an_event_is_passed_in_a_queue_of_any_size(
            entries in 2_u32..=65_536,
            old in any::<u32>(),
            steps in any::<u32>(),
            event in any::<u32>(),
            near in any::<bool>(),
        ) {
            // At most all but one entry are new: never as many as make the index what it was.
            let (old, steps) = (old % entries, steps % entries.min(300));
            let event = if near { (old + event % 8 + entries - 4) % entries } else { event % entries };
            let new = (old + steps) % entries;
            let stepped = (0..steps).any(|step| (old + step) % entries == event);
            let index = |value: u32| u16::try_from(value).unwrap();
            prop_assert_eq!(passed(index(event), index(old), index(new)), stepped);
        }
    }
}
