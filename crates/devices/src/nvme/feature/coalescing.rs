//! Interrupts that wait for company (NVMe Base 2.1 §5.1.25.1.6, §5.1.25.1.7).

use p2pdma_pci::Duration;
use p2pdma_spec::nvme::feature::InterruptCoalescing;

use super::super::dma::Dma;
use super::Features;

/// The unit of the aggregation time.
const TIME_UNIT: Duration = Duration::from_micros(100);

/// What each vector has waiting.
#[derive(Debug)]
pub(super) struct Coalescer {
    pub(super) settings: InterruptCoalescing,
    vectors: Vec<Vector>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Vector {
    /// Completions that no interrupt has announced.
    pending: u32,
    /// Whether a timer runs for them.
    armed: bool,
    /// Coalescing Disable.
    disabled: bool,
}

impl Coalescer {
    pub(super) fn new(vectors: u16) -> Self {
        let vectors = vec![Vector::default(); usize::from(vectors)];
        Self { settings: InterruptCoalescing::new(), vectors }
    }

    pub(super) fn reset(&mut self) {
        self.settings = InterruptCoalescing::new();
        self.vectors.fill(Vector::default());
    }

    pub(super) fn set(&mut self, settings: InterruptCoalescing) {
        self.settings = settings;
    }

    /// Whether a vector's interrupts are never held back; `None` if there is no such vector.
    pub(super) fn disabled(&self, vector: u16) -> Option<bool> {
        self.vectors.get(usize::from(vector)).map(|vector| vector.disabled)
    }

    pub(super) fn set_disabled(&mut self, vector: u16, disabled: bool) {
        if let Some(vector) = self.vectors.get_mut(usize::from(vector)) {
            vector.disabled = disabled;
        }
    }
}

impl Features {
    /// Whether any interrupt is ever held back. Without a time or a threshold none is.
    #[inline]
    pub(crate) fn coalesces(&self) -> bool {
        self.coalescer.settings.time() > 0 && self.coalescer.settings.thr_z() > 0
    }

    /// Completions were posted: interrupts the host if there are enough of them. Otherwise returns how
    /// long to wait for more, if nobody waits yet.
    pub(crate) fn hold_back(
        &mut self,
        vector: u16,
        count: u32,
        dma: &mut Dma<'_, '_>,
    ) -> Option<Duration> {
        let settings = self.coalescer.settings;
        let state = self.coalescer.vectors.get_mut(usize::from(vector))?;
        state.pending += count;
        if state.disabled || state.pending > u32::from(settings.thr_z()) {
            state.pending = 0;
            dma.raise(vector);
            return None;
        }
        let waited = std::mem::replace(&mut state.armed, true);
        (!waited).then(|| TIME_UNIT * u64::from(settings.time()))
    }

    /// The time for which completions may wait is over.
    pub(crate) fn expire(&mut self, vector: u16, dma: &mut Dma<'_, '_>) {
        let Some(state) = self.coalescer.vectors.get_mut(usize::from(vector)) else { return };
        state.armed = false;
        if state.pending > 0 {
            state.pending = 0;
            dma.raise(vector);
        }
    }
}
