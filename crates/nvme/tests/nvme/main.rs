//! The driver on a platform and a controller of the tests' own.

mod bring_up;
mod support;
