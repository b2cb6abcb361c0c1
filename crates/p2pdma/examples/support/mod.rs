//! Where the examples have their controllers from.

use std::error::Error;

use p2pdma::nvme::Controller;
use p2pdma::topology::Allowlist;
use p2pdma::{Bdf, FabricPlatform, Platform as _, Storage, VfioPlatform, presets};

/// The controllers whose addresses the command line has, under vfio. Without any, those of these names in a machine in
/// software, and that machine.
pub(crate) fn controllers(
    names: &[&str],
) -> Result<(Vec<Controller>, Option<FabricPlatform>), Box<dyn Error>> {
    let places: Vec<String> = std::env::args().skip(1).collect();
    if places.is_empty() {
        let machine = presets::machine("vfio", None)?;
        let platform = FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel())?;
        let open = |name: &&str| {
            let at = platform.find(name).ok_or("no such name")?;
            Ok(platform.controller(at)?)
        };
        let controllers = names.iter().map(open).collect::<Result<_, Box<dyn Error>>>()?;
        return Ok((controllers, Some(platform)));
    }
    if places.len() != names.len() {
        return Err(format!("name {} controllers, as 0000:03:00.0, or none", names.len()).into());
    }
    let platform = VfioPlatform::new(Allowlist::kernel())?;
    let open = |place: &String| Ok(platform.controller(place.parse::<Bdf>()?)?);
    Ok((places.iter().map(open).collect::<Result<_, Box<dyn Error>>>()?, None))
}
