//! Abort, and what a controller says by itself.

use p2pdma_nvme::{Data, QueueOptions, QueuePair, Setting};
use p2pdma_pci::BarIndex;
use p2pdma_spec::nvme::admin::{AsyncErrorInfo, AsyncEventResult, AsyncEventType};
use p2pdma_spec::nvme::feature::{FeatureId, TemperatureThreshold};
use p2pdma_spec::nvme::registers::submission_doorbell;
use p2pdma_spec::nvme::status::Status;

use super::bench::{Bench, PATIENCE, status};
use crate::machine::Machine;

/// Whatever an Abort comes to, its command ends once, as it was or as aborted; one that is over cannot be
/// aborted.
pub(crate) fn abort(machine: &dyn Machine) -> String {
    let bench = Bench::new(machine, "nvme0", 1);
    let mut queue: QueuePair<u64> =
        bench.controller.queue_pair(&QueueOptions::entries(32)).unwrap();
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let (mut done, mut aborted, mut said) = (0, 0, 0);
    for round in 0..20 {
        let mut ids = Vec::new();
        for token in 0..16 {
            let read = bench.namespace.read(token, 1).unwrap();
            ids.push(queue.submit(&read, Data::from(&buffer), token).unwrap());
        }
        queue.ring().unwrap();
        for id in ids.iter().skip(round % 8).step_by(5) {
            said += usize::from(queue.abort(*id).unwrap());
        }
        while let Some(completion) = queue.wait(PATIENCE).unwrap() {
            match completion.outcome {
                Ok(_) => done += 1,
                Err(failure) => {
                    assert_eq!(status(failure), Status::ABORT_REQUESTED);
                    aborted += 1;
                }
            }
        }
        assert!(!queue.abort(ids[0]).unwrap(), "a command that is over was aborted");
    }
    assert_eq!(done + aborted, 20 * 16);
    assert!(aborted >= said, "{said} aborts succeeded, {aborted} commands are aborted");
    format!("{done} done, {aborted} aborted")
}

/// The next event, once it has come.
fn event(bench: &Bench) -> AsyncEventResult {
    let clock = bench.controller.function().clock();
    let begin = clock.now();
    loop {
        if let Some(event) = bench.controller.next_event().unwrap() {
            return event;
        }
        assert!(clock.now().since(begin) < PATIENCE, "no event came");
        clock.relax();
    }
}

/// A doorbell of a queue that does not exist, a value that no queue can have, and heat.
pub(crate) fn asynchronous(machine: &dyn Machine) -> String {
    let bench = Bench::new(machine, "nvme0", 1);
    let bar = bench.controller.function().map_bar(BarIndex::ZERO).unwrap();
    let wrong = [
        (submission_doorbell(8, 0), 1, AsyncErrorInfo::INVALID_DOORBELL_REGISTER),
        (submission_doorbell(bench.queue.qid(), 0), 0xFFFF, AsyncErrorInfo::INVALID_DOORBELL_VALUE),
    ];
    for (register, value, info) in wrong {
        bar.write32(register, value).unwrap();
        let event = event(&bench);
        assert_eq!(event.event_type(), AsyncEventType::ERROR);
        assert_eq!(AsyncErrorInfo::from_bits(event.info()), info);
        // Reading the log lets the next one come.
        bench.controller.error_log().unwrap();
    }
    let threshold = TemperatureThreshold::from_bits(0x0100);
    let setting = Setting::new(FeatureId::TEMPERATURE_THRESHOLD, threshold);
    bench.controller.set_feature(&setting).unwrap();
    let event = event(&bench);
    assert_eq!(event.event_type(), AsyncEventType::HEALTH);
    bench.controller.smart_log().unwrap();
    "3 events".to_owned()
}
