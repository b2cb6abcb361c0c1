//! Configuration space as far as it was read, and what it says.
//!
//! Every answer is known, or says why not. A list of capabilities that loops, leaves the space or points
//! where no capability can be answers nothing: what it seems to say may be wrong.

mod walk;

use std::ops::Range;

use p2pdma_pci::topology::{Acs, Cause, EgressVector, Kind, Known, Link, LinkStatus};
use p2pdma_spec::pci::acs::{AcsCapability, AcsControl, offset as acs};
use p2pdma_spec::pci::bridge::{MemoryWindow, PrefetchableWindow};
use p2pdma_spec::pci::capability::{CapabilityId, ExtendedCapabilityId};
use p2pdma_spec::pci::class::{ClassCode, ClassRevision};
use p2pdma_spec::pci::config::{
    COMPATIBLE_SIZE, Command, HEADER_SIZE, HeaderLayout, HeaderType, NO_FUNCTION, SIZE, offset,
    type1,
};
use p2pdma_spec::pci::express::{
    ExpressCapabilities, LinkCapabilities, LinkStatus as LinkRegister, PortType, offset as express,
};

/// The first bytes of a function's configuration space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    bytes: Vec<u8>,
    size: Known<usize>,
    rest: Cause,
}

/// What the PCI Express capability says (PCIe 6.0 §7.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Express {
    /// Where it lies.
    pub offset: u16,
    /// What kind of port this is.
    pub port_type: PortType,
    /// What its link is capable of; not for functions without a link.
    pub link_capabilities: LinkCapabilities,
    /// What its link does.
    pub link_status: LinkRegister,
}

impl Config {
    /// The bytes that were read, at most 4096, of a space of `size` bytes; `rest` is why there are no
    /// more.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>, size: Known<usize>, rest: Cause) -> Self {
        bytes.truncate(usize::from(SIZE));
        Self { bytes, size, rest }
    }

    /// What was read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes the system can reach: 256 or 4096.
    #[must_use]
    pub const fn size(&self) -> Known<usize> {
        self.size
    }

    /// Whether the function answered: nothing reads as all ones throughout.
    #[must_use]
    pub fn answers(&self) -> bool {
        let header = self.bytes.get(..usize::from(HEADER_SIZE)).unwrap_or(&self.bytes);
        header.iter().any(|&byte| byte != 0xff)
    }

    fn get<const N: usize>(&self, at: u16) -> Known<[u8; N]> {
        if !self.bytes.is_empty() && !self.answers() {
            return Known::Unknown(Cause::Unreadable);
        }
        let at = usize::from(at);
        match self.bytes.get(at..at.saturating_add(N)).map(TryInto::try_into) {
            Some(Ok(bytes)) => Known::Value(bytes),
            _ => Known::Unknown(self.rest),
        }
    }

    /// A byte.
    #[must_use]
    pub fn byte(&self, at: u16) -> Known<u8> {
        self.get(at).map(u8::from_le_bytes)
    }

    /// Two bytes.
    #[must_use]
    pub fn word(&self, at: u16) -> Known<u16> {
        self.get(at).map(u16::from_le_bytes)
    }

    /// Four bytes.
    #[must_use]
    pub fn dword(&self, at: u16) -> Known<u32> {
        self.get(at).map(u32::from_le_bytes)
    }

    /// The vendor and device ID, if the function says one: virtual functions do not (PCIe 6.0
    /// §9.3.4.1.1).
    #[must_use]
    pub fn id(&self) -> Option<(u16, u16)> {
        let vendor = *self.word(offset::VENDOR_ID).value()?;
        let device = *self.word(offset::DEVICE_ID).value()?;
        (vendor != NO_FUNCTION).then_some((vendor, device))
    }

    /// The class and the revision.
    #[must_use]
    pub fn class_revision(&self) -> Known<(ClassCode, u8)> {
        let split = |bits| {
            let register = ClassRevision::from_bits(bits);
            (register.class_code(), register.revision())
        };
        self.dword(offset::CLASS_REVISION).map(split)
    }

    /// The Command register.
    #[must_use]
    pub fn command(&self) -> Known<Command> {
        self.word(offset::COMMAND).map(Command::from_bits)
    }

    /// The Header Type register.
    #[must_use]
    pub fn header_type(&self) -> Known<HeaderType> {
        self.byte(offset::HEADER_TYPE).map(HeaderType::from_bits)
    }

    /// The primary, secondary and subordinate bus of a bridge; `None` if it is none.
    #[must_use]
    pub fn buses(&self) -> Known<Option<[u8; 3]>> {
        let layout = match self.header_type() {
            Known::Value(header) => header.layout(),
            Known::Unknown(cause) => return Known::Unknown(cause),
        };
        if layout != HeaderLayout::TYPE1 {
            return Known::Value(None);
        }
        self.get::<3>(type1::PRIMARY_BUS).map(Some)
    }

    /// What a bridge forwards downstream: its memory window and its prefetchable one, as far as they are known and
    /// open; none of what is no bridge.
    #[must_use]
    pub fn windows(&self) -> Vec<Range<u64>> {
        if self.buses().value().is_none_or(Option::is_none) {
            return Vec::new();
        }
        let word = |at| self.word(at).value().copied();
        let dword = |at| self.dword(at).value().copied();
        let memory = || {
            let (base, limit) = (word(type1::MEMORY_BASE)?, word(type1::MEMORY_LIMIT)?);
            let range = MemoryWindow { base, limit }.range()?;
            Some(u64::from(*range.start())..u64::from(*range.end()) + 1)
        };
        let prefetchable = || {
            let window = PrefetchableWindow {
                base: word(type1::PREFETCHABLE_BASE)?,
                limit: word(type1::PREFETCHABLE_LIMIT)?,
                base_upper: dword(type1::PREFETCHABLE_BASE_UPPER)?,
                limit_upper: dword(type1::PREFETCHABLE_LIMIT_UPPER)?,
            };
            let range = window.range()?;
            Some(*range.start()..range.end().saturating_add(1))
        };
        [memory(), prefetchable()].into_iter().flatten().collect()
    }

    /// Where a capability of the first 256 bytes lies, the first of its kind.
    #[must_use]
    pub fn capability(&self, id: CapabilityId) -> Known<Option<u16>> {
        walk::capability(self, id)
    }

    /// Where an extended capability lies, the first of its kind. The kernel takes a function whose
    /// extended space it cannot reach to have none, and so does this.
    #[must_use]
    pub fn extended_capability(&self, id: ExtendedCapabilityId) -> Known<Option<u16>> {
        if self.reaches_256_only() {
            return Known::Value(None);
        }
        walk::extended(self, id)
    }

    /// Whether there is no extended space, or none that the system can reach: the size says so, or there
    /// is neither a PCI Express nor a PCI-X capability, and the function is no host bridge
    /// (`pci_cfg_space_size()` in drivers/pci/probe.c).
    fn reaches_256_only(&self) -> bool {
        if let Known::Value(size) = self.size {
            return size <= usize::from(COMPATIBLE_SIZE);
        }
        let lacks = |id| self.capability(id) == Known::Value(None);
        let host_bridge = match self.class_revision() {
            Known::Value((class, _)) => (class.base_class(), class.sub_class()) == (6, 0),
            Known::Unknown(_) => true,
        };
        !host_bridge && lacks(CapabilityId::PCI_EXPRESS) && lacks(CapabilityId::PCI_X)
    }

    /// The PCI Express capability; `None` if there is none.
    #[must_use]
    pub fn express(&self) -> Known<Option<Express>> {
        let at = match self.capability(CapabilityId::PCI_EXPRESS) {
            Known::Value(Some(at)) => at,
            Known::Value(None) => return Known::Value(None),
            Known::Unknown(cause) => return Known::Unknown(cause),
        };
        let capabilities = self.word(at + express::CAPABILITIES);
        let link = self.dword(at + express::LINK_CAPABILITIES);
        let status = self.word(at + express::LINK_STATUS);
        match (capabilities, link, status) {
            (Known::Value(capabilities), Known::Value(link), Known::Value(status)) => {
                Known::Value(Some(Express {
                    offset: at,
                    port_type: ExpressCapabilities::from_bits(capabilities).port_type(),
                    link_capabilities: LinkCapabilities::from_bits(link),
                    link_status: LinkRegister::from_bits(status),
                }))
            }
            // It lies so far back that it is cut off by the end of the space, or of what was read.
            _ if self.bytes.len() >= usize::from(COMPATIBLE_SIZE) => {
                Known::Unknown(Cause::Unreadable)
            }
            _ => Known::Unknown(self.rest),
        }
    }

    /// The ACS capability; `None` if there is none. What the kernel reads in
    /// `pci_bridge_has_acs_redir()`, drivers/pci/p2pdma.c.
    #[must_use]
    pub fn acs(&self) -> Known<Option<Acs>> {
        let at = match self.extended_capability(ExtendedCapabilityId::ACCESS_CONTROL_SERVICES) {
            Known::Value(Some(at)) => at,
            Known::Value(None) => return Known::Value(None),
            Known::Unknown(cause) => return Known::Unknown(cause),
        };
        let capability = self.word(at.saturating_add(acs::CAPABILITY));
        let control = self.word(at.saturating_add(acs::CONTROL));
        match (capability, control) {
            // A register that reads all ones did not answer: bits 15:13 of the control are zero.
            (Known::Value(u16::MAX), _) | (_, Known::Value(u16::MAX)) => {
                Known::Unknown(Cause::Unreadable)
            }
            (Known::Value(capability), Known::Value(control)) => {
                let capability = AcsCapability::from_bits(capability);
                let control = AcsControl::from_bits(control);
                let egress = self.egress(at, capability);
                Known::Value(Some(Acs { offset: Some(at), capability, control, egress }))
            }
            _ => Known::Unknown(self.beyond()),
        }
    }

    /// Why a register of extended space is not there.
    fn beyond(&self) -> Cause {
        if self.bytes.len() >= usize::from(SIZE) { Cause::Unreadable } else { self.rest }
    }

    fn egress(&self, at: u16, capability: AcsCapability) -> Known<EgressVector> {
        let registers = capability.egress_control_bits().div_ceil(32);
        let mut words = Vec::with_capacity(usize::from(registers));
        for index in 0..registers {
            let at = at.saturating_add(acs::EGRESS_CONTROL_VECTOR + 4 * index);
            match self.dword(at) {
                Known::Value(word) => words.push(word),
                Known::Unknown(_) => return Known::Unknown(self.beyond()),
            }
        }
        Known::Value(EgressVector::from_registers(words))
    }

    /// What the function is. `class` tells bridges where not even the header was read.
    #[must_use]
    pub fn kind(&self, class: ClassCode) -> Kind {
        let bridge = match self.header_type() {
            Known::Value(header) => header.layout() == HeaderLayout::TYPE1,
            Known::Unknown(_) => (class.base_class(), class.sub_class()) == (6, 4),
        };
        match self.express() {
            Known::Value(express) => Kind::of(express.map(|express| express.port_type), bridge),
            Known::Unknown(_) if bridge => Kind::UnreadBridge,
            Known::Unknown(_) => Kind::UnreadFunction,
        }
    }

    /// The link above the function, or below a port; `None` without one: on a conventional bus and in
    /// the root complex.
    #[must_use]
    pub fn link(&self) -> Known<Option<LinkStatus>> {
        let express = match self.express() {
            Known::Value(Some(express)) => express,
            Known::Value(None) => return Known::Value(None),
            Known::Unknown(cause) => return Known::Unknown(cause),
        };
        if Kind::of(Some(express.port_type), false) == Kind::IntegratedEndpoint {
            return Known::Value(None);
        }
        let (could, does) = (express.link_capabilities, express.link_status);
        if does.into_bits() == u16::MAX || could.into_bits() == u32::MAX {
            return Known::Unknown(Cause::Unreadable);
        }
        if could.max_width().lanes() == 0 {
            return Known::Value(None);
        }
        let max = Link { speed: could.max_speed(), width: could.max_width() };
        let faces_down = express.port_type.faces_downstream();
        let reports = faces_down && could.data_link_active_reporting();
        let down = reports && !does.data_link_active() || does.width().lanes() == 0;
        // What answers through its link has one that is up, whatever the register says: those of virtual
        // functions are zero (PCIe 6.0 §9.3.5.8).
        if down && !faces_down {
            return Known::Unknown(Cause::Unreadable);
        }
        let current = Link { speed: does.speed(), width: does.width() };
        Known::Value(Some(LinkStatus { current: (!down).then_some(current), max }))
    }

    /// A port's number (PCIe 6.0 §7.5.3.6); 0 where that was not read.
    #[must_use]
    pub fn port_number(&self) -> u8 {
        let express = self.express();
        let express = express.value().and_then(Option::as_ref);
        express.map_or(0, |express| express.link_capabilities.port_number())
    }
}

#[cfg(test)]
mod tests;
