//! The persistent memory region: barriers, and what a loss of power leaves.

use p2pdma_devices::nvme::{ControllerConfig, NvmeConfig, PmrConfig};
use p2pdma_pci::{Bar, BarIndex, Function as _};
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::pmr::{HealthStatus, Pmrcap, Pmrmscl, Pmrsts};
use p2pdma_spec::nvme::queue::{DataPointer, SubmissionEntry};
use p2pdma_spec::nvme::registers::offset;
use p2pdma_spec::nvme::status::Status;

use crate::host::{Host, Rng, contents, fill, pattern};

const BAR4: BarIndex = BarIndex::new(4).unwrap();
const LEN: u64 = 1 << 20;
const BASE: u64 = 0x7D00_0000_0000;

fn plain() -> PmrConfig {
    PmrConfig { len: LEN, ..PmrConfig::default() }
}

fn host(pmr: PmrConfig) -> Host {
    let controller = ControllerConfig { pmr: Some(pmr), ..ControllerConfig::default() };
    Host::bare(NvmeConfig { controller, ..NvmeConfig::default() })
}

impl Host {
    fn pmrsts(&self) -> Pmrsts {
        Pmrsts::from_bits(self.bar.read32(offset::PMRSTS).unwrap())
    }

    fn enable_pmr(&self) -> Bar {
        self.bar.write32(offset::PMRCTL, 1).unwrap();
        assert!(!self.pmrsts().nrdy());
        self.function.map_bar(BAR4).unwrap()
    }

    fn cut_power(self) -> Self {
        self.fabric.power_cut();
        self.fabric.enumerate().unwrap();
        Self::open(self.fabric.clone(), "nvme0")
    }
}

fn read(bar: &Bar, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bar.read(at, &mut bytes).unwrap();
    bytes
}

#[test]
fn capabilities_and_enabling() {
    let host = host(plain());
    let capabilities = Pmrcap::from_bits(host.bar.read32(offset::PMRCAP).unwrap());
    assert_eq!(capabilities.bir(), 4);
    assert!(capabilities.rds() && capabilities.wds() && capabilities.cmss());
    assert!(capabilities.barrier_memory_read() && capabilities.barrier_status_read());
    let bar = host.function.map_bar(BAR4).unwrap();
    assert_eq!(bar.len(), LEN);
    assert!(host.pmrsts().nrdy());
    assert_eq!(read(&bar, 0, 4), [0xFF; 4]);
    host.enable_pmr();
    bar.write(0, b"there").unwrap();
    host.settle();
    assert_eq!(read(&bar, 0, 5), b"there");
    host.bar.write32(offset::PMRCTL, 0).unwrap();
    assert!(host.pmrsts().nrdy());
    host.enable_pmr();
    assert_eq!(read(&bar, 0, 5), b"there");
    assert_eq!(host.pmrsts().hsts(), HealthStatus::NORMAL);
}

#[test]
fn impossible_regions() {
    for pmr in [
        PmrConfig { len: 0, ..plain() },
        PmrConfig { len: 2048, ..plain() },
        PmrConfig { len: 3 << 12, ..plain() },
        PmrConfig { bar: BarIndex::ZERO, ..plain() },
        PmrConfig { bar: BarIndex::new(5).unwrap(), ..plain() },
    ] {
        let controller = ControllerConfig { pmr: Some(pmr), ..ControllerConfig::default() };
        let config = NvmeConfig { controller, ..NvmeConfig::default() };
        assert!(p2pdma_devices::nvme::NvmeController::new(config).is_err());
    }
}

/// What a barrier has made persistent is there after a loss of power; what none has may be old or new, by
/// lines of 64 bytes. Planted bugs that this test finds: no barrier; a barrier that forgets a line; lines
/// torn in the middle.
#[test]
fn power_cuts_at_random() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let barrier_memory_read = rng.once_in(2);
        let barrier_status_read = !barrier_memory_read;
        let pmr = PmrConfig { seed, barrier_memory_read, barrier_status_read, ..plain() };
        let host = host(pmr);
        let bar = host.enable_pmr();
        let mut durable = vec![0; LEN as usize];
        let mut newest = durable.clone();
        for _ in 0..rng.below(60) {
            let at = rng.index(LEN as usize - 5000);
            let len = if rng.once_in(2) { 1 + rng.index(64) } else { 1 + rng.index(5000) };
            pattern(rng.next(), &mut newest[at..at + len]);
            bar.write(at as u64, &newest[at..at + len]).unwrap();
            if rng.once_in(6) {
                if barrier_memory_read {
                    read(&bar, 0, 1);
                } else {
                    host.pmrsts();
                }
                durable.clone_from(&newest);
            }
        }
        host.settle();
        let host = host.cut_power();
        let bar = host.enable_pmr();
        let after = read(&bar, 0, LEN as usize);
        for (line, (after, (old, new))) in
            after.chunks(64).zip(durable.chunks(64).zip(newest.chunks(64))).enumerate()
        {
            assert!(after == old || after == new, "seed {seed}: line {line} is torn or lost");
            if old != new {
                kept += usize::from(after == new);
                lost += usize::from(after == old);
            }
        }
    }
    println!("unflushed lines: {kept} kept, {lost} lost");
    assert!(kept > 100 && lost > 100);
}

/// Disabling the region makes everything persistent.
#[test]
fn disabling_is_a_barrier() {
    let pmr = PmrConfig { barrier_memory_read: false, barrier_status_read: false, ..plain() };
    let host = host(pmr);
    let bar = host.enable_pmr();
    bar.write(100, &[7; 10_000]).unwrap();
    host.bar.write32(offset::PMRCTL, 0).unwrap();
    host.settle();
    let host = host.cut_power();
    let bar = host.enable_pmr();
    assert_eq!(read(&bar, 100, 10_000), [7; 10_000]);
}

/// Commands reach the region by addresses of its own.
#[test]
fn data_of_commands() {
    let mut host = host(PmrConfig { write_data: false, ..plain() });
    let bar = host.enable_pmr();
    host.enable();
    host.create_queue(16);
    let (lower, upper) = Pmrmscl::enabled_at(BASE);
    host.bar.write32(offset::PMRMSCU, upper).unwrap();
    host.bar.write32(offset::PMRMSCL, lower.into_bits()).unwrap();
    assert!(!host.pmrsts().cbai());
    let buffer = host.buffer(4096);
    fill(buffer.memory(), 1);
    host.write(1, 3, 1, &buffer).unwrap();
    let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
    entry.set_cdw10_11(3);
    entry.dptr = DataPointer::prp(BASE + 0x2000, 0);
    host.io(entry).unwrap();
    assert_eq!(read(&bar, 0x2000, 4096), contents(buffer.memory()));
    // Not a source, by configuration; never a queue.
    let mut entry = SubmissionEntry::new(NvmOpcode::WRITE, 1);
    entry.dptr = DataPointer::prp(BASE, 0);
    assert_eq!(host.io(entry), Err(Status::INVALID_USE_OF_CMB));
    let queue = host.create_completion(2, 16, BASE, None);
    assert_eq!(queue, Err(Status::INVALID_USE_OF_CMB));
    // What a command put there obeys the barrier like all else; the read above was one.
    let host = host.cut_power();
    let bar = host.enable_pmr();
    assert_eq!(read(&bar, 0x2000, 4096), contents(buffer.memory()));
}

#[test]
fn bases_that_cannot_be() {
    let host = host(plain());
    host.enable_pmr();
    for (base, invalid) in [(0, false), (u64::MAX - 4095, true), (u64::MAX - LEN + 1, true)] {
        let (lower, upper) = Pmrmscl::enabled_at(base);
        host.bar.write32(offset::PMRMSCU, upper).unwrap();
        host.bar.write32(offset::PMRMSCL, lower.into_bits()).unwrap();
        assert_eq!(host.pmrsts().cbai(), invalid, "{base:#x}");
    }
}

/// A region in a file is there in the next run.
#[test]
fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = Some(folder.path().join("pmr"));
    let first = host(PmrConfig { file: file.clone(), ..plain() });
    let bar = first.enable_pmr();
    bar.write(5000, b"persistent").unwrap();
    first.pmrsts();
    // Not in the file yet, for want of a barrier.
    bar.write(9000, b"x").unwrap();
    first.settle();
    drop(bar);
    drop(first);
    let bytes = std::fs::read(folder.path().join("pmr")).unwrap();
    assert_eq!(&bytes[5000..5010], b"persistent");
    let second = host(PmrConfig { file, ..plain() });
    let bar = second.enable_pmr();
    assert_eq!(read(&bar, 5000, 10), b"persistent");
}
