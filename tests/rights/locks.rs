//! Installing and removing triggers while others hold the table: no writer waits longer than the short lock time-out.

use super::{database, sqlite};
use crate::support::live::App;
use crate::support::product::{Place, Product};
use crate::support::sql::sqlite_connect;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The product's time-out for locks that stop writers, and what a busy machine adds to it.
const LOCK: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_millis(700);
/// How long the table is held: far more than that.
const HELD: Duration = Duration::from_millis(3_500);

const TABLE: &str =
    "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v BIGINT NOT NULL); INSERT INTO t VALUES (1, 1), (2, 1)";
const PLAN: &str = "create_tables: true\ntables:\n  - from: t\n";

/// A writer that measures its longest statement, and how often it wrote.
struct Stopwatch {
    stop: Arc<AtomicBool>,
    wrote: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Duration>,
}

impl Stopwatch {
    fn start(place: &Place) -> Self {
        let (stop, wrote, place) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), place.clone());
        let (stopped, counted) = (stop.clone(), wrote.clone());
        let task = tokio::spawn(async move {
            let mut app = App::connect(&place).await;
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                app.exec("UPDATE t SET v = v + 1 WHERE id = 2").await.expect("a write");
                longest = longest.max(began.elapsed());
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            longest
        });
        Self { stop, wrote, task }
    }

    async fn stop(self, about: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let longest = self.task.await.expect("a writer");
        let wrote = self.wrote.load(Ordering::Relaxed);
        println!("{about}: the longest write took {longest:?}, {wrote} writes");
        assert!(longest < LOCK + SLACK, "{about}: a writer waited {longest:?}");
        assert!(wrote > 20, "{about}: {wrote} writes");
    }
}

/// A transaction that has done this and then does nothing.
async fn idle(url: &str, sql: &str) -> PgConnection {
    let mut conn = PgConnection::connect(url).await.expect("a connection");
    sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {sql}"))).execute(&mut conn).await.expect("a transaction");
    conn
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_nobody_waits_for_triggers() {
    let (from, to) = (database("locks_from").await, database("locks_to").await);
    to.grant_target_rights().await;
    let (source, target) = (Place::Postgres(from.clone()), Place::Postgres(to));
    source.exec(TABLE).await;
    let before = source.catalogue().await;
    let product = Product::new("locks", &source, &target, None, PLAN);

    for (about, args, done) in
        [("install", &["apply"][..], false), ("abort", &["abort", "--drop-created", "--yes"], true)]
    {
        let reader = idle(&from.app_url, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t").await;
        let writer = idle(&from.app_url, "UPDATE t SET v = 7 WHERE id = 1").await;
        let watch = Stopwatch::start(&source);
        let mut running = product.start(args);
        tokio::time::sleep(HELD).await;
        assert!(running.is_running(), "{about}: the table is held, but it ended:\n{}", running.stderr());
        drop(writer);
        if !done {
            drop(reader);
        } else {
            // A reader alone stands in the way of removing a trigger.
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(running.is_running(), "{about}: {}", running.stderr());
            drop(reader);
        }
        assert_eq!(running.wait().await, 0, "{about}: {}", running.stderr());
        watch.stop(about).await;
    }
    assert_eq!(source.catalogue().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_nobody_waits_for_triggers() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (sqlite(&dir, "a.db"), sqlite(&dir, "b.db"));
    source.exec("PRAGMA journal_mode = WAL").await;
    source.exec(TABLE).await;
    let before = source.catalogue().await;
    let Place::Sqlite(path) = &source else { unreachable!() };
    let mut reader = sqlite_connect(path).await;
    sqlx::raw_sql("BEGIN; SELECT * FROM t").execute(&mut reader).await.expect("a reader");
    let product = Product::new("locks", &source, &target, None, PLAN);
    let watch = Stopwatch::start(&source);
    product.run(&["apply"]).await.expect(0);
    product.run(&["verify"]).await.expect(0);
    product.run(&["abort", "--drop-created", "--yes"]).await.expect(0);
    watch.stop("SQLite").await;
    reader.close().await.expect("close");
    assert_eq!(source.catalogue().await, before);
}
