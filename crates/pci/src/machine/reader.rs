//! Tables of a machine file, read with their positions.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{MachineError, Position, Problem};
use crate::suggest::nearest;

type Result<T> = std::result::Result<T, MachineError>;

/// The text that is read.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    pub(crate) fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    pub(crate) fn error(&self, offset: usize, problem: Problem) -> MachineError {
        MachineError {
            file: self.file.to_owned(),
            position: self.position(offset),
            problem: Box::new(problem),
        }
    }
}

/// A text with its place.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) at: usize,
}

/// What a kind of table is called, and the keys it may have.
pub(crate) struct Form {
    pub(crate) place: &'static str,
    pub(crate) keys: &'static [&'static str],
}

/// A table all of whose keys are known.
pub(crate) struct Table<'a> {
    source: Source<'a>,
    place: &'static str,
    at: usize,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    pub(crate) fn open(
        source: Source<'a>,
        form: &Form,
        span: &Range<usize>,
        entries: &'a DeTable<'a>,
    ) -> Result<Self> {
        let mut unknown: Vec<_> =
            entries.keys().filter(|key| !form.keys.contains(&&**key.get_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        if let Some(key) = unknown.first() {
            let name = key.get_ref();
            let suggestion = nearest(name, form.keys.iter().copied());
            let problem = Problem::UnknownKey {
                key: name.to_string(),
                place: form.place,
                suggestion: suggestion.map(str::to_owned),
            };
            return Err(source.error(key.span().start, problem));
        }
        Ok(Self { source, place: form.place, at: span.start, entries })
    }

    /// Where it begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn error(&self, problem: Problem) -> MachineError {
        self.source.error(self.at, problem)
    }

    pub(crate) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        let (_, value) = self.entries.iter().find(|(own, _)| own.get_ref() == key)?;
        Some(Field { source: self.source, key: key.to_owned(), value })
    }

    pub(crate) fn need(&self, key: &'static str) -> Result<Field<'a>> {
        let place = self.place;
        self.get(key).ok_or_else(|| self.error(Problem::MissingKey { key, place }))
    }

    /// What a key says, read by `read`; `None` without the key.
    pub(crate) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.get(key).map(|field| read(&field)).transpose()
    }

    /// The tables of an array, none without the key.
    pub(crate) fn tables(&self, key: &'static str, form: &Form) -> Result<Vec<Table<'a>>> {
        match self.get(key) {
            Some(field) => field.tables(form),
            None => Ok(Vec::new()),
        }
    }
}

/// A key with its value.
pub(crate) struct Field<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) key: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    /// Where the value begins.
    pub(crate) fn at(&self) -> usize {
        self.value.span().start
    }

    pub(crate) fn error(&self, problem: Problem) -> MachineError {
        self.source.error(self.at(), problem)
    }

    pub(crate) fn wrong_type(&self, expected: &'static str) -> MachineError {
        self.error(Problem::WrongType {
            key: self.key.clone(),
            expected,
            found: self.value.get_ref().type_str(),
        })
    }

    pub(crate) fn bad_value(&self, value: &str, expected: impl Into<String>) -> MachineError {
        self.error(Problem::BadValue {
            key: self.key.clone(),
            value: value.to_owned(),
            expected: expected.into(),
        })
    }

    pub(crate) fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    pub(crate) fn text(&self, expected: &'static str) -> Result<&'a str> {
        self.value().as_str().ok_or_else(|| self.wrong_type(expected))
    }

    /// A text with its place.
    pub(crate) fn name(&self, expected: &'static str) -> Result<Name> {
        Ok(Name { text: self.text(expected)?.to_owned(), at: self.at() })
    }

    /// A text that is one of a few, each with its meaning.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T> {
        let text = self.text("a string")?;
        if let Some(&(_, meaning)) = choices.iter().find(|(name, _)| *name == text) {
            return Ok(meaning);
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        Err(self.bad_value(text, names.join(" or ")))
    }

    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let Some(integer) = self.value().as_integer() else {
            return Err(self.wrong_type("an integer"));
        };
        let digits = integer.as_str();
        u64::from_str_radix(digits, integer.radix())
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| {
                self.error(Problem::OutOfRange {
                    key: self.key.clone(),
                    value: integer.to_string(),
                    low: *range.start(),
                    high: *range.end(),
                })
            })
    }

    /// An integer of at most 255.
    pub(crate) fn small(&self, range: RangeInclusive<u8>) -> Result<u8> {
        let wide = u64::from(*range.start())..=u64::from(*range.end());
        let value = self.integer(wide)?;
        // The range has excluded everything above 255.
        Ok(u8::try_from(value).unwrap_or(u8::MAX))
    }

    pub(crate) fn list(&self, expected: &'static str) -> Result<Vec<Field<'a>>> {
        let array = self.value().as_array();
        let array = array.ok_or_else(|| self.wrong_type(expected))?;
        let item = |value| Field { source: self.source, key: self.key.clone(), value };
        Ok(array.iter().map(item).collect())
    }

    pub(crate) fn table(&self, form: &Form) -> Result<Table<'a>> {
        let table = self.value().as_table();
        let table = table.ok_or_else(|| self.wrong_type("a table"))?;
        Table::open(self.source, form, &self.value.span(), table)
    }

    pub(crate) fn tables(&self, form: &Form) -> Result<Vec<Table<'a>>> {
        let items = self.list("an array of tables")?;
        items.iter().map(|item| item.table(form)).collect()
    }

    /// A table whose keys are numbers of one's own choice: its entries, by their place.
    pub(crate) fn entries(&self) -> Result<Vec<(Name, Field<'a>)>> {
        let table = self.value().as_table();
        let table = table.ok_or_else(|| self.wrong_type("a table"))?;
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key: &Spanned<std::borrow::Cow<'a, str>> = key;
            let name = Name { text: key.get_ref().to_string(), at: key.span().start };
            let field = Field { source: self.source, key: name.text.clone(), value };
            (name, field)
        };
        let mut entries: Vec<_> = table.iter().map(entry).collect();
        entries.sort_by_key(|(name, _)| name.at);
        Ok(entries)
    }
}
