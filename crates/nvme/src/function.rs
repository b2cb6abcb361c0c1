//! The PCI side of a controller: its class, its command register, its interrupt vectors.

use p2pdma_pci::{Function, Width};
use p2pdma_spec::pci::capability::CapabilityId;
use p2pdma_spec::pci::class::{ClassCode, ClassRevision};
use p2pdma_spec::pci::config::{Command, NO_FUNCTION, offset};
use p2pdma_spec::pci::msix::{self, MessageControl, TableLocation};

use crate::Error;

/// Makes sure that this is an NVMe I/O controller.
pub(crate) fn check_class(function: &dyn Function) -> Result<(), Error> {
    let (bdf, config) = (function.bdf(), function.config());
    if config.read(offset::VENDOR_ID, Width::Word)? == u32::from(NO_FUNCTION) {
        return Err(Error::Gone { bdf });
    }
    let register = config.read(offset::CLASS_REVISION, Width::Dword)?;
    match ClassRevision::from_bits(register).class_code() {
        ClassCode::NVME => Ok(()),
        class => Err(Error::NotNvme { bdf, class }),
    }
}

/// Lets the function decode its BARs, and lets it send requests or not.
///
/// # Errors
/// [`Error::Gone`] if the register does not take the value, which every function's does.
pub(crate) fn enable(function: &dyn Function, bus_master: bool) -> Result<(), Error> {
    let (bdf, config) = (function.bdf(), function.config());
    let read = || -> Result<Command, Error> {
        let [low, high, ..] = config.read(offset::COMMAND, Width::Word)?.to_le_bytes();
        Ok(Command::from_bits(u16::from_le_bytes([low, high])))
    };
    let present = read()?;
    let wanted = present.with_memory_space(true).with_bus_master(bus_master);
    config.write(offset::COMMAND, Width::Word, wanted.into_bits().into())?;
    let now = read()?;
    let gone = now.into_bits() == NO_FUNCTION;
    if gone || !now.memory_space() || now.bus_master() != bus_master {
        return Err(Error::Gone { bdf });
    }
    Ok(())
}

/// How many MSI-X vectors the function has: 0 without the capability, or with one that points nowhere.
pub(crate) fn vectors(function: &dyn Function) -> Result<u16, Error> {
    let config = function.config();
    let Some(at) = config.capability(CapabilityId::MSI_X)? else {
        return Ok(0);
    };
    let [low, high, ..] =
        config.read(at + msix::offset::MESSAGE_CONTROL, Width::Word)?.to_le_bytes();
    let control = MessageControl::from_bits(u16::from_le_bytes([low, high]));
    let table = TableLocation::from_bits(config.read(at + msix::offset::TABLE, Width::Dword)?);
    Ok(if table.bir() < 6 { control.entries() } else { 0 })
}
