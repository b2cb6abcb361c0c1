//! Doorbells in host memory.

use p2pdma_devices::nvme::NvmeConfig;
use p2pdma_fabric::{PayloadClass, Traffic};
use p2pdma_pci::DmaBuffer;
use p2pdma_spec::nvme::admin::AdminOpcode;
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::{DataPointer, SubmissionEntry};
use p2pdma_spec::nvme::status::Status;

use crate::host::{Host, outcome};

/// A host that rings only where the controller asked for it.
struct Shadow {
    host: Host,
    doorbells: DmaBuffer,
    indexes: DmaBuffer,
    rung: usize,
}

/// Offsets of the first I/O queue in both buffers.
const TAIL: usize = 8;
const HEAD: usize = 12;

fn config(doorbells: u64, indexes: u64) -> SubmissionEntry {
    let mut entry = SubmissionEntry::new(AdminOpcode::DOORBELL_BUFFER_CONFIG, 0);
    entry.dptr = DataPointer::prp(doorbells, indexes);
    entry
}

/// Whether an index passed the one that was asked about: as virtio does it.
fn passes(asked: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(asked).wrapping_sub(1) < new.wrapping_sub(old)
}

impl Shadow {
    fn new() -> Self {
        let mut host = Host::with(NvmeConfig::default());
        let (doorbells, indexes) = (host.buffer(4096), host.buffer(4096));
        let entry = config(doorbells.iova().0, indexes.iova().0);
        assert_eq!(host.admin(entry), Ok(0));
        Self { host, doorbells, indexes, rung: 0 }
    }

    fn value(buffer: &DmaBuffer, at: usize) -> u32 {
        u32::from_le_bytes(buffer.memory().read_value(at).unwrap())
    }

    /// Publishes a new tail; rings if the controller wants to hear of it.
    fn publish_tail(&mut self) {
        let tail = self.host.io[0].tail;
        let old = Self::value(&self.doorbells, TAIL);
        self.doorbells.memory().write_value(TAIL, &tail.to_le_bytes()).unwrap();
        let asked = Self::value(&self.indexes, TAIL);
        let low = |value: u32| u16::try_from(value).unwrap();
        if passes(low(asked), low(tail), low(old)) {
            self.host.ring_tail(1, tail);
            self.rung += 1;
        }
    }

    fn publish_head(&mut self) {
        let head = self.host.io[0].head;
        self.doorbells.memory().write_value(HEAD, &head.to_le_bytes()).unwrap();
    }
}

#[test]
fn buffers_that_cannot_be() {
    let mut host = Host::with(NvmeConfig::default());
    let at = host.buffer(8192).iova().0;
    for (doorbells, indexes, status) in [
        (at + 4, at, Status::PRP_OFFSET_INVALID),
        (at, at + 2048, Status::PRP_OFFSET_INVALID),
        (0, at, Status::INVALID_FIELD),
        (at, 0, Status::INVALID_FIELD),
    ] {
        assert_eq!(host.admin(config(doorbells, indexes)), Err(status));
    }
}

/// Commands are found through the buffer; the controller asks for a ring when it has seen everything.
#[test]
fn tails_and_heads_come_from_memory() {
    let mut shadow = Shadow::new();
    let mut commands = 0_usize;
    for turn in 0..300 {
        let burst = 1 + turn % 20;
        for _ in 0..burst {
            shadow.host.io[0].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
        shadow.publish_tail();
        let mut done = 0;
        while done < burst {
            while let Some(completion) = shadow.host.io[0].pop() {
                assert!(outcome(&completion).is_ok());
                done += 1;
            }
            // The head is only published: nobody rings.
            shadow.publish_head();
            if done < burst {
                assert!(shadow.host.fabric.step(), "{done} of {burst}");
            }
        }
        commands += burst;
        shadow.host.settle();
        assert_eq!(Shadow::value(&shadow.indexes, TAIL), shadow.host.io[0].tail);
    }
    println!("{commands} commands, {} rings, no ring of a head", shadow.rung);
    assert_eq!(shadow.rung, 300);
}

/// What is published while the controller works needs no ring: it looks again before it rests.
#[test]
fn a_tail_that_moves_meanwhile_is_seen() {
    let mut shadow = Shadow::new();
    for _ in 0..5 {
        shadow.host.io[0].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
    }
    shadow.publish_tail();
    // The ring is on its way; more is published without one.
    for _ in 0..5 {
        shadow.host.io[0].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
    }
    let tail = shadow.host.io[0].tail;
    shadow.doorbells.memory().write_value(TAIL, &tail.to_le_bytes()).unwrap();
    shadow.host.settle();
    assert_eq!(std::iter::from_fn(|| shadow.host.io[0].pop()).count(), 10);
    assert_eq!(shadow.rung, 1);
}

/// A register's value that no queue can have is told of, although it is the buffer's that counts.
#[test]
fn nonsense_in_the_register() {
    let mut shadow = Shadow::new();
    for (commands, ring) in [(0, true), (3, false)] {
        for _ in 0..commands {
            shadow.host.io[0].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
        let tail = shadow.host.io[0].tail;
        shadow.doorbells.memory().write_value(TAIL, &tail.to_le_bytes()).unwrap();
        if ring {
            shadow.host.ring_tail(1, 0xFFFF);
        } else {
            shadow.host.ring_head(1, 0xFFFF);
        }
        shadow.host.settle();
        assert!(shadow.host.io[0].pop().is_none() && !shadow.host.csts().cfs());
    }
    shadow.host.ring_tail(1, shadow.host.io[0].tail);
    shadow.host.settle();
    assert_eq!(std::iter::from_fn(|| shadow.host.io[0].pop()).count(), 3);
}

/// A full completion queue: the controller asks for a ring when the head moves.
#[test]
fn a_full_queue_goes_on_when_the_head_is_rung() {
    let mut shadow = Shadow::new();
    let mut done = 0;
    for _ in 0..3 {
        for _ in 0..60 {
            shadow.host.io[0].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
        shadow.publish_tail();
        shadow.host.settle();
        let old = Shadow::value(&shadow.doorbells, HEAD);
        done += std::iter::from_fn(|| shadow.host.io[0].pop()).count();
        shadow.publish_head();
        let asked = Shadow::value(&shadow.indexes, HEAD);
        let head = shadow.host.io[0].head;
        let low = |value: u32| u16::try_from(value).unwrap();
        if passes(low(asked), low(head), low(old)) {
            shadow.host.ring_head(1, head);
        }
        shadow.host.settle();
    }
    shadow.host.settle();
    done += std::iter::from_fn(|| shadow.host.io[0].pop()).count();
    assert_eq!(done, 180);
}

/// Values that cannot be are refused, as those of real doorbells are.
#[test]
fn nonsense_in_the_buffer() {
    let mut shadow = Shadow::new();
    for value in [64_u32, 0xFFFF, 0xFFFF_FFFF, 0x8000_0000] {
        shadow.doorbells.memory().write_value(TAIL, &value.to_le_bytes()).unwrap();
        shadow.host.ring_tail(1, 1);
        shadow.host.settle();
        assert!(!shadow.host.csts().cfs());
    }
    shadow.doorbells.memory().write_value(TAIL, &0_u32.to_le_bytes()).unwrap();
    let traffic = |host: &Host| -> Traffic { host.fabric.counters().host_reads };
    let before = traffic(&shadow.host).of(PayloadClass::Data);
    assert_eq!(traffic(&shadow.host).of(PayloadClass::Data), before);
    shadow.host.io[0].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
    shadow.publish_tail();
    shadow.host.settle();
    assert!(shadow.host.io[0].pop().is_some());
}
