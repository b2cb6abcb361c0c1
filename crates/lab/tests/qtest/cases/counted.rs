//! A function whose doorbells are counted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use p2pdma_pci::{
    Bar, BarAccess, BarIndex, Bdf, Clock, ConfigSpace, DmaBuffer, Error, Function, Interrupt,
    PeerWindow,
};
use p2pdma_spec::nvme::registers::{offset, submission_doorbell};

/// The function of a controller, behind a count of the writes to doorbells of its I/O queues.
pub(crate) struct Counted {
    inner: Arc<dyn Function>,
    writes: Arc<Writes>,
}

/// How often doorbells of I/O queues were written.
#[derive(Default)]
pub(crate) struct Writes(AtomicU64);

impl Writes {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counted {
    pub(crate) fn new(inner: Arc<dyn Function>) -> (Self, Arc<Writes>) {
        let writes = Arc::new(Writes::default());
        (Self { inner, writes: Arc::clone(&writes) }, writes)
    }
}

struct CountedBar {
    inner: Bar,
    doorbells: Range<u64>,
    writes: Arc<Writes>,
}

impl BarAccess for CountedBar {
    fn read(&self, offset: u64, data: &mut [u8]) {
        self.inner.read(offset, data).unwrap();
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if self.doorbells.contains(&offset) {
            self.writes.0.fetch_add(1, Relaxed);
        }
        self.inner.write(offset, data).unwrap();
    }
}

impl Function for Counted {
    fn bdf(&self) -> Bdf {
        self.inner.bdf()
    }

    fn config(&self) -> &dyn ConfigSpace {
        self.inner.config()
    }

    fn map_bar(&self, index: BarIndex) -> Result<Bar, Error> {
        let inner = self.inner.map_bar(index)?;
        if index != BarIndex::ZERO {
            return Ok(inner);
        }
        // Behind those of the admin queues.
        let doorbells = submission_doorbell(1, 0)..submission_doorbell(256, 0);
        assert!(doorbells.start > offset::DOORBELLS);
        let (owner, address, len) = (inner.owner(), inner.address(), inner.len());
        let access = CountedBar { inner, doorbells, writes: Arc::clone(&self.writes) };
        Ok(Bar::new(owner, index, address, len, Arc::new(access)))
    }

    fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error> {
        self.inner.alloc_dma(len)
    }

    fn share_dma(&self, buffer: &DmaBuffer) -> Result<DmaBuffer, Error> {
        self.inner.share_dma(buffer)
    }

    fn map_peer(&self, memory: &Bar, range: Range<u64>) -> Result<PeerWindow, Error> {
        self.inner.map_peer(memory, range)
    }

    fn interrupt(&self, vector: u16) -> Result<Interrupt, Error> {
        self.inner.interrupt(vector)
    }

    fn clock(&self) -> &dyn Clock {
        self.inner.clock()
    }

    fn reset(&self) -> Result<(), Error> {
        self.inner.reset()
    }
}
