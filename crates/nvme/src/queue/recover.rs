//! Taking queues down, and bringing them back.

use std::sync::Arc;

use p2pdma_pci::Duration;

use super::{CommandId, Presence, QueuePair};
use crate::Error;
use crate::admin::Admin;
use crate::time::Deadline;

/// How [`QueuePair::recover`] succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The controller aborted or completed what was in flight.
    Aborted,
    /// The queues were deleted and created again. What was in flight is lost.
    Recreated,
    /// The controller was reset, and with it all its queues. What was in flight is lost.
    Reset,
}

impl<T> QueuePair<T> {
    /// Brings a queue back to work that timed out, is broken, or was lost in a reset: asks for what is in
    /// flight to be aborted; if that does not help, deletes the queues and creates them again; and if
    /// that does not help either, resets the controller.
    ///
    /// Afterwards everything that was in flight comes out of [`QueuePair::poll`]: completed, aborted or
    /// lost.
    ///
    /// # Errors
    /// Why the controller could not be reset. It was given up then, and what is in flight stays where it
    /// is unless the controller could be stopped.
    pub fn recover(&mut self) -> Result<Recovery, Error> {
        self.shared.check_alive()?;
        if self.retired {
            return Err(Error::Reset { bdf: self.raw.bdf, qid: self.raw.qid });
        }
        let usable = self.presence == Presence::Present && !self.raw.is_broken();
        if usable && self.is_current() && self.abort_all()? {
            return Ok(Recovery::Aborted);
        }
        let shared = Arc::clone(&self.shared);
        if self.is_current() {
            let mut admin = shared.admin()?;
            if self.delete(&mut admin).is_ok() && self.revive(&mut admin).is_ok() {
                return Ok(Recovery::Recreated);
            }
        }
        let reset = if self.is_current() { shared.reset(self.epoch) } else { Ok(()) };
        if !self.is_current() {
            self.take_down();
        }
        reset?;
        self.revive(&mut *shared.admin()?)?;
        Ok(Recovery::Reset)
    }

    /// Whether the controller was not fenced since it was told of the queues.
    fn is_current(&self) -> bool {
        self.shared.epoch() == self.epoch
    }

    /// Deletes the queues.
    fn delete(&mut self, admin: &mut Admin) -> Result<(), Error> {
        if self.presence != Presence::Absent {
            let created = self.presence == Presence::Present;
            self.shared.delete_queues(admin, self.raw.qid, created)?;
            self.take_down();
        }
        Ok(())
    }

    /// Creates the queues again, empty.
    fn revive(&mut self, admin: &mut Admin) -> Result<(), Error> {
        self.raw.restart()?;
        if let Some(vector) = self.vector {
            // A reset of the function took its vectors away.
            self.interrupt = Some(self.shared.function.interrupt(vector)?);
        }
        self.epoch = self.shared.epoch();
        self.create(admin)
    }

    /// Asks for everything in flight to be aborted, and collects what completes. Says whether everything
    /// did.
    fn abort_all(&mut self) -> Result<bool, Error> {
        let shared = Arc::clone(&self.shared);
        let deadline = Deadline::after(shared.function.clock(), shared.options.abort_timeout);
        self.raw.ring()?;
        let cids: Vec<u16> = self.raw.flying().collect();
        for cid in cids {
            let abort = shared.abort(&mut *shared.admin()?, self.raw.qid, cid);
            if abort.is_err() || deadline.left() == Duration::ZERO {
                break;
            }
        }
        let mut late = false;
        while !late && self.raw.in_flight() > 0 {
            late = deadline.is_over();
            deadline.relax();
            while let Ok(Some(reaped)) = self.raw.poll() {
                self.returned.push_back(reaped);
                self.attention = true;
            }
        }
        Ok(self.raw.in_flight() == 0)
    }

    /// Gives the queues up, as dropping the pair does; says whether the controller is known not to use them any more, nor
    /// the memory that commands in flight name. If it is not, memory that the caller kept himself must not go back.
    ///
    /// Nothing can be submitted any more, nor recovered. What was in flight comes out of [`QueuePair::poll`] as lost,
    /// unless the controller may still be at it.
    pub fn retire(&mut self) -> bool {
        let fenced = self.release();
        if fenced && self.presence != Presence::Absent {
            self.take_down();
        }
        fenced
    }

    /// Gives the queues up; says whether the controller is known not to use them any more.
    pub(super) fn release(&mut self) -> bool {
        if self.retired {
            return true;
        }
        let shared = Arc::clone(&self.shared);
        if self.is_current() && self.delete_alone().is_err() {
            if shared.check_alive().is_ok() {
                let _ = shared.reset(self.epoch);
            }
            if self.is_current() {
                return false;
            }
        }
        if let Ok(mut admin) = shared.admin() {
            admin.give_queue(self.raw.qid);
        }
        self.retired = true;
        true
    }

    fn delete_alone(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        shared.check_alive()?;
        self.delete(&mut *shared.admin()?)
    }

    /// Asks for one command to be aborted. Says whether it was; it then comes out of
    /// [`QueuePair::poll`] as such. If it was not, it may still end by itself.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn abort(&mut self, command: CommandId) -> Result<bool, Error> {
        self.shared.abort(&mut *self.shared.admin()?, self.raw.qid, command.0)
    }
}
