//! How transfers are cut into packets.

use p2pdma_spec::pci::express::TlpSize;

use crate::tlp::Access;

/// Bytes on the wire beside the payload of a memory write: 2 framing + 2 sequence number + 16 header
/// with a 64-bit address + 4 LCRC, rounded as pcie-bench does (SIGCOMM 2018, §3).
const WRITE_OVERHEAD: u64 = 24;
/// The same for a completion, whose header has 12 bytes.
const COMPLETION_OVERHEAD: u64 = 20;
/// A read request carries nothing else.
const READ_REQUEST: u64 = 24;

/// The largest payload and read request that Device Control allows (PCIe 6.0 §7.5.3.4): powers of two, kept
/// as shifts because every transfer divides by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packets {
    payload_shift: u32,
    request_shift: u32,
}

/// The packets of a transfer that go in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Burst {
    /// Posted writes with their payload.
    Writes,
    /// Read requests.
    Requests,
    /// Completions with the payload that was read.
    Completions,
}

impl Packets {
    pub(crate) fn new(max_payload: TlpSize, max_read_request: TlpSize) -> Self {
        // A reserved code means the smallest size, which every function supports.
        let shift = |size: TlpSize| size.bytes().unwrap_or(128).trailing_zeros();
        Self { payload_shift: shift(max_payload), request_shift: shift(max_read_request) }
    }

    /// The requests of this function, and the completions of another one that answers them: who sends a
    /// payload cuts it (PCIe 6.0 §2.2.2).
    pub(crate) fn answered_by(self, completer: Self) -> Self {
        Self { payload_shift: completer.payload_shift, ..self }
    }

    /// How many of `len` bytes, at least one, the first packet of a request carries or asks for: none passes
    /// a multiple of 4 KiB (PCIe 6.0 §2.2.7.1).
    pub(crate) fn first(self, access: Access, at: u64, len: u64) -> u16 {
        let shift = match access {
            Access::Read => self.request_shift,
            Access::Write => self.payload_shift,
        };
        let most = (1 << shift).min(4096 - at % 4096).min(len);
        u16::try_from(most).unwrap_or(4096)
    }

    /// How many packets carry `len` bytes.
    #[inline]
    pub(crate) fn payloads(self, len: u64) -> u64 {
        pieces(len, self.payload_shift)
    }

    /// How many requests ask for `len` bytes.
    #[inline]
    pub(crate) fn read_requests(self, len: u64) -> u64 {
        pieces(len, self.request_shift)
    }

    /// The bytes on the wire of the first packet and of all packets of a transfer of `len` bytes.
    pub(super) fn wire(self, burst: Burst, len: u64) -> (u64, u64) {
        let loaded = |overhead: u64| {
            let packets = self.payloads(len);
            let first = len.min(1 << self.payload_shift);
            (first + overhead, len.saturating_add(packets.saturating_mul(overhead)))
        };
        match burst {
            Burst::Writes => loaded(WRITE_OVERHEAD),
            Burst::Completions => loaded(COMPLETION_OVERHEAD),
            Burst::Requests => (READ_REQUEST, self.read_requests(len) * READ_REQUEST),
        }
    }
}

impl Default for Packets {
    /// What Device Control says after a reset.
    fn default() -> Self {
        Self::new(TlpSize::B128, TlpSize::B512)
    }
}

/// How many pieces of `1 << shift` bytes there are in `len` bytes, the last one counted in full.
#[inline]
fn pieces(len: u64, shift: u32) -> u64 {
    len.saturating_add((1 << shift) - 1) >> shift
}
