//! What the memory controllers of a machine count: the bytes that were read from and written to its memory, whoever did
//! that.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::perf::{self, Event};

/// Counters of all memory controllers.
///
/// What caches answer never gets there: DMA that a processor's cache takes up (Intel's DDIO) is not among it, and what
/// other programs do is.
#[derive(Debug)]
pub struct MemoryControllers(Vec<Counter>);

/// Reads or writes of a controller.
#[derive(Debug)]
struct Counter {
    file: File,
    /// How many bytes each of what it counts is.
    bytes: f64,
}

/// How controllers count: reads, and writes.
struct Kind {
    /// How names of such sources begin.
    source: &'static str,
    events: [&'static str; 2],
    /// What these are where the kernel does not say, in its words, and how many bytes each of them is.
    known: Option<([&'static str; 2], f64)>,
}

/// All of them, from the kernel: arch/x86/events/intel/uncore_snbep.c (servers), uncore_snb.c (others, older ones
/// first), arch/x86/events/amd/uncore.c with tools/perf/pmu-events/arch/x86/amdzen4/memory-controller.json (CAS
/// commands, each of which moves 64 bytes). Some machines count the same twice: the first kind that is there is read.
const KINDS: [Kind; 4] = [
    Kind { source: "uncore_imc", events: ["cas_count_read", "cas_count_write"], known: None },
    Kind { source: "uncore_imc", events: ["data_reads", "data_writes"], known: None },
    Kind { source: "uncore_imc_free_running", events: ["data_read", "data_write"], known: None },
    Kind {
        source: "amd_umc",
        events: ["umc_cas_cmd.rd", "umc_cas_cmd.wr"],
        known: Some((["event=0x0a,rdwrmask=0x1", "event=0x0a,rdwrmask=0x2"], 64.0)),
    },
];

/// Where the kernel has its sources of events (Documentation/ABI/testing/sysfs-bus-event_source-devices-events and
/// -format).
const SOURCES: &str = "/sys/bus/event_source/devices";

impl MemoryControllers {
    /// Begins to count; `None` on a machine whose controllers do not count, or not in a way that is known here.
    ///
    /// # Errors
    /// What the operating system says: EACCES for others than root, unless `kernel.perf_event_paranoid` is 0 or less.
    pub fn open() -> io::Result<Option<Self>> {
        Self::below(Path::new(SOURCES))
    }

    fn below(folder: &Path) -> io::Result<Option<Self>> {
        for kind in &KINDS {
            let sources = kind.sources(folder)?;
            if !sources.is_empty() {
                let counters = sources.iter().map(|source| kind.count(source));
                let counters: Vec<_> = counters.collect::<io::Result<_>>()?;
                return Ok(Some(Self(counters.into_iter().flatten().collect())));
            }
        }
        Ok(None)
    }

    /// How many bytes were read and written since this began to count.
    ///
    /// # Errors
    /// What the operating system says; another error if a counter was used by somebody else meanwhile.
    pub fn bytes(&self) -> io::Result<f64> {
        self.0.iter().map(Counter::bytes).sum()
    }
}

impl Kind {
    /// The sources of this kind.
    fn sources(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let is_one = name.to_str().is_some_and(|name| name.starts_with(self.source));
            let has = |event: &&str| path.join("events").join(event).exists();
            if is_one && (self.known.is_some() || self.events.iter().all(has)) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Counters of a source: reads and writes, for each processor that it wants to be asked for.
    fn count(&self, source: &Path) -> io::Result<Vec<Counter>> {
        let kind = number(&source.join("type"))?;
        let mut counters = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            let (terms, bytes) = match self.known {
                Some((terms, bytes)) => (terms[index].to_owned(), bytes),
                None => described(&source.join("events"), event)?,
            };
            let event = Event { kind, config: config(source, &terms)? };
            for processor in processors(source)? {
                counters.push(Counter { file: perf::of_processor(event, processor)?, bytes });
            }
        }
        Ok(counters)
    }
}

impl Counter {
    fn bytes(&self) -> io::Result<f64> {
        let mut words = [0; 24];
        (&self.file).read_exact(&mut words)?;
        let word = |at: usize| {
            let bytes = words.get(at * 8..).and_then(|rest| rest.first_chunk::<8>());
            bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
        };
        let [count, asked, counted] = [0, 1, 2].map(word);
        if counted < asked {
            return Err(io::Error::other(
                "a counter of a memory controller is used by others, too",
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "nobody asks for one byte in 2^53")]
        let count = count as f64;
        Ok(count * self.bytes)
    }
}

/// What the kernel says of an event: its terms, and how many bytes each of it is.
fn described(events: &Path, event: &str) -> io::Result<(String, f64)> {
    let unit = text(&events.join(format!("{event}.unit")))?;
    let scale = number::<f64>(&events.join(format!("{event}.scale")))?;
    let unit = match unit.as_str() {
        "MiB" => f64::from(1 << 20),
        _ => return Err(wrong(&events.join(event), &format!("the unit is {unit}, not MiB"))),
    };
    Ok((text(&events.join(event))?, scale * unit))
}

/// The value of `attr.config` with these terms: `event=0x04,umask=0x03`.
fn config(source: &Path, terms: &str) -> io::Result<u64> {
    let mut config = 0;
    for term in terms.split(',') {
        let place = |name: &str| source.join("format").join(name);
        let (name, value) = term.split_once('=').unwrap_or((term, "1"));
        let value = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        };
        let format = text(&place(name))?;
        let put = value.and_then(|value| put(&format, value));
        config |= put.ok_or_else(|| wrong(&place(name), &format!("{term} as {format}")))?;
    }
    Ok(config)
}

/// A value where its format says: `config:0-7,21`, lowest bits first. `None` if it does not fit, or is somewhere else.
fn put(format: &str, value: u64) -> Option<u64> {
    let (mut config, mut rest) = (0, value);
    for range in format.strip_prefix("config:")?.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high) = (low.parse::<u32>().ok()?, high.parse::<u32>().ok()?);
        for bit in low..=high.min(63) {
            config |= (rest & 1).checked_shl(bit)?;
            rest >>= 1;
        }
    }
    (rest == 0).then_some(config)
}

/// The processors that a source wants to be asked for, one of each package: `0,24`.
fn processors(source: &Path) -> io::Result<Vec<libc::c_int>> {
    let path = source.join("cpumask");
    let list = text(&path)?;
    let mut found = Vec::new();
    for range in list.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let bounds = low.parse::<u16>().ok().zip(high.parse::<u16>().ok());
        let (low, high) = bounds.ok_or_else(|| wrong(&path, &list))?;
        found.extend((low..=high).map(libc::c_int::from));
    }
    Ok(found)
}

fn number<T: std::str::FromStr>(path: &Path) -> io::Result<T> {
    let text = text(path)?;
    text.parse().map_err(|_| wrong(path, &text))
}

fn text(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path);
    let with_path =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    Ok(text.map_err(with_path)?.trim().to_owned())
}

fn wrong(path: &Path, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: not understood: {what}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A folder of sources with these files.
    fn sources(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn values_go_where_formats_say() {
        assert_eq!(put("config:0-7", 0x04), Some(0x04));
        assert_eq!(put("config:8-15", 0x03), Some(0x0300));
        assert_eq!(put("config:8-9", 0x2), Some(0x200));
        assert_eq!(put("config:0-7,32-35", 0xa05), Some(0xa_0000_0005));
        assert_eq!(put("config:63", 1), Some(1 << 63));
        for (format, value) in
            [("config:0-7", 0x104), ("config1:0-7", 1), ("config:0-", 1), ("config:60-99", 99)]
        {
            assert_eq!(put(format, value), None, "{format}");
        }
    }

    #[test]
    fn sources_are_found_and_described() {
        // Of a server of two packages, whose controllers count in two ways.
        let folder = sources(&[
            ("uncore_imc_0/type", "14"),
            ("uncore_imc_0/cpumask", "0,24-25"),
            ("uncore_imc_0/format/event", "config:0-7"),
            ("uncore_imc_0/format/umask", "config:8-15"),
            ("uncore_imc_0/events/cas_count_read", "event=0x04,umask=0x03"),
            ("uncore_imc_0/events/cas_count_read.scale", "6.103515625e-5"),
            ("uncore_imc_0/events/cas_count_read.unit", "MiB"),
            ("uncore_imc_0/events/cas_count_write", "event=0x04,umask=0x0c"),
            ("uncore_imc_free_running_0/events/data_read", "event=0xff,umask=0x20"),
            ("uncore_imc_free_running_0/events/data_write", "event=0xff,umask=0x30"),
            ("uncore_cha_0/events/data_read", "event=0x1"),
            ("amd_umc_1/format/event", "config:0-7"),
            ("amd_umc_1/format/rdwrmask", "config:8-9"),
        ]);
        let found = KINDS.map(|kind| kind.sources(folder.path()).unwrap().len());
        assert_eq!(found, [1, 0, 1, 1]);
        let imc = folder.path().join("uncore_imc_0");
        let (terms, bytes) = described(&imc.join("events"), "cas_count_read").unwrap();
        assert!((bytes - 64.0).abs() < 1e-9, "{bytes}");
        assert_eq!(config(&imc, &terms).unwrap(), 0x0304);
        assert_eq!(processors(&imc).unwrap(), [0, 24, 25]);
        let ([read, write], _) = KINDS[3].known.unwrap();
        let umc = folder.path().join("amd_umc_1");
        assert_eq!([read, write].map(|terms| config(&umc, terms).unwrap()), [0x010a, 0x020a]);
        let error = described(&imc.join("events"), "cas_count_write").unwrap_err();
        assert!(error.to_string().contains("cas_count_write.unit"), "{error}");
    }

    #[test]
    fn a_machine_without_such_sources_has_none() {
        assert!(MemoryControllers::below(Path::new("/nowhere")).unwrap().is_none());
        let folder = sources(&[("software/type", "1")]);
        assert!(MemoryControllers::below(folder.path()).unwrap().is_none());
    }

    /// A counter that every kernel has in the place of a controller: nanoseconds of the first processor
    /// (`PERF_COUNT_SW_CPU_CLOCK`), each of which is said to be 64 bytes.
    #[test]
    fn what_the_kernel_counts_is_scaled() {
        let described =
            |name: &str, text: &str| (format!("uncore_imc/events/{name}"), text.to_owned());
        let mut files = vec![
            ("uncore_imc/type".to_owned(), "1".to_owned()),
            ("uncore_imc/cpumask".to_owned(), "0".to_owned()),
            ("uncore_imc/format/event".to_owned(), "config:0-7".to_owned()),
        ];
        for name in ["data_reads", "data_writes"] {
            files.push(described(name, "event=0x0"));
            files.push(described(&format!("{name}.scale"), "6.103515625e-5"));
            files.push(described(&format!("{name}.unit"), "MiB"));
        }
        let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
        let folder = sources(&files);
        let controllers = match MemoryControllers::below(folder.path()) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                println!("not for this user: {error}");
                return;
            }
            controllers => controllers.unwrap().unwrap(),
        };
        let (began, before) = (Instant::now(), controllers.bytes().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        let counted = controllers.bytes().unwrap() - before;
        let (most, two) = (began.elapsed().as_secs_f64() * 1e9, 2.0 * 64.0);
        assert!(counted >= 50e6 * two, "{counted}");
        assert!(counted <= most * two, "{counted}, {most}");
    }
}
