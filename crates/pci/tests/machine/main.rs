//! Machine files: what they mean, and what is said about wrong ones.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside #[test] functions fail a test by panicking"
)]

mod errors;
mod meaning;
mod properties;

use p2pdma_pci::machine::Machine;

/// A file that uses every key.
pub(crate) const EVERYTHING: &str = include_str!("everything.toml");

/// A small file, to be continued.
pub(crate) const SMALL: &str = r#"name = "small"
[[host-bridge]]
name = "host0"
id = "8086:29c0"
p2p = "refuse"
[[root-port]]
name = "rp0"
on = "host0"
"#;

pub(crate) fn parse(text: &str) -> Machine {
    Machine::parse(text, "test.toml").unwrap()
}
