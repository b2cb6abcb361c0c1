//! Plugging functions in: what a model says of itself is checked here, once.

use p2pdma_mem::RangeAllocator;
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::express::TlpSize;
use p2pdma_spec::pci::msix::MAX_ENTRIES;

use crate::builder::FunctionConfig;
use crate::counters::ErrorCounters;
use crate::endpoint::{BarDescription, Description, Endpoint};
use crate::error::Error;
use crate::host::function::DEVICE_ADDRESSES;
use crate::iommu::Domain;
use crate::msix::{ENTRY, Msix};
use crate::registers;
use crate::timing::Packets;
use crate::tree::{Acs, Function, Tree, lay_out_bars};

/// The functions of one device, to be plugged in together.
pub(crate) type Functions = Vec<(FunctionConfig, Box<dyn Endpoint>)>;

/// Plugs a device in below a port. It supports payloads as large as the machine's.
pub(crate) fn plug(
    tree: &mut Tree,
    port: usize,
    functions: Functions,
    max_payload: TlpSize,
) -> Result<(), Error> {
    check_slot(tree, port, &functions)?;
    let multi_function = functions.len() > 1;
    for (config, endpoint) in functions {
        let description = endpoint.describe();
        check(&config.name, &description)?;
        let mut image =
            registers::function(&description, multi_function, &config.link, config.acs.as_ref());
        registers::support_payload(&mut image, max_payload);
        let mut function = Function {
            name: config.name,
            port,
            number: config.number,
            endpoint: Some(endpoint),
            present: true,
            link: config.link,
            config: image,
            memory_enable: false,
            bus_master: false,
            bars: lay_out_bars(&description),
            msix: description.msix.map(|msix| Msix::new(msix.vectors)),
            acs: Acs::default(),
            packets: Packets::default(),
            epoch: 0,
            posted: 0,
            domain: Domain::default(),
            addresses: RangeAllocator::new(DEVICE_ADDRESSES),
            errors: ErrorCounters::default(),
        };
        function.decode_registers();
        tree.functions.push(function);
        let index = tree.functions.len() - 1;
        tree.ports[port].functions.push(index);
    }
    Ok(())
}

/// The slot is free, the numbers are distinct, and function 0 is among them (PCIe 6.0 §7.5.1.1.9).
fn check_slot(tree: &Tree, port: usize, functions: &Functions) -> Result<(), Error> {
    let Some((first, _)) = functions.first() else {
        return Ok(());
    };
    let above = &tree.ports[port];
    let occupant = above.functions.iter().find(|&&function| tree.functions[function].present);
    let occupant = occupant.map(|&function| &tree.functions[function].name);
    let switch = above.below.first().map(|&upstream| &tree.ports[upstream].name);
    if let Some(there) = occupant.or(switch) {
        let (port, second) = (above.name.clone(), first.name.clone());
        return Err(Error::LinkTaken { port, first: there.clone(), second });
    }
    for (index, (config, _)) in functions.iter().enumerate() {
        let same = |(other, _): &&(FunctionConfig, _)| other.number == config.number;
        if let Some((other, _)) = functions[..index].iter().find(same) {
            return Err(Error::SlotTaken {
                port: above.name.clone(),
                number: config.number,
                first: other.name.clone(),
                second: config.name.clone(),
            });
        }
        if config.number > 7 {
            let reason = "function numbers go from 0 to 7";
            return Err(Error::Structure { name: config.name.clone(), reason });
        }
    }
    if functions.iter().any(|(config, _)| config.number == 0) {
        Ok(())
    } else {
        let reason = "a device without a function 0 cannot be found";
        Err(Error::Structure { name: first.name.clone(), reason })
    }
}

fn check(name: &str, description: &Description) -> Result<(), Error> {
    let mut taken = [false; 6];
    for bar in &description.bars {
        let fail = |reason| Err(Error::Bar { name: name.to_owned(), bar: bar.index, reason });
        let first = usize::from(bar.index);
        for index in first..first + usize::from(bar.kind.registers()) {
            match taken.get_mut(index) {
                Some(taken) if !*taken => *taken = true,
                Some(_) => return fail("its register belongs to another BAR"),
                None => return fail("a 64-bit BAR needs two registers"),
            }
        }
        if let Err(reason) = check_bar(bar) {
            return fail(reason);
        }
    }
    check_msix(name, description)
}

fn check_bar(bar: &BarDescription) -> Result<(), &'static str> {
    if bar.kind == BarKind::Io {
        return Err("there is no I/O space here");
    }
    if !bar.len.is_power_of_two() || bar.len < bar.kind.smallest() {
        return Err("its size is not a power of two of at least 16 bytes");
    }
    if bar.kind.registers() == 1 && bar.len > 1 << 31 {
        return Err("a 32-bit BAR has at most 2 GiB");
    }
    let mut regions: Vec<(u64, u64)> =
        bar.memory.iter().map(|region| (region.offset, region.len)).collect();
    regions.sort_unstable();
    let mut end = 0;
    for (offset, len) in regions {
        if offset < end || len == 0 {
            return Err("two memory regions overlap, or one is empty");
        }
        end = offset
            .checked_add(len)
            .filter(|&end| end <= bar.len)
            .ok_or("a memory region ends beyond it")?;
    }
    Ok(())
}

fn check_msix(name: &str, description: &Description) -> Result<(), Error> {
    let Some(msix) = description.msix else {
        return Ok(());
    };
    let fail = |reason| Err(Error::Bar { name: name.to_owned(), bar: msix.bar, reason });
    let with_index = |bar: &&BarDescription| bar.index == msix.bar;
    let Some(bar) = description.bars.iter().find(with_index) else {
        return fail("it holds the MSI-X table, and does not exist");
    };
    if msix.vectors == 0 || msix.vectors > MAX_ENTRIES {
        return fail("MSI-X has 1 to 2048 vectors");
    }
    let vectors = u64::from(msix.vectors);
    let parts = [(msix.table, vectors * ENTRY), (msix.pending, vectors.div_ceil(64) * 8)];
    for (offset, len) in parts {
        let end = offset.checked_add(len).filter(|&end| end <= bar.len);
        let Some(end) = end.filter(|_| offset.is_multiple_of(8)) else {
            return fail("the MSI-X table or its pending bits are not aligned, or end beyond it");
        };
        let hits = |from: u64, to: u64| offset < to && from < end;
        if bar.memory.iter().any(|region| hits(region.offset, region.offset + region.len)) {
            return fail("the MSI-X table or its pending bits overlap memory");
        }
    }
    let [(table, table_len), (pending, pending_len)] = parts;
    if table < pending + pending_len && pending < table + table_len {
        return fail("the MSI-X table and its pending bits overlap");
    }
    Ok(())
}
