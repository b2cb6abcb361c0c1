//! The command on a real kernel, in the lab: what it copies, what it refuses, what it finds out by data.
//!
//! Each boot runs one script, whose steps are told apart by their names.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside #[test] functions fail a test by panicking"
)]

mod arches;
mod broken_off;
mod driver;
mod guest;
mod multipath;
mod passthrough;
mod refusals;
mod revocation;
mod speed;
mod vfio;
mod vfio_answers;
mod vfio_iommufd;
mod vfio_recall;
mod volumes;
