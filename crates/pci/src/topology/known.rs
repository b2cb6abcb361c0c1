//! Facts that may be missing.

use std::fmt;

/// A fact about a machine, or why it is not known.
///
/// An unknown stays unknown through every layer: nothing substitutes a default for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<T> {
    /// It was read.
    Value(T),
    /// It could not be read.
    Unknown(Cause),
}

/// Why a fact is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Reading it needs privilege: extended configuration space is for root only.
    NeedsRoot,
    /// The dump or snapshot that this topology was read from does not contain it.
    NotCaptured,
    /// The device or file did not answer, or what it said contradicts itself.
    Unreadable,
}

impl Cause {
    /// What would make the fact known, as an imperative.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NeedsRoot => "run as root",
            Self::NotCaptured => "capture again as root, with lspci -xxxx -vvv or topo --save",
            Self::Unreadable => "check that the device answers: lspci -xxxx as root",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeedsRoot => "it is readable by root only",
            Self::NotCaptured => "the capture does not contain it",
            Self::Unreadable => "it could not be read",
        })
    }
}

impl<T> Known<T> {
    /// The fact, if it is known.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// Why it is not known, if it is not.
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Value(_) => None,
            Self::Unknown(cause) => Some(*cause),
        }
    }

    /// The same about a borrowed fact.
    pub const fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Value(value) => Known::Value(value),
            Self::Unknown(cause) => Known::Unknown(*cause),
        }
    }

    /// Another fact that follows from this one.
    pub fn map<U>(self, follow: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Value(value) => Known::Value(follow(value)),
            Self::Unknown(cause) => Known::Unknown(cause),
        }
    }
}

impl<T> From<T> for Known<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}
