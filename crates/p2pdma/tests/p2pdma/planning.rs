//! Plans: which memory is chosen, and why no other.

use p2pdma::topology::{Allowlist, MemoryKind, ReasonCode, Topology};
use p2pdma::{
    Barrier, Bdf, Candidate, End, FabricPlatform, NoPath, Plan, Platform, Policy, ProviderId,
    Reach, Shape, Storage, Via, Why, Wish, presets,
};

use crate::support::machine;

const BLOCK: u64 = 128 << 10;

fn topology_of(preset: &str) -> (FabricPlatform, std::sync::Arc<Topology>) {
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
    let (platform, topology) = topology_of(preset);
    let candidates = Candidate::all(&platform).unwrap();
    Plan::new(&topology, wish(&platform, policy), &candidates)
}

#[test]
fn every_preset_has_the_verdict_that_its_readme_gives() {
    for (preset, code) in [
        ("default", None),
        ("acs-redirect", Some(ReasonCode::AcsRedirect)),
        ("iommu", Some(ReasonCode::AcsRedirect)),
        ("iommu-open", None),
        ("vfio", None),
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
    let (platform, topology) = topology_of("eight-ssds");
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
    let candidates = Candidate::all(&platform).unwrap();
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
    let (platform, topology) = topology_of("eight-ssds");
    let at = |name: &str| platform.find(name).unwrap();
    let index = p2pdma::topology::MemoryKind::Bar(p2pdma::BarIndex::ZERO);
    let candidates = Candidate::all(&platform).unwrap();
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
    let (platform, topology) = topology_of("no-cmb");
    let nowhere = ProviderId { bdf: Bdf::new(0, 9, 0, 0).unwrap(), kind: MemoryKind::Cmb };
    let wish = Wish { via: Some(nowhere), ..wish(&platform, Policy::Require) };
    let refused = Plan::new(&topology, wish.clone(), &[]).unwrap_err();
    assert_eq!(refused.code, ReasonCode::NoPeerMemory);
    assert!(refused.to_string().contains("0000:09:00.0/cmb is not there"), "{refused}");
}

/// Two SSDs below the switch of the lender, and one below a switch below it.
const DEEPER: &str = r#"
    name = "deeper"
    [[host-bridge]]
    name = "host0"
    id = "8086:29c0"
    p2p = "refuse"
    [[root-port]]
    name = "rp0"
    on = "host0"
    [[switch]]
    name = "upper"
    below = "rp0"
    ports = 3
    acs = "none"
    [[switch]]
    name = "lower"
    below = "upper.2"
    ports = 1
    acs = "none"
    [[nvme]]
    name = "nvme0"
    below = "upper.0"
    cmb = "1M"
    [[nvme]]
    name = "nvme1"
    below = "upper.1"
    [[nvme]]
    name = "nvme2"
    below = "lower.0"
"#;

#[test]
fn a_volume_is_as_far_as_the_device_for_which_it_is_hardest() {
    let platform = machine(DEEPER);
    let topology = platform.topology().unwrap();
    let candidates = Candidate::all(&platform).unwrap();
    let distance = |sink: End| {
        let wish = Wish { sink, ..wish(&platform, Policy::Require) };
        let plan = Plan::new(&topology, wish, &candidates).unwrap();
        match &plan.legs[1].reach {
            Reach::Peer(route) => route.distance(),
            _ => None,
        }
    };
    let names: Vec<Bdf> =
        (0..3).filter_map(|number| platform.find(&format!("nvme{number}"))).collect();
    let each: Vec<_> = names.iter().map(|&bdf| distance(End::Client(bdf))).collect();
    let all = *each.iter().max().unwrap();
    assert!(each.iter().flatten().any(|distance| Some(*distance) < all), "{each:?}");
    for order in [names.clone(), names.iter().rev().copied().collect()] {
        assert_eq!(distance(End::Volume(order.into())), all);
    }
    // One of several without a path is enough.
    let (platform, topology) = topology_of("root-ports");
    let volume =
        End::Volume([platform.find("nvme0").unwrap(), platform.find("nvme1").unwrap()].into());
    let candidates = Candidate::all(&platform).unwrap();
    let wish = Wish { source: volume.clone(), sink: volume, ..wish(&platform, Policy::Require) };
    assert_eq!(
        Plan::new(&topology, wish, &candidates).unwrap_err().code,
        ReasonCode::RootNotAllowed
    );
}

#[test]
fn a_barrier_stands_whatever_the_memory() {
    let (platform, topology) = topology_of("default");
    let candidates = Candidate::all(&platform).unwrap();
    let barrier = Barrier {
        end: "/dev/mapper/lin".to_owned(),
        element: "dm-0".to_owned(),
        code: ReasonCode::Dm,
    };
    let wish = |policy| Wish { barrier: Some(barrier.clone()), ..wish(&platform, policy) };
    let refused = Plan::new(&topology, wish(Policy::Require), &candidates).unwrap_err();
    assert_eq!(refused.code, ReasonCode::Dm);
    let said = refused.to_string();
    assert!(
        said.contains("dm-0 does not pass peer-to-peer transfers of /dev/mapper/lin"),
        "{said}"
    );
    let bounced = Plan::new(&topology, wish(Policy::Prefer), &candidates).unwrap();
    assert!(bounced.uses_host_memory() && bounced.bounced.is_some());
    // The host's own ends pass no peer's memory.
    let from_host = Wish { source: End::Host, ..wish(Policy::Require) };
    assert!(Plan::new(&topology, from_host, &candidates).is_ok());
}
