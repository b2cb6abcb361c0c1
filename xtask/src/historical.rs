//! The table of historical bugs names tests that exist, and all that there are.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};

use crate::source::{self, Source};

/// A test by file and name.
type Named = (String, String);

/// The rows of the table: the number of the bug, if it has one, and its test.
fn rows(page: &str) -> Vec<(String, Named)> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        (cells[1].to_owned(), (plain(cells[4]), plain(cells[3])))
    })
    .collect()
}

/// Every function of a file that is a test.
fn tests(file: &Source) -> BTreeSet<String> {
    let mut found = Tests(BTreeSet::new());
    found.visit_file(&syn::parse_file(&file.text).unwrap());
    found.0
}

struct Tests(BTreeSet<String>);

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if function.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
            self.0.insert(function.sig.ident.to_string());
        }
        visit::visit_item_fn(self, function);
    }
}

#[test]
fn every_historical_bug_has_its_test() {
    let path = source::root().join("docs/historical-bugs.md");
    let rows = rows(&std::fs::read_to_string(path).unwrap());
    let sources = source::all().unwrap();
    let listed: BTreeSet<Named> = rows.iter().map(|(_, test)| test.clone()).collect();
    for (file, name) in &listed {
        let source = sources.iter().find(|source| source.path == *file);
        let there = source.is_some_and(|source| tests(source).contains(name));
        assert!(there, "{name} is no test of {file}");
    }
    // Each number is in the name of its test.
    for (number, (_, name)) in rows.iter().filter(|(number, _)| !number.is_empty()) {
        let short = number.to_lowercase().replace('-', "_");
        assert!(name.contains(&short), "{name} does not say {number}");
    }
    // And whatever test has a number is listed.
    for source in &sources {
        for name in tests(source).into_iter().filter(|name| name.starts_with("cve_")) {
            let test = (source.path.clone(), name);
            assert!(listed.contains(&test), "{test:?} is not in the table");
        }
    }
    println!("historical bugs: {}, tests: {}", rows.len(), listed.len());
    assert!(rows.len() >= 20);
}

#[test]
fn tests_are_told_from_other_functions() {
    let text = "#[test] fn a() {}\nfn b() {}\nmod c { #[test]\n#[cfg(unix)]\n// why\nfn d() {} }";
    let file = Source { path: String::new(), text: text.to_owned() };
    assert_eq!(tests(&file).into_iter().collect::<Vec<_>>(), ["a", "d"]);
}
