//! What runs inside: a job, and the file system in memory that it finds.

mod archive;
mod initramfs;
mod job;
mod libraries;
mod modules;
mod packages;

pub use job::{GuestFile, Job, Program};

pub(crate) use initramfs::{CONTROL, ERR, LOG, OUT, PORTS, write as write_initramfs};
pub(crate) use libraries::is_static;
