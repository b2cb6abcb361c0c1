//! A macro for codes of a specification: integers of which some have names.

/// Declares a newtype over an unsigned integer with a constant for each value that the specification
/// names. Any other value is kept as it is, so that what a device reports survives a round trip.
///
/// Prints as the specification's words, or as the hexadecimal value where there are none.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub struct $Name:ident: u8 { $($body:tt)* }
    ) => {
        open_enum!(@define
            $(#[$meta])*
            #[derive(zerocopy::Unaligned)]
            pub struct $Name: u8, "#04x" { $($body)* }
        );
    };
    (
        $(#[$meta:meta])*
        pub struct $Name:ident: u16 { $($body:tt)* }
    ) => {
        open_enum!(@define $(#[$meta])* pub struct $Name: u16, "#06x" { $($body)* });
    };
    (
        $(#[$meta:meta])*
        pub struct $Name:ident: u32 { $($body:tt)* }
    ) => {
        open_enum!(@define $(#[$meta])* pub struct $Name: u32, "#010x" { $($body)* });
    };
    (@define
        $(#[$meta:meta])*
        pub struct $Name:ident: $int:ident, $hex:literal {
            $( $(#[$value_meta:meta])* $CONST:ident = $value:literal => $text:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $Name($int);

        impl $Name {
            $(
                #[doc = concat!("`", stringify!($value), "`: ", $text, ".")]
                $(#[$value_meta])*
                pub const $CONST: Self = Self($value);
            )*

            /// Every value that has a name, in the order of the specification.
            pub const KNOWN: &'static [Self] = &[$(Self::$CONST),*];

            /// Takes any value, named or not.
            #[inline]
            #[must_use]
            pub const fn from_bits(bits: $int) -> Self {
                Self(bits)
            }

            /// The value.
            #[inline]
            #[must_use]
            pub const fn into_bits(self) -> $int {
                self.0
            }

            /// The specification's words for this value, if it has any.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl From<$int> for $Name {
            #[inline]
            fn from(bits: $int) -> Self {
                Self(bits)
            }
        }

        impl From<$Name> for $int {
            #[inline]
            fn from(code: $Name) -> Self {
                code.0
            }
        }

        impl core::fmt::Display for $Name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, concat!("{:", $hex, "}"), self.0),
                }
            }
        }

        impl core::fmt::Debug for $Name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }

        impl $crate::words::Word for $Name {
            fn word(&self, name: &str, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{name}={self}")
            }
        }
    };
}

#[cfg(test)]
mod tests {
    open_enum! {
        /// A sample.
        pub struct Byte: u8 {
            FIRST = 0x01 => "First Word",
            LAST = 0xFF => "Last Word",
        }
    }
    open_enum! {
        /// A sample.
        pub struct Word: u16 {
            ONLY = 0x1234 => "Only",
        }
    }
    open_enum! {
        /// A sample.
        pub struct Dword: u32 {
            ONLY = 0x0001_0802 => "Only",
        }
    }

    #[test]
    fn every_byte_survives_and_only_named_ones_have_names() {
        for bits in 0..=u8::MAX {
            let code = Byte::from_bits(bits);
            assert_eq!(code.into_bits(), bits);
            assert_eq!(u8::from(Byte::from(bits)), bits);
            assert_eq!(code.name().is_some(), Byte::KNOWN.contains(&code));
        }
    }

    #[test]
    fn prints_words_or_hexadecimal_of_its_width() {
        assert_eq!(Byte::LAST.to_string(), "Last Word");
        assert_eq!(format!("{:?}", Byte::FIRST), "First Word");
        assert_eq!(Byte::from_bits(0x0A).to_string(), "0x0a");
        assert_eq!(Word::from_bits(0x0A).to_string(), "0x000a");
        assert_eq!(Dword::from_bits(0x0A).to_string(), "0x0000000a");
        assert_eq!(format!("[{:<12}]", Byte::LAST), "[Last Word   ]");
    }
}
