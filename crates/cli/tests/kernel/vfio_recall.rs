//! Devices under vfio that are taken away while a copy uses them: the kernel asks for them and waits, and so the copy has
//! to end by itself.

use std::fmt::Write as _;

use crate::guest::Script;

/// What the steps call the devices, and a clock in hundredths of a second.
const NAMES: &str = "A=0000:03:00.0 B=0000:04:00.0 C=0000:05:00.0 D=0000:06:00.0; \
                     now() { cut -d\" \" -f1 /proc/uptime | tr -d .; }";

/// Copies between two namespaces, and does something to a device once a tenth of it is said. Says how long the copy, and
/// how long the device, stayed after that. A copy that hangs is ended.
fn during(copy: &str, act: &str) -> String {
    format!(
        "{NAMES}; rm -f /tmp/said; p2pdma copy {copy} --yes --progress always > /tmp/said 2>&1 & copy=$!; \
         (sleep 90; echo HANGS; dmesg | tail -20; kill -9 $copy) & watch=$!; \
         until [ -s /tmp/said ]; do sleep 0.05; done; from=$(now); ({act}) & act=$!; \
         wait $copy; status=$?; to=$(now); wait $act; gone=$(now); \
         kill $watch; cat /tmp/said; echo removed $((gone - from)); echo took $((to - from)); exit $status"
    )
}

/// A completion timeout (bit 14 of Uncorrectable Error Status) of the port above C, which the kernel tells all that is below it.
/// `struct aer_error_inj` (drivers/pci/pcie/aer_inject.c): bus, device, function, the status, and zeroes.
fn error_above_c() -> String {
    let zeroes = r"\000".repeat(24);
    format!(r#"printf "\002\002\000\000\000\100\000\000{zeroes}" > /dev/aer_inject"#)
}

#[test]
fn a_device_that_is_asked_back_ends_the_copy_in_time() {
    let remove = |bdf: &str| format!("echo 1 > /sys/bus/pci/devices/{bdf}/remove");
    let unbind = |bdf: &str| format!("echo {bdf} > /sys/bus/pci/drivers/vfio-pci/unbind");
    let copy = "$B/ns1 $C/ns1 --length 96M --via $A/cmb";
    let rescan = format!(
        "{NAMES}; echo 1 > /sys/bus/pci/rescan; until [ -e /sys/bus/pci/devices/$B/nvme ]; do sleep 0.1; done; \
         sleep 1; p2pdma bind take $A $B $C"
    );
    let unplugged =
        "echo unplug the sink; until [ ! -e /sys/bus/pci/devices/$C ]; do sleep 0.05; done";
    let works =
        format!("{NAMES}; p2pdma copy $B/ns1 $C/ns1 --length 4M --via $A/cmb --yes --verify");
    let slowly = "$B/ns1 $C/ns1 --length 96M --via $D/bar2 --block-size 4k --queue-depth 1";
    let steps = Script::new(3)
        .modules(&["vfio-pci", "vfio_iommu_type1", "aer_inject"])
        .unplug("unplug the sink", "nvme2")
        .step("take", &format!("{NAMES}; p2pdma bind take $A $B $C $D"))
        .step("provider", &during(copy, &unbind("$A")))
        .step("again", &format!("{NAMES}; p2pdma bind take $A"))
        .step("source", &during(copy, &remove("$B")))
        .step("rescan", &rescan)
        .step("works", &works)
        .step("failed", &during(copy, &error_above_c()))
        .step("again-works", &works)
        .step("sink", &during(slowly, unplugged))
        .step("log", "dmesg | grep -E \"DMAR.*fault|Oops|Call Trace|blocked for more than\"")
        .run(p2pdma::presets::text("vfio").unwrap());
    for name in ["take", "again", "rescan"] {
        steps.ends(name, 0, &[]);
    }
    let mut times = String::new();
    let gone = [("provider", "0000:03:00.0"), ("source", "0000:04:00.0"), ("sink", "0000:05:00.0")];
    for (name, bdf) in gone {
        let what = format!("error[P2P-REVOKED]: {bdf} is asked back by the kernel");
        let step = steps.ends(name, 1, &[&what, "the partial result is in 0000:05:00.0/ns1"]);
        let took = step.said.rsplit_once("took ").unwrap().1.trim().parse::<i32>().unwrap();
        // One to two seconds, where the guest is not kept waiting by others of its machine.
        let limit = 2000;
        assert!(took < limit, "{name}: {took} hundredths of a second: {}", step.said);
        writeln!(times, "{name}: an error after {took} hundredths of a second").unwrap();
    }
    print!("{times}");
    let error = "error: 0000:05:00.0, or the link to it, had an error that was not";
    steps.ends("failed", 1, &[error, "dmesg | grep -i aer"]);
    steps.ends("again-works", 0, &["32 blocks read again and equal", "host memory   0 bytes"]);
    steps.ends("works", 0, &["32 blocks read again and equal", "host memory   0 bytes"]);
    steps.ends("log", 1, &[]);
}
