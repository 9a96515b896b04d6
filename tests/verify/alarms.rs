//! While writers write, what agrees is never said to differ: by its own process, and by a host.

use super::{postgres, result, sqlite};
use crate::support::live::{self, Writers};
use crate::support::product::{Place, Product};
use crate::support::{Nats, NatsVersion};
use std::time::Duration;

const ROWS: i64 = 600;
const PLAN: &str =
    "create_tables: true\ntables:\n  - from: customers\n  - from: orders\nbackfill: { chunk_rows: 100 }\n";

fn runs() -> usize {
    std::env::var("MIGRATE_VERIFY_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

/// Half of the runs compare by themselves, half ask a host. Every digest is counted, so that a run that compared
/// nothing is no success.
async fn no_alarm(name: &str, source: Place, target: Place, nats: Option<Nats>, runs: usize) {
    let seed = rand::random();
    live::fill(&source, ROWS, seed).await;
    let product = Product::new(name, &source, &target, nats.as_ref(), PLAN);
    product.run(&["apply"]).await.expect(0);
    let writers = Writers::start(&source, 3, ROWS, seed, Duration::from_millis(3));
    let mut digests = 0;
    let mut once = async || {
        let ran = product.run(&["verify", "--output", "json", "--show-values"]).await.expect(0);
        let result = result(&ran);
        assert_eq!(result["mismatches"], 0);
        assert!(result["digests"].as_u64() >= Some(8), "{result}");
        digests += result["digests"].as_u64().unwrap_or_default();
    };
    for _ in 0..runs.div_ceil(2) {
        once().await;
    }
    let mut host = product.start(&["apply", "--follow"]);
    host.says("follow").await;
    for _ in 0..runs / 2 {
        once().await;
    }
    host.signal("INT");
    assert_eq!(host.wait().await, 130, "{}", host.stderr());
    let meanwhile = writers.count();
    let ledger = writers.stop().await;
    assert!(meanwhile > 4 * runs as u64, "the writers hardly wrote: {meanwhile}");
    println!("{name}: {runs} runs, {digests} digests, {meanwhile} writes");
    product.run(&["verify"]).await.expect(0);
    live::assert_nothing_lost(&source, &target, &ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_false_alarm_under_writers_sqlite_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    no_alarm("a-s-s", sqlite(&dir, "a.db"), sqlite(&dir, "b.db"), None, runs().div_ceil(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_false_alarm_under_writers_postgres_over_nats() {
    let nats = Nats::start(NatsVersion::Current);
    no_alarm("a-p-p", postgres("a_from").await, postgres("a_to").await, Some(nats), runs().div_ceil(2)).await;
}

/// The full number, for every pair: `cargo test --test verify -- --ignored`. Some minutes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: 100 runs for each pair of engines"]
async fn a_hundred_runs_raise_no_false_alarm() {
    let dir = tempfile::tempdir().expect("a directory");
    let nats = || Some(Nats::start(NatsVersion::Current));
    no_alarm("h-s-s", sqlite(&dir, "a.db"), sqlite(&dir, "b.db"), None, 100).await;
    no_alarm("h-p-p", postgres("h_from").await, postgres("h_to").await, nats(), 100).await;
    no_alarm("h-s-p", sqlite(&dir, "c.db"), postgres("h_s_p").await, nats(), 100).await;
    no_alarm("h-p-s", postgres("h_p_s").await, sqlite(&dir, "d.db"), nats(), 100).await;
}
