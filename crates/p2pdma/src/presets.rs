//! The machines that come with the project: the files in `topologies/`.

use p2pdma_pci::machine::{Machine, MachineError};
use p2pdma_pci::topology::IommuMode;

macro_rules! presets {
    ($($name:literal)*) => {
        /// Names and texts of all presets, in the order in which they are best understood.
        pub const ALL: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../topologies/", $name, ".toml")))),*];
    };
}

presets! {
    "default" "acs-redirect" "iommu" "iommu-open" "vfio" "two-switches" "down-trained" "no-cmb"
    "root-ports" "root-ports-allowed" "root-ports-lossy" "multi-function" "eight-ssds"
}

/// The text of a preset.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A preset's machine, with another IOMMU than its own if one is given.
///
/// # Errors
/// [`UnknownPreset`].
pub fn machine(name: &str, iommu: Option<IommuMode>) -> Result<Machine, UnknownPreset> {
    let text = text(name).ok_or_else(|| UnknownPreset::NoSuchName(name.to_owned()))?;
    Ok(Machine::parse_with(text, &format!("topologies/{name}.toml"), iommu)?)
}

/// There is no such preset.
#[derive(Debug, thiserror::Error)]
pub enum UnknownPreset {
    /// No file has this name.
    #[error("there is no machine '{0}'; there are {names}", names = names())]
    NoSuchName(String),
    /// The file is wrong: a defect of this project.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

fn names() -> String {
    ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_a_preset_under_its_own_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topologies");
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let toml = entries.filter(|path| path.extension().is_some_and(|suffix| suffix == "toml"));
        let mut files: Vec<String> =
            toml.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        files.sort();
        let mut names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(files, names);
        for name in names {
            let machine = machine(name, None).unwrap();
            assert_eq!(machine.name, name);
            assert!(!machine.about.is_empty());
        }
    }
}
