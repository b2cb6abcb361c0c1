//! How long an operation is awaited by somebody who was told to come to an end.

use std::ops::ControlFlow;

use p2pdma_pci::{Duration, Instant};

/// How long after an interrupt what is under way may take to end. A device that does not answer may take the
/// kernel's whole limit, 30 seconds.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// Awaits an operation.
pub(super) struct Patience<'a> {
    watch: &'a dyn Fn() -> ControlFlow<()>,
    /// When it was interrupted.
    since: Option<Instant>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(watch: &'a dyn Fn() -> ControlFlow<()>) -> Self {
        Self { watch, since: None }
    }

    /// Whether the operation is awaited no longer.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        if self.since.is_none() && (self.watch)().is_break() {
            self.since = Some(now);
        }
        self.since.is_some_and(|since| now.since(since) >= GRACE)
    }
}
