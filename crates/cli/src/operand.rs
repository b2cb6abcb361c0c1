//! The grammar of operands: what `SRC`, `DST` and `--via` may be.
//!
//! | written | means |
//! |---|---|
//! | `fabric:nvme0/ns1` | a part of a device of the fabric, by name: `nsN cmb pmr barN mem` |
//! | `0000:03:00.0/ns1` | the same by address, `p2pmem` besides |
//! | `/dev/nvme0n1` | a block device of this machine |
//! | `/dev/ng0n1` | a namespace of it, by NVMe commands |
//! | `./file`, `-` | a file; standard input or output |
//! | `mem:64MiB` | memory of the host |
//! | `zero:` `null:` `pattern:seed=7` | zeroes; nothing; data that tell their place |
//!
//! A colon before the first slash always begins a scheme or an address: what is neither is an error, and
//! never a file that would be made under that name. Pure: nothing is looked up here.

mod lookalike;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use p2pdma::machine::parse_size;
use p2pdma::{BarIndex, Bdf, nearest};

/// Where bytes come from or go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operand {
    /// A part of a device.
    Device(DevicePart),
    /// A block device of this machine, or a namespace's character device.
    Block(PathBuf),
    /// A file.
    File(PathBuf),
    /// Standard input or output.
    Stdio,
    /// Host memory.
    Memory {
        /// How many bytes of it.
        len: u64,
    },
    /// Nothing: takes everything.
    Null,
    /// Zeroes without end.
    Zero,
    /// Data that tell their place, without end.
    Pattern {
        /// Which ones.
        seed: u64,
    },
}

/// A part of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevicePart {
    /// The device.
    pub(crate) device: Device,
    /// The part.
    pub(crate) part: Part,
}

/// A device, as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Device {
    /// By its name on the fabric.
    Named(String),
    /// By its address.
    At(Bdf),
}

/// A part of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A namespace, from 1.
    Namespace(u32),
    /// Its controller memory buffer.
    Cmb,
    /// Its persistent memory region.
    Pmr,
    /// The memory behind a BAR.
    Bar(BarIndex),
    /// The one memory that it has.
    Memory,
    /// What the Linux kernel lends of it.
    P2pmem,
}

/// Why a text is no operand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OperandError {
    #[error("an empty operand")]
    Empty,
    #[error(
        "'{text}' is not a PCI address: expected [DOMAIN:]BUS:DEVICE.FUNCTION, as in 0000:03:00.0"
    )]
    Address { text: String, suggestion: Option<String> },
    #[error(
        "'{scheme}:' is not a scheme: expected fabric:, mem:, null:, zero:, pattern:, or a PCI address"
    )]
    Scheme { scheme: String, suggestion: Option<String> },
    #[error("'{text}' names a device, but no part of it")]
    NoPart { text: String },
    #[error("'{part}' is not a part of a device: expected nsN, cmb, pmr, barN, mem or p2pmem")]
    Part { device: String, part: String, suggestion: Option<String> },
    #[error("'{text}': {reason}")]
    Value { text: String, reason: String, example: &'static str },
    #[error("'{text}' looks like a device, not like a file")]
    LooksLikeDevice { text: String, suggestion: String },
    #[error("{text} is no device that holds bytes")]
    DeviceNode { text: String, instead: &'static str },
}

impl OperandError {
    /// What to do instead.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Empty => "name a device such as fabric:nvme0/ns1, or a file".to_owned(),
            Self::Address { text, suggestion } => match suggestion {
                Some(meant) => {
                    format!("did you mean {meant}? For a file of that name say ./{text}")
                }
                None => format!("for a file of that name say ./{text}"),
            },
            Self::Scheme { scheme, suggestion } => match suggestion {
                Some(meant) => {
                    format!("did you mean {meant}:? For a file of that name say ./{scheme}:…")
                }
                None => format!("for a file of that name say ./{scheme}:…"),
            },
            Self::NoPart { text } => format!("append its part: {text}/ns1, {text}/cmb"),
            Self::Part { device, suggestion, .. } => {
                let part = suggestion.as_deref().unwrap_or("ns1");
                format!("did you mean {device}/{part}?")
            }
            Self::Value { example, .. } => format!("for example {example}"),
            Self::LooksLikeDevice { text, suggestion } => {
                format!("did you mean {suggestion}? For a file of that name say ./{text}")
            }
            Self::DeviceNode { instead, .. } => format!("say {instead}"),
        }
    }
}

impl Operand {
    /// Reads an operand.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, OperandError> {
        let shown = text.to_string_lossy();
        if shown.is_empty() {
            return Err(OperandError::Empty);
        }
        if shown == "-" {
            return Ok(Self::Stdio);
        }
        let head = shown.split('/').next().unwrap_or_default();
        if let Some((scheme, _)) = head.split_once(':') {
            return Self::with_scheme(&shown, head, scheme);
        }
        lookalike::refuse(&shown)?;
        if lookalike::is_device_node(&shown) {
            return Ok(Self::Block(PathBuf::from(text)));
        }
        Ok(Self::File(PathBuf::from(text)))
    }

    fn with_scheme(text: &str, head: &str, scheme: &str) -> Result<Self, OperandError> {
        let rest = text.get(scheme.len() + 1..).unwrap_or_default();
        let value = |reason: &str, example| OperandError::Value {
            text: text.to_owned(),
            reason: reason.to_owned(),
            example,
        };
        match scheme {
            "fabric" => {
                let (name, part) = rest.split_once('/').unwrap_or((rest, ""));
                if name.is_empty() {
                    return Err(value("the device's name is missing", "fabric:nvme0/ns1"));
                }
                let part = Part::of_device(&format!("fabric:{name}"), part)?;
                Ok(Self::Device(DevicePart { device: Device::Named(name.to_owned()), part }))
            }
            "mem" => match parse_size(rest) {
                Ok(0) => Err(value("a size of nothing", "mem:64MiB")),
                Ok(len) => Ok(Self::Memory { len }),
                Err(_) => Err(value("expected a size", "mem:64MiB")),
            },
            "null" if rest.is_empty() => Ok(Self::Null),
            "zero" if rest.is_empty() => Ok(Self::Zero),
            "null" => Err(value("nothing may follow the colon", "null:")),
            "zero" => Err(value("nothing may follow the colon", "zero:")),
            "pattern" if rest.is_empty() => Ok(Self::Pattern { seed: 0 }),
            "pattern" => match rest.strip_prefix("seed=").map(str::parse) {
                Some(Ok(seed)) => Ok(Self::Pattern { seed }),
                _ => Err(value("expected seed= and a number", "pattern:seed=7")),
            },
            _ if lookalike::begins_like_address(head) => Self::with_address(text, head),
            _ => Err(OperandError::Scheme {
                scheme: scheme.to_owned(),
                suggestion: nearest(scheme, ["fabric", "mem", "null", "zero", "pattern"])
                    .map(str::to_owned),
            }),
        }
    }

    fn with_address(text: &str, head: &str) -> Result<Self, OperandError> {
        let at = head.parse::<Bdf>().map_err(|_| OperandError::Address {
            text: text.to_owned(),
            suggestion: lookalike::address_meant(head)
                .map(|bdf| text.replacen(head, &bdf.to_string(), 1)),
        })?;
        let part = text.get(head.len() + 1..).unwrap_or_default();
        let part = Part::of_device(head, part)?;
        Ok(Self::Device(DevicePart { device: Device::At(at), part }))
    }

    /// Whether it is a device or a part of one.
    pub(crate) fn is_device(&self) -> bool {
        matches!(self, Self::Device(_) | Self::Block(_))
    }

    /// Whether only a machine that runs Linux can have it: this one.
    pub(crate) fn is_of_linux(&self) -> bool {
        matches!(self, Self::Block(_) | Self::Device(DevicePart { device: Device::At(_), .. }))
    }

    /// Whether it is of a device that is bound to vfio-pci at present.
    pub(crate) fn is_under_vfio(&self) -> bool {
        self.place().is_some_and(p2pdma::linux::vfio::is_bound)
    }

    /// Whether it is a namespace of a controller.
    pub(crate) fn is_namespace(&self) -> bool {
        matches!(self, Self::Device(DevicePart { part: Part::Namespace(_), .. }))
    }

    /// The device of this machine that it is a part of, if that was named by its address.
    pub(crate) fn place(&self) -> Option<Bdf> {
        match self {
            Self::Device(DevicePart { device: Device::At(bdf), .. }) => Some(*bdf),
            _ => None,
        }
    }

    /// Whether it is of the software fabric, by its own scheme.
    pub(crate) fn is_of_fabric(&self) -> bool {
        matches!(self, Self::Device(DevicePart { device: Device::Named(_), .. }))
    }
}

const PARTS: [&str; 5] = ["ns1", "cmb", "pmr", "mem", "p2pmem"];

impl Part {
    fn of_device(device: &str, part: &str) -> Result<Self, OperandError> {
        if part.is_empty() {
            return Err(OperandError::NoPart { text: device.to_owned() });
        }
        Self::parse(part).ok_or_else(|| OperandError::Part {
            device: device.to_owned(),
            part: part.to_owned(),
            suggestion: nearest(part, PARTS).map(str::to_owned),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        match text {
            "cmb" => return Some(Self::Cmb),
            "pmr" => return Some(Self::Pmr),
            "mem" => return Some(Self::Memory),
            "p2pmem" => return Some(Self::P2pmem),
            _ => {}
        }
        if let Some(digits) = text.strip_prefix("bar").filter(|digits| plain(digits)) {
            return BarIndex::new(digits.parse().ok()?).map(Self::Bar);
        }
        let digits = text.strip_prefix("ns").filter(|digits| plain(digits))?;
        // 0 is no namespace, and FFFFFFFFh means all of them (NVMe Base 2.1 §3.2.1.2).
        let number = digits.parse().ok()?;
        (1..u32::MAX).contains(&number).then_some(Self::Namespace(number))
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => path.fmt(f),
            Self::Block(path) | Self::File(path) => path.display().fmt(f),
            Self::Stdio => f.write_str("-"),
            Self::Memory { len } => write!(f, "mem:{len}"),
            Self::Null => f.write_str("null:"),
            Self::Zero => f.write_str("zero:"),
            Self::Pattern { seed } => write!(f, "pattern:seed={seed}"),
        }
    }
}

impl fmt::Display for DevicePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Device::Named(name) => write!(f, "fabric:{name}/{}", self.part),
            Device::At(bdf) => write!(f, "{bdf}/{}", self.part),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(number) => write!(f, "ns{number}"),
            Self::Cmb => f.write_str("cmb"),
            Self::Pmr => f.write_str("pmr"),
            Self::Bar(index) => write!(f, "bar{}", index.get()),
            Self::Memory => f.write_str("mem"),
            Self::P2pmem => f.write_str("p2pmem"),
        }
    }
}
