//! One of the two machines: a controller, a queue of our own whose entries nobody checks, and memory.

use std::sync::atomic::Ordering;

use p2pdma_nvme::{AdminData, Controller, Error, Options};
use p2pdma_pci::{Bar, BarIndex, DmaBuffer};
use p2pdma_spec::nvme::admin::{
    AdminOpcode, CreateCompletionQueueCdw11, CreateQueueCdw10, CreateSubmissionQueueCdw11,
    FormatNvmCdw10,
};
use p2pdma_spec::nvme::nvm::{NvmOpcode, ReadWriteCdw12};
use p2pdma_spec::nvme::protection::{Prinfo, ProtectionType};
use p2pdma_spec::nvme::queue::{CompletionEntry, DataPointer, SubmissionEntry};
use p2pdma_spec::nvme::registers::{completion_doorbell, submission_doorbell};
use p2pdma_spec::nvme::sgl::SglDescriptor;
use p2pdma_spec::nvme::status::Status;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::differences::Answer;
use super::io::{NAMESPACES, WINDOW};
use super::shot::{ARENA, LISTS, List, METADATA, Piece, Place, Pointer, Queue, Shot};
use crate::cases::{PATIENCE, pattern};
use crate::machine::Machine;

/// The queue's identifier: the last, so that the driver's own never meet it.
pub(crate) const QID: u16 = 8;
const ENTRIES: u16 = 32;

pub(crate) struct Side {
    controller: Controller,
    bar: Bar,
    sq: DmaBuffer,
    cq: DmaBuffer,
    tail: u16,
    head: u16,
    cid: u16,
    phase: bool,
    arena: DmaBuffer,
    lists: DmaBuffer,
    /// What the arena is filled with.
    known: Vec<u8>,
}

impl Side {
    pub(crate) fn new(machine: &dyn Machine) -> Self {
        // No event requests: events come when they want to.
        // Its queue is ours, which rings registers alone.
        let options = Options { async_events: 0, shadow_doorbells: false, ..Options::default() };
        let controller = machine.open_with("nvme0", options);
        let bar = controller.function().map_bar(BarIndex::ZERO).unwrap();
        let alloc = |len: u64| controller.alloc_dma(usize::try_from(len).unwrap()).unwrap();
        let (sq, cq) = (alloc(u64::from(ENTRIES) * 64), alloc(u64::from(ENTRIES) * 16));
        let (arena, lists) = (alloc(ARENA), alloc(LISTS));
        let known = pattern(7, arena.len());
        let side = Self {
            controller,
            bar,
            sq,
            cq,
            tail: 0,
            head: 0,
            cid: 0,
            phase: true,
            arena,
            lists,
            known,
        };
        side.create();
        // The third namespace has protection information, so that there is something to be wrong.
        let third = side.controller.namespace(3).unwrap();
        let format = FormatNvmCdw10::new()
            .with_format_index(third.identity().flbas.format_index())
            .with_pi(ProtectionType::TYPE_1);
        side.controller.format(3, format).unwrap();
        side
    }

    fn create(&self) {
        let size = CreateQueueCdw10::new().with_qid(QID).with_qsize_z(ENTRIES - 1);
        let cq = SubmissionEntry {
            cdw10: size.into(),
            cdw11: CreateCompletionQueueCdw11::new().with_pc(true).into(),
            dptr: DataPointer::prp(self.cq.iova().0, 0),
            ..SubmissionEntry::new(AdminOpcode::CREATE_COMPLETION_QUEUE, 0)
        };
        let sq = SubmissionEntry {
            cdw10: size.into(),
            cdw11: CreateSubmissionQueueCdw11::new().with_pc(true).with_cqid(QID).into(),
            dptr: DataPointer::prp(self.sq.iova().0, 0),
            ..SubmissionEntry::new(AdminOpcode::CREATE_SUBMISSION_QUEUE, 0)
        };
        for entry in [cq, sq] {
            self.controller.admin(entry, AdminData::None).unwrap();
        }
    }

    fn address(&self, place: Place) -> u64 {
        match place {
            Place::Arena(at) => self.arena.iova().0 + at,
            Place::Lists(at) => self.lists.iova().0 + at,
            Place::Number(at) => at,
        }
    }

    fn descriptor(&self, piece: &Piece) -> SglDescriptor {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address(piece.at).to_le_bytes());
        bytes[8..12].copy_from_slice(&piece.len.to_le_bytes());
        bytes[15] = piece.identifier;
        SglDescriptor::read_from_bytes(&bytes).unwrap()
    }

    /// The command with this machine's addresses; its lists are where they should be.
    fn entry(&self, shot: &Shot) -> SubmissionEntry {
        for list in &shot.lists {
            let (at, bytes): (u64, Vec<u8>) = match list {
                List::Prp { at, entries } => {
                    let entries = entries.iter().flat_map(|at| self.address(*at).to_le_bytes());
                    (*at, entries.collect())
                }
                List::Sgl { at, pieces } => {
                    let bytes = |piece| self.descriptor(piece).as_bytes().to_vec();
                    (*at, pieces.iter().flat_map(bytes).collect())
                }
            };
            self.lists.memory().write(usize::try_from(at).unwrap(), &bytes).unwrap();
        }
        for (at, bytes) in &shot.bytes {
            self.arena.memory().write(usize::try_from(*at).unwrap(), bytes).unwrap();
        }
        let dptr = match &shot.pointer {
            Pointer::Prp(first, second) => {
                DataPointer::prp(self.address(*first), self.address(*second))
            }
            Pointer::Sgl(piece) => DataPointer::sgl(self.descriptor(piece)),
        };
        SubmissionEntry { dptr, mptr: self.address(shot.metadata).into(), ..shot.entry }
    }

    /// Sends a command and waits for its end.
    pub(crate) fn fire(&mut self, shot: &Shot) -> Answer {
        let entry = self.entry(shot);
        let (status, result) = match shot.queue {
            Queue::Io => self.io(entry),
            Queue::Admin => match self.controller.admin(entry, AdminData::None) {
                Ok(reply) => (Status::SUCCESS, reply.dword0()),
                Err(Error::Admin { status, .. }) => (status.status(), 0),
                Err(error) => panic!("{error}: {shot}"),
            },
        };
        // What a successful admin command returns is the controller's own.
        let result = if shot.compares_data { result } else { 0 };
        Answer { status, result, other_data: false }
    }

    fn io(&mut self, mut entry: SubmissionEntry) -> (Status, u32) {
        self.cid = (self.cid + 1) % 0x7FFF;
        entry.set_cid(self.cid);
        let at = usize::from(self.tail) * 64;
        self.sq.memory().write(at, entry.as_bytes()).unwrap();
        self.tail = (self.tail + 1) % ENTRIES;
        self.bar.write32(submission_doorbell(QID, 0), self.tail.into()).unwrap();
        let clock = self.controller.function().clock();
        let begin = clock.now();
        let at = usize::from(self.head) * 16;
        loop {
            let high = self.cq.memory().load::<u64>(at + 8, Ordering::Acquire).unwrap();
            let came = high >> 48 & 1 == 1;
            if came == self.phase {
                break;
            }
            assert!(clock.now().since(begin) < PATIENCE, "{entry:x?} does not end");
            clock.relax();
        }
        let completion: [u8; 16] = self.cq.memory().read_value(at).unwrap();
        let completion = CompletionEntry::read_from_bytes(&completion).unwrap();
        assert_eq!((completion.cid.get(), completion.sqid.get()), (entry.cid(), QID));
        self.head = (self.head + 1) % ENTRIES;
        self.phase ^= self.head == 0;
        self.bar.write32(completion_doorbell(QID, 0), self.head.into()).unwrap();
        (completion.status.get().status(), completion.dw0.get())
    }

    /// All memory for data.
    pub(crate) fn memory(&self) -> Vec<u8> {
        let mut all = vec![0; self.arena.len()];
        self.arena.memory().read(0, &mut all).unwrap();
        all
    }

    pub(crate) fn fill_memory(&mut self) {
        self.arena.memory().write(0, &self.known).unwrap();
    }

    /// Moves the blocks that commands are about, at the beginning of a namespace or its end, with their
    /// metadata.
    fn move_blocks(&mut self, opcode: NvmOpcode, nsid: u32, first: u64) {
        let space = &NAMESPACES[usize::try_from(nsid).unwrap() - 1];
        let mut shot = Shot::new(Queue::Io, opcode.into_bits(), nsid);
        shot.entry.set_cdw10_11(first);
        let mut cdw12 = ReadWriteCdw12::new().with_nlb_z(u16::try_from(WINDOW).unwrap() - 1);
        if space.protected {
            shot.entry.cdw14 = u32::try_from(first).unwrap().into();
            // Information that is right, made by the controller, and read as it is.
            cdw12.set_prinfo(Prinfo::new().with_pract(opcode == NvmOpcode::WRITE));
        }
        shot.entry.cdw12 = cdw12.into();
        let pages =
            (1..WINDOW * u64::from(space.block) / 4096).map(|page| Place::Arena(page * 4096));
        shot.lists = vec![List::Prp { at: 0, entries: pages.collect() }];
        shot.pointer = Pointer::Prp(Place::Arena(0), Place::Lists(0));
        shot.metadata = Place::Arena(METADATA);
        assert_eq!(self.fire(&shot).status, Status::SUCCESS, "{shot}");
    }

    /// Writes known blocks.
    pub(crate) fn write_media(&mut self) {
        for (nsid, space) in (1..).zip(&NAMESPACES) {
            self.fill_memory();
            for first in [0, space.blocks - WINDOW] {
                self.move_blocks(NvmOpcode::WRITE, nsid, first);
            }
        }
    }

    /// The blocks of each namespace with their metadata.
    pub(crate) fn media(&mut self) -> Vec<Vec<u8>> {
        let mut media = Vec::new();
        for (nsid, space) in (1..).zip(&NAMESPACES) {
            let mut all = Vec::new();
            for first in [0, space.blocks - WINDOW] {
                self.fill_memory();
                self.move_blocks(NvmOpcode::READ, nsid, first);
                all.extend(self.memory());
            }
            media.push(all);
        }
        self.fill_memory();
        media
    }
}
