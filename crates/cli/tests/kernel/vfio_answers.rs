//! What the command says where vfio, or a device under it, is not to be had: who, why, and what to do; and what `bind`
//! leaves behind when a move breaks off half-way.

use crate::guest::{Script, Steps};

/// What the steps call the devices; C and E are functions of one device, which an IOMMU cannot tell apart.
const NAMES: &str = "A=0000:03:00.0 B=0000:04:00.0 C=0000:05:00.0 D=0000:06:00.0 E=0000:05:00.1; \
                     devices=/sys/bus/pci/devices; drivers=/sys/bus/pci/drivers";

/// Beside the machine's other devices.
pub(crate) const SECOND_FUNCTION: &str = "
[[nvme]]
name = \"nvme3\"
below = \"sw0.2\"
function = 1
queues = 2
[[nvme.namespace]]
size = \"1G\"
";

/// Which driver A has after that, and which one is named for it.
const A_HAS: &str = "basename $(readlink $devices/$A/driver); cat $devices/$A/driver_override";

pub(crate) fn named(lines: &str) -> String {
    format!("{NAMES}; {lines}")
}

/// The same by an ordinary user.
pub(crate) fn by_nobody(arguments: &str) -> String {
    named(&format!("su -s /bin/sh nobody -c \"$(command -v p2pdma) {arguments}\""))
}

/// Takes A and B, whose file of that name is another one meanwhile.
fn take_with(file: &str, make: &str) -> String {
    named(&format!(
        "{make}; other=$(readlink -f $devices/$B/driver_override); mount --bind /tmp/{file} $other; \
         mount -o remount,bind,ro $other; p2pdma bind take $A $B; status=$?; umount $other; {A_HAS}; exit $status"
    ))
}

/// Ctrl-C comes while the first device is taken from its driver.
const INTERRUPTED: &str = "mkfifo /tmp/unbind; mount --bind /tmp/unbind $drivers/nvme/unbind; \
     p2pdma bind take $A $B & take=$!; \
     until grep -q vfio-pci $devices/$A/driver_override; do sleep 0.05; done; sleep 0.3; \
     kill -INT $take; sleep 0.3; cat /tmp/unbind > /dev/null; wait $take; status=$?; \
     umount $drivers/nvme/unbind";

/// SIGTERM comes to p2pdma alone while its command runs.
const TOLD: &str = "p2pdma bind take $A -- sh -c \"touch /tmp/runs; exec sleep 300\" & take=$!; \
     until [ -e /tmp/runs ]; do sleep 0.05; done; kill -TERM $take; wait $take; status=$?";

/// A process has files of A open, and has it for itself in no way that the kernel knows.
const HELD: &str = "until ls -d $devices/$A/nvme/nvme*/nvme*n1 > /tmp/there 2>&1; do sleep 0.1; done; \
     cd $devices/$A/nvme/nvme*; for node in $(basename $PWD) $(ls -d nvme*n1); do \
     sleep 300 < /dev/$node & held=$!; p2pdma bind take $A; status=$?; kill $held; wait $held; done; exit $status";

/// A device of a group of which the kernel uses another one: by hand, since `bind` refuses it.
pub(crate) const FORCED: &str = "echo vfio-pci > $devices/$C/driver_override; echo $C > $devices/$C/driver/unbind; \
                      echo $C > /sys/bus/pci/drivers_probe";

/// While another process has C: its group is busy, and others are not.
const BUSY: &str = "p2pdma copy $C/ns1 null: --length 512M --progress always > /tmp/busy 2>&1 & busy=$!; \
     until [ -s /tmp/busy ]; do sleep 0.05; done; p2pdma copy $C/ns1 null: --length 1M; status=$?; \
     echo alone; p2pdma copy $B/ns1 null: --length 1M; \
     echo between; p2pdma copy $A/ns1 $B/ns1 --length 1M --yes; kill -INT $busy; wait $busy; exit $status";

/// A lender is reset behind the back of its driver.
pub(crate) const RESET: &str = "p2pdma copy $B/ns1 $C/ns1 --length 96M --via $A/cmb --yes --progress always > /tmp/said 2>&1 & copy=$!; \
     until [ -s /tmp/said ]; do sleep 0.05; done; echo 1 > $devices/$A/reset; wait $copy; status=$?; \
     cat /tmp/said; exit $status";

#[test]
fn every_refusal_says_who_and_why_and_what_to_do() {
    let machine = format!("{}{SECOND_FUNCTION}", p2pdma::presets::text("vfio").unwrap());
    let script = Script::new(4).modules(&["vfio-pci", "vfio_iommu_type1"]);
    let script = half_way(script)
        .step("share", &named("p2pdma bind take $C"))
        .step("shared", &named(&format!("{FORCED}; p2pdma copy $C/ns1 null: --length 1M")))
        .step("unshare", &named("p2pdma bind give $C"))
        .step("memory", &named("p2pdma --platform vfio copy $D/ns1 null: --length 1M"))
        .step("nowhere", "p2pdma --platform vfio copy 0000:77:00.0/ns1 null: --length 1M")
        .step("take", &named("p2pdma bind take $B $C $E"))
        .step("lender", &named("p2pdma copy $B/ns1 $C/ns1 --length 1M --yes --via $A/cmb"))
        .step("no-cmb", &named("p2pdma copy $B/ns1 $C/ns1 --length 1M --yes --via $C/cmb"))
        .step("user", "mkdir -p /etc; echo nobody:x:65534:65534::/:/bin/sh >> /etc/passwd")
        .step("denied", &by_nobody("copy $C/ns1 null: --length 1M"))
        .step("denied-take", &by_nobody("bind take $A"))
        .step("denied-give", &by_nobody("bind give $C"))
        .step("closed", "chmod 600 /dev/vfio/vfio")
        .step("container", &by_nobody("copy $C/ns1 null: --length 1M"))
        .step("opened", "chmod 666 /dev/vfio/vfio; chown nobody /dev/vfio/*")
        .step("allowed", &by_nobody("copy $C/ns1 null: --length 1M"))
        .step("locked", &named("su -s /bin/sh nobody -c \"ulimit -l 16; $(command -v p2pdma) copy $C/ns1 null: --length 1M\""))
        .step("take-lender", &named("p2pdma bind take $A"))
        .step("busy", &named(BUSY))
        .step("reset", &named(RESET))
        .step("works", &named("p2pdma copy $B/ns1 $C/ns1 --length 4M --via $A/cmb --yes --verify"))
        .step("give", &named("p2pdma bind give $A $B $C $E"))
        .step("no-type1", &named("rmmod vfio_pci; rmmod vfio_pci_core; rmmod vfio_iommu_type1; p2pdma --platform vfio copy $A/ns1 null: --length 1M"))
        .step("absent", &named("rmmod vfio; p2pdma --platform vfio copy $A/ns1 null: --length 1M"))
        .step("absent-take", &named(&format!("p2pdma bind take $A; status=$?; {A_HAS}; exit $status")))
        .step("log", "dmesg | grep -E \"Oops|Call Trace|blocked for more than\"");
    let steps = script.run(&machine);
    println!("{} answers under vfio", steps.count());
    left_behind(&steps);
    refused(&steps);
    in_use(&steps);
    steps.ends("log", 1, &[]);
}

/// Moves that break off.
fn half_way(script: Script) -> Script {
    script
        .step("ignored", &take_with("null", "mknod /tmp/null c 1 3"))
        .step("unwritable", &take_with("empty", "touch /tmp/empty"))
        .step("interrupted", &named(&format!("{INTERRUPTED}; {A_HAS}; exit $status")))
        .step("killed", &named(&format!("p2pdma bind take $A $B -- sh -c \"kill -9 \\$\\$\"; status=$?; sleep 0.5; {A_HAS}; exit $status")))
        .step("told", &named(&format!("{TOLD}; sleep 0.5; {A_HAS}; exit $status")))
        .step("held", &named(HELD))
        .step("after", "p2pdma bind status")
}

fn left_behind(steps: &Steps) {
    let all_back = "; all devices have their drivers back";
    // The device does not hear that it is vfio-pci's now.
    let ignored = ["0000:04:00.0 did not come to vfio-pci", all_back, "\nnvme\n(null)\n"];
    steps.ends("ignored", 1, &ignored);
    let file = "0000:04:00.0/driver_override' failed: Read-only";
    steps.ends("unwritable", 1, &[file, all_back, "\nnvme\n(null)\n"]);
    steps.ends("interrupted", 130, &[all_back, "\nnvme\n(null)\n"]);
    steps.ends("killed", 137, &["sh was ended by signal 9", "nvme\n(null)\n"]);
    steps.ends("told", 143, &["sh was ended by signal 15", "nvme\n(null)\n"]);
    let held = ["0000:03:00.0 is in use: nvme", "n1 is open in sleep (", "; nothing was changed"];
    let held = steps.ends("held", 6, &held);
    assert_eq!(held.said.matches(" is open in sleep (").count(), 2, "{}", held.said);
    let after = steps.ends("after", 0, &["0000:03:00.0  nvme ", "0000:04:00.0  nvme "]);
    assert!(!after.said.contains("vfio-pci"), "{}", after.said);
}

fn refused(steps: &Steps) {
    let shared =
        ["of 0000:05:00.0 is shared with 0000:05:00.1 (nvme)", "take all of them, or none"];
    steps.ends("share", 6, &shared);
    steps.ends("shared", 6, &shared);
    for name in ["unshare", "take", "user", "closed", "opened", "take-lender", "give"] {
        steps.ends(name, 0, &[]);
    }
    steps.ends(
        "memory",
        2,
        &["0000:06:00.0 (unknown) is not an NVMe controller\nhelp: it has bar2"],
    );
    steps.ends("nowhere", 2, &["there is no device at 0000:77:00.0\nhelp: there are 0000:03:00.0"]);
    let elsewhere =
        ["0000:03:00.0 is not bound to vfio-pci, but to nvme\nhelp: p2pdma bind take 0000:03:00.0"];
    steps.ends("lender", 6, &elsewhere);
    steps.ends("no-cmb", 2, &["0000:05:00.0/cmb is not there\nhelp: the device lends no memory"]);
    steps.ends("denied", 5, &["P2P-PERM", "may not be opened", "chown $USER /dev/vfio/"]);
    let denied = ["P2P-PERM", "driver_override' failed: Permission denied", "help: run it as root"];
    let take = steps.ends("denied-take", 5, &denied);
    assert!(take.said.contains("; all devices have their drivers back"), "{}", take.said);
    steps.ends("denied-give", 5, &denied);
    steps.ends("container", 5, &["/dev/vfio/vfio may not be opened", "chmod 666 /dev/vfio/vfio"]);
    steps.ends("allowed", 0, &[]);
    steps.ends(
        "locked",
        1,
        &["for 0000:05:00.0: the limit of locked memory is reached", "help: raise"],
    );
    steps.ends("no-type1", 1, &["has no type 1 IOMMU\nhelp: modprobe vfio_iommu_type1"]);
    steps.ends("absent", 1, &["this kernel offers no vfio", "help: modprobe vfio-pci"]);
    let back = "'modprobe vfio-pci' failed: ";
    steps.ends(
        "absent-take",
        1,
        &[back, "; all devices have their drivers back\nhelp: load vfio-pci", "nvme\n(null)\n"],
    );
}

/// Devices that others use, or reset, and those that nobody asked for.
fn in_use(steps: &Steps) {
    let taken = "of 0000:05:00.0 is in use by another process";
    let busy = steps.ends("busy", 6, &[taken, "help: end the other process"]);
    let (alone, between) = busy.said.split_once("between").unwrap();
    assert!(!alone.contains("lends nothing"), "who is not needed is not opened: {alone}");
    assert!(between.contains("0000:05:00.0 lends nothing: "), "{between}");
    assert!(between.contains("peer to peer, via 0000:03:00.0/cmb"), "{between}");
    let reset = [
        "error[P2P-REVOKED]: 0000:03:00.0 was reset: ",
        "the partial result is in 0000:05:00.0/ns1",
    ];
    steps.ends("reset", 1, &reset);
    steps.ends("works", 0, &["32 blocks read again and equal", "host memory   0 bytes"]);
}
