//! Block devices on block devices, and one of another driver.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::files::run;
use crate::machine::{Machine, Pairs};
use crate::target::Target;
use crate::{Setup, row};

const SIZE: usize = 1 << 14;
/// Longer than the kernel takes to make a device.
const TRIES: u32 = 200;

pub(crate) fn rows(machine: &Machine, pairs: &Pairs) -> Setup<()> {
    let (left, right) = (machine.path("left")?, machine.path("right")?);
    for level in ["raid0", "raid1", "raid10"] {
        let mut create = Command::new("mdadm");
        create.args(["--create", "/dev/md0", "--run", "--assume-clean", "--raid-devices=2"]);
        run(create.arg(format!("--level={level}")).arg(&left).arg(&right))?;
        stack(level, "/dev/md0", pairs)?;
        run(Command::new("mdadm").args(["--stop", "/dev/md0"]))?;
        run(Command::new("mdadm").arg("--zero-superblock").arg(&left).arg(&right))?;
    }
    let table = format!("0 {} linear {} 0", 2 * SIZE, left.display());
    run(Command::new("dmsetup").args(["create", "--noudevsync", "rows", "--table", &table]))?;
    stack("dm-linear", "/dev/dm-0", pairs)?;
    run(Command::new("dmsetup").args(["remove", "--noudevsync", "rows"]))?;
    run(Command::new("losetup").arg("/dev/loop0").arg(&right))?;
    stack("loop", "/dev/loop0", pairs)?;
    stack("virtio", "/dev/vda", pairs)
}

fn stack(name: &str, path: &str, pairs: &Pairs) -> Setup<()> {
    let mut tries = 0;
    while !Path::new(path).exists() && tries < TRIES {
        tries += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    let device = Target::device(Path::new(path))?;
    for (pair, memory) in pairs.both() {
        let part = memory.slice(0..SIZE)?;
        row(&format!("{name}-read"), pair, device.read(&part, 0));
        row(&format!("{name}-write"), pair, device.write(&part));
    }
    Ok(())
}
