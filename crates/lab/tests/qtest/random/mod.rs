//! Random commands, right and wrong, sent to our model and to QEMU: their answers are the same, or listed
//! in `docs/qemu-differences.md` with the specification's clause.

mod admin;
mod differences;
mod io;
mod number;
mod shot;
mod side;

use std::collections::BTreeMap;
use std::time::Instant;

use p2pdma_spec::nvme::status::Status;

use crate::cases::FILE;
use crate::machine::Kind;
use differences::{Answer, Table};
use number::Numbers;
use shot::Shot;
use side::Side;

/// How many commands are compared.
const COMMANDS: u64 = 8000;
/// After so many, everything on the media is compared.
const WHOLE: u64 = 1000;
/// How many of them a minute has to be enough for.
const PER_MINUTE: f32 = 5000.0;
/// What decides which commands they are.
const SEED: u64 = 20;

/// Both machines, in the same state.
struct Sides {
    model: Side,
    qemu: Side,
    /// Commands by what our model answered.
    statuses: BTreeMap<Status, u64>,
}

impl Sides {
    fn both(&mut self) -> [&mut Side; 2] {
        [&mut self.model, &mut self.qemu]
    }

    /// Sends a command to both; what they answered, if that differs.
    fn fire(&mut self, shot: &Shot) -> Option<[Answer; 2]> {
        let [model, qemu] = self.both().map(|side| side.fire(shot));
        *self.statuses.entry(model.status).or_insert(0) += 1;
        let worked = model.status == Status::SUCCESS && qemu.status == Status::SUCCESS;
        let other_data = worked && shot.compares_data && !self.same_memory();
        let same = model == qemu && !other_data;
        if !worked || other_data || !shot.compares_data {
            // What a command that fails leaves in memory and on the media is not specified.
            self.align(!same || shot.writes);
        }
        (!same).then_some([model, qemu].map(|answer| Answer { other_data, ..answer }))
    }

    fn same_memory(&self) -> bool {
        self.model.memory() == self.qemu.memory()
    }

    /// Brings both into the same state again.
    fn align(&mut self, media: bool) {
        for side in self.both() {
            if media {
                side.write_media();
            }
            side.fill_memory();
        }
    }

    fn check_media(&mut self) {
        let [model, qemu] = self.both().map(Side::media);
        for (nsid, (ours, theirs)) in (1..).zip(model.iter().zip(&qemu)) {
            assert!(ours == theirs, "the blocks of namespace {nsid} differ");
        }
    }
}

#[test]
fn random_commands_have_the_same_answers() {
    let begin = Instant::now();
    let machines = [Kind::Model, Kind::Qemu].map(|kind| kind.build(FILE));
    let [model, qemu] = &machines;
    let (model, other) = (Side::new(&**model), Side::new(&**qemu));
    let mut sides = Sides { model, qemu: other, statuses: BTreeMap::new() };
    sides.align(true);
    let mut table = Table::read();
    let mut numbers = Numbers::new(SEED);
    let (mut kinds, mut unknown) = (BTreeMap::new(), BTreeMap::new());
    let mut listed = 0;
    for count in 1..=COMMANDS {
        let shot =
            if numbers.one_in(5) { admin::shot(&mut numbers) } else { io::shot(&mut numbers) };
        *kinds.entry(shot.kind()).or_insert(0) += 1;
        let answers = sides.fire(&shot);
        if let Some(answers) = answers {
            if table.explains(&shot, &answers) {
                listed += 1;
            } else {
                let line = table.row(&shot, &answers);
                unknown.entry(line).or_insert_with(|| (count, shot.to_string()));
            }
        }
        if count % WHOLE == 0 {
            sides.check_media();
        }
    }
    if let Some(fault) = qemu.fault() {
        panic!("{fault}");
    }
    let (kinds, statuses, seconds) =
        (kinds.len(), sides.statuses.len(), begin.elapsed().as_secs_f32());
    println!(
        "seed {SEED}: {COMMANDS} commands of {kinds} kinds with {statuses} statuses in {seconds:.1} s; \
         {listed} differences, all in {} rows of the table",
        table.len()
    );
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let limit = 60.0 * COMMANDS as f32 / PER_MINUTE;
    assert!(seconds < limit, "{COMMANDS} commands took {seconds:.1} s, {limit:.0} s are enough");
    let lines: Vec<String> =
        unknown.iter().map(|(row, (count, shot))| format!("{row}\n    {count}: {shot}")).collect();
    assert!(lines.is_empty(), "not in the table:\n{}", lines.join("\n"));
    let gone = table.unused();
    assert!(gone.is_empty(), "in the table, and no more seen:\n{}", gone.join("\n"));
}
