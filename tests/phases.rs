//! Every pair of engines runs the same phases, under live writes, through the real binary: dual-write, backfill,
//! verify, follow, abort. What arrived is compared by plain SQL and against a ledger of acknowledged writes.

mod support;

use std::time::Duration;

use support::live::{self, Writers};
use support::product::{Place, Product, mariadb, postgres, sqlite};
use support::{Nats, NatsVersion};

const ROWS: i64 = 3_000;
const TABLES: &str =
    "create_tables: true\ntables:\n  - from: customers\n  - from: orders\nbackfill: { chunk_rows: 200 }\n";

/// One body for each pair.
async fn moves_a_live_store(name: &str, source: Place, target: Place, nats: Option<Nats>) {
    let seed = rand::random();
    live::fill(&source, ROWS, seed).await;
    let (before_source, before_target) = (source.catalogue().await, target.catalogue().await);
    let product = Product::new(name, &source, &target, nats.as_ref(), TABLES);
    let plan = product.run(&["plan", "--json"]).await.expect(0).json();
    assert_eq!(plan["changes"], true);
    assert_eq!(source.catalogue().await, before_source, "plan changes nothing");
    assert_eq!(target.catalogue().await, before_target, "plan changes nothing");

    let writers = Writers::start(&source, 3, ROWS, seed, Duration::from_millis(5));
    let applied = product.run(&["apply"]).await.expect(0);
    assert!(applied.stdout.contains("in sync"), "{}", applied.stdout);
    let meanwhile = writers.count();
    assert!(meanwhile > 20, "the writers hardly wrote: {meanwhile}");

    // Nothing runs: capture goes on. Then a host follows while verify asks it.
    let mut host = product.start(&["apply", "--follow", "--heartbeat", "1s"]);
    host.says("follow").await;
    let verified = product.run(&["verify"]).await.expect(0);
    assert!(!verified.stdout.contains("this process"), "the host must have compared: {}", verified.stdout);
    let second = product.run(&["apply"]).await.expect(5);
    assert!(second.stderr.contains("holds the migration since"), "{}", second.stderr);
    let ledger = writers.stop().await;
    product.wait_in_step().await;
    host.signal("TERM");
    assert_eq!(host.wait().await, 143, "{}", host.stderr());
    assert!(ledger.len() > 20);
    live::assert_nothing_lost(&source, &target, &ledger).await;

    let verified = product.run(&["verify"]).await.expect(0);
    assert!(verified.stdout.contains("this process") || verified.stdout.contains("0 differ"), "{}", verified.stdout);
    product.run(&["abort", "--drop-created"]).await.expect(0);
    assert_eq!(source.catalogue().await, before_source, "abort leaves the source as it was");
    assert_eq!(target.catalogue().await, before_target, "abort leaves the target as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_sqlite_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    moves_a_live_store("s-to-s", sqlite(&dir, "a.db"), sqlite(&dir, "b.db"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_postgres_over_a_current_broker() {
    let dir = tempfile::tempdir().expect("a directory");
    let nats = Nats::start(NatsVersion::Current);
    moves_a_live_store("s-to-p", sqlite(&dir, "a.db"), postgres("s_to_p").await, Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_sqlite_over_debians_broker() {
    let dir = tempfile::tempdir().expect("a directory");
    let nats = Nats::start(NatsVersion::Debian);
    moves_a_live_store("p-to-s", postgres("p_to_s").await, sqlite(&dir, "b.db"), Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres_over_debians_broker() {
    let nats = Nats::start(NatsVersion::Debian);
    moves_a_live_store("p-to-p", postgres("p_from").await, postgres("p_to").await, Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres_direct() {
    moves_a_live_store("p-to-p-direct", postgres("pd_from").await, postgres("pd_to").await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_to_postgres_over_a_current_broker() {
    let nats = Nats::start(NatsVersion::Current);
    moves_a_live_store("m-to-p", mariadb("m_to_p").await, postgres("m_to_p").await, Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_mariadb_direct() {
    moves_a_live_store("p-to-m", postgres("p_to_m").await, mariadb("p_to_m").await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_to_mariadb_over_debians_broker() {
    let nats = Nats::start(NatsVersion::Debian);
    moves_a_live_store("m-to-m", mariadb("m_from").await, mariadb("m_to").await, Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_mariadb_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    moves_a_live_store("s-to-m", sqlite(&dir, "a.db"), mariadb("s_to_m").await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_to_sqlite_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    moves_a_live_store("m-to-s", mariadb("m_to_s").await, sqlite(&dir, "b.db"), None).await;
}
