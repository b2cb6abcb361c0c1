//! What a topology is made of.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use p2pdma_spec::pci::acs::AcsControl;
use p2pdma_spec::pci::class::ClassCode;
use p2pdma_spec::pci::express::PortType;

use super::{Acs, Allowlist, KernelVersion, Known, LinkStatus};
use crate::{BarIndex, Bdf, BusAddr};

/// The number of a function in its topology: an index in depth-first order, stable for the topology's
/// life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Vendor and device ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PciId {
    /// The vendor.
    pub vendor: u16,
    /// The vendor's number for the device.
    pub device: u16,
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// A text that is no [`PciId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a vendor and device: expected four and four hexadecimal digits, as in 8086:29c0"
)]
pub struct ParsePciIdError(String);

impl FromStr for PciId {
    type Err = ParsePciIdError;

    /// Reads `8086:29c0`.
    fn from_str(text: &str) -> Result<Self, ParsePciIdError> {
        let number = |digits: &str| {
            let plain = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u16::from_str_radix(digits, 16).ok())?
        };
        let parse = || {
            let (vendor, device) = text.split_once(':')?;
            Some(Self { vendor: number(vendor)?, device: number(device)? })
        };
        parse().ok_or_else(|| ParsePciIdError(text.to_owned()))
    }
}

/// What a function is, by the Device/Port Type of its PCI Express capability (PCIe 6.0 §7.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A port of the root complex.
    RootPort,
    /// The port of a switch towards the root.
    UpstreamPort,
    /// A port of a switch towards a device.
    DownstreamPort,
    /// A bridge to or from a conventional bus.
    PciBridge,
    /// An endpoint, legacy ones included.
    Endpoint,
    /// An endpoint or event collector inside the root complex.
    IntegratedEndpoint,
    /// A function without a PCI Express capability, such as most host bridges' own device 00.0.
    Conventional,
    /// A bridge or port whose capabilities could not be read: any of the four above that are bridges.
    UnreadBridge,
    /// A function that is no bridge and whose capabilities could not be read.
    UnreadFunction,
}

impl Kind {
    /// The kind of a function by its PCI Express capability, if it has one, or else by whether its
    /// header is that of a bridge (type 1, PCIe 6.0 §7.5.1.1.9).
    #[must_use]
    pub const fn of(port_type: Option<PortType>, bridge_header: bool) -> Self {
        match port_type {
            Some(PortType::ROOT_PORT) => Self::RootPort,
            Some(PortType::UPSTREAM_PORT) => Self::UpstreamPort,
            Some(PortType::DOWNSTREAM_PORT) => Self::DownstreamPort,
            Some(
                PortType::ROOT_COMPLEX_INTEGRATED_ENDPOINT | PortType::ROOT_COMPLEX_EVENT_COLLECTOR,
            ) => Self::IntegratedEndpoint,
            _ if bridge_header => Self::PciBridge,
            Some(_) => Self::Endpoint,
            None => Self::Conventional,
        }
    }

    /// Whether other functions can be below it.
    #[must_use]
    pub const fn is_bridge(self) -> bool {
        matches!(
            self,
            Self::RootPort
                | Self::UpstreamPort
                | Self::DownstreamPort
                | Self::PciBridge
                | Self::UnreadBridge
        )
    }

    /// Whether it is known to be a port whose secondary side is a link: a root port or a downstream
    /// port.
    #[must_use]
    pub const fn faces_down(self) -> bool {
        matches!(self, Self::RootPort | Self::DownstreamPort)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootPort => "root port",
            Self::UpstreamPort => "switch, upstream",
            Self::DownstreamPort => "switch, downstream",
            Self::PciBridge => "PCI bridge",
            Self::Endpoint => "endpoint",
            Self::IntegratedEndpoint => "integrated endpoint",
            Self::Conventional => "conventional function",
            Self::UnreadBridge => "bridge, type not read",
            Self::UnreadFunction => "function, type not read",
        })
    }
}

/// What a function is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// It is on the root bus of this host bridge, an index into the topology's host bridges.
    HostBridge(usize),
    /// It is on the secondary bus of this bridge.
    Bridge(Bdf),
}

/// The buses behind a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BusRange {
    /// The one directly behind it.
    pub secondary: u8,
    /// The highest one below it.
    pub subordinate: u8,
}

/// What kind of memory a function lends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// A controller memory buffer (NVMe Base 2.1 §8.2.1).
    Cmb,
    /// A persistent memory region (NVMe Base 2.1 §8.2.4).
    Pmr,
    /// A plain BAR.
    Bar(BarIndex),
    /// What the kernel offers as `p2pmem`.
    P2pmem,
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cmb => f.write_str("cmb"),
            Self::Pmr => f.write_str("pmr"),
            Self::Bar(index) => write!(f, "bar{}", index.get()),
            Self::P2pmem => f.write_str("p2pmem"),
        }
    }
}

/// Memory that a function can lend to peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LentMemory {
    /// What it is.
    pub kind: MemoryKind,
    /// How much of it peers can reach, in bytes.
    pub size: u64,
    /// How much memory is behind that window, in bytes, if the device says.
    pub behind: Option<u64>,
    /// Where it is decoded, if it is.
    pub address: Option<BusAddr>,
    /// Whether others may be given it without asking for this provider by name.
    pub published: bool,
}

/// A function of a topology.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it is.
    pub bdf: Bdf,
    /// What it is.
    pub kind: Kind,
    /// What it is below. A virtual function is below what its physical function is below.
    pub upstream: Upstream,
    /// What people call it: `nvme0`.
    pub name: Option<Arc<str>>,
    /// Vendor and device ID.
    pub id: PciId,
    /// Its class.
    pub class: ClassCode,
    /// Whether its device has several functions (PCIe 6.0 §7.5.1.1.9).
    pub multi_function: bool,
    /// Its ACS capability, if it has one.
    pub acs: Known<Option<Acs>>,
    /// A port's number in its switch or root complex (PCIe 6.0 §7.5.3.6), by which egress vectors
    /// name it.
    pub port_number: u8,
    /// The link above a function, or below a port; none on a switch's internal bus and in the root
    /// complex.
    pub link: Known<Option<LinkStatus>>,
    /// The buses behind it, if it is a bridge.
    pub buses: Option<BusRange>,
    /// What it can lend.
    pub memory: Vec<LentMemory>,
}

impl Node {
    /// A function without name, ACS, link or memory; set what it has.
    #[must_use]
    pub fn new(bdf: Bdf, kind: Kind, upstream: Upstream) -> Self {
        Self {
            bdf,
            kind,
            upstream,
            name: None,
            id: PciId::default(),
            class: ClassCode::default(),
            multi_function: false,
            acs: Known::Value(None),
            port_number: 0,
            link: Known::Value(None),
            buses: None,
            memory: Vec::new(),
        }
    }

    /// The bits that the kernel's rule notes here: RR, CR and EC as far as they are set.
    #[must_use]
    pub fn redirecting(&self) -> Known<AcsControl> {
        let bits = |acs: &Option<Acs>| acs.as_ref().map(Acs::redirecting).unwrap_or_default();
        self.acs.as_ref().map(bits)
    }
}

/// A host bridge: where a PCI hierarchy hangs on the processor. Not itself a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBridge {
    /// Its domain.
    pub domain: u32,
    /// Its root bus.
    pub bus: u8,
    /// What people call it.
    pub name: Option<Arc<str>>,
}

impl fmt::Display for HostBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pci{:04x}:{:02x}", self.domain, self.bus)
    }
}

/// The make of a processor, as far as peer-to-peer traffic cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CpuVendor {
    /// `GenuineIntel`.
    Intel,
    /// `AuthenticAMD`.
    Amd,
    /// `HygonGenuine`: of AMD's design, but not AMD to the kernel's rule.
    Hygon,
    /// Any other, and every processor that is not x86.
    Other,
}

impl CpuVendor {
    /// The make by the vendor string of CPUID leaf 0, which `/proc/cpuinfo` shows.
    #[must_use]
    pub fn from_cpuid(text: &str) -> Self {
        match text {
            "GenuineIntel" => Self::Intel,
            "AuthenticAMD" => Self::Amd,
            "HygonGenuine" => Self::Hygon,
            _ => Self::Other,
        }
    }
}

/// A processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cpu {
    /// Its make.
    pub vendor: CpuVendor,
    /// Its family, the extended part added (`cpu family` in `/proc/cpuinfo`).
    pub family: u16,
}

impl Cpu {
    /// Whether the kernel takes every root complex of this processor to carry peer-to-peer traffic:
    /// AMD, family 0x17 (Zen) or later.
    #[must_use]
    pub fn carries_peer_traffic(self) -> bool {
        const ZEN: u16 = 0x17;
        self.vendor == CpuVendor::Amd && self.family >= ZEN
    }
}

/// What an IOMMU does with devices' requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IommuMode {
    /// There is none, or it is off.
    Off,
    /// It is on, and lets addresses of ordinary devices pass as they are (`iommu=pt`).
    Passthrough,
    /// It translates.
    Translate,
}

/// What the verdict needs to know beside the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// The processor.
    pub cpu: Known<Cpu>,
    /// The IOMMU.
    pub iommu: Known<IommuMode>,
    /// The running kernel, whose list of host bridges counts; `None` where there is none to ask, as in
    /// the software fabric: the newest that this project knows.
    pub kernel: Option<Known<KernelVersion>>,
    /// The host bridges that may carry peer-to-peer traffic.
    pub allowlist: Allowlist,
    /// Whether QEMU emulates the machine: its switches turn nothing, but hand every request to the IOMMU.
    pub qemu: bool,
}

impl Host {
    /// A host with this processor, without IOMMU, under the newest kernel and its own list.
    #[must_use]
    pub fn new(vendor: CpuVendor, family: u16) -> Self {
        Self {
            cpu: Known::Value(Cpu { vendor, family }),
            iommu: Known::Value(IommuMode::Off),
            kernel: None,
            allowlist: Allowlist::kernel(),
            qemu: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_as_lspci_prints_them() {
        let id: PciId = "8086:29c0".parse().unwrap();
        assert_eq!(id.to_string(), "8086:29c0");
        for bad in ["", "8086", "8086:", "8086:29c", "8086:29c00", "8086:+9c0", "8086-29c0"] {
            assert!(bad.parse::<PciId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds_follow_the_capability_and_the_header() {
        assert_eq!(Kind::of(Some(PortType::DOWNSTREAM_PORT), true), Kind::DownstreamPort);
        assert_eq!(Kind::of(Some(PortType::PCI_BRIDGE), true), Kind::PciBridge);
        assert_eq!(Kind::of(Some(PortType::LEGACY_ENDPOINT), false), Kind::Endpoint);
        assert_eq!(Kind::of(None, true), Kind::PciBridge);
        assert_eq!(Kind::of(None, false), Kind::Conventional);
        for &port_type in PortType::KNOWN {
            let kind = Kind::of(Some(port_type), port_type.is_bridge());
            assert_eq!(kind.is_bridge(), port_type.is_bridge(), "{port_type}");
            assert_eq!(kind.faces_down(), port_type.faces_downstream(), "{port_type}");
        }
    }

    #[test]
    fn zen_and_later_and_amd_only() {
        let carries = |vendor, family| Cpu { vendor, family }.carries_peer_traffic();
        assert!(carries(CpuVendor::Amd, 0x17));
        assert!(carries(CpuVendor::Amd, 0x1a));
        assert!(!carries(CpuVendor::Amd, 0x15));
        assert!(!carries(CpuVendor::Hygon, 0x18));
        assert!(!carries(CpuVendor::Intel, 0x17));
        assert_eq!(CpuVendor::from_cpuid("HygonGenuine"), CpuVendor::Hygon);
    }
}
