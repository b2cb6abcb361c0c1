//! The driver on the controller model, in a fabric: two readings of the specification that know nothing
//! of each other.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

mod commands;
mod errant;
mod identify;
mod management;
mod memories;
mod peers;
mod protection;
mod queues;
mod recovery;
mod support;
mod transfers;
