//! SIGKILL at random moments of dual-write, backfill and verify; SIGTERM and SIGINT, which end cleanly.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;

use crate::rig::{End, Engine, TABLES, World, seeded, shared_nats};
use crate::support::live;

/// Per pair of engines; `MIGRATE_TEST_KILLS=200 cargo test --test resume killed_anywhere` looks longer.
fn kills() -> usize {
    std::env::var("MIGRATE_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

/// How far it had come, by its own tables.
async fn phase_of(world: &World) -> &'static str {
    match world.moved().await {
        0 => "dual-write",
        _ if world.at_source("count(*)", "backfill WHERE state < 2").await > 0 => "backfill",
        _ => "verify",
    }
}

/// Where it comes to its end before it is killed often enough it is removed, and begins again: so there are moments of
/// every phase.
async fn killed_anywhere(name: &str, from: Engine) {
    let (_, mut rng) = seeded(name);
    let world = World::new(name, from, Engine::Postgres, Some(shared_nats()), 300, TABLES).await;
    let writers = world.writers();
    let (mut killed, mut ended) = (BTreeMap::new(), 0);
    while killed.values().sum::<usize>() < kills() {
        // Mostly in the backfill, and as often soon as late.
        let word = ["", "dual-write: 2", "backfill: ", "backfill: ", "backfill: ", "verify"][rng.random_range(0..6)];
        let shortest = if word == "backfill: " { 100.0 } else { 10.0f64 };
        let delay = shortest * (1500.0 / shortest).powf(rng.random::<f64>());
        match world.killed_after(Duration::from_millis(delay as u64), word).await {
            End::Killed => *killed.entry(phase_of(&world).await).or_default() += 1,
            End::Itself(5, _) => tokio::time::sleep(Duration::from_millis(150)).await,
            End::Itself(0, _) => {
                ended += 1;
                world.product.run(&["abort", "--drop-created"]).await.expect(0);
            }
            End::Itself(code, stderr) => panic!("it ended with {code}:\n{stderr}"),
        }
    }
    world.finish().await;
    let ledger = writers.stop().await;
    println!("{name}: killed in {killed:?}, came to its end {ended} times, {} keys written", ledger.len());
    assert!(ledger.len() > 20);
    world.settle(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_postgres_is_killed_anywhere() {
    killed_anywhere("kill-s-p", Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres_is_killed_anywhere() {
    killed_anywhere("kill-p-p", Engine::Postgres).await;
}

/// A clean checkpoint: the exit code says which signal, the lease is given back at once, nothing is done twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_backfill_ends_it_cleanly() {
    for (signal, code, from, to) in
        [("TERM", 143, Engine::Sqlite, Engine::Postgres), ("INT", 130, Engine::Postgres, Engine::Sqlite)]
    {
        let name = format!("signal-{}", signal.to_lowercase());
        let world = World::new(&name, from, to, Some(shared_nats()), 300, TABLES).await;
        let writers = world.writers();
        let mut running = world.product.start(&["apply"]);
        world.until_moved(&mut running, 60).await;
        running.signal(signal);
        assert_eq!(running.wait().await, code, "{}", running.stderr());
        let said = running.stderr();
        assert!(said.contains("stopped") && said.contains("migrate apply"), "{said}");
        let moved = world.moved().await;
        assert!(moved < 600, "too late to be in the backfill: {moved} rows");
        assert_eq!(world.at_source("count(holder)", "link_source").await, 0, "the source's lease is given back");
        assert_eq!(world.at_target("count(holder)", "link_target").await, 0, "the target's lease is given back");
        let (source, target) =
            (world.at_source("position", "link_source").await, world.at_target("position", "link_target").await);
        assert!(target <= source, "{target} > {source}");

        let ran = world.product.run(&["apply"]).await.expect(0);
        assert!(ran.stdout.contains("generation 1"), "it goes on, it does not begin again: {}", ran.stdout);
        let ledger = writers.stop().await;
        world.settle(&ledger).await;
        live::assert_nothing_lost(&world.source, &world.target, &ledger).await;
    }
}
