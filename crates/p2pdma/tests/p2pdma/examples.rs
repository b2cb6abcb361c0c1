//! The examples, as a user runs them: in software. `crates/cli/tests/kernel/vfio.rs` runs them on QEMU's controllers.

use std::process::Command;

/// Runs an example, built if it is not, with the features that the workspace's tests are built with.
fn run(name: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--workspace", "--example", name]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).unwrap();
    let path = messages.lines().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| path.to_owned())
    });
    let done = Command::new(path.unwrap()).output().unwrap();
    assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn identify_names_the_controller_and_its_memory() {
    let said = run("identify");
    assert!(said.starts_with("0000:03:00.0: p2pdma NVMe model, serial number nvme0\n"), "{said}");
    assert!(said.contains("  controller memory buffer: 67108864 bytes\n"), "{said}");
}

#[test]
fn cmb_copy_compares_what_it_copied() {
    assert_eq!(run("cmb_copy"), "copied 524288 bytes from 0000:03:00.0 to 0000:05:00.0\n");
}

#[test]
fn pmr_persist_counts_through_a_loss_of_power() {
    let twice = "this is time 1\nafter a loss of power this is time 2\n";
    assert_eq!(run("pmr_persist"), twice);
}
