//! Class codes (PCIe 6.0 §7.5.1.1.6; the values are those of the PCI Code and ID Assignment).

use bitfield_struct::bitfield;

open_enum! {
    /// Base class, sub-class and programming interface in one number of 24 bits, most significant first.
    /// The names are those of `lspci`.
    pub struct ClassCode: u32 {
        SCSI_STORAGE = 0x01_00_00 => "SCSI storage controller",
        AHCI = 0x01_06_01 => "SATA controller",
        NVME = 0x01_08_02 => "Non-Volatile memory controller",
        NVME_ADMINISTRATIVE = 0x01_08_03 => "Non-Volatile memory administrative controller",
        ETHERNET = 0x02_00_00 => "Ethernet controller",
        INFINIBAND = 0x02_07_00 => "Infiniband controller",
        VGA = 0x03_00_00 => "VGA compatible controller",
        DISPLAY_3D = 0x03_02_00 => "3D controller",
        RAM = 0x05_00_00 => "RAM memory",
        MEMORY_OTHER = 0x05_80_00 => "Memory controller",
        HOST_BRIDGE = 0x06_00_00 => "Host bridge",
        PCI_BRIDGE = 0x06_04_00 => "PCI bridge",
        DMA_CONTROLLER = 0x08_01_00 => "DMA controller",
        ROOT_COMPLEX_EVENT_COLLECTOR = 0x08_07_00 => "Root Complex Event Collector",
        SYSTEM_PERIPHERAL = 0x08_80_00 => "System peripheral",
        PROCESSING_ACCELERATOR = 0x12_00_00 => "Processing accelerators",
    }
}

impl ClassCode {
    /// What devices of its base class are, in the words of `lspci`; `None` for base classes that are not
    /// assigned.
    #[must_use]
    pub const fn base_name(self) -> Option<&'static str> {
        Some(match self.base_class() {
            0x00 => "Unclassified device",
            0x01 => "Mass storage controller",
            0x02 => "Network controller",
            0x03 => "Display controller",
            0x04 => "Multimedia controller",
            0x05 => "Memory controller",
            0x06 => "Bridge",
            0x07 => "Communication controller",
            0x08 => "Generic system peripheral",
            0x09 => "Input device controller",
            0x0a => "Docking station",
            0x0b => "Processor",
            0x0c => "Serial bus controller",
            0x0d => "Wireless controller",
            0x0e => "Intelligent controller",
            0x0f => "Satellite communications controller",
            0x10 => "Encryption controller",
            0x11 => "Signal processing controller",
            0x12 => "Processing accelerators",
            0x13 => "Non-Essential Instrumentation",
            0x40 => "Coprocessor",
            0xff => "Unassigned class",
            _ => return None,
        })
    }

    /// The base class, for example 01h for mass storage.
    #[must_use]
    pub const fn base_class(self) -> u8 {
        self.into_bits().to_be_bytes()[1]
    }

    /// The sub-class, for example 08h for non-volatile memory within mass storage.
    #[must_use]
    pub const fn sub_class(self) -> u8 {
        self.into_bits().to_be_bytes()[2]
    }

    /// The programming interface, for example 02h for an NVMe I/O controller.
    #[must_use]
    pub const fn interface(self) -> u8 {
        self.into_bits().to_be_bytes()[3]
    }
}

/// The 32-bit register at offset 08h.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ClassRevision {
    /// Revision ID, chosen by the vendor.
    pub revision: u8,
    /// Class Code.
    #[bits(24)]
    pub class_code: ClassCode,
}
display_words!(ClassRevision { "Class" => (class_code), "Rev" => hex(revision) });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvme_controller_as_read_from_the_device() {
        let register = ClassRevision::from_bits(0x0108_0203);
        assert_eq!(register.revision(), 3);
        assert_eq!(register.class_code(), ClassCode::NVME);
        let class = register.class_code();
        assert_eq!((class.base_class(), class.sub_class(), class.interface()), (1, 8, 2));
        assert_eq!(register.to_string(), "Class=Non-Volatile memory controller Rev=0x3");
    }
}
