//! What all views of a controller share: the function, the registers, the admin queue, and whether the
//! controller is alive.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pdma_pci::{BarIndex, Bdf, Duration, Function};

use crate::admin::Admin;
use crate::registers::{Capabilities, Registers};
use crate::{Error, Options, function};

/// A controller below its commands. Dropping the last view of it quiesces it.
pub(crate) struct Shared {
    pub(crate) function: Arc<dyn Function>,
    pub(crate) registers: Registers,
    pub(crate) capabilities: Capabilities,
    pub(crate) options: Options,
    /// How long a shutdown may take.
    pub(crate) shutdown_limit: Duration,
    /// `None` only while it is dropped.
    admin: Option<Mutex<Admin>>,
    /// Counts how often the controller was fenced: what was given to it before is its no more.
    epoch: AtomicU32,
    /// Whether it was given up.
    dead: AtomicBool,
    /// Whether it may access memory at present.
    pub(crate) running: AtomicBool,
}

impl Shared {
    /// Polling loops look at the controller's status once in so many turns.
    pub(crate) const TURNS_PER_CHECK: u32 = 64;

    /// Takes a function over: checks what it is, stops whatever it was doing for somebody else before it
    /// may send requests, and starts it with empty admin queues.
    pub(crate) fn bring_up(function: Arc<dyn Function>, options: Options) -> Result<Self, Error> {
        function::check_class(&*function)?;
        function::enable(&*function, false)?;
        let registers = Registers::new(function.bdf(), function.map_bar(BarIndex::ZERO)?);
        let capabilities = registers.capabilities()?;
        let admin =
            Admin::new(&*function, &registers, &capabilities, options.admin_queue_entries())?;
        let shared = Self {
            function,
            registers,
            capabilities,
            shutdown_limit: options.shutdown_timeout,
            options,
            admin: Some(Mutex::new(admin)),
            epoch: AtomicU32::new(0),
            dead: AtomicBool::new(false),
            running: AtomicBool::new(false),
        };
        shared.halt()?;
        shared.start(&mut *shared.admin()?)?;
        Ok(shared)
    }

    pub(crate) fn bdf(&self) -> Bdf {
        self.registers.bdf
    }

    /// The admin queue, for one thread at a time.
    pub(crate) fn admin(&self) -> Result<MutexGuard<'_, Admin>, Error> {
        // A panic elsewhere leaves the queue as consistent as a lost completion does.
        let admin = self.admin.as_ref().ok_or(Error::Dead { bdf: self.bdf() })?;
        Ok(admin.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Notes that the controller was fenced.
    pub(crate) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Gives the controller up: nothing is sent to it any more.
    pub(crate) fn give_up(&self) {
        self.dead.store(true, Ordering::Release);
    }

    /// # Errors
    /// [`Error::Dead`] if the controller was given up.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        if self.dead.load(Ordering::Acquire) {
            return Err(Error::Dead { bdf: self.bdf() });
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Gone`] or [`Error::Failed`] if the controller is not running any more.
    pub(crate) fn check_status(&self) -> Result<(), Error> {
        let csts = self.registers.status()?;
        if csts.cfs() || !csts.rdy() {
            return Err(Error::Failed { bdf: self.bdf(), csts });
        }
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let fenced = self.quiesce();
        if let Some(admin) = self.admin.take()
            && !fenced
        {
            // The controller may still write there: better lost than given to somebody else.
            std::mem::forget(admin);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("bdf", &self.bdf())
            .field("epoch", &self.epoch)
            .field("dead", &self.dead)
            .finish_non_exhaustive()
    }
}
