//! Kernel modules: which files, and in which order. The packages have no `modules.dep`, which is made
//! when they are installed; every module names in itself what it depends on.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::endian::LittleEndian;

use crate::error::{Error, FileContext as _};

/// A module, ready to be loaded.
#[derive(Debug)]
pub(super) struct Module {
    /// Its name, with underscores.
    pub(super) name: String,
    /// Its file, unpacked.
    pub(super) content: Vec<u8>,
}

/// The modules of these names with all that they depend on, in an order in which they can be loaded.
/// What is built into the kernel is left out. Of those that are `welcome`, others may be missing.
pub(super) fn resolve(
    folder: &Path,
    welcome: &[&str],
    names: &[String],
) -> Result<Vec<Module>, Error> {
    let mut index = Index { folder, files: BTreeMap::new(), loaded: Vec::new() };
    let all = folder.join("kernel");
    if !names.is_empty() || all.is_dir() {
        index.scan(&all)?;
    }
    let builtin = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    let builtin: Vec<String> = builtin.lines().filter_map(|line| name(Path::new(line))).collect();
    for name in welcome {
        if !index.files.contains_key(*name) {
            continue;
        }
        index.load(name, &builtin)?;
    }
    for wanted in names {
        index.load(&wanted.replace('-', "_"), &builtin)?;
    }
    Ok(index.loaded)
}

/// The name of a module by that of its file: `kernel/drivers/vfio/vfio-pci.ko.xz` is `vfio_pci`.
fn name(path: &Path) -> Option<String> {
    let file = path.file_name().and_then(OsStr::to_str)?;
    let (name, _) = file.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

struct Index<'a> {
    folder: &'a Path,
    files: BTreeMap<String, PathBuf>,
    loaded: Vec<Module>,
}

impl Index<'_> {
    fn scan(&mut self, folder: &Path) -> Result<(), Error> {
        let mut todo = vec![folder.to_owned()];
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(&folder).file("read", &folder)? {
                let path = entry.file("read", &folder)?.path();
                if path.is_dir() {
                    todo.push(path);
                } else if let Some(name) = name(&path) {
                    self.files.insert(name, path);
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, name: &str, builtin: &[String]) -> Result<(), Error> {
        if builtin.iter().any(|known| known == name)
            || self.loaded.iter().any(|module| module.name == name)
        {
            return Ok(());
        }
        let Some(path) = self.files.get(name).cloned() else {
            return Err(Error::NoModule { name: name.to_owned(), folder: self.folder.to_owned() });
        };
        let content = unpacked(&path)?;
        for needed in depends(&content) {
            self.load(&needed, builtin)?;
        }
        self.loaded.push(Module { name: name.to_owned(), content });
        Ok(())
    }
}

fn unpacked(path: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |reason: String| Error::NotForGuest { path: path.to_owned(), reason };
    match path.extension().and_then(OsStr::to_str) {
        Some("xz") => {
            let mut packed = BufReader::new(fs::File::open(path).file("read", path)?);
            let mut content = Vec::new();
            lzma_rs::xz_decompress(&mut packed, &mut content)
                .map_err(|error| wrong(format!("it cannot be unpacked ({error:?})")))?;
            Ok(content)
        }
        Some("ko") => fs::read(path).file("read", path),
        _ => Err(wrong("it is packed in a way that the lab does not know".to_owned())),
    }
}

/// The `depends=` of a module's `.modinfo` (scripts/mod/modpost.c of Linux).
fn depends(content: &[u8]) -> Vec<String> {
    let info = || {
        let file = ElfBytes::<LittleEndian>::minimal_parse(content).ok()?;
        let section = file.section_header_by_name(".modinfo").ok()??;
        Some(file.section_data(&section).ok()?.0)
    };
    let fields = info().unwrap_or_default().split(|&byte| byte == 0);
    let lists = fields.filter_map(|field| field.strip_prefix(b"depends="));
    let names = lists.flat_map(|list| list.split(|&byte| byte == b','));
    names
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_with_underscores() {
        let name = |path| super::name(Path::new(path));
        assert_eq!(name("kernel/drivers/vfio/pci/vfio-pci.ko.xz").as_deref(), Some("vfio_pci"));
        assert_eq!(name("kernel/fs/xfs/xfs.ko").as_deref(), Some("xfs"));
        assert_eq!(name("modules.order"), None);
    }

    #[test]
    fn built_in_modules_need_no_file_and_unknown_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("kernel")).unwrap();
        fs::write(folder.path().join("modules.builtin"), "kernel/drivers/nvme/host/nvme-core.ko\n")
            .unwrap();
        assert!(resolve(folder.path(), &["nvme"], &["nvme-core".to_owned()]).unwrap().is_empty());
        let error = resolve(folder.path(), &["nvme"], &["xfs".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("'xfs'"), "{error}");
    }
}
