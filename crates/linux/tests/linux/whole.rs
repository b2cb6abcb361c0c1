//! A whole machine, all of it readable.

use p2pdma_linux::DomainType;
use p2pdma_pci::topology::{IommuMode, Kind, Known, MemoryKind};

use crate::machine::{Entry, Machine, NVME};
use crate::registers::{ENDPOINT, Registers};

#[test]
fn the_hierarchy_is_read() {
    let survey = Machine::switch(0x1d).survey();
    assert_eq!(survey.notes, []);
    let kinds: Vec<(String, Kind)> =
        survey.topology.nodes().iter().map(|node| (node.bdf.to_string(), node.kind)).collect();
    let expected = [
        ("0000:00:00.0", Kind::Conventional),
        ("0000:00:01.0", Kind::RootPort),
        ("0000:01:00.0", Kind::UpstreamPort),
        ("0000:02:00.0", Kind::DownstreamPort),
        ("0000:03:00.0", Kind::Endpoint),
        ("0000:02:01.0", Kind::DownstreamPort),
        ("0000:04:00.0", Kind::Endpoint),
    ];
    assert_eq!(kinds, expected.map(|(bdf, kind)| (bdf.to_owned(), kind)));
    let port = survey.topology.find("0000:02:00.0".parse().unwrap()).unwrap();
    let port = survey.topology.node(port);
    let acs = port.acs.value().unwrap().as_ref().unwrap();
    assert_eq!((acs.offset, acs.control.into_bits()), (Some(0x100), 0x1d));
    let buses = port.buses.unwrap();
    assert_eq!((buses.secondary, buses.subordinate), (3, 3));
    let link = port.link.value().unwrap().unwrap();
    assert_eq!(link.current.unwrap().to_string(), link.max.to_string());
    assert_eq!(survey.topology.host_bridges().len(), 1);
    assert!(survey.topology.host().kernel.is_some());
}

#[test]
fn what_is_beside_a_function_is_read() {
    let mut machine = Machine::switch(0);
    let ssd = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0";
    machine.link(&format!("{ssd}/iommu_group"), "../../../../../../../kernel/iommu_groups/7");
    machine.text("sys/kernel/iommu_groups/7/type", "DMA-FQ\n");
    let survey = machine.survey();
    assert_eq!(survey.notes, []);
    let function = survey.find("0000:03:00.0".parse().unwrap()).unwrap();
    assert_eq!(function.driver, Known::Value(Some("nvme".into())));
    assert_eq!(function.numa_node, Known::Value(Some(0)));
    assert_eq!(function.revision, Known::Value(2));
    assert_eq!(function.enabled, Known::Value(true));
    let command = function.command.value().unwrap();
    assert!(command.memory_space() && command.bus_master());
    let group = function.iommu_group.value().unwrap().unwrap();
    assert_eq!((group.number, group.domain), (7, Known::Value(DomainType::DmaFlushQueue)));
    assert_eq!(survey.topology.host().iommu, Known::Value(IommuMode::Translate));
    let [bar] = function.bars.value().unwrap().as_slice() else { panic!("{:?}", function.bars) };
    assert_eq!((bar.address.0, bar.size), (0x40_0000_0000, Known::Value(16 << 20)));
    assert!(bar.memory && bar.prefetchable && bar.wide);
    let pool = function.pool.value().unwrap().unwrap();
    assert_eq!((pool.size, pool.published), (Known::Value(16 << 20), Known::Value(true)));
    assert_eq!(pool.allocatable, Known::Value(true));
    let node = survey.topology.find(function.bdf).unwrap();
    let node = survey.topology.node(node);
    assert_eq!(node.name.as_deref(), Some("nvme0"));
    let [memory] = node.memory.as_slice() else { panic!("{:?}", node.memory) };
    assert_eq!((memory.kind, memory.size), (MemoryKind::P2pmem, 16 << 20));
    assert!(memory.published);
}

#[test]
fn a_buffer_that_the_kernel_ignores_is_there_and_unaligned() {
    let mut machine = Machine::switch(0);
    let ssd = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.0";
    machine.bar(ssd, 0x41_0000_0000, 1 << 20);
    // BIR 0 at offset 0; 1 MiB in units of 4 KiB, for reading and writing data.
    machine.text(&format!("{ssd}/nvme/nvme1/cmbloc"), "0\n");
    machine.text(&format!("{ssd}/nvme/nvme1/cmbsz"), &format!("{}\n", 256 << 12 | 0x18));
    let survey = machine.survey();
    let (client, provider) = ("0000:03:00.0".parse().unwrap(), "0000:04:00.0".parse().unwrap());
    let node = survey.topology.node(survey.topology.find(provider).unwrap());
    assert_eq!(node.memory[0].kind, MemoryKind::Cmb);
    assert_eq!((node.memory[0].size, node.memory[0].published), (1 << 20, true));
    let hazards = survey.topology.explain(client, provider).hazards;
    assert_eq!(hazards[0].code().code(), "CMB-ALIGN");
}

#[test]
fn domains_of_eight_digits_and_host_bridges_anywhere() {
    let mut machine = Machine::bare("GenuineIntel", 6);
    let new = |class| Registers::new([0x8086, 0x201d], class, 4096);
    let vmd = machine.function("sys/devices/pci0000:00", "0000:00:0e.0", &new(0x01_04_00));
    let below = format!("{vmd}/pci10000:e0");
    machine.function(&below, "10000:e0:02.0", &new(NVME).express(ENDPOINT));
    let soc = "sys/devices/platform/soc/40000000.pcie/pciabcdef01:00";
    machine.function(soc, "abcdef01:00:00.0", &new(0x06_00_00));
    let survey = machine.survey();
    assert_eq!(survey.notes, []);
    let bridges: Vec<(u32, u8)> =
        survey.topology.host_bridges().iter().map(|bridge| (bridge.domain, bridge.bus)).collect();
    assert_eq!(bridges, [(0, 0), (0x10000, 0xe0), (0xabcd_ef01, 0)]);
    assert!(survey.find("abcdef01:00:00.0".parse().unwrap()).is_some());
}

#[test]
fn a_machine_without_pci_is_a_machine() {
    let survey = Machine::bare("GenuineIntel", 6).survey();
    assert_eq!(survey.topology.nodes(), []);
    assert_eq!(survey.notes, []);
    assert_eq!(survey.system.has_p2pdma(), Known::Value(true));
}

#[test]
fn virtual_functions_are_below_what_their_device_is_below() {
    let mut machine = Machine::switch(0);
    let down = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0";
    // A virtual function has neither identifiers nor a link of its own (PCIe 6.0 §9.3.4.1).
    let mut registers = Registers::new([0x1b36, 0x0010], NVME, 4096).express(ENDPOINT);
    registers.set(0x52, &[0, 0]);
    let at = machine.function(down, "0000:04:00.1", &registers);
    registers.set(0x00, &[0xff; 4]);
    machine.entries.insert(format!("{at}/config"), Entry::File(registers.0, None));
    machine.link(&format!("{at}/physfn"), "../0000:04:00.0");
    let survey = machine.survey();
    assert_eq!(survey.notes, []);
    let function = survey.find("0000:04:00.1".parse().unwrap()).unwrap();
    assert_eq!(function.physical_function, Known::Value(Some("0000:04:00.0".parse().unwrap())));
    let node = survey.topology.node(survey.topology.find(function.bdf).unwrap());
    assert!(node.link.value().unwrap().unwrap().current.is_some());
    assert_eq!(node.id.to_string(), "1b36:0010");
}

#[test]
fn hundreds_of_functions_are_read() {
    let survey = Machine::switches(28).survey();
    assert_eq!(survey.notes, []);
    assert_eq!(survey.topology.nodes().len(), 28 * 18);
    assert_eq!(survey.topology.host_bridges().len(), 2);
}
