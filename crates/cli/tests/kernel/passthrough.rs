//! Namespaces by NVMe commands of our own (`/dev/ng0n1`), in the boot of the volumes.

use crate::guest::{Script, Steps};

/// Steps that leave `/dev/ssd0` and `/dev/ssd1` as they find them: with the pattern of seed 5.
pub(crate) fn steps(script: Script) -> Script {
    script
        .step("ng-ng", "p2pdma copy /dev/ng-ssd1 /dev/ng-ssd2 --length 8M --verify --flush")
        .step("ng-arrived", "p2pdma copy /dev/ssd2 pattern:seed=5 --length 8M")
        .step("ng-block", "p2pdma copy /dev/ng-ssd2 /dev/ssd3 --length 8M --verify")
        .step("block-ng", "p2pdma copy /dev/ssd3 /dev/ng-ssd2 --length 4M --verify")
        .step("ng-sync", "p2pdma copy /dev/ng-ssd1 /dev/ng-ssd2 --length 1M --verify --engine sync")
        .step("ng-probe", "p2pdma probe /dev/ng-ssd1 --write")
        .step("ng-limit", "p2pdma copy /dev/ng-ssd1 /dev/ng-ssd2 --length 8M --block-size 1M")
        .step("ng-same", "p2pdma copy /dev/ng-ssd1 /dev/ssd1 --length 1M")
        // The controller may refuse its own memory for such commands, and this one does.
        .step("ng-own", "p2pdma copy /dev/ng-ssd0 /dev/ng-ssd2 --length 1M")
        // What the page cache has and the device has not yet: written before, and not after.
        .step(
            "ng-dirty",
            "dd if=/dev/zero of=/dev/ssd3 bs=64k count=16 2> /dev/null; \
             p2pdma copy /dev/ng-ssd1 /dev/ng-ssd3 --length 1M --verify; \
             sync; cmp -n 1048576 /dev/ssd1 /dev/ssd3",
        )
        .step("ng-no-namespace", "p2pdma copy /dev/ttyS0 /dev/ng-ssd2 --length 1M")
}

/// Steps for when `/dev/ssd1` is mounted at `/a`.
pub(crate) fn mounted(script: Script) -> Script {
    script
        .step("ng-held", "p2pdma copy /dev/ng-ssd0 /dev/ng-ssd1 --length 1M --yes")
        .step("ng-nested", "p2pdma copy /dev/ng-ssd1 /a/g --length 1M")
}

/// What has to become of them.
pub(crate) fn check(steps: &Steps, direct: [&str; 2]) {
    for name in ["ng-ng", "ng-block", "block-ng", "ng-sync"] {
        steps.ends(name, 0, &[direct[0], direct[1], "read again and equal"]);
    }
    steps.ends("ng-ng", 0, &["16777216 bytes (16 MiB) below the root", "durable"]);
    steps.ends("ng-arrived", 0, &[]);
    steps.ends("ng-probe", 0, &["6 transfers, every byte right", "by bus address, distance 4"]);
    steps.ends("ng-limit", 2, &["at most 524288 bytes (512 KiB)"]);
    steps.ends("ng-same", 6, &["the source is the destination"]);
    let own = ["Invalid Use of Controller Memory Buffer; nothing was written", "--via"];
    steps.ends("ng-own", 1, &own);
    steps.ends("ng-dirty", 0, &["8 blocks read again"]);
    steps.ends("ng-no-namespace", 2, &["neither a file nor a block device, nor an NVMe namespace"]);
    steps.ends("ng-held", 6, &["/dev/ng-ssd1 is in use"]);
    steps.ends("ng-nested", 6, &["/dev/ng-ssd1 and /a/g are on one another"]);
}
