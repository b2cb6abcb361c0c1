//! The two lists of capabilities (PCIe 6.0 §7.5.1.1.11 and §7.6).

use p2pdma_pci::topology::{Cause, Known};
use p2pdma_spec::pci::capability::{
    CapabilityHeader, CapabilityId, EXTENDED_START, ExtendedCapabilityHeader, ExtendedCapabilityId,
};
use p2pdma_spec::pci::config::{COMPATIBLE_SIZE, HEADER_SIZE, SIZE, Status, offset};

use super::Config;

const SPOILT: Known<Option<u16>> = Known::Unknown(Cause::Unreadable);

/// The places that a walk has been to: one bit for each four bytes.
struct Visited([u64; 16]);

impl Visited {
    /// Notes a place; whether it is new.
    fn visit(&mut self, at: u16) -> bool {
        let (word, bit) = (usize::from(at / 4 / 64), at / 4 % 64);
        let Some(word) = self.0.get_mut(word) else { return false };
        let new = *word >> bit & 1 == 0;
        *word |= 1 << bit;
        new
    }
}

/// Finds the first capability of its kind in the first 256 bytes.
pub(super) fn capability(config: &Config, id: CapabilityId) -> Known<Option<u16>> {
    match config.word(offset::STATUS) {
        Known::Unknown(cause) => return Known::Unknown(cause),
        Known::Value(status) if !Status::from_bits(status).capabilities_list() => {
            return Known::Value(None);
        }
        Known::Value(_) => {}
    }
    let mut next = match config.byte(offset::CAPABILITIES_POINTER) {
        Known::Unknown(cause) => return Known::Unknown(cause),
        Known::Value(pointer) => u16::from(pointer & !3),
    };
    let mut visited = Visited([0; 16]);
    while next != 0 {
        if next < HEADER_SIZE || !visited.visit(next) {
            return SPOILT;
        }
        let header = match config.word(next) {
            Known::Value(u16::MAX) => return SPOILT,
            Known::Value(bits) => CapabilityHeader::from_bits(bits),
            Known::Unknown(_) if config.bytes.len() >= usize::from(COMPATIBLE_SIZE) => {
                return SPOILT;
            }
            Known::Unknown(cause) => return Known::Unknown(cause),
        };
        if header.id() == id {
            return Known::Value(Some(next));
        }
        next = u16::from(header.next() & !3);
    }
    Known::Value(None)
}

/// Finds the first extended capability of its kind.
pub(super) fn extended(config: &Config, id: ExtendedCapabilityId) -> Known<Option<u16>> {
    let mut next = EXTENDED_START;
    let mut visited = Visited([0; 16]);
    loop {
        if next < EXTENDED_START || !visited.visit(next) {
            return SPOILT;
        }
        let bits = match config.dword(next) {
            Known::Value(u32::MAX) => return SPOILT,
            // An empty list has a first header of zeroes; a later one is no capability.
            Known::Value(0) if next == EXTENDED_START => return Known::Value(None),
            Known::Value(0) => return SPOILT,
            Known::Value(bits) => bits,
            Known::Unknown(_) if config.bytes.len() >= usize::from(SIZE) => return SPOILT,
            Known::Unknown(cause) => return Known::Unknown(cause),
        };
        let header = ExtendedCapabilityHeader::from_bits(bits);
        if header.id() == id {
            return Known::Value(Some(next));
        }
        next = header.next() & !3;
        if next == 0 {
            return Known::Value(None);
        }
    }
}
