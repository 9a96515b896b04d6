//! Two histories that do not meet: a store restored from an older backup, or one that has forgotten us.

use std::time::Duration;

use crate::broker::stream_of;
use crate::rig::{Engine, TABLES, World, number, shared_nats};
use crate::support::live::{self, Ledger};
use crate::support::product::Copied;

/// The target comes back as it was at a third of the backfill.
async fn restored_target(name: &str, log_is_cut: bool) -> String {
    let rows = 600;
    let world = World::new(name, Engine::Sqlite, Engine::Sqlite, Some(shared_nats()), rows, TABLES).await;
    let writers = world.writers();
    let mut running = world.product.start(&["apply"]);
    world.until_moved(&mut running, 100).await;
    running.signal("TERM");
    assert_eq!(running.wait().await, 143, "{}", running.stderr());
    let backup = Copied::of(&world.target);
    let (has, moved) = (world.at_target("position", "link_target").await, world.moved().await);
    let mut running = world.product.start(&["apply"]);
    world.until_moved(&mut running, moved + 300).await;
    running.kill9();
    assert!(world.at_target("position", "link_target").await > has + 3, "nothing new is at the target");
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    if log_is_cut {
        // As after a thousand more entries.
        let log = world.control(&world.source, "log");
        world.source.exec(&format!("DELETE FROM {log} WHERE position <= {has} + 1")).await;
        // The killed run may not have come to purge them: the stream alone would do to go on from there.
        stream_of(shared_nats(), &world).await.purge().await.expect("purged");
    }
    backup.put_back();
    assert_eq!(world.at_target("position", "link_target").await, has);
    let ran = world.finish().await;
    let ledger = writers.stop().await;
    world.settle(&ledger).await;
    format!("{}{}", ran.stdout, ran.stderr)
}

/// The log still reaches back to what the target has: it goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_restored_from_a_young_backup_is_rewound_to() {
    let said = restored_target("fork-young", false).await;
    assert!(said.contains("of generation 1\n"), "{said}");
}

/// The log has been cut since.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_restored_from_an_old_backup_begins_a_generation() {
    let said = restored_target("fork-old", true).await;
    assert!(said.contains("of generation 2\n") && said.contains("generation 2 begins"), "{said}");
}

/// Rows that only the target has: of writes after the backup, below, between and far beyond the source's keys, more
/// than one comparison names.
async fn restored_source(name: &str, to: Engine, stale: i64) {
    let body = TABLES.replace("chunk_rows: 20", "chunk_rows: 200");
    let world = World::new(name, Engine::Sqlite, to, Some(shared_nats()), 400, &body).await;
    let writers = world.writers();
    world.finish().await;
    let ledger = writers.stop().await;
    world.finish().await;
    let backup = Copied::of(&world.source);

    let writers = world.writers_at(Duration::from_millis(5), world.seed + 1);
    let far = format!(
        "INSERT INTO customers WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {stale}) \
         SELECT 1000000 + i, 'stale', NULL, 1.5, '2024-01-01 00:00:00', TRUE, NULL, 1 FROM n"
    );
    world.source.exec(&far).await;
    world.finish().await;
    writers.stop().await;
    world.finish().await;
    assert_eq!(number(&world.target, "SELECT count(*) FROM customers WHERE id > 1000000").await, stale);

    backup.put_back();
    let ran = world.product.run(&["apply"]).await.expect(0);
    assert!(ran.stdout.contains("of generation 2\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("generation 2 begins"), "{}", ran.stderr);
    assert_eq!(number(&world.target, "SELECT count(*) FROM customers WHERE id > 1000000").await, 0);
    live::assert_nothing_lost(&world.source, &world.target, &ledger).await;
    // And it goes on as before.
    let writers = world.writers_at(Duration::from_millis(5), world.seed + 2);
    world.finish().await;
    let mut ledger = ledger;
    ledger.extend(writers.stop().await);
    world.settle(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_restored_from_a_backup_begins_a_generation() {
    restored_source("fork-source", Engine::Postgres, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_of_the_lost_future_vanish_from_the_target() {
    restored_source("fork-many", Engine::Sqlite, 11_000).await;
}

/// The control tables at the target are dropped or emptied. Its rows may be anybody's now, so nothing is touched until
/// the plan says that they may be replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_has_forgotten_us_is_not_touched_unasked() {
    for (engine, dropped) in [(Engine::Postgres, true), (Engine::Postgres, false), (Engine::Sqlite, true)] {
        let name = format!("forgot-{}-{dropped}", if engine == Engine::Sqlite { "s" } else { "p" });
        let world = World::new(&name, Engine::Sqlite, engine, None, 100, TABLES).await;
        let mut ledger = Ledger::new();
        let writers = world.writers();
        world.finish().await;
        ledger.extend(writers.stop().await);
        let verb = if dropped { "DROP TABLE" } else { "DELETE FROM" };
        for table in ["link_target", "verdict", "setting_target"] {
            world.target.exec(&format!("{verb} {}", world.control(&world.target, table))).await;
        }
        let stale = "INSERT INTO orders VALUES (7, 'stale', 1, 'x', 1)";
        world.target.exec(stale).await;
        let writers = world.writers_at(Duration::from_millis(5), world.seed + 1);
        let refused = world.product.run(&["apply"]).await;
        assert!([6, 65].contains(&refused.code), "{}: {}", refused.code, refused.stderr);
        assert!(refused.stderr.contains("on_existing: replace"), "{name}: the way out: {}", refused.stderr);

        let plan = std::fs::read_to_string(&world.product.plan).expect("the plan");
        std::fs::write(&world.product.plan, plan + "on_existing: replace\n").expect("the plan");
        world.finish().await;
        ledger.extend(writers.stop().await);
        world.settle(&ledger).await;
    }
}
