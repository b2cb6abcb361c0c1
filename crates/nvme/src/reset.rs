//! Stopping and starting a controller (NVMe Base 2.1 §3.5, §3.6 and §3.7).

use std::sync::atomic::Ordering;

use p2pdma_pci::Duration;
use p2pdma_spec::nvme::identify::IdentifyController;
use p2pdma_spec::nvme::registers::{
    Cc, CommandSetSelection, Csts, ShutdownNotification, ShutdownStatus,
};

use crate::admin::{Admin, Plan};
use crate::shared::Shared;
use crate::time::Deadline;
use crate::{Error, function};

/// Powers of two of the sizes of queue entries (NVMe Base 2.1 §3.1.4.5).
const SUBMISSION_ENTRY_POWER: u8 = 6;
const COMPLETION_ENTRY_POWER: u8 = 4;

/// What a controller gets for a shutdown, whatever it claims to need.
const LONGEST_SHUTDOWN: Duration = Duration::from_millis(60_000);

impl Shared {
    /// Stops the controller; success is proof that it accesses no memory any more. A controller that
    /// does not stop by itself is reset from the bus.
    pub(crate) fn halt(&self) -> Result<(), Error> {
        let stopped = self.disable();
        if stopped.is_err() {
            // What a function-level reset did not stop is not stopped.
            self.function.reset().map_err(|reset| stopped.err().unwrap_or(reset.into()))?;
            function::enable(&*self.function, false)?;
            self.disable()?;
        }
        self.running.store(false, Ordering::Release);
        self.next_epoch();
        Ok(())
    }

    fn ready_limit(&self) -> Duration {
        self.capabilities.ready_timeout(self.options.ready_timeout)
    }

    /// A Controller Reset: clears CC.EN and waits until the controller says that it is not ready.
    fn disable(&self) -> Result<(), Error> {
        let deadline = Deadline::after(self.function.clock(), self.ready_limit());
        let cc = self.registers.configuration()?;
        if cc.en() {
            // Clearing EN before the controller is ready has undefined results
            // (NVMe Base 2.1 §3.1.4.5), unless it never will be.
            let settled = |csts: Csts| csts.rdy() || csts.cfs();
            match self.wait_for(&deadline, "become ready", settled) {
                Ok(()) | Err(Error::NotReady { .. }) => {}
                Err(error) => return Err(error),
            }
            let cc = cc.with_en(false).with_shn(ShutdownNotification::NONE);
            self.registers.configure(cc)?;
        }
        let deadline = Deadline::after(self.function.clock(), self.ready_limit());
        self.wait_for(&deadline, "become idle", |csts| !csts.rdy())
    }

    /// Gives the controller its admin queues and enables it.
    ///
    /// # Errors
    /// Besides its own, those of [`Admin::restart`]; the controller is given up then.
    pub(crate) fn start(&self, admin: &mut Admin) -> Result<(), Error> {
        admin.restart()?;
        function::enable(&*self.function, true)?;
        self.running.store(true, Ordering::Release);
        let (sq, cq) = admin.raw.memory();
        let entries = admin.raw.entries();
        self.registers.set_admin_queues(entries, sq.iova().0, cq.iova().0)?;
        let cap = self.capabilities.cap;
        let css = if cap.css_io_command_sets() {
            CommandSetSelection::ALL_SUPPORTED
        } else if cap.css_nvm() {
            CommandSetSelection::NVM
        } else {
            CommandSetSelection::ADMIN_ONLY
        };
        let cc = Cc::new()
            .with_css(css)
            .with_iosqes(SUBMISSION_ENTRY_POWER)
            .with_iocqes(COMPLETION_ENTRY_POWER)
            .with_en(true);
        self.registers.configure(cc)?;
        let deadline = Deadline::after(self.function.clock(), self.ready_limit());
        self.wait_for(&deadline, "become ready", |csts| csts.rdy() || csts.cfs())?;
        self.check_status()
    }

    /// Resets the controller, unless somebody else did since `epoch`. All I/O queues are gone then.
    ///
    /// # Errors
    /// The controller is given up. If it could be stopped, the epoch has advanced all the same.
    pub(crate) fn reset(&self, epoch: u32) -> Result<(), Error> {
        let mut admin = self.admin()?;
        if self.epoch() != epoch {
            return self.check_alive();
        }
        let restarted = self.halt().and_then(|()| {
            self.start(&mut admin)?;
            self.settle(&mut admin)
        });
        if restarted.is_err() {
            self.give_up();
            // A fence of its own, for what could not be stopped.
            let _ = function::enable(&*self.function, false);
        }
        restarted
    }

    /// Tells a controller that has just been started what to do.
    fn settle(&self, admin: &mut Admin) -> Result<(), Error> {
        if let Some(cmb) = admin.cmb.clone() {
            cmb.set_address(&self.registers)?;
        }
        if let Some(pmr) = admin.pmr.clone() {
            pmr.start(&self.registers, self.function.clock())?;
        }
        let plan = admin.plan;
        self.carry_out(admin, plan)
    }

    /// Carries out a plan, and again after every reset.
    pub(crate) fn carry_out(&self, admin: &mut Admin, plan: Plan) -> Result<(), Error> {
        admin.plan = plan;
        let count = self.request_queues(admin, plan.io_queues)?;
        admin.set_queue_count(count);
        if plan.shadow {
            self.configure_shadow(admin)?;
        }
        self.start_events(admin, plan)
    }

    fn wait_for(
        &self,
        deadline: &Deadline<'_>,
        goal: &'static str,
        reached: impl Fn(Csts) -> bool,
    ) -> Result<(), Error> {
        loop {
            let late = deadline.is_over();
            let csts = self.registers.status()?;
            if reached(csts) {
                return Ok(());
            }
            if late {
                let (bdf, waited) = (self.bdf(), deadline.waited());
                return Err(Error::NotReady { bdf, goal, waited, csts });
            }
            deadline.relax();
        }
    }

    /// Ends the controller's work for us; says whether it is certain that it accesses no memory any
    /// more. Bounded in time, whatever the controller does.
    pub(crate) fn quiesce(&self) -> bool {
        if self.check_alive().is_ok() && self.check_status().is_ok() {
            // One that does not shut down is stopped all the same.
            let _ = self.shut_down();
        }
        if let Ok(admin) = self.admin() {
            let _ = admin.cmb.as_ref().map(|cmb| cmb.disable(&self.registers));
            let _ = admin.pmr.as_ref().map(|pmr| pmr.stop(&self.registers));
        }
        let halted = !self.running.load(Ordering::Acquire) || self.halt().is_ok();
        let silenced = function::enable(&*self.function, false).is_ok();
        halted && silenced
    }

    /// Takes in how long the controller says that a shutdown takes (RTD3E, NVMe Base 2.1 §3.6.1). Linux waits as
    /// long, and for no more than a minute either (`nvme_init_identify()`, drivers/nvme/host/core.c).
    pub(crate) fn learn_shutdown(&mut self, identity: &IdentifyController) {
        let claimed = Duration::from_micros(identity.rtd3e.get().into());
        self.shutdown_limit = claimed.min(LONGEST_SHUTDOWN).max(self.options.shutdown_timeout);
    }

    /// A normal shutdown (NVMe Base 2.1 §3.6.1).
    fn shut_down(&self) -> Result<(), Error> {
        let cc = self.registers.configuration()?;
        self.registers.configure(cc.with_shn(ShutdownNotification::NORMAL))?;
        let deadline = Deadline::after(self.function.clock(), self.shutdown_limit);
        let done = |csts: Csts| csts.shst() == ShutdownStatus::COMPLETE || csts.cfs();
        self.wait_for(&deadline, "shut down", done)
    }
}
