//! Somebody touches capture: a trigger is dropped, disabled and enabled again, a table altered, between runs and during
//! one. It is always seen, and writes that were not captured meanwhile arrive all the same.

use std::time::Duration;

use crate::rig::{Engine, TABLES, World, text};
use crate::support::product::Place;
use crate::support::{Nats, NatsVersion};

/// Changes that nothing records, if capture is off: all sorts.
const UNCAPTURED: &str = "UPDATE customers SET name = 'unseen' WHERE id < 800; \
    DELETE FROM customers WHERE id >= 800 AND id < 1600; DELETE FROM orders WHERE customer < 400; \
    INSERT INTO orders VALUES (5, 'unseen', 1, 'x', 1);";

/// SQL that switches capture off, as a person would for a big load, and the way back to the very same.
async fn off_and_on(world: &World) -> (String, String) {
    let collect = |what: &str, rest: &str| format!("SELECT {what} FROM {rest}");
    let (off, on) = match &world.source {
        Place::Postgres(_) => {
            let each = |verb| {
                format!("string_agg(format('ALTER TABLE %s {verb} TRIGGER %I;', tgrelid::regclass, tgname), ' ')")
            };
            let ours = "pg_trigger WHERE NOT tgisinternal";
            (collect(&each("DISABLE"), ours), collect(&each("ENABLE ALWAYS"), ours))
        }
        Place::MariaDb(_) => {
            let make = "concat('CREATE TRIGGER `', TRIGGER_NAME, '` AFTER ', EVENT_MANIPULATION, ' ON ', EVENT_OBJECT_TABLE, \
                        ' FOR EACH ROW ', ACTION_STATEMENT, ';')";
            let each = |what: &str| format!("group_concat({what} SEPARATOR '')");
            let ours = "information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()";
            (collect(&each("concat('DROP TRIGGER `', TRIGGER_NAME, '`;')"), ours), collect(&each(make), ours))
        }
        Place::Sqlite(_) => {
            let ours =
                "(SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'orders' ORDER BY rowid)";
            (
                collect("group_concat('DROP TRIGGER \"' || name || '\"; ', '')", ours),
                collect("group_concat(sql || '; ', '')", ours),
            )
        }
    };
    (text(&world.source, &off).await, text(&world.source, &on).await)
}

/// Off, writes, and on again exactly as it was, while nothing runs.
async fn off_and_on_between_runs(name: &str, from: Engine) {
    let world = World::new(name, from, Engine::Sqlite, None, 150, TABLES).await;
    world.finish().await;
    let (off, on) = off_and_on(&world).await;
    world.source.exec(&off).await;
    world.source.exec(UNCAPTURED).await;
    world.source.exec(&on).await;
    let writers = world.writers();
    let ran = world.finish().await;
    assert!(ran.stderr.contains("capture") && ran.stderr.contains("generation 2 begins"), "{}", ran.stderr);
    let ledger = writers.stop().await;
    world.settle(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_triggers_dropped_and_made_again_between_runs() {
    off_and_on_between_runs("touch-s", Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_triggers_disabled_and_enabled_between_runs() {
    off_and_on_between_runs("touch-p", Engine::Postgres).await;
}

/// A run that is there when it happens ends with 6; the next one copies anew.
async fn off_during_a_run(name: &str, from: Engine) {
    let world = World::new(name, from, Engine::Postgres, None, 150, TABLES).await;
    let mut host = world.product.start(&["apply", "--follow"]);
    host.says("follow").await;
    let (off, _) = off_and_on(&world).await;
    world.source.exec(&off).await;
    world.source.exec(UNCAPTURED).await;
    world.source.exec("UPDATE customers SET name = 'seen' WHERE id = 2000").await;
    if from == Engine::Postgres {
        // Capture is off for both tables, so nothing is dirty: it must be seen without that.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(host.wait().await, 6, "{}", host.stderr());
    assert!(host.stderr().contains("capture at the source is not as it was installed"), "{}", host.stderr());
    let writers = world.writers();
    let ran = world.finish().await;
    assert!(ran.stdout.contains("generation 2"), "{}", ran.stdout);
    let ledger = writers.stop().await;
    world.settle(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_triggers_dropped_during_a_run() {
    off_during_a_run("touch-s-run", Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_triggers_disabled_during_a_run() {
    off_during_a_run("touch-p-run", Engine::Postgres).await;
}

/// Capture is made again, and then the process dies, or can't go on, before the new generation has begun.
#[tokio::test(flavor = "multi_thread")]
async fn that_something_was_missed_is_not_forgotten_by_a_crash() {
    let mut nats = Nats::start(NatsVersion::Current);
    let world = World::new("touch-crash", Engine::Sqlite, Engine::Sqlite, Some(&nats), 150, TABLES).await;
    world.finish().await;
    let (off, _) = off_and_on(&world).await;
    world.source.exec(&off).await;
    world.source.exec(UNCAPTURED).await;
    nats.kill9();
    world.product.run(&["apply"]).await.expect(1);
    nats.restart();
    let ran = world.finish_with(&["apply"]).await.expect(0);
    assert!(ran.stderr.contains("generation 2 begins"), "{}", ran.stderr);
    world.settle(&Default::default()).await;
}

/// A column comes and goes: refused with 6 while it is there, and all is copied anew when it is gone, or left out.
async fn altered(name: &str, from: Engine) {
    let world = World::new(name, from, Engine::Sqlite, None, 150, TABLES).await;
    world.finish().await;
    world.source.exec("ALTER TABLE orders ADD COLUMN extra INTEGER").await;
    let refused = world.product.run(&["apply"]).await.expect(6);
    assert!(
        refused.stderr.contains("\"extra\"") && refused.stderr.contains("hint: when this migration began"),
        "{}",
        refused.stderr
    );
    world.source.exec("ALTER TABLE orders DROP COLUMN extra").await;
    let writers = world.writers();
    let mut host = world.product.start(&["apply", "--follow"]);
    host.says("follow").await;
    let ledger = writers.stop().await;
    world.source.exec("ALTER TABLE orders ADD COLUMN extra INTEGER DEFAULT 5").await;
    world.source.exec("UPDATE orders SET note = 'altered' WHERE customer < 400").await;
    assert_eq!(host.wait().await, 6, "{}", host.stderr());
    let plan = std::fs::read_to_string(&world.product.plan).expect("the plan");
    let skipping = plan.replace("  - from: orders\n", "  - from: orders\n    skip: [extra]\n");
    std::fs::write(&world.product.plan, skipping).expect("the plan");
    world.settle(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_table_is_altered() {
    altered("alter-s", Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_table_is_altered() {
    altered("alter-p", Engine::Postgres).await;
}
