//! Access Control Services as a function has them (PCIe 6.0 §6.12, §7.7.11).

use std::fmt;

use p2pdma_spec::pci::acs::{AcsCapability, AcsControl};

use super::Known;

/// The bits that the kernel's rule counts: RR, CR and EC.
pub const REDIRECTING: AcsControl = AcsControl::new()
    .with_request_redirect(true)
    .with_completion_redirect(true)
    .with_egress_control(true);

/// What Linux sets, as far as it is implemented, on every function that has the capability, once an
/// IOMMU driver asks for isolation: SV, RR, CR and UF.
pub const ISOLATING: AcsControl = AcsControl::new()
    .with_source_validation(true)
    .with_request_redirect(true)
    .with_completion_redirect(true)
    .with_upstream_forwarding(true);

/// One of the seven controls of ACS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AcsBit {
    /// SV, Source Validation.
    SourceValidation,
    /// TB, Translation Blocking.
    TranslationBlocking,
    /// RR, P2P Request Redirect.
    RequestRedirect,
    /// CR, P2P Completion Redirect.
    CompletionRedirect,
    /// UF, Upstream Forwarding.
    UpstreamForwarding,
    /// EC, P2P Egress Control.
    EgressControl,
    /// DT, Direct Translated P2P.
    DirectTranslated,
}

impl AcsBit {
    /// All seven, in the register's order.
    pub const ALL: [Self; 7] = [
        Self::SourceValidation,
        Self::TranslationBlocking,
        Self::RequestRedirect,
        Self::CompletionRedirect,
        Self::UpstreamForwarding,
        Self::EgressControl,
        Self::DirectTranslated,
    ];

    /// Its mask in the control register.
    #[must_use]
    pub const fn mask(self) -> u16 {
        1 << self as u16
    }

    /// Whether it is set in a control word.
    #[must_use]
    pub const fn is_set(self, control: AcsControl) -> bool {
        control.into_bits() & self.mask() != 0
    }

    /// A control word with this bit set too.
    #[must_use]
    pub const fn set(self, control: AcsControl) -> AcsControl {
        AcsControl::from_bits(control.into_bits() | self.mask())
    }

    /// The bits that are set in a control word, in the register's order.
    pub fn of(control: AcsControl) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |bit| bit.is_set(control))
    }

    /// Its two letters: `RR`.
    #[must_use]
    pub const fn mnemonic(self) -> &'static str {
        match self {
            Self::SourceValidation => "SV",
            Self::TranslationBlocking => "TB",
            Self::RequestRedirect => "RR",
            Self::CompletionRedirect => "CR",
            Self::UpstreamForwarding => "UF",
            Self::EgressControl => "EC",
            Self::DirectTranslated => "DT",
        }
    }

    /// Its name in `lspci -vvv`: `ReqRedir`.
    #[must_use]
    pub const fn lspci_name(self) -> &'static str {
        match self {
            Self::SourceValidation => "SrcValid",
            Self::TranslationBlocking => "TransBlk",
            Self::RequestRedirect => "ReqRedir",
            Self::CompletionRedirect => "CmpltRedir",
            Self::UpstreamForwarding => "UpstreamFwd",
            Self::EgressControl => "EgressCtrl",
            Self::DirectTranslated => "DirectTrans",
        }
    }

    /// The bit of a name, either its two letters or that of `lspci`, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is = |own: &str| own.eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(|bit| is(bit.mnemonic()) || is(bit.lspci_name()))
    }
}

impl fmt::Display for AcsBit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mnemonic())
    }
}

/// The egress control vector (PCIe 6.0 §7.7.11.4): a bit for each peer that may not be reached
/// directly, by port number in a port and by function number in a multi-function device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressVector {
    words: Vec<u32>,
}

impl EgressVector {
    /// A vector from its registers, the lowest numbers first.
    #[must_use]
    pub fn from_registers(words: Vec<u32>) -> Self {
        Self { words }
    }

    /// A vector that lists these peers.
    pub fn listing(peers: impl IntoIterator<Item = u8>) -> Self {
        let mut vector = Self::default();
        for peer in peers {
            let (word, bit) = (usize::from(peer / 32), peer % 32);
            if vector.words.len() <= word {
                vector.words.resize(word + 1, 0);
            }
            if let Some(bits) = vector.words.get_mut(word) {
                *bits |= 1 << bit;
            }
        }
        vector
    }

    /// Whether a peer is listed.
    #[must_use]
    pub fn lists(&self, peer: u8) -> bool {
        self.words.get(usize::from(peer / 32)).is_some_and(|bits| bits >> (peer % 32) & 1 != 0)
    }

    /// The registers, the lowest numbers first; trailing zeroes may be missing.
    #[must_use]
    pub fn registers(&self) -> &[u32] {
        &self.words
    }
}

/// A function's ACS capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acs {
    /// Where it lies in configuration space, so that the control word can be read again without
    /// walking the list; `None` if that was not recorded.
    pub offset: Option<u16>,
    /// What is implemented.
    pub capability: AcsCapability,
    /// What is switched on.
    pub control: AcsControl,
    /// The peers that egress control names.
    pub egress: Known<EgressVector>,
}

impl Acs {
    /// A capability that implements all seven controls and has these switched on; the egress vector
    /// has room for 256 peers and lists none.
    #[must_use]
    pub fn new(control: AcsControl) -> Self {
        let all = AcsBit::ALL.into_iter().fold(0, |all, bit| all | bit.mask());
        Self {
            offset: None,
            capability: AcsCapability::from_bits(all),
            control,
            egress: Known::Value(EgressVector::default()),
        }
    }

    /// The bits that redirect, as far as they are set: RR, CR and EC.
    #[must_use]
    pub const fn redirecting(&self) -> AcsControl {
        AcsControl::from_bits(self.control.into_bits() & REDIRECTING.into_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_lie_where_the_specification_puts_them() {
        let masks: Vec<u16> = AcsBit::ALL.iter().map(|bit| bit.mask()).collect();
        assert_eq!(masks, [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40]);
        assert_eq!(REDIRECTING.into_bits(), 0x2c);
        assert_eq!(ISOLATING.into_bits(), 0x1d);
        let set: Vec<AcsBit> = AcsBit::of(REDIRECTING).collect();
        assert_eq!(
            set,
            [AcsBit::RequestRedirect, AcsBit::CompletionRedirect, AcsBit::EgressControl]
        );
    }

    #[test]
    fn names_are_those_of_the_field() {
        for bit in AcsBit::ALL {
            assert_eq!(AcsBit::from_name(bit.mnemonic()), Some(bit));
            assert_eq!(AcsBit::from_name(&bit.lspci_name().to_lowercase()), Some(bit));
            let shown = bit.set(AcsControl::new()).to_string();
            assert!(shown.contains(&format!("{}+", bit.lspci_name())), "{shown}");
        }
        assert_eq!(AcsBit::from_name("XX"), None);
    }

    #[test]
    fn egress_vectors_list_peers() {
        let vector = EgressVector::listing([0, 33, 255]);
        assert_eq!(vector.registers().len(), 8);
        let listed: Vec<u8> = (0..=255).filter(|&peer| vector.lists(peer)).collect();
        assert_eq!(listed, [0, 33, 255]);
        assert!(!EgressVector::default().lists(0));
    }
}
