//! Whether a controller was reset. While a function is being reset its memory decodes nothing: what is written there is
//! lost, what is read is anything, and requests of others succeed all the same.
//!
//! The driver is in the state "live" (`nvme_ctrl_state`, drivers/nvme/host/nvme.h) unless it is being reset, and every
//! reset leaves a trace before it is so again: it is counted (`diag/reset_count`, Linux 7.3); older kernels tell that
//! the controller is connected, by an event just after that (`nvme_start_ctrl()`, drivers/nvme/host/core.c).

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use p2pdma_pci::Bdf;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// Watches the controller of a function.
#[derive(Debug)]
pub struct Resets {
    /// Of the controller, in sysfs.
    folder: PathBuf,
    trace: Trace,
    /// What was found first.
    fate: Fate,
}

/// What became of a controller since it was first looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Nothing.
    Kept,
    /// It was reset, or is being reset.
    Reset,
    /// Its driver was unbound, or it was removed.
    Gone,
}

/// What a reset leaves behind.
#[derive(Debug)]
enum Trace {
    /// This count was another before.
    Count(u64),
    /// An event of the controller, whose folder in sysfs this is without `/sys`.
    Event { socket: OwnedFd, device: String },
}

/// The kernel's own events, as opposed to those that udev passes on (lib/kobject_uevent.c).
const GROUP: u32 = 1;

impl Resets {
    /// Begins to watch; `None` if the function has no NVMe controller.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn begin(bdf: Bdf) -> io::Result<Option<Self>> {
        match controller(bdf)? {
            Some(folder) => Ok(Some(Self::of(folder)?)),
            None => Ok(None),
        }
    }

    fn of(folder: PathBuf) -> io::Result<Self> {
        let trace = match count(&folder)? {
            Some(count) => Trace::Count(count),
            None => {
                let device = std::fs::canonicalize(&folder)?.display().to_string();
                let device = device.trim_start_matches("/sys").to_owned();
                Trace::Event { socket: listen()?, device }
            }
        };
        Ok(Self { folder, trace, fate: Fate::Kept })
    }

    /// What became of it since the watch began. Of [`Fate::Kept`], what had ended before this call was in memory that
    /// was there all the time.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn look(&mut self) -> io::Result<Fate> {
        if self.fate == Fate::Kept {
            self.fate = self.find()?;
        }
        Ok(self.fate)
    }

    fn find(&self) -> io::Result<Fate> {
        // The state first: whoever is live again has left the trace.
        match state(&self.folder)? {
            Fate::Kept => {}
            other => return Ok(other),
        }
        let was_reset = match &self.trace {
            Trace::Count(before) => count(&self.folder)? != Some(*before),
            Trace::Event { socket, device } => came(socket, device)?,
        };
        Ok(if was_reset { Fate::Reset } else { Fate::Kept })
    }
}

/// Whether a function has no NVMe controller any more, or its driver is letting go of it: what is under way then fails as
/// if the medium did (EIO), while the block device is still there. The state changes first (`nvme_remove()`,
/// drivers/nvme/host/pci.c).
#[must_use]
pub fn is_leaving(bdf: Bdf) -> bool {
    match controller(bdf) {
        Ok(Some(folder)) => matches!(state(&folder), Ok(Fate::Gone)),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// What the driver says of a controller at present.
fn state(folder: &Path) -> io::Result<Fate> {
    match std::fs::read_to_string(folder.join("state")) {
        Ok(state) if state.trim() == "live" => Ok(Fate::Kept),
        // "deleting", "deleting (no IO)", "dead" (`nvme_sysfs_show_state()`, drivers/nvme/host/sysfs.c).
        Ok(state) if state.starts_with("de") => Ok(Fate::Gone),
        Ok(_) => Ok(Fate::Reset),
        Err(error) if is_gone(&error) => Ok(Fate::Gone),
        Err(error) => Err(error),
    }
}

/// The controller of a function, in sysfs.
fn controller(bdf: Bdf) -> io::Result<Option<PathBuf>> {
    let folder = match std::fs::read_dir(format!("/sys/bus/pci/devices/{bdf}/nvme")) {
        Err(error) if is_gone(&error) => return Ok(None),
        folder => folder?,
    };
    folder.into_iter().next().map(|entry| Ok(entry?.path())).transpose()
}

/// How often a controller was reset; `None` if the kernel does not count that, or it is gone.
fn count(folder: &Path) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(folder.join("diag/reset_count")) {
        Err(error) if is_gone(&error) => Ok(None),
        text => text?.trim().parse().map(Some).map_err(|_| io::ErrorKind::InvalidData.into()),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// Listens to the kernel's events (netlink(7), `NETLINK_KOBJECT_UEVENT`).
fn listen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
    let socket = rustix::net::socket_with(family, kind, flags, Some(KOBJECT_UEVENT))?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
    Ok(socket)
}

/// Whether a controller's event has come. Where there were more events than the kernel kept, it may have.
fn came(socket: &OwnedFd, device: &str) -> io::Result<bool> {
    let mut event = [0_u8; 8192];
    loop {
        match rustix::net::recv(socket, &mut event[..], RecvFlags::empty()) {
            Ok((len, _)) if tells(event.get(..len).unwrap_or_default(), device) => return Ok(true),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            Err(rustix::io::Errno::NOBUFS) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether an event says that a controller is connected: `change@/devices/…/nvme/nvme0`, and then variables, each with
/// a zero at its end.
fn tells(event: &[u8], device: &str) -> bool {
    let mut parts = event.split(|&byte| byte == 0);
    let head = parts.next().and_then(|head| std::str::from_utf8(head).ok());
    let is_its = head.and_then(|head| head.split_once('@')).is_some_and(|(_, of)| of == device);
    is_its && parts.any(|part| part == b"NVME_EVENT=connected")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "/devices/pci0000:00/0000:03:00.0/nvme/nvme0";

    #[test]
    fn only_the_controllers_own_event_tells_of_it() {
        let event = |device: &str, variable: &str| {
            format!("change@{device}\0ACTION=change\0DEVPATH={device}\0{variable}\0SEQNUM=5\0")
        };
        assert!(tells(event(DEVICE, "NVME_EVENT=connected").as_bytes(), DEVICE));
        assert!(!tells(event(DEVICE, "NVME_AEN=0x2").as_bytes(), DEVICE));
        let other = format!("{DEVICE}0");
        assert!(!tells(event(&other, "NVME_EVENT=connected").as_bytes(), DEVICE));
        assert!(!tells(b"", DEVICE));
        assert!(!tells(b"\xff\0NVME_EVENT=connected", DEVICE));
    }

    /// A controller's folder, as far as it is looked at.
    fn folder(state: &str, resets: Option<u64>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state"), state).unwrap();
        if let Some(resets) = resets {
            std::fs::create_dir(folder.path().join("diag")).unwrap();
            let count = folder.path().join("diag/reset_count");
            std::fs::write(count, format!("{resets}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn a_reset_is_seen_while_it_lasts_and_ever_after() {
        let folder = folder("live\n", Some(3));
        let begin = || Resets::of(folder.path().to_owned()).unwrap();
        let state = |state: &str| std::fs::write(folder.path().join("state"), state).unwrap();
        let mut resets = begin();
        assert_eq!(resets.look().unwrap(), Fate::Kept);
        state("resetting\n");
        assert_eq!(resets.look().unwrap(), Fate::Reset);
        state("live\n");
        assert_eq!(resets.look().unwrap(), Fate::Reset, "it is not forgotten");
        let mut resets = begin();
        std::fs::write(folder.path().join("diag/reset_count"), "4\n").unwrap();
        assert_eq!(resets.look().unwrap(), Fate::Reset);
    }

    #[test]
    fn what_is_taken_away_is_gone_and_was_not_reset() {
        for gone in ["deleting", "deleting (no IO)", "dead"] {
            let folder = folder(gone, Some(0));
            let mut resets = Resets::of(folder.path().to_owned()).unwrap();
            assert_eq!(resets.look().unwrap(), Fate::Gone, "{gone}");
        }
        let folder = folder("live\n", Some(0));
        let mut resets = Resets::of(folder.path().to_owned()).unwrap();
        assert_eq!(resets.look().unwrap(), Fate::Kept);
        std::fs::remove_file(folder.path().join("state")).unwrap();
        assert_eq!(resets.look().unwrap(), Fate::Gone);
    }

    #[test]
    fn a_function_without_a_controller_is_no_more() {
        assert!(is_leaving("ffff:ff:1f.7".parse().unwrap()));
    }

    #[test]
    fn where_resets_are_not_counted_events_are_listened_to() {
        let folder = folder("live\n", None);
        let mut resets = Resets::of(folder.path().to_owned()).unwrap();
        assert!(matches!(resets.trace, Trace::Event { .. }));
        assert_eq!(resets.look().unwrap(), Fate::Kept);
    }
}
