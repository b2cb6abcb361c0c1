//! qtest's protocol: a line each way (docs/devel/testing/qtest.rst in QEMU).

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What went wrong on the way to QEMU.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The socket failed, or nothing came in time.
    #[error("QEMU did not answer '{command}': {source}")]
    Socket { command: String, source: std::io::Error },
    /// QEMU closed the socket: it has ended.
    #[error("QEMU ended before it answered '{command}'")]
    Closed { command: String },
    /// QEMU refused a command, or answered something else.
    #[error("QEMU answered '{command}' with '{answer}'")]
    Answer { command: String, answer: String },
}

/// So many answers may be outstanding: their bytes fit any socket's buffer.
const MOST_OWED: usize = 64;
/// The most bytes of one command that moves memory.
const PIECE: usize = 64 << 10;

/// A connection to a QEMU that is run by qtest.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UnixStream,
    /// What came and is no whole line yet.
    input: Vec<u8>,
    /// Commands whose answer nobody waited for.
    owed: usize,
    /// The last command, for errors.
    last: String,
}

impl Wire {
    /// Over a connected socket; no answer is waited for longer than `limit`.
    pub(crate) fn new(stream: UnixStream, limit: Duration) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self { stream, input: Vec::new(), owed: 0, last: String::new() })
    }

    /// Sends a command and does not wait for its answer; a later one does.
    pub(crate) fn post(&mut self, command: String) -> Result<(), Error> {
        self.send(command)?;
        self.owed += 1;
        if self.owed >= MOST_OWED { self.settle() } else { Ok(()) }
    }

    /// Sends a command; returns what follows `OK` in its answer.
    pub(crate) fn ask(&mut self, command: String) -> Result<String, Error> {
        self.send(command)?;
        self.settle()?;
        self.answer()
    }

    /// Sends a command whose answer is a number.
    pub(crate) fn number(&mut self, command: String) -> Result<u64, Error> {
        let answer = self.ask(command)?;
        let digits = answer.strip_prefix("0x").unwrap_or(&answer);
        u64::from_str_radix(digits, 16).map_err(|_| self.strange(answer))
    }

    /// Reads memory as the processor does, whole words in one access.
    pub(crate) fn read(&mut self, at: u64, data: &mut [u8]) -> Result<(), Error> {
        if let Some(letter) = access(data.len()) {
            let value = self.number(format!("read{letter} {at:#x}"))?.to_le_bytes();
            let len = data.len();
            data.copy_from_slice(&value[..len]);
            return Ok(());
        }
        for (at, piece) in (at..).step_by(PIECE).zip(data.chunks_mut(PIECE)) {
            let answer = self.ask(format!("read {at:#x} {:#x}", piece.len()))?;
            let bytes = answer.strip_prefix("0x").and_then(bytes_of);
            match bytes.filter(|bytes| bytes.len() == piece.len()) {
                Some(bytes) => piece.copy_from_slice(&bytes),
                None => return Err(self.strange(answer)),
            }
        }
        Ok(())
    }

    /// Writes memory as the processor does, whole words in one access. Posted.
    pub(crate) fn write(&mut self, at: u64, data: &[u8]) -> Result<(), Error> {
        if let Some(letter) = access(data.len()) {
            let mut value = [0; 8];
            value[..data.len()].copy_from_slice(data);
            let value = u64::from_le_bytes(value);
            return self.post(format!("write{letter} {at:#x} {value:#x}"));
        }
        for (at, piece) in (at..).step_by(PIECE).zip(data.chunks(PIECE)) {
            let digits: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            self.post(format!("write {at:#x} {:#x} 0x{digits}", piece.len()))?;
        }
        Ok(())
    }

    fn send(&mut self, mut command: String) -> Result<(), Error> {
        command.push('\n');
        let sent = self.stream.write_all(command.as_bytes());
        command.pop();
        // Of a command that carries data, its beginning says enough.
        command.truncate(60);
        self.last = command;
        sent.map_err(|source| Error::Socket { command: self.last.clone(), source })
    }

    /// Takes the answers that nobody waited for.
    fn settle(&mut self) -> Result<(), Error> {
        while self.owed > 0 {
            self.owed -= 1;
            self.answer()?;
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<String, Error> {
        loop {
            let line = self.line()?;
            if line.starts_with("IRQ ") {
                continue;
            }
            return match line.strip_prefix("OK") {
                Some(rest) => Ok(rest.trim().to_owned()),
                None => Err(self.strange(line)),
            };
        }
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut buffer = [0; 1 << 14];
        let mut searched = 0;
        loop {
            let end = self.input[searched..].iter().position(|&byte| byte == b'\n');
            if let Some(end) = end {
                let line: Vec<u8> = self.input.drain(..=searched + end).collect();
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            searched = self.input.len();
            let command = self.last.clone();
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Error::Closed { command }),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(source) => return Err(Error::Socket { command, source }),
            }
        }
    }

    fn strange(&self, answer: String) -> Error {
        Error::Answer { command: self.last.clone(), answer }
    }
}

/// The letter of a single access of so many bytes.
fn access(len: usize) -> Option<char> {
    match len {
        1 => Some('b'),
        2 => Some('w'),
        4 => Some('l'),
        8 => Some('q'),
        _ => None,
    }
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

mod tests {
    use super::*;
    use std::thread;

    /// A peer that answers each line with the next of these, and then closes.
    fn peer(answers: &'static [&'static str]) -> (Wire, thread::JoinHandle<Vec<String>>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || {
            let (mut seen, mut byte) = (vec![String::new()], [0]);
            for answer in answers {
                while theirs.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
                    seen.last_mut().unwrap().push(char::from(byte[0]));
                }
                seen.push(String::new());
                theirs.write_all(answer.as_bytes()).unwrap();
            }
            seen.pop();
            seen
        });
        (Wire::new(ours, Duration::from_millis(200)).unwrap(), thread)
    }

    #[test]
    fn words_are_single_accesses_and_the_rest_is_bytes() {
        let (mut wire, thread) =
            peer(&["OK 0x00000000abcd1234\n", "OK\n", "OK\n", "IRQ raise 3\nOK 0x010203\n"]);
        let (mut word, mut bytes) = ([0; 4], [0; 3]);
        wire.read(0x10, &mut word).unwrap();
        wire.write(0x18, &[1, 2]).unwrap();
        wire.write(0x20, &[1, 2, 255]).unwrap();
        wire.read(0x30, &mut bytes).unwrap();
        assert_eq!((word, bytes), ([0x34, 0x12, 0xcd, 0xab], [1, 2, 3]));
        let seen = thread.join().unwrap();
        assert_eq!(
            seen,
            ["readl 0x10", "writew 0x18 0x201", "write 0x20 0x3 0x0102ff", "read 0x30 0x3"]
        );
    }

    #[test]
    fn refusals_silence_and_the_end_are_told_apart() {
        let (mut wire, thread) = peer(&["FAIL Unknown command\n", "OK what\n", "OK 0x12\n", ""]);
        assert!(matches!(wire.ask("x".to_owned()), Err(Error::Answer { .. })));
        assert!(matches!(wire.number("y".to_owned()), Err(Error::Answer { .. })));
        // Fewer bytes than were asked for.
        assert!(matches!(wire.read(0, &mut [0; 3]), Err(Error::Answer { .. })));
        let silent = wire.ask("z".to_owned()).unwrap_err();
        thread.join().unwrap();
        assert!(matches!(silent, Error::Socket { .. } | Error::Closed { .. }), "{silent}");
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(ours, Duration::from_millis(50)).unwrap();
        let late = wire.ask("w".to_owned()).unwrap_err();
        assert!(matches!(late, Error::Socket { .. }) && late.to_string().contains("'w'"), "{late}");
        drop(theirs);
    }
}
