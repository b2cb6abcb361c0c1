//! Texts that were meant for something else: a PCI address with a slip, a device without its scheme.

use p2pdma::Bdf;

use super::{OperandError, Part};

/// Whether a text, up to its first slash, begins as a PCI address does: hexadecimal digits and a colon,
/// with another digit or nothing behind.
pub(super) fn begins_like_address(head: &str) -> bool {
    let Some((first, rest)) = head.split_once(':') else { return false };
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    !first.is_empty() && hex(first) && rest.chars().next().is_none_or(|c| c.is_ascii_hexdigit())
}

/// The address that a text with a slip was meant to be: digits left out, a colon for the dot, no
/// function.
pub(super) fn address_meant(text: &str) -> Option<Bdf> {
    let parts: Vec<&str> = text.split([':', '.']).collect();
    let numbers: Option<Vec<u32>> =
        parts.iter().map(|part| u32::from_str_radix(part, 16).ok()).collect();
    let bdf = |domain, bus: u32, device: u32, function: u32| {
        let byte = |value: u32| u8::try_from(value).ok();
        Bdf::new(domain, byte(bus)?, byte(device)?, byte(function)?)
    };
    match *numbers? {
        [domain, bus, device] if parts.first().is_some_and(|first| first.len() >= 4) => {
            bdf(domain, bus, device, 0)
        }
        [bus, device] => bdf(0, bus, device, 0),
        [bus, device, function] => bdf(0, bus, device, function),
        [domain, bus, device, function] => bdf(domain, bus, device, function),
        _ => None,
    }
}

/// Whether a path is where the kernel's devices are.
pub(super) fn is_device_node(text: &str) -> bool {
    text.starts_with("/dev/") && !text.starts_with("/dev/shm/")
}

/// Refuses a path that was not meant to be one.
pub(super) fn refuse(text: &str) -> Result<(), OperandError> {
    let instead = match text {
        "/dev/null" => Some("null:"),
        "/dev/zero" => Some("zero:"),
        "/dev/stdin" | "/dev/stdout" => Some("-"),
        _ => None,
    };
    if let Some(instead) = instead {
        return Err(OperandError::DeviceNode { text: text.to_owned(), instead });
    }
    let (word, part) = match text.split_once('/') {
        None => (text, None),
        Some((word, part)) => (word, Some(part)),
    };
    let suggestion = match part {
        None if is_fabric_word(word) => format!("fabric:{word}/ns1"),
        None if is_kernel_word(word) => format!("/dev/{word}"),
        Some(part) if is_fabric_word(word) && Part::parse(part).is_some() => {
            format!("fabric:{text}")
        }
        _ => return Ok(()),
    };
    Err(OperandError::LooksLikeDevice { text: text.to_owned(), suggestion })
}

/// A name such as machine files give: `nvme0`.
fn is_fabric_word(word: &str) -> bool {
    ["nvme", "gpu", "cxl", "mover"].iter().any(|kind| {
        let number = word.strip_prefix(kind).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A name such as the kernel gives: `nvme0n1`, `nvme0n1p2`, `ng0n1`, `sda1`, `md0`.
fn is_kernel_word(word: &str) -> bool {
    let numbered = |kind: &str| {
        let rest = word.strip_prefix(kind).unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.chars().all(|c| c.is_ascii_digit() || c == 'n' || c == 'p')
    };
    let lettered = |kind: &str| {
        let rest = word.strip_prefix(kind).unwrap_or_default();
        let letters = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        letters.len() == 1 && letters.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    ["nvme", "ng", "md", "dm-", "loop"].into_iter().any(numbered)
        || ["sd", "vd"].into_iter().any(lettered)
}
