//! The parts of the machine, by their names in its file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use p2pdma_mem::SharedMemory;

use crate::Setup;
use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a pool the rows use.
const LENT: usize = 1 << 17;

/// Where everything is.
pub(crate) struct Machine {
    places: BTreeMap<String, String>,
}

/// Memory that the SSDs reach, and memory that they do not.
pub(crate) struct Pairs {
    pub(crate) reachable: SharedMemory,
    pub(crate) not_supported: SharedMemory,
}

impl Pairs {
    /// Both, with their names in rows.
    pub(crate) fn both(&self) -> [(&'static str, &SharedMemory); 2] {
        [("P", &self.reachable), ("N", &self.not_supported)]
    }
}

impl Machine {
    /// What `NAME=BDF` says, once all SSDs are there.
    pub(crate) fn find(words: &[String]) -> Setup<Self> {
        let place = |word: &String| {
            let (name, bdf) = word.split_once('=').ok_or(format!("'{word}' is no NAME=BDF"))?;
            Ok((name.to_owned(), bdf.to_owned()))
        };
        let places: Result<_, String> = words.iter().map(place).collect();
        let machine = Self { places: places? };
        let begin = Instant::now();
        for name in machine.places.keys() {
            while machine.namespace(name).is_err() {
                if begin.elapsed() > PATIENCE {
                    return Err(format!("{name} has no block device").into());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(machine)
    }

    pub(crate) fn bdf(&self, name: &str) -> Setup<&str> {
        let bdf = self.places.get(name).ok_or(format!("there is no {name}"))?;
        Ok(bdf)
    }

    /// The folder of a function in sysfs.
    pub(crate) fn function(&self, name: &str) -> Setup<PathBuf> {
        Ok(function(self.bdf(name)?))
    }

    /// The folder of the controller of an SSD.
    pub(crate) fn controller(&self, name: &str) -> Setup<PathBuf> {
        let mut controllers = fs::read_dir(self.function(name)?.join("nvme"))?;
        Ok(controllers.next().ok_or("no controller")??.path())
    }

    /// The name of a namespace as its controller has it: `nvme0n1`, or of a path to it: `nvme0c0n1`.
    fn namespace(&self, name: &str) -> Setup<(String, PathBuf)> {
        let controller = self.controller(name)?;
        let own = controller.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for entry in fs::read_dir(&controller)? {
            let entry = entry?.file_name().to_string_lossy().into_owned();
            let Some(rest) = entry.strip_prefix(&own) else { continue };
            let Some((_, number)) = rest.rsplit_once('n') else { continue };
            let device = Path::new("/dev").join(format!("{own}n{number}"));
            return if device.exists() { Ok((entry, device)) } else { Err("not yet".into()) };
        }
        Err("no namespace".into())
    }

    /// The path of an SSD's block device.
    pub(crate) fn path(&self, name: &str) -> Setup<PathBuf> {
        Ok(self.namespace(name)?.1)
    }

    pub(crate) fn device(&self, name: &str) -> Setup<Target> {
        Target::device(&self.path(name)?)
    }

    /// The head of a multipath.
    pub(crate) fn head(&self, name: &str) -> Setup<Target> {
        let (entry, device) = self.namespace(name)?;
        match device.ends_with(&entry) {
            true => Err(format!("{entry} is no path below a head").into()),
            false => Target::device(&device),
        }
    }

    /// Memory of a provider.
    pub(crate) fn lent(&self, name: &str, len: usize) -> Setup<SharedMemory> {
        Ok(SharedMemory::map_file(&allocate(self.bdf(name)?)?, len)?)
    }

    pub(crate) fn pairs(&self) -> Setup<Pairs> {
        let (reachable, not_supported) = (self.lent("near", LENT)?, self.lent("far", LENT)?);
        Ok(Pairs { reachable, not_supported })
    }
}

/// The folder of a function in sysfs.
pub(crate) fn function(bdf: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(bdf)
}

/// The file of a pool that is to be mapped.
pub(crate) fn allocate(bdf: &str) -> std::io::Result<File> {
    let path = function(bdf).join("p2pmem/allocate");
    OpenOptions::new().read(true).write(true).open(path)
}
