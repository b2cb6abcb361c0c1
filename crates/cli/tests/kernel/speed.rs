//! Speed beside fio, turn by turn in one guest: printed, and not asserted, since the guest is emulated. What is
//! counted is asserted.

use std::fmt::Write as _;

use serde_json::Value;

use crate::guest::{Script, Steps};

const MACHINE: &str = include_str!("switch.toml");
const TURNS: usize = 3;
const HEADER: &str = "\
GB/s, medians of turns in one guest, emulated
block dep | leg   uring psync ratio | copy  serial ratio| bounce ratio| calls/block";

/// A leg by fio, from or into the third SSD's memory.
fn fio(engine: &str, way: &str, device: &str, block: &str, depth: u32, bytes: &str) -> String {
    format!(
        "fio --name={engine}-{way} --ioengine={engine} --rw={way} --filename={device} --direct=1 \
         --bs={block} --iodepth={depth} --size={bytes} --output-format=terse --terse-version=3 \
         --iomem=mmapshared:/sys/bus/pci/devices/0000:03:00.0/p2pmem/allocate"
    )
}

/// Every tool's legs in turns, then copies.
fn cell((block, depth, bytes, copied): Cell) -> String {
    let mut turn = format!(
        "p2pdma copy /dev/ssd1 0000:03:00.0/p2pmem --length {bytes} --block-size {block} \
         --queue-depth {depth} -q -o jsonl && "
    );
    for (engine, way, device) in [
        ("io_uring", "read", "/dev/ssd1"),
        ("psync", "read", "/dev/ssd1"),
        ("io_uring", "write", "/dev/ssd2"),
    ] {
        if engine == "io_uring" || depth == 1 {
            write!(turn, "{} && ", fio(engine, way, device, block, depth, bytes)).unwrap();
        }
    }
    turn.repeat(TURNS)
        + &format!(
            "p2pdma bench /dev/ssd1 /dev/ssd2 --yes -q --bytes {copied} --rounds {TURNS} \
             --block-size {block} --queue-depth {depth} -o jsonl"
        )
}

fn median(mut rates: Vec<f64>) -> Option<f64> {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied()
}

/// GB/s of a job of fio's, whose terse lines have KiB/s of reads in field 7 and of writes in field 48.
fn of_fio(said: &str, job: &str, field: usize) -> Option<f64> {
    let lines = said.lines().map(|line| line.split(';').collect::<Vec<_>>());
    let own = lines.filter(|fields| fields.get(2) == Some(&job));
    let rate = |fields: Vec<&str>| fields.get(field - 1)?.parse::<f64>().ok();
    median(own.filter_map(rate).map(|rate| rate * 1024.0 / 1e9).collect())
}

fn documents(said: &str) -> Vec<Value> {
    said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What one cell has shown: our leg over fio's best, our copy over fio's legs one after the other.
fn line((block, depth, ..): Cell, said: &str) -> String {
    let documents = documents(said);
    let row = documents.iter().find(|row| row["schema"] == "p2pdma/bench-row").unwrap();
    let ours = documents.iter().filter_map(|copy| copy["measured"]["gb_per_second"].as_f64());
    let ours = median(ours.collect()).unwrap();
    let uring = of_fio(said, "io_uring-read", 7).unwrap();
    let psync = of_fio(said, "psync-read", 7);
    let write = of_fio(said, "io_uring-write", 48).unwrap();
    let (peer, bounce) = (&row["peer_to_peer"], &row["through_host_memory"]);
    let rate = |way: &Value| way["measured_gb_per_second"]["median"].as_f64().unwrap();
    let calls = peer["measured_blocks"]["system_calls_per_block"].as_f64().unwrap();
    assert_eq!(peer["host_memory_bytes_per_byte"], 0.0, "{row}");
    assert_eq!(bounce["host_memory_bytes_per_byte"], 2.0, "{row}");
    if (block, depth) == ("4k", 32) {
        // A block is two requests.
        assert!(calls / 2.0 <= 1.0 / 16.0, "{calls} calls per block");
    }
    let serial = 1.0 / (1.0 / uring + 1.0 / write);
    let psync_text = psync.map_or_else(|| "-".to_owned(), |psync| format!("{psync:.3}"));
    format!(
        "{block:>5} {depth:>3} | {ours:.3} {uring:.3} {psync_text:>5} {:5.2} | {:.3} {serial:.3} {:5.2} | \
         {:.3} {:5.2} | {calls:.3}",
        ours / uring.max(psync.unwrap_or(0.0)),
        rate(peer),
        rate(peer) / serial,
        rate(bounce),
        rate(peer) / rate(bounce),
    )
}

/// A cell: its block, its depth, the bytes of a leg, which have to fit into what is lent, and of a copy.
type Cell = (&'static str, u32, &'static str, &'static str);

/// Runs cells after a script, and gives their lines.
fn measure(script: Script, cells: &[Cell]) -> (Steps, Vec<String>) {
    let script =
        script.packages(&["fio"]).step("fill", "p2pdma copy pattern:seed=5 /dev/ssd1 --length 32M");
    let name = |(block, depth, ..): &Cell| format!("{block}-{depth}");
    let steps =
        cells.iter().fold(script, |script, at| script.step(&name(at), &cell(*at))).run(MACHINE);
    steps.ends("fill", 0, &[]);
    let lines = cells.iter().map(|at| line(*at, &steps.ends(&name(at), 0, &[]).said)).collect();
    (steps, lines)
}

/// Steps with three threads, an earlier run, and an application.
fn further(script: Script) -> Script {
    let bench = |destination: &str, options: &str| {
        format!(
            "p2pdma bench /dev/ssd1 {destination} --bytes 4M --rounds 2 --block-size 64k --queue-depth 4 \
             --yes {options}"
        )
    };
    script
        .step("four", "p2pdma copy pattern:seed=9 /dev/ssd1 --length 4M -q")
        .step("threads", &bench("/dev/ssd2", "-q --threads 3 -o json > /tmp/then; cat /tmp/then"))
        .step("moved", "cmp -n 4194304 /dev/ssd1 /dev/ssd2 && cmp -n 4096 /dev/ssd1 /dev/ssd0")
        .step("beside", &bench("/dev/ssd2", "--threads 3 --baseline /tmp/then"))
        .step("others", &bench("/dev/ssd0", "--threads 3 --baseline /tmp/then"))
        .step("nothing", &bench("/dev/ssd2", "--baseline /proc/version"))
        .step("application", &bench("/dev/ssd2", "-q --interference -o json"))
}

fn check_further(steps: &Steps) {
    steps.ends("four", 0, &[]);
    let row = |name: &str| {
        let document: Value = serde_json::from_str(&steps.ends(name, 0, &[]).said).unwrap();
        assert!(document["system"]["kernel"].is_string(), "{document}");
        document["rows"][0].clone()
    };
    let threads = row("threads");
    assert_eq!(threads["threads"], 3);
    let blocks = &threads["peer_to_peer"]["measured_blocks"];
    assert!(blocks["context_switches_per_gb"].as_f64().unwrap() > 0.0, "{threads}");
    assert_eq!(threads["peer_to_peer"]["host_memory_bytes_per_byte"], 0.0);
    // All threads have moved their parts; and where nothing was written there is something else.
    steps.ends("moved", 1, &["/dev/ssd0"]);
    steps.ends("beside", 0, &["beside the earlier run", "no difference seen", "0.000"]);
    steps.ends("others", 2, &["the baseline is of other devices"]);
    steps.ends("nothing", 2, &["a baseline is what"]);
    let application = &row("application")["application"];
    for beside in ["alone", "beside_peer_to_peer", "beside_host_memory"] {
        for figure in ["gb_per_second", "latency_ns"] {
            let median = application[beside][figure]["median"].as_f64();
            assert!(median.unwrap() > 0.0, "{application}");
        }
    }
}

#[test]
fn a_benchmark_runs_beside_fio_and_counts_no_byte_in_host_memory() {
    let script = Script::new(4)
        .step("unasked", "p2pdma bench /dev/ssd1 /dev/ssd2 --bytes 1M")
        .step("same", "p2pdma bench /dev/ssd1 /dev/ssd1 --bytes 1M --yes")
        .step("memory", "p2pdma bench /dev/ssd1 0000:03:00.0/p2pmem --bytes 1M --yes")
        .step("untouched", "p2pdma copy /dev/ssd2 zero: --length 1M")
        .step("table", "p2pdma bench 0000:04:00.0/ns1 /dev/ssd2 --bytes 1M --rounds 1 --yes")
        .step("made", "mkfs.ext4 -q /dev/ssd3")
        .step("signature", "p2pdma bench /dev/ssd1 /dev/ssd3 --bytes 1M")
        .step("mounted", "mkdir /a; mount /dev/ssd3 /a; p2pdma bench /dev/ssd1 /dev/ssd3 --yes");
    let script = further(script.packages(&["e2fsprogs"]));
    let (steps, lines) = measure(script, &[("4k", 32, "8M", "8M"), ("128k", 8, "8M", "8M")]);
    steps.ends("unasked", 6, &["would be overwritten; nothing was written", "--yes"]);
    steps.ends("same", 6, &["are one device"]);
    steps.ends("memory", 2, &["is no namespace"]);
    steps.ends("untouched", 0, &[]);
    steps.ends("table", 0, &["host bytes/byte", "calls/block"]);
    steps.ends("made", 0, &[]);
    steps.ends("signature", 6, &["has an ext2, ext3 or ext4 file system"]);
    steps.ends("mounted", 6, &["/dev/ssd3 is in use"]);
    check_further(&steps);
    println!("{HEADER}\n{}", lines.join("\n"));
}

/// What docs/performance.md shows.
#[test]
#[ignore = "takes three minutes and asserts no more than the one above: it prints the whole table"]
fn the_whole_table() {
    let sizes = [("4k", "8M", "8M"), ("128k", "32M", "32M"), ("1M", "32M", "128M")];
    let cells = sizes.into_iter().flat_map(|(block, leg, copied)| {
        [1, 8, 32].map(|depth| -> Cell { (block, depth, leg, copied) })
    });
    let (_, lines) = measure(Script::new(4), &cells.collect::<Vec<_>>());
    println!("{HEADER}\n{}", lines.join("\n"));
}
