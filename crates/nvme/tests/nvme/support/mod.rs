//! A platform without a fabric and a controller that can lie: what the driver is tried on by itself.

pub(crate) mod controller;
pub(crate) mod identify;
pub(crate) mod mischief;
pub(crate) mod platform;
pub(crate) mod random;
pub(crate) mod walk;

use std::sync::Arc;

use p2pdma_nvme::{Controller, Error, Options};

use controller::FakeController;
use platform::Machine;

/// Options that fit a small machine.
pub(crate) fn options() -> Options {
    Options { max_transfer: 256 << 10, io_queues: 8, ..Options::default() }
}

/// Plugs a controller into a machine of its own, and opens it.
pub(crate) fn open(fake: FakeController) -> (Machine, Result<Controller, Error>) {
    let machine = Machine::new(Box::new(fake), 4 << 20);
    let controller = Controller::open(Arc::new(machine.clone()), options());
    (machine, controller)
}
