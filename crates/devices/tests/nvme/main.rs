//! The controller against a host that does everything by hand.

mod commands;
mod events;
mod features;
mod host;
mod identify;
mod log;
mod namespaces;
mod pointers;
mod protection;
mod queues;
mod registers;
mod smoke;
