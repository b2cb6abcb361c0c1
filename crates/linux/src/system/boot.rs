//! The kernel's command line.

use crate::attribute::LONG;
use crate::{Failure, Tree};

pub(super) const PATH: &str = "proc/cmdline";

/// What the kernel was told at boot (`/proc/cmdline`; Documentation/admin-guide/kernel-parameters.txt).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootParameters {
    /// Name, with `-` written as `_`, and value.
    words: Vec<(String, Option<String>)>,
}

pub(super) fn read(tree: &dyn Tree) -> Result<BootParameters, Failure> {
    let file = tree.read(PATH, LONG)?;
    if file.more {
        return Err(Failure::TooLarge);
    }
    Ok(BootParameters::parse(&String::from_utf8_lossy(&file.bytes)))
}

impl BootParameters {
    /// Reads a command line: words are separated by blanks, unless within `"`; after `--` they are for
    /// init (`next_arg()` in lib/cmdline.c).
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let mut words = Vec::new();
        let mut rest = line.trim();
        while !rest.is_empty() {
            let mut quoted = false;
            let end = rest.find(|c: char| {
                quoted ^= c == '"';
                c.is_ascii_whitespace() && !quoted
            });
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after.trim_start();
            if word == "--" {
                break;
            }
            let word = word.strip_prefix('"').unwrap_or(word);
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.trim_matches('"').to_owned())),
                None => (word.trim_matches('"'), None),
            };
            words.push((name.replace('-', "_"), value));
        }
        Self { words }
    }

    /// All values that a parameter was given, in order; `None` for one without a value. Names are
    /// written with `_`.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Option<&'a str>> {
        self.words.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_deref())
    }

    /// The options of a parameter whose value is a list: `iommu=pt,strict`.
    pub fn options<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(name).flatten().flat_map(|value| value.split(','))
    }

    /// Whether addresses of ordinary devices are to pass the IOMMU as they are: the last of `iommu=pt`,
    /// `iommu=nopt` and `iommu.passthrough=` (drivers/iommu/iommu.c, arch/x86/kernel/pci-dma.c). `None` if
    /// the kernel was told neither.
    #[must_use]
    pub fn iommu_passthrough(&self) -> Option<bool> {
        let mut told = self.words.iter().rev().filter_map(|(name, value)| {
            let value = value.as_deref()?;
            match name.as_str() {
                "iommu.passthrough" => switch(value),
                "iommu" => value.split(',').rev().find_map(|option| match option {
                    "pt" => Some(true),
                    "nopt" => Some(false),
                    _ => None,
                }),
                _ => None,
            }
        });
        told.next()
    }

    /// Whether all IOMMUs are to stay off: `iommu=off`, `intel_iommu=off` or `amd_iommu=off`.
    #[must_use]
    pub fn iommu_off(&self) -> bool {
        let off = |name| self.options(name).any(|option| option == "off");
        ["iommu", "intel_iommu", "amd_iommu"].into_iter().any(off)
    }

    /// The functions at which the kernel clears ACS redirection: `pci=disable_acs_redir=`, each as it
    /// stands there, a path, an address or an identifier.
    #[must_use]
    pub fn disable_acs_redir(&self) -> Vec<&str> {
        self.of_pci("disable_acs_redir")
    }

    /// How the kernel sets ACS: `pci=config_acs=`, each `FLAGS@FUNCTION` as it stands there.
    #[must_use]
    pub fn config_acs(&self) -> Vec<&str> {
        self.of_pci("config_acs")
    }

    /// The list that an option of `pci=` has as its value, which is separated by `;`.
    fn of_pci(&self, option: &str) -> Vec<&str> {
        let value = |word: &'_ str| -> Option<usize> {
            word.strip_prefix(option)?.strip_prefix('=').map(|_| option.len() + 1)
        };
        let options = self.values("pci").flatten().flat_map(|value| value.split(','));
        let lists = options.filter_map(|word| word.get(value(word)?..));
        lists.flat_map(|list| list.split(';')).filter(|item| !item.is_empty()).collect()
    }
}

/// A value that is yes or no (`kstrtobool()` in lib/kstrtox.c).
fn switch(value: &str) -> Option<bool> {
    match value {
        "1" | "y" | "Y" | "t" | "T" | "on" | "On" | "ON" => Some(true),
        "0" | "n" | "N" | "f" | "F" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_kernel_does() {
        let boot = BootParameters::parse(
            "BOOT_IMAGE=/vmlinuz quiet nvme-core.multipath=N dyndbg=\"file a.c +p\" \
             \"x=y z\" -- init=1 iommu=pt\n",
        );
        let values = |name| boot.values(name).collect::<Vec<_>>();
        assert_eq!(values("quiet"), [None]);
        assert_eq!(values("nvme_core.multipath"), [Some("N")]);
        assert_eq!(values("dyndbg"), [Some("file a.c +p")]);
        assert_eq!(values("x"), [Some("y z")]);
        assert_eq!(values("init"), []);
        assert_eq!(boot.iommu_passthrough(), None);
        assert_eq!(BootParameters::parse(" \n"), BootParameters::default());
    }

    #[test]
    fn what_decides_about_iommu_and_acs_is_found() {
        let boot = |line: &str| BootParameters::parse(line);
        assert_eq!(boot("iommu=pt").iommu_passthrough(), Some(true));
        assert_eq!(boot("iommu.passthrough=1 iommu=nopt").iommu_passthrough(), Some(false));
        assert_eq!(boot("iommu=soft,pt").iommu_passthrough(), Some(true));
        assert!(boot("intel_iommu=off").iommu_off() && !boot("intel_iommu=on,sm_on").iommu_off());
        let boot = boot(
            "pci=nomsi,disable_acs_redir=0000:00:01.0/00.0;pci:8086:1234 \
             pci=config_acs=1111x@pci:1b36:000c;000x@0000:00:02.0,realloc",
        );
        assert_eq!(boot.disable_acs_redir(), ["0000:00:01.0/00.0", "pci:8086:1234"]);
        assert_eq!(boot.config_acs(), ["1111x@pci:1b36:000c", "000x@0000:00:02.0"]);
        assert_eq!(boot.options("pci").last(), Some("realloc"));
    }
}
