//! Writers write while nothing runs, or faster than anything can copy: entries stay bounded, the limit is kept, and the
//! backfill comes to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::rig::{Engine, TABLES, World, number, shared_nats};
use crate::support::live::App;

/// One statement that changes every row, in the application's own connection.
async fn touch_all(world: &World, times: usize) {
    let mut app = App::connect(&world.source).await;
    for i in 0..times {
        app.exec(&format!("UPDATE customers SET version = version + 1, name = 'touched {i}'")).await.expect("a write");
        app.exec("UPDATE orders SET note = 'touched', version = version + 1").await.expect("a write");
    }
}

/// Thousands of writes with capture on and nothing running: before the backfill, and after it.
async fn backlog(name: &str, from: Engine, to: Engine) {
    let body = TABLES.replace("chunk_rows: 20", "chunk_rows: 2000");
    let world = World::new(name, from, to, Some(shared_nats()), 4_000, &body).await;
    world.product.run(&["apply", "--until", "dual-write"]).await.expect(0);
    touch_all(&world, 2).await;
    let ran = world.product.run(&["apply"]).await.expect(0);
    assert!(ran.stdout.contains("changes   0 rows"), "what the backfill will bring is not sent twice: {}", ran.stdout);

    let before = world.at_source("max(position)", "log").await;
    touch_all(&world, 3).await;
    assert_eq!(world.at_source("count(*)", "dirty_1").await, 12_000);
    let writers = world.writers();
    world.finish().await;
    let ledger = writers.stop().await;
    world.settle(&ledger).await;
    // 24,000 marks were taken 5,000 at a time: no entry is larger, and all but the last of them are undrained.
    let changes = format!("log WHERE kind = 'changes' AND position > {before}");
    let (entries, most) =
        (world.at_source("count(*)", &changes).await, world.at_source("max(rows_count)", &changes).await);
    println!("{name}: {entries} entries, {most} rows in the largest");
    assert!((5..).contains(&entries) && most <= 5_000, "{entries} entries, {most} rows in the largest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_goes_in_bounded_entries_from_sqlite() {
    backlog("backlog-s", Engine::Sqlite, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_goes_in_bounded_entries_from_postgres() {
    backlog("backlog-p", Engine::Postgres, Engine::Sqlite).await;
}

/// The limit is reached while nothing runs: the application notices nothing, its disk does not fill, and the next run
/// says so and copies anew, once, while the writers go on.
async fn limit(name: &str, from: Engine) {
    let body = TABLES.replace("chunk_rows: 20", "chunk_rows: 100");
    let body = format!("{body}backlog_limit: 2000\n");
    let world = World::new(name, from, Engine::Sqlite, None, 1_500, &body).await;
    world.finish().await;
    touch_all(&world, 2).await;
    let full = world.at_source("count(*)", "dirty_1").await;
    assert!((1..=2_001).contains(&full), "{full} marks");
    touch_all(&world, 2).await;
    world.source.exec("DELETE FROM customers WHERE id < 800").await;
    assert_eq!(world.at_source("count(*)", "dirty_1").await, full, "it stopped growing");

    let writers = world.writers_at(Duration::from_millis(20), world.seed);
    let ran = world.product.run(&["apply"]).await.expect(0);
    assert!(ran.stderr.contains("backlog_limit"), "{}", ran.stderr);
    assert!(ran.stderr.contains("generation 2 begins"), "{}", ran.stderr);
    // On PostgreSQL a write that was under way when it began may have left a mark of the old limit.
    let most = if from == Engine::Sqlite { 2 } else { 4 };
    assert!(world.at_source("generation", "link_source").await <= most, "{}\n{}", ran.stdout, ran.stderr);
    let ledger = writers.stop().await;
    world.settle(&ledger).await;
    // The writers may have made some of those rows anew.
    let low = "SELECT count(*) FROM customers WHERE id < 800";
    assert_eq!(number(&world.target, low).await, number(&world.source, low).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_capture_stops_and_sqlite_goes_on() {
    limit("limit-s", Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_capture_stops_and_postgres_goes_on() {
    limit("limit-p", Engine::Postgres).await;
}

/// Rows come at the end of the key range all the time, faster than the small chunks can follow.
async fn endless(name: &str, from: Engine) {
    let world = World::new(name, from, Engine::Sqlite, None, 600, TABLES).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (place, stopped) = (world.source.clone(), stop.clone());
    let inserter = tokio::spawn(async move {
        let mut app = App::connect(&place).await;
        let mut next = 1_000_000u64;
        while !stopped.load(Ordering::Relaxed) {
            let row = |i: u64| format!("({i}, 'e', NULL, 1.5, '2024-01-01 00:00:00', TRUE, NULL, 1)");
            let rows: Vec<String> = (next..next + 30).map(row).collect();
            match app.exec(&format!("INSERT INTO customers VALUES {}", rows.join(","))).await {
                Ok(()) => next += 30,
                Err(e) => assert!(e.to_string().contains("locked"), "{e}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        next - 1_000_000
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let run = world.product.run(&["apply", "--until", "backfill"]);
    let ran = tokio::time::timeout(Duration::from_secs(60), run).await.expect("the backfill never ends").expect(0);
    stop.store(true, Ordering::Relaxed);
    let inserted = inserter.await.expect("the inserter");
    let copied = world.at_source("sum(rows_count)", "backfill").await;
    println!("{name}: {inserted} rows inserted meanwhile, {copied} rows copied");
    assert!(inserted > 300, "the inserter was slow: {inserted}\n{}", ran.stderr);
    assert!(copied < 1_200 + inserted as i64, "the backfill ran after them");
    // What may change while a migration runs; the rest of it is about something else.
    let plan = std::fs::read_to_string(&world.product.plan).expect("the plan");
    std::fs::write(&world.product.plan, plan.replace("chunk_rows: 20", "chunk_rows: 5000")).expect("the plan");
    world.settle(&Default::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backfill_ends_though_sqlite_grows_at_the_end() {
    endless("endless-s", Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backfill_ends_though_postgres_grows_at_the_end() {
    endless("endless-p", Engine::Postgres).await;
}
