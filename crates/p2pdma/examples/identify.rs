//! Says what an NVMe controller is, and which memory it has for others.
//!
//! `identify` asks one of a machine in software; `identify 0000:03:00.0` one of this machine, once
//! `p2pdma bind take 0000:03:00.0` has moved it to vfio.

#![expect(clippy::print_stdout, reason = "this is a program")]

mod support;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let (controllers, _) = support::controllers(&["nvme0"])?;
    for controller in controllers {
        let identity = controller.identity();
        println!("{}: {}, serial number {}", controller.bdf(), identity.mn, identity.sn);
        println!(
            "  NVMe {}, at most {} bytes a command",
            controller.version(),
            controller.max_transfer()
        );
        for &number in controller.namespaces() {
            let namespace = controller.namespace(number)?;
            let block = namespace.format().data;
            println!("  namespace {number}: {} bytes in blocks of {block}", namespace.size());
        }
        if let Ok(cmb) = controller.cmb() {
            println!("  controller memory buffer: {} bytes", cmb.len());
        }
        if let Ok(pmr) = controller.pmr() {
            println!("  persistent memory region: {} bytes", pmr.len());
        }
    }
    Ok(())
}
