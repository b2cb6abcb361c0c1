//! Queues: every error of creation and deletion, doorbells, backpressure, arbitration.

use p2pdma_devices::nvme::{ControllerConfig, NvmeConfig};
use p2pdma_pci::Function as _;
use p2pdma_spec::nvme::admin::{AdminOpcode, CreateQueueCdw10, QueuePriority};
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::{DataPointer, SubmissionEntry};
use p2pdma_spec::nvme::status::Status;

use crate::host::{Host, Queue, outcome};

fn small() -> NvmeConfig {
    let controller = ControllerConfig {
        max_io_queues: 3,
        max_queue_entries: 16,
        vectors: 2,
        ..ControllerConfig::default()
    };
    NvmeConfig { controller, ..NvmeConfig::default() }
}

fn started() -> Host {
    let mut host = Host::bare(small());
    host.enable();
    host
}

fn create(opcode: AdminOpcode, base: u64, cdw10: u32, cdw11: u32) -> SubmissionEntry {
    let mut entry = SubmissionEntry::new(opcode, 0);
    entry.dptr = DataPointer::prp(base, 0);
    (entry.cdw10, entry.cdw11) = (cdw10.into(), cdw11.into());
    entry
}

#[test]
fn creation_of_completion_queues() {
    let mut host = started();
    let buffer = host.buffer(8192);
    let base = buffer.iova().0;
    let mut check = |id: u16, size_z: u16, base: u64, cdw11: u32, expected| {
        let cdw10 = CreateQueueCdw10::new().with_qid(id).with_qsize_z(size_z).into_bits();
        let entry = create(AdminOpcode::CREATE_COMPLETION_QUEUE, base, cdw10, cdw11);
        assert_eq!(host.admin(entry), expected, "id {id}, size {size_z}, CDW11 {cdw11:#x}");
    };
    let (contiguous, interrupts) = (1, 2);
    check(0, 15, base, contiguous, Err(Status::INVALID_QUEUE_IDENTIFIER));
    check(4, 15, base, contiguous, Err(Status::INVALID_QUEUE_IDENTIFIER));
    check(0xFFFF, 15, base, contiguous, Err(Status::INVALID_QUEUE_IDENTIFIER));
    check(1, 0, base, contiguous, Err(Status::INVALID_QUEUE_SIZE));
    check(1, 16, base, contiguous, Err(Status::INVALID_QUEUE_SIZE));
    check(1, 0xFFFF, base, contiguous, Err(Status::INVALID_QUEUE_SIZE));
    check(1, 15, base, 0, Err(Status::INVALID_FIELD));
    check(1, 15, base + 4, contiguous, Err(Status::PRP_OFFSET_INVALID));
    check(1, 15, base + 2048, contiguous, Err(Status::PRP_OFFSET_INVALID));
    check(1, 15, u64::MAX - 4095, contiguous, Ok(0));
    check(1, 15, base, contiguous, Err(Status::INVALID_QUEUE_IDENTIFIER));
    let vector = |vector: u32| contiguous | interrupts | vector << 16;
    check(2, 15, base, vector(2), Err(Status::INVALID_INTERRUPT_VECTOR));
    check(2, 15, base, vector(0xFFFF), Err(Status::INVALID_INTERRUPT_VECTOR));
    // Without interrupts the vector does not matter.
    check(2, 15, base, contiguous | 0xFFFF << 16, Ok(0));
    check(3, 1, base, vector(1), Ok(0));
}

#[test]
fn creation_of_submission_queues() {
    let mut host = started();
    let buffer = host.buffer(8192);
    let base = buffer.iova().0;
    host.create_completion(1, 16, base, None).unwrap();
    let mut check = |id: u16, size_z: u16, base: u64, cqid: u16, flags: u32, expected| {
        let cdw10 = CreateQueueCdw10::new().with_qid(id).with_qsize_z(size_z).into_bits();
        let cdw11 = flags | u32::from(cqid) << 16;
        let entry = create(AdminOpcode::CREATE_SUBMISSION_QUEUE, base, cdw10, cdw11);
        assert_eq!(host.admin(entry), expected, "id {id}, size {size_z}, CQ {cqid}");
    };
    check(0, 15, base, 1, 1, Err(Status::INVALID_QUEUE_IDENTIFIER));
    check(4, 15, base, 1, 1, Err(Status::INVALID_QUEUE_IDENTIFIER));
    check(1, 15, base, 0, 1, Err(Status::INVALID_QUEUE_IDENTIFIER));
    check(1, 15, base, 4, 1, Err(Status::INVALID_QUEUE_IDENTIFIER));
    check(1, 15, base, 2, 1, Err(Status::COMPLETION_QUEUE_INVALID));
    check(1, 0, base, 1, 1, Err(Status::INVALID_QUEUE_SIZE));
    check(1, 16, base, 1, 1, Err(Status::INVALID_QUEUE_SIZE));
    check(1, 15, base, 1, 0, Err(Status::INVALID_FIELD));
    check(1, 15, base | 8, 1, 1, Err(Status::PRP_OFFSET_INVALID));
    check(1, 15, base, 1, 1, Ok(0));
    check(1, 15, base, 1, 1, Err(Status::INVALID_QUEUE_IDENTIFIER));
    // Several may share one completion queue.
    check(3, 15, base, 1, 1, Ok(0));
}

#[test]
fn queues_wait_for_entry_sizes() {
    let mut host = Host::bare(small());
    host.enable_with(p2pdma_spec::nvme::registers::Cc::new());
    let buffer = host.buffer(4096);
    let status = host.create_completion(1, 16, buffer.iova().0, None).unwrap_err();
    assert_eq!(status, Status::INVALID_QUEUE_SIZE);
    host.set_cc(Host::plain_cc().with_en(true));
    host.create_completion(1, 16, buffer.iova().0, None).unwrap();
}

#[test]
fn deletion_goes_in_the_right_order_only() {
    let mut host = started();
    host.create_queue(8);
    let delete_cq = AdminOpcode::DELETE_COMPLETION_QUEUE;
    let delete_sq = AdminOpcode::DELETE_SUBMISSION_QUEUE;
    for (opcode, id, expected) in [
        (delete_cq, 0, Err(Status::INVALID_QUEUE_IDENTIFIER)),
        (delete_sq, 0, Err(Status::INVALID_QUEUE_IDENTIFIER)),
        (delete_cq, 2, Err(Status::INVALID_QUEUE_IDENTIFIER)),
        (delete_sq, 0xFFFF, Err(Status::INVALID_QUEUE_IDENTIFIER)),
        (delete_cq, 1, Err(Status::INVALID_QUEUE_DELETION)),
        (delete_sq, 1, Ok(0)),
        (delete_sq, 1, Err(Status::INVALID_QUEUE_IDENTIFIER)),
        (delete_cq, 1, Ok(0)),
        (delete_cq, 1, Err(Status::INVALID_QUEUE_IDENTIFIER)),
    ] {
        assert_eq!(host.delete(opcode, id), expected, "{opcode} {id}");
    }
    host.io.clear();
    host.create_queue(8);
}

/// Rings of every size from 2 on wrap many times, and each completion has the right phase, head and queue.
#[test]
fn rings_wrap() {
    let mut commands = 0;
    for size in 2..17 {
        let mut host = started();
        host.create_queue(size);
        let buffer = host.buffer(4096);
        let mut at = 0;
        for turn in 0..100 {
            let burst = 1 + turn % (size as usize - 1);
            for _ in 0..burst {
                let entry = host.rw(NvmOpcode::READ, 1, turn as u64, 1, &buffer);
                host.io[0].push(entry);
            }
            let done = host.reap(0, burst);
            at = (at + u32::try_from(burst).unwrap()) % size;
            for completion in &done {
                assert!(outcome(completion).is_ok());
                assert_eq!(completion.sqid.get(), 1);
            }
            assert_eq!(u32::from(done.last().unwrap().sqhd.get()), at);
            commands += burst;
        }
    }
    println!("commands over wrapping rings: {commands}");
}

/// A host that takes no completions gets no more than its queue can hold; nothing is overwritten.
/// Planted bug that this test finds: posting without looking at the room.
#[test]
fn a_full_completion_queue_holds_everything_back() {
    let mut host = started();
    let queue = Queue::new(&host.function, 1, 16);
    host.create_completion(1, 4, queue.cq.iova().0, None).unwrap();
    host.create_submission(1, 16, queue.sq.iova().0, 1, QueuePriority::URGENT).unwrap();
    host.io.push(queue);
    let buffer = host.buffer(4096);
    for lba in 0..15 {
        let entry = host.rw(NvmOpcode::READ, 1, lba, 1, &buffer);
        host.io[0].push(entry);
    }
    host.ring_tail(1, 15);
    host.settle();
    let entry = |host: &Host, slot: usize| -> (u16, u16) {
        let memory = host.io[0].cq.memory();
        (memory.read_value(slot * 16 + 12).unwrap(), memory.read_value(slot * 16 + 14).unwrap())
    };
    let mut seen = Vec::new();
    let (mut head, mut phase) = (0_usize, 1);
    while seen.len() < 15 {
        // Three at most, and the fourth slot is as it was.
        let mut taken = 0;
        while entry(&host, head).1 & 1 == phase && taken < 4 {
            seen.push(entry(&host, head).0);
            head = (head + 1) % 4;
            phase ^= u16::from(head == 0);
            taken += 1;
        }
        assert!((1..=3).contains(&taken), "{taken} at once");
        host.ring_head(1, u32::try_from(head).unwrap());
        host.settle();
    }
    assert_eq!(seen, (0..15).collect::<Vec<u16>>());
}

/// Two submission queues that share a small completion queue both get on.
#[test]
fn sharing_a_completion_queue() {
    let mut host = started();
    let cq = host.buffer(4096);
    host.create_completion(1, 2, cq.iova().0, None).unwrap();
    let queues = [1_u16, 2].map(|id| {
        let mut queue = Queue::new(&host.function, id, 16);
        host.create_submission(id, 16, queue.sq.iova().0, 1, QueuePriority::LOW).unwrap();
        for _ in 0..10 {
            queue.push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
        queue
    });
    for queue in &queues {
        host.ring_tail(queue.id, 10);
    }
    host.settle();
    let mut served = Vec::new();
    for turn in 0..20_usize {
        let slot = turn % 2;
        let bytes: [u8; 16] = cq.memory().read_value(slot * 16).unwrap();
        assert_eq!(bytes[14] & 1, 1 - u8::try_from(turn / 2 % 2).unwrap(), "turn {turn}");
        served.push(bytes[10]);
        host.ring_head(1, u32::try_from((slot + 1) % 2).unwrap());
        host.settle();
    }
    let ones = served.iter().filter(|id| **id == 1).count();
    assert_eq!((ones, served.len()), (10, 20));
    // In turns, not one queue after the other.
    assert!(served[..10].contains(&1) && served[..10].contains(&2));
}

#[test]
fn every_command_interrupts_its_own_vector_once_per_batch() {
    let mut host = Host::bare(NvmeConfig::default());
    host.enable();
    for id in [1, 2] {
        let queue = Queue::new(&host.function, id, 16);
        host.create_completion(id, 16, queue.cq.iova().0, Some(id)).unwrap();
        host.create_submission(id, 16, queue.sq.iova().0, id, QueuePriority::URGENT).unwrap();
        host.io.push(queue);
    }
    let lines = [0, 1, 2].map(|vector| host.function.interrupt(vector).unwrap());
    for line in &lines {
        let _ = line.take();
    }
    for queue in [0, 1, 1] {
        for _ in 0..5 {
            host.io[queue].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
        assert_eq!(host.reap(queue, 5).len(), 5);
    }
    assert_eq!(lines.each_ref().map(p2pdma_pci::Interrupt::take), [0, 1, 2]);
}

/// With room for one completion at a time, whose turn it is shows in the order of the completions: an
/// urgent queue before all others, then high, medium and low by their weights of 4, 2 and 1.
#[test]
fn weighted_round_robin() {
    let mut host = Host::bare(NvmeConfig::default());
    host.enable_weighted();
    // Arbitration: a burst of one command.
    let mut entry = SubmissionEntry::new(AdminOpcode::SET_FEATURES, 0);
    (entry.cdw10, entry.cdw11) = (1.into(), 0x0301_0000.into());
    host.admin(entry).unwrap();
    let cq = host.buffer(4096);
    host.create_completion(1, 2, cq.iova().0, None).unwrap();
    let classes =
        [QueuePriority::LOW, QueuePriority::MEDIUM, QueuePriority::HIGH, QueuePriority::URGENT];
    let mut queues = Vec::new();
    for (id, class) in (1..).zip(classes) {
        let mut queue = Queue::new(&host.function, id, 128);
        host.create_submission(id, 128, queue.sq.iova().0, 1, class).unwrap();
        for _ in 0..70 {
            queue.push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
        host.ring_tail(id, 70);
        queues.push(queue);
    }
    host.settle();
    let mut order = Vec::new();
    for turn in 0..280_usize {
        let slot = turn % 2;
        order.push(cq.memory().read_value::<[u8; 16]>(slot * 16).unwrap()[10]);
        host.ring_head(1, u32::try_from((slot + 1) % 2).unwrap());
        host.settle();
    }
    // The low one had the room when it rang, alone.
    assert_eq!(order[0], 1);
    assert_eq!(order[1..71], [4; 70]);
    let count = |part: &[u8]| [3, 2, 1].map(|id| part.iter().filter(|each| **each == id).count());
    // Its first command was charged to the first round, which is shorter by that.
    assert_eq!(count(&order[71..77]), [4, 2, 0]);
    assert_eq!(count(&order[77..147]), [40, 20, 10]);
    assert_eq!(count(&order), [70; 3]);
}

/// Plain round robin serves queues in turns, whatever their priority.
#[test]
fn round_robin() {
    let mut host = Host::bare(NvmeConfig::default());
    host.enable();
    let cq = host.buffer(4096);
    host.create_completion(1, 2, cq.iova().0, None).unwrap();
    let mut queues = Vec::new();
    for (id, class) in [(1, QueuePriority::LOW), (2, QueuePriority::URGENT)] {
        let mut queue = Queue::new(&host.function, id, 16);
        host.create_submission(id, 16, queue.sq.iova().0, 1, class).unwrap();
        for _ in 0..10 {
            queue.push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
        host.ring_tail(id, 10);
        queues.push(queue);
    }
    host.settle();
    let mut order = Vec::new();
    for turn in 0..20_usize {
        let slot = turn % 2;
        order.push(cq.memory().read_value::<[u8; 16]>(slot * 16).unwrap()[10]);
        host.ring_head(1, u32::try_from((slot + 1) % 2).unwrap());
        host.settle();
    }
    assert!(order[2..18].windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
}
