//! The data probe: a path is tested with data before it is trusted. A status proves nothing: writes can be lost,
//! reads can yield old bytes, and the command succeeds all the same.

use std::sync::Arc;

use crate::Error;
use crate::memory::PeerMemory;
use crate::platform::{Attachment, Client, Done, Op, Platform, Ticket};

/// What is probed: a client, and memory that it is said to reach.
pub struct Probe<'a> {
    /// The machine.
    pub platform: &'a dyn Platform,
    /// The client.
    pub client: &'a mut dyn Client,
    /// What messages call it.
    pub name: &'a str,
    /// The memory, not in use: it is overwritten.
    pub memory: &'a Arc<PeerMemory>,
    /// The client's byte where probing begins: a multiple of its block.
    pub at: u64,
    /// How many of its bytes from there on may be used: at least one block.
    pub len: u64,
}

impl std::fmt::Debug for Probe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("name", &self.name)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// What a probe has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probed {
    /// Transfers into the memory whose bytes were all right.
    pub fills: u32,
    /// Transfers out of it whose bytes were all right.
    pub drains: u32,
    /// Bytes that were compared.
    pub bytes: u64,
}

/// Lengths to try, and where in memory they begin: one block, a page, several pages, and what lies across
/// pages.
const SHAPES: [(u64, u64); 6] =
    [(0, 512), (0, 4096), (512, 512), (512, 4096), (2048, 8192), (0, 64 << 10)];

impl Probe<'_> {
    /// Lets the client fill the memory with bytes that it also brought to host memory, and compares. Before
    /// each, the memory gets the complement of what is to come, so that bytes that never arrive are seen.
    /// Writes nothing to the client.
    ///
    /// # Errors
    /// [`Error::DataLost`]; what the client or the memory says.
    pub fn fills(&mut self) -> Result<Probed, Error> {
        let mut probed = Probed::default();
        for (offset, len) in self.shapes() {
            let expected = self.by_host(len)?;
            self.memory.write(offset, &complement(&expected))?;
            let op = Op::Fill { from: self.at, len };
            let attachment = self.client.attach(self.memory)?;
            carry(self.platform, self.client, op, &attachment, offset)?;
            let mut arrived = vec![0; expected.len()];
            self.memory.read(offset, &mut arrived)?;
            self.compare("filling", &expected, &arrived)?;
            probed.fills += 1;
            probed.bytes += len;
        }
        Ok(probed)
    }

    /// Lets the client take bytes out of the memory, reads them back to host memory, and compares. What the
    /// client had there before is put back by way of host memory, whether the bytes were right or not.
    ///
    /// # Errors
    /// As [`Probe::fills`].
    pub fn drains(&mut self) -> Result<Probed, Error> {
        let mut probed = Probed::default();
        for (offset, len) in self.shapes() {
            let before = self.by_host(len)?;
            let outcome = self.drain(offset, &complement(&before));
            let restored = self.put_back(&before);
            // Data that were lost say more than that they could not be put back either.
            outcome.and(restored)?;
            probed.drains += 1;
            probed.bytes += len;
        }
        self.client.flush()?;
        Ok(probed)
    }

    fn drain(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let len = data.len() as u64;
        self.memory.write(offset, data)?;
        let attachment = self.client.attach(self.memory)?;
        let op = Op::Drain { to: self.at, len };
        carry(self.platform, self.client, op, &attachment, offset)?;
        let arrived = self.by_host(len)?;
        self.compare("draining", data, &arrived)
    }

    /// Those shapes that fit the client's blocks, its room, and the memory.
    fn shapes(&self) -> Vec<(u64, u64)> {
        let can = self.client.capabilities();
        let (room, size) = (self.len.min(can.max_transfer), self.memory.len());
        let mut shapes: Vec<(u64, u64)> = SHAPES.to_vec();
        shapes.push((0, can.block));
        shapes.retain(|&(offset, len)| {
            let fits = offset.checked_add(len).is_some_and(|end| end <= size);
            fits && len <= room && len.is_multiple_of(can.block)
        });
        shapes.sort_unstable();
        shapes.dedup();
        shapes
    }

    /// The client's bytes, by way of host memory.
    fn by_host(&mut self, len: u64) -> Result<Vec<u8>, Error> {
        read_by_host(self.platform, self.client, self.at, len)
    }

    fn put_back(&mut self, data: &[u8]) -> Result<(), Error> {
        let len = data.len() as u64;
        let host = Arc::new(self.platform.host_memory()?.alloc(len)?);
        host.write(0, data)?;
        let attachment = self.client.attach(&host)?;
        carry(self.platform, self.client, Op::Drain { to: self.at, len }, &attachment, 0)
    }

    fn compare(&self, what: &'static str, expected: &[u8], arrived: &[u8]) -> Result<(), Error> {
        let wrong =
            expected.iter().zip(arrived).position(|(expected, arrived)| expected != arrived);
        let Some(at) = wrong else { return Ok(()) };
        let provider = self.memory.owner().map_or("the host".to_owned(), |bdf| bdf.to_string());
        let (name, len) = (self.name.to_owned(), expected.len() as u64);
        Err(Error::DataLost { name, provider, what, len, at: at as u64 })
    }
}

/// A client's bytes from `at` on, by way of host memory: whole blocks, in one operation.
///
/// # Errors
/// What the client says; that it cannot do that many in one operation.
pub fn read_by_host(
    platform: &dyn Platform,
    client: &mut dyn Client,
    at: u64,
    len: u64,
) -> Result<Vec<u8>, Error> {
    let host = Arc::new(platform.host_memory()?.alloc(len)?);
    let attachment = client.attach(&host)?;
    carry(platform, client, Op::Fill { from: at, len }, &attachment, 0)?;
    let size = usize::try_from(len).map_err(|_| Error::Internal("a read beyond memory"))?;
    let mut data = vec![0; size];
    host.read(0, &mut data)?;
    Ok(data)
}

/// Carries one operation out.
fn carry(
    platform: &dyn Platform,
    client: &mut dyn Client,
    op: Op,
    attachment: &Attachment,
    offset: u64,
) -> Result<(), Error> {
    let (Op::Fill { len, .. } | Op::Drain { len, .. }) = op;
    let mut done: Vec<Done> = Vec::new();
    client.submit(op, attachment, offset..offset + len, Ticket(0))?;
    loop {
        client.poll(&mut done)?;
        match done.pop() {
            Some(done) => return done.result,
            None => platform.clock().relax(),
        }
    }
}

/// Bytes that differ from the given ones everywhere.
fn complement(data: &[u8]) -> Vec<u8> {
    data.iter().map(|byte| !byte).collect()
}
