//! One suite for both controllers.

mod bench;
mod blocks;
mod bring_up;
mod commands;
mod counted;
mod doorbells;
mod events;
mod identity;
mod interrupts;
mod memories;
mod peers;
mod queues;
mod recovery;
mod threads;
mod transfers;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::machine::{Kind, Machine};
pub(crate) use bench::{PATIENCE, pattern};

/// The machine of every case.
pub(crate) const FILE: &str = include_str!("../machine.toml");

/// A case has a name, and says what it counted.
type Case = (&'static str, fn(&dyn Machine) -> String);

/// All cases, in the order in which they are best understood.
const CASES: &[Case] = &[
    ("bring-up", bring_up::again_and_again),
    ("identify", identity::identify),
    ("features and logs", identity::features_and_logs),
    ("queues of every depth", queues::every_depth),
    ("queues in the CMB", queues::in_the_memory_buffer),
    ("interrupts", interrupts::interrupts),
    ("interrupts, masked", interrupts::masked),
    ("polled queues send none", interrupts::none_of_polled_queues),
    ("a queue for each thread", threads::a_queue_for_each),
    ("doorbells for each command", doorbells::per_command),
    ("shadow doorbells", doorbells::shadows),
    ("all queues at once", queues::all_at_once),
    ("PRP at every dword", transfers::prp_at_every_dword),
    ("PRP of every length", transfers::prp_of_every_length),
    ("PRP lists of a page", transfers::prp_lists_of_a_page),
    ("PRP lists side by side", transfers::lists_side_by_side),
    ("limits of a transfer", transfers::limits),
    ("SGL and PRP, scattered", transfers::scattered),
    ("SGL bit buckets", transfers::bit_buckets),
    ("data in the CMB", memories::data_in_the_buffer),
    ("data in the PMR", memories::data_in_the_region),
    ("CMB, PMR and a queue at once", memories::everything_at_once),
    ("peer to peer", peers::between_two),
    ("peer to peer, refused", peers::refused_between_root_ports),
    ("blocks with and without metadata", blocks::of_every_namespace),
    ("formats", blocks::formats),
    ("protection information", blocks::protection),
    ("Compare", commands::compare),
    ("Write Zeroes, Verify, Flush", commands::zeroes_and_verify),
    ("Dataset Management", commands::deallocate),
    ("Copy", commands::copy),
    ("errors", commands::refusals),
    ("Abort", events::abort),
    ("asynchronous events", events::asynchronous),
    ("reset under load", recovery::reset_under_load),
    ("function-level reset", recovery::function_level_reset),
    ("shutdown", recovery::shutdown),
];

/// Runs every case on a machine of its own, whichever fail; those of these names, if there are any.
fn conform(kind: Kind, names: &[&str]) {
    let begin = Instant::now();
    let (mut failed, mut count) = (Vec::new(), 0);
    for (name, case) in CASES.iter().filter(|case| names.is_empty() || names.contains(&case.0)) {
        count += 1;
        let begin = Instant::now();
        let machine = kind.build(FILE);
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&*machine)));
        let took = begin.elapsed().as_millis();
        match (outcome, machine.fault()) {
            (Ok(counts), None) => println!("{kind}: {name}: {counts} ({took} ms)"),
            (Ok(_), Some(fault)) => failed.push(format!("{name}: {fault}")),
            (Err(panic), fault) => {
                let fault = fault.map(|fault| format!(" ({fault})")).unwrap_or_default();
                failed.push(format!("{name}: {}{fault}", message(&*panic)));
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f32();
    assert!(names.is_empty() || count == names.len(), "there is no case of some of these names");
    println!("{kind}: {} of {count} cases passed in {seconds:.1} s", count - failed.len());
    assert!(failed.is_empty(), "on {kind}:\n{}", failed.join("\n"));
}

fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without words",
    }
}

#[test]
fn our_model_conforms() {
    conform(Kind::Model, &[]);
}

#[test]
fn qemu_s_controller_conforms() {
    conform(Kind::Qemu, &[]);
}

/// What is done where QEMU lacks qtest's accelerator works as well: registers, DMA, interrupts, resets.
#[test]
fn qemu_with_stopped_processors_conforms() {
    let names = [
        "identify",
        "interrupts",
        "shadow doorbells",
        "PRP of every length",
        "data in the CMB",
        "peer to peer",
        "reset under load",
        "shutdown",
    ];
    conform(Kind::Stopped, &names);
}
