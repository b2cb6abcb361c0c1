//! Reset, recovery, and what is dropped when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use p2pdma_nvme::{Cause, Controller, Data, Error, QueueOptions, QueuePair, Recovery};
use p2pdma_pci::{Clock as _, DmaBuffer, Duration};

use crate::support::controller::{Facade, FakeController};
use crate::support::mischief::{Deed, Mischief};
use crate::support::platform::Machine;
use crate::support::{open, options};

const SECOND: Duration = Duration::from_millis(1000);
type Queue = QueuePair<DmaBuffer>;

fn honest() -> (Machine, Controller) {
    let (machine, controller) = open(FakeController::default());
    (machine, controller.unwrap())
}

fn read(controller: &Controller, queue: &mut Queue) {
    let namespace = controller.namespace(1).unwrap();
    let buffer = controller.alloc_dma(4096).unwrap();
    queue.submit(&namespace.read(0, 8).unwrap(), Data::from(&buffer), buffer).unwrap();
}

/// What a queue and its controller are in when they are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Written,
    Rung,
    Completed,
    Lost,
    Broken,
    Reset,
    Dead,
    Fatal,
    Gone,
}

const STATES: [State; 10] = [
    State::Idle,
    State::Written,
    State::Rung,
    State::Completed,
    State::Lost,
    State::Broken,
    State::Reset,
    State::Dead,
    State::Fatal,
    State::Gone,
];

fn bring_into(state: State, machine: &Machine, controller: &Controller, queue: &mut Queue) {
    let mischief = |deed| machine.device(|device| device.mischief = Mischief::always(deed, 0));
    if state != State::Idle {
        read(controller, queue);
    }
    if matches!(state, State::Idle | State::Written) {
        return;
    }
    match state {
        State::Lost | State::Dead => mischief(Deed::Lost),
        State::Broken => mischief(Deed::WrongQueue),
        State::Fatal => mischief(Deed::Fatal),
        State::Gone => mischief(Deed::Gone),
        _ => {}
    }
    queue.ring().unwrap();
    if state != State::Rung {
        machine.work();
    }
    match state {
        State::Reset => controller.reset().unwrap(),
        State::Dead => drop(controller.reset().unwrap_err()),
        State::Broken => {
            queue.poll().unwrap_err();
            machine.device(|device| device.mischief = Mischief::none());
        }
        State::Lost => machine.device(|device| device.mischief = Mischief::none()),
        _ => {}
    }
}

/// In every state and in either order: bounded in time, nothing lost, nothing given back too early.
#[test]
fn dropped_in_every_state() {
    let mut cases = 0;
    for state in STATES {
        for queue_first in [true, false] {
            for others in [0, 2] {
                let (machine, controller) = honest();
                let others: Vec<Queue> = (0..others)
                    .map(|_| controller.queue_pair(&QueueOptions::entries(4)).unwrap())
                    .collect();
                let mut queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
                bring_into(state, &machine, &controller, &mut queue);
                let began = machine.now();
                if queue_first {
                    drop(queue);
                    drop(controller);
                } else {
                    drop(controller);
                    drop(queue);
                }
                drop(others);
                let took = machine.now().since(began);
                assert!(took < Duration::from_millis(60_000), "{state:?}: {took}");
                assert_eq!((machine.strays(), machine.broken_canaries()), (0, 0), "{state:?}");
                // A function that says nothing any more gives no proof that it has stopped.
                assert_eq!(machine.held() == 0, state != State::Gone, "{state:?}");
                assert!(!machine.bus_master() || state == State::Gone, "{state:?}");
                cases += 1;
            }
        }
    }
    println!("drops: {cases}");
}

/// A controller that neither stops nor can be reset keeps what it was given, and its owner.
#[test]
fn what_cannot_be_fenced_is_leaked() {
    let facade = Facade { becomes_idle: false, resettable: false, ..Facade::default() };
    let (machine, controller) = open(FakeController::new(facade, Mischief::none()));
    let controller = controller.unwrap();
    let mut queue: Queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
    machine.device(|device| device.mischief = Mischief::always(Deed::Late, 0));
    read(&controller, &mut queue);
    queue.ring().unwrap();
    machine.device(|device| device.mischief = Mischief::always(Deed::Lost, 0));
    let before = machine.held();
    assert!(!queue.retire() && queue.in_flight() == 1);
    drop((queue, controller));
    assert_eq!(machine.held(), before);
    machine.work();
    machine.work();
    assert_eq!((machine.strays(), machine.bus_master()), (0, false));
}

/// A queue that is retired gives its identifier back once, and what was in flight; it is of no more use.
#[test]
fn a_retired_queue_takes_nothing_more() {
    for reset in [false, true] {
        let (machine, controller) = honest();
        let mut queue: Queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
        read(&controller, &mut queue);
        if reset {
            controller.reset().unwrap();
        }
        assert!(queue.retire() && queue.retire());
        let next: Queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
        assert_eq!(next.qid(), queue.qid());
        let lost = queue.poll().unwrap().unwrap().outcome.map_err(|failure| failure.cause);
        assert!(matches!(lost, Err(Cause::Lost)), "{lost:?}");
        assert!(matches!(queue.ring(), Err(Error::Reset { .. })));
        assert!(matches!(queue.recover(), Err(Error::Reset { .. })));
        drop(queue);
        let third: Queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
        assert_ne!(third.qid(), next.qid(), "it was given back once");
        drop((next, third, controller));
        assert_eq!((machine.held(), machine.strays()), (0, 0));
    }
}

/// A reset takes every queue: each finds out by itself, gives back what was in flight, and comes back.
#[test]
fn a_reset_takes_every_queue() {
    let (machine, controller) = honest();
    let mut queues: Vec<Queue> =
        (0..3).map(|_| controller.queue_pair(&QueueOptions::entries(8)).unwrap()).collect();
    for round in 0..3 {
        for queue in &mut queues {
            (0..round + 2).for_each(|_| read(&controller, queue));
        }
        queues.iter_mut().for_each(|queue| queue.ring().unwrap());
        // One of them got its completions in time.
        if round == 1 {
            machine.work();
        }
        controller.reset().unwrap();
        for queue in &mut queues {
            let mut outcomes = Vec::new();
            while let Ok(Some(completion)) = queue.poll() {
                outcomes.push(completion.outcome.map_err(|failure| failure.cause));
            }
            let expected = if round == 1 { Ok(0) } else { Err(Cause::Lost) };
            assert_eq!(outcomes, vec![expected; round + 2]);
            assert!(matches!(queue.poll(), Err(Error::Reset { .. })));
            let namespace = controller.namespace(1).unwrap();
            let buffer = controller.alloc_dma(512).unwrap();
            let rejected =
                queue.submit(&namespace.read(0, 1).unwrap(), Data::from(&buffer), buffer);
            assert!(matches!(rejected.unwrap_err().error, Error::Reset { .. }));
            assert!(matches!(queue.ring(), Err(Error::Reset { .. })));
            assert_eq!(queue.in_flight(), 0);
            assert_eq!(queue.recover().unwrap(), Recovery::Reset);
            read(&controller, queue);
            assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
        }
    }
    drop((queues, controller));
    assert_eq!((machine.held(), machine.strays()), (0, 0));
}

/// Several threads, each with its own queue, while the controller is reset under them again and again.
#[test]
fn reset_under_load() {
    let (machine, controller) = honest();
    let stop = AtomicBool::new(false);
    let [done, lost] = [AtomicU64::new(0), AtomicU64::new(0)];
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
                let namespace = controller.namespace(1).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    while queue.in_flight() < queue.capacity() {
                        let buffer = controller.alloc_dma(512).unwrap();
                        let command = namespace.read(0, 1).unwrap();
                        if queue.submit(&command, Data::from(&buffer), buffer).is_err() {
                            break;
                        }
                    }
                    match queue.wait(SECOND) {
                        Ok(Some(completion)) if completion.outcome.is_ok() => {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Some(_)) => drop(lost.fetch_add(1, Ordering::Relaxed)),
                        Ok(None) => {}
                        Err(_) => drop(queue.recover()),
                    }
                }
            });
        }
        for _ in 0..20 {
            let before = done.load(Ordering::Relaxed);
            while done.load(Ordering::Relaxed) < before + 50 {
                std::thread::yield_now();
            }
            controller.reset().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("commands done: {done:?}, lost in 20 resets: {lost:?}");
    drop(controller);
    assert_eq!((machine.held(), machine.strays(), machine.broken_canaries()), (0, 0, 0));
}

/// The controller does not stop by itself: the reset goes by way of the bus.
#[test]
fn a_reset_that_needs_the_bus() {
    let facade = Facade { becomes_idle: false, ..Facade::default() };
    let (machine, controller) = open(FakeController::new(facade, Mischief::none()));
    let controller = controller.unwrap();
    let options = QueueOptions { vector: Some(2), ..QueueOptions::entries(8) };
    let mut queue: Queue = controller.queue_pair(&options).unwrap();
    let cmb = controller.cmb().unwrap().allocate(4096, 4096).unwrap();
    controller.pmr().unwrap();
    controller.reset().unwrap();
    assert_eq!(machine.resets(), 1);
    // Vectors and memories came back with it.
    assert_eq!(queue.recover().unwrap(), Recovery::Reset);
    read(&controller, &mut queue);
    assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
    let namespace = controller.namespace(1).unwrap();
    let buffer = controller.alloc_dma(512).unwrap();
    let write = namespace.read(0, 8).unwrap();
    queue.submit(&write, cmb.segment().into(), buffer).unwrap();
    assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
}

/// The controller is opened again after its last view is gone.
#[test]
fn opened_again_and_again() {
    let machine = Machine::new(Box::default(), 4 << 20);
    for _ in 0..20 {
        let controller = Controller::open(Arc::new(machine.clone()), options()).unwrap();
        let view = controller.clone();
        let mut queue: Queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
        drop(controller);
        // Other views keep it running.
        read(&view, &mut queue);
        assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
        drop(view);
        assert_eq!(queue.in_flight(), 0);
        assert!(machine.bus_master());
        drop(queue);
        assert!(!machine.bus_master());
        assert_eq!(machine.held(), 0);
    }
}
