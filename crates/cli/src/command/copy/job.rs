//! How much to copy, and in which pieces. Pure: decided from what the ends can do.

use p2pdma::topology::MemoryKind;
use p2pdma::{Candidate, Plan, Shape, Via};

use super::side::{Abilities, Kind, Side};
use crate::failure::{Failure, Result};
use crate::output::units;

/// What the command line says about it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Request {
    pub(crate) length: Option<u64>,
    pub(crate) block_size: Option<u64>,
    pub(crate) queue_depth: Option<u32>,
}

/// In which pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Bytes of one operation.
    pub(crate) block: u64,
    /// Operations under way at each end.
    pub(crate) depth: u32,
    /// How many blocks the memory between the ends has room for.
    pub(crate) room: u32,
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// Bytes that count.
    pub(crate) payload: u64,
    /// Bytes that are moved: whole blocks of the device.
    pub(crate) moved: u64,
}

const BLOCK: u64 = 128 << 10;
const DEPTH: u32 = 8;

/// The block size and depth.
pub(crate) fn pieces(source: &Side, sink: &Side, request: &Request) -> Result<Pieces> {
    let (from, to) = (source.abilities(), sink.abilities());
    let most = from.max_transfer.min(to.max_transfer);
    // Both are powers of two.
    let unit = from.block.max(to.block);
    let block = match request.block_size {
        None => BLOCK.min(most),
        Some(block) if block > most => {
            let message = format!("--block-size {block} is more than one operation can move");
            return Err(
                Failure::usage(message).remedy(format!("at most {}", units::exact_bytes(most)))
            );
        }
        Some(block) if !block.is_multiple_of(unit) => {
            let message = format!("--block-size {block} is not a multiple of the device's blocks");
            return Err(Failure::usage(message).remedy(format!("they have {unit} bytes")));
        }
        Some(block) => block,
    };
    let most = u32::try_from(from.depth.min(to.depth)).unwrap_or(u32::MAX);
    let depth = request.queue_depth.unwrap_or(DEPTH.min(most));
    if depth > most {
        let message = format!("--queue-depth {depth} is more than the device's queue takes");
        return Err(Failure::usage(message).remedy(format!("at most {most}")));
    }
    Ok(Pieces { block, depth, room: u32::MAX })
}

/// The most host memory that blocks take, those that are under way and those that are compared.
pub(crate) const HOST_MEMORY: u64 = 64 << 20;
/// Verification has a block of each end.
const COMPARED: u64 = 2;

impl Pieces {
    /// No more blocks than the chosen memory has room for.
    pub(crate) fn within(self, plan: &Plan, candidates: &[Candidate]) -> Self {
        if plan.shape != Shape::Through {
            return self;
        }
        let capacity = match plan.via {
            Via::Peer(id) => candidates.iter().find(|candidate| candidate.id == id),
            Via::Host => None,
        };
        let host = HOST_MEMORY.saturating_sub(COMPARED * self.block);
        let capacity = capacity.map_or(host, |candidate| candidate.capacity);
        let room = u32::try_from(capacity / self.block).unwrap_or(u32::MAX).max(1);
        Self { depth: self.depth.min(room), room, ..self }
    }
}

/// How much to copy.
pub(crate) fn lengths(source: &Side, sink: &Side, request: &Request) -> Result<Lengths> {
    let (from, to) = (source.abilities(), sink.abilities());
    let available = beyond_offset(source, from.size, "--src-offset")?;
    let room = beyond_offset(sink, to.size, "--dst-offset")?;
    let payload = request.length.or(available).or(room).ok_or_else(|| {
        Failure::usage("neither end has an end: how much is to be copied?")
            .remedy("say --length SIZE")
    })?;
    if payload == 0 || available == Some(0) || room == Some(0) {
        return Err(nothing(source, sink, available));
    }
    if let Some(available) = available.filter(|available| payload > *available) {
        let message = format!(
            "{} has {} from there on, and {} were asked for",
            source.text,
            units::exact_bytes(available),
            units::exact_bytes(payload)
        );
        return Err(Failure::usage(message).remedy(format!("--length {available} copies them all")));
    }
    if let Some(room) = room.filter(|room| payload > *room) {
        let message = format!(
            "{} do not fit into {}, which has room for {}; nothing was written",
            units::exact_bytes(payload),
            sink.text,
            units::exact_bytes(room)
        );
        return Err(Failure::usage(message).remedy(format!("--length {room} copies what fits")));
    }
    aligned(source, from, "--src-offset")?;
    aligned(sink, to, "--dst-offset")?;
    let lengths = whole_blocks(source, sink, payload)?;
    for (side, option) in [(source, "--src-offset"), (sink, "--dst-offset")] {
        if side.offset.checked_add(lengths.moved).is_none() {
            let message = format!("{option} {} leads beyond 2^64 in {}", side.offset, side.text);
            return Err(Failure::usage(message).remedy(format!("choose a smaller {option}")));
        }
    }
    Ok(lengths)
}

fn nothing(source: &Side, sink: &Side, available: Option<u64>) -> Failure {
    let (side, what, option) = match available {
        Some(0) => (source, "nothing to copy in", "--src-offset"),
        _ => (sink, "no room in", "--dst-offset"),
    };
    if side.offset == 0 {
        return Failure::usage(format!("there is {what} {}: it is empty", side.text));
    }
    let message = format!("there is {what} {} from byte {} on", side.text, side.offset);
    Failure::usage(message).remedy(format!("a smaller {option} leaves some"))
}

fn beyond_offset(side: &Side, size: Option<u64>, option: &str) -> Result<Option<u64>> {
    let Some(size) = size else { return Ok(None) };
    let rest = size.checked_sub(side.offset).ok_or_else(|| {
        let message = format!("{option} {} is beyond the end of {}", side.offset, side.text);
        Failure::usage(message).remedy(format!("it has {}", units::exact_bytes(size)))
    })?;
    if side.offset > 0
        && matches!(side.kind, Kind::Memory { id, .. } if matches!(id.kind, MemoryKind::Cmb | MemoryKind::P2pmem))
    {
        let message =
            format!("{option} is not for {}: its driver decides where data are", side.text);
        return Err(Failure::usage(message).remedy(format!("leave {option} out")));
    }
    Ok(Some(rest))
}

fn aligned(side: &Side, can: Abilities, option: &str) -> Result<()> {
    if side.offset.is_multiple_of(can.block) {
        return Ok(());
    }
    let message = format!("{option} {} is no multiple of {}'s blocks", side.offset, side.text);
    let below = side.offset - side.offset % can.block;
    Err(Failure::usage(message).remedy(format!("they have {} bytes: {below} is one", can.block)))
}

/// A tail that is no whole block can be padded or cut at the host's end only.
fn whole_blocks(source: &Side, sink: &Side, payload: u64) -> Result<Lengths> {
    let unit = source.abilities().block.max(sink.abilities().block);
    let moved = payload.next_multiple_of(unit);
    // A file is padded with zeroes as it is read, and cut after it was written.
    let between_devices = source.is_device() && sink.is_device();
    if moved != payload && between_devices && !source.is_file() && !sink.is_file() {
        let message =
            format!("between devices {payload} bytes are no whole blocks of {unit} bytes");
        return Err(Failure::usage(message).remedy(format!("--length {moved} is")));
    }
    Ok(Lengths { payload, moved })
}

/// Within one namespace or memory, bytes that are still to be read must not be written.
pub(crate) fn refuse_overlap(source: &Side, sink: &Side, payload: u64) -> Result<()> {
    if !source.is(sink) || source.offset.abs_diff(sink.offset) >= payload {
        return Ok(());
    }
    let what = match source.offset == sink.offset {
        true => "the source is the destination",
        false => "source and destination overlap",
    };
    let message = format!("{what} in {}; nothing was written", source.text);
    Err(Failure::refused("OVERLAP", message)
        .remedy("choose --src-offset, --dst-offset and --length so that they do not touch"))
}
