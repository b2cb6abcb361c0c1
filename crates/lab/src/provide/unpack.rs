//! Packages into folders.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, FileContext as _};

/// Unpacks what `keep` wants of a package into a folder. Paths that it is asked about have no leading
/// slash.
pub(super) fn unpack(
    package: &Path,
    folder: &Path,
    keep: &dyn Fn(&Path) -> bool,
) -> Result<(), Error> {
    let remedy = "install dpkg";
    let not_there = |source| Error::Program { program: "dpkg-deb".to_owned(), source, remedy };
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_there)?;
    let extracted = match child.stdout.take() {
        Some(out) => extract(&mut BufReader::with_capacity(1 << 16, out), folder, keep),
        None => Ok(()),
    };
    let output = child.wait_with_output().map_err(not_there)?;
    extracted.file("unpack", package)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Tool {
        what: format!("unpacking {}", package.display()),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        remedy: "delete the cache and run again",
    })
}

fn extract(tar: &mut dyn Read, folder: &Path, keep: &dyn Fn(&Path) -> bool) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(&mut *tar);
    archive.set_preserve_mtime(false);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = plain(&entry.path()?);
        if entry.header().entry_type().is_dir() || !keep(&path) {
            continue;
        }
        let target = folder.join(&path);
        if let Some(above) = target.parent() {
            fs::create_dir_all(above)?;
        }
        // Refuses what would lead out of the folder.
        entry.unpack_in(folder)?;
    }
    // The archive's end is padded; whoever writes it waits until that is read, too.
    std::io::copy(tar, &mut std::io::sink())?;
    Ok(())
}

/// A path without `./` in front.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}
