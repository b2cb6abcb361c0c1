//! The cache: unpacked packages, each kind in a folder, with a file that names the tree in use.
//!
//! `NAME/current` has the name of a tree; `NAME/TREE` is it, `NAME/TREE.list` its checksums. A tree is
//! complete before its name is written, and is never changed after that, so readers need no lock; who
//! fills the cache holds one.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::apt::{Apt, Packages};
use super::{Options, manifest, unpack};
use crate::Arch;
use crate::error::{Error, FileContext as _};
use crate::observe::{Observer, Step};

/// What is wanted of Debian's archive.
pub(super) struct Wanted<'a> {
    /// What it is to people.
    pub(super) what: String,
    /// The folder's name.
    pub(super) name: String,
    /// The packages' architecture.
    pub(super) arch: Arch,
    /// That of some of them.
    pub(super) second: Option<Arch>,
    /// The option that gives it instead.
    pub(super) option: &'static str,
    /// The packages.
    pub(super) resolve: &'a dyn Fn(&Apt) -> Result<Packages, Error>,
    /// What is kept of them, by a package's name and a path in it.
    pub(super) keep: &'a dyn Fn(&str, &Path) -> bool,
}

/// The cache's folder, and whether it may be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cache {
    folder: PathBuf,
    offline: bool,
    refresh: bool,
}

impl Cache {
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        let folder = match &options.cache {
            Some(folder) => folder.clone(),
            None => default_folder().ok_or(Error::NoCacheFolder)?,
        };
        fs::create_dir_all(&folder).file("create", &folder)?;
        let folder = folder.canonicalize().file("read", &folder)?;
        Ok(Self { folder, offline: options.offline, refresh: options.refresh })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The tree that has what is wanted; fetched if it is not there, or not what it was.
    pub(super) fn tree(
        &self,
        wanted: &Wanted<'_>,
        observer: &mut dyn Observer,
    ) -> Result<PathBuf, Error> {
        if !self.refresh
            && let Some(tree) = self.current(wanted)?
        {
            return Ok(tree);
        }
        if self.offline {
            return Err(Error::Offline {
                what: wanted.what.clone(),
                cache: self.folder.clone(),
                option: wanted.option,
            });
        }
        let _lock = self.lock(observer)?;
        // Somebody else may have fetched it meanwhile.
        if !self.refresh
            && let Some(tree) = self.current(wanted)?
        {
            return Ok(tree);
        }
        self.fetch(wanted, observer)
    }

    /// The tree in use, if there is one and it is what was put there.
    fn current(&self, wanted: &Wanted<'_>) -> Result<Option<PathBuf>, Error> {
        let folder = self.folder.join(&wanted.name);
        let Ok(name) = fs::read_to_string(folder.join("current")) else {
            return Ok(None);
        };
        let tree = folder.join(name.trim());
        let list = fs::read_to_string(list_of(&tree)).unwrap_or_default();
        match manifest::verify(&tree, &list) {
            Ok(()) if !list.is_empty() => Ok(Some(tree)),
            Err((path, what)) if self.offline => Err(Error::Damaged { path, what, folder }),
            _ => Ok(None),
        }
    }

    /// The lock on filling the cache; it lasts as long as the file is open.
    fn lock(&self, observer: &mut dyn Observer) -> Result<File, Error> {
        let path = self.folder.join("lock");
        let file = File::options().create(true).append(true).open(&path).file("create", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                observer.step(&Step::Waiting);
                file.lock().file("lock", &path)?;
            }
            Err(TryLockError::Error(source)) => {
                return Err(Error::File { action: "lock", path, source });
            }
        }
        Ok(file)
    }

    fn fetch(&self, wanted: &Wanted<'_>, observer: &mut dyn Observer) -> Result<PathBuf, Error> {
        let second = wanted.second.map_or_else(String::new, |arch| format!("-{arch}"));
        let state = self.folder.join(format!("apt-{}{second}", wanted.arch));
        let apt = Apt::open(&state, wanted.arch, wanted.second, observer)?;
        let packages = (wanted.resolve)(&apt)?;
        let mut files = apt.fetch(&packages, &wanted.what, observer)?;
        files.sort();
        observer.step(&Step::Unpack { what: wanted.what.clone() });
        let folder = self.folder.join(&wanted.name);
        fs::create_dir_all(&folder).file("create", &folder)?;
        let work = tempfile::Builder::new()
            .prefix("unpacking-")
            .tempdir_in(&folder)
            .file("create", &folder)?;
        for file in &files {
            let package = name_of(file);
            unpack::unpack(file, work.path(), &|path| (wanted.keep)(&package, path))?;
        }
        let list = manifest::make(work.path())?;
        let name = tree_name(&list);
        let tree = folder.join(&name);
        // One of this name that is not in use is damaged.
        remove(&tree)?;
        fs::rename(work.keep(), &tree).file("create", &tree)?;
        let list_file = list_of(&tree);
        fs::write(&list_file, &list).file("write", list_file)?;
        let new = folder.join("current.new");
        fs::write(&new, &name).file("write", &new)?;
        fs::rename(&new, folder.join("current")).file("write", folder.join("current"))?;
        // The packages and lists have served.
        remove(&state.join("archives"))?;
        Ok(tree)
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
    .file("delete", path)
}

/// The name of the package in a file: `fio_3.39-1_amd64.deb` has `fio`.
fn name_of(file: &Path) -> String {
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    file.split('_').next().unwrap_or_default().to_owned()
}

fn list_of(tree: &Path) -> PathBuf {
    tree.with_extension("list")
}

/// A tree is named by its content, so that what is the same has one place.
fn tree_name(list: &str) -> String {
    let hash = Sha256::digest(list.as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `p2pdma/lab` where this user's caches are.
fn default_folder() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("p2pdma").join("lab"))
}
