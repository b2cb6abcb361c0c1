//! The libraries that a program needs: found by reading it, so that a foreign one is not run for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::{DT_NEEDED, EM_AARCH64, EM_RISCV, EM_X86_64, PT_INTERP};
use elf::endian::LittleEndian;

use crate::Arch;
use crate::error::{Error, FileContext as _};

/// What a program needs beside itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Libraries {
    /// The dynamic linker by its path in the program, and where it is; none for a static program.
    pub(crate) interpreter: Option<(String, PathBuf)>,
    /// The libraries, by the name under which they are wanted.
    pub(crate) needed: BTreeMap<String, PathBuf>,
}

/// Whether a file is a program that needs nothing beside itself.
pub(crate) fn is_static(path: &Path, arch: Arch) -> bool {
    let needed = Shelf::of_host(arch).needed_by(path);
    needed.is_ok_and(|libraries| libraries == Libraries::default())
}

/// Where libraries are looked for.
#[derive(Debug)]
pub(super) struct Shelf {
    arch: Arch,
    folders: Vec<PathBuf>,
    /// What it is to people, and what to do if something is not in it.
    missing: String,
}

impl Shelf {
    /// This machine's folders, those of cross compilers among them.
    pub(super) fn of_host(arch: Arch) -> Self {
        let triplet = format!("{}-linux-gnu", arch.name());
        let mut folders = vec![
            format!("/lib/{triplet}"),
            format!("/usr/lib/{triplet}"),
            format!("/usr/{triplet}/lib"),
        ];
        if Some(arch) == Arch::of_host() {
            folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned));
        }
        let missing = format!(
            "which is not in this machine's library folders for {arch}; \
             link it statically (-C target-feature=+crt-static)"
        );
        Self { arch, folders: folders.into_iter().map(PathBuf::from).collect(), missing }
    }

    /// All folders of an unpacked tree.
    pub(super) fn of_tree(tree: &Path, arch: Arch) -> Result<Self, Error> {
        let (mut folders, mut todo) = (Vec::new(), vec![tree.to_owned()]);
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(&folder).file("read", &folder)? {
                let entry = entry.file("read", &folder)?;
                if entry.file_type().file("read", entry.path())?.is_dir() {
                    todo.push(entry.path());
                }
            }
            folders.push(folder);
        }
        let missing = "which none of the packages has that it depends on".to_owned();
        Ok(Self { arch, folders, missing })
    }

    /// What a program needs. A script needs nothing that is known.
    pub(super) fn needed_by(&self, program: &Path) -> Result<Libraries, Error> {
        let read = read(program, self.arch)?;
        let interpreter = match read.interpreter {
            None => None,
            Some(name) => {
                let file = Path::new(&name).file_name().unwrap_or_default().to_string_lossy();
                let found = self.find(program, &file)?;
                Some((name, found))
            }
        };
        let mut libraries = Libraries { interpreter, needed: BTreeMap::new() };
        let mut todo = read.needed;
        while let Some(name) = todo.pop() {
            if libraries.needed.contains_key(&name) {
                continue;
            }
            let found = self.find(program, &name)?;
            todo.extend(self::read(&found, self.arch)?.needed);
            libraries.needed.insert(name, found);
        }
        Ok(libraries)
    }

    fn find(&self, program: &Path, name: &str) -> Result<PathBuf, Error> {
        let mut paths = self.folders.iter().map(|folder| folder.join(name));
        paths.find(|path| path.is_file()).ok_or_else(|| {
            let reason = format!("it needs {name}, {}", self.missing);
            Error::NotForGuest { path: program.to_owned(), reason }
        })
    }
}

struct Read {
    interpreter: Option<String>,
    needed: Vec<String>,
}

fn read(path: &Path, arch: Arch) -> Result<Read, Error> {
    let bytes = fs::read(path).file("read", path)?;
    let wrong = |reason: String| Error::NotForGuest { path: path.to_owned(), reason };
    if bytes.starts_with(b"#!") {
        return Ok(Read { interpreter: None, needed: Vec::new() });
    }
    let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes)
        .map_err(|error| wrong(format!("it is no program ({error})")))?;
    let machine = match arch {
        Arch::X86_64 => EM_X86_64,
        Arch::Aarch64 => EM_AARCH64,
        Arch::Riscv64 => EM_RISCV,
    };
    if file.ehdr.e_machine != machine {
        return Err(wrong(format!("it is not built for {arch}")));
    }
    parse(&file).map_err(|error| wrong(format!("its headers are damaged ({error})")))
}

fn parse(file: &ElfBytes<'_, LittleEndian>) -> Result<Read, elf::ParseError> {
    let mut read = Read { interpreter: None, needed: Vec::new() };
    for segment in file.segments().into_iter().flatten().filter(|s| s.p_type == PT_INTERP) {
        let name = file.segment_data(&segment)?;
        let name = name.strip_suffix(b"\0").unwrap_or(name);
        read.interpreter = Some(String::from_utf8_lossy(name).into_owned());
    }
    let common = file.find_common_data()?;
    if let (Some(dynamic), Some(strings)) = (common.dynamic, common.dynsyms_strs) {
        for entry in dynamic.iter().filter(|entry| entry.d_tag == DT_NEEDED) {
            let at = usize::try_from(entry.d_val()).unwrap_or(usize::MAX);
            read.needed.push(strings.get(at)?.to_owned());
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_needs_a_linker_and_the_c_library() {
        let Some(arch) = Arch::of_host() else { return };
        let own = std::env::current_exe().unwrap();
        let libraries = Shelf::of_host(arch).needed_by(&own).unwrap();
        assert!(libraries.interpreter.is_some());
        assert!(libraries.needed.keys().any(|name| name.starts_with("libc.so")), "{libraries:?}");
        assert!(!is_static(&own, arch));
    }

    #[test]
    fn what_is_no_program_of_the_guest_is_refused() {
        let own = std::env::current_exe().unwrap();
        let other = Arch::ALL.into_iter().find(|&arch| Some(arch) != Arch::of_host()).unwrap();
        let error = Shelf::of_host(other).needed_by(&own).unwrap_err().to_string();
        assert!(error.contains("not built for"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "neither").unwrap();
        let error = Shelf::of_host(Arch::X86_64).needed_by(file.path()).unwrap_err().to_string();
        assert!(error.contains("no program"), "{error}");
    }
}
