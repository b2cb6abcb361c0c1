//! Bytes without a meaning of their own.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A reserved or vendor specific part of a structure. Kept as it is; prints its length, and whether any
/// byte differs from zero.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Opaque<const N: usize>(pub [u8; N]);

impl<const N: usize> Default for Opaque<N> {
    /// All zero.
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> fmt::Debug for Opaque<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.0.iter().filter(|byte| **byte != 0).count();
        write!(f, "{N} bytes, {used} not zero")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_it_holds() {
        let mut bytes = Opaque::<300>::default();
        bytes.0[299] = 1;
        assert_eq!(format!("{bytes:?}"), "300 bytes, 1 not zero");
    }
}
