//! Transaction layer packets, as far as the fabric tells them apart.

use std::fmt;

use p2pdma_pci::Iova;

/// What a packet's payload is for, so that "payload bytes in host memory" is a measurement.
///
/// A label that the requester gives and the counters keep; no routing decision looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadClass {
    /// User data.
    Data,
    /// Queue entries, descriptors, lists, doorbells, registers.
    Control,
    /// Interrupt messages.
    Interrupt,
}

impl PayloadClass {
    /// All classes, in the order of the counters.
    pub const ALL: [Self; 3] = [Self::Data, Self::Control, Self::Interrupt];
}

/// The AT field of a memory request (PCIe 6.0 §10.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressType {
    /// 00b: an IOMMU on the way translates it.
    Untranslated,
    /// 10b: the device says that it has already been translated.
    Translated,
}

/// What a requester says of its packets, beside address and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// What the payload is for.
    pub class: PayloadClass,
    /// Whether the address is already translated.
    pub address_type: AddressType,
    /// The relaxed ordering attribute, which completions inherit (PCIe 6.0 §2.2.6.4).
    pub relaxed_ordering: bool,
    /// The requester ID to stamp instead of the sender's own: a forged one. Only attacks set it.
    pub forged_requester: Option<u16>,
}

impl Attributes {
    /// User data: untranslated, strongly ordered.
    pub const DATA: Self = Self::of(PayloadClass::Data);

    /// Queue entries and descriptors: untranslated, strongly ordered.
    pub const CONTROL: Self = Self::of(PayloadClass::Control);

    pub(crate) const INTERRUPT: Self = Self::of(PayloadClass::Interrupt);

    const fn of(class: PayloadClass) -> Self {
        Self {
            class,
            address_type: AddressType::Untranslated,
            relaxed_ordering: false,
            forged_requester: None,
        }
    }

    /// The same, with an address that is said to be translated.
    #[must_use]
    pub const fn translated(mut self) -> Self {
        self.address_type = AddressType::Translated;
        self
    }

    /// The same, with relaxed ordering.
    #[must_use]
    pub const fn relaxed(mut self) -> Self {
        self.relaxed_ordering = true;
        self
    }
}

/// The direction of a memory request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// A read request, answered by completions that carry the payload.
    Read,
    /// A posted write, which carries the payload and is never answered.
    Write,
}

/// How a request failed, as far as its requester can know.
///
/// A posted write that goes astray is *not* among them: nobody tells the writer. It shows in the error
/// counters, in the IOMMU's fault records and in the trace, as on hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{kind} at {at}")]
pub struct TlpError {
    /// The address of the packet that failed.
    pub at: Iova,
    /// What happened to it.
    pub kind: TlpErrorKind,
}

/// The kinds of failure that a requester can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlpErrorKind {
    /// Bus mastering is off, so nothing was sent (PCIe 6.0 §7.5.1.1.3).
    BusMasterDisabled,
    /// The link is down or the function was removed, so nothing was sent.
    LinkDown,
    /// A completion with status Unsupported Request: nobody decodes the address, or it was blocked.
    UnsupportedRequest,
    /// A completion with status Completer Abort.
    CompleterAbort,
    /// No completion came.
    CompletionTimeout,
    /// A completion whose data is marked as poisoned.
    Poisoned,
}

impl fmt::Display for TlpErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BusMasterDisabled => "bus mastering disabled",
            Self::LinkDown => "link down",
            Self::UnsupportedRequest => "unsupported request",
            Self::CompleterAbort => "completer abort",
            Self::CompletionTimeout => "completion timeout",
            Self::Poisoned => "poisoned data",
        })
    }
}
