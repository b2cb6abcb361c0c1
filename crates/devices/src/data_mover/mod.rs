//! A DMA engine: it copies from any address to any address, by descriptors in a ring.
//!
//! It is the contrast to loads and stores: the host writes descriptors, rings once for a batch, and finds a
//! completion record per descriptor. Up to [`SLOTS`] pieces of copies are on their way at a time, so
//! that reading and writing overlap.

mod engine;
pub mod registers;

use p2pdma_fabric::{BarDescription, Description, Endpoint, MsixDescription, Port, Reset, TimerId};
use p2pdma_pci::BarIndex;
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::class::ClassCode;

use crate::Error;
use engine::Engine;
use registers::{CONTROL_ENABLE, STATUS_ENABLED, STATUS_FAILED, offset};

/// Pieces of copies that can be on their way at a time.
pub const SLOTS: usize = 16;
/// The most bytes of a descriptor.
pub const MAX_LENGTH: u32 = 1 << 30;

/// A data mover to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataMoverConfig {
    /// PCI vendor ID.
    pub vendor: u16,
    /// PCI device ID.
    pub device: u16,
    /// The most entries of its rings: 2 to 65 536.
    pub max_entries: u32,
}

impl Default for DataMoverConfig {
    /// Rings of up to 4096 entries.
    fn default() -> Self {
        Self { vendor: 0x1b36, device: 0x00d0, max_entries: 4096 }
    }
}

/// The device.
#[derive(Debug)]
pub struct DataMover {
    config: DataMoverConfig,
    ring: u64,
    completions: u64,
    entries: u32,
    engine: Option<Engine>,
}

const BAR_LEN: u64 = 16 << 10;
const MSIX_TABLE: u64 = 8 << 10;
const MSIX_PENDING: u64 = 12 << 10;
/// Rings begin at multiples of this.
const RING_ALIGNMENT: u64 = 64;

impl DataMover {
    /// Builds the device.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible number of entries.
    pub fn new(config: DataMoverConfig) -> Result<Self, Error> {
        if !(2..=1 << 16).contains(&config.max_entries) {
            let (what, value) = ("ring entries", u64::from(config.max_entries));
            return Err(Error::Value { what, value, allowed: "2 to 65536" });
        }
        Ok(Self { config, ring: 0, completions: 0, entries: 0, engine: None })
    }

    fn register(&self, at: u64) -> u32 {
        let half = |value: u64, upper: bool| {
            let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
            u32::from_le_bytes(if upper { [e, f, g, h] } else { [a, b, c, d] })
        };
        let enabled = self.engine.is_some();
        let failed = self.engine.as_ref().is_some_and(|engine| engine.failed);
        match at {
            offset::MAX_ENTRIES => self.config.max_entries,
            offset::MAX_LENGTH => MAX_LENGTH,
            offset::CONTROL => u32::from(enabled) * CONTROL_ENABLE,
            offset::STATUS => {
                (u32::from(enabled) * STATUS_ENABLED) | (u32::from(failed) * STATUS_FAILED)
            }
            offset::RING | RING_HIGH => half(self.ring, at == RING_HIGH),
            offset::COMPLETIONS | COMPLETIONS_HIGH => {
                half(self.completions, at == COMPLETIONS_HIGH)
            }
            offset::ENTRIES => self.entries,
            offset::TAIL => self.engine.as_ref().map_or(0, |engine| engine.tail),
            offset::HEAD => self.engine.as_ref().map_or(0, |engine| engine.head),
            _ => 0,
        }
    }

    fn write(&mut self, at: u64, value: u32, port: &mut Port<'_>) {
        let low = |old: u64| (old >> 32 << 32 | u64::from(value)) / RING_ALIGNMENT * RING_ALIGNMENT;
        let high = |old: u64| old & 0xFFFF_FFFF | u64::from(value) << 32;
        match (at, &mut self.engine) {
            (offset::TAIL, Some(engine)) => engine.ring(value, port),
            (offset::CONTROL, Some(_)) if value & CONTROL_ENABLE == 0 => self.engine = None,
            (offset::CONTROL, None) if value & CONTROL_ENABLE != 0 => self.enable(),
            (offset::RING, None) => self.ring = low(self.ring),
            (RING_HIGH, None) => self.ring = high(self.ring),
            (offset::COMPLETIONS, None) => self.completions = low(self.completions),
            (COMPLETIONS_HIGH, None) => self.completions = high(self.completions),
            (offset::ENTRIES, None) => self.entries = value,
            _ => {}
        }
    }

    /// Impossible rings leave the engine off.
    fn enable(&mut self) {
        let possible = (2..=self.config.max_entries).contains(&self.entries);
        let fits =
            |base: u64, size: u64| base.checked_add(u64::from(self.entries) * size).is_some();
        if possible && fits(self.ring, 32) && fits(self.completions, 16) {
            self.engine = Some(Engine::new(self.ring, self.completions, self.entries));
        }
    }
}

const RING_HIGH: u64 = offset::RING + 4;
const COMPLETIONS_HIGH: u64 = offset::COMPLETIONS + 4;

impl Endpoint for DataMover {
    fn describe(&self) -> Description {
        let bar = BarDescription {
            index: BarIndex::ZERO,
            len: BAR_LEN,
            kind: BarKind::Memory64 { prefetchable: false },
            memory: Vec::new(),
        };
        Description {
            vendor: self.config.vendor,
            device: self.config.device,
            class: ClassCode::DMA_CONTROLLER,
            bars: vec![bar],
            msix: Some(MsixDescription {
                vectors: 1,
                bar: BarIndex::ZERO,
                table: MSIX_TABLE,
                pending: MSIX_PENDING,
            }),
            function_level_reset: true,
            ..Description::default()
        }
    }

    fn mmio_read(&mut self, _: BarIndex, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            let [a, b, c, d] = self.register(at & !3).to_le_bytes();
            *byte = match at & 3 {
                0 => a,
                1 => b,
                2 => c,
                _ => d,
            };
        }
    }

    /// Aligned writes of 4 or 8 bytes; any other is ignored.
    fn mmio_write(&mut self, _: BarIndex, offset: u64, data: &[u8], port: &mut Port<'_>) {
        if !matches!(data.len(), 4 | 8) || !offset.is_multiple_of(data.len() as u64) {
            return;
        }
        for (at, word) in (offset..).step_by(4).zip(data.chunks_exact(4)) {
            if let Ok(word) = <[u8; 4]>::try_from(word) {
                self.write(at, u32::from_le_bytes(word), port);
            }
        }
    }

    fn wake(&mut self, _: TimerId, port: &mut Port<'_>) {
        if let Some(engine) = &mut self.engine {
            engine.wake(port);
        }
    }

    fn reset(&mut self, _: Reset) {
        *self = Self { config: self.config, ring: 0, completions: 0, entries: 0, engine: None };
    }
}
