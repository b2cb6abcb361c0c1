//! Slot registers (PCIe 6.0 §7.5.3.9 to §7.5.3.11): hot-plug.

use bitfield_struct::bitfield;

open_enum! {
    /// State of an indicator lamp.
    pub struct Indicator: u8 {
        ON = 1 => "On",
        BLINK = 2 => "Blink",
        OFF = 3 => "Off",
    }
}

/// Slot Capabilities (PCIe 6.0 §7.5.3.9).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SlotCapabilities {
    /// Attention Button Present.
    pub attention_button: bool,
    /// Power Controller Present.
    pub power_controller: bool,
    /// MRL Sensor Present.
    pub mrl_sensor: bool,
    /// Attention Indicator Present.
    pub attention_indicator: bool,
    /// Power Indicator Present.
    pub power_indicator: bool,
    /// Hot-Plug Surprise: the device may be removed without notice.
    pub hot_plug_surprise: bool,
    /// Hot-Plug Capable.
    pub hot_plug: bool,
    /// Slot Power Limit Value.
    pub power_limit_value: u8,
    /// Slot Power Limit Scale, a code from 1 W to 1 mW.
    #[bits(2)]
    pub power_limit_scale: u8,
    /// Electromechanical Interlock Present.
    pub interlock: bool,
    /// No Command Completed Support.
    pub no_command_completed: bool,
    /// Physical Slot Number; 0 for a device on the board.
    #[bits(13)]
    pub physical_slot_number: u16,
}
display_words!(SlotCapabilities {
    "AttnBtn" => (attention_button), "PwrCtrl" => (power_controller), "MRL" => (mrl_sensor),
    "AttnInd" => (attention_indicator), "PwrInd" => (power_indicator), "HotPlug" => (hot_plug),
    "Surprise" => (hot_plug_surprise), "Slot" => (physical_slot_number),
    "Interlock" => (interlock), "NoCompl" => (no_command_completed),
});

/// Slot Control (PCIe 6.0 §7.5.3.10).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct SlotControl {
    /// Attention Button Pressed Enable.
    pub attention_button_enable: bool,
    /// Power Fault Detected Enable.
    pub power_fault_enable: bool,
    /// MRL Sensor Changed Enable.
    pub mrl_sensor_enable: bool,
    /// Presence Detect Changed Enable.
    pub presence_detect_enable: bool,
    /// Command Completed Interrupt Enable.
    pub command_completed_enable: bool,
    /// Hot-Plug Interrupt Enable.
    pub hot_plug_interrupt_enable: bool,
    /// Attention Indicator Control.
    #[bits(2)]
    pub attention_indicator: Indicator,
    /// Power Indicator Control.
    #[bits(2)]
    pub power_indicator: Indicator,
    /// Power Controller Control: 1 switches the slot off.
    pub power_off: bool,
    /// Electromechanical Interlock Control: writing 1 toggles it.
    pub interlock: bool,
    /// Data Link Layer State Changed Enable.
    pub data_link_state_enable: bool,
    /// Auto Slot Power Limit Disable.
    pub auto_power_limit_disable: bool,
    /// In-Band PD Disable.
    pub in_band_presence_disable: bool,
    __: bool,
}
display_words!(SlotControl {
    "AttnBtn" => (attention_button_enable), "PwrFlt" => (power_fault_enable),
    "MRL" => (mrl_sensor_enable), "PresDet" => (presence_detect_enable),
    "CmdCplt" => (command_completed_enable), "HPIrq" => (hot_plug_interrupt_enable),
    "LinkChg" => (data_link_state_enable), "AttnInd" => (attention_indicator),
    "PwrInd" => (power_indicator), "PowerOff" => (power_off), "Interlock" => (interlock),
});

/// Slot Status (PCIe 6.0 §7.5.3.11). Events are cleared by writing 1.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct SlotStatus {
    /// Attention Button Pressed.
    pub attention_button: bool,
    /// Power Fault Detected.
    pub power_fault: bool,
    /// MRL Sensor Changed.
    pub mrl_sensor_changed: bool,
    /// Presence Detect Changed.
    pub presence_detect_changed: bool,
    /// Command Completed.
    pub command_completed: bool,
    /// MRL Sensor State: open.
    pub mrl_open: bool,
    /// Presence Detect State: a device is in the slot.
    pub presence: bool,
    /// Electromechanical Interlock Status.
    pub interlock: bool,
    /// Data Link Layer State Changed.
    pub data_link_state_changed: bool,
    #[bits(7)]
    __: u8,
}
display_words!(SlotStatus {
    "AttnBtn" => (attention_button), "PowerFlt" => (power_fault), "MRL" => (mrl_open),
    "CmdCplt" => (command_completed), "PresDet" => (presence), "Interlock" => (interlock),
    "MRLChg" => (mrl_sensor_changed), "PresDetChg" => (presence_detect_changed),
    "LinkState" => (data_link_state_changed),
});
