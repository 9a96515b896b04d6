//! Ranges of numbers: the application's rows outside are refused, the applier's pass, and on return every number that was
//! given out before is visible.

use std::time::Duration;

use migrate::entry::TableId;
use migrate::schema::TableName;
use migrate::store::{NumberRange, Side};

use crate::app::App;
use crate::control::catalogue;
use crate::gated::begin;
use crate::link::Wire;
use crate::rig::{End, On, Rig};

fn range(rig: &Rig, side: Side, from: Option<i64>, until: Option<i64>) -> NumberRange {
    let map = &rig.layout.tables[0];
    let table: TableName = if side == Side::Source { map.source.clone() } else { map.target.clone() };
    let id: TableId = map.id;
    NumberRange { id, table, column: "id".into(), from, until }
}

async fn hang(rig: &Rig, end: &End, side: Side, from: Option<i64>, until: Option<i64>) {
    let login = end.store.who().await.unwrap();
    for _ in 0..40 {
        match end.admin.hang_range(&rig.layout, side, &login, &range(rig, side, from, until)).await {
            Err(e) if e.is_retry() => {}
            done => return done.unwrap(),
        }
    }
    panic!("it is never hung");
}

async fn drop_all(rig: &Rig, end: &End, side: Side) {
    for _ in 0..40 {
        match end.admin.drop_ranges(&rig.layout, side).await {
            Err(e) if e.is_retry() => {}
            done => return done.unwrap(),
        }
    }
    panic!("it never goes");
}

async fn refused(on: On, app: &mut App, sql: &str) {
    let Err(sqlx::Error::Database(e)) = app.try_run(sql).await else { panic!("accepted: {sql}") };
    assert!(e.message().starts_with("migrate: this store's numbers of t are"), "{sql}: {e}");
    let known = match on {
        On::Postgres => "MG003",
        On::MariaDb => "45000",
        On::Sqlite => "1811",
    };
    assert_eq!(e.code().unwrap_or_default(), known, "{sql}");
}

pub async fn numbers_outside_are_refused_and_the_appliers_pass(on: On) {
    let rig = Rig::plain(on).await;
    let (source, target) = (&rig.source, &rig.target);
    source.run("INSERT INTO t VALUES (1, 'a'), (500, 'b')").await;
    let mut wire = Wire::synced(&rig).await;
    let before = (catalogue(source).await, catalogue(target).await);
    let print = source.store.fingerprint(&rig.layout).await.unwrap();
    for _ in 0..2 {
        hang(&rig, source, Side::Source, None, Some(100)).await;
        hang(&rig, target, Side::Target, Some(10), Some(20)).await;
    }
    assert_eq!(source.store.fingerprint(&rig.layout).await.unwrap(), print, "capture is as it was");
    let (mut here, mut there) = (source.app().await, target.app().await);
    refused(on, &mut here, "INSERT INTO t VALUES (100, 'x')").await;
    refused(on, &mut here, "INSERT INTO t VALUES (2, 'x'), (200, 'x')").await;
    refused(on, &mut here, "UPDATE t SET id = 300 WHERE id = 1").await;
    // Rows of before stay, wherever their numbers are.
    here.run(
        "UPDATE t SET v = 'y' WHERE id = 500; INSERT INTO t VALUES (99, 'in'); UPDATE t SET id = 98 WHERE id = 99",
    )
    .await;
    here.run("DELETE FROM t WHERE id = 500").await;
    for id in [9, 20] {
        refused(on, &mut there, &format!("INSERT INTO t VALUES ({id}, 'x')")).await;
    }
    there.run("INSERT INTO t VALUES (10, 'own'), (19, 'own'); DELETE FROM t WHERE id IN (10, 19)").await;
    // 98 is outside of the target's.
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    // Another boundary takes the place of the first.
    hang(&rig, source, Side::Source, Some(1_000), None).await;
    refused(on, &mut here, "INSERT INTO t VALUES (2, 'x')").await;
    here.run("INSERT INTO t VALUES (1000, 'x')").await;
    for _ in 0..2 {
        drop_all(&rig, source, Side::Source).await;
        drop_all(&rig, target, Side::Target).await;
    }
    here.run("INSERT INTO t VALUES (2, 'x'), (70000, 'x')").await;
    assert_eq!((catalogue(source).await, catalogue(target).await), before);
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
}

pub async fn on_return_nobody_writes_who_was_not_asked(on: On) {
    let rig = Rig::plain(on).await;
    let source = &rig.source;
    let mut app = source.app().await;
    app.run(begin(on)).await;
    app.run("INSERT INTO t VALUES (200, 'before')").await;
    let commits = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        app.run("COMMIT").await;
        app
    };
    let (mut app, ()) = tokio::join!(commits, hang(&rig, source, Side::Source, None, Some(100)));
    let column = rig.layout.tables[0].source.clone();
    let greatest = source.admin.greatest_number(&column, "id", None).await.unwrap();
    assert_eq!(greatest, Some(200), "what was written before is seen");
    assert_eq!(source.admin.greatest_number(&column, "id", Some(200)).await.unwrap(), None);
    refused(on, &mut app, "INSERT INTO t VALUES (201, 'x')").await;
    if on != On::Sqlite {
        // A snapshot that is older than the boundary is no way around it.
        let begin = match on {
            On::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            _ => "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        };
        app.run(begin).await;
        if on == On::Postgres {
            app.query("SELECT 1::text").await;
        }
        hang(&rig, source, Side::Source, None, Some(50)).await;
        refused(on, &mut app, "INSERT INTO t VALUES (60, 'x')").await;
    }
}
