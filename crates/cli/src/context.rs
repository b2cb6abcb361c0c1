//! What every command has: the global options, the machine they name, and somewhere to print.

use std::path::{Path, PathBuf};

use p2pdma::lists::UserLists;
use p2pdma::machine::{Machine, MachineError};
use p2pdma::topology::Allowlist;
use p2pdma::{FabricPlatform, Storage, nearest, presets};

use crate::args::{Global, PlatformName, State};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// What every command has.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) out: Output,
}

impl Context {
    /// The machine that `--fabric` and `--iommu` name.
    pub(crate) fn machine(&self) -> Result<Machine> {
        self.check_platform()?;
        self.machine_of("--fabric", self.global.machine_name())
    }

    /// A machine by its name or file, as `option` was given it, with the IOMMU that `--iommu` names.
    pub(crate) fn machine_of(&self, option: &str, name: &str) -> Result<Machine> {
        let iommu = self.global.iommu.map(Into::into);
        let (text, file) = if name.contains('/') || name.ends_with(".toml") {
            (read(name)?, name.to_owned())
        } else {
            let text = presets::text(name).ok_or_else(|| unknown_machine(option, name))?;
            (text.to_owned(), format!("topologies/{name}.toml"))
        };
        Machine::parse_with(&text, &file, iommu).map_err(|error| wrong_machine(&error, &text))
    }

    /// The platform that `--platform` names must be one that moves data.
    pub(crate) fn check_platform(&self) -> Result<()> {
        if self.global.from.is_some() {
            return Err(Failure::usage("no data can be moved in a capture")
                .remedy("--from is for topo and doctor"));
        }
        let other = match self.global.platform {
            PlatformName::Auto | PlatformName::Fabric => return Ok(()),
            PlatformName::Linux => "linux",
            PlatformName::Vfio => "vfio",
        };
        Err(Failure::usage(format!("this is of the software fabric, and not of '{other}'"))
            .remedy("leave --platform out, or say --platform fabric"))
    }

    /// The kernel's list of host bridges, with what `--host-bridges` adds.
    pub(crate) fn allowlist(&self) -> Result<Allowlist> {
        let mut list = Allowlist::kernel();
        if let Some(path) = &self.global.host_bridges {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::file(path, &error)
                    .or_remedy("docs/guide/linux.md shows the format of such a list")
            })?;
            let added = UserLists::parse(&text, &name).map_err(|error| {
                Failure::new(Exit::Usage, "HOST-BRIDGES", error.to_string())
                    .remedy("docs/guide/linux.md shows the format")
            })?;
            added.add_to(&mut list);
        }
        Ok(list)
    }

    /// Builds a machine.
    pub(crate) fn platform(&self, machine: &Machine, storage: &Storage) -> Result<FabricPlatform> {
        FabricPlatform::new(machine, storage, self.allowlist()?).map_err(|error| {
            let failure = Failure::from(error);
            match (storage, failure.exit()) {
                (Storage::Folder(_), Exit::Permission) => failure.remedy(KEPT_THERE),
                (Storage::Folder(_), Exit::Io) => failure.or_remedy(KEPT_THERE),
                _ => failure,
            }
        })
    }
}

/// Refuses options of the fabric beside one of another platform.
pub(crate) fn only_fabric(option: &str, global: &Global) -> Result<()> {
    let other = match (&global.fabric, global.iommu) {
        (Some(_), _) => "--fabric",
        (None, Some(_)) => "--iommu",
        (None, None) => return Ok(()),
    };
    Err(Failure::usage(format!("{other} is of the software fabric, and {option} is not"))
        .remedy("leave one of the two out"))
}

/// A machine file's text.
fn read(name: &str) -> Result<String> {
    let bytes = std::fs::read(name).map_err(|error| {
        Failure::file(Path::new(name), &error)
            .or_remedy("'p2pdma topo --list' lists the machines that come with the command")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let before = String::from_utf8_lossy(before);
        let line = before.split('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let message = format!("{name}:{line}:{column}: expected UTF-8 text");
        Failure::new(Exit::Usage, "MACHINE", message).remedy(FORMAT)
    })
}

const KEPT_THERE: &str = "the data of namespaces are kept there: name another folder with --state-dir, or \
                          say --ephemeral";

const FORMAT: &str =
    "'p2pdma topo --source' prints an example, docs/guide/machines.md tells about the format";

fn unknown_machine(option: &str, name: &str) -> Failure {
    let names = presets::ALL.iter().map(|(name, _)| *name);
    let failure = Failure::usage(format!("there is no machine '{name}'"));
    let failure = match nearest(name, names.clone()) {
        Some(meant) => failure.remedy(format!("did you mean {option} {meant}?")),
        None => failure.remedy(format!("for a file say {option} ./{name}")),
    };
    let list: Vec<&str> = names.collect();
    failure.details(format!("there are: {}\n", list.join(", ")))
}

/// A machine file that is wrong: where, the line, and what was expected.
fn wrong_machine(error: &MachineError, text: &str) -> Failure {
    let line = text.lines().nth(error.position.line.saturating_sub(1)).unwrap_or_default();
    let (line, column) = around(line, error.position.column.saturating_sub(1));
    let number = error.position.line.to_string();
    let margin = " ".repeat(number.len());
    // Tabs stay tabs, so that the caret stands below its column whatever a tab is worth.
    let indent: String =
        line.chars().take(column).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let details = format!("{margin} |\n{number} | {line}\n{margin} | {indent}^\n");
    Failure::new(Exit::Usage, "MACHINE", error.to_string()).details(details).remedy(FORMAT)
}

/// The part of a line around a column, where the line is too long to be shown, and the column in that part.
fn around(line: &str, column: usize) -> (String, usize) {
    const SHOWN: usize = 120;
    const CUT: &str = "...";
    let len = line.chars().count();
    if len <= SHOWN {
        return (line.to_owned(), column);
    }
    let from = column.saturating_sub(SHOWN / 2);
    let part: String = line.chars().skip(from).take(SHOWN).collect();
    let before = if from > 0 { CUT } else { "" };
    let behind = if from + SHOWN < len { CUT } else { "" };
    (format!("{before}{part}{behind}"), column - from + before.len())
}

/// Where namespaces keep their data.
pub(crate) fn storage(state: &State) -> Result<Storage> {
    if state.ephemeral {
        return Ok(Storage::Ephemeral);
    }
    let set = || std::env::var_os("P2PDMA_STATE").filter(|value| !value.is_empty());
    let folder = match state.state_dir.clone().or_else(|| set().map(PathBuf::from)) {
        Some(folder) => folder,
        None => default_folder()?,
    };
    Ok(Storage::Folder(folder))
}

fn default_folder() -> Result<PathBuf> {
    // A relative path in either is to be ignored (XDG Base Directory Specification 0.8).
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    base.map(|base| base.join("p2pdma")).ok_or_else(|| {
        Failure::usage("there is no home folder to keep the data of namespaces in")
            .remedy("say --state-dir DIR, or --ephemeral")
    })
}
