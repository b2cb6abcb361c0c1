//! A medium in memory that writes down what it is asked for.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use p2pdma_devices::nvme::{Fill, Media, MediaError, Take};

/// What a medium was asked for: the kind of access, where, how many bytes.
pub(crate) type Heard = Arc<Mutex<Vec<(&'static str, u64, u64)>>>;

#[derive(Debug)]
pub(crate) struct Witness {
    bytes: Vec<u8>,
    heard: Heard,
}

impl Witness {
    pub(crate) fn new(len: u64) -> (Self, Heard) {
        let heard = Heard::default();
        (Self { bytes: vec![0; len as usize], heard: Arc::clone(&heard) }, heard)
    }

    fn part(&mut self, what: &'static str, at: u64, len: u64) -> &mut [u8] {
        self.heard.lock().unwrap().push((what, at, len));
        // One without bytes still listens.
        let end = self.bytes.len();
        &mut self.bytes[end.min(at as usize)..end.min((at + len) as usize)]
    }
}

impl Media for Witness {
    fn holds_data(&self) -> bool {
        !self.bytes.is_empty()
    }

    fn read(&mut self, at: u64, len: u64, take: &mut Take<'_>) -> Result<(), MediaError> {
        let _: ControlFlow<()> = take(self.part("read", at, len));
        Ok(())
    }

    fn expect(&self, at: u64, len: u64) {
        self.heard.lock().unwrap().push(("expect", at, len));
    }

    fn write(&mut self, at: u64, len: u64, fill: &mut Fill<'_>) -> Result<(), MediaError> {
        let _: ControlFlow<()> = fill(self.part("write", at, len));
        Ok(())
    }

    fn discard(&mut self, at: u64, len: u64) -> Result<(), MediaError> {
        self.part("discard", at, len).fill(0);
        Ok(())
    }

    fn flush(&mut self, at: u64, len: u64) -> Result<(), MediaError> {
        self.part("flush", at, len);
        Ok(())
    }

    fn power_cut(&mut self) {}
}
