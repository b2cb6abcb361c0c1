//! Loss of power, resets at every event, files.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use p2pdma_devices::Error;
use p2pdma_devices::nvme::{
    CacheConfig, ControllerConfig, Fill, Media, MediaConfig, MediaError, MediaTiming,
    NamespaceConfig, NvmeConfig, NvmeController, ServiceTime, Subsystem, SubsystemConfig, Take,
};
use p2pdma_fabric::{Timing, TimingModel};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{DmaBuffer, Duration, Function as _};
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::log::{LogPageId, SmartHealth};
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::{DataPointer, SubmissionEntry};
use p2pdma_spec::nvme::registers::{Cc, ShutdownNotification, offset};
use p2pdma_spec::nvme::status::Status;

use crate::host::{Board, Host, Rng, contents, fill, outcome};
use crate::witness::{Heard, Witness};

const BLOCKS: u64 = 64;

fn namespace(cache: Option<CacheConfig>) -> NamespaceConfig {
    NamespaceConfig { blocks: BLOCKS, cache, ..NamespaceConfig::default() }
}

fn config(namespace: NamespaceConfig) -> NvmeConfig {
    let subsystem = SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
    NvmeConfig { subsystem, ..NvmeConfig::default() }
}

impl Host {
    /// After a loss of power: the same machine, brought up anew.
    fn power_cycle(self) -> Self {
        self.fabric.power_cut();
        self.fabric.enumerate().unwrap();
        let mut host = Self::open(self.fabric.clone(), "nvme0");
        host.enable();
        host.create_queue(64);
        host
    }

    fn block(&mut self, lba: u64) -> u64 {
        let buffer = self.buffer(4096);
        self.read(1, lba, 1, &buffer).unwrap();
        let bytes = contents(buffer.memory());
        let first = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert!(bytes.chunks(8).all(|chunk| chunk == &bytes[..8]), "block {lba} is torn");
        first
    }
}

/// A page full of one number.
fn stamp(buffer: &DmaBuffer, value: u64) {
    let bytes: Vec<u8> = value.to_le_bytes().into_iter().cycle().take(buffer.len()).collect();
    buffer.memory().write(0, &bytes).unwrap();
}

/// A block is what it was when it was last flushed, or any later version of it. Planted bugs that this
/// test finds: a cache that forgets flushed blocks; a flush of one block too few; FUA ignored.
#[test]
fn flushed_blocks_survive() {
    let (mut old, mut new) = (0, 0);
    for seed in 1..40 {
        let mut rng = Rng::new(seed);
        let cache = CacheConfig { len: 4096 * (4 + rng.below(100)), seed };
        let mut host = Host::with(config(namespace(Some(cache))));
        let mut allowed: Vec<BTreeSet<u64>> = vec![BTreeSet::from([0]); BLOCKS as usize];
        let buffer = host.buffer(4096);
        for round in 0..3_u64 {
            for turn in 0..rng.below(120) {
                let lba = rng.below(BLOCKS);
                let versions = &mut allowed[lba as usize];
                match rng.below(12) {
                    0 => {
                        host.io(SubmissionEntry::new(NvmOpcode::FLUSH, 1)).unwrap();
                        for versions in &mut allowed {
                            *versions = versions.last().copied().into_iter().collect();
                        }
                    }
                    fua => {
                        let value = (round << 32) | (turn + 1);
                        stamp(&buffer, value);
                        let mut entry = host.rw(NvmOpcode::WRITE, 1, lba, 1, &buffer);
                        if fua == 1 {
                            entry.cdw12 = (1 << 30).into();
                            versions.clear();
                        }
                        host.io(entry).unwrap();
                        versions.insert(value);
                        assert_eq!(host.block(lba), value);
                    }
                }
            }
            host = host.power_cycle();
            for (lba, versions) in (0..).zip(&mut allowed) {
                let found = host.block(lba);
                assert!(versions.contains(&found), "seed {seed}: block {lba} is {found}");
                if versions.len() > 1 {
                    old += u64::from(Some(&found) != versions.last());
                    new += u64::from(Some(&found) == versions.last());
                }
                *versions = BTreeSet::from([found]);
            }
        }
    }
    println!("unflushed blocks: {new} kept, {old} lost");
    assert!(old > 100 && new > 100);
}

/// What makes everything durable: shutdown, switching the cache off, write protection.
#[test]
fn other_ways_to_flush() {
    for way in 0..3 {
        let mut host = Host::with(config(namespace(Some(CacheConfig { len: 1 << 20, seed: 9 }))));
        let buffer = host.buffer(BLOCKS as usize * 4096);
        stamp(&buffer, 77);
        host.write(1, 0, BLOCKS as u32, &buffer).unwrap();
        match way {
            0 => {
                let shutdown = Host::plain_cc().with_en(true);
                host.set_cc(shutdown.with_shn(ShutdownNotification::NORMAL));
            }
            1 => drop(host.set_feature(FeatureId::VOLATILE_WRITE_CACHE, false, 0, 0).unwrap()),
            _ => {
                host.set_feature(FeatureId::NAMESPACE_WRITE_PROTECTION, false, 1, 1).unwrap();
            }
        }
        let mut host = host.power_cycle();
        for lba in 0..BLOCKS {
            assert_eq!(host.block(lba), 77, "way {way}");
        }
    }
    // With the cache off every write is durable by itself.
    let mut host = Host::with(config(namespace(Some(CacheConfig { len: 1 << 20, seed: 9 }))));
    host.set_feature(FeatureId::VOLATILE_WRITE_CACHE, false, 0, 0).unwrap();
    let buffer = host.buffer(4096);
    stamp(&buffer, 5);
    host.write(1, 9, 1, &buffer).unwrap();
    assert_eq!(host.power_cycle().block(9), 5);
}

/// With WCE = 0 whatever writes to a medium that is not in itself durable, a file for instance, ends with
/// a flush; with WCE = 1 only FUA does. A reset takes back what was not saved, and Get Features says what
/// is done.
#[test]
fn without_a_write_cache_every_write_is_flushed() {
    let (witness, heard) = Witness::new(BLOCKS * 4096);
    let media = MediaConfig::Other(Box::new(witness));
    let mut host = Host::with(config(NamespaceConfig { media, ..namespace(None) }));
    let id = FeatureId::VOLATILE_WRITE_CACHE;
    let mut writes = 0;
    // Saved or not, and whether the cache is on before and after a reset.
    for (save, value, before, after) in
        [(false, 0, 0, 1), (true, 0, 0, 0), (false, 1, 1, 0), (true, 1, 1, 1)]
    {
        host.set_feature(id, save, 0, value).unwrap();
        for (reset, cached) in [(false, before), (true, after)] {
            if reset {
                host.disable();
                host.enable();
                host.create_queue(64);
            }
            assert_eq!(host.current(id), cached);
            writes += host.every_write(&heard, cached == 1);
        }
    }
    println!("writes: {writes}");
}

impl Host {
    /// Every command that writes, plain and with FUA; and whether a flush was the last that the medium
    /// heard of it.
    fn every_write(&mut self, heard: &Heard, cached: bool) -> u32 {
        let buffer = self.buffer(4096);
        let mut writes = 0;
        for opcode in [
            NvmOpcode::WRITE,
            NvmOpcode::WRITE_ZEROES,
            NvmOpcode::COPY,
            NvmOpcode::DATASET_MANAGEMENT,
        ] {
            for fua in [false, true] {
                buffer.memory().fill(0, 4096, 0).unwrap();
                let mut entry = self.rw(opcode, 1, 7, 1, &buffer);
                entry.cdw12 = (u32::from(fua) << 30).into();
                if opcode == NvmOpcode::DATASET_MANAGEMENT {
                    // One range of one block, to be deallocated. There is no FUA.
                    buffer.memory().write_value(4, &1_u32.to_le_bytes()).unwrap();
                    (entry.cdw10, entry.cdw11) = (0.into(), 4.into());
                }
                heard.lock().unwrap().clear();
                self.io(entry).unwrap();
                let last = heard.lock().unwrap().last().map(|(what, _, _)| *what);
                let expected = !cached || fua && opcode != NvmOpcode::DATASET_MANAGEMENT;
                assert_eq!(last == Some("flush"), expected, "{opcode}, FUA {fua}, cache {cached}");
                writes += 1;
            }
        }
        writes
    }
}

/// Losses of power are counted once, however many controllers there are; and as unexpected unless every
/// controller that was in use had been shut down.
#[test]
fn losses_of_power_are_counted_once() {
    let namespaces = vec![namespace(None)];
    let config = SubsystemConfig { namespaces, ..SubsystemConfig::default() };
    let subsystem = Subsystem::new(config).unwrap();
    let mut board = Board::new(IommuMode::Translate, Timing::Ideal);
    for name in ["a", "b", "c"] {
        board.plug(name, subsystem.controller(ControllerConfig::default()).unwrap());
    }
    let fabric = board.build();
    let shutdown = Host::plain_cc().with_en(true);
    let mut unexpected = 0;
    // Which are used, which are shut down, whether with notice.
    let rounds: [(&[&str], &[&str], ShutdownNotification); 6] = [
        (&[], &[], ShutdownNotification::NORMAL),
        (&["a", "b", "c"], &["a", "b", "c"], ShutdownNotification::NORMAL),
        (&["a", "b"], &["a"], ShutdownNotification::NORMAL),
        (&["b"], &[], ShutdownNotification::NORMAL),
        (&["a", "c"], &["a", "c"], ShutdownNotification::ABRUPT),
        (&["c"], &["c"], ShutdownNotification::NONE),
    ];
    for (round, (used, ended, how)) in (1..).zip(rounds) {
        for name in used {
            let mut host = Host::open(fabric.clone(), name);
            host.disable();
            host.enable();
            if ended.contains(name) {
                host.set_cc(shutdown.with_shn(how));
            }
        }
        let safe =
            used.iter().all(|name| ended.contains(name)) && how != ShutdownNotification::NONE;
        unexpected += u64::from(!safe);
        fabric.power_cut();
        fabric.enumerate().unwrap();
        let mut host = Host::open(fabric.clone(), "b");
        host.enable();
        let health: SmartHealth = host.log(LogPageId::SMART_HEALTH, 0);
        assert_eq!(health.power_cycles.get(), round);
        assert_eq!(health.unexpected_power_losses.get(), u128::from(unexpected), "round {round}");
        host.set_cc(shutdown.with_shn(ShutdownNotification::NORMAL));
    }
}

/// A machine where everything takes time, with 8 blocks written, flushed and written again.
fn timed(cache: Option<CacheConfig>) -> (Host, DmaBuffer) {
    let service = ServiceTime { latency: Duration::from_micros(10), bytes_per_second: 1 << 30 };
    let subsystem = SubsystemConfig {
        namespaces: vec![namespace(cache)],
        timing: Some(MediaTiming { read: service, write: service, units: 3 }),
        ..SubsystemConfig::default()
    };
    let config = NvmeConfig { subsystem, ..NvmeConfig::default() };
    let timing = Timing::Modelled(TimingModel::default());
    let mut board = Board::new(IommuMode::Translate, timing);
    board.plug("nvme0", NvmeController::new(config).unwrap());
    let mut host = Host::open(board.build(), "nvme0");
    host.enable();
    host.create_queue(64);
    let buffer = host.buffer(16 * 4096);
    for page in 0..16 {
        let value = 100 + page as u64;
        let bytes: Vec<u8> = value.to_le_bytes().into_iter().cycle().take(4096).collect();
        buffer.memory().write(page * 4096, &bytes).unwrap();
    }
    (host, buffer)
}

/// Blocks 0 to 7 with 100 and up, a flush, the same blocks with 108 and up.
fn submit_job(host: &mut Host, buffer: &DmaBuffer) {
    for page in 0..16 {
        let mut entry = SubmissionEntry::new(NvmOpcode::WRITE, 1);
        entry.set_cdw10_11(page % 8);
        entry.dptr = DataPointer::prp(buffer.iova().0 + page * 4096, 0);
        host.io[0].push(entry);
        if page == 7 {
            // The flush is about what is complete.
            for _ in 0..8 {
                while host.io[0].pop().is_none() {
                    host.ring_tail(1, host.io[0].tail);
                    assert!(host.fabric.step());
                }
            }
            host.io[0].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
    }
    host.ring_tail(1, host.io[0].tail);
}

/// Power is cut after every event of the job in turn: what had been flushed by then is there.
#[test]
fn a_power_cut_at_every_event() {
    let mut cuts = 0;
    for events in 0.. {
        let (mut host, buffer) = timed(Some(CacheConfig { len: 1 << 20, seed: events }));
        submit_job(&mut host, &buffer);
        let mut more = true;
        for _ in 0..events {
            more = host.fabric.step();
        }
        let done: Vec<_> = std::iter::from_fn(|| host.io[0].pop()).collect();
        assert!(done.iter().all(|completion| outcome(completion).is_ok()));
        let flushed = done.iter().any(|completion| completion.cid.get() == 8);
        let mut host = host.power_cycle();
        for lba in 0..8 {
            let found = host.block(lba);
            let versions: &[u64] =
                if flushed { &[100 + lba, 108 + lba] } else { &[0, 100 + lba, 108 + lba] };
            assert!(versions.contains(&found), "{events} events: block {lba} is {found}");
        }
        cuts += 1;
        if !more {
            break;
        }
    }
    println!("power cuts: {cuts}");
    assert!(cuts > 15);
}

/// After a reset at any event no byte of memory changes any more (DMA after reset).
/// Planted bug that this test finds: jobs that outlive a reset.
#[test]
fn no_dma_after_a_controller_reset_at_any_event() {
    let mut resets = 0;
    for kind in 0..3 {
        for events in 0.. {
            let (mut host, buffer) = timed(None);
            let target = host.buffer(16 * 4096);
            fill(target.memory(), 1);
            for page in 0..16 {
                let opcode = if page % 2 == 0 { NvmOpcode::READ } else { NvmOpcode::WRITE };
                let from = if page % 2 == 0 { &target } else { &buffer };
                let mut entry = SubmissionEntry::new(opcode, 1);
                entry.set_cdw10_11(page);
                entry.dptr = DataPointer::prp(from.iova().0 + page * 4096, 0);
                host.io[0].push(entry);
            }
            host.ring_tail(1, host.io[0].tail);
            let mut more = true;
            for _ in 0..events {
                more = host.fabric.step();
            }
            match kind {
                // The register write is an event itself, and takes its time.
                0 => {
                    host.bar.write32(offset::CC, Cc::new().into_bits()).unwrap();
                    assert!(!host.csts().rdy());
                }
                1 => host.function.reset().unwrap(),
                _ => {
                    host.fabric.remove(host.function.bdf()).unwrap().unwrap();
                }
            }
            let snapshot =
                |host: &Host| [contents(target.memory()), contents(host.io[0].cq.memory())];
            let before = snapshot(&host);
            host.settle();
            assert!(before == snapshot(&host), "memory changed after the reset at {events}");
            if kind < 2 {
                let mut host = Host::open(host.fabric.clone(), "nvme0");
                host.enable();
                host.create_queue(8);
                host.read(1, 0, 1, &target).unwrap();
            }
            resets += 1;
            if !more {
                break;
            }
        }
    }
    println!("resets and removals: {resets}");
}

#[test]
fn a_file_persists_and_belongs_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ns");
    let media = || NamespaceConfig { media: MediaConfig::File(path.clone()), ..namespace(None) };
    let mut host = Host::with(config(media()));
    let buffer = host.buffer(4096);
    stamp(&buffer, 3);
    host.write(1, 63, 1, &buffer).unwrap();
    host.io(SubmissionEntry::new(NvmOpcode::FLUSH, 1)).unwrap();
    let second = NvmeController::new(config(media()));
    assert!(matches!(second, Err(Error::FileInUse { .. })), "{second:?}");
    // A buffer keeps the machine, which keeps the device.
    drop((host, buffer));
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, BLOCKS * 4096);
    assert_eq!(bytes[63 * 4096..][..8], 3_u64.to_le_bytes());
    let mut host = Host::with(config(media()));
    assert_eq!(host.block(63), 3);
    // A deallocated block is a hole.
    let list = host.buffer(4096);
    list.memory().write_value(4, &1_u32.to_le_bytes()).unwrap();
    list.memory().write_value(8, &63_u64.to_le_bytes()).unwrap();
    let mut trim = host.rw(NvmOpcode::DATASET_MANAGEMENT, 1, 0, 1, &list);
    (trim.cdw10, trim.cdw11) = (0.into(), 4.into());
    host.io(trim).unwrap();
    assert_eq!(host.block(63), 0);
    drop((host, list));
    // A file that is longer than its namespace is left alone.
    let longer = NamespaceConfig { blocks: BLOCKS - 1, ..media() };
    let error = NvmeController::new(config(longer)).unwrap_err();
    assert!(matches!(error, Error::FileTooLong { len: 262_144, expected: 258_048, .. }), "{error}");
    // No folder, and a folder instead of a file.
    for path in [folder.path().join("none").join("ns"), folder.path().to_owned()] {
        let media = MediaConfig::File(path);
        let config = config(NamespaceConfig { media, ..namespace(None) });
        let error = NvmeController::new(config).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
    }
}

/// A medium that fails at what it is told to fail at.
#[derive(Debug)]
struct Failing {
    at: &'static str,
    error: MediaError,
}

impl Failing {
    fn result(&self, what: &str) -> Result<(), MediaError> {
        if what == self.at { Err(self.error) } else { Ok(()) }
    }
}

impl Media for Failing {
    fn holds_data(&self) -> bool {
        true
    }
    fn read(&mut self, _: u64, len: u64, take: &mut Take<'_>) -> Result<(), MediaError> {
        self.result("read")?;
        let _: ControlFlow<()> = take(&vec![0; usize::try_from(len).unwrap()]);
        Ok(())
    }
    fn write(&mut self, _: u64, len: u64, fill: &mut Fill<'_>) -> Result<(), MediaError> {
        let _: ControlFlow<()> = fill(&mut vec![0; usize::try_from(len).unwrap()]);
        self.result("write")
    }
    fn discard(&mut self, _: u64, _: u64) -> Result<(), MediaError> {
        self.result("discard")
    }
    fn flush(&mut self, _: u64, _: u64) -> Result<(), MediaError> {
        self.result("flush")
    }
    fn power_cut(&mut self) {}
}

/// A full disk and an input/output error under a namespace have their status, in every command.
#[test]
fn media_that_fail() {
    let full = MediaError::Full;
    let failed = MediaError::Failed(std::io::ErrorKind::Other);
    for (at, error, status) in [
        ("write", full, Status::CAPACITY_EXCEEDED),
        ("write", failed, Status::WRITE_FAULT),
        ("discard", full, Status::CAPACITY_EXCEEDED),
        ("discard", failed, Status::WRITE_FAULT),
        ("flush", failed, Status::WRITE_FAULT),
        ("read", failed, Status::UNRECOVERED_READ_ERROR),
        ("read", full, Status::UNRECOVERED_READ_ERROR),
    ] {
        // Through a cache without room too, which writes at once; its own write then fails later.
        let media = MediaConfig::Other(Box::new(Failing { at, error }));
        let mut host = Host::with(config(NamespaceConfig { media, ..namespace(None) }));
        let buffer = host.buffer(4096);
        let expect = |result: Result<u32, Status>, is: bool| {
            assert_eq!(result, if is { Err(status) } else { Ok(0) }, "{at} {error}");
        };
        expect(host.write(1, 0, 1, &buffer), at == "write");
        expect(host.read(1, 0, 1, &buffer), at == "read");
        let mut entry = host.rw(NvmOpcode::WRITE_ZEROES, 1, 0, 1, &buffer);
        expect(host.io(entry), at == "discard");
        entry = host.rw(NvmOpcode::VERIFY, 1, 0, 1, &buffer);
        expect(host.io(entry), at == "read");
        expect(host.io(SubmissionEntry::new(NvmOpcode::FLUSH, 1)), at == "flush");
    }
    // A cache notices when it writes back.
    let media = MediaConfig::Other(Box::new(Failing { at: "write", error: full }));
    let cache = Some(CacheConfig { len: 8192, seed: 1 });
    let mut host = Host::with(config(NamespaceConfig { media, ..namespace(cache) }));
    let buffer = host.buffer(4096);
    host.write(1, 0, 1, &buffer).unwrap();
    host.write(1, 1, 1, &buffer).unwrap();
    assert_eq!(host.write(1, 2, 1, &buffer), Err(Status::CAPACITY_EXCEEDED));
    let flush = host.io(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
    assert_eq!(flush, Err(Status::CAPACITY_EXCEEDED));
}

/// A device is no file that could have a namespace's blocks.
#[test]
fn a_device_under_a_namespace() {
    let media = MediaConfig::File("/dev/full".into());
    let error = NvmeController::new(config(NamespaceConfig { media, ..namespace(None) }));
    assert!(matches!(error, Err(Error::FileKind { .. })), "{error:?}");
}
