//! Which crate may use which, and where unsafe code may be.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::source;

/// What each crate may use of this project, ground floor first. Nothing else is allowed.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("p2pdma-spec", &[]),
    ("p2pdma-mem", &[]),
    ("p2pdma-pci", &["p2pdma-spec", "p2pdma-mem"]),
    ("p2pdma-nvme", &["p2pdma-spec", "p2pdma-mem", "p2pdma-pci"]),
    ("p2pdma-fabric", &["p2pdma-spec", "p2pdma-mem", "p2pdma-pci"]),
    ("p2pdma-devices", &["p2pdma-spec", "p2pdma-mem", "p2pdma-pci", "p2pdma-fabric"]),
    ("p2pdma-lab", &["p2pdma-spec", "p2pdma-pci"]),
    ("p2pdma-linux", &["p2pdma-spec", "p2pdma-mem", "p2pdma-pci"]),
    (
        "p2pdma",
        &[
            "p2pdma-spec",
            "p2pdma-mem",
            "p2pdma-pci",
            "p2pdma-nvme",
            "p2pdma-fabric",
            "p2pdma-devices",
            "p2pdma-linux",
        ],
    ),
    ("p2pdma-cli", &["p2pdma", "p2pdma-lab"]),
];

/// The crates that may hold unsafe code; all others forbid it.
const UNSAFE: [&str; 2] = ["linux", "mem"];

/// Checks both; says what was looked at.
pub(crate) fn check() -> Result<String> {
    let used = edges()?;
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let mut wrong = Vec::new();
    for (user, all) in &used {
        let Some(may) = allowed.get(user.as_str()) else {
            wrong.push(format!("{user} is not in the architecture"));
            continue;
        };
        let forbidden = all.iter().filter(|used| !may.contains(&used.as_str()));
        wrong.extend(forbidden.map(|used| format!("{user} may not use {used}")));
    }
    let (files, sites) = unsafe_code(&mut wrong)?;
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    let count: usize = used.values().map(BTreeSet::len).sum();
    Ok(format!(
        "{count} edges between {} crates, all allowed; {sites} unsafe sites in {files} files, all in {UNSAFE:?}",
        used.len()
    ))
}

/// The edges between this project's crates, development dependencies left out.
fn edges() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(source::root())
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut edges = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if name == "xtask" {
            continue;
        }
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
        let names = normal.filter_map(|dependency| dependency["name"].as_str());
        let ours = names.filter(|name| name.starts_with("p2pdma")).map(str::to_owned);
        edges.insert(name.to_owned(), ours.collect());
    }
    Ok(edges)
}

/// Counts unsafe sites; reports those outside the crates that may have them, and crates that do not
/// forbid it.
fn unsafe_code(wrong: &mut Vec<String>) -> Result<(usize, usize)> {
    let (mut files, mut sites) = (0, 0);
    for file in source::all()? {
        let Some(krate) = file.path.strip_prefix("crates/").and_then(|path| path.split('/').next())
        else {
            continue;
        };
        let allowed = UNSAFE.contains(&krate);
        let here = file.text.lines().filter(|line| has_unsafe(line)).count();
        if here > 0 {
            (files, sites) = (files + 1, sites + here);
            if !allowed {
                wrong.push(format!("{} has unsafe code", file.path));
            }
        }
        let is_root = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
        if is_root && !allowed && !file.text.contains("#![forbid(unsafe_code)]") {
            wrong.push(format!("{} does not forbid unsafe code", file.path));
        }
    }
    Ok((files, sites))
}

fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| code.contains(word))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_architecture_s_edges_hold() {
        println!("{}", super::check().unwrap());
    }

    #[test]
    fn unsafe_code_is_recognised() {
        assert!(super::has_unsafe("    let x = unsafe { y() };"));
        assert!(!super::has_unsafe("    // unsafe { y() }"));
    }
}
