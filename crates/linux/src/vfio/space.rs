//! A container of vfio's: one IOMMU address space that all devices of a process share.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use p2pdma_mem::{RangeAllocator, SharedMemory};
use p2pdma_pci::topology::Topology;
use p2pdma_pci::{Bdf, Error, Iova};

use super::abi::{self, DmaMap, DmaUnmap, GroupStatus, IommuInfo, request};
use super::device::Device;
use super::error::CONTAINER;
use super::mapping::Mapping;
use super::{MapAccess, VfioError, place};

/// Mappings are of whole pages.
pub(super) const PAGE: u64 = 4096;

/// The space, with the devices that are in it.
pub(super) struct Space {
    container: File,
    pub(super) topology: Arc<Topology>,
    /// Addresses of BARs and bridges, which no device is given for other memory: below a switch, a request to
    /// such an address would never reach the IOMMU.
    avoid: Vec<Range<u64>>,
    state: Mutex<State>,
    /// BARs that are mapped at their own addresses, by these. Each is here until it is unmapped.
    peers: Mutex<BTreeMap<u64, Weak<Mapping>>>,
    /// One of them was unmapped.
    unmapped: Condvar,
}

#[derive(Default)]
struct State {
    groups: BTreeMap<u32, Weak<Group>>,
    devices: BTreeMap<Bdf, Weak<Device>>,
    /// Set once the first group is in, and with it an IOMMU.
    addresses: Option<RangeAllocator>,
}

/// An IOMMU group in the container. It leaves with its last device.
pub(super) struct Group {
    pub(super) file: File,
    pub(super) space: Arc<Space>,
}

impl Space {
    pub(super) fn new(topology: Arc<Topology>, avoid: Vec<Range<u64>>) -> Result<Self, VfioError> {
        let path = CONTAINER;
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let container = opened.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => VfioError::Denied { path: path.into() },
            _ => VfioError::Absent,
        })?;
        let version = abi::call(container.as_fd(), request::GET_API_VERSION, 0);
        if version.ok() != Some(abi::API_VERSION) {
            return Err(VfioError::Absent);
        }
        let has = abi::call(container.as_fd(), request::CHECK_EXTENSION, abi::TYPE1_V2);
        if !has.is_ok_and(|has| has > 0) {
            return Err(VfioError::NoType1);
        }
        let (state, peers, unmapped) = Default::default();
        Ok(Self { container, topology, avoid, state, peers, unmapped })
    }

    /// A device that is open already.
    pub(super) fn device(&self, bdf: Bdf) -> Option<Arc<Device>> {
        self.state().devices.get(&bdf)?.upgrade()
    }

    /// A device that the kernel asks back.
    pub(super) fn recalled(&self) -> Option<Bdf> {
        let open: Vec<Arc<Device>> =
            self.state().devices.values().filter_map(Weak::upgrade).collect();
        open.iter().find(|device| device.is_recalled()).map(|device| device.bdf)
    }

    pub(super) fn enter(&self, device: &Arc<Device>) {
        self.state().devices.insert(device.bdf, Arc::downgrade(device));
    }

    /// The group of a device, in this container.
    pub(super) fn group(self: &Arc<Self>, bdf: Bdf) -> Result<Arc<Group>, VfioError> {
        let number = place::group(bdf)?;
        let mut state = self.state();
        if let Some(group) = state.groups.get(&number).and_then(Weak::upgrade) {
            return Ok(group);
        }
        let file = open_group(bdf, number)?;
        self.attach(&file, bdf, number, &mut state)?;
        let group = Arc::new(Group { file, space: Arc::clone(self) });
        state.groups.insert(number, Arc::downgrade(&group));
        Ok(group)
    }

    fn attach(
        &self,
        group: &File,
        bdf: Bdf,
        number: u32,
        state: &mut State,
    ) -> Result<(), VfioError> {
        let system = |what| move |source| VfioError::System { bdf, what, source };
        let mut status = GroupStatus::sized();
        let asked = abi::exchange(group.as_fd(), request::GROUP_GET_STATUS, &mut status);
        asked.map_err(system("asking for the status of the group"))?;
        if status.flags & abi::GROUP_VIABLE == 0 {
            let others = place::others(bdf, number);
            return Err(VfioError::Shared { bdf, group: number, others });
        }
        let mut container = Descriptor::of(&self.container);
        let joined = abi::exchange(group.as_fd(), request::GROUP_SET_CONTAINER, &mut container);
        joined.map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM) => VfioError::Unsafe { bdf },
            _ => VfioError::System { bdf, what: "adding the group", source },
        })?;
        // The kernel forgets the IOMMU, and every mapping, with the last group of a container.
        if state.groups.values().all(|group| group.strong_count() == 0) {
            let set = abi::call(self.container.as_fd(), request::SET_IOMMU, abi::TYPE1_V2);
            set.map_err(|source| match source.raw_os_error() {
                Some(libc::EPERM) => VfioError::Unsafe { bdf },
                _ => VfioError::System { bdf, what: "setting the IOMMU", source },
            })?;
            state.addresses = Some(self.addresses(bdf)?);
        }
        Ok(())
    }

    /// The addresses that the IOMMU takes and no BAR has: the longest run of them.
    fn addresses(&self, bdf: Bdf) -> Result<RangeAllocator, VfioError> {
        let asked = abi::exchange_long(
            self.container.as_fd(),
            request::IOMMU_GET_INFO,
            IommuInfo::sized(),
            |info| info.argsz,
        );
        let (info, bytes) = asked.map_err(|source| VfioError::System {
            bdf,
            what: "asking for the addresses of the IOMMU",
            source,
        })?;
        check_pages(bdf, &info)?;
        let ranges = abi::capability(&bytes, info.cap_offset, abi::CAP_IOVA_RANGE).map(abi::pairs);
        // A kernel that does not say (before 5.6) takes all but the interrupts' window.
        let ranges = ranges.unwrap_or_else(|| vec![(1 << 32, (1 << 39) - 1)]);
        let run = longest(&ranges, &self.avoid).ok_or(VfioError::NoAddresses)?;
        Ok(RangeAllocator::new(run))
    }

    /// Maps memory of this process for all devices of the space, at an address that is free.
    pub(super) fn map(&self, memory: &SharedMemory) -> io::Result<Iova> {
        let size = (memory.len() as u64).next_multiple_of(PAGE);
        let mut state = self.state();
        let addresses = state.addresses.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let iova = addresses.allocate(size, PAGE).map(Iova);
        let iova = iova.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mapped = self.map_at(iova, memory, MapAccess::ReadWrite);
        mapped.map(|()| iova).inspect_err(|_| {
            addresses.release(iova.0, size);
        })
    }

    /// Maps memory of this process at a given address, which is none of those that are given out.
    pub(super) fn map_at(
        &self,
        iova: Iova,
        memory: &SharedMemory,
        access: MapAccess,
    ) -> io::Result<()> {
        let size = (memory.len() as u64).next_multiple_of(PAGE);
        let flags = match access {
            MapAccess::Read => abi::DMA_READ,
            MapAccess::ReadWrite => abi::DMA_READ | abi::DMA_WRITE,
        };
        let (vaddr, iova) = (memory.base() as u64, iova.0);
        let mut argument = DmaMap { flags, vaddr, iova, size, ..DmaMap::sized() };
        abi::exchange(self.container.as_fd(), request::IOMMU_MAP_DMA, &mut argument).map(drop)
    }

    /// Takes a mapping away whose addresses nobody uses any more; `given` says whether [`Space::map`] gave them.
    pub(super) fn unmap(&self, iova: Iova, len: u64, given: bool) {
        let size = len.next_multiple_of(PAGE);
        let mut argument = DmaUnmap { iova: iova.0, size, ..DmaUnmap::sized() };
        let done = abi::exchange(self.container.as_fd(), request::IOMMU_UNMAP_DMA, &mut argument);
        // Addresses that could not be unmapped stay taken: what is behind them may still be reached.
        if done.is_ok()
            && given
            && let Some(addresses) = &mut self.state().addresses
        {
            addresses.release(iova.0, size);
        }
    }

    /// The mapping of a device's memory at its own address, made by `map` if there is none. One that another
    /// thread is taking away is waited for: until then its address is taken.
    pub(super) fn peer(
        &self,
        at: u64,
        map: impl FnOnce() -> Result<Mapping, Error>,
    ) -> Result<Arc<Mapping>, Error> {
        let mut peers = lock(&self.peers);
        loop {
            match peers.get(&at).map(Weak::upgrade) {
                Some(Some(mapping)) => return Ok(mapping),
                Some(None) => {
                    peers = self.unmapped.wait(peers).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        // Nobody else maps it meanwhile.
        let mapping = Arc::new(map()?);
        peers.insert(at, Arc::downgrade(&mapping));
        Ok(mapping)
    }

    /// Nothing is mapped any more at a device's own address.
    pub(super) fn forget_peer(&self, at: u64) {
        let mut peers = lock(&self.peers);
        if peers.get(&at).is_some_and(|mapping| mapping.strong_count() == 0) {
            peers.remove(&at);
        }
        drop(peers);
        self.unmapped.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps of handles, and an allocator whose calls do not panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_group(bdf: Bdf, number: u32) -> Result<File, VfioError> {
    let path = std::path::PathBuf::from(format!("/dev/vfio/{number}"));
    let opened = OpenOptions::new().read(true).write(true).open(&path);
    opened.map_err(|source| match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => VfioError::Denied { path },
        Some(libc::EBUSY) => VfioError::Busy { bdf, group: number },
        _ => VfioError::System { bdf, what: "opening the IOMMU group", source },
    })
}

/// A file descriptor as an argument.
#[repr(transparent)]
#[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
struct Descriptor(i32);

impl Descriptor {
    fn of(file: &File) -> Self {
        use std::os::fd::AsRawFd as _;
        Self(file.as_raw_fd())
    }
}

impl abi::Argument for Descriptor {}

/// Refuses an IOMMU that maps no pages as small as these, or a kernel whose own are larger (`vfio_update_pgsize_bitmap()`,
/// drivers/vfio/vfio_iommu_type1.c): what is mapped here begins and ends with pages of the NVMe driver's.
fn check_pages(bdf: Bdf, info: &IommuInfo) -> Result<(), VfioError> {
    let said = info.flags & abi::IOMMU_PAGE_SIZES != 0 && info.iova_pgsizes != 0;
    let least = if said { 1 << info.iova_pgsizes.trailing_zeros() } else { PAGE };
    if least > PAGE { Err(VfioError::Pages { bdf, least }) } else { Ok(()) }
}

/// The longest run of whole pages within inclusive ranges that touches nothing to be avoided.
fn longest(ranges: &[(u64, u64)], avoid: &[Range<u64>]) -> Option<Range<u64>> {
    let mut avoid = avoid.to_vec();
    avoid.sort_by_key(|range| range.start);
    let mut best = 0..0;
    let mut offer = |start: u64, end: u64| {
        // The first megabyte is no place for anything: a zero is what a broken device emits.
        let start = start.max(1 << 20).next_multiple_of(PAGE);
        let end = end / PAGE * PAGE;
        if end.saturating_sub(start) > best.end - best.start {
            best = start..end;
        }
    };
    for &(first, last) in ranges {
        let (mut from, end) = (first, last.saturating_add(1));
        for taken in avoid.iter().filter(|taken| taken.end > first && taken.start < end) {
            offer(from, taken.start.min(end));
            from = from.max(taken.end);
        }
        offer(from, end);
    }
    (!best.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iommu_of_larger_pages_is_refused() {
        let bdf: Bdf = "0000:03:00.0".parse().unwrap();
        let least = |flags, iova_pgsizes| {
            let info = IommuInfo { flags, iova_pgsizes, ..IommuInfo::sized() };
            match check_pages(bdf, &info) {
                Ok(()) => None,
                Err(VfioError::Pages { bdf: named, least }) => Some(least).filter(|_| named == bdf),
                Err(other) => panic!("{other}"),
            }
        };
        let said = abi::IOMMU_PAGE_SIZES;
        assert_eq!(least(said, 0x4020_1000), None, "4 KiB, 2 MiB, 1 GiB");
        assert_eq!(least(said, 0x0200_4000), Some(16 << 10));
        assert_eq!(least(said, 0x2001_0000), Some(64 << 10));
        assert_eq!(least(0, 0x0200_4000), None, "a kernel that does not say");
        assert_eq!(least(said, 0), None);
    }

    #[test]
    fn addresses_are_the_longest_run_without_a_bar() {
        let usual = [(0, 0xfedf_ffff), (0xfef0_0000, (1 << 39) - 1)];
        assert_eq!(longest(&usual, &[]), Some(0xfef0_0000..1 << 39));
        let bars = [0x70_0000_0000..0x70_0400_0000, 0xfe00_0000..0xfe00_4000];
        assert_eq!(longest(&usual, &bars), Some(0xfef0_0000..0x70_0000_0000));
        let bar = 0x10_0000_0000..0x10_0000_1000;
        assert_eq!(longest(&usual, std::slice::from_ref(&bar)), Some(0x10_0000_1000..1 << 39));
    }

    #[test]
    fn the_first_megabyte_and_parts_of_pages_are_left_out() {
        assert_eq!(longest(&[(0, 0x1f_f7ff)], &[]), Some(0x10_0000..0x1f_f000));
        assert_eq!(longest(&[(0, 0xf_ffff)], &[]), None);
        assert_eq!(longest(&[(0, u64::MAX)], &[]), Some(0x10_0000..u64::MAX / PAGE * PAGE));
        let all = 0..3 << 20;
        assert_eq!(longest(&[(1 << 20, (2 << 20) - 1)], std::slice::from_ref(&all)), None);
        // Overlapping BARs, as nobody should have them.
        let avoid = [0x20_0000..0x40_0000, 0x30_0000..0x31_0000];
        assert_eq!(longest(&[(1 << 20, 0x4f_ffff)], &avoid), Some(0x10_0000..0x20_0000));
    }
}
