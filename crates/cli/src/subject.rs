//! What a command looks at: a machine of the fabric, this machine, or a capture of one.

use std::path::Path;
use std::sync::Arc;

use p2pdma::linux::block::BlockKind;
use p2pdma::linux::vfio::Interface;
use p2pdma::linux::{LiveTree, Origin, Snapshot, Survey};
use p2pdma::machine::Machine;
use p2pdma::topology::{Allowlist, Known, Node, Topology};
use p2pdma::{Bdf, Platform as _, Storage, nearest};

use crate::args::PlatformName;
use crate::context::{self, Context};
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// What a command looks at.
#[derive(Debug)]
pub(crate) enum Subject {
    /// A machine of the software fabric.
    Fabric { machine: Box<Machine>, topology: Arc<Topology> },
    /// A machine that runs Linux: this one, or that of a capture.
    Linux {
        survey: Box<Survey>,
        /// The capture, if it is not this machine.
        from: Option<String>,
    },
}

impl Subject {
    /// What `--platform`, `--fabric` and `--from` name.
    pub(crate) fn of(context: &Context) -> Result<Self> {
        let global = &context.global;
        if let Some(from) = &global.from {
            context::only_fabric("--from", global)?;
            let survey = capture(from, context.allowlist()?)?;
            return Ok(Self::Linux { survey: Box::new(survey), from: Some(from.clone()) });
        }
        let names_fabric = global.fabric.is_some() || global.iommu.is_some();
        match global.platform {
            PlatformName::Auto if !names_fabric => Self::this_machine(context),
            // Whoever drives them, this machine's devices are seen through its kernel.
            PlatformName::Linux | PlatformName::Vfio => {
                context::only_fabric("--platform linux", global)?;
                Self::this_machine(context)
            }
            _ => {
                let machine = context.machine()?;
                let platform = context.platform(&machine, &Storage::Ephemeral)?;
                Ok(Self::Fabric { machine: Box::new(machine), topology: platform.topology()? })
            }
        }
    }

    fn this_machine(context: &Context) -> Result<Self> {
        let tree = LiveTree::machine().map_err(unreadable)?;
        let mut survey = Survey::read_with(&tree, context.allowlist()?).map_err(unreadable)?;
        if survey.vfio.value().is_some() {
            survey.vfio = Known::Value(Interface::here(survey.vfio));
        }
        Ok(Self::Linux { survey: Box::new(survey), from: None })
    }

    /// Its functions.
    pub(crate) fn topology(&self) -> &Topology {
        match self {
            Self::Fabric { topology, .. } => topology,
            Self::Linux { survey, .. } => &survey.topology,
        }
    }

    /// What Linux told, if it is of Linux.
    pub(crate) fn survey(&self) -> Option<&Survey> {
        match self {
            Self::Fabric { .. } => None,
            Self::Linux { survey, .. } => Some(survey),
        }
    }

    /// Whether it is the machine that this runs on.
    pub(crate) fn is_this_machine(&self) -> bool {
        matches!(self, Self::Linux { from: None, .. })
    }

    /// A word for where it comes from.
    pub(crate) fn source(&self) -> &'static str {
        match self {
            Self::Fabric { .. } => "fabric",
            Self::Linux { from: None, .. } => "linux",
            Self::Linux { survey, .. } => match survey.origin {
                Origin::Tree => "snapshot",
                Origin::Lspci => "lspci",
            },
        }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Fabric { machine, .. } => machine.name.clone(),
            Self::Linux { from: None, .. } => "this machine".to_owned(),
            Self::Linux { from: Some(from), .. } => from.clone(),
        }
    }

    /// What it is, in a line.
    pub(crate) fn about(&self) -> String {
        match self {
            Self::Fabric { machine, .. } => machine.about.clone(),
            Self::Linux { survey, .. } => match survey.system.release.value() {
                Some(release) => format!("Linux {release}"),
                None if survey.origin == Origin::Lspci => "the text of lspci".to_owned(),
                None => "Linux of an unknown release".to_owned(),
            },
        }
    }

    /// What somebody should run who wants to know what is unknown.
    pub(crate) fn more(&self) -> &'static str {
        match self {
            Self::Linux { from: Some(_), .. } => {
                "capture again as root: p2pdma topo --save FILE, or lspci -xxxx -vvv"
            }
            _ => "run as root: sudo p2pdma …",
        }
    }

    /// The function of an address, a name such as `nvme0`, a block device or a mount point.
    pub(crate) fn find(&self, text: &str) -> Result<Bdf> {
        let topology = self.topology();
        if let Ok(bdf) = text.parse::<Bdf>() {
            return match topology.find(bdf) {
                Some(_) => Ok(bdf),
                None => {
                    Err(unknown(text, topology).append(": there is no function at this address"))
                }
            };
        }
        let named = topology.nodes().iter().find(|node| node.name.as_deref() == Some(text));
        if let Some(node) = named {
            return Ok(node.bdf);
        }
        match self.survey().and_then(|survey| of_block_device(survey, text)) {
            Some(found) => found,
            None => Err(unknown(text, topology)),
        }
    }
}

/// The one function below a block device or what is mounted somewhere.
fn of_block_device(survey: &Survey, text: &str) -> Option<Result<Bdf>> {
    let mut mounts = survey.blocks.mounts.value().into_iter().flatten();
    let mounted = mounts.rfind(|mount| mount.point == text);
    let name = mounted.map_or(text, |mount| &mount.device);
    let stack = survey.blocks.stack(name, survey.system.kernel)?;
    Some(match stack.functions.as_slice() {
        [function] => Ok(*function),
        [] => Err(Failure::usage(format!("there is no NVMe function below {text}"))
            .remedy("name the function by its address, as lspci prints it")),
        many => {
            let list: Vec<String> = many.iter().map(ToString::to_string).collect();
            Err(Failure::usage(format!("there are several functions below {text}"))
                .remedy(format!("name one of them: {}", list.join(", "))))
        }
    })
}

fn unknown(text: &str, topology: &Topology) -> Failure {
    let names = topology.nodes().iter().filter_map(|node| node.name.as_deref());
    let failure = Failure::new(Exit::Usage, "OPERAND", format!("'{text}' names no device here"));
    match nearest(text, names) {
        Some(meant) => failure.remedy(format!("did you mean {meant}?")),
        None => failure.remedy("'p2pdma topo' shows addresses and names"),
    }
}

/// What people call a function.
pub(crate) fn label(node: &Node) -> String {
    node.name.as_deref().map_or_else(|| node.bdf.to_string(), str::to_owned)
}

/// What a function is by its class, in words.
pub(crate) fn class(node: &Node) -> String {
    let base = node.class.base_name().filter(|_| node.class.name().is_none());
    base.map_or_else(|| node.class.to_string(), str::to_owned)
}

/// The block devices that a function has, partitions left out.
pub(crate) fn block_devices(survey: &Survey, bdf: Bdf) -> Vec<String> {
    let devices = survey.blocks.devices.value().into_iter().flatten();
    let own = devices.filter(|device| {
        device.function == Some(bdf) && !matches!(device.kind, BlockKind::Partition { .. })
    });
    own.map(|device| device.name.to_string()).collect()
}

/// Reads a capture.
fn capture(from: &str, allowlist: Allowlist) -> Result<Survey> {
    let read = if from == "-" {
        p2pdma::linux::read_capture(std::io::stdin().lock(), Path::new("standard input"))
            .and_then(|bytes| Survey::from_capture(&bytes, allowlist))
    } else {
        Survey::open(Path::new(from), allowlist)
    };
    read.map_err(|error| spoilt(from, error))
}

/// The snapshot of what a command looks at.
pub(crate) fn snapshot(context: &Context) -> Result<Snapshot> {
    use p2pdma::linux::Error as E;
    let subject_is_fabric = context.global.fabric.is_some()
        || context.global.iommu.is_some()
        || context.global.platform == PlatformName::Fabric;
    match &context.global.from {
        Some(from) if from == "-" => {
            Err(Failure::usage("what comes through standard input is saved already")
                .remedy("keep it with tee, or name its file"))
        }
        Some(from) => Snapshot::open(Path::new(from)).map_err(|error| match error {
            E::Snapshot(_) => {
                let message =
                    format!("{from} is no snapshot: only one of those can be saved again");
                Failure::usage(message).remedy("keep the text of lspci as it is")
            }
            other => spoilt(from, other),
        }),
        None if subject_is_fabric => {
            Err(Failure::usage("a machine of the fabric has its file, and no snapshot")
                .remedy("'p2pdma topo --source' prints the file"))
        }
        None => {
            let tree = LiveTree::machine().map_err(unreadable)?;
            Snapshot::capture(&tree).map_err(unreadable)
        }
    }
}

/// This machine cannot be read.
fn unreadable(error: p2pdma::linux::Error) -> Failure {
    Failure::from(error)
        .or_remedy("say --fabric default for a machine in software, or --from FILE for a capture")
}

/// A capture is none.
fn spoilt(from: &str, error: p2pdma::linux::Error) -> Failure {
    use p2pdma::linux::Error as E;
    match error {
        E::File { .. } | E::NoCapture { .. } => Failure::from(error),
        error => {
            let message = format!("{from}: {error}");
            Failure::new(Exit::Usage, "CAPTURE", message)
                .remedy("capture again: p2pdma topo --save FILE, or lspci -xxxx -vvv, as root")
        }
    }
}
