//! Commands that take several turns, or wait while the world changes.

use p2pdma_devices::nvme::{
    MediaConfig, MediaTiming, NamespaceConfig, NvmeConfig, ServiceTime, SubsystemConfig,
};
use p2pdma_pci::{DmaBuffer, Duration};
use p2pdma_spec::nvme::admin::{AbortCdw10, AdminOpcode, FormatNvmCdw10};
use p2pdma_spec::nvme::nvm::{DatasetRange, NvmOpcode, ReadWriteCdw12};
use p2pdma_spec::nvme::protection::{Prinfo, ProtectionType};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;

use crate::host::{Host, contents, fill, outcome};
use crate::witness::{Heard, Witness};

/// What one event deallocates at most: two turns of as many blocks as a turn is allowed.
const BLOCKS_PER_EVENT: u64 = 2 << 16;
/// Blocks of 4096 bytes of a large namespace.
const LARGE: u64 = 1 << 24;

fn config(namespaces: Vec<NamespaceConfig>) -> NvmeConfig {
    let subsystem = SubsystemConfig { namespaces, ..SubsystemConfig::default() };
    NvmeConfig { subsystem, ..NvmeConfig::default() }
}

/// A host of a large namespace, all 256 ranges of a deallocation each of which is all of it.
fn everything_many_times() -> (Host, Heard, DmaBuffer) {
    let (witness, heard) = Witness::new(0);
    let media = MediaConfig::Other(Box::new(witness));
    let large = NamespaceConfig { blocks: LARGE, media, ..NamespaceConfig::default() };
    let mut host = Host::with(config(vec![large, NamespaceConfig::default()]));
    host.create_queue(64);
    let list = host.buffer(4096);
    for index in 0..256 {
        let llb = u32::try_from(LARGE).unwrap().into();
        let range = DatasetRange { llb, ..DatasetRange::default() };
        list.memory().write_value(index * 16, &range).unwrap();
    }
    (host, heard, list)
}

impl Host {
    fn push_deallocation(&mut self, ranges: u32, list: &DmaBuffer) -> u16 {
        let mut entry = self.rw(NvmOpcode::DATASET_MANAGEMENT, 1, 0, 1, list);
        (entry.cdw10, entry.cdw11) = ((ranges - 1).into(), 4.into());
        self.io[0].push(entry)
    }
}

/// A read that waits in the same batch is announced to its medium before the command ahead of it is carried
/// out, unless its blocks follow that command's; nothing else is, and nothing that is out of range.
#[test]
fn the_next_read_of_a_batch_is_announced() {
    let (witness, heard) = Witness::new(16 * 4096);
    let media = MediaConfig::Other(Box::new(witness));
    let mut host = Host::with(config(vec![NamespaceConfig {
        blocks: 16,
        media,
        ..NamespaceConfig::default()
    }]));
    host.create_queue(64);
    let buffer = host.buffer(8192);
    let (read, write) = (NvmOpcode::READ, NvmOpcode::WRITE);
    for (opcode, first, blocks) in [
        (read, 9, 1),
        (read, 10, 2),
        (read, 3, 1),
        (read, 15, 2),
        (write, 5, 1),
        (read, 6, 1),
        (read, 0, 2),
    ] {
        let entry = host.rw(opcode, 1, first, blocks, &buffer);
        host.io[0].push(entry);
    }
    host.ring_tail(1, host.io[0].tail);
    let done = host.drain(0);
    let failed = done.iter().filter(|done| outcome(done).is_err()).count();
    assert_eq!((done.len(), failed), (7, 1), "one is out of range");
    let block = |what, first: u64, blocks: u64| (what, first * 4096, blocks * 4096);
    let meant = [
        block("read", 9, 1),
        block("expect", 3, 1),
        block("read", 10, 2),
        block("read", 3, 1),
        block("write", 5, 1),
        block("expect", 0, 2),
        block("read", 6, 1),
        block("read", 0, 2),
    ];
    assert_eq!(*heard.lock().unwrap(), meant);
}

/// 256 ranges that are each the whole of a large namespace: a bounded piece per event, and others have
/// their turns in between.
#[test]
fn a_deallocation_of_everything_256_times_is_done_piece_by_piece() {
    let (mut host, heard, list) = everything_many_times();
    let cid = host.push_deallocation(256, &list);
    host.ring_tail(1, host.io[0].tail);
    let buffer = host.buffer(4096);
    let (mut events, mut blocks, mut reads) = (0_u64, 0, 0);
    let done = loop {
        if let Some(completion) = host.io[0].pop() {
            break completion;
        }
        if events.is_multiple_of(1000) {
            // A read of another queue is not kept waiting.
            let read = host.rw(NvmOpcode::READ, 2, 0, 1, &buffer);
            host.io[1].push(read);
            host.ring_tail(2, host.io[1].tail);
            let waited = (0..20).take_while(|_| {
                assert!(host.fabric.step());
                host.io[1].pop().is_none()
            });
            assert!(waited.count() < 10);
            host.ring_head(2, host.io[1].head);
            reads += 1;
        }
        assert!(host.fabric.step());
        events += 1;
        let mut piece = 0;
        for (what, at, len) in heard.lock().unwrap().drain(..) {
            assert!(what == "discard" && at + len <= LARGE * 4096);
            piece += len / 4096;
        }
        blocks += piece;
        // Up to ten events went by for the read.
        assert!(piece <= 11 * BLOCKS_PER_EVENT, "{piece} blocks in an event");
    };
    assert_eq!((done.cid.get(), outcome(&done)), (cid, Ok(0)));
    assert_eq!(blocks, 256 * LARGE);
    assert!(events > blocks / BLOCKS_PER_EVENT / 2);
    println!("{blocks} blocks in {events} events, {reads} reads in between");
}

/// A deallocation that is under way can be aborted, goes with its queue, and with the controller.
#[test]
fn a_deallocation_that_is_under_way_can_be_stopped() {
    for way in 0..3 {
        let (mut host, heard, list) = everything_many_times();
        let cid = host.push_deallocation(256, &list);
        host.ring_tail(1, host.io[0].tail);
        for _ in 0..100 {
            assert!(host.fabric.step());
        }
        match way {
            0 => {
                let mut abort = SubmissionEntry::new(AdminOpcode::ABORT, 0);
                abort.cdw10 = AbortCdw10::new().with_sqid(1).with_cid(cid).into();
                assert_eq!(host.admin(abort), Ok(0));
                assert_eq!(outcome(&host.drain(0)[0]), Err(Status::ABORT_REQUESTED));
            }
            1 => {
                host.delete(AdminOpcode::DELETE_SUBMISSION_QUEUE, 1).unwrap();
                assert_eq!(outcome(&host.drain(0)[0]), Err(Status::ABORTED_SQ_DELETION));
            }
            _ => host.disable(),
        }
        heard.lock().unwrap().clear();
        host.settle();
        assert_eq!(*heard.lock().unwrap(), []);
    }
}

/// The pieces are the ranges: every block of them, and none else.
#[test]
fn pieces_of_a_deallocation_add_up() {
    let blocks = 200_000_u64;
    let namespace = NamespaceConfig { blocks, block_size: 512, ..NamespaceConfig::default() };
    let mut host = Host::with(config(vec![namespace]));
    let (all, list) = (host.buffer(1 << 20), host.buffer(4096));
    fill(all.memory(), 1);
    let written = contents(all.memory());
    let mut at = 0;
    while at < blocks {
        let count = (blocks - at).min(2048);
        let buffer = host.buffer(count as usize * 512);
        buffer.memory().write(0, &written[..count as usize * 512]).unwrap();
        host.write(1, at, count as u32, &buffer).unwrap();
        at += count;
    }
    let ranges: [(u64, u32); 6] =
        [(5, 65_536), (65_541, 0), (70_000, 1), (70_001, 65_535), (140_000, 59_999), (3, 0)];
    for (index, (first, count)) in ranges.iter().enumerate() {
        let range =
            DatasetRange { llb: (*count).into(), slba: (*first).into(), ..DatasetRange::default() };
        list.memory().write_value(index * 16, &range).unwrap();
    }
    host.push_deallocation(6, &list);
    assert_eq!(outcome(&host.reap(0, 1)[0]), Ok(0));
    let gone = |block: u64| {
        ranges.iter().any(|(first, count)| (*first..*first + u64::from(*count)).contains(&block))
    };
    let mut at = 0;
    while at < blocks {
        let count = (blocks - at).min(2048);
        let buffer = host.buffer(count as usize * 512);
        host.read(1, at, count as u32, &buffer).unwrap();
        let (now, before) = (contents(buffer.memory()), written.chunks(512));
        for (block, (now, before)) in (at..).zip(now.chunks(512).zip(before)) {
            assert!(if gone(block) { *now == [0; 512] } else { now == before }, "block {block}");
        }
        at += count;
    }
    println!("blocks: {blocks}");
}

/// A read waits for its medium while its namespace is formatted to blocks with metadata. It fails, may be
/// tried again, and touches no memory: not that of an earlier command on another namespace either, which
/// had metadata and failed before it took them all.
#[test]
fn a_command_that_waits_while_its_namespace_is_formatted_fails() {
    let latency = Duration::from_micros(10);
    let service = ServiceTime { latency, bytes_per_second: 0 };
    let plain = || NamespaceConfig { blocks: 64, ..NamespaceConfig::default() };
    let protection = ProtectionType::TYPE_1;
    let mut config =
        config(vec![plain(), NamespaceConfig { metadata_size: 8, protection, ..plain() }]);
    config.subsystem.timing = Some(MediaTiming { read: service, write: service, units: 8 });
    let mut host = Host::with(config);
    let (data, metadata, target) = (host.buffer(8192), host.buffer(4096), host.buffer(4096));
    metadata.memory().fill(0, 4096, 0x11).unwrap();
    fill(target.memory(), 5);
    let before = contents(target.memory());
    // Writes need no medium before their data: this one fails at once, at the first of its two blocks.
    let mut write = host.rw(NvmOpcode::WRITE, 2, 0, 2, &data);
    let prinfo = Prinfo::new().with_check_guard(true);
    write.cdw12 = ReadWriteCdw12::new().with_nlb_z(1).with_prinfo(prinfo).into();
    write.mptr = metadata.iova().0.into();
    assert_eq!(host.io(write), Err(Status::GUARD_CHECK_ERROR));
    let read = host.rw(NvmOpcode::READ, 1, 0, 1, &target);
    host.io[0].push(read);
    host.ring_tail(1, host.io[0].tail);
    assert!(host.fabric.step());
    let format = FormatNvmCdw10::new().with_format_index(3).with_pi(protection);
    let mut entry = SubmissionEntry::new(AdminOpcode::FORMAT_NVM, 1);
    entry.cdw10 = format.into();
    host.admin.push(entry);
    host.ring_tail(0, host.admin.tail);
    assert!(host.fabric.step());
    assert_eq!(outcome(&host.admin.pop().unwrap()), Ok(0));
    host.ring_head(0, host.admin.head);
    let done = host.drain(0);
    assert_eq!(outcome(&done[0]), Err(Status::FORMAT_IN_PROGRESS));
    assert!(!done[0].status.get().dnr());
    assert_eq!(contents(metadata.memory()), [0x11; 4096]);
    assert!(contents(target.memory()) == before);
}
