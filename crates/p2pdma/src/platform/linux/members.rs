//! What a volume is made of: a request for an array or a multipath head goes to some of its devices only, so that a
//! test of the volume is no test of all of them.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use p2pdma_linux::block::BlockKind;
use p2pdma_linux::io::{Access, DirectFile};

use super::{LinuxPlatform, Volume};
use crate::Error;
use crate::client::DirectClient;
use crate::memory::PeerMemory;
use crate::platform::{Client, Platform};
use crate::transfer::{Probe, Probed};

/// A device below a volume, to be read only.
pub struct Member {
    /// Its name: `/dev/nvme0n1`.
    pub name: String,
    /// Who reads it.
    pub client: Box<dyn Client>,
    /// Where on it the volume's first byte is, if it has all of the volume; else 0.
    pub start: u64,
}

/// A volume's devices.
#[derive(Debug, Default)]
pub struct Members {
    /// Each namespace below it, if there are several; one with several paths by its head.
    pub devices: Vec<Member>,
    /// Each copy of all of it, of an array of copies.
    pub copies: Vec<Member>,
    /// How its bytes are spread, if they are.
    pub stripes: Option<Stripes>,
    /// The paths of multipath heads, of which the kernel takes one for each request.
    pub paths: Vec<Arc<str>>,
    /// What no test of the volume proves.
    pub unproven: Vec<Untested>,
}

/// An array whose chunks are on its members in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stripes {
    /// Bytes in a chunk.
    pub chunk: u64,
    /// How many members there are.
    pub members: u64,
}

/// What a test with data did not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untested {
    /// The kernel did not take this path of a multipath head.
    Path(Arc<str>),
    /// Whether it took this one is not known: it counts no NVMe commands of our own.
    Uncounted(Arc<str>),
    /// Of this array only the members with the first bytes were written to, and one copy of them was read again.
    Array(Arc<str>),
}

impl std::fmt::Display for Untested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => {
                write!(f, "the path {path} was not tested with data: the kernel takes others")
            }
            Self::Uncounted(path) => {
                write!(f, "whether the path {path} was tested with data is not known")
            }
            Self::Array(array) => {
                write!(f, "of {array} one copy of the first bytes was tested, and not each member")
            }
        }
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LinuxPlatform {
    /// What a volume is made of; nothing if it stands on one device.
    ///
    /// # Errors
    /// [`Error::Open`] of a device below it.
    pub fn members(&self, volume: &Volume) -> Result<Members, Error> {
        let mut members = Members::default();
        if volume.footing.end.clients().len() < 2 {
            return Ok(members);
        }
        for name in &volume.footing.devices {
            match self.survey.blocks.device(name).map(|device| &device.kind) {
                Some(BlockKind::Namespace { .. }) => {
                    members.devices.push(self.member(name, 0, volume)?);
                }
                Some(BlockKind::Head { paths }) if volume.file.longest().is_none() => {
                    // The volume itself is tested anyway.
                    if Some(name) != volume.footing.devices.first() {
                        members.devices.push(self.member(name, 0, volume)?);
                    }
                    members.paths.extend(paths.iter().cloned());
                }
                // Of commands of our own no path counts anything.
                Some(BlockKind::Head { paths }) => {
                    members.unproven.extend(paths.iter().cloned().map(Untested::Uncounted));
                }
                Some(BlockKind::Md { level }) => {
                    let level = level.value().map(|level| &**level);
                    self.array(name, level, volume, &mut members)?;
                }
                _ => {}
            }
        }
        Ok(members)
    }

    /// How an array that is the volume, or has it as a partition, keeps its bytes. A file's are anywhere on what it is on.
    fn array(
        &self,
        name: &Arc<str>,
        level: Option<&str>,
        volume: &Volume,
        members: &mut Members,
    ) -> Result<(), Error> {
        let mut above = volume.footing.devices.iter().take_while(|device| *device != name);
        let start = match (volume.file.is_block(), above.next(), above.next()) {
            (true, None, _) => Some(0),
            // In sectors of 512 bytes (Documentation/ABI/stable/sysfs-block).
            (true, Some(part), None) => sectors(&format!("/sys/class/block/{part}/start")),
            _ => None,
        };
        match (level, start) {
            (Some("raid1"), Some(start)) => members.copies = self.copies(name, start, volume)?,
            (Some("raid0"), Some(_)) => {
                let chunk = number(name, "chunk_size").filter(|chunk| *chunk > 0);
                let members_of = self.slaves(name).len() as u64;
                members.stripes = chunk.map(|chunk| Stripes { chunk, members: members_of.max(1) });
            }
            _ => members.unproven.push(Untested::Array(Arc::clone(name))),
        }
        Ok(())
    }

    /// What an array is made of.
    fn slaves(&self, array: &str) -> &[Arc<str>] {
        let device = self.survey.blocks.device(array);
        device.and_then(|device| device.slaves.value()).map_or(&[][..], |all| all)
    }

    /// The members of an array, each of which has all of it: the volume begins at byte `from` of it.
    fn copies(&self, array: &str, from: u64, volume: &Volume) -> Result<Vec<Member>, Error> {
        let slaves = self.slaves(array);
        let mut copies = Vec::new();
        // A spare, a faulty member, and one that is being filled have not all of it (Documentation/admin-guide/md.rst).
        let is_whole = |slave: &&Arc<str>| {
            let state = attribute(array, &format!("dev-{slave}/state"));
            state.is_some_and(|state| state.split(',').any(|word| word == "in_sync"))
        };
        for slave in slaves.iter().filter(is_whole) {
            // In sectors of 512 bytes (Documentation/admin-guide/md.rst).
            let start = sectors(&format!("/sys/class/block/{array}/md/dev-{slave}/offset"));
            if let Some(start) = start.and_then(|start| start.checked_add(from)) {
                copies.push(self.member(slave, start, volume)?);
            }
        }
        Ok(copies)
    }

    /// A device that is read beside its volume. Nobody asks what is staged of it.
    fn member(&self, name: &str, start: u64, volume: &Volume) -> Result<Member, Error> {
        let path = Path::new("/dev").join(name);
        let file = Arc::new(DirectFile::open(&path, Access::Read)?);
        let functions = self.survey.blocks.stack(name, self.survey.system.kernel);
        let functions = functions
            .map_or_else(|| volume.footing.end.clients().to_vec(), |stack| stack.functions);
        let (topology, queue) = (Arc::clone(&self.topology), Arc::clone(&self.queue));
        let client = DirectClient::new(file, functions, topology, queue, Arc::default());
        Ok(Member { name: path.display().to_string(), client: Box::new(client), start })
    }
}

/// As much of each device is used, and of the memory.
const SPAN: u64 = 64 << 10;

impl Members {
    /// Tests the ways of a volume with data, and those of each of its devices: into memory, if there is something to be read,
    /// and out of it where the volume is written. Returns what that did not show, too.
    ///
    /// # Errors
    /// As [`Probe::fills`] and [`Probe::drains`].
    pub fn probe(
        &mut self,
        volume: &mut Probe<'_>,
        fills: bool,
        drains: bool,
    ) -> Result<(Probed, Vec<Untested>), Error> {
        let concerns = |what: &&Untested| drains || !matches!(what, Untested::Array(_));
        let mut untested: Vec<_> = self.unproven.iter().filter(concerns).cloned().collect();
        let mut probed = Probed::default();
        if fills {
            if self.answer_alike() {
                probed += volume.fills()?;
            }
            let taken = volume.fills_by(&|| self.counts())?;
            untested.extend(self.untested(&taken));
        }
        let (platform, memory, watch) = (volume.platform, volume.memory, volume.watch);
        probed += self.fills(platform, memory, watch)?;
        let places = if drains { self.places(volume.at, volume.len) } else { Vec::new() };
        for (at, len) in places {
            let (client, name) = (&mut *volume.client, volume.name);
            let mut place = Probe { platform, client, name, memory, at, len, watch };
            probed += place.drains_to(&mut self.copies)?;
        }
        Ok((probed, untested))
    }

    /// Tests the way of each device into memory, at its beginning. Writes nothing to them.
    fn fills(
        &mut self,
        platform: &dyn Platform,
        memory: &Arc<PeerMemory>,
        watch: &dyn Fn() -> ControlFlow<()>,
    ) -> Result<Probed, Error> {
        let mut sum = Probed::default();
        for Member { name, client, .. } in &mut self.devices {
            let len = client.capabilities().size.min(SPAN);
            let client = &mut **client;
            sum += Probe { platform, client, name, memory, at: 0, len, watch }.fills()?;
        }
        Ok(sum)
    }

    /// Whether what is read twice of the volume is the same. Copies need not be equal where nothing was written
    /// (md(4)), and a request goes to any of them: then each is to be read by itself.
    const fn answer_alike(&self) -> bool {
        self.copies.is_empty()
    }

    /// Where to write in a range of the volume, so that each device is written to: where each place begins, and what
    /// is left of the range there.
    fn places(&self, at: u64, len: u64) -> Vec<(u64, u64)> {
        let Some(Stripes { chunk, members }) = self.stripes else { return vec![(at, len)] };
        let places = (0..members).map(|index| index.saturating_mul(chunk));
        let within = places.filter(|place| *place < len);
        within.map(|place| (at.saturating_add(place), len - place)).collect()
    }

    /// The paths that a probe found to be taken never ([`Probe::fills_by`]).
    fn untested(&self, taken: &[Option<u32>]) -> impl Iterator<Item = Untested> {
        let never = self.paths.iter().zip(taken).filter(|(_, taken)| taken.is_none());
        never.map(|(path, _)| Untested::Path(Arc::clone(path)))
    }

    /// How many requests each path has carried.
    fn counts(&self) -> Vec<u64> {
        self.paths.iter().map(|path| requests(path).unwrap_or(0)).collect()
    }
}

/// Reads and writes that a block device has completed: the first and the fifth number (Documentation/block/stat.rst).
fn requests(device: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/sys/class/block/{device}/stat")).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let reads = numbers.next()?.ok()?;
    reads.checked_add(numbers.nth(3)?.ok()?)
}

/// Bytes, of a file that has them in sectors of 512 bytes.
fn sectors(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()?.checked_mul(512)
}

/// A number that an array tells of itself.
fn number(array: &str, name: &str) -> Option<u64> {
    attribute(array, name)?.parse().ok()
}

fn attribute(array: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/sys/class/block/{array}/md/{name}"));
    Some(text.ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(stripes: Option<(u64, u64)>) -> Members {
        let stripes = stripes.map(|(chunk, members)| Stripes { chunk, members });
        Members { stripes, ..Members::default() }
    }

    #[test]
    fn every_device_has_a_place_as_far_as_the_range_goes() {
        assert_eq!(members(None).places(4096, 9000), [(4096, 9000)]);
        let striped = members(Some((512 << 10, 3)));
        let all = [(4096, 2 << 20), (528_384, 1_572_864), (1_052_672, 1 << 20)];
        assert_eq!(striped.places(4096, 2 << 20), all);
        assert_eq!(striped.places(0, 512 << 10), [(0, 512 << 10)]);
    }
}
