//! The engine: fetch descriptors, read, write, report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use p2pdma_fabric::{Attributes, Port, TimerId, TlpError, TlpErrorKind};
use p2pdma_pci::{Instant, Iova};
use zerocopy::IntoBytes as _;

use super::registers::{CompletionRecord, Descriptor, FLAG_INTERRUPT, MoverStatus};
use super::{MAX_LENGTH, SLOTS};

/// Descriptors are fetched in runs of at most this many.
const BATCH: u32 = 32;
/// A copy is made in pieces of this size.
const PIECE: usize = 64 << 10;
/// Pieces that one call moves; then others have a turn.
const PIECES_PER_CALL: u32 = 256;

/// What waits for its time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Descriptors from `head` on have been fetched.
    Fetched(u32, u32),
    /// A slot's data are here.
    Read(usize),
    /// A slot's data have arrived.
    Written(usize),
}

/// A copy under way.
#[derive(Debug)]
struct Copy {
    descriptor: Descriptor,
    /// Bytes that were asked for.
    started: u32,
    /// Bytes that arrived, from the beginning and without a gap.
    copied: u32,
    /// Pieces that arrived behind a gap: where each begins, and its length.
    ahead: Vec<(u32, u32)>,
    /// Slots that are its.
    slots: u32,
    status: MoverStatus,
}

impl Copy {
    /// A piece arrived. Pieces are asked for in order, and may arrive in any.
    fn arrive(&mut self, start: u32, len: u32) {
        if start != self.copied {
            return self.ahead.push((start, len));
        }
        self.copied += len;
        while let Some(next) = self.ahead.iter().position(|(start, _)| *start == self.copied) {
            self.copied += self.ahead.swap_remove(next).1;
        }
    }
}

#[derive(Debug, Clone)]
struct Slot {
    data: Box<[u8]>,
    len: usize,
    index: u32,
    /// Where in its copy the piece begins.
    start: u32,
    target: u64,
}

/// The engine while it is enabled.
#[derive(Debug)]
pub(super) struct Engine {
    ring: u64,
    completions: u64,
    entries: u32,
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) failed: bool,
    /// Descriptors that are fetched or on their way, and not complete.
    unfinished: u32,
    /// Descriptors on their way.
    fetched: Vec<Descriptor>,
    fetching: bool,
    copies: BTreeMap<u32, Copy>,
    /// Copies of which something is still to be read.
    reading: VecDeque<u32>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    waiting: BinaryHeap<Reverse<(Instant, u64, Stage)>>,
    sequence: u64,
    phases: Vec<bool>,
    again: bool,
}

impl Engine {
    pub(super) fn new(ring: u64, completions: u64, entries: u32) -> Self {
        let slot = Slot { data: vec![0; PIECE].into(), len: 0, index: 0, start: 0, target: 0 };
        Self {
            ring,
            completions,
            entries,
            head: 0,
            tail: 0,
            failed: false,
            unfinished: 0,
            fetched: Vec::new(),
            fetching: false,
            copies: BTreeMap::new(),
            reading: VecDeque::new(),
            slots: vec![slot; SLOTS],
            free: (0..SLOTS).collect(),
            waiting: BinaryHeap::new(),
            sequence: 0,
            phases: vec![true; entries as usize],
            again: false,
        }
    }

    /// The doorbell.
    pub(super) fn ring(&mut self, tail: u32, port: &mut Port<'_>) {
        if tail < self.entries {
            self.tail = tail;
            self.run(port);
        }
    }

    pub(super) fn wake(&mut self, port: &mut Port<'_>) {
        self.again = false;
        let now = port.now();
        while let Some(Reverse(next)) = self.waiting.peek() {
            if next.0 > now {
                break;
            }
            let Some(Reverse((_, _, stage))) = self.waiting.pop() else { break };
            match stage {
                Stage::Fetched(first, count) => self.begin(first, count, port),
                Stage::Read(slot) => self.write(slot, port),
                Stage::Written(slot) => self.written(slot, port),
            }
        }
        self.run(port);
    }

    fn later(&mut self, at: Instant, stage: Stage, port: &mut Port<'_>) {
        self.sequence += 1;
        self.waiting.push(Reverse((at, self.sequence, stage)));
        port.wake_at(at, TimerId(0));
    }

    fn run(&mut self, port: &mut Port<'_>) {
        let mut budget = PIECES_PER_CALL;
        while !self.failed && budget > 0 {
            budget -= 1;
            if !self.read_next(port) && !self.fetch(port) {
                return;
            }
        }
        if !self.failed && !self.again {
            self.again = true;
            port.wake_at(port.now(), TimerId(0));
        }
    }

    /// Fetches descriptors; false if there are none, or enough.
    fn fetch(&mut self, port: &mut Port<'_>) -> bool {
        let first = self.head;
        let end = if self.tail >= first { self.tail } else { self.entries };
        // Completion records have the indexes of descriptors: none is under way twice, wherever the tail
        // goes.
        let busy = self.copies.range(first..).next().map_or(end, |(&index, _)| index.min(end));
        let count = busy.saturating_sub(first).min(BATCH);
        if count == 0 || self.fetching || self.unfinished >= BATCH {
            return false;
        }
        self.fetched.resize(count as usize, Descriptor::default());
        let at = self.ring + u64::from(first) * size_of::<Descriptor>() as u64;
        let bytes = self.fetched.as_mut_slice().as_mut_bytes();
        let Ok(done) = port.read(Iova(at), bytes, Attributes::CONTROL) else {
            self.failed = true;
            return false;
        };
        self.head = if first + count == self.entries { 0 } else { first + count };
        self.unfinished += count;
        if done > port.now() {
            self.fetching = true;
            self.later(done, Stage::Fetched(first, count), port);
        } else {
            self.begin(first, count, port);
        }
        true
    }

    /// Takes up the descriptors that were fetched.
    fn begin(&mut self, first: u32, count: u32, port: &mut Port<'_>) {
        self.fetching = false;
        let descriptors = std::mem::take(&mut self.fetched);
        for (index, descriptor) in (first..first + count).zip(&descriptors) {
            let len = descriptor.length.get();
            let fits = |at: u64| at.checked_add(u64::from(len)).is_some();
            let valid = (1..=MAX_LENGTH).contains(&len)
                && descriptor.flags.get() & !FLAG_INTERRUPT == 0
                && fits(descriptor.source.get())
                && fits(descriptor.target.get());
            let status = if valid { MoverStatus::Success } else { MoverStatus::InvalidDescriptor };
            let descriptor = *descriptor;
            let (started, copied, slots, ahead) = (0, 0, 0, Vec::new());
            let copy = Copy { descriptor, started, copied, ahead, slots, status };
            self.copies.insert(index, copy);
            if valid {
                self.reading.push_back(index);
            } else {
                self.finish(index, port);
            }
        }
        self.fetched = descriptors;
    }

    /// Reads the next piece of a copy; false if there is nothing to read, or no slot.
    fn read_next(&mut self, port: &mut Port<'_>) -> bool {
        let (Some(&index), Some(&number)) = (self.reading.front(), self.free.last()) else {
            return false;
        };
        let Some(copy) = self.copies.get_mut(&index) else { return false };
        let left = copy.descriptor.length.get() - copy.started;
        let slot = &mut self.slots[number];
        slot.len = PIECE.min(left as usize);
        slot.index = index;
        slot.start = copy.started;
        slot.target = copy.descriptor.target.get() + u64::from(copy.started);
        let source = copy.descriptor.source.get() + u64::from(copy.started);
        let read = port.read(Iova(source), &mut slot.data[..slot.len], Attributes::DATA);
        // A slot is at most 64 KiB.
        copy.started += u32::try_from(slot.len).unwrap_or(left);
        if copy.started == copy.descriptor.length.get() || read.is_err() {
            self.reading.pop_front();
        }
        match read {
            Ok(done) => {
                copy.slots += 1;
                self.free.pop();
                if done > port.now() {
                    self.later(done, Stage::Read(number), port);
                } else {
                    self.write(number, port);
                }
            }
            Err(error) => {
                copy.status = status_of(error);
                self.finish_if_idle(index, port);
            }
        }
        true
    }

    fn write(&mut self, number: usize, port: &mut Port<'_>) {
        let slot = &self.slots[number];
        let sent = port.write(Iova(slot.target), &slot.data[..slot.len], Attributes::DATA);
        match sent {
            Ok(done) if done > port.now() => self.later(done, Stage::Written(number), port),
            Ok(_) => self.written(number, port),
            Err(error) => {
                let index = slot.index;
                if let Some(copy) = self.copies.get_mut(&index) {
                    copy.status = status_of(error);
                    copy.slots -= 1;
                    self.reading.retain(|&other| other != index);
                }
                self.free.push(number);
                self.finish_if_idle(index, port);
            }
        }
    }

    fn written(&mut self, number: usize, port: &mut Port<'_>) {
        let Slot { index, start, len, .. } = self.slots[number];
        self.free.push(number);
        if let Some(copy) = self.copies.get_mut(&index) {
            copy.slots -= 1;
            // A slot is at most 64 KiB.
            copy.arrive(start, u32::try_from(len).unwrap_or(0));
        }
        self.finish_if_idle(index, port);
    }

    fn finish_if_idle(&mut self, index: u32, port: &mut Port<'_>) {
        let done = self.copies.get(&index).is_some_and(|copy| {
            let all = copy.started == copy.descriptor.length.get();
            copy.slots == 0 && (all || copy.status != MoverStatus::Success)
        });
        if done {
            self.finish(index, port);
        }
    }

    /// Writes the completion record.
    fn finish(&mut self, index: u32, port: &mut Port<'_>) {
        let Some(copy) = self.copies.remove(&index) else { return };
        self.unfinished -= 1;
        let phase = &mut self.phases[index as usize];
        let record = CompletionRecord {
            cookie: copy.descriptor.cookie,
            copied: copy.copied.into(),
            status: (copy.status as u16).into(),
            phase: u16::from(*phase).into(),
        };
        *phase = !*phase;
        let at = self.completions + u64::from(index) * size_of::<CompletionRecord>() as u64;
        if port.write(Iova(at), record.as_bytes(), Attributes::CONTROL).is_err() {
            self.failed = true;
        }
        if copy.descriptor.flags.get() & FLAG_INTERRUPT != 0 {
            port.raise(0);
        }
    }
}

fn status_of(error: TlpError) -> MoverStatus {
    match error.kind {
        TlpErrorKind::UnsupportedRequest => MoverStatus::UnsupportedRequest,
        TlpErrorKind::CompleterAbort => MoverStatus::CompleterAbort,
        TlpErrorKind::CompletionTimeout => MoverStatus::CompletionTimeout,
        TlpErrorKind::Poisoned => MoverStatus::Poisoned,
        TlpErrorKind::BusMasterDisabled | TlpErrorKind::LinkDown => MoverStatus::CannotSend,
    }
}
