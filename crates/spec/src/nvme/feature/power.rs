//! Power and temperature.

use core::fmt;
use core::mem::size_of;

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::Le64;
use crate::nvme::admin::command_dwords;
use crate::nvme::temperature::Kelvin;

/// Power Management, FID 02h (NVMe Base 2.1 §5.1.25.1.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PowerManagement {
    /// Power State: 0 to 31.
    #[bits(5)]
    pub ps: u8,
    /// Workload Hint: 0 for none, 1 and 2 for those of NVMe Base 2.1 §8.1.17.
    #[bits(3)]
    pub wh: u8,
    #[bits(24)]
    __: u32,
}
display_words!(PowerManagement { "PS" => (ps), "WH" => (wh) });

open_enum! {
    /// Threshold Temperature Select.
    pub struct TemperatureSelect: u8 {
        COMPOSITE = 0x0 => "Composite Temperature",
        SENSOR_1 = 0x1 => "Temperature Sensor 1",
        SENSOR_2 = 0x2 => "Temperature Sensor 2",
        SENSOR_3 = 0x3 => "Temperature Sensor 3",
        SENSOR_4 = 0x4 => "Temperature Sensor 4",
        SENSOR_5 = 0x5 => "Temperature Sensor 5",
        SENSOR_6 = 0x6 => "Temperature Sensor 6",
        SENSOR_7 = 0x7 => "Temperature Sensor 7",
        SENSOR_8 = 0x8 => "Temperature Sensor 8",
        /// For Set Features only.
        ALL = 0xF => "All sensors",
    }
}

open_enum! {
    /// Threshold Type Select.
    pub struct ThresholdType: u8 {
        OVER = 0b00 => "Over Temperature Threshold",
        UNDER = 0b01 => "Under Temperature Threshold",
    }
}

/// Temperature Threshold, FID 04h (NVMe Base 2.1 §5.1.25.1.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TemperatureThreshold {
    /// Temperature Threshold.
    #[bits(16)]
    pub tmpth: Kelvin,
    /// Threshold Temperature Select.
    #[bits(4)]
    pub tmpsel: TemperatureSelect,
    /// Threshold Type Select.
    #[bits(2)]
    pub thsel: ThresholdType,
    /// Temperature Threshold Hysteresis in kelvins.
    #[bits(3)]
    pub tmpthh: u8,
    #[bits(7)]
    __: u8,
}
display_words!(TemperatureThreshold {
    "TMPTH" => (tmpth), "TMPSEL" => (tmpsel), "THSEL" => (thsel), "TMPTHH" => (tmpthh),
});

/// Host Controlled Thermal Management, FID 10h (NVMe Base 2.1 §5.1.25.1.9).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ThermalManagement {
    /// Thermal Management Temperature 2: where the controller must slow down; 0 for never.
    #[bits(16)]
    pub tmt2: Kelvin,
    /// Thermal Management Temperature 1: where the controller should save power; 0 for never.
    #[bits(16)]
    pub tmt1: Kelvin,
}
display_words!(ThermalManagement { "TMT2" => (tmt2), "TMT1" => (tmt1) });

/// Non-Operational Power State Config, FID 11h (NVMe Base 2.1 §5.1.25.1.10).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NonOperationalPowerState {
    /// Non-Operational Power State Permissive Mode Enable.
    pub noppme: bool,
    #[bits(31)]
    __: u32,
}
display_words!(NonOperationalPowerState { "NOPPME" => (noppme) });

/// Autonomous Power State Transition, FID 0Ch (NVMe Base 2.1 §5.1.25.1.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AutonomousPowerStates {
    /// Autonomous Power State Transition Enable.
    pub apste: bool,
    #[bits(31)]
    __: u32,
}
display_words!(AutonomousPowerStates { "APSTE" => (apste) });

/// An entry of the Autonomous Power State Transition data: what the controller does from one power state.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct AutonomousPowerState {
    #[bits(3)]
    __: u8,
    /// Idle Transition Power State.
    #[bits(5)]
    pub itps: u8,
    /// Idle Time Prior to Transition in milliseconds, 0 for no transition.
    #[bits(24)]
    pub itpt: u32,
    __: u32,
}
display_words!(AutonomousPowerState { "ITPS" => (itps), "ITPT" => (itpt) });

/// The data of Autonomous Power State Transition: an entry for each power state, 256 bytes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct AutonomousPowerStateTable(pub [Le64<AutonomousPowerState>; 32]);
const _: () = assert!(size_of::<AutonomousPowerStateTable>() == 256);

impl fmt::Display for AutonomousPowerStateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (state, entry) in self.0.iter().enumerate() {
            if state > 0 {
                f.write_str("\n")?;
            }
            write!(f, "ps {state:>7}: {entry}")?;
        }
        Ok(())
    }
}

open_enum! {
    /// Power Loss Signaling Mode.
    pub struct PowerLossMode: u8 {
        NOT_ENABLED = 0b00 => "Not enabled",
        EMERGENCY_POWER_FAIL = 0b01 => "Power Loss Signaling with Emergency Power Fail",
        FORCED_QUIESCENCE = 0b10 => "Power Loss Signaling with Forced Quiescence",
    }
}

/// Power Loss Signaling Config, FID 1Bh (NVMe Base 2.1 §5.1.25.1.19).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PowerLossSignaling {
    /// Power Loss Signaling Mode.
    #[bits(2)]
    pub plsm: PowerLossMode,
    #[bits(30)]
    __: u32,
}
display_words!(PowerLossSignaling { "PLSM" => (plsm) });

command_dwords!(
    PowerManagement,
    TemperatureThreshold,
    ThermalManagement,
    NonOperationalPowerState,
    AutonomousPowerStates,
    PowerLossSignaling
);
