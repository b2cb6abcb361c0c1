//! Counters of the kernel's (perf_event_open(2)).

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// `struct perf_event_attr` in its first form (include/uapi/linux/perf_event.h, `PERF_ATTR_SIZE_VER0`).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint: u32,
    more: u64,
}

const SIZE: u32 = 64;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize, "the kernel's layout");

/// `attr.inherit`: threads that a thread starts are counted with it.
const INHERIT: u64 = 1 << 1;
/// `PERF_FORMAT_TOTAL_TIME_ENABLED`, `PERF_FORMAT_TOTAL_TIME_RUNNING`.
const TIMES: u64 = 1 << 0 | 1 << 1;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// What is to be counted: a kind of source, and what of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// `attr.type`: a number of the kernel's, or that of a source below `/sys/bus/event_source/devices`.
    pub(super) kind: u32,
    /// `attr.config`.
    pub(super) config: u64,
}

/// Counts what a thread of this process does, and threads that it starts. Reads give the count.
///
/// # Errors
/// What the operating system says.
pub(super) fn of_thread(event: Event, thread: libc::pid_t) -> io::Result<File> {
    const ANY_PROCESSOR: libc::c_int = -1;
    open(event, Attributes { flags: INHERIT, ..Attributes::default() }, thread, ANY_PROCESSOR)
}

/// Counts what a source counts on behalf of a processor, whoever caused it. Reads give the count, for how long that
/// was asked for, and for how long it was counted, in nanoseconds.
///
/// # Errors
/// What the operating system says: EACCES for others than root, unless `kernel.perf_event_paranoid` is 0 or less.
pub(super) fn of_processor(event: Event, processor: libc::c_int) -> io::Result<File> {
    const ANY_THREAD: libc::pid_t = -1;
    open(event, Attributes { read_format: TIMES, ..Attributes::default() }, ANY_THREAD, processor)
}

#[expect(unsafe_code, reason = "a system call that no library wraps")]
fn open(
    event: Event,
    attributes: Attributes,
    thread: libc::pid_t,
    processor: libc::c_int,
) -> io::Result<File> {
    let Event { kind, config } = event;
    let attributes = Attributes { kind, config, size: SIZE, ..attributes };
    let no_group: libc::c_int = -1;
    // SAFETY: the structure has the layout and size that it says, lives longer than the call, and is only read.
    let counter = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            thread,
            processor,
            no_group,
            CLOSE_ON_EXEC,
        )
    };
    let counter = i32::try_from(counter).ok().filter(|counter| *counter >= 0);
    let counter = counter.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just given it to us, and to nobody else.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(counter) }))
}
