//! The table of differences that are known.

use std::collections::BTreeSet;

use p2pdma_spec::nvme::status::Status;

use super::shot::Shot;

const PAGE: &str = include_str!("../../../../../docs/qemu-differences.md");

/// What a controller said to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) result: u32,
    /// Whether the data that it moved are not those of the other controller.
    pub(crate) other_data: bool,
}

impl Answer {
    fn text(&self) -> String {
        let name = self.status.name().map_or_else(|| self.status.to_string(), str::to_owned);
        let result = if self.result == 0 { String::new() } else { format!(", {}", self.result) };
        let data = if self.other_data { ", other data" } else { "" };
        format!("{name}{result}{data}")
    }
}

/// A row: commands, what is special about them, both answers. The clause is for people.
struct Row {
    commands: Vec<String>,
    flaw: String,
    answers: [String; 2],
    /// The commands that were seen.
    seen: BTreeSet<String>,
}

pub(crate) struct Table(Vec<Row>);

impl Table {
    /// Reads the page.
    pub(crate) fn read() -> Self {
        let rows = PAGE.lines().filter(|line| line.starts_with("| ")).skip(1);
        let row = |line: &str| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [commands, flaw, ours, theirs, clause] = cells[..] else {
                panic!("not five cells: {line}");
            };
            assert!(clause.contains('§'), "no clause: {line}");
            Row {
                commands: commands.split(", ").map(str::to_owned).collect(),
                flaw: flaw.to_owned(),
                answers: [ours.to_owned(), theirs.to_owned()],
                seen: BTreeSet::new(),
            }
        };
        Self(rows.map(row).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a row has this difference.
    pub(crate) fn explains(&mut self, shot: &Shot, answers: &[Answer; 2]) -> bool {
        let (name, texts) = (shot.name(), answers.each_ref().map(Answer::text));
        let fits = |row: &&mut Row| {
            row.flaw == shot.flaw && row.answers == texts && row.commands.contains(&name)
        };
        let found = self.0.iter_mut().find(fits);
        found.map(|row| row.seen.insert(name.clone())).is_some()
    }

    /// The row that would have it.
    pub(crate) fn row(&self, shot: &Shot, answers: &[Answer; 2]) -> String {
        let [ours, theirs] = answers.each_ref().map(Answer::text);
        format!("| {} | {} | {ours} | {theirs} | |", shot.name(), shot.flaw)
    }

    /// What is in rows and was not seen.
    pub(crate) fn unused(&self) -> Vec<String> {
        let missing = |row: &Row| -> Vec<String> {
            let commands = row.commands.iter().filter(|command| !row.seen.contains(*command));
            commands.map(|command| format!("{command}: {}", row.flaw)).collect()
        };
        self.0.iter().flat_map(missing).collect()
    }
}
