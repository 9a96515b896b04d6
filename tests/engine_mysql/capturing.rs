//! No change escapes: whatever statement makes it, its key is marked in the same transaction.

use std::time::Duration;

use migrate::error::Kind;
use migrate::store::engine::{Engine, Mode};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::support::applier::is_left_alone;
use crate::support::{mysql_exec, mysql_query_text, try_mysql_exec};
use crate::{Place, collect};

const T: &str = "CREATE TABLE t(id int NOT NULL PRIMARY KEY, u int UNIQUE, v varchar(20))";

#[tokio::test]
async fn every_statement_marks_the_keys_that_it_changes() {
    let place = Place::new("marks", T).await;
    let layout = place.layout("m", &["t"]).await;
    place.install(&layout).await;
    for (sql, marked) in [
        ("INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')", "1 2 3"),
        ("UPDATE t SET v = 'z' WHERE id < 3", "1 2"),
        ("UPDATE t SET id = 10 WHERE id = 1", "1 10"),
        ("INSERT INTO t VALUES (2, 9, 'd') ON DUPLICATE KEY UPDATE v = 'dup'", "2"),
        ("INSERT INTO t VALUES (4, 2, 'd') ON DUPLICATE KEY UPDATE v = 'by the other key'", "2"),
        ("INSERT IGNORE INTO t VALUES (2, 2, 'x')", ""),
        // The row of the key goes, and so does the one that holds the unique value.
        ("REPLACE INTO t VALUES (2, 3, 'r')", "2 3 2"),
        ("UPDATE t a JOIN t b ON a.id = b.id SET a.v = 'multi' WHERE b.id IN (2, 10)", "2 10"),
        ("BEGIN; DELETE FROM t WHERE id = 2; ROLLBACK", ""),
        (
            "BEGIN; SAVEPOINT s; DELETE FROM t WHERE id = 2; ROLLBACK TO s; UPDATE t SET v = 's' WHERE id = 10; COMMIT",
            "10",
        ),
        ("DELETE a FROM t a WHERE a.id = 10", "10"),
        ("DELETE FROM t", "2"),
    ] {
        place.app(sql).await;
        let mut found: Vec<String> = place.dirty(&layout, "k1").await.split_whitespace().map(str::to_owned).collect();
        let mut expected: Vec<String> = marked.split_whitespace().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        found.dedup();
        expected.dedup();
        assert_eq!(found, expected, "{sql}");
        place.forget(&layout).await;
    }
}

/// A prepared transaction is nobody's session, and its keys are invisible until it is committed: then they are there.
#[tokio::test]
async fn a_prepared_transaction_is_marked_when_it_commits() {
    let place = Place::new("xa", T).await;
    let layout = place.layout("m", &["t"]).await;
    place.install(&layout).await;
    for (end, marked) in [("COMMIT", "2 1"), ("ROLLBACK", "2")] {
        place.app("DELETE FROM t").await;
        place.forget(&layout).await;
        let id = format!("'{}-{end}'", place.db.name);
        place.app(&format!("XA START {id}; INSERT INTO t VALUES (1, 1, 'a'); XA END {id}; XA PREPARE {id}")).await;
        place.app("INSERT INTO t VALUES (2, 2, 'b')").await;
        assert_eq!(place.dirty(&layout, "k1").await, "2");
        place.app(&format!("XA {end} {id}")).await;
        let found = place.dirty(&layout, "k1").await;
        assert_eq!(found.split_whitespace().rev().collect::<Vec<_>>().join(" "), marked, "{end}");
    }
}

#[tokio::test]
async fn a_loaded_file_is_marked() {
    let place = Place::new("loads", T).await;
    let layout = place.layout("m", &["t"]).await;
    place.install(&layout).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.tsv");
    std::fs::write(&path, "1\t1\ta\n2\t2\tb\n").unwrap();
    for p in [dir.path(), path.as_path()] {
        std::fs::set_permissions(p, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    mysql_exec(&place.db.superuser_url, &format!("LOAD DATA INFILE '{}' INTO TABLE t", path.display())).await;
    assert_eq!(place.dirty(&layout, "k1").await, "1 2");
}

#[tokio::test]
async fn keys_are_compared_by_their_bytes() {
    let place = Place::new("bytes", "CREATE TABLE t(id varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY)").await;
    let layout = place.layout("m", &["t"]).await;
    place.install(&layout).await;
    place.app("INSERT INTO t VALUES ('a')").await;
    place.app("UPDATE t SET id = 'A'; UPDATE t SET id = 'A '").await;
    assert_eq!(place.dirty(&layout, "concat('<', k1, '>')").await, "<a> <a> <A> <A> <A >");
}

#[tokio::test]
async fn what_the_application_sees_of_itself_stays() {
    let place = Place::new("insert_id", "CREATE TABLE t(id int AUTO_INCREMENT PRIMARY KEY, v int)").await;
    let layout = place.layout("m", &["t"]).await;
    place.install(&layout).await;
    place.app("INSERT INTO t VALUES (70, 1)").await;
    let mut app = MySqlConnection::connect(&place.db.app_url).await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe("INSERT INTO t(v) VALUES (1), (2)".to_owned())).execute(&mut app).await;
    let done = done.unwrap();
    assert_eq!((done.last_insert_id(), done.rows_affected()), (71, 2));
}

/// A snapshot that is older than capture can't read the table of limits: it must go on all the same.
#[tokio::test]
async fn a_snapshot_from_before_goes_on_and_is_marked() {
    let place = Place::new("older", &format!("{T}; CREATE TABLE other(id int)")).await;
    let mut app = MySqlConnection::connect(&place.db.app_url).await.unwrap();
    let run = |sql: &'static str| AssertSqlSafe(sql);
    let begin = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT; SELECT * FROM other";
    sqlx::raw_sql(run(begin)).execute(&mut app).await.unwrap();
    let layout = place.layout("m", &["t"]).await;
    place.install(&layout).await;
    sqlx::raw_sql(run("INSERT INTO t VALUES (1, 1, 'a'); COMMIT")).execute(&mut app).await.unwrap();
    assert_eq!(place.dirty(&layout, "k1").await, "1");
}

#[tokio::test]
async fn the_fingerprint_sees_what_breaks_capture_and_nothing_else() {
    let place = Place::new("finger", T).await;
    let layout = place.layout("m", &["t"]).await;
    place.install(&layout).await;
    let mut was = place.fingerprint(&layout).await;
    place.app("INSERT INTO t VALUES (1, 1, 'a')").await;
    place.install(&layout).await;
    let owner = &place.db.owner_url;
    mysql_exec(
        owner,
        "ANALYZE TABLE t; CREATE INDEX i ON t(v); CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
    )
    .await;
    assert_eq!(place.fingerprint(&layout).await, was, "what does no harm");
    for touch in [
        "TRUNCATE TABLE t",
        "ALTER TABLE t ADD COLUMN w int",
        "RENAME TABLE t TO gone; CREATE TABLE t LIKE gone; RENAME TABLE t TO new, gone TO t",
        "DROP TRIGGER `_migrate_m_1_update`",
    ] {
        mysql_exec(owner, touch).await;
        let now = place.fingerprint(&layout).await;
        // A table that came back with its triggers is the same table.
        assert_eq!(now == was, touch.starts_with("RENAME"), "{touch}");
        was = now;
    }
    place.install(&layout).await;
    assert_ne!(place.fingerprint(&layout).await, was, "a trigger that was away is another trigger");
}

#[tokio::test]
async fn beyond_the_limit_no_key_is_kept_and_it_is_known() {
    let place = Place::new("limit", T).await;
    let mut layout = place.layout("m", &["t"]).await;
    layout.backlog_limit = 3;
    place.install(&layout).await;
    let full = async || {
        let mut tx = place.run.begin(Mode::Seal(&layout)).await.unwrap();
        place.run.overflowed(&mut tx, &layout).await.unwrap()
    };
    place.app("INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')").await;
    assert!(!full().await);
    place.app("INSERT INTO t VALUES (4, 4, 'd'), (5, 5, 'e')").await;
    assert!(full().await);
    assert_eq!(place.dirty(&layout, "k1").await, "1 2 3");
    let mut tx = place.run.begin(Mode::Seal(&layout)).await.unwrap();
    place.run.advance_limit(&mut tx, &layout, &[], true).await.unwrap();
    place.run.commit(tx).await.unwrap();
    assert!(!full().await);
    place.app("DELETE FROM t WHERE id = 1").await;
    assert_eq!(place.dirty(&layout, "k1").await, "1 2 3 1");
}

/// A sealing transaction keeps DDL away from its beginning, before it has read anything.
#[tokio::test]
async fn definitions_are_held_while_a_seal_is_open() {
    let place = Place::new("held", T).await;
    let layout = place.layout("m", &["t"]).await;
    place.install(&layout).await;
    place.app("INSERT INTO t VALUES (1, 1, 'a')").await;
    let mut tx = place.run.begin(Mode::Seal(&layout)).await.unwrap();
    let truncate = "SET lock_wait_timeout = 1; TRUNCATE TABLE t";
    assert!(try_mysql_exec(&place.db.owner_url, truncate).await.is_err());
    // No snapshot was taken by that: what is committed before the first read is in it.
    place.app("INSERT INTO t VALUES (2, 2, 'b')").await;
    assert_eq!(collect(&place.run, &mut tx, "SELECT id FROM t", &[]).await.unwrap().len(), 2);
    place.app("INSERT INTO t VALUES (3, 3, 'c')").await;
    assert_eq!(collect(&place.run, &mut tx, "SELECT id FROM t", &[]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn installing_gives_up_soon_where_a_transaction_holds_the_table() {
    let place = Place::new("busy", T).await;
    let layout = place.layout("m", &["t"]).await;
    let mut app = MySqlConnection::connect(&place.db.app_url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe("BEGIN; SELECT * FROM t")).execute(&mut app).await.unwrap();
    let who = place.run.who().await.unwrap();
    place.admin.create_home("m", &who).await.unwrap();
    let begun = std::time::Instant::now();
    let error = place.admin.capture(&layout, &layout.tables[0], &who).await.unwrap_err();
    assert!(error.kind == Kind::Retry && begun.elapsed().as_secs() < 6, "{error}");
    sqlx::raw_sql(AssertSqlSafe("COMMIT")).execute(&mut app).await.unwrap();
    place.admin.capture(&layout, &layout.tables[0], &who).await.unwrap();
}

#[tokio::test]
async fn what_the_applier_writes_is_left_alone_and_nothing_else() {
    let place = Place::new("loops", T).await;
    place.db.grant_target_rights().await;
    let (ours, other) = (place.layout("m", &["t"]).await, place.layout("other", &["t"]).await);
    place.install(&ours).await;
    place.install(&other).await;
    let whole = place.fingerprint(&ours).await;
    is_left_alone(&place.run, &ours, &other).await;
    assert_eq!(place.fingerprint(&ours).await, whole);
    // A row that stays would silence capture for that connection: it is found out.
    let applier = place.run.control("m", "applier");
    mysql_exec(&place.db.superuser_url, &format!("INSERT INTO {applier} VALUES (77)")).await;
    assert_ne!(place.fingerprint(&ours).await, whole);
}

/// DDL that waits would make a deadlock with it, which the server ends by failing the application.
#[tokio::test]
async fn a_transaction_that_reads_and_then_writes_is_not_failed_by_installing_or_removing() {
    let place = Place::new("upgrade", T).await;
    place.app("INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')").await;
    let layout = place.layout("m", &["t"]).await;
    let who = place.run.who().await.unwrap();
    place.admin.create_home("m", &who).await.unwrap();
    for removing in [false, true] {
        let mut app = MySqlConnection::connect(&place.db.app_url).await.unwrap();
        let reads = "BEGIN; SELECT * FROM t WHERE id = 1";
        sqlx::raw_sql(AssertSqlSafe(reads)).execute(&mut app).await.unwrap();
        let writes = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            sqlx::raw_sql(AssertSqlSafe("UPDATE t SET v = 'c' WHERE id = 2; COMMIT")).execute(&mut app).await
        };
        let change = async {
            match removing {
                false => place.admin.capture(&layout, &layout.tables[0], &who).await,
                true => place.admin.remove("m").await.map(drop),
            }
        };
        let (written, changed) = tokio::join!(writes, change);
        written.expect("the application's transaction");
        changed.unwrap();
    }
}

#[tokio::test]
async fn removal_leaves_nothing_and_can_be_repeated() {
    let place = Place::new("removal", T).await;
    let before = place.db.catalogue().await;
    let long = "m".repeat(48);
    for migration in ["m", &long] {
        let layout = place.layout(migration, &["t"]).await;
        place.install(&layout).await;
        let names = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
        assert!(mysql_query_text(&place.db.owner_url, names).await.len() > 4);
    }
    let removed = place.admin.remove("m").await.unwrap();
    assert!(removed.iter().any(|r| r.contains("trigger")), "{removed:?}");
    assert!(place.admin.remove("m").await.unwrap().is_empty());
    assert!(!place.admin.remove(&long).await.unwrap().is_empty());
    assert_eq!(place.db.catalogue().await, before);
}
