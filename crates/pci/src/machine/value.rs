//! Values of keys: sizes, times, rates, links, ACS.

use p2pdma_spec::pci::acs::AcsControl;

use super::error::{MachineError, Problem};
use super::reader::Field;
use crate::Duration;
use crate::topology::{AcsBit, Cpu, CpuVendor, Link, PciId};

type Result<T> = std::result::Result<T, MachineError>;

const SIZE: &str = "a size such as \"64M\" (k M G T binary, kB MB GB TB decimal)";
const TIME: &str = "a time such as \"80us\" (ps, ns, us, ms or s)";
const RATE: &str = "a rate in GB/s such as 7 or 25.6";

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a size: expected {SIZE}")]
pub struct ParseSizeError(String);

/// Reads a size in bytes: `512`, `4k`, `64M`, `2G`, `1T` and `KiB` to `TiB` are binary, `kB` to `TB`
/// decimal.
///
/// # Errors
/// [`ParseSizeError`] for any other text, and for 2^64 and more.
pub fn parse_size(text: &str) -> std::result::Result<u64, ParseSizeError> {
    let parse = || {
        let (digits, unit) = split_unit(text)?;
        let factor: u64 = match unit {
            "" | "B" => 1,
            "k" | "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            "T" | "TiB" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(factor)
    };
    parse().ok_or_else(|| ParseSizeError(text.to_owned()))
}

/// Digits, and what follows them.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    (!digits.is_empty()).then_some((digits, unit))
}

pub(super) fn size(field: &Field<'_>) -> Result<u64> {
    if field.value().is_integer() {
        return field.integer(0..=u64::MAX);
    }
    let text = field.text(SIZE)?;
    parse_size(text).map_err(|_| field.bad_value(text, SIZE))
}

/// A size that a BAR can have: a power of two (PCIe 6.0 §7.5.1.2.1), here of at least 4 KiB.
pub(super) fn bar_size(field: &Field<'_>) -> Result<u64> {
    const LEAST: u64 = 4 << 10;
    const MOST: u64 = 1 << 48;
    let bytes = size(field)?;
    if bytes.is_power_of_two() && (LEAST..=MOST).contains(&bytes) {
        return Ok(bytes);
    }
    Err(field.bad_value(&shown(field), "a power of two from 4k to 256T, as BARs have"))
}

/// The value as the file has it, for messages.
pub(super) fn shown(field: &Field<'_>) -> String {
    match (field.value().as_str(), field.value().as_integer()) {
        (Some(text), _) => text.to_owned(),
        (_, Some(integer)) => integer.to_string(),
        _ => String::new(),
    }
}

pub(super) fn time(field: &Field<'_>) -> Result<Duration> {
    let text = field.text(TIME)?;
    let parse = || {
        let (digits, unit) = split_unit(text)?;
        let factor: u64 = match unit {
            "ps" => 1,
            "ns" => 1_000,
            "us" => 1_000_000,
            "ms" => 1_000_000_000,
            "s" => 1_000_000_000_000,
            _ => return None,
        };
        let picos = digits.parse::<u64>().ok()?.checked_mul(factor)?;
        Some(Duration::from_picos(picos))
    };
    parse().ok_or_else(|| field.bad_value(text, TIME))
}

/// A rate in decimal GB/s, in bytes per second: more than nothing, at most a million GB/s.
pub(super) fn rate(field: &Field<'_>) -> Result<u64> {
    let text = match (field.value().as_integer(), field.value().as_float()) {
        (Some(integer), _) => integer.to_string(),
        (_, Some(float)) => float.as_str().to_owned(),
        _ => return Err(field.wrong_type(RATE)),
    };
    rate_of(&text).ok_or_else(|| field.bad_value(&text, RATE))
}

/// Exact, digit by digit: a nanosecond's worth of bytes is the unit behind the point.
fn rate_of(text: &str) -> Option<u64> {
    const MOST: u64 = 1_000_000;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|&whole| whole < MOST)?;
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(whole * 1_000_000_000 + fraction).filter(|&rate| rate > 0)
}

pub(super) fn link(field: &Field<'_>) -> Result<Link> {
    const LINK: &str =
        "a generation and a width such as \"gen4 x16\" (gen1 to gen6; x1 x2 x4 x8 x16)";
    let text = field.text(LINK)?;
    text.parse().map_err(|_| field.bad_value(text, LINK))
}

pub(super) fn pci_id(field: &Field<'_>) -> Result<PciId> {
    const ID: &str = "vendor and device such as \"8086:29c0\"";
    let text = field.text(ID)?;
    text.parse().map_err(|_| field.bad_value(text, ID))
}

pub(super) fn cpu(field: &Field<'_>) -> Result<Cpu> {
    const CPU: &str = "vendor and family such as \"GenuineIntel/6\" or \"AuthenticAMD/0x19\"";
    let text = field.text(CPU)?;
    let parse = || {
        let (vendor, family) = text.split_once('/')?;
        let family = match family.strip_prefix("0x") {
            Some(digits) => {
                u16::from_str_radix(digits.strip_prefix('+').map_or(digits, |_| ""), 16)
            }
            None => family.strip_prefix('+').map_or(family, |_| "").parse(),
        };
        (!vendor.is_empty())
            .then_some(Cpu { vendor: CpuVendor::from_cpuid(vendor), family: family.ok()? })
    };
    parse().ok_or_else(|| field.bad_value(text, CPU))
}

/// The ACS of a port or function as the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AcsWord {
    /// `"none"`: no capability.
    None,
    /// A list: what is on.
    Control(AcsControl),
}

pub(super) fn acs(field: &Field<'_>) -> Result<AcsWord> {
    const ACS: &str = "\"none\" or a list such as [\"SV\", \"RR\", \"CR\", \"UF\"]";
    if let Some(text) = field.value().as_str() {
        return match text {
            "none" => Ok(AcsWord::None),
            _ => Err(field.bad_value(text, ACS)),
        };
    }
    let mut control = AcsControl::new();
    for item in field.list(ACS)? {
        let name = item.text("a string such as \"RR\"")?;
        let bit = AcsBit::from_name(name)
            .ok_or_else(|| item.bad_value(name, "SV, TB, RR, CR, UF, EC or DT"))?;
        control = bit.set(control);
    }
    Ok(AcsWord::Control(control))
}

/// The same of a function of a device, which has fewer controls (PCIe 6.0 §7.7.11.2).
pub(super) fn function_acs(field: &Field<'_>) -> Result<AcsWord> {
    let acs = self::acs(field)?;
    match acs {
        AcsWord::Control(control)
            if control.source_validation()
                || control.translation_blocking()
                || control.upstream_forwarding() =>
        {
            let reason = "SV, TB and UF are of ports: a device's functions have RR, CR, EC and DT";
            Err(field.error(Problem::Contradiction(reason)))
        }
        _ => Ok(acs),
    }
}

/// A name that machines can have. It becomes that of a folder, which must not lead anywhere else.
pub(super) fn machine_name(field: &Field<'_>) -> Result<String> {
    let name = field.text("a string")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        return Ok(name.to_owned());
    }
    Err(field.bad_value(name, "letters, digits, '-' and '_', at most 64"))
}

/// A name that components can have.
pub(super) fn component_name(field: &Field<'_>) -> Result<super::reader::Name> {
    // A device's name is its serial number, too, which has 20 bytes (NVMe Base 2.1 §5.1.13.2.1).
    const LONGEST: usize = 20;
    let name = field.name("a name such as \"nvme0\"")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=LONGEST).contains(&name.text.len()) && name.text.chars().all(fits) {
        return Ok(name);
    }
    Err(field.error(Problem::BadName { name: name.text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_unless_they_say_bytes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("4k", 4 << 10),
            ("64M", 64 << 20),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
            ("3GiB", 3 << 30),
            ("2MB", 2_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "M", "1.5G", "-1", "+1", "1 G", "1Q", "16777216T", "1GG", "0x10"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_exact() {
        assert_eq!(rate_of("7"), Some(7_000_000_000));
        assert_eq!(rate_of("25.6"), Some(25_600_000_000));
        assert_eq!(rate_of("0.000000001"), Some(1));
        for bad in ["0", "0.0", "-1", "1e3", "inf", "nan", "1000000", "1.0000000001", "1_0.0"] {
            assert_eq!(rate_of(bad), None, "{bad}");
        }
    }
}
