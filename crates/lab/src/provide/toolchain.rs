//! A Rust compiler that builds programs for a guest of another architecture, out of Debian's packages: its
//! compiler, the standard library for both architectures, the linker of LLVM, and of the guest's C library
//! what is linked statically. All of it is run by the dynamic linker among the packages, as QEMU is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{Apt, Packages};
use super::qemu::linker;
use super::tree::{Cache, Wanted};
use crate::Arch;
use crate::error::{Error, FileContext as _};
use crate::observe::Observer;

/// A compiler and a linker for guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    guest: Arch,
    host: Arch,
    tree: PathBuf,
}

impl Toolchain {
    /// Rust's name of what it builds for.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{}-unknown-linux-gnu", self.triplet_arch())
    }

    /// A command of cargo's, `build`, that builds for the guest what its further arguments say. Everything it
    /// makes, and the scripts that it calls, are in `folder`. Programs need no library of the guest's.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::NotInPackage`].
    pub fn build(&self, cargo: &Path, folder: &Path) -> Result<Command, Error> {
        fs::create_dir_all(folder).file("create", folder)?;
        let (compiler, linker) = (folder.join("rustc"), folder.join("ld.lld"));
        write(&compiler, &self.compiler()?)?;
        write(&linker, &self.linker()?)?;
        let target = self.target();
        let name = format!("CARGO_TARGET_{}", target.to_uppercase().replace('-', "_"));
        let mut command = Command::new(cargo);
        command.args(["build", "--target", &target, "--target-dir"]).arg(folder);
        // Those of whoever calls are for another compiler.
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(variable);
        }
        command.env("RUSTC", compiler).env(format!("{name}_LINKER"), linker);
        command.env(format!("{name}_RUSTFLAGS"), FLAGS);
        Ok(command)
    }

    fn triplet_arch(&self) -> &'static str {
        match self.guest {
            Arch::Riscv64 => "riscv64gc",
            Arch::X86_64 | Arch::Aarch64 => self.guest.name(),
        }
    }

    /// A script that is the compiler.
    fn compiler(&self) -> Result<String, Error> {
        let (start, tree) = (self.start("rustc")?, self.tree.display());
        Ok(format!("#!/bin/sh\nexec {start} {tree}/usr/bin/rustc --sysroot {tree}/usr \"$@\"\n"))
    }

    /// A script that is the linker. What a C compiler would add it adds: where a program begins and ends, and
    /// the C library.
    fn linker(&self) -> Result<String, Error> {
        let tree = self.tree.display();
        let start = self.start("ld.lld")?;
        let lld = only(&self.tree.join("usr/lib"), "llvm-")?;
        let libraries = format!("{tree}/usr/lib/{}-linux-gnu", self.guest);
        let gcc = only(&self.tree.join(format!("usr/lib/gcc/{}-linux-gnu", self.guest)), "")?;
        let (lld, gcc) = (lld.display(), gcc.display());
        // rustc says which kind of LLVM's linker it wants, which the name says, too.
        Ok(format!(
            "#!/bin/sh\n[ \"$1\" = -flavor ] && shift 2\nexec {start} {lld}/bin/lld --sysroot={tree} \
             {libraries}/crt1.o {libraries}/crti.o {gcc}/crtbeginT.o -L{libraries} -L{gcc} \"$@\" \
             --start-group -lgcc -lgcc_eh -lc --end-group {gcc}/crtend.o {libraries}/crtn.o\n"
        ))
    }

    /// The beginning of a command line that runs a program of the packages.
    fn start(&self, name: &str) -> Result<String, Error> {
        let above = self.tree.join("usr/lib");
        let libraries = above.join(format!("{}-linux-gnu", self.host));
        let linker = linker(&libraries, &self.tree.join("usr/lib64"))?;
        let (linker, libraries) = (linker.display(), libraries.display());
        Ok(format!("{linker} --library-path {libraries} --argv0 {name}"))
    }
}

/// Programs for guests are static, so that it does not matter what else is there.
const FLAGS: &str =
    "-C target-feature=+crt-static -C relocation-model=static -C linker-flavor=ld.lld";

/// Writes a script, unless it is there already: cargo takes a new one for a new compiler.
fn write(path: &Path, script: &str) -> Result<(), Error> {
    if fs::read_to_string(path).is_ok_and(|known| known == script) {
        return Ok(());
    }
    fs::write(path, script).file("write", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).file("write", path)
}

/// The one entry of a folder that begins so.
fn only(folder: &Path, prefix: &str) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).file("read", folder)?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let begins = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    paths.filter(begins).max().ok_or_else(|| Error::NotInPackage {
        what: format!("{}/{prefix}*", folder.display()),
        packages: "of the compiler".to_owned(),
        option: OPTION,
    })
}

const OPTION: &str = "a program that is built for the guest already";

/// Unpacks it, once.
pub(super) fn from_packages(
    cache: &Cache,
    guest: Arch,
    observer: &mut dyn Observer,
) -> Result<Toolchain, Error> {
    let host = Arch::of_host().ok_or(Error::HostArch(std::env::consts::ARCH))?;
    let wanted = Wanted {
        what: format!("a compiler for {guest}"),
        name: format!("toolchain-{guest}-on-{host}"),
        arch: host,
        second: Some(guest),
        option: OPTION,
        resolve: &|apt| packages(apt, guest),
        keep: &|_, path| keep(path, host, guest),
    };
    let tree = cache.tree(&wanted, observer)?;
    Ok(Toolchain { guest, host, tree })
}

/// The compiler depends on a C compiler, and each standard library on the compiler: of these no more is taken
/// than is needed.
fn packages(apt: &Apt, guest: Arch) -> Result<Packages, Error> {
    let newest = |prefix: &str, suffix: &str| {
        let names = apt.names(prefix)?;
        newest(&names, prefix, suffix).ok_or_else(|| Error::NoPackage {
            package: format!("{prefix}*{suffix}"),
            suite: apt.suites().join(" and "),
            option: OPTION,
        })
    };
    let guest = guest.debian();
    let gcc = newest("libgcc-", "-dev")?;
    Ok(Packages {
        whole: vec![newest("libstd-rust-", "")?, newest("lld-", "")?],
        alone: vec![
            "rustc".to_owned(),
            "libstd-rust-dev".to_owned(),
            format!("libstd-rust-dev:{guest}"),
            format!("libc6-dev:{guest}"),
            format!("{gcc}:{guest}"),
        ],
    })
}

/// The name with the highest version between its beginning and its end: `lld-22`, `libstd-rust-1.96`.
fn newest(names: &[String], prefix: &str, suffix: &str) -> Option<String> {
    let version = |name: &str| -> Option<Vec<u32>> {
        let version = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        version.split('.').map(|number| number.parse().ok()).collect()
    };
    let known = names.iter().filter_map(|name| Some((version(name)?, name)));
    known.max().map(|(_, name)| name.clone())
}

/// What is kept of the packages: programs, libraries that they load, and archives that are linked.
fn keep(path: &Path, host: Arch, guest: Arch) -> bool {
    let path = path.to_string_lossy();
    let below = |folder: &str| path.strip_prefix(folder);
    let of_host = below(&format!("usr/lib/{host}-linux-gnu/"));
    let of_guest = below(&format!("usr/lib/{guest}-linux-gnu/"));
    let gcc = below(&format!("usr/lib/gcc/{guest}-linux-gnu/"));
    let is_linked = |file: &str| file.ends_with(".a") || file.ends_with(".o");
    let is_start = |file: &str| {
        let name = file.rsplit('/').next().unwrap_or_default();
        name.starts_with("libgcc") || name.starts_with("crt")
    };
    path == "usr/bin/rustc"
        || path.starts_with("usr/lib/rustlib/")
        || path.starts_with("usr/lib64/ld-linux")
        || (path.starts_with("usr/lib/llvm-") && path.ends_with("/bin/lld"))
        || of_host.is_some_and(|file| file.contains(".so") && !file.contains('/'))
        || of_guest.is_some_and(|file| is_linked(file) && !file.contains('/'))
        || gcc.is_some_and(|file| is_linked(file) && is_start(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_by_number() {
        let names = ["lld-9", "lld-22", "lld-19", "lld", "lld-22-x"].map(str::to_owned);
        assert_eq!(newest(&names, "lld-", "").as_deref(), Some("lld-22"));
        let names = ["libgcc-14-dev", "libgcc-14-dev-arm64-cross", "libgcc-s1"].map(str::to_owned);
        assert_eq!(newest(&names, "libgcc-", "-dev").as_deref(), Some("libgcc-14-dev"));
        assert_eq!(newest(&[], "lld-", ""), None);
    }

    #[test]
    fn only_what_compiles_and_links_is_kept() {
        let keep = |path| super::keep(Path::new(path), Arch::X86_64, Arch::Aarch64);
        for path in [
            "usr/bin/rustc",
            "usr/lib/x86_64-linux-gnu/libLLVM.so.22.1",
            "usr/lib/llvm-22/bin/lld",
            "usr/lib/rustlib/aarch64-unknown-linux-gnu/lib/libstd-1.rlib",
            "usr/lib/aarch64-linux-gnu/crt1.o",
            "usr/lib/aarch64-linux-gnu/libc.a",
            "usr/lib/gcc/aarch64-linux-gnu/14/crtbeginT.o",
        ] {
            assert!(keep(path), "{path}");
        }
        for path in [
            "usr/bin/rustdoc",
            "usr/lib/llvm-22/bin/wasm-ld",
            "usr/lib/aarch64-linux-gnu/libc.so.6",
            "usr/lib/gcc/aarch64-linux-gnu/14/libasan.a",
            "usr/include/stdio.h",
        ] {
            assert!(!keep(path), "{path}");
        }
    }
}
