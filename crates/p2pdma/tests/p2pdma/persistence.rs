//! Memory that keeps what is put there: after a flush it is there for good, and before that it need not be.

use std::ops::ControlFlow;
use std::sync::Arc;

use p2pdma::topology::MemoryKind;
use p2pdma::{
    Client, Durable, End, Ends, FabricPlatform, HostClient, Job, PeerMemory, Plan, Platform,
    Policy, Portion, ProviderId, Shape, Wish, run,
};

use crate::support::{BLOCK, client, preset, transfer};

const LEN: u64 = 1 << 20;
const JOB: Job = Job { from: 0, to: 0, len: LEN, block: BLOCK, depth: 4 };

/// A machine with an SSD that has a pattern, and the region of another.
fn machine() -> (FabricPlatform, ProviderId) {
    let platform = preset("vfio");
    let mut ssd = client(&platform, "nvme0");
    transfer(&platform, &mut HostClient::pattern(3), &mut *ssd, JOB, Policy::Require).unwrap();
    let bdf = platform.find("nvme1").unwrap();
    (platform, ProviderId { bdf, kind: MemoryKind::Pmr })
}

fn part(platform: &FabricPlatform, id: ProviderId) -> PeerMemory {
    let providers = platform.providers().unwrap();
    let region = providers.iter().find(|provider| {
        provider.bdf() == Some(id.bdf) && provider.kind() == p2pdma::ProviderKind::Peer(id.kind)
    });
    region.unwrap().part(0..LEN).unwrap()
}

fn bytes(memory: &PeerMemory) -> Vec<u8> {
    let mut bytes = vec![0; LEN as usize];
    memory.read(0, &mut bytes).unwrap();
    bytes
}

/// What is in the region after a loss of power.
fn after_a_cut(platform: FabricPlatform, id: ProviderId) -> Vec<u8> {
    let fabric = platform.fabric().clone();
    fabric.power_cut();
    drop(platform);
    fabric.enumerate().unwrap();
    let again = FabricPlatform::over(fabric);
    bytes(&part(&again, id))
}

/// From the SSD into the region, peer to peer; what is durable is told, or nobody asks for it. Returns what is there, at once
/// or after a loss of power: a look at it is a barrier, too.
fn into_the_region(durable: bool, cut: bool) -> Vec<u8> {
    let (platform, id) = machine();
    let (source, sink) = (End::Client(platform.find("nvme0").unwrap()), End::Memory(id));
    let policy = Policy::Require;
    let wish = Wish { source, sink, via: None, block: BLOCK, policy, barrier: None };
    let plan = Plan::on(&platform, wish).unwrap();
    assert_eq!(plan.shape, Shape::Into);
    let memory = Arc::new(part(&platform, id));
    let mut ssd = client(&platform, "nvme0");
    let mut told = 0;
    let mut tell = |complete| {
        told = complete;
        Ok(())
    };
    let tell: Option<Durable<'_>> = durable.then_some(Durable { every: LEN, tell: &mut tell });
    let portion = Portion { job: JOB, parts: None, durable: tell };
    let ends = Ends { source: Some(&mut *ssd), sink: None };
    run(&platform, plan, ends, &memory, portion, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(told, if durable { LEN } else { 0 });
    if !cut {
        return bytes(&memory);
    }
    drop((ssd, memory));
    after_a_cut(platform, id)
}

#[test]
fn what_is_told_to_be_durable_survives_a_loss_of_power() {
    let moved = into_the_region(false, false);
    assert!(into_the_region(true, true) == moved);
    let lost = into_the_region(false, true);
    assert!(lost != moved, "this model loses what no barrier made persistent");
}

#[test]
fn a_flush_of_what_the_host_wrote_is_a_barrier() {
    for flushed in [true, false] {
        let (platform, id) = machine();
        let memory = Arc::new(part(&platform, id));
        let data: Vec<u8> = (0..=255).cycle().take(LEN as usize).collect();
        memory.write(0, &data).unwrap();
        if flushed {
            HostClient::memory(Arc::clone(&memory)).flush().unwrap();
        }
        drop(memory);
        assert_eq!(after_a_cut(platform, id) == data, flushed);
    }
}
