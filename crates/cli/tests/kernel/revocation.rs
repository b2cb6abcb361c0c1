//! What is taken away while it is in use: a typed error within a second, or no error at all.

use crate::guest::Script;

/// Copies between two SSDs through a third one's memory, and does something to one of them meanwhile. Says how
/// long the copy went on after that, in hundredths of a second.
fn meanwhile(act: &str) -> String {
    format!(
        "p2pdma copy /dev/nvme1n1 /dev/nvme2n1 --length 256M --verify > /tmp/said 2>&1 & copy=$!; \
         sleep 2; {act}; from=$(cut -d\" \" -f1 /proc/uptime | tr -d .); \
         wait $copy; status=$?; to=$(cut -d\" \" -f1 /proc/uptime | tr -d .); \
         cat /tmp/said; echo took $((to - from)); exit $status"
    )
}

const DRIVER: &str = "/sys/bus/pci/drivers/nvme";

#[test]
fn what_is_gone_is_an_error_in_time_and_what_comes_back_is_none() {
    let steps = Script::new(4)
        .step("fill", "p2pdma copy pattern:seed=5 /dev/nvme1n1 --length 256M")
        .step("reset", &meanwhile("echo 1 > /sys/class/nvme/nvme1/reset_controller"))
        .step("provider", &meanwhile(&format!("echo 0000:03:00.0 > {DRIVER}/unbind")))
        .step("again", &format!("echo 0000:03:00.0 > {DRIVER}/bind; sleep 2; p2pdma copy /dev/nvme1n1 /dev/nvme2n1 --length 1M --verify"))
        .step("sink", &meanwhile(&format!("echo 0000:05:00.0 > {DRIVER}/unbind")))
        .run(include_str!("switch.toml"));
    steps.ends("fill", 0, &[]);
    steps.ends("reset", 0, &["read again and equal", "host memory   0 bytes"]);
    let partial = "the partial result is in /dev/nvme2n1";
    for (name, what) in [("provider", "the memory of 0000:03:00.0 is gone"), ("sink", "")] {
        let step = steps.ends(name, 1, &[what, partial]);
        let took = step.said.rsplit_once("took ").unwrap().1.trim().parse::<u32>().unwrap();
        assert!(took < 100, "{name}: {took} hundredths of a second");
    }
    steps.ends("again", 0, &["read again and equal"]);
}
