//! Namespaces: what a command needs to know of them (NVM Command Set 1.1 §4.1.5).

use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::identify::Ctratt;
use p2pdma_spec::nvme::namespace::{ExtendedLbaFormat, IdentifyNamespace, QualifiedFormat};
use p2pdma_spec::nvme::protection::{ProtectionFormat, ProtectionType};
use p2pdma_spec::nvme::registers::Vs;

use crate::{Controller, Error};

/// A namespace of the NVM Command Set, as it was when it was asked about.
#[derive(Debug, Clone)]
pub struct Namespace {
    nsid: u32,
    blocks: u64,
    format: BlockFormat,
    identity: Box<IdentifyNamespace>,
}

/// What a block consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockFormat {
    /// Bytes of data: a power of two, 512 and up.
    pub data: u32,
    /// Bytes of metadata.
    pub metadata: u16,
    /// Whether the metadata follow the data of each block, instead of being in a buffer of their own.
    pub extended: bool,
    /// The type of the protection information.
    pub protection: ProtectionType,
    /// Bytes of the protection information: 0 without, else 8 or 16.
    pub information: u16,
}

/// What a command moves, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) data: u64,
    pub(crate) metadata: u64,
}

/// The largest block that is believed: 1 GiB.
const MAX_BLOCK_POWER: u8 = 30;

impl BlockFormat {
    /// What a command about so many blocks moves. Where the controller makes the protection information
    /// itself, metadata that consist of nothing else stay with it (NVM Command Set 1.1 §5.3.2.1).
    #[inline]
    pub(crate) fn moved(&self, blocks: u32, controller_makes: bool) -> Moved {
        let (data, blocks) = (u64::from(self.data), u64::from(blocks));
        let stays = controller_makes && self.information > 0 && self.information == self.metadata;
        if self.metadata == 0 || stays {
            return Moved { data: blocks * data, metadata: 0 };
        }
        let metadata = u64::from(self.metadata);
        if self.extended {
            Moved { data: blocks * (data + metadata), metadata: 0 }
        } else {
            Moved { data: blocks * data, metadata: blocks * metadata }
        }
    }
}

impl Namespace {
    /// Asks for a namespace and checks the answer.
    pub(crate) fn ask(controller: &Controller, nsid: u32) -> Result<Self, Error> {
        let shared = &controller.shared;
        let bdf = shared.bdf();
        let mut admin = shared.admin()?;
        // Command sets other than NVM came with revision 2.0, in which every namespace says its own.
        if shared.capabilities.cap.css_io_command_sets() {
            let set = shared.command_set(&mut admin, nsid)?;
            if set != CommandSet::NVM {
                return Err(Error::OtherCommandSet { bdf, nsid, set });
            }
        }
        let identity = shared.identify_namespace(&mut admin, nsid)?;
        let ctratt: Ctratt = controller.identity().ctratt.get();
        let extension = if ctratt.elbas() && controller.version() >= Vs::new().with_mjr(2) {
            let index = usize::from(format_index(&identity));
            let nvm = shared.identify_namespace_nvm(&mut admin, nsid)?;
            nvm.elbaf.get(index).map(|extension| extension.get()).unwrap_or_default()
        } else {
            ExtendedLbaFormat::default()
        };
        let refuse = |(field, value, reason)| Error::ImplausibleNamespace {
            bdf,
            nsid,
            field,
            value,
            reason,
        };
        let format = block_format(&identity, extension).map_err(refuse)?;
        let blocks = identity.nsze.get();
        if blocks == 0 {
            return Err(refuse(("NSZE", 0, "the namespace is not active")));
        }
        if blocks.checked_mul(format.data.into()).is_none() {
            return Err(refuse(("NSZE", blocks, "it exceeds 64 bits of bytes")));
        }
        Ok(Self { nsid, blocks, format, identity })
    }

    /// Its identifier.
    #[inline]
    #[must_use]
    pub fn nsid(&self) -> u32 {
        self.nsid
    }

    /// How many blocks it has, at least 1.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        self.blocks
    }

    /// Its size in bytes, metadata not counted.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blocks.saturating_mul(self.format.data.into())
    }

    /// What its blocks consist of.
    #[inline]
    #[must_use]
    pub fn format(&self) -> &BlockFormat {
        &self.format
    }

    /// What Identify Namespace said.
    #[must_use]
    pub fn identity(&self) -> &IdentifyNamespace {
        &self.identity
    }
}

/// The index of the format in use, as [`IdentifyNamespace::format`] finds it.
fn format_index(identity: &IdentifyNamespace) -> u8 {
    if identity.nlbaf_z < 16 { identity.flbas.fidxl() } else { identity.flbas.format_index() }
}

/// What is wrong with a field: its name, its value, why.
type Fault = (&'static str, u64, &'static str);

fn block_format(
    identity: &IdentifyNamespace,
    extension: ExtendedLbaFormat,
) -> Result<BlockFormat, Fault> {
    let index = format_index(identity);
    if index > identity.nlbaf_z.min(63) {
        return Err(("FLBAS", index.into(), "there is no such LBA format"));
    }
    let format = identity.format();
    let power = format.lbads();
    if !(9..=MAX_BLOCK_POWER).contains(&power) {
        return Err(("LBADS", power.into(), "blocks have 512 bytes to 1 GiB"));
    }
    let protection = identity.dps.pit();
    let information = match protection {
        ProtectionType::NONE => 0,
        ProtectionType::TYPE_1 | ProtectionType::TYPE_2 | ProtectionType::TYPE_3 => {
            let bits = u64::from(extension.into_bits());
            information_bytes(extension).ok_or(("ELBAF", bits, "no known format of protection"))?
        }
        other => return Err(("DPS.PIT", other.into_bits().into(), "the value is reserved")),
    };
    if information > format.ms() {
        let reason = "the metadata have no room for protection information";
        return Err(("MS", format.ms().into(), reason));
    }
    Ok(BlockFormat {
        data: 1 << power,
        metadata: format.ms(),
        extended: identity.flbas.mtelba() && format.ms() > 0,
        protection,
        information,
    })
}

fn information_bytes(extension: ExtendedLbaFormat) -> Option<u16> {
    let guard = match extension.pif() {
        ProtectionFormat::QUALIFIED => match extension.qpif() {
            QualifiedFormat::GUARD_16 => ProtectionFormat::GUARD_16,
            QualifiedFormat::GUARD_32 => ProtectionFormat::GUARD_32,
            QualifiedFormat::GUARD_64 => ProtectionFormat::GUARD_64,
            _ => return None,
        },
        format => format,
    };
    guard.bytes().and_then(|bytes| u16::try_from(bytes).ok())
}
