//! Every kind of fault, at its site, and what is seen of it.

use p2pdma_fabric::{Attributes, Fault, FaultKind, PayloadClass, Reset, Site, TlpErrorKind};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{Duration, Function as _, Iova, Width};
use p2pdma_spec::pci::capability::ExtendedCapabilityId;

use crate::support::{Stage, switched};

fn stage() -> Stage {
    switched(IommuMode::Off, PeerPolicy::Forward, [0; 4])
}

fn inject(stage: &Stage, site: Site, kind: FaultKind) {
    stage.fabric.inject(Fault { site, index: 0, kind });
}

/// Reads eight bytes of `b`'s memory, which are 1 to 8, with a fault on the way.
fn read_with(kind: FaultKind) -> (Result<[u8; 8], TlpErrorKind>, Stage) {
    let stage = stage();
    let at = Iova(stage.memory("b"));
    stage.puppet("b").memory.write(0, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    inject(&stage, Site::Read(stage.bdf("a"), Some(PayloadClass::Data)), kind);
    let answer = stage.act("a", move |port| {
        let mut data = [0; 8];
        let done = port.read(at, &mut data, Attributes::DATA);
        done.map(|_| data).map_err(|error| error.kind)
    });
    assert!(stage.fabric.faults()[0].fired.is_some());
    (answer, stage)
}

#[test]
fn reads_fail_as_the_fault_says() {
    let good = [1, 2, 3, 4, 5, 6, 7, 8];
    for (kind, expected) in [
        (FaultKind::UnsupportedRequest, Err(TlpErrorKind::UnsupportedRequest)),
        (FaultKind::CompleterAbort, Err(TlpErrorKind::CompleterAbort)),
        (FaultKind::CompletionTimeout, Err(TlpErrorKind::CompletionTimeout)),
        (FaultKind::Drop, Err(TlpErrorKind::CompletionTimeout)),
        (FaultKind::Poison, Err(TlpErrorKind::Poisoned)),
        (FaultKind::AllOnes, Ok([0xff; 8])),
        (FaultKind::FlipBit(9), Ok([1, 0, 3, 4, 5, 6, 7, 8])),
        (FaultKind::Delay(Duration::from_micros(1)), Ok(good)),
        (FaultKind::Duplicate, Ok(good)),
    ] {
        assert_eq!(read_with(kind).0, expected, "{kind:?}");
    }
    assert_eq!(read_with(FaultKind::Poison).1.fabric.errors("a").unwrap().poisoned, 1);
    let timeouts = read_with(FaultKind::Drop).1.fabric.errors("a").unwrap().completion_timeouts;
    assert_eq!(timeouts, 1);
}

#[test]
fn writes_go_astray_as_the_fault_says() {
    for (kind, at, expected) in [
        (FaultKind::Drop, 64, [0; 4]),
        (FaultKind::Poison, 64, [0; 4]),
        (FaultKind::FlipBit(0), 64, [0, 2, 3, 4]),
        (FaultKind::Misdirect(32), 96, [1, 2, 3, 4]),
        (FaultKind::Misdirect(-64), 0, [1, 2, 3, 4]),
        (FaultKind::Tear(2), 64, [1, 2, 0, 0]),
        (FaultKind::Duplicate, 64, [1, 2, 3, 4]),
    ] {
        let stage = stage();
        let target = Iova(stage.memory("b") + 64);
        inject(&stage, Site::Write(stage.bdf("a"), None), kind);
        stage.act("a", move |port| port.write(target, &[1, 2, 3, 4], Attributes::DATA).unwrap());
        let there = stage.puppet("b").memory.read_value::<[u8; 4]>(at).unwrap();
        assert_eq!(there, expected, "{kind:?}");
    }
}

/// Whoever notices an error reports it: a completer what it does not support or aborts, a receiver poison.
#[test]
fn errors_are_counted_where_they_are_noticed() {
    let errors = |stage: &Stage, name| stage.fabric.errors(name).unwrap();
    let unsupported = read_with(FaultKind::UnsupportedRequest).1;
    assert_eq!(errors(&unsupported, "b").unsupported_requests, 1);
    let aborted = read_with(FaultKind::CompleterAbort).1;
    assert_eq!(errors(&aborted, "b").completer_aborts, 1);
    let stage = stage();
    let target = Iova(stage.memory("b"));
    inject(&stage, Site::Write(stage.bdf("a"), None), FaultKind::Poison);
    stage.act("a", move |port| port.write(target, &[1], Attributes::DATA).unwrap());
    assert_eq!((errors(&stage, "a").poisoned, errors(&stage, "b").poisoned), (0, 1));
    for stage in [unsupported, aborted] {
        assert_eq!(errors(&stage, "a"), p2pdma_fabric::ErrorCounters::default());
    }
}

/// What software has not cleared of its error statuses stays through resets, but not without power.
#[test]
fn error_statuses_are_sticky() {
    let stage = stage();
    let target = Iova(stage.memory("b"));
    inject(&stage, Site::Write(stage.bdf("a"), None), FaultKind::Poison);
    stage.act("a", move |port| port.write(target, &[1], Attributes::DATA).unwrap());
    let bdf = stage.bdf("b");
    let status = || {
        let config = stage.fabric.config(bdf);
        let config: &dyn p2pdma_pci::ConfigSpace = &config;
        let aer = config.extended_capability(ExtendedCapabilityId::ADVANCED_ERROR_REPORTING);
        config.read(aer.unwrap().unwrap() + 4, Width::Dword).unwrap()
    };
    // Poisoned TLP Received: bit 12.
    assert_eq!(status(), 1 << 12);
    stage.fabric.open(bdf).unwrap().reset().unwrap();
    assert_eq!(status(), 1 << 12);
    stage.fabric.power_cut();
    stage.fabric.enumerate().unwrap();
    assert_eq!(status(), 0);
}

#[test]
fn interrupts_are_lost_or_doubled() {
    for (kind, count) in [(FaultKind::Drop, 0), (FaultKind::Duplicate, 2)] {
        let stage = stage();
        let line = stage.fabric.open(stage.bdf("a")).unwrap().interrupt(0).unwrap();
        inject(&stage, Site::Interrupt(stage.bdf("a")), kind);
        stage.act("a", |port| port.raise(0));
        while stage.fabric.step() {}
        assert_eq!(line.take(), count, "{kind:?}");
    }
}

#[test]
fn functions_are_struck_in_the_middle_of_their_work() {
    for kind in [FaultKind::Unplug, FaultKind::LinkDown, FaultKind::Reset(Reset::FunctionLevel)] {
        let stage = stage();
        let (bdf, target) = (stage.bdf("a"), Iova(stage.memory("b")));
        stage.fabric.inject(Fault { site: Site::Write(bdf, None), index: 1, kind });
        let second = stage.act("a", move |port| {
            port.write(target, &[1], Attributes::DATA).unwrap();
            let second = port.write(target, &[2], Attributes::DATA);
            let third = port.write(target, &[3], Attributes::DATA);
            (second.is_ok(), third.map_err(|error| error.kind))
        });
        let there = stage.puppet("b").memory.read_value::<[u8; 1]>(0).unwrap();
        match kind {
            FaultKind::LinkDown => {
                assert_eq!((second, there), ((false, Err(TlpErrorKind::LinkDown)), [1]));
            }
            // What the call had begun it ends; the change comes right behind it.
            _ => assert_eq!((second.0, there), (true, [3])),
        }
        assert_eq!(stage.fabric.open(bdf).is_err(), kind == FaultKind::Unplug);
    }
}

#[test]
fn an_event_fault_strikes_just_before_its_event() {
    let stage = stage();
    let bdf = stage.bdf("a");
    stage.fabric.inject(Fault { site: Site::Event(bdf), index: 0, kind: FaultKind::Unplug });
    let bar = stage.fabric.open(bdf).unwrap().map_bar(p2pdma_pci::BarIndex::ZERO).unwrap();
    bar.write32(0, 1).unwrap();
    while stage.fabric.step() {}
    assert!(stage.puppet("a").script.lock().unwrap().writes.is_empty());
    assert!(stage.fabric.open(bdf).is_err());
}
