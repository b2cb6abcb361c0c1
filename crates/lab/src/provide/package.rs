//! Debian packages whose programs go into a guest.

use std::path::{Path, PathBuf};

use super::apt::Packages;
use super::tree::{Cache, Wanted};
use crate::Arch;
use crate::error::Error;
use crate::observe::Observer;

/// Where packages have programs.
pub(crate) const PROGRAMS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];
/// Where they have libraries, in folders of these.
const LIBRARIES: [&str; 3] = ["usr/lib", "lib", "lib64"];

/// An unpacked package: its programs, and the libraries of all that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) tree: PathBuf,
}

impl Package {
    /// Unpacks it, once.
    pub(super) fn fetch(
        cache: &Cache,
        arch: Arch,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::PackageName { name: name.to_owned() });
        }
        let wanted = Wanted {
            what: format!("the package {name}"),
            name: format!("package-{name}-{arch}"),
            arch,
            second: None,
            option: "its programs with --bring",
            resolve: &|apt| match apt.names(name)?.iter().any(|known| known == name) {
                true => Ok(Packages { whole: vec![name.to_owned()], ..Packages::default() }),
                false => Err(Error::NoPackage {
                    package: name.to_owned(),
                    suite: apt.suites().join(" and "),
                    option: "another name, or its programs with --bring",
                }),
            },
            keep: &|package, path| keep(name, package, path),
        };
        let tree = cache.tree(&wanted, observer)?;
        Ok(Self { name: name.to_owned(), tree })
    }
}

/// Debian Policy §5.6.1.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let rest = |byte: u8| plain(byte) || b"+-.".contains(&byte);
    name.len() >= 2 && name.bytes().all(rest) && name.bytes().next().is_some_and(plain)
}

fn keep(wanted: &str, package: &str, path: &Path) -> bool {
    let Some(folder) = path.parent() else { return false };
    let below = |all: &[&str]| all.iter().any(|one| folder.starts_with(one));
    let is_library = || path.file_name().is_some_and(|file| file.to_string_lossy().contains(".so"));
    let is_python = || folder.components().any(|part| part.as_os_str() == "lib-dynload");
    match below(&PROGRAMS) {
        true => package == wanted,
        false => below(&LIBRARIES) && is_library() && !is_python(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_packages_are_known_before_anything_is_fetched() {
        for name in ["fio", "e2fsprogs", "libstdc++6", "g++", "0ad"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "x", "-o", "../up", "a/b", "Fio", "fio=1", "+x", "a b"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn its_programs_and_everybody_s_libraries_are_kept() {
        let keep = |package, path| super::keep("fio", package, Path::new(path));
        assert!(keep("fio", "usr/bin/fio"));
        assert!(!keep("tar", "usr/bin/tar"));
        assert!(keep("libc6", "usr/lib/x86_64-linux-gnu/libc.so.6"));
        assert!(keep("libc6", "lib64/ld-linux-x86-64.so.2"));
        assert!(!keep("libc6", "usr/share/doc/libc.so"));
        assert!(!keep("python", "usr/lib/python3.13/lib-dynload/_ssl.so"));
        assert!(!keep("fio", "etc/fio"));
    }
}
