//! The admin queue and its commands (NVMe Base 2.1 §5).
//!
//! Admin commands are rare: each takes the queue's lock, waits for its completion, and owns the memory
//! that it gives to the controller until then. One that is not completed in time leaves its memory in
//! the queue, where it stays until the completion comes late or a reset has fenced the controller.

mod event;
mod feature;
mod format;
mod identify;
mod log;
mod namespace_management;
mod queues;

use std::collections::VecDeque;
use std::sync::Arc;

use p2pdma_pci::{DmaBuffer, Duration, Function};
use p2pdma_spec::nvme::admin::{AdminOpcode, AsyncEventResult};
use p2pdma_spec::nvme::queue::{
    ADMIN_QID, COMPLETION_ENTRY_SIZE, SUBMISSION_ENTRY_SIZE, SubmissionEntry,
};
use zerocopy::FromBytes;

pub use feature::Setting;
pub(crate) use queues::Creation;

use crate::cmb::CmbMemory;
use crate::data::Lists;
use crate::memory::QueueMemory;
use crate::pmr::PmrMemory;
use crate::queue::{CompletionQueue, Doorbell, RawPair, Shadow, SubmissionQueue};
use crate::registers::{Capabilities, Registers};
use crate::shared::Shared;
use crate::time::Deadline;
use crate::{Cause, Error, Failure, PAGE, Segment, prp};

/// What belongs to an admin command in flight.
#[derive(Debug)]
pub(crate) enum AdminToken {
    /// An asynchronous event request.
    Event,
    /// Any other command.
    Command(Buffers),
}

/// What an admin command leaves behind: its memory, and how it went.
type Completed = (Buffers, Result<u64, Failure>);
/// The data of an admin command, and the list that describes them.
type Buffers = [Option<DmaBuffer>; 2];

/// Everything about a controller that one thread at a time may touch.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) raw: RawPair<AdminToken>,
    /// Memory of the last command, for the next.
    spare: Option<DmaBuffer>,
    /// Events that came and were not asked for yet; never more than there can be requests.
    events: VecDeque<AsyncEventResult>,
    /// Event requests to be sent.
    unarmed: u16,
    /// What to do again after a reset.
    pub(crate) plan: Plan,
    /// Which I/O queues are in use; number 1 is the first.
    queues: Vec<Option<Held>>,
    pub(crate) shadow: Shadow,
    pub(crate) cmb: Option<Arc<CmbMemory>>,
    pub(crate) pmr: Option<Arc<PmrMemory>>,
}

/// An I/O queue that is in use.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// The interrupt vector that announces its completions.
    vector: Option<u16>,
}

/// What a controller is told after every reset.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan {
    /// I/O queue pairs to ask for.
    pub(crate) io_queues: u16,
    /// Which events to report (the Asynchronous Event Configuration feature).
    pub(crate) event_config: u32,
    /// How many event requests to send.
    pub(crate) events: u16,
    /// Whether to use shadow doorbells.
    pub(crate) shadow: bool,
}

/// An admin command on its way.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) entry: SubmissionEntry,
    pub(crate) data: AdminData<'a>,
    pub(crate) timeout: Duration,
}

/// The data of an admin command.
#[derive(Debug, Clone, Copy)]
pub enum AdminData<'a> {
    /// None, or the data pointer is set already.
    None,
    /// So many bytes from the controller.
    Receive(usize),
    /// These bytes to the controller.
    Send(&'a [u8]),
}

/// What an admin command returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminReply {
    /// Dwords 0 and 1 of the completion.
    pub result: u64,
    /// The data from the controller, as many bytes as were asked for. What the controller did not write
    /// is zero.
    pub data: Vec<u8>,
}

impl AdminReply {
    /// The first 32 bits of the result.
    #[must_use]
    pub fn dword0(&self) -> u32 {
        let [a, b, c, d, ..] = self.result.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The data as a structure. `None` if there are too few.
    pub(crate) fn value<T: FromBytes>(&self) -> Option<T> {
        T::read_from_prefix(&self.data).ok().map(|(value, _)| value)
    }
}

impl Admin {
    /// Allocates the admin queues. The controller does not know of them yet.
    pub(crate) fn new(
        function: &dyn Function,
        registers: &Registers,
        capabilities: &Capabilities,
        entries: u32,
    ) -> Result<Self, Error> {
        let memory = |entry: usize| -> Result<QueueMemory, Error> {
            Ok(QueueMemory::Host(function.alloc_dma(entries as usize * entry)?))
        };
        let bell = |offset| Doorbell::new(registers.bar.clone(), offset);
        let sq = bell(capabilities.submission_doorbell(ADMIN_QID));
        let cq = bell(capabilities.completion_doorbell(ADMIN_QID));
        let sq = SubmissionQueue::new(memory(SUBMISSION_ENTRY_SIZE)?, entries, sq)?;
        let cq = CompletionQueue::new(memory(COMPLETION_ENTRY_SIZE)?, entries, cq)?;
        Ok(Self {
            raw: RawPair::new(registers.bdf, ADMIN_QID, sq, cq),
            spare: None,
            events: VecDeque::new(),
            unarmed: 0,
            plan: Plan::default(),
            queues: Vec::new(),
            shadow: Shadow::default(),
            cmb: None,
            pmr: None,
        })
    }

    /// Forgets all that was in flight, as after a reset: the controller is fenced, so its memory may go.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        drop(self.raw.lose_all());
        self.raw.restart()?;
        self.unarmed = 0;
        Ok(())
    }

    /// Takes in a completion that nobody waits for.
    fn absorb(&mut self, token: AdminToken, outcome: Result<u64, Failure>) {
        match token {
            AdminToken::Event => self.note_event(outcome),
            AdminToken::Command([data, _]) => self.spare = self.spare.take().or(data),
        }
    }
}

impl Shared {
    /// Sends a command and waits for its completion.
    pub(crate) fn execute(
        &self,
        admin: &mut Admin,
        request: Request<'_>,
    ) -> Result<AdminReply, Error> {
        self.check_alive()?;
        let Request { mut entry, data, timeout } = request;
        let opcode = AdminOpcode::from_bits(entry.opcode());
        let buffers = self.give(admin, &mut entry, data)?;
        let token = AdminToken::Command(buffers);
        let cid = admin.raw.push(entry, token).map_err(|(error, _)| error)?;
        admin.raw.ring()?;
        let (buffers, outcome) = self.await_command(admin, cid, opcode, timeout)?;
        let [buffer, _] = buffers;
        let result = outcome.map_err(|failure| self.admin_error(opcode, failure));
        let reply = result.and_then(|result| {
            let mut bytes = Vec::new();
            if let (AdminData::Receive(len), Some(buffer)) = (data, &buffer) {
                bytes.resize(len, 0);
                buffer.memory().read(0, &mut bytes)?;
            }
            Ok(AdminReply { result, data: bytes })
        });
        admin.spare = admin.spare.take().or(buffer);
        reply
    }

    fn admin_error(&self, opcode: AdminOpcode, failure: Failure) -> Error {
        match failure.cause {
            Cause::Status(status) => Error::Admin { bdf: failure.bdf, opcode, status },
            Cause::Lost => Error::Reset { bdf: self.bdf(), qid: ADMIN_QID },
        }
    }

    /// Memory for a command's data, and a list if they have more than two pages.
    fn give(
        &self,
        admin: &mut Admin,
        entry: &mut SubmissionEntry,
        data: AdminData<'_>,
    ) -> Result<Buffers, Error> {
        let len = match data {
            AdminData::None => return Ok([None, None]),
            AdminData::Receive(len) => len,
            AdminData::Send(bytes) => bytes.len(),
        };
        let wanted = |buffer: &DmaBuffer| buffer.len() >= len;
        let buffer = match admin.spare.take().filter(wanted) {
            Some(buffer) => buffer,
            None => self.function.alloc_dma(len.next_multiple_of(4096))?,
        };
        buffer.memory().fill(0, buffer.len(), 0)?;
        if let AdminData::Send(bytes) = data {
            buffer.memory().write(0, bytes)?;
        }
        let segment = Segment::new(buffer.iova(), len as u64);
        let too_long = Error::TooLong { len: segment.len, most: u64::from(u32::MAX) };
        // Two entries are in the command.
        let lists = if segment.len > 2 * PAGE {
            let stride = Lists::stride(segment.len).ok_or(too_long)?;
            let memory = QueueMemory::Host(self.function.alloc_dma(stride)?);
            Lists::new(memory, stride, segment.len)
        } else {
            Lists::none()
        };
        entry.dptr = prp::segments(&[segment], lists.slot(0))?;
        Ok([Some(buffer), lists.into_host()])
    }

    /// Polls until the command is completed; takes in what else is.
    fn await_command(
        &self,
        admin: &mut Admin,
        cid: u16,
        opcode: AdminOpcode,
        timeout: Duration,
    ) -> Result<Completed, Error> {
        let deadline = Deadline::after(self.function.clock(), timeout);
        let (mut turns, mut late) = (0_u32, false);
        while !late {
            late = deadline.is_over();
            while let Some((done, token, outcome)) = admin.raw.poll()? {
                match token {
                    AdminToken::Command(buffers) if done == cid => return Ok((buffers, outcome)),
                    token => admin.absorb(token, outcome),
                }
            }
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(Self::TURNS_PER_CHECK) {
                self.check_status()?;
            }
            deadline.relax();
        }
        self.check_status()?;
        Err(Error::AdminTimeout { bdf: self.bdf(), opcode, waited: deadline.waited() })
    }
}
