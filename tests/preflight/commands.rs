//! `migrate explain` and `migrate grants`, and how findings are told.

use std::process::Command;

use super::support::product::{Place, Product};
use super::{file, findings, ids};

fn migrate(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_migrate")).args(args).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn a_check_is_explained_by_id_and_by_name() {
    for asked in ["MG0101", "mg0101", "no-key"] {
        let (code, out, err) = migrate(&["explain", asked]);
        assert_eq!((code, err.as_str()), (0, ""), "{asked}");
        assert!(out.starts_with("MG0101 no-key (error)\n") && out.contains("\nWay out: "), "{out}");
    }
    let (code, out, _) = migrate(&["explain"]);
    assert_eq!(code, 0);
    for id in ["MG0001", "MG0101", "MG0218", "MG0302", "MG0401", "MG0506"] {
        assert!(out.contains(id), "{id}:\n{out}");
    }
    let (code, out, err) = migrate(&["explain", "MG9999"]);
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains("there is no check \"MG9999\"") && err.contains("hint: `migrate explain`"), "{err}");
    let (_, out, _) = migrate(&["explain", "MG0101", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&object["id"], &object["severity"]), (&"MG0101".into(), &"error".into()));
    let (_, out, _) = migrate(&["explain", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(list.as_array().is_some_and(|l| l.len() > 60));
}

/// Each id that stands anywhere in the program is one of the catalogue.
#[test]
fn the_page_lists_what_explain_knows() {
    let (_, out, _) = migrate(&["explain", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let page = include_str!("../../docs/checks.md");
    for check in list.as_array().expect("a list") {
        let heading = format!("\n## {}\n", check["id"].as_str().expect("an id").to_lowercase().to_uppercase());
        assert!(page.contains(&heading), "docs/checks.md lacks {heading}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_has_no_roles_to_grant_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (file(&dir, "a.db", true).await, file(&dir, "b.db", true).await);
    let product = Product::new("g", &Place::Sqlite(source), &Place::Sqlite(target), None, "tables:\n  - from: t\n");
    let said = product.run(&["grants"]).await.expect(0).stdout;
    assert!(said.contains("-- source (url)") && said.contains("-- target (admin_url)"), "{said}");
    assert!(said.contains("file permissions are all") && said.contains("a.db"), "{said}");
    assert!(said.lines().all(|line| line.is_empty() || line.starts_with("--")), "{said}");
    let json = product.run(&["grants", "--json"]).await.expect(0).json();
    assert_eq!(json["logins"].as_array().map(Vec::len), Some(4));
}

/// A problem of the plan, of a table, of its rows and of the target are told at once, in order of line, and again as
/// objects.
#[tokio::test(flavor = "multi_thread")]
async fn all_is_told_at_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (file(&dir, "a.db", false).await, file(&dir, "b.db", true).await);
    let (source, target) = (Place::Sqlite(from), Place::Sqlite(to));
    let table = |name: &str| format!("CREATE TABLE {name} (id BIGINT NOT NULL PRIMARY KEY, v TEXT);");
    source.exec(&format!("{}{}{} INSERT INTO c VALUES (1, NULL)", table("a"), table("b"), table("c"))).await;
    let not_null = table("c").replace("v TEXT", "v TEXT NOT NULL");
    target.exec(&format!("{}{}{not_null} INSERT INTO b VALUES (1, 'row-canary')", table("a"), table("b"))).await;
    let tables = "tables:\n  - from: a\n    skip: [w]\n  - from: b\n  - from: c\n";
    let product = Product::new("order", &source, &target, None, tables);
    let found = findings(&product, 65).await;
    let told: Vec<_> = found.iter().map(|f| (f["id"].as_str().unwrap_or_default(), f["line"].as_u64())).collect();
    let expected = [("MG0406", Some(0)), ("MG0112", Some(7)), ("MG0313", Some(8)), ("MG0301", Some(9))];
    assert_eq!(told, expected);
    let ran = product.run(&["plan"]).await.expect(65);
    assert!(ran.stderr.starts_with("error: the plan has 3 problems and 1 warning\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains(":9:11: in 1 row of \"c\" \"v\" is null"), "{}", ran.stderr);
    assert!(ran.stderr.contains("[MG0301]\n  9 |   - from: c\n"), "{}", ran.stderr);
    super::assert_quiet(&ran);
    assert_eq!(ran.stdout, "");

    let lines = product.run(&["plan", "--output", "json"]).await.expect(65).stdout;
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap_or_default()).expect("JSON");
    let objects = last["findings"].as_array().expect("findings");
    assert_eq!(ids(objects), ids(&found));
}

/// What comes after the first install is the run's own business: `plan` and `apply` do not look at rows again.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_began_is_not_checked_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (file(&dir, "a.db", false).await, file(&dir, "b.db", true).await);
    let (source, target) = (Place::Sqlite(from), Place::Sqlite(to));
    source.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v TEXT)").await;
    target.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v TEXT NOT NULL)").await;
    let product = Product::new("began", &source, &target, None, "on_error: stop\ntables:\n  - from: t\n");
    let first = product.run(&["apply", "--until", "dual-write"]).await.expect(0);
    assert!(first.stderr.contains("[MG0406]"), "warnings are told: {}", first.stderr);
    source.exec("INSERT INTO t VALUES (1, NULL)").await;
    assert!(findings(&product, 0).await.is_empty());
    let ran = product.run(&["apply"]).await.expect(1);
    assert!(ran.stderr.contains("the target refuses a row") && !ran.stderr.contains("[MG0"), "{}", ran.stderr);
}
