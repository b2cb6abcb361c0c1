//! What a user may choose.

use p2pdma_pci::Duration;

/// How a controller is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Entries of each admin queue: 2 to 4096.
    pub admin_entries: u32,
    /// How many I/O queue pairs to ask for; the controller may grant fewer, or more.
    pub io_queues: u16,
    /// The longest transfer of an I/O command in bytes, if the controller takes it. Every queue has
    /// memory for that much in each of its commands: 8 bytes per 4 KiB.
    pub max_transfer: u64,
    /// The longest wait for the controller to become ready or idle, or for its persistent memory region,
    /// whatever they claim to need (CAP.TO, PMRCAP.PMRTO).
    pub ready_timeout: Duration,
    /// How long an admin command may take.
    pub admin_timeout: Duration,
    /// How long Format NVM may take.
    pub format_timeout: Duration,
    /// How long a shutdown may take when the last view of the controller is dropped. A controller that says that it
    /// needs longer (RTD3E) gets that, up to a minute.
    pub shutdown_timeout: Duration,
    /// How long the recovery of a queue waits for its commands to be aborted.
    pub abort_timeout: Duration,
    /// How many asynchronous event requests to keep outstanding; the controller may take fewer.
    pub async_events: u8,
    /// Whether to use shadow doorbells, if the controller offers them: writes to registers become rare, at
    /// the cost of its looks into host memory. Emulated controllers do, whose registers are the slower
    /// way; hardware hardly ever does.
    pub shadow_doorbells: bool,
    /// The most namespaces to list.
    pub max_namespaces: usize,
}

impl Default for Options {
    /// For a controller that serves one host alone.
    fn default() -> Self {
        Self {
            admin_entries: 64,
            io_queues: 64,
            max_transfer: 1 << 20,
            ready_timeout: Duration::from_millis(30_000),
            admin_timeout: Duration::from_millis(10_000),
            format_timeout: Duration::from_millis(600_000),
            shutdown_timeout: Duration::from_millis(5_000),
            abort_timeout: Duration::from_millis(1_000),
            async_events: 4,
            shadow_doorbells: true,
            max_namespaces: 1024,
        }
    }
}

/// How a pair of queues is created.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Entries of each queue: 2 to what the controller takes. One less can be in flight.
    pub entries: u32,
    /// Where the submission queue is.
    pub submission: Placement,
    /// Where the completion queue is.
    pub completion: Placement,
    /// The MSI-X vector that announces completions, those of no other queue; none to poll.
    pub vector: Option<u16>,
}

impl QueueOptions {
    /// Queues of `entries` entries in host memory, polled.
    #[must_use]
    pub fn entries(entries: u32) -> Self {
        Self { entries, ..Self::default() }
    }
}

impl Default for QueueOptions {
    /// 64 entries in host memory, polled.
    fn default() -> Self {
        let (submission, completion) = (Placement::Host, Placement::Host);
        Self { entries: 64, submission, completion, vector: None }
    }
}

/// Where a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// In host memory.
    #[default]
    Host,
    /// In the controller memory buffer, if the controller supports that.
    Cmb,
}
