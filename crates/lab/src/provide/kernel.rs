//! Debian's kernel, its modules, and busybox.

use std::fs;
use std::path::{Path, PathBuf};

use super::apt::{Apt, Packages};
use super::tree::{Cache, Wanted};
use crate::Arch;
use crate::error::{Error, FileContext as _};
use crate::observe::Observer;

/// The beginning of the names of packages with a kernel's image. Where Debian signs kernels for secure
/// boot there is the signed one, too, a day later.
const fn image(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 | Arch::Aarch64 => "linux-binary-unsigned-",
        Arch::Riscv64 => "linux-binary-",
    }
}

const MODULES: &str = "linux-modules-";
const BUSYBOX: &str = "busybox-static";

/// What the packages hold.
pub(super) struct Found {
    pub(super) kernel: PathBuf,
    pub(super) modules: PathBuf,
    pub(super) busybox: PathBuf,
}

/// Unpacks the newest kernel that Debian has, once.
pub(super) fn from_packages(
    cache: &Cache,
    arch: Arch,
    observer: &mut dyn Observer,
) -> Result<Found, Error> {
    let wanted = Wanted {
        what: "the kernel".to_owned(),
        name: format!("kernel-{arch}"),
        arch,
        second: None,
        option: "--kernel",
        resolve: &|apt| packages(apt, arch),
        keep: &|_, path| path.starts_with("usr/lib/modules") || is_busybox(path),
    };
    let tree = cache.tree(&wanted, observer)?;
    let all = tree.join("usr/lib/modules");
    let missing = |what: &str| Error::NotInPackage {
        what: what.to_owned(),
        packages: format!("{}*, {MODULES}*", image(arch)),
        option: "--kernel",
    };
    let modules = entries(&all)?.into_iter().next().ok_or_else(|| missing("a module folder"))?;
    let is_image = |path: &PathBuf| {
        path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinu"))
    };
    let kernel = entries(&modules)?.into_iter().find(is_image).ok_or_else(|| missing("vmlinuz"))?;
    Ok(Found { kernel, modules, busybox: busybox(&tree) })
}

/// Unpacks busybox alone, once: for a kernel that was given.
pub(super) fn busybox_from_packages(
    cache: &Cache,
    arch: Arch,
    observer: &mut dyn Observer,
) -> Result<PathBuf, Error> {
    let wanted = Wanted {
        what: "busybox".to_owned(),
        name: format!("busybox-{arch}"),
        arch,
        second: None,
        option: "--busybox",
        resolve: &|_| Ok(Packages { alone: vec![BUSYBOX.to_owned()], ..Packages::default() }),
        keep: &|_, path| is_busybox(path),
    };
    Ok(busybox(&cache.tree(&wanted, observer)?))
}

fn busybox(tree: &Path) -> PathBuf {
    let found = tree.join("usr/bin/busybox");
    if found.exists() { found } else { tree.join("bin/busybox") }
}

fn is_busybox(path: &Path) -> bool {
    path == Path::new("usr/bin/busybox") || path == Path::new("bin/busybox")
}

/// The folder of a given kernel's modules, if it lies in it, as distributions have it.
pub(super) fn modules_beside(kernel: &Path) -> Option<PathBuf> {
    let folder = kernel.parent()?;
    folder.join("modules.builtin").is_file().then(|| folder.to_owned())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).file("read", folder)?;
    let paths: Result<Vec<PathBuf>, Error> =
        entries.map(|entry| Ok(entry.file("read", folder)?.path())).collect();
    let mut paths = paths?;
    paths.sort();
    Ok(paths)
}

/// The end of the names of the packages whose kernel is for virtual machines, if there is such a
/// flavour: it has NVMe and P2PDMA built in, and is a third of the size.
const fn flavour(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "-cloud-amd64",
        Arch::Aarch64 => "-cloud-arm64",
        Arch::Riscv64 => "-riscv64",
    }
}

fn packages(apt: &Apt, arch: Arch) -> Result<Packages, Error> {
    let image = image(arch);
    let names = apt.names(image)?;
    let releases = names.iter().filter_map(|name| name.strip_prefix(image));
    let newest = newest(releases, flavour(arch)).ok_or_else(|| Error::NoPackage {
        package: format!("{image}*{}", flavour(arch)),
        suite: apt.suites().join(" and "),
        option: "--kernel",
    })?;
    let alone = vec![format!("{image}{newest}"), format!("{MODULES}{newest}"), BUSYBOX.to_owned()];
    Ok(Packages { alone, ..Packages::default() })
}

/// The newest of `7.3.4+deb13-cloud-amd64` and the like that ends so.
fn newest<'a>(releases: impl Iterator<Item = &'a str>, flavour: &str) -> Option<&'a str> {
    let version = |release: &str| -> Option<Vec<u32>> {
        let (version, _) = release.strip_suffix(flavour)?.split_once('+')?;
        version.split('.').map(|number| number.parse().ok()).collect()
    };
    let known = releases.filter_map(|release| Some((version(release)?, release)));
    known.max().map(|(_, release)| release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_by_number_and_of_the_flavour() {
        let releases = [
            "7.2.12+deb13-cloud-amd64",
            "7.2.9+deb13-cloud-amd64",
            "7.3.4+deb13-cloud-amd64",
            "7.3.10+deb13-amd64",
            "7.3.10+deb13-rt-amd64",
            "8.0~rc1+deb13-cloud-amd64",
        ];
        let newest = |flavour| newest(releases.into_iter(), flavour);
        assert_eq!(newest("-cloud-amd64"), Some("7.3.4+deb13-cloud-amd64"));
        assert_eq!(newest("-riscv64"), None);
    }
}
