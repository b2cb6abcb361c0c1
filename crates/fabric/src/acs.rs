//! Access control services: the decisions of one port or function (PCIe 6.0 §6.12).

use crate::tree::Acs;

/// What becomes of a request that would turn to a peer here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It goes straight to the peer.
    Direct,
    /// It is sent on towards the root.
    Redirect,
    /// It is an ACS violation.
    Block,
}

impl Acs {
    /// Decides over a request to the peer behind port or function number `egress` (PCIe 6.0 §6.12.3:
    /// the interplay of P2P Request Redirect, Egress Control and Direct Translated P2P).
    pub(crate) fn request(&self, translated: bool, egress: u8) -> Peer {
        let control = self.control;
        if control.direct_translated() && translated {
            return Peer::Direct;
        }
        let guarded = self.egress.checked_shr(u32::from(egress)).unwrap_or(0) & 1 != 0;
        match (control.request_redirect(), control.egress_control()) {
            (false, false) => Peer::Direct,
            (true, false) => Peer::Redirect,
            (_, true) if !guarded => Peer::Direct,
            (true, true) => Peer::Redirect,
            (false, true) => Peer::Block,
        }
    }

    /// Whether a completion that would turn to a peer here is sent on towards the root instead.
    pub(crate) fn redirects_completion(&self, relaxed_ordering: bool) -> bool {
        self.control.completion_redirect() && !relaxed_ordering
    }

    /// Whether a packet whose way leads back down the port it came up is sent on towards the root.
    pub(crate) fn forwards_upstream(&self) -> bool {
        self.control.upstream_forwarding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2pdma_spec::pci::acs::AcsControl;

    /// Every combination of the controls that matter to a peer request, against the specification's
    /// table written out: RR, EC, vector bit, DT, translated.
    #[test]
    fn the_table_of_request_redirect_and_egress_control() {
        let expected = |rr: bool, ec: bool, guarded: bool| match (rr, ec, guarded) {
            (false, false, _) | (false, true, false) | (true, true, false) => Peer::Direct,
            (false, true, true) => Peer::Block,
            (true, false, _) | (true, true, true) => Peer::Redirect,
        };
        for bits in 0..32_u8 {
            let bit = |at: u8| bits >> at & 1 != 0;
            let (rr, ec, guarded, dt, translated) = (bit(0), bit(1), bit(2), bit(3), bit(4));
            let control = AcsControl::new()
                .with_request_redirect(rr)
                .with_egress_control(ec)
                .with_direct_translated(dt);
            let acs = Acs { control, egress: u64::from(guarded) << 5 };
            let wanted = if dt && translated { Peer::Direct } else { expected(rr, ec, guarded) };
            assert_eq!(acs.request(translated, 5), wanted, "{control:?} {guarded} {translated}");
        }
    }
}
