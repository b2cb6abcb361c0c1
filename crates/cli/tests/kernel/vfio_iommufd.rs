//! Who may open devices by iommufd, and what becomes of a BAR that it maps when the device is reset.

use crate::guest::{Script, Steps, iommufd};
use crate::vfio_answers::{FORCED, RESET, SECOND_FUNCTION, by_nobody, named};

/// The file by which a device is opened, and that of its group.
const FILES: &str = "node() { echo /dev/vfio/devices/$(ls $devices/$1/vfio-dev); }; \
                     group() { echo /dev/vfio/$(basename $(readlink $devices/$1/iommu_group)); }";

/// While another process has C, which E shares a group with.
fn while_busy(wanted: &str) -> String {
    named(&format!(
        "rm -f /tmp/busy; p2pdma copy $C/ns1 null: --length 256M --block-size 4k --queue-depth 1 --progress always > /tmp/busy 2>&1 & busy=$!; \
         until [ -s /tmp/busy ]; do sleep 0.05; done; p2pdma copy {wanted}/ns1 null: --length 1M; status=$?; \
         kill -INT $busy; wait $busy; exit $status"
    ))
}

#[test]
#[ignore = "it takes a kernel that has iommufd: cargo xtask iommufd KERNEL"]
fn devices_are_opened_by_themselves() {
    assert!(iommufd().is_some(), "which kernel? P2PDMA_IOMMUFD_KERNEL says it");
    let machine = format!("{}{SECOND_FUNCTION}", p2pdma::presets::text("vfio").unwrap());
    let copy = "copy $B/ns1 null: --length 1M";
    let steps = Script::new(4)
        .modules(&["vfio-pci"])
        .examples(&["reset_lender"])
        .step("forced", &named(&format!("{FORCED}; p2pdma copy $C/ns1 null: --length 1M")))
        .step("unforce", &named("p2pdma bind give $C"))
        .step("take", &named("p2pdma bind take $A $B $C $E"))
        .step("user", "mkdir -p /etc; echo nobody:x:65534:65534::/:/bin/sh >> /etc/passwd; chmod 755 /dev/vfio /dev/vfio/devices")
        .step("root", &named("p2pdma topo"))
        .step("denied", &by_nobody(copy))
        .step("group", &named(&format!("{FILES}; chown nobody $(group $B)")))
        .step("by-group", &by_nobody(copy))
        .step("sees-container", &by_nobody("topo"))
        .step("space", "chown nobody /dev/iommu")
        .step("no-node", &by_nobody(copy))
        .step("node", &named(&format!("{FILES}; chown nobody $(node $B)")))
        .step("by-node", &by_nobody(copy))
        .step("sees-iommufd", &by_nobody("topo"))
        .step("locked", &named("su -s /bin/sh nobody -c \"ulimit -l 16; $(command -v p2pdma) copy $B/ns1 null: --length 1M\""))
        .step("busy", &while_busy("$C"))
        .step("busy-group", &while_busy("$E"))
        .step("reset", &named("reset_lender $A $B"))
        .step("reset-behind", &named(RESET))
        .step("works", &named("p2pdma copy $B/ns1 $C/ns1 --length 4M --via $A/cmb --yes --verify"))
        .step("give", &named("p2pdma bind give $A $B $C $E"))
        .step("log", "dmesg | grep -E \"DMAR.*fault|Oops|Call Trace|WARNING|blocked for more than\"")
        .run(&machine);
    println!("{} steps by iommufd", steps.count());
    for name in ["unforce", "take", "user", "group", "space", "node", "give"] {
        steps.ends(name, 0, &[]);
    }
    allowed(&steps);
    let shared = ["of 0000:05:00.0 is shared with 0000:05:00.1 (nvme)", "take all of them"];
    steps.ends("forced", 6, &shared);
    let taken = "is in use by another process\nhelp: end the other process";
    steps.ends("busy", 6, &["of 0000:05:00.0 ", taken]);
    steps.ends("busy-group", 6, &["of 0000:05:00.1 ", taken]);
    let refused =
        "mapped\nreset\nrefused: 0000:04:00.0 cannot map memory of a device that was reset while";
    steps.ends("reset", 0, &[refused, "use\ndropped\nmapped\n"]);
    let gone = ["error[P2P-REVOKED]: 0000:03:00.0 was reset: ", "the partial result is in "];
    steps.ends("reset-behind", 1, &gone);
    steps.ends("works", 0, &["32 blocks read again and equal", "host memory   0 bytes"]);
    steps.ends("log", 1, &[]);
}

/// Who has a group is given the container, and who has the device iommufd; `topo` says so to each.
fn allowed(steps: &Steps) {
    steps.ends("root", 0, &["vfio iommufd"]);
    steps.ends("denied", 5, &["P2P-PERM", "may not be opened", "chown $USER /dev/vfio/"]);
    steps.ends("by-group", 0, &[]);
    steps.ends("sees-container", 0, &["vfio container (type 1)"]);
    let node = "/dev/vfio/devices/vfio";
    steps.ends("no-node", 5, &["P2P-PERM", node, "may not be opened", "chown $USER /dev/vfio/"]);
    steps.ends("by-node", 0, &[]);
    steps.ends("sees-iommufd", 0, &["vfio iommufd"]);
    let locked = "for 0000:04:00.0: the limit of locked memory is reached";
    steps.ends("locked", 1, &[locked, "help: raise"]);
}
