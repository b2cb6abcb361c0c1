//! What is said about a copy that did not end well: the ends, as messages call them, and what is left.

use p2pdma::Mismatch;

use super::resume::Resume;
use super::side::Side;
use super::target::Writing;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::units;

/// A copy that did not end well.
pub(super) struct Ended {
    /// How many bytes from the start on are as they should be.
    pub(super) complete: u64,
    /// How many bytes were moved, wherever.
    pub(super) moved: u64,
    pub(super) failure: Failure,
    /// Whether what was written is not what was to be written.
    pub(super) is_wrong: bool,
}

/// The destination is not as the copy has left it that is to be gone on with.
pub(super) fn changed(sink: &str, at: u64) -> Failure {
    let message = format!(
        "{sink} has changed since the journal was written: the bytes from {at} on differ from the source's"
    );
    Failure::refused("JOURNAL", message).remedy("remove the journal to begin anew")
}

impl Ended {
    /// Says what is left of the copy: the failure, and the name of the partial result.
    pub(super) fn leave(
        self,
        names: &Names,
        mut writing: Writing,
        resume: Option<Resume>,
    ) -> (Failure, Option<String>) {
        let Self { complete, moved, failure, is_wrong } = self;
        let exit = failure.exit();
        let journal = resume.and_then(|resume| resume.abandon(is_wrong, &mut writing));
        let partial = names.partial(writing, exit, complete, moved);
        let mut failure = failure.append(&partial.note);
        if let Some(journal) = journal {
            let remedy =
                format!("the same command goes on from there: --resume {}", journal.display());
            failure = failure.or_remedy(&remedy);
        }
        (failure, partial.place)
    }
}

/// `base` is where the part that was compared begins.
pub(super) fn differs(mismatch: &Mismatch, base: u64, block: u64) -> Failure {
    let Mismatch { block: number, at, len, source, sink } = mismatch;
    let message = format!(
        "the destination differs from the source: first in block {} ({} from byte {} on)",
        base / block + number,
        units::exact_bytes(*len),
        base + at
    );
    let checksums = format!(
        "  CRC-64/NVMe of position and bytes: source {source:016x}, destination {sink:016x}\n"
    );
    Failure::new(Exit::Mismatch, "P2P-DATA-LOST", message)
        .details(checksums)
        .remedy("status said OK and the data are wrong: p2pdma explain DATA-LOST")
}

/// The ends, as messages call them.
pub(super) struct Names {
    pub(super) source: String,
    pub(super) sink: String,
    pub(super) source_offset: u64,
    pub(super) sink_offset: u64,
    /// Whether what reaches the destination stays there.
    pub(super) keeps: bool,
}

/// What is left of a copy that did not become complete.
pub(super) struct Partial {
    /// Its name, if anything is left.
    pub(super) place: Option<String>,
    /// What to tell people.
    pub(super) note: String,
}

impl Names {
    pub(super) fn of(source: &Side, sink: &Side) -> Self {
        Self {
            source: source.text.clone(),
            sink: sink.text.clone(),
            source_offset: source.offset,
            sink_offset: sink.offset,
            keeps: sink.keeps(),
        }
    }

    pub(super) fn failure(&self, error: p2pdma::Error) -> Failure {
        let Self { source, sink, source_offset, sink_offset, .. } = self;
        if error.is_full() {
            let message = format!("no room is left under {sink}: its file cannot grow");
            return Failure::new(Exit::Io, "FULL", message)
                .remedy("make room in the state folder, and run it again");
        }
        let p2pdma::Error::Mismatch { at } = error else { return error.into() };
        let at = at.saturating_sub(*sink_offset).saturating_add(*source_offset);
        let message = format!("{source} does not match {sink}: first at byte {at}");
        Failure::new(Exit::Mismatch, "MISMATCH", message)
    }

    pub(super) fn partial(
        &self,
        writing: Writing,
        exit: Exit,
        complete: u64,
        moved: u64,
    ) -> Partial {
        let bytes = units::exact_bytes(complete);
        if matches!(writing, Writing::Elsewhere) {
            let place = (self.keeps && moved > 0).then(|| self.sink.clone());
            let offset = self.sink_offset;
            let note = match &place {
                None if self.keeps => "; nothing was written".to_owned(),
                None => String::new(),
                Some(place) if exit == Exit::Mismatch => {
                    format!("; {place} keeps what arrived: {bytes} from byte {offset} on are right")
                }
                Some(place) => {
                    format!("; the partial result is in {place}: {bytes} from byte {offset} on")
                }
            };
            return Partial { place, note };
        }
        let place = writing.abandon(complete);
        let note = match &place {
            None => "; nothing was written".to_owned(),
            Some(place) => format!("; the partial result is {place}: its first {bytes}"),
        };
        Partial { place, note }
    }
}
