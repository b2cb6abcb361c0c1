//! The topology and its verdict.

/// Why not.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("refused")]
pub struct Refusal {}
