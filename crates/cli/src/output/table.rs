//! Tables for people.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// A table without lines: the first column to the left, all others to the right.
pub(crate) fn numbers(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = plain();
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    finished(&table)
}

/// Pairs of a label and what it says, one under the other. What is said may have several lines.
pub(crate) fn facts(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let indent = format!("\n{:width$}  ", "");
    let line = |(label, value): &(&str, String)| {
        format!("{label:<width$}  {}\n", value.replace('\n', &indent))
    };
    rows.iter().map(line).collect()
}

/// Rows of text, all to the left.
pub(crate) fn rows(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = plain();
    for row in rows {
        table.add_row(row);
    }
    finished(&table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Without the spaces that the library puts around every line.
fn finished(table: &Table) -> String {
    let lines = table.lines().map(|line| {
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned();
        format!("{line}\n")
    });
    lines.collect()
}
