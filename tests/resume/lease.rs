//! Who may run: one holder at a time, a dead one is taken over after its lease and not before, and one that wakes up
//! after that does nothing more.

use std::time::{Duration, Instant};

use rand::Rng;

use crate::rig::{Engine, TABLES, World, seeded, shared_nats, text};
use crate::support::product::{Product, Running};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_is_told_who_holds_it_since_when() {
    let world = World::new("lease-second", Engine::Sqlite, Engine::Sqlite, None, 100, TABLES).await;
    let mut host = world.product.start(&["apply", "--follow"]);
    host.says("follow").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let second = world.second(None);
    for args in [&["apply"][..], &["apply", "--follow"], &["apply", "--until", "dual-write"], &["abort"]] {
        let refused = second.run(args).await.expect(5);
        let pid = format!("pid {}", host_pid(&world).await);
        assert!(refused.stderr.contains(&pid), "{args:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("holds the migration since"), "{args:?}: {}", refused.stderr);
        assert!(!refused.stderr.contains("since 0 s"), "{args:?}: {}", refused.stderr);
    }
    assert!(host.is_running(), "{}", host.stderr());
    host.signal("TERM");
    assert_eq!(host.wait().await, 143);
}

async fn host_pid(world: &World) -> String {
    let holder =
        crate::rig::text(&world.source, &format!("SELECT holder FROM {}", world.control(&world.source, "link_source")))
            .await;
    holder.split("pid ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a pid").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_holder_is_taken_over_after_its_lease_and_not_before() {
    let body = TABLES.replace("ttl: 1s", "ttl: 2s");
    let world = World::new("lease-dead", Engine::Sqlite, Engine::Postgres, Some(shared_nats()), 400, &body).await;
    let writers = world.writers();
    let mut host = world.product.start(&["apply", "--follow"]);
    world.until_moved(&mut host, 100).await;
    host.kill9();
    let (dead, expires) = (host_pid(&world).await, world.at_source("expires_ms", "link_source").await);

    let begun = Instant::now();
    let mut refused = 0;
    let mut heir = loop {
        let mut heir = world.product.start(&["apply", "--follow"]);
        while heir.is_running() && !heir.stderr().contains("follow") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if heir.is_running() {
            break heir;
        }
        assert_eq!(heir.wait().await, 5, "{}", heir.stderr());
        assert!(heir.stderr().contains(&format!("pid {dead} ")), "{}", heir.stderr());
        refused += 1;
        assert!(begun.elapsed() < Duration::from_secs(20), "never taken over: {}", heir.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(refused > 0, "nobody was refused before the lease expired");
    let since = world.at_source("since_ms", "link_source").await;
    assert!(since >= expires, "taken over {} ms before the lease expired", expires - since);
    assert!(since < expires + 5_000, "taken over {} ms after the lease expired", since - expires);
    let ledger = writers.stop().await;
    heir.signal("TERM");
    assert_eq!(heir.wait().await, 143);
    world.settle(&ledger).await;
}

/// Who holds the source's lease, and the target's.
async fn holders(world: &World) -> [String; 2] {
    let of = |place, table| format!("SELECT coalesce(holder, '') FROM {}", world.control(place, table));
    let source = text(&world.source, &of(&world.source, "link_source")).await;
    [source, text(&world.target, &of(&world.target, "link_target")).await]
}

/// Starts another one until it holds both leases.
async fn heir_of(world: &World, product: &Product, before: &[String; 2]) -> Running {
    let begun = Instant::now();
    let mut said = Vec::new();
    loop {
        let mut heir = product.start(&["apply", "--follow"]);
        while heir.is_running() {
            let now = holders(world).await;
            if now[0] == now[1] && now[0] != before[0] && !now[0].is_empty() {
                return heir;
            }
            let late = begun.elapsed() > Duration::from_secs(40);
            assert!(!late, "nobody takes over: {now:?} after {before:?}, {} after {said:#?}", heir.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A sleeper may hold a lock, too: then it fails in passing.
        assert!([1, 5].contains(&heir.wait().await), "{}", heir.stderr());
        said.push((begun.elapsed(), heir.stderr()));
    }
}

/// It sleeps at a random moment, maybe with a transaction open or entries on their way, and wakes when another has
/// gone on. What it writes then must have no effect, at the source, on the stream and at the target.
#[tokio::test(flavor = "multi_thread")]
async fn a_sleeper_that_wakes_after_its_lease_writes_nothing_more() {
    let (_, mut rng) = seeded("sleeper");
    let nats = Some(shared_nats());
    let world = World::new("lease-sleeper", Engine::Postgres, Engine::Postgres, nats, 400, TABLES).await;
    let writers = world.writers();
    let (left, right) = (&world.product, world.second(nats));
    let mut sleeper = left.start(&["apply", "--follow"]);
    world.until_moved(&mut sleeper, 40).await;
    for round in 0..3 {
        let next = if round % 2 == 0 { &right } else { left };
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
        sleeper.signal("STOP");
        let before = holders(&world).await;
        let mut heir = heir_of(&world, next, &before).await;
        sleeper.signal("CONT");
        // Its lease is lost, or the first thing that it notices is that its session was ended.
        assert!([1, 5].contains(&sleeper.wait().await), "round {round}: {}", sleeper.stderr());
        let now = holders(&world).await;
        assert!(now.iter().zip(&before).all(|(now, before)| now != before), "the sleeper took it back: {now:?}");
        assert!(heir.is_running(), "the sleeper has disturbed its heir: {}", heir.stderr());
        sleeper = heir;
    }
    let ledger = writers.stop().await;
    sleeper.signal("TERM");
    assert_eq!(sleeper.wait().await, 143, "{}", sleeper.stderr());
    let ran = world.settle(&ledger).await;
    assert!(ran.stdout.contains("generation 1"), "{}", ran.stdout);
}

/// A comparison is one transaction, which may take many times as long as the lease runs, and has the lease's row locked.
/// Here each row takes 40 ms.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_comparison_keeps_its_lease() {
    let body = TABLES.replace(
        "from: customers\n",
        "from: customers\n    columns: { id: id, email: email, name: { sql: \"slow(name)\" }, balance: balance, version: version }\n    skip: [created, active, photo]\n",
    );
    let (nats, engine) = (Some(shared_nats()), Engine::Postgres);
    let world = World::new("lease-long", engine, engine, nats, 100, &body.replace("rows: 20", "rows: 1000")).await;
    let slow = "CREATE FUNCTION slow(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS \
        'BEGIN PERFORM pg_sleep(0.04); RETURN t; END'";
    world.source.exec(slow).await;
    let mut host = world.product.start(&["apply", "--follow"]);
    host.says("follow").await;
    let (other, mut asker, mut tries) = (world.second(nats), world.product.start(&["verify"]), 0);
    while asker.is_running() {
        let refused = other.run(&["apply"]).await;
        assert!(refused.code == 5, "{}{}{}", refused.stdout, refused.stderr, host.stderr());
        tries += 1;
    }
    assert!(tries > 5, "{tries} tries only");
    assert_eq!(asker.wait().await, 0, "{}", asker.stderr());
    assert!(host.is_running() && !host.stderr().contains("begins again"), "{}", host.stderr());
    host.signal("TERM");
    assert_eq!(host.wait().await, 143);
}
