//! Boots of real kernels.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use p2pdma_lab::machine::{Plan, Role};
use p2pdma_lab::{Arch, Job, Options, Outcome, Settings, run};

use crate::kernel::Observed;

/// Boots, and lets everybody read into everything.
pub(crate) fn observe(plan: &Plan) -> Observed {
    let ssds = plan.placed().iter().filter(|placed| placed.role == Role::Function).count();
    let outcome = boot(plan, &Job::host(reader(plan.arch())).arguments([ssds.to_string()]));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, log) = (text(&outcome.out), text(&outcome.log));
    let nvme: Vec<&str> = log.lines().filter(|line| line.contains("nvme ")).collect();
    assert_eq!(outcome.status, 0, "{out}\n{}\n{}", nvme.join("\n"), text(&outcome.err));
    Observed::of_boot(&out, &log)
}

/// Boots, and runs a job.
pub(crate) fn boot(plan: &Plan, job: &Job) -> Outcome {
    let provisions = Options::new(plan.arch()).provide(&mut ());
    let provisions = provisions.unwrap_or_else(|error| panic!("{error}"));
    let settings = Settings {
        limit: Duration::from_secs(900),
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
