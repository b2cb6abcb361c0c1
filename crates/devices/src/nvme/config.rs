//! What a controller and its subsystem are to be like.

use p2pdma_pci::Duration;
use p2pdma_spec::text::{Ascii, Nqn};

use super::cmb::CmbConfig;
use super::media::MediaTiming;
use super::namespace::NamespaceConfig;
use super::pmr::PmrConfig;
use crate::Error;

/// A controller in a subsystem of its own.
#[derive(Debug, Default)]
pub struct NvmeConfig {
    /// What it shares with no other controller here, but could.
    pub subsystem: SubsystemConfig,
    /// What is its own.
    pub controller: ControllerConfig,
}

/// What all controllers of a subsystem have in common.
#[derive(Debug)]
pub struct SubsystemConfig {
    /// Serial number: at most 20 characters of printable ASCII.
    pub serial: String,
    /// Model number: at most 40 characters.
    pub model: String,
    /// Firmware revision: at most 8 characters.
    pub firmware: String,
    /// The NVMe Qualified Name; without one it is made from the serial number.
    pub nqn: Option<String>,
    /// Its namespaces: NSIDs 1, 2, … in this order.
    pub namespaces: Vec<NamespaceConfig>,
    /// The largest NSID there can be (NN): 1 to 4096, and no less than there are namespaces.
    pub max_namespaces: u32,
    /// Bytes of capacity that are not in a namespace, from which hosts can make some, in memory: less than
    /// 2^62, and at most 64 TiB for each namespace.
    pub spare_capacity: u64,
    /// How long the media take; without it, no time at all.
    pub timing: Option<MediaTiming>,
}

impl Default for SubsystemConfig {
    /// One namespace of 1 GiB, nothing spare, media that take no time.
    fn default() -> Self {
        Self {
            serial: "0000000000000001".to_owned(),
            model: "p2pdma NVMe model".to_owned(),
            firmware: "1.0".to_owned(),
            nqn: None,
            namespaces: vec![NamespaceConfig::default()],
            max_namespaces: 256,
            spare_capacity: 0,
            timing: None,
        }
    }
}

/// What is a controller's own.
#[derive(Debug)]
pub struct ControllerConfig {
    /// PCI vendor ID.
    pub vendor: u16,
    /// PCI device ID.
    pub device: u16,
    /// PCI subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// PCI subsystem ID.
    pub subsystem_device: u16,
    /// I/O queue pairs: 1 to 4095.
    pub max_io_queues: u16,
    /// Entries of an I/O queue: 2 to 65 536.
    pub max_queue_entries: u32,
    /// Largest transfer of a command as a power of two in units of 4 KiB (MDTS): 1 to 16, or 0 for none,
    /// which leaves what 65 536 blocks are.
    pub mdts: u8,
    /// Doorbells are 4 shifted left by this many bytes apart (DSTRD): 0 to 12.
    pub doorbell_stride: u8,
    /// Largest memory page as a power of two in units of 4 KiB (MPSMAX): 0 to 4.
    pub max_page_size: u8,
    /// MSI-X vectors: 1 to 2048.
    pub vectors: u16,
    /// Whether weighted round robin with an urgent class can be selected.
    pub weighted_round_robin: bool,
    /// Commands that can be under way at a time, where media or transfers take time: at least 1.
    pub max_outstanding: u32,
    /// How long the controller takes to become ready.
    pub ready_after: Duration,
    /// Its controller memory buffer, if it has one.
    pub cmb: Option<CmbConfig>,
    /// Its persistent memory region, if it has one.
    pub pmr: Option<PmrConfig>,
}

impl Default for ControllerConfig {
    /// 64 queue pairs of up to 1024 entries, transfers up to 1 MiB, no buffer and no region.
    fn default() -> Self {
        Self {
            vendor: 0x1b36,
            device: 0x0010,
            subsystem_vendor: 0x1af4,
            subsystem_device: 0x1100,
            max_io_queues: 64,
            max_queue_entries: 1024,
            mdts: 8,
            doorbell_stride: 0,
            max_page_size: 4,
            vectors: 65,
            weighted_round_robin: true,
            max_outstanding: 4096,
            ready_after: Duration::ZERO,
            cmb: None,
            pmr: None,
        }
    }
}

impl ControllerConfig {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let limits = [
            ("I/O queues", u64::from(self.max_io_queues), 1, 4095, "1 to 4095"),
            ("queue entries", u64::from(self.max_queue_entries), 2, 1 << 16, "2 to 65536"),
            ("MDTS", u64::from(self.mdts), 0, 16, "0 to 16"),
            ("doorbell stride", u64::from(self.doorbell_stride), 0, 12, "0 to 12"),
            ("largest page size", u64::from(self.max_page_size), 0, 4, "0 to 4"),
            ("MSI-X vectors", u64::from(self.vectors), 1, 2048, "1 to 2048"),
            ("outstanding commands", u64::from(self.max_outstanding), 1, 1 << 20, "1 to 1048576"),
        ];
        for (what, value, least, most, allowed) in limits {
            if !(least..=most).contains(&value) {
                return Err(Error::Value { what, value, allowed });
            }
        }
        Ok(())
    }
}

/// The names of a subsystem, as Identify shows them.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) serial: Ascii<20>,
    pub(crate) model: Ascii<40>,
    pub(crate) firmware: Ascii<8>,
    pub(crate) nqn: Nqn,
}

impl Names {
    pub(crate) fn new(config: &SubsystemConfig) -> Result<Self, Error> {
        let made = format!("nqn.2014-08.org.nvmexpress:p2pdma:{}", config.serial);
        let nqn = config.nqn.as_ref().unwrap_or(&made);
        let too_long = |what, text: &str, max| Error::Text { what, text: text.to_owned(), max };
        let serial = Ascii::new(&config.serial)
            .ok_or_else(|| too_long("serial number", &config.serial, 20))?;
        let model =
            Ascii::new(&config.model).ok_or_else(|| too_long("model number", &config.model, 40))?;
        let firmware = Ascii::new(&config.firmware)
            .ok_or_else(|| too_long("firmware revision", &config.firmware, 8))?;
        let nqn =
            Nqn::new(nqn).ok_or_else(|| too_long("NVMe qualified name", nqn, Nqn::MAX_LEN))?;
        Ok(Self { serial, model, firmware, nqn })
    }
}
