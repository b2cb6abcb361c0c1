//! Our own driver on devices that are bound to vfio-pci, behind an IOMMU that translates: where the kernel's own
//! peer-to-peer transfers lose their data.

use std::path::Path;

use crate::guest::{Script, Steps, interface};

/// What the steps call the devices.
const NAMES: &str = "A=0000:03:00.0 B=0000:04:00.0 C=0000:05:00.0 D=0000:06:00.0";

#[test]
fn devices_are_taken_copied_between_and_given_back() {
    let copy = |via: &str| {
        format!("{NAMES}; p2pdma copy $A/ns1 $C/ns1 --length 4M --verify --yes --via {via}")
    };
    let take = format!("{NAMES}; p2pdma bind take $A $B $C $D");
    let (wipe, via_cmb) =
        (format!("{NAMES}; p2pdma copy zero: $C/ns1 --length 4M"), copy("$A/cmb"));
    let kept = tempfile::tempdir().unwrap();
    let script = Script::new(3)
        .modules(&["vfio-pci", "vfio_iommu_type1", "xfs"])
        .packages(&["xfsprogs"])
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd0 --length 4M")
        .step("kernel", "p2pdma copy /dev/ssd0 /dev/ssd2 --length 4M")
        .step("faults", "dmesg | grep -c \"DMAR.*fault\" | tee /tmp/faults")
        .step("free", "p2pdma bind status")
        .step("dry", &format!("{NAMES}; p2pdma bind take $A -n"))
        .step("mounted", &format!("{NAMES}; mkfs.xfs -q /dev/ssd1 && mkdir -p /mnt/b && mount /dev/ssd1 /mnt/b && p2pdma bind take $A $B"))
        .step("still", "p2pdma bind status | grep -c vfio-pci; umount /mnt/b")
        .step("bridge", "p2pdma bind take 0000:01:00.0")
        .step("nobody", "p2pdma bind take 0000:0f:00.0")
        .step("unbound", &format!("{NAMES}; p2pdma --platform vfio copy $A/ns1 zero: --length 4M"))
        .step("take", &take)
        .step("status", "p2pdma bind status")
        .step("signature", &format!("{NAMES}; p2pdma copy $A/ns1 $B/ns1 --length 1M"))
        .step("cmb", &via_cmb)
        .step("wipe", &wipe)
        .step("pmr", &copy("$B/pmr"))
        .step("wiped", &wipe)
        .step("bar", &copy("$D/bar2"))
        .step("into", &format!("{NAMES}; p2pdma copy $A/ns1 $B/pmr --length 4M --verify"))
        .step("wiped-again", &wipe)
        .step("out-of", &format!("{NAMES}; p2pdma copy $B/pmr $C/ns1 --length 4M --verify --yes"))
        .step("came-out", &format!("{NAMES}; p2pdma copy $C/ns1 pattern:seed=5 --length 4M"))
        .step("probe", &format!("{NAMES}; p2pdma probe $C/ns1 $A/cmb --write --yes -o json"))
        .step("bounce", &format!("{NAMES}; p2pdma copy $A/ns1 $C/ns1 --length 4M --p2p=off --yes"))
        .step("topo", &format!("{NAMES}; p2pdma --platform vfio topo"))
        .step("nothing", &format!("{NAMES}; p2pdma copy $A/ns7 zero: --length 4M"))
        .step("give", &format!("{NAMES}; p2pdma bind give $A $B $C $D"))
        .step("settle", "until [ $(ls -d /sys/class/nvme/nvme*/nvme*n1 | wc -l) = 3 ]; do sleep 0.1; done; p2pdma bind status")
        .step("back", &format!("{NAMES}; p2pdma copy $C/ns1 pattern:seed=5 --length 4M"))
        .step("with", &format!("{NAMES}; p2pdma bind take $A $C -- p2pdma copy $A/ns1 $C/ns1 --length 1M --verify --yes"))
        .step("fails", &format!("{NAMES}; p2pdma bind take $A $C -- p2pdma copy $A/ns1 ones: --length 1M"))
        .step("named", &format!("{NAMES}; cd /sys/bus/pci/devices/$A; echo nvme > driver_override; p2pdma bind take $A -- true; basename $(readlink driver); cat driver_override; echo > driver_override"))
        .step("after", "until [ $(ls -d /sys/class/nvme/nvme*/nvme*n1 | wc -l) = 3 ]; do sleep 0.1; done; p2pdma bind status; p2pdma copy /dev/nvme0n1 null: --length 4M -q")
        .step("log", "[ $(dmesg | grep -c \"DMAR.*fault\") = $(cat /tmp/faults) ]")
        .folder(kept.path());
    let steps = with_examples(script, &take).run(p2pdma::presets::text("vfio").unwrap());
    println!("{} steps under vfio", steps.count());
    moved(&steps);
    examples(&steps);
    on_the_host(&kept.path().join("nvme1-memory.img"));
    steps.ends("fill", 0, &[]);
    steps.ends("kernel", 4, &["[P2P-DATA-LOST]"]);
    steps.ends("free", 0, &["0000:03:00.0  nvme  IOMMU group ", "with 0000:02:00.0 (pcieport)"]);
    steps.ends("dry", 0, &["echo vfio-pci > /sys/bus/pci/devices/0000:03:00.0/driver_override\n"]);
    let words = ["0000:04:00.0 is in use: nvme", "is mounted at /mnt/b; nothing was changed"];
    steps.ends("mounted", 6, &words);
    steps.ends("still", 0, &["0\n"]);
    steps.ends("bridge", 2, &["is a bridge"]);
    steps.ends("nobody", 2, &["there is no device at 0000:0f:00.0"]);
    let words =
        ["0000:03:00.0 is not bound to vfio-pci, but to nvme", "p2pdma bind take 0000:03:00.0"];
    steps.ends("unbound", 6, &words);
    steps.ends("take", 0, &[]);
    steps.ends("status", 0, &["0000:06:00.0  vfio-pci"]);
    steps.ends("signature", 6, &["0000:04:00.0/ns1 has an XFS file system"]);
    steps.ends("probe", 0, &["\"passed\": true", "\"drains\": 6"]);
    steps.ends("bounce", 0, &["bounced through host memory: 8388608 bytes"]);
    steps.ends("nothing", 2, &["has no namespace 7"]);
    steps.ends("give", 0, &["0000:03:00.0  nvme ", "0000:06:00.0  no driver"]);
    steps.ends("settle", 0, &["0000:05:00.0  nvme "]);
    steps.ends("back", 0, &[]);
    steps.ends("with", 0, &["8 blocks read again and equal"]);
    steps.ends("named", 0, &["nvme\nnvme\n"]);
    steps.ends("fails", 2, &["'ones:' is not a scheme"]);
    let after = steps.ends("after", 0, &["0000:03:00.0  nvme ", "0000:05:00.0  nvme "]);
    assert!(!after.said.contains("vfio-pci"), "{}", after.said);
    // Of our own requests the IOMMU refused none: all faults are of the kernel's transfer before.
    steps.ends("faults", 0, &[]);
    steps.ends("log", 0, &[]);
}

/// What was copied without the kernel arrived, and the devices are shown as vfio's.
fn moved(steps: &Steps) {
    for (name, bytes) in [("cmb", 4_194_304), ("pmr", 8_388_608), ("bar", 8_388_608)] {
        let peer = format!("peer to peer  {bytes} bytes");
        steps.ends(name, 0, &["host memory   0 bytes\n", &peer, "32 blocks read again and equal"]);
    }
    steps.ends("wipe", 0, &[]);
    steps.ends("wiped", 0, &[]);
    steps.ends("into", 0, &["host memory   0 bytes\n", "32 blocks read again and equal"]);
    // What is in the memory is the source: no probe may touch it.
    steps.ends("wiped-again", 0, &[]);
    steps.ends("out-of", 0, &["host memory   0 bytes\n", "32 blocks read again and equal"]);
    steps.ends("came-out", 0, &[]);
    let opened = format!("vfio {}", interface());
    let taken = format!("driver vfio-pci  group 5  {opened}");
    let topo = steps.ends("topo", 0, &["0000:03:00.0", &taken]);
    assert_eq!(topo.said.matches(&opened).count(), 4, "{}", topo.said);
}

/// The same, and then the library's examples.
fn with_examples(script: Script, take: &str) -> Script {
    script
        .examples(&["identify", "cmb_copy", "pmr_persist", "errant_dma", "interrupts"])
        .step("again", take)
        .step("identify", &format!("{NAMES}; identify $A; identify $B"))
        .step("cmb-copy", &format!("{NAMES}; cmb_copy $A $C"))
        .step("persist", &format!("{NAMES}; pmr_persist $B && pmr_persist $B"))
        .step("interrupts", &format!("{NAMES}; interrupts $A"))
        .step("errant", &format!("{NAMES}; errant_dma $A"))
        .step("faulty", &format!("{NAMES}; {FAULTY}"))
        .step(
            "into-flushed",
            &format!(
                "{NAMES}; p2pdma copy pattern:seed=9 $B/pmr --dst-offset 4M --length 4M --flush"
            ),
        )
}

/// The line that the kernel wrote of A's last refused write comes again while a copy is under way, of that copy's sink.
const FAULTY: &str = "p2pdma copy $A/ns1 $C/ns1 --length 128M --via $A/cmb --yes --progress always > /tmp/said 2>&1 & copy=$!; \
     line=$(dmesg | grep -F \"DMAR: [DMA Write\" | tail -1); line=\"DMAR:${line#*DMAR:}\"; \
     until [ -s /tmp/said ]; do sleep 0.05; done; \
     echo \"${line%%\\[0000:*}[$C]${line#*\\[0000:*]}\" > /dev/kmsg; wait $copy; status=$?; cat /tmp/said; exit $status";

/// What the library's examples, and a controller that is told wrong addresses, say.
fn examples(steps: &Steps) {
    steps.ends("again", 0, &[]);
    steps.ends("into-flushed", 0, &["flushed       the destination is durable"]);
    let memories =
        ["controller memory buffer: 67108864 bytes", "persistent memory region: 16777216 bytes"];
    steps.ends("identify", 0, &memories);
    steps.ends("cmb-copy", 0, &["copied 524288 bytes from 0000:03:00.0 to 0000:05:00.0"]);
    steps.ends("persist", 0, &["this is time 1\nthis is time 2\n"]);
    steps.ends("interrupts", 0, &["100 reads, 100 interrupts of vector 1\n"]);
    let said = [
        "the IOMMU refused a write to 0x",
        " by 0000:05:00.0: bytes are lost",
        "help: the kernel's log",
    ];
    steps.ends("faulty", 1, &said);
    // QEMU's controller says that all went well, even of what it could not read: the IOMMU alone knows better.
    let stopped = ["read-never-mapped", "read-unmapped-again", "read-mapped-to-read"];
    let stopped =
        stopped.map(|name| format!("case {name}: success; untouched; refused the write\n"));
    let errant = steps.ends("errant", 0, &stopped.each_ref().map(String::as_str));
    for line in [
        "case write-never-mapped: success; untouched; refused the read\n",
        "medium: success; 0 bytes leaked",
        // The very command does meet that memory once it is mapped there.
        "case read-mapped: success; byte 4096 is 0x5a; refused nothing\n",
    ] {
        assert!(errant.said.contains(line), "{line}: {}", errant.said);
    }
}

/// The bytes that were put into the region are in QEMU's file: those of an SSD, and behind them those of this command's.
fn on_the_host(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(bytes.len(), 16 << 20);
    // The first ones are those of an example.
    assert_eq!((&bytes[..8], &bytes[8..16]), (&b"p2pcount"[..], &2_u64.to_le_bytes()[..]));
    let (of_ssd, of_command) = (&bytes[16..4 << 20], &bytes[4 << 20..8 << 20]);
    assert!(of_ssd == &pattern(5)[16..], "the SSD's bytes");
    assert!(of_command == pattern(9), "the command's bytes");
}

/// 4 MiB of `pattern:seed=N`: every eight bytes are their number and the seed, mixed by the finaliser of splitmix64.
fn pattern(seed: u64) -> Vec<u8> {
    let mix = |number: u64| {
        let word = number.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()
    };
    (0..4 << 17).flat_map(mix).collect()
}
