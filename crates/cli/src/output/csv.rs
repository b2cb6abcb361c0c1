//! Comma-separated values (RFC 4180), with line feeds alone.

/// A table with its header.
#[derive(Debug)]
pub(crate) struct Csv(String);

impl Csv {
    /// A table with these columns.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.row(columns.iter().copied());
        table
    }

    /// Appends a row.
    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        for (index, cell) in cells.into_iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            let cell = cell.as_ref();
            if cell.contains([',', '"', '\n', '\r']) {
                self.0.push('"');
                self.0.push_str(&cell.replace('"', "\"\""));
                self.0.push('"');
            } else {
                self.0.push_str(cell);
            }
        }
        self.0.push('\n');
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// A value that may be missing: an empty cell.
pub(crate) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_cell_is_quoted() {
        let mut table = Csv::new(&["a", "b"]);
        table.row(["1,2", "say \"x\""]);
        assert_eq!(table.text(), "a,b\n\"1,2\",\"say \"\"x\"\"\"\n");
    }
}
