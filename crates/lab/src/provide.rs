//! QEMU, a kernel and busybox: given, found, or fetched from Debian's archive.
//!
//! Nothing is installed and nobody needs to be root. Packages are fetched with apt, by a state of its
//! own in the cache, from the mirror that this machine's apt is set up with; apt checks them with the
//! archive's keys. They are unpacked into the cache with a list of checksums, by which every later run
//! checks what it uses. What is in the cache stays until it is asked for anew ([`Options::refresh`]).

mod apt;
mod kernel;
mod manifest;
mod package;
mod qemu;
mod toolchain;
mod tree;
mod unpack;

use std::path::{Path, PathBuf};

pub(crate) use package::{PROGRAMS as PACKAGE_PROGRAMS, Package};
pub use qemu::Qemu;
pub use toolchain::Toolchain;

use crate::Arch;
use crate::error::Error;
use crate::guest::is_static;
use crate::observe::Observer;

use tree::Cache;

/// What the lab is given, and what it may do for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The guest's architecture.
    pub arch: Arch,
    /// The cache; by default `p2pdma/lab` in `XDG_CACHE_HOME`, or in `~/.cache`.
    pub cache: Option<PathBuf>,
    /// A kernel to boot instead of Debian's.
    pub kernel: Option<PathBuf>,
    /// The folder of its modules, with `kernel/` and `modules.builtin` in it; by default that of the
    /// kernel, if it has these.
    pub modules: Option<PathBuf>,
    /// A QEMU to use instead of the one on `PATH` or Debian's.
    pub qemu: Option<PathBuf>,
    /// A static busybox for the guest instead of Debian's.
    pub busybox: Option<PathBuf>,
    /// Whether nothing may be fetched.
    pub offline: bool,
    /// Whether packages are looked up anew, although some are in the cache.
    pub refresh: bool,
}

impl Options {
    /// Nothing is given, and everything may be fetched.
    #[must_use]
    pub const fn new(arch: Arch) -> Self {
        Self {
            arch,
            cache: None,
            kernel: None,
            modules: None,
            qemu: None,
            busybox: None,
            offline: false,
            refresh: false,
        }
    }

    /// Finds or fetches everything.
    ///
    /// # Errors
    /// [`Error`], with what to do about it: mostly no network, or no Debian archive.
    pub fn provide(&self, observer: &mut dyn Observer) -> Result<Provisions, Error> {
        let cache = Cache::open(self)?;
        let qemu = self.qemu(&cache, observer)?;
        let (kernel, modules, busybox) = match &self.kernel {
            Some(kernel) => {
                let modules = self.modules.clone().or_else(|| kernel::modules_beside(kernel));
                (kernel.clone(), modules, self.busybox(&cache, observer)?)
            }
            None => {
                let found = kernel::from_packages(&cache, self.arch, observer)?;
                let busybox = self.busybox.clone().unwrap_or(found.busybox);
                (found.kernel, Some(found.modules), busybox)
            }
        };
        for path in [&kernel, &busybox] {
            std::fs::File::open(path).map_err(|source| Error::File {
                action: "read",
                path: path.clone(),
                source,
            })?;
        }
        Ok(Provisions { arch: self.arch, kernel, modules, busybox, qemu, cache })
    }

    /// Finds or fetches a compiler for the guest's architecture, which runs on this machine.
    ///
    /// # Errors
    /// [`Error`], as [`Options::provide`].
    pub fn toolchain(&self, observer: &mut dyn Observer) -> Result<Toolchain, Error> {
        toolchain::from_packages(&Cache::open(self)?, self.arch, observer)
    }

    fn qemu(&self, cache: &Cache, observer: &mut dyn Observer) -> Result<Qemu, Error> {
        if let Some(path) = &self.qemu {
            return Qemu::given(path);
        }
        match Qemu::on_path(self.arch) {
            Some(found) => Ok(found),
            None => qemu::from_packages(cache, self.arch, observer),
        }
    }

    fn busybox(&self, cache: &Cache, observer: &mut dyn Observer) -> Result<PathBuf, Error> {
        if let Some(path) = &self.busybox {
            return Ok(path.clone());
        }
        match on_path("busybox").filter(|path| is_static(path, self.arch)) {
            Some(path) => Ok(path),
            None => kernel::busybox_from_packages(cache, self.arch, observer),
        }
    }
}

/// A program on `PATH`.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What a guest is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisions {
    arch: Arch,
    kernel: PathBuf,
    modules: Option<PathBuf>,
    busybox: PathBuf,
    qemu: Qemu,
    cache: Cache,
}

impl Provisions {
    /// The guest's architecture.
    #[must_use]
    pub const fn arch(&self) -> Arch {
        self.arch
    }

    /// The kernel's image.
    #[must_use]
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// The folder of its modules, if there are any.
    #[must_use]
    pub fn modules(&self) -> Option<&Path> {
        self.modules.as_deref()
    }

    /// The guest's busybox.
    #[must_use]
    pub fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// QEMU.
    #[must_use]
    pub const fn qemu(&self) -> &Qemu {
        &self.qemu
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &Path {
        self.cache.folder()
    }

    /// Packages for a guest, fetched if they are not in the cache.
    pub(crate) fn packages(
        &self,
        names: &[String],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Package>, Error> {
        let fetch = |name: &String| Package::fetch(&self.cache, self.arch, name, &mut *observer);
        names.iter().map(fetch).collect()
    }
}
