//! Preflight: each seeded fault is found under its own id, all of them in one run; a clean pair yields nothing; and no
//! run of `plan` writes anything.

mod support;

#[path = "preflight/broker.rs"]
mod broker;
#[path = "preflight/clean.rs"]
mod clean;
#[path = "preflight/commands.rs"]
mod commands;
#[path = "preflight/fits.rs"]
mod fits;
#[path = "preflight/limits.rs"]
mod limits;
#[path = "preflight/mariadb.rs"]
mod mariadb;
#[path = "preflight/postgres.rs"]
mod postgres;
#[path = "preflight/servers.rs"]
mod servers;
#[path = "preflight/sqlite.rs"]
mod sqlite;
#[path = "preflight/texts.rs"]
mod texts;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;
use support::product::{Place, Product, Ran};
use support::{PgDatabase, PgOptions, Postgres};

/// One seeded fault: `{}` is its table's name.
pub struct Fault {
    pub table: &'static str,
    pub source: &'static str,
    pub target: &'static str,
    /// Below `- from: <table>`.
    pub plan: &'static str,
    /// What must be found of this table, and nothing else.
    pub ids: &'static [&'static str],
}

pub const fn fault(
    table: &'static str,
    source: &'static str,
    target: &'static str,
    plan: &'static str,
    ids: &'static [&'static str],
) -> Fault {
    Fault { table, source, target, plan, ids }
}

/// Makes all faults, and gives the plan's tables.
pub async fn seed(faults: &[Fault], source: &Place, target: &Place) -> String {
    let all = |of: fn(&Fault) -> &str| {
        let filled = faults.iter().map(|f| of(f).replace("{}", f.table)).filter(|sql| !sql.is_empty());
        filled.map(|sql| format!("{sql};\n")).collect::<String>()
    };
    source.exec(&all(|f| f.source)).await;
    target.exec(&all(|f| f.target)).await;
    let table = |f: &Fault| format!("  - from: {}\n    {}\n", f.table, f.plan.replace("{}", f.table));
    format!("tables:\n{}", faults.iter().map(table).collect::<String>())
}

/// A server that a power cut would not hurt, as preflight wants it.
pub fn safe_server() -> &'static Postgres {
    static SAFE: OnceLock<Postgres> = OnceLock::new();
    let settings = [("log_statement", "all"), ("log_line_prefix", "%a|")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    SAFE.get_or_init(|| Postgres::start_with(PgOptions { fsync: true, settings }))
}

pub async fn safe_database(hint: &str) -> PgDatabase {
    let db = safe_server().database(hint).await;
    db.grant_target_rights().await;
    db
}

/// An empty file; with a write-ahead log, as preflight wants it.
pub async fn file(dir: &tempfile::TempDir, name: &str, wal: bool) -> PathBuf {
    let path = dir.path().join(name);
    let mode = if wal { "WAL" } else { "DELETE" };
    support::sqlite_exec(&path, &format!("PRAGMA journal_mode = {mode}; CREATE TABLE z (i); DROP TABLE z")).await;
    path
}

/// `(id, table)` of everything that `plan` found, with its exit code checked.
pub async fn findings(product: &Product, code: i32) -> Vec<Value> {
    let ran = product.run(&["plan", "--json"]).await.expect(code);
    assert!(ran.stdout.starts_with('{'), "{}", ran.stderr);
    ran.json()["findings"].as_array().expect("findings").clone()
}

pub fn ids(findings: &[Value]) -> BTreeSet<String> {
    findings.iter().map(|f| f["id"].as_str().expect("an id").to_owned()).collect()
}

/// Exactly what was seeded was found, each with its table, and each of it is explained and has a way out.
pub async fn assert_each_is_found(faults: &[Fault], product: &Product, besides: &[&str]) {
    let found = findings(product, 65).await;
    let mut expected = BTreeSet::new();
    for fault in faults {
        expected.extend(fault.ids.iter().map(|id| ((*id).to_owned(), fault.table.to_owned())));
    }
    let bare = |f: &Value| f["table"].as_str().unwrap_or_default().trim_start_matches("public.").to_owned();
    let got: BTreeSet<(String, String)> = found
        .iter()
        .map(|f| (f["id"].as_str().unwrap_or_default().to_owned(), bare(f)))
        .filter(|(id, table)| !(table.is_empty() && besides.contains(&id.as_str())))
        .collect();
    let shown: Vec<_> = found.iter().map(|f| format!("{} {}: {}", f["id"], f["table"], f["message"])).collect();
    let lacking: Vec<_> = expected.difference(&got).collect();
    let more: Vec<_> = got.difference(&expected).collect();
    assert!(lacking.is_empty() && more.is_empty(), "lacking {lacking:?}\nmore {more:?}\n{}", shown.join("\n"));
    for finding in &found {
        assert!(finding["hint"].as_str().is_some_and(|h| !h.is_empty()), "no way out: {finding}");
        assert!(["error", "warning"].contains(&finding["severity"].as_str().unwrap_or_default()), "{finding}");
    }
    // What a person sees: in order of line, with the ids.
    let ran = product.run(&["plan"]).await.expect(65);
    for id in ids(&found) {
        assert!(ran.stderr.contains(&format!("[{id}]")), "no {id}:\n{}", ran.stderr);
    }
    assert_quiet(&ran);
}

pub fn assert_quiet(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(support::postgres::CANARY), "a secret:\n{text}");
        assert!(!text.contains("row-canary"), "a row's value:\n{text}");
    }
}
