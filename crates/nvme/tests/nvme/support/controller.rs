//! A small NVMe controller, written for these tests from the specification alone. It does what it should,
//! except where its mischief says otherwise.

use std::collections::{BTreeMap, VecDeque};

use p2pdma_pci::{Duration, Instant};
use p2pdma_spec::nvme::admin::{
    AbortCdw10, AdminOpcode, Cns, CreateCompletionQueueCdw11, CreateQueueCdw10,
    CreateSubmissionQueueCdw11, DeleteQueueCdw10, IdentifyCdw10, LogPageRequest, SetFeaturesCdw10,
};
use p2pdma_spec::nvme::cmb::{Cmbloc, Cmbmsc, Cmbsz, SizeUnits};
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::nvm::{NvmOpcode, ReadWriteCdw12};
use p2pdma_spec::nvme::pmr::{Pmrcap, Pmrctl, Pmrsts};
use p2pdma_spec::nvme::queue::{CompletionEntry, SubmissionEntry};
use p2pdma_spec::nvme::registers::{
    Aqa, Cap, Cc, Csts, Doorbell, ShutdownNotification, ShutdownStatus, Vs, completion_doorbell,
    offset, submission_doorbell,
};
use p2pdma_spec::nvme::status::{CompletionStatus, Status};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use super::identify::{self, BLOCKS};
use super::mischief::{Deed, Mischief};
use super::platform::Dma;
use super::walk::{self, Piece};

/// Bytes of the memory behind BAR 2 and of that behind BAR 4.
const MEMORY: usize = 1 << 20;
/// Where the bus sees BAR 2: the fake platform's choice.
const BAR2: u64 = 0x10_0000_0000 + (2 << 32);

#[derive(Debug, Clone, Copy)]
struct Sq {
    base: u64,
    size: u32,
    head: u32,
    tail: u32,
    cqid: u16,
}

#[derive(Debug, Clone, Copy)]
struct Cq {
    base: u64,
    size: u32,
    tail: u32,
    phase: bool,
    head: u32,
    vector: Option<u16>,
}

/// The values of registers that a test may choose.
#[derive(Debug, Clone)]
pub(crate) struct Facade {
    pub(crate) cap: Cap,
    pub(crate) vs: Vs,
    pub(crate) cmbsz: Cmbsz,
    pub(crate) cmbloc: Cmbloc,
    pub(crate) cmb_invalid: bool,
    /// Whether CMBMSC.CRE can be set.
    pub(crate) cre_sticks: bool,
    pub(crate) pmrcap: Pmrcap,
    pub(crate) pmrsts: Pmrsts,
    /// Whether CC.EN leads to CSTS.RDY, and back.
    pub(crate) becomes_ready: bool,
    pub(crate) becomes_idle: bool,
    /// Whether a function-level reset does anything.
    pub(crate) resettable: bool,
    pub(crate) shuts_down: bool,
    /// How long that takes.
    pub(crate) shutdown_takes: Duration,
    /// What Set Features of the number of queues returns; `None` for what was asked.
    pub(crate) queues: Option<u32>,
    /// Bytes of Identify structures that are something else than they should be.
    pub(crate) identify: Vec<(Cns, usize, u8)>,
    /// CSTS when the controller has been enabled.
    pub(crate) started: Csts,
}

impl Default for Facade {
    fn default() -> Self {
        let cap = Cap::new()
            .with_mqes_z(255)
            .with_cqr(true)
            .with_to(4)
            .with_css_nvm(true)
            .with_mpsmax(4)
            .with_cmbs(true)
            .with_pmrs(true);
        let cmbsz = Cmbsz::new()
            .with_sqs(true)
            .with_cqs(true)
            .with_lists(true)
            .with_rds(true)
            .with_wds(true)
            .with_szu(SizeUnits::KIB_4)
            .with_sz(128);
        Self {
            cap,
            vs: Vs::V2_1,
            cmbsz,
            cmbloc: Cmbloc::new().with_bir(2).with_ofst(16),
            cmb_invalid: false,
            cre_sticks: true,
            pmrcap: Pmrcap::new().with_bir(4).with_barrier_status_read(true).with_cmss(true),
            pmrsts: Pmrsts::new(),
            becomes_ready: true,
            becomes_idle: true,
            resettable: true,
            shuts_down: true,
            shutdown_takes: Duration::ZERO,
            queues: None,
            identify: Vec::new(),
            started: Csts::new().with_rdy(true),
        }
    }
}

pub(crate) struct FakeController {
    pub(crate) facade: Facade,
    pub(crate) mischief: Mischief,
    /// The most bytes that it writes beyond what was asked for.
    pub(crate) longest_overrun: usize,
    /// Where the last data that it sent ended.
    sent_until: u64,
    cc: Cc,
    csts: Csts,
    aqa: Aqa,
    asq: u64,
    acq: u64,
    cmbmsc: Cmbmsc,
    /// Every address that the buffer was given; it has the last one.
    pub(crate) cmb_bases: Vec<u64>,
    pmrctl: Pmrctl,
    gone: bool,
    sqs: BTreeMap<u16, Sq>,
    cqs: BTreeMap<u16, Cq>,
    events: VecDeque<u16>,
    /// Completions for later: queue, identifier, result, status.
    late: VecDeque<(u16, u16, u64, Status)>,
    /// Commands that are completed only if they are aborted.
    held: Vec<(u16, u16)>,
    shadow: Option<(u64, u64)>,
    memory: Vec<u8>,
    persistent: Vec<u8>,
    media: Vec<u8>,
    pub(crate) doorbells: u64,
    pub(crate) commands: u64,
    /// Commands whose data pointer broke a rule.
    pub(crate) illegal: Vec<String>,
    /// Doorbells of queues that do not exist.
    pub(crate) invalid_doorbells: u64,
    /// Reads of PMRSTS and of the region.
    pub(crate) barriers: u64,
    /// Reads of the controller memory buffer since the last doorbell; doorbells that came without one.
    flushed: bool,
    pub(crate) unflushed: u64,
    /// Completions for which the queue had no room.
    pub(crate) overruns: u64,
    pub(crate) honest_after_reset: bool,
    /// What the machine's clock says.
    now: Instant,
    /// When the shutdown that is under way will be complete.
    shut_down_at: Option<Instant>,
    /// Shutdowns that were complete before CC.EN was cleared, and those that were cut short.
    pub(crate) shutdowns: [u64; 2],
}

impl Default for FakeController {
    fn default() -> Self {
        Self::new(Facade::default(), Mischief::none())
    }
}

impl FakeController {
    pub(crate) fn new(facade: Facade, mischief: Mischief) -> Self {
        Self {
            facade,
            mischief,
            longest_overrun: 1,
            sent_until: 0,
            cc: Cc::new(),
            csts: Csts::new(),
            aqa: Aqa::new(),
            asq: 0,
            acq: 0,
            cmbmsc: Cmbmsc::new(),
            cmb_bases: Vec::new(),
            pmrctl: Pmrctl::new(),
            gone: false,
            sqs: BTreeMap::new(),
            cqs: BTreeMap::new(),
            events: VecDeque::new(),
            late: VecDeque::new(),
            held: Vec::new(),
            shadow: None,
            memory: vec![0; MEMORY],
            persistent: vec![0; MEMORY],
            media: vec![0; usize::try_from(BLOCKS).unwrap() * 512],
            doorbells: 0,
            commands: 0,
            illegal: Vec::new(),
            invalid_doorbells: 0,
            barriers: 0,
            flushed: true,
            unflushed: 0,
            overruns: 0,
            honest_after_reset: false,
            now: Instant::ZERO,
            shut_down_at: None,
            shutdowns: [0; 2],
        }
    }

    /// Leaves the controller as somebody else would who did not clean up.
    pub(crate) fn left_running(mut self) -> Self {
        self.cc = Cc::new().with_en(true);
        self.csts = Csts::new().with_rdy(true);
        self
    }

    fn enable(&mut self) {
        if !self.facade.becomes_ready {
            return;
        }
        let (sq_size, cq_size) = (self.aqa.asqs_z().into(), self.aqa.acqs_z().into());
        let sq =
            Sq { base: self.asq, size: u32::wrapping_add(sq_size, 1), head: 0, tail: 0, cqid: 0 };
        let size = u32::wrapping_add(cq_size, 1);
        let cq = Cq { base: self.acq, size, tail: 0, phase: true, head: 0, vector: None };
        self.sqs.insert(0, sq);
        self.cqs.insert(0, cq);
        self.csts = self.facade.started;
    }

    fn disable(&mut self) {
        if self.honest_after_reset {
            self.mischief = Mischief::none();
        }
        self.sqs.clear();
        self.cqs.clear();
        self.events.clear();
        self.late.clear();
        self.held.clear();
        self.shadow = None;
        if self.shut_down_at.take().is_some() {
            let cut = self.csts.shst() != ShutdownStatus::COMPLETE;
            self.shutdowns[usize::from(cut)] += 1;
        }
        let ready = self.csts.rdy() && !self.facade.becomes_idle;
        self.csts = Csts::new().with_rdy(ready);
    }

    fn write_cc(&mut self, cc: Cc) {
        let before = std::mem::replace(&mut self.cc, cc);
        match (before.en(), cc.en()) {
            (false, true) => self.enable(),
            (true, false) => self.disable(),
            _ => {}
        }
        if cc.shn() != ShutdownNotification::NONE && before.shn() == ShutdownNotification::NONE {
            self.csts.set_shst(ShutdownStatus::OCCURRING);
            self.shut_down_at = Some(self.now + self.facade.shutdown_takes);
        }
        self.go_on_shutting_down();
    }

    /// Tells it the time.
    pub(crate) fn pass(&mut self, now: Instant) {
        self.now = now;
        self.go_on_shutting_down();
    }

    fn go_on_shutting_down(&mut self) {
        if self.facade.shuts_down && self.shut_down_at.is_some_and(|at| at <= self.now) {
            self.csts.set_shst(ShutdownStatus::COMPLETE);
        }
    }

    fn register(&mut self, at: u64) -> u64 {
        let shown = self.cmbmsc.cre();
        match at {
            offset::CAP => self.facade.cap.into_bits(),
            offset::VS => self.facade.vs.into_bits().into(),
            offset::CC => self.cc.into_bits().into(),
            offset::CSTS => self.csts.into_bits().into(),
            offset::CMBLOC if shown => self.facade.cmbloc.into_bits().into(),
            offset::CMBSZ if shown => self.facade.cmbsz.into_bits().into(),
            offset::CMBMSC => self.cmbmsc.into_bits(),
            offset::CMBSTS => self.facade.cmb_invalid.into(),
            offset::PMRCAP => self.facade.pmrcap.into_bits().into(),
            offset::PMRCTL => self.pmrctl.into_bits().into(),
            offset::PMRSTS => {
                self.barriers += 1;
                self.facade.pmrsts.into_bits().into()
            }
            _ => 0,
        }
    }

    fn ring(&mut self, at: u64, value: u32) {
        self.doorbells += 1;
        match Doorbell::at(at, self.facade.cap.dstrd()) {
            Some(Doorbell::SubmissionTail { qid }) => match self.sqs.get_mut(&qid) {
                Some(sq) if value < sq.size => {
                    if self.cmbmsc.cmse() && sq.base >= BAR2 && sq.base < BAR2 + MEMORY as u64 {
                        self.unflushed += u64::from(!self.flushed);
                    }
                    self.flushed = false;
                    sq.tail = value;
                }
                _ => self.invalid_doorbells += 1,
            },
            Some(Doorbell::CompletionHead { qid }) => match self.cqs.get_mut(&qid) {
                Some(cq) if value < cq.size => cq.head = value,
                _ => self.invalid_doorbells += 1,
            },
            None => self.invalid_doorbells += 1,
        }
    }

    /// Memory that commands name: the controller's own, or the host's.
    fn fetch(&mut self, at: u64, data: &mut [u8], dma: &mut Dma<'_>) -> bool {
        match self.own(at, data.len()) {
            Some(range) => {
                data.copy_from_slice(&self.memory[range]);
                true
            }
            None => dma.read(at, data),
        }
    }

    fn store(&mut self, at: u64, data: &[u8], dma: &mut Dma<'_>) -> bool {
        match self.own(at, data.len()) {
            Some(range) => {
                self.memory[range].copy_from_slice(data);
                true
            }
            None => dma.write(at, data),
        }
    }

    fn own(&self, at: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let start = at.checked_sub(*self.cmb_bases.last()?)?;
        let start =
            usize::try_from(start).ok()? + usize::try_from(self.facade.cmbloc.ofst()).ok()? * 4096;
        let end = start.checked_add(len)?;
        (self.cmbmsc.cmse() && end <= MEMORY).then_some(start..end)
    }

    fn refresh_shadows(&mut self, dma: &mut Dma<'_>) {
        let Some((values, events)) = self.shadow else { return };
        // A page that is laid out like the registers.
        let place = |register: u64| register.checked_sub(offset::DOORBELLS).filter(|at| *at < 4096);
        let stride = self.facade.cap.dstrd();
        for (qid, sq) in self.sqs.iter_mut().filter(|(qid, _)| **qid != 0) {
            let mut bytes = [0; 4];
            let Some(at) = place(submission_doorbell(*qid, stride)) else { continue };
            if dma.read(values + at, &mut bytes) && u32::from_le_bytes(bytes) < sq.size {
                sq.tail = u32::from_le_bytes(bytes);
            }
            dma.write(events + at, &sq.tail.to_le_bytes());
        }
        for (qid, cq) in self.cqs.iter_mut().filter(|(qid, _)| **qid != 0) {
            let mut bytes = [0; 4];
            let Some(at) = place(completion_doorbell(*qid, stride)) else { continue };
            if dma.read(values + at, &mut bytes) && u32::from_le_bytes(bytes) < cq.size {
                cq.head = u32::from_le_bytes(bytes);
            }
            dma.write(events + at, &cq.head.to_le_bytes());
        }
    }

    /// The next command of any queue.
    fn next_command(&mut self, dma: &mut Dma<'_>) -> Option<(u16, SubmissionEntry)> {
        let (qid, sq) =
            self.sqs.iter().find(|(_, sq)| sq.head != sq.tail).map(|(q, s)| (*q, *s))?;
        let mut bytes = [0; 64];
        let fetched = self.fetch(sq.base + u64::from(sq.head) * 64, &mut bytes, dma);
        let entry = self.sqs.get_mut(&qid).unwrap();
        entry.head = (entry.head + 1) % entry.size;
        if !fetched {
            self.csts.set_cfs(true);
            return None;
        }
        Some((qid, SubmissionEntry::from_bytes(bytes)))
    }

    fn execute(&mut self, qid: u16, entry: &SubmissionEntry, dma: &mut Dma<'_>) {
        self.commands += 1;
        let done = if qid == 0 { self.admin(entry, dma) } else { Some(self.io(entry, dma)) };
        if let Some((result, status)) = done {
            self.complete(qid, entry.cid(), result, status, dma);
        }
    }

    /// `None` for a command that is not completed now.
    fn admin(&mut self, entry: &SubmissionEntry, dma: &mut Dma<'_>) -> Option<(u64, Status)> {
        let ok = Some((0, Status::SUCCESS));
        let create = CreateQueueCdw10::from(entry.cdw10);
        let (qid, size) = (create.qid(), u32::from(create.qsize_z()) + 1);
        let base = entry.dptr.prp1.address();
        match AdminOpcode::from_bits(entry.opcode()) {
            AdminOpcode::IDENTIFY => {
                let Some(mut bytes) = identify::answer(entry) else {
                    return Some((0, Status::INVALID_FIELD));
                };
                let cns = IdentifyCdw10::from(entry.cdw10).cns();
                for (_, at, value) in self.facade.identify.iter().filter(|lie| lie.0 == cns) {
                    bytes[*at] = *value;
                }
                self.mischief.spoil(&mut bytes);
                Some((0, self.send(entry, &bytes, dma)))
            }
            AdminOpcode::GET_LOG_PAGE => {
                let len = LogPageRequest::parse(entry).bytes();
                let bytes = vec![0; usize::try_from(len.min(1 << 20)).unwrap()];
                Some((0, self.send(entry, &bytes, dma)))
            }
            AdminOpcode::SET_FEATURES => {
                let fid = SetFeaturesCdw10::from(entry.cdw10).fid();
                let asked = entry.cdw11.get();
                let result = match fid {
                    FeatureId::NUMBER_OF_QUEUES => self.facade.queues.unwrap_or(asked),
                    _ => 0,
                };
                Some((result.into(), Status::SUCCESS))
            }
            AdminOpcode::CREATE_COMPLETION_QUEUE => {
                let cdw11 = CreateCompletionQueueCdw11::from(entry.cdw11);
                let vector = cdw11.ien().then(|| cdw11.iv());
                let cq = Cq { base, size, tail: 0, phase: true, head: 0, vector };
                self.cqs.insert(qid, cq);
                ok
            }
            AdminOpcode::CREATE_SUBMISSION_QUEUE => {
                let cqid = CreateSubmissionQueueCdw11::from(entry.cdw11).cqid();
                self.sqs.insert(qid, Sq { base, size, head: 0, tail: 0, cqid });
                ok
            }
            AdminOpcode::DELETE_SUBMISSION_QUEUE => {
                let qid = DeleteQueueCdw10::from(entry.cdw10).qid();
                self.late.retain(|(queue, ..)| *queue != qid);
                self.held.retain(|(queue, _)| *queue != qid);
                let known = self.sqs.remove(&qid).is_some();
                Some((0, if known { Status::SUCCESS } else { Status::INVALID_QUEUE_IDENTIFIER }))
            }
            AdminOpcode::DELETE_COMPLETION_QUEUE => {
                let qid = DeleteQueueCdw10::from(entry.cdw10).qid();
                let known = self.cqs.remove(&qid).is_some();
                Some((0, if known { Status::SUCCESS } else { Status::INVALID_QUEUE_IDENTIFIER }))
            }
            AdminOpcode::ABORT => {
                Some((self.abort(AbortCdw10::from(entry.cdw10), dma), Status::SUCCESS))
            }
            AdminOpcode::ASYNC_EVENT_REQUEST => {
                self.events.push_back(entry.cid());
                None
            }
            AdminOpcode::DOORBELL_BUFFER_CONFIG => {
                self.shadow = Some((base, entry.dptr.prp2.address()));
                ok
            }
            _ => Some((0, Status::INVALID_OPCODE)),
        }
    }

    /// Result 0 if it was aborted, else 1.
    fn abort(&mut self, abort: AbortCdw10, dma: &mut Dma<'_>) -> u64 {
        let found = self.held.iter().position(|held| *held == (abort.sqid(), abort.cid()));
        match found {
            Some(index) => {
                self.held.remove(index);
                self.post(abort.sqid(), abort.cid(), 0, Status::ABORT_REQUESTED, dma);
                0
            }
            None => 1,
        }
    }

    fn io(&mut self, entry: &SubmissionEntry, dma: &mut Dma<'_>) -> (u64, Status) {
        let blocks = u64::from(ReadWriteCdw12::from(entry.cdw12).blocks());
        let slba = entry.cdw10_11();
        let opcode = NvmOpcode::from_bits(entry.opcode());
        if !matches!(opcode, NvmOpcode::READ | NvmOpcode::WRITE) {
            return (
                0,
                if opcode == NvmOpcode::FLUSH { Status::SUCCESS } else { Status::INVALID_OPCODE },
            );
        }
        if slba.checked_add(blocks).is_none_or(|end| end > BLOCKS) {
            return (0, Status::LBA_OUT_OF_RANGE);
        }
        let range =
            usize::try_from(slba * 512).unwrap()..usize::try_from((slba + blocks) * 512).unwrap();
        if opcode == NvmOpcode::READ {
            let data = self.media[range].to_vec();
            (0, self.send(entry, &data, dma))
        } else {
            let mut data = vec![0; range.len()];
            let status = self.receive(entry, &mut data, dma);
            self.media[range].copy_from_slice(&data);
            (0, status)
        }
    }

    fn pieces(
        &mut self,
        entry: &SubmissionEntry,
        len: usize,
        dma: &mut Dma<'_>,
    ) -> Option<Vec<Piece>> {
        let mut read = |at: u64, bytes: &mut [u8]| self.fetch(at, bytes, dma);
        match walk::pieces(entry, len as u64, &mut read) {
            Ok(pieces) => Some(pieces),
            Err(rule) => {
                self.illegal.push(rule);
                None
            }
        }
    }

    fn send(&mut self, entry: &SubmissionEntry, data: &[u8], dma: &mut Dma<'_>) -> Status {
        let Some(pieces) = self.pieces(entry, data.len(), dma) else {
            return Status::INVALID_FIELD;
        };
        let mut rest = data;
        for piece in pieces {
            let (Piece::Memory(_, len) | Piece::Bucket(len)) = piece;
            let (now, later) = rest.split_at(usize::try_from(len).unwrap());
            if let Piece::Memory(at, _) = piece {
                if !self.store(at, now, dma) {
                    return Status::DATA_TRANSFER_ERROR;
                }
                self.sent_until = at + len;
            }
            rest = later;
        }
        Status::SUCCESS
    }

    fn receive(&mut self, entry: &SubmissionEntry, data: &mut [u8], dma: &mut Dma<'_>) -> Status {
        let Some(pieces) = self.pieces(entry, data.len(), dma) else {
            return Status::INVALID_FIELD;
        };
        let mut rest = data;
        for piece in pieces {
            let (Piece::Memory(_, len) | Piece::Bucket(len)) = piece;
            let (now, later) = rest.split_at_mut(usize::try_from(len).unwrap());
            if let Piece::Memory(at, _) = piece
                && !self.fetch(at, now, dma)
            {
                return Status::DATA_TRANSFER_ERROR;
            }
            rest = later;
        }
        Status::SUCCESS
    }

    /// Completes a command, or does something else.
    fn complete(&mut self, qid: u16, cid: u16, result: u64, status: Status, dma: &mut Dma<'_>) {
        let deed = self.mischief.next(qid);
        let some = self.mischief.random.bytes();
        let number = u16::from_le_bytes([some[0], some[1]]);
        match deed {
            Deed::Honest => self.post(qid, cid, result, status, dma),
            Deed::WrongCommand => self.post(qid, number, result, status, dma),
            Deed::Duplicate => {
                self.post(qid, cid, result, status, dma);
                self.post(qid, cid, result, status, dma);
            }
            Deed::Status => self.post(qid, cid, result, Status::from_bits(number), dma),
            Deed::Late => self.late.push_back((qid, cid, result, status)),
            Deed::Held => self.held.push((qid, cid)),
            Deed::Lost => {}
            Deed::Fatal => self.csts.set_cfs(true),
            Deed::Gone => self.gone = true,
            Deed::Unready => self.csts.set_rdy(false),
            Deed::EventStorm => {
                self.post(qid, cid, result, status, dma);
                while let Some(event) = self.events.pop_front() {
                    self.post(0, event, number.into(), Status::SUCCESS, dma);
                }
            }
            Deed::InterruptStorm => {
                self.post(qid, cid, result, status, dma);
                (0..64).for_each(|_| dma.interrupt(number % 4));
            }
            Deed::Overrun => {
                let more = vec![0; 1 + usize::from(number) % self.longest_overrun];
                dma.write_anywhere(self.sent_until, &more);
                self.post(qid, cid, result, status, dma);
            }
            Deed::Flood => {
                let size = self
                    .sqs
                    .get(&qid)
                    .and_then(|sq| self.cqs.get(&sq.cqid))
                    .map_or(0, |cq| cq.size);
                for turn in 0..size {
                    let [low, high, ..] = turn.to_le_bytes();
                    self.post(qid, u16::from_le_bytes([low, high]), 0, Status::SUCCESS, dma);
                }
            }
            Deed::WrongQueue
            | Deed::HeadOutOfRange
            | Deed::WrongHead
            | Deed::WrongPhase
            | Deed::Garbage => {
                self.forge(deed, qid, cid, number, dma);
            }
        }
    }

    fn forge(&mut self, deed: Deed, qid: u16, cid: u16, number: u16, dma: &mut Dma<'_>) {
        let Some(mut entry) = self.entry(qid, cid, 0, Status::SUCCESS) else { return };
        let size = self.sqs.get(&qid).map_or(1, |sq| sq.size);
        let phase = entry.phase();
        match deed {
            Deed::WrongQueue => entry.sqid = U16::new(number),
            Deed::HeadOutOfRange => {
                entry.sqhd =
                    U16::new(number.saturating_add(u16::try_from(size).unwrap_or(u16::MAX)))
            }
            Deed::WrongHead => {
                entry.sqhd = U16::new(number % u16::try_from(size).unwrap_or(u16::MAX))
            }
            Deed::WrongPhase => entry.status.set(entry.status.get().with_phase(!phase)),
            _ => {
                entry = self.mischief.garbage();
                entry.status.set(entry.status.get().with_phase(phase));
            }
        }
        self.put(qid, entry, dma);
    }

    fn entry(&self, qid: u16, cid: u16, result: u64, status: Status) -> Option<CompletionEntry> {
        let sq = self.sqs.get(&qid)?;
        let cq = self.cqs.get(&sq.cqid)?;
        let [a, b, c, d, e, f, g, h] = result.to_le_bytes();
        let [low, high, ..] = sq.head.to_le_bytes();
        Some(CompletionEntry {
            dw0: U32::from_bytes([a, b, c, d]),
            dw1: U32::from_bytes([e, f, g, h]),
            sqhd: U16::from_bytes([low, high]),
            sqid: U16::new(qid),
            cid: U16::new(cid),
            status: CompletionStatus::new().with_status(status).with_phase(cq.phase).into(),
        })
    }

    fn post(&mut self, qid: u16, cid: u16, result: u64, status: Status, dma: &mut Dma<'_>) {
        if let Some(entry) = self.entry(qid, cid, result, status) {
            self.put(qid, entry, dma);
        }
    }

    fn put(&mut self, qid: u16, entry: CompletionEntry, dma: &mut Dma<'_>) {
        let Some(cqid) = self.sqs.get(&qid).map(|sq| sq.cqid) else { return };
        let Some(cq) = self.cqs.get(&cqid).copied() else { return };
        self.store(cq.base + u64::from(cq.tail) * 16, entry.as_bytes(), dma);
        let cq = self.cqs.get_mut(&cqid).unwrap();
        self.overruns += u64::from((cq.tail + 1) % cq.size == cq.head);
        cq.tail += 1;
        if cq.tail == cq.size {
            (cq.tail, cq.phase) = (0, !cq.phase);
        }
        if let Some(vector) = cq.vector {
            dma.interrupt(vector);
        }
    }

    /// Posts a completion that nothing asked for.
    pub(crate) fn forge_completion(&mut self, qid: u16, cid: u16) {
        self.late.push_back((qid, cid, 0, Status::SUCCESS));
    }

    /// Completes what is completed only when it is aborted.
    pub(crate) fn finish_held(&mut self) {
        for (qid, cid) in std::mem::take(&mut self.held) {
            self.late.push_back((qid, cid, 0, Status::SUCCESS));
        }
    }

    /// Shows the registers of the buffer, as a controller without CMBMSC does.
    pub(crate) fn show_cmb(&mut self) {
        self.cmbmsc.set_cre(true);
    }

    /// Whether its persistent memory region is enabled.
    pub(crate) fn is_region_enabled(&self) -> bool {
        self.pmrctl.en()
    }

    /// Whether there is a way to stop it for certain.
    pub(crate) fn is_fenceable(&self) -> bool {
        let stops = self.facade.becomes_idle && self.csts != Csts::GONE;
        !self.gone && (stops || self.facade.resettable)
    }

    /// Reports an event, if it was asked for.
    pub(crate) fn raise_event(&mut self, result: u32) {
        if let Some(cid) = self.events.pop_front() {
            self.late.push_back((0, cid, result.into(), Status::SUCCESS));
        }
    }
}

/// What the platform calls.
impl FakeController {
    pub(crate) fn read(&mut self, bar: u8, at: u64, data: &mut [u8]) {
        if self.gone {
            return data.fill(0xff);
        }
        let start = usize::try_from(at).unwrap();
        match bar {
            0 => {
                let value = self.register(at).to_le_bytes();
                let len = data.len().min(8);
                data[..len].copy_from_slice(&value[..len]);
            }
            2 => {
                self.flushed = true;
                data.copy_from_slice(&self.memory[start..start + data.len()]);
            }
            _ => {
                self.barriers += 1;
                data.copy_from_slice(&self.persistent[start..start + data.len()]);
            }
        }
    }

    pub(crate) fn write(&mut self, bar: u8, at: u64, data: &[u8]) {
        if self.gone {
            return;
        }
        let start = usize::try_from(at).unwrap();
        match bar {
            0 => {}
            2 => return self.memory[start..start + data.len()].copy_from_slice(data),
            _ => return self.persistent[start..start + data.len()].copy_from_slice(data),
        }
        let mut bytes = [0; 8];
        bytes[..data.len().min(8)].copy_from_slice(&data[..data.len().min(8)]);
        let wide = u64::from_le_bytes(bytes);
        let value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        match at {
            offset::CC => self.write_cc(Cc::from_bits(value)),
            offset::AQA => self.aqa = Aqa::from_bits(value),
            offset::ASQ => self.asq = wide,
            offset::ACQ => self.acq = wide,
            offset::CMBMSC => self.write_cmbmsc(wide),
            offset::PMRCTL => self.pmrctl = Pmrctl::from_bits(value),
            offset::DOORBELLS.. => self.ring(at, value),
            _ => {}
        }
    }

    /// The write comes in halves, the lower first, as some bus or hypervisor may carry it: what that half
    /// enables is enabled with the upper half that was there before.
    fn write_cmbmsc(&mut self, bits: u64) {
        let upper = self.cmbmsc.into_bits() & !u64::from(u32::MAX);
        let first = Cmbmsc::from_bits(upper | bits & u64::from(u32::MAX));
        if first.cmse() {
            self.cmb_bases.push(first.base_address());
        }
        self.cmbmsc = Cmbmsc::from_bits(bits);
        let cre = self.cmbmsc.cre() && self.facade.cre_sticks;
        self.cmbmsc.set_cre(cre);
    }

    pub(crate) fn work(&mut self, dma: &mut Dma<'_>) {
        if self.gone || !self.csts.rdy() || self.csts.cfs() {
            return;
        }
        self.refresh_shadows(dma);
        // Late completions come one at a time, some turns later.
        if let Some((qid, cid, result, status)) = self.late.pop_front() {
            self.post(qid, cid, result, status, dma);
        }
        for _ in 0..64 {
            let Some((qid, entry)) = self.next_command(dma) else { break };
            self.execute(qid, &entry, dma);
        }
    }

    pub(crate) fn reset(&mut self) -> bool {
        if !self.facade.resettable {
            return false;
        }
        self.disable();
        self.csts = Csts::new();
        self.cc = Cc::new();
        self.cmbmsc = Cmbmsc::new();
        self.pmrctl = Pmrctl::new();
        true
    }
}
