//! Namespaces in files: what the next process finds of what hosts did.

use std::path::{Path, PathBuf};

use p2pdma_devices::Error;
use p2pdma_devices::nvme::{
    MediaConfig, NamespaceConfig, NvmeConfig, NvmeController, SubsystemConfig,
};
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, FormatNvmCdw10};
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::namespace::IdentifyNamespace;
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::protection::ProtectionType;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::registers::ShutdownNotification;
use p2pdma_spec::nvme::status::Status;

use crate::host::{Host, Rng, contents, fill};

const BLOCKS: u64 = 512;
/// With BLOCKS blocks of 4096 bytes, after a format to blocks of 512 with 8 bytes of metadata.
const SMALL_BLOCKS: u64 = BLOCKS * 4096 / 520;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("ns.img")
    }

    fn label(&self) -> PathBuf {
        self.folder.path().join("ns.img.label")
    }

    fn described(&self) -> NamespaceConfig {
        let media = MediaConfig::File(self.image());
        NamespaceConfig { blocks: BLOCKS, media, ..NamespaceConfig::default() }
    }

    /// A process of its own, as it were.
    fn host(&self) -> Host {
        Host::with(config(self.described()))
    }

    fn refused(&self, described: NamespaceConfig) -> Error {
        NvmeController::new(config(described)).unwrap_err()
    }
}

fn config(namespace: NamespaceConfig) -> NvmeConfig {
    let subsystem = SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
    NvmeConfig { subsystem, ..NvmeConfig::default() }
}

impl Host {
    fn geometry(&mut self) -> (u64, u8, bool) {
        let identify: IdentifyNamespace = self.identify(Cns::NAMESPACE, 1).unwrap();
        let flbas = identify.flbas;
        (identify.nsze.get(), flbas.format_index(), flbas.mtelba())
    }

    fn mark(&mut self, first: u64, count: u32) {
        let mut entry = SubmissionEntry::new(NvmOpcode::WRITE_UNCORRECTABLE, 1);
        entry.set_cdw10_11(first);
        entry.cdw12 = (count - 1).into();
        self.io(entry).unwrap();
    }

    fn verify(&mut self, first: u64) -> Result<u32, Status> {
        let mut entry = SubmissionEntry::new(NvmOpcode::VERIFY, 1);
        entry.set_cdw10_11(first);
        self.io(entry)
    }

    fn flush(&mut self) {
        self.io(SubmissionEntry::new(NvmOpcode::FLUSH, 1)).unwrap();
    }
}

/// Blocks of 512 bytes with 8 bytes of extended metadata, which are protection information of type 1.
fn small() -> FormatNvmCdw10 {
    FormatNvmCdw10::new().with_format_index(2).with_mset(true).with_pi(ProtectionType::TYPE_1)
}

/// A format by a host is what the next process finds, whatever the description says; with the blocks that
/// were written in it.
#[test]
fn a_format_outlives_its_process() {
    let place = Place::new();
    let mut host = place.host();
    assert_eq!(host.geometry(), (BLOCKS, 1, false));
    host.format(1, small()).unwrap();
    assert_eq!(host.geometry(), (SMALL_BLOCKS, 2, true));
    // PRACT: the controller makes the information, and the data are all that moves.
    let pract = |host: &mut Host, opcode, buffer: &_| {
        let mut entry = host.rw(opcode, 1, SMALL_BLOCKS - 8, 8, buffer);
        entry.cdw12 = (7 | 1 << 29).into();
        entry.cdw14 = u32::try_from(SMALL_BLOCKS - 8).unwrap().into();
        host.io(entry)
    };
    let buffer = host.buffer(4096);
    fill(buffer.memory(), 1);
    let written = contents(buffer.memory());
    pract(&mut host, NvmOpcode::WRITE, &buffer).unwrap();
    drop((host, buffer));
    let mut host = place.host();
    assert_eq!(host.geometry(), (SMALL_BLOCKS, 2, true));
    let buffer = host.buffer(4096);
    pract(&mut host, NvmOpcode::READ, &buffer).unwrap();
    assert!(contents(buffer.memory()) == written);
    // Back to what is described.
    host.format(1, FormatNvmCdw10::new().with_format_index(1)).unwrap();
    drop((host, buffer));
    assert_eq!(place.host().geometry(), (BLOCKS, 1, false));
}

/// A description that changed since the file was made would misread it, unless it follows the host.
#[test]
fn a_file_of_another_format_is_refused() {
    let place = Place::new();
    let mut host = place.host();
    let buffer = host.buffer(4096);
    fill(buffer.memory(), 1);
    host.write(1, 3, 1, &buffer).unwrap();
    host.flush();
    drop((host, buffer));
    let before = std::fs::read(place.image()).unwrap();
    let others = [
        NamespaceConfig { block_size: 512, blocks: BLOCKS * 8, ..place.described() },
        NamespaceConfig { metadata_size: 8, ..place.described() },
        NamespaceConfig { metadata_size: 64, extended: true, ..place.described() },
    ];
    for described in others {
        let error = place.refused(described);
        assert!(matches!(error, Error::FileFormat { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("was made for 512 blocks of 4096 bytes"), "{text}");
    }
    assert!(std::fs::read(place.image()).unwrap() == before);
    let mut host = place.host();
    host.format(1, FormatNvmCdw10::new().with_format_index(3).with_mset(true)).unwrap();
    let blocks = host.geometry().0;
    drop(host);
    // Formatted like this by a host: a description may say so from now on, if the size fits.
    let follows =
        |blocks| NamespaceConfig { blocks, metadata_size: 8, extended: true, ..place.described() };
    assert!(matches!(place.refused(follows(blocks)), Error::FileTooLong { .. }));
    let mut host = Host::with(config(follows(blocks + 1)));
    assert_eq!(host.geometry(), (blocks + 1, 3, true));
}

/// A namespace that is described as larger grows; what was in it stays.
#[test]
fn a_namespace_grows() {
    let place = Place::new();
    let mut host = place.host();
    let buffer = host.buffer(4096);
    fill(buffer.memory(), 4);
    let written = contents(buffer.memory());
    host.write(1, BLOCKS - 1, 1, &buffer).unwrap();
    host.mark(7, 2);
    drop((host, buffer));
    let mut host = Host::with(config(NamespaceConfig { blocks: 2 * BLOCKS, ..place.described() }));
    assert_eq!(host.geometry().0, 2 * BLOCKS);
    let buffer = host.buffer(4096);
    host.read(1, BLOCKS - 1, 1, &buffer).unwrap();
    assert!(contents(buffer.memory()) == written);
    host.read(1, 2 * BLOCKS - 1, 1, &buffer).unwrap();
    assert_eq!(contents(buffer.memory()), [0; 4096]);
    assert_eq!(host.verify(8), Err(Status::UNRECOVERED_READ_ERROR));
    drop((host, buffer));
    assert!(matches!(place.refused(place.described()), Error::FileTooLong { .. }));
}

/// Blocks that cannot be read are so in the next process, and those that were written again are not:
/// however the first one ended.
#[test]
fn uncorrectable_blocks_outlive_their_process() {
    let mut processes = 0;
    for seed in 0..30 {
        let place = Place::new();
        let mut rng = Rng::new(seed);
        let mut bad = vec![false; BLOCKS as usize];
        for _ in 0..3 {
            let mut host = place.host();
            for (block, bad) in (0..).zip(&bad) {
                assert_eq!(host.verify(block).is_err(), *bad, "seed {seed}, block {block}");
            }
            for _ in 0..rng.below(20) {
                let count = 1 + rng.below(16);
                let first = rng.below(BLOCKS - count);
                let marks = rng.once_in(2);
                if marks {
                    host.mark(first, count as u32);
                } else {
                    let mut entry = SubmissionEntry::new(NvmOpcode::WRITE_ZEROES, 1);
                    entry.set_cdw10_11(first);
                    entry.cdw12 = (count as u32 - 1).into();
                    host.io(entry).unwrap();
                }
                bad[first as usize..(first + count) as usize].fill(marks);
            }
            match rng.below(3) {
                0 => host.flush(),
                1 => {
                    let cc = Host::plain_cc().with_en(true);
                    host.set_cc(cc.with_shn(ShutdownNotification::NORMAL));
                }
                _ => {}
            }
            processes += 1;
        }
    }
    println!("processes: {processes}");
}

/// A flush writes the label, and so does a write without a cache: not only an orderly end does.
#[test]
fn uncorrectable_blocks_are_flushed() {
    let place = Place::new();
    let mut host = place.host();
    let has = |line: &str| std::fs::read_to_string(place.label()).unwrap().contains(line);
    host.mark(5, 3);
    assert!(!has("bad"));
    host.flush();
    assert!(has("bad 5 8\n"));
    host.set_feature(FeatureId::VOLATILE_WRITE_CACHE, false, 0, 0).unwrap();
    host.mark(8, 1);
    assert!(has("bad 5 9\n"));
    let buffer = host.buffer(4096);
    host.write(1, 6, 1, &buffer).unwrap();
    assert!(has("bad 5 6\nbad 7 9\n"));
}

#[test]
fn write_protection_outlives_its_process() {
    let place = Place::new();
    let id = FeatureId::NAMESPACE_WRITE_PROTECTION;
    for protected in [true, false] {
        let mut host = place.host();
        host.set_feature(id, false, 1, u32::from(protected)).unwrap();
        drop(host);
        let mut host = place.host();
        let buffer = host.buffer(4096);
        let expected = if protected { Err(Status::NAMESPACE_WRITE_PROTECTED) } else { Ok(0) };
        assert_eq!(host.write(1, 0, 1, &buffer), expected);
    }
}

/// What a host deletes is not there for the next process: it finds an empty namespace as described.
#[test]
fn a_deleted_namespace_comes_back_empty() {
    let place = Place::new();
    let mut host = place.host();
    host.format(1, FormatNvmCdw10::new().with_format_index(0)).unwrap();
    let buffer = host.buffer(4096);
    fill(buffer.memory(), 1);
    host.write(1, 0, 8, &buffer).unwrap();
    host.mark(100, 1);
    let mut entry = SubmissionEntry::new(AdminOpcode::NAMESPACE_MANAGEMENT, 1);
    entry.cdw10 = 1.into();
    host.admin(entry).unwrap();
    assert!(!place.label().exists());
    drop((host, buffer));
    let mut host = place.host();
    assert_eq!(host.geometry(), (BLOCKS, 1, false));
    let buffer = host.buffer(4096);
    host.read(1, 0, 1, &buffer).unwrap();
    assert_eq!(contents(buffer.memory()), [0; 4096]);
    host.verify(12).unwrap();
}

/// A plain image without a label is taken as described, and has one from then on; a label without its
/// image is about something that is no more.
#[test]
fn images_without_labels_and_labels_without_images() {
    let place = Place::new();
    let bytes: Vec<u8> = (0..BLOCKS * 4096).map(|at| at.to_le_bytes()[1]).collect();
    std::fs::write(place.image(), &bytes).unwrap();
    let mut host = place.host();
    let buffer = host.buffer(4096);
    host.read(1, 9, 1, &buffer).unwrap();
    assert!(contents(buffer.memory()) == bytes[9 * 4096..][..4096]);
    assert!(place.label().exists());
    host.format(1, small()).unwrap();
    drop((host, buffer));
    std::fs::remove_file(place.image()).unwrap();
    assert_eq!(place.host().geometry(), (BLOCKS, 1, false));
}

fn label_error(place: &Place, text: &[u8]) -> Option<Error> {
    std::fs::write(place.label(), text).unwrap();
    NvmeController::new(config(place.described())).err()
}

/// Every prefix of a label, every byte of it changed, and lines that cannot be: a typed error or what it
/// says, never a guess.
#[test]
fn labels_that_cannot_be() {
    let place = Place::new();
    let mut host = place.host();
    host.mark(3, 4);
    host.mark(100, 1);
    host.flush();
    drop(host);
    let text = std::fs::read_to_string(place.label()).unwrap();
    let good = "p2pdma-namespace 1\ncapacity 2097152\nmade 4096 0 separate 0 last\n\
                format 4096 0 separate 0 last\nwrite-protected no\nbad 3 7\nbad 100 101\nend\n";
    assert_eq!(text, good);
    let (mut refused, mut accepted) = (0, 0);
    for end in 0..text.len() - 1 {
        let error = label_error(&place, &text.as_bytes()[..end]).unwrap();
        assert!(matches!(error, Error::Label { .. }), "{end}: {error}");
        refused += 1;
    }
    let mut rng = Rng::new(1);
    for at in 0..text.len() {
        for _ in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = rng.next().to_le_bytes()[2];
            match label_error(&place, &bytes) {
                Some(Error::Label { .. } | Error::FileFormat { .. } | Error::File { .. }) => {
                    refused += 1;
                }
                Some(other) => panic!("{other}"),
                None => accepted += 1,
            }
        }
    }
    for (from, to, line) in [
        ("namespace 1", "namespace 2", 1),
        ("capacity 2097152", "capacity -1", 2),
        ("capacity 2097152", "capacity 99999999999999999999", 2),
        ("made 4096", "made 1024", 3),
        ("format 4096 0 separate 0", "format 4096 0 separate 1", 4),
        ("format 4096 0 separate 0", "format 4096 8 separate 4", 4),
        ("write-protected no", "write-protected maybe", 5),
        ("write-protected no", "write-protected no no", 5),
        ("bad 3 7", "bad 7 3", 6),
        ("bad 3 7", "bad 3 3", 6),
        ("bad 3 7", "bad 3 101", 7),
        ("bad 100 101", "bad 100 513", 7),
        ("bad 100 101", "bad 100 18446744073709551615", 7),
        ("bad 100 101", "good 100 101", 7),
    ] {
        let error = label_error(&place, text.replacen(from, to, 1).as_bytes()).unwrap();
        let found = matches!(error, Error::Label { line: found, .. } if found == line);
        assert!(found, "{to}: {error}");
        refused += 1;
    }
    println!("labels: {refused} refused, {accepted} of those with a byte changed accepted");
    assert!(label_error(&place, text.as_bytes()).is_none());
}

/// A label that cannot be written fails the command that needs it, and leaves what was so before.
#[test]
fn a_label_that_cannot_be_written() {
    let place = Place::new();
    let mut host = place.host();
    let obstacle = place.folder.path().join("ns.img.label.new");
    std::fs::create_dir(&obstacle).unwrap();
    assert_eq!(host.format(1, small()), Err(Status::WRITE_FAULT));
    assert_eq!(host.geometry(), (BLOCKS, 1, false));
    let protect = host.set_feature(FeatureId::NAMESPACE_WRITE_PROTECTION, false, 1, 1);
    assert_eq!(protect, Err(Status::WRITE_FAULT));
    let buffer = host.buffer(4096);
    host.write(1, 0, 1, &buffer).unwrap();
    host.mark(1, 1);
    assert_eq!(host.io(SubmissionEntry::new(NvmOpcode::FLUSH, 1)), Err(Status::WRITE_FAULT));
    std::fs::remove_dir(&obstacle).unwrap();
    host.flush();
    drop((host, buffer));
    // Neither can one that is to be made, nor one that is no file.
    std::fs::create_dir(&obstacle).unwrap();
    std::fs::remove_file(place.label()).unwrap();
    let is_at = |error: Error, path: &Path| match error {
        Error::File { path: found, .. } => assert_eq!(found, path),
        other => panic!("{other}"),
    };
    is_at(place.refused(place.described()), &place.label());
    std::fs::create_dir(place.label()).unwrap();
    is_at(place.refused(place.described()), &place.label());
}
