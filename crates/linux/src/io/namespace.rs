//! A namespace that is read and written by NVMe commands of our own: `/dev/ng0n1`, beside its block device.
//!
//! The page cache of the block device knows nothing of such commands. So what it has is written back before
//! (`Watch`), and let go when the namespace is closed; to be written, the block device is taken (`O_EXCL`) for
//! as long.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use p2pdma_mem::SharedMemory;
use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::admin::Cns;
use p2pdma_spec::nvme::identify::{IdentifyController, NamespaceDescriptor, NamespaceDescriptors};
use p2pdma_spec::nvme::namespace::IdentifyNamespace;
use p2pdma_spec::nvme::nvm::{NvmOpcode, ReadWriteCdw12};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use rustix::fs::{Advice, OFlags};
use zerocopy::FromBytes as _;

use super::passthrough::{self, CommandError, Passthrough};
use super::{Access, Direction};

/// Why a namespace is not for commands of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has a command set without logical blocks, or with rules for writing them: key value, zoned.
    #[error("its command set is {0}, and not NVM")]
    CommandSet(CommandSet),
    /// Its blocks have metadata, which have no place in a copy.
    #[error("each of its blocks has {0} bytes of metadata")]
    Metadata(u16),
    /// It has no format, or no blocks.
    #[error("its controller says that it has no blocks")]
    Empty,
    /// The kernel has no block device of it, which tells who uses it.
    #[error("the kernel has no block device beside it")]
    NoBlockDevice,
}

/// A namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    nsid: u32,
    /// The size of a block, as a power of two.
    shift: u32,
    blocks: u64,
    longest: u64,
    writes: bool,
    /// The block device beside it, open to keep others from it.
    block_device: File,
}

/// The smallest page of a controller, in which its limit is counted: CAP.MPSMIN is at least 0 (NVMe Base 2.1
/// §3.1.4.1).
const PAGE: u64 = 4096;

impl Namespace {
    /// Looks at an open character device; `None` if it is no namespace.
    pub(super) fn examine(file: &File, access: Access) -> io::Result<Option<Result<Self, Unfit>>> {
        let Some(nsid) = passthrough::nsid(file)? else { return Ok(None) };
        if let Some(set) = other_command_set(file, nsid)? {
            return Ok(Some(Err(Unfit::CommandSet(set))));
        }
        let identity = passthrough::identify(file, nsid, Cns::NAMESPACE)?;
        let identity = IdentifyNamespace::read_from_bytes(&identity).map_err(|_| wrong_size())?;
        if identity.format().ms() > 0 {
            return Ok(Some(Err(Unfit::Metadata(identity.format().ms()))));
        }
        let blocks = identity.nsze.get();
        let Some(block) = identity.block_bytes().filter(|&block| fits(block, blocks)) else {
            return Ok(Some(Err(Unfit::Empty)));
        };
        let Some(beside) = beside(file)? else { return Ok(Some(Err(Unfit::NoBlockDevice))) };
        let longest = longest(file, &beside, block)?;
        let (writes, shift) = (access == Access::Write, block.trailing_zeros());
        let block_device = take(&beside, writes)?;
        Ok(Some(Ok(Self { nsid, shift, blocks, longest, writes, block_device })))
    }

    pub(super) fn block_device(&self) -> &File {
        &self.block_device
    }

    /// Its size in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.blocks << self.shift
    }

    pub(super) const fn block(&self) -> u32 {
        1 << self.shift
    }

    /// The most bytes of one command.
    pub(super) const fn longest(&self) -> u64 {
        self.longest
    }

    /// The command that moves so many bytes between a position and memory; `None` if they are no whole blocks,
    /// or too many.
    pub(super) fn command(
        &self,
        direction: Direction,
        position: u64,
        memory: &SharedMemory,
    ) -> Option<Passthrough> {
        let within = u64::from(self.block()) - 1;
        let (len, first) = (memory.len() as u64, position >> self.shift);
        let blocks = (len >> self.shift).checked_sub(1)?;
        if (len | position) & within != 0 {
            return None;
        }
        let opcode = match direction {
            Direction::Read => NvmOpcode::READ,
            Direction::Write => NvmOpcode::WRITE,
        };
        let cdw12 = ReadWriteCdw12::new().with_nlb_z(u16::try_from(blocks).ok()?);
        let mut command = SubmissionEntry::new(opcode, self.nsid);
        command.set_cdw10_11(first);
        command.cdw12.set(cdw12.into_bits());
        Some(Passthrough::new(&command, memory.base(), u32::try_from(len).ok()?))
    }

    /// Moves bytes, and waits for it.
    #[expect(unsafe_code, reason = "the kernel is given the address of memory")]
    pub(super) fn carry(
        &self,
        file: &File,
        direction: Direction,
        position: u64,
        memory: &SharedMemory,
    ) -> io::Result<usize> {
        let command = self.command(direction, position, memory).ok_or_else(not_whole)?;
        // SAFETY: `memory` keeps what the command names valid; it is shared, and any party may write to it.
        unsafe { passthrough::carry(file, command) }?;
        Ok(memory.len())
    }

    /// Makes durable what the page cache has to write, and then what commands have written.
    #[expect(unsafe_code, reason = "a command to the device")]
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.block_device.sync_data()?;
        if !self.writes {
            return Ok(());
        }
        let flush = SubmissionEntry::new(NvmOpcode::FLUSH, self.nsid);
        // SAFETY: it names no memory.
        unsafe { passthrough::carry(file, Passthrough::new(&flush, std::ptr::null(), 0)) }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.writes {
            // What others have read meanwhile may be old. Where it cannot be let go, it is what they would
            // have seen of any device that is written beside its page cache.
            let _ = rustix::fs::fadvise(&self.block_device, 0, None, Advice::DontNeed);
        }
    }
}

/// Whether a character device is a namespace, by its number: others are not even opened.
pub(super) fn is_one(number: u64) -> bool {
    let class = std::fs::read_link(folder(number).join("subsystem"));
    class.is_ok_and(|class| class.ends_with("nvme-generic"))
}

/// What the kernel has about a character device.
fn folder(number: u64) -> PathBuf {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    PathBuf::from(format!("/sys/dev/char/{major}:{minor}"))
}

fn fits(block: u64, blocks: u64) -> bool {
    let power = block.is_power_of_two() && (512..=1 << 30).contains(&block);
    power && blocks > 0 && blocks.checked_mul(block).is_some()
}

fn wrong_size() -> io::Error {
    io::Error::other("an answer of another size")
}

/// What the kernel says of a request that is no whole number of blocks.
pub(super) fn not_whole() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// The command set, if it is another than NVM. Controllers before NVMe 1.3 do not say, and have no other.
fn other_command_set(file: &File, nsid: u32) -> io::Result<Option<CommandSet>> {
    let list = match passthrough::identify(file, nsid, Cns::NAMESPACE_DESCRIPTORS) {
        Ok(list) => list,
        Err(error) if CommandError::of(&error).is_some() => return Ok(None),
        Err(error) => return Err(error),
    };
    let set = NamespaceDescriptors::new(&list).find_map(|descriptor| match descriptor {
        NamespaceDescriptor::Csi(set) => Some(set),
        _ => None,
    });
    Ok(set.filter(|&set| set != CommandSet::NVM))
}

/// The block device beside `ng0n1`: `nvme0n1`, of the same controller or subsystem.
fn beside(file: &File) -> io::Result<Option<PathBuf>> {
    let folder = std::fs::canonicalize(folder(file.metadata()?.rdev()))?;
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(None) };
    let name = name.to_string_lossy();
    let Some((_, namespace)) = name.rsplit_once('n') else { return Ok(None) };
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        let sibling = entry.file_name().to_string_lossy().into_owned();
        let numbers = sibling.strip_prefix("nvme").and_then(|rest| rest.split_once('n'));
        // A path below a head has no device number.
        let open = entry.path().join("dev").exists() && entry.path().join("queue").exists();
        if open && numbers.is_some_and(|(_, own)| own == namespace) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// The most bytes of a command: what the controller takes, and what the kernel does, which maps each page of
/// memory by itself (`blk_rq_map_user_iov()`, block/blk-map.c).
fn longest(file: &File, beside: &Path, block: u64) -> io::Result<u64> {
    let controller = passthrough::identify(file, 0, Cns::CONTROLLER)?;
    let controller = IdentifyController::read_from_bytes(&controller).map_err(|_| wrong_size())?;
    let limit = |name: &str, unit: u64| {
        let text = std::fs::read_to_string(beside.join("queue").join(name)).ok()?;
        text.trim().parse::<u64>().ok()?.checked_mul(unit)
    };
    let limits = [
        controller.max_transfer_bytes(PAGE),
        limit("max_hw_sectors_kb", 1024),
        limit("max_segments", PAGE),
        // The number of blocks of a command has 16 bits.
        Some(block << 16),
    ];
    let most = limits.into_iter().flatten().min().unwrap_or(block);
    Ok((most / block * block).max(block))
}

/// Opens the block device: to be written, for this process alone.
fn take(beside: &Path, writes: bool) -> io::Result<File> {
    let name = beside.file_name().unwrap_or_default();
    let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
    if writes {
        flags |= OFlags::EXCL;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(writes).custom_flags(flags.bits().cast_signed());
    options.open(Path::new("/dev").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes as _;

    fn namespace() -> Namespace {
        let block_device = tempfile::tempfile().unwrap();
        let (blocks, longest) = (1 << 40, 1 << 30);
        Namespace { nsid: 7, shift: 12, blocks, longest, writes: false, block_device }
    }

    /// Command Dwords 10 to 12, where the kernel's structure has them, and what else is set.
    #[test]
    fn commands_name_blocks() {
        let (namespace, memory) = (namespace(), SharedMemory::anonymous(8 << 12).unwrap());
        assert_eq!((namespace.size(), namespace.block()), (1 << 52, 4096));
        let at = 0x12_3456_789a_u64;
        let command = namespace.command(Direction::Write, at << 12, &memory).unwrap();
        let bytes = command.as_bytes();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((bytes[0], word(4)), (NvmOpcode::WRITE.into_bits(), 7));
        assert_eq!((word(40), word(44), word(48)), (0x3456_789a, 0x12, 7));
        let address = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
        assert_eq!((address, word(36)), (memory.base() as u64, 8 << 12));
        let read = namespace.command(Direction::Read, 0, &memory).unwrap();
        assert_eq!(read.as_bytes()[0], NvmOpcode::READ.into_bits());
    }

    #[test]
    fn what_is_no_whole_number_of_blocks_or_too_many_is_no_command() {
        let (namespace, memory) = (namespace(), SharedMemory::anonymous(65_537 << 12).unwrap());
        let part = |len| memory.slice(0..len).unwrap();
        for (position, len) in [(0, 0), (0, 512), (512, 4096), (0, 65_537 << 12)] {
            let command = namespace.command(Direction::Read, position, &part(len));
            assert!(command.is_none(), "{len} bytes at {position}");
        }
        assert!(namespace.command(Direction::Read, 4096, &part(65_536 << 12)).is_some());
        let file = tempfile::tempfile().unwrap();
        let error = namespace.carry(&file, Direction::Read, 1, &part(4096)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        let sizes = [(512, 0), (256, 1), (4096, u64::MAX), (3 << 9, 1)];
        assert!(sizes.into_iter().all(|(block, blocks)| !fits(block, blocks)));
    }
}
