//! QEMU's monitor (docs/interop/qmp-spec.rst in QEMU): a line of JSON each way.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

/// The monitor of a running QEMU.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    stream: Option<UnixStream>,
    /// The part of a line that came.
    line: Vec<u8>,
    /// Why QEMU ends, as it said.
    shutdown: Option<String>,
    /// Why it refused a command, if it did.
    refusal: Option<String>,
}

impl Monitor {
    /// QEMU connected. Commands are taken once the capabilities are agreed on: none.
    pub(super) fn connected(&mut self, stream: UnixStream) {
        self.stream = Some(stream);
        self.execute(&json!({ "execute": "qmp_capabilities" }));
    }

    /// Takes what QEMU says. Answers to commands need none, unless it refuses one; a line that is no JSON says nothing.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let message: Value = serde_json::from_slice(&self.line).unwrap_or_default();
            self.line.clear();
            if message["event"] == "SHUTDOWN" {
                self.shutdown = message["data"]["reason"].as_str().map(str::to_owned);
            }
            if let Some(refusal) = message["error"]["desc"].as_str() {
                self.refusal.get_or_insert_with(|| refusal.to_owned());
            }
        }
    }

    /// Asks QEMU to end.
    pub(super) fn quit(&mut self) {
        self.execute(&json!({ "execute": "quit" }));
    }

    /// Why QEMU ends: `guest-shutdown`, `guest-panic`, `host-qmp-quit` (`ShutdownCause` in
    /// qapi/run-state.json of QEMU).
    pub(super) fn shutdown(&self) -> Option<&str> {
        self.shutdown.as_deref()
    }

    /// Why it refused a command: the first that it did.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Unplugs a device, as somebody who presses the button of its slot (docs/pcie.txt of QEMU).
    pub(super) fn unplug(&mut self, id: &str) {
        self.execute(&json!({ "execute": "device_del", "arguments": { "id": id } }));
    }

    fn execute(&mut self, command: &Value) {
        if let Some(stream) = &mut self.stream {
            // If it fails QEMU is gone, which its process tells.
            let _ = writeln!(stream, "{command}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_shutdown_is_kept_in_however_many_pieces_it_comes() {
        let mut monitor = Monitor::default();
        monitor
            .receive(b"{\"QMP\": {}}\r\nnonsense\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\"");
        assert_eq!(monitor.shutdown(), None);
        monitor.receive(b": true, \"reason\": \"guest-shutdown\"}}\r\n");
        assert_eq!(monitor.shutdown(), Some("guest-shutdown"));
        assert_eq!(monitor.refusal(), None);
        monitor.receive(
            b"{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'x' not found\"}}\n",
        );
        assert_eq!(monitor.refusal(), Some("Device 'x' not found"));
    }
}
