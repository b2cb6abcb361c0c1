//! Runs in the guest: maps memory of a controller for another one and resets the lender.
//!
//! `reset_lender LENDER DEVICE`: both are bound to vfio-pci. It prints a line for each step: `mapped`, `reset`, `refused` (the
//! memory is not mapped a second time while the first mapping, which a reset may have taken away, is there), `dropped`,
//! `mapped`. With a container, whose mappings stay, the second line of `mapped` comes in place of `refused`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::error::Error;

use p2pdma_linux::Survey;
use p2pdma_linux::vfio::Vfio;
use p2pdma_pci::{BarIndex, Bdf, Function as _};

/// Of a controller's registers, which every one has.
const PAGE: u64 = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let place = |at| std::env::args().nth(at).ok_or("which lender, and which device?");
    let (lender, device): (Bdf, Bdf) = (place(1)?.parse()?, place(2)?.parse()?);
    let vfio = Vfio::new(&Survey::live()?, Vec::new())?;
    let (lender, device) = (vfio.open(lender)?, vfio.open(device)?);
    let bar = lender.map_bar(BarIndex::ZERO)?;
    let map = || device.map_peer(&bar, 0..PAGE).map(|window| (window, println!("mapped")));
    let first = map()?;
    lender.reset()?;
    println!("reset");
    if let Err(error) = map() {
        println!("refused: {error}");
    }
    drop(first);
    println!("dropped");
    map()?;
    Ok(())
}
