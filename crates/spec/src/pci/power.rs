//! PCI Power Management (PCIe 6.0 §7.5.2).

use bitfield_struct::bitfield;

/// Offsets in bytes within the capability.
pub mod offset {
    /// [`PowerCapabilities`](super::PowerCapabilities), 16 bits.
    pub const CAPABILITIES: u16 = 0x02;
    /// [`PowerControl`](super::PowerControl), 16 bits.
    pub const CONTROL: u16 = 0x04;
}

open_enum! {
    /// Device power states (PCIe 6.0 §5.3.1).
    pub struct PowerState: u8 {
        D0 = 0 => "D0",
        D1 = 1 => "D1",
        D2 = 2 => "D2",
        D3_HOT = 3 => "D3",
    }
}

/// Power Management Capabilities (PCIe 6.0 §7.5.2.1).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct PowerCapabilities {
    /// Version; 3 in PCI Express.
    #[bits(3)]
    pub version: u8,
    /// PME Clock; 0 in PCI Express.
    pub pme_clock: bool,
    /// Immediate Readiness on Return to D0.
    pub immediate_readiness_on_d0: bool,
    /// Device Specific Initialization.
    pub device_specific_initialization: bool,
    /// Aux Current, a code from 0 to 375 mA.
    #[bits(3)]
    pub aux_current: u8,
    /// D1 Support.
    pub d1: bool,
    /// D2 Support.
    pub d2: bool,
    /// PME Support: a bit each for D0, D1, D2, D3hot and D3cold.
    #[bits(5)]
    pub pme: u8,
}
display_words!(PowerCapabilities {
    "Version" => (version), "DSI" => (device_specific_initialization), "D1" => (d1), "D2" => (d2),
    "AuxCurrent" => (aux_current), "PME" => hex(pme),
});

/// Power Management Control/Status (PCIe 6.0 §7.5.2.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct PowerControl {
    /// PowerState: read and written.
    #[bits(2)]
    pub state: PowerState,
    __: bool,
    /// No_Soft_Reset: going from D3hot to D0 keeps the function's state.
    pub no_soft_reset: bool,
    #[bits(4)]
    __: u8,
    /// PME_En.
    pub pme_enable: bool,
    /// Data_Select.
    #[bits(4)]
    pub data_select: u8,
    /// Data_Scale.
    #[bits(2)]
    pub data_scale: u8,
    /// PME_Status, cleared by writing 1.
    pub pme_status: bool,
}
display_words!(PowerControl {
    "Status" => (state), "NoSoftRst" => (no_soft_reset), "PME-Enable" => (pme_enable),
    "DSel" => (data_select), "DScale" => (data_scale), "PME" => (pme_status),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_of_an_idle_ssd() {
        let control = PowerControl::from_bits(0x000B);
        assert_eq!(control.state(), PowerState::D3_HOT);
        assert!(control.no_soft_reset());
        assert_eq!(control.to_string(), "Status=D3 NoSoftRst+ PME-Enable- DSel=0 DScale=0 PME-");
    }
}
