//! Text fields of fixed length: padded ASCII and NVMe Qualified Names.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A fixed field of ASCII text, left justified and padded with spaces (NVMe Base 2.1 §1.4.2).
///
/// The bytes are kept as a device wrote them; [`fmt::Display`] drops the padding and shows a byte that
/// is not printable ASCII (20h to 7Eh) as `?`.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Ascii<const N: usize>(pub [u8; N]);

impl<const N: usize> Ascii<N> {
    /// Pads `text` with spaces; `None` if it is longer than the field or not printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [b' '; N];
        let field = bytes.get_mut(..text.len())?;
        if !text.bytes().all(is_printable) {
            return None;
        }
        field.copy_from_slice(text.as_bytes());
        Some(Self(bytes))
    }

    /// The bytes before the padding. A device that pads with zeroes is understood as well.
    #[must_use]
    pub fn trimmed(&self) -> &[u8] {
        let end = self.0.iter().rposition(|byte| !matches!(byte, b' ' | 0));
        &self.0[..end.map_or(0, |last| last + 1)]
    }
}

impl<const N: usize> Default for Ascii<N> {
    /// All spaces.
    fn default() -> Self {
        Self([b' '; N])
    }
}

impl<const N: usize> fmt::Display for Ascii<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.trimmed(), f)
    }
}

impl<const N: usize> fmt::Debug for Ascii<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A qualified name: UTF-8, terminated by a zero byte, in a field of 256 bytes (NVMe Base 2.1 §4.7).
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Nqn(pub [u8; 256]);

impl Nqn {
    /// The longest name in bytes, its terminator not counted.
    pub const MAX_LEN: usize = 223;

    /// Stores a name; `None` if it is longer than [`Nqn::MAX_LEN`] or contains a zero byte.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if name.len() > Self::MAX_LEN || name.contains('\0') {
            return None;
        }
        let mut bytes = [0; 256];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }

    /// The bytes before the terminator, or all of them if there is none.
    #[must_use]
    pub fn trimmed(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        &self.0[..end.unwrap_or(self.0.len())]
    }
}

impl Default for Nqn {
    /// The empty name.
    fn default() -> Self {
        Self([0; 256])
    }
}

impl fmt::Display for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(self.trimmed()) {
            Ok(name) => f.pad(name),
            Err(_) => show(self.trimmed(), f),
        }
    }
}

impl fmt::Debug for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E)
}

fn show(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write as _;
    for byte in bytes {
        f.write_char(if is_printable(*byte) { char::from(*byte) } else { '?' })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boundaries_of_the_field() {
        assert_eq!(Ascii::<4>::new("").unwrap().0, *b"    ");
        assert_eq!(Ascii::<4>::new("abcd").unwrap().0, *b"abcd");
        assert_eq!(Ascii::<4>::new("abcde"), None);
        assert_eq!(Ascii::<4>::new("é"), None);
        assert_eq!(Ascii::<4>::new("a\n"), None);
        assert_eq!(Ascii(*b"a\0\0\0").to_string(), "a");
        assert_eq!(Ascii(*b"a\x80b ").to_string(), "a?b");
        assert_eq!(Nqn::new(&"n".repeat(223)).unwrap().to_string().len(), 223);
        assert_eq!(Nqn::new(&"n".repeat(224)), None);
        assert_eq!(Nqn::new("a\0b"), None);
        assert_eq!(Nqn([b'n'; 256]).trimmed().len(), 256);
    }

    proptest! {
        #[test]
        fn printable_text_survives(text in "[!-~]{0,1}[ -~]{0,18}[!-~]{0,1}") {
            let field = Ascii::<20>::new(&text).unwrap();
            prop_assert_eq!(field.to_string(), text.trim_end_matches(' '));
        }

        #[test]
        fn any_bytes_print(bytes: [u8; 8]) {
            prop_assert!(Ascii(bytes).to_string().len() <= 8);
        }

        #[test]
        fn names_survive(name in "[^\0]{0,55}") {
            prop_assert_eq!(Nqn::new(&name).unwrap().to_string(), name);
        }
    }
}
