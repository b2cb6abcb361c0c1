//! A controller, opened.

use std::sync::Arc;

use p2pdma_pci::{Bdf, DmaBuffer, Function};
use p2pdma_spec::nvme::admin::AsyncEventResult;
use p2pdma_spec::nvme::feature::AsyncEventConfiguration;
use p2pdma_spec::nvme::identify::IdentifyController;
use p2pdma_spec::nvme::log::CriticalWarning;
use p2pdma_spec::nvme::queue::{
    COMPLETION_ENTRY_SIZE, MAX_ADMIN_ENTRIES, MIN_ENTRIES, SUBMISSION_ENTRY_SIZE, SubmissionEntry,
};
use p2pdma_spec::nvme::registers::{Cap, Vs};

use crate::admin::{AdminData, Plan, Request};
use crate::cmb::CmbMemory;
use crate::pmr::PmrMemory;
use crate::sgl::SglLimits;
use crate::shared::Shared;
use crate::{AdminReply, Cmb, Error, Namespace, Options, PAGE, Pmr, function};

/// An NVMe controller.
///
/// Cloning gives another view of the same one. The last view that is dropped, queues and buffers
/// included, shuts the controller down and takes its bus mastership away; that is bounded in time.
#[derive(Debug, Clone)]
pub struct Controller {
    pub(crate) shared: Arc<Shared>,
    identity: Arc<IdentifyController>,
    namespaces: Arc<[u32]>,
    pub(crate) limits: Limits,
}

/// What holds for every I/O command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest transfer in bytes.
    pub(crate) max_transfer: u64,
    pub(crate) sgl: SglLimits,
}

impl Controller {
    /// Takes a function over and brings its controller up.
    ///
    /// Nothing that the function says is trusted before it is checked, nor before it was reset. Ends
    /// within a few times [`Options::ready_timeout`], or what the controller claims to need if that is
    /// less, by the function's clock.
    ///
    /// # Errors
    /// See [`Error`]. On an error the function has been stopped, as far as it lets itself be.
    pub fn open(function: Arc<dyn Function>, options: Options) -> Result<Self, Error> {
        let mut shared = Shared::bring_up(function, options)?;
        let identity = shared.identify_controller(&mut *shared.admin()?)?;
        shared.learn_shutdown(&identity);
        let shared = Arc::new(shared);
        check(&shared, &identity)?;
        let limits = Limits {
            max_transfer: max_transfer(&shared, &identity),
            sgl: SglLimits::new(&identity),
        };
        let plan = plan(&shared, &identity);
        let mut admin = shared.admin()?;
        shared.carry_out(&mut admin, plan)?;
        let most = shared.options.max_namespaces;
        let namespaces = shared.active_namespaces(&mut admin, most)?.into();
        drop(admin);
        Ok(Self { shared, identity: identity.into(), namespaces, limits })
    }

    /// Where it is.
    #[must_use]
    pub fn bdf(&self) -> Bdf {
        self.shared.bdf()
    }

    /// The function behind it.
    #[must_use]
    pub fn function(&self) -> &dyn Function {
        &*self.shared.function
    }

    /// What Identify Controller said when it was opened.
    #[must_use]
    pub fn identity(&self) -> &IdentifyController {
        &self.identity
    }

    /// The namespaces that were active when it was opened, in order.
    #[must_use]
    pub fn namespaces(&self) -> &[u32] {
        &self.namespaces
    }

    /// A namespace as it is now, checked.
    ///
    /// # Errors
    /// [`Error::ImplausibleNamespace`] if its format cannot be, [`Error::OtherCommandSet`] if it is none
    /// of the NVM Command Set; and what can happen to any admin command.
    pub fn namespace(&self, nsid: u32) -> Result<Namespace, Error> {
        Namespace::ask(self, nsid)
    }

    /// Its capabilities register.
    #[must_use]
    pub fn capabilities(&self) -> Cap {
        self.shared.capabilities.cap
    }

    /// The version of the specification that it claims to follow.
    #[must_use]
    pub fn version(&self) -> Vs {
        self.shared.capabilities.version
    }

    /// The longest transfer of an I/O command in bytes.
    #[must_use]
    pub fn max_transfer(&self) -> u64 {
        self.limits.max_transfer
    }

    /// The most entries that an I/O queue can have.
    #[must_use]
    pub fn max_queue_entries(&self) -> u32 {
        self.shared.capabilities.max_entries()
    }

    /// Whether it takes scatter gather lists.
    #[must_use]
    pub fn takes_sgl(&self) -> bool {
        self.limits.sgl.supported()
    }

    /// How many I/O queue pairs there can be.
    ///
    /// # Errors
    /// [`Error::Dead`].
    pub fn queue_count(&self) -> Result<u16, Error> {
        Ok(self.shared.admin()?.queue_count())
    }

    /// How many interrupt vectors the function has.
    ///
    /// # Errors
    /// What the platform says.
    pub fn vectors(&self) -> Result<u16, Error> {
        function::vectors(self.function())
    }

    /// Allocates zeroed host memory that the controller can reach. Its owner keeps it until the
    /// commands that use it have been completed: see the crate's front page.
    ///
    /// # Errors
    /// [`p2pdma_pci::Error::NoDmaSpace`].
    pub fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error> {
        Ok(self.shared.function.alloc_dma(len)?)
    }

    /// The controller memory buffer, enabled at the first call.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it has none, [`Error::Implausible`] if what it says of it cannot be.
    pub fn cmb(&self) -> Result<Cmb, Error> {
        let shared = &self.shared;
        let mut admin = shared.admin()?;
        shared.check_alive()?;
        let memory = match &admin.cmb {
            Some(memory) => Arc::clone(memory),
            None => {
                let cap = shared.capabilities.cap;
                let memory = CmbMemory::enable(self.function(), &shared.registers, cap)?;
                Arc::clone(admin.cmb.insert(Arc::new(memory)))
            }
        };
        Ok(Cmb::new(memory, Arc::clone(shared)))
    }

    /// The persistent memory region, enabled at the first call.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it has none, [`Error::Implausible`] if what it says of it cannot be,
    /// [`Error::NotPersistent`] if it is not well or does not become ready.
    pub fn pmr(&self) -> Result<Pmr, Error> {
        let shared = &self.shared;
        let mut admin = shared.admin()?;
        shared.check_alive()?;
        let memory = match &admin.pmr {
            Some(memory) => Arc::clone(memory),
            None => {
                let (cap, most) = (shared.capabilities.cap, shared.options.ready_timeout);
                let memory = PmrMemory::enable(self.function(), &shared.registers, cap, most)?;
                Arc::clone(admin.pmr.insert(Arc::new(memory)))
            }
        };
        Ok(Pmr::new(memory, Arc::clone(shared)))
    }

    /// Sends any admin command: of `entry` all but the data pointer and the identifier count.
    ///
    /// # Errors
    /// What can happen to any admin command: see [`Error`].
    pub fn admin(&self, entry: SubmissionEntry, data: AdminData<'_>) -> Result<AdminReply, Error> {
        let timeout = self.shared.options.admin_timeout;
        let request = Request { entry, data, timeout };
        self.shared.execute(&mut *self.shared.admin()?, request)
    }

    /// The next asynchronous event, if one came. Reading the log page that it names lets the controller
    /// report the next of its kind.
    ///
    /// # Errors
    /// What can happen to the admin queue: see [`Error`].
    pub fn next_event(&self) -> Result<Option<AsyncEventResult>, Error> {
        self.shared.take_event()
    }

    /// Makes sure that the controller is running.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Failed`] or [`Error::Dead`].
    pub fn check(&self) -> Result<(), Error> {
        self.shared.check_alive()?;
        self.shared.check_status()
    }

    /// Resets the controller: a Controller Reset, or a reset of the function if that does not help. All
    /// queue pairs have to be [recovered](crate::QueuePair::recover); what was in flight on them is lost,
    /// and comes out of them as such.
    ///
    /// # Errors
    /// Why it could not be reset. It was given up then.
    pub fn reset(&self) -> Result<(), Error> {
        self.shared.check_alive()?;
        self.shared.reset(self.shared.epoch())
    }
}

impl Options {
    /// The size of the admin queues.
    pub(crate) fn admin_queue_entries(&self) -> u32 {
        self.admin_entries.clamp(MIN_ENTRIES, MAX_ADMIN_ENTRIES)
    }
}

/// Refuses what Identify Controller cannot say.
fn check(shared: &Shared, identity: &IdentifyController) -> Result<(), Error> {
    let bdf = shared.bdf();
    let sizes = [
        ("SQES", identity.sqes, SUBMISSION_ENTRY_SIZE),
        ("CQES", identity.cqes, COMPLETION_ENTRY_SIZE),
    ];
    for (field, sizes, needed) in sizes {
        let (least, most) = (1_usize << sizes.min(), 1_usize << sizes.max());
        if least > needed || most < needed {
            let value = sizes.into_bits().into();
            let reason = "the entries that the specification defines are not supported";
            return Err(Error::Implausible { bdf, field, value, reason });
        }
    }
    Ok(())
}

/// The longest transfer: what the options want, if the controller takes it. An MDTS beyond 64 bits is no
/// limit.
fn max_transfer(shared: &Shared, identity: &IdentifyController) -> u64 {
    let claimed = identity.max_transfer_bytes(shared.capabilities.cap.min_page_size());
    let wanted = shared.options.max_transfer.clamp(PAGE, MAX_TRANSFER);
    claimed.map_or(wanted, |claimed| claimed.min(wanted))
}

/// No list describes more: 65 536 blocks of 64 KiB.
const MAX_TRANSFER: u64 = 1 << 32;

fn plan(shared: &Shared, identity: &IdentifyController) -> Plan {
    let oaes = identity.oaes.get();
    let warnings = CriticalWarning::new()
        .with_ascbt(true)
        .with_ttc(true)
        .with_ndr(true)
        .with_amro(true)
        .with_vmbf(true)
        .with_pmrro(identity_has_pmr(shared));
    let config = AsyncEventConfiguration::new().with_shcw(warnings).with_nan(oaes.nsan());
    let options = &shared.options;
    // One entry of the queue stays empty, and one is for the command that waits.
    let room = options.admin_queue_entries().saturating_sub(2);
    let room = u16::try_from(room).unwrap_or(u16::MAX);
    let limit = u16::from(identity.aerl_z) + 1;
    let no_io =
        !(shared.capabilities.cap.css_nvm() || shared.capabilities.cap.css_io_command_sets());
    Plan {
        io_queues: if no_io { 0 } else { options.io_queues },
        event_config: config.into_bits(),
        events: u16::from(options.async_events).min(limit).min(room),
        shadow: options.shadow_doorbells && identity.oacs.get().dbcs(),
    }
}

fn identity_has_pmr(shared: &Shared) -> bool {
    shared.capabilities.cap.pmrs()
}
