//! Memory in the address space of the devices.

use std::fs::File;
use std::io;
use std::sync::Arc;

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{BarIndex, Error, Iova};

use super::MapAccess;
use super::addresses::PAGE;
use super::device::Device;
use super::interface::Interface;

/// What is mapped.
pub(super) enum Source {
    /// Memory of this process.
    Host(SharedMemory),
    /// Another device's.
    Peer(Part),
}

/// A part of a BAR.
pub(super) struct Part {
    owner: Arc<Device>,
    /// [`Device::resets`] of that, when it was mapped.
    resets: u64,
    bar: BarIndex,
    /// Where in the BAR it begins.
    start: u64,
    memory: SharedMemory,
}

impl Source {
    pub(super) fn memory(&self) -> &SharedMemory {
        match self {
            Self::Host(memory) | Self::Peer(Part { memory, .. }) => memory,
        }
    }

    /// In whole pages.
    pub(super) fn size(&self) -> u64 {
        (self.memory().len() as u64).next_multiple_of(PAGE)
    }
}

impl Part {
    pub(super) fn new(
        owner: &Arc<Device>,
        bar: BarIndex,
        start: u64,
        memory: &SharedMemory,
    ) -> Self {
        let (owner, memory) = (Arc::clone(owner), memory.clone());
        Self { resets: owner.resets(), owner, bar, start, memory }
    }

    /// As a file (dma-buf).
    pub(super) fn export(&self) -> io::Result<File> {
        self.owner.export(self.bar, &(self.start..self.start + self.memory.len() as u64))
    }
}

/// Memory that is mapped until this is dropped.
///
/// It is unmapped before what is behind it goes: a container holds no reference to a BAR that it maps, and would
/// leave the mapping to whatever comes to that place next.
pub(super) struct Mapping {
    /// One of the devices that may use it: keeps the space, and this device in it.
    device: Arc<Device>,
    source: Source,
    iova: Iova,
    /// Whether the address was free, and is to be so again.
    given: bool,
    /// Where it was to be, if it is a BAR.
    place: Option<Place>,
}

/// Where a part of a BAR is mapped, by the address that it has on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// There: a switch between the two finds it by that, and so does the IOMMU if the request gets there.
    OnBus(u64),
    /// At a free address: whatever is between the two sends requests there to the root.
    Anywhere(u64),
}

impl Mapping {
    /// Maps host memory, at a free address.
    pub(super) fn of_host(device: &Arc<Device>, memory: &SharedMemory) -> io::Result<Self> {
        let source = Source::Host(memory.clone());
        let (iova, device) = (device.space().map(&source)?, Arc::clone(device));
        Ok(Self { device, source, iova, given: true, place: None })
    }

    /// Maps a part of another device's BAR.
    pub(super) fn of_peer(device: &Arc<Device>, part: Part, place: Place) -> io::Result<Self> {
        let source = Source::Peer(part);
        let (iova, given) = match place {
            Place::OnBus(at) => {
                device.space().map_at(Iova(at), &source, MapAccess::ReadWrite)?;
                (Iova(at), false)
            }
            Place::Anywhere(_) => (device.space().map(&source)?, true),
        };
        Ok(Self { device: Arc::clone(device), source, iova, given, place: Some(place) })
    }

    pub(super) fn iova(&self) -> Iova {
        self.iova
    }

    /// Whether the kernel has taken it away: iommufd's go with a reset of the device whose BAR it is
    /// (`vfio_pci_dma_buf_move()`, drivers/vfio/pci/vfio_pci_dmabuf.c), a container's stay.
    pub(super) fn is_revoked(&self) -> bool {
        let Source::Peer(part) = &self.source else { return false };
        let goes = self.device.space().interface() == Interface::Iommufd;
        goes && part.owner.resets() != part.resets
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let space = self.device.space();
        space.unmap(self.iova, self.source.size(), self.given);
        if let Some(place) = self.place {
            space.peers.closed(place);
        }
    }
}

/// Why memory could not be mapped.
pub(super) fn refused(device: &Device, memory: &SharedMemory, error: &io::Error) -> Error {
    let reason = match (error.raw_os_error(), error.kind()) {
        (Some(libc::ENOMEM), _) => "the limit of locked memory is reached (ulimit -l)",
        (Some(libc::ENOSPC), _) => {
            "the limit of mappings is reached (dma_entry_limit of vfio_iommu_type1)"
        }
        (Some(libc::EINVAL), _) => "the IOMMU does not take that address",
        (Some(libc::EEXIST), _) => "the address is taken",
        (None, io::ErrorKind::AddrNotAvailable) => "the IOMMU has no addresses left",
        (Some(errno), _) => {
            let what = "gets no mapping from the kernel";
            return Error::System { bdf: device.bdf, what, errno };
        }
        _ => "the kernel refuses the mapping",
    };
    Error::NoDmaSpace { bdf: device.bdf, len: memory.len() as u64, reason }
}
