//! What a function lends, from what its driver shows.

use p2pdma_pci::BusAddr;
use p2pdma_pci::topology::{LentMemory, MemoryKind};
use p2pdma_spec::nvme::cmb::{Cmbloc, Cmbsz};

use crate::{Bar, CmbRegisters, Function};

/// The smallest BAR that is taken for memory, and not for registers.
const LEAST: u64 = 1 << 20;

/// The pool of the kernel, and the controller memory buffer behind it or ignored by it. Without either,
/// BARs that look like memory: large, prefetchable, with an address of 64 bits. A peer may reach them; the
/// kernel lends none of them.
pub(super) fn lent(function: &Function) -> Vec<LentMemory> {
    let mut memory = Vec::new();
    let cmb = function.cmb.value().copied().flatten().and_then(|cmb| buffer(function, cmb));
    let pool = function.pool.value().copied().flatten();
    if let Some(pool) = pool
        && let Some(&size) = pool.size.value()
    {
        memory.push(LentMemory {
            kind: MemoryKind::P2pmem,
            size,
            behind: None,
            // The kernel does not say; where a CMB is of the pool's size, it is the pool.
            address: cmb.filter(|cmb| cmb.size == size).and_then(|cmb| cmb.address),
            published: pool.published.value().copied().unwrap_or(false),
        });
    }
    // One that became the pool is not lent twice.
    let pooled = |cmb: &LentMemory| memory.first().is_some_and(|pool| pool.size == cmb.size);
    let cmb = cmb.filter(|cmb| !pooled(cmb));
    memory.extend(cmb);
    if memory.is_empty() && function.pool.value().copied().flatten().is_none() {
        memory.extend(function.bars.value().into_iter().flatten().filter_map(plain_bar));
    }
    memory
}

fn plain_bar(bar: &Bar) -> Option<LentMemory> {
    let size = *bar.size.value()?;
    let memory = bar.memory && bar.prefetchable && bar.wide && size >= LEAST;
    memory.then_some(LentMemory {
        kind: MemoryKind::Bar(bar.index),
        size,
        behind: None,
        address: Some(bar.address),
        published: false,
    })
}

/// A controller memory buffer as `nvme_map_cmb()` in drivers/nvme/host/pci.c finds it: cut off at the end
/// of its BAR. It is published if data can be both read from and written to it.
fn buffer(function: &Function, registers: CmbRegisters) -> Option<LentMemory> {
    let location = Cmbloc::from_bits(registers.location);
    let size = Cmbsz::from_bits(registers.size);
    let bytes = size.size_bytes().filter(|&bytes| bytes > 0)?;
    let offset = location.offset_bytes(size.szu())?;
    let bars = function.bars.value()?;
    let bar: &Bar = bars.iter().find(|bar| bar.index.get() == location.bir() && bar.memory)?;
    let room = bar.size.value()?.checked_sub(offset).filter(|&room| room > 0)?;
    Some(LentMemory {
        kind: MemoryKind::Cmb,
        size: bytes.min(room),
        behind: (bytes > room).then_some(bytes),
        address: bar.address.0.checked_add(offset).map(BusAddr),
        published: size.rds() && size.wds(),
    })
}
