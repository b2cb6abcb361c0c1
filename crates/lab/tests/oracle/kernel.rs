//! What the kernel does: a boot, and the results of all reads in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr as _;
use std::time::Duration;

use p2pdma_lab::machine::{Plan, Role};
use p2pdma_lab::{Arch, Job, Options, Outcome, Settings, run};
use p2pdma_pci::Bdf;

/// Client and provider.
pub(crate) type Pair = (Bdf, Bdf);

/// What was seen of a boot.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Who lends memory.
    pub(crate) providers: Vec<Bdf>,
    /// What came of each read.
    pub(crate) reads: BTreeMap<Pair, Read>,
    /// What the kernel said about each pair, without the client's name in front.
    pub(crate) messages: BTreeMap<Pair, Vec<String>>,
}

/// What came of a read into lent memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// It succeeded.
    Right,
    /// It "succeeded", and the bytes are not those.
    Astray,
    /// It failed, with this error.
    Failed(i32),
}

/// Boots, and lets everybody read into everything.
pub(crate) fn observe(plan: &Plan) -> Observed {
    let ssds = plan.placed().iter().filter(|placed| placed.role == Role::Function).count();
    let outcome = boot(plan, &Job::host(reader(plan.arch())).arguments([ssds.to_string()]));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, log) = (text(&outcome.out), text(&outcome.log));
    assert_eq!(outcome.status, 0, "{out}\n{}", text(&outcome.err));
    let mut observed = Observed { messages: messages(&log), ..Observed::default() };
    for line in out.lines() {
        observed.line(line);
    }
    observed
}

/// Boots, and runs a job.
pub(crate) fn boot(plan: &Plan, job: &Job) -> Outcome {
    let provisions = Options::new(plan.arch()).provide(&mut ());
    let provisions = provisions.unwrap_or_else(|error| panic!("{error}"));
    let settings = Settings {
        limit: Duration::from_secs(240),
        // Without it the log takes ten lines of ours in five seconds (kernel/printk/printk.c).
        kernel_arguments: vec!["printk.devkmsg=on".to_owned()],
        ..Settings::default()
    };
    let outcome = run(&provisions, plan, job, &settings, &mut ());
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// The target of programs for guests of another architecture than this machine's: static ones, which
/// are linked by what comes with Rust.
const CROSS: &str = "aarch64-unknown-linux-musl";

/// The program that reads, built if it is not.
fn reader(arch: Arch) -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--locked", "--package", "p2pdma-lab", "--example", "peer_reads"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    if arch == Arch::Aarch64 && Some(arch) != Arch::of_host() {
        command.args(["--target", CROSS]);
    }
    let cargo = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let said = String::from_utf8_lossy(&cargo.stderr);
    assert!(cargo.status.success(), "{said}\nif the target is missing: rustup target add {CROSS}");
    let messages = String::from_utf8(cargo.stdout).unwrap();
    let artifacts =
        messages.lines().map(|line| -> serde_json::Value { serde_json::from_str(line).unwrap() });
    let mut programs = artifacts.filter(|artifact| artifact["target"]["name"] == "peer_reads");
    let program = programs.next().unwrap();
    PathBuf::from(program["executable"].as_str().unwrap())
}

impl Observed {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let bdf = |text: &str| Bdf::from_str(text).unwrap();
        match *words {
            ["client", ..] => {}
            ["provider", provider, _] => self.providers.push(bdf(provider)),
            ["pair", client, provider, result] => {
                let read = match result {
                    "right" => Read::Right,
                    "wrong" => Read::Astray,
                    number => Read::Failed(number.parse().unwrap()),
                };
                self.reads.insert((bdf(client), bdf(provider)), read);
            }
            _ => panic!("{line}"),
        }
    }
}

/// What drivers/pci/p2pdma.c said between one mark and the next.
fn messages(log: &str) -> BTreeMap<Pair, Vec<String>> {
    let mut found: BTreeMap<Pair, Vec<String>> = BTreeMap::new();
    let mut pair = None;
    for line in log.lines() {
        let text = line.split_once("] ").map_or(line, |(_, text)| text);
        if let Some((client, provider)) =
            text.strip_prefix("peer_reads: ").and_then(|pair| pair.split_once(' '))
        {
            pair = Some((Bdf::from_str(client).unwrap(), Bdf::from_str(provider).unwrap()));
        } else if let Some(pair) = pair
            && let Some(said) = said(text, pair.0)
        {
            found.entry(pair).or_default().push(said.to_owned());
        }
    }
    found
}

/// A line of the client's device, or the one of a host bridge, behind the device's name.
fn said(text: &str, client: Bdf) -> Option<&str> {
    let (device, said) = text.split_once(": ")?;
    let about = ["ACS redirect", "to disable ACS", "cannot be used for peer-to-peer"];
    let of_client = device.ends_with(&client.to_string());
    let ours = match said.starts_with("Host bridge not in P2PDMA whitelist") {
        true => device.starts_with("pci"),
        false => of_client && about.iter().any(|begin| said.starts_with(begin)),
    };
    ours.then_some(said)
}
