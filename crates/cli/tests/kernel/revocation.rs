//! What is taken away while it is in use: a typed error within a second, or no error at all.

use crate::guest::{Script, Steps};

/// Copies between two SSDs through a third one's memory, and does something to one of them meanwhile. Says how
/// long the copy went on after that, in hundredths of a second. A copy that hangs is ended.
fn meanwhile(act: &str) -> String {
    format!(
        "p2pdma copy /dev/ssd1 /dev/ssd2 --length 128M --verify > /tmp/said 2>&1 & copy=$!; \
         (sleep 90; echo HANGS; dmesg | tail -20; kill -9 $copy) & watch=$!; \
         sleep 1; {act}; from=$(cut -d\" \" -f1 /proc/uptime | tr -d .); \
         wait $copy; status=$?; to=$(cut -d\" \" -f1 /proc/uptime | tr -d .); \
         kill $watch; cat /tmp/said; echo took $((to - from)); exit $status"
    )
}

/// Each ended with its error, within a second, and said what is left.
fn in_time(steps: &Steps, gone: &[(&str, &str)]) {
    for (name, what) in gone {
        let step = steps.ends(name, 1, &[what, "the partial result is in /dev/ssd2"]);
        let took = step.said.rsplit_once("took ").unwrap().1.trim().parse::<u32>().unwrap();
        assert!(took < 100, "{name}: {took} hundredths of a second");
    }
}

const DRIVER: &str = "/sys/bus/pci/drivers/nvme";
const DEVICES: &str = "/sys/bus/pci/devices";

#[test]
fn what_is_gone_is_an_error_in_time_and_what_comes_back_is_none() {
    let unbind = |bdf: &str| meanwhile(&format!("echo {bdf} > {DRIVER}/unbind"));
    let again = format!(
        "echo 0000:03:00.0 > {DRIVER}/bind; until [ -e {DEVICES}/0000:03:00.0/p2pmem ]; do sleep 0.1; done; \
         sleep 1; p2pdma copy /dev/ssd1 /dev/ssd2 --length 1M --verify"
    );
    let steps = Script::new(4)
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd1 --length 128M")
        .step(
            "reset",
            &meanwhile("echo 1 > /sys/bus/pci/devices/0000:04:00.0/nvme/nvme*/reset_controller"),
        )
        .step("function-reset", &meanwhile(&format!("echo 1 > {DEVICES}/0000:05:00.0/reset")))
        .step("provider-reset", &meanwhile(&format!("echo 1 > {DEVICES}/0000:03:00.0/reset")))
        .step("provider", &unbind("0000:03:00.0"))
        .step("again", &again)
        .step("source", &unbind("0000:04:00.0"))
        .run(include_str!("switch.toml"));
    steps.ends("fill", 0, &[]);
    for name in ["reset", "function-reset"] {
        steps.ends(name, 0, &["read again and equal", "host memory   0 bytes"]);
    }
    // What was in flight into the provider is lost with status OK: only the bytes tell.
    steps.ends("provider-reset", 4, &["[P2P-DATA-LOST]", "the destination differs"]);
    let gone = [
        ("provider", "[P2P-REVOKED]: the memory of 0000:03:00.0 is gone"),
        ("source", "[P2P-REVOKED]: /dev/ssd1 is gone"),
    ];
    in_time(&steps, &gone);
    steps.ends("again", 0, &["read again and equal"]);
}

#[test]
fn removed_devices_are_errors_in_time() {
    let steps = Script::new(4)
        .step("removed", &meanwhile(&format!("echo 1 > {DEVICES}/0000:03:00.0/remove")))
        .step(
            "rescanned",
            "echo 1 > /sys/bus/pci/rescan; until [ -e /sys/bus/pci/devices/0000:03:00.0/p2pmem ]; do sleep 0.1; done; sleep 1",
        )
        .step("sink", &meanwhile(&format!("echo 0000:05:00.0 > {DRIVER}/unbind")))
        .run(include_str!("switch.toml"));
    let gone = [
        ("removed", "[P2P-REVOKED]: the memory of 0000:03:00.0 is gone"),
        ("sink", "[P2P-REVOKED]: /dev/ssd2 is gone"),
    ];
    steps.ends("rescanned", 0, &[]);
    in_time(&steps, &gone);
}
