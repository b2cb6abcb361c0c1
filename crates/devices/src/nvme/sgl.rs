//! Scatter Gather Lists, walked (NVMe Base 2.1 §4.3.2).

use p2pdma_spec::nvme::sgl::{DESCRIPTOR_SIZE, Sgl, SglDescriptor};
use p2pdma_spec::nvme::status::Status;
use zerocopy::IntoBytes as _;

use super::dma::{Dma, Use};
use super::segments::Segments;

/// How many descriptors one command may have in all. A chain that makes no progress ends here.
pub(crate) const MAX_DESCRIPTORS: u32 = 8192;
/// How many are read at a time, at most.
const READ_AHEAD: u32 = 256;

/// Finds the memory of `len` bytes that begin with the descriptor `first`.
///
/// Every descriptor is read once, in runs. An SGL that describes more than the data is accepted: what
/// is left of it is not looked at. `too_short` is the status if it describes less.
pub(crate) fn walk(
    dma: &mut Dma<'_, '_>,
    first: SglDescriptor,
    len: u32,
    usage: Use,
    too_short: Status,
    segments: &mut Segments,
) -> Result<(), Status> {
    segments.clear();
    let mut walker = Walker { rest: len, usage, segments };
    let mut next = match walker.descriptor(dma, first)? {
        Some(next) => next,
        None if walker.rest == 0 => return Ok(()),
        None => return Err(too_short),
    };
    let mut budget = MAX_DESCRIPTORS;
    loop {
        let count = next.len / DESCRIPTOR_SIZE;
        let mut done = 0;
        let mut found = None;
        while done < count && walker.rest > 0 {
            let batch = (count - done).min(READ_AHEAD);
            budget = budget.checked_sub(batch).ok_or(Status::INVALID_NUMBER_OF_SGL_DESCRIPTORS)?;
            let mut descriptors = [SglDescriptor::default(); READ_AHEAD as usize];
            let descriptors = &mut descriptors[..batch as usize];
            let at = next.at.saturating_add(u64::from(done * DESCRIPTOR_SIZE));
            dma.own().check(at, u64::from(batch * DESCRIPTOR_SIZE), Use::List)?;
            dma.read_control(at, descriptors.as_mut_bytes())?;
            for descriptor in descriptors {
                done += 1;
                if walker.rest == 0 {
                    break;
                }
                found = walker.descriptor(dma, *descriptor)?;
                match found {
                    Some(_) if next.last => return Err(Status::INVALID_SGL_SEGMENT_DESCRIPTOR),
                    Some(_) if done < count => {
                        return Err(Status::INVALID_NUMBER_OF_SGL_DESCRIPTORS);
                    }
                    _ => {}
                }
            }
        }
        next = match found {
            _ if walker.rest == 0 => return Ok(()),
            Some(segment) => segment,
            None if next.last => return Err(too_short),
            // A Segment descriptor said that another segment follows, and none does.
            None => return Err(Status::INVALID_SGL_SEGMENT_DESCRIPTOR),
        };
    }
}

/// A segment of descriptors.
#[derive(Debug, Clone, Copy)]
struct Next {
    at: u64,
    /// In bytes: a positive multiple of 16.
    len: u32,
    last: bool,
}

struct Walker<'a> {
    rest: u32,
    usage: Use,
    segments: &'a mut Segments,
}

impl Walker<'_> {
    /// Does what a descriptor says, or returns the segment to which it leads.
    fn descriptor(
        &mut self,
        dma: &Dma<'_, '_>,
        descriptor: SglDescriptor,
    ) -> Result<Option<Next>, Status> {
        let (at, len, last) = match descriptor.decode() {
            Sgl::DataBlock { address, length } => {
                if address.checked_add(u64::from(length)).is_none() {
                    return Err(Status::DATA_TRANSFER_ERROR);
                }
                let len = length.min(self.rest);
                if len > 0 {
                    self.segments.push(dma, address, len, self.usage)?;
                }
                self.rest -= len;
                return Ok(None);
            }
            // As a source it is as if it were not there.
            Sgl::BitBucket { .. } if self.usage == Use::WriteData => return Ok(None),
            Sgl::BitBucket { length } => {
                let len = length.min(self.rest);
                self.segments.push_bucket(len);
                self.rest -= len;
                return Ok(None);
            }
            Sgl::Segment { address, length } => (address, length, false),
            Sgl::LastSegment { address, length } => (address, length, true),
            Sgl::KeyedDataBlock { .. } | Sgl::TransportDataBlock { .. } | Sgl::Other(_) => {
                return Err(Status::SGL_DESCRIPTOR_TYPE_INVALID);
            }
        };
        let fits = at.checked_add(u64::from(len)).is_some();
        if len == 0 || !len.is_multiple_of(DESCRIPTOR_SIZE) || !fits {
            return Err(Status::INVALID_SGL_SEGMENT_DESCRIPTOR);
        }
        Ok(Some(Next { at, len, last }))
    }
}
