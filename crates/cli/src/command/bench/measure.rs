//! One size and depth, measured both ways in turns.

use std::time::{Duration, Instant};

use p2pdma::{Job, Plan, Policy, Report};

use super::blocks::BlocksDocument;
use super::document::{PathDocument, RowDocument};
use super::interference::{self, Application, Beside};
use super::spread::Spread;
use crate::command::copy::{HOST_MEMORY, ModelledDocument};
use crate::command::pair::{Pair, Spent};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::units::{self, per_second, ratio};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) block: u64,
    /// Of each thread.
    pub(crate) depth: u32,
    pub(crate) threads: u32,
    /// Bytes of a round.
    pub(crate) bytes: u64,
    pub(crate) rounds: u32,
    pub(crate) time: Option<Duration>,
    /// Whether an application uses host memory meanwhile.
    pub(crate) interference: bool,
}

/// How long an application is alone in each turn.
const ALONE: Duration = Duration::from_millis(200);

/// One way, measured so far.
#[derive(Debug)]
struct Way<'a> {
    plan: &'a Plan,
    /// All rounds together.
    total: Option<Report>,
    /// GB/s of this machine's time, a figure for each round.
    rates: Vec<f64>,
    /// What all rounds together have cost; `None` on the fabric.
    spent: Option<Spent>,
    /// What an application got done beside it.
    beside: Beside,
}

impl Case {
    /// Both ways, planned.
    pub(crate) fn plans(&self, pair: &Pair<'_>) -> Result<[Plan; 2]> {
        let peer = pair.plan(Policy::Require, self.block)?;
        let blocks = u64::from(self.job().blocks()) * u64::from(self.threads);
        let needed = self.block.saturating_mul(blocks);
        if let Some(room) = pair.room(&peer).filter(|room| needed > *room) {
            let message = format!(
                "{} blocks of {} need {}, and {} has {}",
                blocks,
                units::bytes(self.block),
                units::bytes(needed),
                peer.via,
                units::bytes(room)
            );
            return Err(Failure::usage(message).remedy(self.less()));
        }
        if needed > HOST_MEMORY && pair.spent().is_some() {
            let message = format!(
                "{blocks} blocks of {} need {} of host memory on the bounce: more than {}",
                units::bytes(self.block),
                units::bytes(needed),
                units::bytes(HOST_MEMORY)
            );
            return Err(Failure::usage(message).remedy(self.less()));
        }
        Ok([peer, pair.plan(Policy::Off, self.block)?])
    }

    /// What would need less memory.
    fn less(&self) -> String {
        let depth = if self.depth > 2 { " or --queue-depth" } else { "" };
        let threads = if self.threads > 1 { ", or fewer --threads," } else { "" };
        format!("a smaller --block-size{depth}{threads} needs less")
    }

    fn job(&self) -> Job {
        Job { from: 0, to: 0, len: self.bytes, block: self.block, depth: self.depth }
    }

    /// Measures both ways.
    pub(crate) fn measure(
        &self,
        pair: &mut Pair<'_>,
        plans: &[Plan; 2],
        interrupt: &Interrupt,
    ) -> Result<RowDocument> {
        pair.threads(self.threads)?;
        let application = self.interference.then(Application::start);
        let application = application.as_ref();
        let mut ways = plans.each_ref().map(Way::new);
        let mut alone = Beside::default();
        // A round of each that does not count: memory is touched for the first time, caches fill.
        for way in &mut ways {
            self.round(pair, way, None, interrupt)?;
            *way = Way::new(way.plan);
        }
        let began = Instant::now();
        let mut rounds = 0;
        loop {
            // Whoever goes first changes, so that neither has what the other left warm.
            for turn in 0..2_usize {
                let which = (turn + rounds as usize) % 2;
                self.round(pair, &mut ways[which], application, interrupt)?;
            }
            if let Some(application) = application {
                alone.add(application.during(|| interrupt.pause(ALONE)).1);
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
        let beside = ways.each_mut().map(|way| std::mem::take(&mut way.beside));
        let [peer, bounce] = ways.map(|way| way.document(self));
        let application = application.and_then(|_| interference::document(alone, beside));
        Ok(RowDocument::new(self, rounds, [peer, bounce], application))
    }

    fn round(
        &self,
        pair: &mut Pair<'_>,
        way: &mut Way<'_>,
        application: Option<&Application>,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let job = self.job();
        let (before, began) = (pair.spent(), Instant::now());
        let report = match application {
            None => pair.run(way.plan.clone(), job, interrupt)?,
            Some(application) => {
                let run = || pair.run(way.plan.clone(), job, interrupt);
                let (report, done) = application.during(run);
                way.beside.add(done);
                report?
            }
        };
        let seconds = match before {
            None => began.elapsed().as_secs_f64(),
            // The platform's clock is this machine's, and knows when the first request began.
            Some(_) => report.elapsed.as_secs_f64(),
        };
        way.rates.extend(per_second(self.bytes, seconds).map(|rate| rate / 1e9));
        if let Some((now, before)) = pair.spent().zip(before) {
            way.spent.get_or_insert(Spent::NOTHING).add(now.since(before));
        }
        match &mut way.total {
            None => way.total = Some(report),
            Some(total) => {
                total.join(&report);
                total.elapsed = total.elapsed + report.elapsed;
            }
        }
        Ok(())
    }
}

impl<'a> Way<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, total: None, rates: Vec::new(), spent: None, beside: Beside::default() }
    }

    fn document(mut self, case: &Case) -> PathDocument {
        let per_byte = |count: u64, bytes: u64| ratio(count, bytes.max(1));
        let total = self.total.as_ref();
        let traffic = total.and_then(|total| Some((total.traffic?, total.bytes)));
        debug_assert!(total.is_none_or(|total| total.bytes % case.bytes == 0));
        PathDocument {
            host_memory_bytes_per_byte: traffic
                .map(|(traffic, bytes)| per_byte(traffic.host_memory, bytes)),
            root_port_bytes_per_byte: traffic
                .map(|(traffic, bytes)| per_byte(traffic.root_ports, bytes)),
            modelled: total.and_then(ModelledDocument::of).filter(|_| self.spent.is_none()),
            measured_blocks: total
                .zip(self.spent)
                .map(|(total, spent)| BlocksDocument::new(total, spent, !case.interference)),
            measured_gb_per_second: Spread::of(&mut self.rates),
        }
    }
}
