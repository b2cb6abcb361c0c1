//! What a kernel did beside what the rows say.

use std::collections::BTreeMap;
use std::fmt;

use crate::table::Row;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    kernel: String,
    compared: usize,
    pub(crate) differences: Vec<String>,
}

impl Comparison {
    /// Compares what the guests printed with the rows: every one of these, and no other ones.
    pub(crate) fn of(text: &str, rows: &[Row]) -> Self {
        let mut comparison = Self::default();
        let mut found = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default();
            match (word(), word(), word(), word()) {
                ("kernel", version, ..) => comparison.kernel = version.to_owned(),
                ("row", name, pair, result) => drop(found.insert((name, pair), result)),
                _ => comparison.differences.push(format!("a line that is no row: {line}")),
            }
        }
        for row in rows {
            for (pair, expected) in [("P", row.reached), ("N", row.beyond)] {
                if !expected.is_empty() {
                    comparison.row(row, pair, expected, found.remove(&(row.name, pair)));
                }
            }
        }
        let kernel = &comparison.kernel;
        let more = found.iter().map(|((name, pair), result)| {
            format!("{name}, {pair}: nothing is expected, Linux {kernel} says '{result}'")
        });
        comparison.differences.extend(more);
        comparison
    }

    fn row(&mut self, row: &Row, pair: &str, expected: &str, result: Option<&str>) {
        self.compared += 1;
        if result == Some(expected) {
            return;
        }
        let result = result.map_or_else(|| "nothing".to_owned(), |result| format!("'{result}'"));
        let Row { name, kernel, source, .. } = row;
        self.differences.push(format!(
            "{name}, {pair}: Linux {kernel} says '{expected}' ({source}), Linux {} {result}",
            self.kernel
        ));
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (compared, differ) = (self.compared, self.differences.len());
        write!(f, "rows compared with Linux {}: {compared}, differences: {differ}", self.kernel)
    }
}
