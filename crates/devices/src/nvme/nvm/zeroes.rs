//! Write Zeroes (NVM Command Set 1.1 §3.3.8).

use p2pdma_spec::nvme::protection::ProtectionType;

use super::super::namespace::write_status;
use super::super::protection::invert;
use super::write::store;
use super::{Env, Failure, Io, Limits, Scratch};

impl Io {
    pub(super) fn write_zeroes(
        &mut self,
        limits: &Limits,
        scratch: &mut Scratch,
        env: &mut Env<'_, '_>,
    ) -> Result<(), Failure> {
        let namespace = self.writable(limits, &mut env.subsystem)?;
        let format = namespace.format;
        if format.protection == ProtectionType::NONE || self.deallocate {
            // What is discarded reads as zeroes, and costs nothing.
            let (at, len) = namespace.bytes(self.first, u64::from(self.count));
            namespace.store.media().discard(at, len).map_err(write_status)?;
            return self.settle(limits, namespace);
        }
        let stride = format.stride() as usize;
        for (start, blocks) in self.batches(&format) {
            let batch = &mut scratch.host[..blocks * stride];
            batch.fill(0);
            for (index, block) in (start..).zip(batch.chunks_mut(stride)) {
                // Without PRACT the information is all zeroes, like the data.
                if self.protection.prinfo.pract() {
                    self.protection.insert(&format, block, index);
                }
                invert(&format, block);
            }
            let (at, _) = namespace.bytes(self.first + u64::from(start), 0);
            store(namespace, at, batch)?;
        }
        self.settle(limits, namespace)
    }
}
