use super::*;
use crate::tree::LiveTree;

#[test]
fn a_system_without_anything_is_unknown_and_noted() {
    let folder = tempfile::tempdir().unwrap();
    let tree = LiveTree::below(folder.path()).unwrap();
    let mut notes = Vec::new();
    let system = read(&tree, &mut notes);
    assert_eq!(notes.len(), 3);
    assert_eq!(system.cpu.cause(), Some(Cause::Unreadable));
    assert_eq!(system.kernel.cause(), Some(Cause::Unreadable));
    assert_eq!(system.has_p2pdma().cause(), Some(Cause::Unreadable));
    assert_eq!(system.nvme_multipath, Known::Value(None));
    assert_eq!(system.iommus, Known::Value(Vec::new()));
}

#[test]
fn a_kernel_without_a_configuration_is_told_by_its_symbols() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("proc")).unwrap();
    let has = |symbols: &str| {
        std::fs::write(folder.path().join("proc/kallsyms"), symbols).unwrap();
        let tree = LiveTree::below(folder.path()).unwrap();
        let mut system = read(&tree, &mut Vec::new());
        system.look_at_symbols(&tree);
        system.has_p2pdma()
    };
    let pci = "ffffffff81000000 T pci_enable_device\n";
    let add = "0000000000000000 T pci_p2pdma_add_resource\n";
    assert_eq!(has(&format!("{pci}{add}")), Known::Value(true));
    assert_eq!(has(pci), Known::Value(false));
    assert_eq!(has("0 T pci_enable_device_mem\n0 T x_pci_p2pdma_add_resource\n").value(), None);
    assert_eq!(has("").cause(), Some(Cause::Unreadable));
}

#[test]
fn a_snapshot_tells_no_address_of_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("proc")).unwrap();
    let symbols = "ffffffff81abcdef T pci_enable_device\n";
    std::fs::write(folder.path().join("proc/kallsyms"), symbols).unwrap();
    let tree = LiveTree::below(folder.path()).unwrap();
    let recorder = crate::tree::Recorder::new(&tree);
    let looked = |tree: &dyn Tree| {
        let mut system = read(tree, &mut Vec::new());
        system.look_at_symbols(tree);
        system.has_p2pdma()
    };
    assert_eq!(looked(&recorder), Known::Value(false));
    let snapshot = recorder.into_snapshot();
    assert_eq!(looked(&snapshot), Known::Value(false));
    let mut text = Vec::new();
    snapshot.write(&mut text).unwrap();
    assert!(!String::from_utf8_lossy(&text).contains("81abcdef"));
}

#[test]
fn a_system_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("proc/sys/kernel/osrelease", "7.3.4+deb13-cloud-amd64\n");
    write("proc/cpuinfo", "vendor_id\t: AuthenticAMD\ncpu family\t: 25\n");
    write("proc/cmdline", "iommu=pt\n");
    write("boot/config-7.3.4+deb13-cloud-amd64", "CONFIG_PCI_P2PDMA=y\nCONFIG_LOCALVERSION=\"\"\n");
    write("sys/module/nvme_core/parameters/multipath", "Y\n");
    write("sys/module/nvme/parameters/use_cmb_sqs", "maybe\n");
    write("sys/class/iommu/dmar0/x", "");
    let mut notes = Vec::new();
    let system = read(&LiveTree::below(folder.path()).unwrap(), &mut notes);
    assert_eq!(notes, []);
    assert_eq!(system.kernel, Known::Value(KernelVersion { major: 7, minor: 3 }));
    assert!(system.cpu.value().unwrap().carries_peer_traffic());
    assert_eq!(system.has_p2pdma(), Known::Value(true));
    assert_eq!(system.boot.value().unwrap().iommu_passthrough(), Some(true));
    assert_eq!(system.nvme_multipath, Known::Value(Some(true)));
    assert_eq!(system.nvme_use_cmb_sqs.cause(), Some(Cause::Unreadable));
    assert_eq!(system.iommus.value().unwrap().len(), 1);
}
