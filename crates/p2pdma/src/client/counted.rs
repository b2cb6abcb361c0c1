//! A client that counts what it moves, for platforms on which nothing else does.

use std::ops::Range;
use std::sync::Arc;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Route, Topology};

use super::{Moved, NvmeClient, Way};
use crate::Error;
use crate::memory::PeerMemory;
use crate::platform::{Attachment, Capabilities, Client, Done, Op, Ticket};

/// A namespace under our own driver. Bytes are counted as commands are given: one that fails counts too.
pub(crate) struct Counted {
    client: NvmeClient,
    topology: Arc<Topology>,
    /// The ways to the owners of attached memory.
    ways: Vec<(Option<Bdf>, Way)>,
    moved: Arc<Moved>,
}

impl Counted {
    pub(crate) fn new(client: NvmeClient, topology: Arc<Topology>, moved: Arc<Moved>) -> Self {
        Self { client, topology, ways: Vec::new(), moved }
    }

    fn way_to(&self, owner: Option<Bdf>) -> Way {
        match (self.client.bdf(), owner) {
            (_, None) => Way::Host,
            (own, owner) if own == owner => Way::Own,
            (Some(own), Some(owner)) => match self.topology.route(own, owner) {
                Route::ThroughHostBridge { .. } => Way::ThroughRoot,
                _ => Way::Local,
            },
            (None, Some(_)) => Way::ThroughRoot,
        }
    }
}

impl Client for Counted {
    fn bdf(&self) -> Option<Bdf> {
        self.client.bdf()
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    fn attach(&mut self, memory: &Arc<PeerMemory>) -> Result<Attachment, Error> {
        let attachment = self.client.attach(memory)?;
        let owner = memory.owner();
        if self.ways.iter().all(|(known, _)| *known != owner) {
            self.ways.push((owner, self.way_to(owner)));
        }
        Ok(attachment)
    }

    fn submit(
        &mut self,
        op: Op,
        memory: &Attachment,
        range: Range<u64>,
        ticket: Ticket,
    ) -> Result<(), Error> {
        self.client.submit(op, memory, range, ticket)?;
        let owner = memory.memory.owner();
        let way = self.ways.iter().find(|(known, _)| *known == owner);
        let (Op::Fill { len, .. } | Op::Drain { len, .. }) = op;
        // What was attached has a way; host memory is what a transfer must answer for.
        self.moved.count(way.map_or(Way::Host, |(_, way)| *way), len);
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.client.poll(done)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.client.flush()
    }
}
