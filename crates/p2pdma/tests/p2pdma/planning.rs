//! Plans: which memory is chosen, and why no other.

use p2pdma::topology::{Allowlist, MemoryKind, ReasonCode, Topology};
use p2pdma::{
    Bdf, Candidate, End, FabricPlatform, NoPath, Plan, Platform, Policy, ProviderId, Reach, Shape,
    Storage, Via, Why, Wish, presets,
};

const BLOCK: u64 = 128 << 10;

fn topology(preset: &str) -> (FabricPlatform, std::sync::Arc<Topology>) {
    let machine = presets::machine(preset, None).unwrap();
    let platform = FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap();
    let topology = platform.topology().unwrap();
    (platform, topology)
}

fn wish(platform: &FabricPlatform, policy: Policy) -> Wish {
    let end = |name| End::Client(platform.find(name).unwrap());
    Wish {
        source: end("nvme0"),
        sink: end("nvme1"),
        via: None,
        block: BLOCK,
        policy,
        barrier: None,
    }
}

fn plan(preset: &str, policy: Policy) -> Result<Plan, Box<NoPath>> {
    let (platform, topology) = topology(preset);
    let providers = platform.providers().unwrap();
    let candidates: Vec<_> = providers.iter().filter_map(Candidate::of).collect();
    Plan::new(&topology, wish(&platform, policy), &candidates)
}

#[test]
fn every_preset_has_the_verdict_that_its_readme_gives() {
    for (preset, code) in [
        ("default", None),
        ("acs-redirect", Some(ReasonCode::AcsRedirect)),
        ("iommu", Some(ReasonCode::AcsRedirect)),
        ("iommu-open", None),
        ("two-switches", None),
        ("down-trained", None),
        ("no-cmb", Some(ReasonCode::NoPeerMemory)),
        ("root-ports", Some(ReasonCode::RootNotAllowed)),
        ("root-ports-allowed", None),
        ("root-ports-lossy", None),
        ("multi-function", Some(ReasonCode::AcsRedirect)),
        ("eight-ssds", None),
    ] {
        let planned = plan(preset, Policy::Require);
        assert_eq!(planned.as_ref().err().map(|no_path| no_path.code), code, "{preset}");
        let preferred = plan(preset, Policy::Prefer).unwrap();
        assert_eq!(preferred.uses_host_memory(), code.is_some(), "{preset}");
        assert_eq!(preferred.bounced.is_some(), code.is_some(), "{preset}");
        assert_eq!(plan(preset, Policy::Off).unwrap().via, Via::Host, "{preset}");
    }
}

#[test]
fn the_source_s_own_buffer_is_no_detour() {
    let plan = plan("default", Policy::Require).unwrap();
    assert_eq!(plan.shape, Shape::Through);
    assert_eq!(plan.legs[0].reach, Reach::Own);
    assert!(matches!(&plan.legs[1].reach, Reach::Peer(route) if route.distance() == Some(4)));
}

/// Three SSDs' buffers, of which the nearest that both ends reach is wanted.
#[test]
fn the_nearest_candidate_wins_and_the_others_say_why_not() {
    let (platform, topology) = topology("eight-ssds");
    let at = |name: &str| platform.find(name).unwrap();
    let candidate = |name, capacity| Candidate {
        id: ProviderId { bdf: at(name), kind: MemoryKind::Cmb },
        capacity,
    };
    let all = [candidate("nvme5", 1 << 20), candidate("nvme0", 4096), candidate("nvme1", 1 << 20)];
    let wish = wish(&platform, Policy::Require);
    let plan = Plan::new(&topology, wish.clone(), &all).unwrap();
    assert_eq!(plan.via, Via::Peer(all[2].id));
    let why: Vec<_> =
        plan.rejected.iter().map(|rejected| (rejected.id.bdf, &rejected.why)).collect();
    assert!(matches!(why[0], (bdf, Why::TooSmall { capacity: 4096, .. }) if bdf == at("nvme0")));
    assert!(matches!(why[1], (bdf, Why::Farther { distance: 8, .. }) if bdf == at("nvme5")));
    let asked = Wish { via: Some(all[0].id), ..wish.clone() };
    assert_eq!(Plan::new(&topology, asked, &all).unwrap().via, Via::Peer(all[0].id));
    let small = Wish { via: Some(all[1].id), ..wish.clone() };
    let refused = Plan::new(&topology, small, &all).unwrap_err();
    assert_eq!(refused.code, ReasonCode::PoolEmpty);
}

/// What persists is never overwritten by a transfer that somebody else asked for.
#[test]
fn a_persistent_region_is_used_only_by_name() {
    let text = presets::text("no-cmb").unwrap().replacen(
        "below = \"sw0.0\"",
        "below = \"sw0.0\"\npmr = \"16M\"",
        1,
    );
    let platform = crate::support::machine(&text);
    let topology = platform.topology().unwrap();
    let providers = platform.providers().unwrap();
    let candidates: Vec<_> = providers.iter().filter_map(Candidate::of).collect();
    let id = ProviderId { bdf: platform.find("nvme0").unwrap(), kind: MemoryKind::Pmr };
    let wish = wish(&platform, Policy::Require);
    let refused = Plan::new(&topology, wish.clone(), &candidates).unwrap_err();
    assert_eq!(refused.code, ReasonCode::NoPeerMemory);
    assert_eq!((refused.rejected[0].id, &refused.rejected[0].why), (id, &Why::Unpublished));
    let preferred = Wish { policy: Policy::Prefer, ..wish.clone() };
    assert!(Plan::new(&topology, preferred, &candidates).unwrap().uses_host_memory());
    let asked = Wish { via: Some(id), ..wish.clone() };
    assert_eq!(Plan::new(&topology, asked, &candidates).unwrap().via, Via::Peer(id));
}

#[test]
fn memory_can_be_an_end_but_not_both() {
    let (platform, topology) = topology("eight-ssds");
    let at = |name: &str| platform.find(name).unwrap();
    let index = p2pdma::topology::MemoryKind::Bar(p2pdma::BarIndex::ZERO);
    let providers = platform.providers().unwrap();
    let candidates: Vec<_> = providers.iter().filter_map(Candidate::of).collect();
    let gpu = candidates.iter().find(|candidate| candidate.id.bdf == at("gpu0")).unwrap().id;
    assert_eq!(gpu.kind, index);
    let memory = End::Memory(gpu);
    let wish = |source, sink| Wish { source, sink, ..wish(&platform, Policy::Require) };
    let into =
        Plan::new(&topology, wish(End::Client(at("nvme3")), memory.clone()), &candidates).unwrap();
    assert_eq!((into.shape, into.legs.len(), into.via), (Shape::Into, 1, Via::Peer(gpu)));
    let out =
        Plan::new(&topology, wish(memory.clone(), End::Client(at("nvme3"))), &candidates).unwrap();
    assert_eq!(out.shape, Shape::OutOf);
    let both = Plan::new(&topology, wish(memory.clone(), memory.clone()), &candidates).unwrap_err();
    assert_eq!(both.code, ReasonCode::NoMover);
    assert!(both.to_string().contains("neither end starts requests"), "{both}");
    let host = Plan::new(&topology, wish(End::Host, memory), &candidates).unwrap();
    assert_eq!(host.legs[0].reach, Reach::Processor);
}

#[test]
fn what_is_not_there_is_said_by_name() {
    let (platform, topology) = topology("no-cmb");
    let nowhere = ProviderId { bdf: Bdf::new(0, 9, 0, 0).unwrap(), kind: MemoryKind::Cmb };
    let wish = Wish { via: Some(nowhere), ..wish(&platform, Policy::Require) };
    let refused = Plan::new(&topology, wish.clone(), &[]).unwrap_err();
    assert_eq!(refused.code, ReasonCode::NoPeerMemory);
    assert!(refused.to_string().contains("0000:09:00.0/cmb is not there"), "{refused}");
}
