//! The verdict, against an independent reading of the kernel's rule, named scenarios and properties.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside #[test] functions fail a test by panicking"
)]

mod bus;
mod errors;
mod explain;
mod isolation;
mod kernel_rule;
mod list;
mod properties;
mod random;
mod reference;
mod scenarios;
mod tree;
mod unknowns;
