//! The data mover against a host that writes its registers and rings by hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]
#![expect(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]

mod copies;
mod errors;
mod hostile;
mod machine;
mod registers;
mod resets;
