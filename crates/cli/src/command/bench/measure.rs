//! One size and depth, measured both ways in turns.

use std::time::{Duration, Instant};

use p2pdma::{Job, Plan, Policy, Report};

use super::blocks::BlocksDocument;
use super::document::{PathDocument, RowDocument, Spread};
use crate::command::copy::ModelledDocument;
use crate::command::pair::{Pair, Spent};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::units::{self, per_second, ratio};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) block: u64,
    pub(crate) depth: u32,
    /// Bytes of a round.
    pub(crate) bytes: u64,
    pub(crate) rounds: u32,
    pub(crate) time: Option<Duration>,
}

/// One way, measured so far.
#[derive(Debug)]
struct Way<'a> {
    plan: &'a Plan,
    /// All rounds together.
    total: Option<Report>,
    /// Bytes per second of this machine's time, a figure for each round.
    rates: Vec<f64>,
    /// What all rounds together have cost; `None` on the fabric.
    spent: Option<Spent>,
}

impl Case {
    /// Both ways, planned.
    pub(crate) fn plans(&self, pair: &Pair<'_>) -> Result<[Plan; 2]> {
        let peer = pair.plan(Policy::Require, self.block)?;
        let needed = self.block.saturating_mul(self.depth.into());
        if let Some(room) = pair.room(&peer).filter(|room| needed > *room) {
            let message = format!(
                "{} blocks of {} need {}, and {} has {}",
                self.depth,
                units::bytes(self.block),
                units::bytes(needed),
                peer.via,
                units::bytes(room)
            );
            return Err(Failure::usage(message)
                .remedy("a smaller --block-size or --queue-depth needs less"));
        }
        Ok([peer, pair.plan(Policy::Off, self.block)?])
    }

    /// Measures both ways.
    pub(crate) fn measure(
        &self,
        pair: &mut Pair<'_>,
        plans: &[Plan; 2],
        interrupt: &Interrupt,
    ) -> Result<RowDocument> {
        let mut ways = plans.each_ref().map(Way::new);
        // A round of each that does not count: memory is touched for the first time, caches fill.
        for way in &mut ways {
            self.round(pair, way, interrupt)?;
            *way = Way::new(way.plan);
        }
        let began = Instant::now();
        let mut rounds = 0;
        loop {
            // Whoever goes first changes, so that neither has what the other left warm.
            for turn in 0..2_usize {
                let which = (turn + rounds as usize) % 2;
                self.round(pair, &mut ways[which], interrupt)?;
            }
            rounds += 1;
            let enough = match self.time {
                Some(time) => began.elapsed() >= time,
                None => rounds >= self.rounds,
            };
            if enough {
                break;
            }
        }
        let [peer, bounce] = ways.map(|way| way.document(self.bytes));
        let depth = self.depth;
        Ok(RowDocument::new(self.block, depth, self.bytes, rounds, peer, bounce))
    }

    fn round(&self, pair: &mut Pair<'_>, way: &mut Way<'_>, interrupt: &Interrupt) -> Result<()> {
        let (block, depth) = (self.block, self.depth);
        let job = Job { from: 0, to: 0, len: self.bytes, block, depth };
        let (before, began) = (pair.spent(), Instant::now());
        let report = pair.run(way.plan.clone(), job, interrupt)?;
        let seconds = match before {
            None => began.elapsed().as_secs_f64(),
            // The platform's clock is this machine's, and knows when the first request began.
            Some(_) => report.elapsed.as_secs_f64(),
        };
        way.rates.extend(per_second(self.bytes, seconds));
        if let Some((now, before)) = pair.spent().zip(before) {
            let (round, all) = (now.since(before), way.spent.get_or_insert_default());
            all.calls += round.calls;
            all.processor += round.processor;
        }
        match &mut way.total {
            None => way.total = Some(report),
            Some(total) => add(total, &report),
        }
        Ok(())
    }
}

/// Adds a round to those before it.
fn add(total: &mut Report, round: &Report) {
    total.bytes += round.bytes;
    total.elapsed = total.elapsed + round.elapsed;
    total.operations += round.operations;
    if let (Some(sum), Some(traffic)) = (&mut total.traffic, round.traffic) {
        sum.host_memory += traffic.host_memory;
        sum.root_ports += traffic.root_ports;
        sum.peer_local += traffic.peer_local;
        sum.peer_through_root += traffic.peer_through_root;
    }
    // Both are of one make, so that every value of one fits the other.
    let added = total.latency.add(&round.latency);
    debug_assert!(added.is_ok(), "histograms of one make");
}

impl<'a> Way<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, total: None, rates: Vec::new(), spent: None }
    }

    fn document(mut self, round_bytes: u64) -> PathDocument {
        let per_byte = |count: u64, bytes: u64| ratio(count, bytes.max(1));
        let total = self.total.as_ref();
        let traffic = total.and_then(|total| Some((total.traffic?, total.bytes)));
        debug_assert!(total.is_none_or(|total| total.bytes % round_bytes == 0));
        PathDocument {
            host_memory_bytes_per_byte: traffic
                .map(|(traffic, bytes)| per_byte(traffic.host_memory, bytes)),
            root_port_bytes_per_byte: traffic
                .map(|(traffic, bytes)| per_byte(traffic.root_ports, bytes)),
            modelled: total.and_then(ModelledDocument::of).filter(|_| self.spent.is_none()),
            measured_blocks: total
                .zip(self.spent)
                .map(|(total, spent)| BlocksDocument::new(total, spent)),
            measured_gb_per_second: Spread::of(&mut self.rates),
        }
    }
}
