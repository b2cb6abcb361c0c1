//! apt, with a state of its own: nothing of this machine's is touched.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Arch;
use crate::error::{Error, FileContext as _};
use crate::observe::{Observer, Step};

const REMEDY: &str = "look at the network, or give a kernel with --kernel, QEMU with --qemu and a \
                      static busybox with --busybox";
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];
/// Names of suites that Debian's own archive is known under, beside the codename of this machine.
const GENERIC: [&str; 5] = ["stable", "oldstable", "testing", "unstable", "sid"];

/// The suites that packages come from; the last one is preferred.
fn suites(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 | Arch::Aarch64 => &["trixie", "trixie-backports"],
        // The released suites have no kernel of this form for it.
        Arch::Riscv64 => &["sid"],
    }
}

/// What a source says beside its keys. A mirror of a suite that changes daily may lag so far behind that
/// its signature has expired, and serves all the same: what it has was signed.
const fn validity(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 | Arch::Aarch64 => "",
        Arch::Riscv64 => "check-valid-until=no ",
    }
}

/// A private state of apt.
#[derive(Debug)]
pub(super) struct Apt {
    folder: PathBuf,
    suites: &'static [&'static str],
}

/// What is wanted of the archive, by name.
#[derive(Debug, Default)]
pub(super) struct Packages {
    /// Packages without what they depend on.
    pub(super) alone: Vec<String>,
    /// Packages with all that they depend on.
    pub(super) whole: Vec<String>,
}

impl Apt {
    /// Sets it up in `folder`, for packages of an architecture and perhaps of a second one, and fetches the
    /// lists.
    pub(super) fn open(
        folder: &Path,
        arch: Arch,
        second: Option<Arch>,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        let leading = second.unwrap_or(arch);
        let apt = Self { folder: folder.to_owned(), suites: suites(leading) };
        let mirror = mirror()?;
        for part in ["lists/partial", "archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).file("create", &path)?;
        }
        let keyring = KEYRINGS.iter().find(|path| Path::new(path).is_file());
        let signed = keyring.map_or_else(String::new, |path| format!("signed-by={path} "));
        let validity = validity(leading);
        let mut sources = String::new();
        for suite in apt.suites {
            // Writing to a string does not fail.
            let _ = writeln!(sources, "deb [ {signed}{validity}] {mirror} {suite} main");
        }
        apt.write("sources.list", &sources)?;
        apt.write("status", "")?;
        apt.write("apt.conf", &configuration(folder, arch, second, &connections()))?;
        observer.step(&Step::Lists);
        let mut update = apt.command("apt-get");
        update.args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
        run(update, "fetching Debian's package lists")?;
        Ok(apt)
    }

    /// The suites that packages come from.
    pub(super) fn suites(&self) -> &'static [&'static str] {
        self.suites
    }

    /// The names of packages that begin so.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut command = self.command("apt-cache");
        command.args(["pkgnames", prefix]);
        let names = run(command, "listing packages")?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Fetches packages; returns their files.
    pub(super) fn fetch(
        &self,
        packages: &Packages,
        what: &str,
        observer: &mut dyn Observer,
    ) -> Result<Vec<PathBuf>, Error> {
        for (packages, dependencies) in [(&packages.whole, true), (&packages.alone, false)] {
            if !packages.is_empty() {
                self.fetch_kind(packages, dependencies, what, observer)?;
            }
        }
        let archives = self.folder.join("archives");
        let entries = fs::read_dir(&archives).file("read", &archives)?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(paths.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect())
    }

    /// Fetches packages, with all that they depend on if asked to.
    fn fetch_kind(
        &self,
        packages: &[String],
        dependencies: bool,
        what: &str,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let archives = self.folder.join("archives");
        let before = folder_size(&archives);
        let listed = {
            let mut command = self.fetching(packages, dependencies);
            command.arg("--print-uris");
            run(command, "looking packages up")?
        };
        let size = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
        let total: u64 = listed.lines().filter_map(size).sum();
        let log = self.folder.join("fetch.log");
        let out = File::create(&log).file("create", &log)?;
        let mut command = self.fetching(packages, dependencies);
        if dependencies {
            command.arg("--download-only");
        }
        command.current_dir(&archives).stdin(Stdio::null());
        command.stderr(out.try_clone().file("create", &log)?).stdout(out);
        let mut child = command.spawn().map_err(not_there)?;
        let status = loop {
            let done = folder_size(&archives) + folder_size(&archives.join("partial"));
            let done = done.saturating_sub(before).min(total);
            observer.step(&Step::Download { what: what.to_owned(), done, total });
            if let Some(status) = child.try_wait().file("run", "apt-get")? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        if !status.success() {
            let output = last_lines(&fs::read_to_string(&log).unwrap_or_default());
            let what = format!("fetching {what}");
            return Err(Error::Tool { what, status, output, remedy: REMEDY });
        }
        Ok(())
    }

    /// `apt-get` that fetches packages, up to the option that says how.
    fn fetching(&self, packages: &[String], dependencies: bool) -> Command {
        let mut command = self.command("apt-get");
        command.args(["-q", "-y"]);
        if let Some(suite) = self.suites().last() {
            command.args(["-t", suite]);
        }
        command.arg(if dependencies { "install" } else { "download" }).args(packages);
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C");
        command
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Error> {
        let path = self.folder.join(file);
        fs::write(&path, text).file("write", path)
    }
}

/// The configuration. This machine's files are not read, since they may have hooks that clean up after
/// apt, and more.
fn configuration(folder: &Path, arch: Arch, second: Option<Arch>, connections: &str) -> String {
    let (folder, second) = (folder.display(), second.unwrap_or(arch).debian());
    let arch = arch.debian();
    format!(
        "Dir::Etc::Main \"/dev/null\";\n\
         Dir::Etc::Parts \"/dev/null\";\n\
         Dir::Etc::SourceList \"{folder}/sources.list\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\n\
         Dir::Etc::Preferences \"/dev/null\";\n\
         Dir::Etc::PreferencesParts \"/dev/null\";\n\
         Dir::State \"{folder}/\";\n\
         Dir::State::Lists \"{folder}/lists/\";\n\
         Dir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}/\";\n\
         Dir::Cache::archives \"{folder}/archives/\";\n\
         Dir::Log \"{folder}/\";\n\
         APT::Architecture \"{arch}\";\n\
         APT::Architectures {{ \"{arch}\"; \"{second}\"; }};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         {connections}"
    )
}

/// How this machine's apt reaches its mirrors: proxies, certificates, timeouts.
fn connections() -> String {
    let mut command = Command::new("apt-config");
    command.args(["dump", "--format", "%F \"%v\";%n"]);
    let all = run(command, "reading apt's configuration").unwrap_or_default();
    let kept =
        |line: &&str| line.starts_with("Acquire::http::") || line.starts_with("Acquire::https::");
    all.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

/// The Debian mirror that this machine's apt is set up with.
fn mirror() -> Result<String, Error> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"'))
    };
    if field("ID") != Some("debian") {
        return Err(Error::NoMirror);
    }
    // Without the lists' own facts, so that it works before the first `apt-get update`, too.
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--no-release-info"]);
    command.args(["--format", "$(REPO_URI)|$(COMPONENT)|$(RELEASE)", "Created-By: Packages"]);
    let rows = run(command, "asking apt for its mirror")?;
    choose(&rows, field("VERSION_CODENAME")).ok_or(Error::NoMirror)
}

/// The first row with Debian's main component, and a suite that is not one of the small ones.
fn choose(rows: &str, codename: Option<&str>) -> Option<String> {
    let main = |row: &str| {
        let mut fields = row.split('|');
        let (uri, component, release) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = Some(release) == codename || GENERIC.contains(&release);
        (component == "main" && ours).then(|| uri.to_owned())
    };
    rows.lines().find_map(main)
}

fn not_there(source: std::io::Error) -> Error {
    Error::Program { program: "apt-get".to_owned(), source, remedy: REMEDY }
}

/// Runs a command to its end; returns what it printed.
fn run(mut command: Command, what: &str) -> Result<String, Error> {
    let output = command.stdin(Stdio::null()).output().map_err(not_there)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Tool {
        what: what.to_owned(),
        status: output.status,
        output: last_lines(&String::from_utf8_lossy(&output.stderr)),
        remedy: REMEDY,
    })
}

fn last_lines(text: &str) -> String {
    const LINES: usize = 4;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

fn folder_size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| entry.metadata().ok());
    files.filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_first_with_the_whole_suite() {
        let rows = "http://a/node/|main|nodistro\n\
                    http://b/debian-security/|main|bookworm-security\n\
                    http://c/debian/|contrib|bookworm\n\
                    http://d/debian/|main|bookworm\n\
                    http://e/debian/|main|bookworm\n";
        assert_eq!(choose(rows, Some("bookworm")).as_deref(), Some("http://d/debian/"));
        assert_eq!(
            choose("http://f/debian/|main|stable\n", None).as_deref(),
            Some("http://f/debian/")
        );
        assert_eq!(choose(rows, Some("noble")), None);
    }

    #[test]
    fn this_machine_s_configuration_is_left_out() {
        let text =
            configuration(Path::new("/x"), Arch::X86_64, None, "Acquire::http::Proxy \"p\";\n");
        assert!(text.contains("Dir::Etc::Parts \"/dev/null\""));
        assert!(text.ends_with("Acquire::http::Proxy \"p\";\n"));
    }
}
