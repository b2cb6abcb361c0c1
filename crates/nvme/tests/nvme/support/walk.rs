//! Reads a data pointer as the specification describes it, one entry at a time: the second opinion on the
//! lists that the driver builds.

use p2pdma_spec::nvme::queue::{DataTransfer, SubmissionEntry};
use p2pdma_spec::nvme::sgl::{Sgl, SglDescriptor};
use zerocopy::FromBytes as _;

const PAGE: u64 = 4096;

/// A piece of a transfer: bytes in memory, or bytes to throw away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Memory(u64, u64),
    Bucket(u64),
}

/// The pieces of a transfer of `len` bytes, in order. `read` returns 8 or 16 bytes of a list.
///
/// # Errors
/// Which rule the pointer breaks.
pub(crate) fn pieces(
    entry: &SubmissionEntry,
    len: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
) -> Result<Vec<Piece>, String> {
    match entry.cdw0.get().psdt() {
        DataTransfer::PRP => prp(entry.dptr.prp1.address(), entry.dptr.prp2.address(), len, read),
        DataTransfer::SGL_METADATA_BUFFER => sgl(entry.dptr.as_sgl(), len, read),
        other => Err(format!("PSDT {other}")),
    }
}

/// NVMe Base 2.1 §4.3.1.
fn prp(
    prp1: u64,
    prp2: u64,
    len: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
) -> Result<Vec<Piece>, String> {
    if !prp1.is_multiple_of(4) {
        return Err(format!("PRP1 {prp1:#x} has an offset that is no multiple of 4"));
    }
    let mut pieces = Vec::new();
    let first = len.min(PAGE - prp1 % PAGE);
    pieces.push(Piece::Memory(prp1, first));
    let mut rest = len - first;
    if rest == 0 {
        return Ok(pieces);
    }
    if rest <= PAGE {
        if !prp2.is_multiple_of(PAGE) {
            return Err(format!("PRP2 {prp2:#x} has an offset"));
        }
        pieces.push(Piece::Memory(prp2, rest));
        return Ok(pieces);
    }
    if !prp2.is_multiple_of(8) {
        return Err(format!("PRP list {prp2:#x} is not aligned to 8 bytes"));
    }
    let mut at = prp2;
    while rest > 0 {
        let mut bytes = [0; 8];
        if !read(at, &mut bytes) {
            return Err(format!("PRP list cannot be read at {at:#x}"));
        }
        let entry = u64::from_le_bytes(bytes);
        if !entry.is_multiple_of(PAGE) {
            return Err(format!("PRP list entry {entry:#x} at {at:#x} has an offset"));
        }
        let last_of_page = (at + 8).is_multiple_of(PAGE);
        if last_of_page && rest > PAGE {
            at = entry;
            continue;
        }
        let piece = rest.min(PAGE);
        pieces.push(Piece::Memory(entry, piece));
        rest -= piece;
        at += 8;
    }
    Ok(pieces)
}

/// NVMe Base 2.1 §4.3.2.
fn sgl(
    first: SglDescriptor,
    len: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut segment = vec![first];
    let mut last = false;
    let mut hops = 0;
    loop {
        let mut next = None;
        let count = segment.len();
        for (index, descriptor) in segment.iter().enumerate() {
            match descriptor.decode() {
                Sgl::DataBlock { address, length } => {
                    pieces.push(Piece::Memory(address, length.into()));
                }
                Sgl::BitBucket { length } => pieces.push(Piece::Bucket(length.into())),
                Sgl::Segment { address, length } if index + 1 == count && !last => {
                    next = Some((address, length, false));
                }
                Sgl::LastSegment { address, length } if index + 1 == count && !last => {
                    next = Some((address, length, true));
                }
                other => return Err(format!("descriptor {index} of {count} is {other:?}")),
            }
        }
        let Some((address, length, is_last)) = next else { break };
        hops += 1;
        if length == 0 || !length.is_multiple_of(16) || hops > 64 {
            return Err(format!("segment of {length} bytes after {hops} hops"));
        }
        last = is_last;
        segment.clear();
        for offset in (0..u64::from(length)).step_by(16) {
            let mut bytes = [0; 16];
            if !read(address + offset, &mut bytes) {
                return Err(format!("segment cannot be read at {:#x}", address + offset));
            }
            segment.push(SglDescriptor::read_from_bytes(&bytes).unwrap());
        }
    }
    let sum = |piece: &Piece| match piece {
        Piece::Memory(_, len) | Piece::Bucket(len) => *len,
    };
    let total: u64 = pieces.iter().map(sum).sum();
    if total == len { Ok(pieces) } else { Err(format!("{total} bytes instead of {len}")) }
}
