//! The controller against a host that does everything by hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]
#![expect(clippy::print_stdout, reason = "counts are printed")]
#![expect(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]

mod cmb;
mod commands;
mod events;
mod features;
mod files;
mod historical;
mod host;
mod hostile;
mod identify;
mod log;
mod namespaces;
mod pmr;
mod pointers;
mod power;
mod protection;
mod queues;
mod random;
mod registers;
mod shadow;
mod smoke;
mod timing;
mod waiting;
mod witness;
