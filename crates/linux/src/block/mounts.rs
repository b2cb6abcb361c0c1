//! Mounted file systems and swap areas.

use std::collections::HashMap;
use std::sync::Arc;

use p2pdma_pci::topology::Known;

use super::Blocks;
use crate::Tree;
use crate::attribute::{LONG, decimal};

/// A mounted file system on a block device (`/proc/self/mountinfo`, proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// Its type: `ext4`.
    pub file_system: Arc<str>,
    /// The block device.
    pub device: Arc<str>,
    /// Its options, those of the mount and those of the file system.
    pub options: Vec<String>,
}

/// A swap area on a block device (`/proc/swaps`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapArea {
    /// The block device.
    pub device: Arc<str>,
}

pub(super) fn read(
    tree: &dyn Tree,
    blocks: &Blocks,
    numbers: &HashMap<(u32, u32), Arc<str>>,
) -> Known<Vec<Mount>> {
    match tree.lines("proc/self/mountinfo", &["/dev/"]) {
        Ok(lines) => {
            Known::Value(lines.iter().filter_map(|line| mount(line, blocks, numbers)).collect())
        }
        Err(failure) => Known::Unknown(failure.cause()),
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
fn mount(line: &str, blocks: &Blocks, numbers: &HashMap<(u32, u32), Arc<str>>) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (number, _root, point, options) = (left.next()?, left.next()?, left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (file_system, source) = (right.next()?, right.next()?);
    let (major, minor) = number.split_once(':')?;
    let number = (decimal(major)?.try_into().ok()?, decimal(minor)?.try_into().ok()?);
    // File systems over several devices have a number of their own, and name one of them.
    let device = numbers.get(&number).cloned().or_else(|| {
        let source = unescape(source);
        let named = source.strip_prefix("/dev/").and_then(|_| blocks.device(&source));
        named.map(|device| Arc::clone(&device.name))
    })?;
    let all = options.split(',').chain(right.next().unwrap_or_default().split(','));
    Some(Mount {
        point: unescape(point),
        file_system: Arc::from(file_system),
        device,
        options: all.filter(|option| !option.is_empty()).map(unescape).collect(),
    })
}

pub(super) fn read_swap(tree: &dyn Tree, blocks: &Blocks) -> Known<Vec<SwapArea>> {
    let file = match tree.read("proc/swaps", LONG) {
        Ok(file) => file,
        Err(failure) => return Known::Unknown(failure.cause()),
    };
    let text = String::from_utf8_lossy(&file.bytes);
    // A first line of titles; then the file, its type, and more.
    let areas = text.lines().skip(1).filter_map(|line| {
        let name = unescape(line.split_ascii_whitespace().next()?);
        let device = name.strip_prefix("/dev/").and_then(|_| blocks.device(&name))?;
        Some(SwapArea { device: Arc::clone(&device.name) })
    });
    Known::Value(areas.collect())
}

/// Blanks and the like are written as a backslash and three octal digits (`mangle()` in fs/seq_file.c).
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(first));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_are_read() {
        assert_eq!(unescape("/a\\040b"), "/a b");
        assert_eq!(unescape("\\134040"), "\\040");
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("\\777\\"), "\\777\\");
    }
}
