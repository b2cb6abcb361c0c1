//! Whose turn it is (NVMe Base 2.1 §3.4.4).

use std::collections::VecDeque;

use p2pdma_spec::nvme::admin::QueuePriority;
use p2pdma_spec::nvme::feature::{Arbitration, NO_ARBITRATION_LIMIT};
use p2pdma_spec::nvme::queue::ADMIN_QID;

/// Submission queues with commands, in the order of their turns. A queue is in at most one place.
#[derive(Debug)]
pub(crate) struct Arbiter {
    weighted: bool,
    settings: Arbitration,
    /// With round robin all queues are in the first. Else: admin and urgent, strictly before all
    /// others; then high, medium and low.
    classes: [VecDeque<u16>; 5],
    /// Commands that high, medium and low may still fetch in this round.
    credits: [u32; 3],
    /// How many queues wait.
    waiting: usize,
}

const ADMIN: usize = 0;
const URGENT: usize = 1;
const WEIGHTED: usize = 2;

impl Arbiter {
    pub(crate) fn new(settings: Arbitration) -> Self {
        let classes = Default::default();
        Self { weighted: false, settings, classes, credits: [0; 3], waiting: 0 }
    }

    /// Begins anew, with one of the two mechanisms.
    pub(crate) fn reset(&mut self, weighted: bool, settings: Arbitration) {
        *self = Self { weighted, ..Self::new(settings) };
    }

    pub(crate) fn set(&mut self, settings: Arbitration) {
        self.settings = settings;
        self.credits = [0; 3];
    }

    /// Puts a queue at the end of its class.
    #[inline]
    pub(crate) fn push(&mut self, id: u16, priority: QueuePriority) {
        let class = if self.weighted { class_of(id, priority) } else { ADMIN };
        self.classes[class].push_back(id);
        self.waiting += 1;
    }

    /// The queue whose turn it is, and how many commands it may fetch.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(u16, u32)> {
        let burst = self.burst();
        let next = match self.classes[ADMIN].pop_front() {
            Some(id) => Some((id, burst)),
            None if self.weighted => self.next_weighted(burst),
            None => None,
        };
        self.waiting -= usize::from(next.is_some());
        next
    }

    fn next_weighted(&mut self, burst: u32) -> Option<(u16, u32)> {
        if let Some(id) = self.classes[URGENT].pop_front() {
            return Some((id, burst));
        }
        let weights = self.weights();
        let first = |with_credit: bool| {
            let waits = |&class: &usize| !self.classes[WEIGHTED + class].is_empty();
            (0..3).filter(waits).find(|&class| !with_credit || self.credits[class] > 0)
        };
        let class = first(true).or_else(|| first(false))?;
        let id = self.classes[WEIGHTED + class].pop_front()?;
        // Without credit it begins a new round, if it fetches anything.
        let most = if self.credits[class] > 0 { self.credits[class] } else { weights[class] };
        Some((id, burst.min(most)))
    }

    /// Commands that high, medium and low may fetch in a round.
    fn weights(&self) -> [u32; 3] {
        let weights = [self.settings.hpw_z(), self.settings.mpw_z(), self.settings.lpw_z()];
        weights.map(|weight| u32::from(weight) + 1)
    }

    /// A queue fetched `count` commands.
    #[inline]
    pub(crate) fn charge(&mut self, id: u16, priority: QueuePriority, count: u32) {
        if self.weighted
            && let Some(class) = class_of(id, priority).checked_sub(WEIGHTED)
        {
            if self.credits[class] == 0 {
                self.credits = self.weights();
            }
            self.credits[class] = self.credits[class].saturating_sub(count);
        }
    }

    fn burst(&self) -> u32 {
        match self.settings.ab() {
            NO_ARBITRATION_LIMIT => u32::MAX,
            ab => 1 << ab,
        }
    }

    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    /// How many commands a queue may fetch that comes now, if it need not wait for its turn.
    #[inline]
    pub(crate) fn alone(&self) -> Option<u32> {
        (self.waiting == 0 && !self.weighted).then(|| self.burst())
    }

    pub(crate) fn remove(&mut self, id: u16) {
        for class in &mut self.classes {
            class.retain(|&other| other != id);
        }
        self.waiting = self.classes.iter().map(VecDeque::len).sum();
    }
}

fn class_of(id: u16, priority: QueuePriority) -> usize {
    match priority {
        _ if id == ADMIN_QID => ADMIN,
        QueuePriority::URGENT => URGENT,
        QueuePriority::HIGH => WEIGHTED,
        QueuePriority::MEDIUM => WEIGHTED + 1,
        _ => WEIGHTED + 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arbiter: &mut Arbiter, priorities: &[QueuePriority], turns: usize) -> Vec<u32> {
        let mut served = vec![0; priorities.len()];
        for (id, priority) in (0..).zip(priorities) {
            arbiter.push(id, *priority);
        }
        for _ in 0..turns {
            let (id, most) = arbiter.next().unwrap();
            let (queue, count) = (usize::from(id), most.min(8));
            served[queue] += count;
            arbiter.charge(id, priorities[queue], count);
            arbiter.push(id, priorities[queue]);
        }
        served
    }

    #[test]
    fn round_robin_is_fair() {
        let mut arbiter = Arbiter::new(Arbitration::new().with_ab(3));
        let served = serve(&mut arbiter, &[QueuePriority::LOW; 5], 500);
        assert_eq!(served, [800; 5]);
    }

    #[test]
    fn weights_decide_between_classes() {
        let settings = Arbitration::new().with_ab(3).with_hpw_z(31).with_mpw_z(15).with_lpw_z(7);
        let mut arbiter = Arbiter::new(settings);
        arbiter.reset(true, settings);
        // Queue 0 is the admin queue, which is idle here.
        let classes = [QueuePriority::HIGH, QueuePriority::MEDIUM, QueuePriority::LOW];
        for (id, class) in (1..).zip(classes) {
            arbiter.push(id, class);
        }
        let mut served = [0; 3];
        for _ in 0..700 {
            let (id, most) = arbiter.next().unwrap();
            let class = usize::from(id) - 1;
            served[class] += most.min(8);
            arbiter.charge(id, classes[class], most.min(8));
            arbiter.push(id, classes[class]);
        }
        assert_eq!(served, [3200, 1600, 800]);
    }

    #[test]
    fn urgent_queues_starve_the_others_and_admin_starves_them() {
        let mut arbiter = Arbiter::new(Arbitration::new());
        arbiter.reset(true, Arbitration::new().with_ab(3));
        let classes = [QueuePriority::LOW, QueuePriority::URGENT, QueuePriority::HIGH];
        let served = serve(&mut arbiter, &classes, 10);
        assert_eq!(served, [80, 0, 0]);
        arbiter.remove(0);
        assert_eq!(arbiter.next(), Some((1, 8)));
        assert_eq!(arbiter.next().map(|(id, _)| id), Some(2));
        assert!(arbiter.is_idle());
    }
}
