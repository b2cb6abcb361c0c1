//! A machine, resolved: a tree to walk, without names to look up.

use p2pdma_spec::pci::acs::AcsControl;

use crate::topology::{Cpu, EgressVector, IommuMode, LinkStatus, PciId};
use crate::{BarIndex, Duration};

/// A machine as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence; may be empty.
    pub about: String,
    /// Processor and memory.
    pub host: Host,
    /// The IOMMU.
    pub iommu: IommuMode,
    /// Whether transfers take time.
    pub timing: Timing,
    /// The host bridges, in the file's order.
    pub host_bridges: Vec<HostBridge>,
}

/// Processor and host memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// The processor, on which a rule of the kernel depends.
    pub cpu: Cpu,
    /// Host memory in bytes.
    pub memory: u64,
    /// Its channels; `None` for the timing model's own number.
    pub memory_channels: Option<u32>,
    /// Bytes per second of one channel; `None` for the timing model's own.
    pub memory_bandwidth: Option<u64>,
    /// The time of one access; `None` for the timing model's own.
    pub memory_latency: Option<Duration>,
}

/// The timing model. A constant that is `None` is the model's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Which model.
    pub model: TimingModel,
    /// Through a switch, from port to port.
    pub switch_hop: Option<Duration>,
    /// Through a root port and the root complex, one way.
    pub root_hop: Option<Duration>,
    /// The largest payload of a packet in bytes: a power of two, 128 to 4096.
    pub max_payload: Option<u16>,
    /// The largest read request in bytes: a power of two, 128 to 4096.
    pub max_read_request: Option<u16>,
}

/// Whether transfers take time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimingModel {
    /// Nothing takes any time.
    #[default]
    Ideal,
    /// Links, switches and memory take time.
    Pcie,
}

/// What a root complex really does with a request from one root port to what is below another. The
/// kernel's list of host bridges says what it is trusted to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerPolicy {
    /// Forwards it.
    Forward,
    /// Answers that it is not supported.
    Refuse,
    /// Loses writes and answers reads with all ones, without any error.
    Lose,
}

/// A host bridge with its root bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBridge {
    /// Its name.
    pub name: String,
    /// Its device 00.0, by which the kernel's list knows it.
    pub id: PciId,
    /// What it does with requests between its root ports.
    pub peer_to_peer: PeerPolicy,
    /// Its root bus. Domain 0.
    pub first_bus: u8,
    /// The last bus that it and what is below it may use.
    pub last_bus: u8,
    /// Its root ports, devices 1 and up of the root bus in the file's order.
    pub ports: Vec<Port>,
}

/// A port towards devices: a root port, or a downstream port of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name: `rp0`, or `sw0.1` for port 1 of switch `sw0`.
    pub name: String,
    /// Its end of the link below. Down if nothing is below.
    pub link: LinkStatus,
    /// Its ACS capability, if it has one.
    pub acs: Option<AcsSetting>,
    /// What is below.
    pub below: Below,
}

/// What is on the link below a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Below {
    /// Nothing.
    Nothing,
    /// A switch.
    Switch(Switch),
    /// A device, by its functions in the order of their numbers. It has a function 0.
    Device(Vec<Function>),
}

/// A switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Its name.
    pub name: String,
    /// Its upstream port's end of the link above.
    pub link: LinkStatus,
    /// Its downstream ports: port `i` is device `i` of the internal bus, and has port number `i`. At
    /// least one, at most 32.
    pub ports: Vec<Port>,
}

/// The ACS of a port or function, once the operating system has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcsSetting {
    /// The control register.
    pub control: AcsControl,
    /// The egress control vector: the port or function numbers that it lists.
    pub egress: EgressVector,
    /// Whether the kernel is told to switch redirection off here (`pci=disable_acs_redir=`). `control`
    /// has it off already.
    pub redirection_disabled: bool,
}

/// A function of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its number, 0 to 7.
    pub number: u8,
    /// Its end of the link above.
    pub link: LinkStatus,
    /// Its ACS capability, if it has one.
    pub acs: Option<AcsSetting>,
    /// What it is.
    pub model: Model,
}

/// What a function is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// An NVMe controller.
    Nvme(Nvme),
    /// Memory behind a BAR, and nothing else.
    BarMemory(BarMemory),
    /// A DMA engine.
    DataMover,
}

/// An NVMe controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nvme {
    /// Its namespaces: the first has NSID 1.
    pub namespaces: Vec<Namespace>,
    /// Its controller memory buffer.
    pub cmb: Option<Cmb>,
    /// Its persistent memory region.
    pub pmr: Option<Pmr>,
    /// The most I/O queue pairs.
    pub queue_pairs: u16,
    /// The most entries of a queue.
    pub queue_entries: u32,
    /// The largest transfer of a command in bytes, a power of two of at least 4 KiB; `None` for no
    /// limit (Maximum Data Transfer Size, NVMe Base 2.1 §5.1.13.2.1).
    pub max_transfer: Option<u64>,
    /// How fast its media are.
    pub media: MediaTiming,
    /// The subsystem that it shares with the other controllers that name it: the namespaces of each are those
    /// of all. `None` for one of its own.
    pub subsystem: Option<String>,
}

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// Its size in bytes, a multiple of the block size and not zero.
    pub size: u64,
    /// Data bytes of a block: 512 or 4096.
    pub block: u32,
    /// Metadata bytes of a block: 0, 8, 16 or 64.
    pub metadata: u16,
    /// The type of end-to-end protection, 1 to 3; 0 for none. Needs at least 8 bytes of metadata.
    pub protection: u8,
    /// Where its blocks are kept.
    pub media: Media,
}

/// Where a namespace's blocks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Media {
    /// In a sparse file that outlives the process, where the platform has a place for it.
    #[default]
    Persistent,
    /// In memory, and gone with the process.
    Memory,
    /// Nowhere: writes are dropped, and reads leave the buffer as it is. For benchmarks.
    Null,
}

/// A controller memory buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cmb {
    /// Its size in bytes, such that CMBSZ can say it.
    pub size: u64,
    /// The BAR it is in: 2 or 4, a 64-bit BAR.
    pub bar: BarIndex,
    /// That BAR's size in bytes, a power of two.
    pub bar_size: u64,
    /// Where in the BAR it begins, in bytes.
    pub offset: u64,
    /// What it may be used for.
    pub uses: CmbUses,
}

/// What a controller memory buffer may be used for (CMBSZ, NVMe Base 2.1 §3.1.4.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CmbUses {
    /// SQS: submission queues.
    pub submission_queues: bool,
    /// CQS: completion queues.
    pub completion_queues: bool,
    /// LISTS: PRP and SGL lists.
    pub lists: bool,
    /// RDS: data that the controller reads from namespaces into it.
    pub read_data: bool,
    /// WDS: data that the controller takes from it and writes to namespaces.
    pub write_data: bool,
}

/// A persistent memory region. It fills its BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pmr {
    /// Its size in bytes, a power of two.
    pub size: u64,
    /// The BAR it is in: 2 or 4, a 64-bit BAR.
    pub bar: BarIndex,
}

/// How fast a controller's media are. What is `None` takes no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaTiming {
    /// From command to first byte of a read.
    pub read_latency: Option<Duration>,
    /// From last byte to completion of a write.
    pub write_latency: Option<Duration>,
    /// Bytes per second when reading.
    pub read_bandwidth: Option<u64>,
    /// Bytes per second when writing.
    pub write_bandwidth: Option<u64>,
}

/// Memory behind a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarMemory {
    /// The memory in bytes.
    pub size: u64,
    /// How much of it the BAR shows, in bytes: a power of two, at most `size`.
    pub window: u64,
}
