//! What can be wrong with vfio, or with a device under it.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use p2pdma_pci::Bdf;

/// Why a device cannot be used through vfio.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VfioError {
    /// The kernel has no vfio, or its module is not loaded.
    #[error("this kernel offers no vfio: /dev/vfio/vfio is not there")]
    Absent,
    /// A file of vfio's may not be opened.
    #[error("{} may not be opened: it belongs to another user", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// The device is bound to another driver, or to none.
    #[error("{bdf} is not bound to vfio-pci, but to {}", driver.as_deref().unwrap_or("no driver"))]
    NotBound {
        /// The device.
        bdf: Bdf,
        /// Its driver.
        driver: Option<String>,
    },
    /// There is no such device.
    #[error("there is no device at {bdf}")]
    NoDevice {
        /// The place.
        bdf: Bdf,
    },
    /// No IOMMU is in charge of the device.
    #[error("{bdf} is in no IOMMU group: no IOMMU is in charge of it, which vfio needs")]
    NoGroup {
        /// The device.
        bdf: Bdf,
    },
    /// Another device of its IOMMU group is in use by a driver of the kernel's.
    #[error("IOMMU group {group} of {bdf} is shared with {others}, which the kernel's drivers use")]
    Shared {
        /// The device.
        bdf: Bdf,
        /// The group.
        group: u32,
        /// The others with their drivers.
        others: String,
    },
    /// Another process has the group.
    #[error("IOMMU group {group} of {bdf} is in use by another process")]
    Busy {
        /// The device.
        bdf: Bdf,
        /// The group.
        group: u32,
    },
    /// The IOMMU does not isolate interrupts (`vfio_iommu_type1_attach_group()` in
    /// drivers/vfio/vfio_iommu_type1.c).
    #[error(
        "the IOMMU of {bdf} does not remap interrupts, so that the kernel does not hand it out"
    )]
    Unsafe {
        /// The device.
        bdf: Bdf,
    },
    /// The kernel's vfio has no type 1 IOMMU: another architecture's, or the module is missing.
    #[error("this kernel's vfio has no type 1 IOMMU")]
    NoType1,
    /// The IOMMU maps no pages as small as the driver's, or the kernel has none.
    #[error(
        "the smallest pages that are mapped for {bdf} have {least} bytes, and the driver's have 4096"
    )]
    Pages {
        /// The device.
        bdf: Bdf,
        /// Bytes of the smallest.
        least: u64,
    },
    /// The IOMMU does not take addresses that memory has already, for devices behind another one.
    #[error(
        "the IOMMU of {bdf} does not take {}, where memory is mapped for the other devices",
        named(taken.as_ref())
    )]
    Addresses {
        /// The device.
        bdf: Bdf,
        /// Some of those addresses; `None` if the kernel, which refuses the device, does not say which.
        taken: Option<Range<u64>>,
    },
    /// The IOMMU takes no addresses that are free.
    #[error("the IOMMU leaves no addresses for DMA beside those of the machine's BARs")]
    NoAddresses,
    /// A file that all devices share cannot be opened, for another reason.
    #[error("{} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Anything else.
    #[error("{what} of {bdf}: {source}")]
    System {
        /// The device.
        bdf: Bdf,
        /// What failed.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

impl VfioError {
    /// Whether it is about the file that all groups share, and not about a group or device.
    #[must_use]
    pub fn is_of_container(&self) -> bool {
        matches!(self, Self::Denied { path } if path == Path::new(CONTAINER))
    }
}

fn named(addresses: Option<&Range<u64>>) -> String {
    addresses.map_or_else(
        || "addresses".to_owned(),
        |range| format!("{:#x} to {:#x}", range.start, range.end),
    )
}

/// The file that all groups share.
pub(super) const CONTAINER: &str = "/dev/vfio/vfio";
/// That of iommufd.
pub(super) const IOMMU: &str = "/dev/iommu";

/// A file that all devices share, open.
pub(super) fn open_shared(path: &str) -> Result<File, VfioError> {
    open_file(Path::new(path), |source| match source.raw_os_error() {
        // The file may be there before the module is.
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => VfioError::Absent,
        _ => VfioError::Open { path: path.into(), source },
    })
}

/// A file of vfio's, open to read and write. `otherwise` says what is wrong if it is not that this user may not.
pub(super) fn open_file(
    path: &Path,
    otherwise: impl FnOnce(io::Error) -> VfioError,
) -> Result<File, VfioError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|source| match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => VfioError::Denied { path: path.into() },
        _ => otherwise(source),
    })
}
