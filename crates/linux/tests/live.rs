//! The machine that the tests run on: whatever it is, it is read, and read again from its snapshot.

use p2pdma_linux::{LiveTree, Snapshot, Survey};

#[test]
fn this_machine_is_read_live_and_from_a_snapshot() {
    let tree = LiveTree::machine().unwrap();
    let survey = Survey::read(&tree).unwrap();
    let snapshot = Snapshot::capture(&tree).unwrap();
    let mut text = Vec::new();
    snapshot.write(&mut text).unwrap();
    println!("{}", String::from_utf8_lossy(&text));
    println!("{survey:#?}");
}
