//! From the description of a function to its device model.

use std::path::{Path, PathBuf};

use p2pdma_devices::nvme::{
    CmbConfig, CmbUses, ControllerConfig, MediaConfig, MediaTiming, NamespaceConfig, NvmeConfig,
    NvmeController, PmrConfig, ServiceTime, SubsystemConfig,
};
use p2pdma_devices::{BarMemoryConfig, BarMemoryDevice, DataMover, DataMoverConfig};
use p2pdma_fabric::Endpoint;
use p2pdma_pci::Duration;
use p2pdma_pci::machine::{self, Function, Media, Model};
use p2pdma_spec::nvme::protection::ProtectionType;

use crate::Error;
use crate::platform::Storage;

/// Flash dies that serve commands side by side, in a usual SSD.
const UNITS: u16 = 256;

/// Makes the model of a function. `machine` is the machine's name.
pub(crate) fn endpoint(
    machine: &str,
    function: &Function,
    storage: &Storage,
) -> Result<Box<dyn Endpoint>, Error> {
    model(machine, function, storage).map_err(|error| match error {
        Error::Device(p2pdma_devices::Error::Memory { len, source }) => {
            Error::DeviceMemory { name: function.name.clone(), len, reason: source.to_string() }
        }
        other => other,
    })
}

fn model(
    machine: &str,
    function: &Function,
    storage: &Storage,
) -> Result<Box<dyn Endpoint>, Error> {
    match &function.model {
        Model::Nvme(nvme) => {
            if nvme.subsystem.is_some() {
                return Err(Error::SharedSubsystem { name: function.name.clone() });
            }
            let files = Files { machine, device: &function.name, storage };
            Ok(Box::new(NvmeController::new(config(nvme, &files)?)?))
        }
        Model::BarMemory(memory) => {
            let config = BarMemoryConfig {
                len: memory.window,
                behind: (memory.size > memory.window).then_some(memory.size),
                ..BarMemoryConfig::default()
            };
            Ok(Box::new(BarMemoryDevice::new(config)?))
        }
        Model::DataMover => Ok(Box::new(DataMover::new(DataMoverConfig::default())?)),
    }
}

/// Where a device's persistent contents are.
struct Files<'a> {
    machine: &'a str,
    device: &'a str,
    storage: &'a Storage,
}

impl Files<'_> {
    /// The path of one of the device's files, in a folder that exists; none if nothing persists.
    fn path(&self, part: &str) -> Result<Option<PathBuf>, Error> {
        let Storage::Folder(folder) = self.storage else { return Ok(None) };
        let folder = folder.join(self.machine);
        make_folder(&folder)?;
        let path = folder.join(format!("{}-{part}.img", self.device));
        // It may lead to what is no namespace at all, and nobody named it.
        if path.is_symlink() {
            return Err(p2pdma_devices::Error::FileKind { path, kind: "a symbolic link" }.into());
        }
        Ok(Some(path))
    }
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|error| Error::File {
        name: folder.display().to_string(),
        reason: error.to_string(),
        kind: error.kind(),
    })
}

fn config(nvme: &machine::Nvme, files: &Files<'_>) -> Result<NvmeConfig, Error> {
    let mut namespaces = Vec::new();
    for (number, namespace) in (1..).zip(&nvme.namespaces) {
        namespaces.push(self::namespace(namespace, number, files)?);
    }
    let subsystem = SubsystemConfig {
        serial: files.device.to_owned(),
        namespaces,
        timing: timing(&nvme.media),
        ..SubsystemConfig::default()
    };
    let pmr = match nvme.pmr {
        None => None,
        Some(pmr) => {
            let file = files.path("pmr")?;
            Some(PmrConfig { len: pmr.size, bar: pmr.bar, file, ..PmrConfig::default() })
        }
    };
    let controller = ControllerConfig {
        max_io_queues: nvme.queue_pairs,
        max_queue_entries: nvme.queue_entries,
        // A power of two of at least 8 KiB, by the description.
        mdts: nvme.max_transfer.map_or(0, |bytes| shift(bytes / 4096)),
        cmb: nvme.cmb.as_ref().map(cmb),
        pmr,
        ..ControllerConfig::default()
    };
    Ok(NvmeConfig { subsystem, controller })
}

fn shift(power: u64) -> u8 {
    u8::try_from(power.trailing_zeros()).unwrap_or(0)
}

fn namespace(
    namespace: &machine::Namespace,
    number: u32,
    files: &Files<'_>,
) -> Result<NamespaceConfig, Error> {
    let media = match namespace.media {
        Media::Null => MediaConfig::Null,
        Media::Memory => MediaConfig::Memory,
        Media::Persistent => match files.path(&format!("ns{number}"))? {
            Some(path) => MediaConfig::File(path),
            None => MediaConfig::Memory,
        },
    };
    Ok(NamespaceConfig {
        blocks: namespace.size / u64::from(namespace.block),
        block_size: namespace.block,
        metadata_size: namespace.metadata,
        protection: ProtectionType::from_bits(namespace.protection),
        media,
        ..NamespaceConfig::default()
    })
}

fn cmb(cmb: &machine::Cmb) -> CmbConfig {
    let uses = CmbUses {
        submission_queues: cmb.uses.submission_queues,
        completion_queues: cmb.uses.completion_queues,
        lists: cmb.uses.lists,
        read_data: cmb.uses.read_data,
        write_data: cmb.uses.write_data,
    };
    CmbConfig { len: cmb.size, bar: cmb.bar, offset: cmb.offset, bar_len: cmb.bar_size, uses }
}

/// None if nothing takes time.
fn timing(media: &machine::MediaTiming) -> Option<MediaTiming> {
    let service = |latency: Option<Duration>, bandwidth: Option<u64>| ServiceTime {
        latency: latency.unwrap_or(Duration::ZERO),
        bytes_per_second: bandwidth.unwrap_or(0),
    };
    (*media != machine::MediaTiming::default()).then(|| MediaTiming {
        read: service(media.read_latency, media.read_bandwidth),
        write: service(media.write_latency, media.write_bandwidth),
        units: UNITS,
    })
}
