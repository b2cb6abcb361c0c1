//! The lab as its users see it: machines planned or refused, guests booted.
//!
//! Guests need QEMU and a kernel. They are fetched once; without a network, or Debian's archive, these
//! tests fail and say what to do.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first thing that is wrong"
)]

mod boot;
mod machines;
mod packages;
mod provisions;
