//! Modelled time: what transfers cost, and that two runs cost the same.

use p2pdma_fabric::{Attributes, Builder, TimerId, Timing, TimingModel};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{IommuMode, Link, LinkStatus};
use p2pdma_pci::{Clock as _, Duration, Function as _, Instant, Iova};
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth, TlpSize};

use crate::support::{Stage, build, function, host, host_bridge, port};

fn link(speed: LinkSpeed, width: LinkWidth) -> LinkStatus {
    let link = Link { speed, width };
    LinkStatus { current: Some(link), max: link }
}

/// `a` and `b` below a switch whose links are all alike.
fn timed(speed: LinkSpeed, width: LinkWidth, model: TimingModel) -> Stage {
    let mut builder = Builder::new(host(IommuMode::Off), 256 << 20);
    builder.timing(Timing::Modelled(model));
    let bridge = builder.host_bridge(host_bridge(PeerPolicy::Forward));
    let with_link = |name: &str| {
        let mut port = port(name, None);
        port.link = link(speed, width);
        port
    };
    let root = builder.root_port(bridge, with_link("rp0")).unwrap();
    let ports = vec![with_link("sw0.0"), with_link("sw0.1")];
    let ports = builder.switch(root, "sw0", ports).unwrap();
    build(builder, vec![(ports[0], function("a", 0)), (ports[1], function("b", 0))])
}

/// How long one write of `len` bytes from `a` into `b` takes.
fn write_time(stage: &Stage, len: usize) -> Duration {
    let at = Iova(stage.memory("b"));
    stage.act("a", move |port| {
        let done = port.write(at, &vec![7; len], Attributes::DATA).unwrap();
        done.since(port.now())
    })
}

#[test]
fn every_generation_is_about_twice_as_fast() {
    let bytes = 1 << 20;
    let mut before: Option<Duration> = None;
    for speed in 1..=6 {
        let stage = timed(LinkSpeed::from_bits(speed), LinkWidth::X4, TimingModel::default());
        let time = write_time(&stage, bytes);
        if let Some(before) = before {
            let ratio = before.as_secs_f64() / time.as_secs_f64();
            // Generation 3 also changed the encoding: 8 to 128 bits in 10 to 130, for 1.6 times the rate.
            assert!((1.8..2.1).contains(&ratio), "generation {speed}: {ratio}");
        }
        before = Some(time);
    }
}

#[test]
fn a_large_write_runs_at_the_link_s_rate_less_its_overhead() {
    let stage = timed(LinkSpeed::GEN4, LinkWidth::X4, TimingModel::default());
    let rate = (1 << 20) as f64 / write_time(&stage, 1 << 20).as_secs_f64();
    // 16 GT/s × 4 lanes × 128/130 / 8 bits, 94 % of which carry packets of 256 + 24 bytes.
    let expected = 16e9 * 4.0 * 128.0 / 130.0 / 8.0 * 0.94 * 256.0 / 280.0;
    assert!((rate / expected - 1.0).abs() < 0.01, "{rate} {expected}");
}

#[test]
fn smaller_packets_cost_more_and_hops_add_latency() {
    let with = |max_payload, hop| TimingModel {
        max_payload,
        switch_hop: Duration::from_nanos(hop),
        ..TimingModel::default()
    };
    let time = |model, len| write_time(&timed(LinkSpeed::GEN3, LinkWidth::X8, model), len);
    assert!(time(with(TlpSize::B128, 115), 1 << 16) > time(with(TlpSize::B512, 115), 1 << 16));
    let extra = time(with(TlpSize::B256, 1115), 64) - time(with(TlpSize::B256, 115), 64);
    assert_eq!(extra, Duration::from_nanos(1000));
}

#[test]
fn two_transfers_share_a_link() {
    let stage = timed(LinkSpeed::GEN3, LinkWidth::X4, TimingModel::default());
    let at = Iova(stage.memory("b"));
    let one = write_time(&stage, 65536);
    while stage.fabric.step() {}
    let both = stage.act("a", move |port| {
        let idle = port.now() + Duration::from_millis(1);
        let _ = idle;
        port.write(at, &[1; 65536], Attributes::DATA).unwrap();
        let done = port.write(at, &[2; 65536], Attributes::DATA).unwrap();
        done.since(port.now())
    });
    let ratio = both.as_secs_f64() / one.as_secs_f64();
    assert!((1.8..3.1).contains(&ratio), "{ratio}");
}

#[test]
fn host_memory_s_channels_are_shared_with_applications() {
    let stage = timed(LinkSpeed::GEN5, LinkWidth::X4, TimingModel::default());
    let alone = stage.fabric.start_stream().unwrap();
    let clock = stage.fabric.clock();
    let run = |until: Duration| {
        let end = clock.now() + until;
        while clock.now() < end {
            clock.relax();
        }
    };
    run(Duration::from_micros(200));
    let free = stage.fabric.stop_stream(alone);
    let free_rate = free.bytes as f64 / free.elapsed.as_secs_f64();
    assert!((20e9..25.6e9).contains(&free_rate), "{free_rate}");

    let buffer = stage.fabric.open(stage.bdf("a")).unwrap().alloc_dma(1 << 20).unwrap();
    let at = buffer.iova();
    let shared = stage.fabric.start_stream().unwrap();
    for _ in 0..4 {
        stage.act("a", move |port| port.write(at, &[0; 1 << 20], Attributes::DATA).unwrap());
        run(Duration::from_micros(70));
    }
    let taken = stage.fabric.stop_stream(shared);
    let taken_rate = taken.bytes as f64 / taken.elapsed.as_secs_f64();
    assert!(taken_rate < free_rate * 0.85, "{taken_rate} {free_rate}");
    // What the device does not use is the application's: nothing of the channels is lost.
    let device_rate = f64::from(4 << 20) / taken.elapsed.as_secs_f64();
    let all = (taken_rate + device_rate) / free_rate;
    assert!((0.95..1.02).contains(&all), "{taken_rate} {device_rate} {free_rate}");
}

#[test]
fn without_a_timing_model_nothing_takes_time() {
    let stage = crate::support::switched(IommuMode::Off, PeerPolicy::Forward, [0; 4]);
    assert_eq!(write_time(&stage, 1 << 20), Duration::ZERO);
    assert_eq!(stage.fabric.clock().now(), Instant::ZERO);
    assert!(stage.fabric.start_stream().is_none());
}

#[test]
fn a_processor_that_polls_sees_what_was_written_after_a_look() {
    let model = TimingModel::default();
    let stage = timed(LinkSpeed::GEN4, LinkWidth::X4, model);
    stage.set_bus_master("a", true);
    let memory = stage.fabric.open(stage.bdf("a")).unwrap().alloc_dma(4096).unwrap();
    let at = memory.iova();
    let [within, beyond] = [model.host_memory, model.host_memory + Duration::from_nanos(1)];
    let wrote = stage.begin("a", move |port| {
        port.write(at, &[1; 16], Attributes::CONTROL).unwrap();
        port.wake_at(port.now() + within, TimerId(1));
        port.wake_at(port.now() + beyond, TimerId(2));
        port.now()
    });
    let clock = stage.fabric.clock();
    clock.relax();
    let wrote = wrote.lock().unwrap().unwrap();
    assert_eq!(clock.now().since(wrote), model.host_memory);
    let woken = || std::mem::take(&mut stage.puppet("a").script.lock().unwrap().woken);
    assert_eq!(woken(), [TimerId(1)]);
    clock.relax();
    assert_eq!(woken(), [TimerId(2)]);
}

#[test]
fn waiting_for_nothing_moves_time_on_in_growing_steps() {
    let stage = crate::support::switched(IommuMode::Off, PeerPolicy::Forward, [0; 4]);
    let clock = stage.fabric.clock();
    let mut turns = 0;
    while clock.now().since(Instant::ZERO) < Duration::from_millis(30_000) {
        clock.relax();
        turns += 1;
    }
    assert!(turns < 40_000, "{turns} turns for thirty seconds");
}

#[test]
fn two_runs_make_the_same_trace_to_the_picosecond() {
    let run = || {
        let stage = timed(LinkSpeed::GEN4, LinkWidth::X8, TimingModel::default());
        stage.fabric.start_trace(16);
        let mut state = 1_u64;
        for _ in 0..200 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (len, offset) = ((state >> 40) % 9000 + 1, (state >> 20) % 1_000_000);
            let at = Iova(stage.memory("b") + offset);
            let len = usize::try_from(len).unwrap();
            stage.act("a", move |port| {
                let _ = port.write(at, &vec![1; len], Attributes::DATA);
                port.wake_at(port.now() + Duration::from_nanos(100), p2pdma_fabric::TimerId(1));
            });
        }
        while stage.fabric.step() {}
        let trace = stage.fabric.trace().unwrap();
        (stage.fabric.clock().now(), trace.hash(), trace.count(), trace.records().count())
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    assert!(first.2 >= 400 && first.3 == 16);
}
