//! Every machine of the project as Linux would show it: the registers are the fabric's, the files around
//! them are written here. Read back, the verdicts have to be those of the machine.
//!
//! `topologies/captures` has the snapshots, for tests and for the guide; a difference is an error.
//! `CAPTURES=overwrite cargo test -p p2pdma captures` writes them again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use p2pdma::linux::{LiveTree, Snapshot, Survey};
use p2pdma::machine::Machine;
use p2pdma::topology::{
    Allowlist, CpuVendor, IommuMode, Known, Lists, MemoryKind, Node, NodeId, Topology,
};
use p2pdma::{BarIndex, Bdf, FabricPlatform, Platform, Storage, presets};
use p2pdma_pci::{ConfigSpace as _, Width};

/// The folder of a tree that is being written.
struct Files<'a>(&'a Path);

impl Files<'_> {
    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let place = self.0.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, content).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let place = self.0.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, place).unwrap();
    }
}

/// Writes a machine as Linux would show it to root.
fn write(files: &Files<'_>, platform: &FabricPlatform, machine: &Machine) {
    let topology = platform.topology().unwrap();
    system(files, machine);
    let mut count = 0;
    for id in topology.ids() {
        let node = topology.node(id);
        let folder = folder(&topology, id);
        let bdf = node.bdf;
        function(files, platform, node, &folder);
        files.link(&format!("sys/bus/pci/devices/{bdf}"), &format!("../../../{}", &folder[4..]));
        if machine.iommu != IommuMode::Off && !node.kind.is_bridge() {
            let up = "../".repeat(folder.split('/').count() - 1);
            let group = format!("kernel/iommu_groups/{count}");
            let word = if machine.iommu == IommuMode::Translate { "DMA" } else { "identity" };
            files.link(&format!("{folder}/iommu_group"), &format!("{up}{group}"));
            files.write(&format!("sys/{group}/type"), format!("{word}\n"));
            count += 1;
        }
    }
}

fn system(files: &Files<'_>, machine: &Machine) {
    let vendor = match machine.host.cpu.vendor {
        CpuVendor::Intel => "GenuineIntel",
        CpuVendor::Amd => "AuthenticAMD",
        CpuVendor::Hygon => "HygonGenuine",
        CpuVendor::Other => "Other",
    };
    let family = machine.host.cpu.family;
    let cpu = format!("processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\n\n");
    files.write("proc/cpuinfo", cpu);
    files.write("proc/cmdline", "quiet\n");
    files.write("proc/self/mountinfo", "");
    files.write("proc/swaps", "Filename Type Size Used Priority\n");
    files.write("proc/sys/kernel/osrelease", "7.3.4\n");
    files.write("boot/config-7.3.4", "CONFIG_PCI_P2PDMA=y\nCONFIG_ZONE_DEVICE=y\n");
    files.write("sys/bus/pci/drivers/nvme/bind", "");
    if machine.iommu != IommuMode::Off {
        files.write("sys/class/iommu/dmar0/type", "");
    }
}

/// Where sysfs has a function: below all bridges above it.
fn folder(topology: &Topology, id: NodeId) -> String {
    let bdf = topology.node(id).bdf;
    match topology.parent(id) {
        Some(parent) => format!("{}/{bdf}", folder(topology, parent)),
        None => {
            let bridge = &topology.host_bridges()[topology.host_bridge_of(id)];
            format!("sys/devices/pci{:04x}:{:02x}/{bdf}", bridge.domain, bridge.bus)
        }
    }
}

fn function(files: &Files<'_>, platform: &FabricPlatform, node: &Node, folder: &str) {
    let config = platform.fabric().config(node.bdf);
    let read = |at: u16| config.read(at, Width::Dword).unwrap().to_le_bytes();
    let mut bytes: Vec<u8> = (0..4096).step_by(4).flat_map(read).collect();
    if node.name.as_deref().is_some_and(|name| name.starts_with("nvme")) {
        // As the kernel's driver leaves it: memory space and bus mastering on.
        bytes[4] |= 0x06;
    }
    files.write(&format!("{folder}/config"), &bytes);
    let id = node.id;
    files.write(&format!("{folder}/vendor"), format!("{:#06x}\n", id.vendor));
    files.write(&format!("{folder}/device"), format!("{:#06x}\n", id.device));
    files.write(&format!("{folder}/class"), format!("{:#08x}\n", node.class.into_bits()));
    files.write(&format!("{folder}/revision"), format!("{:#04x}\n", bytes[8]));
    files.write(&format!("{folder}/enable"), "1\n");
    files.write(&format!("{folder}/numa_node"), "-1\n");
    files.write(&format!("{folder}/resource"), resource(platform, node));
    if node.link.value().copied().flatten().is_some() {
        // What the capability says counts; that these are there tells that there is one.
        files.write(&format!("{folder}/current_link_speed"), "Unknown\n");
        files.write(&format!("{folder}/max_link_speed"), "Unknown\n");
    }
    let Some(number) = node.name.as_deref().and_then(|name| name.strip_prefix("nvme")) else {
        return;
    };
    let at = format!("{folder}/nvme/nvme{number}");
    files.link(&format!("{folder}/driver"), "../../../bus/pci/drivers/nvme");
    files.write(&format!("{at}/transport"), "pcie\n");
    files.write(&format!("{at}/state"), "live\n");
    let disk = format!("nvme{number}n1");
    files.write(&format!("{at}/{disk}/dev"), format!("259:{number}\n"));
    files.write(&format!("{at}/{disk}/size"), "2097152\n");
    files.write(&format!("{at}/{disk}/ro"), "0\n");
    files.write(&format!("{at}/{disk}/queue/stable_writes"), "0\n");
    files.link(&format!("sys/class/nvme/nvme{number}"), &format!("../../{}", &at[4..]));
    files.link(&format!("sys/class/block/{disk}"), &format!("../../{}/{disk}", &at[4..]));
    if let Some(cmb) = node.memory.iter().find(|memory| memory.kind == MemoryKind::Cmb) {
        files.write(&format!("{folder}/p2pmem/size"), format!("{}\n", cmb.size));
        files.write(&format!("{folder}/p2pmem/available"), format!("{}\n", cmb.size));
        files.write(&format!("{folder}/p2pmem/published"), "1\n");
        files.write(&format!("{folder}/p2pmem/allocate"), "");
    }
}

/// `start end flags`, as far as there is memory that is lent.
fn resource(platform: &FabricPlatform, node: &Node) -> String {
    let bar = |index: BarIndex| -> Option<String> {
        use p2pdma_pci::Function as _;
        let bar = platform.fabric().open(node.bdf).ok()?.map_bar(index).ok()?;
        let start = bar.address().0;
        // IORESOURCE_MEM, PREFETCH and MEM_64 (include/linux/ioport.h).
        let flags = if index == BarIndex::ZERO && node.name.as_deref()?.starts_with("nvme") {
            0x0014_0204
        } else {
            0x0014_220c
        };
        Some(format!("{start:#018x} {:#018x} {flags:#018x}\n", start + bar.len() - 1))
    };
    let mut text = String::new();
    for index in BarIndex::all() {
        text.push_str(&bar(index).unwrap_or_else(|| "0x0 0x0 0x0\n".to_owned()));
    }
    text
}

/// What has to be the same.
fn facts(node: &Node) -> impl PartialEq + std::fmt::Debug {
    let acs = node.acs.as_ref().map(|acs| acs.as_ref().map(|acs| acs.control.into_bits()));
    (node.bdf, node.kind, node.upstream, node.id, node.class, acs, node.link)
}

/// How many pairs there are, all of them judged alike.
fn compare(ours: &Topology, theirs: &Topology) -> usize {
    assert_eq!(ours.nodes().len(), theirs.nodes().len());
    for (ours, theirs) in ours.nodes().iter().zip(theirs.nodes()) {
        assert_eq!(facts(ours), facts(theirs));
    }
    let mut pairs = 0;
    for client in ours.ids() {
        for provider in ours.ids() {
            let [mine, other] = [ours, theirs].map(|topology| {
                let all = [Lists::Kernel, Lists::WithUsers];
                all.map(|lists| topology.pair(client, provider, lists))
            });
            assert_eq!(mine, other, "{client:?} {provider:?}");
            pairs += 1;
        }
    }
    pairs
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topologies/captures")
}

fn capture(machine: &Machine) -> (Snapshot, Topology) {
    let platform = FabricPlatform::new(machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(&Files(folder.path()), &platform, machine);
    let snapshot = Snapshot::capture(&LiveTree::below(folder.path()).unwrap()).unwrap();
    (snapshot, Topology::clone(&platform.topology().unwrap()))
}

#[test]
fn captures_of_every_machine_are_judged_like_the_machine() {
    let mut pairs = 0;
    for (name, _) in presets::ALL {
        for iommu in [None, Some(IommuMode::Passthrough), Some(IommuMode::Translate)] {
            let machine = presets::machine(name, iommu).unwrap();
            let (snapshot, topology) = capture(&machine);
            let survey = Survey::read(&snapshot).unwrap();
            assert_eq!(survey.notes, [], "{name}");
            assert_eq!(survey.topology.host().iommu, Known::Value(machine.iommu), "{name}");
            pairs += compare(&survey.topology, &topology);
        }
    }
    println!("pairs judged alike: {pairs}");
}

#[test]
fn the_captures_in_the_repository_are_those() {
    let folder = captures();
    let overwrite = std::env::var_os("CAPTURES").is_some_and(|value| value == "overwrite");
    for (name, _) in presets::ALL {
        let machine = presets::machine(name, None).unwrap();
        let (snapshot, topology) = capture(&machine);
        let path = folder.join(format!("{name}.snapshot"));
        if overwrite {
            snapshot.save(&path).unwrap();
        }
        let kept = Snapshot::open(&path).unwrap();
        assert!(kept == snapshot, "{name}: CAPTURES=overwrite writes it again");
        compare(&Survey::read(&kept).unwrap().topology, &topology);
    }
}

/// The text that `lspci -xxxx` would print of it tells the same tree, and the same verdicts as far as
/// they do not depend on the processor and the kernel.
#[test]
fn dumps_of_every_machine_tell_the_same_tree() {
    for (name, _) in presets::ALL {
        let machine = presets::machine(name, None).unwrap();
        let platform =
            FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap();
        let topology = platform.topology().unwrap();
        let mut addresses: Vec<Bdf> = topology.nodes().iter().map(|node| node.bdf).collect();
        addresses.sort_unstable();
        let mut text = String::new();
        for bdf in addresses {
            writeln!(text, "{bdf} Device").unwrap();
            let config = platform.fabric().config(bdf);
            for row in 0..256_u16 {
                write!(text, "{:02x}:", row * 16).unwrap();
                for at in 0..16 {
                    let byte = config.read(row * 16 + at, Width::Byte).unwrap();
                    write!(text, " {byte:02x}").unwrap();
                }
                text.push('\n');
            }
            text.push('\n');
        }
        let survey = Survey::from_capture(text.as_bytes(), Allowlist::kernel()).unwrap();
        for (ours, theirs) in survey.topology.nodes().iter().zip(topology.nodes()) {
            assert_eq!(facts(ours), facts(theirs), "{name}");
        }
        for client in topology.ids() {
            for provider in topology.ids() {
                let of =
                    |topology: &Topology| topology.pair(client, provider, Lists::Kernel).map_type;
                let (dump, real) = (of(&survey.topology), of(&topology));
                assert!(dump.is_none() || dump == real, "{name} {client:?} {provider:?}");
            }
        }
    }
}
