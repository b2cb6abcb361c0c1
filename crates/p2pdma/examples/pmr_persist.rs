//! Keeps a count in a persistent memory region: it is there again after a loss of power.
//!
//! `pmr_persist` does it in a machine in software, and cuts its power; `pmr_persist 0000:04:00.0` on this one, once
//! `p2pdma bind take` has moved the controller to vfio: run it twice. **The first 16 bytes of the region are
//! overwritten.**

#![expect(clippy::print_stdout, reason = "this is a program")]

mod support;

use std::error::Error;

use p2pdma::nvme::Pmr;
use p2pdma::{FabricPlatform, Platform as _};

/// So that what others left there is not taken for a count.
const MARK: [u8; 8] = *b"p2pcount";

fn main() -> Result<(), Box<dyn Error>> {
    let (controllers, machine) = support::controllers(&["nvme1"])?;
    let pmr = controllers.first().ok_or("one controller, please")?.pmr()?;
    println!("this is time {}", count(&pmr)?);
    let Some(platform) = machine else { return Ok(()) };

    // The machine in software can lose its power. Every handle is void then.
    let fabric = platform.fabric().clone();
    fabric.power_cut();
    drop((pmr, controllers, platform));
    fabric.enumerate()?;
    let platform = FabricPlatform::over(fabric);
    let at = platform.find("nvme1").ok_or("no such name")?;
    println!("after a loss of power this is time {}", count(&platform.controller(at)?.pmr()?)?);
    Ok(())
}

/// Counts one more, durably.
fn count(pmr: &Pmr) -> Result<u64, Box<dyn Error>> {
    let (mut mark, mut count) = ([0; 8], [0; 8]);
    pmr.read(0, &mut mark)?;
    pmr.read(8, &mut count)?;
    let before = if mark == MARK { u64::from_le_bytes(count) } else { 0 };
    let now = before.wrapping_add(1);
    pmr.write(8, &now.to_le_bytes())?;
    // What is before a barrier is durable when what is behind it is: the mark never stands beside no count.
    pmr.persist()?;
    pmr.write(0, &MARK)?;
    pmr.persist()?;
    Ok(now)
}
