//! The fabric as its users see it.

mod routing;
mod support;
