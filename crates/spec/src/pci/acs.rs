//! Access Control Services (PCIe 6.0 §6.12 and §7.7.11).
//!
//! Whether a port sends a request straight to its neighbour or up to the root is decided here.

use bitfield_struct::bitfield;

/// Offsets in bytes within the capability.
pub mod offset {
    /// [`AcsCapability`](super::AcsCapability), 16 bits.
    pub const CAPABILITY: u16 = 0x04;
    /// [`AcsControl`](super::AcsControl), 16 bits.
    pub const CONTROL: u16 = 0x06;
    /// The first 32 bits of the Egress Control Vector, which exists if the port has P2P Egress Control.
    pub const EGRESS_CONTROL_VECTOR: u16 = 0x08;
}

/// What a port or function can control (PCIe 6.0 §7.7.11.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct AcsCapability {
    /// ACS Source Validation (V).
    pub source_validation: bool,
    /// ACS Translation Blocking (B).
    pub translation_blocking: bool,
    /// ACS P2P Request Redirect (R).
    pub request_redirect: bool,
    /// ACS P2P Completion Redirect (C).
    pub completion_redirect: bool,
    /// ACS Upstream Forwarding (U).
    pub upstream_forwarding: bool,
    /// ACS P2P Egress Control (E).
    pub egress_control: bool,
    /// ACS Direct Translated P2P (T).
    pub direct_translated: bool,
    /// ACS Enhanced Capability: the controls beyond the first seven exist.
    pub enhanced: bool,
    /// Egress Control Vector Size in bits; 0 means 256.
    pub egress_control_vector_size: u8,
}

/// What a port or function does control (PCIe 6.0 §7.7.11.3).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct AcsControl {
    /// ACS Source Validation Enable (V): block a request whose requester ID is not of a bus behind this
    /// port.
    pub source_validation: bool,
    /// ACS Translation Blocking Enable (B): block a memory request that carries a translated address.
    pub translation_blocking: bool,
    /// ACS P2P Request Redirect Enable (R): send peer-to-peer requests up to the root.
    pub request_redirect: bool,
    /// ACS P2P Completion Redirect Enable (C): send completions of peer-to-peer reads up to the root,
    /// unless Relaxed Ordering is set in them.
    pub completion_redirect: bool,
    /// ACS Upstream Forwarding Enable (U): forward up again what arrives from below and is addressed to
    /// this port's own side.
    pub upstream_forwarding: bool,
    /// ACS P2P Egress Control Enable (E): block or redirect by the Egress Control Vector.
    pub egress_control: bool,
    /// ACS Direct Translated P2P Enable (T): let requests with translated addresses go straight to the
    /// peer in spite of redirect and egress control.
    pub direct_translated: bool,
    /// ACS I/O Request Blocking Enable.
    pub io_request_blocking: bool,
    /// ACS DSP Memory Target Access Control: 0 direct, 1 block, 2 redirect.
    #[bits(2)]
    pub downstream_port_memory_target: u8,
    /// ACS USP Memory Target Access Control: 0 direct, 1 block, 2 redirect.
    #[bits(2)]
    pub upstream_port_memory_target: u8,
    /// ACS Unclaimed Request Redirect Control.
    pub unclaimed_request_redirect: bool,
    #[bits(3)]
    __: u8,
}

display_words!(AcsCapability {
    "SrcValid" => (source_validation), "TransBlk" => (translation_blocking),
    "ReqRedir" => (request_redirect), "CmpltRedir" => (completion_redirect),
    "UpstreamFwd" => (upstream_forwarding), "EgressCtrl" => (egress_control),
    "DirectTrans" => (direct_translated),
});
display_words!(AcsControl {
    "SrcValid" => (source_validation), "TransBlk" => (translation_blocking),
    "ReqRedir" => (request_redirect), "CmpltRedir" => (completion_redirect),
    "UpstreamFwd" => (upstream_forwarding), "EgressCtrl" => (egress_control),
    "DirectTrans" => (direct_translated),
});

impl AcsCapability {
    /// The number of bits in the Egress Control Vector: 1 to 256, or 0 without P2P Egress Control.
    #[must_use]
    pub const fn egress_control_bits(self) -> u16 {
        match (self.egress_control(), self.egress_control_vector_size()) {
            (false, _) => 0,
            (true, 0) => 256,
            (true, size) => size as u16,
        }
    }

    /// The controls that software can set on such a port, each of them set.
    #[must_use]
    pub const fn controls(self) -> AcsControl {
        AcsControl::from_bits(self.into_bits() & 0x7F)
    }
}

/// Where the Egress Control Vector holds the bit for a port number, or for a function number in a
/// multi-function device (PCIe 6.0 §7.7.11.4): the offset of a 32-bit register within the capability, and
/// the mask of the bit in it.
#[must_use]
pub const fn egress_control_bit(port: u8) -> (u16, u32) {
    (offset::EGRESS_CONTROL_VECTOR + (port / 32) as u16 * 4, 1 << (port % 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controls_that_linux_sets_on_a_switch_port() {
        assert_eq!(
            AcsControl::from_bits(0x1D).to_string(),
            "SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-"
        );
    }

    #[test]
    fn capability_of_a_switch_port_with_an_egress_vector() {
        // "ACSCap: SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl+ DirectTrans+",
        // vector of 8 bits.
        let capability = AcsCapability::from_bits(0x087F);
        assert_eq!(capability.egress_control_bits(), 8);
        assert_eq!(capability.controls().into_bits(), 0x7F);
    }

    #[test]
    fn size_of_the_egress_vector() {
        let none = AcsCapability::from_bits(0x0800);
        assert_eq!(none.egress_control_bits(), 0);
        let whole = AcsCapability::from_bits(0x0020);
        assert_eq!(whole.egress_control_bits(), 256);
        let most = AcsCapability::from_bits(0xFF20);
        assert_eq!(most.egress_control_bits(), 255);
    }

    #[test]
    fn bits_of_the_egress_vector() {
        assert_eq!(egress_control_bit(0), (0x08, 1));
        assert_eq!(egress_control_bit(31), (0x08, 1 << 31));
        assert_eq!(egress_control_bit(32), (0x0C, 1));
        assert_eq!(egress_control_bit(255), (0x24, 1 << 31));
    }
}
