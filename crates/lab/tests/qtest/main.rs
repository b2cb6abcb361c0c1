//! Our driver on NVMe controllers that we did not write: QEMU's, without a guest.
//!
//! QEMU is driven over its qtest socket ([`support`]), so that a controller is up in a fraction of a
//! second. Everything that our driver is asked to do there it is asked to do on our own controller model,
//! too, on a machine from the same file ([`machine`]): driver and model cannot share a misreading of the
//! specification that QEMU's authors do not share.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first thing that is wrong"
)]
#![expect(clippy::print_stdout, reason = "the counts are for people")]

mod cases;
mod machine;
mod random;
mod support;
