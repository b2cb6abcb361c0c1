//! Devices that are unplugged while a job runs: when it says so.

use crate::machine::device_id;

/// What is still to be unplugged, and the part of a line that came.
#[derive(Debug)]
pub(super) struct Unplugs {
    waiting: Vec<(String, String)>,
    line: Vec<u8>,
}

impl Unplugs {
    /// Lines, and the devices that are unplugged when they come.
    pub(super) fn new(waiting: &[(String, String)]) -> Self {
        Self { waiting: waiting.to_owned(), line: Vec::new() }
    }

    /// Takes what the job says; returns QEMU's identifiers of the devices whose lines are complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut devices = Vec::new();
        if self.waiting.is_empty() {
            return devices;
        }
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let is = |(text, _): &(String, String)| text.as_bytes() == line;
            if let Some(index) = self.waiting.iter().position(is) {
                devices.push(device_id(&self.waiting.remove(index).1));
            }
        }
        devices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_line_unplugs_once() {
        let mut unplugs = Unplugs::new(&[("out with it".to_owned(), "nvme0".to_owned())]);
        assert!(unplugs.take(b"not out with it\nout wi").is_empty());
        assert_eq!(unplugs.take(b"th it\nout with it\n"), ["dev-nvme0"]);
        assert!(unplugs.take(b"out with it\n").is_empty());
    }
}
