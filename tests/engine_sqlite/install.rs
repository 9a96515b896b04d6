//! Installing, watching and removing; and bad files.

use migrate::error::Kind;
use migrate::schema::{NewTable, TableName};
use migrate::store::Role;
use migrate::store::engine::{Engine, Mode, Statement};
use migrate::store::sqlite::Sqlite;
use migrate::value::Value;

use crate::world::{MIGRATION, World, connect, name, query};

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE); CREATE TABLE z (id INTEGER PRIMARY KEY)";
const CATALOGUE: &str =
    "SELECT group_concat(type || name || tbl_name || coalesce(sql, ''), '|' ORDER BY name) FROM sqlite_master";

#[tokio::test]
async fn removal_leaves_the_catalogue_as_it_was() {
    let mut w = World::new(TABLE).await;
    w.sql("CREATE TABLE \"_migrate_crmXto-x_log\" (x); CREATE TABLE \"_migrate_crm-to-x2_log\" (x)").await;
    let before = w.quoted(CATALOGUE).await;
    assert_eq!(w.quoted("PRAGMA journal_mode").await, ["delete"]);
    for _ in 0..2 {
        let layout = w.install(&["t", "z"], 100).await;
        w.engine.capture(&layout, &layout.tables[0], "").await.unwrap();
        w.quoted(CATALOGUE).await;
        assert_eq!(w.quoted("PRAGMA journal_mode").await, ["wal"]);
        let other = migrate::mapping::Layout { migration: "crm-to".into(), ..layout.clone() };
        w.engine.create_home("crm-to", "").await.unwrap();
        w.engine.capture(&other, &other.tables[0], "").await.unwrap();
        let gone = w.engine.remove("crm-to").await.unwrap();
        assert!(gone.iter().any(|l| l.contains("another migration")), "{gone:?}");
        assert_eq!(w.marks("INSERT INTO t (u) VALUES (NULL)").await.len(), 1, "the other one still captures");
        // The journal mode can only be restored when nobody else has the file open.
        let path = w.path();
        sqlx::Connection::close(std::mem::replace(&mut w.app, connect(&w.dir.path().join("other.db"), 0).await))
            .await
            .unwrap();
        let gone = w.engine.remove(MIGRATION).await.unwrap();
        assert!(
            gone.iter().any(|l| l.contains("delete again")) && gone.iter().any(|l| l.contains("capture_1_insert")),
            "{gone:?}"
        );
        assert!(w.engine.remove(MIGRATION).await.unwrap().is_empty());
        w.app = connect(&path, 5000).await;
        assert_eq!(w.quoted("PRAGMA journal_mode").await, ["delete"]);
        assert_eq!(w.quoted(CATALOGUE).await, before);
    }
    w.install(&["t"], 100).await;
    w.marked(1).await;
    let gone = w.engine.remove(MIGRATION).await.unwrap();
    assert!(gone.iter().any(|l| l.contains("open elsewhere")), "{gone:?}");
}

#[tokio::test]
async fn the_fingerprint_shows_what_touches_capture_and_nothing_else() {
    let mut w = World::new(TABLE).await;
    let layout = w.install(&["t"], 100).await;
    let print = async |w: &World| {
        let mut tx = w.engine.begin(Mode::Seal(&layout)).await.unwrap();
        w.engine.fingerprint(&mut tx, &layout).await.unwrap()
    };
    let mut last = print(&w).await;
    w.engine.capture(&layout, &layout.tables[0], "").await.unwrap();
    w.sql("CREATE TABLE unrelated (x); CREATE INDEX plain ON t (u); DROP TABLE unrelated; ANALYZE; ALTER TABLE z ADD COLUMN x").await;
    assert_eq!(print(&w).await, last);
    let sql = async |w: &mut World, event: &str| {
        let name = format!("_migrate_{MIGRATION}_capture_1_{event}");
        let sql = w.quoted(&format!("SELECT sql FROM sqlite_master WHERE name = '{name}'")).await.remove(0);
        format!("DROP TRIGGER \"{name}\"; {sql}")
    };
    let again = [sql(&mut w, "insert").await, sql(&mut w, "update").await, sql(&mut w, "move").await];
    let trigger = format!("\"_migrate_{MIGRATION}_capture_1_delete\"");
    for change in [
        again[2].clone(),
        again[1].clone(),
        again.join(";"),
        "ALTER TABLE t ADD COLUMN y".into(),
        "CREATE UNIQUE INDEX more ON t (u, id)".into(),
        format!("DROP TRIGGER {trigger}"),
        "ALTER TABLE t RENAME TO renamed".into(),
    ] {
        w.sql(&change).await;
        let now = print(&w).await;
        assert!(now != last, "{change}");
        last = now;
    }
}

#[tokio::test]
async fn vacuum_is_no_alarm_and_capture_made_again_is_one() {
    let mut w = World::new(TABLE).await;
    w.sql("CREATE TABLE gap (x)").await;
    let layout = w.install(&["t", "z"], 100).await;
    let print = async |w: &World| {
        let mut tx = w.engine.begin(Mode::Look).await.unwrap();
        w.engine.fingerprint(&mut tx, &layout).await.unwrap()
    };
    let first = print(&w).await;
    w.sql("DROP TABLE gap; CREATE VIEW v AS SELECT 1; VACUUM; DROP VIEW v; VACUUM").await;
    assert_eq!(print(&w).await, first);
    let copy = w.dir.path().join("copy.db");
    w.sql(&format!("VACUUM INTO '{}'", copy.display())).await;
    let (before, mut app) = (w.quoted(CATALOGUE).await, connect(&copy, 0).await);
    let copied: String = sqlx::query_scalar(CATALOGUE).fetch_one(&mut app).await.unwrap();
    assert_eq!(before, [copied]);
    // What a careful rebuild of a table does: triggers are gone for a while and come back with the same text.
    w.sql(&format!("DROP TRIGGER \"_migrate_{MIGRATION}_capture_1_move\"")).await;
    w.engine.capture(&layout, &layout.tables[0], "").await.unwrap();
    let second = print(&w).await;
    assert!(second != first);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    w.sql(&format!("DROP TRIGGER \"_migrate_{MIGRATION}_capture_1_move\"")).await;
    w.engine.capture(&layout, &layout.tables[0], "").await.unwrap();
    assert!(print(&w).await != second);
    assert_eq!(w.marks("INSERT INTO t (u) VALUES (NULL)").await, ["1"]);
}

#[tokio::test]
async fn a_busy_file_is_to_be_tried_again() {
    let mut w = World::new(TABLE).await;
    let layout = w.install(&["t"], 100).await;
    w.sql("BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 'x')").await;
    let begun = std::time::Instant::now();
    let error = w.engine.capture(&layout, &layout.tables[0], "").await.unwrap_err();
    assert!(error.is_retry() && begun.elapsed().as_millis() < 2000, "{error}");
    assert!(w.engine.begin(Mode::Look).await.is_ok(), "readers do not wait");
    w.sql("COMMIT").await;
    w.engine.capture(&layout, &layout.tables[0], "").await.unwrap();
}

#[tokio::test]
async fn bad_files_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let at = |path: &std::path::Path| format!("sqlite://{}", path.display());
    let missing = Sqlite::connect(&at(&path)).unwrap();
    let error = missing.tables().await.unwrap_err();
    assert!(
        error.kind == Kind::Plan
            && error.message().contains("no file")
            && error.hint_text().unwrap().contains("mode=rwc"),
        "{error}"
    );
    assert!(missing.begin(Mode::Control).await.is_err() && !path.exists(), "it was not made");
    std::fs::write(&path, "this is a letter, not a database, and long enough to be one. ".repeat(40)).unwrap();
    let error = missing.tables().await.unwrap_err();
    assert!(error.kind == Kind::Plan && error.message().contains("not a SQLite database"), "{error}");
    let error = Sqlite::connect(&at(dir.path())).unwrap().tables().await.unwrap_err();
    assert!(error.message().contains("is a directory"), "{error}");
    for url in ["sqlite::memory:", "sqlite://x.db?mode=memory", "sqlite://x.db?nonsense=1", "sqlite:"] {
        assert!(Sqlite::connect(url).is_err_and(|e| e.kind == Kind::Plan), "{url}");
    }
    let new = dir.path().join("new.db");
    Sqlite::connect(&format!("{}?mode=rwc", at(&new))).unwrap().create_home("m", "").await.unwrap();
    assert!(new.exists());
    let create = Sqlite::create(&format!("sqlite:{}", dir.path().join("n2.db").display())).unwrap();
    create.create_home("m", "").await.unwrap();
    let read_only = Sqlite::connect(&format!("{}?mode=ro", at(&new))).unwrap();
    let error = read_only.create_home("m", "").await.unwrap_err();
    assert!(error.kind == Kind::Gate && error.hint_text().unwrap().contains("chmod"), "{error}");
}

#[tokio::test]
async fn looking_writes_nothing() {
    let w = World::new(TABLE).await;
    let before = std::fs::read(w.path()).unwrap();
    let layout = w.layout(&["t"], 100).await;
    assert!(w.engine.missing_rights(Role::SourceInstall, &layout).await.unwrap().is_empty());
    w.engine.size(&name("t")).await.unwrap();
    w.engine.expression(&name("t"), "lower(u)", false).await.unwrap().unwrap();
    let mut tx = w.engine.begin(Mode::Look).await.unwrap();
    let write = Statement { sql: "INSERT INTO t VALUES (1, 'x')".into(), args: vec![] };
    assert_eq!(w.engine.execute(&mut tx, &write).await.unwrap_err().kind, Kind::Gate);
    drop(tx);
    drop(w.engine.begin(Mode::Control).await.unwrap());
    assert!(std::fs::read(w.path()).unwrap() == before);
    let left: Vec<_> = std::fs::read_dir(w.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn constraints_are_named_and_values_are_not() {
    let mut w = World::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT NOT NULL UNIQUE CONSTRAINT short CHECK (length(u) < 9));
         CREATE TRIGGER app BEFORE INSERT ON t WHEN NEW.u = 'secret2' BEGIN SELECT RAISE(ABORT, 'no secret2 here'); END",
    )
    .await;
    w.sql("INSERT INTO t VALUES (1, 'secret')").await;
    let layout = w.layout(&["t"], 100).await;
    for (id, u, named) in [
        (2, "'secret'", "t.u"),
        (2, "NULL", "t.u"),
        (2, "'secretsecret'", "short"),
        (1, "'x'", "t.id"),
        (2, "'secret2'", "trigger"),
    ] {
        let mut tx = w.engine.begin(Mode::Apply { layout: &layout, backfill: false }).await.unwrap();
        let insert = Statement { sql: format!("INSERT INTO t VALUES ({id}, {u})"), args: vec![] };
        let error = w.engine.execute(&mut tx, &insert).await.unwrap_err();
        assert!(
            error.kind == Kind::GiveUp && error.message().contains(named) && !error.message().contains("secret"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn foreign_keys_are_checked_where_they_should_be() {
    let w = World::new(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p INT REFERENCES p, s INT REFERENCES c)",
    )
    .await;
    let layout = w.layout(&["p", "c"], 100).await;
    let e = &w.engine;
    let run = async |tx: &mut _, sql: &str| e.execute(tx, &Statement { sql: sql.into(), args: vec![] }).await.unwrap();
    let mut tx = e.begin(Mode::Apply { layout: &layout, backfill: false }).await.unwrap();
    run(&mut tx, "INSERT INTO c VALUES (1, 7, 2), (2, NULL, NULL)").await;
    assert_eq!(e.check_deferred(&mut tx).await.unwrap_err().kind, Kind::GiveUp);
    run(&mut tx, "INSERT INTO p VALUES (7)").await;
    e.check_deferred(&mut tx).await.unwrap();
    e.savepoint(&mut tx).await.unwrap();
    run(&mut tx, "DELETE FROM p").await;
    assert!(e.check_deferred(&mut tx).await.is_err());
    e.rollback_to_savepoint(&mut tx).await.unwrap();
    e.check_deferred(&mut tx).await.unwrap();
    e.commit(tx).await.unwrap();
    let mut tx = e.begin(Mode::Apply { layout: &layout, backfill: false }).await.unwrap();
    run(&mut tx, "INSERT INTO c VALUES (3, 8, NULL)").await;
    assert_eq!(e.commit(tx).await.unwrap_err().kind, Kind::GiveUp, "also by the commit itself");
    let mut tx = e.begin(Mode::Apply { layout: &layout, backfill: true }).await.unwrap();
    run(&mut tx, "INSERT INTO c VALUES (4, 9, 5)").await;
    e.check_deferred(&mut tx).await.unwrap();
    e.commit(tx).await.unwrap();
    let mut tx = e.begin(Mode::Look).await.unwrap();
    let count = Statement { sql: "SELECT id FROM c ORDER BY id".into(), args: vec![] };
    let ids = query(e, &mut tx, &count, &[]).await.unwrap();
    assert!(ids.into_iter().flatten().eq([1, 2, 4].map(Value::Int)));
}

#[tokio::test]
async fn made_tables_have_the_described_shape() {
    let w = World::new("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT COLLATE NOCASE NOT NULL, \"n`\" NUMERIC(10,2)); CREATE TABLE ref (x REFERENCES made)").await;
    let t = w.engine.describe(&name("t")).await.unwrap().unwrap();
    let made = NewTable::plain(name("made"), t.columns.clone(), t.primary_key.clone());
    for _ in 0..2 {
        w.engine.create_table(&made, "").await.unwrap();
    }
    let back = w.engine.describe(&name("made")).await.unwrap().unwrap();
    assert_eq!((back.columns, back.primary_key), (t.columns, t.primary_key));
    assert!(w.engine.drop_table(&name("made")).await.unwrap_err().message().contains("ref"));
    let free = NewTable { name: TableName { schema: None, name: "free".into() }, ..made };
    w.engine.create_table(&free, "").await.unwrap();
    for _ in 0..2 {
        w.engine.drop_table(&free.name).await.unwrap();
    }
    assert!(w.engine.describe(&free.name).await.unwrap().is_none());
}
