//! Bells: how a function is woken from outside its own calls.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::endpoint::TimerId;

/// Wakes one function, from anywhere.
///
/// For what happens inside a device without a packet: two controllers of one subsystem that tell each
/// other, memory that finds out that its backing failed. Its holder needs no [`Port`](crate::Port), and may
/// even be in another fabric. The function that made it gets [`Endpoint::wake`](crate::Endpoint::wake)
/// at the next turn, once, however often it rang until then. A reset of the function makes it void.
#[derive(Clone)]
pub struct Bell {
    bells: Arc<Bells>,
    whom: Whom,
}

/// Whom a bell wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whom {
    pub(crate) function: u32,
    pub(crate) timer: TimerId,
    pub(crate) epoch: u32,
}

impl Bell {
    pub(crate) fn new(bells: &Arc<Bells>, whom: Whom) -> Self {
        Self { bells: Arc::clone(bells), whom }
    }

    /// Wakes the function, soon.
    pub fn ring(&self) {
        self.bells.ring(self.whom);
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bell").field(&self.whom).finish()
    }
}

/// The bells of a fabric that rang, and were not answered.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    any: AtomicBool,
    rung: Mutex<Vec<Whom>>,
}

impl Bells {
    fn ring(&self, whom: Whom) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody can make the list grow: it has each bell once.
        if !rung.contains(&whom) {
            rung.push(whom);
        }
        self.any.store(true, Relaxed);
    }

    /// Whether a bell waits for its answer.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        // The list's lock orders everything else; a bell from another thread may be seen a turn later.
        self.any.load(Relaxed)
    }

    /// Takes all that rang, in the order of their ringing.
    #[cold]
    pub(crate) fn take(&self) -> Vec<Whom> {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.store(false, Relaxed);
        std::mem::take(&mut rung)
    }
}
