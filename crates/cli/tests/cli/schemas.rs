//! The schemas that the command prints, and everything that it prints against them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::Value;

use crate::support::Place;

/// The schemas, by their names.
pub(crate) struct Schemas {
    validators: BTreeMap<String, Validator>,
    /// Those that were used.
    seen: RefCell<BTreeSet<String>>,
    checked: RefCell<usize>,
}

impl Schemas {
    /// Those that the command prints.
    pub(crate) fn of(place: &Place) -> Self {
        let all = place.run("schema").ok().json();
        let compiled = all.as_object().unwrap().iter().map(|(name, schema)| {
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
            assert_eq!(schema["title"], *name);
            (name.clone(), jsonschema::validator_for(schema).unwrap())
        });
        Self {
            validators: compiled.collect(),
            seen: RefCell::default(),
            checked: RefCell::default(),
        }
    }

    /// A document is what its schema says.
    #[track_caller]
    pub(crate) fn check(&self, document: &Value) {
        let name = document["schema"].as_str().unwrap_or_else(|| panic!("no schema: {document}"));
        let validator = self.validators.get(name).unwrap_or_else(|| panic!("no schema {name}"));
        let errors: Vec<String> =
            validator.iter_errors(document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{document:#}");
        assert_eq!(document["version"], 1);
        self.seen.borrow_mut().insert(name.to_owned());
        *self.checked.borrow_mut() += 1;
    }

    /// Every line is a document that is what its schema says.
    #[track_caller]
    pub(crate) fn check_lines(&self, text: &str) -> Vec<Value> {
        let documents: Vec<Value> = text
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect();
        documents.iter().for_each(|document| self.check(document));
        documents
    }

    /// How many documents were checked.
    pub(crate) fn checked(&self) -> usize {
        *self.checked.borrow()
    }

    /// The schemas of which no document was checked.
    pub(crate) fn unseen(&self) -> Vec<&str> {
        let seen = self.seen.borrow();
        self.validators.keys().filter(|name| !seen.contains(*name)).map(String::as_str).collect()
    }
}

/// A schema that allowed anything would be no check.
#[test]
fn schemas_refuse_what_is_wrong() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    let document =
        place.run("copy zero: fabric:nvme0/ns1 --length 4k --ephemeral -o json").ok().json();
    schemas.check(&document);
    let is_valid = |change: &dyn Fn(&mut Value)| {
        let mut changed = document.clone();
        change(&mut changed);
        schemas.validators["p2pdma/copy"].is_valid(&changed)
    };
    assert!(is_valid(&|_| ()));
    assert!(!is_valid(&|document| document["schema"] = "p2pdma/topo".into()));
    assert!(!is_valid(&|document| document["version"] = 2.into()));
    assert!(!is_valid(&|document| document["status"] = "fine".into()));
    assert!(!is_valid(&|document| document["length_bytes"] = "4096".into()));
    assert!(!is_valid(&|document| document["error"] = "none".into()));
    let keys: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
    for key in &keys {
        let without = is_valid(&|document| drop(document.as_object_mut().unwrap().remove(key)));
        assert!(!without, "{key} may be missing");
    }
    println!("keys that must be there: {}", keys.len());
}

#[test]
fn each_schema_can_be_printed_alone() {
    let place = Place::new();
    let all = place.run("schema").ok().json();
    for name in ["demo", "error", "progress", "copy"] {
        let one = place.run(&format!("schema {name}")).ok().json();
        assert_eq!(one, all[format!("p2pdma/{name}")], "{name}");
    }
    let topo = place.run("schema topo").ok().json();
    for name in [
        "p2pdma/topo",
        "p2pdma/topo-function",
        "p2pdma/topo-pair",
        "p2pdma/machines",
        "p2pdma/machine",
    ] {
        assert_eq!(topo[name], all[name], "{name}");
    }
}
