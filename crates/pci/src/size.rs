//! Numbers of bytes as people read them.

use std::fmt;

/// A number of bytes, shown in the largest binary unit that it is a multiple of: `64 MiB`, `1000 bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count) = *self;
        let fits = |(_, size): &&(&str, u64)| count >= *size && count.is_multiple_of(*size);
        match UNITS.iter().find(fits) {
            Some((unit, size)) => write!(f, "{} {unit}", count / size),
            None => write!(f, "{count} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn a_size_is_exact() {
        let shown =
            [0, 1000, 1024, 1025, 64 << 20, 3 << 29, 512 << 40].map(|size| Size(size).to_string());
        let expected =
            ["0 bytes", "1000 bytes", "1 KiB", "1025 bytes", "64 MiB", "1536 MiB", "512 TiB"];
        assert_eq!(shown, expected);
    }
}
