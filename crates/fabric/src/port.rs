//! What a device model may do: send requests, raise interrupts, ask to be woken.

use p2pdma_pci::{BarIndex, BusAddr, Instant, Iova};

use crate::bell::{Bell, Whom};
use crate::endpoint::TimerId;
use crate::state::{Event, State, index};
use crate::tlp::{Attributes, TlpError};

/// A function's way out to the fabric. Everything that it sends bears its requester ID.
///
/// A model never learns whether an address is host memory, a peer or nothing: that is the router's.
#[derive(Debug)]
pub struct Port<'a> {
    state: &'a mut State,
    function: usize,
}

impl<'a> Port<'a> {
    pub(crate) fn new(state: &'a mut State, function: usize) -> Self {
        Self { state, function }
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.state.now()
    }

    /// Reads memory. The bytes are there at once; the answer is the instant at which they would be.
    ///
    /// # Errors
    /// What the requester learns from the completion, or from its absence. `data` may be filled in part.
    #[inline]
    pub fn read(
        &mut self,
        at: Iova,
        data: &mut [u8],
        attributes: Attributes,
    ) -> Result<Instant, TlpError> {
        self.state.dma_read(self.function, at, data, &attributes)
    }

    /// Writes memory, posted. The bytes land at once; the answer is the instant at which they would.
    ///
    /// # Errors
    /// Only if nothing could be sent. A write that is blocked or lost on its way succeeds here, since
    /// nothing tells its sender.
    #[inline]
    pub fn write(
        &mut self,
        at: Iova,
        data: &[u8],
        attributes: Attributes,
    ) -> Result<Instant, TlpError> {
        self.state.dma_write(self.function, at, data, &attributes)
    }

    /// Raises an MSI-X vector: sends its message, or marks it as pending where it is masked.
    pub fn raise(&mut self, vector: u16) {
        self.state.raise(self.function, vector);
    }

    /// Asks for [`Endpoint::wake`](crate::Endpoint::wake) at an instant; one in the past means as soon
    /// as possible, after what already waits.
    #[inline]
    pub fn wake_at(&mut self, at: Instant, timer: TimerId) {
        let epoch = self.state.machine.tree.functions[self.function].epoch;
        let function = index(self.function);
        self.state.events.push(at, || Event::Wake { function, timer, epoch });
    }

    /// Makes a bell that wakes this function, for others to ring. It is good until the next reset.
    #[must_use]
    pub fn bell(&self, timer: TimerId) -> Bell {
        let function = self.function;
        let epoch = self.state.machine.tree.functions[function].epoch;
        Bell::new(&self.state.bells, Whom { function: index(function), timer, epoch })
    }

    /// Where one of the function's own BARs decodes, if it does: some controllers recognise their own
    /// addresses and serve them without sending anything.
    #[must_use]
    pub fn bar_address(&self, bar: BarIndex) -> Option<BusAddr> {
        let function = &self.state.machine.tree.functions[self.function];
        let bar = function.bars.iter().find(|state| state.index == bar)?;
        bar.address.filter(|_| function.memory_enable).map(BusAddr)
    }
}
