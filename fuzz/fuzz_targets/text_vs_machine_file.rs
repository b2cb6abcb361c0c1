//! Any text is a machine, or an error with a place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2pdma_pci::machine::Machine;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(error) = Machine::parse(text, "fuzz.toml")
    {
        assert!(!error.to_string().is_empty());
    }
});
