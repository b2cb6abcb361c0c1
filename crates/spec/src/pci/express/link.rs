//! Link registers (PCIe 6.0 §7.5.3.6 to §7.5.3.8, §7.5.3.18 to §7.5.3.20) and what a link can carry.

use core::fmt;

use bitfield_struct::bitfield;

open_enum! {
    /// Code for the rate of a lane (PCIe 6.0 §7.5.3.18).
    pub struct LinkSpeed: u8 {
        GEN1 = 1 => "2.5GT/s",
        GEN2 = 2 => "5GT/s",
        GEN3 = 3 => "8GT/s",
        GEN4 = 4 => "16GT/s",
        GEN5 = 5 => "32GT/s",
        GEN6 = 6 => "64GT/s",
    }
}

impl LinkSpeed {
    /// Million transfers per second on a lane, each one bit; 0 for an unknown code.
    #[must_use]
    pub const fn megatransfers(self) -> u32 {
        match self {
            Self::GEN1 => 2_500,
            Self::GEN2 => 5_000,
            Self::GEN3 => 8_000,
            Self::GEN4 => 16_000,
            Self::GEN5 => 32_000,
            Self::GEN6 => 64_000,
            _ => 0,
        }
    }

    /// How many bits on the wire carry how many bits of TLPs and DLLPs, as (useful, total): 8b/10b to
    /// 5 GT/s, 128b/130b to 32 GT/s (PCIe 6.0 §4.2.1 and §4.2.2), and at 64 GT/s flits of 256 bytes of
    /// which 242 are TLP and DLP bytes, the rest CRC and FEC (§4.2.3).
    #[must_use]
    pub const fn encoding(self) -> (u32, u32) {
        match self {
            Self::GEN1 | Self::GEN2 => (8, 10),
            Self::GEN6 => (242, 256),
            _ => (128, 130),
        }
    }

    /// Bytes per second that a lane carries after encoding, TLP headers not yet taken off; rounded down,
    /// 0 for an unknown code.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        let (useful, total) = self.encoding();
        self.megatransfers() as u64 * 1_000_000 / 8 * useful as u64 / total as u64
    }
}

/// A number of lanes, which is also its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LinkWidth(u8);

impl LinkWidth {
    /// One lane.
    pub const X1: Self = Self(1);
    /// Two lanes.
    pub const X2: Self = Self(2);
    /// Four lanes.
    pub const X4: Self = Self(4);
    /// Eight lanes.
    pub const X8: Self = Self(8);
    /// Sixteen lanes.
    pub const X16: Self = Self(16);

    /// Takes any code of 6 bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The code.
    #[must_use]
    pub const fn into_bits(self) -> u8 {
        self.0
    }

    /// The number of lanes.
    #[must_use]
    pub const fn lanes(self) -> u8 {
        self.0
    }

    /// Whether PCIe 6.0 has links of this width.
    #[must_use]
    pub const fn is_defined(self) -> bool {
        matches!(self, Self::X1 | Self::X2 | Self::X4 | Self::X8 | Self::X16)
    }
}

impl fmt::Display for LinkWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}", self.0)
    }
}

impl crate::words::Word for LinkWidth {
    fn word(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name}={self}")
    }
}

/// Link Capabilities (PCIe 6.0 §7.5.3.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LinkCapabilities {
    /// Max Link Speed.
    #[bits(4)]
    pub max_speed: LinkSpeed,
    /// Maximum Link Width.
    #[bits(6)]
    pub max_width: LinkWidth,
    /// ASPM Support: a bit each for L0s and L1.
    #[bits(2)]
    pub aspm: u8,
    /// L0s Exit Latency, a code.
    #[bits(3)]
    pub l0s_exit_latency: u8,
    /// L1 Exit Latency, a code.
    #[bits(3)]
    pub l1_exit_latency: u8,
    /// Clock Power Management.
    pub clock_power_management: bool,
    /// Surprise Down Error Reporting Capable.
    pub surprise_down_reporting: bool,
    /// Data Link Layer Link Active Reporting Capable.
    pub data_link_active_reporting: bool,
    /// Link Bandwidth Notification Capability.
    pub bandwidth_notification: bool,
    /// ASPM Optionality Compliance.
    pub aspm_optionality: bool,
    __: bool,
    /// Port Number.
    pub port_number: u8,
}
display_words!(LinkCapabilities {
    "Port" => (port_number), "Speed" => (max_speed), "Width" => (max_width), "ASPM" => hex(aspm),
    "ClockPM" => (clock_power_management), "Surprise" => (surprise_down_reporting),
    "LLActRep" => (data_link_active_reporting), "BwNot" => (bandwidth_notification),
    "ASPMOptComp" => (aspm_optionality),
});

/// Link Control (PCIe 6.0 §7.5.3.7).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct LinkControl {
    /// ASPM Control: a bit each for L0s and L1.
    #[bits(2)]
    pub aspm: u8,
    /// PTM Propagation Delay Adaptation Interpretation B.
    pub ptm_interpretation_b: bool,
    /// Read Completion Boundary: 128 bytes if set, 64 if not.
    pub read_completion_boundary_128: bool,
    /// Link Disable; downstream-facing ports only.
    pub disable: bool,
    /// Retrain Link; reads as 0.
    pub retrain: bool,
    /// Common Clock Configuration.
    pub common_clock: bool,
    /// Extended Synch.
    pub extended_synch: bool,
    /// Enable Clock Power Management.
    pub clock_power_management: bool,
    /// Hardware Autonomous Width Disable.
    pub autonomous_width_disable: bool,
    /// Link Bandwidth Management Interrupt Enable.
    pub bandwidth_interrupt: bool,
    /// Link Autonomous Bandwidth Interrupt Enable.
    pub autonomous_bandwidth_interrupt: bool,
    /// SRIS Clocking.
    pub sris_clocking: bool,
    /// Flit Mode Disable.
    pub flit_mode_disable: bool,
    /// DRS Signaling Control, a code.
    #[bits(2)]
    pub drs_signaling: u8,
}
display_words!(LinkControl {
    "ASPM" => hex(aspm), "RCB128" => (read_completion_boundary_128), "LnkDisable" => (disable),
    "CommClk" => (common_clock), "ExtSynch" => (extended_synch),
    "ClockPM" => (clock_power_management), "AutWidDis" => (autonomous_width_disable),
    "BWInt" => (bandwidth_interrupt), "AutBWInt" => (autonomous_bandwidth_interrupt),
    "FltModeDis" => (flit_mode_disable),
});

/// Link Status (PCIe 6.0 §7.5.3.8).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct LinkStatus {
    /// Current Link Speed.
    #[bits(4)]
    pub speed: LinkSpeed,
    /// Negotiated Link Width.
    #[bits(6)]
    pub width: LinkWidth,
    __: bool,
    /// Link Training.
    pub training: bool,
    /// Slot Clock Configuration.
    pub slot_clock: bool,
    /// Data Link Layer Link Active.
    pub data_link_active: bool,
    /// Link Bandwidth Management Status, cleared by writing 1.
    pub bandwidth_management: bool,
    /// Link Autonomous Bandwidth Status, cleared by writing 1.
    pub autonomous_bandwidth: bool,
}
display_words!(LinkStatus {
    "Speed" => (speed), "Width" => (width), "Train" => (training), "SlotClk" => (slot_clock),
    "DLActive" => (data_link_active), "BWMgmt" => (bandwidth_management),
    "ABWMgmt" => (autonomous_bandwidth),
});

/// A set of link speeds: bit 0 is 2.5 GT/s (PCIe 6.0 §7.5.3.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SpeedVector(u8);

impl SpeedVector {
    /// Takes any set of 7 bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The set as bits.
    #[must_use]
    pub const fn into_bits(self) -> u8 {
        self.0
    }

    /// All speeds up to and including `speed`.
    #[must_use]
    pub const fn up_to(speed: LinkSpeed) -> Self {
        let count = speed.into_bits();
        Self(if count < 7 { (1 << count) - 1 } else { 0x7F })
    }

    /// Whether `speed` is in the set.
    #[must_use]
    pub const fn contains(self, speed: LinkSpeed) -> bool {
        match speed.into_bits() {
            code @ 1..8 => self.0 >> (code - 1) & 1 == 1,
            _ => false,
        }
    }
}

impl fmt::Display for SpeedVector {
    /// As `lspci`: `2.5-16GT/s`, or a list where there are gaps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speeds = LinkSpeed::KNOWN.iter().filter(|speed| self.contains(**speed));
        let last = speeds.clone().next_back().copied();
        match last {
            None => write!(f, "{:#04x}", self.0),
            Some(LinkSpeed::GEN1) => write!(f, "{}", LinkSpeed::GEN1),
            Some(last) if *self == Self::up_to(last) => write!(f, "2.5-{last}"),
            Some(_) => {
                for (index, speed) in speeds.enumerate() {
                    write!(f, "{}{speed}", if index > 0 { "," } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl crate::words::Word for SpeedVector {
    fn word(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name}={self}")
    }
}

/// Link Capabilities 2 (PCIe 6.0 §7.5.3.18).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LinkCapabilities2 {
    __: bool,
    /// Supported Link Speeds Vector.
    #[bits(7)]
    pub supported_speeds: SpeedVector,
    /// Crosslink Supported.
    pub crosslink: bool,
    /// Lower SKP OS Generation Supported Speeds Vector.
    #[bits(7)]
    pub lower_skp_generation: SpeedVector,
    /// Lower SKP OS Reception Supported Speeds Vector.
    #[bits(7)]
    pub lower_skp_reception: SpeedVector,
    /// Retimer Presence Detect Supported.
    pub retimer: bool,
    /// Two Retimers Presence Detect Supported.
    pub two_retimers: bool,
    #[bits(6)]
    __: u8,
    /// DRS Supported.
    pub drs: bool,
}
display_words!(LinkCapabilities2 {
    "Supported Link Speeds" => (supported_speeds), "Crosslink" => (crosslink),
    "Retimer" => (retimer), "2Retimers" => (two_retimers), "DRS" => (drs),
});

/// Link Control 2 (PCIe 6.0 §7.5.3.19).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct LinkControl2 {
    /// Target Link Speed.
    #[bits(4)]
    pub target_speed: LinkSpeed,
    /// Enter Compliance.
    pub enter_compliance: bool,
    /// Hardware Autonomous Speed Disable.
    pub autonomous_speed_disable: bool,
    /// Selectable De-emphasis: -3.5 dB if set, -6 dB if not.
    pub selectable_deemphasis: bool,
    /// Transmit Margin, a code.
    #[bits(3)]
    pub transmit_margin: u8,
    /// Enter Modified Compliance.
    pub enter_modified_compliance: bool,
    /// Compliance SOS.
    pub compliance_sos: bool,
    /// Compliance Preset/De-emphasis, a code.
    #[bits(4)]
    pub compliance_preset: u8,
}
display_words!(LinkControl2 {
    "Target Link Speed" => (target_speed), "EnterCompliance" => (enter_compliance),
    "SpeedDis" => (autonomous_speed_disable),
    "EnterModifiedCompliance" => (enter_modified_compliance), "ComplianceSOS" => (compliance_sos),
});

/// Link Status 2 (PCIe 6.0 §7.5.3.20).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct LinkStatus2 {
    /// Current De-emphasis Level: -3.5 dB if set, -6 dB if not.
    pub deemphasis: bool,
    /// Equalization 8.0 GT/s Complete.
    pub equalization_complete: bool,
    /// Equalization 8.0 GT/s Phase 1 Successful.
    pub equalization_phase_1: bool,
    /// Equalization 8.0 GT/s Phase 2 Successful.
    pub equalization_phase_2: bool,
    /// Equalization 8.0 GT/s Phase 3 Successful.
    pub equalization_phase_3: bool,
    /// Link Equalization Request 8.0 GT/s, cleared by writing 1.
    pub equalization_request: bool,
    /// Retimer Presence Detected.
    pub retimer: bool,
    /// Two Retimers Presence Detected.
    pub two_retimers: bool,
    /// Crosslink Resolution, a code.
    #[bits(2)]
    pub crosslink: u8,
    /// Flit Mode Status: the link runs in Flit Mode.
    pub flit_mode: bool,
    __: bool,
    /// Downstream Component Presence, a code.
    #[bits(3)]
    pub downstream_component: u8,
    /// DRS Message Received, cleared by writing 1.
    pub drs_received: bool,
}
display_words!(LinkStatus2 {
    "EqualizationComplete" => (equalization_complete),
    "EqualizationPhase1" => (equalization_phase_1), "EqualizationPhase2" => (equalization_phase_2),
    "EqualizationPhase3" => (equalization_phase_3),
    "LinkEqualizationRequest" => (equalization_request), "Retimer" => (retimer),
    "2Retimers" => (two_retimers), "FltMode" => (flit_mode),
});
