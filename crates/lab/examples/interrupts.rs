//! Runs in the guest: reads blocks through a queue with an interrupt vector, one at a time, and prints how many of its
//! interrupts the kernel has counted meanwhile.
//!
//! `interrupts BDF`: the device is bound to vfio-pci. It prints `100 reads, N interrupts of vector 1`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::error::Error;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration as Wait, Instant};

use p2pdma_linux::Survey;
use p2pdma_linux::vfio::Vfio;
use p2pdma_nvme::{Controller, Options, QueueOptions, Segment};
use p2pdma_pci::{Bdf, Duration};

const READS: u32 = 100;
/// Of a read.
const BYTES: u32 = 4096;
const VECTOR: u16 = 1;
/// A command that was not over within this is lost.
const LIMIT: Duration = Duration::from_millis(5_000);
/// So late no interrupt is.
const PATIENCE: Wait = Wait::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let bdf: Bdf = std::env::args().nth(1).ok_or("which device?")?.parse()?;
    let vfio = Vfio::new(&Survey::live()?, Vec::new())?;
    let controller = Controller::open(Arc::new(vfio.open(bdf)?), Options::default())?;
    let namespace = controller.namespace(1)?;
    let read = namespace.read(0, BYTES / namespace.format().data)?;
    let mut buffer = controller.alloc_dma(BYTES as usize)?;
    let options = QueueOptions { vector: Some(VECTOR), ..QueueOptions::entries(8) };
    let mut queue = controller.queue_pair(&options)?;
    let before = counted(bdf)?;
    for number in 1..=READS {
        let segment = Segment::from(&buffer);
        queue.submit(&read, segment.into(), buffer).map_err(|rejected| rejected.error)?;
        let over = queue.wait(LIMIT)?.ok_or("nothing was in flight")?;
        over.outcome?;
        buffer = over.token;
        // A completion may be seen before its interrupt is counted, and one that comes while another waits is the same.
        let begin = Instant::now();
        while counted(bdf)? - before < number.into() && begin.elapsed() < PATIENCE {
            sleep(Wait::from_millis(1));
        }
    }
    println!("{READS} reads, {} interrupts of vector {VECTOR}", counted(bdf)? - before);
    Ok(())
}

/// Interrupts of the vector up to now, on all processors: vfio names them `vfio-msix[1](0000:03:00.0)`
/// (`vfio_msi_set_vector_signal()`, drivers/vfio/pci/vfio_pci_intrs.c).
fn counted(bdf: Bdf) -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/interrupts")?;
    let name = format!("vfio-msix[{VECTOR}]({bdf})");
    let line = text.lines().find(|line| line.ends_with(&name)).ok_or("no such interrupt")?;
    let counts = line.split_whitespace().skip(1).map_while(|count| count.parse::<u64>().ok());
    Ok(counts.sum())
}
