//! The broker dies, forgets, or a stranger empties it, in the middle of a backfill under live writes: the run goes on by
//! itself. And a small stream carries far more than it can hold.

use std::time::Duration;

use async_nats::jetstream;

use crate::rig::{Engine, TABLES, World, shared_nats};
use crate::support::live;
use crate::support::{Nats, NatsVersion};

pub async fn stream_of(nats: &Nats, world: &World) -> jetstream::stream::Stream {
    let context = jetstream::new(nats.connect().await);
    context.get_stream(format!("MIGRATE_{}_forward", world.name)).await.expect("the stream")
}

/// Does something to the broker twice in the middle of the backfill, and lets the same run come to its end.
async fn goes_on_after(
    name: &str,
    version: NatsVersion,
    from: Engine,
    to: Engine,
    what: impl AsyncFn(&mut Nats, &World),
) {
    let mut nats = Nats::start(version);
    let world = World::new(name, from, to, Some(&nats), 400, TABLES).await;
    let writers = world.writers();
    let mut running = world.product.start(&["apply"]);
    for rows in [100, 350] {
        world.until_moved(&mut running, rows).await;
        what(&mut nats, &world).await;
    }
    assert!(world.moved().await < 800, "too late: the backfill was over");
    assert_eq!(running.wait().await, 0, "{}", running.stderr());
    let ledger = writers.stop().await;
    let ran = world.settle(&ledger).await;
    assert!(ran.stdout.contains("generation 1"), "the stores know enough to go on: {}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_the_broker_is_killed_and_restarted() {
    goes_on_after("nats-killed", NatsVersion::Current, Engine::Sqlite, Engine::Postgres, async |nats, _| {
        nats.kill9();
        tokio::time::sleep(Duration::from_millis(300)).await;
        nats.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_the_broker_has_lost_everything() {
    goes_on_after("nats-wiped", NatsVersion::Debian, Engine::Postgres, Engine::Postgres, async |nats, _| nats.wipe())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_a_stranger_purges_the_stream() {
    goes_on_after("nats-purged", NatsVersion::Current, Engine::Sqlite, Engine::Sqlite, async |nats, world| {
        stream_of(nats, world).await.purge().await.expect("purged");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_a_stranger_deletes_the_stream() {
    goes_on_after("nats-deleted", NatsVersion::Debian, Engine::Sqlite, Engine::Postgres, async |nats, world| {
        let context = jetstream::new(nats.connect().await);
        context.delete_stream(format!("MIGRATE_{}_forward", world.name)).await.expect("deleted");
    })
    .await;
}

/// Nobody is there when it starts: a clear failure that may be repeated, and nothing is lost by it.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_it_says_so_and_the_next_run_goes_on() {
    let mut nats = Nats::start(NatsVersion::Current);
    let world = World::new("nats-away", Engine::Sqlite, Engine::Sqlite, Some(&nats), 200, TABLES).await;
    world.product.run(&["apply", "--until", "dual-write"]).await.expect(0);
    nats.kill9();
    let writers = world.writers();
    let refused = world.product.run(&["apply"]).await.expect(1);
    assert!(refused.stderr.contains(&nats.port().to_string()), "it says where: {}", refused.stderr);
    assert!(refused.stderr.contains("hint:"), "{}", refused.stderr);
    nats.restart();
    world.finish().await;
    let ledger = writers.stop().await;
    world.settle(&ledger).await;
}

/// Twenty times what the stream may hold. What is confirmed is purged, so it never grows beyond its bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_stream_carries_twenty_times_its_bound() {
    const MIB: u64 = 1 << 20;
    let nats = shared_nats();
    let body = "create_tables: true\ntables:\n  - from: customers\n  - from: orders\n  - from: wide\n\
                backfill: { chunk_rows: 100, chunk_bytes: 200KiB }\nlease: { ttl: 1s }\n";
    let world = World::new("nats-small", Engine::Sqlite, Engine::Sqlite, Some(nats), 200, body).await;
    let text = std::fs::read_to_string(&world.product.plan).expect("the plan");
    let small = text.replace("events: { url: \"${EVENTS}\" }", "events: { url: \"${EVENTS}\", max_bytes: 1MiB }");
    assert_ne!(small, text);
    std::fs::write(&world.product.plan, small).expect("the plan");
    let fill = "CREATE TABLE wide (id INTEGER PRIMARY KEY, body BLOB NOT NULL); \
                INSERT INTO wide WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2100) \
                SELECT i, randomblob(10000) FROM n";
    world.source.exec(fill).await;

    let writers = world.writers();
    let mut running = world.product.start(&["apply"]);
    world.until_moved(&mut running, 100).await;
    let mut stream = stream_of(nats, &world).await;
    let (mut most, mut looks) = (0, 0);
    while running.is_running() {
        if let Ok(info) = stream.info().await {
            assert!(info.config.max_bytes as u64 <= MIB + 64 * 1024, "{:?}", info.config);
            (most, looks) = (most.max(info.state.bytes), looks + 1);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(running.wait().await, 0, "{}", running.stderr());
    println!("nats-small: at most {most} bytes in the stream at {looks} looks");
    assert!(most <= MIB + 64 * 1024, "{most}");
    let ledger = writers.stop().await;
    world.settle(&ledger).await;
    let sum = "SELECT CAST(count(*) || ' ' || sum(length(body)) || ' ' || hex(max(body)) AS TEXT) FROM wide";
    let (left, right) = (crate::rig::text(&world.source, sum).await, crate::rig::text(&world.target, sum).await);
    assert!(left.starts_with("2100 21000000 "));
    assert_eq!(left, right);
    live::assert_nothing_lost(&world.source, &world.target, &ledger).await;
}
