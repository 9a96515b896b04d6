//! The gate where only MariaDB has the case: prepared XA transactions, snapshots older than the gate, set clocks, names
//! at their limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use migrate::error::{Kind, Result};
use migrate::log::codec::Wire;
use migrate::mapping::Layout;
use migrate::store::mysql::MySql;
use migrate::store::{Fence, Side, Store, connect};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::support::{MariaDb, mysql_exec, mysql_query_text};
use crate::{Place, named};

const LONG_MS: i64 = 60_000;
const TABLE: &str = "CREATE TABLE t(id int PRIMARY KEY, v text); CREATE TABLE other(id int PRIMARY KEY)";

struct Gated {
    place: Place,
    admin: Arc<dyn Store>,
    layout: Layout,
    who: String,
}

impl Gated {
    /// The gate of the source, not made yet.
    async fn bare(hint: &str, migration: &str, ddl: &str, table: &str) -> Self {
        Self::at(Place::new(hint, ddl).await, migration, table).await
    }

    async fn at(place: Place, migration: &str, table: &str) -> Self {
        let layout = place.layout(migration, &[table]).await;
        let admin = connect(&place.db.owner_url, &Wire).unwrap();
        let who = place.admin_name().await;
        Self { place, admin, layout, who }
    }

    async fn new(hint: &str) -> Self {
        let g = Self::bare(hint, "m", TABLE, "t").await;
        g.make().await;
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        g
    }

    async fn make(&self) {
        self.admin.install_control(&self.layout, Side::Source, &self.who).await.unwrap();
        self.admin.make_gate(&self.layout, Side::Source, &self.who, false).await.unwrap();
    }

    async fn fence(&self, pause_ms: i64) -> Result<i64> {
        let fence = Fence { pause_ms, lock_timeout_ms: 300, cut: 1, grantee: &self.who, scopes: None };
        self.admin.fence(&self.layout, Side::Source, &fence).await
    }

    async fn app(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.place.db.app_url).await.unwrap()
    }
}

impl Place {
    async fn admin_name(&self) -> String {
        connect(&self.db.run_url, &Wire).unwrap().who().await.unwrap()
    }
}

async fn try_run(conn: &mut MySqlConnection, sql: &str) -> std::result::Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(drop)
}

async fn run(conn: &mut MySqlConnection, sql: &str) {
    try_run(conn, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

async fn is_refused(conn: &mut MySqlConnection, sql: &str) {
    let Err(sqlx::Error::Database(e)) = try_run(conn, sql).await else { panic!("accepted: {sql}") };
    assert_eq!(e.code().as_deref(), Some("45000"), "{sql}: {e}");
}

#[tokio::test]
async fn a_prepared_transaction_is_named() {
    let g = Gated::new("gate_xa").await;
    let mut app = g.app().await;
    let xid = format!("order-{}", g.place.db.name);
    run(&mut app, &format!("XA START '{xid}'; INSERT INTO t VALUES (1, 'a'); XA END '{xid}'; XA PREPARE '{xid}'"))
        .await;
    app.close().await.unwrap();
    let begun = Instant::now();
    let error = g.fence(LONG_MS).await.expect_err("a prepared transaction");
    assert!(begun.elapsed() < Duration::from_millis(2_000), "{:?}", begun.elapsed());
    assert_eq!(error.kind, Kind::Retry, "{error}");
    assert!(error.message().contains(&format!("prepared transaction '{xid}'")), "{error}");
    let mut app = g.app().await;
    run(&mut app, &format!("XA COMMIT '{xid}'")).await;
    g.fence(LONG_MS).await.unwrap();
    is_refused(&mut app, "DELETE FROM t").await;
}

/// What it shared is forgotten in a restart; what it wrote is not.
#[tokio::test]
async fn a_prepared_transaction_that_outlived_the_server_is_named() {
    let mut server = MariaDb::start(&[]);
    let db = server.database("gate_xr").await;
    mysql_exec(&db.owner_url, TABLE).await;
    let (admin, run_store) = (MySql::connect(&db.owner_url).unwrap(), MySql::connect(&db.run_url).unwrap());
    let g = Gated::at(Place { db, admin, run: run_store }, "m", "t").await;
    g.make().await;
    let mut app = g.app().await;
    run(&mut app, "XA START 'late'; INSERT INTO t VALUES (1, 'a'); XA END 'late'; XA PREPARE 'late'").await;
    server.kill9();
    server.restart();
    let mut tries = 0;
    let error = loop {
        match g.fence(LONG_MS).await.expect_err("a prepared transaction") {
            e if e.message().contains("prepared") || tries == 20 => break e,
            _ => tries += 1,
        }
    };
    assert!(error.is_retry() && error.message().contains("prepared transaction 'late'"), "{error}");
    let mut app = g.app().await;
    run(&mut app, "XA COMMIT 'late'").await;
    g.fence(LONG_MS).await.unwrap();
    is_refused(&mut app, "DELETE FROM t").await;
}

/// Before the gate's table there was nothing to lock: such a writer passes, and the fence waits for its end.
#[tokio::test]
async fn a_snapshot_older_than_the_gate_passes_and_is_waited_for() {
    let g = Gated::bare("gate_old", "m", TABLE, "t").await;
    let mut old = g.app().await;
    run(&mut old, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT").await;
    run(&mut old, "SELECT count(*) FROM other").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    g.make().await;
    run(&mut old, "INSERT INTO t VALUES (1, 'old')").await;
    let error = g.fence(LONG_MS).await.expect_err("an older transaction");
    assert_eq!(error.kind, Kind::Retry, "{error}");
    assert!(error.message().contains(&format!("of {}, older than the gate", g.place.db.app)), "{error}");
    run(&mut old, "COMMIT").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    g.fence(LONG_MS).await.unwrap();
    is_refused(&mut old, "DELETE FROM t").await;
}

#[tokio::test]
async fn a_session_can_not_set_its_clock_past_the_deadline() {
    let g = Gated::new("gate_clock").await;
    let mut app = g.app().await;
    g.fence(LONG_MS).await.unwrap();
    for set in ["SET timestamp = 4000000000", "SET time_zone = '+13:00'", "SET time_zone = '-12:00'"] {
        run(&mut app, set).await;
        is_refused(&mut app, "INSERT INTO t VALUES (1, 'a')").await;
    }
}

/// The application's own waits stay what they were.
#[tokio::test]
async fn a_refused_statement_leaves_no_lock_behind() {
    let g = Gated::new("gate_left").await;
    g.fence(LONG_MS).await.unwrap();
    let mut app = g.app().await;
    run(&mut app, "BEGIN").await;
    is_refused(&mut app, "INSERT INTO t VALUES (1, 'a')").await;
    g.admin.unfence(&g.layout, Side::Source).await.unwrap();
    run(&mut app, "ROLLBACK; INSERT INTO t VALUES (1, 'a')").await;
    // Who passed and does not end keeps the fence's row: unfencing gives up soon, and names it.
    let deadline = g.fence(1).await.unwrap();
    while g.admin.now_ms().await.unwrap() <= deadline {}
    run(&mut app, "BEGIN; INSERT INTO t VALUES (2, 'b')").await;
    let begun = Instant::now();
    let error = g.admin.unfence(&g.layout, Side::Source).await.expect_err("a writer shares the row");
    assert!(error.is_retry() && error.message().contains(&format!("of {}", g.place.db.app)), "{error}");
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    run(&mut app, "COMMIT").await;
    g.admin.unfence(&g.layout, Side::Source).await.unwrap();
}

#[tokio::test]
async fn long_names_fit() {
    let table = "t".repeat(64);
    let ddl = format!("CREATE TABLE `{table}`(id int PRIMARY KEY, v text)");
    let mut g = Gated::bare("gate_long", &"m".repeat(48), &ddl, &table).await;
    g.layout.tables[0].id = migrate::entry::TableId(65_535);
    assert_eq!(g.layout.tables[0].source, named(&table));
    g.make().await;
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    g.fence(LONG_MS).await.unwrap();
    let mut app = g.app().await;
    is_refused(&mut app, &format!("INSERT INTO `{table}` VALUES (1, 'a')")).await;
    assert!(!g.admin.remove(&g.layout.migration).await.unwrap().is_empty());
    let left =
        format!("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{}'", g.place.db.name);
    assert!(mysql_query_text(&g.place.db.superuser_url, &left).await.is_empty());
    run(&mut app, &format!("INSERT INTO `{table}` VALUES (1, 'a')")).await;
}
