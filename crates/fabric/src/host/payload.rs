//! The firmware's choice of packet sizes: the same for every function, so that no payload is too large for
//! whoever receives it.

use p2pdma_pci::{Bdf, Width};
use p2pdma_spec::pci::capability::{CapabilityId, MAX_CAPABILITIES};
use p2pdma_spec::pci::config::{HEADER_SIZE, offset};
use p2pdma_spec::pci::express::{self, DeviceControl};

use crate::state::State;

/// Programs Max_Payload_Size and Max_Read_Request_Size of a function to the machine's.
pub(super) fn program(state: &mut State, bdf: Bdf) {
    let Some(express) = find_express(state, bdf) else {
        return;
    };
    let model = state.machine.timing.model();
    let at = express + express::offset::DEVICE_CONTROL;
    let [low, high, ..] = state.config_read(bdf, at, Width::Word).to_le_bytes();
    let control = DeviceControl::from_bits(u16::from_le_bytes([low, high]))
        .with_max_payload(model.max_payload)
        .with_max_read_request(model.max_read_request);
    state.config_write(bdf, at, Width::Word, u32::from(control.into_bits()));
}

/// The PCI Express capability; the function that stands for a host bridge has none.
fn find_express(state: &State, bdf: Bdf) -> Option<u16> {
    let byte = |at| state.config_read(bdf, at, Width::Byte).to_le_bytes()[0];
    let mut next = byte(offset::CAPABILITIES_POINTER) & !3;
    for _ in 0..MAX_CAPABILITIES {
        let at = u16::from(next);
        if at < HEADER_SIZE {
            return None;
        }
        if byte(at) == CapabilityId::PCI_EXPRESS.into_bits() {
            return Some(at);
        }
        next = byte(at + 1) & !3;
    }
    None
}
