//! The list of checksums of an unpacked tree: `SHA-256  SIZE  PATH` a line.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, FileContext as _};

/// Lists a folder's files.
pub(super) fn make(folder: &Path) -> Result<String, Error> {
    let mut paths = files(folder)?;
    paths.sort();
    let mut text = String::new();
    for path in paths {
        let (sum, len) = checksum(&path)?;
        let name = path.strip_prefix(folder).unwrap_or(&path).display();
        text.push_str(&format!("{sum}  {len}  {name}\n"));
    }
    Ok(text)
}

/// Compares a folder with its list; says what is wrong with which file.
pub(super) fn verify(folder: &Path, list: &str) -> Result<(), (PathBuf, String)> {
    for line in list.lines() {
        let mut fields = line.splitn(3, "  ");
        let (Some(sum), Some(len), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err((folder.to_owned(), format!("its list has the line '{line}'")));
        };
        let path = folder.join(name);
        match checksum(&path) {
            Ok((found, size)) if found == sum && size.to_string() == len => {}
            Ok((_, size)) => return Err((path, format!("another content, of {size} bytes"))),
            Err(error) => return Err((path, error.to_string())),
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let (mut found, mut todo) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).file("read", &folder)? {
            let entry = entry.file("read", &folder)?;
            let kind = entry.file_type().file("read", entry.path())?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// A file's checksum and size.
fn checksum(path: &Path) -> Result<(String, u64), Error> {
    let mut file = File::open(path).file("read", path)?;
    let (mut hash, mut len) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer).file("read", path)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        len += bytes.len() as u64;
    }
    let sum = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((sum, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_changed_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("a")).unwrap();
        fs::write(at("a/one"), "1").unwrap();
        fs::write(at("two"), "22").unwrap();
        let list = make(folder.path()).unwrap();
        assert_eq!(list.lines().count(), 2);
        verify(folder.path(), &list).unwrap();
        fs::write(at("two"), "23").unwrap();
        assert_eq!(verify(folder.path(), &list).unwrap_err().0, at("two"));
        fs::write(at("two"), "22").unwrap();
        fs::remove_file(at("a/one")).unwrap();
        assert_eq!(verify(folder.path(), &list).unwrap_err().0, at("a/one"));
        assert!(verify(folder.path(), "nonsense").is_err());
    }
}
