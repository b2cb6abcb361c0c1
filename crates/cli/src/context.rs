//! What every command has: the global options, the machine they name, and somewhere to print.

use std::path::{Path, PathBuf};

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
        let name = self.global.fabric.as_str();
        let iommu = self.global.iommu.map(Into::into);
        let (text, file) = if name.contains('/') || name.ends_with(".toml") {
            let text = std::fs::read_to_string(name);
            let text = text.map_err(|error| Failure::file(Path::new(name), &error))?;
            (text, name.to_owned())
        } else {
            let text = presets::text(name).ok_or_else(|| unknown_machine(name))?;
            (text.to_owned(), format!("topologies/{name}.toml"))
        };
        Machine::parse_with(&text, &file, iommu).map_err(|error| wrong_machine(&error, &text))
    }

    fn check_platform(&self) -> Result<()> {
        let name = match self.global.platform {
            PlatformName::Auto | PlatformName::Fabric => return Ok(()),
            PlatformName::Linux => "linux",
            PlatformName::Vfio => "vfio",
        };
        let message =
            format!("the platform '{name}' is not in this version, which has the software fabric");
        Err(Failure::usage(message).remedy("leave --platform out, or say --platform fabric"))
    }

    /// Builds a machine.
    pub(crate) fn platform(&self, machine: &Machine, storage: &Storage) -> Result<FabricPlatform> {
        Ok(FabricPlatform::new(machine, storage, Allowlist::kernel())?)
    }
}

fn unknown_machine(name: &str) -> Failure {
    let names = presets::ALL.iter().map(|(name, _)| *name);
    let failure = Failure::usage(format!("there is no machine '{name}'"));
    let failure = match nearest(name, names.clone()) {
        Some(meant) => failure.remedy(format!("did you mean --fabric {meant}?")),
        None => failure.remedy(format!("for a file say --fabric ./{name}")),
    };
    let list: Vec<&str> = names.collect();
    failure.details(format!("there are: {}\n", list.join(", ")))
}

/// A machine file that is wrong: where, the line, and what was expected.
fn wrong_machine(error: &MachineError, text: &str) -> Failure {
    let line = text.lines().nth(error.position.line.saturating_sub(1)).unwrap_or_default();
    let number = error.position.line.to_string();
    let margin = " ".repeat(number.len());
    // Tabs stay tabs, so that the caret stands below its column whatever a tab is worth.
    let before = line.chars().take(error.position.column.saturating_sub(1));
    let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let details = format!("{margin} |\n{number} | {line}\n{margin} | {indent}^\n");
    Failure::new(Exit::Usage, "MACHINE", error.to_string())
        .details(details)
        .remedy("the format is described in topologies/README.md, with examples beside it")
}

/// Where namespaces keep their data.
pub(crate) fn storage(state: &State) -> Result<Storage> {
    if state.ephemeral {
        return Ok(Storage::Ephemeral);
    }
    let folder = match &state.state_dir {
        Some(folder) => folder.clone(),
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
