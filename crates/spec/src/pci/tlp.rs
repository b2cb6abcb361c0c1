//! Headers of memory requests, as the Header Log keeps them (PCIe 6.0 §2.2.4.1, §2.2.7.1, §7.8.4.8): the
//! first byte on the link is in bits 31 to 24 of the first word.

use bitfield_struct::bitfield;

/// The first word of a header (PCIe 6.0 §2.2.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct HeaderStart {
    /// Length of the payload, or of what is asked for, in units of 4 bytes; 0 is 1024.
    #[bits(10)]
    pub length: u16,
    /// Address Type: 0 untranslated, 1 translation request, 2 translated (PCIe 6.0 §10.2.1).
    #[bits(2)]
    pub address_type: u8,
    /// No Snoop.
    pub no_snoop: bool,
    /// Relaxed Ordering.
    pub relaxed_ordering: bool,
    /// EP: the payload is poisoned.
    pub poisoned: bool,
    /// TD: a digest follows the payload.
    pub digest: bool,
    /// TH: processing hints are present.
    pub hints: bool,
    __: bool,
    /// ID-Based Ordering.
    pub id_based_ordering: bool,
    /// Bit 8 of the tag.
    pub tag_8: bool,
    /// Traffic Class.
    #[bits(3)]
    pub traffic_class: u8,
    /// Bit 9 of the tag.
    pub tag_9: bool,
    /// Type: 0 is a memory request.
    #[bits(5)]
    pub kind: u8,
    /// The header has four words, not three: its address has 64 bits.
    pub four_words: bool,
    /// A payload follows: a write.
    pub payload: bool,
    /// A prefix, and no header.
    pub prefix: bool,
}
display_words!(HeaderStart {
    "Length" => (length), "AT" => (address_type), "NoSnoop" => (no_snoop),
    "RlxdOrd" => (relaxed_ordering), "EP" => (poisoned), "TD" => (digest), "TH" => (hints),
    "IDO" => (id_based_ordering), "T8" => (tag_8), "TC" => (traffic_class), "T9" => (tag_9),
    "Type" => hex(kind), "4DW" => (four_words), "Data" => (payload), "Prefix" => (prefix),
});

/// The second word of a memory request's header (PCIe 6.0 §2.2.7.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct HeaderSender {
    /// First DW Byte Enables.
    #[bits(4)]
    pub first_enables: u8,
    /// Last DW Byte Enables; 0 if there is one word only.
    #[bits(4)]
    pub last_enables: u8,
    /// Bits 7 to 0 of the tag.
    pub tag: u8,
    /// Requester ID.
    pub requester: u16,
}
display_words!(HeaderSender {
    "FirstBE" => hex(first_enables), "LastBE" => hex(last_enables), "Tag" => hex(tag),
    "Requester" => hex(requester),
});

/// What the header of a memory request says. The tag is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRequest {
    /// The address of the first byte.
    pub address: u64,
    /// How many bytes, from 1; all of them are in the same 4 KiB (PCIe 6.0 §2.2.7.1).
    pub len: u16,
    /// Whether it is a write.
    pub write: bool,
    /// Requester ID.
    pub requester: u16,
    /// Whether the address is said to be translated.
    pub translated: bool,
    /// Relaxed Ordering.
    pub relaxed_ordering: bool,
    /// Whether the payload is poisoned.
    pub poisoned: bool,
}

impl MemoryRequest {
    /// The header's four words; the last is 0 where three do, which is below 4 GiB.
    #[must_use]
    pub fn header(&self) -> [u32; 4] {
        let before = u16::from(self.address.to_le_bytes()[0] & 3);
        let end = before.saturating_add(self.len);
        let words = end.div_ceil(4);
        let wide = self.address >> 32 != 0;
        let start = HeaderStart::new()
            .with_length(words % 1024)
            .with_address_type(if self.translated { 2 } else { 0 })
            .with_relaxed_ordering(self.relaxed_ordering)
            .with_poisoned(self.poisoned)
            .with_four_words(wide)
            .with_payload(self.write);
        let (from, to) = (0xf << before & 0xf, 0xf >> (words * 4 - end).min(3));
        let (first, last) = if words == 1 { (from & to, 0) } else { (from, to) };
        let sender = HeaderSender::new()
            .with_first_enables(first)
            .with_last_enables(last)
            .with_requester(self.requester);
        let [a, b, c, d, upper @ ..] = self.address.to_le_bytes();
        let (low, high) = (u32::from_le_bytes([a & !3, b, c, d]), u32::from_le_bytes(upper));
        let address = if wide { [high, low] } else { [low, 0] };
        [start.into_bits(), sender.into_bits(), address[0], address[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: MemoryRequest = MemoryRequest {
        address: 0xfee0_0000,
        len: 4,
        write: false,
        requester: 0x0100,
        translated: false,
        relaxed_ordering: false,
        poisoned: false,
    };

    #[test]
    fn headers_as_kernels_print_them() {
        // A memory write of 4 bytes to the interrupt range by 01:00.0: "TLP Header: 40000001 0100000f fee00000".
        let write = MemoryRequest { write: true, ..READ };
        assert_eq!(write.header(), [0x4000_0001, 0x0100_000f, 0xfee0_0000, 0]);
        assert_eq!(READ.header(), [0x0000_0001, 0x0100_000f, 0xfee0_0000, 0]);
        let far = MemoryRequest { address: 0x12_3456_7000, len: 4096, ..READ };
        assert_eq!(far.header(), [0x2000_0000, 0x0100_00ff, 0x12, 0x3456_7000]);
        let odd =
            MemoryRequest { relaxed_ordering: true, poisoned: true, translated: true, ..write };
        assert_eq!(odd.header()[0], 0x4000_6801);
    }

    #[test]
    fn byte_enables_name_exactly_the_bytes() {
        for before in 0..4_u64 {
            for len in 1..20_u16 {
                let [start, sender, address, _] =
                    MemoryRequest { address: 0x1000 + before, len, ..READ }.header();
                let words = HeaderStart::from_bits(start).length();
                let sender = HeaderSender::from_bits(sender);
                let enables = |word: u16| match word {
                    0 => sender.first_enables(),
                    last if last + 1 == words => sender.last_enables(),
                    _ => 0xf,
                };
                let enabled = |byte: &u64| {
                    let word = u16::try_from(byte / 4).unwrap();
                    enables(word) >> (byte % 4) & 1 != 0
                };
                let bytes: Vec<u64> = (0..u64::from(words) * 4).filter(enabled).collect();
                let expected: Vec<u64> = (before..before + u64::from(len)).collect();
                assert_eq!((bytes, address), (expected, 0x1000), "{before} {len}");
                assert!(words > 1 || sender.last_enables() == 0);
            }
        }
    }
}
