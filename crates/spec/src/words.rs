//! Printing of registers and structures as lists of the specification's words.
//!
//! The form is that of `lspci`: a flag is its name with `+` or `-`, a value is `NAME=value`.

use core::fmt;

/// One entry of such a list.
pub(crate) trait Word {
    /// Writes the value under its name.
    fn word(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Word for bool {
    fn word(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name}{}", if *self { '+' } else { '-' })
    }
}

macro_rules! decimal {
    ($($int:ty),*) => {$(
        impl Word for $int {
            fn word(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{name}={self}")
            }
        }
    )*};
}
decimal!(u8, u16, u32, u64, u128);

/// A value that people read in hexadecimal: an address, a set of bits, an identifier.
pub(crate) struct Hex<T>(pub(crate) T);

impl<T: fmt::LowerHex> Word for Hex<T> {
    fn word(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name}={:#x}", self.0)
    }
}

impl<T: fmt::LowerHex> fmt::Display for Hex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Writes a line for each field, the names padded to one width.
pub(crate) fn lines(
    f: &mut fmt::Formatter<'_>,
    fields: &[(&str, &dyn fmt::Display)],
) -> fmt::Result {
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        write!(f, "{name:<10}: {value}")?;
    }
    Ok(())
}

/// Writes the entries with a space between them.
pub(crate) fn list(f: &mut fmt::Formatter<'_>, entries: &[(&str, &dyn Word)]) -> fmt::Result {
    for (index, (name, value)) in entries.iter().enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        value.word(name, f)?;
    }
    Ok(())
}

/// Implements `Display` as a list of words: `"NAME" => accessor`, where `hex` before the accessor asks
/// for hexadecimal. Inside of another list it stands in brackets.
macro_rules! display_words {
    ($Type:ty { $($name:literal => $($how:ident)? ($field:ident)),+ $(,)? }) => {
        impl core::fmt::Display for $Type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::words::list(
                    f,
                    &[$(($name, &display_words!(@value self.$field(), $($how)?))),+],
                )
            }
        }

        impl $crate::words::Word for $Type {
            fn word(&self, name: &str, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{name}=[{self}]")
            }
        }
    };
    (@value $value:expr, ) => { $value };
    (@value $value:expr, hex) => { $crate::words::Hex($value) };
}

/// Implements `Display` as one line for each field: `"NAME" => field`, where `hex` before the field asks for
/// hexadecimal.
macro_rules! display_lines {
    ($Type:ty { $($name:literal => $($how:ident)? ($field:ident)),+ $(,)? }) => {
        impl core::fmt::Display for $Type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::words::lines(
                    f,
                    &[$(($name, &display_words!(@value self.$field, $($how)?))),+],
                )
            }
        }
    };
}

#[cfg(test)]
mod tests {
    struct Sample;
    impl Sample {
        fn flag(&self) -> bool {
            true
        }
        fn count(&self) -> u16 {
            16
        }
    }
    struct Outer;
    impl Outer {
        fn inner(&self) -> Sample {
            Sample
        }
    }
    display_words!(Outer { "INNER" => (inner) });
    display_words!(Sample { "Flag" => (flag), "COUNT" => (count), "MASK" => hex(count) });

    #[test]
    fn flags_values_and_hexadecimal() {
        assert_eq!(Sample.to_string(), "Flag+ COUNT=16 MASK=0x10");
        assert_eq!(Outer.to_string(), "INNER=[Flag+ COUNT=16 MASK=0x10]");
    }

    struct Structure {
        count: u16,
        text: &'static str,
    }
    display_lines!(Structure { "COUNT" => hex(count), "TEXT" => (text) });

    #[test]
    fn one_line_for_each_field() {
        let sample = Structure { count: 16, text: "words" };
        assert_eq!(sample.to_string(), "COUNT     : 0x10\nTEXT      : words");
    }
}
