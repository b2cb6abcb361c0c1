//! The head of a multipath as an end: every path is judged, because the kernel may take any of them.

use crate::guest::Script;

/// Names for what the subsystems are called: `/dev/near` and `/dev/ng-near`, once both paths of each are there.
const NAMES: &str = "\
for name in near split; do \
until [ $(grep -l $name /sys/class/nvme/nvme*/serial | wc -l) = 2 ]; do sleep 0.1; done; \
until [ $(ls -d /sys/class/nvme-subsystem/*/nvme*n1 | wc -l) = 2 ]; do sleep 0.1; done; \
folder=$(dirname $(grep -l :$name$ /sys/class/nvme-subsystem/*/subsysnqn)); \
ln -s /dev/$(basename $folder/nvme*n1) /dev/$name; ln -s /dev/$(basename $folder/ng*n1) /dev/ng-$name; \
echo round-robin > $folder/iopolicy; done; \
until ls /sys/bus/pci/devices/0000:07:00.0/nvme/nvme*/nvme*n1; do sleep 0.1; done; \
ln -s /dev/$(basename /sys/bus/pci/devices/0000:07:00.0/nvme/nvme*/nvme*n1) /dev/ssd";

/// How many requests each path of a head has carried: reads and writes.
const PATHS: &str = "for path in /sys/bus/pci/devices/0000:0[45]:00.0/nvme/nvme*/nvme*c*n1/stat; do \
    read reads a b c writes rest < $path; [ $writes -gt 0 ] && [ $reads -gt 0 ] && echo carried; done";

/// Names for the two devices of one namespace, and for the provider beside them, without multipath.
const ALONE: &str = "\
number=4; for name in first second - other; do \
folder=/sys/bus/pci/devices/0000:0$number:00.0; number=$((number + 1)); [ $name = - ] && continue; \
until ls $folder/nvme/nvme*/nvme*n1; do sleep 0.1; done; \
ln -s /dev/$(basename $folder/nvme/nvme*/nvme*n1) /dev/$name; done";

#[test]
fn a_head_is_an_end_if_every_path_reaches_the_memory() {
    let steps = Script::bare()
        .step("names", NAMES)
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd --length 16M")
        .step("to-head", "p2pdma copy /dev/ssd /dev/near --length 16M --verify -v")
        .step("paths", PATHS)
        .step("commands", "p2pdma copy /dev/ssd /dev/ng-near --length 4M --verify")
        .step("from-head", "p2pdma copy /dev/near /dev/ssd --length 16M --verify")
        .step("probe", "p2pdma probe /dev/near --write")
        .step(
            "one-path",
            "for policy in /sys/class/nvme-subsystem/*/iopolicy; do echo numa > $policy; done; \
             p2pdma probe /dev/near; status=$?; \
             for policy in /sys/class/nvme-subsystem/*/iopolicy; do echo round-robin > $policy; done; \
             exit $status",
        )
        .step("doctor", "p2pdma topo --matrix")
        .step("split", "p2pdma copy /dev/ssd /dev/split --length 1M")
        .step("from-split", "p2pdma copy /dev/split /dev/ssd --length 1M")
        .step("split-commands", "p2pdma copy /dev/ssd /dev/ng-split --length 1M")
        .step("untouched", "p2pdma copy /dev/split zero: --length 1M")
        .step("bounced", "p2pdma copy /dev/ssd /dev/split --length 1M --p2p=prefer --verify")
        .step("arrived", "p2pdma copy /dev/split pattern:seed=5 --length 1M")
        .step("bounce", "p2pdma bench /dev/ssd /dev/near --bytes 128M --block-size 4M --queue-depth 20 --yes")
        .run(include_str!("multipath.toml"));
    let said = ["20 blocks of 4 MiB need 80 MiB of host memory on the bounce: more than 64 MiB"];
    steps.ends("bounce", 2, &said);
    for name in ["names", "fill", "doctor", "untouched", "arrived"] {
        steps.ends(name, 0, &[]);
    }
    let direct = ["peer to peer, via 0000:03:00.0/p2pmem", "host memory   0 bytes"];
    for name in ["to-head", "from-head", "commands"] {
        steps.ends(name, 0, &[direct[0], direct[1], "read again and equal"]);
    }
    steps.ends("to-head", 0, &["0000:04:00.0+0000:05:00.0 drains it: by bus address"]);
    steps.ends("paths", 0, &["carried\ncarried\n"]);
    let probed = steps.ends("probe", 0, &["6 transfers, every byte right"]);
    assert!(!probed.said.contains("was not tested"), "{}", probed.said);
    // By this policy the kernel takes one path until it fails.
    let one = steps.ends("one-path", 0, &["6 transfers, every byte right"]);
    assert_eq!(one.said.matches("was not tested with data: the kernel takes others").count(), 1);
    for name in ["split", "from-split", "split-commands"] {
        steps.ends(name, 3, &["[P2P-RC-NOT-ALLOWED]", "0000:08:00.0", "nothing was written"]);
    }
    steps.ends(
        "bounced",
        0,
        &["bounced through host memory: 2097152 bytes", "8 blocks read again"],
    );
}

/// The kernel without multipath shows a namespace once for each of its controllers: nothing is copied over itself, nor over
/// what is mounted by the other name.
#[test]
fn a_namespace_that_the_kernel_shows_twice_is_one() {
    let steps = Script::bare()
        .argument("nvme_core.multipath=N")
        .packages(&["e2fsprogs"])
        .step("alone", ALONE)
        .step("aliases", "p2pdma copy /dev/first /dev/second --length 1M --yes --p2p=prefer")
        .step("benched", "p2pdma bench /dev/first /dev/second --bytes 1M --yes")
        .step(
            "mounted",
            "mkfs.ext4 -q /dev/first; mkdir /m; mount -t ext4 /dev/first /m; \
             p2pdma copy /dev/other /dev/second --length 1M --yes; status=$?; umount /m; exit $status",
        )
        .step("apart", "p2pdma copy /dev/other /dev/second --length 1M --verify --yes")
        .run(include_str!("multipath.toml"));
    steps.ends("alone", 0, &[]);
    for name in ["aliases", "benched"] {
        let said = ["/dev/first and /dev/second are on one namespace of several controllers"];
        steps.ends(name, 6, &[said[0], "nothing was written"]);
    }
    steps.ends("mounted", 6, &["/dev/second is in use as /dev/nvme"]);
    steps.ends("apart", 0, &["host memory   0 bytes", "read again and equal"]);
}
