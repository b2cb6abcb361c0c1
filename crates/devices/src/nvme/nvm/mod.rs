//! I/O commands of the NVM Command Set (NVM Command Set 1.1 §3.3).
//!
//! A command has two stages: [`begin`] reads all that it consists of, once, and says when its data can
//! move; [`transfer`] moves them and says when it is done. Without a timing model both are now.

mod compare;
mod copy;
mod dataset;
mod read;
mod write;
mod zeroes;

use p2pdma_pci::Instant;
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::nvm::{NvmOpcode, ReadWriteCdw12, WriteZeroesCdw12};
use p2pdma_spec::nvme::protection::{Prinfo, ProtectionType};
use p2pdma_spec::nvme::queue::{DataTransfer, SubmissionEntry};
use p2pdma_spec::nvme::sgl::SglDescriptor;
use p2pdma_spec::nvme::status::Status;
use zerocopy::IntoBytes as _;

use super::dma::{Dma, Use};
use super::media::Direction;
use super::namespace::{Format, Namespace};
use super::protection::Protection;
use super::reply::{Failure, Stop};
use super::segments::Segments;
use super::subsystem::{Opened, SubsystemState};
use super::{prp, sgl};
use copy::CopyRange;

pub(crate) use copy::{MAX_COPY_BLOCKS, MAX_COPY_RANGES, MAX_SOURCE_BLOCKS};
pub(crate) use read::expect;

/// What a command acts on.
#[derive(Debug)]
pub(crate) struct Env<'a, 'p> {
    pub(crate) dma: Dma<'a, 'p>,
    pub(crate) subsystem: Opened<'a>,
}

/// What the controller's configuration says about commands.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The controller's identifier.
    pub(crate) controller: u16,
    /// Its bit in a namespace's set of controllers.
    pub(crate) attached: u128,
    /// Memory page size in bytes.
    pub(crate) page: u64,
    /// Largest transfer in bytes.
    pub(crate) max_transfer: u32,
    /// Whether the host allows no volatile cache: writes are durable when they complete.
    pub(crate) write_through: bool,
    /// Whether the host knows copy descriptors that name a namespace.
    pub(crate) copy_between_namespaces: bool,
}

/// Room for blocks on their way, where they cannot go straight.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Blocks as they are on the medium.
    media: Box<[u8]>,
    /// Blocks as the host has them.
    host: Box<[u8]>,
}

const SCRATCH: usize = 64 << 10;

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { media: vec![0; SCRATCH].into(), host: vec![0; SCRATCH].into() }
    }
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    Read,
    Write,
    Compare,
    Verify,
    WriteZeroes,
    WriteUncorrectable,
    #[default]
    Flush,
    Deallocate,
    Copy,
}

/// A command, parsed and owned.
#[derive(Debug, Default)]
pub(crate) struct Io {
    pub(crate) sqid: u16,
    pub(crate) cid: u16,
    kind: Kind,
    nsid: u32,
    first: u64,
    count: u32,
    fua: bool,
    /// Whether the namespace has data to move at all.
    holds_data: bool,
    /// Of Write Zeroes.
    deallocate: bool,
    /// Bytes of data and metadata that the media move.
    bytes: u64,
    /// Bytes of data alone: what the health log page counts.
    data_bytes: u64,
    protection: Protection,
    /// What Copy checks where it reads.
    source_protection: Prinfo,
    data: Segments,
    metadata: Segments,
    /// Source ranges of Copy, and ranges of Dataset Management.
    ranges: Vec<CopyRange>,
    /// The first range of Dataset Management that is not done.
    next: usize,
    /// The layout of its namespace, if its data move later.
    layout: Option<u64>,
}

/// Parses a command and finds its memory; returns when its data can move.
#[inline(always)]
pub(crate) fn begin(
    io: &mut Io,
    limits: &Limits,
    env: &mut Env<'_, '_>,
    sqid: u16,
    entry: &SubmissionEntry,
) -> Result<Instant, Failure> {
    (io.sqid, io.cid, io.nsid) = (sqid, entry.cid(), entry.nsid.get());
    let kind = match NvmOpcode::from_bits(entry.opcode()) {
        NvmOpcode::READ => Kind::Read,
        NvmOpcode::WRITE => Kind::Write,
        NvmOpcode::COMPARE => Kind::Compare,
        other => return begin_other(io, limits, env, entry, other),
    };
    // Looked up once, since it may have to be locked.
    let (dma, subsystem) = (&mut env.dma, &mut *env.subsystem);
    io.begin_blocks(kind, limits, dma, subsystem, entry)?;
    let found = dma.done();
    match &mut subsystem.clock {
        Some(clock) if kind == Kind::Read => Ok(clock.serve(Direction::Read, found, io.bytes)),
        _ => Ok(found),
    }
}

/// The commands that move no data, or little.
#[inline(never)]
fn begin_other(
    io: &mut Io,
    limits: &Limits,
    env: &mut Env<'_, '_>,
    entry: &SubmissionEntry,
    opcode: NvmOpcode,
) -> Result<Instant, Failure> {
    io.kind = match opcode {
        NvmOpcode::FLUSH => {
            if io.nsid != NSID_ALL {
                env.subsystem.attached(io.nsid, limits.attached)?;
            }
            (io.count, io.bytes) = (0, 0);
            Kind::Flush
        }
        NvmOpcode::WRITE_ZEROES => io.begin_zeroes(limits, env, entry)?,
        NvmOpcode::WRITE_UNCORRECTABLE => {
            let namespace = env.subsystem.attached(io.nsid, limits.attached)?;
            io.first = entry.cdw10_11();
            io.count = ReadWriteCdw12::from(entry.cdw12).blocks();
            namespace.check_range(io.first, u64::from(io.count))?;
            io.bytes = 0;
            Kind::WriteUncorrectable
        }
        NvmOpcode::VERIFY => io.begin_verify(limits, env, entry)?,
        NvmOpcode::DATASET_MANAGEMENT => io.begin_dataset(limits, env, entry)?,
        NvmOpcode::COPY => io.begin_copy(limits, env, entry)?,
        _ => return Err(Status::INVALID_OPCODE.into()),
    };
    Ok(env.dma.done())
}

/// Does what the command says.
#[inline(always)]
pub(crate) fn transfer(
    io: &mut Io,
    limits: &Limits,
    scratch: &mut Scratch,
    env: &mut Env<'_, '_>,
) -> Result<u64, Stop> {
    let moved = match io.kind {
        Kind::Read => io.read(limits, scratch, env).map_err(Stop::from),
        Kind::Write => io.write(limits, scratch, env).map_err(Stop::from),
        _ => io.transfer_other(limits, scratch, env),
    };
    match moved {
        Ok(()) => Ok(0),
        Err(stop) => Err(count_error(stop, env)),
    }
}

/// Counts what the health log page calls Media and Data Integrity Errors (NVMe Base 2.1 §5.1.12.1.3).
#[cold]
fn count_error(stop: Stop, env: &mut Env<'_, '_>) -> Stop {
    if let Stop::Failed(failure) = stop {
        let integrity = matches!(
            failure.status,
            Status::UNRECOVERED_READ_ERROR
                | Status::GUARD_CHECK_ERROR
                | Status::APPLICATION_TAG_CHECK_ERROR
                | Status::REFERENCE_TAG_CHECK_ERROR
        );
        env.subsystem.health.media_errors += u64::from(integrity);
    }
    stop
}

/// When a command that was carried out just now is done.
#[inline(always)]
pub(crate) fn done(io: &Io, env: &mut Env<'_, '_>) -> Instant {
    let moved = env.dma.done();
    match &mut env.subsystem.clock {
        None => moved,
        Some(clock) => match io.kind {
            Kind::Read => moved,
            Kind::Compare | Kind::Verify => clock.serve(Direction::Read, moved, io.bytes),
            // Copy reads and writes inside; the slower of the two counts.
            _ => clock.serve(Direction::Write, moved, io.bytes),
        },
    }
}

impl Io {
    /// How many blocks it is about, as a measure of work.
    #[inline]
    pub(crate) fn blocks(&self) -> u64 {
        u64::from(self.count)
    }

    pub(crate) fn nsid(&self) -> u32 {
        self.nsid
    }

    /// The command waits. What it found out holds for the namespace as it is laid out now.
    pub(crate) fn pause(&mut self, subsystem: &SubsystemState) -> Box<Self> {
        self.layout = subsystem.layout(self.nsid);
        Box::new(std::mem::take(self))
    }

    /// Goes on with a command that waited. If its namespace was formatted or replaced meanwhile, neither its
    /// blocks nor its memory are what they were.
    pub(crate) fn resume(
        &mut self,
        limits: &Limits,
        scratch: &mut Scratch,
        env: &mut Env<'_, '_>,
    ) -> Result<u64, Stop> {
        if env.subsystem.layout(self.nsid) != self.layout {
            return Err(Status::FORMAT_IN_PROGRESS.into());
        }
        transfer(self, limits, scratch, env)
    }

    #[inline(never)]
    fn transfer_other(
        &mut self,
        limits: &Limits,
        scratch: &mut Scratch,
        env: &mut Env<'_, '_>,
    ) -> Result<(), Stop> {
        match self.kind {
            Kind::Deallocate => return self.deallocate(limits, env),
            Kind::Compare => self.compare(limits, scratch, env)?,
            Kind::Verify => self.verify(limits, scratch, env)?,
            Kind::WriteZeroes => self.write_zeroes(limits, scratch, env)?,
            Kind::WriteUncorrectable => {
                let namespace = self.writable(limits, &mut env.subsystem)?;
                namespace.bad.mark(self.first, u64::from(self.count))?;
                if limits.write_through {
                    namespace.flush_range(0, 0)?;
                }
            }
            Kind::Flush => self.flush(limits, env)?,
            Kind::Copy => self.copy(limits, scratch, env)?,
            // Done by the caller.
            Kind::Read | Kind::Write => {}
        }
        Ok(())
    }

    /// Read, Write and Compare: the range of blocks, and the memory of data and metadata.
    #[inline(always)]
    fn begin_blocks(
        &mut self,
        kind: Kind,
        limits: &Limits,
        dma: &mut Dma<'_, '_>,
        subsystem: &mut SubsystemState,
        entry: &SubmissionEntry,
    ) -> Result<(), Failure> {
        let namespace = subsystem.attached(self.nsid, limits.attached)?;
        let cdw12 = ReadWriteCdw12::from(entry.cdw12);
        (self.kind, self.first, self.count) = (kind, entry.cdw10_11(), cdw12.blocks());
        (self.fua, self.holds_data) = (cdw12.fua(), namespace.holds_data);
        namespace.check_range(self.first, u64::from(self.count))?;
        let format = namespace.format;
        let usage = if kind == Kind::Read { Use::ReadData } else { Use::WriteData };
        if format.metadata > 0 {
            return self.begin_with_metadata(&format, limits, dma, entry, usage);
        }
        let bytes = self.count * format.data;
        (self.bytes, self.data_bytes) = (u64::from(bytes), u64::from(bytes));
        if bytes > limits.max_transfer {
            return Err(Status::INVALID_FIELD.into());
        }
        find_data(entry, bytes, limits, usage, dma, &mut self.data)?;
        Ok(())
    }

    #[inline(never)]
    fn begin_with_metadata(
        &mut self,
        format: &Format,
        limits: &Limits,
        dma: &mut Dma<'_, '_>,
        entry: &SubmissionEntry,
        usage: Use,
    ) -> Result<(), Failure> {
        let prinfo = ReadWriteCdw12::from(entry.cdw12).prinfo();
        self.bytes = u64::from(self.count) * u64::from(format.stride());
        self.data_bytes = u64::from(self.count) * u64::from(format.data);
        self.metadata.clear();
        self.protection = Protection::default();
        if format.protection != ProtectionType::NONE {
            if self.kind == Kind::Compare && prinfo.pract() {
                return Err(Status::INVALID_PROTECTION_INFORMATION.into());
            }
            self.protection = Protection::parse(format, prinfo, entry, self.first)?;
        }
        let block =
            if format.extended && !self.strips(format) { format.stride() } else { format.data };
        let bytes = u64::from(self.count) * u64::from(block);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes > limits.max_transfer {
            return Err(Status::INVALID_FIELD.into());
        }
        find_data(entry, bytes, limits, usage, dma, &mut self.data)?;
        if !format.extended && !self.strips(format) {
            let bytes = self.count * format.metadata;
            find_metadata(entry, bytes, usage, dma, &mut self.metadata)?;
        }
        Ok(())
    }

    /// Whether the controller inserts and strips all of the metadata (PRACT).
    fn strips(&self, format: &Format) -> bool {
        format.only_information() && self.protection.prinfo.pract()
    }

    /// The namespace and its blocks, looked up again: it may have changed since the command began.
    #[inline]
    fn readable<'n>(
        &self,
        limits: &Limits,
        subsystem: &'n mut SubsystemState,
    ) -> Result<&'n mut Namespace, Status> {
        let namespace = subsystem.attached(self.nsid, limits.attached)?;
        namespace.check_range(self.first, u64::from(self.count))?;
        Ok(namespace)
    }

    /// The same, to be written.
    #[inline]
    fn writable<'n>(
        &self,
        limits: &Limits,
        subsystem: &'n mut SubsystemState,
    ) -> Result<&'n mut Namespace, Status> {
        let namespace = self.readable(limits, subsystem)?;
        if namespace.write_protected {
            return Err(Status::NAMESPACE_WRITE_PROTECTED);
        }
        Ok(namespace)
    }

    fn flush(&self, limits: &Limits, env: &mut Env<'_, '_>) -> Result<(), Failure> {
        if self.nsid != NSID_ALL {
            let namespace = env.subsystem.attached(self.nsid, limits.attached)?;
            return Ok(namespace.flush()?);
        }
        Ok(env.subsystem.flush(limits.attached)?)
    }

    fn begin_zeroes(
        &mut self,
        limits: &Limits,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> Result<Kind, Failure> {
        let namespace = env.subsystem.attached(self.nsid, limits.attached)?;
        let cdw12 = WriteZeroesCdw12::from(entry.cdw12);
        if cdw12.nsz() {
            return Err(Status::INVALID_FIELD.into());
        }
        (self.first, self.count, self.fua) = (entry.cdw10_11(), cdw12.blocks(), cdw12.fua());
        namespace.check_range(self.first, u64::from(self.count))?;
        let format = namespace.format;
        if format.protection != ProtectionType::NONE {
            self.protection = Protection::parse(&format, cdw12.prinfo(), entry, self.first)?;
        }
        (self.deallocate, self.bytes) = (cdw12.deac(), 0);
        Ok(Kind::WriteZeroes)
    }

    fn begin_verify(
        &mut self,
        limits: &Limits,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> Result<Kind, Failure> {
        let namespace = env.subsystem.attached(self.nsid, limits.attached)?;
        let cdw12 = ReadWriteCdw12::from(entry.cdw12);
        (self.first, self.count) = (entry.cdw10_11(), cdw12.blocks());
        namespace.check_range(self.first, u64::from(self.count))?;
        let format = namespace.format;
        if format.protection != ProtectionType::NONE {
            if cdw12.prinfo().pract() {
                return Err(Status::INVALID_PROTECTION_INFORMATION.into());
            }
            self.protection = Protection::parse(&format, cdw12.prinfo(), entry, self.first)?;
        }
        self.bytes = u64::from(self.count) * u64::from(format.stride());
        self.data_bytes = u64::from(self.count) * u64::from(format.data);
        Ok(Kind::Verify)
    }
}

/// Finds the memory that the data pointer stands for.
#[inline(always)]
fn find_data(
    entry: &SubmissionEntry,
    bytes: u32,
    limits: &Limits,
    usage: Use,
    dma: &mut Dma<'_, '_>,
    segments: &mut Segments,
) -> Result<(), Status> {
    match entry.cdw0.get().psdt() {
        DataTransfer::PRP => prp::walk(dma, entry.dptr, bytes, limits.page, usage, segments),
        DataTransfer::SGL_METADATA_BUFFER | DataTransfer::SGL_METADATA_SGL => {
            find_scattered(entry, bytes, usage, dma, segments)
        }
        _ => Err(Status::INVALID_FIELD),
    }
}

#[inline(never)]
fn find_scattered(
    entry: &SubmissionEntry,
    bytes: u32,
    usage: Use,
    dma: &mut Dma<'_, '_>,
    segments: &mut Segments,
) -> Result<(), Status> {
    let too_short = Status::DATA_SGL_LENGTH_INVALID;
    sgl::walk(dma, entry.dptr.as_sgl(), bytes, usage, too_short, segments)
}

/// Finds the memory that the metadata pointer stands for (NVMe Base 2.1 §4.1.1).
fn find_metadata(
    entry: &SubmissionEntry,
    bytes: u32,
    usage: Use,
    dma: &mut Dma<'_, '_>,
    segments: &mut Segments,
) -> Result<(), Status> {
    let pointer = entry.mptr.get();
    if entry.cdw0.get().psdt() != DataTransfer::SGL_METADATA_SGL {
        let fits = pointer.checked_add(u64::from(bytes)).is_some();
        if !pointer.is_multiple_of(4) || !fits {
            return Err(Status::INVALID_FIELD);
        }
        return segments.start(dma, pointer, bytes, usage);
    }
    if !pointer.is_multiple_of(8) {
        return Err(Status::INVALID_FIELD);
    }
    let mut descriptor = SglDescriptor::default();
    dma.own().check(pointer, size_of::<SglDescriptor>() as u64, Use::List)?;
    dma.read_control(pointer, descriptor.as_mut_bytes())?;
    sgl::walk(dma, descriptor, bytes, usage, Status::METADATA_SGL_LENGTH_INVALID, segments)
}
