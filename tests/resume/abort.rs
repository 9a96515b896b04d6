//! `abort` in every state leaves both catalogues as they were, may be repeated, and disturbs nobody who runs.

use std::time::Duration;

use crate::rig::{Engine, TABLES, World, postgres_in, shared_nats};
use crate::support::Postgres;
use crate::support::sql::TextRow;

type Catalogues = (Vec<TextRow>, Vec<TextRow>);

async fn catalogues(world: &World) -> Catalogues {
    (world.source.catalogue().await, world.target.catalogue().await)
}

/// Twice, since a script may; and the application's data is as it was.
async fn abort_leaves_nothing(world: &World, before: &Catalogues) {
    world.finish_with(&["abort", "--drop-created"]).await.expect(0);
    assert_eq!(world.source.catalogue().await, before.0, "{}: the source's catalogue", world.name);
    assert_eq!(world.target.catalogue().await, before.1, "{}: the target's catalogue", world.name);
    let again = world.product.run(&["abort", "--drop-created"]).await.expect(0);
    assert!(again.stdout.contains("nothing to remove"), "{}", again.stdout);
}

async fn in_every_state(name: &str, from: Engine, to: Engine) {
    let world = World::new(name, from, to, Some(shared_nats()), 300, TABLES).await;
    let before = catalogues(&world).await;
    abort_leaves_nothing(&world, &before).await; // nothing was begun

    world.product.run(&["apply", "--until", "dual-write"]).await.expect(0);
    let writers = world.writers();
    abort_leaves_nothing(&world, &before).await;

    let mut running = world.product.start(&["apply"]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.kill9();
    abort_leaves_nothing(&world, &before).await; // maybe half-way in dual-write

    let mut running = world.product.start(&["apply"]);
    world.until_moved(&mut running, 60).await;
    running.kill9();
    abort_leaves_nothing(&world, &before).await;

    let mut running = world.product.start(&["apply"]);
    world.until_moved(&mut running, 60).await;
    let held = world.second(Some(shared_nats())).run(&["abort"]).await.expect(5);
    assert!(held.stderr.contains("holds the migration since"), "{}", held.stderr);
    assert_eq!(running.wait().await, 0, "it was disturbed: {}", running.stderr());
    let ledger = writers.stop().await;
    world.settle(&ledger).await;
    abort_leaves_nothing(&world, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_as_before_after_abort() {
    in_every_state("abort-s-p", Engine::Sqlite, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_as_before_after_abort() {
    in_every_state("abort-p-s", Engine::Postgres, Engine::Sqlite).await;
}

/// The other store is away: each side is cleaned when it is there, and a failed attempt locks nobody out.
#[tokio::test(flavor = "multi_thread")]
async fn each_side_by_itself() {
    let (mut server, dir) = (Postgres::start(), tempfile::tempdir().expect("a directory"));
    let (here, there) = (postgres_in(Postgres::shared(), "side-here").await, postgres_in(&server, "side-there").await);
    for (away, this, other, side, rest) in
        [("target", &here, &there, "source", "target"), ("source", &there, &here, "target", "source")]
    // `there` is away
    {
        let name = format!("abort-{away}-away");
        let dir = tempfile::tempdir_in(dir.path()).expect("a directory");
        let world = World::of(&name, this.clone(), other.clone(), None, 100, TABLES, dir).await;
        let before = catalogues(&world).await;
        world.finish().await;
        server.stop();
        let failed = world.product.run(&["abort", "--drop-created"]).await.expect(1);
        assert!(failed.stderr.contains(&format!("the {away}")), "which store is away? {}", failed.stderr);
        assert!(failed.stderr.contains("--side"), "the way out: {}", failed.stderr);
        world.product.run(&["abort", "--side", side, "--drop-created"]).await.expect(0);
        server.restart();
        world.product.run(&["abort", "--side", rest, "--drop-created"]).await.expect(0);
        assert_eq!(catalogues(&world).await, before, "{name}");
        for place in [this, other] {
            place.exec("DROP TABLE IF EXISTS customers; DROP TABLE IF EXISTS orders").await;
        }
    }
}
