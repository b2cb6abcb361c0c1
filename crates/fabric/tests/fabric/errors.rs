//! Errors as software finds them in registers: Status, Device Status, AER, and the root port's.

use p2pdma_fabric::{Attributes, FabricConfig, Fault, FaultKind, Site};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{Bdf, ConfigSpace, Iova, Width};
use p2pdma_spec::pci::acs::AcsControl;
use p2pdma_spec::pci::aer::offset::{
    CONTROL, CORRECTABLE_MASK, CORRECTABLE_STATUS, ERROR_SOURCE, HEADER_LOG, ROOT_ERROR_STATUS,
    UNCORRECTABLE_MASK, UNCORRECTABLE_SEVERITY, UNCORRECTABLE_STATUS,
};
use p2pdma_spec::pci::aer::{CorrectableErrors, RootErrorStatus, UncorrectableErrors};
use p2pdma_spec::pci::capability::{CapabilityId, ExtendedCapabilityId};
use p2pdma_spec::pci::config::{Status, offset, type1};
use p2pdma_spec::pci::express::offset::{DEVICE_CONTROL, DEVICE_STATUS};
use p2pdma_spec::pci::express::{DeviceControl, DeviceStatus};

use crate::support::{Stage, switched};

/// Devices `a` and `b` below a switch whose port above `a` validates sources; `c` is elsewhere.
fn stage() -> Stage {
    let validate = AcsControl::new().with_source_validation(true).into_bits();
    switched(IommuMode::Off, PeerPolicy::Forward, [0, 0, validate, 0])
}

/// A function's registers, by capability.
struct Registers {
    config: FabricConfig,
    express: u16,
    aer: u16,
}

impl Registers {
    fn of(stage: &Stage, bdf: Bdf) -> Self {
        let config = stage.fabric.config(bdf);
        let space: &dyn ConfigSpace = &config;
        let express = space.capability(CapabilityId::PCI_EXPRESS).unwrap().unwrap();
        let aer = space.extended_capability(ExtendedCapabilityId::ADVANCED_ERROR_REPORTING);
        let aer = aer.unwrap().unwrap();
        Self { config, express, aer }
    }

    fn word(&self, at: u16) -> u16 {
        u16::try_from(self.config.read(at, Width::Word).unwrap()).unwrap()
    }

    fn status(&self) -> Status {
        Status::from_bits(self.word(offset::STATUS))
    }

    fn device_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits(self.word(self.express + DEVICE_STATUS))
    }

    fn aer(&self, register: u16) -> u32 {
        self.config.read(self.aer + register, Width::Dword).unwrap()
    }

    fn set_aer(&self, register: u16, value: u32) {
        self.config.write(self.aer + register, Width::Dword, value).unwrap();
    }

    fn first_error(&self) -> u32 {
        self.aer(CONTROL) & 0x1f
    }

    fn header(&self) -> [u32; 4] {
        [0, 4, 8, 12].map(|word| self.aer(HEADER_LOG + word))
    }

    /// Switches every error message on.
    fn report_everything(&self) {
        let control = DeviceControl::from_bits(self.word(self.express + DEVICE_CONTROL))
            .with_correctable_error_reporting(true)
            .with_non_fatal_error_reporting(true)
            .with_fatal_error_reporting(true)
            .with_unsupported_request_reporting(true);
        let bits = u32::from(control.into_bits());
        self.config.write(self.express + DEVICE_CONTROL, Width::Word, bits).unwrap();
    }
}

fn root(stage: &Stage) -> Registers {
    Registers::of(stage, Bdf::new(0, 0, 1, 0).unwrap())
}

/// The port above `a`.
fn above_a(stage: &Stage) -> Registers {
    Registers::of(stage, Bdf::new(0, 2, 0, 0).unwrap())
}

/// `a` reads 8 bytes of `b`, and is told that the request is not supported.
fn unsupported_read(stage: &Stage) -> [u32; 4] {
    let site = Site::Read(stage.bdf("a"), None);
    stage.fabric.inject(Fault { site, index: 0, kind: FaultKind::UnsupportedRequest });
    let at = stage.memory("b");
    let answer =
        stage.act("a", move |port| port.read(Iova(at), &mut [0; 8], Attributes::DATA).is_err());
    assert!(answer);
    let requester = u32::from(stage.bdf("a").requester()) << 16;
    let [low, high] = [at & 0xffff_ffff, at >> 32].map(|half| u32::try_from(half).unwrap());
    // A read request of two words with a 64-bit address.
    [0x2000_0002, requester | 0xff, high, low]
}

/// `a` writes to `b` in another's name.
fn forged_write(stage: &Stage, len: usize) {
    let at = Iova(stage.memory("b") + 1);
    let forged = Attributes { forged_requester: Some(0x0900), ..Attributes::DATA };
    stage.act("a", move |port| port.write(at, &vec![1; len], forged).unwrap());
}

const ACS: u32 = UncorrectableErrors::new().with_acs_violation(true).into_bits();
const UNSUPPORTED: u32 = UncorrectableErrors::new().with_unsupported_request(true).into_bits();
const ADVISORY: u32 = 1 << 13;

#[test]
fn a_refused_read_is_advisory() {
    let stage = stage();
    let (completer, root) = (Registers::of(&stage, stage.bdf("b")), root(&stage));
    completer.report_everything();
    unsupported_read(&stage);
    let detected = DeviceStatus::new().with_correctable_error(true).with_unsupported_request(true);
    assert_eq!(completer.device_status(), detected);
    assert_eq!(completer.aer(CORRECTABLE_STATUS), ADVISORY);
    // The mask that a reset sets keeps it at that.
    assert_eq!(completer.aer(CORRECTABLE_MASK), ADVISORY);
    assert_eq!((completer.aer(UNCORRECTABLE_STATUS), completer.header()), (0, [0; 4]));
    assert_eq!((root.aer(ROOT_ERROR_STATUS), root.aer(ERROR_SOURCE)), (0, 0));
    let requester = Registers::of(&stage, stage.bdf("a"));
    assert!(requester.status().received_master_abort());
    assert_eq!(requester.device_status(), DeviceStatus::new());

    completer.set_aer(CORRECTABLE_MASK, 0);
    let header = unsupported_read(&stage);
    assert_eq!((completer.aer(UNCORRECTABLE_STATUS), completer.first_error()), (UNSUPPORTED, 20));
    assert_eq!(completer.header(), header);
    let received = RootErrorStatus::new().with_correctable(true);
    assert_eq!(root.aer(ROOT_ERROR_STATUS), received.into_bits());
    assert_eq!(root.aer(ERROR_SOURCE), u32::from(stage.bdf("b").requester()));
    unsupported_read(&stage);
    let received = received.with_multiple_correctable(true);
    assert_eq!(root.aer(ROOT_ERROR_STATUS), received.into_bits());
    root.set_aer(ROOT_ERROR_STATUS, u32::MAX);
    assert_eq!(root.aer(ROOT_ERROR_STATUS), 0);
}

#[test]
fn a_refused_read_of_fatal_severity_is_not_advisory() {
    let stage = stage();
    let completer = Registers::of(&stage, stage.bdf("b"));
    completer.report_everything();
    completer.set_aer(UNCORRECTABLE_SEVERITY, UNSUPPORTED);
    unsupported_read(&stage);
    let detected = DeviceStatus::new().with_fatal_error(true).with_unsupported_request(true);
    assert_eq!(completer.device_status(), detected);
    assert_eq!((completer.aer(CORRECTABLE_STATUS), completer.first_error()), (0, 20));
    let received = RootErrorStatus::new()
        .with_uncorrectable(true)
        .with_first_uncorrectable_fatal(true)
        .with_fatal(true);
    assert_eq!(root(&stage).aer(ROOT_ERROR_STATUS), received.into_bits());
}

#[test]
fn messages_are_sent_only_where_they_are_switched_on() {
    let stage = stage();
    let completer = Registers::of(&stage, stage.bdf("b"));
    completer.set_aer(CORRECTABLE_MASK, 0);
    unsupported_read(&stage);
    assert_eq!(root(&stage).aer(ROOT_ERROR_STATUS), 0);
    // Without Unsupported Request Reporting the others are not enough.
    completer.report_everything();
    let at = completer.express + DEVICE_CONTROL;
    let control = DeviceControl::from_bits(completer.word(at));
    let control = control.with_unsupported_request_reporting(false).into_bits();
    completer.config.write(at, Width::Word, u32::from(control)).unwrap();
    unsupported_read(&stage);
    assert_eq!(root(&stage).aer(ROOT_ERROR_STATUS), 0);
    // A bridge that does not forward keeps it below itself.
    completer.report_everything();
    let upstream = stage.fabric.config(Bdf::new(0, 1, 0, 0).unwrap());
    upstream.write(type1::BRIDGE_CONTROL, Width::Word, 0).unwrap();
    unsupported_read(&stage);
    assert_eq!(root(&stage).aer(ROOT_ERROR_STATUS), 0);
    upstream.write(type1::BRIDGE_CONTROL, Width::Word, 2).unwrap();
    unsupported_read(&stage);
    assert_eq!(root(&stage).aer(ROOT_ERROR_STATUS), 1);
}

#[test]
fn a_blocked_write_is_logged_with_its_header() {
    let stage = stage();
    let (port, root) = (above_a(&stage), root(&stage));
    port.report_everything();
    forged_write(&stage, 6);
    assert_eq!(port.device_status(), DeviceStatus::new().with_non_fatal_error(true));
    assert_eq!((port.aer(UNCORRECTABLE_STATUS), port.first_error()), (ACS, 21));
    let at = stage.memory("b");
    let [low, high] = [at & 0xffff_ffff, at >> 32].map(|half| u32::try_from(half).unwrap());
    // Six bytes from the second on: three of the first word, three of the last.
    assert_eq!(port.header(), [0x6000_0002, 0x0900_007e, high, low]);
    let received = RootErrorStatus::new().with_uncorrectable(true).with_non_fatal(true);
    assert_eq!(root.aer(ROOT_ERROR_STATUS), received.into_bits());
    assert_eq!(root.aer(ERROR_SOURCE), 0x0200 << 16);
    // Bridges on the way noted it.
    assert!(Status::from_bits(root.word(type1::SECONDARY_STATUS)).system_error());

    // The first one stays until software has cleared its status.
    forged_write(&stage, 1);
    assert_eq!(port.header()[1], 0x0900_007e);
    port.set_aer(UNCORRECTABLE_STATUS, ACS);
    forged_write(&stage, 1);
    assert_eq!(port.header()[1], 0x0900_0002);
    // Of what is longer than a packet, the first one: 256 bytes.
    port.set_aer(UNCORRECTABLE_STATUS, ACS);
    forged_write(&stage, 1000);
    assert_eq!(port.header()[..2], [0x6000_0041, 0x0900_001e]);
}

#[test]
fn a_masked_error_sets_its_status_and_nothing_else() {
    let stage = stage();
    let port = above_a(&stage);
    port.report_everything();
    port.set_aer(UNCORRECTABLE_MASK, ACS);
    forged_write(&stage, 4);
    assert_eq!((port.aer(UNCORRECTABLE_STATUS), port.first_error()), (ACS, 0));
    assert_eq!(port.header(), [0; 4]);
    assert_eq!(root(&stage).aer(ROOT_ERROR_STATUS), 0);
    assert_eq!(stage.fabric.errors("sw0.0").unwrap().acs_violations, 1);
}

#[test]
fn reserved_bits_stay_zero() {
    let stage = stage();
    for registers in [above_a(&stage), root(&stage), Registers::of(&stage, stage.bdf("a"))] {
        let (uncorrectable, correctable) =
            (UncorrectableErrors::DEFINED.into_bits(), CorrectableErrors::DEFINED.into_bits());
        for (register, defined) in [
            (UNCORRECTABLE_MASK, uncorrectable),
            (UNCORRECTABLE_SEVERITY, uncorrectable),
            (CORRECTABLE_MASK, correctable),
        ] {
            registers.set_aer(register, u32::MAX);
            assert_eq!(registers.aer(register), defined, "{register:#x}");
        }
    }
}

#[test]
fn aborts_show_at_both_ends() {
    let stage = stage();
    let at = Iova(stage.memory("b"));
    let forged = Attributes { forged_requester: Some(0x0900), ..Attributes::DATA };
    let (port, requester) = (above_a(&stage), Registers::of(&stage, stage.bdf("a")));
    forged_write(&stage, 4);
    let secondary = || Status::from_bits(port.word(type1::SECONDARY_STATUS));
    assert!(!secondary().signaled_target_abort(), "nothing answers a write");
    stage.act("a", move |port| port.read(at, &mut [0; 4], forged).unwrap_err());
    assert!(secondary().signaled_target_abort());
    assert!(requester.status().received_target_abort());
    // Written as software writes them: a one clears.
    let ones = u32::from(u16::MAX);
    requester.config.write(offset::STATUS, Width::Word, ones).unwrap();
    port.config.write(type1::SECONDARY_STATUS, Width::Word, ones).unwrap();
    assert!(!requester.status().received_target_abort() && requester.status().capabilities_list());
    assert!(!secondary().signaled_target_abort());
}

#[test]
fn poison_shows_where_it_arrives() {
    let stage = stage();
    let site = Site::Write(stage.bdf("a"), None);
    stage.fabric.inject(Fault { site, index: 0, kind: FaultKind::Poison });
    let at = Iova(stage.memory("b"));
    stage.act("a", move |port| port.write(at, &[1; 4], Attributes::DATA).unwrap());
    let receiver = Registers::of(&stage, stage.bdf("b"));
    assert!(receiver.status().detected_parity_error());
    assert_eq!((receiver.first_error(), receiver.header()[0]), (12, 0x6000_4001));
}
