//! What a hostile controller does, and when.

use p2pdma_spec::nvme::queue::CompletionEntry;

use super::random::Random;

/// What becomes of a completion that an honest controller would post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Honest,
    /// Another command identifier.
    WrongCommand,
    /// Twice.
    Duplicate,
    /// Another submission queue.
    WrongQueue,
    /// A head beyond the queue.
    HeadOutOfRange,
    /// Some head within the queue.
    WrongHead,
    /// The old phase tag.
    WrongPhase,
    /// Never.
    Lost,
    /// Only when it is aborted.
    Held,
    /// Random bytes with the right phase tag.
    Garbage,
    /// Some status.
    Status,
    /// Entries all through the queue.
    Flood,
    /// CSTS.CFS.
    Fatal,
    /// All ones from every register.
    Gone,
    /// CSTS.RDY goes away.
    Unready,
    /// An asynchronous event for every request, at once.
    EventStorm,
    /// Some turns later.
    Late,
    /// Interrupts without end.
    InterruptStorm,
    /// More data than was asked for, past the end of the memory: not among the others, since no driver can
    /// do anything against it.
    Overrun,
}

pub(crate) const DEEDS: [Deed; 17] = [
    Deed::WrongCommand,
    Deed::Duplicate,
    Deed::WrongQueue,
    Deed::HeadOutOfRange,
    Deed::WrongHead,
    Deed::WrongPhase,
    Deed::Lost,
    Deed::Held,
    Deed::Garbage,
    Deed::Status,
    Deed::Flood,
    Deed::Fatal,
    Deed::Gone,
    Deed::Unready,
    Deed::EventStorm,
    Deed::Late,
    Deed::InterruptStorm,
];

/// A plan of misdeeds.
#[derive(Debug, Clone)]
pub(crate) struct Mischief {
    pub(crate) random: Random,
    /// One completion in so many is tampered with; 0 for none.
    pub(crate) odds: u64,
    /// Which deeds are chosen from.
    pub(crate) deeds: Vec<Deed>,
    /// Whether the admin queue is left alone.
    pub(crate) io_only: bool,
    /// How many completions are honest at first.
    pub(crate) patience: u64,
    /// How many deeds were done.
    pub(crate) done: u64,
    /// The structure that an Identify command gets is changed with this probability.
    pub(crate) identify_odds: u64,
}

impl Mischief {
    pub(crate) fn none() -> Self {
        Self {
            random: Random::new(0),
            odds: 0,
            deeds: Vec::new(),
            io_only: false,
            patience: 0,
            done: 0,
            identify_odds: 0,
        }
    }

    /// The same deed at every completion after `patience`.
    pub(crate) fn always(deed: Deed, patience: u64) -> Self {
        Self { odds: 1, deeds: vec![deed], patience, ..Self::none() }
    }

    /// What becomes of the next completion of a queue.
    pub(crate) fn next(&mut self, qid: u16) -> Deed {
        if self.io_only && qid == 0 {
            return Deed::Honest;
        }
        if self.patience > 0 {
            self.patience -= 1;
            return Deed::Honest;
        }
        if self.odds == 0 || !self.random.one_in(self.odds) {
            return Deed::Honest;
        }
        self.done += 1;
        self.random.pick(&self.deeds)
    }

    /// Changes some of the bytes of an Identify structure.
    pub(crate) fn spoil(&mut self, bytes: &mut [u8]) {
        if self.identify_odds == 0 || !self.random.one_in(self.identify_odds) {
            return;
        }
        for _ in 0..=self.random.below(6) {
            // Most of what matters is near the beginning, or where sizes and formats are.
            let area =
                self.random.pick(&[(0, 160), (70, 20), (256, 8), (512, 40), (128, 16), (0, 4096)]);
            let at = usize::try_from(area.0 + self.random.below(area.1)).unwrap();
            let value = self.random.pick(&[0, 1, 0x3f, 0x7f, 0x80, 0xff]);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
    }

    /// Random bytes.
    pub(crate) fn garbage(&mut self) -> CompletionEntry {
        let (low, high) = (self.random.bytes(), self.random.bytes());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&low);
        bytes[8..].copy_from_slice(&high);
        CompletionEntry::from_bytes(bytes)
    }
}
