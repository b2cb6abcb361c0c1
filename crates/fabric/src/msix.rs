//! MSI-X: the table and the pending bits, kept by the fabric for every function (PCIe 6.0 §6.1.4).

/// A function's vectors.
#[derive(Debug, Clone)]
pub(crate) struct Msix {
    /// 16 bytes a vector, as the specification lays them out.
    entries: Vec<Entry>,
    pending: Vec<u64>,
    pub(crate) enabled: bool,
    pub(crate) function_mask: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry([u32; 4]);

impl Entry {
    /// Masked is the state after reset.
    const RESET: Self = Self([0, 0, 0, 1]);

    fn masked(self) -> bool {
        self.0[3] & 1 != 0
    }
}

/// The memory write that is an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) address: u64,
    pub(crate) data: u32,
}

/// Bytes per table entry.
pub(crate) const ENTRY: u64 = 16;

impl Msix {
    pub(crate) fn new(vectors: u16) -> Self {
        Self {
            entries: vec![Entry::RESET; usize::from(vectors)],
            pending: vec![0; usize::from(vectors).div_ceil(64)],
            enabled: false,
            function_mask: false,
        }
    }

    pub(crate) fn vectors(&self) -> u16 {
        u16::try_from(self.entries.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.vectors());
    }

    /// Raises a vector: the message to send, or none if it is masked (then it is pending) or absent.
    pub(crate) fn raise(&mut self, vector: u16) -> Option<Message> {
        let entry = self.entries.get(usize::from(vector))?;
        if !self.enabled {
            return None;
        }
        if entry.masked() || self.function_mask {
            self.pending[usize::from(vector) / 64] |= 1 << (vector % 64);
            return None;
        }
        let [low, high, data, _] = entry.0;
        Some(Message { address: u64::from(high) << 32 | u64::from(low), data })
    }

    /// The next pending vector that may be sent by now; it is pending no more.
    pub(crate) fn take_deliverable(&mut self) -> Option<Message> {
        if !self.enabled || self.function_mask {
            return None;
        }
        let waits = |vector: &u16| {
            let index = usize::from(*vector);
            self.pending[index / 64] >> (index % 64) & 1 != 0 && !self.entries[index].masked()
        };
        let vector = (0..self.vectors()).find(waits)?;
        self.pending[usize::from(vector) / 64] &= !(1 << (vector % 64));
        self.raise(vector)
    }

    pub(crate) fn read_table(&self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = self.table_byte(at);
        }
    }

    fn table_byte(&self, at: u64) -> u8 {
        let entry = usize::try_from(at / ENTRY).ok().and_then(|index| self.entries.get(index));
        let word = entry.map_or(0, |entry| entry.0[usize::from(at.to_le_bytes()[0] % 16 / 4)]);
        word.to_le_bytes()[usize::from(at.to_le_bytes()[0] % 4)]
    }

    /// Table writes are whole dwords or quadwords (PCIe 6.0 §7.7.2.5); others are ignored.
    pub(crate) fn write_table(&mut self, offset: u64, data: &[u8]) {
        if !offset.is_multiple_of(4) || !matches!(data.len(), 4 | 8) {
            return;
        }
        for (step, word) in (0..).zip(data.chunks_exact(4)) {
            let (Some(at), Ok(word)) = (offset.checked_add(step * 4), <[u8; 4]>::try_from(word))
            else {
                continue;
            };
            let index = usize::try_from(at / ENTRY).unwrap_or(usize::MAX);
            if let Some(entry) = self.entries.get_mut(index) {
                let field = usize::from(at.to_le_bytes()[0] % 16 / 4);
                let value = u32::from_le_bytes(word);
                // The message address is a multiple of 4; of the vector control only the mask exists.
                entry.0[field] = match field {
                    0 => value & !3,
                    3 => value & 1,
                    _ => value,
                };
            }
        }
    }

    pub(crate) fn read_pending(&self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            let word = usize::try_from(at / 8).ok().and_then(|index| self.pending.get(index));
            *byte = word.map_or(0, |word| word.to_le_bytes()[usize::from(at.to_le_bytes()[0] % 8)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programmed(vectors: u16) -> Msix {
        let mut msix = Msix::new(vectors);
        for vector in 0..vectors {
            let at = u64::from(vector) * ENTRY;
            msix.write_table(at, &0xfee0_1000_u64.to_le_bytes());
            msix.write_table(at + 8, &u64::from(vector).to_le_bytes());
        }
        msix.enabled = true;
        msix
    }

    #[test]
    fn masked_is_pending_and_comes_when_unmasked() {
        let mut msix = programmed(70);
        assert_eq!(msix.raise(69), Some(Message { address: 0xfee0_1000, data: 69 }));
        msix.write_table(69 * ENTRY + 12, &1_u32.to_le_bytes());
        assert_eq!((msix.raise(69), msix.raise(69)), (None, None));
        let mut bits = [0; 16];
        msix.read_pending(0, &mut bits);
        assert_eq!(bits[8], 1 << 5);
        assert_eq!(msix.take_deliverable(), None);
        msix.write_table(69 * ENTRY + 12, &0_u32.to_le_bytes());
        assert_eq!(msix.take_deliverable().map(|message| message.data), Some(69));
        assert_eq!(msix.take_deliverable(), None);
    }

    #[test]
    fn every_small_state_sends_exactly_when_the_specification_says() {
        let mut states = 0;
        for bits in 0..16_u16 {
            let bit = |at: u16| bits >> at & 1 != 0;
            // Vector 0 exists, vector 3 does not.
            let (enabled, function_mask, mask, vector) = (bit(0), bit(1), bit(2), bits / 8 * 3);
            let mut msix = programmed(2);
            msix.write_table(12, &u32::from(mask).to_le_bytes());
            (msix.enabled, msix.function_mask) = (enabled, function_mask);
            let sent = msix.raise(vector).is_some();
            assert_eq!(sent, enabled && !function_mask && !mask && vector < 2);
            let mut bits = [0; 8];
            msix.read_pending(0, &mut bits);
            let pending = enabled && vector < 2 && (function_mask || mask);
            assert_eq!(u64::from_le_bytes(bits) != 0, pending);
            states += 1;
        }
        assert_eq!(states, 16);
    }

    #[test]
    fn odd_accesses_change_nothing_and_read_zero_beyond() {
        let mut msix = programmed(2);
        let before = msix.clone().entries;
        msix.write_table(1, &[0xff; 4]);
        msix.write_table(0, &[0xff; 3]);
        msix.write_table(u64::MAX - 3, &[0xff; 8]);
        msix.write_table(32, &[0xff; 8]);
        assert_eq!(msix.entries, before);
        let mut data = [0xaa; 8];
        msix.read_table(28, &mut data);
        assert_eq!(data, [0; 8]);
        msix.write_table(0, &[0xff; 4]);
        assert_eq!(msix.entries[0].0[0], 0xffff_fffc);
    }
}
