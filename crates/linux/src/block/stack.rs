//! Which elements of a stack of block devices pass peer-to-peer I/O.
//!
//! | element | passes | known from |
//! |---|---|---|
//! | NVMe namespace on PCI Express | yes | `nvme_alloc_ns()`, drivers/nvme/host/core.c; run on 7.3.4 |
//! | NVMe multipath head | since 7.2 | mainline commit fb0eeeed91f3; run on 7.3.4 |
//! | NVMe over RDMA | since 7.1 where the adapter can | mainline commit 23528aa3320a |
//! | NVMe over anything else | no | `supports_pci_p2pdma` is not set |
//! | partition | as its device | same queue |
//! | md raid0, raid1, raid10 | since 7.2 | mainline commit 02666132403a; all three run on 7.3.4, reading and writing. Mirrors report a write from memory that a member does not reach as done |
//! | md of other levels | no | the same |
//! | device mapper | no | I/O fails with EREMOTEIO; run on 7.3.4 |
//! | loop, virtio, SCSI and the rest | no | the same |
//! | ext4 | yes, without `data=journal` | run on 7.3.4 |
//! | xfs | yes, unless the device wants stable writes | fs/xfs/xfs_file.c |
//! | btrfs | no: with checksums it copies | fs/btrfs/direct-io.c |
//! | other file systems | not known | |

use std::collections::HashSet;
use std::sync::Arc;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Cause, KernelVersion, Known, ReasonCode};

use super::{BlockDevice, BlockKind, Blocks, Mount, Transport};

/// Whether an element passes peer-to-peer I/O on to what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It does.
    Passes,
    /// It does not, for this reason.
    Stops(ReasonCode),
    /// That is not known.
    Unknown(Cause),
}

impl Passage {
    /// What two elements together do: what stops goes first, then what is not known.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stops(_), _) => self,
            (_, Self::Stops(_)) => other,
            (Self::Unknown(_), _) => self,
            _ => other,
        }
    }
}

/// An element of a stack.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The block device.
    pub device: Arc<str>,
    /// Whether it passes peer-to-peer I/O on.
    pub passage: Passage,
    /// What there is to know although it does.
    pub caveat: Option<ReasonCode>,
}

/// A block device with all that it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// The elements, the device itself first.
    pub layers: Vec<Layer>,
    /// The NVMe functions at its bottom: each of them has to reach the provider.
    pub functions: Vec<Bdf>,
    /// What the stack as a whole does.
    pub passage: Passage,
}

/// Since when NVMe multipath heads and md arrays pass on what all they are made of can.
const STACKED: KernelVersion = KernelVersion { major: 7, minor: 2 };
/// Since when NVMe over RDMA may.
const RDMA: KernelVersion = KernelVersion { major: 7, minor: 1 };

impl Blocks {
    /// A device with all that it is made of, judged for a kernel; `None` if there is no such device.
    #[must_use]
    pub fn stack(&self, name: &str, kernel: Known<KernelVersion>) -> Option<Stack> {
        let top = self.device(name)?;
        let mut stack =
            Stack { layers: Vec::new(), functions: Vec::new(), passage: Passage::Passes };
        let mut waiting = vec![top];
        // Members are listed once, and no circle is walked twice.
        let mut seen = HashSet::from([&*top.name]);
        while let Some(device) = waiting.pop() {
            let (passage, caveat) = self.judge(device, kernel);
            stack.passage = stack.passage.and(passage);
            stack.layers.push(Layer { device: Arc::clone(&device.name), passage, caveat });
            if let Some(function) = self.bottom(device) {
                stack.functions.push(function);
            }
            match self.below(device) {
                Known::Value(names) => {
                    for name in names.iter().rev() {
                        match self.device(name) {
                            Some(device) if seen.insert(&*device.name) => waiting.push(device),
                            Some(_) => {}
                            None => {
                                let gone = Passage::Unknown(Cause::Unreadable);
                                stack.passage = stack.passage.and(gone);
                            }
                        }
                    }
                }
                Known::Unknown(cause) => {
                    stack.passage = stack.passage.and(Passage::Unknown(cause));
                }
            }
        }
        stack.functions.sort_unstable();
        stack.functions.dedup();
        Some(stack)
    }

    /// The function of a namespace on PCI Express.
    fn bottom(&self, device: &BlockDevice) -> Option<Bdf> {
        match &device.kind {
            BlockKind::Namespace { controller } | BlockKind::Path { controller } => {
                self.controller(controller).and_then(|controller| controller.function)
            }
            _ => None,
        }
    }

    fn judge(
        &self,
        device: &BlockDevice,
        kernel: Known<KernelVersion>,
    ) -> (Passage, Option<ReasonCode>) {
        let since = |release: KernelVersion, code| match kernel {
            Known::Value(kernel) if kernel >= release => Passage::Passes,
            Known::Value(_) => Passage::Stops(code),
            Known::Unknown(cause) => Passage::Unknown(cause),
        };
        match &device.kind {
            BlockKind::Namespace { controller } | BlockKind::Path { controller } => {
                (self.namespace(controller, since(RDMA, ReasonCode::NotNvmePci)), None)
            }
            BlockKind::Head { paths } => {
                let caveat = (paths.len() > 1).then_some(ReasonCode::NvmeMultipath);
                (since(STACKED, ReasonCode::NvmeMultipath), caveat)
            }
            BlockKind::Partition { .. } => (Passage::Passes, None),
            BlockKind::Md { level } => {
                let passage = match level {
                    Known::Value(level) if matches!(&**level, "raid0" | "raid1" | "raid10") => {
                        since(STACKED, ReasonCode::Md)
                    }
                    Known::Value(_) => Passage::Stops(ReasonCode::Md),
                    Known::Unknown(cause) => Passage::Unknown(*cause),
                };
                let mirrors =
                    level.value().is_some_and(|level| matches!(&**level, "raid1" | "raid10"));
                (passage, mirrors.then_some(ReasonCode::Md))
            }
            BlockKind::Dm { .. } => (Passage::Stops(ReasonCode::Dm), None),
            BlockKind::Loop { .. } | BlockKind::Other => {
                (Passage::Stops(ReasonCode::NotNvmePci), None)
            }
        }
    }

    /// A namespace, by how its controller is reached. Over RDMA the adapter's driver decides, which is not
    /// visible.
    fn namespace(&self, controller: &str, over_rdma: Passage) -> Passage {
        let Some(controller) = self.controller(controller) else {
            return Passage::Unknown(Cause::Unreadable);
        };
        match &controller.transport {
            Known::Value(Transport::Pcie) => Passage::Passes,
            Known::Value(Transport::Rdma) => over_rdma.and(Passage::Unknown(Cause::Unreadable)),
            Known::Value(Transport::Other(_)) => Passage::Stops(ReasonCode::NotNvmePci),
            Known::Unknown(cause) => Passage::Unknown(*cause),
        }
    }

    /// Whether a mounted file system passes O_DIRECT I/O on to its block device.
    #[must_use]
    pub fn judge_mount(&self, mount: &Mount) -> Passage {
        let has = |option: &str| mount.options.iter().any(|own| own == option);
        let stops = Passage::Stops(ReasonCode::FileSystem);
        match &*mount.file_system {
            "ext4" if has("data=journal") => stops,
            "ext4" => Passage::Passes,
            "xfs" => match self.device(&mount.device).map(|device| device.stable_writes) {
                Some(Known::Value(true)) => stops,
                Some(Known::Value(false)) => Passage::Passes,
                Some(Known::Unknown(cause)) => Passage::Unknown(cause),
                None => Passage::Unknown(Cause::Unreadable),
            },
            // Without checksums it might pass; that is per file.
            "btrfs" if has("nodatasum") || has("nodatacow") => Passage::Unknown(Cause::Unreadable),
            "btrfs" => stops,
            _ => Passage::Unknown(Cause::Unreadable),
        }
    }
}
