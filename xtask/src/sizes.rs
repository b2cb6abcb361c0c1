//! The size budget: short files, short functions.

use anyhow::{Context as _, Result, bail};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use crate::source;

/// Lines of a file without its tests: half of all files, nine in ten, and every one.
const FILES: [(usize, usize); 3] = [(50, 200), (90, 500), (100, 800)];
/// Lines of a function outside tests: nine in ten, and every one.
const FUNCTIONS: [(usize, usize); 2] = [(90, 30), (100, 80)];

/// Checks the budget; says how much of it is used.
pub(crate) fn check() -> Result<String> {
    let (mut files, mut functions) = (Vec::new(), Vec::new());
    for file in source::all()? {
        if file.is_test() {
            continue;
        }
        let syntax = syn::parse_file(&file.text).with_context(|| file.path.clone())?;
        let mut counter = Counter { path: &file.path, functions: Vec::new(), test_lines: 0 };
        counter.visit_file(&syntax);
        let lines = file.text.lines().count().saturating_sub(counter.test_lines);
        functions.append(&mut counter.functions);
        files.push((lines, file.path));
    }
    let mut over = Vec::new();
    let file_figures = measure("file", &mut files, &FILES, &mut over);
    let function_figures = measure("function", &mut functions, &FUNCTIONS, &mut over);
    if !over.is_empty() {
        bail!("over the size budget:\n{}", over.join("\n"));
    }
    Ok(format!("{file_figures}\n{function_figures}"))
}

/// Compares the percentiles of sizes with their limits.
fn measure(
    what: &str,
    sizes: &mut [(usize, String)],
    limits: &[(usize, usize)],
    over: &mut Vec<String>,
) -> String {
    sizes.sort();
    let mut figures = format!("{} {what}s:", sizes.len());
    for &(percent, limit) in limits {
        let index = (sizes.len() * percent).div_ceil(100).saturating_sub(1);
        let Some((size, name)) = sizes.get(index) else { continue };
        figures.push_str(&format!(" p{percent} {size} of {limit} lines;"));
        if size > &limit {
            over.push(format!("{what} p{percent} is {size} lines, {limit} are allowed: {name}"));
        }
    }
    if let Some((size, name)) = sizes.last() {
        figures.push_str(&format!(" longest {size}: {name}"));
    }
    figures
}

/// Collects the lengths of functions, and how many lines are tests.
struct Counter<'a> {
    path: &'a str,
    functions: Vec<(usize, String)>,
    test_lines: usize,
}

impl Counter<'_> {
    fn function(&mut self, name: &syn::Ident, item: &impl syn::spanned::Spanned) {
        let span = item.span();
        let lines = span.end().line - span.start().line + 1;
        self.functions.push((lines, format!("{}: {name}", self.path)));
    }
}

impl<'ast> Visit<'ast> for Counter<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
        };
        if module.attrs.iter().any(is_test) {
            let span = module.span();
            self.test_lines += span.end().line - span.start().line + 1;
        } else {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_size_budget_holds() {
        println!("{}", super::check().unwrap());
    }

    #[test]
    fn a_file_over_the_limit_is_named() {
        let mut sizes = vec![(10, "small".to_owned()), (900, "large".to_owned())];
        let mut over = Vec::new();
        super::measure("file", &mut sizes, &super::FILES, &mut over);
        assert!(over.iter().any(|line| line.contains("900") && line.contains("large")), "{over:?}");
    }
}
