//! Capability lists (PCIe 6.0 §7.5.1.1.11 and §7.6).

use bitfield_struct::bitfield;

/// Where the list of extended capabilities begins.
pub const EXTENDED_START: u16 = 0x100;
/// The most entries that the list in the first 256 bytes can have; a longer walk is a loop.
pub const MAX_CAPABILITIES: usize = 48;
/// The most entries that the list of extended capabilities can have; a longer walk is a loop.
pub const MAX_EXTENDED_CAPABILITIES: usize = 960;

open_enum! {
    /// Capability IDs (PCI Code and ID Assignment). The names are those of `lspci`.
    pub struct CapabilityId: u8 {
        NULL = 0x00 => "Null",
        POWER_MANAGEMENT = 0x01 => "Power Management",
        AGP = 0x02 => "AGP",
        VITAL_PRODUCT_DATA = 0x03 => "Vital Product Data",
        SLOT_ID = 0x04 => "Slot ID",
        MSI = 0x05 => "MSI",
        COMPACT_PCI_HOT_SWAP = 0x06 => "CompactPCI hot-swap",
        PCI_X = 0x07 => "PCI-X",
        HYPER_TRANSPORT = 0x08 => "HyperTransport",
        VENDOR_SPECIFIC = 0x09 => "Vendor Specific Information",
        DEBUG_PORT = 0x0A => "Debug port",
        COMPACT_PCI_CENTRAL_RESOURCE = 0x0B => "CompactPCI central resource control",
        HOT_PLUG = 0x0C => "Hot-plug capable",
        SUBSYSTEM = 0x0D => "Subsystem",
        AGP_8X = 0x0E => "AGP3",
        SECURE_DEVICE = 0x0F => "Secure device",
        PCI_EXPRESS = 0x10 => "Express",
        MSI_X = 0x11 => "MSI-X",
        SATA = 0x12 => "SATA HBA",
        ADVANCED_FEATURES = 0x13 => "PCI Advanced Features",
        ENHANCED_ALLOCATION = 0x14 => "Enhanced Allocation (EA)",
        FLATTENING_PORTAL_BRIDGE = 0x15 => "Flattening Portal Bridge",
    }
}

open_enum! {
    /// Extended capability IDs (PCI Code and ID Assignment). The names are those of `lspci`.
    pub struct ExtendedCapabilityId: u16 {
        NULL = 0x0000 => "Null",
        ADVANCED_ERROR_REPORTING = 0x0001 => "Advanced Error Reporting",
        VIRTUAL_CHANNEL = 0x0002 => "Virtual Channel",
        DEVICE_SERIAL_NUMBER = 0x0003 => "Device Serial Number",
        POWER_BUDGETING = 0x0004 => "Power Budgeting",
        ROOT_COMPLEX_LINK = 0x0005 => "Root Complex Link",
        ROOT_COMPLEX_INTERNAL_LINK = 0x0006 => "Root Complex Internal Link",
        ROOT_COMPLEX_EVENT_COLLECTOR = 0x0007 => "Root Complex Event Collector Endpoint Association",
        MULTI_FUNCTION_VIRTUAL_CHANNEL = 0x0008 => "Multi-Function Virtual Channel",
        VIRTUAL_CHANNEL_WITH_MFVC = 0x0009 => "Virtual Channel (MFVC)",
        ROOT_COMPLEX_REGISTER_BLOCK = 0x000A => "Root Complex Register Block",
        VENDOR_SPECIFIC = 0x000B => "Vendor Specific Information",
        ACCESS_CONTROL_SERVICES = 0x000D => "Access Control Services",
        ALTERNATIVE_ROUTING_ID = 0x000E => "Alternative Routing-ID Interpretation (ARI)",
        ADDRESS_TRANSLATION_SERVICE = 0x000F => "Address Translation Service (ATS)",
        SINGLE_ROOT_IOV = 0x0010 => "Single Root I/O Virtualization (SR-IOV)",
        MULTI_ROOT_IOV = 0x0011 => "Multi-Root I/O Virtualization",
        MULTICAST = 0x0012 => "Multicast",
        PAGE_REQUEST = 0x0013 => "Page Request Interface (PRI)",
        RESIZABLE_BAR = 0x0015 => "Physical Resizable BAR",
        DYNAMIC_POWER_ALLOCATION = 0x0016 => "Dynamic Power Allocation",
        TPH_REQUESTER = 0x0017 => "Transaction Processing Hints",
        LATENCY_TOLERANCE_REPORTING = 0x0018 => "Latency Tolerance Reporting",
        SECONDARY_PCI_EXPRESS = 0x0019 => "Secondary PCI Express",
        PROTOCOL_MULTIPLEXING = 0x001A => "Protocol Multiplexing",
        PASID = 0x001B => "Process Address Space ID (PASID)",
        LN_REQUESTER = 0x001C => "LN Requester",
        DOWNSTREAM_PORT_CONTAINMENT = 0x001D => "Downstream Port Containment",
        L1_PM_SUBSTATES = 0x001E => "L1 PM Substates",
        PRECISION_TIME_MEASUREMENT = 0x001F => "Precision Time Measurement",
        M_PCIE = 0x0020 => "PCI Express over M_PHY",
        FRS_QUEUEING = 0x0021 => "FRS Queueing",
        READINESS_TIME_REPORTING = 0x0022 => "Readiness Time Reporting",
        DESIGNATED_VENDOR_SPECIFIC = 0x0023 => "Designated Vendor-Specific",
        VF_RESIZABLE_BAR = 0x0024 => "Virtual Resizable BAR",
        DATA_LINK_FEATURE = 0x0025 => "Data Link Feature",
        PHYSICAL_LAYER_16GT = 0x0026 => "Physical Layer 16.0 GT/s",
        LANE_MARGINING = 0x0027 => "Lane Margining at the Receiver",
        HIERARCHY_ID = 0x0028 => "Hierarchy ID",
        NATIVE_ENCLOSURE_MANAGEMENT = 0x0029 => "Native PCIe Enclosure Management",
        PHYSICAL_LAYER_32GT = 0x002A => "Physical Layer 32.0 GT/s",
        ALTERNATE_PROTOCOL = 0x002B => "Alternate Protocol",
        SYSTEM_FIRMWARE_INTERMEDIARY = 0x002C => "System Firmware Intermediary",
        SHADOW_FUNCTIONS = 0x002D => "Shadow Functions",
        DATA_OBJECT_EXCHANGE = 0x002E => "Data Object Exchange",
        DEVICE_3 = 0x002F => "Device 3",
        INTEGRITY_DATA_ENCRYPTION = 0x0030 => "Integrity & Data Encryption",
        PHYSICAL_LAYER_64GT = 0x0031 => "Physical Layer 64.0 GT/s",
        FLIT_LOGGING = 0x0032 => "Flit Logging",
        FLIT_PERFORMANCE = 0x0033 => "Flit Performance Measurement",
        FLIT_ERROR_INJECTION = 0x0034 => "Flit Error Injection",
    }
}

/// The first two bytes of a capability in the first 256 bytes.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct CapabilityHeader {
    /// Which capability this is.
    #[bits(8)]
    pub id: CapabilityId,
    /// Offset of the next capability, 0 at the end. Bits 1 and 0 are reserved and to be masked.
    pub next: u8,
}

/// The first four bytes of an extended capability (PCIe 6.0 §7.6.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ExtendedCapabilityHeader {
    /// Which capability this is.
    #[bits(16)]
    pub id: ExtendedCapabilityId,
    /// Version of its layout.
    #[bits(4)]
    pub version: u8,
    /// Offset of the next capability, 0 at the end. Bits 1 and 0 are reserved and to be masked.
    #[bits(12)]
    pub next: u16,
}

display_words!(CapabilityHeader { "Capability" => (id), "Next" => hex(next) });
display_words!(ExtendedCapabilityHeader {
    "Capability" => (id), "Version" => (version), "Next" => hex(next),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_acs_as_read_from_a_switch_port() {
        let header = ExtendedCapabilityHeader::from_bits(0x2301_000D);
        assert_eq!(header.id(), ExtendedCapabilityId::ACCESS_CONTROL_SERVICES);
        assert_eq!((header.version(), header.next()), (1, 0x230));
        assert_eq!(header.to_string(), "Capability=Access Control Services Version=1 Next=0x230");
    }

    #[test]
    fn the_lists_cannot_be_longer() {
        use crate::pci::config::{COMPATIBLE_SIZE, HEADER_SIZE, SIZE};
        let entries = |bytes: u16| usize::from(bytes / 4);
        assert_eq!(MAX_CAPABILITIES, entries(COMPATIBLE_SIZE - HEADER_SIZE));
        assert_eq!(MAX_EXTENDED_CAPABILITIES, entries(SIZE - EXTENDED_START));
    }
}
