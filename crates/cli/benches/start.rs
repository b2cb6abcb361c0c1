//! From the start of the process to its end: what a user waits for a command that has little to do, and
//! for the tree of a large machine.
//!
//! `cargo bench -p p2pdma-cli --bench start` prints the command beside `true`, which is what any process
//! costs on this machine.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

fn start(criterion: &mut Criterion) {
    criterion.bench_function("start/true", |bencher| bencher.iter(|| done("true", &[])));
    let p2pdma = env!("CARGO_BIN_EXE_p2pdma");
    criterion.bench_function("start/topo", |bencher| {
        bencher.iter(|| done(p2pdma, &["--fabric", "default", "topo"]));
    });
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.snapshot");
    std::fs::write(&large, large_machine()).unwrap();
    let large = large.to_str().unwrap();
    for (name, command) in [("tree", &["topo"][..]), ("matrix", &["topo", "--matrix"])] {
        criterion.bench_function(&format!("start/500 functions, {name}"), |bencher| {
            let args: Vec<&str> = ["--from", large].iter().chain(command).copied().collect();
            bencher.iter(|| done(p2pdma, &args));
        });
    }
}

fn done(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{program} failed");
}

/// A snapshot of 22 times the functions of the machine `eight-ssds`, each time in a domain of its own:
/// 22 * 23 = 506.
fn large_machine() -> String {
    let capture =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../topologies/captures/eight-ssds.snapshot");
    let text = std::fs::read_to_string(Path::new(capture)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let header = lines.remove(0);
    lines.pop();
    let (mut folder, mut rest, mut copied, mut links) = (String::new(), vec![], vec![], vec![]);
    let mut names = Vec::new();
    for line in lines {
        let record: Value = serde_json::from_str(&line).unwrap();
        if let Some(next) = record["folder"].as_str() {
            folder = next.to_owned();
            if folder == "sys/bus/pci/devices" {
                let all = record["names"].as_array().unwrap();
                names = all.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
                continue;
            }
        }
        match folder.as_str() {
            "sys/bus/pci/devices" => links.push(line),
            inside if inside.starts_with("sys/devices/pci") => copied.push(line),
            _ => rest.push(line),
        }
    }
    let domains = |lines: &[String]| -> Vec<String> {
        let copy = |domain: u32| {
            let own = format!("{domain:04x}:");
            lines.iter().map(move |line| line.replace("0000:", &own)).collect::<Vec<_>>()
        };
        (0..22).flat_map(copy).collect()
    };
    rest.push(json!({"folder": "sys/bus/pci/devices", "names": domains(&names)}).to_string());
    rest.extend(domains(&links));
    rest.extend(domains(&copied));
    format!("{header}\n{}\n{}\n", rest.join("\n"), json!({"end": rest.len()}))
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(4));
    targets = start
}
criterion_main!(benches);
