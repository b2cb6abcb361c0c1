//! What most cases need: a controller, a namespace, a queue, and known data.

use p2pdma_nvme::{
    Command, Controller, Data, Failure, Namespace, Options, QueueOptions, QueuePair,
};
use p2pdma_pci::{DmaBuffer, Duration};
use p2pdma_spec::nvme::status::Status;

use crate::machine::Machine;

/// Longer than anything takes, on a machine whose processors are shared.
pub(crate) const PATIENCE: Duration = Duration::from_millis(30_000);

pub(crate) struct Bench {
    pub(crate) queue: QueuePair<()>,
    pub(crate) namespace: Namespace,
    pub(crate) controller: Controller,
}

impl Bench {
    pub(crate) fn new(machine: &dyn Machine, name: &str, nsid: u32) -> Self {
        Self::with(machine, name, nsid, Options::default())
    }

    pub(crate) fn with(machine: &dyn Machine, name: &str, nsid: u32, options: Options) -> Self {
        let controller = machine.open_with(name, options);
        let namespace = controller.namespace(nsid).unwrap();
        let queue = controller.queue_pair(&QueueOptions::default()).unwrap();
        Self { queue, namespace, controller }
    }

    pub(crate) fn run(&mut self, command: &Command, data: Data<'_>) -> Result<u64, Failure> {
        run(&mut self.queue, command, data)
    }

    /// The status of a command that fails.
    pub(crate) fn status(&mut self, command: &Command, data: Data<'_>) -> Status {
        match self.run(command, data) {
            Ok(_) => Status::SUCCESS,
            Err(failure) => status(failure),
        }
    }

    /// Writes known data; returns them.
    pub(crate) fn fill(&mut self, slba: u64, blocks: u32, seed: u64) -> Vec<u8> {
        let write = self.namespace.write(slba, blocks).unwrap();
        let data = pattern(seed, usize::try_from(write.data_len()).unwrap());
        let buffer = self.controller.alloc_dma(data.len()).unwrap();
        buffer.memory().write(0, &data).unwrap();
        self.run(&write, (&buffer).into()).unwrap();
        data
    }

    pub(crate) fn contents(&mut self, slba: u64, blocks: u32) -> Result<Vec<u8>, Status> {
        let read = self.namespace.read(slba, blocks).unwrap();
        let len = usize::try_from(read.data_len()).unwrap();
        let buffer = self.controller.alloc_dma(len).unwrap();
        self.run(&read, (&buffer).into()).map_err(status)?;
        Ok(bytes(&buffer, 0, len))
    }
}

/// Carries one command out.
pub(crate) fn run(
    queue: &mut QueuePair<()>,
    command: &Command,
    data: Data<'_>,
) -> Result<u64, Failure> {
    queue.submit(command, data, ()).unwrap();
    queue.wait(PATIENCE).unwrap().unwrap().outcome
}

/// The status of a failure.
pub(crate) fn status(failure: Failure) -> Status {
    match failure.cause {
        p2pdma_nvme::Cause::Status(status) => status.status(),
        p2pdma_nvme::Cause::Lost => panic!("lost"),
    }
}

pub(crate) fn bytes(buffer: &DmaBuffer, at: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    buffer.memory().read(at, &mut bytes).unwrap();
    bytes
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}
