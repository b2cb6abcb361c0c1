//! The controller against a host that does everything by hand.

mod host;
mod identify;
mod log;
mod queues;
mod registers;
mod smoke;
