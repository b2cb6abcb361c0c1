//! Ends on this machine: block devices and files, moved by the kernel without the processor.

use std::path::PathBuf;

use p2pdma::linux::io::{Access, OpenError};
use p2pdma::{LinuxPlatform, Volume};

use super::host::{HostEnd, SourceFile};
use super::side::Kind;
use super::signature;
use super::target::Writing;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::operand::{Device, DevicePart, Operand, Part};

/// How an end is to be treated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether a transfer between devices must be peer to peer.
    pub(crate) require: bool,
    /// Whether a destination that has something on it may be overwritten.
    pub(crate) yes: bool,
}

/// Where bytes come from, if the operand is a block device or a file.
pub(crate) fn source(
    platform: &LinuxPlatform,
    operand: &Operand,
    file: Option<&SourceFile>,
    rules: Rules,
) -> Result<Option<Kind>> {
    let opened = match (operand, file) {
        (Operand::File(path), Some(file)) => {
            match platform.reopen(&file.file, path, Access::Read) {
                // It goes through host memory, which is allowed: then the page cache may as well.
                Err(p2pdma::Error::Open(OpenError::NotDirect { .. })) if !rules.require => {
                    return Ok(None);
                }
                opened => opened?,
            }
        }
        _ => match block_device(platform, operand)? {
            Some(path) => platform.open(&path, Access::Read)?,
            None => return Ok(None),
        },
    };
    Ok(Some(Kind::Volume { volume: Box::new(opened), grows: false }))
}

/// The block device that an operand names, by its name or as a namespace.
fn block_device(platform: &LinuxPlatform, operand: &Operand) -> Result<Option<PathBuf>> {
    Ok(match operand {
        Operand::Block(path) => Some(path.clone()),
        Operand::Device(DevicePart { device: Device::At(at), part: Part::Namespace(number) }) => {
            Some(platform.block_device(*at, *number)?)
        }
        _ => None,
    })
}

/// Where bytes go, if the operand is a block device or a file, which is `writing`.
pub(crate) fn sink(
    platform: &LinuxPlatform,
    operand: &Operand,
    writing: Option<&Writing>,
    rules: Rules,
) -> Result<Option<Kind>> {
    if let Some(path) = block_device(platform, operand)? {
        let volume = platform.open(&path, Access::Write)?;
        signature::check(&volume.file, rules.yes)?;
        return Ok(Some(Kind::Volume { volume: Box::new(volume), grows: false }));
    }
    match operand {
        Operand::File(path) => {
            let Some((file, _)) = writing.map(Writing::file).transpose()?.flatten() else {
                return Ok(None);
            };
            match platform.reopen(&file, path, Access::Write) {
                Err(p2pdma::Error::Open(OpenError::NotDirect { .. })) if !rules.require => {
                    Ok(Some(Kind::Host(HostEnd::Target)))
                }
                opened => Ok(Some(Kind::Volume { volume: Box::new(opened?), grows: true })),
            }
        }
        _ => Ok(None),
    }
}

/// Refuses a destination that is below the source, or above it: a partition of it, a file on it, a loop device of it; or
/// its namespace by another controller.
pub(crate) fn refuse_nested(source: &Volume, sink: &Volume) -> Result<()> {
    if source.file.identity() == sink.file.identity() {
        // The same one: ranges of it may still be apart.
        return Ok(());
    }
    let within = |outer: &Volume, inner: &Volume| {
        let own = outer.footing.devices.first().filter(|_| outer.file.is_block());
        own.is_some_and(|own| inner.footing.devices.contains(own))
    };
    let backs = |file: &Volume, of: &Volume| of.footing.files.contains(&file.file.identity());
    let nested = |a: &Volume, b: &Volume| within(a, b) || backs(a, b);
    let on = if nested(source, sink) || nested(sink, source) {
        "one another"
    } else if source.footing.aliases(&sink.footing) {
        "one namespace of several controllers"
    } else {
        return Ok(());
    };
    let [from, to] = [source, sink].map(|volume| volume.file.path().display().to_string());
    let message = format!("{from} and {to} are on {on}; nothing was written");
    Err(Failure::refused("OVERLAP", message)
        .remedy("choose a destination on another device: lsblk shows what is on what"))
}

/// Two block devices of this machine, the second of which may be overwritten, whatever is on it, if `yes`.
pub(crate) fn pair(
    platform: &LinuxPlatform,
    [from, to]: [&Operand; 2],
    yes: bool,
) -> Result<[Volume; 2]> {
    let rules = Rules { require: true, yes };
    let device = |kind: Option<Kind>, operand: &Operand| match kind {
        Some(Kind::Volume { volume, .. }) => Ok(*volume),
        _ => Err(Failure::new(Exit::Usage, "OPERAND", format!("{operand} is no namespace"))
            .remedy("say /dev/nvme0n1")),
    };
    let source = device(source(platform, from, None, rules)?, from)?;
    let sink = device(sink(platform, to, None, rules)?, to)?;
    if source.file.identity() == sink.file.identity() {
        let message = format!("{from} and {to} are one device; nothing was written");
        return Err(Failure::refused("OVERLAP", message).remedy("name two"));
    }
    refuse_nested(&source, &sink)?;
    Ok([source, sink])
}
