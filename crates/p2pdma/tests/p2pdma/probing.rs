//! The data probe: what it finds, what it leaves behind.

use std::sync::Arc;

use p2pdma::{Candidate, End, Error, FabricPlatform, Plan, Platform, Policy, Probe, Probed, Wish};

use crate::support::{GO_ON, bytes, client, has_pattern, preset, write_pattern};

const SPAN: u64 = 64 << 10;

/// Probes the way of nvme1 to nvme0's memory.
fn probe(platform: &FabricPlatform, drains: bool) -> Result<Probed, Error> {
    let end = End::Client(platform.find("nvme1").unwrap());
    let candidates = Candidate::all(platform)?;
    let via = Some(candidates[0].id);
    let (source, policy) = (end.clone(), Policy::Require);
    let wish = Wish { source, sink: end, via, block: SPAN, policy, barrier: None };
    let plan = Plan::new(&*platform.topology()?, wish, &candidates)?;
    let memory = Arc::new(plan.memory(platform, SPAN)?);
    let mut ssd = client(platform, "nvme1");
    let (client, name, memory) = (&mut *ssd, "nvme1", &memory);
    let watch = GO_ON;
    let mut probe = Probe { platform, client, name, memory, at: SPAN, len: SPAN, watch };
    if drains { probe.drains() } else { probe.fills() }
}

#[test]
fn a_sound_path_passes_both_ways_and_the_ssd_is_as_before() {
    let platform = preset("default");
    write_pattern(&platform, "nvme1", 3, 4 * SPAN);
    let fills = probe(&platform, false).unwrap();
    assert!(fills.fills >= 6 && fills.drains == 0 && fills.bytes > SPAN, "{fills:?}");
    let drains = probe(&platform, true).unwrap();
    assert_eq!((drains.fills, drains.drains), (0, fills.fills));
    assert!(has_pattern(&platform, "nvme1", 3, 4 * SPAN));
}

#[test]
fn a_root_complex_that_loses_data_is_found_and_what_was_there_is_put_back() {
    let platform = preset("root-ports-lossy");
    write_pattern(&platform, "nvme1", 3, 4 * SPAN);
    let before = bytes(&platform, &mut *client(&platform, "nvme1"), 0, 4 * SPAN);
    for (drains, word) in [(false, "filling"), (true, "draining")] {
        match probe(&platform, drains) {
            Err(Error::DataLost { what, at: 0, .. }) => assert_eq!(what, word),
            other => panic!("{other:?}"),
        }
        let after = bytes(&platform, &mut *client(&platform, "nvme1"), 0, 4 * SPAN);
        assert!(after == before, "{word}");
    }
}
