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
    /// The device whose BAR it is, if it is a BAR.
    _owner: Option<Arc<Device>>,
}

impl Mapping {
    /// Maps host memory, at a free address.
    pub(super) fn of_host(device: &Arc<Device>, memory: &SharedMemory) -> Result<Self, Error> {
        Self::anywhere(device, memory, None)
    }

    /// Maps a part of another device's BAR at a free address: whatever is between the two sends requests there to
    /// the root.
    pub(super) fn of_peer(
        device: &Arc<Device>,
        memory: &SharedMemory,
        owner: &Arc<Device>,
    ) -> Result<Self, Error> {
        Self::anywhere(device, memory, Some(owner))
    }

    /// Maps a part of another device's BAR at the address that it has on the bus: a switch between the two finds
    /// it by that, and so does the IOMMU if the request gets there.
    pub(super) fn of_peer_in_place(
        device: &Arc<Device>,
        memory: &SharedMemory,
        owner: &Arc<Device>,
        iova: Iova,
    ) -> Result<Self, Error> {
        let mapped = device.space().map_at(iova, memory, MapAccess::ReadWrite);
        mapped.map_err(|error| refused(device, memory, &error))?;
        let given = false;
        Ok(Self::new(device, memory, iova, given, Some(owner)))
    }

    pub(super) fn iova(&self) -> Iova {
        self.iova
    }

    fn anywhere(
        device: &Arc<Device>,
        memory: &SharedMemory,
        owner: Option<&Arc<Device>>,
    ) -> Result<Self, Error> {
        let mapped = device.space().map(memory);
        let iova = mapped.map_err(|error| refused(device, memory, &error))?;
        let given = true;
        Ok(Self::new(device, memory, iova, given, owner))
    }

    fn new(
        device: &Arc<Device>,
        memory: &SharedMemory,
        iova: Iova,
        given: bool,
        owner: Option<&Arc<Device>>,
    ) -> Self {
        let (device, memory) = (Arc::clone(device), memory.clone());
        Self { device, memory, iova, given, _owner: owner.map(Arc::clone) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.device.space().unmap(self.iova, self.memory.len() as u64, self.given);
        if !self.given {
            self.device.space().forget_peer(self.iova.0);
        }
    }
}

fn refused(device: &Device, memory: &SharedMemory, error: &io::Error) -> Error {
    let reason = match (error.raw_os_error(), error.kind()) {
        (Some(libc::ENOMEM), _) => "the limit of locked memory is reached (ulimit -l)",
        (Some(libc::ENOSPC), _) => {
            "the limit of mappings is reached (dma_entry_limit of vfio_iommu_type1)"
        }
        (Some(libc::EINVAL), _) => "the IOMMU does not take that address",
        (Some(libc::EEXIST), _) => "the address is taken",
        (None, io::ErrorKind::AddrNotAvailable) => "the IOMMU has no addresses left",
        _ => "the kernel refuses the mapping",
    };
    Error::NoDmaSpace { bdf: device.bdf, len: memory.len() as u64, reason }
}
