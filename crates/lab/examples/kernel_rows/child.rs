//! Accesses that may end the process: tried in one of their own.

use std::env;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use p2pdma_mem::SharedMemory;

use crate::Setup;
use crate::machine::{allocate, function};

/// The word that such a process is started with.
pub(crate) const WORD: &str = "touch";
const PAGE: usize = 4096;
const SIGBUS: i32 = 7;

/// Maps memory of a provider in another process, lets something happen to it, touches it, and says how
/// that ended.
pub(crate) fn touch(what: &str, bdf: &str) -> io::Result<String> {
    let status = Command::new(env::current_exe()?).args([WORD, what, bdf]).status()?;
    Ok(match (status.signal(), status.success()) {
        (Some(SIGBUS), _) => "SIGBUS".to_owned(),
        (None, true) => "ok".to_owned(),
        _ => status.to_string(),
    })
}

/// The other process.
pub(crate) fn run(words: &[String]) -> Setup<()> {
    let [what, bdf] = words else { return Err("what happens to whom?".into()) };
    let memory = SharedMemory::map_file(&allocate(bdf)?, PAGE)?;
    memory.write(0, b"here")?;
    match what.as_str() {
        "discard" => memory.discard(0..PAGE)?,
        "unbind" => fs::write(function(bdf).join("driver/unbind"), bdf)?,
        "remove" => fs::write(function(bdf).join("remove"), "1")?,
        _ => return Err(format!("'{what}' does not happen").into()),
    }
    let mut bytes = [0; 4];
    memory.read(0, &mut bytes)?;
    Ok(())
}
