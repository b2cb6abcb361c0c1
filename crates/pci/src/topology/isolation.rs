//! Which functions ACS isolates from one another, and what a change of it would join.

use super::build::Place;
use super::{AcsBit, Kind, NodeId, Topology};
use crate::Bdf;

/// Functions that would no longer be isolated from one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The functions, in the topology's order.
    pub functions: Vec<Bdf>,
    /// How many isolated groups they form today.
    pub groups: usize,
}

impl Topology {
    /// What it would cost to clear RR, CR and EC on these functions: the groups whose members could
    /// then reach one another without passing the root complex, and could not before. An IOMMU no
    /// longer separates them.
    ///
    /// A port whose ACS is not known counts as isolating nobody, before and after.
    #[must_use]
    pub fn cost_of_clearing(&self, ports: &[NodeId]) -> Vec<Merge> {
        let mut scopes: Vec<u32> = ports.iter().map(|port| self.top(port.0)).collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes.into_iter().flat_map(|top| self.merges_below(top, ports)).collect()
    }

    /// The isolated group of every function as things are: functions of one group reach each other, or
    /// a third of it, without passing the root complex.
    pub(super) fn current_groups(&self) -> Vec<u32> {
        let on_root_bus = (0..).zip(&self.places).filter(|(_, place)| place.parent == Place::NONE);
        on_root_bus.flat_map(|(top, _)| self.groups(top, &[])).collect()
    }

    fn merges_below(&self, top: u32, ports: &[NodeId]) -> Vec<Merge> {
        let after = self.groups(top, ports);
        let mut joined: Vec<(u32, u32, u32)> = (top..self.place(top).end)
            .zip(after)
            .filter(|&(at, _)| !self.kind_at(at).is_bridge())
            .map(|(at, after)| (after, at, self.groups[at as usize]))
            .collect();
        joined.sort_unstable();
        joined
            .chunk_by(|a, b| a.0 == b.0)
            .filter_map(|members| {
                let mut groups: Vec<u32> = members.iter().map(|&(_, _, group)| group).collect();
                groups.sort_unstable();
                groups.dedup();
                (groups.len() > 1).then(|| Merge {
                    functions: members.iter().map(|&(_, at, _)| self.bdf_at(at)).collect(),
                    groups: groups.len(),
                })
            })
            .collect()
    }

    /// The group of every function of a subtree, as a number that its members share. `cleared` are
    /// taken to have RR, CR and EC off.
    fn groups(&self, top: u32, cleared: &[NodeId]) -> Vec<u32> {
        let end = self.place(top).end;
        let mut joined = Joined::new(top, end);
        for at in (top..end).rev() {
            let parent = self.place(at).parent;
            joined.count_end(at, parent, !self.kind_at(at).is_bridge());
        }
        // Whether what is sent up from here comes down again, at this port or one above it; at a root
        // port it has reached the root.
        let mut turned_back = vec![false; (end - top) as usize];
        for at in top..end {
            let kind = self.kind_at(at);
            let above = (at != top).then(|| turned_back[(self.place(at).parent - top) as usize]);
            let forwards = self.control_at(at, AcsBit::UpstreamForwarding) == Some(true);
            let may_turn_back = matches!(kind, Kind::DownstreamPort | Kind::UnreadBridge);
            let here = above.unwrap_or(false) || may_turn_back && !forwards;
            turned_back[(at - top) as usize] = here;
            let reaches_all = |child| {
                joined.has_ends(child)
                    && (matches!(kind, Kind::PciBridge | Kind::UnreadBridge)
                        || self.reaches_all_peers(child, here, cleared))
            };
            if self.children(at).any(reaches_all) {
                joined.join_all(self.children(at));
            } else {
                self.join_by_vectors(at, &mut joined);
            }
        }
        for at in top + 1..end {
            joined.follow(at, self.place(at).parent);
        }
        (top..end).map(|at| joined.group(at)).collect()
    }

    /// Whether requests from below `child` reach all its peers without passing the root.
    fn reaches_all_peers(&self, child: u32, turned_back: bool, cleared: &[NodeId]) -> bool {
        match self.nodes[child as usize].acs.value() {
            Some(Some(acs)) if !cleared.contains(&NodeId(child)) => {
                let redirects = acs.control.request_redirect();
                if redirects { turned_back } else { !acs.control.egress_control() }
            }
            _ => true,
        }
    }

    /// Joins what is below the children of a bridge as their egress vectors allow, none of them
    /// reaching all its peers: what the vector does not list is reached directly, even with RR on.
    fn join_by_vectors(&self, bridge: u32, joined: &mut Joined) {
        for child in self.children(bridge) {
            let Some(Some(acs)) = self.nodes[child as usize].acs.value() else {
                continue;
            };
            if !acs.control.egress_control() {
                continue;
            }
            for peer in self.children(bridge).filter(|&peer| peer != child) {
                if self.lists(acs, child, peer) != Some(true) {
                    joined.join(child, peer);
                }
            }
        }
    }

    fn children(&self, bridge: u32) -> impl Iterator<Item = u32> {
        let end = self.place(bridge).end;
        let mut next = bridge + 1;
        std::iter::from_fn(move || {
            let child = next;
            (child < end).then(|| {
                next = self.place(child).end;
                child
            })
        })
    }

    /// The function on the root bus at or above this one.
    fn top(&self, at: u32) -> u32 {
        let mut at = at;
        loop {
            match self.place(at).parent {
                Place::NONE => return at,
                parent => at = parent,
            }
        }
    }
}

/// Disjoint sets of the functions of a subtree.
struct Joined {
    top: u32,
    parents: Vec<u32>,
    /// Whether all that is below is in one set.
    whole: Vec<bool>,
    /// How many functions below, itself included, are no bridges: sets are about these.
    ends: Vec<u32>,
}

impl Joined {
    fn new(top: u32, end: u32) -> Self {
        let size = (end - top) as usize;
        Self { top, parents: (top..end).collect(), whole: vec![false; size], ends: vec![0; size] }
    }

    fn index(&self, at: u32) -> usize {
        (at - self.top) as usize
    }

    fn count_end(&mut self, at: u32, parent: u32, is_end: bool) {
        let here = self.index(at);
        self.ends[here] += u32::from(is_end);
        if at != self.top {
            let parent = self.index(parent);
            self.ends[parent] += self.ends[here];
        }
    }

    fn has_ends(&self, at: u32) -> bool {
        self.ends[self.index(at)] > 0
    }

    fn group(&self, at: u32) -> u32 {
        let mut at = at;
        loop {
            match self.parents[self.index(at)] {
                parent if parent == at => return at,
                parent => at = parent,
            }
        }
    }

    fn union(&mut self, a: u32, b: u32) {
        let (a, b) = (self.group(a), self.group(b));
        // The lower number is the root: chains stay short, since joins go down the tree.
        let (low, high) = (a.min(b), a.max(b));
        let high = self.index(high);
        self.parents[high] = low;
    }

    /// Joins all that is below one with all that is below the other, if there is something below both.
    fn join(&mut self, a: u32, b: u32) {
        if self.has_ends(a) && self.has_ends(b) {
            self.union(a, b);
            for at in [a, b] {
                let at = self.index(at);
                self.whole[at] = true;
            }
        }
    }

    fn join_all(&mut self, peers: impl Iterator<Item = u32>) {
        let mut first = None;
        for peer in peers {
            match first {
                _ if !self.has_ends(peer) => {}
                None => first = Some(peer),
                Some(first) => self.join(first, peer),
            }
        }
    }

    /// Lets a function be in the set of the bridge above it, if that holds all below.
    fn follow(&mut self, at: u32, parent: u32) {
        if self.whole[self.index(parent)] {
            self.union(at, parent);
            let here = self.index(at);
            self.whole[here] = true;
        }
    }
}
