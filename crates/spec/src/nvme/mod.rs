//! NVM Express: registers, queues, commands, and the structures that commands carry
//! (NVMe Base 2.1, NVM Command Set 1.1, NVMe over PCIe Transport 1.1).

pub mod admin;
pub mod cmb;
pub mod feature;
pub mod identify;
pub mod log;
pub mod namespace;
pub mod nvm;
pub mod pmr;
pub mod protection;
pub mod prp;
pub mod queue;
pub mod registers;
pub mod sgl;
pub mod status;
pub mod temperature;

/// The NSID that addresses every namespace (NVMe Base 2.1 §3.2.1.2).
pub const NSID_ALL: u32 = 0xFFFF_FFFF;

open_enum! {
    /// Command Set Identifiers (NVMe Base 2.1 §5.1.13.1, Figure 311).
    pub struct CommandSet: u8 {
        NVM = 0x00 => "NVM Command Set",
        KEY_VALUE = 0x01 => "Key Value Command Set",
        ZONED = 0x02 => "Zoned Namespace Command Set",
        SUBSYSTEM_LOCAL_MEMORY = 0x03 => "Subsystem Local Memory Command Set",
        COMPUTATIONAL_PROGRAMS = 0x04 => "Computational Programs Command Set",
    }
}
