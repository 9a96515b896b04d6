//! `migrate demo` on each engine: the product's own witness says that nothing is lost, and so does its exit code.

mod support;

use std::process::Command;

use support::product::Place;
use support::{MariaDb, Postgres};

/// Runs it with these stores; what its one JSON object says.
async fn demo(stores: &[(&str, &Place)]) -> serde_json::Value {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
    command.args(["demo", "--rows", "1500", "--writers", "2", "--json"]).env("TMPDIR", dir.path());
    for (side, place) in stores {
        command.args([format!("--{side}"), place.admin_url()]);
    }
    let ran = tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.expect("joined");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{out}\n{err}");
    serde_json::from_str(out.trim().lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn assert_whole(report: &serde_json::Value) {
    assert_eq!((&report["writes_lost"], &report["mismatches"]), (&0.into(), &0.into()), "{report}");
    assert!(report["rows"].as_u64() >= Some(1500) && report["writes_acknowledged"].as_u64() > Some(0), "{report}");
    let pauses = report["pauses"].as_array().expect("a list");
    let steps: Vec<_> = pauses.iter().map(|p| p["step"].as_str().unwrap_or_default()).collect();
    assert_eq!(steps, ["canary", "cut over", "rollback", "cut over"], "{report}");
    assert!(pauses.iter().all(|p| p["pause_ms"].as_u64() > Some(0)) && pauses[0]["scopes"][0] == "1", "{report}");
    assert!(report["digests"].as_u64() > Some(0) && report["wall_ms"].as_u64() > Some(0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_installed() {
    assert_whole(&demo(&[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgresql_to_mariadb_and_both_are_as_before() {
    let (from, to) = (Postgres::shared().database("demo_a").await, MariaDb::shared().database("demo_b").await);
    let (source, target) = (Place::Postgres(from), Place::MariaDb(to));
    let before = (source.catalogue().await, target.catalogue().await);
    assert_whole(&demo(&[("source", &source), ("target", &target)]).await);
    assert_eq!((source.catalogue().await, target.catalogue().await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_postgresql_and_both_are_as_before() {
    let (from, to) = (MariaDb::shared().database("demo_c").await, Postgres::shared().database("demo_d").await);
    let (source, target) = (Place::MariaDb(from), Place::Postgres(to));
    let before = (source.catalogue().await, target.catalogue().await);
    assert_whole(&demo(&[("source", &source), ("target", &target)]).await);
    assert_eq!((source.catalogue().await, target.catalogue().await), before);
}
