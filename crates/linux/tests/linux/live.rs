//! The machine that the tests run on: whatever it is, it is read, and read again from its snapshot.

use p2pdma_linux::{LiveTree, Snapshot, Survey};

#[test]
fn this_machine_is_read_live_and_from_a_snapshot() {
    let tree = LiveTree::machine().unwrap();
    // Something may have come or gone between the two.
    let same = (0..5).any(|_| {
        let survey = Survey::read(&tree).unwrap();
        let snapshot = Snapshot::capture(&tree).unwrap();
        let replayed = Survey::read(&snapshot).unwrap();
        let functions = survey.topology.nodes().len();
        println!("functions of this machine: {functions}, answers captured: {}", snapshot.len());
        replayed.topology == survey.topology
            && replayed.blocks.devices == survey.blocks.devices
            && replayed.notes == survey.notes
    });
    assert!(same);
}
