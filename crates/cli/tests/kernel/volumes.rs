//! Copies between block devices, files, md arrays and lent memory.

use p2pdma_lab::Arch;

use crate::guest::{Script, Steps};
use crate::passthrough;

const MACHINE: &str = include_str!("switch.toml");

/// What a copy between devices says that was peer to peer.
const DIRECT: [&str; 2] = ["peer to peer, via 0000:03:00.0/p2pmem", "host memory   0 bytes"];

/// Steps without io_uring, and with a destination that is swapped to. `/dev/ssd1` is as it was.
fn refused_by_kernel(script: Script) -> Script {
    script
        .step("no-uring", "echo 2 > /proc/sys/kernel/io_uring_disabled; p2pdma probe /dev/ssd1")
        .step("probe-sync", "p2pdma probe /dev/ssd1 --write --engine sync")
        .step(
            "bench-sync",
            "p2pdma bench /dev/ssd1 /dev/ssd2 --bytes 1M --rounds 1 --block-size 128k --queue-depth 2 \
             --threads 2 --yes --engine sync -o json",
        )
        .step("uring", "echo 0 > /proc/sys/kernel/io_uring_disabled")
        .step("swap", "mkswap /dev/ssd3 && swapon /dev/ssd3")
        .step("swapped", "p2pdma copy /dev/ssd0 /dev/ssd3 --length 1M --yes")
        .step("ng-swapped", "p2pdma copy /dev/ng-ssd1 /dev/ng-ssd3 --length 1M --yes")
        .step("swapoff", "swapoff /dev/ssd3; dd if=/dev/zero of=/dev/ssd3 bs=4k count=2 2> /dev/null")
}

fn check_refused_by_kernel(steps: &Steps) {
    steps.ends("no-uring", 5, &["--engine sync does without"]);
    steps.ends("probe-sync", 0, &["6 transfers, every byte right"]);
    steps.ends("bench-sync", 0, &["\"engine\": \"sync\"", "\"threads\": 2"]);
    steps.ends("swap", 0, &[]);
    steps.ends("swapped", 6, &["/dev/ssd3 is in use", "swapped to"]);
    steps.ends("ng-swapped", 6, &["/dev/ng-ssd3 is in use", "swapped to"]);
}

fn steps(arch: Arch) -> Steps {
    let script = Script::new(4)
        .packages(&["e2fsprogs", "xfsprogs", "mdadm", "dmsetup", "fdisk"])
        .modules(&["xfs", "raid0", "raid1", "dm-mod", "loop", "null_blk"])
        .virtio_disk(16 << 20)
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd0 --length 64M")
        .step("whole", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 32M --verify --flush")
        .step("arrived", "p2pdma copy /dev/ssd1 pattern:seed=5 --length 32M")
        .step("engine", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M --verify --engine sync")
        .step("one-at-a-time", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M --engine sync -o json")
        .step("address", "p2pdma copy 0000:03:00.0/ns1 0000:04:00.0/ns1 --length 1M -o json")
        .step("lent", "p2pdma copy /dev/ssd1 0000:03:00.0/p2pmem --length 1M")
        .step("dry", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M --dry-run")
        .step("overlap", "p2pdma copy /dev/ssd0 /dev/ssd0 --length 1M --dst-offset 512k")
        .step("beyond", "p2pdma copy /dev/ssd0 /dev/ssd1 --dst-offset 600M")
        .step("larger", "p2pdma copy /dev/ssd0 /dev/ssd1 --dst-offset 400M --length 200M")
        .step("odd-length", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1000")
        .step("big-block", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 256M --block-size 128M")
        .step("probe", "p2pdma probe /dev/ssd1 --write")
        .step("probe-json", "p2pdma probe 0000:05:00.0/ns1 0000:03:00.0/p2pmem -o json")
        .step("doctor", "p2pdma doctor 0000:04:00.0 0000:03:00.0")
        .step("unchanged", "p2pdma copy /dev/ssd1 pattern:seed=5 --length 1M");
    let script = passthrough::steps(refused_by_kernel(script))
        .step("ext4", "mkfs.ext4 -q /dev/ssd1; mkdir /a; mount -t ext4 /dev/ssd1 /a")
        .step("held", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M --yes");
    let script = passthrough::mounted(script)
        .step("to-ext4", "p2pdma copy /dev/ssd0 /a/f --length 8M --verify")
        .step("nested", "p2pdma copy /dev/ssd1 /a/g --length 1M")
        .step("from-ext4", "p2pdma copy /a/f /dev/ssd2 --verify")
        .step("from-ext4-arrived", "p2pdma copy /dev/ssd2 pattern:seed=5 --length 8M")
        .step("odd-made", "head -c 5000 /a/f > /a/odd")
        .step("odd", "p2pdma copy /a/odd /dev/ssd2 --verify")
        .step("odd-file", "p2pdma --platform linux copy /a/odd /a/odd2 --verify")
        .step("odd-same", "cmp /a/odd /a/odd2; ls -l /a/odd2")
        .step("looped", "losetup /dev/loop0 /a/f; p2pdma copy /a/f /dev/loop0 --length 1M --p2p=prefer --yes; status=$?; losetup -d /dev/loop0; exit $status")
        .step("zoned", "rmmod null_blk; insmod /lab/modules/null_blk.ko* zoned=1 zone_size=4 gb=1 memory_backed=0; p2pdma --platform linux copy /dev/ssd0 /dev/nullb0 --length 1M --p2p=prefer --yes")
        .step("exists", "p2pdma copy /dev/ssd0 /a/f --length 1M")
        .step("full", "p2pdma copy /dev/ssd0 /a/huge; ls /a")
        .step(
            "staged",
            "p2pdma copy /a/f /dev/ssd2 --block-size 4k --queue-depth 1 & copy=$!; n=0; \
             while [ $n -lt 512 ] && kill -0 $copy 2> /dev/null; do \
             dd if=/a/f of=/dev/null bs=16k skip=$n count=1 2> /dev/null; n=$((n + 1)); \
             sleep 0.01; done; wait $copy",
        );
    let script = fall_backs(script)
        .step("xfs", "mkfs.xfs -f -q /dev/ssd3; mkdir /b; mount -t xfs /dev/ssd3 /b")
        .step("to-xfs", "p2pdma copy /dev/ssd0 /b/f --length 8M --verify --flush")
        .step("xfs-ext4", "p2pdma --platform linux copy /b/f /a/h --verify; cmp /b/f /a/h")
        .step("virtio", "p2pdma copy /dev/ssd0 /dev/vda --length 1M")
        .step("virtio-prefer", "p2pdma copy /dev/vda /dev/ssd2 --length 1M --verify --yes --p2p=prefer")
        .step("tmpfs", "p2pdma --platform linux copy /a/f /tmp/x")
        .step("tmpfs-prefer", "p2pdma copy /dev/ssd0 /tmp/x --length 1M --verify --p2p=prefer")
        .step("journal", "umount /a; mount -t ext4 -o data=journal /dev/ssd1 /a")
        .step("to-journal", "p2pdma copy /dev/ssd0 /a/j --length 1M")
        .step("signature", "umount /a; p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M")
        .step("signature-yes", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M --yes")
        .step("md", "umount /b; mdadm --build /dev/md0 --level=0 --raid-devices=2 /dev/ssd2 /dev/ssd3")
        .step("to-md", "p2pdma copy /dev/ssd0 /dev/md0 --length 8M --verify --yes -v")
        .step("member", "p2pdma copy /dev/ssd0 /dev/ng-ssd2 --length 1M --yes; p2pdma copy /dev/ssd0 /dev/ssd2 --length 1M --yes")
        .step("probe-md", "p2pdma probe /dev/md0 --write --yes --state-dir /tmp/state")
        .step("doctor-md", "p2pdma doctor 0000:06:00.0 0000:03:00.0 --state-dir /tmp/state")
        .step("from-md", "p2pdma copy /dev/md0 /dev/ssd1 --length 8M --verify --yes");
    mirrors(script)
        .step("dm", "mdadm --stop /dev/md1; echo 0 200000 linear /dev/ssd2 0 | dmsetup create lin; dmsetup mknodes")
        .step("to-dm", "p2pdma copy /dev/ssd0 /dev/mapper/lin --length 1M --yes")
        .step("to-dm-prefer", "p2pdma copy /dev/ssd0 /dev/mapper/lin --length 1M --yes --p2p=prefer --verify")
        .step(
            "nobody",
            "mkdir -p /etc; echo nobody:x:65534:65534::/:/bin/sh >> /etc/passwd; chmod 666 /dev/nvme*n1; \
             su -s /bin/sh nobody -c \"$(command -v p2pdma) copy /dev/ssd0 /dev/ssd1 --length 1M\"",
        )
        .step(
            "large",
            "p2pdma copy pattern:seed=6 /dev/ssd0 --length 256M --yes -q && \
             p2pdma copy /dev/ssd0 /dev/ssd1 --length 256M --verify --yes",
        )
        .run_on(arch, MACHINE)
}

/// An array of two copies: whole, in a part, and with files on it.
fn mirrors(script: Script) -> Script {
    script
        .step(
            "mirror",
            "mdadm --stop /dev/md0; \
             mdadm --build /dev/md1 --level=1 --assume-clean --raid-devices=2 /dev/ssd2 /dev/ssd3",
        )
        .step("to-mirror", "p2pdma copy /dev/ssd1 /dev/md1 --length 8M --verify --yes")
        .step("mirrored", "cmp -n 8388608 /dev/ssd2 /dev/ssd3 && cmp -n 8388608 /dev/ssd1 /dev/ssd2")
        .step("from-mirror", "p2pdma copy /dev/md1 /dev/ssd1 --length 8M --verify --yes")
        .step("part", "echo ,16M | sfdisk -q /dev/md1; p2pdma copy /dev/ssd1 /dev/md1p1 --length 4M --verify --yes")
        .step("part-alike", "p2pdma copy /dev/md1p1 pattern:seed=5 --length 4M")
        .step("on-mirror", "mkfs.ext4 -q -F /dev/md1; mount -t ext4 /dev/md1 /c; p2pdma copy /dev/ssd0 /c/f --length 4M --verify; status=$?; umount /c; exit $status")
}

/// Files that become shorter, and a file system that cannot let a device fill holes of files without extents, and
/// falls back in silence.
fn fall_backs(script: Script) -> Script {
    script
        .step("to-shrink", "p2pdma copy /dev/ssd0 /a/t --length 8M")
        .step(
            "shrinks",
            "p2pdma copy /a/t /dev/ssd2 --block-size 4k --queue-depth 1 --progress always 2> /tmp/said & \
             copy=$!; until [ -s /tmp/said ]; do sleep 0.02; done; truncate -s 4096 /a/t; wait $copy; \
             status=$?; cat /tmp/said; exit $status",
        )
        .step(
            "old-ext4",
            "mkfs.ext4 -q -F -O ^extents,^64bit,^metadata_csum /dev/ssd3; mkdir /c; mount -t ext4 /dev/ssd3 /c",
        )
        .step("falls-back", "p2pdma copy /dev/ssd0 /c/f --length 4M")
        .step("falls-back-json", "p2pdma copy /dev/ssd0 /c/g --length 4M --p2p=prefer -o json; umount /c")
}

#[test]
fn what_can_be_peer_to_peer_is_and_what_cannot_is_refused_by_name() {
    println!("{} steps on a real kernel", copies(Arch::of_host().unwrap()));
}

/// Returns how many steps there were.
pub(crate) fn copies(arch: Arch) -> usize {
    let steps = steps(arch);
    for name in [
        "fill",
        "ext4",
        "odd-made",
        "to-shrink",
        "old-ext4",
        "xfs",
        "journal",
        "md",
        "mirror",
        "mirrored",
        "dm",
    ] {
        steps.ends(name, 0, &[]);
    }
    let verified = [DIRECT[0], DIRECT[1], "read again and equal"];
    for name in [
        "whole",
        "to-ext4",
        "from-ext4",
        "odd",
        "odd-file",
        "to-xfs",
        "xfs-ext4",
        "to-md",
        "from-md",
        "to-mirror",
        "from-mirror",
        "part",
        "on-mirror",
    ] {
        steps.ends(name, 0, &verified);
    }
    steps.ends(
        "whole",
        0,
        &["256 blocks read again", "33554432 bytes (32 MiB) below the root", "durable"],
    );
    for name in ["arrived", "from-ext4-arrived", "part-alike"] {
        steps.ends(name, 0, &["device to host"]);
    }
    steps.ends("engine", 0, &verified);
    check_refused_by_kernel(&steps);
    steps.ends("lent", 0, &DIRECT);
    steps.ends("dry", 0, &["would copy", DIRECT[0]]);
    steps.ends("odd", 0, &["5000 bytes", "padded with 120 zero bytes"]);
    steps.ends("odd-same", 0, &[" 5000 "]);
    steps.ends("to-md", 0, &["0000:05:00.0+0000:06:00.0 drains it: by bus address"]);
    documents(&steps);
    steps.ends("probe", 0, &["6 transfers, every byte right", "by bus address, distance 4"]);
    steps.ends("probe-json", 0, &["\"passed\": true", "\"drains\": 0"]);
    steps.ends("doctor", 0, &["probe    passed, both ways; 0 h ago on Linux"]);
    steps.ends("unchanged", 0, &[]);
    // The array, and each of its members.
    steps.ends("probe-md", 0, &["into it    18 transfers, every byte right"]);
    steps.ends("doctor-md", 0, &["probe    passed, both ways; 0 h ago on Linux"]);
    ends_refused(&steps);
    let full = steps.ends("full", 0, &["No space left", "nothing was written"]);
    assert!(!full.said.contains("partial\n"), "{}", full.said);
    steps.ends("staged", 1, &["bytes of user data passed through host memory"]);
    falls_back(&steps);
    let blind =
        ["[P2P-UNKNOWN-NEED-ROOT]", "a page cache that cannot be watched", "nothing was written"];
    steps.ends("nobody", 3, &blind);
    steps.ends("tmpfs", 3, &["[P2P-NOT-NVME-PCI]", "nothing was written"]);
    steps.ends("virtio", 3, &["[P2P-NOT-NVME-PCI]", "nothing was written"]);
    let bounced = ["bounced through host memory: 2097152 bytes", "8 blocks read again"];
    steps.ends("tmpfs-prefer", 0, &bounced);
    steps.ends("virtio-prefer", 0, &bounced);
    steps.ends("to-journal", 3, &["[P2P-FS]", "/a/j cannot be read or written directly"]);
    steps.ends("signature", 6, &["has an ext2, ext3 or ext4 file system", "--yes overwrites it"]);
    steps.ends("signature-yes", 0, &DIRECT);
    steps.ends("member", 6, &["/dev/ng-ssd2 is in use", "/dev/ssd2 is in use"]);
    steps.ends("to-dm", 3, &["[P2P-DM]", "dm-0 does not pass", "nothing was written"]);
    steps.ends("to-dm-prefer", 0, &bounced);
    passthrough::check(&steps, DIRECT);
    steps.count()
}

/// What cannot be meant, and what only one copy of was tested.
fn ends_refused(steps: &Steps) {
    steps.ends("overlap", 6, &["overlap in /dev/ssd0"]);
    steps.ends("beyond", 2, &["beyond the end of /dev/ssd1"]);
    steps.ends("larger", 2, &["do not fit into /dev/ssd1", "nothing was written"]);
    steps.ends("odd-length", 2, &["no whole blocks of 512 bytes"]);
    steps.ends("big-block", 2, &["more than one operation can move"]);
    steps.ends("held", 6, &["/dev/ssd1 is in use"]);
    steps.ends("nested", 6, &["/dev/ssd1 and /a/g are on one another"]);
    steps.ends("exists", 6, &["/a/f exists"]);
    let part = steps.ends("part", 0, &[]);
    assert!(!part.said.contains("was tested"), "{}", part.said);
    steps.ends("on-mirror", 0, &["of md1 one copy of the first bytes was tested"]);
    steps.ends("looped", 6, &["/a/f and /dev/loop0 are on one another"]);
    steps.ends("zoned", 2, &["/dev/nullb0 is zoned (host-managed)"]);
}

/// What a copy says in JSON, and a large one.
fn documents(steps: &Steps) {
    for name in ["address", "one-at-a-time"] {
        let said = &steps.ends(name, 0, &[]).said;
        let document: serde_json::Value = serde_json::from_str(said).unwrap();
        assert_eq!(document["path"], "peer-to-peer");
        let expected = (&0.into(), &().into());
        assert_eq!((&document["host_memory_bytes"], &document["modelled"]), expected);
        // A block takes its time, however it is carried out.
        assert!(document["measured"]["latency_p50_ns"].as_f64().unwrap() > 1000.0, "{document}");
    }
    let large = ["2048 blocks read again and equal", "268435456 bytes (256 MiB) below the root"];
    steps.ends("large", 0, &large);
}

/// What the kernel staged is not in its page cache any more, and does not pass for peer to peer.
fn falls_back(steps: &Steps) {
    steps.ends("shrinks", 1, &["/a/t ended before the length that it had", "in /dev/ssd2"]);
    steps.ends("falls-back", 1, &["bytes of user data passed through host memory", "partial"]);
    let said = &steps.ends("falls-back-json", 0, &[]).said;
    let document: serde_json::Value = serde_json::from_str(said).unwrap();
    // So many bytes at least: what is counted is how often pages came in, which may be large.
    assert!(document["host_memory_bytes"].as_u64().unwrap() >= 4096, "{document}");
}
