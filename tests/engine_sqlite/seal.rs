//! Sealing while others write: one state, and a write lock that is held briefly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use migrate::schema::Kind;
use migrate::store::engine::{Engine, Mode, Out, Statement};
use migrate::value::Value;
use sqlx::AssertSqlSafe;

use crate::world::{MIGRATION, World, connect, ints, query};

fn int() -> Out {
    Out { held: Kind::Int { bits: 64 }, wire: Kind::Int { bits: 64 }, exact: false }
}

fn plain(sql: impl Into<String>) -> Statement {
    Statement { sql: sql.into(), args: vec![] }
}

async fn run(connection: &mut sqlx::SqliteConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
}

/// Moves money and keys about until it is told to stop; some of it is rolled back. How much it did.
async fn write(path: std::path::PathBuf, writer: i64, stop: Arc<AtomicBool>) -> i64 {
    let mut c = connect(&path, 10_000).await;
    let mut done = 0i64;
    while !stop.load(Ordering::Relaxed) {
        let (a, b) = ((done * 7 + writer * 13) % 50 + 1, (done * 11 + writer * 3) % 50 + 1);
        let end = if done % 5 == 0 { "ROLLBACK" } else { "COMMIT" };
        let script = format!(
            "BEGIN IMMEDIATE; UPDATE t SET n = n - 1 WHERE id = {a}; \
             UPDATE t SET n = n + 1 WHERE id = {b} AND changes() = 1; \
             UPDATE t SET n = n + 1 WHERE id = {a} AND changes() = 0; \
             UPDATE OR IGNORE t SET id = id + 100 WHERE id = {b}; \
             UPDATE OR IGNORE t SET id = id - 100 WHERE id = {b} + 100; {end}"
        );
        run(&mut c, script).await.unwrap();
        done += 1;
    }
    done
}

/// Writers move money between accounts and change keys; each sealed state must hold all of it, and the marks alone
/// must carry a copy from state to state.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_seal_is_one_state() {
    let mut w = World::new("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT)").await;
    w.sql("WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 50) INSERT INTO t SELECT i, 100 FROM i").await;
    let layout = w.install(&["t"], 1_000_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4).map(|n| tokio::spawn(write(w.path(), n, stop.clone()))).collect();
    let mut copy: std::collections::BTreeMap<i128, i128> = Default::default();
    let dirty = format!("\"_migrate_{MIGRATION}_dirty_1\"");
    let mut first = true;
    let begun = Instant::now();
    let mut seals = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let e = &w.engine;
        let mut tx = e.begin(Mode::Seal(&layout)).await.unwrap();
        let seqs = ints(e, &mut tx, &format!("SELECT seq FROM {dirty}")).await;
        let changed = query(
            e,
            &mut tx,
            &plain(format!("SELECT DISTINCT d.k1, t.n FROM {dirty} d LEFT JOIN t ON t.id = d.k1")),
            &[int(), int()],
        )
        .await
        .unwrap();
        let gone = e.execute(&mut tx, &plain(format!("DELETE FROM {dirty}"))).await.unwrap();
        assert_eq!(gone, seqs.len() as u64);
        let mut tx = e.keep_snapshot(tx).await.unwrap();
        // Others write from here on; the rows are still those of the marks.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let rows = query(e, &mut tx, &plain("SELECT id, n FROM t"), &[int(), int()]).await.unwrap();
        e.execute(&mut tx, &plain(format!("DELETE FROM {dirty} WHERE seq < 0"))).await.unwrap();
        e.commit(tx).await.unwrap();
        let pair = |r: &Vec<Value>| match (&r[0], &r[1]) {
            (Value::Int(k), Value::Int(n)) => (*k, Some(*n)),
            (Value::Int(k), _) => (*k, None),
            _ => panic!("no key"),
        };
        let state: std::collections::BTreeMap<i128, i128> =
            rows.iter().map(|r| (pair(r).0, pair(r).1.unwrap())).collect();
        for (key, n) in changed.iter().map(pair) {
            match n {
                Some(n) => copy.insert(key, n),
                None => copy.remove(&key),
            };
        }
        if first {
            (copy, first) = (state.clone(), false);
        }
        assert_eq!((state.values().sum::<i128>(), state.len()), (5000, 50), "seal {seals}");
        assert_eq!(copy, state, "seal {seals}");
        seals += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let mut writes = 0;
    for writer in writers {
        writes += writer.await.unwrap();
    }
    assert!(seals > 20 && writes > 200, "{seals} seals, {writes} writes");
}

/// How long others wait for the lock while 20,000 rows are read: with the snapshot kept hardly at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_do_not_wait_for_a_chunk() {
    let mut w =
        World::new("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b NUMERIC(10,2), c DATETIME, d TEXT)").await;
    w.sql("WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 20000) \
           INSERT INTO t SELECT i, 'some text of a row ' || i, i / 100.0, '2009-01-02 03:04:05', hex(zeroblob(40)) FROM i").await;
    let layout = w.install(&["t"], 1_000_000).await;
    let outs: Vec<Out> = layout.tables[0]
        .columns
        .iter()
        .map(|c| Out { held: c.source_kind.clone(), wire: c.wire.clone(), exact: false })
        .collect();
    let mut medians = Vec::new();
    for keep in [false, true] {
        let mut held = Vec::new();
        let mut read = Duration::ZERO;
        for _ in 0..5 {
            let e = &w.engine;
            let mut tx = e.begin(Mode::Seal(&layout)).await.unwrap();
            let begun = Instant::now();
            ints(e, &mut tx, &format!("SELECT seq FROM \"_migrate_{MIGRATION}_dirty_1\"")).await;
            e.execute(&mut tx, &plain(format!("DELETE FROM \"_migrate_{MIGRATION}_dirty_1\""))).await.unwrap();
            let mut lock = Duration::ZERO;
            if keep {
                tx = e.keep_snapshot(tx).await.unwrap();
                lock = begun.elapsed();
            }
            let reading = Instant::now();
            let rows =
                query(e, &mut tx, &plain("SELECT id, a, b, c, d FROM t ORDER BY id LIMIT 20000"), &outs).await.unwrap();
            assert_eq!(rows.len(), 20_000);
            read = reading.elapsed();
            let again = if keep { Instant::now() } else { begun };
            e.execute(&mut tx, &plain(format!("DELETE FROM \"_migrate_{MIGRATION}_dirty_1\" WHERE seq < 0")))
                .await
                .unwrap();
            e.commit(tx).await.unwrap();
            held.push(lock + again.elapsed());
        }
        held.sort();
        println!(
            "20000 rows, snapshot kept: {keep}: lock held {:?} (p50) {:?} (max), rows read in {read:?}",
            held[2], held[4]
        );
        medians.push(held[2]);
    }
    assert!(medians[1] * 2 < medians[0], "{medians:?}");
}

#[tokio::test]
async fn a_dropped_transaction_is_undone_and_its_lock_is_free() {
    let mut w = World::new("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT)").await;
    let layout = w.install(&["t"], 100).await;
    for mode in [Mode::Control, Mode::Seal(&layout), Mode::Install, Mode::Apply { layout: &layout, backfill: true }] {
        let mut tx = w.engine.begin(mode).await.unwrap();
        w.engine.execute(&mut tx, &plain("INSERT INTO t VALUES (1, 1)")).await.unwrap();
        drop(tx);
        w.sql("BEGIN IMMEDIATE; ROLLBACK").await;
        assert_eq!(w.quoted("SELECT quote(count(*)) FROM t").await, ["0"]);
    }
}

#[tokio::test]
async fn without_a_write_ahead_log_a_seal_still_is_one_state() {
    let mut w = World::new("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1)").await;
    let layout = w.layout(&["t"], 100).await;
    let mut tx = w.engine.begin(Mode::Seal(&layout)).await.unwrap();
    w.engine.execute(&mut tx, &plain("CREATE TABLE x (y)")).await.unwrap();
    let mut tx = w.engine.keep_snapshot(tx).await.unwrap();
    let rows = query(&w.engine, &mut tx, &plain("SELECT n FROM t"), &[int()]).await.unwrap();
    assert!(rows == [[Value::Int(1)]]);
    w.engine.commit(tx).await.unwrap();
    assert_eq!(w.quoted("SELECT name FROM sqlite_master WHERE name = 'x'").await, ["x"]);
}
