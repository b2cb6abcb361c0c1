//! Temperatures: NVMe counts in whole kelvins.

use core::fmt;

/// A temperature, or a limit of one, in kelvins. In most fields 0 stands for "not reported".
///
/// Prints both in the wire's unit and in degrees Celsius, where 0 °C is taken as 273 K.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Kelvin(pub u16);

impl Kelvin {
    /// Degrees Celsius, rounded as the specification rounds: 273 K is 0 °C.
    #[must_use]
    pub const fn celsius(self) -> i32 {
        self.0 as i32 - 273
    }

    /// The number as a bit field holds it.
    pub(crate) const fn into_bits(self) -> u16 {
        self.0
    }

    /// The number that a bit field held.
    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

impl From<u16> for Kelvin {
    fn from(kelvins: u16) -> Self {
        Self(kelvins)
    }
}

impl From<Kelvin> for u16 {
    fn from(temperature: Kelvin) -> Self {
        temperature.0
    }
}

impl fmt::Display for Kelvin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("not reported")
        } else {
            write!(f, "{} K ({} °C)", self.0, self.celsius())
        }
    }
}

impl crate::words::Word for Kelvin {
    fn word(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name}={self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_units() {
        assert_eq!(Kelvin(310).to_string(), "310 K (37 °C)");
        assert_eq!(Kelvin(253).to_string(), "253 K (-20 °C)");
        assert_eq!(Kelvin(0).to_string(), "not reported");
        assert_eq!(Kelvin(u16::MAX).celsius(), 65_262);
    }
}
