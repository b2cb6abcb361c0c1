//! Copy (NVM Command Set 1.1 §3.3.2): formats 0h and 2h, which fit 16-bit guards and no protection.

use p2pdma_spec::nvme::nvm::{CopyCdw12, CopyFormat, CopyRange2, LogicalBlockTags};
use p2pdma_spec::nvme::protection::{Prinfo, ProtectionType};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::super::dma::Use;
use super::super::namespace::Format;
use super::super::protection::{Protection, invert};
use super::super::reply::Failure;
use super::write::store;
use super::{Env, Io, Kind, Limits, SCRATCH, Scratch, find_data};

/// The most source ranges of a command (MSRC).
pub(crate) const MAX_COPY_RANGES: u8 = 128;
/// The most blocks of a source range (MSSRL).
pub(crate) const MAX_SOURCE_BLOCKS: u16 = 4096;
/// The most blocks of all source ranges together (MCL).
pub(crate) const MAX_COPY_BLOCKS: u32 = 1 << 14;

/// A range of blocks with what its command says about it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CopyRange {
    pub(super) nsid: u32,
    pub(super) first: u64,
    pub(super) count: u32,
    reference_tag: u32,
    tags: LogicalBlockTags,
}

impl CopyRange {
    /// A range of Dataset Management, with which nothing is copied.
    pub(super) fn of(nsid: u32, first: u64, count: u32) -> Self {
        Self { nsid, first, count, ..Self::default() }
    }
}

/// The two sides of a copy.
struct Settings {
    source: Prinfo,
    target: Protection,
}

impl Io {
    /// Reads the source ranges, and checks them all.
    pub(super) fn begin_copy(
        &mut self,
        limits: &Limits,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> Result<Kind, Failure> {
        let format = env.subsystem.attached(self.nsid, limits.attached)?.format;
        let cdw12 = CopyCdw12::from(entry.cdw12);
        let named = match cdw12.desfmt() {
            CopyFormat::FORMAT_0 => false,
            CopyFormat::FORMAT_2 if limits.copy_between_namespaces => true,
            _ => return Err(Status::INVALID_FIELD.into()),
        };
        if cdw12.ranges() > usize::from(MAX_COPY_RANGES) {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.into());
        }
        // The two formats differ in one field, which format 0h reserves.
        let mut ranges = [CopyRange2::new_zeroed(); MAX_COPY_RANGES as usize];
        let ranges = &mut ranges[..cdw12.ranges()];
        let bytes = u32::try_from(size_of_val(ranges)).unwrap_or(u32::MAX);
        find_data(entry, bytes, limits, Use::WriteData, &mut env.dma, &mut self.data)?;
        self.data.gather(&mut env.dma, ranges.as_mut_bytes())?;
        self.ranges.clear();
        for range in ranges {
            let nsid = if named { range.snsid.get() } else { self.nsid };
            let count = u32::from(range.nlb_z.get()) + 1;
            self.ranges.push(CopyRange {
                nsid,
                first: range.slba.get(),
                count,
                reference_tag: range.elbt.get(),
                tags: LogicalBlockTags::new()
                    .with_lbat(range.elbat.get())
                    .with_lbatm(range.elbatm.get()),
            });
        }
        self.first = entry.cdw10_11();
        self.fua = cdw12.fua();
        self.check_copy(limits, env, &format)?;
        self.protection = Protection::default();
        if format.protection != ProtectionType::NONE {
            self.protection = Protection::parse(&format, cdw12.prinfow(), entry, self.first)?;
            self.source_protection = cdw12.prinfor();
        }
        Ok(Kind::Copy)
    }

    /// Limits, ranges and formats (NVM Command Set 1.1 §3.3.2.1).
    fn check_copy(
        &mut self,
        limits: &Limits,
        env: &mut Env<'_, '_>,
        format: &Format,
    ) -> Result<(), Failure> {
        let blocks: u64 = self.ranges.iter().map(|range| u64::from(range.count)).sum();
        let too_long = self.ranges.iter().any(|range| range.count > u32::from(MAX_SOURCE_BLOCKS));
        if too_long || blocks > u64::from(MAX_COPY_BLOCKS) {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.into());
        }
        self.count = u32::try_from(blocks).unwrap_or(u32::MAX);
        self.bytes = blocks * u64::from(format.stride());
        self.data_bytes = blocks * u64::from(format.data);
        env.subsystem.attached(self.nsid, limits.attached)?.check_range(self.first, blocks)?;
        let target = u128::from(self.first)..u128::from(self.first) + u128::from(blocks);
        for (index, range) in (0..).zip(&self.ranges) {
            let failed = |status| Failure { status, dword: index };
            let source = env.subsystem.attached(range.nsid, limits.attached).map_err(failed)?;
            source.check_range(range.first, u64::from(range.count)).map_err(failed)?;
            let (theirs, ours) = (source.format, *format);
            let alike = theirs.stride() == ours.stride()
                && theirs.data == ours.data
                && theirs.protection == ours.protection
                && theirs.information_first == ours.information_first;
            if !alike {
                return Err(failed(Status::INCOMPATIBLE_NAMESPACE));
            }
            let start = u128::from(range.first);
            let overlaps = start < target.end && target.start < start + u128::from(range.count);
            if range.nsid == self.nsid && overlaps {
                return Err(failed(Status::OVERLAPPING_IO_RANGE));
            }
        }
        Ok(())
    }

    /// Copies range after range; a failure names the first range that is not copied.
    pub(super) fn copy(
        &mut self,
        limits: &Limits,
        scratch: &mut Scratch,
        env: &mut Env<'_, '_>,
    ) -> Result<(), Failure> {
        let health = &mut env.subsystem.health;
        health.read_commands += 1;
        health.write_commands += 1;
        health.written += self.data_bytes;
        // A source may have changed since the command began.
        let format = self.writable(limits, &mut env.subsystem)?.format;
        self.check_copy(limits, env, &format)?;
        let settings = Settings { source: self.source_protection, target: self.protection };
        let mut done = 0;
        for index in 0..self.ranges.len() {
            let range = self.ranges[index];
            let copied = self.copy_range(&settings, limits, scratch, env, &range, done);
            copied.map_err(|failure| Failure {
                dword: u32::try_from(index).unwrap_or(u32::MAX),
                ..failure
            })?;
            done += range.count;
        }
        let namespace = self.writable(limits, &mut env.subsystem)?;
        self.settle(limits, namespace)
    }

    /// Copies a range to where `done` blocks are already.
    fn copy_range(
        &self,
        settings: &Settings,
        limits: &Limits,
        scratch: &mut Scratch,
        env: &mut Env<'_, '_>,
        range: &CopyRange,
        done: u32,
    ) -> Result<(), Failure> {
        let source =
            Io { nsid: range.nsid, first: range.first, count: range.count, ..Io::default() };
        let namespace = source.readable(limits, &mut env.subsystem)?;
        if namespace.bad.any(range.first, u64::from(range.count)) {
            return Err(Status::UNRECOVERED_READ_ERROR.into());
        }
        let format = namespace.format;
        let stride = format.stride() as usize;
        let expected = Protection::new(
            &format,
            settings.source,
            range.reference_tag,
            range.tags,
            range.first,
        )?;
        let protected = format.protection != ProtectionType::NONE;
        for (start, blocks) in source.batches(&format) {
            let namespace = source.readable(limits, &mut env.subsystem)?;
            source.load(namespace, scratch, start, blocks)?;
            let batch = &mut scratch.media[..blocks * stride];
            for (index, block) in (start..).zip(batch.chunks_mut(stride)).filter(|_| protected) {
                expected.check(&format, block, index)?;
                if settings.target.prinfo.pract() {
                    settings.target.insert(&format, block, done + index);
                } else {
                    settings.target.check(&format, block, done + index)?;
                }
                invert(&format, block);
            }
            let target = self.writable(limits, &mut env.subsystem)?;
            let (at, _) = target.bytes(self.first + u64::from(done + start), 0);
            store(target, at, batch)?;
        }
        Ok(())
    }
}

const _: () = assert!(SCRATCH >= 4096 + 64);
