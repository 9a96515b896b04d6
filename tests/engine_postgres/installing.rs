//! Installing and removing: often repeated, never in a writer's way for longer than a short lock time-out, and without a
//! trace at the end.

use super::{Place, named};
use crate::support::{exec, query_text, try_exec};
use migrate::error::Kind;
use migrate::schema::NewTable;
use migrate::store::engine::{Engine, Mode};
use std::time::{Duration, Instant};

/// Every object with its rights and definition, as text.
const CATALOGUE: &str = "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
    SELECT concat_ws(' ', 'class', n.nspname, relname, relkind, relacl, reltriggers.n) FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace, LATERAL (SELECT count(*) AS n FROM pg_trigger WHERE tgrelid = c.oid) reltriggers
        WHERE n.nspname <> 'pg_toast'
    UNION ALL SELECT concat_ws(' ', 'column', attrelid::regclass, attname, atttypid, attacl) FROM pg_attribute WHERE attrelid >= 16384 AND attrelid::regclass::text NOT LIKE 'pg_toast%'
    UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', 'function', oid::regprocedure, proacl) FROM pg_proc
    UNION ALL SELECT concat_ws(' ', 'schema', nspname, nspacl) FROM pg_namespace
    UNION ALL SELECT concat_ws(' ', 'type', typname) FROM pg_type WHERE typname NOT LIKE 'pg_toast%') AS all_of_it(line)";

#[tokio::test]
async fn what_was_installed_twice_is_removed_without_a_trace() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE \"T \"\"2\" (k text, id int, PRIMARY KEY (k, id));
        CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)";
    let place = Place::new("trace", ddl).await;
    let before = query_text(&place.db.owner_url, CATALOGUE).await;
    let layout = place.layout(&"m".repeat(48), &["t", "T \"2", "p"]).await;
    place.install(&layout).await;
    let installed = query_text(&place.db.owner_url, CATALOGUE).await;
    assert_ne!(installed, before);
    place.install(&layout).await;
    assert_eq!(query_text(&place.db.owner_url, CATALOGUE).await, installed);
    exec(&place.db.app_url, "INSERT INTO t VALUES (1); INSERT INTO p VALUES (1)").await;
    // A migration beside it has its own.
    let other = place.layout("other", &["t"]).await;
    place.install(&other).await;
    let said = place.admin.remove(&layout.migration).await.unwrap();
    assert_eq!(said.len(), 5, "{said:?}");
    assert!(said[4].starts_with("schema _migrate_mmm"), "{said:?}");
    exec(&place.db.app_url, "INSERT INTO t VALUES (2)").await;
    assert!(place.admin.remove(&layout.migration).await.unwrap().is_empty());
    assert_eq!(query_text(&place.db.owner_url, "SELECT k1 FROM \"_migrate_other\".dirty_1").await.len(), 1);
    exec(&place.db.owner_url, "DROP TABLE p").await;
    place.admin.remove("other").await.unwrap();
    exec(
        &place.db.owner_url,
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
    )
    .await;
    assert_eq!(query_text(&place.db.owner_url, CATALOGUE).await, before);
}

#[tokio::test]
async fn what_someone_hung_on_to_our_tables_stops_the_removal() {
    let place = Place::new("hung", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let layout = place.layout("hung", &["t"]).await;
    place.install(&layout).await;
    exec(&place.db.owner_url, "CREATE VIEW peek AS SELECT * FROM \"_migrate_hung\".dirty_1").await;
    assert_eq!(place.admin.remove("hung").await.unwrap_err().kind, Kind::Gate);
    exec(&place.db.owner_url, "DROP VIEW peek").await;
    place.admin.remove("hung").await.unwrap();
}

/// A reader or writer that is slow to commit blocks DDL, and DDL that waits blocks all others: so it must not wait long.
#[tokio::test]
async fn installing_and_removing_never_hold_writers_up() {
    let place = Place::new("hold", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let layout = place.layout("hold", &["t"]).await;
    place.admin.create_home("hold", &place.db.run).await.unwrap();
    let mut slow = place.run.begin(Mode::Control).await.unwrap();
    place.run.script(&mut slow, "SELECT 1").await.unwrap();
    let mut writer = place.admin.begin(Mode::Control).await.unwrap();
    place.admin.script(&mut writer, "INSERT INTO t VALUES (1)").await.unwrap();

    let install = place.admin.capture(&layout, &layout.tables[0], &place.db.run);
    let writers = async {
        let mut longest = Duration::ZERO;
        for id in 100..130 {
            let begun = Instant::now();
            exec(&place.db.app_url, &format!("INSERT INTO t VALUES ({id})")).await;
            longest = longest.max(begun.elapsed());
        }
        longest
    };
    let (outcome, longest) = tokio::join!(install, writers);
    assert!(outcome.as_ref().is_err_and(|e| e.is_retry()), "{outcome:?}");
    // One of them did wait.
    assert!(longest > Duration::from_millis(150) && longest < Duration::from_millis(600), "{longest:?}");
    place.admin.commit(writer).await.unwrap();
    place.admin.capture(&layout, &layout.tables[0], &place.db.run).await.unwrap();

    // DROP TRIGGER takes the strongest lock: even a reader stands against it.
    place.run.script(&mut slow, "SELECT count(*) FROM t").await.unwrap();
    let begun = Instant::now();
    assert!(place.admin.remove("hold").await.unwrap_err().is_retry());
    assert!(begun.elapsed() < Duration::from_millis(1_000));
    exec(&place.db.app_url, "INSERT INTO t VALUES (99)").await;
    drop(slow);
    let mut tries = 0;
    while let Err(e) = place.admin.remove("hold").await {
        assert!(e.is_retry() && tries < 20, "{e}");
        tries += 1;
    }
}

#[tokio::test]
async fn self_references_are_relaxed_and_restored() {
    let ddl =
        "CREATE TABLE t (id int PRIMARY KEY, up int CONSTRAINT \"up \"\"1\" REFERENCES t ON DELETE CASCADE DEFERRABLE,
            other int, side int); ALTER TABLE t ADD FOREIGN KEY (other) REFERENCES t NOT VALID;
        CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t)";
    let place = Place::new("relax", ddl).await;
    let constraints = "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated::text FROM pg_constraint ORDER BY 1, 2";
    let public = |rows: Vec<Vec<Option<String>>>| -> Vec<_> {
        rows.into_iter().filter(|r| !r[0].as_deref().unwrap().contains("_migrate")).collect()
    };
    let after = || query_text(&place.db.owner_url, constraints);
    let before = after().await;
    let layout = place.layout("relax", &["t", "u"]).await;
    place.admin.create_home("relax", &place.db.run).await.unwrap();
    let statements = place.admin.relax(&layout).await.unwrap();
    assert_eq!(statements.len(), 3, "{statements:?}");
    // As after a crash: what is relaxed already is told again.
    assert_eq!(place.admin.relax(&layout).await.unwrap(), statements);
    exec(&place.db.app_url, "INSERT INTO t VALUES (1, 2)").await;
    assert_eq!(public(after().await).len(), before.len() - 2);

    let error = place.admin.restore(&statements).await.unwrap_err();
    assert!(error.kind == Kind::GiveUp && error.message().contains("up \"1"), "{error}");
    exec(&place.db.app_url, "INSERT INTO t VALUES (2, NULL)").await;
    place.admin.restore(&statements).await.unwrap();
    place.admin.restore(&statements).await.unwrap();
    assert_eq!(public(after().await), before);
    // An abort while they are relaxed restores them too.
    place.admin.relax(&layout).await.unwrap();
    place.admin.remove("relax").await.unwrap();
    assert_eq!(after().await, before);
}

#[tokio::test]
async fn tables_are_created_with_rights_and_dropped() {
    let ddl = "CREATE TABLE src (id bigint, code varchar(7) COLLATE \"C\" NOT NULL, note text, PRIMARY KEY (code, id))";
    let place = Place::new("create", ddl).await;
    let source = place.describe("src").await;
    let name = named("we\"ird copy");
    let new = NewTable::plain(name.clone(), source.columns.clone(), source.primary_key.clone());
    for _ in 0..2 {
        place.admin.create_table(&new, &place.db.run).await.unwrap();
    }
    let made = place.run.describe(&name).await.unwrap().unwrap();
    assert_eq!((made.columns, made.primary_key), (source.columns, source.primary_key));
    exec(&place.db.run_url, "INSERT INTO \"we\"\"ird copy\" VALUES (1, 'a'); DELETE FROM \"we\"\"ird copy\"").await;
    assert!(try_exec(&place.db.run_url, "DROP TABLE \"we\"\"ird copy\"").await.is_err());
    for _ in 0..2 {
        place.admin.drop_table(&name).await.unwrap();
    }
    assert!(place.run.describe(&name).await.unwrap().is_none());
    assert_eq!(place.run.who().await.unwrap(), place.db.run);
    let denied = place.run.create_home("create", &place.db.run).await.unwrap_err();
    assert_eq!(denied.kind, Kind::Gate);
}
