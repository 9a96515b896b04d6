//! Snapshots: at every drained entry the covered ranges are exactly what the source was at one moment, while it is
//! written to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use migrate::entry::{Finding, Range};
use migrate::store::{Sealed, TaskKind, Work};

use crate::link::Wire;
use crate::rig::{On, Rig};

const ACCOUNTS: u64 = 12;
const DDL: &str = "CREATE TABLE x(id {int} NOT NULL PRIMARY KEY, money {int} NOT NULL, v {text});
    CREATE TABLE y(id {int} NOT NULL PRIMARY KEY, money {int} NOT NULL, v {text})";

/// Writers that move money between two tables until they are told to stop.
struct Bank {
    stop: Arc<AtomicBool>,
    moved: Arc<AtomicU64>,
    writers: Vec<tokio::task::JoinHandle<()>>,
}

impl Bank {
    async fn open(rig: &Rig, writers: u64) -> Self {
        let (stop, moved) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut all = Vec::new();
        for w in 0..writers {
            let (mut app, stop, moved, on) = (rig.source.app().await, stop.clone(), moved.clone(), rig.on);
            all.push(tokio::spawn(async move {
                for n in w.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let begin = match (on, n % 3) {
                        (On::Sqlite, _) => "BEGIN IMMEDIATE",
                        (_, 0) => "BEGIN",
                        (On::MariaDb, 1) => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN",
                        (On::MariaDb, _) => "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN",
                        (_, 1) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
                        _ => "BEGIN ISOLATION LEVEL SERIALIZABLE",
                    };
                    let (from, to) = ((n * 7) % ACCOUNTS, (n * 5) % ACCOUNTS);
                    let (a, b) = if n % 2 == 0 { ("x", "y") } else { ("y", "x") };
                    let sql = format!(
                        "{begin}; UPDATE {a} SET money = money - 3 WHERE id = {from}; INSERT INTO {a} VALUES ({}, 1, 'new');
                         UPDATE {b} SET money = money + 2, v = 'n{n}' WHERE id = {to}; {} COMMIT",
                        1000 + n * writers,
                        if n % 5 == 0 { format!("UPDATE {a} SET id = -{n} WHERE id = {};", 1000 + n * writers) } else { String::new() }
                    );
                    match app.try_run(&sql).await {
                        Ok(()) => drop(moved.fetch_add(1, Ordering::Relaxed)),
                        Err(_) => drop(app.try_run("ROLLBACK").await),
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            }));
        }
        Bank { stop, moved, writers: all }
    }

    async fn close(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.unwrap();
        }
        self.moved.load(Ordering::Relaxed)
    }
}

async fn accounts(rig: &Rig) {
    let values = (0..ACCOUNTS).map(|i| format!("({i}, 100, 'a')")).collect::<Vec<_>>().join(", ");
    rig.source.run(&format!("INSERT INTO x VALUES {values}; INSERT INTO y VALUES {values}")).await;
}

/// A seal that loses a race (a lock, a serialization failure) takes over from itself, as a relay does.
async fn patiently(wire: &mut Wire<'_>, work: Work) -> Sealed {
    for _ in 0..200 {
        match wire.seal(work.clone()).await {
            Ok(sealed) => return sealed,
            Err(e) => assert!(e.is_retry(), "{e}"),
        }
        wire.take_over_from_itself().await;
    }
    panic!("it never gets through");
}

async fn money(rig: &Rig) -> i64 {
    let mut app = rig.target.app().await;
    let sum = app.query("SELECT CAST((SELECT sum(money) FROM x) + (SELECT sum(money) FROM y) AS TEXT)").await;
    sum[0].parse().unwrap()
}

pub async fn money_is_neither_made_nor_lost(on: On) {
    let rig = Rig::same(on, DDL, &["x", "y"]).await;
    accounts(&rig).await;
    let mut wire = Wire::synced(&rig).await;
    let bank = Bank::open(&rig, 3).await;
    let (mut drained, mut with_work) = (0, 0);
    for round in 0..60 {
        wire.max_keys = if round % 4 == 3 { 2 } else { 1_000 };
        let tasks = (1..=2).map(|t| wire.task(t, TaskKind::RangeAfter { after: None, max_rows: 100_000 })).collect();
        let sealed = patiently(&mut wire, Work::Compare(tasks)).await;
        let verdicts = wire.deliver(&sealed).await;
        assert!(verdicts.iter().all(|v| v.finding == Finding::Equal), "{verdicts:?}");
        with_work += verdicts.len();
        if sealed.entries.last().is_some_and(|e| e.drained) {
            assert_eq!(money(&rig).await, 2 * 100 * ACCOUNTS as i64, "round {round}");
            drained += 1;
        }
    }
    wire.max_keys = 1_000;
    let moved = bank.close().await;
    wire.drain().await;
    assert_eq!(money(&rig).await, 2 * 100 * ACCOUNTS as i64);
    rig.assert_equal("x", "id, money, v").await;
    rig.assert_equal("y", "id, money, v").await;
    assert!(moved > 20 && drained > 20 && with_work > 20, "moved {moved}, drained {drained}, compared {with_work}");
}

/// While the backfill runs: what is covered is exact at each position, and at its end all is.
pub async fn covered_ranges_are_exact_during_the_backfill(on: On) {
    let rig = Rig::same(on, DDL, &["x", "y"]).await;
    accounts(&rig).await;
    let mut app = rig.source.app().await;
    for i in 0..40 {
        app.run(&format!(
            "INSERT INTO x VALUES ({}, 0, 'old'); INSERT INTO y VALUES ({}, 0, 'old')",
            100 + i,
            -100 - i
        ))
        .await;
    }
    let mut wire = Wire::open(&rig).await;
    wire.chunk_rows = 6;
    let bank = Bank::open(&rig, 2).await;
    let mut compared = 0;
    for table in [1, 2] {
        loop {
            let sealed = patiently(
                &mut wire,
                Work::Chunk { table: migrate::entry::TableId(table), max_rows: 6, max_bytes: 10_000 },
            )
            .await;
            wire.deliver(&sealed).await;
            let Some((_, progress)) = sealed.progress else { continue };
            if progress.frontier.is_some() {
                let covered = Range { after: None, upto: progress.frontier.clone() };
                let task = wire.task(table, TaskKind::Rows { range: covered });
                let sealed = patiently(&mut wire, Work::Compare(vec![task])).await;
                for verdict in wire.deliver(&sealed).await {
                    assert_eq!(verdict.finding, Finding::Equal);
                    compared += 1;
                }
            }
            if progress.done {
                break;
            }
        }
    }
    let moved = bank.close().await;
    wire.drain().await;
    rig.assert_equal("x", "id, money, v").await;
    rig.assert_equal("y", "id, money, v").await;
    wire.assert_digests_equal().await;
    assert!(moved > 5 && compared > 10, "moved {moved}, compared {compared}");
}
