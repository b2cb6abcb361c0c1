//! Programs of Debian packages in the guest: each is started by the dynamic linker of its own packages,
//! so that it does not matter which C library the other programs there have.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _};
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::initramfs::{EXECUTABLE, PROGRAMS};
use super::libraries::Shelf;
use crate::Arch;
use crate::error::{Error, FileContext as _};
use crate::provide::{PACKAGE_PROGRAMS, Package};

/// Where packages are in the guest; a folder each.
const PACKAGES: &str = "/packages";

/// Adds a package's programs, with the libraries that they need.
pub(super) fn write(
    archive: &mut Archive<BufWriter<File>>,
    package: &Package,
    arch: Arch,
) -> Result<(), Error> {
    let shelf = Shelf::of_tree(&package.tree, arch)?;
    let own = format!("{PACKAGES}/{}", package.name);
    for path in programs(package)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let source = path.canonicalize().file("read", &path)?;
        let needed = shelf.needed_by(&source)?;
        let target = format!("{PROGRAMS}/{name}");
        let Some((_, linker)) = needed.interpreter else {
            archive.copy(&target, EXECUTABLE, &source).file("read", &source)?;
            continue;
        };
        for (library, source) in needed.needed {
            let target = format!("{own}/lib/{library}");
            archive.copy(&target, EXECUTABLE, &source).file("read", &source)?;
        }
        let file = source.file_name().unwrap_or_default().to_string_lossy();
        archive.copy(&format!("{own}/ld.so"), EXECUTABLE, &linker).file("read", &linker)?;
        archive.copy(&format!("{own}/bin/{file}"), EXECUTABLE, &source).file("read", &source)?;
        let starter = format!(
            "#!/bin/busybox sh\nexec {own}/ld.so --library-path {own}/lib --argv0 {name} \
             {own}/bin/{file} \"$@\"\n"
        );
        archive.bytes(&target, EXECUTABLE, starter.as_bytes()).file("write", &target)?;
    }
    Ok(())
}

/// What a package has in its folders of programs: programs, scripts, and links to them. A link to what
/// another package has leads nowhere.
fn programs(package: &Package) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for folder in PACKAGE_PROGRAMS.map(|folder| package.tree.join(folder)) {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).file("read", &folder)? {
            let path = entry.file("read", &folder)?.path();
            if path.is_file() && is_program(&path).file("read", &path)? {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_program(path: &Path) -> std::io::Result<bool> {
    let mut begin = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut begin)?;
    Ok(begin == b"\x7fELF" || begin.starts_with(b"#!"))
}
