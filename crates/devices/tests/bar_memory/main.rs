//! Memory behind a BAR, and nothing else: bounds, windows, resets.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use p2pdma_devices::{BarMemoryConfig, BarMemoryDevice, Error};
use p2pdma_fabric::{Builder, Endpoint as _, Fabric, FunctionConfig, HostBridgeConfig, PortConfig};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::topology::{CpuVendor, Host, IommuMode, Known, Link, LinkStatus};
use p2pdma_pci::{Bar, BarIndex, Bdf, ConfigSpace as _, Function as _, Width};
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::class::ClassCode;
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

const LEN: u64 = 1 << 20;

fn config(bar: u8) -> BarMemoryConfig {
    BarMemoryConfig { len: LEN, bar: BarIndex::new(bar).unwrap(), ..BarMemoryConfig::default() }
}

/// A machine with one device, `a`; and its bytes, seen from the side.
fn machine(config: BarMemoryConfig) -> (Fabric, SharedMemory) {
    let device = BarMemoryDevice::new(config).unwrap();
    let bytes = device.memory().clone();
    let mut host = Host::new(CpuVendor::Amd, 0x19);
    host.iommu = Known::Value(IommuMode::Off);
    let mut builder = Builder::new(host, 64 << 20);
    let bridge = builder.host_bridge(HostBridgeConfig::default());
    let link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X8 };
    let link = LinkStatus { current: Some(link), max: link };
    let port = PortConfig { name: "rp0".to_owned(), link, acs: None };
    let root = builder.root_port(bridge, port).unwrap();
    let function = FunctionConfig { name: "a".to_owned(), number: 0, link, acs: None };
    builder.endpoint(root, function, Box::new(device));
    (builder.build().unwrap(), bytes)
}

fn open(fabric: &Fabric, bar: u8) -> Bar {
    let function = fabric.open(fabric.find("a").unwrap()).unwrap();
    function.config().write(4, Width::Word, 2).unwrap();
    function.map_bar(BarIndex::new(bar).unwrap()).unwrap()
}

fn settle(fabric: &Fabric) {
    while fabric.step() {}
}

#[test]
fn memories_that_cannot_be() {
    for (len, bar, possible) in [
        (4096, 0, true),
        (4096, 2, true),
        (1 << 40, 4, true),
        (0, 0, false),
        (1, 0, false),
        (2048, 0, false),
        (4097, 0, false),
        (12_288, 0, false),
        (u64::MAX, 0, false),
        (4096, 1, false),
        (4096, 3, false),
        (4096, 5, false),
    ] {
        let built = BarMemoryDevice::new(BarMemoryConfig { len, ..config(bar) });
        match built {
            Ok(device) => {
                assert!(possible);
                assert_eq!(device.memory().len() as u64, len);
            }
            Err(error) => assert!(!possible && matches!(error, Error::Value { .. }), "{error}"),
        }
    }
    // More than there is: the operating system's error, not a panic.
    let error = BarMemoryDevice::new(BarMemoryConfig { len: 1 << 62, ..config(0) }).unwrap_err();
    assert!(matches!(error, Error::Memory { len: 0x4000_0000_0000_0000, .. }), "{error}");
}

#[test]
fn what_it_says_of_itself() {
    let config = BarMemoryConfig {
        vendor: 0x1234,
        device: 0x5678,
        class: ClassCode::PROCESSING_ACCELERATOR,
        behind: Some(1 << 30),
        ..config(2)
    };
    let description = BarMemoryDevice::new(config).unwrap().describe();
    assert_eq!((description.vendor, description.device), (0x1234, 0x5678));
    let [bar] = &description.bars[..] else { unreachable!("one BAR") };
    assert_eq!((bar.index.get(), bar.len), (2, LEN));
    assert_eq!(bar.kind, BarKind::Memory64 { prefetchable: true });
    let [region] = &bar.memory[..] else { unreachable!("one region") };
    assert_eq!((region.offset, region.len, region.behind), (0, LEN, Some(1 << 30)));
    assert!(description.msix.is_none() && description.function_level_reset);
}

/// Every byte of the window is a byte of the memory, in every size; before and behind it is nothing.
#[test]
fn the_window_is_exact() {
    let (fabric, bytes) = machine(config(4));
    let bar = open(&fabric, 4);
    assert_eq!(bar.len(), LEN);
    let mut accesses = 0;
    for at in [0, 1, 63, 64, 4095, 4096, LEN / 2 - 1, LEN - 4097, LEN - 64, LEN - 8, LEN - 1] {
        for len in [1, 2, 4, 7, 8, 64, 4096] {
            let fits = at + len <= LEN;
            let size = usize::try_from(len).unwrap();
            let data: Vec<u8> = (1..=u8::MAX).cycle().take(size).collect();
            let mut back = vec![0; size];
            assert_eq!(bar.write(at, &data).is_ok(), fits, "{len} bytes at {at:#x}");
            settle(&fabric);
            assert_eq!(bar.read(at, &mut back).is_ok(), fits);
            if fits {
                assert_eq!(back, data);
                let mut inside = vec![0; size];
                let place = usize::try_from(at).unwrap();
                bytes.read(place, &mut inside).unwrap();
                assert_eq!(inside, data);
                bytes.fill(place, size, 0).unwrap();
            }
            accesses += 1;
        }
    }
    let mut all = vec![0; bytes.len()];
    bytes.read(0, &mut all).unwrap();
    assert!(all.iter().all(|byte| *byte == 0), "something else was written");
    println!("accesses: {accesses}");
}

/// A function-level reset and a conventional one leave the bytes; a loss of power does not.
#[test]
fn bytes_survive_everything_but_a_loss_of_power() {
    let (fabric, bytes) = machine(config(0));
    let bar = open(&fabric, 0);
    let bytes_at = |at| {
        let mut byte = [0];
        bytes.read(at, &mut byte).unwrap();
        byte[0]
    };
    let last = usize::try_from(LEN).unwrap() - 1;
    bar.write(0, &[1]).unwrap();
    bar.write(LEN - 1, &[2]).unwrap();
    settle(&fabric);
    let function = fabric.open(fabric.find("a").unwrap()).unwrap();
    function.reset().unwrap();
    assert_eq!((bytes_at(0), bytes_at(last)), (1, 2));
    let bridge = fabric.config(Bdf::new(0, 0, 1, 0).unwrap());
    bridge.write(0x3E, Width::Word, 1 << 6).unwrap();
    bridge.write(0x3E, Width::Word, 0).unwrap();
    assert_eq!((bytes_at(0), bytes_at(last)), (1, 2));
    // Its addresses are gone with the reset, and come back with the firmware.
    fabric.enumerate().unwrap();
    assert_eq!(open(&fabric, 0).read32(0).unwrap(), 1);
    fabric.power_cut();
    fabric.enumerate().unwrap();
    assert_eq!((bytes_at(0), bytes_at(last)), (0, 0));
    assert_eq!(open(&fabric, 0).read32(0).unwrap(), 0);
}

/// While memory decode is off nothing answers, and nothing is written.
#[test]
fn nothing_answers_while_memory_decode_is_off() {
    let (fabric, bytes) = machine(config(0));
    let bar = open(&fabric, 0);
    bar.write32(0, 7).unwrap();
    settle(&fabric);
    let function = fabric.open(fabric.find("a").unwrap()).unwrap();
    function.config().write(4, Width::Word, 0).unwrap();
    assert_eq!(bar.read32(0).unwrap(), u32::MAX);
    bar.write32(0, 9).unwrap();
    settle(&fabric);
    let value: [u8; 4] = bytes.read_value(0).unwrap();
    assert_eq!(u32::from_le_bytes(value), 7);
    function.config().write(4, Width::Word, 2).unwrap();
    assert_eq!(bar.read32(0).unwrap(), 7);
}
