//! End-to-end data protection with the 16-bit guard (NVM Command Set 1.1 §5.3).

use crc_fast::{CrcAlgorithm, Digest};
use p2pdma_spec::nvme::nvm::LogicalBlockTags;
use p2pdma_spec::nvme::protection::{
    APPLICATION_TAG_ESCAPE, Prinfo, ProtectionInfo16, ProtectionType,
};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::namespace::Format;

/// Bytes of the protection information of a block.
pub(crate) const INFO_SIZE: u32 = 8;

/// The reference tag that switches checking of type 3 off, together with the application tag.
const REFERENCE_TAG_ESCAPE: u32 = u32::MAX;

/// What a command says about protection, and the namespace's type.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Protection {
    pub(crate) prinfo: Prinfo,
    /// The reference tag of the command's first block.
    reference_tag: u32,
    tag: u16,
    mask: u16,
}

impl Protection {
    /// Reads the fields of a read, write, compare or verify; `first` is its first LBA.
    pub(crate) fn parse(
        format: &Format,
        prinfo: Prinfo,
        entry: &SubmissionEntry,
        first: u64,
    ) -> Result<Self, Status> {
        let tags = LogicalBlockTags::from(entry.cdw15);
        Self::new(format, prinfo, entry.cdw14.get(), tags, first)
    }

    pub(crate) fn new(
        format: &Format,
        prinfo: Prinfo,
        reference_tag: u32,
        tags: LogicalBlockTags,
        first: u64,
    ) -> Result<Self, Status> {
        let low = u32::try_from(first & 0xFFFF_FFFF).unwrap_or_default();
        let refused = prinfo.check_reference()
            && match format.protection {
                ProtectionType::TYPE_1 => reference_tag != low,
                ProtectionType::TYPE_3 => true,
                _ => false,
            };
        if refused {
            return Err(Status::INVALID_PROTECTION_INFORMATION);
        }
        Ok(Self { prinfo, reference_tag, tag: tags.lbat(), mask: tags.lbatm() })
    }

    /// The reference tag of the command's block number `index`: types 1 and 2 count.
    fn expected_reference(&self, format: &Format, index: u32) -> u32 {
        if format.protection == ProtectionType::TYPE_3 {
            self.reference_tag
        } else {
            self.reference_tag.wrapping_add(index)
        }
    }

    /// Checks a block as PRCHK asks. `index`: which block of the command it is.
    pub(crate) fn check(&self, format: &Format, block: &[u8], index: u32) -> Result<(), Status> {
        let Ok(info) = ProtectionInfo16::read_from_bytes(&block[format.info_range()]) else {
            return Err(Status::INTERNAL_ERROR);
        };
        let (tag, reference) = (info.application_tag.get(), info.reference_tag.get());
        let escaped = tag == APPLICATION_TAG_ESCAPE
            && (format.protection != ProtectionType::TYPE_3 || reference == REFERENCE_TAG_ESCAPE);
        if escaped {
            return Ok(());
        }
        if self.prinfo.check_guard() && info.guard.get() != guard(format, block) {
            return Err(Status::GUARD_CHECK_ERROR);
        }
        if self.prinfo.check_application() && tag & self.mask != self.tag & self.mask {
            return Err(Status::APPLICATION_TAG_CHECK_ERROR);
        }
        let expected = self.expected_reference(format, index);
        if self.prinfo.check_reference() && reference != expected {
            return Err(Status::REFERENCE_TAG_CHECK_ERROR);
        }
        Ok(())
    }

    /// Puts a block's protection information where it belongs, as PRACT asks.
    pub(crate) fn insert(&self, format: &Format, block: &mut [u8], index: u32) {
        let info = ProtectionInfo16 {
            guard: guard(format, block).into(),
            application_tag: self.tag.into(),
            reference_tag: self.expected_reference(format, index).into(),
        };
        block[format.info_range()].copy_from_slice(info.as_bytes());
    }
}

/// The guard covers the data, and the metadata before the information if that comes last
/// (NVM Command Set 1.1 §5.3.1.1).
fn guard(format: &Format, block: &[u8]) -> u16 {
    let covered =
        if format.information_first { format.data as usize } else { format.info_range().start };
    let mut digest = Digest::new(CrcAlgorithm::Crc16T10Dif);
    digest.update(&block[..covered]);
    u16::try_from(digest.finalize() & 0xFFFF).unwrap_or_default()
}

/// Between a command and the medium the information is inverted, so that a block that was never written
/// or was deallocated, all zeroes there, has information of all ones: the escape values, with which
/// nothing is checked (NVM Command Set 1.1 §5.3.3).
pub(crate) fn invert(format: &Format, block: &mut [u8]) {
    if format.protection != ProtectionType::NONE {
        for byte in &mut block[format.info_range()] {
            *byte = !*byte;
        }
    }
}
