//! The rows.

/// What the kernel does with a buffer that is another device's memory.
#[derive(Debug)]
pub(crate) struct Row {
    /// What is tried; the example `kernel_rows` says how.
    pub(crate) name: &'static str,
    /// What comes of it with memory that the client reaches; empty if that is not tried.
    pub(crate) reached: &'static str,
    /// The same with memory that it does not reach.
    pub(crate) beyond: &'static str,
    /// The kernel that it holds for: that it was seen with.
    pub(crate) kernel: &'static str,
    /// Where in the kernel's source.
    pub(crate) source: &'static str,
}

/// A row of Linux 7.3.
const fn row(
    name: &'static str,
    reached: &'static str,
    beyond: &'static str,
    source: &'static str,
) -> Row {
    Row { name, reached, beyond, kernel: "7.3", source }
}

/// The mapping of each request asks for the verdict.
const MAPPED: &str = "drivers/nvme/host/pci.c, block/blk-mq-dma.c";
/// What a second provider in a vector leaves over is read through the page cache.
const FALLBACK: &str = "block/fops.c: blkdev_read_iter";
const REGISTERED: &str = "io_uring/memmap.c: io_pin_pages, without FOLL_PCI_P2PDMA";
const COMMAND: &str = "drivers/nvme/host/ioctl.c: nvme_map_user_request, block/blk-map.c";
const COPIED: &str = "block/blk-map.c: blk_rq_map_user_iov copies what is misaligned";
const ADMIN: &str = "block/blk-map.c: the admin queue has no BLK_FEAT_PCI_P2PDMA";
const VFIO: &str = "drivers/vfio/vfio_iommu_type1.c: vaddr_get_pfns";
const EXPORT: &str = "drivers/vfio/pci/vfio_pci_dmabuf.c";
/// Ours: what the kernel stages is noticed, and nothing else.
const WATCH: &str = "crates/linux/src/io/watch.rs";
const BUFFERED: &str = "mm/filemap.c: a copy by the CPU";
const ALIGNED: &str = "block/fops.c, block/blk-settings.c: dma_alignment, logical block";
const EXT4: &str = "fs/ext4/file.c, fs/iomap/direct-io.c";
const MD: &str = "drivers/md: BLK_FEAT_PCI_P2PDMA";
const MIRROR: &str = "drivers/md/raid1-10.c: raid1_should_handle_error";
/// Without that feature pages of this kind are not to be had.
const STACKED: &str = "block/blk-settings.c: BLK_FEAT_PCI_P2PDMA; mm/gup.c: FOLL_PCI_P2PDMA";
const PINNED: &str = "mm/gup.c: FOLL_PCI_P2PDMA";
const POOL: &str = "drivers/pci/p2pdma.c: p2pmem_alloc_mmap";
const FREED: &str = "drivers/pci/p2pdma.c: p2pdma_folio_free";
const CMB: &str = "drivers/nvme/host/pci.c: nvme_map_cmb";
const GONE: &str = "drivers/pci/p2pdma.c: pci_p2pdma_unmap_mappings";
const RESET: &str = "drivers/nvme/host/pci.c: nvme_reset_work";

pub(crate) const ROWS: &[Row] = &[
    row("cmb-64m", "66977792", "", CMB),
    row("cmb-1m", "not lent", "", CMB),
    row("allocate-at-4096", "EINVAL", "", POOL),
    row("allocate-apart", "ok", "", POOL),
    row("allocate-in-pieces", "ENOMEM", "", POOL),
    row("discard-frees", "4096", "", FREED),
    row("discard-touch", "SIGBUS", "", FREED),
    row("read-512", "ok", "EINVAL", MAPPED),
    row("write-512", "ok", "EINVAL", MAPPED),
    row("read-4k", "ok", "EINVAL", MAPPED),
    row("write-4k", "ok", "EINVAL", MAPPED),
    row("read-64k", "ok", "EINVAL", MAPPED),
    row("write-64k", "ok", "EINVAL", MAPPED),
    row("preadv", "ok", "EINVAL", MAPPED),
    row("preadv-host-first", "ok staged", "ok staged", FALLBACK),
    row("preadv-two-providers", "ok staged", "", FALLBACK),
    row("buffered-read", "ok staged", "ok staged", BUFFERED),
    row("buffered-write", "ok staged", "ok staged", BUFFERED),
    row("uring-read", "ok", "EINVAL", MAPPED),
    row("uring-write", "ok", "EINVAL", MAPPED),
    row("uring-registered", "EFAULT", "EFAULT", REGISTERED),
    row("ng-read", "ok", "EINVAL", COMMAND),
    row("ng-write", "ok", "EINVAL", COMMAND),
    row("ng-waiting-read", "ok", "EINVAL", COMMAND),
    row("ng-waiting-write", "ok", "EINVAL", COMMAND),
    row("ng-misaligned-memory-2", "ok", "ok", COPIED),
    row("ng-admin", "EINVAL", "EINVAL", ADMIN),
    row("ng-beyond-the-end", "the NVMe command failed: LBA Out of Range", "", COMMAND),
    row("watch-read", "clean", "", WATCH),
    row("watch-write", "clean", "", WATCH),
    row("watch-preadv-host-first", "staged", "staged", WATCH),
    row("watch-pwritev-host-first", "staged", "staged", WATCH),
    row("watch-preadv-two-providers", "staged", "", WATCH),
    row("watch-buffered-read", "staged", "staged", WATCH),
    row("watch-buffered-write", "staged", "staged", WATCH),
    row("watch-mincore-read", "clean", "", WATCH),
    row("watch-mincore-write", "clean", "", WATCH),
    row("watch-mincore-preadv-host-first", "staged", "staged", WATCH),
    row("watch-mincore-pwritev-host-first", "staged", "staged", WATCH),
    row("watch-mincore-preadv-two-providers", "staged", "", WATCH),
    row("watch-mincore-buffered-read", "staged", "staged", WATCH),
    row("watch-mincore-buffered-write", "staged", "staged", WATCH),
    row("head-read-512", "ok", "EINVAL", MAPPED),
    row("head-write-512", "ok", "EINVAL", MAPPED),
    row("head-read-4k", "ok", "EINVAL", MAPPED),
    row("head-write-4k", "ok", "EINVAL", MAPPED),
    row("head-read-64k", "ok", "EINVAL", MAPPED),
    row("head-write-64k", "ok", "EINVAL", MAPPED),
    row("head-preadv", "ok", "EINVAL", MAPPED),
    row("head-preadv-host-first", "ok staged", "ok staged", FALLBACK),
    row("head-buffered-read", "ok staged", "ok staged", BUFFERED),
    row("head-buffered-write", "ok staged", "ok staged", BUFFERED),
    row("aligned-memory-4", "ok", "", ALIGNED),
    row("misaligned-memory-2", "EINVAL", "", ALIGNED),
    row("misaligned-position-256", "EINVAL", "", ALIGNED),
    row("misaligned-length-256", "EINVAL", "", ALIGNED),
    row("ext4-read", "ok", "EINVAL", EXT4),
    row("ext4-write", "ok", "EINVAL", EXT4),
    row("ext4-extend", "ok", "EINVAL", EXT4),
    row("ext4-hole", "zeros", "zeros", EXT4),
    row("raid0-read", "ok", "EINVAL", MD),
    row("raid0-write", "ok", "EINVAL", MD),
    // What no leg takes as a request is no error of a leg: so a write is reported as done.
    row("raid1-read", "ok", "EIO", MIRROR),
    row("raid1-write", "ok", "lost", MIRROR),
    row("raid10-read", "ok", "EIO", MIRROR),
    row("raid10-write", "ok", "lost", MIRROR),
    row("dm-linear-read", "EREMOTEIO", "EREMOTEIO", STACKED),
    row("dm-linear-write", "EREMOTEIO", "EREMOTEIO", STACKED),
    row("loop-read", "EREMOTEIO", "EREMOTEIO", STACKED),
    row("loop-write", "EREMOTEIO", "EREMOTEIO", STACKED),
    row("virtio-read", "EREMOTEIO", "EREMOTEIO", STACKED),
    row("virtio-write", "EREMOTEIO", "EREMOTEIO", STACKED),
    row("mlock", "EREMOTEIO", "", PINNED),
    row("vmsplice", "EREMOTEIO", "", PINNED),
    row("resource-mapping", "EFAULT", "", "mm/gup.c: check_vma_flags"),
    row("vfio-map-host", "ok", "", VFIO),
    row("vfio-map-p2pmem", "EFAULT", "", VFIO),
    row("vfio-map-p2pmem-to-read", "EREMOTEIO", "", VFIO),
    // No verdict is asked for: neither reaches the other.
    row("vfio-map-peer-bar", "", "ok", VFIO),
    row("vfio-bar-direct-read", "", "EFAULT", "mm/gup.c: check_vma_flags"),
    row("vfio-export", "ok", "", EXPORT),
    row("vfio-export-map", "EINVAL", "", EXPORT),
    row("provider-reset", "ok", "", RESET),
    row("provider-flr", "ok", "", RESET),
    row("provider-memory-disabled", "ok, and the data is lost", "", "nothing checks it"),
    row("provider-unbind-touch", "SIGBUS", "", GONE),
    row("provider-unbind-read", "EFAULT", "", GONE),
    row("provider-unbind-map", "ENODEV", "", GONE),
    row("provider-remove-touch", "SIGBUS", "", GONE),
    row("provider-remove-read", "EFAULT", "", GONE),
    row("provider-remove-map", "ENODEV", "", GONE),
    row("client-unbind-read", "0", "", "block/fops.c: the device has no bytes any more"),
    row("client-unbind-touch", "ok", "", POOL),
];
