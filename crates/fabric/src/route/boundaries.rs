//! Where decoding changes: between two neighbouring boundaries every address is decoded alike.

use crate::host::interrupt::INTERRUPTS;
use crate::host::memory::HostMemory;
use crate::tree::Tree;

/// All addresses at which something begins or ends, sorted.
#[derive(Debug, Default)]
pub(crate) struct Boundaries(Vec<u64>);

impl Boundaries {
    pub(crate) fn of(tree: &Tree, host_memory: &HostMemory) -> Self {
        let mut all = vec![INTERRUPTS.start, INTERRUPTS.end];
        all.extend(host_memory.runs().into_iter().flat_map(|(start, end)| [start, end]));
        for port in tree.ports.iter().filter(|port| port.decode.memory_enable) {
            for (first, last) in [port.decode.memory, port.decode.prefetchable] {
                all.extend([first, last.saturating_add(1)]);
            }
        }
        for function in &tree.functions {
            for bar in function.bars.iter().filter(|_| function.memory_enable) {
                let Some((start, end)) = bar.range() else {
                    continue;
                };
                all.extend(bar.regions.iter().map(|region| start + region.start));
                all.push(end);
            }
        }
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// The run of addresses around `at` that is decoded alike: its first, and one past its last (the
    /// very last address of all is in no run, and no transfer may end there).
    pub(crate) fn around(&self, at: u64) -> (u64, u64) {
        let after = self.0.partition_point(|&boundary| boundary <= at);
        let start = after.checked_sub(1).and_then(|index| self.0.get(index));
        (start.copied().unwrap_or(0), self.0.get(after).copied().unwrap_or(u64::MAX))
    }
}
