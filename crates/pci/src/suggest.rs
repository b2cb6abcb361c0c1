//! Which of several names somebody probably meant.

/// The candidate nearest to `text` in single-character edits (Levenshtein distance), if that is within
/// a third of its length, or if one begins with the other.
#[must_use]
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are not typing errors; the cost of comparing them is quadratic.
    const LONGEST: usize = 64;
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let begins = |name: &str| name.starts_with(text) || text.starts_with(name);
    let near = |&(edits, name): &(usize, &str)| {
        edits <= (text.len().max(name.len()) / 3).max(1) && edits < text.len() || begins(name)
    };
    candidates
        .into_iter()
        .map(|name| (edits(text, name), name))
        .filter(near)
        .min_by_key(|&(edits, name)| (edits, !begins(name)))
        .map(|(_, name)| name)
}

fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&to) {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = *cell;
            left = substituted.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [
            ("", "", 0),
            ("kitten", "sitting", 3),
            ("below", "bellow", 1),
            ("abc", "", 3),
            ("", "abc", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["below", "function", "link", "link-max"];
        assert_eq!(nearest("belwo", names), Some("below"));
        assert_eq!(nearest("linkmax", names), Some("link-max"));
        assert_eq!(nearest("func", names), Some("function"));
        assert_eq!(nearest("sw0", ["rp0", "sw0.0"]), Some("sw0.0"));
        assert_eq!(nearest("size", names), None);
        assert_eq!(nearest("foo", ["FS".to_lowercase().as_str()]), None);
        assert_eq!(nearest("", names), None);
    }
}
