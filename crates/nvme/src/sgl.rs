//! Scatter gather lists: for data whose pieces are no whole pages (NVMe Base 2.1 §4.3.2).

use p2pdma_spec::nvme::identify::{IdentifyController, SglSupport};
use p2pdma_spec::nvme::queue::DataPointer;
use p2pdma_spec::nvme::sgl::{DESCRIPTOR_SIZE, SglDescriptor};
use zerocopy::IntoBytes as _;

use crate::data::{ListSlot, SglSegment};
use crate::{Error, Segment};

/// What a controller takes in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SglLimits {
    /// What addresses and lengths must be multiples of; 0 if there is no support at all.
    align: u64,
    /// Whether data that are read can be thrown away.
    pub(crate) bit_bucket: bool,
    /// The most descriptors of data blocks; 0 for no limit.
    max_blocks: u8,
}

impl SglLimits {
    /// What Identify Controller says. A reserved code counts as no support.
    pub(crate) fn new(identify: &IdentifyController) -> Self {
        let sgls = identify.sgls.get();
        let align = match sgls.support() {
            SglSupport::ANY_ALIGNMENT => 1,
            SglSupport::DWORD_ALIGNMENT => 4,
            _ => 0,
        };
        Self { align, bit_bucket: sgls.bit_bucket(), max_blocks: identify.msdbd }
    }

    /// Whether the controller takes lists.
    pub(crate) fn supported(self) -> bool {
        self.align != 0
    }
}

/// The length of all pieces in bytes.
pub(crate) fn len(segments: &[SglSegment]) -> u64 {
    let len = |segment: &SglSegment| match segment {
        SglSegment::Block(block) => block.len,
        SglSegment::BitBucket(len) => u64::from(*len),
    };
    segments.iter().map(len).fold(0, u64::saturating_add)
}

/// The pointer to a list: the descriptor itself if there is one, else that of the only segment, which is
/// the last.
pub(crate) fn build(
    segments: &[SglSegment],
    limits: SglLimits,
    list: ListSlot<'_>,
) -> Result<DataPointer, Error> {
    let blocks = segments.iter().filter(|segment| matches!(segment, SglSegment::Block(_))).count();
    let most = if limits.max_blocks == 0 { usize::MAX } else { limits.max_blocks.into() };
    if blocks > most {
        return Err(Error::TooManySegments { count: blocks, most });
    }
    if let [segment] = segments {
        return Ok(DataPointer::sgl(descriptor(segment, limits)?));
    }
    let most = list.len() / DESCRIPTOR_SIZE as usize;
    let count = segments.len();
    if count > most || count == 0 {
        return Err(Error::TooManySegments { count, most });
    }
    let mut at = 0;
    for segment in segments {
        list.write(at, descriptor(segment, limits)?.as_bytes())?;
        at += DESCRIPTOR_SIZE as usize;
    }
    let len = u32::try_from(at).map_err(|_| Error::TooManySegments { count, most })?;
    Ok(DataPointer::sgl(SglDescriptor::last_segment(list.address(0)?, len)))
}

fn descriptor(segment: &SglSegment, limits: SglLimits) -> Result<SglDescriptor, Error> {
    match *segment {
        SglSegment::Block(block @ Segment { iova, len }) => {
            block.last()?;
            let align = limits.align.max(1);
            if !iova.0.is_multiple_of(align) || !len.is_multiple_of(align) {
                let what = "a data block";
                return Err(Error::Misaligned { what, iova, len, align });
            }
            let most = u64::from(u32::MAX);
            let short = u32::try_from(len).map_err(|_| Error::TooLong { len, most })?;
            Ok(SglDescriptor::data_block(iova.0, short))
        }
        SglSegment::BitBucket(len) => Ok(SglDescriptor::bit_bucket(len)),
    }
}

#[cfg(test)]
mod tests;
