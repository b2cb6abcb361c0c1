//! One function.

use std::sync::Arc;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Cause, KernelVersion, Known, PciId};
use p2pdma_spec::pci::class::ClassCode;
use p2pdma_spec::pci::config::{COMPATIBLE_SIZE, SIZE};
use p2pdma_spec::pci::express::PortType;

use super::{Groups, address, link, memory, place};
use crate::assemble::Raw;
use crate::attribute::{decimal, hex, known, text, value};
use crate::system::System;
use crate::tree::{join, resolve};
use crate::{Config, Failure, Function, Note, NoteKind, Tree};

/// The first kernel that shows `current_link_speed` and its like for every function with a PCI Express
/// capability, and for no other.
const SHOWS_LINKS: KernelVersion = KernelVersion { major: 4, minor: 13 };

/// What drivers make of a function: folders in its folder that hold one folder for each.
const INTERFACES: [&str; 4] = ["nvme", "infiniband", "net", "drm"];

/// Reads a function.
pub(super) fn read(
    tree: &dyn Tree,
    bdf: Bdf,
    system: &System,
    groups: &mut Groups,
    notes: &mut Vec<Note>,
) -> Result<Raw, NoteKind> {
    let entry = format!("{}/{bdf}", super::DEVICES);
    let vanished = |folder: &str| NoteKind::Vanished { bdf, folder: Some(folder.to_owned()) };
    let folder = match tree.link(&entry).map(|target| resolve(&entry, &target)) {
        Ok(Some(folder)) => folder,
        Ok(None) => return Err(left_out(bdf, "its link leads nowhere")),
        Err(failure) if failure.is_gone() => {
            return Err(NoteKind::Vanished { bdf, folder: None });
        }
        Err(failure) => return Err(left_out(bdf, &failure.to_string())),
    };
    let above = place::above(&folder, bdf).ok_or_else(|| {
        left_out(bdf, &format!("its place in the hierarchy is not understood: /{folder}"))
    })?;
    let stamp = |failure: Failure| match failure.is_gone() {
        true => vanished(&folder),
        false => left_out(bdf, &format!("its folder cannot be read: {failure}")),
    };
    let before = tree.stamp(&folder).map_err(stamp)?;
    let names = tree.list(&folder).map_err(stamp)?;
    let device = Device { tree, folder: &folder, names: &names, bdf };
    let raw = device.read(above, system, groups, notes)?;
    // All of it was read of one and the same device, or it is left out.
    match tree.stamp(&folder) {
        Ok(after) if after == before => Ok(raw),
        _ => Err(vanished(&folder)),
    }
}

fn left_out(bdf: Bdf, why: &str) -> NoteKind {
    NoteKind::LeftOut { bdf, why: why.to_owned() }
}

struct Device<'a> {
    tree: &'a dyn Tree,
    folder: &'a str,
    names: &'a [String],
    bdf: Bdf,
}

impl Device<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|own| own.as_str().cmp(name)).is_ok()
    }

    fn path(&self, name: &str) -> String {
        join(self.folder, name)
    }

    fn number(&self, name: &str) -> Result<u16, Failure> {
        value(self.tree, &self.path(name), |text| hex(text).and_then(|n| n.try_into().ok()))
    }

    /// An attribute without which there is no function: what it says, or why the function is left out.
    fn need<T>(&self, name: &str, answer: Result<T, Failure>) -> Result<T, NoteKind> {
        answer.map_err(|failure| {
            if failure.is_gone() {
                let folder = Some(self.folder.to_owned());
                NoteKind::Vanished { bdf: self.bdf, folder }
            } else {
                left_out(self.bdf, &format!("its {name} cannot be read: {failure}"))
            }
        })
    }

    fn read(
        &self,
        above: crate::assemble::Above,
        system: &System,
        groups: &mut Groups,
        notes: &mut Vec<Note>,
    ) -> Result<Raw, NoteKind> {
        let vendor = self.need("vendor", self.number("vendor"))?;
        let device = self.need("device", self.number("device"))?;
        let class = value(self.tree, &self.path("class"), |text| {
            hex(text).and_then(|n| u32::try_from(n).ok()).filter(|&class| class < 1 << 24)
        });
        let class = ClassCode::from_bits(self.need("class", class)?);
        let config = self.config()?;
        let id = PciId { vendor, device };
        if config.id().is_some_and(|(v, d)| (v, d) != (vendor, device)) {
            // Quirks of the kernel, or of the device: the driver goes by the attributes.
            let what = "vendor and device in configuration space differ from the kernel's";
            notes.push(NoteKind::Contradiction { bdf: self.bdf, what }.into());
        }
        let function = self.function(config, groups, notes);
        let mut raw = Raw::new(function, above, id, class);
        if !raw.function.config.answers() && !raw.function.config.bytes().is_empty() {
            let what = "it does not answer: its configuration space reads as all ones";
            notes.push(NoteKind::Contradiction { bdf: self.bdf, what }.into());
        }
        raw.name = raw.function.interfaces.value().and_then(|all| all.first().cloned());
        raw.express = self.express(system);
        raw.port_type = self.port_type();
        if let Known::Unknown(cause) = raw.link
            && raw.express != Some(false)
        {
            raw.link = link::read(self.tree, self.folder, cause);
        } else if raw.link.cause().is_some() {
            raw.link = Known::Value(None);
        }
        Ok(raw)
    }

    fn config(&self) -> Result<Config, NoteKind> {
        let file = self.tree.read(&self.path("config"), usize::from(SIZE));
        let file = match file {
            Err(failure) if !failure.is_gone() => {
                return Ok(Config::new(
                    Vec::new(),
                    Known::Unknown(failure.cause()),
                    failure.cause(),
                ));
            }
            file => self.need("config", file)?,
        };
        // The file claims what the kernel can reach (`cfg_size`); without privilege it ends at 64 bytes
        // all the same (`pci_read_config()`).
        let size = match usize::try_from(file.size) {
            Ok(size) if size >= usize::from(COMPATIBLE_SIZE) => Known::Value(size),
            _ => Known::Unknown(Cause::Unreadable),
        };
        let cut = size.value().is_some_and(|&size| file.bytes.len() < size.min(usize::from(SIZE)));
        let rest = if cut { Cause::NeedsRoot } else { Cause::Unreadable };
        Ok(Config::new(file.bytes, size, rest))
    }

    fn function(&self, config: Config, groups: &mut Groups, notes: &mut Vec<Note>) -> Function {
        let tree = self.tree;
        let mut function = Function::unknown(self.bdf, config, Cause::Unreadable);
        let subsystem = |vendor, device| PciId { vendor, device };
        function.subsystem =
            match (self.number("subsystem_vendor"), self.number("subsystem_device")) {
                (Ok(vendor), Ok(device)) if vendor != 0 => {
                    Known::Value(Some(subsystem(vendor, device)))
                }
                (Ok(_), Ok(_)) | (Err(Failure::Missing), _) => Known::Value(None),
                (Err(failure), _) | (_, Err(failure)) => Known::Unknown(failure.cause()),
            };
        function.revision = match value(tree, &self.path("revision"), hex) {
            Ok(revision) => u8::try_from(revision).map_or(function.revision, Known::Value),
            // Kernels before 4.10 do not have it.
            Err(_) => function.config.class_revision().map(|(_, revision)| revision),
        };
        function.enabled = known(value(tree, &self.path("enable"), decimal).map(|count| count > 0));
        function.driver = self.linked("driver").map(|name| name.map(Arc::from));
        function.numa_node = match text(tree, &self.path("numa_node")) {
            Ok(node) if node == "-1" => Known::Value(None),
            Ok(node) => {
                node.parse().map_or(Known::Unknown(Cause::Unreadable), |n| Known::Value(Some(n)))
            }
            Err(Failure::Missing) => Known::Value(None),
            Err(failure) => Known::Unknown(failure.cause()),
        };
        function.iommu_group = if self.has("iommu_group") {
            match tree.link(&self.path("iommu_group")) {
                Ok(target) => match groups.of_link(tree, &target) {
                    Some(group) => Known::Value(Some(group)),
                    None => Known::Unknown(Cause::Unreadable),
                },
                Err(failure) => Known::Unknown(failure.cause()),
            }
        } else {
            Known::Value(None)
        };
        function.physical_function = match self.linked("physfn") {
            Known::Value(None) => Known::Value(None),
            Known::Value(Some(name)) => match address(&name) {
                Some(bdf) => Known::Value(Some(bdf)),
                None => Known::Unknown(Cause::Unreadable),
            },
            Known::Unknown(cause) => Known::Unknown(cause),
        };
        function.bars = memory::known_bars(memory::bars(tree, self.folder, &function.config));
        function.pool = memory::pool(tree, self.folder, self.has("p2pmem"), notes);
        function.interfaces = self.interfaces();
        function.cmb = self.cmb(&function);
        function
    }

    /// The last name of a link's target; `None` if there is no such link.
    fn linked(&self, name: &str) -> Known<Option<String>> {
        if !self.has(name) {
            return Known::Value(None);
        }
        match self.tree.link(&self.path(name)) {
            Ok(target) => {
                let last = target.rsplit('/').next().filter(|last| !last.is_empty());
                last.map_or(Known::Unknown(Cause::Unreadable), |last| {
                    Known::Value(Some(last.to_owned()))
                })
            }
            Err(failure) => Known::Unknown(failure.cause()),
        }
    }

    fn interfaces(&self) -> Known<Vec<Arc<str>>> {
        let mut all = Vec::new();
        for kind in INTERFACES.into_iter().filter(|kind| self.has(kind)) {
            match self.tree.list(&self.path(kind)) {
                Ok(names) => all.extend(names.iter().map(|name| Arc::<str>::from(name.as_str()))),
                Err(failure) => return Known::Unknown(failure.cause()),
            }
        }
        Known::Value(all)
    }

    fn cmb(&self, function: &Function) -> Known<Option<crate::CmbRegisters>> {
        if !self.has("nvme") {
            // Another driver, or none, shows no such registers.
            let nvme = matches!(&function.driver, Known::Value(Some(name)) if &**name == "nvme");
            return if nvme { Known::Unknown(Cause::Unreadable) } else { Known::Value(None) };
        }
        let interfaces = function.interfaces.value();
        let controller =
            interfaces.and_then(|all| all.iter().find(|name| name.starts_with("nvme")));
        match controller {
            Some(name) => memory::cmb(self.tree, &format!("{}/nvme/{name}", self.folder)),
            None => Known::Unknown(Cause::Unreadable),
        }
    }

    /// Whether it has a PCI Express capability, by whether the attributes of a link are there.
    fn express(&self, system: &System) -> Option<bool> {
        if self.has("current_link_speed") && self.has("max_link_speed") {
            return Some(true);
        }
        let kernel = system.kernel.value()?;
        (*kernel >= SHOWS_LINKS).then_some(false)
    }

    /// The type of a port by the services that its driver offers: `0000:00:01.0:pcie204`, of which the
    /// first digit is the type minus 4 (`get_descriptor_id()` in drivers/pci/pcie/portdrv.h).
    fn port_type(&self) -> Option<PortType> {
        let prefix = format!("{}:pcie", self.bdf);
        let services = self.names.iter().filter_map(|name| name.strip_prefix(prefix.as_str()));
        let mut types = services.filter_map(|id| match id.as_bytes() {
            [b'0', _, _] => Some(PortType::ROOT_PORT),
            [b'1', _, _] => Some(PortType::UPSTREAM_PORT),
            [b'2', _, _] => Some(PortType::DOWNSTREAM_PORT),
            _ => None,
        });
        types.next()
    }
}
