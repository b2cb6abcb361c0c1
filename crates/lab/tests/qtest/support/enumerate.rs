//! The firmware that a machine without a guest lacks: numbers the buses, finds the functions, gives
//! addresses to their BARs and opens the windows of the bridges above them.

use std::sync::Arc;

use p2pdma_pci::{BarIndex, Bdf, ConfigSpace, Error, Width};
use p2pdma_spec::pci::bar::{BarKind, BarRegister};
use p2pdma_spec::pci::bridge::{MEMORY_GRANULARITY, MemoryWindow, PrefetchableWindow};
use p2pdma_spec::pci::config::{
    Command, HeaderLayout, HeaderType, NO_FUNCTION, offset, type0, type1,
};

use super::config::{self, Config};
use super::qemu::Qemu;

/// Where addresses begin that 32 bits reach, behind the window to configuration space; and those of
/// prefetchable 64-bit BARs, above all memory.
const FIRST: [u64; 2] = [0xC000_0000, 1 << 35];

/// A function that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) bdf: Bdf,
    /// Index, address and size of its memory BARs.
    pub(crate) bars: Vec<(BarIndex, u64, u64)>,
}

/// Enumerates the machine; returns its endpoints.
pub(super) fn enumerate(qemu: &Arc<Qemu>) -> Result<Vec<Found>, Error> {
    config::open_window(qemu);
    let mut walk = Walk { qemu, next_bus: 1, next: FIRST, found: Vec::new() };
    walk.bus(0)?;
    Ok(walk.found)
}

struct Walk<'a> {
    qemu: &'a Arc<Qemu>,
    next_bus: u8,
    /// The next free addresses: below 4 GiB, and prefetchable.
    next: [u64; 2],
    found: Vec<Found>,
}

impl Walk<'_> {
    fn bus(&mut self, bus: u8) -> Result<(), Error> {
        for device in 0..32 {
            for function in 0..8 {
                let Some(bdf) = Bdf::new(0, bus, device, function) else { continue };
                let config = Config::new(Arc::clone(self.qemu), bdf);
                let vendor = config.read(offset::VENDOR_ID, Width::Word)?;
                if vendor == u32::from(NO_FUNCTION) {
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                let header = config.read(offset::HEADER_TYPE, Width::Byte)?.to_le_bytes()[0];
                let header = HeaderType::from_bits(header);
                if header.layout() == HeaderLayout::TYPE1 {
                    self.bridge(&config)?;
                } else {
                    self.endpoint(bdf, &config)?;
                }
                if function == 0 && !header.multi_function() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn bridge(&mut self, config: &Config) -> Result<(), Error> {
        let secondary = self.next_bus;
        self.next_bus += 1;
        config.write(type1::SECONDARY_BUS, Width::Byte, secondary.into())?;
        config.write(type1::SUBORDINATE_BUS, Width::Byte, u8::MAX.into())?;
        let align = |next: [u64; 2]| next.map(|at| at.next_multiple_of(MEMORY_GRANULARITY));
        let first = align(self.next);
        self.next = first;
        self.bus(secondary)?;
        self.next = align(self.next);
        config.write(type1::SUBORDINATE_BUS, Width::Byte, (self.next_bus - 1).into())?;
        let low = u32::try_from(first[0]).ok().zip(u32::try_from(self.next[0] - 1).ok());
        let low = low.filter(|(first, last)| first < last);
        let low = low.and_then(|(first, last)| MemoryWindow::new(first..=last));
        let low = low.unwrap_or(MemoryWindow::CLOSED);
        config.write(type1::MEMORY_BASE, Width::Word, low.base.into())?;
        config.write(type1::MEMORY_LIMIT, Width::Word, low.limit.into())?;
        let high = (first[1] < self.next[1]).then(|| first[1]..=self.next[1] - 1);
        let high = high.and_then(PrefetchableWindow::new).unwrap_or(PrefetchableWindow::CLOSED);
        config.write(type1::PREFETCHABLE_BASE, Width::Word, high.base.into())?;
        config.write(type1::PREFETCHABLE_LIMIT, Width::Word, high.limit.into())?;
        config.write(type1::PREFETCHABLE_BASE_UPPER, Width::Dword, high.base_upper)?;
        config.write(type1::PREFETCHABLE_LIMIT_UPPER, Width::Dword, high.limit_upper)?;
        command(config, Command::new().with_memory_space(true).with_bus_master(true))
    }

    fn endpoint(&mut self, bdf: Bdf, config: &Config) -> Result<(), Error> {
        let mut bars = Vec::new();
        let mut number = 0;
        while number < type0::BAR_COUNT {
            let register = offset::BAR0 + 4 * number;
            let kind = BarRegister::from_bits(config.read(register, Width::Dword)?).kind();
            let wide = kind.is_some_and(|kind| kind.registers() == 2);
            if let Some(kind @ (BarKind::Memory32 { .. } | BarKind::Memory64 { .. })) = kind
                && let Some(len) = size(config, register, kind)?
                && let Some(index) = u8::try_from(number).ok().and_then(BarIndex::new)
            {
                let at = self.place(config, register, kind, len)?;
                bars.push((index, at, len));
            }
            number += if wide { 2 } else { 1 };
        }
        self.found.push(Found { bdf, bars });
        command(config, Command::new().with_memory_space(true))
    }

    /// Gives a BAR its address.
    fn place(
        &mut self,
        config: &Config,
        register: u16,
        kind: BarKind,
        len: u64,
    ) -> Result<u64, Error> {
        let space = usize::from(matches!(kind, BarKind::Memory64 { prefetchable: true }));
        let at = self.next[space].next_multiple_of(len);
        self.next[space] = at + len;
        let (low, high) = kind.encode(at);
        config.write(register, Width::Dword, low)?;
        if kind.registers() == 2 {
            config.write(register + 4, Width::Dword, high)?;
        }
        Ok(at)
    }
}

/// What all ones leave standing (PCIe 6.0 §7.5.1.2.1).
fn size(config: &Config, register: u16, kind: BarKind) -> Result<Option<u64>, Error> {
    let probe = |register| -> Result<u32, Error> {
        config.write(register, Width::Dword, u32::MAX)?;
        config.read(register, Width::Dword)
    };
    let low = probe(register)?;
    let high = if kind.registers() == 2 { probe(register + 4)? } else { 0 };
    Ok(kind.size(low, high))
}

fn command(config: &Config, command: Command) -> Result<(), Error> {
    config.write(offset::COMMAND, Width::Word, command.into_bits().into())
}
