//! Any capture of a machine is read or refused: bytes as they come, and registers as they please in the
//! text of lspci. What is read has a verdict on every pair.

#![no_main]

use std::fmt::Write as _;

use libfuzzer_sys::fuzz_target;
use p2pdma_linux::Survey;
use p2pdma_pci::topology::{Allowlist, Lists, ReasonCode};

/// A function: its bus, its device and function, and 256 bytes of registers.
const FUNCTION: usize = 2 + 256;

fuzz_target!(|data: &[u8]| {
    let Some((&form, rest)) = data.split_first() else { return };
    let survey = match form {
        0 => Survey::from_capture(rest, Allowlist::kernel()),
        _ => Survey::from_capture(dump(rest).as_bytes(), Allowlist::kernel()),
    };
    match survey {
        Ok(survey) => judge(&survey),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// What lspci would print of functions with these registers.
fn dump(data: &[u8]) -> String {
    let mut text = String::new();
    for function in data.chunks(FUNCTION).take(12) {
        let [bus, devfn, registers @ ..] = function else { break };
        // A string takes everything.
        let _ = writeln!(text, "{bus:02x}:{:02x}.{:x} Device", devfn >> 3, devfn & 7);
        let mut all = [0; 256];
        all[..registers.len()].copy_from_slice(registers);
        for (row, bytes) in all.chunks(16).enumerate() {
            let _ = write!(text, "{row:x}0:");
            for byte in bytes {
                let _ = write!(text, " {byte:02x}");
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

fn judge(survey: &Survey) {
    let topology = &survey.topology;
    assert_eq!(survey.functions.len(), topology.nodes().len());
    for client in topology.ids() {
        for provider in topology.ids() {
            let pair = topology.pair(client, provider, Lists::WithUsers);
            let at = |id| topology.node(id).bdf;
            let verdict = topology.explain(at(client), at(provider));
            let lost = verdict.loses_data().then_some(ReasonCode::DataLost);
            let code = verdict.code().or(lost);
            assert_eq!((pair.map_type, pair.code), (verdict.map_type, code));
        }
    }
}
