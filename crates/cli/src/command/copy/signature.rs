//! What is on a block device already: partition tables, file systems, what other software marks its own with.

use std::ops::ControlFlow;

use p2pdma::linux::io::DirectFile;
use p2pdma::{Client, Platform};

use crate::failure::{Failure, Result};

/// A mark: what it is of, where it stands, and its bytes.
type Mark = (&'static str, u64, &'static [u8]);

/// The marks that are looked for at the beginning (libblkid's superblocks and partitions).
const MARKS: [Mark; 21] = [
    ("a GPT partition table", 512, b"EFI PART"),
    ("a GPT partition table", 4096, b"EFI PART"),
    ("an ext2, ext3 or ext4 file system", 0x438, &[0x53, 0xef]),
    ("an XFS file system", 0, b"XFSB"),
    ("a Btrfs file system", 0x1_0040, b"_BHRfS_M"),
    ("an F2FS file system", 0x400, &[0x10, 0x20, 0xf5, 0xf2]),
    ("an LVM physical volume", 0, b"LABELONE"),
    ("an LVM physical volume", 0x200, b"LABELONE"),
    ("an LVM physical volume", 0x400, b"LABELONE"),
    ("an LVM physical volume", 0x600, b"LABELONE"),
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    ("a member of an md array", 0, MD),
    ("a member of an md array", 0x1000, MD),
    ("a bcache or bcachefs device", 0x1018, &[0xc6, 0x85, 0x73, 0xf6]),
    ("a member of a ZFS pool", 0x4018, b"version\0"),
    ("a Ceph BlueStore device", 0, b"bluestore block device\n"),
    ("a swap area", 4086, b"SWAPSPACE2"),
    ("an NTFS file system", 3, b"NTFS    "),
    ("an exFAT file system", 3, b"EXFAT   "),
    ("a FAT file system", 0x52, b"FAT32   "),
    ("a partition table or boot sector", 510, &[0x55, 0xaa]),
];
const MD: &[u8] = &[0xfc, 0x4e, 0x2b, 0xa9];
/// In the byte order of a machine that was big-endian: md's first format has that of whoever made it.
const MD_BIG: &[u8] = &[0xa9, 0x2b, 0x4e, 0xfc];
/// The first bytes, up to the last mark; and the last ones, down to the first that stands there.
const HEAD: u64 = 0x1_1000;
const TAIL: u64 = 0x2_0000;

/// The marks that stand at the end of a device of this size: copies of partition tables, and md's formats 1.0 and 0.90
/// (`super_1_load()` and `calc_dev_sboffset()`, drivers/md/md.c).
fn marks_at_end(size: u64) -> [Mark; 5] {
    let last = |len: u64| size.saturating_sub(len);
    let (first_format, second_format) = (last(0x1_0000) & !0xffff, last(0x2000) & !0xfff);
    [
        ("a copy of a GPT partition table", last(512), b"EFI PART"),
        ("a copy of a GPT partition table", last(4096), b"EFI PART"),
        ("a member of an md array", second_format, MD),
        ("a member of an md array", first_format, MD),
        ("a member of an md array", first_format, MD_BIG),
    ]
}

/// What is read of a device.
struct Bytes {
    size: u64,
    head: Vec<u8>,
    /// From where to the end.
    tail: (u64, Vec<u8>),
}

impl Bytes {
    /// Reads a device of this size and blocks.
    fn read<E>(
        size: u64,
        block: u64,
        mut read: impl FnMut(u64, u64) -> std::result::Result<Vec<u8>, E>,
    ) -> std::result::Result<Self, E> {
        let head = read(0, HEAD.next_multiple_of(block).min(size))?;
        let start = size.saturating_sub(TAIL) / block * block;
        Ok(Self { size, head, tail: (start, read(start, size - start)?) })
    }

    fn find(&self) -> Option<&'static str> {
        let at_end = marks_at_end(self.size);
        let has = |&&(_, at, mark): &&Mark| {
            let in_head = stands(&self.head, Some(at), mark);
            in_head || stands(&self.tail.1, at.checked_sub(self.tail.0), mark)
        };
        MARKS.iter().chain(&at_end).find(has).map(|&(what, ..)| what)
    }

    /// Refuses a device that has something on it.
    fn refuse(&self, name: &str) -> Result<()> {
        let Some(found) = self.find() else { return Ok(()) };
        let message = format!("{name} has {found}; nothing was written");
        Err(Failure::refused("IN-USE", message).remedy("--yes overwrites it"))
    }
}

/// Refuses a block device that has something on it, unless that may be overwritten.
pub(crate) fn check(file: &DirectFile, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure::file(file.path(), &error);
    let bytes = Bytes::read(file.size(), u64::from(file.offset_align()), |at, len| {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        p2pdma::linux::io::bytes_at(file, at, len).map_err(failed)
    });
    bytes?.refuse(&file.path().display().to_string())
}

/// The same for a namespace under a driver of our own.
pub(crate) fn check_namespace(
    platform: &dyn Platform,
    client: &mut dyn Client,
    name: &str,
    yes: bool,
) -> Result<()> {
    if yes {
        return Ok(());
    }
    let can = client.capabilities();
    let bytes = Bytes::read(can.size, can.block, |at, len| {
        let (end, mut bytes) = (at + len, Vec::new());
        let mut at = at;
        while at < end {
            let len = (end - at).min(can.max_transfer);
            let go_on = &|| ControlFlow::Continue(());
            bytes.extend(p2pdma::read_by_host(platform, client, name, (at, len), go_on)?);
            at += len;
        }
        Ok::<_, p2pdma::Error>(bytes)
    });
    bytes?.refuse(name)
}

/// Whether a mark stands at a place of what was read.
fn stands(bytes: &[u8], at: Option<u64>, mark: &[u8]) -> bool {
    let at = at.and_then(|at| usize::try_from(at).ok());
    at.and_then(|at| bytes.get(at..)).is_some_and(|bytes| bytes.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found on a device with this content.
    fn find(content: &[u8]) -> Option<&'static str> {
        let read = |at: u64, len: u64| {
            let at = usize::try_from(at).unwrap();
            Ok::<_, ()>(content[at..at + usize::try_from(len).unwrap()].to_vec())
        };
        Bytes::read(content.len() as u64, 512, read).unwrap().find()
    }

    #[test]
    fn every_mark_is_found_and_nothing_in_zeroes() {
        for size in [0, 512, 0x1_0000, 0x4_0000, 0x10_0e00] {
            assert_eq!(find(&vec![0; size]), None, "{size} bytes");
        }
        for size in [0x4_0000_u64, 0x10_0e00, 0x3f_f000] {
            for (what, at, mark) in MARKS.into_iter().chain(marks_at_end(size)) {
                let mut bytes = vec![0; usize::try_from(size).unwrap()];
                let at = usize::try_from(at).unwrap();
                bytes[at..at + mark.len()].copy_from_slice(mark);
                assert_eq!(find(&bytes), Some(what), "at {at} of {size}");
            }
        }
    }
}
