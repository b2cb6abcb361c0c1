//! Whether a controller has run without a reset since a moment: what keeps the bytes in its memory.

use std::sync::Arc;

use crate::Error;
use crate::shared::Shared;

/// From [`Cmb::unbroken`](crate::Cmb::unbroken) or [`Pmr::unbroken`](crate::Pmr::unbroken): tells whether the
/// controller was reset since then, by its driver or behind its back. A reset from the bus takes the memory's
/// address away, and what is written there meanwhile is lost without a word (NVMe Base 2.1 §3.7.2).
#[derive(Debug, Clone)]
pub struct Unbroken {
    shared: Arc<Shared>,
    epoch: u32,
}

impl Unbroken {
    pub(crate) fn since_now(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), epoch: shared.epoch() }
    }

    /// Reads one register.
    ///
    /// # Errors
    /// [`Error::WasReset`] if its driver has reset it; [`Error::Failed`] if somebody else has, or it failed;
    /// [`Error::Dead`]; [`Error::Gone`].
    pub fn check(&self) -> Result<(), Error> {
        self.shared.check_alive()?;
        if self.shared.epoch() != self.epoch {
            return Err(Error::WasReset { bdf: self.shared.bdf() });
        }
        // Whoever resets it from the bus leaves it disabled (CSTS.RDY), and only its driver enables it.
        self.shared.check_status()
    }
}
