//! Memory in the address space of the devices.

use std::io;
use std::sync::Arc;

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{Error, Iova};

use super::MapAccess;
use super::device::Device;

/// Memory that is mapped until this is dropped.
///
/// It is unmapped before what is behind it goes: the kernel holds no reference to a BAR that it maps, and would
/// leave the mapping to whatever comes to that place next.
pub(super) struct Mapping {
    /// One of the devices that may use it: keeps the space, and this device in it.
    device: Arc<Device>,
    memory: SharedMemory,
    iova: Iova,
    /// Whether the address was free, and is to be so again.
    given: bool,
    /// Where it was to be, if it is a BAR, and the device whose BAR it is.
    peer: Option<(Place, Arc<Device>)>,
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
        let iova = device.space().map(memory)?;
        let (device, memory) = (Arc::clone(device), memory.clone());
        Ok(Self { device, memory, iova, given: true, peer: None })
    }

    /// Maps a part of another device's BAR.
    pub(super) fn of_peer(
        device: &Arc<Device>,
        memory: &SharedMemory,
        owner: &Arc<Device>,
        place: Place,
    ) -> io::Result<Self> {
        let (iova, given) = match place {
            Place::OnBus(at) => {
                device.space().map_at(Iova(at), memory, MapAccess::ReadWrite)?;
                (Iova(at), false)
            }
            Place::Anywhere(_) => (device.space().map(memory)?, true),
        };
        let (device, memory) = (Arc::clone(device), memory.clone());
        Ok(Self { device, memory, iova, given, peer: Some((place, Arc::clone(owner))) })
    }

    pub(super) fn iova(&self) -> Iova {
        self.iova
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let space = self.device.space();
        space.unmap(self.iova, self.memory.len() as u64, self.given);
        if let Some((place, _)) = self.peer {
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
