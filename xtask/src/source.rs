//! The project's source files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A Rust file of the project.
pub(crate) struct Source {
    /// Its path from the project's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Whether it holds nothing but tests, benchmarks or examples.
    pub(crate) fn is_test(&self) -> bool {
        let within = |folder: &str| self.path.contains(folder);
        within("/tests/")
            || within("/benches/")
            || within("/examples/")
            || self.path.ends_with("tests.rs")
    }
}

/// The project's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Every Rust file of the crates and tasks.
pub(crate) fn all() -> Result<Vec<Source>> {
    let root = root();
    let mut found = Vec::new();
    let mut todo = vec![root.join("crates"), root.join("xtask"), root.join("fuzz")];
    while let Some(folder) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
