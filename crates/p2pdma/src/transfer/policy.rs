//! What a transfer may do where there is no peer-to-peer path.

use std::fmt;
use std::str::FromStr;

/// Whether a transfer between devices must, should or must not be peer to peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Policy {
    /// Peer to peer, or refused.
    #[default]
    Require,
    /// Peer to peer where there is a path, else through host memory, and the report says so.
    Prefer,
    /// Through host memory: traditional DMA, for comparison.
    Off,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Require => "require",
            Self::Prefer => "prefer",
            Self::Off => "off",
        })
    }
}

/// A word that is no [`Policy`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no policy: require, prefer or off")]
pub struct ParsePolicyError(String);

impl FromStr for Policy {
    type Err = ParsePolicyError;
    fn from_str(text: &str) -> Result<Self, ParsePolicyError> {
        [Self::Require, Self::Prefer, Self::Off]
            .into_iter()
            .find(|policy| policy.to_string() == text)
            .ok_or_else(|| ParsePolicyError(text.to_owned()))
    }
}
