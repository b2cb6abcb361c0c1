//! The same on guests of other architectures. The command is built for each, which takes a minute or two.

use p2pdma_lab::Arch;

use crate::guest::Script;
use crate::{refusals, volumes};

#[test]
#[ignore = "builds the command for another architecture: cargo xtask guests"]
fn arm_copies_and_refuses_as_this_machine_s_architecture_does() {
    println!("{} steps on a real kernel", volumes::copies(Arch::Aarch64));
    refusals::below_separate_root_ports(Arch::Aarch64);
}

/// Debian's kernel for it has no P2PDMA. No file of its packages holds its configuration: its symbols tell.
#[test]
#[ignore = "builds the command for another architecture: cargo xtask guests"]
fn on_risc_v_whose_kernel_lends_nothing_everything_is_refused() {
    let steps = Script::new(4)
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd0 --length 64k")
        .step("copy", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 64k")
        .step("untouched", "p2pdma copy /dev/ssd1 zero: --length 64k")
        .step("probe", "p2pdma probe /dev/ssd1")
        .step("bench", "p2pdma bench /dev/ssd0 /dev/ssd1 --bytes 64k --yes")
        .step("pair", "p2pdma doctor 0000:04:00.0 0000:03:00.0")
        .step("prefer", "p2pdma copy /dev/ssd0 /dev/ssd1 --length 64k --p2p=prefer --verify")
        .run_on(Arch::Riscv64, include_str!("switch.toml"));
    steps.ends("fill", 0, &[]);
    let words = ["[P2P-KCONFIG]", "built without CONFIG_PCI_P2PDMA", "nothing was written"];
    steps.ends("copy", 3, &words);
    steps.ends("untouched", 0, &[]);
    steps.ends("probe", 3, &["[P2P-KCONFIG]"]);
    steps.ends("bench", 3, &words);
    steps.ends("pair", 3, &["[P2P-NO-P2PMEM]", "its CMB of 64 MiB is not lent"]);
    let bounced = ["bounced through host memory: 131072 bytes", "1 block read again and equal"];
    steps.ends("prefer", 0, &bounced);
    println!("{} steps on a real kernel", steps.count());
}
