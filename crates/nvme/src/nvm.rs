//! Commands of the NVM Command Set (NVM Command Set 1.1 §3.3), built step by step.

use p2pdma_mem::OutOfBounds;
use p2pdma_pci::DmaBuffer;
use p2pdma_spec::nvme::nvm::{
    CopyCdw12, CopyFormat, CopyRange0, CopyRange1, CopyRange2, CopyRange3, DatasetManagementCdw10,
    DatasetManagementCdw11, LogicalBlockTags, MAX_DATASET_RANGES, NvmOpcode, ReadWriteCdw12,
    WriteZeroesCdw12,
};
use p2pdma_spec::nvme::protection::Prinfo;
use p2pdma_spec::nvme::queue::{DataPointer, SubmissionEntry};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::namespace::{BlockFormat, Moved};
use crate::prp::Places;
use crate::{Error, Namespace, Segment};

/// An I/O command without its data.
///
/// It is plain data: it can be kept, copied and submitted any number of times.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    pub(crate) entry: SubmissionEntry,
    /// Bytes that its data pointer describes.
    pub(crate) data: u64,
    /// Bytes of separate metadata that it moves.
    pub(crate) metadata: u64,
    /// Bytes of separate metadata that it was given.
    given: u64,
    /// Where its data may begin to be all in one page, if they are all that it moves.
    pub(crate) places: Places,
    /// What it moves, as far as that depends on the format.
    blocks: u32,
    format: BlockFormat,
}

impl Command {
    /// Any command that moves `data` bytes, at most 2^48: of `entry` all but the data pointer and the
    /// identifier count.
    #[must_use]
    pub fn raw(entry: SubmissionEntry, data: u64) -> Self {
        let entry = SubmissionEntry { dptr: DataPointer::default(), ..entry };
        let format = BlockFormat::default();
        let places = Places::NONE;
        let command = Self { entry, data: 0, metadata: 0, given: 0, places, blocks: 0, format };
        command.moving(Moved { data: data.min(MAX_DATA), metadata: 0 })
    }

    /// The same, moving so much.
    #[inline]
    fn moving(mut self, moved: Moved) -> Self {
        (self.data, self.metadata) = (moved.data, moved.metadata);
        let alone = moved.metadata == 0;
        self.places = if alone { Places::of(moved.data) } else { Places::NONE };
        self
    }

    /// From now on it is about the blocks from `slba` on, if it is a command that names a first block:
    /// one that is submitted again and again need not be built again.
    #[inline]
    pub fn aim(&mut self, slba: u64) {
        self.entry.set_cdw10_11(slba);
    }

    /// How many bytes its data pointer has to describe.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.data
    }

    /// How many bytes of separate metadata it moves.
    #[must_use]
    pub fn metadata_len(&self) -> u64 {
        self.metadata
    }

    /// The entry, data pointer and identifier not set.
    #[must_use]
    pub fn entry(&self) -> &SubmissionEntry {
        &self.entry
    }

    /// Moves separate metadata to or from `segment`, which the controller sees at one run of addresses.
    #[must_use]
    pub fn metadata(mut self, segment: Segment) -> Self {
        self.entry.mptr = U64::new(segment.iova.0);
        self.given = segment.len;
        self
    }

    /// Force unit access: data are on the medium, or come from it, before the command completes.
    #[must_use]
    pub fn force_unit_access(mut self) -> Self {
        let cdw12 = ReadWriteCdw12::from(self.entry.cdw12).with_fua(true);
        self.entry.cdw12 = cdw12.into();
        self
    }

    /// Limited retry: the controller gives up early.
    #[must_use]
    pub fn limited_retry(mut self) -> Self {
        let cdw12 = ReadWriteCdw12::from(self.entry.cdw12).with_lr(true);
        self.entry.cdw12 = cdw12.into();
        self
    }

    /// Write Zeroes: the controller should deallocate the blocks.
    #[must_use]
    pub fn deallocating(mut self) -> Self {
        let cdw12 = WriteZeroesCdw12::from(self.entry.cdw12).with_deac(true);
        self.entry.cdw12 = cdw12.into();
        self
    }

    /// What is checked of the protection information, and whether the controller makes it itself: then
    /// metadata that are nothing else are not moved (NVM Command Set 1.1 §5.3.2).
    #[must_use]
    pub fn protection(mut self, prinfo: Prinfo) -> Self {
        let cdw12 = ReadWriteCdw12::from(self.entry.cdw12).with_prinfo(prinfo);
        self.entry.cdw12 = cdw12.into();
        if self.data > 0 || self.metadata > 0 {
            self = self.moving(self.format.moved(self.blocks, prinfo.pract()));
        }
        self
    }

    /// Checks the storage tag too.
    #[must_use]
    pub fn check_storage_tag(mut self) -> Self {
        let cdw12 = ReadWriteCdw12::from(self.entry.cdw12).with_stc(true);
        self.entry.cdw12 = cdw12.into();
        self
    }

    /// The initial reference tag, below the storage tag if the format has one: 32, 48 or 80 bits, as
    /// many as the format has (NVM Command Set 1.1 §5.3.1.4).
    #[must_use]
    pub fn reference_tag(mut self, storage_and_reference: u128) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, ..] = storage_and_reference.to_le_bytes();
        self.entry.cdw14 = U32::from_bytes([a, b, c, d]);
        self.entry.cdw3 = U32::from_bytes([e, f, g, h]);
        self.entry.cdw2 = U32::from_bytes([i, j, 0, 0]);
        self
    }

    /// The application tag, and which of its bits are checked.
    #[must_use]
    pub fn application_tag(mut self, tag: u16, mask: u16) -> Self {
        self.entry.cdw15 = LogicalBlockTags::new().with_lbat(tag).with_lbatm(mask).into();
        self
    }

    /// Whether the metadata that the command moves were given, at a place where they can be.
    pub(crate) fn check_metadata(&self) -> Result<(), Error> {
        let (expected, actual) = (self.metadata, self.given);
        if expected == 0 {
            return Ok(());
        }
        if actual < expected {
            return Err(Error::Length { what: "metadata", expected, actual });
        }
        let segment = Segment::new(p2pdma_pci::Iova(self.entry.mptr.get()), actual);
        segment.last()?;
        if !segment.iova.0.is_multiple_of(4) {
            let (iova, len) = (segment.iova, segment.len);
            return Err(Error::Misaligned { what: "metadata", iova, len, align: 4 });
        }
        Ok(())
    }
}

/// Fails unless `count` is 1 to `most`; else returns it minus 1, as wire formats have it.
#[inline]
fn zero_based<T: TryFrom<u64>>(what: &'static str, count: u64, most: u64) -> Result<T, Error> {
    let error = Error::Count { what, count, most };
    match count.checked_sub(1) {
        Some(count_z) if count <= most => T::try_from(count_z).map_err(|_| error),
        _ => Err(error),
    }
}

/// More than any command moves: 65 536 blocks of 1 GiB with 64 KiB of metadata each, and so a length that
/// can be added to an address and wrap at most once.
pub(crate) const MAX_DATA: u64 = 1 << 48;

/// The most blocks of a command: NLB has 16 bits.
const MAX_BLOCKS: u64 = 1 << 16;

/// Commands of a namespace. Whether the blocks exist is for the controller to say: the namespace may have
/// changed since it was asked about.
impl Namespace {
    #[inline]
    fn blocks(&self, opcode: NvmOpcode, slba: u64, blocks: u32) -> Result<Command, Error> {
        let nlb_z = zero_based("blocks", blocks.into(), MAX_BLOCKS)?;
        let mut entry = SubmissionEntry::new(opcode, self.nsid());
        entry.set_cdw10_11(slba);
        entry.cdw12 = ReadWriteCdw12::new().with_nlb_z(nlb_z).into();
        let format = *self.format();
        let places = Places::NONE;
        Ok(Command { entry, data: 0, metadata: 0, given: 0, places, blocks, format })
    }

    #[inline]
    fn moving(&self, opcode: NvmOpcode, slba: u64, blocks: u32) -> Result<Command, Error> {
        let command = self.blocks(opcode, slba, blocks)?;
        Ok(command.moving(command.format.moved(blocks, false)))
    }

    /// Reads 1 to 65 536 blocks.
    ///
    /// # Errors
    /// [`Error::Count`].
    #[inline]
    pub fn read(&self, slba: u64, blocks: u32) -> Result<Command, Error> {
        self.moving(NvmOpcode::READ, slba, blocks)
    }

    /// Writes 1 to 65 536 blocks.
    ///
    /// # Errors
    /// [`Error::Count`].
    #[inline]
    pub fn write(&self, slba: u64, blocks: u32) -> Result<Command, Error> {
        self.moving(NvmOpcode::WRITE, slba, blocks)
    }

    /// Compares 1 to 65 536 blocks with data from the host.
    ///
    /// # Errors
    /// [`Error::Count`].
    pub fn compare(&self, slba: u64, blocks: u32) -> Result<Command, Error> {
        self.moving(NvmOpcode::COMPARE, slba, blocks)
    }

    /// Makes everything that was written before durable.
    #[must_use]
    pub fn flush(&self) -> Command {
        Command::raw(SubmissionEntry::new(NvmOpcode::FLUSH, self.nsid()), 0)
    }

    /// Sets 1 to 65 536 blocks to zero.
    ///
    /// # Errors
    /// [`Error::Count`].
    pub fn write_zeroes(&self, slba: u64, blocks: u32) -> Result<Command, Error> {
        self.blocks(NvmOpcode::WRITE_ZEROES, slba, blocks)
    }

    /// Makes 1 to 65 536 blocks unreadable until they are written.
    ///
    /// # Errors
    /// [`Error::Count`].
    pub fn write_uncorrectable(&self, slba: u64, blocks: u32) -> Result<Command, Error> {
        self.blocks(NvmOpcode::WRITE_UNCORRECTABLE, slba, blocks)
    }

    /// Reads 1 to 65 536 blocks within the controller, to see whether they can be read.
    ///
    /// # Errors
    /// [`Error::Count`].
    pub fn verify(&self, slba: u64, blocks: u32) -> Result<Command, Error> {
        self.blocks(NvmOpcode::VERIFY, slba, blocks)
    }

    /// Says something about 1 to 256 ranges of blocks, which are the data:
    /// [`DatasetRange`](p2pdma_spec::nvme::nvm::DatasetRange), see [`write_ranges`].
    ///
    /// # Errors
    /// [`Error::Count`].
    pub fn dataset(
        &self,
        attributes: DatasetManagementCdw11,
        ranges: usize,
    ) -> Result<Command, Error> {
        let nr_z = zero_based("ranges", ranges as u64, MAX_DATASET_RANGES as u64)?;
        let entry = SubmissionEntry {
            cdw10: DatasetManagementCdw10::new().with_nr_z(nr_z).into(),
            cdw11: attributes.into(),
            ..SubmissionEntry::new(NvmOpcode::DATASET_MANAGEMENT, self.nsid())
        };
        Ok(Command::raw(entry, ranges as u64 * 16))
    }

    /// Deallocates 1 to 256 ranges of blocks: [`Namespace::dataset`] with AD.
    ///
    /// # Errors
    /// [`Error::Count`].
    pub fn deallocate(&self, ranges: usize) -> Result<Command, Error> {
        self.dataset(DatasetManagementCdw11::new().with_ad(true), ranges)
    }

    /// Copies 1 to 256 ranges of blocks, which are the data, to `slba` and what follows: see
    /// [`write_ranges`].
    ///
    /// # Errors
    /// [`Error::Count`]; also for a format that is not of the NVM Command Set.
    pub fn copy(&self, slba: u64, format: CopyFormat, ranges: usize) -> Result<Command, Error> {
        let nr_z = zero_based("ranges", ranges as u64, 256)?;
        let range = match format {
            CopyFormat::FORMAT_0 => size_of::<CopyRange0>(),
            CopyFormat::FORMAT_1 => size_of::<CopyRange1>(),
            CopyFormat::FORMAT_2 => size_of::<CopyRange2>(),
            CopyFormat::FORMAT_3 => size_of::<CopyRange3>(),
            other => {
                let count = other.into_bits().into();
                return Err(Error::Count { what: "copy descriptor formats", count, most: 3 });
            }
        };
        let mut entry = SubmissionEntry::new(NvmOpcode::COPY, self.nsid());
        entry.set_cdw10_11(slba);
        entry.cdw12 = CopyCdw12::new().with_nr_z(nr_z).with_desfmt(format).into();
        Ok(Command::raw(entry, ranges as u64 * range as u64))
    }
}

/// Writes the ranges of a Dataset Management or Copy command into the buffer that is to be its data;
/// returns that part of it.
///
/// # Errors
/// [`OutOfBounds`] if the buffer is too short.
pub fn write_ranges<R: IntoBytes + Immutable>(
    buffer: &DmaBuffer,
    ranges: &[R],
) -> Result<Segment, OutOfBounds> {
    buffer.memory().write(0, ranges.as_bytes())?;
    Ok(Segment::new(buffer.iova(), size_of_val(ranges) as u64))
}
