//! Typed little-endian fields for structures that lie in memory shared with a device.

use core::fmt;
use core::marker::PhantomData;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

macro_rules! little_endian {
    ($(#[$meta:meta])* $Name:ident, $Raw:ident, $int:ident) => {
        $(#[$meta])*
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(transparent)]
        pub struct $Name<T>($Raw, PhantomData<T>);

        impl<T> $Name<T>
        where
            T: From<$int>,
            $int: From<T>,
        {
            /// Stores a value.
            #[inline]
            #[must_use]
            pub fn new(value: T) -> Self {
                Self($Raw::new(value.into()), PhantomData)
            }

            /// The value, whatever the bits are.
            #[inline]
            #[must_use]
            pub fn get(self) -> T {
                T::from(self.0.get())
            }

            /// Replaces the value.
            #[inline]
            pub fn set(&mut self, value: T) {
                *self = Self::new(value);
            }
        }

        impl<T> Clone for $Name<T> {
            #[inline]
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $Name<T> {}

        impl<T> Default for $Name<T> {
            fn default() -> Self {
                Self($Raw::ZERO, PhantomData)
            }
        }

        impl<T> PartialEq for $Name<T> {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl<T> Eq for $Name<T> {}

        impl<T> From<T> for $Name<T>
        where
            T: From<$int>,
            $int: From<T>,
        {
            #[inline]
            fn from(value: T) -> Self {
                Self::new(value)
            }
        }

        impl<T> fmt::Debug for $Name<T>
        where
            T: From<$int> + fmt::Debug,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                T::from(self.0.get()).fmt(f)
            }
        }

        impl<T> fmt::Display for $Name<T>
        where
            T: From<$int> + fmt::Display,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                T::from(self.0.get()).fmt(f)
            }
        }
    };
}

little_endian! {
    /// Two bytes, least significant first, that hold a `T`. Needs no alignment.
    Le16, U16, u16
}
little_endian! {
    /// Four bytes, least significant first, that hold a `T`. Needs no alignment.
    Le32, U32, u32
}
little_endian! {
    /// Eight bytes, least significant first, that hold a `T`. Needs no alignment.
    Le64, U64, u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::acs::AcsControl;

    #[test]
    fn least_significant_byte_first() {
        let field = Le16::new(AcsControl::from_bits(0x1234));
        assert_eq!(field.as_bytes(), [0x34, 0x12]);
        assert_eq!(Le16::<AcsControl>::read_from_bytes(&[0x34, 0x12]).unwrap(), field);
        assert_eq!(field.get().into_bits(), 0x1234);
    }
}
