//! The controller against a host that does everything by hand.

mod cmb;
mod commands;
mod events;
mod features;
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
