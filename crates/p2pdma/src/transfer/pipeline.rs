//! The transfer as a pure state machine: which operation comes next, and what has ended.
//!
//! It knows no device, no memory and no time, so every interleaving can be tried.

use std::collections::VecDeque;

use super::Parts;

/// What happens to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The source puts it into memory.
    Fill,
    /// The sink takes it out.
    Drain,
}

/// What kind of transfer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// From client to client, through slots of memory that are used again and again.
    Through,
    /// From a client into memory, which is the end: block `i` goes to its own place.
    Into,
    /// From memory, which is the beginning, to a client.
    OutOf,
}

impl Shape {
    /// What happens to a block first.
    #[inline]
    const fn first(self) -> Stage {
        match self {
            Self::Through | Self::Into => Stage::Fill,
            Self::OutOf => Stage::Drain,
        }
    }
}

/// The next operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// Fill or drain.
    pub stage: Stage,
    /// The slot whose block this is; also the ticket's number.
    pub slot: u32,
    /// Where the block begins, in bytes from the transfer's start.
    pub at: u64,
    /// Its length in bytes: the block size, or less at the end.
    pub len: u64,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// Start this operation.
    Start(Step),
    /// Wait for one under way to end.
    Wait,
    /// Everything has been moved.
    Finished,
}

/// A call that the state machine cannot have asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slot {slot} has no {stage:?} under way")]
pub struct Unexpected {
    /// The slot named.
    pub slot: u32,
    /// The stage said to have ended.
    pub stage: Stage,
}

/// A transfer's progress.
#[derive(Debug, Clone)]
pub struct Pipeline {
    shape: Shape,
    parts: Parts,
    /// The number of the part after the one that blocks are taken from.
    part: usize,
    block: u64,
    /// The first byte of that part that no operation has been started for, and where it ends.
    next: u64,
    end: u64,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots that are filled and wait to be drained, oldest first.
    filled: VecDeque<u32>,
    /// The most of each stage that may be under way, and how many are.
    depth: usize,
    filling: usize,
    draining: usize,
    moved: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    Filling { at: u64, len: u64 },
    Filled { at: u64, len: u64 },
    Draining { at: u64, len: u64 },
}

impl Pipeline {
    /// A transfer of `len` bytes in blocks of `block`, through `slots`, with at most `depth` operations of each stage under
    /// way. All three are at least one; zero is taken for one.
    #[must_use]
    pub fn new(shape: Shape, len: u64, block: u64, slots: u32, depth: u32) -> Self {
        Self::of_parts(shape, Parts::whole(len), block, slots, depth)
    }

    /// The same of parts only: no block is in two of them.
    #[must_use]
    pub fn of_parts(shape: Shape, parts: Parts, block: u64, slots: u32, depth: u32) -> Self {
        let slots = slots.max(1);
        Self {
            shape,
            parts,
            part: 0,
            block: block.max(1),
            next: 0,
            end: 0,
            slots: vec![Slot::Free; slots as usize],
            free: (0..slots).rev().collect(),
            filled: VecDeque::with_capacity(slots as usize),
            depth: depth.max(1) as usize,
            filling: 0,
            draining: 0,
            moved: 0,
        }
    }

    /// How many bytes have been moved from end to end.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// How many operations are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.filling + self.draining
    }

    /// What to do next. Draining comes before filling, so that memory is free again soonest.
    #[inline]
    pub fn next_step(&mut self) -> Next {
        if self.draining < self.depth
            && let Some(slot) = self.filled.pop_front()
        {
            let Slot::Filled { at, len } = self.slots[slot as usize] else { return Next::Wait };
            self.slots[slot as usize] = Slot::Draining { at, len };
            return self.start(Stage::Drain, slot, at, len);
        }
        let first = self.shape.first();
        if *self.of(first) < self.depth
            && !self.free.is_empty()
            && (self.next < self.end || self.turn_to_next_part())
            && let Some(slot) = self.free.pop()
        {
            let (at, len) = (self.next, self.block.min(self.end - self.next));
            self.next += len;
            self.slots[slot as usize] = match first {
                Stage::Fill => Slot::Filling { at, len },
                Stage::Drain => Slot::Draining { at, len },
            };
            return self.start(first, slot, at, len);
        }
        if self.under_way() > 0 { Next::Wait } else { Next::Finished }
    }

    /// Whether there is one.
    fn turn_to_next_part(&mut self) -> bool {
        let Some(part) = self.parts.ranges().get(self.part) else { return false };
        self.part += 1;
        (self.next, self.end) = (part.start, part.end);
        true
    }

    /// How many of a stage are under way.
    #[inline]
    fn of(&mut self, stage: Stage) -> &mut usize {
        match stage {
            Stage::Fill => &mut self.filling,
            Stage::Drain => &mut self.draining,
        }
    }

    #[inline]
    fn start(&mut self, stage: Stage, slot: u32, at: u64, len: u64) -> Next {
        *self.of(stage) += 1;
        Next::Start(Step { stage, slot, at, len })
    }

    /// Takes back a step that could not be started, to be asked for again.
    ///
    /// # Errors
    /// [`Unexpected`] if it is not the last one that was handed out for its slot.
    pub fn put_back(&mut self, step: Step) -> Result<(), Unexpected> {
        let Step { stage, slot, at, len } = step;
        let unexpected = Unexpected { slot, stage };
        let state = self.slots.get_mut(slot as usize).ok_or(unexpected)?;
        match (stage, self.shape, *state) {
            (Stage::Drain, Shape::Through, Slot::Draining { .. }) => {
                *state = Slot::Filled { at, len };
                self.filled.push_front(slot);
            }
            (Stage::Fill, _, Slot::Filling { .. }) | (Stage::Drain, _, Slot::Draining { .. })
                if at + len == self.next =>
            {
                *state = Slot::Free;
                self.free.push(slot);
                self.next = at;
            }
            _ => return Err(unexpected),
        }
        *self.of(stage) -= 1;
        Ok(())
    }

    /// An operation has ended well. Returns its block, from end to end, if that is now moved.
    ///
    /// # Errors
    /// [`Unexpected`] if no such operation is under way.
    #[inline]
    pub fn ended(&mut self, stage: Stage, slot: u32) -> Result<Option<(u64, u64)>, Unexpected> {
        let unexpected = Unexpected { slot, stage };
        let state = self.slots.get_mut(slot as usize).ok_or(unexpected)?;
        let moved = match (stage, *state) {
            (Stage::Fill, Slot::Filling { at, len }) if self.shape == Shape::Through => {
                *state = Slot::Filled { at, len };
                self.filled.push_back(slot);
                None
            }
            (Stage::Fill, Slot::Filling { at, len })
            | (Stage::Drain, Slot::Draining { at, len }) => {
                *state = Slot::Free;
                self.free.push(slot);
                self.moved += len;
                Some((at, len))
            }
            _ => return Err(unexpected),
        };
        *self.of(stage) -= 1;
        Ok(moved)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the test's numbers are small")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape() -> impl Strategy<Value = Shape> {
        prop_oneof![Just(Shape::Through), Just(Shape::Into), Just(Shape::OutOf)]
    }

    proptest! {
        /// Whatever ends first, and whatever cannot be started at once: every byte of the parts goes
        /// through each stage exactly once, in a slot that nobody else has, and the end is reached.
        #[test]
        fn every_byte_is_moved_once(
            shape in shape(),
            len in 0u64..5000,
            holes in proptest::collection::vec((0u64..5000, 0u64..1500), 0..4),
            block in 1u64..700,
            slots in 1u32..9,
            depth in 1u32..9,
            choices in proptest::collection::vec(any::<u8>(), 0..4000),
        ) {
            let holes = Parts::new(holes.into_iter().map(|(at, len)| at..at + len));
            let parts = Parts::whole(len).without(&holes);
            let mut pipeline = Pipeline::of_parts(shape, parts.clone(), block, slots, depth);
            let mut choices = choices.into_iter().chain(std::iter::repeat(0));
            let mut under_way: Vec<Step> = Vec::new();
            let (mut filled, mut drained) = (vec![0; len as usize], vec![0; len as usize]);
            let mut most = 0;
            loop {
                match pipeline.next_step() {
                    Next::Start(step) if choices.next() == Some(1) => pipeline.put_back(step).unwrap(),
                    Next::Start(step) => {
                        prop_assert!(!under_way.iter().any(|other| other.slot == step.slot));
                        under_way.push(step);
                        most = most.max(under_way.len());
                        let stage = under_way.iter().filter(|other| other.stage == step.stage);
                        prop_assert!(stage.count() <= depth as usize);
                    }
                    Next::Wait => {
                        prop_assert_eq!(pipeline.under_way(), under_way.len());
                        let turn = usize::from(choices.next().unwrap_or(0)) % under_way.len();
                        let step = under_way.swap_remove(turn);
                        let counts =
                            if step.stage == Stage::Fill { &mut filled } else { &mut drained };
                        for count in &mut counts[step.at as usize..(step.at + step.len) as usize] {
                            *count += 1;
                        }
                        pipeline.ended(step.stage, step.slot).unwrap();
                        prop_assert!(pipeline.ended(step.stage, step.slot).is_err());
                    }
                    Next::Finished => break,
                }
            }
            let (fills, drains) = match shape {
                Shape::Through => (1, 1),
                Shape::Into => (1, 0),
                Shape::OutOf => (0, 1),
            };
            let is_in = |at: usize| parts.ranges().iter().any(|part| part.contains(&(at as u64)));
            for at in 0..len as usize {
                let times = u32::from(is_in(at));
                prop_assert_eq!((filled[at], drained[at]), (fills * times, drains * times));
            }
            prop_assert_eq!(pipeline.moved(), parts.bytes());
            prop_assert!(most <= slots as usize);
            if depth >= slots && parts.bytes() >= block * u64::from(slots) {
                prop_assert_eq!(most, slots as usize, "every slot was used at once");
            }
        }
    }

    fn step(next: Next) -> (Stage, u32, u64) {
        let Next::Start(step) = next else { panic!("{next:?}") };
        (step.stage, step.slot, step.at)
    }

    #[test]
    fn fills_and_drains_overlap() {
        let mut pipeline = Pipeline::new(Shape::Through, 4096, 1024, 2, 2);
        assert_eq!(step(pipeline.next_step()), (Stage::Fill, 0, 0));
        assert_eq!(step(pipeline.next_step()), (Stage::Fill, 1, 1024));
        assert_eq!(pipeline.next_step(), Next::Wait);
        pipeline.ended(Stage::Fill, 1).unwrap();
        assert_eq!(step(pipeline.next_step()), (Stage::Drain, 1, 1024));
        assert_eq!(pipeline.under_way(), 2, "slot 0 is still being filled");
    }

    #[test]
    fn one_operation_at_each_end_overlaps_with_the_other_s() {
        let mut pipeline = Pipeline::new(Shape::Through, 3072, 1024, 2, 1);
        assert_eq!(step(pipeline.next_step()), (Stage::Fill, 0, 0));
        assert_eq!(pipeline.next_step(), Next::Wait, "a slot is free, and its filler is not");
        pipeline.ended(Stage::Fill, 0).unwrap();
        assert_eq!(step(pipeline.next_step()), (Stage::Drain, 0, 0));
        assert_eq!(step(pipeline.next_step()), (Stage::Fill, 1, 1024));
        pipeline.ended(Stage::Fill, 1).unwrap();
        assert_eq!(pipeline.next_step(), Next::Wait, "slot 1 is full, and its drainer is not free");
        pipeline.ended(Stage::Drain, 0).unwrap();
        assert_eq!(step(pipeline.next_step()), (Stage::Drain, 1, 1024));
        assert_eq!(step(pipeline.next_step()), (Stage::Fill, 0, 2048));
        assert_eq!(pipeline.under_way(), 2);
    }
}
