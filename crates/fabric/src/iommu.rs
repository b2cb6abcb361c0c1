//! The IOMMU: a domain per function, translation at the root, and a record of every fault.

use std::collections::{BTreeMap, VecDeque};

use p2pdma_pci::{Bdf, BusAddr, Iova};

use crate::tlp::Access;

/// What a mapping allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permission {
    /// The function may read.
    pub read: bool,
    /// The function may write.
    pub write: bool,
}

impl Permission {
    /// Reading and writing, which is what a mapping allows at first.
    pub const READ_WRITE: Self = Self { read: true, write: true };

    fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.read,
            Access::Write => self.write,
        }
    }
}

/// A request that the IOMMU stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultRecord {
    /// Who sent it.
    pub requester: Bdf,
    /// The address.
    pub iova: Iova,
    /// What it wanted.
    pub access: Access,
    /// Why it was stopped.
    pub reason: FaultReason,
}

/// Why the IOMMU stopped a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultReason {
    /// No mapping covers the address.
    NotMapped,
    /// The mapping does not allow this access.
    NotPermitted,
    /// The request claims to be translated, and the function may not send such requests.
    TranslatedNotAllowed,
    /// The requester ID belongs to no function, so it has no domain.
    NoDomain,
    /// An interrupt message whose data value belongs to another function.
    ForeignInterrupt,
}

/// A page: mappings begin and end at multiples of this many bytes.
pub(crate) const PAGE: u64 = 4096;

/// Why a mapping was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MapError {
    /// Not a multiple of 4 KiB, or empty.
    #[error("{iova} for {len:#x} bytes is not a whole number of 4 KiB pages")]
    NotAligned {
        /// Where the mapping was to begin.
        iova: Iova,
        /// Its length in bytes.
        len: u64,
    },
    /// Part of the range is mapped already.
    #[error("{iova} for {len:#x} bytes overlaps a mapping")]
    Overlap {
        /// Where the mapping was to begin.
        iova: Iova,
        /// Its length in bytes.
        len: u64,
    },
}

/// One function's address space.
#[derive(Debug, Clone, Default)]
pub(crate) struct Domain {
    /// Start to mapping; none overlap.
    mappings: BTreeMap<u64, Mapping>,
    /// Whether the function may send requests that claim to be translated.
    pub(crate) translated_allowed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Mapping {
    end: u64,
    target: u64,
    permission: Permission,
}

/// Where a translated run of addresses leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Translation {
    /// First and one past the last address with this answer.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// What `start` becomes.
    pub(crate) target: u64,
}

impl Domain {
    pub(crate) fn map(
        &mut self,
        iova: Iova,
        len: u64,
        target: BusAddr,
        permission: Permission,
    ) -> Result<(), MapError> {
        let aligned = [iova.0, len, target.0].iter().all(|value| value.is_multiple_of(PAGE));
        let end = iova.0.checked_add(len).filter(|_| aligned && len > 0);
        let end = end.ok_or(MapError::NotAligned { iova, len })?;
        let before = self.mappings.range(..end).next_back();
        if before.is_some_and(|(_, mapping)| mapping.end > iova.0) {
            return Err(MapError::Overlap { iova, len });
        }
        self.mappings.insert(iova.0, Mapping { end, target: target.0, permission });
        Ok(())
    }

    /// Changes what the mapping that was made at `iova` allows; false if there is none.
    pub(crate) fn permit(&mut self, iova: Iova, permission: Permission) -> bool {
        let mapping = self.mappings.get_mut(&iova.0);
        mapping.map(|mapping| mapping.permission = permission).is_some()
    }

    /// Removes the mapping that was made at `iova`; false if there is none.
    pub(crate) fn unmap(&mut self, iova: Iova) -> bool {
        self.mappings.remove(&iova.0).is_some()
    }

    /// What `at` leads to, with the whole run of addresses for which that holds.
    pub(crate) fn translate(&self, at: u64, access: Access) -> Result<Translation, FaultReason> {
        let found = self.mappings.range(..=at).next_back();
        let (&start, mapping) =
            found.filter(|(_, mapping)| at < mapping.end).ok_or(FaultReason::NotMapped)?;
        if !mapping.permission.allows(access) {
            return Err(FaultReason::NotPermitted);
        }
        Ok(Translation { start, end: mapping.end, target: mapping.target })
    }
}

/// The last faults, oldest first, and how many there were in all.
#[derive(Debug, Default)]
pub(crate) struct FaultLog {
    records: VecDeque<FaultRecord>,
    pub(crate) total: u64,
}

impl FaultLog {
    /// As many as are kept: a storm of faults must not eat memory.
    const KEPT: usize = 256;

    pub(crate) fn push(&mut self, record: FaultRecord) {
        self.total += 1;
        if self.records.len() == Self::KEPT {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub(crate) fn take(&mut self) -> Vec<FaultRecord> {
        self.records.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_ONLY: Permission = Permission { read: true, write: false };

    #[test]
    fn translation_keeps_to_its_mapping() {
        let mut domain = Domain::default();
        domain.map(Iova(0x1000), 0x2000, BusAddr(0x9000), Permission::READ_WRITE).unwrap();
        domain.map(Iova(0x3000), 0x1000, BusAddr(0x4000), READ_ONLY).unwrap();
        let found = domain.translate(0x2fff, Access::Write).unwrap();
        assert_eq!(found, Translation { start: 0x1000, end: 0x3000, target: 0x9000 });
        assert_eq!(domain.translate(0x3000, Access::Write), Err(FaultReason::NotPermitted));
        assert_eq!(domain.translate(0x3000, Access::Read).unwrap().target, 0x4000);
        for outside in [0, 0xfff, 0x4000, u64::MAX] {
            assert_eq!(domain.translate(outside, Access::Read), Err(FaultReason::NotMapped));
        }
        assert!(domain.unmap(Iova(0x1000)));
        assert!(!domain.unmap(Iova(0x1000)));
        assert_eq!(domain.translate(0x2fff, Access::Write), Err(FaultReason::NotMapped));
    }

    #[test]
    fn bad_mappings_are_refused() {
        let mut domain = Domain::default();
        let mut map = |iova, len, target| {
            domain.map(Iova(iova), len, BusAddr(target), Permission::READ_WRITE)
        };
        assert!(map(0x2000, 0x2000, 0).is_ok());
        for (iova, len) in [(0x1000, 0x2000), (0x2000, 0x1000), (0x3000, 0x2000), (0, 0x9000)] {
            assert!(matches!(map(iova, len, 0), Err(MapError::Overlap { .. })), "{iova:x}");
        }
        for (iova, len, target) in [
            (0x10, 0x1000, 0),
            (0, 0x10, 0),
            (0, 0x1000, 8),
            (0, 0, 0),
            (u64::MAX - 0xfff, 0x1000, 0),
        ] {
            assert!(matches!(map(iova, len, target), Err(MapError::NotAligned { .. })), "{iova:x}");
        }
        assert!(map(0x1000, 0x1000, 0).is_ok());
        assert!(map(0x4000, 0x1000, 0).is_ok());
    }

    #[test]
    fn a_storm_of_faults_keeps_the_last_and_counts_all() {
        let mut log = FaultLog::default();
        for iova in 0..1000 {
            let requester = Bdf::from_requester(0, 0x100);
            let reason = FaultReason::NotMapped;
            log.push(FaultRecord { requester, iova: Iova(iova), access: Access::Read, reason });
        }
        let kept = log.take();
        assert_eq!((kept.len(), log.total), (256, 1000));
        assert_eq!(kept.first().map(|record| record.iova), Some(Iova(744)));
    }
}
