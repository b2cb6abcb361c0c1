//! The PCI Express capability (PCIe 6.0 §7.5.3): what kind of port this is, its link, its slot.

mod device;
mod link;
mod root;
mod slot;

use bitfield_struct::bitfield;

pub use device::{
    DeviceCapabilities, DeviceCapabilities2, DeviceControl, DeviceControl2, DeviceStatus, TlpSize,
};
pub use link::{
    LinkCapabilities, LinkCapabilities2, LinkControl, LinkControl2, LinkSpeed, LinkStatus,
    LinkStatus2, LinkWidth, SpeedVector,
};
pub use root::{RootCapabilities, RootControl, RootStatus};
pub use slot::{Indicator, SlotCapabilities, SlotControl, SlotStatus};

/// Bytes of the capability, version 2 and later.
pub const CAPABILITY_SIZE: u16 = 0x3C;

/// Offsets in bytes within the capability.
pub mod offset {
    /// [`ExpressCapabilities`](super::ExpressCapabilities), 16 bits.
    pub const CAPABILITIES: u16 = 0x02;
    /// [`DeviceCapabilities`](super::DeviceCapabilities), 32 bits.
    pub const DEVICE_CAPABILITIES: u16 = 0x04;
    /// [`DeviceControl`](super::DeviceControl), 16 bits.
    pub const DEVICE_CONTROL: u16 = 0x08;
    /// [`DeviceStatus`](super::DeviceStatus), 16 bits.
    pub const DEVICE_STATUS: u16 = 0x0A;
    /// [`LinkCapabilities`](super::LinkCapabilities), 32 bits.
    pub const LINK_CAPABILITIES: u16 = 0x0C;
    /// [`LinkControl`](super::LinkControl), 16 bits.
    pub const LINK_CONTROL: u16 = 0x10;
    /// [`LinkStatus`](super::LinkStatus), 16 bits.
    pub const LINK_STATUS: u16 = 0x12;
    /// [`SlotCapabilities`](super::SlotCapabilities), 32 bits.
    pub const SLOT_CAPABILITIES: u16 = 0x14;
    /// [`SlotControl`](super::SlotControl), 16 bits.
    pub const SLOT_CONTROL: u16 = 0x18;
    /// [`SlotStatus`](super::SlotStatus), 16 bits.
    pub const SLOT_STATUS: u16 = 0x1A;
    /// [`RootControl`](super::RootControl), 16 bits.
    pub const ROOT_CONTROL: u16 = 0x1C;
    /// [`RootCapabilities`](super::RootCapabilities), 16 bits.
    pub const ROOT_CAPABILITIES: u16 = 0x1E;
    /// [`RootStatus`](super::RootStatus), 32 bits.
    pub const ROOT_STATUS: u16 = 0x20;
    /// [`DeviceCapabilities2`](super::DeviceCapabilities2), 32 bits.
    pub const DEVICE_CAPABILITIES_2: u16 = 0x24;
    /// [`DeviceControl2`](super::DeviceControl2), 16 bits.
    pub const DEVICE_CONTROL_2: u16 = 0x28;
    /// Device Status 2, 16 bits; reserved.
    pub const DEVICE_STATUS_2: u16 = 0x2A;
    /// [`LinkCapabilities2`](super::LinkCapabilities2), 32 bits.
    pub const LINK_CAPABILITIES_2: u16 = 0x2C;
    /// [`LinkControl2`](super::LinkControl2), 16 bits.
    pub const LINK_CONTROL_2: u16 = 0x30;
    /// [`LinkStatus2`](super::LinkStatus2), 16 bits.
    pub const LINK_STATUS_2: u16 = 0x32;
    /// Slot Capabilities 2, 32 bits.
    pub const SLOT_CAPABILITIES_2: u16 = 0x34;
    /// Slot Control 2, 16 bits; reserved.
    pub const SLOT_CONTROL_2: u16 = 0x38;
    /// Slot Status 2, 16 bits; reserved.
    pub const SLOT_STATUS_2: u16 = 0x3A;
}

open_enum! {
    /// Device/Port Type (PCIe 6.0 §7.5.3.2). The names are those of `lspci`.
    pub struct PortType: u8 {
        ENDPOINT = 0x0 => "Endpoint",
        LEGACY_ENDPOINT = 0x1 => "Legacy Endpoint",
        ROOT_PORT = 0x4 => "Root Port",
        UPSTREAM_PORT = 0x5 => "Upstream Port",
        DOWNSTREAM_PORT = 0x6 => "Downstream Port",
        PCI_BRIDGE = 0x7 => "PCI-Express to PCI/PCI-X Bridge",
        PCIE_BRIDGE = 0x8 => "PCI/PCI-X to PCI-Express Bridge",
        ROOT_COMPLEX_INTEGRATED_ENDPOINT = 0x9 => "Root Complex Integrated Endpoint",
        ROOT_COMPLEX_EVENT_COLLECTOR = 0xA => "Root Complex Event Collector",
    }
}

impl PortType {
    /// Whether the function is a bridge to another bus.
    #[must_use]
    pub const fn is_bridge(self) -> bool {
        matches!(
            self,
            Self::ROOT_PORT
                | Self::UPSTREAM_PORT
                | Self::DOWNSTREAM_PORT
                | Self::PCI_BRIDGE
                | Self::PCIE_BRIDGE
        )
    }

    /// Whether the port's link leads away from the root: where ACS applies (PCIe 6.0 §6.12.1.1).
    #[must_use]
    pub const fn faces_downstream(self) -> bool {
        matches!(self, Self::ROOT_PORT | Self::DOWNSTREAM_PORT)
    }
}

/// The PCI Express Capabilities register (PCIe 6.0 §7.5.3.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct ExpressCapabilities {
    /// Capability Version: 2.
    #[bits(4)]
    pub version: u8,
    /// Device/Port Type.
    #[bits(4)]
    pub port_type: PortType,
    /// Slot Implemented: the link leads to a slot.
    pub slot: bool,
    /// Interrupt Message Number: the MSI or MSI-X vector for events of this capability.
    #[bits(5)]
    pub interrupt_message: u8,
    __: bool,
    /// Flit Mode Supported.
    pub flit_mode: bool,
}
display_words!(ExpressCapabilities {
    "Express" => (port_type), "Version" => (version), "Slot" => (slot),
    "IntMsgNum" => (interrupt_message), "FltMode" => (flit_mode),
});

#[cfg(test)]
mod tests;
