//! The controller memory buffer and the persistent memory region: what they are good for, and lies
//! about them.

use p2pdma_nvme::{Controller, Error, QueueOptions};
use p2pdma_pci::Duration;
use p2pdma_spec::nvme::cmb::{Cmbloc, Cmbsz, SizeUnits};
use p2pdma_spec::nvme::pmr::{HealthStatus, Pmrcap, Pmrsts};

use crate::support::controller::{Facade, FakeController};
use crate::support::mischief::Mischief;
use crate::support::open;
use crate::support::platform::Machine;

const SECOND: Duration = Duration::from_millis(1000);

fn with(change: impl FnOnce(&mut Facade)) -> (Machine, Controller) {
    let mut facade = Facade::default();
    change(&mut facade);
    let (machine, controller) = open(FakeController::new(facade, Mischief::none()));
    (machine, controller.unwrap())
}

fn size(units: u8, sz: u32) -> Cmbsz {
    Cmbsz::new().with_szu(SizeUnits::from_bits(units)).with_sz(sz)
}

fn location(bir: u8, ofst: u32) -> Cmbloc {
    Cmbloc::new().with_bir(bir).with_ofst(ofst)
}

/// Lies about the buffer: each is refused by name, and the rest of the controller goes on working.
#[test]
fn buffers_that_cannot_be() {
    let mut cases = vec![
        ("CMBLOC.OFST", size(0, 1), location(2, 256)),
        ("CMBLOC.OFST", size(0, 1), location(2, 0xf_ffff)),
        ("CMBLOC.OFST", size(6, 0xf_ffff), location(2, 0xf_ffff)),
        ("CMBLOC.BIR", size(0, 1), location(1, 0)),
        ("CMBLOC.BIR", size(0, 1), location(6, 0)),
        ("CMBLOC.BIR", size(0, 1), location(7, 0)),
    ];
    cases.extend((7..16).map(|units| ("CMBSZ.SZU", size(units, 1), location(2, 0))));
    let count = cases.len();
    for (name, cmbsz, cmbloc) in cases {
        let (machine, controller) = with(|facade| {
            (facade.cmbsz, facade.cmbloc) = (cmbsz, cmbloc);
        });
        let error = controller.cmb().unwrap_err();
        assert!(matches!(error, Error::Implausible { field, .. } if field == name), "{error}");
        assert!(controller.queue_pair::<()>(&QueueOptions::default()).is_ok());
        drop(controller);
        assert_eq!(machine.held(), 0);
    }
    println!("lies about the buffer: {count}");
    let (_, controller) = with(|facade| facade.cmbsz = size(0, 0));
    assert!(matches!(controller.cmb(), Err(Error::Unsupported { .. })));
    let (_, controller) = with(|facade| facade.cmbloc = location(3, 0));
    assert!(matches!(controller.cmb(), Err(Error::Pci(p2pdma_pci::Error::NoBar { .. }))));
    let (_, controller) = with(|facade| facade.cmb_invalid = true);
    assert!(matches!(controller.cmb(), Err(Error::Implausible { field: "CMBMSC.CBA", .. })));
    let (_, controller) = with(|facade| facade.cre_sticks = false);
    assert!(matches!(controller.cmb(), Err(Error::Implausible { field: "CMBMSC.CRE", .. })));
}

/// A buffer that claims more than its BAR has is as large as the BAR lets it be.
#[test]
fn the_bar_limits_the_buffer() {
    let (_, controller) = with(|facade| {
        (facade.cmbsz, facade.cmbloc) = (size(6, 0xf_ffff), location(2, 0));
    });
    let cmb = controller.cmb().unwrap();
    assert_eq!((cmb.len(), cmb.range()), (1 << 20, 0..1 << 20));
    assert_eq!(cmb.iova().0, cmb.bar().address().0);
}

/// A write of CMBMSC that arrives in halves never puts the buffer at half an address, where it would decode
/// what is the host's.
#[test]
fn the_address_is_whole_before_it_counts() {
    let (machine, controller) = with(|_| {});
    let base = controller.cmb().unwrap().iova().0;
    assert!(base > u64::from(u32::MAX));
    controller.reset().unwrap();
    let bases = machine.device(|device| device.cmb_bases.clone());
    assert!(bases.len() >= 2 && bases.iter().all(|at| *at == base), "{bases:x?}");
}

/// A controller of a revision before CMBMSC: the registers show at once, the address is the bus's.
#[test]
fn a_buffer_without_control_register() {
    let (machine, controller) = with(|facade| facade.cap = facade.cap.with_cmbs(false));
    machine.device(|device| device.show_cmb());
    let cmb = controller.cmb().unwrap();
    assert_eq!(cmb.iova().0, cmb.bar().address().0 + cmb.range().start);
}

/// Nobody sees what others left there, unless that was asked for.
#[test]
fn parts_are_cleared_when_they_change_hands() {
    let (_, controller) = with(|_| {});
    let cmb = controller.cmb().unwrap();
    let whole = cmb.available();
    let secret = cmb.allocate_as_is(8192, 4096).unwrap();
    secret.write(100, b"secret").unwrap();
    let place = secret.segment();
    drop(secret);
    let mut seen = [0; 6];
    let same = cmb.allocate_as_is(8192, 4096).unwrap();
    assert_eq!(same.segment(), place);
    same.read(100, &mut seen).unwrap();
    assert_eq!(&seen, b"secret");
    drop(same);
    let cleared = cmb.allocate(8192, 4096).unwrap();
    cleared.read(100, &mut seen).unwrap();
    assert_eq!(seen, [0; 6]);
    cleared.write(100, b"secret").unwrap();
    let other = cleared.clone();
    drop(cleared);
    other.read(100, &mut seen).unwrap();
    assert_eq!(&seen, b"secret");
    drop(other);
    let after = cmb.allocate_as_is(8192, 4096).unwrap();
    after.read(100, &mut seen).unwrap();
    assert_eq!(seen, [0; 6]);
    assert!(matches!(after.read(8190, &mut seen), Err(Error::TooLong { .. })));
    assert!(matches!(after.write(u64::MAX, &seen), Err(Error::TooLong { .. })));
    drop(after);
    assert_eq!(cmb.available(), whole);
    let refused = cmb.allocate(whole + 1, 1);
    assert!(matches!(refused, Err(Error::NoRoom { largest, .. }) if largest == whole));
}

/// Reads from the namespace land in the buffer, by the controller's own address of it.
#[test]
fn data_in_the_buffer() {
    let (machine, controller) = with(|_| {});
    let namespace = controller.namespace(1).unwrap();
    let cmb = controller.cmb().unwrap();
    let mut queue = controller.queue_pair(&QueueOptions::entries(4)).unwrap();
    let buffer = cmb.allocate(16_384, 4096).unwrap();
    let data: Vec<u8> = (0..16_384).map(|byte| u32::to_le_bytes(byte * 7)[1]).collect();
    buffer.write(0, &data).unwrap();
    queue
        .submit(&namespace.write(0, 32).unwrap(), buffer.segment().into(), buffer.clone())
        .unwrap();
    assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
    let other = cmb.allocate(16_384, 4096).unwrap();
    queue.submit(&namespace.read(0, 32).unwrap(), other.segment().into(), other.clone()).unwrap();
    assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
    let mut back = vec![0; 16_384];
    other.read(0, &mut back).unwrap();
    assert_eq!(back, data);
    assert_eq!(machine.strays(), 0);
}

/// Whoever relies on bytes in the memory is told of every reset since.
#[test]
fn a_reset_breaks_what_was_unbroken() {
    let (_, controller) = with(|_| {});
    let (cmb, pmr) = (controller.cmb().unwrap(), controller.pmr().unwrap());
    let [of_buffer, of_region] = [cmb.unbroken(), pmr.unbroken()];
    assert_eq!([of_buffer.check(), of_region.check()], [Ok(()), Ok(())]);
    controller.reset().unwrap();
    let reset = Err(Error::WasReset { bdf: controller.bdf() });
    assert_eq!([of_buffer.check(), of_region.check()], [reset.clone(), reset]);
    assert_eq!(cmb.unbroken().check(), Ok(()), "as of now");
}

#[test]
fn regions_that_cannot_be() {
    let pmrcap = |change: fn(Pmrcap) -> Pmrcap| {
        with(|facade| facade.pmrcap = change(facade.pmrcap)).1.pmr().unwrap_err()
    };
    let named =
        |error: &Error, name| matches!(error, Error::Implausible { field, .. } if *field == name);
    let bad = [
        pmrcap(|cap| cap.with_bir(0)),
        pmrcap(|cap| cap.with_bir(1)),
        pmrcap(|cap| cap.with_bir(6)),
        pmrcap(|cap| cap.with_bir(7)),
    ];
    assert!(bad.iter().all(|error| named(error, "PMRCAP.BIR")));
    assert!(named(&pmrcap(|cap| Pmrcap::from_bits(cap.into_bits() | 3 << 8)), "PMRCAP.PMRTU"));
    assert!(matches!(pmrcap(|_| Pmrcap::from_bits(u32::MAX)), Error::Gone { .. }));
    let pmrsts = |status: Pmrsts| {
        let (machine, controller) = with(|facade| facade.pmrsts = status);
        let turns = machine.relaxed();
        let error = controller.pmr().unwrap_err();
        assert!(machine.relaxed() - turns < 10_000);
        assert!(!machine.device(|device| device.is_region_enabled()), "{error}");
        error
    };
    let sick = [
        Pmrsts::new().with_nrdy(true),
        Pmrsts::new().with_err(1),
        Pmrsts::new().with_hsts(HealthStatus::RESTORE_ERROR),
        Pmrsts::new().with_hsts(HealthStatus::UNRELIABLE),
    ];
    for status in sick {
        assert!(matches!(pmrsts(status), Error::NotPersistent { .. }), "{status}");
    }
    assert!(named(&pmrsts(Pmrsts::new().with_cbai(true)), "PMRMSC.CBA"));
    let (_, without) = with(|facade| facade.cap = facade.cap.with_pmrs(false));
    assert!(matches!(without.pmr(), Err(Error::Unsupported { .. })));
}

/// The barrier is the one that the controller advertises; without one there is no promise.
#[test]
fn persist_uses_the_advertised_barrier() {
    for (status, memory, barriers) in [(true, false, 1), (false, true, 2), (true, true, 1)] {
        let (machine, controller) = with(|facade| {
            let cap = facade.pmrcap.with_barrier_status_read(status);
            facade.pmrcap = cap.with_barrier_memory_read(memory);
        });
        let pmr = controller.pmr().unwrap();
        pmr.write(64, b"kept").unwrap();
        let before = machine.device(|device| device.barriers);
        pmr.persist().unwrap();
        assert_eq!(machine.device(|device| device.barriers) - before, barriers);
        let mut back = [0; 4];
        pmr.read(64, &mut back).unwrap();
        assert_eq!(&back, b"kept");
        // What is lost later is noticed.
        machine.device(|device| device.facade.pmrsts = Pmrsts::new().with_err(3));
        assert!(matches!(pmr.persist(), Err(Error::NotPersistent { .. })));
        assert_eq!(pmr.segment(0..4096).unwrap().iova.0, pmr.bar().address().0);
        assert_eq!(pmr.segment(0..pmr.len() + 1), None);
    }
    let (_, controller) = with(|facade| {
        facade.pmrcap = facade.pmrcap.with_barrier_status_read(false).with_cmss(false);
    });
    let pmr = controller.pmr().unwrap();
    assert!(matches!(pmr.persist(), Err(Error::Unsupported { .. })));
    assert_eq!(pmr.segment(0..4096), None);
}
