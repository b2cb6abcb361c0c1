//! One IOMMU address space, which all devices of a process share.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use p2pdma_pci::topology::Topology;
use p2pdma_pci::{Bdf, Iova};

use super::addresses::Addresses;
use super::container::{Container, Group};
use super::device::Device;
use super::interface::Interface;
use super::iommufd::Iommufd;
use super::mapping::{Mapping, Place, Source};
use super::once::{Once, lock};
use super::{MapAccess, VfioError};

/// The space, with the devices that are in it.
pub(super) struct Space {
    kernel: Kernel,
    pub(super) topology: Arc<Topology>,
    /// Addresses of BARs and bridges, which no device is given for other memory: below a switch, a request to
    /// such an address would never reach the IOMMU.
    avoid: Vec<Range<u64>>,
    /// Set once the first device is in, and with it an IOMMU.
    addresses: Mutex<Option<Addresses>>,
    pub(super) devices: Once<Bdf, Device>,
    /// BARs that are mapped, for all devices.
    pub(super) peers: Once<Place, Mapping>,
}

/// The kernel's side of it.
enum Kernel {
    Container(Arc<Container>),
    Iommufd(Iommufd),
}

/// The last field of a device: when it is dropped, the kernel has that back.
pub(super) struct Open {
    pub(super) space: Arc<Space>,
    pub(super) bdf: Bdf,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.space.devices.closed(self.bdf);
    }
}

impl Space {
    pub(super) fn new(
        interface: Interface,
        topology: Arc<Topology>,
        avoid: Vec<Range<u64>>,
    ) -> Result<Self, VfioError> {
        let kernel = match interface {
            Interface::Container => Kernel::Container(Arc::new(Container::open()?)),
            Interface::Iommufd => Kernel::Iommufd(Iommufd::open()?),
        };
        let (addresses, devices, peers) = Default::default();
        Ok(Self { kernel, topology, avoid, addresses, devices, peers })
    }

    /// How the kernel gives the devices.
    pub(super) fn interface(&self) -> Interface {
        match self.kernel {
            Kernel::Container(_) => Interface::Container,
            Kernel::Iommufd(_) => Interface::Iommufd,
        }
    }

    /// An open device of which something holds.
    pub(super) fn find(&self, holds: impl Fn(&Device) -> bool) -> Option<Bdf> {
        self.devices.all().iter().find(|device| holds(device)).map(|device| device.bdf)
    }

    /// A device's group, if it is in the space by that, and its file, which is to be closed first.
    pub(super) fn open(&self, bdf: Bdf) -> Result<(Option<Arc<Group>>, File), VfioError> {
        match &self.kernel {
            Kernel::Container(container) => {
                let joined = |is_first| self.set_addresses(bdf, &container.ranges(bdf)?, is_first);
                let group = container.group(bdf, joined)?;
                let file = group.device(bdf)?;
                Ok((Some(group), file))
            }
            Kernel::Iommufd(iommufd) => {
                let file = iommufd.device(bdf)?;
                self.set_addresses(bdf, &iommufd.ranges(bdf)?, false)?;
                Ok((None, file))
            }
        }
    }

    /// Keeps to the addresses that the kernel says it takes with this device; `forgotten` says that no earlier ones count.
    fn set_addresses(
        &self,
        bdf: Bdf,
        ranges: &[(u64, u64)],
        forgotten: bool,
    ) -> Result<(), VfioError> {
        let mut addresses = lock(&self.addresses);
        match addresses.as_mut().filter(|_| !forgotten) {
            Some(addresses) => {
                let kept = addresses.keep_to(ranges);
                kept.map_err(|taken| VfioError::Addresses { bdf, taken: Some(taken) })
            }
            None => {
                let new = Addresses::new(ranges, &self.avoid).ok_or(VfioError::NoAddresses)?;
                *addresses = Some(new);
                Ok(())
            }
        }
    }

    /// Maps memory for all devices of the space, at an address that is free.
    pub(super) fn map(&self, source: &Source) -> io::Result<Iova> {
        let size = source.size();
        let mut addresses = lock(&self.addresses);
        let addresses = addresses.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let iova = addresses.allocate(size).map(Iova);
        let iova = iova.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mapped = self.map_at(iova, source, MapAccess::ReadWrite);
        mapped.map(|()| iova).inspect_err(|_| {
            addresses.release(iova.0, size);
        })
    }

    /// Maps memory at a given address, which is none of those that are given out. A BAR is mapped to be read and written.
    pub(super) fn map_at(&self, iova: Iova, source: &Source, access: MapAccess) -> io::Result<()> {
        let (memory, size) = (source.memory(), source.size());
        match (&self.kernel, source) {
            (Kernel::Container(container), _) => container.map(iova, memory, size, access),
            (Kernel::Iommufd(iommufd), Source::Host(_)) => iommufd.map(iova, memory, size, access),
            (Kernel::Iommufd(iommufd), Source::Peer(part)) => {
                iommufd.map_file(iova, &part.export()?, size)
            }
        }
    }

    /// Takes a mapping away whose addresses nobody uses any more; `given` says whether [`Space::map`] gave them.
    pub(super) fn unmap(&self, iova: Iova, size: u64, given: bool) {
        let done = match &self.kernel {
            Kernel::Container(container) => container.unmap(iova, size),
            Kernel::Iommufd(iommufd) => iommufd.unmap(iova, size),
        };
        // Addresses that could not be unmapped stay taken: what is behind them may still be reached.
        if done.is_ok()
            && given
            && let Some(addresses) = lock(&self.addresses).as_mut()
        {
            addresses.release(iova.0, size);
        }
    }
}
