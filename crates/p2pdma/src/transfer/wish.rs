//! What a transfer is asked for, before anything is known of how.

use std::fmt;
use std::sync::Arc;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::ReasonCode;

use crate::platform::ProviderId;
use crate::transfer::Policy;

/// One end of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// A device that starts requests: an SSD.
    Client(Bdf),
    /// A volume over several devices, each of which starts requests: an md array, a multipath head.
    Volume(Arc<[Bdf]>),
    /// Memory of a device, which only answers them.
    Memory(ProviderId),
    /// The host: a file, a pattern.
    Host,
}

impl End {
    /// The devices that start requests.
    #[must_use]
    pub fn clients(&self) -> &[Bdf] {
        match self {
            Self::Client(bdf) => std::slice::from_ref(bdf),
            Self::Volume(all) => all,
            Self::Memory(_) | Self::Host => &[],
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(bdf) => bdf.fmt(f),
            Self::Volume(all) if all.is_empty() => f.write_str("a volume"),
            Self::Volume(all) => {
                for (index, bdf) in all.iter().enumerate() {
                    let separator = if index > 0 { "+" } else { "" };
                    write!(f, "{separator}{bdf}")?;
                }
                Ok(())
            }
            Self::Memory(provider) => provider.fmt(f),
            Self::Host => f.write_str("the host"),
        }
    }
}

/// What keeps an end from any peer-to-peer transfer, whatever the memory: an element of its stack of block
/// devices, or its file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// The end: `/dev/dm-0`, `./file`.
    pub end: String,
    /// What does not pass it: `dm-0`, `the file system (btrfs)`.
    pub element: String,
    /// Why.
    pub code: ReasonCode,
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { end, element, .. } = self;
        write!(f, "{element} does not pass peer-to-peer transfers of {end} on")
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Where bytes come from.
    pub source: End,
    /// Where they go.
    pub sink: End,
    /// The memory to use; `None` lets the plan choose.
    pub via: Option<ProviderId>,
    /// The least memory that is of use: one block, in bytes.
    pub block: u64,
    /// What to do without a path.
    pub policy: Policy,
    /// What keeps one of the ends from peer-to-peer transfers, as its platform found.
    pub barrier: Option<Barrier>,
}
