//! Runs in the guest: lets every SSD read into every memory that the kernel lends (p2pmem), and prints
//! what came of it. The kernel's own judgement on every ordered pair, by deed.
//!
//! `peer_reads SSDS` waits until so many SSDs have a block device. It prints a line each:
//!
//! - `client BDF DEVICE`: an SSD;
//! - `provider BDF BYTES`: lent memory, and how much of it is free;
//! - `pair CLIENT PROVIDER RESULT`: `right`, `wrong` (the read succeeded, the bytes are not those),
//!   `short`, or the number of the error.
//!
//! After a line `snapshot` follows the machine as `p2pdma-linux` reads it, before anybody has used any of
//! the memory.
//!
//! Into the kernel's log goes a line `peer_reads: CLIENT PROVIDER` before each pair, so that the kernel's
//! messages can be told apart.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use p2pdma_linux::{LiveTree, Snapshot};
use p2pdma_mem::SharedMemory;
use rustix::fs::OFlags;

const DEVICES: &str = "/sys/bus/pci/devices";
const BLOCK: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(60);

/// An SSD.
struct Client {
    bdf: String,
    file: File,
    /// What its first block holds.
    content: Vec<u8>,
}

/// Lent memory.
struct Provider {
    bdf: String,
    memory: SharedMemory,
}

fn main() -> Result<(), Box<dyn Error>> {
    let wanted: usize = std::env::args().nth(1).ok_or("how many SSDs?")?.parse()?;
    let clients = clients(wanted)?;
    let snapshot = Snapshot::capture(&LiveTree::machine()?)?;
    let providers = providers()?;
    let mut log = OpenOptions::new().write(true).open("/dev/kmsg")?;
    for provider in &providers {
        for client in &clients {
            log.write_all(format!("peer_reads: {} {}\n", client.bdf, provider.bdf).as_bytes())?;
            let result = read(client, &provider.memory)?;
            println!("pair {} {} {result}", client.bdf, provider.bdf);
        }
    }
    println!("snapshot");
    snapshot.write(&mut std::io::stdout().lock())?;
    Ok(())
}

/// Waits for the SSDs, and writes something of its own to each.
fn clients(wanted: usize) -> Result<Vec<Client>, Box<dyn Error>> {
    let begin = Instant::now();
    let found = loop {
        let found = block_devices()?;
        if found.len() >= wanted {
            break found;
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("{wanted} SSDs are expected, and there are {found:?}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let memory = SharedMemory::anonymous(BLOCK)?;
    let mut clients = Vec::new();
    for (bdf, device) in found {
        println!("client {bdf} {}", device.display());
        let direct = OFlags::DIRECT.bits().cast_signed();
        let file = OpenOptions::new().read(true).write(true).custom_flags(direct).open(&device)?;
        let content: Vec<u8> = bdf.bytes().cycle().take(BLOCK).collect();
        memory.write(0, &content)?;
        if memory.write_file(0..BLOCK, &file, 0)? != BLOCK {
            return Err(format!("{} took less than a block", device.display()).into());
        }
        clients.push(Client { bdf, file, content });
    }
    Ok(clients)
}

/// The first namespace of every NVMe controller.
fn block_devices() -> Result<Vec<(String, PathBuf)>, Box<dyn Error>> {
    let mut found = Vec::new();
    for function in folders(Path::new(DEVICES))? {
        for controller in folders(&function.join("nvme")).unwrap_or_default() {
            let name = name_of(&controller);
            let namespaces = folders(&controller)?;
            let own = namespaces.iter().map(|path| name_of(path));
            let device = own.filter(|namespace| namespace.starts_with(&name)).min();
            let device = device.map(|namespace| Path::new("/dev").join(namespace));
            found
                .extend(device.filter(|path| path.exists()).map(|path| (name_of(&function), path)));
        }
    }
    found.sort();
    Ok(found)
}

/// All lent memory: a page of each, mapped.
fn providers() -> Result<Vec<Provider>, Box<dyn Error>> {
    let mut providers = Vec::new();
    for function in folders(Path::new(DEVICES))? {
        let pool = function.join("p2pmem");
        if !pool.is_dir() {
            continue;
        }
        let bdf = name_of(&function);
        let available = fs::read_to_string(pool.join("available"))?;
        println!("provider {bdf} {}", available.trim());
        let file = OpenOptions::new().read(true).write(true).open(pool.join("allocate"))?;
        providers.push(Provider { bdf, memory: SharedMemory::map_file(&file, BLOCK)? });
    }
    Ok(providers)
}

/// Lets the SSD read its first block into the memory.
fn read(client: &Client, memory: &SharedMemory) -> Result<String, Box<dyn Error>> {
    memory.fill(0, BLOCK, 0xa5)?;
    let count = match memory.read_file(0..BLOCK, &client.file, 0) {
        Ok(count) => count,
        Err(error) => return Ok(error.raw_os_error().unwrap_or(0).to_string()),
    };
    let mut bytes = vec![0; BLOCK];
    memory.read(0, &mut bytes)?;
    Ok(match (count == BLOCK, bytes == client.content) {
        (false, _) => "short".to_owned(),
        (true, true) => "right".to_owned(),
        (true, false) => "wrong".to_owned(),
    })
}

fn folders(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.is_dir());
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
