//! The host: its memory, its interrupt controller, its processor's accesses, and its firmware.

mod access;
mod configure;
pub(crate) mod enumerate;
pub(crate) mod function;
pub(crate) mod interrupt;
pub(crate) mod memory;
mod payload;
pub(crate) mod stream;
