//! The first 64 bytes of configuration space, in both layouts (PCIe 6.0 §7.5.1).

use bitfield_struct::bitfield;

/// Bytes of configuration space of a PCI Express function (PCIe 6.0 §7.2.2).
pub const SIZE: u16 = 4096;
/// Bytes that the PCI-compatible access mechanism reaches (PCIe 6.0 §7.2.1).
pub const COMPATIBLE_SIZE: u16 = 256;
/// Bytes of the header, after which capabilities begin.
pub const HEADER_SIZE: u16 = 64;
/// The Vendor ID that a read returns where no function is (PCIe 6.0 §2.3.2).
pub const NO_FUNCTION: u16 = 0xFFFF;
/// What a Vendor ID reads as while a function asks for a retry and software can see that
/// (PCIe 6.0 §2.3.2).
pub const RETRY_VENDOR_ID: u16 = 0x0001;

/// Offsets in bytes of registers that both layouts have (PCIe 6.0 §7.5.1.1).
pub mod offset {
    /// Vendor ID, 16 bits.
    pub const VENDOR_ID: u16 = 0x00;
    /// Device ID, 16 bits.
    pub const DEVICE_ID: u16 = 0x02;
    /// [`Command`](super::Command), 16 bits.
    pub const COMMAND: u16 = 0x04;
    /// [`Status`](super::Status), 16 bits.
    pub const STATUS: u16 = 0x06;
    /// Revision ID, 8 bits.
    pub const REVISION_ID: u16 = 0x08;
    /// [`ClassRevision`](crate::pci::class::ClassRevision): Revision ID and Class Code in one 32-bit
    /// register.
    pub const CLASS_REVISION: u16 = 0x08;
    /// Class Code, 24 bits.
    pub const CLASS_CODE: u16 = 0x09;
    /// Cache Line Size, 8 bits; without effect in PCI Express.
    pub const CACHE_LINE_SIZE: u16 = 0x0C;
    /// Latency Timer, 8 bits; zero in PCI Express.
    pub const LATENCY_TIMER: u16 = 0x0D;
    /// [`HeaderType`](super::HeaderType), 8 bits.
    pub const HEADER_TYPE: u16 = 0x0E;
    /// [`Bist`](super::Bist), 8 bits.
    pub const BIST: u16 = 0x0F;
    /// The first Base Address Register, 32 bits.
    pub const BAR0: u16 = 0x10;
    /// Capabilities Pointer, 8 bits: the offset of the first capability.
    pub const CAPABILITIES_POINTER: u16 = 0x34;
    /// Interrupt Line, 8 bits: scratch space between firmware and driver.
    pub const INTERRUPT_LINE: u16 = 0x3C;
    /// Interrupt Pin, 8 bits: 1 to 4 for INTA to INTD, 0 for none.
    pub const INTERRUPT_PIN: u16 = 0x3D;
}

/// Offsets in bytes of registers of the Type 0 layout: endpoints (PCIe 6.0 §7.5.1.2).
pub mod type0 {
    /// Number of Base Address Registers.
    pub const BAR_COUNT: u16 = 6;
    /// Subsystem Vendor ID, 16 bits.
    pub const SUBSYSTEM_VENDOR_ID: u16 = 0x2C;
    /// Subsystem ID, 16 bits.
    pub const SUBSYSTEM_ID: u16 = 0x2E;
    /// Expansion ROM Base Address, 32 bits.
    pub const EXPANSION_ROM: u16 = 0x30;
}

/// Offsets in bytes of registers of the Type 1 layout: bridges, which root ports and switch ports are
/// (PCIe 6.0 §7.5.1.3).
pub mod type1 {
    /// Number of Base Address Registers.
    pub const BAR_COUNT: u16 = 2;
    /// Primary Bus Number, 8 bits: the bus that the bridge is on.
    pub const PRIMARY_BUS: u16 = 0x18;
    /// Secondary Bus Number, 8 bits: the bus right behind the bridge.
    pub const SECONDARY_BUS: u16 = 0x19;
    /// Subordinate Bus Number, 8 bits: the highest bus behind the bridge.
    pub const SUBORDINATE_BUS: u16 = 0x1A;
    /// Secondary Latency Timer, 8 bits; zero in PCI Express.
    pub const SECONDARY_LATENCY_TIMER: u16 = 0x1B;
    /// I/O Base, 8 bits.
    pub const IO_BASE: u16 = 0x1C;
    /// I/O Limit, 8 bits.
    pub const IO_LIMIT: u16 = 0x1D;
    /// Secondary Status, 16 bits: [`Status`](super::Status) of the secondary side.
    pub const SECONDARY_STATUS: u16 = 0x1E;
    /// Memory Base, 16 bits.
    pub const MEMORY_BASE: u16 = 0x20;
    /// Memory Limit, 16 bits.
    pub const MEMORY_LIMIT: u16 = 0x22;
    /// Prefetchable Memory Base, 16 bits.
    pub const PREFETCHABLE_BASE: u16 = 0x24;
    /// Prefetchable Memory Limit, 16 bits.
    pub const PREFETCHABLE_LIMIT: u16 = 0x26;
    /// Prefetchable Base Upper 32 Bits.
    pub const PREFETCHABLE_BASE_UPPER: u16 = 0x28;
    /// Prefetchable Limit Upper 32 Bits.
    pub const PREFETCHABLE_LIMIT_UPPER: u16 = 0x2C;
    /// I/O Base Upper 16 Bits.
    pub const IO_BASE_UPPER: u16 = 0x30;
    /// I/O Limit Upper 16 Bits.
    pub const IO_LIMIT_UPPER: u16 = 0x32;
    /// Expansion ROM Base Address, 32 bits.
    pub const EXPANSION_ROM: u16 = 0x38;
    /// [`BridgeControl`](crate::pci::bridge::BridgeControl), 16 bits.
    pub const BRIDGE_CONTROL: u16 = 0x3E;
}

/// What a function may do on the bus (PCIe 6.0 §7.5.1.1.3).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Command {
    /// I/O Space Enable: I/O BARs, and the I/O window of a bridge, decode.
    pub io_space: bool,
    /// Memory Space Enable: memory BARs, and the memory windows of a bridge, decode.
    pub memory_space: bool,
    /// Bus Master Enable: the function may issue memory and I/O requests; a bridge forwards those of
    /// what is behind it.
    pub bus_master: bool,
    #[bits(3)]
    __: u8,
    /// Parity Error Response: report poisoned TLPs in the Status register.
    pub parity_error_response: bool,
    __: bool,
    /// SERR# Enable: report non-fatal and fatal errors to the root complex.
    pub serr: bool,
    __: bool,
    /// Interrupt Disable: do not assert INTx; MSI and MSI-X are not affected.
    pub interrupt_disable: bool,
    #[bits(5)]
    __: u8,
}
display_words!(Command {
    "I/O" => (io_space), "Mem" => (memory_space), "BusMaster" => (bus_master),
    "ParErr" => (parity_error_response), "SERR" => (serr), "DisINTx" => (interrupt_disable),
});

/// What has happened on the bus (PCIe 6.0 §7.5.1.1.4, and §7.5.1.3.7 for the secondary side of a
/// bridge). The error bits are cleared by writing 1.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// Immediate Readiness: configuration requests succeed right after a reset.
    pub immediate_readiness: bool,
    #[bits(2)]
    __: u8,
    /// Interrupt Status: an INTx interrupt is pending.
    pub interrupt: bool,
    /// Capabilities List: always 1 in PCI Express; reserved on a secondary side.
    pub capabilities_list: bool,
    #[bits(3)]
    __: u8,
    /// Master Data Parity Error: as requester, received or sent poisoned data.
    pub master_data_parity_error: bool,
    #[bits(2)]
    __: u8,
    /// Signaled Target Abort: completed a request with Completer Abort.
    pub signaled_target_abort: bool,
    /// Received Target Abort: a request was completed with Completer Abort.
    pub received_target_abort: bool,
    /// Received Master Abort: a request was completed with Unsupported Request.
    pub received_master_abort: bool,
    /// Signaled System Error, or Received System Error on a secondary side.
    pub system_error: bool,
    /// Detected Parity Error: received a poisoned TLP.
    pub detected_parity_error: bool,
}
display_words!(Status {
    "ImmReady" => (immediate_readiness), "Cap" => (capabilities_list),
    "ParErr" => (master_data_parity_error), ">TAbort" => (signaled_target_abort),
    "<TAbort" => (received_target_abort), "<MAbort" => (received_master_abort),
    ">SERR" => (system_error), "<PERR" => (detected_parity_error), "INTx" => (interrupt),
});

open_enum! {
    /// Layouts of the header (PCIe 6.0 §7.5.1.1.9).
    pub struct HeaderLayout: u8 {
        TYPE0 = 0 => "Type 0",
        TYPE1 = 1 => "Type 1",
    }
}

/// The Header Type register (PCIe 6.0 §7.5.1.1.9).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct HeaderType {
    /// Which registers follow at offset 10h.
    #[bits(7)]
    pub layout: HeaderLayout,
    /// Multi-Function Device: functions other than 0 may exist.
    pub multi_function: bool,
}
display_words!(HeaderType { "HeaderType" => (layout), "MultiFunction" => (multi_function) });

/// Built-in self test (PCIe 6.0 §7.5.1.1.10).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Bist {
    /// Completion Code: 0 if the test passed.
    #[bits(4)]
    pub completion_code: u8,
    #[bits(2)]
    __: u8,
    /// Start BIST: set by software, cleared by the device within 2 seconds.
    pub start: bool,
    /// BIST Capable.
    pub capable: bool,
}
display_words!(Bist {
    "BISTCap" => (capable), "Start" => (start), "Code" => (completion_code),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_of_a_working_ssd() {
        // What firmware and driver leave in the Command register of an NVMe controller with MSI-X.
        let command = Command::from_bits(0x0406);
        assert!(command.memory_space() && command.bus_master() && command.interrupt_disable());
        assert_eq!(command.to_string(), "I/O- Mem+ BusMaster+ ParErr- SERR- DisINTx+");
    }

    #[test]
    fn status_of_a_function_whose_request_nobody_took() {
        let status = Status::from_bits(0x2010);
        assert!(status.received_master_abort() && status.capabilities_list());
        assert!(status.to_string().contains("<MAbort+"));
    }

    #[test]
    fn header_type_keeps_unknown_layouts() {
        let header = HeaderType::from_bits(0x82);
        assert!(header.multi_function());
        assert_eq!(header.layout().into_bits(), 2);
        assert_eq!(header.layout().name(), None);
        assert_eq!(HeaderType::from_bits(0x81).layout(), HeaderLayout::TYPE1);
    }
}
