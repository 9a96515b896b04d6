//! A table that somebody holds: the fence gives way, others wait no longer than `lock_timeout` for us, and who holds it is
//! named. And a snapshot that is older than a fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::compare::text_rows;
use crate::support::live::App;
use crate::support::product::{Place, mariadb, postgres};
use crate::{Pair, bank};

const LOCK_TIMEOUT: Duration = Duration::from_millis(300);
/// Until a writer that was let go runs again, on a machine that does other things too.
const MARGIN: Duration = Duration::from_millis(250);
const BOUNDS: &str = "max_write_pause: 3s, max_lag: 30s, lock_timeout: 300ms";

async fn pair(name: &str, source: Place, target: Place) -> Pair {
    Pair::of(name, tempfile::tempdir().expect("a directory"), source, target, None, BOUNDS, "").await
}

/// Sessions of the application that are in a transaction on this store.
async fn sessions(place: &Place) -> Vec<String> {
    let sql = match place {
        Place::Postgres(db) => {
            format!("SELECT pid::text FROM pg_stat_activity WHERE usename = '{}' AND state LIKE 'idle in%'", db.app)
        }
        Place::MariaDb(db) => {
            format!("SELECT CAST(ID AS CHAR) FROM information_schema.PROCESSLIST WHERE USER = '{}'", db.app)
        }
        Place::Sqlite(_) => unreachable!("it keeps no list"),
    };
    let url = match place {
        Place::Postgres(db) => crate::support::compare::StoreRef::Postgres(db.superuser_url.clone()),
        Place::MariaDb(db) => crate::support::compare::StoreRef::MariaDb(db.superuser_url.clone()),
        Place::Sqlite(_) => place.store_ref(),
    };
    text_rows(&url, &sql).await.into_iter().filter_map(|row| row[0].clone()).collect()
}

/// Writes one row again and again; the longest time that one statement took, and how many were accepted.
async fn write(place: Place, account: i64, stop: Arc<AtomicBool>) -> (Duration, u64, u64) {
    let mut app = App::connect(&place).await;
    let (mut longest, mut accepted, mut refused) = (Duration::ZERO, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let done = app
            .exec(&format!(
                "UPDATE account SET tenant = tenant + 0, balance = balance + 1 WHERE tenant = 0 AND id = {account}"
            ))
            .await;
        longest = longest.max(began.elapsed());
        match done {
            Ok(()) => accepted += 1,
            Err(e) if e.to_string().contains("migrate: writes to") => refused += 1,
            Err(e) => panic!("{e}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (longest, accepted, refused)
}

async fn a_long_transaction(pair: Pair) {
    let mut app = App::connect(&pair.source).await;
    app.exec("BEGIN").await.expect("a transaction");
    app.exec("UPDATE account SET balance = balance WHERE tenant = 0 AND id = 1").await.expect("a row");
    app.exec("UPDATE account SET tenant = tenant + 100 WHERE tenant = 0 AND id = 1").await.expect("a row");
    let holder = sessions(&pair.source).await;
    assert_eq!(holder.len(), 1, "{holder:?}");
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (2..5).map(|n| tokio::spawn(write(pair.source.clone(), n, stop.clone()))).collect();
    let began = Instant::now();
    let cut = pair.run(&["cutover"]).await.expect(4);
    assert!(began.elapsed() < Duration::from_secs(15), "it went on trying for {:?}", began.elapsed());
    stop.store(true, Ordering::Relaxed);
    println!("{}", cut.stderr);
    assert!(cut.stderr.contains("not cut over, writes were given back"), "{}", cut.stderr);
    assert!(cut.stderr.contains(&format!("session {} of ", holder[0])), "{holder:?}: {}", cut.stderr);
    for writer in writers {
        let (longest, accepted, refused) = writer.await.expect("a writer");
        println!("the longest statement {longest:?}, {accepted} accepted, {refused} refused");
        assert!(accepted > 10, "{accepted}");
        assert!(longest <= LOCK_TIMEOUT + MARGIN, "a writer waited {longest:?} behind us");
    }
    bank::assert_taken(&pair.source).await;
    app.exec("COMMIT").await.expect("the long transaction goes through");
    pair.assert_untouched().await;
    pair.run(&["cutover"]).await.expect(0);
    pair.assert_moved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_on_postgres_is_named_and_nobody_waits_long() {
    a_long_transaction(pair("o-held-p", postgres("o_held_ps").await, postgres("o_held_pt").await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_on_mariadb_is_named_and_nobody_waits_long() {
    a_long_transaction(pair("o-held-m", mariadb("o_held_ms").await, mariadb("o_held_mt").await).await).await;
}

/// It reads before the fence and writes behind it, or behind the decision.
async fn an_old_snapshot(pair: Pair) {
    let sql = match pair.source {
        Place::Postgres(_) => ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM transfer"],
        _ => ["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; BEGIN", "SELECT count(*) FROM transfer"],
    };
    // On MariaDB a snapshot as old as the gate is waited for, and seconds are what its age is told in.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut apps = vec![];
    for _ in 0..2 {
        let mut app = App::connect(&pair.source).await;
        for sql in sql {
            app.exec(sql).await.expect("a snapshot");
        }
        apps.push(app);
    }
    pair.run(&["cutover"]).await.expect(0);
    // Past the fence's deadline, which an older snapshot obeys too: now only the decision refuses.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    for (app, stray) in apps.iter_mut().zip([
        "INSERT INTO transfer (id, tenant, debit, credit, amount) VALUES (-7, 0, 1, 1, 0)",
        "UPDATE account SET balance = balance + 1000 WHERE tenant = 0 AND id = 9",
    ]) {
        let error = app.exec(stray).await.expect_err("a snapshot from before wrote behind the fence").to_string();
        let is_told = error.contains("migrate: writes to") || error.contains("could not serialize");
        assert!(is_told, "{error}");
        let _ = app.exec("ROLLBACK").await;
    }
    pair.assert_moved().await;
    pair.run(&["apply"]).await.expect(0);
    bank::assert_same(&pair.source, &pair.target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_on_postgres_writes_nothing_behind_it() {
    an_old_snapshot(pair("o-old-p", postgres("o_old_ps").await, postgres("o_old_pt").await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_on_mariadb_writes_nothing_behind_it() {
    an_old_snapshot(pair("o-old-m", mariadb("o_old_ms").await, mariadb("o_old_mt").await).await).await;
}
