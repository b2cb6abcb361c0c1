//! A boot with a script of named steps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use p2pdma::machine::Machine;
use p2pdma_lab::machine::Plan;
use p2pdma_lab::{Arch, Error, Job, Observer, Options, Settings, Step, Stream, run};

/// A script for a guest.
pub(crate) struct Script {
    text: String,
    packages: Vec<&'static str>,
    modules: Vec<&'static str>,
    unplugs: Vec<(&'static str, &'static str)>,
    programs: Vec<PathBuf>,
    arguments: Vec<String>,
    folder: Option<PathBuf>,
    virtio_disk: Option<u64>,
    /// How long the guest may take.
    limit: Duration,
    /// Whether QEMU's controllers can be taken away while they are at work.
    roomy: bool,
    /// Of first namespaces: the controller, and the byte.
    bad: Vec<(&'static str, u64)>,
}

/// What a guest says, each piece with the second in which it came: where it stood, if it was stopped.
struct Said {
    begin: Instant,
    timed: String,
}

impl Said {
    fn new() -> Self {
        Self { begin: Instant::now(), timed: String::new() }
    }

    fn add(&mut self, what: &str) {
        let second = self.begin.elapsed().as_secs();
        what.lines().for_each(|line| writeln!(self.timed, "{second} s: {line}").unwrap());
    }
}

impl Observer for Said {
    fn step(&mut self, step: &Step) {
        self.add(&step.to_string());
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if stream != Stream::Serial {
            self.add(&String::from_utf8_lossy(bytes));
        }
    }
}

/// What a step said, and its status.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) said: String,
    status: i32,
}

/// What became of all steps.
pub(crate) struct Steps(BTreeMap<String, Ended>);

/// The kernel numbers its controllers in the order in which they happen to come up: `/dev/ssd0` and so on are
/// in the order of their addresses, and `/dev/ng-ssd0` the same namespace for NVMe commands.
const PRELUDE: &str = "\
until [ $(ls -d /sys/bus/pci/devices/*/nvme/nvme*/nvme*n1 | wc -l) = SSDS ]; do sleep 0.1; done
number=0
for disk in /sys/bus/pci/devices/*/nvme/nvme*/nvme*n1; do
  ln -s /dev/${disk##*/} /dev/ssd$number
  for commands in ${disk%/*}/ng*n1; do ln -s /dev/${commands##*/} /dev/ng-ssd$number; done
  number=$((number + 1))
done
";

/// The time in hundredths of a second, and what a piece of work that is always the same takes at the moment.
pub(crate) const CLOCK: &str = "now() { cut -d\" \" -f1 /proc/uptime | tr -d .; }; \
     work() { since=$(now); for n in 1 2 3 4 5 6 7 8 9 10; do now > /dev/null; done; echo work $(($(now) - since)); }";
/// The least that this work takes: in an emulated guest of a machine that has nothing else to do.
const IDLE: u32 = 30;
/// What goes on for so many hundredths of a second hangs, however slow the guest is: the kernel gives a device up after
/// thirty seconds.
const HANGS: u32 = 1000;

/// A step says so before and after; everything it says is on standard output.
const STEP: &str = "\
step() { echo \"@ $1\"; shift; sh -c \"$*\" 2>&1; echo \"= $?\"; }
";

impl Script {
    /// A script that begins when so many SSDs have their block devices.
    pub(crate) fn new(ssds: usize) -> Self {
        Self::beginning(&PRELUDE.replace("SSDS", &ssds.to_string()))
    }

    /// A script that finds its SSDs by itself.
    pub(crate) fn bare() -> Self {
        Self::beginning("")
    }

    fn beginning(text: &str) -> Self {
        let text = format!("{text}{STEP}");
        let (packages, modules, unplugs, programs, arguments, bad) = Default::default();
        // Some take a minute, and five on a machine that has other things to do.
        let limit = Duration::from_secs(1200);
        let (folder, virtio_disk, roomy) = (None, None, false);
        Self {
            text,
            packages,
            modules,
            unplugs,
            programs,
            arguments,
            folder,
            virtio_disk,
            limit,
            roomy,
            bad,
        }
    }

    /// Brings examples along, which are called by their names.
    pub(crate) fn examples(mut self, names: &[&str]) -> Self {
        self.programs.extend(examples(names));
        self
    }

    /// Brings a program of this machine along.
    pub(crate) fn program(mut self, path: &str) -> Self {
        self.programs.push(PathBuf::from(path));
        self
    }

    /// Keeps the files behind media and memory in this folder.
    pub(crate) fn folder(self, folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..self }
    }

    /// Adds a virtio disk of so many bytes.
    pub(crate) fn virtio_disk(self, bytes: u64) -> Self {
        Self { virtio_disk: Some(bytes), ..self }.modules(&["virtio_blk"])
    }

    /// Lets the guest take so long.
    pub(crate) fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Devices are reset or taken away while they are at work.
    pub(crate) fn roomy(self) -> Self {
        Self { roomy: true, ..self }
    }

    pub(crate) fn packages(mut self, names: &[&'static str]) -> Self {
        self.packages.extend(names);
        self
    }

    pub(crate) fn modules(mut self, names: &[&'static str]) -> Self {
        self.modules.extend(names);
        self
    }

    /// Gives the kernel an argument.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Unplugs a device of the machine when a step says this line.
    pub(crate) fn unplug(mut self, line: &'static str, device: &'static str) -> Self {
        self.unplugs.push((line, device));
        self
    }

    /// A byte of a controller's first namespace can neither be read nor written.
    pub(crate) fn bad(mut self, device: &'static str, at: u64) -> Self {
        self.bad.push((device, at));
        self
    }

    /// A step: lines of shell without single quotes. Its status is that of its last command.
    pub(crate) fn step(mut self, name: &str, lines: &str) -> Self {
        writeln!(self.text, "step {name} '{lines}'").unwrap();
        self
    }

    /// Boots a machine and runs it.
    pub(crate) fn run(self, machine: &str) -> Steps {
        self.run_on(Arch::of_host().unwrap(), machine)
    }

    /// Boots a machine of an architecture and runs it.
    #[expect(clippy::print_stdout, reason = "a test says when QEMU needed a second boot")]
    pub(crate) fn run_on(self, arch: Arch, machine: &str) -> Steps {
        let machine = match arch {
            Arch::X86_64 => machine.to_owned(),
            // QEMU's host bridge of such machines.
            Arch::Aarch64 | Arch::Riscv64 => machine.replace("8086:29c0", "1b36:0008"),
        };
        let machine = Machine::parse(&machine, "a test's machine").unwrap();
        let plan = Plan::new(&machine, arch).unwrap();
        let plan = self.bad.iter().fold(plan, |plan, (name, at)| plan.bad_at(name, 1, *at));
        let plan = if self.roomy { plan.roomy() } else { plan };
        let kernel = iommufd().filter(|_| Some(arch) == Arch::of_host());
        let provisions = Options { kernel, ..Options::new(arch) }.provide(&mut ());
        let provisions = provisions.unwrap_or_else(|error| panic!("{error}"));
        let mut job = Job::script(&self.text).program(command(arch));
        job = self.programs.iter().fold(job, |job, path| job.program(path));
        job = self.packages.iter().fold(job, |job, name| job.package(name));
        job = self.modules.iter().fold(job, |job, name| job.module(name));
        job = self.unplugs.iter().fold(job, |job, (line, device)| job.unplug(line, device));
        let settings = Settings {
            limit: self.limit,
            folder: self.folder,
            kernel_arguments: self.arguments,
            virtio_disk: self.virtio_disk,
            ..Settings::default()
        };
        let mut said = Said::new();
        let mut outcome = run(&provisions, &plan, &job, &settings, &mut said);
        if let Err(error) = &outcome
            && settings.folder.is_none()
            && is_emulator_s(error)
        {
            println!(
                "QEMU has run code that the kernel was changing; the guest is booted once more\n{error}"
            );
            said = Said::new();
            outcome = run(&provisions, &plan, &job, &settings, &mut said);
        }
        let outcome = outcome.unwrap_or_else(|error| panic!("{error}\n{}", said.timed));
        let (out, err) = (outcome.out, String::from_utf8_lossy(&outcome.err).into_owned());
        assert!(err.is_empty(), "{err}");
        Steps::of(&String::from_utf8_lossy(&out))
    }
}

/// Whether the guest's kernel met a breakpoint of its own that was gone again: it stands one byte behind the beginning of
/// a jump, or of the no-operation that such a jump changes with (docs/qemu-differences.md).
fn is_emulator_s(error: &Error) -> bool {
    let Error::Panic { serial, .. } = error else { return false };
    [" e9 <", " eb <", " 0f <1f>", " 66 <90>"].iter().any(|code| serial.contains(code))
}

/// A kernel that has iommufd, if the tests are run for that: all guests boot it then.
pub(crate) fn iommufd() -> Option<PathBuf> {
    std::env::var_os("P2PDMA_IOMMUFD_KERNEL").map(PathBuf::from)
}

/// How `topo` says that devices under vfio are opened.
pub(crate) fn interface() -> &'static str {
    iommufd().map_or("container (type 1)", |_| "iommufd")
}

/// Whether the tests are built as what is released.
pub(crate) fn is_optimized() -> bool {
    !cfg!(debug_assertions)
}

/// Examples of the workspace, built if they are not: with the profile and the features that its tests are built with.
fn examples(names: &[&str]) -> Vec<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--workspace", "--message-format", "json-render-diagnostics"]);
    if is_optimized() {
        cargo.arg("--release");
    }
    names.iter().for_each(|name| {
        cargo.args(["--example", name]);
    });
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let text = String::from_utf8(built.stdout).unwrap();
    let artifact = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    let artifacts: Vec<serde_json::Value> = text.lines().map(artifact).collect();
    let path = |name: &&str| {
        let mut found = artifacts.iter().filter(|artifact| artifact["target"]["name"] == **name);
        PathBuf::from(found.next().unwrap()["executable"].as_str().unwrap())
    };
    names.iter().map(path).collect()
}

/// The command for guests of an architecture, built if it is not this machine's.
fn command(arch: Arch) -> PathBuf {
    if Some(arch) == Arch::of_host() {
        return PathBuf::from(env!("CARGO_BIN_EXE_p2pdma"));
    }
    let toolchain = Options::new(arch).toolchain(&mut ()).unwrap_or_else(|error| panic!("{error}"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guests-{arch}"));
    let mut cargo = toolchain.build(Path::new(env!("CARGO")), &folder).unwrap();
    cargo.args(["--locked", "--package", "p2pdma-cli", "--profile", "guest"]);
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join(toolchain.target()).join("guest/p2pdma")
}

impl Ended {
    /// A number that it says behind a word, the last time.
    pub(crate) fn number(&self, word: &str) -> u32 {
        let line =
            self.said.lines().rev().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no {word}: {}", self.said))
    }

    /// So many hundredths of a second, and as many times more as the guest is slower at the moment than one whose machine
    /// has nothing else to do: `work` tells.
    pub(crate) fn allows(&self, hundredths: u32) -> u32 {
        (hundredths * self.number("work").max(IDLE) / IDLE).min(HANGS)
    }
}

impl Steps {
    fn of(text: &str) -> Self {
        let mut steps = BTreeMap::new();
        for step in text.split("@ ").skip(1) {
            let (name, rest) = step.split_once('\n').unwrap();
            let (said, status) = rest.rsplit_once("= ").unwrap_or_else(|| panic!("{text}"));
            let ended = Ended { said: said.to_owned(), status: status.trim().parse().unwrap() };
            assert!(steps.insert(name.to_owned(), ended).is_none(), "two steps are called {name}");
        }
        Self(steps)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Checks a step: its status, and what it has to say.
    pub(crate) fn ends(&self, name: &str, status: i32, said: &[&str]) -> &Ended {
        let step = self.0.get(name).unwrap_or_else(|| panic!("{name} did not run: {:?}", self.0));
        assert_eq!(step.status, status, "{name}: {}", step.said);
        for words in said {
            assert!(step.said.contains(words), "{name} does not say {words:?}:\n{}", step.said);
        }
        step
    }
}
