//! Attributes: small files of one value each.

use p2pdma_pci::topology::Known;

use crate::{Failure, Tree};

/// The most bytes of an attribute: a page (Documentation/filesystems/sysfs.rst).
pub(crate) const SHORT: usize = 4096;
/// The most bytes of a longer text, such as the command line or the list of swap areas.
pub(crate) const LONG: usize = 64 << 10;

/// An attribute's text without the line end. One that is empty, longer than a page, or no text, is
/// malformed.
pub(crate) fn text(tree: &dyn Tree, path: &str) -> Result<String, Failure> {
    let file = tree.read(path, SHORT)?;
    if file.more {
        return Err(Failure::TooLarge);
    }
    let text = String::from_utf8(file.bytes).map_err(|_| Failure::Malformed)?;
    let trimmed = text.trim_end_matches(['\n', '\0', ' ']);
    if trimmed.is_empty() || trimmed.chars().any(char::is_control) {
        return Err(Failure::Malformed);
    }
    Ok(trimmed.to_owned())
}

/// An attribute's value, as `parse` reads it; what it does not understand is malformed.
pub(crate) fn value<T>(
    tree: &dyn Tree,
    path: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Failure> {
    parse(&text(tree, path)?).ok_or(Failure::Malformed)
}

/// A value that is known, or why not.
pub(crate) fn known<T>(answer: Result<T, Failure>) -> Known<T> {
    match answer {
        Ok(value) => Known::Value(value),
        Err(failure) => Known::Unknown(failure.cause()),
    }
}

/// The same of an attribute that need not be there.
pub(crate) fn optional<T>(answer: Result<T, Failure>) -> Known<Option<T>> {
    known(if_there(answer))
}

/// The answer about what need not be there: `None` if it is not.
pub(crate) fn if_there<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Missing) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A hexadecimal number, with or without `0x`.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (plain && !digits.is_empty()).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// A decimal number without a sign.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && !text.is_empty()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    struct One(Vec<u8>);

    impl Tree for One {
        fn read(&self, _: &str, limit: usize) -> Result<File, Failure> {
            let bytes = self.0.iter().copied().take(limit).collect();
            Ok(File { bytes, more: self.0.len() > limit, size: 4096 })
        }
        fn lines(&self, _: &str, _: &[&str]) -> Result<Vec<String>, Failure> {
            Err(Failure::Missing)
        }
        fn link(&self, _: &str) -> Result<String, Failure> {
            Err(Failure::Missing)
        }
        fn list(&self, _: &str) -> Result<Vec<String>, Failure> {
            Err(Failure::Missing)
        }
        fn stamp(&self, _: &str) -> Result<u64, Failure> {
            Err(Failure::Missing)
        }
    }

    #[test]
    fn attributes_that_are_none() {
        let read = |bytes: &[u8]| text(&One(bytes.to_vec()), "x");
        assert_eq!(read(b"0x8086\n").unwrap(), "0x8086");
        assert_eq!(read(b"two words \n").unwrap(), "two words");
        assert_eq!(read(b""), Err(Failure::Malformed));
        assert_eq!(read(b"\n"), Err(Failure::Malformed));
        assert_eq!(read(b"a\nb\n"), Err(Failure::Malformed));
        assert_eq!(read(&[0xff, 0xfe]), Err(Failure::Malformed));
        assert_eq!(read(&vec![b'a'; 5000]), Err(Failure::TooLarge));
    }

    #[test]
    fn numbers_have_no_signs() {
        assert_eq!(hex("0x00ff"), Some(255));
        assert_eq!(hex("ff"), Some(255));
        assert_eq!((hex("0x"), hex("+1"), hex("0x1g"), hex("")), (None, None, None, None));
        assert_eq!(decimal("12"), Some(12));
        assert_eq!((decimal("-1"), decimal("+1"), decimal("")), (None, None, None));
        assert_eq!(hex("0x10000000000000000"), None);
    }
}
