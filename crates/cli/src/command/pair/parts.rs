//! One transfer by several threads, each of which moves a part.

use std::sync::{Arc, Barrier};
use std::thread;

use p2pdma::{Client, Ends, Failed, Job, PeerMemory, Plan, Platform, Report};

use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

/// Who moves a part.
pub(super) struct Mover<'a> {
    pub(super) platform: &'a dyn Platform,
    pub(super) source: &'a mut dyn Client,
    pub(super) sink: &'a mut dyn Client,
}

impl Mover<'_> {
    fn run(
        &mut self,
        plan: Plan,
        job: Job,
        memory: &Arc<PeerMemory>,
        interrupt: &Interrupt,
    ) -> std::result::Result<Report, Failed> {
        let ends = Ends { source: Some(&mut *self.source), sink: Some(&mut *self.sink) };
        p2pdma::run(self.platform, plan, ends, memory, job, &mut |_| interrupt.flow())
    }
}

/// Runs all parts at once; memory is taken before any of them begins.
pub(super) fn run(
    mut movers: Vec<Mover<'_>>,
    plan: &Plan,
    job: Job,
    interrupt: &Interrupt,
) -> Result<Report> {
    let memory = |mover: &Mover<'_>| Ok(Arc::new(plan.memory(mover.platform, job.memory())?));
    let memory = movers.iter().map(memory);
    let memory = memory.collect::<Result<Vec<_>>>()?;
    let parts = parts(job, movers.len() as u64);
    if let ([mover], [memory]) = (movers.as_mut_slice(), memory.as_slice()) {
        return mover
            .run(plan.clone(), job, memory, interrupt)
            .map_err(|failed| failed.error.into());
    }
    let start = Barrier::new(movers.len());
    let all = thread::scope(|scope| {
        let begin = |((mut mover, memory), part): ((Mover<'_>, Arc<PeerMemory>), Job)| {
            start.wait();
            mover.run(plan.clone(), part, &memory, interrupt)
        };
        let work = movers.into_iter().zip(memory).zip(parts);
        let threads: Vec<_> = work.map(|part| scope.spawn(move || begin(part))).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let mut whole: Option<Report> = None;
    for part in all {
        let part = part.map_err(|_| died())?.map_err(|failed| Failure::from(failed.error))?;
        match &mut whole {
            None => whole = Some(part),
            Some(whole) => beside(whole, &part),
        }
    }
    whole.ok_or_else(died)
}

fn died() -> Failure {
    p2pdma::Error::Internal("a thread that ended without a word").into()
}

/// The parts of a job: whole blocks, nearly as many each.
fn parts(job: Job, count: u64) -> Vec<Job> {
    let blocks = job.len.div_ceil(job.block);
    let place = |index: u64| (blocks * index / count * job.block).min(job.len);
    let part = |index| {
        let (begin, end) = (place(index), place(index + 1));
        Job { from: job.from + begin, to: job.to + begin, len: end - begin, ..job }
    };
    (0..count).map(part).collect()
}

/// Adds a part that ran at the same time.
fn beside(whole: &mut Report, part: &Report) {
    whole.elapsed = whole.elapsed.max(part.elapsed);
    whole.wall = whole.wall.max(part.wall);
    whole.join(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole_in_whole_blocks() {
        let job = Job { from: 1 << 20, to: 0, len: 10 * 4096 + 5, block: 4096, depth: 1 };
        for count in 1..15 {
            let parts = parts(job, count);
            let mut at = 0;
            for part in &parts {
                assert_eq!((part.from, part.to), ((1 << 20) + at, at));
                assert!(part.to.is_multiple_of(4096) || part.len == 0);
                at += part.len;
            }
            assert_eq!((at, parts.len() as u64), (job.len, count));
            let lengths = parts.iter().map(|part| part.len.div_ceil(4096));
            assert!(lengths.clone().max().unwrap() - lengths.min().unwrap() <= 1);
        }
    }
}
