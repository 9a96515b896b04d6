//! Cut over and rollback through the real binary, with clients that follow the owner: no moment with two owners, no lost
//! write, on every pair of engines.

mod support;

#[path = "cutover/bank.rs"]
mod bank;

use std::time::Duration;

use bank::Clients;
use support::product::{Place, Product, mariadb, postgres, sqlite};
use support::{Nats, NatsVersion};

/// A machine that runs all tests at once is slow.
const TABLES: &str =
    "cutover: { max_write_pause: 30s, max_lag: 30s }\ntables:\n  - from: account\n  - from: transfer\n";

/// There, back, and there again, while a host follows; then both stores hold the same.
async fn there_and_back(name: &str, source: Place, target: Place, nats: Option<Nats>) {
    let seed = rand::random();
    println!("seed {seed}");
    bank::open(&source, true).await;
    bank::open(&target, false).await;
    let (before_source, before_target) = (source.catalogue().await, target.catalogue().await);
    let product = Product::new(name, &source, &target, nats.as_ref(), TABLES);
    let clients = Clients::start(&source, &target, 4, seed);
    product.run(&["apply"]).await.expect(0);
    let mut host = product.start(&["apply", "--follow", "--heartbeat", "1s"]);
    host.says("follow").await;
    let rehearsed = product.run(&["rehearse", "--json"]).await.expect(0).json();
    assert_eq!(rehearsed["works"], true, "{rehearsed}");
    for verb in ["cutover", "rollback", "cutover"] {
        clients.go_on(20).await;
        let cut = product.run(&[verb, "--json"]).await;
        assert_eq!(cut.code, 0, "{}\n{}\nthe host:\n{}", cut.stdout, cut.stderr, host.stderr());
        let cut = cut.json();
        println!("{verb}: {cut}");
        assert_eq!(cut["done"], true);
        assert_eq!(cut["owner"], if verb == "cutover" { "target" } else { "source" });
        clients.go_on(20).await;
        let again = product.run(&[verb, "--json"]).await.expect(0).json();
        assert_eq!(again["done"], false, "{again}");
    }
    let ledger = clients.stop().await;
    println!("{} transfers, the longest pause of a client {:?}", ledger.acknowledged.len(), ledger.longest_pause);
    product.wait_in_step().await;
    host.signal("TERM");
    assert_eq!(host.wait().await, 143, "{}", host.stderr());
    bank::audit(&target, &ledger).await;
    bank::assert_same(&source, &target).await;
    let aborted = product.run(&["abort"]).await.expect(4);
    assert!(aborted.stderr.contains("the target owns the data"), "{}", aborted.stderr);
    // The old tables stay as they are, and refuse; the new ones take.
    product.run(&["finish"]).await.expect(0);
    bank::assert_refused(&source).await;
    bank::assert_taken(&target).await;
    let finished = product.run(&["apply"]).await.expect(4);
    assert!(finished.stderr.contains("has finished"), "{}", finished.stderr);
    product.run(&["finish", "--release-source"]).await.expect(0);
    bank::assert_taken(&source).await;
    assert_eq!(source.catalogue().await, before_source, "the source is as it was");
    assert_eq!(target.catalogue().await, before_target, "the target is as it was");
}

/// A dead process's lease, of either link, must run out first.
async fn apply_patiently(product: &Product) {
    for _ in 0..50 {
        let applied = product.run(&["apply"]).await;
        if applied.code != 5 {
            applied.expect(0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("somebody holds it for ever");
}

/// Before the decision a kill gives the writes back by itself; after it nobody writes until somebody delivers.
const KILLED: [(&str, bool); 9] = [
    ("cutover.captured", false),
    ("cutover.begun", false),
    ("cutover.fenced", false),
    ("cutover.drained", false),
    ("cutover.numbered", false),
    ("cutover.committed", true),
    ("cutover.told", true),
    ("cutover.unfenced", true),
    ("cutover.routed", true),
];

/// Killed at each step, there and back: the same command again goes through, and nothing is lost or owned twice.
async fn killed_at_each_step(name: &str, source: Place, target: Place, kill_back: bool) {
    let seed = rand::random();
    println!("seed {seed}");
    bank::open(&source, true).await;
    bank::open(&target, false).await;
    let body = TABLES.replace("max_write_pause: 30s", "max_write_pause: 4s") + "lease: { ttl: 1s }\n";
    let mut product = Product::new(name, &source, &target, None, &body);
    let clients = Clients::start(&source, &target, 3, seed);
    product.run(&["apply"]).await.expect(0);
    product.run(&["rehearse"]).await.expect(0);
    // The same code with other gates: the steps between which these have something to do.
    let few = ["cutover.fenced", "cutover.drained", "cutover.committed", "cutover.told"];
    for (step, is_decided) in KILLED.into_iter().filter(|(step, _)| kill_back || few.contains(step)) {
        for verb in ["cutover", "rollback"] {
            if step == "cutover.captured" && verb == "rollback" {
                continue;
            }
            if verb == "rollback" && !kill_back {
                product.run(&[verb]).await.expect(0);
                continue;
            }
            product.set("MIGRATE_FAILPOINT", step);
            let killed = product.run(&[verb]).await;
            assert_eq!(killed.code, -1, "{verb} at {step}: {}{}", killed.stdout, killed.stderr);
            product.set("MIGRATE_FAILPOINT", "");
            let status = product.run(&["status", "--json"]).await.expect(0).json();
            let new = if verb == "cutover" { "target" } else { "source" };
            let old = if verb == "cutover" { "source" } else { "target" };
            if is_decided {
                assert!(status["owner"] == new || status["owner"] == "nobody", "{verb} at {step}: {status}");
            } else {
                assert_eq!(status["owner"], old, "{verb} at {step}: {status}");
                // Nobody helps: the fence runs out.
                clients.go_on(3).await;
            }
            let again = product.run(&[verb, "--json"]).await;
            assert_eq!(again.code, 0, "{verb} after {step}: {}{}", again.stdout, again.stderr);
            assert_eq!(again.json()["owner"], new);
            clients.go_on(3).await;
            apply_patiently(&product).await;
            let status = product.run(&["status", "--json"]).await.expect(0).json();
            assert_eq!(status["owner"], new, "{verb} after {step}: {status}");
            assert_eq!(status["told_turn"], status["turn"], "{verb} after {step}: {status}");
            if verb == "cutover" && step == "cutover.captured" {
                product.run(&["rollback"]).await.expect(0);
            }
        }
    }
    let ledger = clients.stop().await;
    println!("{} transfers", ledger.acknowledged.len());
    product.run(&["apply"]).await.expect(0);
    bank::audit(&source, &ledger).await;
    bank::assert_same(&source, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_killed_at_each_step() {
    let dir = tempfile::tempdir().expect("a directory");
    killed_at_each_step("k-ss", sqlite(&dir, "s.db"), sqlite(&dir, "t.db"), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_mariadb_are_killed_at_each_step() {
    killed_at_each_step("k-pm", postgres("k_pm_s").await, mariadb("k_pm_t").await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres_direct() {
    there_and_back("c-pp", postgres("c_pp_s").await, postgres("c_pp_t").await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres_over_a_current_broker() {
    let nats = Nats::start(NatsVersion::Current);
    there_and_back("c-ppn", postgres("c_ppn_s").await, postgres("c_ppn_t").await, Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_mariadb_over_debians_broker() {
    let nats = Nats::start(NatsVersion::Debian);
    there_and_back("c-pm", postgres("c_pm_s").await, mariadb("c_pm_t").await, Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_to_mariadb_direct() {
    there_and_back("c-mm", mariadb("c_mm_s").await, mariadb("c_mm_t").await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_to_sqlite_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    there_and_back("c-ms", mariadb("c_ms_s").await, sqlite(&dir, "t.db"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_sqlite_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    there_and_back("c-ss", sqlite(&dir, "s.db"), sqlite(&dir, "t.db"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_postgres_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    there_and_back("c-sp", sqlite(&dir, "s.db"), postgres("c_sp_t").await, None).await;
}
