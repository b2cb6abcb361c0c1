//! The data probe: a path is tested with data before it is trusted. A status proves nothing: writes can be lost,
//! reads can yield old bytes, and the command succeeds all the same.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::Error;
use crate::memory::PeerMemory;
use crate::platform::{Attachment, Client, Done, Member, Op, Platform, Ticket};
use crate::transfer::patience::Patience;

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
    /// Is asked while an operation is awaited; if it breaks off, and the operation does not end in half a second,
    /// the probe does.
    pub watch: &'a dyn Fn() -> ControlFlow<()>,
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

impl std::ops::AddAssign for Probed {
    fn add_assign(&mut self, more: Self) {
        self.fills += more.fills;
        self.drains += more.drains;
        self.bytes += more.bytes;
    }
}

/// Lengths to try, and where in memory they begin: one block, a page, several pages, and what lies across
/// pages.
const SHAPES: [(u64, u64); 6] =
    [(0, 512), (0, 4096), (512, 512), (512, 4096), (2048, 8192), (0, 64 << 10)];

/// How often a client is asked for each of its paths, and for bytes that somebody else writes at the same time.
const TRIES: u32 = 8;

impl Probe<'_> {
    /// Lets the client fill the memory with bytes that it also brought to host memory, and compares. Before
    /// each, the memory gets the complement of what is to come, so that bytes that never arrive are seen.
    /// Writes nothing to the client.
    ///
    /// # Errors
    /// [`Error::DataLost`]; [`Error::Interrupted`], after which the client is of no more use; what the client or the
    /// memory says.
    pub fn fills(&mut self) -> Result<Probed, Error> {
        let mut probed = Probed::default();
        for (offset, len) in self.shapes() {
            self.fill(offset, len, &mut || {})?;
            probed.fills += 1;
            probed.bytes += len;
        }
        Ok(probed)
    }

    /// Lets the client fill the memory until each of its paths has carried that, as far as their counts of requests
    /// tell, or it was tried often enough for all of them. Returns how many tries were needed for each path; `None` for
    /// one that was never taken.
    ///
    /// # Errors
    /// As [`Probe::fills`].
    pub fn fills_by(&mut self, counts: &dyn Fn() -> Vec<u64>) -> Result<Vec<Option<u32>>, Error> {
        let mut taken = vec![None; counts().len()];
        let tries = u32::try_from(taken.len()).unwrap_or(u32::MAX).saturating_mul(TRIES);
        let Some(&(offset, len)) = self.shapes().first() else { return Ok(taken) };
        for turn in 0..tries {
            if taken.iter().all(Option::is_some) {
                break;
            }
            // Who takes paths in turns must not come to the same one each time.
            if turn % 2 == 1 {
                self.by_host(len)?;
            }
            let mut looks = Vec::with_capacity(2);
            self.fill(offset, len, &mut || looks.push(counts()))?;
            let [.., before, after] = looks.as_slice() else { continue };
            for (path, (before, after)) in taken.iter_mut().zip(before.iter().zip(after)) {
                if path.is_none() && after > before {
                    *path = Some(turn + 1);
                }
            }
        }
        Ok(taken)
    }

    /// Fills a part of the memory once. `look` is called before and after. What somebody else wrote there meanwhile is not
    /// lost: then the client is read again by both ways.
    fn fill(&mut self, offset: u64, len: u64, look: &mut dyn FnMut()) -> Result<(), Error> {
        let mut expected = self.by_host(len)?;
        let mut outcome = self.fill_with(&expected, offset, look);
        for _ in 0..TRIES {
            let Err(Error::DataLost { .. }) = outcome else { break };
            let now = self.by_host(len)?;
            if now == expected {
                break;
            }
            expected = now;
            outcome = self.fill_with(&expected, offset, look);
        }
        outcome
    }

    /// Fills a part of the memory with what is expected to come.
    fn fill_with(
        &mut self,
        expected: &[u8],
        offset: u64,
        look: &mut dyn FnMut(),
    ) -> Result<(), Error> {
        let len = expected.len() as u64;
        self.memory.write(offset, &complement(expected))?;
        let op = Op::Fill { from: self.at, len };
        let attachment = self.client.attach(self.memory)?;
        look();
        carry(self.platform, self.client, op, &attachment, offset, self.watch)?;
        look();
        let mut arrived = vec![0; expected.len()];
        self.memory.read(offset, &mut arrived)?;
        self.compare(self.name, "filling", expected, &arrived)
    }

    /// Lets the client take bytes out of the memory, reads them back to host memory, and compares. What the
    /// client had there before is put back by way of host memory, whether the bytes were right or not.
    ///
    /// # Errors
    /// As [`Probe::fills`]; [`Error::NotPutBack`] if the client took no more bytes.
    pub fn drains(&mut self) -> Result<Probed, Error> {
        self.drains_to(&mut [])
    }

    /// As [`Probe::drains`], and looks at each of several devices that have all of the client's bytes, too.
    ///
    /// # Errors
    /// As [`Probe::drains`].
    pub fn drains_to(&mut self, copies: &mut [Member]) -> Result<Probed, Error> {
        let mut probed = Probed::default();
        for (offset, len) in self.shapes() {
            let before = self.by_host(len)?;
            let outcome = self.drain(offset, &complement(&before), copies);
            let restored = match outcome {
                // The client is of no more use.
                Err(Error::Interrupted) => Err(Error::Interrupted),
                _ => self.put_back(&before),
            };
            if let Err(error) = restored {
                let why = Box::new(outcome.err().unwrap_or(error));
                return Err(Error::NotPutBack {
                    name: self.name.to_owned(),
                    at: self.at,
                    len,
                    why,
                });
            }
            outcome?;
            probed.drains += 1;
            probed.bytes += len;
        }
        self.client.flush()?;
        Ok(probed)
    }

    fn drain(&mut self, offset: u64, data: &[u8], copies: &mut [Member]) -> Result<(), Error> {
        let len = data.len() as u64;
        self.memory.write(offset, data)?;
        let attachment = self.client.attach(self.memory)?;
        let op = Op::Drain { to: self.at, len };
        carry(self.platform, self.client, op, &attachment, offset, self.watch)?;
        let arrived = self.by_host(len)?;
        self.compare(self.name, "draining", data, &arrived)?;
        for copy in copies {
            let at = copy.start.saturating_add(self.at);
            let arrived =
                read_by_host(self.platform, &mut *copy.client, &copy.name, (at, len), self.watch)?;
            self.compare(&copy.name, "draining", data, &arrived)?;
        }
        Ok(())
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
        read_by_host(self.platform, self.client, self.name, (self.at, len), self.watch)
    }

    fn put_back(&mut self, data: &[u8]) -> Result<(), Error> {
        let len = data.len() as u64;
        let host = Arc::new(self.platform.host_memory()?.alloc(len)?);
        host.write(0, data)?;
        let attachment = self.client.attach(&host)?;
        let op = Op::Drain { to: self.at, len };
        carry(self.platform, self.client, op, &attachment, 0, self.watch)
    }

    fn compare(
        &self,
        name: &str,
        what: &'static str,
        expected: &[u8],
        arrived: &[u8],
    ) -> Result<(), Error> {
        let Some(at) = first_difference(expected, arrived) else { return Ok(()) };
        let provider = self.memory.owner().map_or("the host".to_owned(), |bdf| bdf.to_string());
        let (name, len) = (name.to_owned(), expected.len() as u64);
        Err(Error::DataLost { name, provider, what, len, at })
    }
}

/// A client's bytes, so many from a place on, by way of host memory: whole blocks, in one operation. The memory has
/// bytes before that nobody else writes: what never arrives is not taken for what is there. If `watch` breaks off,
/// and the operation does not end in half a second, this does.
///
/// # Errors
/// [`Error::DataLost`] if a sector does not arrive; what the client says; that it cannot do that many in one
/// operation; [`Error::Interrupted`].
pub fn read_by_host(
    platform: &dyn Platform,
    client: &mut dyn Client,
    name: &str,
    (at, len): (u64, u64),
    watch: &dyn Fn() -> ControlFlow<()>,
) -> Result<Vec<u8>, Error> {
    let host = Arc::new(platform.host_memory()?.alloc(len)?);
    let attachment = client.attach(&host)?;
    let poison: Vec<u8> = (0..len).map(scrambled).collect();
    let mut data = poison.clone();
    host.write(0, &poison)?;
    carry(platform, client, Op::Fill { from: at, len }, &attachment, 0, watch)?;
    host.read(0, &mut data)?;
    let mut sectors = (0_u64..).step_by(SECTOR).zip(data.chunks(SECTOR).zip(poison.chunks(SECTOR)));
    match sectors.find(|(_, (arrived, poison))| arrived == poison) {
        None => Ok(data),
        Some((at, _)) => {
            let (name, provider) = (name.to_owned(), "the host".to_owned());
            Err(Error::DataLost { name, provider, what: "reading", len, at })
        }
    }
}

/// What arrives as a whole or not at all.
const SECTOR: usize = 512;

/// A byte that follows no pattern which data have: of the multiples of a constant, the topmost (Knuth, The Art of
/// Computer Programming, volume 3, §6.4).
fn scrambled(index: u64) -> u8 {
    let [top, ..] = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    top
}

fn first_difference(expected: &[u8], arrived: &[u8]) -> Option<u64> {
    let differ = expected.iter().zip(arrived).position(|(expected, arrived)| expected != arrived);
    differ.map(|at| at as u64)
}

/// Carries one operation out.
fn carry(
    platform: &dyn Platform,
    client: &mut dyn Client,
    op: Op,
    attachment: &Attachment,
    offset: u64,
    watch: &dyn Fn() -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut patience = Patience::new(watch);
    let (Op::Fill { len, .. } | Op::Drain { len, .. }) = op;
    let mut done: Vec<Done> = Vec::new();
    client.submit(op, attachment, offset..offset + len, Ticket(0))?;
    loop {
        client.poll(&mut done)?;
        match done.pop() {
            Some(done) => return done.result,
            None if patience.is_over(platform.clock().now()) => return Err(Error::Interrupted),
            None => platform.clock().relax(),
        }
    }
}

/// Bytes that differ from the given ones everywhere.
fn complement(data: &[u8]) -> Vec<u8> {
    data.iter().map(|byte| !byte).collect()
}
