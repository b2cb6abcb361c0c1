//! QEMU: given, on `PATH`, or unpacked from Debian's packages and run by the dynamic linker among them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::Packages;
use super::on_path;
use super::tree::{Cache, Wanted};
use crate::Arch;
use crate::error::{Error, FileContext as _};
use crate::observe::Observer;

/// The oldest version that serves.
const OLDEST: (u32, u32) = (10, 0);
const OLDEST_TEXT: &str = "10.0";

/// A QEMU that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    path: PathBuf,
    version: String,
    /// The unpacked packages that it is one of.
    tree: Option<Tree>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tree {
    linker: PathBuf,
    libraries: PathBuf,
    share: PathBuf,
}

impl Qemu {
    /// The one at this path.
    pub(super) fn given(path: &Path) -> Result<Self, Error> {
        let mut qemu = Self { path: path.to_owned(), version: String::new(), tree: None };
        let version = qemu.ask()?;
        qemu.version = version;
        Ok(qemu)
    }

    /// The one on `PATH`, if it is new enough.
    pub(super) fn on_path(arch: Arch) -> Option<Self> {
        Self::given(&on_path(arch.qemu())?).ok()
    }

    /// Where the program is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version: `11.1.3`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The command that runs it, without arguments of the caller's.
    #[must_use]
    pub fn command(&self) -> Command {
        let Some(tree) = &self.tree else {
            return Command::new(&self.path);
        };
        let mut command = Command::new(&tree.linker);
        let name = self.path.file_name().unwrap_or_default();
        command.arg("--library-path").arg(&tree.libraries).arg("--argv0").arg(name);
        command.arg(&self.path);
        command.env("QEMU_MODULE_DIR", tree.libraries.join("qemu"));
        for folder in ["qemu", "seabios", "opensbi"] {
            command.arg("-L").arg(tree.share.join(folder));
        }
        command
    }

    /// Its version, if it starts and is new enough.
    fn ask(&self) -> Result<String, Error> {
        let program = self.path.display().to_string();
        let remedy = "give a QEMU of version 10.0 or later with --qemu";
        let output = self.command().arg("--version").output().map_err(|source| Error::Program {
            program: program.clone(),
            source,
            remedy,
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(version) = version(&text).filter(|_| output.status.success()) else {
            return Err(Error::Tool {
                what: format!("{program} --version"),
                status: output.status,
                output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                remedy,
            });
        };
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
            let (path, found) = (self.path.clone(), version.to_owned());
            return Err(Error::OldQemu { path, found, needed: OLDEST_TEXT });
        }
        Ok(version.to_owned())
    }
}

/// `QEMU emulator version 11.1.3 (Debian …)`
fn version(text: &str) -> Option<&str> {
    text.split_once("version ")?.1.split_whitespace().next()
}

/// Unpacks it, once.
pub(super) fn from_packages(
    cache: &Cache,
    guest: Arch,
    observer: &mut dyn Observer,
) -> Result<Qemu, Error> {
    let host = Arch::of_host().ok_or(Error::HostArch(std::env::consts::ARCH))?;
    let package = match guest {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Aarch64 => "qemu-system-arm",
        Arch::Riscv64 => "qemu-system-riscv",
    };
    let wanted = Wanted {
        what: "QEMU".to_owned(),
        name: format!("qemu-{guest}-on-{host}"),
        arch: host,
        second: None,
        option: "--qemu",
        resolve: &|_| Ok(Packages { whole: vec![package.to_owned()], ..Packages::default() }),
        keep: &|_, path| keep(path, guest),
    };
    let tree = cache.tree(&wanted, observer)?;
    let libraries = tree.join("usr/lib").join(format!("{host}-linux-gnu"));
    let mut qemu = Qemu {
        path: tree.join("usr/bin").join(guest.qemu()),
        version: String::new(),
        tree: Some(Tree {
            linker: linker(&libraries, &tree.join("usr/lib"))?,
            libraries,
            share: tree.join("usr/share"),
        }),
    };
    let version = qemu.ask()?;
    qemu.version = version;
    Ok(qemu)
}

/// The dynamic linker, by whatever name the architecture gives it.
pub(super) fn linker(libraries: &Path, above: &Path) -> Result<PathBuf, Error> {
    for folder in [libraries, above] {
        for entry in fs::read_dir(folder).file("read", folder)? {
            let path = entry.file("read", folder)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("ld-linux-") {
                return Ok(path);
            }
        }
    }
    Err(Error::NotInPackage {
        what: "a dynamic linker".to_owned(),
        packages: "of QEMU".to_owned(),
        option: "--qemu",
    })
}

/// What is kept of the packages: the one emulator, libraries, firmware. Documentation, other emulators
/// and the programs of other packages are most of them.
fn keep(path: &Path, guest: Arch) -> bool {
    let path = path.to_string_lossy();
    let emulator = format!("usr/bin/{}", guest.qemu());
    // Debian keeps the program under its own name for the architecture, and a link.
    let alias = format!("usr/bin/qemu-system-{}", guest.debian());
    let share = ["usr/share/qemu/", "usr/share/seabios/", "usr/share/opensbi/", "usr/lib/riscv64"];
    let libraries = path.strip_prefix("usr/lib/").and_then(|rest| rest.split_once('/'));
    *path == emulator
        || *path == alias
        || share.iter().any(|folder| path.starts_with(folder))
        || libraries.is_some_and(|(folder, file)| {
            folder.ends_with("-linux-gnu") && (file.contains(".so") || file.starts_with("qemu/"))
        })
        || path.starts_with("usr/lib/ld-linux-")
        || path.starts_with("usr/lib/ipxe/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_the_path_without_a_program_is_an_error() {
        assert_eq!(version("QEMU emulator version 11.1.3 (Debian 1:11)\n"), Some("11.1.3"));
        assert_eq!(version("something else"), None);
        let error = Qemu::given(Path::new("/nowhere/qemu")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/qemu") && error.contains("--qemu"), "{error}");
    }

    #[test]
    fn only_the_emulator_libraries_and_firmware_are_kept() {
        let keep = |path| super::keep(Path::new(path), Arch::X86_64);
        assert!(keep("usr/bin/qemu-system-x86_64"));
        assert!(keep("usr/lib/x86_64-linux-gnu/libglib-2.0.so.0"));
        assert!(keep("usr/share/seabios/bios-256k.bin"));
        assert!(!keep("usr/bin/qemu-system-i386"));
        assert!(!keep("usr/share/doc/qemu-system-x86/copyright"));
        assert!(!keep("etc/passwd"));
    }
}
