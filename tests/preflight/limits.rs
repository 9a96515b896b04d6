//! Counting has an end: a query that takes too long is given up, and its connection serves others as before.

use std::time::{Duration, Instant};

use migrate::error::Result;
use migrate::store::engine::{Engine, Mode, Statement};
use migrate::store::mysql::MySql;
use migrate::store::postgres::Postgres;
use migrate::store::sqlite::Sqlite;

use super::support::MariaDb;
use super::{file, safe_database};

const LONG: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) SELECT count(*) FROM n";
const SHORT: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n";

async fn ask<E: Engine>(engine: &E, tx: &mut E::Tx, sql: &str) -> Result<()> {
    let statement = Statement { sql: sql.to_owned(), args: vec![] };
    engine.query(tx, &statement, &[], &mut |_| Ok(true)).await
}

async fn gives_up<E: Engine>(engine: &E, [long, short]: [&str; 2]) {
    for _ in 0..3 {
        let began = Instant::now();
        let mut tx = engine.begin(Mode::Look).await.expect("a transaction");
        engine.limit_time(&mut tx, 200).await.expect("a limit");
        let error = ask(engine, &mut tx, long).await.expect_err("it goes on and on");
        assert!(error.is_retry() && began.elapsed() < Duration::from_secs(20), "{error} after {:?}", began.elapsed());
        let _ = engine.limit_time(&mut tx, 0).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..3 {
        let mut tx = engine.begin(Mode::Look).await.expect("a transaction");
        ask(engine, &mut tx, short).await.expect("no limit any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(&dir, "a.db", true).await;
    gives_up(&Sqlite::connect(&format!("sqlite://{}", path.display())).expect("a store"), [LONG, SHORT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    gives_up(&Postgres::connect(&safe_database("limits").await.run_url).expect("a store"), [LONG, SHORT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mariadb() {
    let long = "SELECT count(*) FROM seq_1_to_100000000 a, seq_1_to_1000 b WHERE a.seq + b.seq = 7";
    let short = "SELECT count(*) FROM seq_1_to_300000 a WHERE a.seq > 7";
    let url = MariaDb::shared().database("limits").await.run_url;
    gives_up(&MySql::connect(&url).expect("a store"), [long, short]).await;
}
