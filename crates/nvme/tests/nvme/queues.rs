//! Queues: wrap and phase at every depth, batches, placement, doorbells.

use p2pdma_nvme::{
    Controller, Data, Error, Placement, QueueOptions, QueuePair, Recovery, Segment, SglSegment,
};
use p2pdma_pci::{Clock as _, Duration};
use p2pdma_spec::nvme::cmb::Cmbloc;
use proptest::prelude::*;

use crate::support::controller::{Facade, FakeController};
use crate::support::mischief::{Deed, Mischief};
use crate::support::open;
use crate::support::platform::Machine;
use crate::support::random::Random;

const SECOND: Duration = Duration::from_millis(1000);

fn honest() -> (Machine, Controller) {
    let (machine, controller) = open(FakeController::default());
    (machine, controller.unwrap())
}

fn placed(entries: u32, submission: Placement, completion: Placement) -> QueueOptions {
    QueueOptions { entries, submission, completion, ..QueueOptions::default() }
}

/// Fills the queue again and again, in batches of every size, until it has wrapped several times.
fn exercise(machine: &Machine, controller: &Controller, options: &QueueOptions) -> u64 {
    let namespace = controller.namespace(1).unwrap();
    let buffer = controller.alloc_dma(4096).unwrap();
    let mut queue: QueuePair<u64> = controller.queue_pair(options).unwrap();
    let capacity = queue.capacity();
    assert_eq!(capacity as u64, u64::from(options.entries) - 1);
    let (mut next, mut done) = (0_u64, 0_u64);
    let mut batch = 1;
    while next < 5 * u64::from(options.entries) {
        for _ in 0..batch {
            let command = namespace.read(next % 4096, 1).unwrap();
            let data = Segment::new(buffer.iova(), 512);
            queue.submit(&command, data.into(), next).unwrap();
            next += 1;
        }
        if batch == capacity {
            let command = namespace.read(0, 1).unwrap();
            let full = queue.submit(&command, Segment::new(buffer.iova(), 512).into(), 7);
            let rejected = full.unwrap_err();
            assert!(matches!(rejected.error, Error::QueueFull { .. }));
            assert_eq!(rejected.token, 7);
        }
        queue.ring().unwrap();
        machine.work();
        // By turns: one at a time, all at once, or waiting.
        match next % 3 {
            0 => {
                while let Some(completion) = queue.poll().unwrap() {
                    assert_eq!((completion.token, completion.outcome), (done, Ok(0)));
                    done += 1;
                }
            }
            1 => {
                let reaped = queue.reap(|completion| {
                    assert_eq!((completion.token, completion.outcome), (done, Ok(0)));
                    done += 1;
                });
                assert!(reaped.unwrap() > 0);
            }
            _ => {
                while let Some(completion) = queue.wait(SECOND).unwrap() {
                    assert_eq!((completion.token, completion.outcome), (done, Ok(0)));
                    done += 1;
                }
            }
        }
        while done < next {
            assert_eq!(queue.wait(SECOND).unwrap().unwrap().token, done);
            done += 1;
        }
        batch = batch % capacity + 1;
    }
    assert_eq!(queue.in_flight(), 0);
    drop(queue);
    machine.device(|device| {
        assert!(device.illegal.is_empty(), "{:?}", device.illegal);
        assert_eq!((device.invalid_doorbells, device.unflushed, device.overruns), (0, 0, 0));
    });
    done
}

#[test]
fn wrap_and_phase_at_every_depth() {
    let (machine, controller) = honest();
    let (mut commands, mut depths) = (0, 0);
    for entries in (2..=40).chain([63, 64, 65, 127, 128, 129, 255, 256]) {
        commands += exercise(&machine, &controller, &QueueOptions::entries(entries));
        depths += 1;
    }
    println!("depths: {depths}, commands: {commands}");
    for entries in [0, 1, 257, 65_536, u32::MAX] {
        let refused = controller.queue_pair::<()>(&QueueOptions::entries(entries));
        assert!(matches!(refused, Err(Error::QueueSize { least: 2, most: 256, .. })));
    }
    assert_eq!(machine.strays(), 0);
}

/// With queues in the controller's own memory, of either kind: and no doorbell comes before its entries.
#[test]
fn queues_in_the_controllers_memory() {
    use Placement::{Cmb, Host};
    let (machine, controller) = honest();
    let mut commands = 0;
    for entries in [2, 3, 7, 8, 33, 64] {
        for (submission, completion) in [(Cmb, Host), (Host, Cmb), (Cmb, Cmb)] {
            commands += exercise(&machine, &controller, &placed(entries, submission, completion));
        }
    }
    println!("commands by way of the controller memory buffer: {commands}");
    let cmb = controller.cmb().unwrap();
    assert_eq!(cmb.available(), cmb.len());
}

/// Lists go where the controller demands them, and without a place transfers are a page at most.
#[test]
fn lists_of_commands_in_the_controllers_memory() {
    for (lists, independent, most) in
        [(true, false, 128 << 10), (false, false, 4096), (false, true, 128 << 10)]
    {
        let mut facade = Facade::default();
        facade.cmbsz = facade.cmbsz.with_lists(lists);
        facade.cmbloc = Cmbloc::new().with_bir(2).with_ofst(16).with_cdpcils(independent);
        let (machine, controller) = open(FakeController::new(facade, Mischief::none()));
        let controller = controller.unwrap();
        let options = placed(16, Placement::Cmb, Placement::Host);
        let mut queue = controller.queue_pair::<()>(&options).unwrap();
        assert_eq!(queue.max_transfer(), most);
        let namespace = controller.namespace(1).unwrap();
        let buffer = controller.alloc_dma(128 << 10).unwrap();
        buffer.memory().fill(0, 128 << 10, 0x5a).unwrap();
        let read = namespace.read(0, 256).unwrap();
        let submitted = queue.submit(&read, Data::from(&buffer), ());
        if most == 4096 {
            let error = submitted.unwrap_err().error;
            assert!(matches!(error, Error::TooLong { most: 4096, .. }), "{error}");
            continue;
        }
        submitted.unwrap();
        assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
        assert!(machine.device(|device| device.illegal.is_empty()));
        assert_eq!(buffer.memory().read_value::<[u8; 64]>((128 << 10) - 64).unwrap(), [0; 64]);
    }
}

#[test]
fn what_the_buffer_may_not_hold_is_refused() {
    let mut facade = Facade::default();
    facade.cmbsz = facade.cmbsz.with_sqs(false).with_cqs(false);
    let (_, controller) = open(FakeController::new(facade, Mischief::none()));
    let controller = controller.unwrap();
    for (submission, completion) in
        [(Placement::Cmb, Placement::Host), (Placement::Host, Placement::Cmb)]
    {
        let refused = controller.queue_pair::<()>(&placed(8, submission, completion));
        assert!(matches!(refused, Err(Error::Unsupported { .. })));
    }
    assert_eq!(controller.queue_count().unwrap(), 8);
    // The identifiers were not used up.
    let queues: Vec<_> =
        (0..8).map(|_| controller.queue_pair::<()>(&QueueOptions::entries(2)).unwrap()).collect();
    assert_eq!(queues.last().unwrap().qid(), 8);
}

/// One write of each doorbell per batch, whatever the batch.
#[test]
fn a_batch_costs_one_write_of_each_doorbell() {
    let (machine, controller) = honest();
    let namespace = controller.namespace(1).unwrap();
    let buffer = controller.alloc_dma(4096).unwrap();
    let mut queue = controller.queue_pair::<()>(&QueueOptions::entries(64)).unwrap();
    for batch in [1, 2, 16, 32, 63] {
        let before = machine.device(|device| device.doorbells);
        for _ in 0..batch {
            let read = namespace.read(0, 1).unwrap();
            queue.submit(&read, Segment::new(buffer.iova(), 512).into(), ()).unwrap();
        }
        assert_eq!(machine.device(|device| device.doorbells), before);
        queue.ring().unwrap();
        queue.ring().unwrap();
        machine.work();
        assert_eq!(queue.reap(|completion| assert!(completion.outcome.is_ok())).unwrap(), batch);
        assert!(queue.poll().unwrap().is_none());
        assert_eq!(machine.device(|device| device.doorbells), before + 2, "batch of {batch}");
    }
}

/// A stream that never lets the queue run empty: the controller always learns of room in time.
#[test]
fn a_stream_without_pause_does_not_stall() {
    let (machine, controller) = honest();
    let namespace = controller.namespace(1).unwrap();
    let buffer = controller.alloc_dma(512).unwrap();
    let mut queue = controller.queue_pair::<u32>(&QueueOptions::entries(5)).unwrap();
    let read = namespace.read(0, 1).unwrap();
    for token in 0..4 {
        queue.submit(&read, Data::from(&buffer), token).unwrap();
    }
    queue.ring().unwrap();
    for turn in 4..400 {
        machine.work();
        // Exactly one, so that no poll ever comes back empty.
        assert_eq!(queue.poll().unwrap().unwrap().token, turn - 4);
        queue.submit(&read, Data::from(&buffer), turn).unwrap();
        queue.ring().unwrap();
    }
    assert_eq!(queue.in_flight(), 4);
    assert_eq!(machine.device(|device| device.overruns), 0);
}

#[test]
fn shadow_doorbells_replace_most_writes() {
    let machine = Machine::new(Box::default(), 4 << 20);
    let options = p2pdma_nvme::Options { shadow_doorbells: true, ..crate::support::options() };
    let controller = Controller::open(std::sync::Arc::new(machine.clone()), options).unwrap();
    let before = machine.device(|device| device.doorbells);
    let commands = exercise(&machine, &controller, &QueueOptions::entries(17));
    let writes = machine.device(|device| device.doorbells) - before;
    println!("commands: {commands}, doorbell writes with shadows: {writes}");
    assert!(2 * writes < commands);
    // Queues of the same number, at an index where the one before was not: they begin at 0 all the same.
    for entries in [5, 33, 2] {
        let mut idle = controller.queue_pair::<u64>(&QueueOptions::entries(entries)).unwrap();
        machine.work();
        assert!(idle.poll().unwrap().is_none());
        drop(idle);
        exercise(&machine, &controller, &QueueOptions::entries(entries));
    }
    drop(controller);
    assert_eq!((machine.held(), machine.strays()), (0, 0));
}

/// An interrupt announces completions; a lost one only delays them; a storm of them harms nobody.
#[test]
fn interrupts_announce_completions() {
    for deed in [Deed::Honest, Deed::InterruptStorm] {
        let mischief = Mischief::always(deed, 20);
        let (machine, controller) = open(FakeController::new(Facade::default(), mischief));
        let controller = controller.unwrap();
        let namespace = controller.namespace(1).unwrap();
        let buffer = controller.alloc_dma(512).unwrap();
        let options = QueueOptions { vector: Some(1), ..QueueOptions::entries(8) };
        let mut queue = controller.queue_pair::<u32>(&options).unwrap();
        for turn in 0..50 {
            let read = namespace.read(0, 1).unwrap();
            queue.submit(&read, Data::from(&buffer), turn).unwrap();
            queue.ring().unwrap();
            if turn % 5 == 0 {
                // Takes the line's interrupt away.
                machine.work();
                machine.lose_interrupts();
            }
            assert_eq!(queue.wait(SECOND).unwrap().unwrap().token, turn);
        }
        assert!(machine.now().since(p2pdma_pci::Instant::ZERO) < SECOND);
    }
    let (_, controller) = honest();
    let absent = QueueOptions { vector: Some(9), ..QueueOptions::default() };
    let refused = controller.queue_pair::<()>(&absent);
    assert!(matches!(refused, Err(Error::Pci(p2pdma_pci::Error::NoVector { .. }))));
}

/// Of two queues with one vector, the first would hear of nothing any more, and live on looks now and then: the
/// second is refused, takes nothing away from the first, and gets the vector when that is gone.
#[test]
fn a_vector_announces_one_queue() {
    let (machine, controller) = honest();
    let namespace = controller.namespace(1).unwrap();
    let buffer = controller.alloc_dma(512).unwrap();
    let options = QueueOptions { vector: Some(1), ..QueueOptions::entries(8) };
    let mut first = controller.queue_pair::<()>(&options).unwrap();
    let other = QueueOptions { vector: Some(2), ..options.clone() };
    let second = controller.queue_pair::<()>(&other).unwrap();
    let works = |queue: &mut QueuePair<()>| {
        queue.submit(&namespace.read(0, 1).unwrap(), Data::from(&buffer), ()).unwrap();
        assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
    };
    let opened = machine.opened();
    for _ in 0..20 {
        let refused = controller.queue_pair::<()>(&options).map(|queue| queue.qid());
        assert!(
            matches!(refused, Err(Error::VectorTaken { vector: 1, qid: 1, .. })),
            "{refused:?}"
        );
    }
    assert_eq!(machine.opened(), opened);
    // Nor did the refusals take numbers of queues.
    let polled = controller.queue_pair::<()>(&QueueOptions::entries(8)).unwrap();
    assert_eq!((second.qid(), polled.qid()), (2, 3));
    works(&mut first);
    controller.reset().unwrap();
    assert_eq!(first.recover().unwrap(), Recovery::Reset);
    assert!(matches!(controller.queue_pair::<()>(&options), Err(Error::VectorTaken { .. })));
    drop(first);
    let mut next = controller.queue_pair::<()>(&options).unwrap();
    assert_eq!(next.qid(), 1);
    works(&mut next);
}

/// Commands that do not end are told from those that do, with no clock read per command.
#[test]
fn overdue_commands_are_named() {
    let mischief = Mischief { patience: 0, ..Mischief::none() };
    let (machine, controller) = open(FakeController::new(Facade::default(), mischief));
    let controller = controller.unwrap();
    let namespace = controller.namespace(1).unwrap();
    let buffer = controller.alloc_dma(512).unwrap();
    let mut queue = controller.queue_pair::<&str>(&QueueOptions::entries(8)).unwrap();
    let read = namespace.read(0, 1).unwrap();
    machine.device(|device| device.mischief = Mischief::always(Deed::Lost, 0));
    let stuck = queue.submit(&read, Data::from(&buffer), "stuck").unwrap();
    queue.ring().unwrap();
    machine.work();
    machine.device(|device| device.mischief = Mischief::none());
    let limit = Duration::from_millis(100);
    let mut named_at = None;
    for turn in 0..100 {
        queue.submit(&read, Data::from(&buffer), "fine").unwrap();
        queue.ring().unwrap();
        machine.work();
        assert_eq!(queue.poll().unwrap().unwrap().token, "fine");
        machine.pass(Duration::from_millis(10));
        let overdue = queue.overdue(limit);
        if !overdue.is_empty() {
            assert_eq!(overdue, [stuck]);
            named_at.get_or_insert(turn * 10);
        }
    }
    let named_at = named_at.unwrap();
    println!("named after {named_at} ms, limit 100 ms");
    assert!((100..=300).contains(&named_at));
}

/// Every command in flight has a list of its own: all are written before the controller reads the first.
#[test]
fn lists_of_all_commands_in_flight_are_apart() {
    const BLOCKS: u32 = 32;
    const LEN: usize = BLOCKS as usize * 512;
    let mut moved = 0;
    for placement in [Placement::Host, Placement::Cmb] {
        let (machine, controller) = honest();
        let namespace = controller.namespace(1).unwrap();
        let mut queue: QueuePair<usize> =
            controller.queue_pair(&placed(16, placement, Placement::Host)).unwrap();
        let count = queue.capacity();
        let alloc = || controller.alloc_dma(LEN).unwrap();
        let (sources, targets): (Vec<_>, Vec<_>) = (0..count).map(|_| (alloc(), alloc())).unzip();
        for (buffers, write) in [(&sources, true), (&targets, false)] {
            for (index, buffer) in buffers.iter().enumerate() {
                let slba = u64::from(BLOCKS) * index as u64;
                let command = if write {
                    buffer.memory().fill(0, LEN, u8::try_from(index + 1).unwrap()).unwrap();
                    namespace.write(slba, BLOCKS).unwrap()
                } else {
                    namespace.read(slba, BLOCKS).unwrap()
                };
                queue.submit(&command, Data::from(buffer), index).unwrap();
            }
            queue.ring().unwrap();
            while let Some(completion) = queue.wait(SECOND).unwrap() {
                assert_eq!(completion.outcome, Ok(0));
            }
        }
        for (source, target) in sources.iter().zip(&targets) {
            let [mut written, mut read] = [[0; LEN], [0; LEN]];
            source.memory().read(0, &mut written).unwrap();
            target.memory().read(0, &mut read).unwrap();
            assert!(written == read, "{placement:?}: {} instead of {}", read[4096], written[4096]);
            moved += 1;
        }
        assert!(machine.device(|device| device.illegal.is_empty()));
    }
    println!("transfers with lists, all in flight at once: {moved}");
}

/// What does not fit a command is refused before it reaches the controller, and the token comes back.
#[test]
fn data_that_do_not_fit_are_refused() {
    let (machine, controller) = honest();
    let namespace = controller.namespace(1).unwrap();
    let buffer = controller.alloc_dma(1 << 20).unwrap();
    let mut queue = controller.queue_pair::<u8>(&QueueOptions::default()).unwrap();
    let whole = Segment::from(&buffer);
    let part = |from, to| whole.slice(from..to).unwrap();
    let read = |blocks| namespace.read(0, blocks).unwrap();
    let gap = [part(0, 512), part(4096, 4608)];
    let odd = [SglSegment::Block(part(0, 100)), SglSegment::BitBucket(412)];
    type Check = fn(&Error) -> bool;
    let cases: [(u32, Data<'_>, Check); 7] = [
        (1, Data::None, |e| matches!(e, Error::Length { expected: 512, actual: 0, .. })),
        (1, part(0, 511).into(), |e| matches!(e, Error::Length { actual: 511, .. })),
        (1, part(0, 1024).into(), |e| matches!(e, Error::Length { actual: 1024, .. })),
        (1, part(2, 514).into(), |e| matches!(e, Error::Misaligned { align: 4, .. })),
        (257, part(0, 257 * 512).into(), |e| matches!(e, Error::TooLong { most: 131_072, .. })),
        (2, Data::Segments(&gap), |e| matches!(e, Error::Gap { index: 0, .. })),
        (2, Data::Sgl(&odd), |e| matches!(e, Error::Length { actual: 512, .. })),
    ];
    for (blocks, data, check) in cases {
        let rejected = queue.submit(&read(blocks), data, 9).unwrap_err();
        assert!(check(&rejected.error), "{:?}", rejected.error);
        assert_eq!(rejected.token, 9);
    }
    let write = namespace.write(0, 1).unwrap();
    let rejected = queue.submit(&write, Data::Sgl(&odd), 9).unwrap_err();
    assert!(matches!(rejected.error, Error::Unsupported { .. }), "{}", rejected.error);
    for blocks in [0, 65_537, u32::MAX] {
        assert!(matches!(namespace.read(0, blocks), Err(Error::Count { .. })));
    }
    assert_eq!(queue.in_flight(), 0);
    assert!(queue.wait(SECOND).unwrap().is_none());
    assert_eq!(machine.device(|device| device.illegal.len()), 0);
}

/// A way to describe 4 KiB to 128 KiB of memory.
#[derive(Debug, Clone)]
enum Shape {
    Contiguous { offset: u64 },
    Pages,
    Sgl { cuts: Vec<u64> },
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        (0_u64..1024).prop_map(|dword| Shape::Contiguous { offset: dword * 4 }),
        Just(Shape::Pages),
        proptest::collection::vec(1_u64..5000, 0..12).prop_map(|cuts| Shape::Sgl { cuts }),
    ]
}

/// Pages of the buffer in some order: where block `n` of the transfer is.
fn scattered(whole: Segment, pages: u64, seed: u64) -> Vec<Segment> {
    let mut order: Vec<u64> = (0..pages).collect();
    let mut random = Random::new(seed);
    for last in (1..order.len()).rev() {
        order.swap(last, usize::try_from(random.below(last as u64 + 1)).unwrap());
    }
    order.iter().map(|page| whole.slice(page * 4096..(page + 1) * 4096).unwrap()).collect()
}

fn cut(whole: Segment, len: u64, cuts: &[u64]) -> Vec<SglSegment> {
    let (mut at, mut pieces) = (0, Vec::new());
    for cut in cuts {
        let end = (at + cut).min(len);
        if end > at {
            pieces.push(SglSegment::Block(whole.slice(at..end).unwrap()));
        }
        at = end;
    }
    if at < len {
        pieces.push(SglSegment::Block(whole.slice(at..len).unwrap()));
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Data written in one shape and read in another, through the controller's own reading of the
    /// lists: every byte is right, and not one beside them changed.
    #[test]
    fn every_shape_moves_every_byte(
        transfers in proptest::collection::vec((shape(), shape(), 1_u64..32, any::<u64>()), 1..8),
    ) {
        let (machine, controller) = honest();
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue_pair::<()>(&QueueOptions::entries(4)).unwrap();
        for (from, to, pages, seed) in transfers {
            let len = pages * 4096;
            let blocks = u32::try_from(pages * 8).unwrap();
            let mut random = Random::new(seed);
            let data: Vec<u8> = (0..pages * 512).flat_map(|_| random.bytes()).collect();
            let mut images = Vec::new();
            for (write, shape) in [(true, from), (false, to)] {
                let buffer = controller.alloc_dma(usize::try_from(len).unwrap() + 4096).unwrap();
                let whole = Segment::from(&buffer);
                let offset = match shape { Shape::Contiguous { offset } => offset, _ => 0 };
                let scattered = scattered(whole, pages, seed);
                let pieces = match &shape { Shape::Sgl { cuts } => cut(whole, len, cuts), _ => vec![] };
                let described = match shape {
                    Shape::Contiguous { offset } => Data::from(whole.slice(offset..offset + len).unwrap()),
                    Shape::Pages => Data::Segments(&scattered),
                    Shape::Sgl { .. } => Data::Sgl(&pieces),
                };
                // Where byte `n` of the transfer is in the buffer.
                let place = |n: usize| match &described {
                    Data::Segments(pages) => {
                        usize::try_from(pages[n / 4096].iova.0 - whole.iova.0).unwrap() + n % 4096
                    }
                    _ => n + usize::try_from(offset).unwrap(),
                };
                if write {
                    for (n, chunk) in data.chunks(4).enumerate() {
                        buffer.memory().write(place(n * 4), chunk).unwrap();
                    }
                }
                let command = if write { namespace.write(8, blocks) } else { namespace.read(8, blocks) };
                queue.submit(&command.unwrap(), described, ()).unwrap();
                prop_assert_eq!(queue.wait(SECOND).unwrap().unwrap().outcome, Ok(0));
                let mut image = vec![0; data.len()];
                for (n, chunk) in image.chunks_mut(4).enumerate() {
                    buffer.memory().read(place(n * 4), chunk).unwrap();
                }
                images.push(image);
            }
            prop_assert_eq!(&images[1], &data);
        }
        prop_assert_eq!(machine.device(|device| device.illegal.clone()), Vec::<String>::new());
        drop((queue, controller));
        prop_assert_eq!((machine.strays(), machine.broken_canaries()), (0, 0));
    }
}
