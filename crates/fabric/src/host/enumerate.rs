//! The firmware: finds every function by configuration requests, numbers the buses, sizes the BARs,
//! and lays out bridge windows and addresses.

use p2pdma_pci::{Bdf, Width};
use p2pdma_spec::pci::bar::{BarKind, BarRegister};
use p2pdma_spec::pci::bridge::{
    BridgeControl, MEMORY_GRANULARITY, MemoryWindow, PrefetchableWindow,
};
use p2pdma_spec::pci::config::{
    Command, HeaderLayout, HeaderType, NO_FUNCTION, offset, type0, type1,
};

use crate::error::Error;
use crate::host::memory::LOW_END;
use crate::host::payload;
use crate::state::State;

/// BARs of 32 bits, and those that are not prefetchable, go between host memory's low end and the
/// addresses of interrupt controllers and firmware.
const MEMORY_END: u64 = 0xfec0_0000;
/// The addresses that a processor of today can emit end here.
const PREFETCHABLE_END: u64 = 1 << 46;
/// Above host memory, prefetchable BARs start at a multiple of this.
const PREFETCHABLE_ALIGN: u64 = 1 << 30;
/// An empty slot keeps room for a device to come: so much of each kind.
const SLOT_RESERVE: [u64; 2] = [1 << 20, 256 << 20];

/// The two kinds of address space: not prefetchable (and so below 4 GiB behind a bridge), and
/// prefetchable.
const KINDS: [usize; 2] = [0, 1];

/// Something that needs addresses.
#[derive(Debug)]
struct Found {
    bdf: Bdf,
    content: Content,
    /// Size and alignment of what it needs, of each kind.
    need: [Need; 2],
}

#[derive(Debug)]
enum Content {
    Endpoint(Vec<FoundBar>),
    Bridge(Vec<Found>),
}

#[derive(Debug, Clone, Copy)]
struct FoundBar {
    register: u16,
    kind: BarKind,
    len: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Need {
    len: u64,
    align: u64,
}

impl FoundBar {
    /// Behind a bridge, only prefetchable 64-bit BARs can be above 4 GiB.
    fn space(self) -> usize {
        usize::from(matches!(self.kind, BarKind::Memory64 { prefetchable: true }))
    }
}

/// Enumerates the whole machine.
pub(crate) fn enumerate(state: &mut State) -> Result<(), Error> {
    let above = state.machine.host_memory.end().next_multiple_of(PREFETCHABLE_ALIGN);
    let mut cursors = [LOW_END, above];
    for index in 0..state.machine.tree.host_bridges.len() {
        let bridge = &state.machine.tree.host_bridges[index];
        let (domain, first, last) = (bridge.domain, bridge.first_bus, bridge.last_bus);
        let mut scan = Scan { state, domain, next_bus: u16::from(first) + 1, last_bus: last };
        let found = scan.bus(first)?;
        for space in KINDS {
            let end = [MEMORY_END, PREFETCHABLE_END][space];
            cursors[space] = place(state, &found, space, cursors[space], end)?;
        }
        for item in &found {
            enable(state, item);
        }
    }
    Ok(())
}

/// Gives addresses to the functions that were plugged in below `port`, within its windows.
pub(crate) fn configure_slot(state: &mut State, port: usize) -> Result<(), Error> {
    let decode = state.machine.tree.ports[port].decode;
    let host_bridge = &state.machine.tree.host_bridges[state.machine.tree.ports[port].host_bridge];
    let (domain, last_bus) = (host_bridge.domain, host_bridge.last_bus);
    let mut scan = Scan { state, domain, next_bus: u16::from(decode.secondary) + 1, last_bus };
    let found = scan.bus(decode.secondary)?;
    for space in KINDS {
        let (first, last) = [decode.memory, decode.prefetchable][space];
        place(state, &found, space, first, last.saturating_add(1))?;
    }
    for item in &found {
        enable(state, item);
    }
    Ok(())
}

/// A walk over one host bridge's buses, depth first.
struct Scan<'a> {
    state: &'a mut State,
    domain: u32,
    /// The next number to give out; 256 when there is none left.
    next_bus: u16,
    last_bus: u8,
}

impl Scan<'_> {
    fn bus(&mut self, bus: u8) -> Result<Vec<Found>, Error> {
        let mut all = Vec::new();
        for device in 0..32 {
            for function in 0..8 {
                let Some(bdf) = Bdf::new(self.domain, bus, device, function) else {
                    continue;
                };
                let vendor = self.read(bdf, offset::VENDOR_ID, Width::Word);
                if vendor == u32::from(NO_FUNCTION) {
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                let header = self.read(bdf, offset::HEADER_TYPE, Width::Byte).to_le_bytes()[0];
                let header = HeaderType::from_bits(header);
                all.push(if header.layout() == HeaderLayout::TYPE1 {
                    self.bridge(bdf)?
                } else {
                    self.endpoint(bdf)
                });
                if function == 0 && !header.multi_function() {
                    break;
                }
            }
        }
        Ok(all)
    }

    fn bridge(&mut self, bdf: Bdf) -> Result<Found, Error> {
        let free = u8::try_from(self.next_bus).ok().filter(|&bus| bus <= self.last_bus);
        let secondary = free.ok_or(Error::NoBus { port: bdf, last: self.last_bus })?;
        self.next_bus += 1;
        self.write(bdf, type1::PRIMARY_BUS, Width::Byte, u32::from(bdf.bus()));
        self.write(bdf, type1::SECONDARY_BUS, Width::Byte, u32::from(secondary));
        self.write(bdf, type1::SUBORDINATE_BUS, Width::Byte, u32::from(self.last_bus));
        let below = self.bus(secondary)?;
        let subordinate = u32::from(self.next_bus) - 1;
        self.write(bdf, type1::SUBORDINATE_BUS, Width::Byte, subordinate);
        let need = KINDS.map(|space| {
            let reserve = if below.is_empty() { SLOT_RESERVE[space] } else { 0 };
            let (end, align) = lay_out(&below, space);
            let len = round_up(end.max(reserve), MEMORY_GRANULARITY);
            Need { len, align: align.max(MEMORY_GRANULARITY) }
        });
        Ok(Found { bdf, content: Content::Bridge(below), need })
    }

    /// Sizes an endpoint's BARs: what all ones leave standing (PCIe 6.0 §7.5.1.2.1).
    fn endpoint(&mut self, bdf: Bdf) -> Found {
        let mut bars = Vec::new();
        let mut index = 0;
        while index < type0::BAR_COUNT {
            let register = offset::BAR0 + 4 * index;
            let kind = BarRegister::from_bits(self.read(bdf, register, Width::Dword)).kind();
            let wide = kind.is_some_and(|kind| kind.registers() == 2);
            self.write(bdf, register, Width::Dword, u32::MAX);
            let low = self.read(bdf, register, Width::Dword);
            let mut high = 0;
            if wide {
                self.write(bdf, register + 4, Width::Dword, u32::MAX);
                high = self.read(bdf, register + 4, Width::Dword);
            }
            if let Some(kind) = kind
                && let Some(len) = kind.size(low, high)
            {
                bars.push(FoundBar { register, kind, len });
            }
            index += if wide { 2 } else { 1 };
        }
        let need = KINDS.map(|space| {
            let here = bars.iter().filter(|bar| bar.space() == space);
            let (len, align) = here.fold((0_u64, 1), |(sum, most), bar| {
                (sum.saturating_add(bar.len), bar.len.max(most))
            });
            Need { len, align }
        });
        Found { bdf, content: Content::Endpoint(bars), need }
    }

    fn read(&self, bdf: Bdf, offset: u16, width: Width) -> u32 {
        self.state.config_read(bdf, offset, width)
    }

    fn write(&mut self, bdf: Bdf, offset: u16, width: Width, value: u32) {
        self.state.config_write(bdf, offset, width, value);
    }
}

/// What shares a bus, in the order of placement: the strictest alignment first, so that little is lost.
fn order(items: &[Found], space: usize) -> Vec<&Found> {
    let mut sorted: Vec<&Found> = items.iter().filter(|item| item.need[space].len > 0).collect();
    sorted.sort_by_key(|item| std::cmp::Reverse(item.need[space].align));
    sorted
}

/// Where the last item would end if placement began at zero, and the strictest alignment.
fn lay_out(items: &[Found], space: usize) -> (u64, u64) {
    order(items, space).iter().fold((0_u64, 1), |(end, align), item| {
        let need = item.need[space];
        (round_up(end, need.align).saturating_add(need.len), need.align.max(align))
    })
}

/// The next multiple; the largest number where 64 bits have none, which fits nowhere.
fn round_up(value: u64, align: u64) -> u64 {
    value.checked_next_multiple_of(align).unwrap_or(u64::MAX)
}

/// Places items from `start` on, and what is below them; returns where the last one ends.
fn place(
    state: &mut State,
    items: &[Found],
    space: usize,
    start: u64,
    end: u64,
) -> Result<u64, Error> {
    let mut at = start;
    for item in order(items, space) {
        let need = item.need[space];
        let begin = at.checked_next_multiple_of(need.align);
        let placed = begin.and_then(|begin| Some((begin, begin.checked_add(need.len)?)));
        let placed = placed.filter(|&(_, last)| last <= end);
        let (begin, last) = placed.ok_or_else(|| no_window(state, item, space))?;
        at = last;
        match &item.content {
            Content::Endpoint(bars) => place_bars(state, item.bdf, bars, space, begin),
            Content::Bridge(below) => {
                open_window(state, item.bdf, space, begin, at - 1);
                place(state, below, space, begin, at)?;
            }
        }
    }
    Ok(at)
}

/// Names who needs most of what does not fit.
fn no_window(state: &State, item: &Found, space: usize) -> Error {
    let below = match &item.content {
        Content::Bridge(below) => below.iter().max_by_key(|item| item.need[space].len),
        Content::Endpoint(_) => None,
    };
    match below {
        Some(largest) => no_window(state, largest, space),
        None => Error::NoWindow {
            name: state.machine.tree.name_at(item.bdf).unwrap_or("a function").to_owned(),
            function: item.bdf,
            len: item.need[space].len,
            prefetchable: space == 1,
        },
    }
}

fn place_bars(state: &mut State, bdf: Bdf, bars: &[FoundBar], space: usize, begin: u64) {
    let mut here: Vec<&FoundBar> = bars.iter().filter(|bar| bar.space() == space).collect();
    // Powers of two, largest first, need no padding.
    here.sort_by_key(|bar| std::cmp::Reverse(bar.len));
    let mut at = begin;
    for bar in here {
        let (low, high) = bar.kind.encode(at);
        state.config_write(bdf, bar.register, Width::Dword, low);
        if bar.kind.registers() == 2 {
            state.config_write(bdf, bar.register + 4, Width::Dword, high);
        }
        at += bar.len;
    }
}

/// Opens a bridge's window of one kind over `first..=last`, which are whole MiB.
fn open_window(state: &mut State, bdf: Bdf, space: usize, first: u64, last: u64) {
    let mut write = |register, width, value| state.config_write(bdf, register, width, value);
    if space == 1 {
        let window = PrefetchableWindow::new(first..=last).unwrap_or(PrefetchableWindow::CLOSED);
        write(type1::PREFETCHABLE_BASE_UPPER, Width::Dword, window.base_upper);
        write(type1::PREFETCHABLE_LIMIT_UPPER, Width::Dword, window.limit_upper);
        write(type1::PREFETCHABLE_BASE, Width::Word, u32::from(window.base));
        write(type1::PREFETCHABLE_LIMIT, Width::Word, u32::from(window.limit));
    } else {
        let range = u32::try_from(first).ok().zip(u32::try_from(last).ok());
        let window = range.and_then(|(first, last)| MemoryWindow::new(first..=last));
        let window = window.unwrap_or(MemoryWindow::CLOSED);
        write(type1::MEMORY_BASE, Width::Word, u32::from(window.base));
        write(type1::MEMORY_LIMIT, Width::Word, u32::from(window.limit));
    }
}

/// Sets packet sizes, and switches decoding on; in bridges bus mastering and the forwarding of error messages, too; endpoints' drivers do that for themselves.
fn enable(state: &mut State, item: &Found) {
    payload::program(state, item.bdf);
    let command = Command::new().with_memory_space(true);
    let command = match &item.content {
        Content::Endpoint(_) => command,
        Content::Bridge(below) => {
            for item in below {
                enable(state, item);
            }
            let control = BridgeControl::new().with_serr(true).into_bits();
            state.config_write(item.bdf, type1::BRIDGE_CONTROL, Width::Word, u32::from(control));
            command.with_bus_master(true)
        }
    };
    state.config_write(item.bdf, offset::COMMAND, Width::Word, u32::from(command.into_bits()));
}
