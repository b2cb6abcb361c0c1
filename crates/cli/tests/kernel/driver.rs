//! `bench` under vfio, and the driver's speed beside fio and the kernel's own driver in one guest.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::guest::{Script, Steps, is_optimized};

const NAMES: &str = "A=0000:03:00.0 B=0000:04:00.0 C=0000:05:00.0 D=0000:06:00.0";
const DEPTH: u32 = 32;

fn machine() -> &'static str {
    p2pdma::presets::text("vfio").unwrap()
}

fn script() -> Script {
    Script::new(3).modules(&["vfio-pci", "vfio_iommu_type1"])
}

fn bench(options: &str) -> String {
    format!(
        "{NAMES}; p2pdma bench $A/ns1 $C/ns1 --bytes 2M --block-size 64k --queue-depth 4 {options}"
    )
}

#[test]
fn namespaces_under_vfio_are_measured() {
    let then = "-q --yes --rounds 2 --threads 2 -o json > /tmp/then; cat /tmp/then";
    let steps = script()
        .step("fill", "p2pdma copy pattern:seed=7 /dev/ssd0 --length 2M")
        .step("take", &format!("{NAMES}; p2pdma bind take $A $C $D"))
        .step("unasked", &bench(""))
        .step("same", &format!("{NAMES}; p2pdma bench $A/ns1 $A/ns1 --bytes 1M --yes"))
        .step("memory", &format!("{NAMES}; p2pdma bench $A/ns1 $D/bar2 --bytes 1M --yes"))
        .step("one", &format!("{NAMES}; p2pdma --platform vfio bench"))
        .step("untouched", &format!("{NAMES}; p2pdma copy $C/ns1 zero: --length 2M"))
        .step("table", &bench("--yes --rounds 1"))
        .step("threads", &bench(then))
        .step("beside", &bench("--yes --rounds 2 --threads 2 --baseline /tmp/then"))
        .step("application", &bench("-q --yes --rounds 2 --interference -o json"))
        .step("moved", &format!("{NAMES}; p2pdma copy $C/ns1 pattern:seed=7 --length 2M"))
        .step("give", &format!("{NAMES}; p2pdma bind give $A $C $D"))
        .run(machine());
    steps.ends("fill", 0, &[]);
    steps.ends("take", 0, &[]);
    steps.ends("unasked", 6, &["would be overwritten; nothing was written", "--yes"]);
    steps.ends("same", 6, &["are one device"]);
    steps.ends("memory", 2, &["is no namespace", "under vfio"]);
    steps.ends("one", 2, &["is measured unasked"]);
    steps.ends("untouched", 0, &[]);
    steps.ends("table", 0, &["host bytes/byte", "0.000"]);
    let row = |name: &str| {
        let said = &steps.ends(name, 0, &[]).said;
        let document: Result<Value, _> = serde_json::from_str(said);
        document.unwrap_or_else(|error| panic!("{name}: {error}: {said:?}"))["rows"][0].clone()
    };
    let threads = row("threads");
    assert_eq!(threads["threads"], 2);
    assert_eq!(threads["peer_to_peer"]["host_memory_bytes_per_byte"], 0.0);
    assert_eq!(threads["through_host_memory"]["host_memory_bytes_per_byte"], 2.0);
    // A driver of our own asks the kernel for nothing.
    assert_eq!(threads["peer_to_peer"]["measured_blocks"]["system_calls_per_block"], 0.0);
    steps.ends("beside", 0, &["beside the earlier run"]);
    let alone = &row("application")["application"]["alone"]["gb_per_second"]["median"];
    assert!(alone.as_f64().unwrap() > 0.0, "{alone}");
    steps.ends("moved", 0, &[]);
    steps.ends("give", 0, &[]);
}

/// A block size, the bytes that are read in it, and the turns.
type Cell = (&'static str, &'static str, usize);

/// One turn: the same SSD by the kernel's driver, with fio and with our own command; then by ours, into host memory
/// and into the memory behind a BAR, twice each; and back.
fn turn((block, bytes, _): Cell) -> String {
    let copy = |name: &str, source: &str, sink: &str| {
        format!(
            "echo {name}; p2pdma copy {source} {sink} --length {bytes} --block-size {block} \
             --queue-depth {DEPTH} -q -o jsonl; "
        )
    };
    let mut turn = format!(
        "{NAMES}; disk=$(echo /sys/bus/pci/devices/$C/nvme/nvme*/nvme*n1); disk=/dev/${{disk##*/}}; \
         fio --name=fio --ioengine=io_uring --rw=read --filename=$disk --direct=1 --bs={block} \
         --iodepth={DEPTH} --size={bytes} --output-format=terse --terse-version=3; "
    );
    turn += &copy("kernel", "$disk", "null:");
    turn += "p2pdma bind take $C $D -q; ";
    for _ in 0..2 {
        turn += &copy("host", "$C/ns1", "null:");
        turn += &copy("bar", "$C/ns1", "$D/bar2");
    }
    turn += "p2pdma bind give $C $D -q; \
             until [ -e /sys/bus/pci/devices/$C/nvme/nvme*/nvme*n1 ]; do sleep 0.1; done; ";
    turn
}

/// GB/s of what was done in one way, in order.
fn rates(said: &str, way: &str) -> Vec<f64> {
    let (mut rates, mut current) = (Vec::new(), "");
    for line in said.lines() {
        let fields: Vec<&str> = line.split(';').collect();
        if fields.get(2) == Some(&"fio") && way == "fio" {
            // KiB/s of reads (fio's HOWTO, terse output).
            rates.push(fields[6].parse::<f64>().unwrap() * 1024.0 / 1e9);
        } else if let Ok(document) = serde_json::from_str::<Value>(line) {
            let rate = document["measured"]["gb_per_second"].as_f64();
            rates.extend(rate.filter(|_| current == way));
        } else {
            current = line;
        }
    }
    rates
}

/// Median and quartiles.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values[(values.len() - 1) * share / 4];
    format!("{:.3} ({:.3} to {:.3})", at(2), at(1), at(3))
}

fn line(cell: Cell, steps: &Steps) -> String {
    let (block, _, turns) = cell;
    let said: Vec<&str> =
        (0..turns).map(|turn| &*steps.ends(&format!("{block}-{turn}"), 0, &[]).said).collect();
    let said = said.join("\n");
    let [fio, kernel, host, bar] = ["fio", "kernel", "host", "bar"].map(|way| rates(&said, way));
    let counts = [fio.len(), kernel.len(), host.len() / 2, bar.len() / 2];
    assert_eq!(counts, [turns; 4], "{said}");
    let over = |ours: &[f64], theirs: &[f64]| {
        let each = ours.len() / theirs.len();
        spread(ours.iter().enumerate().map(|(at, rate)| rate / theirs[at / each]).collect())
    };
    let mut text = format!("{block}, depth {DEPTH}, {turns} turns, GB/s\n");
    for (name, rates) in [
        ("kernel's driver, fio io_uring", &fio),
        ("kernel's driver, p2pdma", &kernel),
        ("our driver, host memory", &host),
        ("our driver, RAM behind a BAR", &bar),
    ] {
        writeln!(text, "  {name}: {}", spread(rates.clone())).unwrap();
    }
    writeln!(text, "  our driver over fio: {}", over(&host, &fio)).unwrap();
    write!(text, "  BAR over host memory: {}", over(&bar, &host)).unwrap();
    text
}

/// The same machine in software, with time: modelled GB/s of both ways, which have no spread.
fn modelled(block: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("timed.toml");
    std::fs::write(&file, format!("{}\n[timing]\nmodel = \"pcie\"\n", machine())).unwrap();
    let rate = |sink: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_p2pdma"))
            .arg("--fabric")
            .arg(&file)
            .args(["copy", "fabric:nvme2/ns1", sink, "--length", "8M", "-q", "-o", "json"])
            .args(["--block-size", block, "--queue-depth", &DEPTH.to_string()])
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["modelled"]["gb_per_second"].as_f64().unwrap()
    };
    let (host, bar) = (rate("null:"), rate("fabric:ram0/mem"));
    assert!(bar >= 0.9 * host, "{block}: {bar} into the BAR, {host} into host memory");
    format!(
        "{block}, depth {DEPTH}, model with time: host memory {host:.2} GB/s, RAM behind a BAR {bar:.2} GB/s, \
         ratio {:.2}",
        bar / host
    )
}

/// Where the way into a BAR is no slower than that into host memory: on the links that are modelled.
#[test]
fn a_bar_takes_what_host_memory_takes() {
    println!("{}\n{}", modelled("4k"), modelled("128k"));
}

/// Batches of reads that callgrind watches, and their number.
const BATCHES: [u32; 2] = [10, 60];

/// The instructions of so many batches: of what submits and what reaps.
fn watched(batches: u32) -> String {
    format!(
        "{NAMES}; VALGRIND_LIB=$(dirname $(command -v batches)) valgrind --tool=callgrind --callgrind-out-file=/dev/null \
         --toggle-collect=*submit_batch* --toggle-collect=*reap_batch* $(command -v batches) $C {batches}"
    )
}

/// Instructions per command, of a build with optimization alone.
fn instructions(steps: &Steps) -> f64 {
    let [few, many] = BATCHES.map(|batches| {
        let said = &steps.ends(&format!("watched-{batches}"), 0, &[]).said;
        let line = said.lines().find(|line| line.contains("Collected :")).unwrap();
        line.split_whitespace().last().unwrap().parse::<f64>().unwrap()
    });
    (many - few) / f64::from((BATCHES[1] - BATCHES[0]) * DEPTH)
}

/// What the driver costs on a controller that is not ours: the same as on our model, where CI watches it.
#[test]
#[ignore = "is about a build with --release"]
fn instructions_in_the_guest() {
    assert!(is_optimized(), "give cargo --release");
    let script = script()
        .packages(&["valgrind"])
        .examples(&["batches"])
        // Debian's package has it beside its programs, where guests do not get it from.
        .program("/usr/libexec/valgrind/callgrind-amd64-linux")
        .step("take", &format!("{NAMES}; p2pdma bind take $C"));
    let step = |script: Script, batches: u32| {
        script.step(&format!("watched-{batches}"), &watched(batches))
    };
    let steps = BATCHES.into_iter().fold(script, step).run(machine());
    steps.ends("take", 0, &[]);
    let instructions = instructions(&steps);
    println!(
        "driver on QEMU's controller: {instructions:.1} instructions per 4 KiB command at depth {DEPTH}"
    );
    assert!(instructions <= 150.0);
}

/// What docs/performance.md shows.
#[test]
#[ignore = "takes minutes, and asserts nothing of the guest's speed: it prints the table"]
fn the_driver_s_table() {
    let cells: [Cell; 2] = [("4k", "4M", 7), ("128k", "16M", 7)];
    let mut script = script()
        .packages(&["fio"])
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd2 --length 16M");
    for cell in cells {
        let (block, _, turns) = cell;
        for number in 0..turns {
            script = script.step(&format!("{block}-{number}"), &turn(cell));
        }
    }
    let steps = script.run(machine());
    steps.ends("fill", 0, &[]);
    for cell in cells {
        println!("{}\n{}", line(cell, &steps), modelled(cell.0));
    }
}
