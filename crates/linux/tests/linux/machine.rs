//! A machine to order: its files in memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use p2pdma_linux::{Failure, File, Survey, Tree};
use p2pdma_pci::Bdf;

use crate::registers::{DOWNSTREAM, ENDPOINT, ROOT_PORT, Registers, UPSTREAM};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A file, and the size that it claims if that is not its length.
    File(Vec<u8>, Option<u64>),
    Link(String),
    Fails(Failure),
}

/// A tree of files in memory. Folders are there if something is in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Folders that are new at every look.
    pub(crate) restless: Vec<String>,
    looks: Cell<u64>,
}

pub(crate) const NVME: u32 = 0x01_08_02;
pub(crate) const BRIDGE: u32 = 0x06_04_00;

impl Machine {
    /// A Linux system without any device.
    pub(crate) fn bare(vendor: &str, family: u32) -> Self {
        let mut machine = Self::default();
        machine.text("proc/sys/kernel/osrelease", "7.3.4-test\n");
        let cpu = format!("processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\n\n");
        machine.text("proc/cpuinfo", &cpu);
        machine.text("proc/cmdline", "quiet\n");
        machine.text("proc/self/mountinfo", "");
        machine.text("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
        machine.text("boot/config-7.3.4-test", "CONFIG_PCI_P2PDMA=y\n");
        machine.text("sys/bus/pci/drivers/none", "");
        machine
    }

    /// Two SSDs below a switch, the first of which lends 16 MiB; the switch's downstream ports and the
    /// root port have this ACS control word.
    pub(crate) fn switch(acs: u8) -> Self {
        let mut machine = Self::bare("GenuineIntel", 6);
        let new = |id, class| Registers::new(id, class, 4096);
        let root = "sys/devices/pci0000:00";
        let host = Registers::new([0x8086, 0x29c0], 0x06_00_00, 256);
        machine.function(root, "0000:00:00.0", &host);
        let port = |kind| new([0x1b36, 0x000c], BRIDGE).express(kind).acs(acs);
        let at = machine.function(root, "0000:00:01.0", &port(ROOT_PORT).bridge([0, 1, 4]));
        let up = new([0x104c, 0x8232], BRIDGE).express(UPSTREAM).bridge([1, 2, 4]);
        let up = machine.function(&at, "0000:01:00.0", &up);
        let down = machine.function(&up, "0000:02:00.0", &port(DOWNSTREAM).bridge([2, 3, 3]));
        let ssd = |bar| new([0x1b36, 0x0010], NVME).express(ENDPOINT).bar(bar);
        let first = machine.function(&down, "0000:03:00.0", &ssd(0x40_0000_0000));
        machine.bar(&first, 0x40_0000_0000, 16 << 20);
        machine.pool(&first, 16 << 20);
        machine.controller(&first, 0);
        let down = machine.function(&up, "0000:02:01.0", &port(DOWNSTREAM).bridge([2, 4, 4]));
        let second = machine.function(&down, "0000:04:00.0", &ssd(0x41_0000_0000));
        machine.bar(&second, 0x41_0000_0000, 16 << 10);
        machine.controller(&second, 1);
        machine
    }

    /// So many switches of eight SSDs, each below a root port of its own.
    pub(crate) fn switches(count: u8) -> Self {
        let mut machine = Self::bare("GenuineIntel", 6);
        let port = |kind, id| Registers::new([0x8086, id], BRIDGE, 4096).express(kind).acs(0);
        for number in 0..count {
            // Ten buses each, and so 25 to a domain.
            let (domain, bus) = (number / 25, number % 25 * 10 + 1);
            let root = format!("sys/devices/pci{domain:04x}:00");
            let at = |bus: u8, device: u8| format!("{domain:04x}:{bus:02x}:{device:02x}.0");
            let below = port(ROOT_PORT, 1).bridge([0, bus, bus + 9]);
            let top = machine.function(&root, &at(0, number % 25 + 1), &below);
            let up = port(UPSTREAM, 2).bridge([bus, bus + 1, bus + 9]);
            let up = machine.function(&top, &at(bus, 0), &up);
            for slot in 0..8 {
                let secondary = bus + 2 + slot;
                let down = port(DOWNSTREAM, 3).bridge([bus + 1, secondary, secondary]);
                let down = machine.function(&up, &at(bus + 1, slot), &down);
                let ssd = Registers::new([0x144d, 0xa824], NVME, 4096).express(ENDPOINT);
                let folder = machine.function(&down, &at(secondary, 0), &ssd);
                machine.pool(&folder, 2 << 20);
                machine.controller(&folder, u32::from(number) * 8 + u32::from(slot));
            }
        }
        machine
    }

    /// Adds a file of text.
    pub(crate) fn text(&mut self, path: &str, text: &str) {
        self.entries.insert(path.to_owned(), Entry::File(text.into(), None));
    }

    /// Adds a link.
    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.entries.insert(path.to_owned(), Entry::Link(to.to_owned()));
    }

    /// Adds a function below a folder, and returns its own.
    pub(crate) fn function(&mut self, above: &str, bdf: &str, registers: &Registers) -> String {
        let folder = format!("{above}/{bdf}");
        let bytes = registers.0.clone();
        let [vendor, device, class] = [0, 2, 9].map(|at| {
            let value = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]);
            if at == 9 { format!("{value:#08x}\n") } else { format!("{:#06x}\n", value & 0xffff) }
        });
        for (name, text) in [("vendor", vendor), ("device", device), ("class", class)] {
            self.text(&format!("{folder}/{name}"), &text);
        }
        self.text(&format!("{folder}/enable"), "1\n");
        self.text(&format!("{folder}/numa_node"), "0\n");
        self.text(&format!("{folder}/revision"), "0x02\n");
        self.text(&format!("{folder}/resource"), &"0x0 0x0 0x0\n".repeat(13));
        if bytes.get(0x34) == Some(&0x40) {
            for end in ["current", "max"] {
                self.text(&format!("{folder}/{end}_link_speed"), "16.0 GT/s PCIe\n");
                self.text(&format!("{folder}/{end}_link_width"), "4\n");
            }
        }
        let config = Entry::File(bytes, None);
        self.entries.insert(format!("{folder}/config"), config);
        let up = folder.strip_prefix("sys/").unwrap();
        self.link(&format!("sys/bus/pci/devices/{bdf}"), &format!("../../../{up}"));
        folder
    }

    /// Tells the address and size of BAR 0.
    pub(crate) fn bar(&mut self, folder: &str, address: u64, size: u64) {
        let end = address + size - 1;
        let rest = "0x0 0x0 0x0\n".repeat(12);
        let text = format!("{address:#018x} {end:#018x} 0x000000000014220c\n{rest}");
        self.text(&format!("{folder}/resource"), &text);
    }

    /// Lets a function lend memory.
    pub(crate) fn pool(&mut self, folder: &str, size: u64) {
        self.text(&format!("{folder}/p2pmem/size"), &format!("{size}\n"));
        self.text(&format!("{folder}/p2pmem/available"), &format!("{size}\n"));
        self.text(&format!("{folder}/p2pmem/published"), "1\n");
        self.text(&format!("{folder}/p2pmem/allocate"), "");
    }

    /// Binds the NVMe driver, with one namespace.
    pub(crate) fn controller(&mut self, folder: &str, number: u32) {
        let at = format!("{folder}/nvme/nvme{number}");
        self.text(&format!("{at}/transport"), "pcie\n");
        self.text(&format!("{at}/state"), "live\n");
        self.text(&format!("{at}/serial"), &format!("S{number}   \n"));
        self.link(&format!("{folder}/driver"), "../../../bus/pci/drivers/nvme");
        let up = at.strip_prefix("sys/").unwrap();
        self.link(&format!("sys/class/nvme/nvme{number}"), &format!("../../{up}"));
        let name = format!("nvme{number}n1");
        self.block(&format!("{at}/{name}"), &name, number + 1);
    }

    /// Adds a block device in a folder of its own.
    pub(crate) fn block(&mut self, folder: &str, name: &str, minor: u32) {
        self.text(&format!("{folder}/dev"), &format!("259:{minor}\n"));
        self.text(&format!("{folder}/size"), "2048\n");
        self.text(&format!("{folder}/ro"), "0\n");
        self.text(&format!("{folder}/queue/stable_writes"), "0\n");
        let up = folder.strip_prefix("sys/").unwrap();
        self.link(&format!("sys/class/block/{name}"), &format!("../../{up}"));
    }

    /// The machine as somebody sees it who is not root: configuration space ends after 64 bytes.
    pub(crate) fn without_root(mut self) -> Self {
        for (path, entry) in &mut self.entries {
            if let Entry::File(bytes, size) = entry
                && path.ends_with("/config")
            {
                *size = Some(bytes.len().try_into().unwrap());
                bytes.truncate(64);
            }
        }
        self
    }

    pub(crate) fn survey(&self) -> Survey {
        Survey::read(self).unwrap()
    }

    /// What `lspci -xxxx` prints of it.
    pub(crate) fn dump(&self) -> String {
        let mut text = String::new();
        let mut functions: Vec<(Bdf, &Vec<u8>)> = Vec::new();
        for (path, entry) in &self.entries {
            let Entry::File(bytes, _) = entry else { continue };
            if let Some(folder) = path.strip_suffix("/config") {
                functions.push((folder.rsplit('/').next().unwrap().parse().unwrap(), bytes));
            }
        }
        functions.sort_unstable_by_key(|(bdf, _)| *bdf);
        for (bdf, bytes) in functions {
            writeln!(text, "{bdf} A device: of some maker").unwrap();
            for (row, bytes) in bytes.chunks(16).enumerate() {
                write!(text, "{:02x}:", row * 16).unwrap();
                bytes.iter().for_each(|byte| write!(text, " {byte:02x}").unwrap());
                text.push('\n');
            }
            text.push('\n');
        }
        text
    }

    fn entry(&self, path: &str) -> Result<&Entry, Failure> {
        match self.entries.get(path) {
            Some(Entry::Fails(failure)) => Err(*failure),
            Some(entry) => Ok(entry),
            None if self.list(path).is_ok() => Err(Failure::OtherKind),
            None => Err(Failure::Missing),
        }
    }
}

impl Tree for Machine {
    fn read(&self, path: &str, limit: usize) -> Result<File, Failure> {
        let Entry::File(bytes, size) = self.entry(path)? else { return Err(Failure::OtherKind) };
        let size = size.unwrap_or(bytes.len().try_into().unwrap());
        let more = bytes.len() > limit;
        Ok(File { bytes: bytes.iter().copied().take(limit).collect(), more, size })
    }

    fn lines(&self, path: &str, words: &[&str]) -> Result<Vec<String>, Failure> {
        let Entry::File(bytes, _) = self.entry(path)? else { return Err(Failure::OtherKind) };
        let text = String::from_utf8_lossy(bytes);
        let wanted = |line: &&str| words.iter().any(|word| line.contains(word));
        Ok(text.lines().filter(wanted).map(str::to_owned).collect())
    }

    fn link(&self, path: &str) -> Result<String, Failure> {
        match self.entry(path)? {
            Entry::Link(target) => Ok(target.clone()),
            _ => Err(Failure::OtherKind),
        }
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        if let Some(Entry::Fails(failure)) = self.entries.get(path) {
            return Err(*failure);
        }
        let folder = format!("{path}/");
        let below = self.entries.range(folder.clone()..);
        let below = below.map_while(|(path, _)| path.strip_prefix(&folder));
        let mut names: Vec<String> =
            below.map(|rest| rest.split('/').next().unwrap_or_default().to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { Err(Failure::Missing) } else { Ok(names) }
    }

    fn stamp(&self, path: &str) -> Result<u64, Failure> {
        self.list(path)?;
        if self.restless.iter().any(|folder| folder == path) {
            self.looks.set(self.looks.get() + 1);
        }
        Ok(self.looks.get())
    }
}
