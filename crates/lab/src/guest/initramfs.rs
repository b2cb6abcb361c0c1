//! The file system in memory that the kernel starts from: busybox, our first process, the job.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use super::archive::Archive;
use super::job::{Job, Program};
use super::libraries::Shelf;
use super::{modules, packages};
use crate::error::{Error, FileContext as _};
use crate::provide::{Package, Provisions};

/// The channel on which the guest says how far it is.
pub(crate) const CONTROL: &str = "control";
/// The channel of the job's standard output.
pub(crate) const OUT: &str = "out";
/// The channel of the job's standard error.
pub(crate) const ERR: &str = "err";
/// The channel of the kernel's log.
pub(crate) const LOG: &str = "log";
/// All channels, by the names that the guest finds them under.
pub(crate) const PORTS: [&str; 4] = [CONTROL, OUT, ERR, LOG];

/// Modules that every guest gets, unless its kernel has them built in, as most have.
const WELCOME: [&str; 3] = ["virtio_pci", "virtio_console", "nvme"];
const INIT: &str = include_str!("init.sh");
/// Where the job's programs and libraries are: init.sh sets PATH and LD_LIBRARY_PATH so.
pub(super) const PROGRAMS: &str = "/job/bin";
const LIBRARIES: &str = "/job/lib";
pub(super) const EXECUTABLE: u32 = 0o755;
const READABLE: u32 = 0o644;

/// Writes the whole file system to `path`: the lab's part, then the job's.
pub(crate) fn write(
    path: &Path,
    provisions: &Provisions,
    job: &Job,
    packages: &[Package],
    limit: Duration,
) -> Result<(), Error> {
    let out = BufWriter::new(File::create(path).file("create", path)?);
    let mut archive = Archive::new(out);
    let modules = match provisions.modules() {
        Some(folder) => modules::resolve(folder, &WELCOME, &job.modules)?,
        None if job.modules.is_empty() => Vec::new(),
        None => {
            let name = job.modules.join(", ");
            return Err(Error::NoModule { name, folder: provisions.kernel().to_owned() });
        }
    };
    lab(&mut archive, provisions, job, limit, &modules).file("write", path)?;
    let out = archive.end().file("write", path)?;
    let mut archive = Archive::new(out);
    // What the job itself brings comes after them, and so in place of what has the same name.
    for package in packages {
        packages::write(&mut archive, package, provisions.arch())?;
    }
    self::job(&mut archive, provisions, job)?;
    archive.end().and_then(|mut out| out.flush()).file("write", path)
}

/// What every guest has.
fn lab(
    archive: &mut Archive<BufWriter<File>>,
    provisions: &Provisions,
    job: &Job,
    limit: Duration,
    modules: &[modules::Module],
) -> std::io::Result<()> {
    for folder in ["/proc", "/sys", "/dev", "/tmp", "/root", "/bin", "/run", "/mnt", PROGRAMS] {
        archive.folder(folder)?;
    }
    archive.copy("/bin/busybox", EXECUTABLE, provisions.busybox())?;
    archive.bytes("/init", EXECUTABLE, INIT.as_bytes())?;
    // Longer than the host's own limit, which is the one that is reported.
    let seconds = limit.as_secs().saturating_mul(2).saturating_add(60);
    let (limit, interactive) = match job.is_interactive() {
        true => (0, 1),
        false => (seconds, 0),
    };
    let config = format!("LIMIT={limit}\nINTERACTIVE={interactive}\n");
    archive.bytes("/lab/config", READABLE, config.as_bytes())?;
    let mut order = String::new();
    for module in modules {
        let file = format!("{}.ko", module.name);
        archive.bytes(&format!("/lab/modules/{file}"), READABLE, &module.content)?;
        order.push_str(&file);
        order.push('\n');
    }
    archive.bytes("/lab/modules/order", READABLE, order.as_bytes())
}

/// What this job brings.
fn job(
    archive: &mut Archive<BufWriter<File>>,
    provisions: &Provisions,
    job: &Job,
) -> Result<(), Error> {
    let write = |result: std::io::Result<()>| result.file("write", "the guest's file system");
    let own = match &job.program {
        Program::Host(path) => Some(path),
        Program::Guest(_) | Program::Shell => None,
    };
    for path in job.programs.iter().chain(own) {
        self::program(archive, provisions, path)?;
    }
    let program = match &job.program {
        Program::Guest(name) => name.clone(),
        Program::Shell => "sh".to_owned(),
        Program::Host(path) => target(path),
    };
    for file in &job.files {
        let parts = file.target.strip_prefix('/').map(|rest| rest.split('/'));
        let fits = |part: &str| !matches!(part, "" | "." | "..");
        if !parts.is_some_and(|mut parts| parts.all(fits)) {
            return Err(Error::GuestPath { path: file.target.clone() });
        }
        archive.copy(&file.target, EXECUTABLE, &file.source).file("read", &file.source)?;
    }
    write(archive.bytes("/lab/input", READABLE, &job.input))?;
    write(archive.bytes("/lab/job", READABLE, script(job, &program).as_bytes()))
}

/// A program of this machine, and the libraries that it needs.
fn program(
    archive: &mut Archive<BufWriter<File>>,
    provisions: &Provisions,
    path: &Path,
) -> Result<(), Error> {
    let needed = Shelf::of_host(provisions.arch()).needed_by(path)?;
    if let Some((name, source)) = &needed.interpreter {
        archive.copy(name, EXECUTABLE, source).file("read", source)?;
    }
    for (name, source) in &needed.needed {
        let target = format!("{LIBRARIES}/{name}");
        archive.copy(&target, EXECUTABLE, source).file("read", source)?;
    }
    archive.copy(&target(path), EXECUTABLE, path).file("read", path)
}

/// Where a program of this machine is in the guest.
fn target(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    format!("{PROGRAMS}/{name}")
}

/// The shell's lines that run the job.
fn script(job: &Job, program: &str) -> String {
    let mut text = String::new();
    for (name, value) in &job.environment {
        // Writing to a string does not fail.
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    text.push_str("cd /job\nexec ");
    text.push_str(&quoted(program));
    for argument in &job.arguments {
        text.push(' ');
        text.push_str(&quoted(argument));
    }
    text.push('\n');
    text
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_program_as_they_are() {
        let job =
            Job::host("/bin/x").arguments(["a b", "it's", "", "$HOME"]).environment("A", "1 2");
        let text = script(&job, "/job/bin/x");
        assert!(text.contains("export A='1 2'\n"), "{text}");
        assert!(text.ends_with("exec '/job/bin/x' 'a b' 'it'\\''s' '' '$HOME'\n"), "{text}");
    }
}
