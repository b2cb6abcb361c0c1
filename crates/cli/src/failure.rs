//! What goes wrong: a status for the shell, a code for scripts, a message and a remedy for people.

use std::io;
use std::path::Path;

use p2pdma::JournalError;
use p2pdma::devices;
use p2pdma::fabric::Error as FabricError;
use p2pdma::linux::io::{LendError, OpenError};
use p2pdma::linux::vfio::VfioError;

use crate::exit::Exit;
use crate::operand::OperandError;
use crate::output::document::{ErrorDocument, RefusalDocument};

/// The result of whatever can fail here.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A command that did not do what was asked.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Box<Content>);

#[derive(Debug, Clone)]
struct Content {
    exit: Exit,
    /// Stable: `P2P-ACS-REDIR`, `EXISTS`.
    code: String,
    message: String,
    remedy: Option<String>,
    /// Lines between message and remedy, each with its line feed.
    details: String,
    refusal: Option<RefusalDocument>,
    /// The document on standard output has it already.
    documented: bool,
    /// The reader of standard output has left: nobody is to be told anything.
    silent: bool,
}

impl Failure {
    /// A failure with nothing but a message.
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Content {
            exit,
            code: code.to_owned(),
            message: message.into(),
            remedy: None,
            details: String::new(),
            refusal: None,
            documented: false,
            silent: false,
        }))
    }

    /// What was asked makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    /// It would destroy something, or take it from somebody.
    pub(crate) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, code, message)
    }

    /// Broken off by a signal.
    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "INTERRUPTED", "interrupted")
    }

    /// A file that the operating system will not have read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::operating_system(error.kind(), format!("{}: {error}", path.display()))
    }

    pub(crate) fn operating_system(kind: io::ErrorKind, message: String) -> Self {
        match kind {
            io::ErrorKind::PermissionDenied => Self::new(Exit::Permission, "P2P-PERM", message)
                .remedy("name a place that this user may use, or run it as one who may"),
            io::ErrorKind::NotFound => Self::new(Exit::Io, "NOT-FOUND", message),
            io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge => {
                Self::new(Exit::Io, "FULL", message).remedy("make room there, and run it again")
            }
            _ => Self::new(Exit::Io, "IO", message),
        }
    }

    /// The same with what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// The same in other words.
    fn saying(mut self, message: String) -> Self {
        self.0.message = message;
        self
    }

    /// The same with what to do about it, unless it says that already.
    pub(crate) fn or_remedy(self, remedy: &str) -> Self {
        if self.0.remedy.is_some() { self } else { self.remedy(remedy) }
    }

    /// The same with lines of detail, each with its line feed.
    pub(crate) fn details(mut self, details: impl Into<String>) -> Self {
        self.0.details = details.into();
        self
    }

    /// The same with the evidence of a refusal.
    pub(crate) fn refusal(mut self, refusal: RefusalDocument) -> Self {
        self.0.refusal = Some(refusal);
        self
    }

    /// The same, now that the document on standard output has it.
    pub(crate) fn documented(mut self) -> Self {
        self.0.documented = true;
        self
    }

    /// The same with something said after the message.
    pub(crate) fn append(mut self, more: &str) -> Self {
        self.0.message.push_str(more);
        self
    }

    /// The status.
    pub(crate) fn exit(&self) -> Exit {
        self.0.exit
    }

    /// Whether the document on standard output has it already.
    pub(crate) fn is_documented(&self) -> bool {
        self.0.documented
    }

    /// Whether nobody is there to be told.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.silent
    }

    /// The parts to print: code, message, details, remedy. The details of a refusal tell the remedy, and
    /// more about it.
    pub(crate) fn parts(&self) -> (&str, &str, &str, Option<&str>) {
        let Content { code, message, details, remedy, refusal, .. } = &*self.0;
        (code, message, details, remedy.as_deref().filter(|_| refusal.is_none()))
    }

    /// As data.
    pub(crate) fn document(&self) -> ErrorDocument {
        let Content { exit, code, message, remedy, refusal, .. } = &*self.0;
        ErrorDocument {
            code: code.clone(),
            message: message.clone(),
            remedy: remedy.clone(),
            exit_status: *exit,
            refusal: refusal.clone(),
        }
    }
}

impl From<OperandError> for Failure {
    fn from(error: OperandError) -> Self {
        Self::new(Exit::Usage, "OPERAND", error.to_string()).remedy(error.remedy())
    }
}

/// Writing what the command has to say.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let mut failure = Self::operating_system(error.kind(), format!("standard output: {error}"));
        if error.kind() == io::ErrorKind::BrokenPipe {
            failure.0.silent = true;
            failure.0.exit = Exit::Done;
        }
        failure
    }
}

/// A refused path has its own rendering, in `output::refusal`; here is everything else.
impl From<p2pdma::Error> for Failure {
    fn from(error: p2pdma::Error) -> Self {
        use p2pdma::Error as E;
        let message = without_code(&error.to_string());
        let own_memory = error.is_own_memory_refused();
        let no_room = error.is_out_of_dma_space();
        match error {
            E::NoPath(no_path) => Self::new(Exit::NoPath, &no_path.code.to_string(), message),
            E::Refused(refusal) => Self::new(Exit::NoPath, &refusal.code.to_string(), message),
            E::PoolEmpty { .. } => Self::new(Exit::NoPath, "P2P-POOL-EMPTY", message)
                .remedy("a smaller --block-size or --queue-depth needs less"),
            E::NoProvider(_) => Self::new(Exit::NoPath, "P2P-NO-P2PMEM", message),
            E::NoNamespace { .. } => Self::new(Exit::Usage, "OPERAND", message),
            E::NotNvme { .. } => Self::new(Exit::Usage, "OPERAND", message)
                .remedy("name an SSD: p2pdma topo shows the devices"),
            E::NoFunction(_) => Self::new(Exit::Usage, "OPERAND", message).remedy(
                "p2pdma topo shows those that it has; an address of the fabric needs --fabric, with default for its first machine",
            ),
            E::Metadata { .. } => Self::new(Exit::Usage, "OPERAND", message)
                .remedy("name a namespace without; nvme format --lbaf=N, which erases it, changes an SSD's"),
            E::OutsideMemory { .. } | E::Alignment { .. } => Self::usage(message),
            E::Mismatch { .. } => Self::new(Exit::Mismatch, "MISMATCH", message),
            E::File { name, kind: io::ErrorKind::UnexpectedEof, .. } => {
                Self::new(Exit::Io, "IO", format!("{name} ended before the length that it had"))
                    .remedy("let nobody change it meanwhile, or let it come through '-'")
            }
            E::File { kind, .. } => Self::operating_system(kind, message),
            E::Journal(error) => journal(&error, message),
            E::Staged { .. } | E::Uncounted => Self::new(Exit::Io, "STAGED", message),
            E::Lend(LendError::Denied { .. }) => Self::new(Exit::Permission, "P2P-PERM", message)
                .remedy("run it as root: p2pmem/allocate is root's"),
            E::Lend(LendError::NoPool { .. }) => Self::new(Exit::NoPath, "P2P-NO-P2PMEM", message),
            E::Lend(LendError::System { source, .. }) => {
                Self::operating_system(source.kind(), message)
            }
            E::Open(error) => open(&error, message),
            E::Vfio(error) => vfio(&error, message),
            E::Engine { kind, .. } => Self::operating_system(kind, message)
                .remedy("kernel.io_uring_disabled may say no; --engine sync does without"),
            E::Linux(error) => error.into(),
            E::Revoked { .. } | E::Reset { .. } | E::Vanished { .. } | E::Recalled { .. } => {
                Self::new(Exit::Io, "P2P-REVOKED", message)
            }
            E::IommuFault(_) => Self::new(Exit::Io, "IOMMU-FAULT", message)
                .remedy("the kernel's log has all that it refused: dmesg | grep -i fault"),
            E::BusError { .. } => Self::new(Exit::Io, "DEVICE", message)
                .remedy("the kernel's log says which error: dmesg | grep -i aer"),
            E::KernelRefused { .. } => Self::new(Exit::NoPath, "P2P-KERNEL-REFUSED", message)
                .remedy("its log says more: dmesg | grep -i p2pdma"),
            E::Status { .. } if own_memory => Self::new(Exit::Io, "DEVICE", message).remedy(
                "the controller does not take its own memory for such commands: name another's with --via, or \
                 use the block device",
            ),
            E::DataLost { .. } => Self::new(Exit::Mismatch, "P2P-DATA-LOST", message)
                .remedy("status said OK and the data are wrong: p2pdma explain DATA-LOST"),
            E::Interrupted => Self::interrupted(),
            E::NotPutBack { why, .. } => Self::from(*why).saying(message),
            E::DeviceMemory { .. } | E::Fabric(FabricError::HostMemory { .. }) => {
                Self::new(Exit::Usage, "MACHINE", message)
                    .remedy("give it less in the machine file: all of it is memory of this computer")
            }
            E::Fabric(FabricError::NoWindow { prefetchable: true, .. }) => {
                Self::new(Exit::Usage, "MACHINE", message)
                    .remedy("give it or others less in the machine file: host memory and all devices share 64 TiB")
            }
            E::Fabric(FabricError::NoWindow { .. }) => Self::new(Exit::Usage, "MACHINE", message)
                .remedy("give it or others less in the machine file: all devices share what is below 4 GiB"),
            E::Fabric(_) | E::SharedSubsystem { .. } => Self::new(Exit::Usage, "MACHINE", message)
                .remedy("change the machine file: the machine cannot be built as it is described"),
            E::Device(error) => device(error, message),
            E::Pci(_) | E::Nvme(_) if no_room => Self::new(Exit::Io, "DEVICE", message)
                .remedy(
                    "raise that limit, which on the fabric is memory in [host] of the machine file, or ask for less with \
                     --length, --block-size and --queue-depth",
                ),
            E::Internal(_) => Self::new(Exit::Io, "INTERNAL", message)
                .remedy("this is a defect of p2pdma: please report it, with the command line"),
            _ => Self::new(Exit::Io, "DEVICE", message),
        }
    }
}

/// Devices under vfio.
fn vfio(error: &VfioError, message: String) -> Failure {
    use VfioError as E;
    match error {
        E::Absent => Failure::new(Exit::Io, "VFIO", message)
            .remedy("modprobe vfio-pci, on a kernel that has it and a machine with an IOMMU"),
        E::Denied { path } => {
            let path = path.display();
            let remedy = match error.is_of_container() {
                true => format!("run it as root, or let root open it to all, as is usual: chmod 666 {path}"),
                false => format!("run it as root, or let root give you that file: chown $USER {path}"),
            };
            Failure::new(Exit::Permission, "P2P-PERM", message).remedy(remedy)
        }
        E::NotBound { bdf, .. } => Failure::new(Exit::Refused, "VFIO-NOT-BOUND", message)
            .remedy(format!("p2pdma bind take {bdf}")),
        E::NoDevice { .. } => Failure::new(Exit::Usage, "OPERAND", message),
        E::NoGroup { .. } => Failure::new(Exit::Io, "VFIO", message)
            .remedy("switch the IOMMU on: in the firmware, and with intel_iommu=on where it is Intel's"),
        E::Shared { .. } => Failure::new(Exit::Refused, "VFIO-SHARED", message)
            .remedy("the IOMMU cannot tell them apart: take all of them, or none"),
        E::Busy { .. } => Failure::new(Exit::Refused, "VFIO-BUSY", message)
            .remedy("end the other process: fuser -v /dev/vfio/* /dev/vfio/devices/*"),
        E::Unsafe { .. } => Failure::new(Exit::Io, "VFIO", message).remedy(
            "switch interrupt remapping on in the firmware; allow_unsafe_interrupts=1 of vfio_iommu_type1, or of iommufd, does without, and lets devices forge interrupts",
        ),
        E::NoType1 => {
            Failure::new(Exit::Io, "VFIO", message).remedy("modprobe vfio_iommu_type1")
        }
        E::Pages { .. } => Failure::new(Exit::Io, "VFIO", message)
            .remedy("boot a kernel whose pages have 4 KiB: those of arm64 come with 4, 16 or 64"),
        _ => Failure::new(Exit::Io, "VFIO", message),
    }
}

/// Reading a machine that runs Linux, or a capture of one.
impl From<p2pdma::linux::Error> for Failure {
    fn from(error: p2pdma::linux::Error) -> Self {
        use p2pdma::linux::{Error as E, Failure as Cause};
        let message = error.to_string();
        match error {
            E::File { source, .. } => Self::operating_system(source.kind(), message),
            E::NoCapture { .. } | E::Snapshot(_) | E::Lspci(_) => {
                Self::new(Exit::Usage, "CAPTURE", message)
            }
            E::Root { failure: Cause::Denied, .. } | E::NoSystem { failure: Cause::Denied, .. } => {
                Self::new(Exit::Permission, "P2P-PERM", message)
            }
            _ => Self::new(Exit::Io, "IO", message),
        }
    }
}

/// A journal that cannot be used.
fn journal(error: &JournalError, message: String) -> Failure {
    let nothing = format!("{message}; nothing was written");
    match error {
        JournalError::System { source, .. } => Failure::operating_system(source.kind(), message)
            .or_remedy("name a file after --resume that can be written, in a folder that is there"),
        JournalError::InUse { .. } => {
            Failure::refused("IN-USE", nothing).remedy("wait until that ends")
        }
        JournalError::Foreign { .. } => {
            Failure::refused("JOURNAL", nothing).remedy("name another file after --resume")
        }
        JournalError::Damaged { .. } => {
            Failure::refused("JOURNAL", nothing).remedy("remove it to begin anew")
        }
        JournalError::Other { .. } => Failure::refused("JOURNAL", nothing)
            .remedy("go on with the command that it is of, or name another file after --resume"),
    }
}

/// A file or block device that cannot be an end of a copy.
fn open(error: &OpenError, message: String) -> Failure {
    match error {
        OpenError::System { source, .. } => Failure::operating_system(source.kind(), message)
            .or_remedy("lsblk lists the block devices of this machine"),
        OpenError::InUse { .. } | OpenError::InUseAs { .. } => Failure::refused("IN-USE", message)
            .remedy("unmount it, or take it out of what it is a part of: lsblk shows which"),
        OpenError::Kind { .. } => Failure::usage(message).remedy("name a block device or a file"),
        OpenError::Zoned { .. } => {
            Failure::usage(message).remedy("it can be a source; name another destination")
        }
        OpenError::Unfit { .. } => Failure::usage(message)
            .remedy("its block device, if it has one, may do: lsblk lists them"),
        OpenError::NotDirect { .. } => Failure::new(Exit::NoPath, "P2P-FS", message)
            .remedy("--p2p=prefer copies through host memory; ext4 and xfs have direct I/O"),
    }
}

fn device(error: devices::Error, message: String) -> Failure {
    use devices::Error as E;
    match error {
        // A label that is no text is as wrong as one that says nothing.
        E::File { path, source } if source.kind() == io::ErrorKind::InvalidData => {
            Failure::new(Exit::Usage, "STATE", message).remedy(label_remedy(&path))
        }
        E::File { source, .. } => Failure::operating_system(source.kind(), message),
        E::FileInUse { path } => {
            let message = format!("{} is in use by another process", path.display());
            Failure::refused("IN-USE", message).remedy(
                "wait until it ends, or use data of your own with --ephemeral or --state-dir",
            )
        }
        E::FileTooLong { path, .. } => Failure::new(Exit::Usage, "STATE", message).remedy(format!(
            "another machine of the same name left it: remove {}, or name another --state-dir",
            path.display()
        )),
        E::FileKind { path, .. } => Failure::refused("STATE", message).remedy(format!(
            "move {} away, or name another --state-dir: a namespace's file is a regular one",
            path.display()
        )),
        E::FileForeign { path, expected, .. } => Failure::refused("STATE", message).remedy(format!(
            "move {0} away, or name another --state-dir; if its bytes are to be a namespace's first \
             ones: truncate -s {expected} {0}",
            path.display()
        )),
        E::FileCut { path, before, .. } => {
            Failure::new(Exit::Usage, "STATE", message).remedy(format!(
                "restore it; or, to go on with zeroes in its place: truncate -s {before} {}",
                path.display()
            ))
        }
        E::FileFormat { path, .. } => Failure::new(Exit::Usage, "STATE", message).remedy(format!(
            "describe the namespace as before, remove {0} and {0}.label, or name another --state-dir",
            path.display()
        )),
        E::Label { path, .. } => {
            Failure::new(Exit::Usage, "STATE", message).remedy(label_remedy(&path))
        }
        E::Memory { .. } => Failure::new(Exit::Io, "MEMORY", message),
        _ => Failure::new(Exit::Usage, "MACHINE", message)
            .remedy("change the machine file: a device cannot be as it is described"),
    }
}

fn label_remedy(path: &Path) -> String {
    format!(
        "remove {}, if the namespace was never formatted to anything else than is described",
        path.display()
    )
}

/// A message without the reason code that some begin with: it is shown before them.
fn without_code(message: &str) -> String {
    match message.strip_prefix("[P2P-").and_then(|rest| rest.split_once("] ")) {
        Some((_, rest)) => rest.to_owned(),
        None => message.to_owned(),
    }
}
