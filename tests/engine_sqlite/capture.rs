//! No change escapes, and capture never gets into the application's way.

use migrate::store::engine::{Engine, Mode};

use migrate::mapping::Layout;

use crate::support::applier::is_left_alone;
use crate::world::{MIGRATION, World, connect};

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE, x); \
                     INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0)";

async fn world() -> World {
    let world = World::new(TABLE).await;
    world.install(&["t"], 1_000_000).await;
    world
}

#[tokio::test]
async fn every_plain_change_marks_its_keys() {
    let mut w = world().await;
    assert_eq!(w.marks("INSERT INTO t VALUES (4, 'd', 0), (5, NULL, 0)").await, ["4", "5"]);
    assert_eq!(w.marks("INSERT INTO t (x) VALUES (1)").await, ["6"]);
    assert_eq!(w.marks("UPDATE t SET x = 1 WHERE id IN (1, 2)").await, ["1", "2"]);
    assert_eq!(w.marks("UPDATE t SET id = 9 WHERE id = 6").await, ["6", "9"]);
    assert_eq!(w.marks("UPDATE t SET id = id + 10 WHERE id = 9").await, ["19", "9"]);
    assert_eq!(w.marks("DELETE FROM t WHERE id = 1").await, ["1"]);
    assert_eq!(w.marks("DELETE FROM t").await, ["19", "2", "3", "4", "5"], "also without WHERE");
    assert_eq!(w.marks("DELETE FROM t").await, [""; 0]);
}

#[tokio::test]
async fn rows_that_replace_removes_are_marked() {
    let mut w = world().await;
    assert_eq!(w.marks("INSERT OR REPLACE INTO t VALUES (7, 'a', 1)").await, ["1", "7"], "by the second unique key");
    assert_eq!(w.marks("REPLACE INTO t VALUES (7, 'b', 1)").await, ["2", "7"], "by both keys at once");
    assert_eq!(w.marks("INSERT INTO t VALUES (8, 'd', 1)").await, ["8"]);
    assert_eq!(w.marks("UPDATE OR REPLACE t SET u = 'd' WHERE id = 7").await, ["7", "8"]);
    assert_eq!(w.marks("UPDATE OR REPLACE t SET id = 7 WHERE id = 3").await, ["3", "7"]);
    assert_eq!(w.quoted("SELECT quote(id) || u FROM t").await, ["7c"]);
}

#[tokio::test]
async fn replace_by_unusual_indexes_is_foreseen() {
    for (ddl, replace) in [
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT); CREATE UNIQUE INDEX i ON t (lower(u) COLLATE BINARY DESC)",
            "REPLACE INTO t VALUES (2, 'A')",
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT); CREATE UNIQUE INDEX i ON t (u COLLATE NOCASE) WHERE id > 0",
            "REPLACE INTO t VALUES (2, 'A')",
        ),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT COLLATE RTRIM UNIQUE)", "REPLACE INTO t VALUES (2, 'a  ')"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT, g AS (u || 'x') UNIQUE)", "REPLACE INTO t VALUES (2, 'a')"),
        (
            "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, u TEXT UNIQUE) WITHOUT ROWID",
            "REPLACE INTO t VALUES (2, 'a')",
        ),
        ("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, u TEXT)", "REPLACE INTO t (rowid, id, u) VALUES (1, 2, 'a')"),
    ] {
        let mut w = World::new(ddl).await;
        w.install(&["t"], 100).await;
        assert_eq!(w.marks("INSERT INTO t (id, u) VALUES (1, 'a')").await, ["1"], "{ddl}");
        assert_eq!(w.marks(replace).await, ["1", "2"], "{ddl}");
        assert_eq!(w.quoted("SELECT quote(id) FROM t").await, ["2"], "{ddl}");
    }
}

#[tokio::test]
async fn a_key_that_only_its_spelling_changes_is_two_keys() {
    let mut w =
        World::new("CREATE TABLE t (k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, x); INSERT INTO t VALUES ('A', 0)")
            .await;
    w.install(&["t"], 100).await;
    assert_eq!(w.marks("UPDATE t SET k = 'a'").await, ["'A'", "'a'"]);
    assert_eq!(w.marks("UPDATE t SET x = 1").await, ["'a'"]);
    assert_eq!(w.marks("REPLACE INTO t VALUES ('A', 2)").await, ["'A'", "'a'"]);
}

#[tokio::test]
async fn keys_are_marked_as_they_are_stored() {
    let mut w = World::new(
        "CREATE TABLE t (a NOT NULL, b BLOB NOT NULL, c REAL NOT NULL, PRIMARY KEY (a, b, c)) WITHOUT ROWID",
    )
    .await;
    w.install(&["t"], 100).await;
    assert_eq!(w.marks("INSERT INTO t VALUES ('1', x'00', 2)").await, ["'1',X'00',2.0"]);
    assert_eq!(w.marks("UPDATE t SET a = 1").await, ["'1',X'00',2.0", "1,X'00',2.0"]);
    assert_eq!(w.marks("UPDATE t SET a = 1.0").await, ["1,X'00',2.0", "1.0,X'00',2.0"]);
}

#[tokio::test]
async fn conflict_clauses_and_upserts_are_followed() {
    let mut w = world().await;
    w.marks("INSERT OR IGNORE INTO t VALUES (1, 'z', 9)").await;
    assert_eq!(
        w.quoted("SELECT quote(x) FROM t WHERE id = 1").await,
        ["0"],
        "capture leaves the application's clause alone"
    );
    assert_eq!(w.marks("INSERT INTO t VALUES (1, 'q', 5) ON CONFLICT (id) DO UPDATE SET x = 5, u = 'aa'").await, ["1"]);
    assert!(
        w.marks("INSERT INTO t VALUES (9, 'aa', 5) ON CONFLICT (u) DO UPDATE SET x = 6")
            .await
            .contains(&"1".to_owned())
    );
    assert!(w.marks("INSERT INTO t VALUES (9, 'aa', 5) ON CONFLICT DO NOTHING").await.len() <= 1);
    for clause in ["ABORT", "FAIL", "ROLLBACK"] {
        assert_eq!(w.marks(&format!("UPDATE OR {clause} t SET x = x + 1 WHERE id = 2")).await, ["2"], "{clause}");
        assert!(w.try_sql(&format!("UPDATE OR {clause} t SET u = 'aa' WHERE id = 2")).await.is_err());
        w.marked(1).await;
    }
}

#[tokio::test]
async fn what_is_rolled_back_leaves_no_mark() {
    let mut w = world().await;
    let script =
        "BEGIN; UPDATE t SET x = 1 WHERE id = 1; SAVEPOINT s; DELETE FROM t WHERE id = 2; ROLLBACK TO s; COMMIT";
    assert_eq!(w.marks(script).await, ["1"]);
    assert_eq!(w.marks("BEGIN; DELETE FROM t; ROLLBACK").await, [""; 0]);
}

#[tokio::test]
async fn cascades_and_the_applications_triggers_are_seen() {
    let mut w = World::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, p INT REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE, x);
         CREATE TRIGGER app AFTER INSERT ON t WHEN NEW.x = 'twin' BEGIN INSERT INTO t VALUES (NEW.id + 100, NULL, ''); END;
         CREATE TRIGGER late AFTER UPDATE OF x ON t WHEN NEW.x = 'go' BEGIN DELETE FROM t WHERE id = NEW.id; END;
         INSERT INTO t VALUES (1, NULL, ''), (2, 1, ''), (3, 2, '')",
    )
    .await;
    w.install(&["t"], 100).await;
    w.sql("PRAGMA foreign_keys = ON").await;
    assert_eq!(w.marks("UPDATE t SET id = 10 WHERE id = 1").await, ["1", "10", "2"]);
    assert_eq!(w.marks("DELETE FROM t WHERE id = 10").await, ["10", "2", "3"]);
    assert_eq!(w.marks("INSERT INTO t VALUES (5, NULL, 'twin')").await, ["105", "5"]);
    assert_eq!(w.marks("UPDATE t SET x = 'go' WHERE id = 5").await, ["5"]);
}

#[tokio::test]
async fn the_applications_names_and_shadowed_rowids_do_not_confuse() {
    let mut w =
        World::new("CREATE TABLE \"t\" (\"rowid\" TEXT NOT NULL PRIMARY KEY, \"x\" UNIQUE, \"new\", \"seq\", \"k1\")")
            .await;
    w.install(&["t"], 100).await;
    assert_eq!(w.marks("INSERT INTO t VALUES ('p', 1, 2, 3, 4)").await, ["'p'"]);
    assert_eq!(w.marks("REPLACE INTO t VALUES ('q', 1, 2, 3, 4)").await, ["'p'", "'q'"]);
    assert_eq!(w.marks("REPLACE INTO t (_rowid_, \"rowid\") VALUES (2, 'r')").await, ["'q'", "'r'"]);
}

#[tokio::test]
async fn at_the_limit_capture_stops_loudly_and_the_application_goes_on() {
    let w = World::new(TABLE).await;
    let layout = w.install(&["t"], 5).await;
    let mut w = w;
    let overflowed = async |w: &World| {
        let mut tx = w.engine.begin(Mode::Seal(&layout)).await.unwrap();
        w.engine.overflowed(&mut tx, &layout).await.unwrap()
    };
    for i in 0..5 {
        w.sql(&format!("UPDATE t SET x = {i} WHERE id = 1")).await;
    }
    assert!(!overflowed(&w).await);
    w.sql("UPDATE t SET x = 9 WHERE id = 1; UPDATE t SET x = 10; DELETE FROM t WHERE id = 3").await;
    assert!(overflowed(&w).await);
    let dirty = w.quoted(&format!("SELECT quote(count(*)) FROM \"_migrate_{MIGRATION}_dirty_1\"")).await;
    let marker = w.quoted(&format!("SELECT quote(count(*)) FROM \"_migrate_{MIGRATION}_overflow\"")).await;
    assert_eq!((dirty, marker), (vec!["5".to_owned()], vec!["1".to_owned()]));
    w.marked(1).await;
    assert!(overflowed(&w).await, "only a new generation forgets it");
    let mut tx = w.engine.begin(Mode::Control).await.unwrap();
    w.engine.advance_limit(&mut tx, &layout, &[], true).await.unwrap();
    w.engine.commit(tx).await.unwrap();
    assert!(!overflowed(&w).await);
    // The limit is on what waits: marks that are taken make room, however many there were.
    for i in 0..50 {
        assert_eq!(w.marks(&format!("UPDATE t SET x = {i} WHERE id = 1")).await, ["1"]);
    }
    assert!(!overflowed(&w).await);
}

/// Random statements of every kind; what the marks say must bring a copy to the same state.
#[tokio::test]
async fn marks_alone_bring_a_copy_to_the_same_state() {
    use rand::Rng;
    let mut w = World::new("CREATE TABLE t (id INTEGER PRIMARY KEY, u INT UNIQUE, v INT, w INT); CREATE UNIQUE INDEX i ON t (v, w) WHERE w > 1; CREATE TABLE copy (id INTEGER PRIMARY KEY, u INT, v INT, w INT)").await;
    w.install(&["t"], 1_000_000).await;
    let mut other = connect(&w.path(), 5000).await;
    let seed: u64 = rand::rng().random();
    let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    for round in 0..60 {
        let script: Vec<String> = (0..20)
            .map(|_| {
                let [a, b, c, d, e] = std::array::from_fn(|_| rng.random_range(1..12));
                let or = ["", "OR IGNORE", "OR REPLACE", "OR FAIL", "OR ABORT"][rng.random_range(0..5usize)];
                match rng.random_range(0..6) {
                    0..=1 => format!("INSERT {or} INTO t VALUES ({a}, {b}, {c}, {d})"),
                    2 => format!("UPDATE {or} t SET id = {a}, u = {b} WHERE id >= {c} AND id < {c} + 2"),
                    3 => format!("UPDATE {or} t SET v = {a}, w = {b} WHERE u = {c}"),
                    4 => format!("DELETE FROM t WHERE id = {a}"),
                    _ => format!("INSERT INTO t VALUES ({a}, {b}, {c}, {d}) ON CONFLICT (u) DO UPDATE SET id = {e} ON CONFLICT DO NOTHING"),
                }
            })
            .collect();
        for statement in &script {
            let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&mut other).await;
        }
        let keys = w.marked(1).await.join(", ");
        w.sql(&format!("DELETE FROM copy WHERE id IN ({keys}); INSERT INTO copy SELECT * FROM t WHERE id IN ({keys})"))
            .await;
        let differ = "SELECT quote(count(*)) FROM (SELECT * FROM (SELECT * FROM t EXCEPT SELECT * FROM copy) UNION ALL SELECT * FROM (SELECT * FROM copy EXCEPT SELECT * FROM t))";
        assert_eq!(w.quoted(differ).await, ["0"], "seed {seed} round {round}: {script:#?}");
    }
}

#[tokio::test]
async fn what_the_applier_writes_is_left_alone_and_nothing_else() {
    let mut w = world().await;
    let ours = w.layout(&["t"], 1_000_000).await;
    let other = Layout { migration: "other".into(), ..ours.clone() };
    w.engine.create_home("other", "").await.unwrap();
    w.engine.capture(&other, &other.tables[0], "").await.unwrap();
    w.sql("DELETE FROM t").await;
    w.marked(1).await;
    is_left_alone(&w.engine, &ours, &other).await;
    // A row that stays would silence capture for everybody: it is found out.
    let fingerprint = async |w: &World| {
        let mut tx = w.engine.begin(Mode::Look).await.unwrap();
        w.engine.fingerprint(&mut tx, &ours).await.unwrap()
    };
    let whole = fingerprint(&w).await;
    w.sql(&format!("INSERT INTO \"_migrate_{MIGRATION}_applier\" VALUES (1)")).await;
    assert_ne!(fingerprint(&w).await, whole);
}
