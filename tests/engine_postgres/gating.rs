//! The gate where only PostgreSQL has the case: TRUNCATE, COPY, partitions, replicated writes, prepared transactions.

use std::sync::Arc;

use migrate::error::{Kind, Result};
use migrate::log::codec::Wire;
use migrate::mapping::Layout;
use migrate::store::{Fence, Side, Store, connect};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::Place;

const LONG_MS: i64 = 60_000;

/// The source's gate alone, without capture.
struct Gated {
    place: Place,
    admin: Arc<dyn Store>,
    layout: Layout,
}

impl Gated {
    async fn new(hint: &str, ddl: &str, tables: &[&str]) -> Self {
        let place = Place::new(hint, ddl).await;
        let layout = place.layout("m", tables).await;
        let admin = connect(&place.db.owner_url, &Wire).unwrap();
        admin.install_control(&layout, Side::Source, &place.db.run).await.unwrap();
        admin.make_gate(&layout, Side::Source, &place.db.run, false).await.unwrap();
        Self { place, admin, layout }
    }

    async fn fence(&self, pause_ms: i64) -> Result<i64> {
        let fence = Fence { pause_ms, lock_timeout_ms: 300, cut: 1, grantee: &self.place.db.run, scopes: None };
        self.admin.fence(&self.layout, Side::Source, &fence).await
    }

    async fn unfence(&self) -> Result<()> {
        self.admin.unfence(&self.layout, Side::Source).await
    }

    async fn app(&self) -> PgConnection {
        PgConnection::connect(&self.place.db.app_url).await.unwrap()
    }

    async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.place.db.owner_url).await.unwrap()
    }
}

async fn run(conn: &mut PgConnection, sql: &str) {
    try_run(conn, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

async fn try_run(conn: &mut PgConnection, sql: &str) -> std::result::Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(drop)
}

#[track_caller]
fn is_refusal<T>(done: std::result::Result<T, sqlx::Error>, what: &str) {
    let Err(sqlx::Error::Database(e)) = done else { panic!("accepted: {what}") };
    assert_eq!(e.code().as_deref(), Some("MG002"), "{what}: {e}");
}

#[tokio::test]
async fn truncate_and_copy_are_refused_and_replicated_writes_too() {
    let g = Gated::new("gate_all", "CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')", &["t"])
        .await;
    let (mut app, mut owner) = (g.app().await, g.owner().await);
    let mut replica = PgConnection::connect(&g.place.db.superuser_url).await.unwrap();
    run(&mut replica, "SET session_replication_role = replica").await;
    for decided in [false, true] {
        g.fence(if decided { 1 } else { LONG_MS }).await.unwrap();
        if decided {
            run(&mut owner, "UPDATE \"_migrate_m\".gate_source SET closed = 1 WHERE id = 2").await;
        }
        is_refusal(try_run(&mut owner, "TRUNCATE t").await, "TRUNCATE");
        let mut copy = app.copy_in_raw("COPY t FROM STDIN").await.unwrap();
        copy.send("2\tb\n".as_bytes()).await.unwrap();
        is_refusal(copy.finish().await, "COPY");
        is_refusal(try_run(&mut replica, "INSERT INTO t VALUES (3, 'r')").await, "a replicated write");
        is_refusal(try_run(&mut replica, "TRUNCATE t").await, "a replicated TRUNCATE");
        let merge = "MERGE INTO t USING (VALUES (1)) s(id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = 'm'";
        is_refusal(try_run(&mut app, merge).await, "MERGE");
        is_refusal(try_run(&mut app, "WITH d AS (DELETE FROM t RETURNING id) SELECT * FROM d").await, "a CTE");
        // The mark alone is anybody's to set; the login decides.
        let marked = "BEGIN; SET LOCAL migrate.applier = 'm'; INSERT INTO t VALUES (4, 's')";
        is_refusal(try_run(&mut app, marked).await, "the application with the applier's mark");
        run(&mut app, "ROLLBACK").await;
    }
}

/// The statement was prepared, and its plan kept, before there was a trigger.
#[tokio::test]
async fn a_statement_prepared_before_is_refused() {
    let g = Gated::new(
        "gate_prep",
        "CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t SELECT generate_series(1, 10)",
        &["t"],
    )
    .await;
    let mut app = g.app().await;
    run(&mut app, "SET plan_cache_mode = force_generic_plan; PREPARE w(int) AS UPDATE t SET v = 'p' WHERE id = $1")
        .await;
    for id in 1..=8 {
        run(&mut app, &format!("EXECUTE w({id})")).await;
    }
    let mut old = g.app().await;
    run(&mut old, "PREPARE w(int) AS UPDATE t SET v = 'p' WHERE id = $1; EXECUTE w(10)").await;
    run(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t").await;
    g.fence(LONG_MS).await.unwrap();
    is_refusal(try_run(&mut app, "EXECUTE w(9)").await, "a kept plan");
    is_refusal(try_run(&mut old, "EXECUTE w(10)").await, "a kept plan under an old snapshot");
    run(&mut old, "ROLLBACK").await;
    // The function's own plans are kept by each session too.
    g.unfence().await.unwrap();
    run(&mut app, "EXECUTE w(9)").await;
    for _ in 0..2 {
        let deadline = g.fence(1).await.unwrap();
        while g.admin.now_ms().await.unwrap() <= deadline {}
        run(&mut app, "EXECUTE w(9)").await;
        run(&mut old, "EXECUTE w(10)").await;
        g.fence(LONG_MS).await.unwrap();
        is_refusal(try_run(&mut app, "EXECUTE w(9)").await, "the function of the first fence");
        is_refusal(try_run(&mut old, "EXECUTE w(10)").await, "the function of the first fence");
    }
}

#[tokio::test]
async fn partitions_are_refused_by_their_own_names() {
    let ddl = "CREATE TABLE t(id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
        CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
        CREATE TABLE t21 PARTITION OF t2 FOR VALUES FROM (10) TO (15);
        INSERT INTO t VALUES (1, 'a'), (11, 'b')";
    let g = Gated::new("gate_part", ddl, &["t"]).await;
    let (mut app, mut owner) = (g.app().await, g.owner().await);
    run(&mut app, "BEGIN; INSERT INTO t21 VALUES (12, 'in flight')").await;
    let error = g.fence(LONG_MS).await.expect_err("a writer of a partition");
    assert!(error.is_retry() && error.message().contains(&format!("of {}", g.place.db.app)), "{error}");
    run(&mut app, "COMMIT").await;
    g.fence(LONG_MS).await.unwrap();
    let mut replica = PgConnection::connect(&g.place.db.superuser_url).await.unwrap();
    run(&mut replica, "SET session_replication_role = replica").await;
    for part in ["t", "t1", "t2", "t21"] {
        for sql in [format!("UPDATE {part} SET v = 'x'"), format!("DELETE FROM {part}")] {
            is_refusal(try_run(&mut app, &sql).await, &sql);
            is_refusal(try_run(&mut replica, &sql).await, &sql);
        }
        is_refusal(try_run(&mut owner, &format!("TRUNCATE {part}")).await, part);
    }
    is_refusal(try_run(&mut app, "UPDATE t SET id = 13 WHERE id = 1").await, "a row that moves");
    g.unfence().await.unwrap();
    run(&mut app, "UPDATE t21 SET v = 'y'").await;
    run(&mut owner, "TRUNCATE t1").await;
    let left = "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal";
    assert!(crate::support::query_text(&g.place.db.superuser_url, left).await.is_empty());
}

/// Its session has gone, and it still holds what it wrote.
#[tokio::test]
async fn a_prepared_transaction_is_named() {
    let g = Gated::new("gate_2pc", "CREATE TABLE t(id int PRIMARY KEY, v text)", &["t"]).await;
    let mut app = g.app().await;
    run(&mut app, "BEGIN; INSERT INTO t VALUES (1, 'a'); PREPARE TRANSACTION 'order-4711'").await;
    app.close().await.unwrap();
    let error = g.fence(LONG_MS).await.expect_err("a prepared transaction");
    assert_eq!(error.kind, Kind::Retry, "{error}");
    assert!(error.message().contains(&format!("prepared transaction 'order-4711' of {}", g.place.db.app)), "{error}");
    let mut app = g.app().await;
    run(&mut app, "COMMIT PREPARED 'order-4711'").await;
    g.fence(LONG_MS).await.unwrap();
    is_refusal(try_run(&mut app, "DELETE FROM t").await, "the row is there");
}

/// A process that was slow to free must not take away what another has made meanwhile.
#[tokio::test]
async fn who_frees_late_takes_nothing_away() {
    let g = Gated::new("gate_late", "CREATE TABLE t(id int PRIMARY KEY, v text)", &["t"]).await;
    let (mut app, mut reader) = (g.app().await, g.app().await);
    g.fence(LONG_MS).await.unwrap();
    // A reader keeps the trigger from going: writers are let in all the same.
    run(&mut reader, "BEGIN; SELECT * FROM t").await;
    let error = g.unfence().await.expect_err("a reader");
    assert!(error.is_retry() && error.message().contains("session"), "{error}");
    run(&mut app, "INSERT INTO t VALUES (1, 'a')").await;
    let freeing = async {
        let error = g.unfence().await.expect_err("fenced again, or a reader");
        assert!(matches!(error.kind, Kind::Retry | Kind::Locked), "{error}");
    };
    let fencing = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        g.fence(LONG_MS).await.unwrap();
    };
    tokio::join!(freeing, fencing);
    run(&mut reader, "COMMIT").await;
    is_refusal(try_run(&mut app, "INSERT INTO t VALUES (2, 'b')").await, "fenced again");
    let owner = &mut g.owner().await;
    run(owner, "UPDATE \"_migrate_m\".gate_source SET closed = 1 WHERE id = 2").await;
    g.unfence().await.unwrap();
    is_refusal(try_run(&mut app, "INSERT INTO t VALUES (2, 'b')").await, "decided");
}

/// Source and target of one migration may live in one database: each has its own gate.
#[tokio::test]
async fn two_gates_in_one_database() {
    let ddl = "CREATE TABLE t(id int PRIMARY KEY, v text); CREATE TABLE u(id int PRIMARY KEY, v text)";
    let place = Place::new("gate_two", ddl).await;
    let mut layout = place.layout("m", &["t"]).await;
    layout.tables[0].target = crate::named("u");
    let admin = connect(&place.db.owner_url, &Wire).unwrap();
    for (side, closed) in [(Side::Source, false), (Side::Target, true)] {
        admin.install_control(&layout, side, &place.db.run).await.unwrap();
        admin.make_gate(&layout, side, &place.db.run, closed).await.unwrap();
    }
    let g = Gated { place, admin, layout };
    let mut app = g.app().await;
    run(&mut app, "INSERT INTO t VALUES (1, 'a')").await;
    is_refusal(try_run(&mut app, "INSERT INTO u VALUES (1, 'a')").await, "the target is guarded");
    g.fence(LONG_MS).await.unwrap();
    is_refusal(try_run(&mut app, "INSERT INTO t VALUES (2, 'b')").await, "the source is fenced");
    g.unfence().await.unwrap();
    run(&mut app, "INSERT INTO t VALUES (2, 'b')").await;
    is_refusal(try_run(&mut app, "INSERT INTO u VALUES (1, 'a')").await, "the target is guarded");
}
