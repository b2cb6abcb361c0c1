//! Root port registers (PCIe 6.0 §7.5.3.12 to §7.5.3.14).

use bitfield_struct::bitfield;

/// Root Control (PCIe 6.0 §7.5.3.12).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct RootControl {
    /// System Error on Correctable Error Enable.
    pub correctable: bool,
    /// System Error on Non-Fatal Error Enable.
    pub non_fatal: bool,
    /// System Error on Fatal Error Enable.
    pub fatal: bool,
    /// PME Interrupt Enable.
    pub pme_interrupt: bool,
    /// Configuration RRS Software Visibility Enable: software sees a function that asks for a retry.
    pub retry_visibility: bool,
    /// No NFM Subtree Below This Root Port.
    pub no_nfm_subtree: bool,
    #[bits(10)]
    __: u16,
}
display_words!(RootControl {
    "ErrCorrectable" => (correctable), "ErrNon-Fatal" => (non_fatal), "ErrFatal" => (fatal),
    "PMEIntEna" => (pme_interrupt), "CRSVisible" => (retry_visibility),
});

/// Root Capabilities (PCIe 6.0 §7.5.3.13).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct RootCapabilities {
    /// Configuration RRS Software Visibility.
    pub retry_visibility: bool,
    #[bits(15)]
    __: u16,
}
display_words!(RootCapabilities { "CRSVisible" => (retry_visibility) });

/// Root Status (PCIe 6.0 §7.5.3.14).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RootStatus {
    /// PME Requester ID.
    pub pme_requester_id: u16,
    /// PME Status, cleared by writing 1.
    pub pme_status: bool,
    /// PME Pending: another one is waiting.
    pub pme_pending: bool,
    #[bits(14)]
    __: u16,
}
display_words!(RootStatus {
    "PME ReqID" => hex(pme_requester_id), "PMEStatus" => (pme_status), "PMEPending" => (pme_pending),
});
