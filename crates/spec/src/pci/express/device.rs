//! Device registers (PCIe 6.0 §7.5.3.3 to §7.5.3.5, §7.5.3.15, §7.5.3.16).

use bitfield_struct::bitfield;

open_enum! {
    /// Code for the most data in a TLP: Max_Payload_Size and Max_Read_Request_Size.
    pub struct TlpSize: u8 {
        B128 = 0 => "128 bytes",
        B256 = 1 => "256 bytes",
        B512 = 2 => "512 bytes",
        B1024 = 3 => "1024 bytes",
        B2048 = 4 => "2048 bytes",
        B4096 = 5 => "4096 bytes",
    }
}

impl TlpSize {
    /// The size in bytes: 128 to 4096; `None` for a reserved code.
    #[must_use]
    pub const fn bytes(self) -> Option<u16> {
        if self.into_bits() <= Self::B4096.into_bits() {
            Some(128 << self.into_bits())
        } else {
            None
        }
    }

    /// The code for a size in bytes; `None` if it has none.
    #[must_use]
    pub fn from_bytes(bytes: u16) -> Option<Self> {
        Self::KNOWN.iter().copied().find(|size| size.bytes() == Some(bytes))
    }
}

/// Device Capabilities (PCIe 6.0 §7.5.3.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DeviceCapabilities {
    /// Max_Payload_Size Supported.
    #[bits(3)]
    pub max_payload: TlpSize,
    /// Phantom Functions Supported: how many bits of the function number may extend the tag.
    #[bits(2)]
    pub phantom_functions: u8,
    /// Extended Tag Field Supported: 8-bit tags.
    pub extended_tag: bool,
    /// Endpoint L0s Acceptable Latency, a code.
    #[bits(3)]
    pub l0s_latency: u8,
    /// Endpoint L1 Acceptable Latency, a code.
    #[bits(3)]
    pub l1_latency: u8,
    #[bits(3)]
    __: u8,
    /// Role-Based Error Reporting: always 1.
    pub role_based_error_reporting: bool,
    /// ERR_COR Subclass Capable.
    pub err_cor_subclass: bool,
    /// Rx_MPS_Fixed: the function always receives TLPs of the supported size.
    pub rx_mps_fixed: bool,
    /// Captured Slot Power Limit Value.
    pub slot_power_limit_value: u8,
    /// Captured Slot Power Limit Scale, a code from 1 W to 1 mW.
    #[bits(2)]
    pub slot_power_limit_scale: u8,
    /// Function Level Reset Capability.
    pub function_level_reset: bool,
    /// Mixed_MPS_Supported.
    pub mixed_mps: bool,
    /// TEE-IO Supported.
    pub tee_io: bool,
    __: bool,
}
display_words!(DeviceCapabilities {
    "MaxPayload" => (max_payload), "PhantFunc" => (phantom_functions), "ExtTag" => (extended_tag),
    "RBE" => (role_based_error_reporting), "FLReset" => (function_level_reset), "TEE-IO" => (tee_io),
});

/// Device Control (PCIe 6.0 §7.5.3.4).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct DeviceControl {
    /// Correctable Error Reporting Enable.
    pub correctable_error_reporting: bool,
    /// Non-Fatal Error Reporting Enable.
    pub non_fatal_error_reporting: bool,
    /// Fatal Error Reporting Enable.
    pub fatal_error_reporting: bool,
    /// Unsupported Request Reporting Enable.
    pub unsupported_request_reporting: bool,
    /// Enable Relaxed Ordering.
    pub relaxed_ordering: bool,
    /// Max_Payload_Size.
    #[bits(3)]
    pub max_payload: TlpSize,
    /// Extended Tag Field Enable.
    pub extended_tag: bool,
    /// Phantom Functions Enable.
    pub phantom_functions: bool,
    /// Aux Power PM Enable.
    pub aux_power: bool,
    /// Enable No Snoop.
    pub no_snoop: bool,
    /// Max_Read_Request_Size.
    #[bits(3)]
    pub max_read_request: TlpSize,
    /// Initiate Function Level Reset; reads as 0.
    pub initiate_function_level_reset: bool,
}
display_words!(DeviceControl {
    "CorrErr" => (correctable_error_reporting), "NonFatalErr" => (non_fatal_error_reporting),
    "FatalErr" => (fatal_error_reporting), "UnsupReq" => (unsupported_request_reporting),
    "RlxdOrd" => (relaxed_ordering), "ExtTag" => (extended_tag), "PhantFunc" => (phantom_functions),
    "AuxPwr" => (aux_power), "NoSnoop" => (no_snoop), "FLReset" => (initiate_function_level_reset),
    "MaxPayload" => (max_payload), "MaxReadReq" => (max_read_request),
});

/// Device Status (PCIe 6.0 §7.5.3.5). The error bits are cleared by writing 1.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct DeviceStatus {
    /// Correctable Error Detected.
    pub correctable_error: bool,
    /// Non-Fatal Error Detected.
    pub non_fatal_error: bool,
    /// Fatal Error Detected.
    pub fatal_error: bool,
    /// Unsupported Request Detected.
    pub unsupported_request: bool,
    /// AUX Power Detected.
    pub aux_power: bool,
    /// Transactions Pending: requests are not yet completed.
    pub transactions_pending: bool,
    /// Emergency Power Reduction Detected.
    pub emergency_power_reduction: bool,
    #[bits(9)]
    __: u16,
}
display_words!(DeviceStatus {
    "CorrErr" => (correctable_error), "NonFatalErr" => (non_fatal_error),
    "FatalErr" => (fatal_error), "UnsupReq" => (unsupported_request), "AuxPwr" => (aux_power),
    "TransPend" => (transactions_pending),
});

/// Device Capabilities 2 (PCIe 6.0 §7.5.3.15).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DeviceCapabilities2 {
    /// Completion Timeout Ranges Supported: a bit each for ranges A to D.
    #[bits(4)]
    pub completion_timeout_ranges: u8,
    /// Completion Timeout Disable Supported.
    pub completion_timeout_disable: bool,
    /// ARI Forwarding Supported.
    pub ari_forwarding: bool,
    /// AtomicOp Routing Supported.
    pub atomic_routing: bool,
    /// 32-bit AtomicOp Completer Supported.
    pub atomic_32: bool,
    /// 64-bit AtomicOp Completer Supported.
    pub atomic_64: bool,
    /// 128-bit CAS Completer Supported.
    pub cas_128: bool,
    /// No RO-enabled PR-PR Passing.
    pub no_relaxed_passing: bool,
    /// LTR Mechanism Supported.
    pub ltr: bool,
    /// TPH Completer Supported, a code.
    #[bits(2)]
    pub tph_completer: u8,
    #[bits(2)]
    __: u8,
    /// 10-Bit Tag Completer Supported.
    pub tag_10_completer: bool,
    /// 10-Bit Tag Requester Supported.
    pub tag_10_requester: bool,
    /// OBFF Supported, a code.
    #[bits(2)]
    pub obff: u8,
    /// Extended Fmt Field Supported.
    pub extended_fmt: bool,
    /// End-End TLP Prefix Supported.
    pub end_end_prefix: bool,
    /// Max End-End TLP Prefixes; 0 means 4.
    #[bits(2)]
    pub max_end_end_prefixes: u8,
    /// Emergency Power Reduction Supported, a code.
    #[bits(2)]
    pub emergency_power_reduction: u8,
    /// Emergency Power Reduction Initialization Required.
    pub emergency_power_reduction_init: bool,
    __: bool,
    /// DMWr Completer Supported.
    pub deferrable_write_completer: bool,
    /// DMWr Lengths Supported, a code.
    #[bits(2)]
    pub deferrable_write_lengths: u8,
    /// FRS Supported.
    pub frs: bool,
}
display_words!(DeviceCapabilities2 {
    "CmpltTimeoutRanges" => hex(completion_timeout_ranges),
    "TimeoutDis" => (completion_timeout_disable), "ARIFwd" => (ari_forwarding),
    "AtomicOpRouting" => (atomic_routing), "32bitAtomic" => (atomic_32),
    "64bitAtomic" => (atomic_64), "128bitCAS" => (cas_128), "NROPrPrP" => (no_relaxed_passing),
    "LTR" => (ltr), "10BitTagComp" => (tag_10_completer), "10BitTagReq" => (tag_10_requester),
    "ExtFmt" => (extended_fmt), "EETLPPrefix" => (end_end_prefix), "FRS" => (frs),
});

/// Device Control 2 (PCIe 6.0 §7.5.3.16).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct DeviceControl2 {
    /// Completion Timeout Value, a code; 0 means 50 µs to 50 ms.
    #[bits(4)]
    pub completion_timeout: u8,
    /// Completion Timeout Disable.
    pub completion_timeout_disable: bool,
    /// ARI Forwarding Enable: the port reaches functions above 7 of the device below.
    pub ari_forwarding: bool,
    /// AtomicOp Requester Enable.
    pub atomic_requester: bool,
    /// AtomicOp Egress Blocking.
    pub atomic_egress_blocking: bool,
    /// IDO Request Enable.
    pub ido_request: bool,
    /// IDO Completion Enable.
    pub ido_completion: bool,
    /// LTR Mechanism Enable.
    pub ltr: bool,
    /// Emergency Power Reduction Request.
    pub emergency_power_reduction: bool,
    /// 10-Bit Tag Requester Enable.
    pub tag_10_requester: bool,
    /// OBFF Enable, a code.
    #[bits(2)]
    pub obff: u8,
    /// End-End TLP Prefix Blocking.
    pub end_end_prefix_blocking: bool,
}
display_words!(DeviceControl2 {
    "CmpltTimeout" => hex(completion_timeout), "TimeoutDis" => (completion_timeout_disable),
    "ARIFwd" => (ari_forwarding), "AtomicOpsReq" => (atomic_requester),
    "AtomicOpEgressBlk" => (atomic_egress_blocking), "IDOReq" => (ido_request),
    "IDOCompl" => (ido_completion), "LTR" => (ltr), "10BitTagReq" => (tag_10_requester),
    "EETLPPrefixBlk" => (end_end_prefix_blocking),
});
