//! Namespaces: blocks with a format, on a medium.

use std::fmt;
use std::path::PathBuf;

use p2pdma_spec::nvme::namespace::LbaFormat;
use p2pdma_spec::nvme::protection::ProtectionType;
use p2pdma_spec::nvme::status::Status;

use super::bad_blocks::BadBlocks;
use super::label::Label;
use super::media::{
    CachedMedia, FileMedia, MOST_MEMORY, Media, MediaError, MemoryMedia, NullMedia,
};
use super::protection::INFO_SIZE;
use crate::Error;

/// A namespace to be built.
#[derive(Debug)]
pub struct NamespaceConfig {
    /// Its size in blocks: at least 1.
    pub blocks: u64,
    /// Bytes of data of a block: 512 or 4096.
    pub block_size: u32,
    /// Bytes of metadata of a block: 0, 8, 16 or 64.
    pub metadata_size: u16,
    /// Whether metadata follow the data of each block instead of being in a buffer of their own.
    pub extended: bool,
    /// Its protection information; not without metadata.
    pub protection: ProtectionType,
    /// Whether protection information is the first bytes of the metadata instead of the last.
    pub protection_first: bool,
    /// Whether it can be attached to several controllers.
    pub shared: bool,
    /// Whether it is attached to controllers as they are added: to all, or to the first if it is not
    /// shared.
    pub attached: bool,
    /// What its blocks are kept on.
    pub media: MediaConfig,
    /// A volatile write cache in front of them.
    pub cache: Option<CacheConfig>,
}

impl Default for NamespaceConfig {
    /// 1 GiB of 4096-byte blocks in memory, attached to all controllers.
    fn default() -> Self {
        Self {
            blocks: 1 << 18,
            block_size: 4096,
            metadata_size: 0,
            extended: false,
            protection: ProtectionType::NONE,
            protection_first: false,
            shared: true,
            attached: true,
            media: MediaConfig::Memory,
            cache: None,
        }
    }
}

/// What a namespace's blocks are kept on.
pub enum MediaConfig {
    /// Memory of the device, zeroed, of which only what is written costs anything: at most 64 TiB. It
    /// survives a loss of power and goes with the device.
    Memory,
    /// Nothing: reads move no data, writes are dropped. For benchmarks.
    Null,
    /// A sparse file, made if it is not there, with the blocks in order and nothing else.
    ///
    /// What hosts change about the namespace is in a text file beside it, whose name has `.label` behind it:
    /// its format, write protection, blocks that cannot be read. A file without one is taken as described
    /// here, and gets one; one that was made for another description is refused. Namespaces that hosts make
    /// last as long as the device; one that they delete is empty when it is built again.
    File(PathBuf),
    /// Something else. It has room for every block with its metadata. Hosts are told that there is a
    /// volatile cache, and flush it.
    Other(Box<dyn Media>),
}

impl fmt::Debug for MediaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("Memory"),
            Self::Null => f.write_str("Null"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Other(media) => f.debug_tuple("Other").field(media).finish(),
        }
    }
}

/// A volatile write cache to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// Its size in bytes.
    pub len: u64,
    /// Decides what a loss of power loses: any part of what was not flushed.
    pub seed: u64,
}

/// The formats that every namespace can have: data as a power of two, bytes of metadata.
const FORMATS: [(u8, u16); 8] =
    [(9, 0), (12, 0), (9, 8), (12, 8), (9, 16), (12, 16), (9, 64), (12, 64)];

/// How blocks are laid out and transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// Index of the LBA format.
    pub(crate) index: u8,
    /// Bytes of data of a block.
    pub(crate) data: u32,
    /// Bytes of metadata of a block.
    pub(crate) metadata: u32,
    /// Whether a command's data pointer has the metadata too.
    pub(crate) extended: bool,
    pub(crate) protection: ProtectionType,
    pub(crate) information_first: bool,
}

impl Format {
    /// The LBA formats, as Identify lists them.
    pub(crate) fn list() -> impl Iterator<Item = LbaFormat> {
        FORMATS.into_iter().map(|(lbads, ms)| LbaFormat::new().with_lbads(lbads).with_ms(ms))
    }

    /// How many formats there are, minus 1.
    pub(crate) const LAST: u8 = FORMATS.len().to_le_bytes()[0] - 1;

    /// The format with an index; `None` if it does not exist, or cannot have the protection.
    pub(crate) fn of(
        index: u8,
        extended: bool,
        protection: ProtectionType,
        information_first: bool,
    ) -> Option<Self> {
        let (lbads, metadata) = *FORMATS.get(usize::from(index))?;
        let metadata = u32::from(metadata);
        let (protected, known) = match protection {
            ProtectionType::NONE => (false, true),
            ProtectionType::TYPE_1 | ProtectionType::TYPE_2 | ProtectionType::TYPE_3 => {
                (true, true)
            }
            _ => (true, false),
        };
        if !known || protected && metadata < INFO_SIZE {
            return None;
        }
        Some(Self {
            index,
            data: 1 << lbads,
            metadata,
            extended: extended && metadata > 0,
            protection,
            information_first: information_first && protected,
        })
    }

    /// The index of the format with blocks of so many bytes of data and metadata.
    pub(crate) fn index_of(data: u32, metadata: u32) -> Option<u8> {
        let wanted = |&(lbads, ms): &(u8, u16)| 1_u32 << lbads == data && u32::from(ms) == metadata;
        FORMATS.iter().position(wanted).and_then(|index| u8::try_from(index).ok())
    }

    fn configured(config: &NamespaceConfig) -> Result<Self, Error> {
        let wrong = |what, value, allowed| Err(Error::Value { what, value, allowed });
        let Some(index) = Self::index_of(config.block_size, u32::from(config.metadata_size)) else {
            if !matches!(config.block_size, 512 | 4096) {
                return wrong("block size", u64::from(config.block_size), "512 or 4096");
            }
            return wrong("metadata size", u64::from(config.metadata_size), "0, 8, 16 or 64");
        };
        let format = Self::of(index, config.extended, config.protection, config.protection_first);
        let Some(format) = format else {
            let value = u64::from(config.protection.into_bits());
            return wrong("protection type", value, "none, or 1 to 3 with metadata");
        };
        Ok(format)
    }

    /// Bytes of a block on the medium.
    #[inline]
    pub(crate) fn stride(&self) -> u32 {
        self.data + self.metadata
    }

    /// Where a block's protection information lies in it.
    pub(crate) fn info_range(&self) -> std::ops::Range<usize> {
        let start = if self.information_first {
            self.data
        } else {
            self.stride().saturating_sub(INFO_SIZE)
        };
        start as usize..(start + INFO_SIZE) as usize
    }

    /// Whether protection information is all that the metadata are.
    pub(crate) fn only_information(&self) -> bool {
        self.protection != ProtectionType::NONE && self.metadata == INFO_SIZE
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocks of {} bytes", self.data)?;
        if self.metadata > 0 {
            let place = if self.extended { "extended" } else { "separate" };
            write!(f, " with {} of {place} metadata", self.metadata)?;
        }
        if self.protection != ProtectionType::NONE {
            let end = if self.information_first { "first" } else { "last" };
            write!(f, ", protection type {}, {end}", self.protection.into_bits())?;
        }
        Ok(())
    }
}

/// The medium, with or without a volatile cache.
#[derive(Debug)]
pub(crate) enum Store {
    Direct(Box<dyn Media>),
    Cached(CachedMedia),
}

impl Store {
    /// The medium as it is to be read and written.
    #[inline]
    pub(crate) fn media(&mut self) -> &mut dyn Media {
        match self {
            Self::Direct(media) => &mut **media,
            Self::Cached(cached) => cached,
        }
    }
}

/// A namespace that is allocated.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) blocks: u64,
    pub(crate) format: Format,
    /// Tells this layout from every other of the subsystem.
    pub(crate) layout: u64,
    pub(crate) store: Store,
    /// Whether there are data to move at all.
    pub(crate) holds_data: bool,
    /// The controllers it is attached to, a bit each.
    pub(crate) attached: u128,
    pub(crate) shared: bool,
    /// Whether controllers that are added get it.
    pub(crate) attach_new: bool,
    pub(crate) write_protected: bool,
    pub(crate) bad: BadBlocks,
    /// What is kept beside the medium's file.
    pub(crate) label: Option<Label>,
    /// Room on the medium, in bytes.
    pub(crate) capacity: u64,
    pub(crate) nguid: [u8; 16],
    pub(crate) eui64: [u8; 8],
    /// Whether a flush does anything.
    pub(crate) volatile: bool,
}

impl Namespace {
    pub(crate) fn new(config: NamespaceConfig, nguid: [u8; 16]) -> Result<Self, Error> {
        let format = Format::configured(&config)?;
        let stride = u64::from(format.stride());
        let capacity = config.blocks.checked_mul(stride).filter(|&bytes| bytes < 1 << 62);
        let Some(capacity) = capacity.filter(|&bytes| bytes > 0) else {
            let allowed = "at least 1, with less than 2^62 bytes in all";
            return Err(Error::Value { what: "namespace size", value: config.blocks, allowed });
        };
        // Nobody knows what another medium needs.
        let flushed = matches!(config.media, MediaConfig::File(_) | MediaConfig::Other(_));
        let mut label = None;
        let media: Box<dyn Media> = match config.media {
            MediaConfig::Memory if capacity > MOST_MEMORY => {
                let (what, value) = ("the size of a namespace in memory", capacity);
                return Err(Error::Value { what, value, allowed: "at most 64 TiB" });
            }
            MediaConfig::Memory => Box::new(MemoryMedia::new(capacity)),
            MediaConfig::Null => Box::new(NullMedia),
            MediaConfig::File(path) => {
                let media = FileMedia::lock(&path, capacity)?;
                label = Some(Label::open(&path, &media, format, capacity)?);
                Box::new(media)
            }
            MediaConfig::Other(media) => media,
        };
        let holds_data = media.holds_data();
        let volatile = flushed || config.cache.is_some();
        let store = match config.cache {
            None => Store::Direct(media),
            Some(cache) => Store::Cached(CachedMedia::new(media, stride, cache.len, cache.seed)),
        };
        let [_, _, _, _, _, _, _, _, eui64 @ ..] = nguid;
        let mut namespace = Self {
            blocks: config.blocks,
            format,
            layout: 0,
            store,
            holds_data,
            attached: 0,
            shared: config.shared,
            attach_new: config.attached,
            write_protected: false,
            bad: BadBlocks::default(),
            label: None,
            capacity,
            nguid,
            eui64,
            volatile,
        };
        if let Some((label, kept)) = label {
            namespace.lay_out(kept.format);
            namespace.write_protected = kept.write_protected;
            (namespace.bad, namespace.label) = (kept.bad, Some(label));
        }
        Ok(namespace)
    }

    /// A namespace that a host created, on memory.
    pub(crate) fn create(blocks: u64, format: Format, shared: bool, nguid: [u8; 16]) -> Self {
        let capacity = blocks * u64::from(format.stride());
        let [_, _, _, _, _, _, _, _, eui64 @ ..] = nguid;
        Self {
            blocks,
            format,
            layout: 0,
            store: Store::Direct(Box::new(MemoryMedia::new(capacity))),
            holds_data: true,
            attached: 0,
            shared,
            attach_new: false,
            write_protected: false,
            bad: BadBlocks::default(),
            label: None,
            capacity,
            nguid,
            eui64,
            volatile: false,
        }
    }

    /// Whether `count` blocks from `first` on exist.
    #[inline]
    pub(crate) fn check_range(&self, first: u64, count: u64) -> Result<(), Status> {
        let end = first.checked_add(count).ok_or(Status::LBA_OUT_OF_RANGE)?;
        if end <= self.blocks { Ok(()) } else { Err(Status::LBA_OUT_OF_RANGE) }
    }

    /// The bytes of blocks on the medium: where they begin, and how many they are.
    #[inline]
    pub(crate) fn bytes(&self, first: u64, count: u64) -> (u64, u64) {
        let stride = u64::from(self.format.stride());
        (first * stride, count * stride)
    }

    /// Erases everything and lays the blocks out anew.
    pub(crate) fn reformat(&mut self, format: Format) -> Result<(), Status> {
        self.erase()?;
        // What is erased is all zeroes in either format.
        let before = self.format;
        self.lay_out(format);
        self.bad.clear();
        self.keep_label().inspect_err(|_| self.lay_out(before))
    }

    fn erase(&mut self) -> Result<(), Status> {
        let capacity = self.capacity;
        self.store.media().discard(0, capacity).map_err(write_status)?;
        self.store.media().flush(0, capacity).map_err(write_status)
    }

    fn lay_out(&mut self, format: Format) {
        let stride = u64::from(format.stride());
        if let Store::Cached(cached) = &mut self.store {
            cached.reformat(stride);
        }
        self.format = format;
        self.blocks = self.capacity / stride;
    }

    /// The namespace is about to be deleted: nothing of it is found in its file.
    pub(crate) fn clear(&mut self) -> Result<(), Status> {
        self.erase()?;
        if let Some(label) = &self.label {
            label.remove().map_err(write_status)?;
        }
        self.label = None;
        Ok(())
    }

    pub(crate) fn set_write_protected(&mut self, protected: bool) -> Result<(), Status> {
        if protected {
            self.flush()?;
        }
        let before = std::mem::replace(&mut self.write_protected, protected);
        self.keep_label().inspect_err(|_| self.write_protected = before)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Status> {
        self.flush_range(0, self.capacity)
    }

    /// Makes bytes durable, and which blocks are bad.
    pub(crate) fn flush_range(&mut self, at: u64, len: u64) -> Result<(), Status> {
        self.store.media().flush(at, len).map_err(write_status)?;
        if self.bad.changed { self.keep_label() } else { Ok(()) }
    }

    #[cold]
    fn keep_label(&mut self) -> Result<(), Status> {
        if let Some(label) = &self.label {
            let kept = label.save(self.capacity, &self.format, self.write_protected, &self.bad);
            kept.map_err(write_status)?;
        }
        self.bad.changed = false;
        Ok(())
    }

    pub(crate) fn power_cut(&mut self) {
        self.store.media().power_cut();
    }
}

impl Drop for Namespace {
    /// What was not flushed may be lost, but need not.
    fn drop(&mut self) {
        if self.bad.changed {
            let _ = self.keep_label();
        }
    }
}

/// The status of a command that could not read.
pub(crate) fn read_status(_: MediaError) -> Status {
    Status::UNRECOVERED_READ_ERROR
}

/// The status of a command that could not write.
pub(crate) fn write_status(error: MediaError) -> Status {
    match error {
        MediaError::Full => Status::CAPACITY_EXCEEDED,
        MediaError::Failed(_) => Status::WRITE_FAULT,
    }
}
