//! Doorbells in host memory (Doorbell Buffer Config, NVMe Base 2.1 §5.2.5 and §B.5).
//!
//! The host writes tails and heads there, and rings the real doorbell only when it passes the index that
//! the controller asked to be told of. The admin queue is left out: hosts ring its doorbell anyway.

use p2pdma_spec::nvme::registers::{completion_doorbell, offset, submission_doorbell};
use p2pdma_spec::nvme::status::Status;

use super::dma::Dma;

/// The two buffers, each a memory page laid out like the doorbells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShadowDoorbells {
    doorbells: u64,
    event_indexes: u64,
    page: u64,
    stride: u8,
}

impl ShadowDoorbells {
    /// Buffers at two addresses, which are aligned to the page.
    pub(crate) fn new(doorbells: u64, event_indexes: u64, page: u64, stride: u8) -> Self {
        Self { doorbells, event_indexes, page, stride }
    }

    /// Where a queue's entry lies in the buffers, if it is within the page.
    fn place(&self, register: u64) -> Option<u64> {
        let place = register - offset::DOORBELLS;
        (place + 4 <= self.page).then_some(place)
    }

    fn submission(&self, id: u16) -> Option<u64> {
        self.place(submission_doorbell(id, self.stride))
    }

    fn completion(&self, id: u16) -> Option<u64> {
        self.place(completion_doorbell(id, self.stride))
    }

    /// Whether a queue's doorbell is in the buffer.
    pub(crate) fn covers(&self, id: u16) -> bool {
        self.submission(id).is_some()
    }

    fn read(&self, dma: &mut Dma<'_, '_>, place: Option<u64>) -> Result<Option<u32>, Status> {
        let Some(place) = place else { return Ok(None) };
        let mut value = [0; 4];
        dma.read_control(self.doorbells.saturating_add(place), &mut value)?;
        Ok(Some(u32::from_le_bytes(value)))
    }

    fn ask(&self, dma: &mut Dma<'_, '_>, place: Option<u64>, index: u32) -> Result<(), Status> {
        let Some(place) = place else { return Ok(()) };
        dma.write_control(self.event_indexes.saturating_add(place), &index.to_le_bytes())
    }

    /// Writes the present values of a submission queue's tail and of its completion queue's head into both
    /// buffers.
    pub(crate) fn begin(
        &self,
        dma: &mut Dma<'_, '_>,
        id: u16,
        tail: u32,
        cqid: u16,
        head: u32,
    ) -> Result<(), Status> {
        for (place, value) in [(self.submission(id), tail), (self.completion(cqid), head)] {
            let Some(place) = place else { continue };
            dma.write_control(self.doorbells.saturating_add(place), &value.to_le_bytes())?;
            self.ask(dma, Some(place), value)?;
        }
        Ok(())
    }

    /// Asks to be told when a submission queue's tail passes `seen`, then reads it: in this order, so
    /// that a tail that moved in between is seen here.
    pub(crate) fn tail(
        &self,
        dma: &mut Dma<'_, '_>,
        id: u16,
        seen: u32,
    ) -> Result<Option<u32>, Status> {
        self.ask(dma, self.submission(id), seen)?;
        self.read(dma, self.submission(id))
    }

    /// The same for a completion queue's head.
    pub(crate) fn head(
        &self,
        dma: &mut Dma<'_, '_>,
        id: u16,
        seen: u32,
    ) -> Result<Option<u32>, Status> {
        self.ask(dma, self.completion(id), seen)?;
        self.read(dma, self.completion(id))
    }
}
