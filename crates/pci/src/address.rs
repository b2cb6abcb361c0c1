//! Where things are: functions, and the three kinds of address that must never be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A function's place: domain, bus, device and function number (`0000:03:00.0`).
///
/// Domains have up to 32 bits: Linux numbers those of Intel VMD from `10000` up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bdf {
    domain: u32,
    requester: u16,
}

impl Bdf {
    /// A place; `None` if `device` exceeds 31 or `function` exceeds 7.
    #[must_use]
    pub const fn new(domain: u32, bus: u8, device: u8, function: u8) -> Option<Self> {
        if device > 31 || function > 7 {
            return None;
        }
        let requester = (bus as u16) << 8 | (device as u16) << 3 | function as u16;
        Some(Self { domain, requester })
    }

    /// The place with a given requester ID (PCIe 6.0 §2.2.6.2: bus in bits 15:8, device 7:3,
    /// function 2:0).
    #[must_use]
    pub const fn from_requester(domain: u32, requester: u16) -> Self {
        Self { domain, requester }
    }

    /// The requester ID that this function stamps on its requests.
    #[must_use]
    pub const fn requester(self) -> u16 {
        self.requester
    }

    /// The domain, also called segment.
    #[must_use]
    pub const fn domain(self) -> u32 {
        self.domain
    }

    /// The bus number.
    #[must_use]
    pub const fn bus(self) -> u8 {
        self.requester.to_be_bytes()[0]
    }

    /// The device number, 0 to 31.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.requester.to_be_bytes()[1] >> 3
    }

    /// The function number, 0 to 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.requester.to_be_bytes()[1] & 7
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (domain, bus) = (self.domain, self.bus());
        write!(f, "{domain:04x}:{bus:02x}:{:02x}.{:x}", self.device(), self.function())
    }
}

/// A text that is not a [`Bdf`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a PCI address: expected [DOMAIN:]BUS:DEVICE.FUNCTION in hexadecimal, as in 0000:03:00.0"
)]
pub struct ParseBdfError(String);

impl FromStr for Bdf {
    type Err = ParseBdfError;

    /// Reads what `lspci` prints: `03:00.0` or `0000:03:00.0`, with 4 to 8 digits of domain.
    fn from_str(text: &str) -> Result<Self, ParseBdfError> {
        parse(text).ok_or_else(|| ParseBdfError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Bdf> {
    let (rest, function) = text.split_once('.')?;
    let mut parts = rest.rsplit(':');
    let (device, bus) = (parts.next()?, parts.next()?);
    let domain = match parts.next() {
        Some(domain) => hex(domain, 4..=8)?,
        None => 0,
    };
    if parts.next().is_some() {
        return None;
    }
    let byte = |text, digits| hex(text, digits).and_then(|value| u8::try_from(value).ok());
    Bdf::new(domain, byte(bus, 2..=2)?, byte(device, 2..=2)?, byte(function, 1..=1)?)
}

fn hex(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (plain && digits.contains(&text.len())).then(|| u32::from_str_radix(text, 16).ok())?
}

impl TryFrom<String> for Bdf {
    type Error = ParseBdfError;
    fn try_from(text: String) -> Result<Self, ParseBdfError> {
        text.parse()
    }
}

impl From<Bdf> for String {
    fn from(bdf: Bdf) -> Self {
        bdf.to_string()
    }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The address `offset` bytes further; `None` beyond 2^64.
            #[inline]
            #[must_use]
            pub const fn checked_add(self, offset: u64) -> Option<Self> {
                match self.0.checked_add(offset) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// What a device emits: translated by an IOMMU if one is on its way, else a [`BusAddr`].
    Iova
}
address! {
    /// What host memory and BARs decode: an address in the system's one physical map.
    BusAddr
}

/// The number of a base address register, 0 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BarIndex(u8);

impl BarIndex {
    /// The first BAR, where NVMe controllers keep their registers.
    pub const ZERO: Self = Self(0);

    /// A BAR number; `None` above 5.
    #[must_use]
    pub const fn new(index: u8) -> Option<Self> {
        if index < 6 { Some(Self(index)) } else { None }
    }

    /// All six, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..6).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<BarIndex> for usize {
    fn from(index: BarIndex) -> Self {
        Self::from(index.0)
    }
}

impl fmt::Display for BarIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BAR{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grammar_is_that_of_lspci() {
        let bdf: Bdf = "03:1f.7".parse().unwrap();
        assert_eq!((bdf.domain(), bdf.bus(), bdf.device(), bdf.function()), (0, 3, 31, 7));
        assert_eq!("10000:e1:00.0".parse::<Bdf>().unwrap().domain(), 0x10000);
        for bad in [
            "",
            "3:0.0",
            "03:20.0",
            "03:00.8",
            "000:03:00.0",
            "000000000:03:00.0",
            "03:00",
            "03:00.00",
            "0000:03:00.0 ",
            "+003:00.0",
            "0:0000:03:00.0",
            "03:00.0/p2pmem",
            "g3:00.0",
        ] {
            assert!(bad.parse::<Bdf>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn places_round_trip(domain: u32, requester: u16) {
            let bdf = Bdf::from_requester(domain, requester);
            prop_assert_eq!(bdf.to_string().parse::<Bdf>().unwrap(), bdf);
            let again = Bdf::new(bdf.domain(), bdf.bus(), bdf.device(), bdf.function());
            prop_assert_eq!(again, Some(bdf));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,16}") {
            if let Ok(bdf) = text.parse::<Bdf>() {
                prop_assert!(bdf.to_string().ends_with(&text.to_lowercase()));
            }
        }
    }
}
