//! The data probe: what it finds, what it leaves behind.

use std::ops::Range;
use std::sync::Arc;

use p2pdma::{
    Attachment, Bdf, Candidate, Capabilities, Client, Done, End, Error, FabricPlatform, Op,
    PeerMemory, Plan, Platform, Policy, Probe, Probed, Ticket, Wish,
};

use crate::support::{GO_ON, bytes, client, has_pattern, preset, write_pattern};

const SPAN: u64 = 64 << 10;

/// Probes the way of nvme1 to nvme0's memory.
fn probe(platform: &FabricPlatform, drains: bool) -> Result<Probed, Error> {
    probe_by(platform, &mut *client(platform, "nvme1"), drains)
}

fn probe_by(
    platform: &FabricPlatform,
    client: &mut dyn Client,
    drains: bool,
) -> Result<Probed, Error> {
    let end = End::Client(platform.find("nvme1").unwrap());
    let candidates = Candidate::all(platform)?;
    let via = Some(candidates[0].id);
    let (source, policy) = (end.clone(), Policy::Require);
    let wish = Wish { source, sink: end, via, block: SPAN, policy, barrier: None };
    let plan = Plan::new(&*platform.topology()?, wish, &candidates)?;
    let memory = Arc::new(plan.memory(platform, SPAN)?);
    let (name, memory) = ("nvme1", &memory);
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

/// An SSD that somebody else writes to just before it fills a device's memory, so many times.
struct Live<'a> {
    platform: &'a FabricPlatform,
    ssd: Box<dyn Client>,
    to_device: bool,
    writes: u64,
}

impl Client for Live<'_> {
    fn bdf(&self) -> Option<Bdf> {
        self.ssd.bdf()
    }

    fn capabilities(&self) -> Capabilities {
        self.ssd.capabilities()
    }

    fn attach(&mut self, memory: &Arc<PeerMemory>) -> Result<Attachment, Error> {
        self.to_device = memory.owner().is_some();
        self.ssd.attach(memory)
    }

    fn submit(
        &mut self,
        op: Op,
        memory: &Attachment,
        range: Range<u64>,
        ticket: Ticket,
    ) -> Result<(), Error> {
        if self.to_device && self.writes > 0 {
            self.writes -= 1;
            write_pattern(self.platform, "nvme1", 100 + self.writes, 4 * SPAN);
        }
        self.ssd.submit(op, memory, range, ticket)
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.ssd.poll(done)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.ssd.flush()
    }
}

#[test]
fn what_somebody_else_writes_meanwhile_is_not_lost() {
    let platform = &preset("default");
    let live = |writes| Live { platform, ssd: client(platform, "nvme1"), to_device: false, writes };
    write_pattern(platform, "nvme1", 3, 4 * SPAN);
    let quiet = probe(platform, false).unwrap();
    assert_eq!(probe_by(platform, &mut live(5), false).unwrap(), quiet);
    // Who never stops cannot be tested.
    let restless = probe_by(platform, &mut live(1000), false);
    assert!(matches!(restless, Err(Error::DataLost { .. })), "{restless:?}");
}
