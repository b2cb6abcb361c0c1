//! Applications on the host that use memory: what a transfer through host memory takes away from them.

use p2pdma_pci::{Duration, Instant};

use crate::state::{Event, State};

/// An application that streams through its own host memory as fast as the channels let it.
///
/// It exists in modelled time only: without a timing model memory takes no time, and nothing could be
/// taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamReport {
    /// Bytes that it has got so far.
    pub bytes: u64,
    /// Modelled time since it began.
    pub elapsed: Duration,
}

/// How much the application asks for at a time, as a prefetching core does with a page.
const CHUNK: u64 = 4096;
/// How many such requests it keeps under way.
const DEPTH: usize = 4;

/// The applications of a host.
#[derive(Debug, Default)]
pub(crate) struct Streams(Vec<Stream>);

#[derive(Debug)]
struct Stream {
    began: Instant,
    bytes: u64,
    at: u64,
    running: bool,
}

impl State {
    /// Starts an application; `None` without a timing model.
    pub(crate) fn start_stream(&mut self) -> Option<usize> {
        self.channels.as_ref()?;
        let index = self.streams.0.len();
        let began = self.now();
        self.streams.0.push(Stream { began, bytes: 0, at: 0, running: true });
        for _ in 0..DEPTH {
            self.events.push(began, || Event::Stream(index));
        }
        Some(index)
    }

    /// One chunk was done: ask for the next.
    pub(crate) fn advance_stream(&mut self, index: usize) {
        let now = self.now();
        let (Some(stream), Some(channels)) = (self.streams.0.get_mut(index), &mut self.channels)
        else {
            return;
        };
        if !stream.running {
            return;
        }
        let done = channels.access(stream.at, CHUNK, now, now);
        stream.at = stream.at.wrapping_add(CHUNK);
        stream.bytes += CHUNK;
        self.events.push(done, || Event::Stream(index));
    }

    /// What an application got so far; `stop` ends it.
    pub(crate) fn stream_report(&mut self, index: usize, stop: bool) -> StreamReport {
        let now = self.now();
        match self.streams.0.get_mut(index) {
            Some(stream) => {
                stream.running &= !stop;
                StreamReport {
                    // What is still under way has not been got.
                    bytes: stream.bytes.saturating_sub(CHUNK * DEPTH as u64),
                    elapsed: now.since(stream.began),
                }
            }
            None => StreamReport { bytes: 0, elapsed: Duration::ZERO },
        }
    }
}
