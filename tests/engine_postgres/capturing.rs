//! Capture marks exactly the keys that committed changes touched, whoever made them and however; sealing takes exactly
//! what its snapshot shows; and whatever makes capture untrustworthy changes its fingerprint.

use super::{Place, collect, number};
use crate::support::applier::is_left_alone;
use crate::support::{exec, query_text, try_exec};
use migrate::mapping::Layout;
use migrate::store::engine::{Engine, Mode, Statement};
use migrate::value::Value;

/// Text keys of dirty_1, in order, after which it is empty.
async fn taken(place: &Place, migration: &str) -> Vec<String> {
    let dirty = place.run.control(migration, "dirty_1");
    let mut tx = place.run.begin(Mode::Control).await.unwrap();
    let rows = collect(&place.run, &mut tx, &format!("SELECT k1::text FROM {dirty} ORDER BY seq"), &[]).await.unwrap();
    let sql = format!("DELETE FROM {dirty}");
    place.run.execute(&mut tx, &Statement { sql, args: vec![] }).await.unwrap();
    place.run.commit(tx).await.unwrap();
    let text = |v: &Value| match v {
        Value::Text(t) => t.clone(),
        other => panic!("{other:?}"),
    };
    rows.iter().map(|r| text(&r[0])).collect()
}

async fn with_capture(hint: &str, ddl: &str) -> (Place, Layout) {
    let place = Place::new(hint, ddl).await;
    let layout = place.layout(hint, &["t"]).await;
    place.install(&layout).await;
    (place, layout)
}

#[tokio::test]
async fn each_sort_of_write_marks_its_keys() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE); INSERT INTO t VALUES (0, 'before')";
    let (place, _) = with_capture("events", ddl).await;
    let super_url = place.db.superuser_url.clone();
    let app = &place.db.app_url;
    for (sql, keys) in [
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "1 2"),
        ("UPDATE t SET v = 'c' WHERE id = 1", "1"),
        ("UPDATE t SET v = v WHERE id = 1", "1"),
        ("UPDATE t SET id = 3 WHERE id = 2", "2 3"),
        ("DELETE FROM t WHERE id = 3", "3"),
        ("INSERT INTO t VALUES (1, 'x') ON CONFLICT DO NOTHING", ""),
        ("INSERT INTO t VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET v = 'y'", "1"),
        ("BEGIN; INSERT INTO t VALUES (5); SAVEPOINT s; INSERT INTO t VALUES (6); ROLLBACK TO s; COMMIT", "5"),
        ("BEGIN; INSERT INTO t VALUES (7); ROLLBACK", ""),
        (
            "MERGE INTO t USING (VALUES (0), (9)) n(id) ON t.id = n.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (n.id)",
            "0 9",
        ),
        ("CREATE TEMP TABLE n AS SELECT 20 AS id; INSERT INTO t(id) SELECT id FROM n", "20"),
    ] {
        // The application may not make temporary tables here.
        let url = if sql.starts_with("CREATE TEMP") { &super_url } else { app };
        exec(url, sql).await;
        assert_eq!(taken(&place, "events").await.join(" "), keys, "{sql}");
    }
    // As a replica or a logical apply worker writes.
    exec(
        &super_url,
        "SET session_replication_role = replica; UPDATE t SET v = 'r' WHERE id = 1; DELETE FROM t WHERE id = 5",
    )
    .await;
    assert_eq!(taken(&place, "events").await.join(" "), "1 5");
    let file = place.db.name.clone();
    exec(&super_url, &format!("COPY (SELECT 30, 'copy') TO '/tmp/{file}.copy'; COPY t FROM '/tmp/{file}.copy'; "))
        .await;
    std::fs::remove_file(format!("/tmp/{file}.copy")).unwrap();
    assert_eq!(taken(&place, "events").await.join(" "), "30");
}

#[tokio::test]
async fn the_application_needs_no_rights_and_cannot_touch_what_is_ours() {
    let (place, _) = with_capture("rights", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let home = "\"_migrate_rights\"";
    for sql in [format!("SELECT * FROM {home}.dirty_1"), format!("DELETE FROM {home}.dirty_1")] {
        assert!(try_exec(&place.db.app_url, &sql).await.is_err(), "{sql}");
    }
    // A schema in front of the search path doesn't lead the trigger astray.
    let hostile =
        "CREATE SCHEMA evil; CREATE FUNCTION evil.nextval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 1/0';";
    exec(
        &place.db.owner_url,
        &format!("{hostile} SET search_path = evil, pg_catalog, public; INSERT INTO t VALUES (1)"),
    )
    .await;
    assert_eq!(taken(&place, "rights").await, ["1"]);
}

#[tokio::test]
async fn keys_are_compared_by_their_bytes_and_named_as_they_like() {
    let ddl = "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE t (\"ke\"\"y $migrate$ 'x' \\\" text COLLATE ci PRIMARY KEY, \"NEW\" int)";
    let (place, layout) = with_capture("bytes", ddl).await;
    let key = "\"ke\"\"y $migrate$ 'x' \\\"";
    assert_eq!(layout.tables[0].source_key[0].collation.as_deref(), Some("public.ci"));
    exec(&place.db.app_url, &format!("INSERT INTO t VALUES ('A', 1); UPDATE t SET {key} = 'a'")).await;
    assert_eq!(taken(&place, "bytes").await, ["A", "A", "a"]);
    assert!(place.describe("t").await.columns.iter().all(|c| c.name == "NEW" || !c.binary_order));
}

#[tokio::test]
async fn composite_keys_and_partitions_are_captured() {
    let ddl = "CREATE TABLE t (k text, region int, v int, PRIMARY KEY (region, k)) PARTITION BY LIST (region);
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)";
    let (place, _) = with_capture("parts", ddl).await;
    exec(
        &place.db.app_url,
        "INSERT INTO t VALUES ('a', 1); INSERT INTO t1 VALUES ('b', 1); UPDATE t SET region = 2 WHERE k = 'a'",
    )
    .await;
    let rows = query_text(&place.db.owner_url, "SELECT k1 || k2 FROM \"_migrate_parts\".dirty_1 ORDER BY seq").await;
    let keys: Vec<_> = rows.iter().map(|r| r[0].as_deref().unwrap()).collect();
    assert_eq!(keys, ["1a", "1b", "1a", "2a"]);
    for table in ["t", "t1"] {
        let refused = try_exec(&place.db.owner_url, &format!("TRUNCATE {table}")).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "MG001", "{table}");
    }
}

#[tokio::test]
async fn truncate_is_refused_with_a_way_out() {
    let (place, _) =
        with_capture("truncate", "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int REFERENCES t)").await;
    for sql in ["TRUNCATE t, u", "SET session_replication_role = replica; TRUNCATE t CASCADE"] {
        let refused = try_exec(&place.db.superuser_url, sql).await.unwrap_err();
        let refused = refused.as_database_error().unwrap();
        assert_eq!(refused.code().unwrap(), "MG001");
        assert!(refused.message().contains("public.t is being migrated"), "{refused}");
    }
}

/// A trigger of theirs that sorts before ours and writes the row again: images would come in the wrong order, and a
/// key is a key.
#[tokio::test]
async fn what_the_applications_own_triggers_write_is_marked() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE u (id int PRIMARY KEY);
        CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN
            IF NEW.n < 3 THEN UPDATE t SET n = n + 1 WHERE id = NEW.id; END IF; RETURN NULL; END$$;
        CREATE FUNCTION beside() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN
            INSERT INTO t VALUES (OLD.id + 100, 9); RETURN NULL; END$$;
        CREATE TRIGGER \"AAA\" AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION again();
        CREATE TRIGGER zzz AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION beside()";
    let (place, _) = with_capture("theirs", ddl).await;
    exec(&place.db.app_url, "INSERT INTO t VALUES (1, 0)").await;
    assert_eq!(taken(&place, "theirs").await.join(" "), "1 1 1 1");
    exec(&place.db.app_url, "DELETE FROM t WHERE id = 1").await;
    assert_eq!(taken(&place, "theirs").await.join(" "), "1 101");
}

/// A prepared transaction is nobody's session, and its keys are invisible until it is committed: then they are there.
#[tokio::test]
async fn a_prepared_transaction_is_marked_when_it_commits() {
    let (place, layout) = with_capture("twophase", "CREATE TABLE t (id int PRIMARY KEY)").await;
    exec(&place.db.app_url, "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'twophase-a'").await;
    exec(&place.db.app_url, "INSERT INTO t VALUES (2)").await;
    assert_eq!(taken(&place, "twophase").await, ["2"]);
    let seal = place.run.begin(Mode::Seal(&layout)).await.unwrap();
    exec(&place.db.app_url, "COMMIT PREPARED 'twophase-a'").await;
    place.run.commit(seal).await.unwrap();
    assert_eq!(taken(&place, "twophase").await, ["1"]);
    exec(&place.db.app_url, "BEGIN; DELETE FROM t; PREPARE TRANSACTION 'twophase-b'").await;
    exec(&place.db.app_url, "ROLLBACK PREPARED 'twophase-b'").await;
    assert!(taken(&place, "twophase").await.is_empty());
}

#[tokio::test]
async fn what_the_applier_writes_is_left_alone_and_nothing_else() {
    let (place, ours) = with_capture("loops", "CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    place.db.grant_target_rights().await;
    let other = place.layout("other", &["t"]).await;
    place.install(&other).await;
    is_left_alone(&place.run, &ours, &other).await;
    // Whoever else says that he is the applier is not.
    taken(&place, "loops").await;
    exec(&place.db.app_url, "SET migrate.applier = 'loops'; INSERT INTO t VALUES (9000)").await;
    exec(&place.db.app_url, "BEGIN; SET LOCAL migrate.applier = 'loops'; INSERT INTO t VALUES (9001); COMMIT").await;
    assert_eq!(taken(&place, "loops").await, ["9000", "9001"]);
}

/// A sequence's order is no commit order: what commits late with a lower number is neither read nor deleted.
#[tokio::test]
async fn a_seal_takes_exactly_what_its_snapshot_shows() {
    let (place, layout) = with_capture("late", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let (admin, run) = (&place.admin, &place.run);
    let mut late = admin.begin(Mode::Control).await.unwrap();
    admin.script(&mut late, "INSERT INTO t VALUES (1)").await.unwrap();
    exec(&place.db.app_url, "INSERT INTO t VALUES (2)").await;
    let mut seal = run.begin(Mode::Seal(&layout)).await.unwrap();
    let dirty = run.control("late", "dirty_1");
    assert_eq!(number(run, &mut seal, &format!("SELECT count(*) FROM {dirty}")).await, 1);
    admin.commit(late).await.unwrap();
    let sql = format!("DELETE FROM {dirty} WHERE seq <= (SELECT max(seq) FROM {dirty})");
    assert_eq!(run.execute(&mut seal, &Statement { sql, args: vec![] }).await.unwrap(), 1);
    assert_eq!(number(run, &mut seal, "SELECT count(*) FROM t").await, 1);
    run.commit(seal).await.unwrap();
    assert_eq!(taken(&place, "late").await, ["1"]);
}

/// The locks come before the snapshot: what committed while we waited for them is seen, and no rewrite comes between.
#[tokio::test]
async fn the_snapshot_is_taken_behind_the_locks() {
    let place = Place::new("order", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let layout = place.layout("order", &["t"]).await;
    let mut seal = place.run.begin(Mode::Seal(&layout)).await.unwrap();
    for sql in ["TRUNCATE t", "ALTER TABLE t ADD COLUMN v int DEFAULT random()"] {
        let blocked = try_exec(&place.db.owner_url, &format!("SET lock_timeout = '100ms'; {sql}")).await.unwrap_err();
        assert_eq!(blocked.as_database_error().unwrap().code().unwrap(), "55P03", "{sql}");
    }
    exec(&place.db.app_url, "INSERT INTO t VALUES (2)").await;
    assert_eq!(number(&place.run, &mut seal, "SELECT count(*) FROM t").await, 2);
    exec(&place.db.app_url, "INSERT INTO t VALUES (3)").await;
    assert_eq!(number(&place.run, &mut seal, "SELECT count(*) FROM t").await, 2);
}

#[tokio::test]
async fn the_fingerprint_sees_what_matters_and_only_that() {
    let ddl = "CREATE TABLE t (id int, r int, v varchar(9), PRIMARY KEY (id, r)) PARTITION BY LIST (r);
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t3 (LIKE t INCLUDING ALL)";
    let (place, layout) = with_capture("print", ddl).await;
    let (owner, trigger) = (&place.db.owner_url, "\"_migrate_print\"");
    let mut last = place.fingerprint(&layout).await;
    assert_eq!(last.len(), 32);
    for same in [
        "INSERT INTO t VALUES (1, 1, 'x')",
        "ANALYZE t",
        "VACUUM FULL t",
        "VACUUM FREEZE t",
        "CREATE INDEX i ON t (v)",
        "CREATE TABLE unrelated (id int)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (id > -5)",
    ] {
        exec(owner, same).await;
        assert_eq!(place.fingerprint(&layout).await, last, "{same}");
    }
    place.install(&layout).await;
    assert_eq!(place.fingerprint(&layout).await, last, "installing again");
    exec(&place.db.superuser_url, "VACUUM FULL pg_trigger").await;
    exec(&place.db.superuser_url, "VACUUM FREEZE pg_proc").await;
    assert_eq!(place.fingerprint(&layout).await, last, "vacuum of the catalogue");
    for change in [
        format!("ALTER TABLE t DISABLE TRIGGER {trigger}; ALTER TABLE t ENABLE ALWAYS TRIGGER {trigger}"),
        format!("ALTER TABLE t1 DISABLE TRIGGER {trigger}; ALTER TABLE t1 ENABLE ALWAYS TRIGGER {trigger}"),
        format!("ALTER TABLE t ENABLE TRIGGER {trigger}"),
        "ALTER TABLE t ADD COLUMN w int".to_owned(),
        "ALTER TABLE t ALTER COLUMN v TYPE varchar(10)".to_owned(),
        "ALTER TABLE t ALTER COLUMN v SET NOT NULL".to_owned(),
        "ALTER TABLE t RENAME COLUMN w TO x".to_owned(),
        "ALTER TABLE t DROP COLUMN x".to_owned(),
        "ALTER TABLE t ATTACH PARTITION t3 FOR VALUES IN (3)".to_owned(),
        "ALTER TABLE t DETACH PARTITION t3".to_owned(),
        "CREATE OR REPLACE FUNCTION \"_migrate_print\".capture_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'".to_owned(),
        format!("DROP TRIGGER {trigger} ON t"),
        "ALTER TABLE t RENAME TO other; CREATE TABLE t (LIKE other)".to_owned(),
    ] {
        // t3 lacks the columns' changes in between.
        let fit = if change.contains("ATTACH") { "DROP TABLE t3; CREATE TABLE t3 (LIKE t INCLUDING ALL);" } else { "" };
        if change.contains("ATTACH") {
            exec(owner, fit).await;
        }
        exec(owner, &change).await;
        let now = place.fingerprint(&layout).await;
        assert_ne!(now, last, "{change}");
        last = now;
    }
}

#[tokio::test]
async fn at_the_limit_capture_stops_loudly_and_can_go_on() {
    let (place, layout) = with_capture("limit", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let run = &place.run;
    exec(&place.db.app_url, "INSERT INTO t SELECT generate_series(1, 900)").await;
    assert!(!place.overflowed(&layout).await);
    assert_eq!(taken(&place, "limit").await.len(), 900);
    // Keys that were taken make room.
    let mut tx = run.begin(Mode::Seal(&layout)).await.unwrap();
    run.advance_limit(&mut tx, &layout, &[], false).await.unwrap();
    run.commit(tx).await.unwrap();
    exec(&place.db.app_url, "INSERT INTO t SELECT generate_series(901, 1800)").await;
    assert!(!place.overflowed(&layout).await);

    // What is rolled back was never lost.
    exec(&place.db.app_url, "BEGIN; INSERT INTO t SELECT generate_series(2001, 3000); ROLLBACK").await;
    assert!(!place.overflowed(&layout).await);
    exec(&place.db.app_url, "INSERT INTO t SELECT generate_series(2001, 7000)").await;
    exec(&place.db.app_url, "DELETE FROM t WHERE id > 2000").await;
    assert!(place.overflowed(&layout).await);
    assert_eq!(taken(&place, "limit").await.len(), 900, "the disk does not fill");
    let markers = query_text(&place.db.owner_url, "SELECT count(*) FROM \"_migrate_limit\".capture_overflow").await;
    assert_eq!(markers[0][0].as_deref(), Some("1"), "one is enough for those who come later");

    let mut tx = run.begin(Mode::Seal(&layout)).await.unwrap();
    run.advance_limit(&mut tx, &layout, &[], false).await.unwrap();
    assert!(run.overflowed(&mut tx, &layout).await.unwrap(), "only a reset forgets");
    run.advance_limit(&mut tx, &layout, &[], true).await.unwrap();
    run.commit(tx).await.unwrap();
    assert!(!place.overflowed(&layout).await);
    exec(&place.db.app_url, "INSERT INTO t VALUES (9999)").await;
    assert_eq!(taken(&place, "limit").await, ["9999"]);
}

/// A writer whose snapshot is older than the limit's move must not lose a key unseen.
#[tokio::test]
async fn an_old_snapshot_loses_no_key_in_silence() {
    let (place, layout) = with_capture("old", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let run = &place.run;
    let mut old = place.admin.begin(Mode::Seal(&layout)).await.unwrap();
    assert_eq!(number(&place.admin, &mut old, "SELECT count(*) FROM t").await, 0);
    exec(&place.db.app_url, "INSERT INTO t SELECT generate_series(1, 999)").await;
    taken(&place, "old").await;
    let mut tx = run.begin(Mode::Seal(&layout)).await.unwrap();
    run.advance_limit(&mut tx, &layout, &[], false).await.unwrap();
    run.commit(tx).await.unwrap();
    place.admin.script(&mut old, "INSERT INTO t SELECT generate_series(5001, 5100)").await.unwrap();
    place.admin.commit(old).await.unwrap();
    let kept = taken(&place, "old").await.len();
    assert!(kept == 100 || place.overflowed(&layout).await, "{kept} keys, and no word of the others");
}

/// A marker that a writer relies on must outlive it: whoever forgets it waits. A writer whose snapshot still has a
/// marker that is gone leaves its own, and is not failed.
#[tokio::test]
async fn a_marker_is_not_forgotten_under_a_writer_who_relies_on_it() {
    let (place, layout) = with_capture("relied", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let run = &place.run;
    let markers = "SELECT count(*) FROM \"_migrate_relied\".capture_overflow";
    let forget = async || {
        let mut tx = run.begin(Mode::Seal(&layout)).await.unwrap();
        run.advance_limit(&mut tx, &layout, &[], true).await?;
        run.commit(tx).await
    };
    exec(&place.db.app_url, "INSERT INTO t SELECT generate_series(1, 1500)").await;
    assert!(place.overflowed(&layout).await);
    let mut old = place.admin.begin(Mode::Seal(&layout)).await.unwrap();
    assert_eq!(number(&place.admin, &mut old, "SELECT count(*) FROM t").await, 1500);

    let mut writer = place.admin.begin(Mode::Control).await.unwrap();
    place.admin.script(&mut writer, "INSERT INTO t SELECT generate_series(2001, 2100)").await.unwrap();
    assert_eq!(query_text(&place.db.owner_url, markers).await[0][0].as_deref(), Some("1"));
    let refused = forget().await.unwrap_err();
    assert!(refused.is_retry(), "{refused}");
    place.admin.commit(writer).await.unwrap();
    assert!(place.overflowed(&layout).await, "its loss is still told");
    forget().await.unwrap();
    assert!(!place.overflowed(&layout).await);

    // Its snapshot has the old limit and the old marker.
    place.admin.script(&mut old, "INSERT INTO t SELECT generate_series(3001, 3100)").await.unwrap();
    place.admin.commit(old).await.unwrap();
    assert!(place.overflowed(&layout).await, "it lost its keys after all was forgotten, and must say so");
}
