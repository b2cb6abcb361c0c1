//! From reset to ready, and back.

use p2pdma_nvme::Options;
use p2pdma_pci::Width;
use p2pdma_spec::pci::config::{Command, offset};

use crate::machine::Machine;

/// Admin queues of every kind of size, and what is left when the driver lets go.
pub(crate) fn again_and_again(machine: &dyn Machine) -> String {
    let sizes = [2, 3, 4, 16, 64, 255, 4096];
    for name in ["nvme0", "nvme1", "nvme2"] {
        for admin_entries in sizes {
            // One entry stays empty, so that two leave room for one command and no event request.
            let options = Options { admin_entries, ..Options::default() };
            let controller = machine.open_with(name, options);
            controller.check().unwrap();
            let function = machine.function(name);
            let command = || {
                let bits = function.config().read(offset::COMMAND, Width::Word).unwrap();
                Command::from_bits(u16::try_from(bits).unwrap())
            };
            assert!(command().bus_master());
            drop(controller);
            assert!(!command().bus_master(), "{name} can still reach memory");
        }
    }
    format!("{} times", 3 * sizes.len())
}
