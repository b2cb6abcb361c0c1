//! The controller against a host that does everything by hand.

mod events;
mod features;
mod host;
mod identify;
mod log;
mod pointers;
mod queues;
mod registers;
mod smoke;
