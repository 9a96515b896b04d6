//! Holds the shape that docs/design.md, section 6, describes, by reading the source tree as text; and proves on
//! snippets that each rule can fail.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;

use rules::{FILE_LINES, FUNCTION_LINES, Finding, check, top_level};
use scan::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below src/ and tests/: path from the root, and text.
fn rust_files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut dirs: Vec<PathBuf> = vec![root().join("src"), root().join("tests")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_string();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// The files (and directories) of modules that some parent declares under `#[cfg(test)]`.
fn test_files(files: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in files {
        let stem = path.trim_end_matches(".rs");
        let of_dir = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end));
        for name in Source::new(path, text).test_modules() {
            let base = format!("{}/{name}", of_dir.unwrap_or(stem));
            found.extend(
                files.keys().filter(|p| **p == format!("{base}.rs") || p.starts_with(&format!("{base}/"))).cloned(),
            );
        }
    }
    found
}

fn assert_none(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn the_tree_is_tidy() {
    let files = rust_files();
    assert!(files.contains_key("src/lib.rs") && files.contains_key("tests/tidy.rs"), "the tree was not read");
    let tests = test_files(&files);
    assert_none(files.iter().flat_map(|(path, text)| check(path, text, tests.contains(path))).collect());
}

#[test]
fn the_top_level_is_bare() {
    let git = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-co", "--exclude-standard"]).output();
    let names: BTreeSet<String> = match git {
        Ok(out) if out.status.success() => {
            let files = String::from_utf8(out.stdout).unwrap();
            files.lines().filter_map(|file| file.split('/').next()).map(str::to_string).collect()
        }
        _ => {
            let entries = fs::read_dir(root()).unwrap().flatten();
            let names = entries.map(|entry| entry.file_name().into_string().unwrap());
            names.filter(|name| ![".git", "target", ".tools"].contains(&name.as_str())).collect()
        }
    };
    assert!(names.contains("Cargo.toml"), "the tree was not read");
    assert_none(top_level(names.iter().map(String::as_str)));
}

/// The rules that `text` breaks as the file `path`.
fn broken(path: &str, text: &str) -> Vec<&'static str> {
    check(path, &format!("//! Doc.\n{text}"), false).into_iter().map(|f| f.rule).collect()
}

#[track_caller]
fn assert_broken(path: &str, text: &str, rule: &str) {
    assert_eq!(broken(path, text), [rule], "{path}: {text}");
}

#[track_caller]
fn assert_fine(path: &str, text: &str) {
    assert_eq!(broken(path, text), [""; 0], "{path}: {text}");
}

#[test]
fn layers_are_held() {
    assert_broken("src/value.rs", "use crate::store::Store;", "layer");
    assert_broken("src/link/relay.rs", "use crate::{error::Result, phases::state};", "layer");
    assert_broken("src/link/relay.rs", "fn f() { crate::cli::show() }", "layer");
    assert_broken("src/store/mod.rs", "use crate::log::Order;", "layer");
    assert_broken("src/store/mod.rs", "use super::log::Order;", "layer");
    assert_broken("src/store/postgres/bulk.rs", "use super::super::super::log::Order;", "layer");
    assert_broken("src/plan/check.rs", "#[cfg(test)] mod tests { use super::super::super::store::Store; }", "layer");
    assert_broken("src/plan/check.rs", "#[cfg(test)] mod tests { use crate::task::Tasks; }", "layer");
    assert_broken("src/value.rs", "use crate::schema::Table;", "layer");
    assert_broken("src/store/mod.rs", "use crate::{\n    error::{Error, Result},\n    task::Tasks,\n};", "layer");
    assert_broken("src/store/mod.rs", "use crate::Row;", "layer");
    assert_broken("src/extra.rs", "", "layer");
    let found = check("src/value.rs", "//! Doc.\n\nuse crate::error::Error;\nuse crate::link::Relay;\n", false);
    assert_eq!(found[0].place, "src/value.rs:4");

    assert_fine("src/entry.rs", "use crate::value::{Key, Row}; use crate::error::Result;");
    assert_fine("src/store/postgres/bulk.rs", "use super::super::sql; use crate::store::table; pub(crate) fn f() {}");
    assert_fine("src/phases/copy.rs", "use crate::{error::{Error, Result}, link::relay, task::Tasks};");
    assert_fine("src/store/mod.rs", "// use crate::cli;\nconst S: &str = \"crate::cli::x\";");
    assert_fine("src/plan/check.rs", "#[cfg(test)] mod tests { use super::super::load; use super::*; }");
    assert_fine("src/lib.rs", "pub use crate::cli::run;");
}

#[test]
fn each_thing_stands_in_its_place() {
    for (path, text, rule) in [
        ("src/link/relay.rs", "use sqlx::Row;", "sqlx"),
        ("src/transport/mod.rs", "fn f(c: async_nats::Client) {}", "async_nats"),
        ("src/phases/copy.rs", "fn f() { println!(\"x\") }", "terminal"),
        ("src/store/mod.rs", "#[cfg(test)] mod tests { fn f() { dbg!(1); } }", "terminal"),
        ("src/link/relay.rs", "fn f() { let out = std::io::stdout(); }", "terminal"),
        ("src/event.rs", "use indicatif::ProgressBar;", "terminal"),
        ("src/link/relay.rs", "fn f() { tokio::spawn(async {}); }", "spawn"),
        ("src/link/relay.rs", "fn f() { std::thread::spawn(|| ()); }", "spawn"),
        ("src/cli/demo.rs", "struct S { set: JoinSet<()> }", "spawn"),
        ("src/cli/mod.rs", "fn f() { std::process::exit(1) }", "exit"),
    ] {
        assert_broken(path, text, rule);
    }
    assert_fine("src/store/sql.rs", "use sqlx::Row;");
    assert_fine("src/transport/nats.rs", "use async_nats::Client;");
    assert_fine("src/cli/table.rs", "fn f() { println!(\"x\"); let e = std::io::stderr(); }");
    assert_fine("src/task/mod.rs", "fn f() { tokio::spawn(async {}); }");
    assert_fine("src/link/relay.rs", "fn f() { command.stdout(Stdio::piped()); my_sqlx_like(); }");
    assert_fine("src/link/relay.rs", "#[cfg(test)]\nmod tests { fn f() { tokio::spawn(async {}); } }");
    assert_fine("src/main.rs", "fn main() { std::process::exit(1) }");
}

#[test]
fn the_product_does_not_panic() {
    for body in
        ["x.unwrap();", "x.expect(\"y\");", "panic!(\"y\");", "todo!();", "unimplemented!();", "unreachable!();"]
    {
        assert_broken("src/value.rs", &format!("fn f() {{ {body} }}"), "panic");
        assert_broken("src/value.rs", &format!("#[cfg(test)]\nmod tests {{}}\nfn f() {{ {body} }}"), "panic");
        assert_broken("src/value.rs", &format!("#[cfg(test)]\nuse x::y;\nfn f() {{ {body} }}"), "panic");
        assert_fine("src/value.rs", &format!("#[cfg(test)]\nmod tests {{ fn f() {{ {body} }} }}"));
        assert_eq!(check("src/value/tests.rs", &format!("//! Doc.\nfn f() {{ {body} }}"), true), []);
        assert_fine("tests/some.rs", &format!("fn f() {{ {body} }}"));
    }
    assert_fine("src/value.rs", "fn f() { unreachable!(\"why\"); x.unwrap_or(1); } // .unwrap()\n");
}

#[test]
fn test_modules_in_their_own_files_are_known() {
    let file = |path: &str, text: &str| (path.to_string(), text.to_string());
    let files = BTreeMap::from([
        file("src/store/mod.rs", "#[cfg(test)]\nmod tests;\nmod sql;"),
        file("src/store/tests.rs", ""),
        file("src/store/sql.rs", "#[cfg(test)] mod cases;"),
        file("src/store/sql/cases.rs", ""),
    ]);
    assert_eq!(test_files(&files).into_iter().collect::<Vec<_>>(), ["src/store/sql/cases.rs", "src/store/tests.rs"]);
}

#[test]
fn files_and_functions_are_short_and_documented() {
    let function = |lines: usize| format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
    for path in ["src/value.rs", "tests/some.rs"] {
        assert_fine(path, &function(FUNCTION_LINES));
        assert_broken(path, &function(FUNCTION_LINES + 1), "function-lines");
        assert_fine(path, &"\n".repeat(FILE_LINES - 1));
        assert_broken(path, &"\n".repeat(FILE_LINES), "file-lines");
    }
    // Braces in strings, characters, comments and lifetimes end no function and begin none.
    let tricky =
        "fn f<'a>(x: &'a str) -> [u8; 2] {\n let _ = ('{', '\\'', \"}\\\"{\", r#\"}\"{\"#); // }\n /* } /* } */ */\n";
    assert_broken("src/value.rs", &format!("{tricky}{}}}", "a();\n".repeat(FUNCTION_LINES)), "function-lines");
    assert_fine("src/value.rs", &format!("{tricky}}}\nfn g() {{}}\n{}", "const X: u8 = 1;\n".repeat(FUNCTION_LINES)));
    assert_fine("src/value.rs", &format!("trait T {{ fn f(&self) -> [u8; 2]; }}\n{}", "//\n".repeat(FUNCTION_LINES)));
    let rules: Vec<_> = check("src/value.rs", "use std::fmt;\n", false).into_iter().map(|f| f.rule).collect();
    assert_eq!(rules, ["module-doc"]);
}

#[test]
fn a_stray_file_at_the_top_is_seen() {
    assert_eq!(top_level(["src", "Cargo.toml", "notes.txt"])[0].place, "notes.txt");
    assert_eq!(top_level(["src", "docs", "plans", "README.md"]), []);
}

#[test]
fn the_tests_that_the_docs_name_exist() {
    let tests: String =
        rust_files().into_iter().filter(|(p, _)| p.starts_with("tests/")).map(|(_, text)| text).collect();
    let page = fs::read_to_string(root().join("docs/capture.md")).unwrap();
    let shown = page.lines().filter_map(|line| line.strip_prefix('|')?.rsplit('|').nth(1));
    let names: BTreeSet<&str> = shown.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 40, "the page was not read: {names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "docs/capture.md names tests that do not exist: {missing:?}");
}
