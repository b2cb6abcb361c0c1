//! Trees of lines.

/// A line with what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) label: String,
    pub(crate) children: Vec<Branch>,
}

impl Branch {
    /// A line with nothing below it yet.
    pub(crate) fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), children: Vec::new() }
    }

    /// The tree as lines, each after `indent`.
    pub(crate) fn lines(&self, indent: &str) -> String {
        let mut text = format!("{indent}{}\n", self.label);
        self.append_children(indent, &mut text);
        text
    }

    fn append_children(&self, indent: &str, text: &mut String) {
        let last = self.children.len().saturating_sub(1);
        for (index, child) in self.children.iter().enumerate() {
            let (branch, below) =
                if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            text.push_str(indent);
            text.push_str(branch);
            text.push_str(&child.label);
            text.push('\n');
            child.append_children(&format!("{indent}{below}"), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_hang_together() {
        let leaf = Branch::new;
        let mut left = Branch::new("left");
        left.children = vec![leaf("a"), leaf("b")];
        let mut root = Branch::new("root");
        root.children = vec![left, leaf("right")];
        assert_eq!(root.lines("  "), "  root\n  ├─ left\n  │  ├─ a\n  │  └─ b\n  └─ right\n");
    }
}
