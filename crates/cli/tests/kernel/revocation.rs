//! What is taken away while it is in use: a typed error within a second, or no error at all.

use std::fmt::Write as _;

use crate::guest::{CLOCK, Script, Steps};

/// Copies between two SSDs through a third one's memory, and does something to one of them meanwhile.
fn meanwhile(act: &str) -> String {
    during("/dev/ssd1 /dev/ssd2 --length 64M --verify", act)
}

/// Copies something, and does something once a tenth of it, or what is wrong, has been said. Says how long the copy went on
/// after that, and since that began, in hundredths of a second. A copy that hangs is ended.
fn during(copy: &str, act: &str) -> String {
    format!(
        "{CLOCK}; rm -f /tmp/said; p2pdma copy {copy} --progress always > /tmp/said 2>&1 & copy=$!; \
         (sleep 300; echo HANGS; dmesg | tail -20; kill -9 $copy) & watch=$!; \
         until [ -s /tmp/said ]; do sleep 0.05; done; begin=$(now); {act}; from=$(now); \
         wait $copy; status=$?; to=$(now); work; \
         kill $watch; cat /tmp/said; echo took $((to - from)); echo whole $((to - begin)); exit $status"
    )
}

/// Each ended with its error, within a second of what was done to it, and said what is left. Where nobody presses a button
/// and waits, within two seconds of the beginning of that, too: the kernel takes its time to let go.
fn in_time(steps: &Steps, gone: &[(&str, &str, &str)]) -> String {
    let mut times = String::new();
    for (name, what, sink) in gone {
        let step = steps.ends(name, 1, &[what, &format!("the partial result is in {sink}")]);
        let [took, whole, work] = ["took", "whole", "work"].map(|word| step.number(word));
        let line = format!(
            "{name}: an error after {took} hundredths of a second, {whole} with what was done; \
             at a speed of {work}"
        );
        assert!(took < step.allows(100), "{line}");
        assert!(step.said.contains(BUTTON) || whole < step.allows(200), "{line}");
        writeln!(times, "{line}").unwrap();
    }
    times
}

/// Said where a button is pressed.
const BUTTON: &str = "the button is pressed";
const DRIVER: &str = "/sys/bus/pci/drivers/nvme";
const DEVICES: &str = "/sys/bus/pci/devices";

#[test]
fn what_is_gone_is_an_error_in_time_and_what_comes_back_is_none() {
    let unbind = |bdf: &str| meanwhile(&format!("echo {bdf} > {DRIVER}/unbind"));
    let again = format!(
        "echo 0000:03:00.0 > {DRIVER}/bind; until [ -e {DEVICES}/0000:03:00.0/p2pmem ]; do sleep 0.1; done; \
         sleep 1; p2pdma copy /dev/ssd1 /dev/ssd2 --length 1M --verify"
    );
    // A redirection expands no pattern.
    let reset_controller = |bdf: &str| {
        format!(
            "for file in {DEVICES}/{bdf}/nvme/nvme*/reset_controller; do \
             echo 1 > $file && echo it was reset; done"
        )
    };
    let reset = reset_controller("0000:04:00.0");
    let provider_reset = format!("echo 1 > {DEVICES}/0000:03:00.0/reset");
    let steps = Script::new(4)
        .roomy()
        .step("fill", "p2pdma copy pattern:seed=5 /dev/ssd1 --length 64M")
        .step("reset", &meanwhile(&reset))
        .step("commands-reset", &during("/dev/ng-ssd1 /dev/ng-ssd2 --length 64M --verify", &reset))
        .step("function-reset", &meanwhile(&format!("echo 1 > {DEVICES}/0000:05:00.0/reset")))
        .step("provider-reset", &meanwhile(&provider_reset))
        .step("provider-controller", &meanwhile(&reset_controller("0000:03:00.0")))
        .step(
            "journal",
            &during("/dev/ssd1 /dev/ssd2 --length 64M --resume /tmp/j", &provider_reset),
        )
        .step(
            "resumed",
            "p2pdma copy /dev/ssd1 /dev/ssd2 --length 64M --resume /tmp/j --verify --yes",
        )
        // Kernels before 7.3 do not count resets.
        .step(
            "uncounted",
            &meanwhile(&format!(
                "mount -t tmpfs none {DEVICES}/0000:03:00.0/nvme/nvme*/diag; {provider_reset}"
            )),
        )
        .step(
            "uncounted-other",
            &format!(
                "{}; umount {DEVICES}/0000:03:00.0/nvme/nvme*/diag",
                meanwhile(&reset).replace("exit $status", "(exit $status)")
            ),
        )
        .step("provider", &unbind("0000:03:00.0"))
        .step("again", &again)
        .step("source", &unbind("0000:04:00.0"))
        .run(include_str!("switch.toml"));
    steps.ends("fill", 0, &[]);
    for name in ["reset", "commands-reset", "function-reset", "uncounted-other"] {
        steps.ends(name, 0, &["read again and equal", "host memory   0 bytes"]);
    }
    for name in ["reset", "commands-reset"] {
        steps.ends(name, 0, &["it was reset"]);
    }
    // What was in flight into the provider is lost with status OK; the journal has nothing of that.
    steps.ends("resumed", 0, &["read again and equal"]);
    let was_reset = "[P2P-REVOKED]: 0000:03:00.0 was reset";
    let gone = [
        ("provider-reset", was_reset, "/dev/ssd2"),
        ("provider-controller", was_reset, "/dev/ssd2"),
        ("journal", was_reset, "/dev/ssd2"),
        ("uncounted", was_reset, "/dev/ssd2"),
        ("provider", "[P2P-REVOKED]: the memory of 0000:03:00.0 is gone", "/dev/ssd2"),
        ("source", "[P2P-REVOKED]: /dev/ssd1 is gone", "/dev/ssd2"),
    ];
    print!("{}", in_time(&steps, &gone));
    steps.ends("again", 0, &["read again and equal"]);
}

/// Has a device unplugged, and waits until it is no more. The kernel gives whoever pressed the button five
/// seconds to press it again: copies are small steps, so that they last.
fn unplugged(copy: &str, line: &str, bdf: &str) -> String {
    let gone = format!(
        "echo {BUTTON}; echo {line}; n=0; \
         until [ ! -e {DEVICES}/{bdf} ] || [ $n = 5000 ]; do sleep 0.05; n=$((n + 1)); done"
    );
    during(&format!("{copy} --length 240M --block-size 4k --queue-depth 1"), &gone)
}

#[test]
fn removed_and_unplugged_devices_are_errors_in_time() {
    let again = format!(
        "echo 1 > /sys/bus/pci/rescan; until [ -e {DEVICES}/0000:03:00.0/p2pmem ]; do sleep 0.1; done; sleep 1"
    );
    let steps = Script::new(4)
        .roomy()
        .unplug("unplug the source", "nvme1")
        .unplug("unplug the provider", "nvme0")
        .step("source", &unplugged("/dev/ssd1 /dev/ssd2", "unplug the source", "0000:04:00.0"))
        .step(
            "removed",
            &during(
                "/dev/ng-ssd2 /dev/ng-ssd3 --length 128M",
                &format!("echo 1 > {DEVICES}/0000:03:00.0/remove"),
            ),
        )
        .step("rescanned", &again)
        .step(
            "sink",
            &during(
                "/dev/ssd2 /dev/ssd3 --length 128M",
                &format!("echo 0000:06:00.0 > {DRIVER}/unbind"),
            ),
        )
        // Within one namespace, which is both of the two.
        .step(
            "provider",
            &unplugged(
                "/dev/ssd2 /dev/ssd2 --dst-offset 256M --via 0000:03:00.0/p2pmem",
                "unplug the provider",
                "0000:03:00.0",
            ),
        )
        .run(include_str!("switch.toml"));
    let memory = "[P2P-REVOKED]: the memory of 0000:03:00.0 is gone";
    let gone = [
        ("source", "[P2P-REVOKED]: /dev/ssd1 is gone", "/dev/ssd2"),
        ("removed", memory, "/dev/ng-ssd3"),
        ("sink", "[P2P-REVOKED]: /dev/ssd3 is gone", "/dev/ssd3"),
        ("provider", memory, "/dev/ssd2"),
    ];
    steps.ends("rescanned", 0, &[]);
    print!("{}", in_time(&steps, &gone));
}
