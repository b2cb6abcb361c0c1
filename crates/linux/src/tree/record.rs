//! A tree that notes what is read of another.

use std::cell::RefCell;

use super::{Failure, File, Tree};
use crate::Snapshot;

/// Passes everything on and keeps the answers, so that a snapshot holds exactly what was read.
pub(crate) struct Recorder<'a> {
    tree: &'a dyn Tree,
    snapshot: RefCell<Snapshot>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(tree: &'a dyn Tree) -> Self {
        Self { tree, snapshot: RefCell::new(Snapshot::default()) }
    }

    pub(crate) fn into_snapshot(self) -> Snapshot {
        self.snapshot.into_inner()
    }
}

impl Tree for Recorder<'_> {
    fn read(&self, path: &str, limit: usize) -> Result<File, Failure> {
        let answer = self.tree.read(path, limit);
        self.snapshot.borrow_mut().put_file(path, answer.clone());
        answer
    }

    fn lines(&self, path: &str, words: &[&str]) -> Result<Vec<String>, Failure> {
        let answer = self.tree.lines(path, words).map(|lines| without_addresses(path, lines));
        self.snapshot.borrow_mut().put_lines(path, words, answer.clone());
        answer
    }

    fn link(&self, path: &str) -> Result<String, Failure> {
        let answer = self.tree.link(path);
        self.snapshot.borrow_mut().put_link(path, answer.clone());
        answer
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        let answer = self.tree.list(path);
        self.snapshot.borrow_mut().put_list(path, answer.clone());
        answer
    }

    /// A folder that was only asked whether it is still there is listed, so that the snapshot shows it.
    fn stamp(&self, path: &str) -> Result<u64, Failure> {
        let answer = self.tree.stamp(path);
        match answer {
            Ok(_) if self.snapshot.borrow().is_listed(path) => {}
            Ok(_) => drop(self.list(path)),
            Err(failure) => self.snapshot.borrow_mut().put_list(path, Err(failure)),
        }
        answer
    }
}

/// Where things are in the kernel's memory is for nobody to learn from a snapshot: its symbols' lines begin with that.
fn without_addresses(path: &str, lines: Vec<String>) -> Vec<String> {
    if path != crate::system::SYMBOLS {
        return lines;
    }
    let bare =
        |line: String| line.split_once(' ').map_or(String::new(), |(_, rest)| format!("0 {rest}"));
    lines.into_iter().map(bare).collect()
}
