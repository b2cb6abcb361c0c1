//! What is known of a function beside its place in the tree.

use std::fmt;
use std::sync::Arc;

use p2pdma_pci::topology::{Cause, Known, PciId};
use p2pdma_pci::{BarIndex, Bdf, BusAddr};
use p2pdma_spec::pci::config::Command;

use crate::Config;

/// A function as Linux or a dump shows it. The node of the topology has the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Where it is.
    pub bdf: Bdf,
    /// Its configuration space, as far as it was read.
    pub config: Config,
    /// The vendor and device of its subsystem; `None` for bridges, which have none in their header.
    pub subsystem: Known<Option<PciId>>,
    /// Its revision.
    pub revision: Known<u8>,
    /// Its Command register: whether it decodes memory and may start requests.
    pub command: Known<Command>,
    /// Whether a driver has enabled it (`enable` in sysfs is not zero).
    pub enabled: Known<bool>,
    /// The driver that is bound to it.
    pub driver: Known<Option<Arc<str>>>,
    /// What the driver made of it: `nvme0`, `eth0`.
    pub interfaces: Known<Vec<Arc<str>>>,
    /// The NUMA node that it is near to; `None` if the system does not say.
    pub numa_node: Known<Option<u32>>,
    /// Its IOMMU group; `None` if no IOMMU is in charge of it.
    pub iommu_group: Known<Option<IommuGroup>>,
    /// What its BARs decode, those that have an address.
    pub bars: Known<Vec<Bar>>,
    /// Peer memory that the kernel lends of it: the folder `p2pmem` in sysfs.
    pub pool: Known<Option<Pool>>,
    /// The registers of its controller memory buffer, if its driver shows them.
    pub cmb: Known<Option<CmbRegisters>>,
    /// The physical function that it is a virtual function of.
    pub physical_function: Known<Option<Bdf>>,
}

impl Function {
    /// A function of which nothing is known but its configuration space; `cause` is why.
    #[must_use]
    pub fn unknown(bdf: Bdf, config: Config, cause: Cause) -> Self {
        let command = config.command();
        Self {
            bdf,
            config,
            subsystem: Known::Unknown(cause),
            revision: Known::Unknown(cause),
            command,
            enabled: Known::Unknown(cause),
            driver: Known::Unknown(cause),
            interfaces: Known::Unknown(cause),
            numa_node: Known::Unknown(cause),
            iommu_group: Known::Unknown(cause),
            bars: Known::Unknown(cause),
            pool: Known::Unknown(cause),
            cmb: Known::Unknown(cause),
            physical_function: Known::Unknown(cause),
        }
    }

    /// Why it is not known whether the kernel lends memory of it, and how much; `None` if that is known.
    #[must_use]
    pub fn unread_memory(&self) -> Option<Cause> {
        match &self.pool {
            Known::Unknown(cause) => Some(*cause),
            Known::Value(pool) => pool.as_ref().and_then(|pool| pool.size.cause()),
        }
    }
}

/// An IOMMU group: functions that the IOMMU cannot tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IommuGroup {
    /// Its number.
    pub number: u32,
    /// What the kernel lets the IOMMU do for it, while no user-space driver holds it.
    pub domain: Known<DomainType>,
}

/// The type of a group's default domain (`/sys/kernel/iommu_groups/N/type`; `iommu_group_show_type()` in
/// drivers/iommu/iommu.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DomainType {
    /// `identity`: addresses pass as they are.
    Identity,
    /// `DMA`: translates; mappings end at once.
    Dma,
    /// `DMA-FQ`: translates; mappings end in batches.
    DmaFlushQueue,
    /// `blocked`: nothing passes.
    Blocked,
    /// `unmanaged`: another driver translates.
    Unmanaged,
}

impl DomainType {
    /// All, each with its word in sysfs.
    const NAMES: [(&str, Self); 5] = [
        ("identity", Self::Identity),
        ("DMA", Self::Dma),
        ("DMA-FQ", Self::DmaFlushQueue),
        ("blocked", Self::Blocked),
        ("unmanaged", Self::Unmanaged),
    ];

    /// The type of sysfs' word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(own, _)| *own == name).map(|&(_, own)| own)
    }

    /// Whether the kernel's drivers of the group work with translated addresses.
    #[must_use]
    pub const fn translates(self) -> bool {
        matches!(self, Self::Dma | Self::DmaFlushQueue)
    }
}

impl fmt::Display for DomainType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, own)| own == self);
        f.write_str(name.map_or("?", |(name, _)| name))
    }
}

/// What a BAR decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Which one.
    pub index: BarIndex,
    /// Where peers find it: the bus address in the register, or, where that was not read, the processor's
    /// address, which is the same except on some platforms that are not x86.
    pub address: BusAddr,
    /// Its size in bytes.
    pub size: Known<u64>,
    /// Whether it is memory, and not ports.
    pub memory: bool,
    /// Whether it may be prefetched.
    pub prefetchable: bool,
    /// Whether its address has 64 bits.
    pub wide: bool,
}

/// Peer memory that the kernel lends (`p2pmem` in sysfs; drivers/pci/p2pdma.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Its size in bytes.
    pub size: Known<u64>,
    /// How much of it is free, in bytes; an allocation needs one contiguous run.
    pub available: Known<u64>,
    /// Whether kernel drivers may be given it without asking for this provider by name.
    pub published: Known<bool>,
    /// Whether user space can allocate from it: the file `allocate` is there (Linux 6.2).
    pub allocatable: Known<bool>,
}

/// The registers of a controller memory buffer (NVMe Base 2.1 §3.1.4.11 and §3.1.4.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CmbRegisters {
    /// CMBLOC.
    pub location: u32,
    /// CMBSZ.
    pub size: u32,
}
