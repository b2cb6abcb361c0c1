//! Opening a controller: an honest one, and those that lie about what they are.

use std::sync::Arc;

use p2pdma_nvme::{Controller, Data, Error, Options, QueueOptions};
use p2pdma_pci::{Clock as _, Duration, Instant};
use p2pdma_spec::nvme::admin::Cns;
use p2pdma_spec::nvme::registers::{Cap, Csts};

use crate::support::controller::{Facade, FakeController};
use crate::support::mischief::Mischief;
use crate::support::platform::Machine;
use crate::support::{open, options};

const SECOND: Duration = Duration::from_millis(1000);

fn facade(change: impl FnOnce(&mut Facade)) -> FakeController {
    let mut facade = Facade::default();
    change(&mut facade);
    FakeController::new(facade, Mischief::none())
}

#[test]
fn what_was_written_is_read() {
    let (machine, controller) = open(FakeController::default());
    let controller = controller.unwrap();
    assert_eq!(controller.namespaces(), [1]);
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue_pair(&QueueOptions::entries(4)).unwrap();
    let buffer = controller.alloc_dma(4096).unwrap();
    buffer.memory().fill(0, 4096, 7).unwrap();
    queue.submit(&namespace.write(8, 8).unwrap(), Data::from(&buffer), "write").unwrap();
    let done = queue.wait(SECOND).unwrap().unwrap();
    assert_eq!((done.token, done.outcome), ("write", Ok(0)));
    buffer.memory().fill(0, 4096, 0).unwrap();
    queue.submit(&namespace.read(8, 8).unwrap(), Data::from(&buffer), "read").unwrap();
    let done = queue.wait(SECOND).unwrap().unwrap();
    assert_eq!((done.token, done.outcome), ("read", Ok(0)));
    assert_eq!(buffer.memory().read_value::<[u8; 4096]>(0).unwrap(), [7; 4096]);
    assert!(queue.wait(SECOND).unwrap().is_none());
    drop((queue, controller, buffer));
    assert_eq!((machine.held(), machine.strays(), machine.broken_canaries()), (0, 0, 0));
    assert!(!machine.bus_master());
}

/// Somebody left it running, with queues of its own: it is stopped before it may send requests again.
#[test]
fn a_running_controller_is_stopped_first() {
    let (machine, controller) = open(FakeController::default().left_running());
    let controller = controller.unwrap();
    assert_eq!((machine.strays(), machine.resets()), (0, 0));
    assert_eq!(controller.namespaces(), [1]);
}

/// One that does not stop by itself is reset from the bus, if it can be.
#[test]
fn a_controller_that_does_not_stop_is_reset() {
    let stubborn = |resettable| {
        let fake = facade(|facade| {
            (facade.becomes_idle, facade.resettable) = (false, resettable);
        });
        open(fake.left_running())
    };
    let (machine, controller) = stubborn(true);
    assert_eq!((controller.unwrap().namespaces(), machine.resets()), (&[1_u32][..], 1));
    let (machine, controller) = stubborn(false);
    let error = controller.unwrap_err();
    assert!(matches!(error, Error::NotReady { goal: "become idle", .. }), "{error}");
    assert!(!machine.bus_master());
    // It never was given any memory, so none is lost.
    assert_eq!(machine.held(), 0);
}

/// What an expected error looks like.
type Expected = fn(&Error) -> bool;

fn implausible(error: &Error, name: &str) -> bool {
    matches!(error, Error::Implausible { field, .. } if *field == name)
}

/// Every register that a hostile controller can lie in, with what has to become of it. All ends within
/// bounds of the virtual clock, with bus mastering off and no memory lost.
#[test]
fn registers_that_cannot_be() {
    let cap = |change: fn(Cap) -> Cap| facade(|facade| facade.cap = change(facade.cap));
    let cases: Vec<(&str, FakeController, Expected)> = vec![
        ("all ones", cap(|_| Cap::from_bits(u64::MAX)), |e| matches!(e, Error::Gone { .. })),
        ("MPSMIN above MPSMAX", cap(|cap| cap.with_mpsmin(5)), |e| implausible(e, "CAP.MPSMIN")),
        ("MPSMIN 8 KiB", cap(|cap| cap.with_mpsmin(1)), |e| implausible(e, "CAP.MPSMIN")),
        ("MQES 0", cap(|cap| cap.with_mqes_z(0)), |e| implausible(e, "CAP.MQES")),
        ("DSTRD 15", cap(|cap| cap.with_dstrd(15)), |e| implausible(e, "CAP.DSTRD")),
        ("no command set", cap(|cap| cap.with_css_nvm(false)), |e| implausible(e, "CAP.CSS")),
        ("never ready", facade(|f| f.becomes_ready = false), |e| {
            matches!(e, Error::NotReady { goal: "become ready", .. })
        }),
        (
            "never ready, TO 0",
            facade(|f| {
                (f.becomes_ready, f.cap) = (false, f.cap.with_to(0));
            }),
            |e| matches!(e, Error::NotReady { .. }),
        ),
        (
            "never ready, TO 255",
            facade(|f| {
                (f.becomes_ready, f.cap) = (false, f.cap.with_to(255));
            }),
            |e| matches!(e, Error::NotReady { .. }),
        ),
        ("fatal", facade(|f| f.started = Csts::new().with_cfs(true)), |e| {
            matches!(e, Error::Failed { .. })
        }),
        ("ready and fatal", facade(|f| f.started = f.started.with_cfs(true)), |e| {
            matches!(e, Error::Failed { .. })
        }),
        ("gone when started", facade(|f| f.started = Csts::GONE), |e| {
            matches!(e, Error::Gone { .. })
        }),
    ];
    let count = cases.len();
    for (name, fake, expected) in cases {
        let (machine, controller) = open(fake);
        let error = controller.unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
        let took = machine.now().since(Instant::ZERO);
        assert!(took < Duration::from_millis(100_000), "{name}: {took}");
        assert!(!machine.bus_master(), "{name}");
        assert_eq!((machine.strays(), machine.broken_canaries()), (0, 0), "{name}");
        // Only from one that says nothing any more can nothing be taken back.
        assert!(machine.held() == 0 || name == "gone when started", "{name}");
    }
    println!("register cases: {count}");
}

#[test]
fn registers_that_are_odd_but_usable() {
    let cases: Vec<(&str, FakeController)> = vec![
        ("TO 0", facade(|f| f.cap = f.cap.with_to(0))),
        ("DSTRD 4", facade(|f| f.cap = f.cap.with_dstrd(4))),
        ("all command sets", facade(|f| f.cap = f.cap.with_css_io_command_sets(true))),
        ("MQES 1", facade(|f| f.cap = f.cap.with_mqes_z(1))),
        ("every queue granted", facade(|f| f.queues = Some(u32::MAX))),
        ("does not shut down", facade(|f| f.shuts_down = false)),
    ];
    for (name, fake) in cases {
        let (machine, controller) = open(fake);
        let controller = controller.unwrap();
        assert!(controller.queue_count().unwrap() > 0, "{name}");
        let entries = controller.max_queue_entries().min(8);
        let queue = controller.queue_pair::<()>(&QueueOptions::entries(entries)).unwrap();
        drop((queue, controller));
        assert_eq!(machine.held(), 0, "{name}");
    }
}

/// A shutdown gets the time that the controller says it takes (RTD3E), at least what the options say, and at most a
/// minute; one that takes longer is cut short.
#[test]
fn a_shutdown_is_waited_for() {
    let millis = Duration::from_millis;
    let claim = |micros: u32| {
        let bytes = (88..).zip(micros.to_le_bytes());
        bytes.map(|(at, byte)| (Cns::CONTROLLER, at, byte)).collect::<Vec<_>>()
    };
    let never = millis(100_000_000);
    // What it claims, what it takes, and how long it is waited for.
    let cases = [
        (0, millis(0), millis(0)),
        (0, millis(450), millis(450)),
        (1, millis(450), millis(450)),
        (0, never, millis(500)),
        (3_000_000, millis(2_900), millis(2_900)),
        (3_000_000, never, millis(3_000)),
        (59_000_000, millis(58_000), millis(58_000)),
        (u32::MAX, millis(59_000), millis(59_000)),
        (u32::MAX, never, millis(60_000)),
    ];
    for (claimed, takes, waited) in cases {
        let fake = facade(|f| (f.identify, f.shutdown_takes) = (claim(claimed), takes));
        let machine = Machine::new(Box::new(fake), 4 << 20);
        let options = Options { shutdown_timeout: millis(500), ..options() };
        let controller = Controller::open(Arc::new(machine.clone()), options).unwrap();
        let began = machine.now();
        drop(controller);
        let took = machine.now().since(began);
        // A turn of the polling loop takes 20 ms at most.
        assert!(took >= waited && took <= waited + millis(60), "{claimed}, {takes}: {took}");
        let cut = u64::from(takes == never);
        assert_eq!(machine.device(|device| device.shutdowns), [1 - cut, cut], "{claimed}, {takes}");
        assert!(!machine.bus_master());
    }
    println!("shutdowns: {}", cases.len());
}

/// Doorbells that lie outside the BAR are never touched: fewer queues are used.
#[test]
fn the_bar_limits_the_queues() {
    let fake = facade(|f| f.cap = f.cap.with_dstrd(4));
    let machine = Machine::new(Box::new(fake), 4 << 20);
    // Pairs of doorbells take 128 bytes: the admin queue and two more fit.
    machine.set_bar(0, 0x1000 + 3 * 128);
    let controller = Controller::open(Arc::new(machine.clone()), options()).unwrap();
    assert_eq!(controller.queue_count().unwrap(), 2);
    let first = controller.queue_pair::<()>(&QueueOptions::default()).unwrap();
    let second = controller.queue_pair::<()>(&QueueOptions::default()).unwrap();
    let third = controller.queue_pair::<()>(&QueueOptions::default());
    assert!(matches!(third, Err(Error::NoQueue { count: 2, .. })));
    assert_eq!((first.qid(), second.qid()), (1, 2));
    drop(first);
    assert_eq!(controller.queue_pair::<()>(&QueueOptions::default()).unwrap().qid(), 1);
    machine.set_bar(0, 0x1000 + 4);
    let again = Controller::open(Arc::new(machine), options());
    assert!(implausible(&again.unwrap_err(), "CAP.DSTRD"));
}

#[test]
fn a_function_that_is_something_else() {
    let machine = Machine::new(Box::default(), 1 << 20);
    for (class, gone) in [(0x02_0000, false), (0x01_0803, false), (0xff_ffff, false)] {
        machine.set_class(class);
        let error = Controller::open(Arc::new(machine.clone()), Options::default()).unwrap_err();
        assert_eq!(matches!(error, Error::Gone { .. }), gone);
        assert!(matches!(error, Error::NotNvme { .. }), "{error}");
    }
    machine.set_class(0x01_0802);
    machine.set_bar(0, 0);
    let error = Controller::open(Arc::new(machine), Options::default()).unwrap_err();
    assert!(matches!(error, Error::Pci(p2pdma_pci::Error::NoBar { .. })), "{error}");
}

/// Identify structures that lie: what the driver needs is refused, the rest is none of its business.
#[test]
fn identify_structures_that_cannot_be() {
    let lie = |lies: &[(Cns, usize, u8)]| facade(|f| f.identify = lies.to_vec());
    let of_controller = |at, value| (Cns::CONTROLLER, at, value);
    for (field, at, value) in
        [("SQES", 512, 0x77), ("SQES", 512, 0x05), ("SQES", 512, 0xff), ("CQES", 513, 0x33)]
    {
        let (_, controller) = open(lie(&[of_controller(at, value)]));
        assert!(implausible(&controller.unwrap_err(), field), "{field} {value:#x}");
    }
    // MDTS 255 is no limit; NN is not trusted at all; 3 is no kind of SGL support.
    let lies = [77, 516, 517, 518, 519, 536].map(|at| of_controller(at, 0xff));
    let (_, controller) = open(lie(&lies));
    let controller = controller.unwrap();
    assert_eq!(controller.max_transfer(), 256 << 10);
    assert_eq!((controller.namespaces(), controller.takes_sgl()), (&[1_u32][..], false));
    // A list that goes down, or stands still.
    for second in [0, 1] {
        let lies = [(Cns::ACTIVE_NAMESPACES, 4, 1), (Cns::ACTIVE_NAMESPACES, 0, 1 + second)];
        let (_, controller) = open(lie(&lies));
        assert!(implausible(&controller.unwrap_err(), "Active Namespace ID list"));
    }
}

#[test]
fn namespaces_that_cannot_be() {
    let of_namespace = |at, value| (Cns::NAMESPACE, at, value);
    let cases: [(&str, &[(usize, u8)]); 9] = [
        ("LBADS", &[(130, 0)]),
        ("LBADS", &[(130, 8)]),
        ("LBADS", &[(130, 31)]),
        ("LBADS", &[(130, 63)]),
        ("LBADS", &[(130, 255)]),
        ("NSZE", &[(0, 0), (1, 0)]),
        ("NSZE", &[(7, 0xff)]),
        ("FLBAS", &[(26, 1)]),
        ("MS", &[(29, 1)]),
    ];
    for (field, lies) in cases {
        let lies: Vec<_> = lies.iter().map(|(at, value)| of_namespace(*at, *value)).collect();
        let (_, controller) = open(facade(|f| f.identify = lies));
        let error = controller.unwrap().namespace(1).unwrap_err();
        let named =
            matches!(error, Error::ImplausibleNamespace { field: name, .. } if name == field);
        assert!(named, "{field}: {error}");
    }
    let reserved = facade(|f| f.identify = vec![of_namespace(29, 7)]);
    let error = open(reserved).1.unwrap().namespace(1).unwrap_err();
    assert!(matches!(error, Error::ImplausibleNamespace { field: "DPS.PIT", .. }), "{error}");
    let absent = open(FakeController::default()).1.unwrap().namespace(2).unwrap_err();
    assert!(matches!(absent, Error::Admin { .. }), "{absent}");
}

/// Another command set than NVM, where a namespace can say so.
#[test]
fn a_namespace_of_another_command_set() {
    let fake = facade(|f| {
        f.cap = f.cap.with_css_io_command_sets(true);
        // The identifier of the descriptor: the Zoned Namespace Command Set.
        f.identify = vec![(Cns::NAMESPACE_DESCRIPTORS, 4, 2)];
    });
    let error = open(fake).1.unwrap().namespace(1).unwrap_err();
    assert!(matches!(error, Error::OtherCommandSet { nsid: 1, .. }), "{error}");
}

/// The platform's memory runs out at every allocation: an error each time, and nothing is lost.
#[test]
fn no_memory_at_allocation_k() {
    let mut failures = 0;
    for memory in (1..60).map(|pages| pages * 4096) {
        let machine = Machine::new(Box::default(), memory);
        let opened = Controller::open(Arc::new(machine.clone()), options());
        let queue = opened.and_then(|controller| {
            let queue = controller.queue_pair::<()>(&QueueOptions::entries(64));
            queue.map(|queue| (queue, controller))
        });
        match queue {
            Ok(pair) => drop(pair),
            Err(error) => {
                failures += 1;
                assert!(
                    matches!(error, Error::Pci(p2pdma_pci::Error::NoDmaSpace { .. })),
                    "{error}"
                );
            }
        }
        assert_eq!(machine.held(), 0, "{memory}");
    }
    println!("allocations that failed: {failures} of 59");
    assert!((10..59).contains(&failures));
}
