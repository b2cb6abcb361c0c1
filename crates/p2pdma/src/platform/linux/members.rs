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
    /// Each namespace below it, if there are several.
    pub devices: Vec<Member>,
    /// Each copy of all of it, of an array of copies.
    pub copies: Vec<Member>,
    /// As many bytes lie between bytes of the volume that are on different devices.
    pub stride: Option<u64>,
    /// The paths of a multipath head, of which the kernel takes one for each request.
    pub paths: Vec<Arc<str>>,
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
        // A file's bytes are anywhere on what it is on.
        let is_block = volume.file.is_block();
        for name in &volume.footing.devices {
            match self.survey.blocks.device(name).map(|device| &device.kind) {
                Some(BlockKind::Namespace { .. }) => {
                    members.devices.push(self.member(name, 0, volume)?);
                }
                // Of commands of our own no path counts anything.
                Some(BlockKind::Head { paths }) if volume.file.longest().is_none() => {
                    members.paths.extend(paths.iter().cloned());
                }
                Some(BlockKind::Md { level })
                    if is_block && Some(name) == volume.footing.devices.first() =>
                {
                    match level.value().map(|level| &**level) {
                        Some("raid1") => members.copies = self.copies(name, volume)?,
                        Some(_) => members.stride = number(name, "chunk_size"),
                        None => {}
                    }
                }
                _ => {}
            }
        }
        Ok(members)
    }

    /// The members of an array, each of which has all of it.
    fn copies(&self, array: &str, volume: &Volume) -> Result<Vec<Member>, Error> {
        let device = self.survey.blocks.device(array);
        let slaves = device.and_then(|device| device.slaves.value()).map_or(&[][..], |all| all);
        let mut copies = Vec::new();
        // A spare, a faulty member, and one that is being filled have not all of it (Documentation/admin-guide/md.rst).
        let is_whole = |slave: &&Arc<str>| {
            let state = attribute(array, &format!("dev-{slave}/state"));
            state.is_some_and(|state| state.split(',').any(|word| word == "in_sync"))
        };
        for slave in slaves.iter().filter(is_whole) {
            // In sectors of 512 bytes (Documentation/admin-guide/md.rst).
            let start = number(array, &format!("dev-{slave}/offset"));
            if let Some(start) = start.and_then(|sectors| sectors.checked_mul(512)) {
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
    /// and out of it where the volume is written. Returns the paths of a multipath head that the kernel did not take, too.
    ///
    /// # Errors
    /// As [`Probe::fills`] and [`Probe::drains`].
    pub fn probe(
        &mut self,
        volume: &mut Probe<'_>,
        fills: bool,
        drains: bool,
    ) -> Result<(Probed, Vec<Arc<str>>), Error> {
        let (mut probed, mut untested) = (Probed::default(), Vec::new());
        if fills {
            if self.answer_alike() {
                probed += volume.fills()?;
            }
            let taken = volume.fills_by(&|| self.counts())?;
            untested = self.untested(&taken);
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
        let Some(stride) = self.stride.filter(|stride| *stride > 0) else { return vec![(at, len)] };
        let places = (0..self.devices.len() as u64).map(|index| index.saturating_mul(stride));
        let within = places.filter(|place| *place < len);
        within.map(|place| (at.saturating_add(place), len - place)).collect()
    }

    /// The paths that a probe found to be taken never ([`Probe::fills_by`]).
    fn untested(&self, taken: &[Option<u32>]) -> Vec<Arc<str>> {
        let never = self.paths.iter().zip(taken).filter(|(_, taken)| taken.is_none());
        never.map(|(path, _)| Arc::clone(path)).collect()
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
    use crate::HostClient;

    fn members(stride: Option<u64>, devices: usize) -> Members {
        let member =
            || Member { name: String::new(), client: Box::new(HostClient::null()), start: 0 };
        let devices = (0..devices).map(|_| member()).collect();
        Members { devices, stride, ..Members::default() }
    }

    #[test]
    fn every_device_has_a_place_as_far_as_the_range_goes() {
        assert_eq!(members(None, 2).places(4096, 9000), [(4096, 9000)]);
        let striped = members(Some(512 << 10), 3);
        let all = [(4096, 2 << 20), (528_384, 1_572_864), (1_052_672, 1 << 20)];
        assert_eq!(striped.places(4096, 2 << 20), all);
        assert_eq!(striped.places(0, 512 << 10), [(0, 512 << 10)]);
        assert_eq!(members(Some(0), 2).places(0, 4096), [(0, 4096)]);
    }
}
