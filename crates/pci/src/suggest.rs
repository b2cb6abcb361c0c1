//! Which of several names somebody probably meant.

/// The candidate nearest to `text` in single-character edits, swapped neighbours included, if that is within
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
        .map(|name| (strsim::osa_distance(text, name), name))
        .filter(near)
        .min_by_key(|&(edits, name)| (edits, !begins(name)))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
