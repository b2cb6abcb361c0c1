//! Speed beside fio, turn by turn in one guest: printed, and not asserted, since the guest is emulated. What is
//! counted is asserted.

use std::time::Duration;

use serde_json::Value;

use crate::guest::{Script, Steps};

const MACHINE: &str = include_str!("switch.toml");
const HEADER: &str = "\
GB/s: medians of turns in one guest, emulated; ratios: medians of those of the turns, and their extremes
block dep | leg   uring psync  over the best      | copy  serial at once  over serial        over at once       | bounce | calls/request";

/// fio with memory of the third SSD, up to what differs between jobs.
fn fio(engine: &str, block: &str, depth: u32, bytes: &str) -> String {
    format!(
        "fio --ioengine={engine} --direct=1 --bs={block} --iodepth={depth} --size={bytes} \
         --output-format=terse --terse-version=3 \
         --iomem=mmapshared:/sys/bus/pci/devices/0000:03:00.0/p2pmem/allocate"
    )
}

/// Turns of all of them: legs of ours and of fio's, each beside the other; our copy beside fio's other leg; fio's legs at
/// once; every second turn the other way round. With one request at a time it may be a plain system call, for both.
fn cell((block, depth, bytes): Cell, turns: usize) -> String {
    let uring = fio("io_uring", block, depth, bytes);
    let psync = fio("psync", block, 1, bytes);
    let read = |name: &str| format!("--name={name} --rw=read --filename=/dev/ssd1");
    let write = |name: &str| format!("--name={name} --rw=write --filename=/dev/ssd2");
    let ours = |engine: &str, what: &str| {
        format!(
            "echo engine {engine} && p2pdma {what} --block-size {block} --queue-depth {depth} \
             --engine {engine} -q -o jsonl"
        )
    };
    let leg = format!("copy /dev/ssd1 0000:03:00.0/p2pmem --length {bytes}");
    let copy = format!("bench /dev/ssd1 /dev/ssd2 --yes --bytes {bytes} --rounds 1");
    let mut turn = vec![ours("io-uring", &leg), format!("{uring} {}", read("uring-read"))];
    if depth == 1 {
        turn.extend([ours("sync", &leg), format!("{psync} {}", read("psync-read"))]);
    }
    turn.extend([ours("io-uring", &copy), format!("{uring} {}", write("uring-write"))]);
    if depth == 1 {
        turn.extend([ours("sync", &copy), format!("{psync} {}", write("psync-write"))]);
    }
    turn.push(format!("{uring} {} {}", read("both-read"), write("both-write")));
    let back: Vec<String> = turn.iter().rev().cloned().collect();
    let all = [turn.join(" && "), back.join(" && ")];
    all.iter().map(String::as_str).cycle().take(turns).collect::<Vec<_>>().join(" && ")
}

/// A figure of each turn.
type Series = Vec<f64>;

/// What fits each pair of figures of a turn.
fn each(first: &Series, second: &Series, what: fn(f64, f64) -> f64) -> Series {
    first.iter().zip(second).map(|(first, second)| what(*first, *second)).collect()
}

fn sorted(figures: &Series) -> Series {
    let mut figures = figures.clone();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(figures: &Series) -> f64 {
    sorted(figures)[figures.len() / 2]
}

/// A median, and the extremes.
fn spread(figures: &Series) -> String {
    let sorted = sorted(figures);
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    format!("{:.2} ({least:.2} to {most:.2})", median(figures))
}

/// Bytes of one leg and then those of the other take so long together.
fn serial(read: f64, write: f64) -> f64 {
    1.0 / (1.0 / read + 1.0 / write)
}

/// GB/s of a job of fio's in each turn; terse lines have KiB/s of reads in field 7 and of writes in field 48.
fn of_fio(said: &str, job: &str) -> Series {
    let field = if job.ends_with("read") { 7 } else { 48 };
    let lines = said.lines().map(|line| line.split(';').collect::<Vec<_>>());
    let own = lines.filter(|fields| fields.get(2) == Some(&job));
    let rate = |fields: Vec<&str>| fields.get(field - 1)?.parse::<f64>().ok();
    own.filter_map(rate).map(|rate| rate * 1024.0 / 1e9).collect()
}

const ROW: &str = "p2pdma/bench-row";
const LEG: &str = "/measured/gb_per_second";
const COPY: &str = "/peer_to_peer/measured_gb_per_second/median";
const BOUNCE: &str = "/through_host_memory/measured_gb_per_second/median";

/// What our command has said, by one engine.
fn ours(said: &str, engine: &str) -> Vec<Value> {
    let (mut documents, mut is) = (Vec::new(), false);
    for line in said.lines() {
        if let Some(name) = line.strip_prefix("engine ") {
            is = name == engine;
        } else if is {
            documents.extend(serde_json::from_str::<Value>(line).ok());
        }
    }
    documents
}

/// A figure of each document that has it.
fn rates(documents: &[Value], pointer: &str) -> Series {
    documents.iter().filter_map(|one| one.pointer(pointer)?.as_f64()).collect()
}

/// What one cell has shown.
fn line((block, depth, ..): Cell, said: &str) -> String {
    let documents = ours(said, "io-uring");
    let (mut leg, mut copy) = (rates(&documents, LEG), rates(&documents, COPY));
    let bounce = rates(&documents, BOUNCE);
    let rows: Vec<&Value> = documents.iter().filter(|row| row["schema"] == ROW).collect();
    for row in &rows {
        assert_eq!(row["peer_to_peer"]["host_memory_bytes_per_byte"], 0.0, "{row}");
        assert_eq!(row["through_host_memory"]["host_memory_bytes_per_byte"], 2.0, "{row}");
    }
    // A block is two requests.
    let calls = |row: &&Value| {
        row["peer_to_peer"]["measured_blocks"]["system_calls_per_block"].as_f64().map(|n| n / 2.0)
    };
    let calls = median(&rows.iter().filter_map(calls).collect());
    assert!(depth < 32 || calls <= 1.0 / 16.0, "{block}: {calls} calls per request");
    let [read, write, both_read, both_write, psync_read, psync_write] =
        ["uring-read", "uring-write", "both-read", "both-write", "psync-read", "psync-write"]
            .map(|job| of_fio(said, job));
    let (mut best, mut in_series) = (read.clone(), each(&read, &write, serial));
    if depth == 1 {
        best = each(&best, &psync_read, f64::max);
        in_series = each(&in_series, &each(&psync_read, &psync_write, serial), f64::max);
        let documents = ours(said, "sync");
        leg = each(&leg, &rates(&documents, LEG), f64::max);
        copy = each(&copy, &rates(&documents, COPY), f64::max);
    }
    let at_once = each(&both_read, &both_write, f64::min);
    let ratio = |ours: &Series, theirs: &Series| spread(&each(ours, theirs, |a, b| a / b));
    let psync = if depth == 1 { format!("{:.3}", median(&psync_read)) } else { "-".to_owned() };
    format!(
        "{block:>5} {depth:>3} | {:.3} {:.3} {psync:>5} {:>20} | {:.3} {:.3}  {:.3} {:>20} {:>20} | {:.3} | {calls:.4}",
        median(&leg),
        median(&read),
        ratio(&leg, &best),
        median(&copy),
        median(&in_series),
        median(&at_once),
        ratio(&copy, &in_series),
        ratio(&copy, &at_once),
        median(&bounce),
    )
}

/// A cell: its block, its depth, and the bytes of a leg, which have to fit into what is lent, and of a copy.
type Cell = (&'static str, u32, &'static str);

/// Runs cells after a script, and gives their lines.
fn measure(script: Script, machine: &str, cells: &[Cell], turns: usize) -> (Steps, Vec<String>) {
    let script =
        script.packages(&["fio"]).step("fill", "p2pdma copy pattern:seed=5 /dev/ssd1 --length 32M");
    let name = |(block, depth, ..): &Cell| format!("{block}-{depth}");
    let step = |script: Script, at: &Cell| script.step(&name(at), &cell(*at, turns));
    let steps = cells.iter().fold(script, step).run(machine);
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
    let cells = [("4k", 32, "8M"), ("128k", 32, "32M")];
    let (steps, lines) = measure(script, MACHINE, &cells, 3);
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

/// A boot for each size of blocks; turns of all, at some depths. Lines come as they are measured.
fn table(depths: &'static [u32], turns: usize) -> impl Iterator<Item = String> {
    let machine = MACHINE.replace("cmb = \"64M\"", "cmb = \"256M\"");
    let sizes = [("4k", "8M"), ("128k", "64M"), ("1M", "128M")];
    let rows = sizes.into_iter().map(move |(block, bytes)| {
        let cells: Vec<Cell> = depths.iter().map(|&depth| (block, depth, bytes)).collect();
        let script = Script::new(4).limit(Duration::from_secs(1800));
        measure(script, &machine, &cells, turns).1.join("\n")
    });
    std::iter::once(HEADER.to_owned()).chain(rows)
}

/// Of what docs/performance.md shows the rows with one request at each end: more turns, since there is less to see.
#[test]
#[ignore = "takes half an hour and asserts no more than the one above: it prints a table"]
fn the_table_at_depth_1() {
    table(&[1], 11).for_each(|line| println!("{line}"));
}

/// The others.
#[test]
#[ignore = "takes twenty minutes and asserts no more than the one above: it prints a table"]
fn the_table_at_depths_8_and_32() {
    table(&[8, 32], 7).for_each(|line| println!("{line}"));
}
