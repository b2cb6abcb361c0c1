//! Dataset Management (NVM Command Set 1.1 §3.3.3).

use p2pdma_spec::nvme::nvm::{
    DatasetManagementCdw10, DatasetManagementCdw11, DatasetRange, MAX_DATASET_RANGES,
};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::super::dma::Use;
use super::super::engine::BLOCKS_PER_CALL;
use super::super::namespace::write_status;
use super::super::reply::Stop;
use super::{CopyRange, Env, Failure, Io, Kind, Limits, find_data};

impl Io {
    /// Reads the ranges. Whatever is no deallocation is a hint, which the medium has no use for.
    pub(super) fn begin_dataset(
        &mut self,
        limits: &Limits,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> Result<Kind, Failure> {
        env.subsystem.attached(self.nsid, limits.attached)?;
        let count = DatasetManagementCdw10::from(entry.cdw10).ranges();
        let deallocates = DatasetManagementCdw11::from(entry.cdw11).ad();
        let mut ranges = [DatasetRange::new_zeroed(); MAX_DATASET_RANGES];
        let ranges = &mut ranges[..count];
        let bytes = u32::try_from(size_of_val(ranges)).unwrap_or(u32::MAX);
        find_data(entry, bytes, limits, Use::WriteData, &mut env.dma, &mut self.data)?;
        self.data.gather(&mut env.dma, ranges.as_mut_bytes())?;
        self.ranges.clear();
        if deallocates {
            let nsid = self.nsid;
            let parsed =
                ranges.iter().map(|range| CopyRange::of(nsid, range.slba.get(), range.llb.get()));
            self.ranges.extend(parsed);
        }
        (self.first, self.count, self.bytes, self.next) = (0, 0, 0, 0);
        Ok(Kind::Deallocate)
    }

    /// Deallocates as many blocks as are a turn's work. All ranges must exist before any is deallocated.
    pub(super) fn deallocate(
        &mut self,
        limits: &Limits,
        env: &mut Env<'_, '_>,
    ) -> Result<(), Stop> {
        // What counts as work, and no range.
        self.count = 0;
        let namespace = self.writable(limits, &mut env.subsystem)?;
        for range in &self.ranges[self.next..] {
            namespace.check_range(range.first, u64::from(range.count))?;
        }
        let mut left = BLOCKS_PER_CALL;
        while left > 0
            && let Some(range) = self.ranges.get_mut(self.next)
        {
            let count = left.min(u64::from(range.count));
            if count > 0 {
                let (at, len) = namespace.bytes(range.first, count);
                namespace.store.media().discard(at, len).map_err(write_status)?;
                namespace.bad.heal(range.first, count);
            }
            range.first += count;
            // At most as much as there is.
            range.count -= u32::try_from(count).unwrap_or(range.count);
            left -= count;
            self.next += usize::from(range.count == 0);
        }
        self.count = u32::try_from(BLOCKS_PER_CALL - left).unwrap_or(u32::MAX);
        if self.next < self.ranges.len() {
            return Err(Stop::Unfinished);
        }
        if namespace.volatile && limits.write_through {
            namespace.flush()?;
        }
        Ok(())
    }
}
