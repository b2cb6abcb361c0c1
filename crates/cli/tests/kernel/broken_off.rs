//! Copies that are broken off and go on, files with holes, partitions, devices that fail; and how much memory a
//! copy takes.

use crate::guest::{CLOCK, Script, Steps};

const MACHINE: &str = include_str!("switch.toml");

/// Begins a copy that takes a while, with one request at each end.
const SLOWLY: &str =
    "p2pdma copy /dev/ssd0 /dev/ssd1 --length 48M --block-size 32k --queue-depth 1";
const RESUME: &str =
    "p2pdma copy /dev/ssd0 /dev/ssd1 --length 48M --block-size 32k --resume /tmp/j";

/// Goes on until the journal tells of a flush, and then is acted upon.
fn then(act: &str) -> String {
    format!(
        "{SLOWLY} --resume /tmp/j & copy=$!; \
         while kill -0 $copy && ! grep -qs durable /tmp/j; do sleep 0.05; done; \
         {act}; wait $copy"
    )
}

/// A copy, and the most memory that it had.
fn watched(options: &str) -> String {
    format!(
        "p2pdma copy /dev/ssd0 /dev/ssd2 {options} --yes -q & copy=$!; \
         while kill -0 $copy 2> /dev/null; do \
         grep -s VmHWM /proc/$copy/status > /tmp/now && cp /tmp/now /tmp/peak; sleep 0.05; done; \
         wait $copy && cat /tmp/peak"
    )
}

/// A file of 16 MiB with 1 MiB and 4 KiB of data, and a hole at its end.
const SPARSE: &str = "truncate -s 16M /a/s; \
     dd if=/dev/urandom of=/a/s bs=1M count=1 seek=4 conv=notrunc 2> /dev/null; \
     dd if=/dev/urandom of=/a/s bs=4k count=1 seek=3000 conv=notrunc 2> /dev/null; sync";

fn holes(script: Script) -> Script {
    script
        .step("ext4", "mkfs.ext4 -q /dev/ssd2; mkdir /a; mount -t ext4 /dev/ssd2 /a")
        .step("xfs", "mkfs.xfs -q /dev/ssd3; mkdir /b; mount -t xfs /dev/ssd3 /b")
        .step("sparse", SPARSE)
        .step(
            "to-xfs",
            "p2pdma --platform linux copy /a/s /b/s --verify; du -k /b/s; cmp /a/s /b/s",
        )
        .step(
            "to-ext4",
            "p2pdma --platform linux copy /b/s /a/t --verify; du -k /a/t; cmp /b/s /a/t",
        )
        .step(
            "to-commands",
            "p2pdma copy /a/s $(readlink -f /dev/ssd1 | sed s/nvme/ng/) --yes --verify",
        )
        .step("to-block", "p2pdma copy /a/s /dev/ssd1 --yes --verify")
        .step(
            "to-tmpfs",
            "p2pdma --platform linux copy /a/s /tmp/s --p2p=prefer --verify; du -k /tmp/s; cmp /a/s /tmp/s",
        )
        .step(
            "hole",
            "truncate -s 1M /a/h; p2pdma --platform linux copy /a/h /b/h --verify; du -k /b/h",
        )
        .step("lent", "p2pdma copy /a/s 0000:03:00.0/p2pmem")
        .step("unmount", "umount /a /b")
}

fn partitions(script: Script) -> Script {
    script
        .step(
            "part",
            "printf \",100M\\n,100M\\n\" | sfdisk -q /dev/ssd1; disk=$(readlink -f /dev/ssd1); \
             ln -s ${disk}p1 /dev/p1; ln -s ${disk}p2 /dev/p2; ls $disk*",
        )
        .step("disk-part", "p2pdma copy /dev/ssd1 /dev/p1 --length 1M --yes")
        .step("part-disk", "p2pdma copy /dev/p1 /dev/ssd1 --length 1M --yes --dst-offset 300M")
        .step("smaller", "p2pdma copy /dev/ssd0 /dev/p1")
        .step("part-part", "p2pdma copy /dev/p1 /dev/p2 --length 1M --verify --yes")
        .step("same", "p2pdma copy /dev/p1 /dev/p1 --dst-offset 512k --length 1M --yes")
        .step("apart", "p2pdma copy /dev/p1 /dev/p1 --dst-offset 1M --length 1M --yes")
        .step("twice", "p2pdma copy /dev/ssd0 /dev/ssd0")
        .step(
            "pool",
            "p2pdma copy zero: 0000:03:00.0/p2pmem --length 60M --block-size 4k --queue-depth 1 & \
             copy=$!; until grep -q p2pmem /proc/$copy/maps; do sleep 0.02; done; \
             kill -STOP $copy; p2pdma copy /dev/ssd0 /dev/ssd2 --block-size 8M --yes; status=$?; \
             kill -9 $copy; exit $status",
        )
}

/// A byte of `/dev/ssd1` whose medium fails, between devices.
const BAD: u64 = 400 << 20;

/// A device that does not answer while a signal comes. The summary does not wait for it, though the process cannot end
/// before the kernel has ended its requests.
const STALLED: &str = "echo 0 262144 linear /dev/ssd3 0 | dmsetup create slow; dmsetup mknodes; \
     p2pdma copy /dev/ssd0 /dev/mapper/slow --length 128M --yes --p2p=prefer --progress always -o json \
     > /tmp/summary 2> /tmp/said & copy=$!; until [ -s /tmp/said ]; do sleep 0.02; done; \
     dmsetup suspend --nolockfs slow & sleep 0.5; from=$(now); kill -INT $copy; \
     n=0; until [ -s /tmp/summary ] || [ $n = 500 ]; do sleep 0.02; n=$((n + 1)); done; to=$(now); work; \
     dmsetup resume slow; wait $copy; status=$?; cat /tmp/summary; echo took $((to - from)); exit $status";

fn script() -> Steps {
    let script = Script::new(4)
        .roomy()
        .bad("nvme1", BAD)
        .packages(&["e2fsprogs", "xfsprogs", "dmsetup", "fdisk"])
        .modules(&["xfs", "dm-mod"])
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd0 --length 128M")
        .step("killed", &then("kill -9 $copy"))
        .step("planned", &format!("{RESUME} --dry-run"))
        .step("other", &RESUME.replace("48M", "47M"))
        .step("resumed", &format!("{RESUME} --verify; ls /tmp/j"))
        .step("interrupted", &then("kill -INT $copy"))
        .step("interrupted-on", &format!("{RESUME} -q -o json"))
        .step(
            "revoked",
            &then("echo 0000:04:00.0 > /sys/bus/pci/drivers/nvme/unbind"),
        )
        .step(
            "bound",
            "echo 0000:04:00.0 > /sys/bus/pci/drivers/nvme/bind; until [ -e /dev/ssd1 ]; do sleep 0.1; done",
        )
        .step("went-on", &format!("{RESUME} --verify"));
    partitions(holes(script))
        .step(
            "error",
            "printf \"0 2048 linear /dev/ssd3 0\\n2048 2048 error\\n\" | dmsetup create bad; dmsetup mknodes",
        )
        .step("reads", "p2pdma copy /dev/mapper/bad /dev/ssd2 --yes --p2p=prefer")
        .step("writes", "p2pdma copy /dev/ssd0 /dev/mapper/bad --length 2M --yes --p2p=prefer --resume /tmp/e")
        .step(
            "medium-read",
            "p2pdma copy /dev/ssd1 /dev/ssd2 --src-offset 399M --length 2M --yes",
        )
        .step(
            "medium-write",
            "p2pdma copy /dev/ssd0 /dev/ssd1 --dst-offset 399M --length 2M --yes",
        )
        .step("source", "p2pdma copy /dev/ssd0 pattern:seed=5 --length 2M")
        .step("stalled", &format!("{CLOCK}; {STALLED}"))
        .step("short", &watched("--length 4M"))
        .step("long", &watched("--length 96M"))
        .step("bounced", &watched("--length 96M --block-size 16M --p2p=off --verify"))
        .run(MACHINE)
}

#[test]
fn what_is_broken_off_goes_on_and_what_fails_is_told() {
    let steps = script();
    for name in ["fill", "bound", "ext4", "xfs", "sparse", "unmount", "part", "error"] {
        steps.ends(name, 0, &[]);
    }
    goes_on(&steps);
    keeps_holes(&steps);
    knows_partitions(&steps);
    // How far depends on what ended first.
    let partial = "the partial result is in /dev/ssd2: ";
    steps.ends("reads", 1, &["/dev/mapper/bad: at byte 1048576: Input/output error", partial]);
    // Several are under way beyond the first bad byte, and any of them may end first.
    let words = ["/dev/mapper/bad: at byte 1", ": Input/output error", "--resume /tmp/e"];
    steps.ends("writes", 1, &words);
    let medium = format!("/dev/ssd1: at byte {BAD}: ");
    let peer = "host memory   0 bytes";
    for (name, sink) in [("medium-read", "/dev/ssd2"), ("medium-write", "/dev/ssd1")] {
        let partial = format!("the partial result is in {sink}: ");
        steps.ends(name, 1, &[&medium, "the medium has an error there", &partial, peer]);
    }
    steps.ends("source", 0, &[]);
    let stalled = steps.ends("stalled", 130, &["\"code\": \"INTERRUPTED\""]);
    let took = stalled.number("took");
    assert!(took < stalled.allows(200), "{took} hundredths of a second");
    let [short, long, bounced] = ["short", "long", "bounced"].map(|name| peak(&steps, name));
    println!(
        "{} steps on a real kernel; at most {short} and {long} KiB of memory for 4 and 96 MiB",
        steps.count()
    );
    // What is lent is mapped, and counts: 1 MiB.
    assert!(long <= 65 << 10 && long <= short + 4096, "{short} and {long} KiB");
    // Four blocks of 16 MiB: two under way, and one of each end to be compared.
    assert!(bounced <= short + (65 << 10), "{short} and {bounced} KiB");
}

fn goes_on(steps: &Steps) {
    steps.ends("killed", 137, &[]);
    let durable = [" bytes (", "were durable already"];
    steps.ends("planned", 0, &durable);
    let words =
        ["/tmp/j is the journal of another copy: its length is 50331648, this one's is 49283072"];
    steps.ends("other", 6, &words);
    for (name, status) in [("resumed", 1), ("went-on", 0)] {
        let step = steps.ends(name, status, &durable);
        for words in ["1536 blocks read again and equal", "durable", "host memory   0 bytes"] {
            assert!(step.said.contains(words), "{name}: {}", step.said);
        }
        assert!(!step.said.contains("resumed       0 bytes"), "{}", step.said);
    }
    steps.ends("resumed", 1, &["/tmp/j: No such file"]);
    let words =
        ["interrupted; the partial result is in /dev/ssd1: ", "from there: --resume /tmp/j"];
    steps.ends("interrupted", 130, &words);
    let said = &steps.ends("interrupted-on", 0, &[]).said;
    let document: serde_json::Value = serde_json::from_str(said).unwrap();
    assert!(document["resumed_bytes"].as_u64().unwrap() > 0, "{document}");
    steps.ends("revoked", 1, &["[P2P-REVOKED]: /dev/ssd1 is gone", "from there: --resume /tmp/j"]);
}

/// 1 MiB and 4 KiB of 16 MiB.
const DATA: &str = "1028\t";

fn keeps_holes(steps: &Steps) {
    let left_out = "15724544 bytes (15.00 MiB), left out";
    for (name, path) in [("to-xfs", "/b/s"), ("to-ext4", "/a/t"), ("to-tmpfs", "/tmp/s")] {
        steps.ends(name, 0, &[left_out, "128 blocks read again", &format!("{DATA}{path}")]);
    }
    steps.ends("to-block", 0, &["made zeroes by the destination itself", "128 blocks read again"]);
    steps.ends("hole", 0, &["1048576 bytes (1 MiB), left out", "0\t/b/h"]);
    // Memory has no holes, and commands of our own make none.
    for name in ["lent", "to-commands"] {
        assert!(!steps.ends(name, 0, &[]).said.contains("holes"), "{name}");
    }
    steps.ends("to-commands", 0, &["128 blocks read again"]);
}

fn knows_partitions(steps: &Steps) {
    for name in ["disk-part", "part-disk"] {
        steps.ends(name, 6, &["are on one another; nothing was written"]);
    }
    steps.ends("smaller", 2, &["do not fit into /dev/p1", "nothing was written"]);
    steps.ends("part-part", 0, &["8 blocks read again and equal"]);
    steps.ends("same", 6, &["source and destination overlap in /dev/p1"]);
    steps.ends("apart", 0, &[]);
    steps.ends("twice", 6, &["the source is the destination in /dev/ssd0"]);
    steps.ends("pool", 3, &["[P2P-POOL-EMPTY]", "nothing was written"]);
}

/// The most memory that a process had, in KiB.
fn peak(steps: &Steps, name: &str) -> u64 {
    let said = &steps.ends(name, 0, &["VmHWM:"]).said;
    said.split_ascii_whitespace().rev().nth(1).unwrap().parse().unwrap()
}
