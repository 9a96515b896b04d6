//! A PostgreSQL server is killed and restarted in the middle of a backfill: the run goes on by itself, or the same
//! command does.

use std::time::Duration;

use crate::rig::{TABLES, World, postgres_in, shared_nats};
use crate::support::Postgres;
use crate::support::live::Ledger;
use crate::support::product::sqlite;

async fn ends(world: &World, running: &mut crate::support::product::Running) {
    let code = running.wait().await;
    println!("{}: the run ended with {code}", world.name);
    assert!([0, 1].contains(&code), "{}", running.stderr());
    if code == 1 {
        assert!(running.stderr().contains("hint: "), "what next? {}", running.stderr());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_server_is_killed_and_restarted() {
    let (mut server, dir) = (Postgres::start(), tempfile::tempdir().expect("a directory"));
    let (source, target) = (sqlite(&dir, "a.db"), postgres_in(&server, "server-target").await);
    let world = World::of("server-target", source, target, Some(shared_nats()), 400, TABLES, dir).await;
    let writers = world.writers();
    let mut running = world.product.start(&["apply"]);
    for rows in [100, 400] {
        world.until_moved(&mut running, rows).await;
        server.kill9();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.restart();
    }
    ends(&world, &mut running).await;
    let ledger = writers.stop().await;
    let ran = world.settle(&ledger).await;
    assert!(ran.stdout.contains("generation 1"), "{}", ran.stdout);
}

/// The writers lose their connections too, so they pause meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_source_server_is_killed_and_restarted() {
    let (mut server, dir) = (Postgres::start(), tempfile::tempdir().expect("a directory"));
    let (source, target) = (postgres_in(&server, "server-source").await, sqlite(&dir, "b.db"));
    let world = World::of("server-source", source, target, None, 400, TABLES, dir).await;
    let mut ledger = Ledger::new();
    let mut writers = world.writers();
    let mut running = world.product.start(&["apply"]);
    for rows in [100, 400] {
        world.until_moved(&mut running, rows).await;
        ledger.extend(writers.stop().await);
        server.kill9();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.restart();
        writers = world.writers_at(Duration::from_millis(10), world.seed + rows as u64);
    }
    ends(&world, &mut running).await;
    ledger.extend(writers.stop().await);
    let ran = world.settle(&ledger).await;
    assert!(ran.stdout.contains("generation 1"), "{}", ran.stdout);
}

/// The whole house loses power: both servers, and we with them.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_killed_at_once() {
    let (mut server, dir) = (Postgres::start(), tempfile::tempdir().expect("a directory"));
    let (source, target) = (postgres_in(&server, "all-source").await, postgres_in(&server, "all-target").await);
    let world = World::of("server-all", source, target, None, 400, TABLES, dir).await;
    let mut ledger = Ledger::new();
    for round in 0..3u64 {
        let writers = world.writers_at(Duration::from_millis(10), world.seed + round);
        let mut running = world.product.start(&["apply"]);
        world.until_moved(&mut running, 100 + 300 * round as i64).await;
        ledger.extend(writers.stop().await);
        server.kill9();
        running.kill9();
        server.restart();
        tokio::time::sleep(Duration::from_millis(1_000)).await;
    }
    let ran = world.settle(&ledger).await;
    assert!(ran.stdout.contains("generation 1"), "{}", ran.stdout);
}
