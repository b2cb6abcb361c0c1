//! Files, block devices, and namespaces that are open for direct I/O.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Direction;
use super::namespace::{self, Namespace, Unfit};
use p2pdma_mem::SharedMemory;
use rustix::fs::{AtFlags, FallocateFlags, OFlags, SeekFrom, StatxFlags};

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// To be read.
    Read,
    /// To be written, and read again. A block device is taken for this process alone (`O_EXCL`): one that is
    /// mounted, swapped to, or part of another refuses.
    Write,
}

/// Why a file cannot be used for direct I/O.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system says so.
    #[error("{}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// A block device that something else holds (EBUSY on `O_EXCL`).
    #[error("{} is in use: it is mounted, swapped to, or a part of another device", path.display())]
    InUse {
        /// The device.
        path: PathBuf,
    },
    /// A block device whose medium something holds by another name of it.
    #[error("{} is in use as {}: that is mounted, swapped to, or a part of another device", path.display(), other.display())]
    InUseAs {
        /// The device.
        path: PathBuf,
        /// Its other name.
        other: PathBuf,
    },
    /// A block device that takes writes in order only (`queue/zoned`, Documentation/ABI/stable/sysfs-block).
    #[error("{} is zoned ({model}): it takes writes in the order of its zones only", path.display())]
    Zoned {
        /// The device.
        path: PathBuf,
        /// What the kernel calls it: `host-managed`.
        model: String,
    },
    /// Neither a file nor a block device, nor a namespace.
    #[error("{} is neither a file nor a block device, nor an NVMe namespace", path.display())]
    Kind {
        /// What was to be opened.
        path: PathBuf,
    },
    /// A namespace that is not for NVMe commands of our own.
    #[error("{} cannot be an end: {reason}", path.display())]
    Unfit {
        /// Its character device.
        path: PathBuf,
        /// Why.
        reason: Unfit,
    },
    /// Its file system has no direct I/O for it (statx(2), `STATX_DIOALIGN`; open(2), EINVAL).
    #[error("{} cannot be read or written directly: its file system stages it", path.display())]
    NotDirect {
        /// The file.
        path: PathBuf,
    },
}

impl OpenError {
    /// The same of a file that people know by another name.
    fn of(self, path: &Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::System { source, .. } => Self::System { path, source },
            Self::InUse { .. } => Self::InUse { path },
            Self::InUseAs { other, .. } => Self::InUseAs { path, other },
            Self::Zoned { model, .. } => Self::Zoned { path, model },
            Self::Kind { .. } => Self::Kind { path },
            Self::Unfit { reason, .. } => Self::Unfit { path, reason },
            Self::NotDirect { .. } => Self::NotDirect { path },
        }
    }
}

/// A file or block device, open with `O_DIRECT`; or a namespace, open for NVMe commands.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    /// What is moved by commands and not by reading and writing.
    namespace: Option<Namespace>,
    path: PathBuf,
    size: u64,
    memory_align: u32,
    offset_align: u32,
    is_block: bool,
    device: (u32, u32),
    inode: u64,
    /// The other names of its medium, open to keep others from it.
    others: Vec<File>,
}

impl DirectFile {
    /// Opens what is there; nothing is created.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, access: Access) -> Result<Self, OpenError> {
        let system = |source| OpenError::System { path: path.to_owned(), source };
        // Looked at before it is opened: opening a pipe would wait for its other end.
        let metadata = std::fs::metadata(path).map_err(system)?;
        let kind = metadata.file_type();
        if kind.is_char_device() && namespace::is_one(metadata.rdev()) {
            return Self::open_namespace(path, access);
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Err(OpenError::Kind { path: path.to_owned() });
        }
        let mut flags = OFlags::DIRECT | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if access == Access::Write && kind.is_block_device() {
            flags |= OFlags::EXCL;
        }
        let flags = flags.bits().cast_signed();
        let write = access == Access::Write;
        let opened = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path);
        let file = opened.map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY) => OpenError::InUse { path: path.to_owned() },
            Some(libc::EINVAL) => OpenError::NotDirect { path: path.to_owned() },
            _ => system(error),
        })?;
        let direct = Self::examine(file, path)?;
        match direct.zones() {
            Some(model) if write => Err(OpenError::Zoned { path: path.to_owned(), model }),
            _ => Ok(direct),
        }
    }

    /// Takes the other names of a block device's medium for this process alone, too: `O_EXCL` of one name does not see
    /// who holds another.
    ///
    /// # Errors
    /// [`OpenError::InUseAs`]; [`OpenError::System`].
    pub fn take(&mut self, others: &[PathBuf]) -> Result<(), OpenError> {
        for other in others {
            let flags = (OFlags::EXCL | OFlags::CLOEXEC | OFlags::NONBLOCK).bits().cast_signed();
            let opened = OpenOptions::new().read(true).custom_flags(flags).open(other);
            let file = opened.map_err(|source| match source.raw_os_error() {
                Some(libc::EBUSY) => {
                    OpenError::InUseAs { path: self.path.clone(), other: other.clone() }
                }
                _ => OpenError::System { path: other.clone(), source },
            })?;
            self.others.push(file);
        }
        Ok(())
    }

    /// How a block device has zones that are written in order, if it has: a partition's are those of its disk.
    fn zones(&self) -> Option<String> {
        let (major, minor) = self.device;
        let read = |queue: &str| {
            std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{queue}/zoned"))
        };
        let text = self.is_block.then(|| read("queue").or_else(|_| read("../queue")).ok())??;
        let model = text.trim();
        (!model.is_empty() && model != "none").then(|| model.to_owned())
    }

    /// Opens again, for direct I/O, what is open already: a file without a name, for instance. `path` is what
    /// messages call it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn reopen(file: &File, path: &Path, access: Access) -> Result<Self, OpenError> {
        let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let mut direct = Self::open(&own, access).map_err(|error| error.of(path))?;
        path.clone_into(&mut direct.path);
        Ok(direct)
    }

    /// Opens a namespace by its character device, `/dev/ng0n1`.
    fn open_namespace(path: &Path, access: Access) -> Result<Self, OpenError> {
        let system = |source| OpenError::System { path: path.to_owned(), source };
        let flags = (OFlags::CLOEXEC | OFlags::NONBLOCK).bits().cast_signed();
        let write = access == Access::Write;
        let opened = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path);
        let file = opened.map_err(system)?;
        let examined =
            Namespace::examine(&file, access).map_err(|error| match error.raw_os_error() {
                Some(libc::EBUSY) => OpenError::InUse { path: path.to_owned() },
                _ => system(error),
            })?;
        let fit = examined.ok_or_else(|| OpenError::Kind { path: path.to_owned() })?;
        let namespace = fit.map_err(|reason| OpenError::Unfit { path: path.to_owned(), reason })?;
        // Who it is, and how memory has to be aligned, its block device says.
        let block_device = namespace.block_device();
        let alignment = alignment(block_device, true).map_err(system)?;
        let number = block_device.metadata().map_err(system)?.rdev();
        Ok(Self {
            path: path.to_owned(),
            size: namespace.size(),
            memory_align: alignment.map_or(namespace.block(), |(memory, _)| memory),
            offset_align: namespace.block(),
            is_block: true,
            device: (rustix::fs::major(number), rustix::fs::minor(number)),
            inode: 0,
            others: Vec::new(),
            namespace: Some(namespace),
            file,
        })
    }

    fn examine(file: File, path: &Path) -> Result<Self, OpenError> {
        let system = |source| OpenError::System { path: path.to_owned(), source };
        let metadata = file.metadata().map_err(system)?;
        let is_block = metadata.file_type().is_block_device();
        if !is_block && !metadata.is_file() {
            return Err(OpenError::Kind { path: path.to_owned() });
        }
        let (memory_align, offset_align) = alignment(&file, is_block)
            .map_err(system)?
            .ok_or_else(|| OpenError::NotDirect { path: path.to_owned() })?;
        let size = match is_block {
            true => end(&file).map_err(system)?,
            false => metadata.len(),
        };
        let number = if is_block { metadata.rdev() } else { metadata.dev() };
        let device = (rustix::fs::major(number), rustix::fs::minor(number));
        let (path, inode) = (path.to_owned(), metadata.ino());
        let (namespace, others) = (None, Vec::new());
        Ok(Self {
            file,
            others,
            namespace,
            path,
            size,
            memory_align,
            offset_align,
            is_block,
            device,
            inode,
        })
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What has the page cache that its bytes may be in.
    pub(super) fn cached(&self) -> &File {
        self.namespace.as_ref().map_or(&self.file, Namespace::block_device)
    }

    /// The namespace, if it is one.
    pub(super) fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// Moves bytes between one piece of memory and the file, and waits for it. Returns how many.
    ///
    /// # Errors
    /// What the operating system says, and [`CommandError`](super::CommandError) of a namespace.
    pub fn carry(
        &self,
        direction: Direction,
        position: u64,
        memory: &SharedMemory,
    ) -> io::Result<usize> {
        let whole = 0..memory.len();
        match (&self.namespace, direction) {
            (Some(namespace), _) => namespace.carry(&self.file, direction, position, memory),
            (None, Direction::Read) => memory.read_file(whole, &self.file, position),
            (None, Direction::Write) => memory.write_file(whole, &self.file, position),
        }
    }

    /// The most bytes of one request, if there is a limit: the kernel cuts longer ones where it can.
    #[must_use]
    pub fn longest(&self) -> Option<u64> {
        self.namespace.as_ref().map(Namespace::longest)
    }

    /// Its length in bytes at present: none of a disk that is being removed.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn size_now(&self) -> io::Result<u64> {
        if self.is_block { end(self.cached()) } else { Ok(self.file.metadata()?.len()) }
    }

    /// What it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes when it was opened.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Memory has to begin at a multiple of this many bytes.
    #[must_use]
    pub const fn memory_align(&self) -> u32 {
        self.memory_align
    }

    /// Positions and lengths have to be multiples of this many bytes.
    #[must_use]
    pub const fn offset_align(&self) -> u32 {
        self.offset_align
    }

    /// Whether it is a block device or namespace, and no file on one.
    #[must_use]
    pub const fn is_block(&self) -> bool {
        self.is_block
    }

    /// Major and minor number of the block device: itself, or what its file system calls its own.
    #[must_use]
    pub const fn device(&self) -> (u32, u32) {
        self.device
    }

    /// What tells it from all other files of the machine: its device, and its number there; 0 for the
    /// block device itself.
    #[must_use]
    pub const fn identity(&self) -> ((u32, u32), u64) {
        (self.device, if self.is_block { 0 } else { self.inode })
    }

    /// Makes a file `len` bytes long, with room for these ranges on its device (fallocate(2)); where the file
    /// system cannot reserve room, it is only made that long. The rest is a hole, unless it is there already.
    ///
    /// # Errors
    /// What the operating system says: ENOSPC.
    pub fn reserve(&self, len: u64, ranges: &[Range<u64>]) -> io::Result<()> {
        self.file.set_len(len)?;
        for range in ranges {
            let (start, len) = (range.start, range.end.saturating_sub(range.start));
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), start, len) {
                Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }

    /// Makes zeroes of a range of a block device, whole blocks of it, without sending them: the device does
    /// that (Write Zeroes), or the kernel (fallocate(2), `FALLOC_FL_ZERO_RANGE`).
    ///
    /// # Errors
    /// What the operating system says: EOPNOTSUPP where that is not possible.
    pub fn zero(&self, range: Range<u64>) -> io::Result<()> {
        if self.namespace.is_some() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        let len = range.end.saturating_sub(range.start);
        Ok(rustix::fs::fallocate(&self.file, flags, range.start, len)?)
    }

    /// Makes all that was written durable (fdatasync(2); of a namespace, by its Flush command).
    ///
    /// # Errors
    /// What the operating system says.
    pub fn sync(&self) -> io::Result<()> {
        match &self.namespace {
            Some(namespace) => namespace.sync(&self.file),
            None => self.file.sync_data(),
        }
    }
}

/// How memory and positions have to be aligned; `None` if direct I/O is not possible.
fn alignment(file: &File, is_block: bool) -> io::Result<Option<(u32, u32)>> {
    let statx = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)?;
    let told = StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::DIOALIGN);
    if told {
        let (memory, offset) = (statx.stx_dio_mem_align, statx.stx_dio_offset_align);
        return Ok((memory > 0 && offset > 0).then_some((memory, offset)));
    }
    // Before 6.1 the logical block was the rule for both.
    let block = if is_block { rustix::fs::ioctl_blksszget(file)? } else { 4096 };
    Ok(Some((block, block)))
}

/// A block device's length is where its end is (lseek(2)).
fn end(device: &File) -> io::Result<u64> {
    Ok(rustix::fs::seek(device, SeekFrom::End(0))?)
}

/// Bytes of a file, by direct I/O: what is on a device before it is overwritten. Fewer if it is shorter. `position` is a
/// multiple of its blocks.
///
/// # Errors
/// What the operating system says.
pub fn bytes_at(file: &DirectFile, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let whole = len.next_multiple_of(file.offset_align() as usize);
    let piece = file.longest().and_then(|longest| usize::try_from(longest).ok()).unwrap_or(whole);
    let memory = SharedMemory::anonymous(whole)?;
    let mut count = 0;
    while count < whole {
        let part = memory.slice(count..whole.min(count.saturating_add(piece)));
        let part = part.map_err(io::Error::other)?;
        match file.carry(Direction::Read, position.saturating_add(count as u64), &part)? {
            read if read == part.len() => count += read,
            read => {
                count += read;
                break;
            }
        }
    }
    let mut bytes = vec![0; count.min(len)];
    memory.read(0, &mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
