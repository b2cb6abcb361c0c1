//! QEMU's arguments for a machine.

use std::collections::BTreeMap;

use p2pdma_pci::machine::{
    BarMemory, Below, Function, Machine, Media, Model, Namespace, Nvme, Port,
};
use p2pdma_pci::topology::{CpuVendor, IommuMode};

use super::place::EXPANDERS;
use super::{Backing, Extras, device_id};
use crate::Arch;

/// Bytes of a controller's transfers with other devices' memory, all together (QEMU 9.1): the most that it takes.
const ROOM: &str = ",x-max-bounce-buffer-size=4294967295";

/// The arguments, buses before what is on them.
pub(super) fn arguments(machine: &Machine, arch: Arch, extras: &Extras) -> Vec<String> {
    // Without firmware the kernel numbers buses itself, and keeps some for every port that something
    // might be plugged into (`pci_scan_child_bus_extend` in drivers/pci/probe.c of Linux).
    let hotplug = if arch == Arch::X86_64 { "" } else { ",hotplug=off" };
    let nsids = BTreeMap::new();
    let mut list = Arguments { list: Vec::new(), slot: 0, hotplug, nsids, extras };
    list.add("-machine", machine_type(arch, machine.iommu));
    list.add("-cpu", &cpu(machine, arch));
    list.add("-m", &format!("{}k", machine.host.memory >> 10));
    if machine.iommu != IommuMode::Off && arch == Arch::X86_64 {
        // Before the devices that it translates for. Without caching mode, vfio in the guest cannot map.
        list.device("intel-iommu,intremap=on,caching-mode=on,device-iotlb=on");
    }
    let expanders = machine.host_bridges.iter().enumerate().skip(1);
    for ((index, bridge), device) in expanders.zip((1..=EXPANDERS).rev()) {
        let (id, bus) = (root_bus(index), bridge.first_bus);
        list.device(&format!("pxb-pcie,id={id},bus=pcie.0,addr={device:#x},bus_nr={bus}"));
    }
    for (index, bridge) in machine.host_bridges.iter().enumerate() {
        for (device, port) in (1_u8..).zip(&bridge.ports) {
            list.port("pcie-root-port", port, &root_bus(index), device);
        }
    }
    list.list
}

/// The files behind media and memory.
pub(super) fn backings(machine: &Machine) -> Vec<Backing> {
    let mut backings = Vec::new();
    for function in functions(machine) {
        match &function.model {
            Model::Nvme(nvme) => {
                for (nsid, namespace) in (1..).zip(&nvme.namespaces) {
                    if namespace.media != Media::Null {
                        let file = namespace_file(&function.name, nsid);
                        backings.push(Backing { file, size: namespace_bytes(namespace) });
                    }
                }
                if let Some(pmr) = &nvme.pmr {
                    backings.push(Backing { file: memory_file(&function.name), size: pmr.size });
                }
            }
            Model::BarMemory(memory) => {
                backings.push(Backing { file: memory_file(&function.name), size: memory.size });
            }
            Model::DataMover => {}
        }
    }
    backings
}

/// All functions of devices, in the file's order from the root down.
fn functions(machine: &Machine) -> Vec<&Function> {
    let mut found = Vec::new();
    let mut ports: Vec<&Port> =
        machine.host_bridges.iter().flat_map(|bridge| &bridge.ports).rev().collect();
    while let Some(port) = ports.pop() {
        match &port.below {
            Below::Nothing => {}
            Below::Switch(switch) => ports.extend(switch.ports.iter().rev()),
            Below::Device(functions) => found.extend(functions),
        }
    }
    found
}

const fn machine_type(arch: Arch, iommu: IommuMode) -> &'static str {
    match (arch, iommu) {
        (Arch::X86_64, _) => "q35",
        (Arch::Aarch64, IommuMode::Off) => "virt,gic-version=3",
        (Arch::Aarch64, _) => "virt,gic-version=3,iommu=smmuv3",
        (Arch::Riscv64, _) => "virt",
    }
}

/// The processor. Its vendor and family decide in the kernel's rule; everything else is whatever the
/// accelerator offers.
fn cpu(machine: &Machine, arch: Arch) -> String {
    let vendor = match (arch, machine.host.cpu.vendor) {
        (Arch::Aarch64 | Arch::Riscv64, _) => return "max".to_owned(),
        (Arch::X86_64, CpuVendor::Amd) => "AuthenticAMD",
        (Arch::X86_64, CpuVendor::Hygon) => "HygonGenuine",
        (Arch::X86_64, CpuVendor::Intel | CpuVendor::Other) => "GenuineIntel",
    };
    format!("max,vendor={vendor},family={}", machine.host.cpu.family)
}

/// The name of a host bridge's bus.
fn root_bus(index: usize) -> String {
    if index == 0 { "pcie.0".to_owned() } else { format!("pcie.{index}") }
}

pub(super) fn namespace_file(function: &str, nsid: u32) -> String {
    format!("{function}-ns{nsid}.img")
}

fn memory_file(function: &str) -> String {
    format!("{function}-memory.img")
}

/// QEMU keeps a block's metadata behind all blocks (`nvme_ns_init` in hw/nvme/ns.c).
fn namespace_bytes(namespace: &Namespace) -> u64 {
    let blocks = namespace.size / u64::from(namespace.block.max(1));
    namespace.size + blocks * u64::from(namespace.metadata)
}

struct Arguments<'a> {
    list: Vec<String>,
    /// Slots have numbers of their own, across the machine (docs/pcie.txt in QEMU).
    slot: u16,
    /// What follows at every slot.
    hotplug: &'static str,
    /// Of each subsystem that controllers share, how many namespaces it has so far.
    nsids: BTreeMap<String, u32>,
    extras: &'a Extras,
}

impl Arguments<'_> {
    fn add(&mut self, option: &str, value: &str) {
        self.list.push(option.to_owned());
        self.list.push(value.to_owned());
    }

    fn device(&mut self, text: &str) {
        self.add("-device", text);
    }

    fn port(&mut self, driver: &str, port: &Port, bus: &str, device: u8) {
        let (id, slot) = (device_id(&port.name), self.slot);
        self.slot += 1;
        let number = device.to_string();
        let hotplug = self.hotplug;
        self.device(&format!(
            "{driver},id={id},bus={bus},addr={device:#x},port={number},chassis=1,slot={slot}{hotplug}"
        ));
        match &port.below {
            Below::Nothing => {}
            Below::Switch(switch) => {
                let upstream = device_id(&switch.name);
                self.device(&format!("x3130-upstream,id={upstream},bus={id},addr=0"));
                for (number, port) in (0_u8..).zip(&switch.ports) {
                    self.port("xio3130-downstream", port, &upstream, number);
                }
            }
            Below::Device(functions) => {
                // Function 0 comes last, so that its device is complete when it appears: that is the
                // rule for hot-plug, and does no harm here.
                for function in functions.iter().rev() {
                    self.function(function, &id, functions.len() > 1);
                }
            }
        }
    }

    fn function(&mut self, function: &Function, bus: &str, multi_function: bool) {
        let many = if multi_function { ",multifunction=on" } else { "" };
        let place = format!("bus={bus},addr=0.{:x}{many}", function.number);
        match &function.model {
            Model::Nvme(nvme) => self.nvme(&function.name, nvme, &place),
            Model::BarMemory(memory) => self.bar_memory(&function.name, *memory, &place),
            Model::DataMover => {}
        }
    }

    fn nvme(&mut self, name: &str, nvme: &Nvme, place: &str) {
        let id = device_id(name);
        let (serial, subsystem) = match &nvme.subsystem {
            // All controllers of a subsystem have its serial number (`nvme_subsys_register_ctrl` in
            // hw/nvme/subsys.c).
            Some(shared) => (shared.as_str(), self.subsystem(shared)),
            None => (name, String::new()),
        };
        let (queues, vectors) = (nvme.queue_pairs, nvme.queue_pairs.saturating_add(1).min(2048));
        // MDTS is a power of two of pages of 4 KiB, 0 is no limit; MQES is zero-based.
        let mdts = nvme.max_transfer.map_or(0, |bytes| (bytes >> 12).max(1).ilog2());
        let entries = nvme.queue_entries.saturating_sub(1);
        let room = if self.extras.roomy { ROOM } else { "" };
        let mut text = format!(
            "nvme,id={id},serial={serial},{place},max_ioqpairs={queues},msix_qsize={vectors},\
             mdts={mdts},mqes={entries}{room}{subsystem}"
        );
        if let Some(cmb) = &nvme.cmb {
            text.push_str(&format!(",cmb_size_mb={}", cmb.size >> 20));
        }
        if let Some(pmr) = &nvme.pmr {
            text.push_str(&format!(",pmrdev={}", self.memory(name, pmr.size)));
        }
        self.device(&text);
        let before = nvme.subsystem.as_ref().and_then(|shared| self.nsids.get(shared)).copied();
        for (number, namespace) in (1..).zip(&nvme.namespaces) {
            self.namespace(name, number, before.unwrap_or(0) + number, namespace);
        }
        if let Some(count) = nvme.subsystem.as_ref().and_then(|shared| self.nsids.get_mut(shared)) {
            *count += u32::try_from(nvme.namespaces.len()).unwrap_or(u32::MAX);
        }
    }

    /// A subsystem that controllers share, made for the first of them. Returns how they name it.
    fn subsystem(&mut self, shared: &str) -> String {
        let id = device_id(&format!("subsystem-{shared}"));
        if !self.nsids.contains_key(shared) {
            self.nsids.insert(shared.to_owned(), 0);
            self.device(&format!("nvme-subsys,id={id},nqn={shared}"));
        }
        format!(",subsys={id}")
    }

    /// A namespace: the controller's `number`th.
    fn namespace(&mut self, function: &str, number: u32, nsid: u32, namespace: &Namespace) {
        let (id, bus) = (device_id(function), device_id(function));
        let drive = format!("{id}-ns{number}");
        let size = namespace_bytes(namespace);
        let node = match namespace.media {
            Media::Null => format!("null-co,node-name={drive},size={size},read-zeroes=off"),
            Media::Persistent | Media::Memory => format!(
                "raw,node-name={drive},discard=unmap,{}",
                self.medium(&namespace_file(function, number))
            ),
        };
        self.add("-blockdev", &format!("driver={node}"));
        let block = namespace.block;
        let mut text = format!(
            "nvme-ns,drive={drive},bus={bus},nsid={nsid},logical_block_size={block},\
             physical_block_size={block}"
        );
        if namespace.metadata > 0 {
            text.push_str(&format!(",ms={},pi={}", namespace.metadata, namespace.protection));
        }
        self.device(&text);
    }

    /// A medium's file, with its bad places.
    fn medium(&self, file: &str) -> String {
        let bad: Vec<u64> =
            self.extras.bad.iter().filter(|bad| bad.file == file).map(|bad| bad.sector).collect();
        if bad.is_empty() {
            return format!("file.driver=file,file.filename={file}");
        }
        let mut text =
            format!("file.driver=blkdebug,file.image.driver=file,file.image.filename={file}");
        for (index, sector) in bad.iter().enumerate() {
            // EIO, whenever it is touched.
            text.push_str(&format!(
                ",file.inject-error.{index}.event=none,file.inject-error.{index}.errno=5,\
                 file.inject-error.{index}.sector={sector}"
            ));
        }
        text
    }

    fn bar_memory(&mut self, name: &str, memory: BarMemory, place: &str) {
        let memory = self.memory(name, memory.size);
        let id = device_id(name);
        self.device(&format!("ivshmem-plain,id={id},{place},master=on,memdev={memory}"));
    }

    /// Shared memory in a file; returns its identifier.
    fn memory(&mut self, function: &str, size: u64) -> String {
        let (id, file) = (format!("{}-memory", device_id(function)), memory_file(function));
        let text = format!("memory-backend-file,id={id},share=on,mem-path={file},size={size}");
        self.add("-object", &text);
        id
    }
}
