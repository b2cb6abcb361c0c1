//! Which bytes of a transfer are complete.

use super::Parts;

/// What is complete: a prefix, and islands beyond it (at most as many as there are slots). Bytes that
/// are not to be moved are complete from the beginning.
#[derive(Debug)]
pub(super) struct Extents {
    /// The length of all, moved or not.
    len: u64,
    parts: Parts,
    /// Which part the prefix ends in.
    part: usize,
    prefix: u64,
    islands: Vec<(u64, u64)>,
}

impl Extents {
    pub(super) fn new(len: u64, parts: Parts, slots: u32) -> Self {
        let islands = Vec::with_capacity(slots as usize);
        let mut extents = Self { len, parts, part: 0, prefix: 0, islands };
        extents.prefix = extents.start();
        extents
    }

    pub(super) const fn prefix(&self) -> u64 {
        self.prefix
    }

    /// Where the part begins that the prefix has come to; behind the last one everything is complete.
    fn start(&self) -> u64 {
        self.parts.ranges().get(self.part).map_or(self.len, |part| part.start)
    }

    pub(super) fn add(&mut self, at: u64, len: u64) {
        if at != self.prefix {
            self.islands.push((at, len));
            return;
        }
        self.grow(len);
        while let Some(next) = self.islands.iter().position(|&(at, _)| at == self.prefix) {
            let (_, len) = self.islands.swap_remove(next);
            self.grow(len);
        }
    }

    fn grow(&mut self, len: u64) {
        self.prefix += len;
        if self.parts.ranges().get(self.part).is_some_and(|part| part.end == self.prefix) {
            self.part += 1;
            self.prefix = self.start();
        }
    }
}
