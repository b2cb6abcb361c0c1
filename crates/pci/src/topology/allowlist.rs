//! Which host bridges may carry peer-to-peer traffic: the kernel's table, and what users add.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Known, Lists, PciId};

/// The version of a Linux kernel, `7.3`: the second number is what a list entry is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
}

impl KernelVersion {
    /// The newest whose list this project knows.
    pub const NEWEST: Self = Self { major: 7, minor: 3 };
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is not a [`KernelVersion`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a kernel version: expected two numbers, as in 7.3")]
pub struct ParseKernelVersionError(String);

impl FromStr for KernelVersion {
    type Err = ParseKernelVersionError;

    /// Reads `7.3` and whatever `uname -r` appends to it, as in `7.3.4+deb13-cloud-amd64`.
    fn from_str(text: &str) -> Result<Self, ParseKernelVersionError> {
        let mut parts = text.splitn(2, '.');
        let mut number = || {
            let part = parts.next()?;
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end)?.parse().ok()
        };
        let parse = (number(), number());
        match parse {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(ParseKernelVersionError(text.to_owned())),
        }
    }
}

/// The kernels that have an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelRange {
    /// The first mainline release that has it; `None` if it is older than what this project looked at.
    pub since: Option<KernelVersion>,
    /// The last mainline release that has it; `None` while it is still there.
    pub until: Option<KernelVersion>,
}

impl KernelRange {
    /// Whether a kernel has the entry; `None` if that depends on its version and the version is not
    /// known. No kernel at all stands for the newest that this project knows.
    #[must_use]
    pub fn contains(&self, kernel: Option<Known<KernelVersion>>) -> Option<bool> {
        match kernel.unwrap_or(Known::Value(KernelVersion::NEWEST)) {
            Known::Value(kernel) => Some(
                self.since.is_none_or(|since| since <= kernel)
                    && self.until.is_none_or(|until| kernel <= until),
            ),
            Known::Unknown(_) => (self.since.is_none() && self.until.is_none()).then_some(true),
        }
    }
}

/// Where an entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The kernel's own table.
    Kernel,
    /// A user's file, named here with its line.
    User(Arc<str>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("kernel"),
            Self::User(file) => write!(f, "user file {file}"),
        }
    }
}

/// A host bridge that may carry peer-to-peer traffic, recognised by the first device of its root bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowEntry {
    /// The vendor of that device.
    pub vendor: u16,
    /// Its device ID; `None` for every device of the vendor.
    pub device: Option<u16>,
    /// Both functions must be below the same host bridge.
    pub same_bridge_only: bool,
    /// The kernels that have it.
    pub kernels: KernelRange,
    /// Where it comes from.
    pub source: Source,
}

impl AllowEntry {
    /// Whether it is about this device.
    #[must_use]
    pub fn matches(&self, id: PciId) -> bool {
        self.vendor == id.vendor && self.device.is_none_or(|device| device == id.device)
    }

    /// Whether it allows a pair below one host bridge (`same_bridge`) or two.
    #[must_use]
    pub fn allows(&self, same_bridge: bool) -> bool {
        same_bridge || !self.same_bridge_only
    }
}

/// A host bridge that must not carry peer-to-peer traffic although the kernel would let it: a user knows
/// that it loses or changes data. The kernel has no such list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// The vendor of the first device of its root bus.
    pub vendor: u16,
    /// That device's ID; `None` for every device of the vendor.
    pub device: Option<u16>,
    /// Only pairs below two different host bridges are blocked.
    pub across_only: bool,
    /// The kernels under which it is.
    pub kernels: KernelRange,
    /// Where it comes from.
    pub source: Source,
}

impl BlockEntry {
    /// Whether it is about this device and a pair below one host bridge (`same_bridge`) or two.
    #[must_use]
    pub fn matches(&self, id: PciId, same_bridge: bool) -> bool {
        self.vendor == id.vendor
            && self.device.is_none_or(|device| device == id.device)
            && !(same_bridge && self.across_only)
    }
}

/// The list of host bridges that may carry peer-to-peer traffic, and of those that must not.
///
/// The kernel searches its table in order and takes the first entry that matches. Entries of users add
/// to what it allows; to take away they need entries that block, which count before everything that
/// allows and never change what is said of the kernel's own answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowlist {
    entries: Vec<AllowEntry>,
    blocks: Vec<BlockEntry>,
}

/// Vendor, device, same bridge only, and the release that first has it.
type KernelEntry = (u16, Option<u16>, bool, Option<(u16, u16)>);

/// `pci_p2pdma_whitelist[]` in drivers/pci/p2pdma.c of
/// Linux 7.3.4, in its order; the identifiers that it spells by name are from
/// include/linux/pci_ids.h.
const KERNEL: [KernelEntry; 25] = [
    // Xeon E5 and Core i7 of 2011, Xeon E5 v3 and E7 v3.
    (0x8086, Some(0x3c00), true, None),
    (0x8086, Some(0x3c01), true, None),
    (0x8086, Some(0x2f00), true, None),
    (0x8086, Some(0x2f01), true, None),
    // Skylake-E root ports and host bridge; 09a2 opens the root buses of Ice Lake-SP and all later
    // Xeons.
    (0x8086, Some(0x2030), false, None),
    (0x8086, Some(0x2031), false, None),
    (0x8086, Some(0x2032), false, None),
    (0x8086, Some(0x2033), false, None),
    (0x8086, Some(0x2020), false, None),
    (0x8086, Some(0x09a2), false, None),
    // Accelerators that are the first device of a root bus of their own: DSA_SPR0, IAX_SPR0,
    // DSA_GNRD, DSA_DMR, IAA_DMR, QAT_4XXX, QAT_401XX, QAT_402XX, QAT_420XX, QAT_6XXX. Mainline
    // commit 0ba76b19fd4c, backported to 7.1.
    (0x8086, Some(0x0b25), false, Some((7, 1))),
    (0x8086, Some(0x0cfe), false, Some((7, 1))),
    (0x8086, Some(0x11fb), false, Some((7, 1))),
    (0x8086, Some(0x1212), false, Some((7, 1))),
    (0x8086, Some(0x1216), false, Some((7, 1))),
    (0x8086, Some(0x4940), false, Some((7, 1))),
    (0x8086, Some(0x4942), false, Some((7, 1))),
    (0x8086, Some(0x4944), false, Some((7, 1))),
    (0x8086, Some(0x4946), false, Some((7, 1))),
    (0x8086, Some(0x4948), false, Some((7, 1))),
    // Google's systems on chip, every device: mainline commit 70cf146a674c.
    (0x1ae0, None, false, Some((7, 1))),
    // Nvidia Vera Rubin: mainline commit 894a78088fc3.
    (0x10de, Some(0x2f95), false, Some((7, 3))),
    (0x10de, Some(0x2f96), false, Some((7, 3))),
    (0x10de, Some(0x2f97), false, Some((7, 3))),
    (0x10de, Some(0x2f98), false, Some((7, 3))),
];

impl Allowlist {
    /// The table of Linux 7.3.4.
    #[must_use]
    pub fn kernel() -> Self {
        let entry =
            |&(vendor, device, same_bridge_only, since): &(_, _, _, Option<_>)| AllowEntry {
                vendor,
                device,
                same_bridge_only,
                kernels: KernelRange {
                    since: since.map(|(major, minor)| KernelVersion { major, minor }),
                    until: None,
                },
                source: Source::Kernel,
            };
        Self { entries: KERNEL.iter().map(entry).collect(), blocks: Vec::new() }
    }

    /// Adds a user's entry.
    pub fn add(&mut self, entry: AllowEntry) {
        self.entries.push(entry);
    }

    /// Adds a user's entry that blocks.
    pub fn block(&mut self, entry: BlockEntry) {
        self.blocks.push(entry);
    }

    /// All entries that allow, the kernel's first.
    #[must_use]
    pub fn entries(&self) -> &[AllowEntry] {
        &self.entries
    }

    /// All entries that block.
    #[must_use]
    pub fn blocks(&self) -> &[BlockEntry] {
        &self.blocks
    }

    /// The entry by which a kernel's own table decides about a device: the first that matches. Where the
    /// kernel's version is not known, one that it may have counts.
    #[must_use]
    pub fn kernel_entry(
        &self,
        id: PciId,
        kernel: Option<Known<KernelVersion>>,
    ) -> Option<&AllowEntry> {
        self.kernel_entries(id).find(|entry| entry.kernels.contains(kernel) != Some(false))
    }

    fn kernel_entries(&self, id: PciId) -> impl Iterator<Item = &AllowEntry> {
        self.entries.iter().filter(move |entry| entry.source == Source::Kernel && entry.matches(id))
    }

    fn user_entries(&self, id: PciId, same_bridge: bool) -> impl Iterator<Item = &AllowEntry> {
        self.entries.iter().filter(move |entry| {
            entry.source != Source::Kernel && entry.matches(id) && entry.allows(same_bridge)
        })
    }

    /// The entry that decides when users' entries count too: one that allows the pair, the kernel's
    /// before a user's; else the kernel's, which does not. Entries that block are not looked at.
    #[must_use]
    pub fn entry(
        &self,
        id: PciId,
        kernel: Option<Known<KernelVersion>>,
        same_bridge: bool,
    ) -> Option<&AllowEntry> {
        let own = self.kernel_entry(id, kernel);
        let allows = |entry: &&AllowEntry| entry.allows(same_bridge);
        let there = |entry: &&AllowEntry| entry.kernels.contains(kernel) != Some(false);
        own.filter(allows).or_else(|| self.user_entries(id, same_bridge).find(there)).or(own)
    }

    /// The entry that blocks a pair.
    #[must_use]
    pub fn block_entry(
        &self,
        id: PciId,
        kernel: Option<Known<KernelVersion>>,
        same_bridge: bool,
    ) -> Option<&BlockEntry> {
        self.blocks.iter().find(|entry| {
            entry.matches(id, same_bridge) && entry.kernels.contains(kernel) != Some(false)
        })
    }

    /// Whether a device's entries allow a pair; `None` if that depends on the kernel's version and the
    /// version is not known.
    #[must_use]
    pub fn allows(
        &self,
        id: PciId,
        kernel: Option<Known<KernelVersion>>,
        same_bridge: bool,
        lists: Lists,
    ) -> Option<bool> {
        let own = self.kernel_allows(id, kernel, same_bridge);
        if own == Some(true) || lists == Lists::Kernel {
            return own;
        }
        let users = self.user_entries(id, same_bridge).map(|entry| entry.kernels.contains(kernel));
        // One that is there settles it; one that may be there leaves it open.
        users.fold(own, |answer, there| match (answer, there) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (answer, Some(false)) => answer,
            (_, None) => None,
        })
    }

    /// The first entry that matches decides: those before it that may be there must agree.
    fn kernel_allows(
        &self,
        id: PciId,
        kernel: Option<Known<KernelVersion>>,
        same_bridge: bool,
    ) -> Option<bool> {
        let mut possible = None;
        for entry in self.kernel_entries(id) {
            let there = entry.kernels.contains(kernel);
            let answer = entry.allows(same_bridge);
            if there == Some(false) {
                continue;
            }
            if possible.is_some_and(|possible| possible != answer) {
                return None;
            }
            if there == Some(true) {
                return Some(answer);
            }
            possible = Some(answer);
        }
        (possible != Some(true)).then_some(false)
    }

    /// Whether a pair is blocked; `None` as for [`Allowlist::allows`].
    #[must_use]
    pub fn is_blocked(
        &self,
        id: PciId,
        kernel: Option<Known<KernelVersion>>,
        same_bridge: bool,
    ) -> Option<bool> {
        let about = self.blocks.iter().filter(|entry| entry.matches(id, same_bridge));
        about.map(|entry| entry.kernels.contains(kernel)).fold(Some(false), any)
    }
}

/// Whether one of two is so, as far as that is known.
pub(super) fn any(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// Whether both are so, as far as that is known.
pub(super) fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

impl Default for Allowlist {
    fn default() -> Self {
        Self::kernel()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Option<Known<KernelVersion>> = Some(Known::Value(KernelVersion::NEWEST));

    fn id(vendor: u16, device: u16) -> PciId {
        PciId { vendor, device }
    }

    #[test]
    fn kernel_versions_are_read_as_uname_prints_them() {
        let version = |text: &str| text.parse::<KernelVersion>();
        assert_eq!(version("7.3.4+deb13-cloud-amd64").unwrap().to_string(), "7.3");
        assert_eq!(version("6.12-rc1").unwrap().to_string(), "6.12");
        for bad in ["", "7", "7.", ".3", "seven.3", "70000.1", "-7.3"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_table_answers_as_the_kernel_does() {
        let list = Allowlist::kernel();
        let allows = |id, same| list.entry(id, NEW, same).is_some_and(|e| e.allows(same));
        assert!(allows(id(0x8086, 0x2f00), true));
        assert!(!allows(id(0x8086, 0x2f00), false));
        assert!(allows(id(0x8086, 0x09a2), false));
        assert!(allows(id(0x1ae0, 0x1234), false), "any device of Google");
        assert!(!allows(id(0x8086, 0x29c0), true), "QEMU's q35");
        assert!(!allows(id(0x10de, 0x2f94), true));
        let old = Some(Known::Value(KernelVersion { major: 6, minor: 12 }));
        assert!(list.entry(id(0x10de, 0x2f95), old, true).is_none());
        assert!(list.entry(id(0x8086, 0x2030), old, true).is_some());
        assert!(list.entry(id(0x10de, 0x2f95), None, true).is_some());
    }

    #[test]
    fn users_add_and_never_take_away() {
        let mut list = Allowlist::kernel();
        let user = |vendor, device, same_bridge_only| AllowEntry {
            vendor,
            device: Some(device),
            same_bridge_only,
            kernels: KernelRange::default(),
            source: Source::User("lists/mine.toml:3".into()),
        };
        list.add(user(0x8086, 0x29c0, true));
        list.add(user(0x8086, 0x2f00, false));
        list.add(user(0x8086, 0x09a2, true));
        let entry = |device, same| list.entry(id(0x8086, device), NEW, same).unwrap();
        assert_eq!(entry(0x29c0, true).source.to_string(), "user file lists/mine.toml:3");
        assert!(list.entry(id(0x8086, 0x29c0), NEW, false).is_none());
        assert_ne!(entry(0x2f00, false).source, Source::Kernel);
        assert_eq!(entry(0x2f00, true).source, Source::Kernel);
        assert_eq!(entry(0x09a2, false).source, Source::Kernel);
        assert!(list.kernel_entry(id(0x8086, 0x29c0), NEW).is_none());
    }
}
