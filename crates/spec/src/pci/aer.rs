//! Advanced Error Reporting (PCIe 6.0 §6.2 and §7.8.4).

use bitfield_struct::bitfield;

/// Offsets in bytes within the capability.
pub mod offset {
    /// Status of [`UncorrectableErrors`](super::UncorrectableErrors), cleared by writing 1.
    pub const UNCORRECTABLE_STATUS: u16 = 0x04;
    /// Mask of [`UncorrectableErrors`](super::UncorrectableErrors): a set bit is not reported.
    pub const UNCORRECTABLE_MASK: u16 = 0x08;
    /// Severity of [`UncorrectableErrors`](super::UncorrectableErrors): a set bit is fatal.
    pub const UNCORRECTABLE_SEVERITY: u16 = 0x0C;
    /// Status of [`CorrectableErrors`](super::CorrectableErrors), cleared by writing 1.
    pub const CORRECTABLE_STATUS: u16 = 0x10;
    /// Mask of [`CorrectableErrors`](super::CorrectableErrors): a set bit is not reported.
    pub const CORRECTABLE_MASK: u16 = 0x14;
    /// [`AdvancedErrorControl`](super::AdvancedErrorControl).
    pub const CONTROL: u16 = 0x18;
    /// Header Log: the first 16 bytes of the TLP with the first error.
    pub const HEADER_LOG: u16 = 0x1C;
    /// [`RootErrorCommand`](super::RootErrorCommand); root ports and event collectors only.
    pub const ROOT_ERROR_COMMAND: u16 = 0x2C;
    /// [`RootErrorStatus`](super::RootErrorStatus); root ports and event collectors only.
    pub const ROOT_ERROR_STATUS: u16 = 0x30;
    /// [`ErrorSource`](super::ErrorSource); root ports and event collectors only.
    pub const ERROR_SOURCE: u16 = 0x34;
    /// TLP Prefix Log, 16 bytes.
    pub const TLP_PREFIX_LOG: u16 = 0x38;
}

/// Uncorrectable errors (PCIe 6.0 §7.8.4.2 to §7.8.4.4): status, mask and severity have the same bits.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct UncorrectableErrors {
    #[bits(4)]
    __: u8,
    /// Data Link Protocol Error.
    pub data_link_protocol: bool,
    /// Surprise Down Error.
    pub surprise_down: bool,
    #[bits(6)]
    __: u8,
    /// Poisoned TLP Received.
    pub poisoned_tlp: bool,
    /// Flow Control Protocol Error.
    pub flow_control_protocol: bool,
    /// Completion Timeout.
    pub completion_timeout: bool,
    /// Completer Abort.
    pub completer_abort: bool,
    /// Unexpected Completion.
    pub unexpected_completion: bool,
    /// Receiver Overflow.
    pub receiver_overflow: bool,
    /// Malformed TLP.
    pub malformed_tlp: bool,
    /// ECRC Error.
    pub ecrc: bool,
    /// Unsupported Request.
    pub unsupported_request: bool,
    /// ACS Violation.
    pub acs_violation: bool,
    /// Uncorrectable Internal Error.
    pub internal: bool,
    /// MC Blocked TLP.
    pub multicast_blocked: bool,
    /// AtomicOp Egress Blocked.
    pub atomic_egress_blocked: bool,
    /// TLP Prefix Blocked.
    pub tlp_prefix_blocked: bool,
    /// Poisoned TLP Egress Blocked.
    pub poisoned_tlp_egress_blocked: bool,
    /// DMWr Request Egress Blocked.
    pub deferrable_write_egress_blocked: bool,
    /// IDE Check Failed.
    pub ide_check_failed: bool,
    /// Misrouted IDE TLP.
    pub misrouted_ide_tlp: bool,
    /// PCRC Check Failed.
    pub pcrc_check_failed: bool,
    /// TLP Translation Egress Blocked.
    pub tlp_translation_egress_blocked: bool,
}
display_words!(UncorrectableErrors {
    "DLP" => (data_link_protocol), "SDES" => (surprise_down), "TLP" => (poisoned_tlp),
    "FCP" => (flow_control_protocol), "CmpltTO" => (completion_timeout),
    "CmpltAbrt" => (completer_abort), "UnxCmplt" => (unexpected_completion),
    "RxOF" => (receiver_overflow), "MalfTLP" => (malformed_tlp), "ECRC" => (ecrc),
    "UnsupReq" => (unsupported_request), "ACSViol" => (acs_violation),
    "UncorrIntErr" => (internal), "BlockedTLP" => (multicast_blocked),
    "AtomicOpBlocked" => (atomic_egress_blocked), "TLPBlockedErr" => (tlp_prefix_blocked),
    "PoisonTLPBlocked" => (poisoned_tlp_egress_blocked),
    "DMWrReqBlocked" => (deferrable_write_egress_blocked), "IDECheck" => (ide_check_failed),
    "MisIDETLP" => (misrouted_ide_tlp), "PCRC_CHECK" => (pcrc_check_failed),
    "TLPXlatBlocked" => (tlp_translation_egress_blocked),
});

impl UncorrectableErrors {
    /// The Severity register after reset: which errors are fatal by default (PCIe 6.0 §7.8.4.4).
    pub const DEFAULT_SEVERITY: Self = Self::new()
        .with_data_link_protocol(true)
        .with_surprise_down(true)
        .with_flow_control_protocol(true)
        .with_receiver_overflow(true)
        .with_malformed_tlp(true)
        .with_internal(true);

    /// Every error that has a bit. The others are reserved (RsvdP, RsvdZ): zero, whatever is written.
    pub const DEFINED: Self = Self::from_bits(0xffff_f030);
}

/// Correctable errors (PCIe 6.0 §7.8.4.5 and §7.8.4.6): status and mask have the same bits.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CorrectableErrors {
    /// Receiver Error.
    pub receiver: bool,
    #[bits(5)]
    __: u8,
    /// Bad TLP.
    pub bad_tlp: bool,
    /// Bad DLLP.
    pub bad_dllp: bool,
    /// REPLAY_NUM Rollover.
    pub replay_num_rollover: bool,
    #[bits(3)]
    __: u8,
    /// Replay Timer Timeout.
    pub replay_timer_timeout: bool,
    /// Advisory Non-Fatal Error.
    pub advisory_non_fatal: bool,
    /// Corrected Internal Error.
    pub corrected_internal: bool,
    /// Header Log Overflow.
    pub header_log_overflow: bool,
    __: u16,
}
display_words!(CorrectableErrors {
    "RxErr" => (receiver), "BadTLP" => (bad_tlp), "BadDLLP" => (bad_dllp),
    "Rollover" => (replay_num_rollover), "Timeout" => (replay_timer_timeout),
    "AdvNonFatalErr" => (advisory_non_fatal), "CorrIntErr" => (corrected_internal),
    "HeaderOF" => (header_log_overflow),
});

impl CorrectableErrors {
    /// Every error that has a bit. The others are reserved (RsvdP, RsvdZ): zero, whatever is written.
    pub const DEFINED: Self = Self::from_bits(0x0000_f1c1);
}

/// Advanced Error Capabilities and Control (PCIe 6.0 §7.8.4.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AdvancedErrorControl {
    /// First Error Pointer: the bit number of the error that the Header Log belongs to.
    #[bits(5)]
    pub first_error_pointer: u8,
    /// ECRC Generation Capable.
    pub ecrc_generation_capable: bool,
    /// ECRC Generation Enable.
    pub ecrc_generation_enable: bool,
    /// ECRC Check Capable.
    pub ecrc_check_capable: bool,
    /// ECRC Check Enable.
    pub ecrc_check_enable: bool,
    /// Multiple Header Recording Capable.
    pub multiple_header_capable: bool,
    /// Multiple Header Recording Enable.
    pub multiple_header_enable: bool,
    /// TLP Prefix Log Present.
    pub tlp_prefix_log_present: bool,
    /// Completion Timeout Prefix/Header Log Capable.
    pub completion_timeout_log_capable: bool,
    /// Header Log Size in units of 4 bytes.
    #[bits(5)]
    pub header_log_size: u8,
    /// Logged TLP was Flit Mode.
    pub logged_tlp_was_flit: bool,
    /// Logged TLP Size in units of 4 bytes.
    #[bits(5)]
    pub logged_tlp_size: u8,
    __: u8,
}
display_words!(AdvancedErrorControl {
    "FirstErrorPointer" => hex(first_error_pointer),
    "ECRCGenCap" => (ecrc_generation_capable), "ECRCGenEn" => (ecrc_generation_enable),
    "ECRCChkCap" => (ecrc_check_capable), "ECRCChkEn" => (ecrc_check_enable),
    "MultHdrRecCap" => (multiple_header_capable), "MultHdrRecEn" => (multiple_header_enable),
    "TLPPfxPres" => (tlp_prefix_log_present), "HdrLogCap" => (completion_timeout_log_capable),
});

/// Which error messages interrupt (PCIe 6.0 §7.8.4.9).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RootErrorCommand {
    /// Correctable Error Reporting Enable.
    pub correctable: bool,
    /// Non-Fatal Error Reporting Enable.
    pub non_fatal: bool,
    /// Fatal Error Reporting Enable.
    pub fatal: bool,
    #[bits(29)]
    __: u32,
}
display_words!(RootErrorCommand {
    "CERptEn" => (correctable), "NFERptEn" => (non_fatal), "FERptEn" => (fatal),
});

/// Which error messages have arrived (PCIe 6.0 §7.8.4.10), cleared by writing 1.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RootErrorStatus {
    /// ERR_COR Received.
    pub correctable: bool,
    /// Multiple ERR_COR Received.
    pub multiple_correctable: bool,
    /// ERR_FATAL/NONFATAL Received.
    pub uncorrectable: bool,
    /// Multiple ERR_FATAL/NONFATAL Received.
    pub multiple_uncorrectable: bool,
    /// First Uncorrectable Fatal: the first one was fatal.
    pub first_uncorrectable_fatal: bool,
    /// Non-Fatal Error Messages Received.
    pub non_fatal: bool,
    /// Fatal Error Messages Received.
    pub fatal: bool,
    #[bits(20)]
    __: u32,
    /// Advanced Error Interrupt Message Number: the MSI or MSI-X vector.
    #[bits(5)]
    pub interrupt_message: u8,
}
display_words!(RootErrorStatus {
    "CERcvd" => (correctable), "MultCERcvd" => (multiple_correctable),
    "UERcvd" => (uncorrectable), "MultUERcvd" => (multiple_uncorrectable),
    "FirstFatal" => (first_uncorrectable_fatal), "NonFatalMsg" => (non_fatal),
    "FatalMsg" => (fatal), "IntMsgNum" => (interrupt_message),
});

/// Error Source Identification (PCIe 6.0 §7.8.4.11): requester IDs of the first reporters.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ErrorSource {
    /// ERR_COR Source Identification.
    pub correctable: u16,
    /// ERR_FATAL/NONFATAL Source Identification.
    pub uncorrectable: u16,
}
display_words!(ErrorSource { "ERR_COR" => hex(correctable), "ERR_FATAL/NONFATAL" => hex(uncorrectable) });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_after_reset() {
        // The value that lspci shows for most devices: "UESvrt: DLP+ SDES+ ... FCP+ ... RxOF+ MalfTLP+".
        assert_eq!(UncorrectableErrors::DEFAULT_SEVERITY.into_bits(), 0x0046_2030);
    }

    #[test]
    fn what_is_defined_is_what_is_shown() {
        let named = |text: String| (text.matches('+').count(), text.matches('-').count());
        let all = UncorrectableErrors::DEFINED;
        assert_eq!(named(all.to_string()), (all.into_bits().count_ones() as usize, 0));
        let all = CorrectableErrors::DEFINED;
        assert_eq!(named(all.to_string()), (all.into_bits().count_ones() as usize, 0));
    }

    #[test]
    fn a_blocked_peer_request_is_an_acs_violation() {
        let errors = UncorrectableErrors::from_bits(0x0020_0000);
        assert!(errors.acs_violation());
        assert!(errors.to_string().contains("UnsupReq- ACSViol+ UncorrIntErr-"));
    }

    #[test]
    fn correctable_errors_of_a_bad_cable() {
        let errors = CorrectableErrors::from_bits(0x0000_1141);
        assert_eq!(
            errors.to_string(),
            "RxErr+ BadTLP+ BadDLLP- Rollover+ Timeout+ AdvNonFatalErr- CorrIntErr- HeaderOF-"
        );
    }
}
