//! How the kernel was built.

use std::fmt;

use p2pdma_pci::topology::{Cause, Known};

use crate::{Failure, Tree};

/// The options that are looked for; the rest of a configuration is neither read nor captured.
const OPTIONS: [&str; 14] = [
    "CONFIG_PCI_P2PDMA",
    "CONFIG_ZONE_DEVICE",
    "CONFIG_BLK_DEV_NVME",
    "CONFIG_NVME_MULTIPATH",
    "CONFIG_NVME_TARGET",
    "CONFIG_INTEL_IOMMU",
    "CONFIG_AMD_IOMMU",
    "CONFIG_ARM_SMMU_V3",
    "CONFIG_IOMMU_DEFAULT_PASSTHROUGH",
    "CONFIG_IOMMU_DEFAULT_DMA_LAZY",
    "CONFIG_IOMMU_DEFAULT_DMA_STRICT",
    "CONFIG_VFIO_PCI",
    "CONFIG_VFIO_PCI_DMABUF",
    "CONFIG_PCIEPORTBUS",
];

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `y`: built in.
    BuiltIn,
    /// `m`: a module.
    Module,
    /// `is not set`.
    Off,
    /// Another value.
    Other(String),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("y"),
            Self::Module => f.write_str("m"),
            Self::Off => f.write_str("is not set"),
            Self::Other(value) => f.write_str(value),
        }
    }
}

/// A kernel's configuration, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelConfig {
    /// The file that it was read from.
    pub source: String,
    settings: Vec<(String, Setting)>,
}

impl KernelConfig {
    /// What an option is set to, by its name without `CONFIG_`. An option that the file does not mention
    /// cannot be set in this kernel (its dependencies are off, or it does not exist yet).
    #[must_use]
    pub fn setting(&self, option: &str) -> Option<&Setting> {
        let is = |name: &str| name.strip_prefix("CONFIG_") == Some(option);
        self.settings.iter().find(|(name, _)| is(name)).map(|(_, setting)| setting)
    }

    /// Whether an option is on, built in or as a module.
    #[must_use]
    pub fn is_on(&self, option: &str) -> bool {
        matches!(self.setting(option), Some(Setting::BuiltIn | Setting::Module))
    }

    fn of(source: &str, lines: &[String]) -> Self {
        let settings = lines.iter().filter_map(|line| setting(line.trim_end())).collect();
        Self { source: source.to_owned(), settings }
    }
}

fn setting(line: &str) -> Option<(String, Setting)> {
    if let Some(name) = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set")) {
        return Some((name.to_owned(), Setting::Off));
    }
    let (name, value) = line.split_once('=')?;
    if !name.starts_with("CONFIG_") {
        return None;
    }
    let setting = match value {
        "y" => Setting::BuiltIn,
        "m" => Setting::Module,
        "n" => Setting::Off,
        other => Setting::Other(other.to_owned()),
    };
    Some((name.to_owned(), setting))
}

/// Reads the configuration where the kernel itself or the distribution keeps it.
pub(super) fn read(tree: &dyn Tree, release: Option<&str>) -> Known<KernelConfig> {
    let mut places = vec!["proc/config.gz".to_owned()];
    // A release is one name in a path, and not more.
    if let Some(release) = release.filter(|text| !text.contains('/') && !text.contains("..")) {
        places.push(format!("boot/config-{release}"));
        places.push(format!("usr/lib/modules/{release}/config"));
        places.push(format!("lib/modules/{release}/config"));
    }
    let mut cause = Cause::Unreadable;
    for place in places {
        match tree.lines(&place, &OPTIONS) {
            // A configuration without any of the options is none.
            Ok(lines) if !lines.is_empty() => {
                return Known::Value(KernelConfig::of(&place, &lines));
            }
            Ok(_) | Err(Failure::Missing) => {}
            Err(failure) => cause = failure.cause(),
        }
    }
    Known::Unknown(cause)
}

/// The kernel's symbols: those that a kernel with peer-to-peer DMA has, and every kernel with PCI.
pub(crate) const SYMBOLS: &str = "proc/kallsyms";
const P2PDMA: &str = " pci_p2pdma_add_resource";
const PCI: &str = " pci_enable_device";

/// Whether a kernel whose configuration nobody keeps has peer-to-peer DMA, by its symbols.
pub(super) fn has_p2pdma(tree: &dyn Tree) -> Known<bool> {
    match tree.lines(SYMBOLS, &[P2PDMA, PCI]) {
        Ok(lines) if lines.iter().any(|line| line.ends_with(P2PDMA)) => Known::Value(true),
        Ok(lines) if lines.iter().any(|line| line.ends_with(PCI)) => Known::Value(false),
        Ok(_) | Err(Failure::Missing) => Known::Unknown(Cause::Unreadable),
        Err(failure) => Known::Unknown(failure.cause()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let lines =
            ["CONFIG_PCI_P2PDMA=y", "# CONFIG_VFIO_PCI is not set", "CONFIG_NVME_TARGET=m\r"];
        let config = KernelConfig::of("x", &lines.map(str::to_owned));
        assert!(config.is_on("PCI_P2PDMA") && config.is_on("NVME_TARGET"));
        assert_eq!(config.setting("VFIO_PCI"), Some(&Setting::Off));
        assert_eq!(config.setting("VFIO_PCI_DMABUF"), None);
        assert!(!config.is_on("VFIO_PCI_DMABUF"));
        assert_eq!(setting("CONFIG_X=\"a b\"").unwrap().1.to_string(), "\"a b\"");
        assert_eq!(setting("garbage"), None);
    }
}
