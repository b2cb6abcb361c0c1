//! Waits that end.

use p2pdma_pci::{Clock, Duration, Instant};

/// The end of a wait, by the function's clock.
pub(crate) struct Deadline<'a> {
    clock: &'a dyn Clock,
    began: Instant,
    limit: Duration,
}

impl<'a> Deadline<'a> {
    /// `limit` from now.
    pub(crate) fn after(clock: &'a dyn Clock, limit: Duration) -> Self {
        Self { clock, began: clock.now(), limit }
    }

    /// How long it has been.
    pub(crate) fn waited(&self) -> Duration {
        self.clock.now().since(self.began)
    }

    /// What is left of it.
    pub(crate) fn left(&self) -> Duration {
        self.limit - self.waited()
    }

    /// Whether the time is up. A loop asks before it looks, so that it looks once more after that.
    pub(crate) fn is_over(&self) -> bool {
        self.waited() >= self.limit
    }

    /// One turn of a polling loop that found nothing.
    pub(crate) fn relax(&self) {
        self.clock.relax();
    }
}
