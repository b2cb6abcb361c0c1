//! Machines on which there is no path, or one that loses data.

use p2pdma_lab::Arch;

use crate::guest::Script;

#[test]
fn below_separate_root_ports_it_is_refused_with_the_kernel_s_reason() {
    below_separate_root_ports(Arch::of_host().unwrap());
}

pub(crate) fn below_separate_root_ports(arch: Arch) {
    let steps = Script::new(2)
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd0 --length 1M")
        .step("copy", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M")
        .step("untouched", "p2pdma copy /dev/ssd1 zero: --length 1M")
        .step("json", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M -o json")
        .step("bench", "p2pdma bench /dev/ssd0 /dev/ssd1 --bytes 1M --yes")
        .step("commands", "p2pdma copy /dev/ng-ssd0 /dev/ng-ssd1 --length 1M")
        .step(
            "commands-prefer",
            "p2pdma copy /dev/ng-ssd0 /dev/ng-ssd1 --length 1M --p2p=prefer --verify",
        )
        .step("prefer", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 1M --p2p=prefer --verify")
        .run_on(arch, include_str!("root-ports.toml"));
    steps.ends("fill", 0, &[]);
    let words = ["[P2P-RC-NOT-ALLOWED]", "PCI_P2PDMA_MAP_NOT_SUPPORTED", "nothing was written"];
    steps.ends("copy", 3, &words);
    steps.ends("commands", 3, &words);
    steps.ends("untouched", 0, &[]);
    steps.ends("json", 3, &["\"code\": \"P2P-RC-NOT-ALLOWED\""]);
    steps.ends("bench", 3, &["[P2P-RC-NOT-ALLOWED]"]);
    for name in ["prefer", "commands-prefer"] {
        let bounced = ["bounced through host memory: 2097152 bytes", "8 blocks read again"];
        steps.ends(name, 0, &bounced);
    }
}

#[test]
fn where_status_lies_the_data_probe_does_not() {
    let steps = Script::new(4)
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd1 --length 1M")
        .step("copy", "p2pdma copy /dev/ssd1 /dev/ssd2 --length 1M")
        .step("untouched", "p2pdma copy /dev/ssd2 zero: --length 1M")
        .step("probe", "p2pdma probe /dev/ssd1 -o json")
        .step("doctor", "p2pdma doctor 0000:04:00.0 0000:03:00.0")
        .step("off", "p2pdma copy /dev/ssd1 /dev/ssd2 --length 1M --p2p=off --verify")
        .step("log", "dmesg | grep -m1 \"DMAR.*fault\"")
        .run(include_str!("switch-iommu.toml"));
    steps.ends("fill", 0, &[]);
    let words = ["[P2P-DATA-LOST]", "succeeded, and the bytes are wrong", "nothing was written"];
    steps.ends("copy", 4, &words);
    steps.ends("untouched", 0, &[]);
    steps.ends("probe", 4, &["\"passed\": false", "\"code\": \"P2P-DATA-LOST\""]);
    steps.ends("doctor", 4, &["probe    failed: ", "P2P-DATA-LOST"]);
    steps.ends("off", 0, &["bounced through host memory: 2097152 bytes"]);
    steps.ends("log", 0, &[]);
}
