//! The rules of docs/design.md, section 6, each as a function from a source file to findings.

use crate::scan::Source;
use std::fmt;

pub const FILE_LINES: usize = 500;
pub const FUNCTION_LINES: usize = 70;

/// A module's layer. In L1 a module may also import those that stand before it here; in L2 none of its siblings.
const LAYERS: [(&str, u8); 16] = [
    ("error", 0),
    ("check", 1),
    ("value", 1),
    ("schema", 1),
    ("entry", 1),
    ("mapping", 1),
    ("finding", 1),
    ("event", 1),
    ("plan", 2),
    ("store", 2),
    ("log", 2),
    ("transport", 2),
    ("task", 2),
    ("link", 3),
    ("phases", 4),
    ("cli", 5),
];

/// What stands only in some places: (rule, what to look for, where it may stand, what to do).
const PLACES: [(&str, &[&str], &[&str], &str); 5] = [
    (
        "sqlx",
        &["sqlx"],
        &["src/store/", "src/store.rs"],
        "SQL and sqlx stay inside src/store/: add an operation to its contract",
    ),
    (
        "async_nats",
        &["async_nats"],
        &["src/transport/nats.rs", "src/transport/nats/"],
        "NATS stays inside src/transport/nats.rs: add an operation to the transport's contract",
    ),
    (
        "terminal",
        &["println!", "eprintln!", "print!", "eprint!", "dbg!", "stdout()", "stderr()", "indicatif", "comfy_table"],
        &["src/cli/", "src/cli.rs", "src/main.rs"],
        "only src/cli/ writes to the terminal: send an event to the Reporter",
    ),
    (
        "spawn",
        &["tokio::spawn", "tokio::task", "spawn_blocking", "spawn_local", "thread::spawn", "thread::scope", "JoinSet"],
        &["src/task/", "src/task.rs"],
        "only src/task/ spawns: use what it offers",
    ),
    ("exit", &["process::exit", "process::abort"], &["src/main.rs"], "only src/main.rs exits: return an error"),
];

const PANICS: [&str; 5] = [".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!"];

const TOP_LEVEL: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "rustfmt.toml",
    "src",
    "plans",
    "tests",
    "docs",
    "README.md",
    ".ci",
    ".gitignore",
    "LICENSE",
    "benches",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static str,
    pub place: String,
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [{}] {}", self.place, self.rule, self.advice)
    }
}

fn finding(source: &Source, at: usize, rule: &'static str, advice: impl Into<String>) -> Finding {
    Finding { rule, place: format!("{}:{}", source.path, source.line(at)), advice: advice.into() }
}

/// All rules for one file. `is_test` says that the whole file is a test (its parent has it under `#[cfg(test)]`).
pub fn check(path: &str, text: &str, is_test: bool) -> Vec<Finding> {
    let source = Source::new(path, text);
    let mut findings = sizes(&source);
    if path.starts_with("src/") {
        findings.extend(module_doc(&source));
        findings.extend(layers(&source));
        findings.extend(places(&source, is_test));
        findings.extend(panics(&source, is_test));
    }
    findings
}

fn sizes(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES {
        let advice = format!("{lines} lines, {FILE_LINES} are allowed: split the file where its subject splits");
        findings.push(finding(source, source.text.len(), "file-lines", advice));
    }
    for (name, range) in source.functions() {
        let lines = source.line(range.end) - source.line(range.start) + 1;
        if lines > FUNCTION_LINES {
            let advice = format!("`{name}` has {lines} lines, {FUNCTION_LINES} are allowed: split it");
            findings.push(finding(source, range.start, "function-lines", advice));
        }
    }
    findings
}

fn module_doc(source: &Source) -> Option<Finding> {
    let advice = "begin the file with a `//!` line that says what it promises";
    (!source.text.starts_with("//!")).then(|| finding(source, 0, "module-doc", advice))
}

fn places(source: &Source, is_test: bool) -> Vec<Finding> {
    let tests = source.test_ranges();
    let mut findings = Vec::new();
    for (rule, patterns, allowed, advice) in PLACES {
        if allowed.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for pattern in patterns {
            for at in source.find(pattern) {
                // A test may well need two things at once; and `command.stdout(...)` is no terminal.
                let in_test = is_test || tests.iter().any(|range| range.contains(&at));
                let method = pattern.starts_with("std") && source.code[..at].ends_with('.');
                if !(method || rule == "spawn" && in_test) {
                    findings.push(finding(source, at, rule, format!("`{pattern}`: {advice}")));
                }
            }
        }
    }
    findings
}

fn panics(source: &Source, is_test: bool) -> Vec<Finding> {
    let tests = source.test_ranges();
    let product = |at: &usize| !is_test && !tests.iter().any(|range| range.contains(at));
    let mut findings = Vec::new();
    for pattern in PANICS {
        for at in source.find(pattern).into_iter().filter(product) {
            let advice = format!("`{pattern}`: return an error of the kind that says what the caller may do");
            findings.push(finding(source, at, "panic", advice));
        }
    }
    for at in source.find("unreachable!").into_iter().filter(product) {
        // The reason is a string, so look into the text itself.
        if !source.text[at + "unreachable!".len()..].trim_start_matches(['(', ' ', '\n']).starts_with('"') {
            findings.push(finding(
                source,
                at,
                "panic",
                "`unreachable!` without a reason: say why it cannot be reached",
            ));
        }
    }
    findings
}

fn layer(module: &str) -> Option<(usize, u8)> {
    let at = LAYERS.iter().position(|(name, _)| *name == module)?;
    Some((at, LAYERS[at].1))
}

/// Why `from` must not import `to`, if it must not.
fn refusal(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    let Some((to_at, to_layer)) = layer(to) else {
        return Some(format!("`crate::{to}` names no module of the layer table: import it by its own module's path"));
    };
    let (from_at, from_layer) = layer(from)?;
    match () {
        () if to_layer < from_layer => None,
        () if to_layer == 1 && from_layer == 1 && to_at < from_at => None,
        () if to_layer == from_layer => {
            Some(format!("{from} and {to} are siblings in L{to_layer}: speak of what lies below, or join them in L3"))
        }
        () => Some(format!("{from} (L{from_layer}) must not import {to} (L{to_layer}): only what lies below")),
    }
}

fn layers(source: &Source) -> Vec<Finding> {
    let inner = source.path.strip_prefix("src/").unwrap_or(source.path);
    let path: Vec<&str> = inner.trim_end_matches(".rs").split('/').collect();
    let own = path[0];
    if path.len() == 1 && (own == "lib" || own == "main") {
        return Vec::new();
    }
    if layer(own).is_none() {
        let advice = format!("module `{own}` has no layer: give it one in tests/tidy/rules.rs and in docs/design.md");
        return vec![finding(source, 0, "layer", advice)];
    }
    let depth = path.iter().filter(|name| **name != "mod").count();
    let imports = root_imports(source, depth);
    let judge = |(at, to): (usize, String)| Some(finding(source, at, "layer", refusal(own, &to)?));
    imports.into_iter().filter_map(judge).collect()
}

/// The first segment of every path that starts at the crate's root: `crate::x`, `crate::{x, y}`, `super::super::x`.
fn root_imports(source: &Source, depth: usize) -> Vec<(usize, String)> {
    let inline = source.inline_modules();
    let mut found = Vec::new();
    for at in source.find("crate") {
        found.extend(segments(source, at + "crate".len()));
    }
    for at in source.find("super") {
        if source.code[..at].trim_end().ends_with("super::") {
            continue; // not the first of its chain
        }
        let nested = inline.iter().filter(|range| range.contains(&at)).count();
        let (mut supers, mut end) = (1, at + "super".len());
        while source.code[end..].starts_with("::super") {
            (supers, end) = (supers + 1, end + "::super".len());
        }
        if supers >= depth + nested {
            found.extend(segments(source, end));
        }
    }
    found
}

/// What follows `::` at `at`: a name, or the first names in a group.
fn segments(source: &Source, at: usize) -> Vec<(usize, String)> {
    let Some(rest) = source.code[at..].strip_prefix("::") else { return Vec::new() };
    let at = at + 2;
    let name_at = |offset: usize| -> (usize, String) {
        let text = rest[offset..].trim_start();
        let skipped = rest.len() - offset - text.len();
        (at + offset + skipped, text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
    };
    if !rest.starts_with('{') {
        return vec![name_at(0)];
    }
    let (mut found, mut depth) = (Vec::new(), 0);
    for (offset, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (offset == 0 || c == ',') {
            found.push(name_at(offset + 1));
        }
    }
    found.retain(|(_, name)| !name.is_empty());
    found
}

/// Names that stand at the top of the repository without being asked for.
pub fn top_level<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Finding> {
    let extra = names.into_iter().filter(|name| !TOP_LEVEL.contains(name));
    let advice = "the top level holds only what a newcomer needs to see: move it below docs/, tests/ or .ci/";
    extra.map(|name| Finding { rule: "top-level", place: name.to_string(), advice: advice.to_string() }).collect()
}
