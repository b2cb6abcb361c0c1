//! What the requests of this process put into the page cache of a file, counted by the kernel as it happens: a
//! tracepoint (perf_event_open(2)).
//!
//! Where direct I/O falls back to the page cache in the middle of a request, the kernel empties that again before it
//! reports success (`direct_write_fallback()`, fs/libfs.c): nothing is left to be seen afterwards.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::perf::{self, Event};

/// Pages that came into the page cache of a file by this process. One counter for each of its threads; threads that
/// these start are counted with them, io_uring's among them.
#[derive(Debug)]
pub(super) struct Insertions(Vec<File>);

/// The tracepoint (include/trace/events/filemap.h).
const EVENT: &str = "events/filemap/mm_filemap_add_to_page_cache/id";

impl Insertions {
    /// Begins to count.
    ///
    /// # Errors
    /// What the operating system says: EACCES or EPERM for others than root, ENOENT or ENODEV where the kernel was
    /// built without tracepoints.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let (event, filter) = (event()?, filter(file)?);
        let mut counters = Vec::new();
        for thread in std::fs::read_dir("/proc/self/task")? {
            let name = thread?.file_name();
            let thread = name.to_str().and_then(|name| name.parse().ok());
            match count(event, thread.ok_or(io::ErrorKind::InvalidData)?, &filter) {
                // A thread that has ended since.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                counter => counters.push(counter?),
            }
        }
        Ok(Self(counters))
    }

    /// How many there were, of whatever size: each is a page at least.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn count(&self) -> io::Result<u64> {
        let mut sum: u64 = 0;
        for mut counter in &self.0 {
            let mut bytes = [0; 8];
            counter.read_exact(&mut bytes)?;
            sum = sum.saturating_add(u64::from_ne_bytes(bytes));
        }
        Ok(sum)
    }
}

/// Which file, in the words of the tracepoint. A block device's pages are those of an inode that has its number, in a
/// file system without a device, whose own number is therefore below 2^20 (`bdev_add()`, block/bdev.c;
/// `MINORBITS`, include/linux/kdev_t.h).
fn filter(file: &File) -> io::Result<String> {
    let metadata = file.metadata()?;
    let kernel =
        |device| u64::from(rustix::fs::major(device)) << 20 | u64::from(rustix::fs::minor(device));
    Ok(match metadata.file_type().is_block_device() {
        true => format!("i_ino == {} && s_dev < {}", kernel(metadata.rdev()), 1 << 20),
        false => format!("i_ino == {} && s_dev == {}", metadata.ino(), kernel(metadata.dev())),
    })
}

/// The tracepoint's number.
fn event() -> io::Result<u64> {
    let text = match std::fs::read_to_string(format!("/sys/kernel/tracing/{EVENT}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => unmounted()?,
        text => text?,
    };
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The same where tracefs is not mounted: a mount of it that nobody else sees, and that ends with the call
/// (fsmount(2)).
fn unmounted() -> io::Result<String> {
    let context = rustix::mount::fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let root = rustix::mount::fsmount(&context, flags, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&root, EVENT, flags, Mode::empty())?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text)?;
    Ok(text)
}

/// `PERF_TYPE_TRACEPOINT`.
const TRACEPOINT: u32 = 2;
/// `PERF_EVENT_IOC_SET_FILTER`: `_IOW('$', 6, char *)`.
const SET_FILTER: u32 = 1 << 30 | 8 << 16 | 0x24 << 8 | 6;

/// A counter of a tracepoint's events in a thread.
#[expect(unsafe_code, reason = "a request to a file that no library wraps")]
fn count(event: u64, thread: libc::pid_t, filter: &str) -> io::Result<File> {
    let counter = perf::of_thread(Event { kind: TRACEPOINT, config: event }, thread)?;
    let filter = std::ffi::CString::new(filter).map_err(io::Error::other)?;
    // SAFETY: the filter is a string with an end, lives longer than the call, and is only read.
    let set = unsafe { libc::ioctl(counter.as_raw_fd(), SET_FILTER.into(), filter.as_ptr()) };
    if set == 0 { Ok(counter) } else { Err(io::Error::last_os_error()) }
}
