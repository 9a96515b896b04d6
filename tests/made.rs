//! What `create_tables` makes, seen with the target team's eyes: a table to work with, not just a place for rows.

mod support;

use std::time::Duration;

use support::product::{Place, Product, mariadb, postgres, sqlite};
use support::{try_exec, try_mysql_exec};

const POSTGRES: &str = "CREATE TABLE parents (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code varchar(20) NOT NULL UNIQUE,
        kind varchar(9) NOT NULL DEFAULT 'it''s', size int DEFAULT 7, odd uuid DEFAULT gen_random_uuid());
    CREATE TABLE children (id bigserial PRIMARY KEY, parent int NOT NULL REFERENCES parents(id) ON DELETE NO ACTION,
        boss bigint REFERENCES children(id), parent_code varchar(20) REFERENCES parents(code),
        at timestamp NOT NULL DEFAULT now(), live boolean NOT NULL DEFAULT true, price numeric(10,2) DEFAULT 1.50);
    CREATE INDEX pair ON children(parent, at);
    CREATE INDEX part ON children(at) WHERE live;
    INSERT INTO parents(code) SELECT 'c' || g FROM generate_series(1, 50) g;
    INSERT INTO children(parent, boss, parent_code) SELECT 1 + g % 50, CASE WHEN g > 1 THEN g - 1 END, 'c1' FROM generate_series(1, 500) g;";

const MARIADB: &str = "CREATE TABLE parents (id int AUTO_INCREMENT PRIMARY KEY, code varchar(20) NOT NULL UNIQUE,
        kind varchar(9) NOT NULL DEFAULT 'it''s', size int DEFAULT 7, odd varchar(40) DEFAULT uuid());
    CREATE TABLE children (id bigint AUTO_INCREMENT PRIMARY KEY, parent int NOT NULL, boss bigint, parent_code varchar(20),
        at datetime(6) NOT NULL DEFAULT current_timestamp(6), live tinyint(1) NOT NULL DEFAULT 1, price decimal(10,2) DEFAULT 1.50,
        KEY pair (parent, at), KEY part (parent_code(3)),
        FOREIGN KEY (parent) REFERENCES parents(id), FOREIGN KEY (boss) REFERENCES children(id),
        FOREIGN KEY (parent_code) REFERENCES parents(code));
    INSERT INTO parents(code) SELECT concat('c', seq) FROM seq_1_to_50;
    SET foreign_key_checks = 0;
    INSERT INTO children(parent, boss, parent_code) SELECT 1 + seq % 50, IF(seq > 1, seq - 1, NULL), 'c1' FROM seq_1_to_500;";

const SQLITE: &str = "CREATE TABLE parents (id INTEGER PRIMARY KEY, code VARCHAR(20) NOT NULL UNIQUE,
        kind VARCHAR(9) NOT NULL DEFAULT 'it''s', size INTEGER DEFAULT 7, odd TEXT DEFAULT (hex(randomblob(4))));
    CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parents(id),
        boss INTEGER REFERENCES children(id), parent_code VARCHAR(20) REFERENCES parents(code),
        at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, live BOOLEAN NOT NULL DEFAULT TRUE, price NUMERIC(10,2) DEFAULT 1.50);
    CREATE INDEX pair ON children(parent, at);
    CREATE INDEX part ON children(at) WHERE live;
    WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < 50) INSERT INTO parents(code) SELECT 'c' || g FROM n;
    WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < 500)
        INSERT INTO children(parent, boss, parent_code) SELECT 1 + g % 50, CASE WHEN g > 1 THEN g - 1 END, 'c1' FROM n;";

const BODY: &str = "guard_target: false\ncreate_tables: true\ntables:\n  - from: children\n  - from: parents\nbackfill: { chunk_rows: 100 }\nlease: { ttl: 1s }\n";

async fn fill(source: &Place) {
    source
        .exec(match source {
            Place::Postgres(_) => POSTGRES,
            Place::MariaDb(_) => MARIADB,
            Place::Sqlite(_) => SQLITE,
        })
        .await;
}

/// Whether the target's owner may do this.
async fn takes(target: &Place, sql: &str) -> bool {
    match target {
        Place::Postgres(db) => try_exec(&db.owner_url, sql).await.is_ok(),
        Place::MariaDb(db) => try_mysql_exec(&db.owner_url, sql).await.is_ok(),
        Place::Sqlite(path) => {
            let mut conn = support::sql::sqlite_connect(path).await;
            let sql = format!("PRAGMA foreign_keys = ON; {sql}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.is_ok()
        }
    }
}

async fn number(target: &Place, sql: &str) -> i64 {
    let rows = match target {
        Place::Postgres(db) => support::query_text(&db.owner_url, &sql.replace("count(*)", "count(*)::text")).await,
        Place::MariaDb(db) => {
            support::mysql_query_text(&db.owner_url, &sql.replace("count(*)", "cast(count(*) as char)")).await
        }
        Place::Sqlite(path) => {
            support::sqlite_query_text(path, &sql.replace("count(*)", "cast(count(*) as text)")).await
        }
    };
    rows.first().and_then(|r| r.first().cloned().flatten()).and_then(|t| t.parse().ok()).expect("a number")
}

fn indexes_of(target: &Place) -> &'static str {
    match target {
        Place::Postgres(_) => "SELECT count(*) FROM pg_indexes WHERE tablename = 'children' AND indexdef LIKE '%(parent, at)'",
        Place::MariaDb(_) => {
            "SELECT count(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'children'
             AND COLUMN_NAME = 'at' AND SEQ_IN_INDEX = 2"
        }
        Place::Sqlite(_) => "SELECT count(*) FROM sqlite_master WHERE tbl_name = 'children' AND sql LIKE '%`parent`, `at`)'",
    }
}

/// Whether a row without a number gets one.
async fn numbers(target: &Place) -> bool {
    let Place::Postgres(_) = target else {
        return takes(target, "INSERT INTO parents(code) VALUES ('numbered')").await
            && takes(target, "DELETE FROM parents WHERE code = 'numbered'").await;
    };
    let sql = "SELECT count(*) FROM information_schema.columns WHERE table_name IN ('parents', 'children')
        AND identity_generation = 'BY DEFAULT' AND column_name = 'id'";
    number(target, sql).await == 2
}

/// A table that a team can go on with: it numbers, fills in, refuses doubles and orphans.
async fn is_sound(target: &Place, texts: bool) {
    // Where its numbers begin is the team's to say; on PostgreSQL a number is given as the rows had theirs.
    assert!(takes(target, "INSERT INTO parents(id, code) VALUES (1001, 'new')").await);
    assert_eq!(
        number(target, "SELECT count(*) FROM parents WHERE code = 'new' AND kind = 'it''s' AND size = 7").await,
        1
    );
    assert!(!texts || !takes(target, "INSERT INTO parents(id, code) VALUES (1002, 'new')").await, "a double");
    assert!(takes(target, "INSERT INTO children(id, parent, boss, parent_code) VALUES (9001, 1001, 1, 'new')").await);
    assert_eq!(
        number(target, "SELECT count(*) FROM children WHERE id = 9001 AND at IS NOT NULL AND price = 1.5").await,
        1
    );
    let orphans = ["9002, 77777, 1, 'new'", "9003, 1, 77777, 'new'", "9004, 1, 1, 'nobody'"];
    for orphan in &orphans[..if texts { 3 } else { 2 }] {
        let sql = format!("INSERT INTO children(id, parent, boss, parent_code) VALUES ({orphan})");
        assert!(!takes(target, &sql).await, "an orphan: {orphan}");
    }
    assert_eq!(number(target, indexes_of(target)).await, 1, "its index");
    assert!(numbers(target).await, "it numbers");
    for sql in ["DELETE FROM children WHERE id = 9001", "DELETE FROM parents WHERE id = 1001"] {
        assert!(takes(target, sql).await, "{sql}");
    }
}

async fn makes(name: &str, source: Place, target: Place) {
    fill(&source).await;
    let before = target.catalogue().await;
    let product = Product::new(name, &source, &target, None, BODY);
    let planned = product.run(&["plan"]).await.expect(0);
    // SQLite's texts have no bound, and MySQL indexes none without one; that is said.
    let texts = !matches!((&source, &target), (Place::Sqlite(_), Place::MariaDb(_)));
    for part in ["after the backfill", "the default of \"odd\""] {
        assert!(planned.stdout.contains(part), "no {part:?} in\n{}", planned.stdout);
    }
    assert!(planned.stdout.contains("index \"part\" of"), "{}", planned.stdout);
    product.run(&["apply", "--until", "backfill"]).await.expect(0);
    assert_eq!(number(&target, indexes_of(&target)).await, 0, "not yet");
    let applied = product.run(&["apply"]).await.expect(0);
    assert!(applied.stdout.contains("in sync"), "{}\n{}", applied.stdout, applied.stderr);
    assert!(applied.stderr.contains("indexes"), "{}", applied.stderr);
    is_sound(&target, texts).await;
    // It is found done, and its own indexes are no change of a catalogue.
    let again = product.run(&["plan", "--json"]).await.expect(0).json();
    assert!(again["phases"].as_array().expect("phases").iter().all(|p| p["name"] != "indexes"), "{again}");
    product.run(&["apply"]).await.expect(0);
    product.run(&["abort", "--drop-created", "--yes"]).await.expect(0);
    assert_eq!(target.catalogue().await, before, "abort takes all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgresql_to_each() {
    let dir = tempfile::tempdir().expect("a directory");
    makes("pp", postgres("made_pp_a").await, postgres("made_pp_b").await).await;
    makes("pm", postgres("made_pm_a").await, mariadb("made_pm_b").await).await;
    makes("ps", postgres("made_ps_a").await, sqlite(&dir, "ps.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_each() {
    let dir = tempfile::tempdir().expect("a directory");
    makes("mp", mariadb("made_mp_a").await, postgres("made_mp_b").await).await;
    makes("mm", mariadb("made_mm_a").await, mariadb("made_mm_b").await).await;
    makes("ms", mariadb("made_ms_a").await, sqlite(&dir, "ms.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_to_each() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    for (name, target) in
        [("sp", postgres("made_sp_b").await), ("sm", mariadb("made_sm_b").await), ("ss", sqlite(&dir, "ss-b.db"))]
    {
        let file = path.join(format!("{name}-a.db"));
        std::fs::File::create(&file).expect("a file");
        makes(name, Place::Sqlite(file), target).await;
    }
}

/// Killed at any moment of the backfill and of the building: the same command goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_building_goes_on() {
    for target in [postgres("made_kill_p").await, mariadb("made_kill_m").await] {
        let source = postgres("made_kill_a").await;
        fill(&source).await;
        let product = Product::new("kill", &source, &target, None, BODY);
        for pause in [0, 5, 15, 30, 60] {
            let mut running = product.start(&["apply"]);
            if pause > 0 {
                let until = std::time::Instant::now() + Duration::from_secs(30);
                while running.is_running() && !running.stderr().contains("indexes") && std::time::Instant::now() < until
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            running.kill9();
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
        let applied = product.run(&["apply"]).await.expect(0);
        assert!(applied.stdout.contains("in sync"), "{}", applied.stdout);
        is_sound(&target, true).await;
    }
}
