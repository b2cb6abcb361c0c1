//! What is on a block device already: partition tables, file systems, what other software marks its own with.

use p2pdma::linux::io::DirectFile;
use p2pdma::{Client, Platform};

use crate::failure::{Failure, Result};

/// A mark: what it is of, where it stands, and its bytes.
type Mark = (&'static str, usize, &'static [u8]);

/// The marks that are looked for (libblkid's superblocks and partitions).
const MARKS: [Mark; 14] = [
    ("a GPT partition table", 512, b"EFI PART"),
    ("a GPT partition table", 4096, b"EFI PART"),
    ("an ext2, ext3 or ext4 file system", 0x438, &[0x53, 0xef]),
    ("an XFS file system", 0, b"XFSB"),
    ("a Btrfs file system", 0x1_0040, b"_BHRfS_M"),
    ("an F2FS file system", 0x400, &[0x10, 0x20, 0xf5, 0xf2]),
    ("an LVM physical volume", 0x200, b"LABELONE"),
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    ("a member of an md array", 0, &[0xfc, 0x4e, 0x2b, 0xa9]),
    ("a member of an md array", 0x1000, &[0xfc, 0x4e, 0x2b, 0xa9]),
    ("a swap area", 4086, b"SWAPSPACE2"),
    ("an NTFS file system", 3, b"NTFS    "),
    ("a FAT file system", 0x52, b"FAT32   "),
    ("a partition table or boot sector", 510, &[0x55, 0xaa]),
];
/// The first bytes, up to the last mark.
const LOOKED_AT: usize = 0x1_1000;

/// Refuses a block device that has something on it, unless that may be overwritten.
pub(crate) fn check(file: &DirectFile, yes: bool) -> Result<()> {
    let failed = |error: std::io::Error| Failure::file(file.path(), &error);
    let size = usize::try_from(file.size()).unwrap_or(usize::MAX).min(LOOKED_AT);
    let memory = p2pdma::linux::io::first_bytes(file, size).map_err(failed)?;
    refuse(&file.path().display().to_string(), &memory, yes)
}

/// The same for a namespace under a driver of our own.
pub(crate) fn check_namespace(
    platform: &dyn Platform,
    client: &mut dyn Client,
    name: &str,
    yes: bool,
) -> Result<()> {
    let can = client.capabilities();
    let whole = (LOOKED_AT as u64).next_multiple_of(can.block).min(can.size);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < whole {
        let at = bytes.len() as u64;
        let len = (whole - at).min(can.max_transfer);
        bytes.extend(p2pdma::read_by_host(platform, client, at, len)?);
    }
    refuse(name, &bytes, yes)
}

fn refuse(name: &str, bytes: &[u8], yes: bool) -> Result<()> {
    let Some(found) = find(bytes).filter(|_| !yes) else { return Ok(()) };
    let message = format!("{name} has {found}; nothing was written");
    Err(Failure::refused("IN-USE", message).remedy("--yes overwrites it"))
}

fn find(bytes: &[u8]) -> Option<&'static str> {
    let has = |&&(_, at, mark): &&Mark| bytes.get(at..at + mark.len()) == Some(mark);
    MARKS.iter().find(has).map(|&(what, ..)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_found_and_nothing_in_zeroes() {
        assert_eq!(find(&[0; LOOKED_AT]), None);
        assert_eq!(find(&[]), None);
        for (what, at, mark) in MARKS {
            let mut bytes = vec![0; LOOKED_AT];
            bytes[at..at + mark.len()].copy_from_slice(mark);
            assert_eq!(find(&bytes), Some(what));
        }
    }
}
