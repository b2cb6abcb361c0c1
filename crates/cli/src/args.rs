//! The command line: one definition, from which help, man pages and completions are made.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use p2pdma::linux::io::Engine;
use p2pdma::machine::parse_size;
use p2pdma::topology::IommuMode;

use crate::command::{
    bench, bind, completions, copy, demo, doctor, explain, lab, man, probe, schema, topo,
};
use crate::exit;

/// Moves data between PCIe devices without staging it in host memory, and says whether a machine can
/// do that, why not, and what to change.
#[derive(Debug, Parser)]
#[command(name = "p2pdma", version, arg_required_else_help = true)]
#[command(propagate_version = false, disable_help_subcommand = true, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Two SSDs, one switch: peer to peer beside the bounce, in seconds
    ///
    /// Moves 256 MiB between two SSDs of the fabric, peer to peer and then through host memory, verifies
    /// both, and shows a machine on which there is no path. It keeps nothing.
    Demo(demo::Demo),
    /// Copy SRC to DST, device to device
    ///
    /// A transfer between devices is peer to peer, or it is refused: --p2p=prefer allows the way through
    /// host memory where there is no other, and every report states the bytes by path.
    Copy(copy::Copy),
    /// Devices, links, and who can reach whom
    ///
    /// Prints the machine as a tree, or as a matrix of who reaches whose memory. It opens no device, and
    /// ends with 0 whatever the matrix says.
    Topo(topo::Topo),
    /// Check this machine, a pair, or the mounted volumes, and say what to fix
    ///
    /// Judges the kernel, who lends memory, links, drivers, block devices and every path. Fixes are
    /// printed with what they cost, and never applied. Without root it says what it could not read.
    ///
    /// Of a pair the exit status tells the answer: 0 for a path that can be used, 3 for none, 4 for one
    /// that is known to lose data, 5 if root could tell. The whole machine and --volumes end with 0
    /// whatever is found.
    Doctor(doctor::Doctor),
    /// Explain a reason code
    ///
    /// Tells what a reason code means, how it is found, and what helps. Without a code it lists them all.
    Explain(explain::Explain),
    /// Test a path with data, and remember the result
    ///
    /// A status proves nothing: a request can succeed whose bytes never arrived. The SSD brings bytes to
    /// host memory and to the memory, and both are compared.
    Probe(probe::ProbeCommand),
    /// Measure peer to peer against the bounce through host memory
    ///
    /// Both ways are measured in turns within one run, on a copy of the machine that keeps nothing.
    /// Modelled figures are by the fabric's clock; measured ones are what the simulation costs on this
    /// machine.
    Bench(bench::Bench),
    /// Move devices from the kernel's drivers to vfio, and back
    ///
    /// A device that is bound to vfio-pci is this command's own: copies between such devices go by their
    /// addresses, without the kernel, within what the IOMMU allows.
    Bind(bind::Bind),
    /// Boot a real Linux in QEMU on a machine file, and run a command in it
    ///
    /// QEMU and a kernel with P2PDMA are fetched from Debian's archive once, as packages that are
    /// unpacked into a cache: nothing is installed, and nobody needs to be root.
    Lab(lab::Lab),
    /// Print the JSON schemas of what the commands print
    ///
    /// Those (draft 2020-12) of what commands print with -o json and -o jsonl, and of --progress json.
    Schema(schema::Schema),
    /// Print a script that completes commands in a shell
    Completions(completions::Completions),
    /// Print the manual page, or write those of all commands to a folder
    Man(man::Man),
}

/// Global options that can be set in the environment, and the variables' names.
pub(crate) const VARIABLES: [(&str, &str); 3] =
    [("output", "P2PDMA_OUTPUT"), ("platform", "P2PDMA_PLATFORM"), ("fabric", "P2PDMA_FABRIC")];

/// Options of every command, before or after its name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Form of what is printed
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    #[arg(env = "P2PDMA_OUTPUT", hide_env_values = true)]
    pub(crate) output: Format,
    /// Colours: auto asks the terminal and NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// Progress on standard error
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: ProgressForm,
    /// Where the devices are: auto is this machine for topo and doctor, unless --fabric is said, and
    /// the software fabric for all else
    #[arg(long, global = true, default_value = "auto")]
    #[arg(env = "P2PDMA_PLATFORM", hide_env_values = true)]
    pub(crate) platform: PlatformName,
    /// Machine of the software fabric: a name, or a file with a slash or .toml in its name [default:
    /// default]
    #[arg(long, global = true, value_name = "NAME|FILE")]
    #[arg(env = "P2PDMA_FABRIC", hide_env_values = true, value_hint = ValueHint::FilePath)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) fabric: Option<String>,
    /// Another IOMMU than the machine's own
    #[arg(long, global = true, value_name = "MODE")]
    pub(crate) iommu: Option<Iommu>,
    /// A capture to look at instead of this machine: a snapshot, or lspci's text ('-': standard input)
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) from: Option<String>,
    /// List of host bridges that adds to the kernel's
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) host_bridges: Option<PathBuf>,
    /// Say more, on standard error
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// JSON, one object per line
    Jsonl,
    /// Comma-separated values, with a header
    Csv,
}

/// When to do what terminals can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// If it is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressForm {
    /// A bar, if standard error is a terminal
    Auto,
    /// A line at every tenth, terminal or not
    Always,
    /// None
    Never,
    /// JSON, one object per line
    Json,
}

/// Where devices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlatformName {
    /// Where the command's devices usually are
    Auto,
    /// The software fabric
    Fabric,
    /// This machine, by its kernel
    Linux,
    /// Devices of this machine that are bound to vfio-pci
    Vfio,
}

/// What an IOMMU does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Iommu {
    /// There is none
    Off,
    /// It is on, and lets addresses pass as they are
    Passthrough,
    /// It translates
    Translate,
}

impl Global {
    /// The name of the machine of the fabric.
    pub(crate) fn machine_name(&self) -> &str {
        self.fabric.as_deref().unwrap_or("default")
    }
}

impl From<Iommu> for IommuMode {
    fn from(iommu: Iommu) -> Self {
        match iommu {
            Iommu::Off => Self::Off,
            Iommu::Passthrough => Self::Passthrough,
            Iommu::Translate => Self::Translate,
        }
    }
}

/// Where namespaces of the fabric keep their data.
#[derive(Debug, Clone, Args)]
pub(crate) struct State {
    /// Folder with the data of fabric namespaces [env: P2PDMA_STATE] [default:
    /// $XDG_STATE_HOME/p2pdma, or ~/.local/state/p2pdma]
    // The variable is looked up by hand: --ephemeral beats it, but contradicts the option.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Keep nothing: namespaces begin as zeroes and end with the command
    #[arg(long, conflicts_with = "state_dir")]
    pub(crate) ephemeral: bool,
}

/// How requests reach the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// Many under way at once, a system call for several
    IoUring,
    /// pread(2) and pwrite(2), one at a time
    Sync,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::IoUring => Self::Uring,
            EngineName::Sync => Self::Synchronous,
        }
    }
}

/// How requests reach the kernel, on this machine.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EngineOption {
    /// How requests reach the kernel: io-uring, or one at a time
    #[arg(long, value_name = "ENGINE", default_value = "io-uring")]
    pub(crate) engine: EngineName,
}

impl EngineOption {
    /// Its name, as it is said.
    pub(crate) fn name(self) -> Option<String> {
        Some(self.engine.to_possible_value()?.get_name().to_owned())
    }
}

/// Reads a size that is not zero.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Ok(0) => Err("it must not be zero".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err("expected a size such as 4k, 1M (binary) or 500MB (decimal)".to_owned()),
    }
}

/// Reads a size or position that may be zero.
pub(crate) fn offset(text: &str) -> Result<u64, String> {
    parse_size(text)
        .map_err(|_| "expected a size such as 4k, 1M (binary) or 500MB (decimal)".into())
}

/// Reads a time: `500ms`, `2s`, `1m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let millis =
        number.parse::<u64>().ok().zip(unit).and_then(|(count, unit)| count.checked_mul(unit));
    match millis {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err("expected a time such as 500ms, 2s or 1m".to_owned()),
    }
}
