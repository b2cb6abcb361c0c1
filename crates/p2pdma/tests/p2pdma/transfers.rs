//! Transfers: where bytes end up, which way they went, and what is said of it.

use std::ops::ControlFlow;
use std::sync::Arc;

use p2pdma::topology::{MemoryKind, ReasonCode};
use p2pdma::{
    Client, Duration, End, Ends, Error, FabricPlatform, HostClient, Job, PeerMemory, Plan,
    Platform, Policy, ProviderId, ProviderKind, Traffic, Wish, run, verify,
};

use crate::support::{
    BLOCK, GO_ON, Trouble, bytes, client, has_pattern, job, machine, plan, preset, transfer,
    write_pattern,
};

const LEN: u64 = 4 << 20;

#[test]
fn peer_to_peer_touches_neither_host_memory_nor_the_root() {
    let platform = preset("default");
    write_pattern(&platform, "nvme0", 1, LEN);
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let report =
        transfer(&platform, &mut *source, &mut *sink, job(0, 0, LEN), Policy::Require).unwrap();
    // The source's own buffer is filled inside its controller; the sink reads it over the switch.
    let expected = Traffic { peer_local: LEN, ..Traffic::default() };
    assert_eq!(report.traffic, Some(expected));
    assert_eq!((report.bytes, report.operations), (LEN, 2 * LEN / BLOCK));
    assert!(report.elapsed > Duration::ZERO && report.latency.len() == LEN / BLOCK);
    // The media alone take 60 us to read and 15 us to write.
    let (median, most) = (report.latency_at(0.5), report.latency_at(1.0));
    assert!(Duration::from_micros(75) < median && median <= most, "{median} {most}");
    assert!(most < report.elapsed, "{most}");
    assert!(has_pattern(&platform, "nvme1", 1, LEN));
    assert!(!has_pattern(&platform, "nvme1", 2, LEN));
}

#[test]
fn a_bounce_touches_host_memory_twice_and_says_so() {
    for policy in [Policy::Prefer, Policy::Off] {
        let platform = preset("acs-redirect");
        write_pattern(&platform, "nvme0", 3, LEN);
        let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
        let report = transfer(&platform, &mut *source, &mut *sink, job(0, 0, LEN), policy).unwrap();
        let traffic = report.traffic.unwrap();
        assert_eq!((traffic.host_memory, traffic.root_ports), (2 * LEN, 2 * LEN));
        assert_eq!((traffic.peer_local, traffic.peer_through_root), (0, 0));
        assert_eq!(report.plan.bounced.is_some(), policy == Policy::Prefer);
        assert!(has_pattern(&platform, "nvme1", 3, LEN));
    }
}

#[test]
fn without_a_path_nothing_is_written() {
    let platform = preset("acs-redirect");
    write_pattern(&platform, "nvme1", 4, LEN);
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let trouble = transfer(&platform, &mut *source, &mut *sink, job(0, 0, LEN), Policy::Require);
    let trouble = trouble.unwrap_err();
    let Error::NoPath(no_path) = trouble.error() else { panic!("{trouble:?}") };
    assert_eq!(no_path.code, ReasonCode::AcsRedirect);
    assert!(no_path.refusal().unwrap().verdict.noted().count() > 0);
    assert!(has_pattern(&platform, "nvme1", 4, LEN));
}

#[test]
fn through_an_allowed_host_bridge_memory_stays_untouched() {
    let platform = preset("root-ports-allowed");
    write_pattern(&platform, "nvme0", 5, LEN);
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let report =
        transfer(&platform, &mut *source, &mut *sink, job(0, 0, LEN), Policy::Require).unwrap();
    let traffic = report.traffic.unwrap();
    assert_eq!((traffic.host_memory, traffic.peer_through_root), (0, LEN));
    assert!(has_pattern(&platform, "nvme1", 5, LEN));
}

#[test]
fn a_lossy_root_complex_succeeds_and_only_verification_tells() {
    let platform = preset("root-ports-lossy");
    write_pattern(&platform, "nvme0", 6, LEN);
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let report = transfer(&platform, &mut *source, &mut *sink, job(0, 0, LEN), Policy::Require);
    assert!(report.is_ok(), "nothing on the bus says that the data are lost");
    let mismatch =
        verify(&platform, &mut *source, &mut *sink, job(0, 0, LEN), GO_ON).unwrap().unwrap();
    assert_eq!((mismatch.block, mismatch.at, mismatch.len), (0, 0, BLOCK));
    assert_ne!(mismatch.source, mismatch.sink);
}

#[test]
fn verification_names_the_first_bad_block() {
    let platform = preset("default");
    for name in ["nvme0", "nvme1"] {
        write_pattern(&platform, name, 7, LEN);
    }
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    assert_eq!(verify(&platform, &mut *source, &mut *sink, job(0, 0, LEN), GO_ON).unwrap(), None);
    let mut spoiler = HostClient::zero();
    let spoiled = Job { block: 4096, ..job(0, 5 * BLOCK + 8192, 4096) };
    transfer(&platform, &mut spoiler, &mut *sink, spoiled, Policy::Require).unwrap();
    let mismatch =
        verify(&platform, &mut *source, &mut *sink, job(0, 0, LEN), GO_ON).unwrap().unwrap();
    assert_eq!((mismatch.block, mismatch.at), (5, 5 * BLOCK));
    // The same bytes in another place are as wrong.
    let shifted = verify(&platform, &mut *source, &mut *sink, job(0, BLOCK, BLOCK), GO_ON).unwrap();
    assert!(shifted.is_some());
}

#[test]
fn memory_behind_a_bar_is_filled_and_drained_in_place() {
    let platform = preset("eight-ssds");
    write_pattern(&platform, "nvme3", 8, LEN);
    let gpu = platform.find("gpu0").unwrap();
    let kind =
        platform.topology().unwrap().nodes().iter().find(|node| node.bdf == gpu).unwrap().memory[0]
            .kind;
    assert!(matches!(kind, MemoryKind::Bar(_)));
    let memory = End::Memory(ProviderId { bdf: gpu, kind });
    let go = |client: &mut dyn Client, into: bool| {
        let device = End::Client(client.bdf().unwrap());
        let (source, sink) = if into { (device, memory.clone()) } else { (memory.clone(), device) };
        let wish =
            Wish { source, sink, via: None, block: BLOCK, policy: Policy::Require, barrier: None };
        let (plan, part) = plan(&platform, wish, &job(0, 0, LEN)).unwrap();
        let ends = if into {
            Ends { source: Some(client), sink: None }
        } else {
            Ends { source: None, sink: Some(client) }
        };
        let watch = &mut |_| ControlFlow::Continue(());
        run(&platform, plan, ends, &part, job(0, 0, LEN), watch).unwrap()
    };
    let report = go(&mut *client(&platform, "nvme3"), true);
    assert_eq!(report.traffic.unwrap().host_memory, 0);
    go(&mut *client(&platform, "nvme6"), false);
    assert!(has_pattern(&platform, "nvme6", 8, LEN));
}

/// What is counted while `LEN` bytes go from end to end, through what the plan lends or what is given.
fn counted<'a>(
    platform: &'a FabricPlatform,
    [(source, filler), (sink, drainer)]: [(End, Option<&'a mut dyn Client>); 2],
    policy: Policy,
    memory: Option<&Arc<PeerMemory>>,
) -> Traffic {
    let wish = Wish { source, sink, via: None, block: BLOCK, policy, barrier: None };
    let (plan, job) = (Plan::on(platform, wish).unwrap(), job(0, 0, LEN));
    let staging = || Arc::new(plan.memory(platform, job.memory()).unwrap());
    let memory = memory.map_or_else(staging, Arc::clone);
    let ends = Ends { source: filler, sink: drainer };
    let watch = &mut |_| ControlFlow::Continue(());
    run(platform, plan, ends, &memory, job, watch).unwrap().traffic.unwrap()
}

/// What the processor copies for two memories is a bounce like any other: each byte crosses the root port twice, and is
/// staged twice. Between the host's own ends and a memory it crosses once, and is staged nowhere.
#[test]
fn copies_by_the_processor_are_counted_like_others() {
    let platform = preset("eight-ssds");
    let providers = platform.providers().unwrap();
    let lender = |name: &str| {
        let bdf = platform.find(name);
        providers.iter().find(|provider| provider.bdf() == bdf).unwrap()
    };
    let [from, to] = ["nvme0", "gpu0"].map(|name| Arc::new(lender(name).alloc(LEN).unwrap()));
    let traffic =
        |host_memory, root_ports| Traffic { host_memory, root_ports, ..Traffic::default() };
    let [cmb, gpu] = ["nvme0", "gpu0"].map(|name| {
        let ProviderKind::Peer(kind) = lender(name).kind() else { panic!("{name} lends memory") };
        End::Memory(ProviderId { bdf: platform.find(name).unwrap(), kind })
    });

    let pattern: &mut dyn Client = &mut HostClient::pattern(1);
    let ends = [(End::Host, Some(pattern)), (cmb.clone(), None)];
    assert_eq!(counted(&platform, ends, Policy::Require, Some(&from)), traffic(0, LEN));
    for policy in [Policy::Prefer, Policy::Off] {
        let [mut source, mut sink] =
            [&from, &to].map(|memory| HostClient::memory(Arc::clone(memory)));
        let ends = [(cmb.clone(), Some(&mut source as _)), (gpu.clone(), Some(&mut sink as _))];
        assert_eq!(counted(&platform, ends, policy, None), traffic(2 * LEN, 2 * LEN));
    }
    let pattern: &mut dyn Client = &mut HostClient::pattern(1);
    let ends = [(gpu, None), (End::Host, Some(pattern))];
    assert_eq!(counted(&platform, ends, Policy::Require, Some(&to)), traffic(0, LEN));
    // To read both again is none of a transfer's.
    let before = platform.traffic().unwrap();
    let [mut source, mut sink] = [from, to].map(HostClient::memory);
    assert_eq!(verify(&platform, &mut source, &mut sink, job(0, 0, LEN), GO_ON).unwrap(), None);
    let after = platform.traffic().unwrap().since(&before);
    assert_eq!(after, traffic(2 * LEN, 2 * LEN));
}

#[test]
fn an_interruption_ends_what_is_under_way_and_tells_how_far_it_came() {
    let platform = preset("default");
    write_pattern(&platform, "nvme0", 9, LEN);
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let end = |client: &dyn Client| End::Client(client.bdf().unwrap());
    let (from, to) = (end(&*source), end(&*sink));
    let wish = Wish {
        source: from,
        sink: to,
        via: None,
        block: BLOCK,
        policy: Policy::Require,
        barrier: None,
    };
    let (plan, memory) = plan(&platform, wish, &job(0, 0, LEN)).unwrap();
    let ends = Ends { source: Some(&mut *source), sink: Some(&mut *sink) };
    let mut stop_half_way = |progress: p2pdma::Progress| match progress.moved * 2 >= progress.len {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let failed = run(&platform, plan, ends, &memory, job(0, 0, LEN), &mut stop_half_way);
    let failed = failed.unwrap_err();
    assert!(matches!(failed.error, Error::Interrupted));
    assert!(failed.complete >= LEN / 2 - 8 * BLOCK && failed.moved < LEN, "{failed:?}");
    assert!(has_pattern(&platform, "nvme1", 9, failed.complete));
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let platform = preset("default");
    let attempt = |job| {
        let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
        transfer(&platform, &mut *source, &mut *sink, job, Policy::Require).unwrap_err()
    };
    let unaligned = attempt(Job { from: 100, ..job(0, 0, LEN) });
    assert!(
        matches!(unaligned.error(), Error::Alignment { at: 100, block: 512, .. }),
        "{unaligned:?}"
    );
    let beyond = attempt(job(1 << 30, 0, LEN));
    assert!(matches!(beyond.error(), Error::Command(_)), "{beyond:?}");
    let deep = attempt(Job { depth: 2048, ..job(0, 0, 2048 * BLOCK) });
    let Trouble::Planning(Error::PoolEmpty { wanted, available, .. }) = deep else {
        panic!("{deep:?}")
    };
    assert_eq!((wanted, available), (2048 * BLOCK, 64 << 20));
}

/// Three SSDs, a CMB, a PMR and an accelerator below two switches, small enough to compare whole.
const SMALL: &str = r#"
name = "small"
[host]
cpu = "AuthenticAMD/0x17"
memory = "64M"
[[host-bridge]]
name = "host0"
id = "1022:1450"
p2p = "forward"
[[root-port]]
name = "rp0"
on = "host0"
[[root-port]]
name = "rp1"
on = "host0"
[[switch]]
name = "sw0"
below = "rp0"
ports = 2
[[nvme]]
name = "nvme0"
below = "sw0.0"
cmb = "1M"
[[nvme.namespace]]
size = "2M"
[[nvme]]
name = "nvme1"
below = "sw0.1"
pmr = "1M"
[[nvme.namespace]]
size = "2M"
block = 512
[[nvme]]
name = "nvme2"
below = "rp1"
[[nvme.namespace]]
size = "2M"
"#;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Random jobs between random ends by every policy, against plain vectors: every byte of every
/// namespace is what it has to be, and nobody's bytes are anywhere else.
#[test]
fn random_jobs_leave_exactly_the_right_bytes() {
    let mut jobs = 0;
    for seed in 1..=6 {
        let platform = machine(SMALL);
        let size = 2 << 20_u64;
        let mut random = Random(seed);
        let mut shadows: Vec<Vec<u8>> = (0..3).map(|_| vec![0; 2 << 20]).collect();
        let names = ["nvme0", "nvme1", "nvme2"];
        for (index, name) in names.into_iter().enumerate() {
            write_pattern(&platform, name, index as u64, size);
            shadows[index] = bytes(&platform, &mut *client(&platform, name), 0, size);
        }
        for _ in 0..60 {
            let unit = 4096;
            let len = (random.below(64) + 1) * unit;
            let place = |random: &mut Random| random.below((size - len) / unit + 1) * unit;
            let (from, to) = (place(&mut random), place(&mut random));
            let (source, sink) = (random.below(3) as usize, random.below(3) as usize);
            if source == sink && from < to + len && to < from + len {
                continue;
            }
            let policy = [Policy::Require, Policy::Prefer, Policy::Off][random.below(3) as usize];
            let block = (random.below(8) + 1) * unit;
            let depth = u32::try_from(random.below(6) + 1).unwrap();
            let job = Job { from, to, len, block, depth };
            let (mut a, mut b) = (client(&platform, names[source]), client(&platform, names[sink]));
            transfer(&platform, &mut *a, &mut *b, job, policy).unwrap();
            let range = |at: u64| at as usize..(at + len) as usize;
            let moved = shadows[source][range(from)].to_vec();
            shadows[sink][range(to)].copy_from_slice(&moved);
            jobs += 1;
        }
        for (shadow, name) in shadows.iter().zip(names) {
            assert!(
                bytes(&platform, &mut *client(&platform, name), 0, size) == *shadow,
                "seed {seed}: {name}"
            );
        }
    }
    println!("{jobs} random jobs, seeds 1..=6: 0 stray bytes, 0 missing");
    assert!(jobs > 200);
}

/// With room for one block the ends take turns; with room for two they work at once, though each has one request only.
#[test]
fn one_request_at_each_end_is_enough_to_overlap() {
    let took = |blocks: u64| {
        let platform = preset("default");
        let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
        let [from, to] = [&source, &sink].map(|client| End::Client(client.bdf().unwrap()));
        let job = Job { depth: 1, ..job(0, 0, LEN) };
        let wish = Wish {
            source: from,
            sink: to,
            via: None,
            block: BLOCK,
            policy: Policy::Require,
            barrier: None,
        };
        let plan = Plan::on(&platform, wish).unwrap();
        let memory = Arc::new(plan.memory(&platform, blocks * BLOCK).unwrap());
        let ends = Ends { source: Some(&mut *source), sink: Some(&mut *sink) };
        let go_on = &mut |_| ControlFlow::Continue(());
        run(&platform, plan, ends, &memory, job, go_on).unwrap().elapsed.as_secs_f64()
    };
    let [one, two, three] = [1, 2, 3].map(took);
    println!(
        "one request at each end: two blocks of memory take {:.2} of the time of one",
        two / one
    );
    assert!(two < 0.7 * one, "{two} {one}");
    assert_eq!(two.to_bits(), three.to_bits(), "more is of no use");
}

#[test]
fn two_runs_make_the_same_trace_to_the_picosecond() {
    let once = || {
        let platform = preset("default");
        write_pattern(&platform, "nvme0", 1, LEN);
        platform.fabric().start_trace(0);
        let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
        transfer(&platform, &mut *source, &mut *sink, job(0, 0, LEN), Policy::Require).unwrap();
        let trace = platform.fabric().trace().unwrap();
        (platform.clock().now(), trace.hash(), trace.count())
    };
    let (first, second) = (once(), once());
    assert_eq!(first, second);
    println!("{} packet bursts, the same hash and the same last picosecond twice", first.2);
}

#[test]
fn numbers_without_a_meaning_are_an_error() {
    let platform = preset("default");
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let good = job(0, 0, BLOCK);
    for bad in [
        Job { block: 0, ..good },
        Job { depth: 0, ..good },
        Job { from: u64::MAX, ..good },
        Job { to: 1, len: u64::MAX, ..good },
    ] {
        let verified = verify(&platform, &mut *source, &mut *sink, bad, GO_ON);
        assert!(matches!(verified, Err(Error::Job { .. })), "{bad:?}");
        let wish = Wish {
            source: End::Host,
            sink: End::Client(sink.bdf().unwrap()),
            via: None,
            block: BLOCK,
            policy: Policy::Require,
            barrier: None,
        };
        let (plan, memory) = plan(&platform, wish, &good).unwrap();
        let mut pattern = HostClient::pattern(1);
        let ends = Ends { source: Some(&mut pattern), sink: Some(&mut *sink) };
        let go_on = &mut |_| ControlFlow::Continue(());
        let failed = p2pdma::run(&platform, plan, ends, &memory, bad, go_on).unwrap_err();
        assert!(matches!(failed.error, Error::Job { .. }), "{bad:?}: {failed}");
        assert_eq!((failed.moved, failed.complete), (0, 0));
    }
    let pool = platform.host_memory().unwrap();
    assert!(pool.alloc(u64::MAX).is_err());
    for provider in platform.providers().unwrap() {
        assert!(matches!(provider.alloc(u64::MAX), Err(Error::PoolEmpty { .. })));
        let all = provider.alloc(provider.capacity()).unwrap();
        assert!(provider.capacity() < all.len());
    }
}
