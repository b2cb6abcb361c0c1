//! Stacks of block devices.

use p2pdma_linux::block::{BlockKind, Blocks, Passage};
use p2pdma_pci::topology::{Cause, KernelVersion, Known, ReasonCode};

use crate::machine::Machine;

const KERNEL: Known<KernelVersion> = Known::Value(KernelVersion { major: 7, minor: 3 });

fn virtual_device(machine: &mut Machine, name: &str, minor: u32, below: &[&str]) -> String {
    let folder = format!("sys/devices/virtual/block/{name}");
    machine.block(&folder, name, minor);
    for other in below {
        machine.link(&format!("{folder}/slaves/{other}"), &format!("../../{other}"));
    }
    folder
}

/// Two SSDs with a partition, an md array, device mapper on it and a loop device.
fn machine() -> Machine {
    let mut machine = Machine::switch(0);
    let ssd = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0";
    let part = format!("{ssd}/nvme/nvme0/nvme0n1/nvme0n1p1");
    machine.block(&part, "nvme0n1p1", 11);
    machine.text(&format!("{part}/partition"), "1\n");
    let md = virtual_device(&mut machine, "md127", 12, &["nvme0n1p1", "nvme1n1"]);
    machine.text(&format!("{md}/md/level"), "raid1\n");
    let dm = virtual_device(&mut machine, "dm-0", 13, &["md127"]);
    machine.text(&format!("{dm}/dm/name"), "vg-data\n");
    machine.text(&format!("{dm}/dm/uuid"), "LVM-abc\n");
    let file = virtual_device(&mut machine, "loop0", 14, &[]);
    machine.text(&format!("{file}/loop/backing_file"), "/var/image\n");
    virtual_device(&mut machine, "sda", 15, &[]);
    machine.text(
        "proc/self/mountinfo",
        "20 1 259:11 / /data rw,noatime shared:1 - ext4 /dev/nvme0n1p1 rw,data=journal\n\
         21 1 259:2 / /fast\\040disk rw - xfs /dev/nvme1n1 rw\n\
         22 1 0:40 / /pool rw - btrfs /dev/mapper/vg-data rw,ssd\n\
         23 1 0:41 / /dev/shm rw - tmpfs tmpfs rw\n\
         24 1 half a line\n",
    );
    let swaps =
        "Filename Type Size Used Priority\n/dev/nvme0n1p1 partition 1 0 -2\n/swap file 1 0 -3\n";
    machine.text("proc/swaps", swaps);
    machine
}

fn passage(blocks: &Blocks, name: &str) -> Passage {
    blocks.stack(name, KERNEL).unwrap().passage
}

#[test]
fn every_layer_is_judged() {
    let survey = machine().survey();
    assert_eq!(survey.notes, []);
    let blocks = &survey.blocks;
    assert_eq!(passage(blocks, "/dev/nvme0n1"), Passage::Passes);
    assert_eq!(passage(blocks, "nvme0n1p1"), Passage::Passes);
    assert_eq!(passage(blocks, "md127"), Passage::Passes);
    assert_eq!(passage(blocks, "/dev/mapper/vg-data"), Passage::Stops(ReasonCode::Dm));
    assert_eq!(passage(blocks, "loop0"), Passage::Stops(ReasonCode::NotNvmePci));
    assert_eq!(passage(blocks, "sda"), Passage::Stops(ReasonCode::NotNvmePci));
    assert!(blocks.stack("nvme7n1", KERNEL).is_none());
    // All members have to reach the provider.
    let stack = blocks.stack("dm-0", KERNEL).unwrap();
    let functions: Vec<String> = stack.functions.iter().map(ToString::to_string).collect();
    assert_eq!(functions, ["0000:03:00.0", "0000:04:00.0"]);
    let layers: Vec<&str> = stack.layers.iter().map(|layer| &*layer.device).collect();
    assert_eq!(layers, ["dm-0", "md127", "nvme0n1p1", "nvme0n1", "nvme1n1"]);
}

#[test]
fn what_md_can_do_came_with_a_release() {
    let blocks = machine().survey().blocks;
    let old = Known::Value(KernelVersion { major: 7, minor: 1 });
    assert_eq!(blocks.stack("md127", old).unwrap().passage, Passage::Stops(ReasonCode::Md));
    let unknown = Known::Unknown(Cause::NotCaptured);
    let passage = blocks.stack("md127", unknown).unwrap().passage;
    assert_eq!(passage, Passage::Unknown(Cause::NotCaptured));
    let mut parity = machine();
    parity.text("sys/devices/virtual/block/md127/md/level", "raid5\n");
    let passage = parity.survey().blocks.stack("md127", KERNEL).unwrap().passage;
    assert_eq!(passage, Passage::Stops(ReasonCode::Md));
    // Mirrors pass, with a remark: they lose writes from memory that a member does not reach.
    for (level, remark) in [("raid10", true), ("raid1", true), ("raid0", false)] {
        let mut array = machine();
        array.text("sys/devices/virtual/block/md127/md/level", &format!("{level}\n"));
        let stack = array.survey().blocks.stack("md127", KERNEL).unwrap();
        let layer = &stack.layers[0];
        let caveat = remark.then_some(ReasonCode::Md);
        assert_eq!((layer.passage, layer.caveat), (Passage::Passes, caveat), "{level}");
    }
}

#[test]
fn an_array_has_the_name_that_stands_on_its_members() {
    let own = "6ffb8d4e-0000-4c21-9e11-d0a1b2c3d4e5";
    let none = "00000000-0000-0000-0000-000000000000";
    for (uuid, name) in [(own, Some(own)), (none, None)] {
        let mut array = machine();
        array.text("sys/devices/virtual/block/md127/md/uuid", &format!("{uuid}\n"));
        let identity = array.survey().blocks.device("md127").unwrap().identity.clone();
        assert_eq!(identity, Known::Value(name.map(Into::into)), "{uuid}");
    }
    let identity = machine().survey().blocks.device("md127").unwrap().identity.clone();
    assert_eq!(identity, Known::Value(None), "before Linux has had it");
}

#[test]
fn mounts_are_judged_by_file_system() {
    let blocks = machine().survey().blocks;
    let mounts = blocks.mounts.value().unwrap();
    let seen: Vec<(&str, &str, Passage)> = mounts
        .iter()
        .map(|mount| (mount.point.as_str(), &*mount.device, blocks.judge_mount(mount)))
        .collect();
    let stops = Passage::Stops(ReasonCode::FileSystem);
    assert_eq!(
        seen,
        [
            ("/data", "nvme0n1p1", stops),
            ("/fast disk", "nvme1n1", Passage::Passes),
            ("/pool", "dm-0", stops),
        ]
    );
    assert_eq!(blocks.mounts_of("nvme1n1").count(), 1);
    let swap = blocks.swap.value().unwrap();
    assert_eq!((swap.len(), &*swap[0].device), (1, "nvme0n1p1"));
}

#[test]
fn multipath_heads_have_paths() {
    let mut machine = Machine::switch(0);
    let head = "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1";
    for controller in [0, 1] {
        let down = format!("0000:02:0{controller}.0/0000:0{}:00.0", controller + 3);
        let up = format!("sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/{down}");
        machine.entries.retain(|path, _| {
            !path.contains(&format!("/nvme{controller}n1/"))
                && *path != format!("sys/class/block/nvme{controller}n1")
        });
        let name = format!("nvme0c{controller}n1");
        let folder = format!("{up}/nvme/nvme{controller}/{name}");
        machine.block(&folder, &name, 20);
        machine.entries.remove(&format!("{folder}/dev"));
    }
    machine.block(head, "nvme0n1", 1);
    let survey = machine.survey();
    let stack = survey.blocks.stack("nvme0n1", KERNEL).unwrap();
    assert_eq!(stack.passage, Passage::Passes);
    assert_eq!(stack.layers[0].caveat, Some(ReasonCode::NvmeMultipath));
    assert_eq!(stack.functions.len(), 2);
    let head = survey.blocks.device("nvme0n1").unwrap();
    assert!(matches!(&head.kind, BlockKind::Head { paths } if paths.len() == 2));
}

#[test]
fn circles_end() {
    let mut machine = Machine::switch(0);
    virtual_device(&mut machine, "md1", 1, &["md2"]);
    virtual_device(&mut machine, "md2", 2, &["md1", "nowhere"]);
    let blocks = machine.survey().blocks;
    assert_eq!(blocks.stack("md1", KERNEL).unwrap().layers.len(), 2);
}
