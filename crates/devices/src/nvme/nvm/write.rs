//! Write (NVM Command Set 1.1 §3.3.6).

use std::ops::ControlFlow;

use p2pdma_spec::nvme::protection::ProtectionType;

use super::super::dma::Dma;
use super::super::namespace::{Format, Namespace, write_status};
use super::super::protection::invert;
use super::{Env, Failure, Io, Limits, Scratch};

impl Io {
    #[inline(never)]
    pub(super) fn write(
        &mut self,
        limits: &Limits,
        scratch: &mut Scratch,
        env: &mut Env<'_, '_>,
    ) -> Result<(), Failure> {
        let subsystem = &mut *env.subsystem;
        subsystem.health.write_commands += 1;
        subsystem.health.written += self.data_bytes;
        let namespace = self.writable(limits, subsystem)?;
        if !namespace.holds_data {
            return Ok(());
        }
        if namespace.format.metadata > 0 {
            self.write_blocks(namespace, scratch, &mut env.dma)?;
        } else {
            self.write_plain(namespace, scratch, &mut env.dma)?;
        }
        self.settle(limits, namespace)
    }

    /// After data were written: they can be read again, and are made durable if that was asked for, or if
    /// the host allows no cache (NVMe Base 2.1 §5.1.25.1.4).
    #[inline(always)]
    pub(super) fn settle(&self, limits: &Limits, namespace: &mut Namespace) -> Result<(), Failure> {
        let (first, count) = (self.first, u64::from(self.count));
        namespace.bad.heal(first, count);
        if namespace.volatile && (self.fua || limits.write_through) {
            let (at, len) = namespace.bytes(first, count);
            namespace.flush_range(at, len)?;
        }
        Ok(())
    }

    /// Blocks without metadata: straight into the medium where they lie well, so that they are copied
    /// once.
    ///
    /// A block may not be torn, whatever goes wrong with the transfer (AWUPF, NVM Command Set 1.1
    /// §2.1.4). A request fails as a whole or at a page boundary, so that a block within one run and
    /// aligned to its size arrives whole or not at all; any other is put together first.
    fn write_plain(
        &mut self,
        namespace: &mut Namespace,
        scratch: &mut Scratch,
        dma: &mut Dma<'_, '_>,
    ) -> Result<(), Failure> {
        let block = u64::from(namespace.format.data);
        let (mut at, mut left) = namespace.bytes(self.first, u64::from(self.count));
        while left > 0 {
            // A block is a power of two: a division would take as long as all the rest of this.
            let run = u64::from(self.data.aligned_run(block).unwrap_or(0)).min(left) & !(block - 1);
            let run = if run > 0 {
                self.write_run(namespace, dma, at, run)?;
                run
            } else {
                let whole = &mut scratch.host[..namespace.format.data as usize];
                self.data.gather(dma, whole)?;
                store(namespace, at, whole)?;
                block
            };
            at += run;
            left -= run;
        }
        Ok(())
    }

    #[inline]
    fn write_run(
        &mut self,
        namespace: &mut Namespace,
        dma: &mut Dma<'_, '_>,
        at: u64,
        len: u64,
    ) -> Result<(), Failure> {
        let data = &mut self.data;
        let mut outcome = Ok(());
        let written = namespace.store.media().write(at, len, &mut |piece| {
            outcome = data.gather(dma, piece);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        written.map_err(write_status)?;
        Ok(outcome?)
    }

    /// Blocks with metadata, through scratch memory.
    fn write_blocks(
        &mut self,
        namespace: &mut Namespace,
        scratch: &mut Scratch,
        dma: &mut Dma<'_, '_>,
    ) -> Result<(), Failure> {
        let format = namespace.format;
        let stride = format.stride() as usize;
        for (start, blocks) in self.batches(&format) {
            let batch = &mut scratch.host[..blocks * stride];
            for (index, block) in (start..).zip(batch.chunks_mut(stride)) {
                self.gather_block(&format, dma, block)?;
                self.protect(&format, block, index)?;
                invert(&format, block);
            }
            let (at, _) = namespace.bytes(self.first + u64::from(start), 0);
            store(namespace, at, batch)?;
        }
        Ok(())
    }

    /// Fetches a block with as much of its metadata as the host has.
    pub(super) fn gather_block(
        &mut self,
        format: &Format,
        dma: &mut Dma<'_, '_>,
        block: &mut [u8],
    ) -> Result<(), Failure> {
        let strips = self.strips(format);
        let (data, metadata) = block.split_at_mut(format.data as usize);
        self.data.gather(dma, data)?;
        if strips {
            metadata.fill(0);
        } else {
            let segments = if format.extended { &mut self.data } else { &mut self.metadata };
            segments.gather(dma, metadata)?;
        }
        Ok(())
    }

    /// Generates protection information, or checks what the host sent.
    fn protect(&self, format: &Format, block: &mut [u8], index: u32) -> Result<(), Failure> {
        if format.protection == ProtectionType::NONE {
            return Ok(());
        }
        if self.protection.prinfo.pract() {
            self.protection.insert(format, block, index);
            return Ok(());
        }
        Ok(self.protection.check(format, block, index)?)
    }
}

/// Writes bytes that are at hand to the medium.
pub(super) fn store(namespace: &mut Namespace, at: u64, data: &[u8]) -> Result<(), Failure> {
    let mut rest = data;
    let written = namespace.store.media().write(at, data.len() as u64, &mut |piece| {
        let (now, later) = rest.split_at(piece.len().min(rest.len()));
        piece[..now.len()].copy_from_slice(now);
        rest = later;
        ControlFlow::Continue(())
    });
    Ok(written.map_err(write_status)?)
}
