//! What is read of a machine: synthetic ones, spoilt ones, and the one that the tests run on.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside #[test] functions fail a test by panicking"
)]

mod blocks;
mod dumps;
mod io;
mod judged;
mod live;
mod machine;
mod odd;
mod registers;
mod snapshots;
mod whole;
