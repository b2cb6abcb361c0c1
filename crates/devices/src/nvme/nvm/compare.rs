//! Compare (NVM Command Set 1.1 §3.3.1).

use p2pdma_spec::nvme::protection::ProtectionType;
use p2pdma_spec::nvme::status::Status;

use super::super::namespace::Format;
use super::{Env, Failure, Io, Limits, Scratch};

impl Io {
    pub(super) fn compare(
        &mut self,
        limits: &Limits,
        scratch: &mut Scratch,
        env: &mut Env<'_, '_>,
    ) -> Result<(), Failure> {
        let health = &mut env.subsystem.health;
        health.read_commands += 1;
        health.read += self.data_bytes;
        let namespace = self.readable(limits, &mut env.subsystem)?;
        if namespace.bad.any(self.first, u64::from(self.count)) {
            return Err(Status::UNRECOVERED_READ_ERROR.into());
        }
        let format = namespace.format;
        let stride = format.stride() as usize;
        for (start, blocks) in self.batches(&format) {
            self.load(namespace, scratch, start, blocks)?;
            let theirs = scratch.host.chunks_mut(stride).zip(scratch.media.chunks(stride));
            for (index, (theirs, ours)) in (start..).zip(theirs.take(blocks)) {
                self.gather_block(&format, &mut env.dma, theirs)?;
                self.check_block(&format, ours, index)?;
                if !same(&format, theirs, ours) {
                    return Err(Status::COMPARE_FAILURE.into());
                }
            }
        }
        Ok(())
    }
}

/// Protection information is checked, not compared.
fn same(format: &Format, a: &[u8], b: &[u8]) -> bool {
    if format.protection == ProtectionType::NONE {
        return a == b;
    }
    let info = format.info_range();
    a[..info.start] == b[..info.start] && a[info.end..] == b[info.end..]
}
