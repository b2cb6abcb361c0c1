//! Links: what they run at, and what they could.

use std::fmt;
use std::str::FromStr;

use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

/// What a link runs at, or could: speed and number of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    /// The rate of each lane.
    pub speed: LinkSpeed,
    /// The number of lanes.
    pub width: LinkWidth,
}

impl Link {
    /// What two partners with these capabilities agree on: the lower of each.
    #[must_use]
    pub fn common_with(self, partner: Self) -> Self {
        Self { speed: self.speed.min(partner.speed), width: self.width.min(partner.width) }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.speed, self.width)
    }
}

/// A text that is no [`Link`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a link: expected a generation and a width, as in \"gen4 x16\" (gen1 to gen6; x1, x2, x4, x8, x16)"
)]
pub struct ParseLinkError(String);

impl FromStr for Link {
    type Err = ParseLinkError;

    /// Reads `gen4 x16`.
    fn from_str(text: &str) -> Result<Self, ParseLinkError> {
        let parse = || {
            let (speed, width) = text.split_once(' ')?;
            let generation = speed.strip_prefix("gen")?;
            let lanes = width.trim_start().strip_prefix('x')?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let link = Self {
                // The code of a speed is its generation (PCIe 6.0 §7.5.3.18).
                speed: LinkSpeed::from_bits(generation.parse().ok()?),
                width: LinkWidth::from_bits(lanes.parse().ok()?),
            };
            let plain = digits(generation) && digits(lanes);
            (plain && link.speed.name().is_some() && link.width.is_defined()).then_some(link)
        };
        parse().ok_or_else(|| ParseLinkError(text.to_owned()))
    }
}

/// The state of the link above a function, or below a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkStatus {
    /// What it runs at; `None` while it is down.
    pub current: Option<Link>,
    /// The most that this end is capable of.
    pub max: Link,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_and_printed() {
        let link: Link = "gen4 x16".parse().unwrap();
        assert_eq!(link, Link { speed: LinkSpeed::GEN4, width: LinkWidth::X16 });
        assert_eq!(link.to_string(), "16GT/s x16");
        for bad in ["", "gen4", "gen7 x4", "gen4 x3", "gen4 16", "4 x4", "gen4 x+4", "gen+4 x4"] {
            assert!(bad.parse::<Link>().is_err(), "{bad}");
        }
    }

    #[test]
    fn partners_agree_on_the_lower_of_each() {
        let link = |text: &str| text.parse::<Link>().unwrap();
        let both = link("gen3 x16").common_with(link("gen5 x4"));
        assert_eq!(both, link("gen3 x4"));
    }
}
