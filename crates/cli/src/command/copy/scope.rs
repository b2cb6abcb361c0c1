//! What of a copy is moved: not what is durable already, and not the holes of a file where the destination
//! can have holes as well, or zero them itself.

use std::ops::Range;

use p2pdma::Parts;
use p2pdma::linux::io::extents;

use super::host::HostEnd;
use super::job::Lengths;
use super::side::{Kind, Side};
use crate::failure::{Failure, Result};
use crate::operand::Operand;

/// What of a copy is moved, in bytes from its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// What the destination has, durably.
    pub(crate) durable: Parts,
    /// Where the source has no data, and the destination may.
    pub(crate) holes: Parts,
    /// What is moved.
    pub(crate) moved: Parts,
    /// The first of it that the source has as data, if it has any: what a device does with a hole proves nothing.
    pub(crate) sample: Option<Range<u64>>,
    /// What becomes of holes.
    pub(crate) made: Made,
}

/// What the destination does where the source has a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Made {
    /// It gets the zeroes that are read there.
    #[default]
    Data,
    /// It has a hole, too: it is a new file.
    Hole,
    /// It is a block device, and makes zeroes of it by itself.
    Zeroes,
}

impl Scope {
    pub(crate) fn of(
        source: &Side,
        sink: &Side,
        to: &Operand,
        lengths: Lengths,
        durable: Option<&Parts>,
    ) -> Result<Self> {
        let whole = Parts::whole(lengths.moved);
        let made = Made::of(sink, to);
        let data = match &source.kind {
            Kind::Volume { volume, .. } if source.is_file() => {
                let (file, start) = (&*volume.file, source.offset);
                let found = extents(file, start..start.saturating_add(lengths.payload))
                    .map_err(|error| Failure::file(file.path(), &error))?;
                let unit = source.abilities().block.max(sink.abilities().block);
                let data = found.into_iter().filter(|extent| extent.data).map(|extent| {
                    let at = extent.start.saturating_sub(start);
                    at..at.saturating_add(extent.len)
                });
                Parts::new(data).in_whole(unit).up_to(lengths.moved)
            }
            _ => whole.clone(),
        };
        let durable = durable.map_or_else(Parts::default, |durable| durable.up_to(lengths.moved));
        let (data, holes) = (data.without(&durable), whole.without(&data).without(&durable));
        let sample = data.ranges().first().cloned();
        let mut scope = Self { moved: data, durable, holes, made, sample };
        if made == Made::Data {
            scope.fill_holes();
        }
        Ok(scope)
    }

    /// Everything up to here is there before anything is moved.
    pub(crate) fn there(&self) -> u64 {
        self.durable.ranges().first().filter(|part| part.start == 0).map_or(0, |part| part.end)
    }

    /// Moves the zeroes of holes as well.
    pub(crate) fn fill_holes(&mut self) {
        let all = self.moved.ranges().iter().chain(self.holes.ranges()).cloned();
        (self.moved, self.holes) = (Parts::new(all), Parts::default());
    }
}

impl Made {
    fn of(sink: &Side, to: &Operand) -> Self {
        match (&sink.kind, to) {
            (Kind::Volume { grows: true, .. }, _) => Self::Hole,
            (Kind::Volume { .. }, _) => Self::Zeroes,
            (Kind::Host(HostEnd::Target), Operand::File(_)) => Self::Hole,
            _ => Self::Data,
        }
    }
}
