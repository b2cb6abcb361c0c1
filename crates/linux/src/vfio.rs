//! Devices in this process's own hands: vfio (Documentation/driver-api/vfio.rst), by groups and a type 1 container, or by
//! devices and an iommufd.
//!
//! All devices of a [`Vfio`] share one IOMMU address space: what is mapped for one is reachable by all of them,
//! at the same address, and by no other device. Peer memory is mapped there like host memory, and the kernel
//! asks for no path: [`VfioFunction`] asks the verdict first.
//!
//! Dropping goes from the top down: mappings, then devices (which the kernel resets), then their groups, then the
//! container.

mod abi;
mod addresses;
mod bar;
mod container;
mod device;
mod error;
mod function;
mod interface;
mod interrupt;
mod iommufd;
mod mapping;
mod once;
pub(crate) mod place;
mod space;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{Bdf, Iova};

use crate::Survey;
pub use error::VfioError;
pub use function::VfioFunction;
pub use interface::Interface;
use mapping::Source;
pub use place::VFIO_PCI as DRIVER;
use space::Space;

/// Whether a device is bound to vfio-pci.
#[must_use]
pub fn is_bound(bdf: Bdf) -> bool {
    place::driver(bdf).as_deref() == Some(DRIVER)
}

/// Devices that share one IOMMU address space.
#[derive(Clone)]
pub struct Vfio(Arc<Space>);

impl Vfio {
    /// An empty address space. The topology of `survey`, which is of this machine, judges who may reach whom; `avoid` are the
    /// bus addresses of BARs and of bridges' windows.
    ///
    /// # Errors
    /// [`VfioError::Absent`], [`VfioError::Denied`], [`VfioError::NoType1`], [`VfioError::Open`].
    pub fn new(survey: &Survey, avoid: Vec<Range<u64>>) -> Result<Self, VfioError> {
        let topology = Arc::new(survey.topology.clone());
        Ok(Self(Arc::new(Space::new(Interface::here(survey.vfio), topology, avoid)?)))
    }

    /// How the kernel gives devices to this space: chosen when it was made.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.0.interface()
    }

    /// Opens a device that is bound to vfio-pci; the same one if it is open already.
    ///
    /// # Errors
    /// [`VfioError`].
    pub fn open(&self, bdf: Bdf) -> Result<VfioFunction, VfioError> {
        Ok(VfioFunction::new(device::Device::open(&self.0, bdf)?))
    }

    /// Whether a device is open in this space.
    #[must_use]
    pub fn is_open(&self, bdf: Bdf) -> bool {
        self.0.devices.get(bdf).is_some()
    }

    /// A device of the space that the kernel asks back, because it is being removed or unbound from vfio-pci: the kernel
    /// waits until all that is of it is dropped. Costs a system call per open device.
    #[must_use]
    pub fn recalled(&self) -> Option<Bdf> {
        self.0.find(device::Device::is_recalled)
    }

    /// A device of the space of which the kernel has told an error that was not corrected: of its own, or of the link to it
    /// (AER). What it was sent and what it sent may be lost. Costs a system call per open device.
    #[must_use]
    pub fn failed(&self) -> Option<Bdf> {
        self.0.find(device::Device::has_failed)
    }

    /// Maps memory for all devices of the space at an address of the caller's, and asks no verdict: to see what the
    /// kernel lets through. Drivers use what their [`VfioFunction`] maps.
    ///
    /// # Errors
    /// EFAULT or EREMOTEIO of memory that the kernel lends; EEXIST if something is mapped there; EINVAL of
    /// addresses that the IOMMU does not take.
    pub fn map(&self, memory: &SharedMemory, iova: Iova, access: MapAccess) -> io::Result<Mapped> {
        let source = Source::Host(memory.clone());
        self.0.map_at(iova, &source, access)?;
        Ok(Mapped { vfio: self.clone(), source, iova })
    }
}

/// What devices may do with mapped memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapAccess {
    /// Read it.
    Read,
    /// Read and write it.
    ReadWrite,
}

/// Memory that is mapped by hand, until this is dropped.
pub struct Mapped {
    vfio: Vfio,
    source: Source,
    iova: Iova,
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.vfio.0.unmap(self.iova, self.source.size(), false);
    }
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapped").field("iova", &self.iova).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Vfio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vfio").finish_non_exhaustive()
    }
}
