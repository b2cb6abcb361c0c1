//! The controller at work: fetch, carry out, complete.

mod complete;
mod doorbell;
mod execute;
mod schedule;

use p2pdma_fabric::TimerId;
use p2pdma_pci::Instant;
use p2pdma_spec::nvme::admin::QueuePriority;
use p2pdma_spec::nvme::queue::{ADMIN_QID, SubmissionEntry};
use p2pdma_spec::nvme::registers::{Arbitration, Cc, CommandSetSelection};

use super::arbitration::Arbiter;
use super::config::ControllerConfig;
use super::event::{ErrorLog, Events};
use super::feature::Features;
use super::jobs::Jobs;
use super::nvm::{Io, Limits, Scratch};
use super::queue::{CompletionQueue, Queues, SubmissionQueue};
use super::shadow::ShadowDoorbells;
use complete::Outbox;

/// Entries that are fetched in one read, and completions that are posted in one write, at most. Small
/// enough that completions are copied in ascending order, the phase tag of each after its other bytes.
const BATCH: u32 = 32;
/// Commands that one call carries out, roughly; then others have a turn.
const COMMANDS_PER_CALL: u32 = 256;
/// Blocks that one call moves, roughly.
pub(crate) const BLOCKS_PER_CALL: u64 = 1 << 16;

/// The timer for becoming ready.
pub(crate) const READY: TimerId = TimerId(0);
/// The timer for going on with what one call did not finish.
const AGAIN: TimerId = TimerId(1);
/// The bell that other controllers ring when they changed something.
pub(crate) const NEWS: TimerId = TimerId(2);
/// The bell for when the persistent memory region fails.
pub(crate) const WARNING: TimerId = TimerId(3);

/// Whether commands are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Not enabled, or shut down.
    Stopped,
    Running,
    /// A queue could not be reached (CSTS.CFS).
    Fatal,
}

/// Everything but registers and memories of its own.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) activity: Activity,
    pub(crate) queues: Queues,
    pub(crate) arbiter: Arbiter,
    pub(crate) jobs: Jobs,
    pub(crate) events: Events,
    pub(crate) errors: ErrorLog,
    pub(crate) features: Features,
    pub(crate) limits: Limits,
    pub(crate) shadow: Option<ShadowDoorbells>,
    pub(crate) max_queue_entries: u32,
    pub(crate) vectors: u16,
    pub(crate) doorbell_stride: u8,
    pub(crate) identity: Identity,
    pub(crate) entry_sizes_set: bool,
    /// When the controller becomes ready, if it is not yet.
    pub(crate) ready_at: Option<Instant>,
    /// Whether I/O commands are carried out at all (CC.CSS).
    io_commands: bool,
    max_outstanding: u32,
    /// Commands that were fetched and not completed, waiting event requests left out.
    outstanding: u32,
    /// Submission queues that wait for fewer outstanding commands.
    stalled: Vec<u16>,
    io: Io,
    scratch: Scratch,
    /// Room for entries that are fetched, to be used again.
    spare: Vec<Vec<SubmissionEntry>>,
    outbox: Outbox,
    /// Whether the timer for going on is set.
    again: bool,
    /// Blocks that the present call has moved.
    blocks: u64,
}

/// What Identify shows of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) vendor: u16,
    pub(crate) subsystem_vendor: u16,
    pub(crate) mdts: u8,
}

impl Engine {
    pub(crate) fn new(controller: u16, config: &ControllerConfig) -> Self {
        let features = Features::new(config);
        let limits = Limits {
            controller,
            attached: 1 << controller,
            page: 4096,
            max_transfer: match config.mdts {
                0 => u32::MAX,
                mdts => 4096 << mdts,
            },
            write_through: !features.write_cache(),
            copy_between_namespaces: false,
        };
        Self {
            activity: Activity::Stopped,
            queues: Queues::new(config.max_io_queues),
            arbiter: Arbiter::new(features.arbitration()),
            jobs: Jobs::new(),
            events: Events::default(),
            errors: ErrorLog::default(),
            features,
            limits,
            shadow: None,
            max_queue_entries: config.max_queue_entries,
            vectors: config.vectors,
            doorbell_stride: config.doorbell_stride,
            identity: Identity {
                vendor: config.vendor,
                subsystem_vendor: config.subsystem_vendor,
                mdts: config.mdts,
            },
            entry_sizes_set: false,
            ready_at: None,
            io_commands: false,
            max_outstanding: config.max_outstanding,
            outstanding: 0,
            stalled: Vec::new(),
            io: Io::default(),
            scratch: Scratch::new(),
            spare: Vec::new(),
            outbox: Outbox::new(),
            again: false,
            blocks: 0,
        }
    }

    /// Forgets everything that a Controller Level Reset ends: queues, commands, features that were not
    /// saved. What was on its way goes nowhere.
    pub(crate) fn reset(&mut self) {
        self.activity = Activity::Stopped;
        self.queues.clear();
        self.jobs.clear();
        self.events = Events::default();
        self.features.reset();
        self.arbiter = Arbiter::new(self.features.arbitration());
        self.limits.copy_between_namespaces = false;
        self.limits.write_through = !self.features.write_cache();
        self.shadow = None;
        self.ready_at = None;
        self.outstanding = 0;
        self.stalled.clear();
        self.outbox = Outbox::new();
        self.again = false;
    }

    /// Power was lost: what only a Controller Level Reset leaves is gone too.
    pub(crate) fn power_cut(&mut self) {
        self.errors = ErrorLog::default();
    }

    /// Begins to work with the admin queues; entries in `sizes`.
    pub(crate) fn start(&mut self, cc: Cc, asq: u64, acq: u64, sizes: (u32, u32), now: Instant) {
        self.features.start(now);
        self.limits.page = cc.page_size();
        self.io_commands = cc.css() != CommandSetSelection::ADMIN_ONLY;
        let weighted = cc.ams() == Arbitration::WEIGHTED_ROUND_ROBIN;
        self.arbiter.reset(weighted, self.features.arbitration());
        self.queues.insert_completion(ADMIN_QID, CompletionQueue::new(acq, sizes.1, Some(0)));
        let queue = SubmissionQueue::new(asq, sizes.0, ADMIN_QID, QueuePriority::URGENT);
        self.queues.insert_submission(ADMIN_QID, queue);
        self.activity = Activity::Running;
    }
}
