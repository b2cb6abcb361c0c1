//! The memory that a command's data pointer stands for, walked once and owned.

use p2pdma_spec::nvme::status::Status;

use super::dma::{Dma, Use};

/// A run of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) at: u64,
    pub(crate) len: u32,
    /// A bit bucket: the controller throws away what it would put here.
    pub(crate) bucket: bool,
}

/// The runs of memory of one transfer, in order, and how far it has come.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    list: Vec<Segment>,
    index: usize,
    /// Bytes of the present segment that are done.
    offset: u32,
}

impl Segments {
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.index = 0;
        self.offset = 0;
    }

    /// Begins a list with its first run of memory.
    #[inline]
    pub(crate) fn start(
        &mut self,
        dma: &Dma<'_, '_>,
        at: u64,
        len: u32,
        usage: Use,
    ) -> Result<(), Status> {
        self.clear();
        dma.own().check(at, u64::from(len), usage)?;
        self.list.push(Segment { at, len, bucket: false });
        Ok(())
    }

    /// Adds a run of memory, joined to the one before where they touch.
    #[inline]
    pub(crate) fn push(
        &mut self,
        dma: &Dma<'_, '_>,
        at: u64,
        len: u32,
        usage: Use,
    ) -> Result<(), Status> {
        dma.own().check(at, u64::from(len), usage)?;
        if let Some(last) = self.list.last_mut()
            && !last.bucket
            && last.at.checked_add(u64::from(last.len)) == Some(at)
            && let Some(joined) = last.len.checked_add(len)
        {
            last.len = joined;
        } else {
            self.list.push(Segment { at, len, bucket: false });
        }
        Ok(())
    }

    /// Adds bytes to be thrown away.
    pub(crate) fn push_bucket(&mut self, len: u32) {
        self.list.push(Segment { at: 0, len, bucket: true });
    }

    /// What is left of the present segment.
    #[inline]
    fn present(&mut self) -> Option<Segment> {
        loop {
            let segment = self.list.get(self.index)?;
            let left = segment.len - self.offset;
            if left > 0 {
                let at = segment.at.wrapping_add(u64::from(self.offset));
                return Some(Segment { at, len: left, bucket: segment.bucket });
            }
            self.index += 1;
            self.offset = 0;
        }
    }

    /// Takes the next run of memory, at most `want` bytes. The lists were walked for the whole
    /// transfer, so that running out is a broken promise of the walker.
    #[inline]
    fn take(&mut self, want: usize) -> Result<(Segment, usize), Status> {
        let segment = self.present().ok_or(Status::INTERNAL_ERROR)?;
        let want = u32::try_from(want).unwrap_or(u32::MAX).min(segment.len);
        self.offset += want;
        Ok((segment, want as usize))
    }

    /// How many bytes the next run has, if that is memory which begins at a multiple of `align`, a power of two.
    #[inline]
    pub(crate) fn aligned_run(&mut self, align: u64) -> Option<u32> {
        let segment = self.present()?;
        (!segment.bucket && segment.at & (align - 1) == 0).then_some(segment.len)
    }

    /// Where the next bytes go if that is one run of memory: then they are taken.
    #[inline]
    fn take_run(&mut self, len: usize) -> Option<u64> {
        let segment = self.list.get(self.index)?;
        let want = u32::try_from(len).ok()?;
        let (at, left) = (segment.at.wrapping_add(self.offset.into()), segment.len - self.offset);
        if want == 0 || want > left || segment.bucket {
            return None;
        }
        self.offset += want;
        Some(at)
    }

    /// Writes the next bytes of the transfer: controller to host.
    #[inline]
    pub(crate) fn scatter(&mut self, dma: &mut Dma<'_, '_>, data: &[u8]) -> Result<(), Status> {
        match self.take_run(data.len()) {
            Some(at) => dma.write_data(at, data),
            None => self.scatter_runs(dma, data),
        }
    }

    #[inline(never)]
    fn scatter_runs(&mut self, dma: &mut Dma<'_, '_>, data: &[u8]) -> Result<(), Status> {
        let mut rest = data;
        while !rest.is_empty() {
            let (segment, len) = self.take(rest.len())?;
            let (now, later) = rest.split_at(len);
            if !segment.bucket {
                dma.write_data(segment.at, now)?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Reads the next bytes of the transfer: host to controller.
    #[inline]
    pub(crate) fn gather(&mut self, dma: &mut Dma<'_, '_>, data: &mut [u8]) -> Result<(), Status> {
        match self.take_run(data.len()) {
            Some(at) => dma.read_data(at, data),
            None => self.gather_runs(dma, data),
        }
    }

    #[inline(never)]
    fn gather_runs(&mut self, dma: &mut Dma<'_, '_>, data: &mut [u8]) -> Result<(), Status> {
        let mut rest = data;
        while !rest.is_empty() {
            let (segment, len) = self.take(rest.len())?;
            let (now, later) = rest.split_at_mut(len);
            dma.read_data(segment.at, now)?;
            rest = later;
        }
        Ok(())
    }
}
