//! What the lab is given or fetches.

use std::fs;

use p2pdma_lab::{Arch, Error, Options};

/// Options that find nothing: an empty cache, and no network.
fn offline(cache: &std::path::Path) -> Options {
    let cache = Some(cache.to_owned());
    // One that is on PATH would be found; this architecture's is on nobody's.
    Options { cache, offline: true, ..Options::new(Arch::X86_64) }
}

#[test]
fn without_network_the_error_says_what_is_missing_and_what_to_give() {
    let cache = tempfile::tempdir().unwrap();
    let error = offline(cache.path()).provide(&mut ()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Offline { .. }), "{text}");
    for word in ["offline", "run once with network", "give --"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn what_was_changed_in_the_cache_is_found() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("kernel-x86_64");
    fs::create_dir_all(folder.join("tree")).unwrap();
    fs::write(folder.join("current"), "tree").unwrap();
    fs::write(folder.join("tree/vmlinuz"), "changed").unwrap();
    let sum = "0".repeat(64);
    fs::write(folder.join("tree.list"), format!("{sum}  7  vmlinuz\n")).unwrap();
    let qemu = fake_qemu(cache.path(), "11.1.3");
    let options = Options { qemu: Some(qemu), ..offline(cache.path()) };
    let error = options.provide(&mut ()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("run again with network"), "{error}");
}

#[test]
fn an_old_qemu_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let options = Options { qemu: Some(fake_qemu(cache.path(), "9.2.0")), ..offline(cache.path()) };
    let error = options.provide(&mut ()).unwrap_err();
    assert!(matches!(error, Error::OldQemu { .. }), "{error}");
}

/// A program that says it is QEMU.
fn fake_qemu(folder: &std::path::Path, version: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("qemu");
    fs::write(&path, format!("#!/bin/sh\necho QEMU emulator version {version}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}
