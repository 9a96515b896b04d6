//! The gate: from a fence's return no write of the application is accepted, whatever it saw before, and all that was
//! accepted is visible; it opens by itself; the owner's row refuses for good; the applier passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use migrate::entry::Link;
use migrate::error::Kind;
use migrate::mapping::{BACK, Layout};
use migrate::store::{Fence, Side};

use crate::app::App;
use crate::control::catalogue;
use crate::gated::{Gated, LITTLE, LOCK_MS, LONG_MS, begin, behind, every_write, own, owning, refused, session};
use crate::link::Wire;
use crate::rig::{On, Rig};

pub async fn a_fence_refuses_every_write_and_opens_by_itself(on: On) {
    let g = Gated::new(on).await;
    let (store, layout) = (&g.source().store, &g.rig.layout);
    let mut app = g.source().app().await;
    let before = store.fingerprint(layout).await.unwrap();
    let deadline = g.fence(3_000).await;
    for sql in every_write(on) {
        refused(on, &mut app, sql).await;
    }
    assert_eq!(app.rows("t", "id, v").await, ["1|a", "2|b"], "reading goes on");
    let gate = store.gate(layout, Side::Source).await.unwrap();
    assert!(gate.fenced && gate.deadline_ms == deadline && gate.cut == 1 && !gate.closed && gate.now_ms < deadline);
    assert_eq!(store.fingerprint(layout).await.unwrap(), before, "capture is as it was");
    behind(store, deadline).await;
    app.run("INSERT INTO t VALUES (3, 'c')").await;
    app.run("UPDATE t SET v = 'x'; DELETE FROM t WHERE id = 3").await;
    // Decided: no deadline counts any more.
    g.own(true).await;
    for sql in every_write(on) {
        refused(on, &mut app, sql).await;
    }
    g.unfence().await;
    g.unfence().await;
    refused(on, &mut app, "DELETE FROM t").await;
    g.own(false).await;
    app.run("INSERT INTO t VALUES (9, 'i')").await;
    g.unfence().await;
    app.run("DELETE FROM t WHERE id = 9").await;
    assert_eq!(app.rows("t", "id, v").await, ["1|x", "2|x"]);
    assert_eq!(store.fingerprint(layout).await.unwrap(), before);
}

pub async fn it_is_taken_away_at_once_and_twice_is_harmless(on: On) {
    let g = Gated::new(on).await;
    let before = catalogue(g.source()).await;
    let mut app = g.source().app().await;
    g.unfence().await;
    for round in 0..3 {
        let first = g.fence(LONG_MS).await;
        let second = g.fence(LONG_MS).await;
        assert!(second >= first);
        refused(on, &mut app, "DELETE FROM t").await;
        g.unfence().await;
        app.run(&format!("INSERT INTO t VALUES ({}, 'z')", 10 + round)).await;
        g.unfence().await;
        app.run("UPDATE t SET v = 'u'").await;
    }
    let gate = g.source().store.gate(&g.rig.layout, Side::Source).await.unwrap();
    assert!(!gate.fenced && !gate.closed);
    assert_eq!(catalogue(g.source()).await, before, "an open gate hangs as it hung before");
    // A shorter fence counts, where a longer one was.
    g.fence(LONG_MS).await;
    let deadline = g.fence(200).await;
    behind(&g.source().store, deadline).await;
    app.run("UPDATE t SET v = 'w'").await;
}

/// Nobody waits longer than the time-out: neither the fence nor the writers behind it.
pub async fn a_transaction_in_flight_is_waited_for_and_named(on: On) {
    let g = Gated::new(on).await;
    let (mut app, mut other) = (g.source().app().await, g.source().app().await);
    let who = session(&mut app).await;
    app.run(&format!("{}; INSERT INTO t VALUES (7, 'in flight')", begin(on))).await;
    let done = AtomicBool::new(false);
    let writing = async {
        let (mut longest, mut id) = (Duration::ZERO, 1_000);
        while on != On::Sqlite && !done.load(Ordering::Relaxed) {
            id += 1;
            let begun = Instant::now();
            // Tables are fenced one after another, and rows before waits: refused is as good as done.
            let _ = other.try_run(&format!("INSERT INTO t VALUES ({id}, 'other')")).await;
            longest = longest.max(begun.elapsed());
        }
        longest
    };
    let fencing = async {
        let begun = Instant::now();
        let error = g.try_fence(LONG_MS).await.expect_err("a writer is in flight");
        let waited = begun.elapsed();
        tokio::time::sleep(Duration::from_millis(50)).await;
        done.store(true, Ordering::Relaxed);
        (error, waited)
    };
    let ((error, waited), longest) = tokio::join!(fencing, writing);
    let limit = Duration::from_millis(LOCK_MS as u64) + LITTLE;
    assert_eq!(error.kind, Kind::Retry, "{error}");
    assert!(error.message().contains(&who), "{error} does not name {who}");
    assert!(waited < limit && longest < limit, "the fence waited {waited:?}, a writer {longest:?}");
    assert!(!error.message().contains("in flight"), "a value: {error}");
    app.run("COMMIT").await;
    g.fence(LONG_MS).await;
    let rows = g.source().store.backlog(&g.rig.layout, 10_000).await.unwrap();
    assert!(rows[0].1 >= 3, "marks of what was in flight");
    assert!(g.source().rows("t", "id, v").await.contains(&"7|in flight".to_owned()));
    refused(on, &mut app, "DELETE FROM t").await;
    refused(on, &mut other, "DELETE FROM t").await;
}

/// Writers that hammer through twenty fences.
pub async fn nothing_is_accepted_behind_a_fence(on: On) {
    let g = Gated::new(on).await;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(1_000)));
    let mut writers = Vec::new();
    for n in 0..3 {
        let (mut app, stop, next) = (g.source().app().await, stop.clone(), next.clone());
        writers.push(tokio::spawn(async move {
            let (mut acknowledged, mut refusals) = (Vec::new(), 0);
            let write = if n == 0 { "BEGIN; UPDATE t SET v = 'h' WHERE id = 1; " } else { "" };
            while !stop.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let write = if on == On::Sqlite { write.replace("BEGIN", "BEGIN IMMEDIATE") } else { write.to_owned() };
                let commit = if n == 0 { "; COMMIT" } else { "" };
                match app.try_run(&format!("{write}INSERT INTO t VALUES ({id}, 'w'){commit}")).await {
                    Ok(()) => acknowledged.push(id),
                    Err(e) => {
                        let own = e.to_string();
                        assert!(own.contains("migrate: writes to t are refused"), "{own}");
                        refusals += 1;
                        if n == 0 {
                            let _ = app.try_run("ROLLBACK").await;
                        }
                    }
                }
            }
            (acknowledged, refusals)
        }));
    }
    let mut reader = g.source().app().await;
    for round in 0..20 {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let deadline = g.fence(LONG_MS).await;
        let at_once = reader.rows("t", "id, v").await;
        tokio::time::sleep(Duration::from_millis(25)).await;
        assert_eq!(reader.rows("t", "id, v").await, at_once, "round {round}: a write behind the fence");
        assert!(g.source().store.now_ms().await.unwrap() < deadline);
        g.unfence().await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut total, mut ledgers) = ((0, 0), Vec::new());
    for writer in writers {
        ledgers.push(writer.await.unwrap());
    }
    let there = reader.rows("t", "id").await;
    for (acknowledged, refusals) in ledgers {
        assert!(acknowledged.iter().all(|id| there.contains(&id.to_string())), "an acknowledged write is gone");
        total = (total.0 + acknowledged.len(), total.1 + refusals);
    }
    assert!(total.0 > 20 && total.1 > 20, "{total:?}: nobody hammered");
}

/// Isolation levels, as the application may choose them: each transaction has read the table before.
fn snapshots(on: On) -> Vec<&'static str> {
    match on {
        On::Postgres => vec![
            "BEGIN ISOLATION LEVEL READ COMMITTED",
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
        ],
        On::MariaDb => vec![
            "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; BEGIN",
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN",
        ],
        On::Sqlite => vec!["BEGIN"],
    }
}

/// Each has a row of its own, which it may lock by reading it.
async fn readers(g: &Gated, first: usize) -> Vec<(usize, App)> {
    let mut all = Vec::new();
    for (row, begin) in (first..).zip(snapshots(g.rig.on)) {
        let mut app = g.source().app().await;
        app.run(begin).await;
        app.rows(&format!("t WHERE id = {row}"), "id, v").await;
        all.push((row, app));
    }
    all
}

async fn nobody_writes(on: On, apps: Vec<(usize, App)>, what: &str) {
    for ((row, mut app), begin) in apps.into_iter().zip(snapshots(on)) {
        let done = app.try_run(&format!("UPDATE t SET v = 'stale' WHERE id = {row}")).await;
        done.expect_err(&format!("{what}: {begin}"));
        let _ = app.try_run("ROLLBACK").await;
        app.close().await;
    }
}

pub async fn a_snapshot_from_before_does_not_get_by(on: On) {
    let g = Gated::new(on).await;
    g.source().run("INSERT INTO t VALUES (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f'), (7, 'g'), (8, 'h'), (9, 'i')").await;
    for round in 0..2 {
        let early = readers(&g, 1).await;
        g.fence(LONG_MS).await;
        nobody_writes(on, early, "fenced").await;
        // The trigger hangs already: the new deadline counts for who runs it since before.
        let early = readers(&g, 1).await;
        let deadline = g.fence(300).await;
        behind(&g.source().store, deadline).await;
        if round == 0 {
            let mut app = g.source().app().await;
            app.run("UPDATE t SET v = 'between' WHERE id = 9").await;
            app.close().await;
        }
        let late = readers(&g, 5).await;
        g.own(true).await;
        nobody_writes(on, early, "decided, from before the fence").await;
        nobody_writes(on, late, "decided, from before the decision").await;
        // The fence's row tells nothing of the owner's.
        g.own(false).await;
        let early = readers(&g, 1).await;
        g.fence(LONG_MS).await;
        g.own(true).await;
        g.unfence().await;
        nobody_writes(on, early, "decided, and the fence taken away").await;
        assert!(!g.source().rows("t", "v").await.contains(&"stale".to_owned()));
        g.own(false).await;
        g.unfence().await;
        g.source().run("UPDATE t SET v = 'open'").await;
    }
}

/// A fence is made again with a later deadline while the trigger hangs, and a writer runs behind the first.
pub async fn a_second_fence_waits_for_who_passed_the_first(on: On) {
    let g = Gated::new(on).await;
    let deadline = g.fence(100).await;
    behind(&g.source().store, deadline).await;
    let mut app = g.source().app().await;
    app.run(&format!("{}; INSERT INTO t VALUES (7, 'in flight')", begin(on))).await;
    let error = g.try_fence(LONG_MS).await.expect_err("a writer is in flight");
    assert_eq!(error.kind, Kind::Retry, "{error}");
    app.run("COMMIT").await;
    g.fence(LONG_MS).await;
    refused(on, &mut app, "DELETE FROM t").await;
}

/// The fence has expired, a writer has passed and not committed: the decision waits for it, and it for nobody.
pub async fn the_decision_waits_for_who_passed(on: On) {
    let g = Gated::new(on).await;
    let mut early = g.source().app().await;
    let old = match on {
        On::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        _ => "BEGIN",
    };
    let deadline = g.fence(100).await;
    behind(&g.source().store, deadline).await;
    early.run(old).await;
    early.rows("t", "id, v").await;
    let mut passed = g.source().app().await;
    passed.run(&format!("{}; INSERT INTO t VALUES (7, 'passed')", begin(on))).await;
    let mut owner = g.source().owner().await;
    let m = g.rig.m().to_owned();
    let deciding = tokio::spawn(async move {
        owner.run(&owning(on, &m, "gate_source", true)).await;
        Instant::now()
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!deciding.is_finished(), "decided while a writer that passed was still writing");
    passed.run("INSERT INTO t VALUES (8, 'passed')").await;
    let committing = Instant::now();
    passed.run("COMMIT").await;
    assert!(deciding.await.unwrap() >= committing);
    early.try_run("UPDATE t SET v = 'stale' WHERE id = 1").await.expect_err("an older snapshot");
    let _ = early.try_run("ROLLBACK").await;
    refused(on, &mut passed, "DELETE FROM t").await;
    let rows = g.source().rows("t", "id").await;
    assert!(rows.contains(&"7".to_owned()) && rows.contains(&"8".to_owned()));
}

/// The target's gate from the beginning: the applier writes, the application does not.
pub async fn a_guard_refuses_the_application_and_not_the_applier(on: On) {
    let rig = Rig::plain(on).await;
    let (end, layout) = (&rig.target, &rig.layout);
    let login = end.store.who().await.unwrap();
    for _ in 0..2 {
        end.admin.make_gate(layout, Side::Target, &login, true).await.unwrap();
    }
    let mut app = end.app().await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source
        .run("UPDATE t SET v = 'c' WHERE id = 2; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3, 'd')")
        .await;
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    for sql in every_write(on).into_iter().filter(|sql| !sql.contains("WHERE id = 1")) {
        refused(on, &mut app, sql.replace("(3,", "(33,").as_str()).await;
    }
    // The login of daily work is no applier outside of an applier's transaction.
    let fence = Fence { pause_ms: 100, lock_timeout_ms: LOCK_MS, cut: 1, grantee: &login, scopes: None };
    let deadline = end.admin.fence(layout, Side::Target, &fence).await.unwrap();
    rig.source.run("INSERT INTO t VALUES (4, 'fenced')").await;
    wire.drain().await;
    behind(&end.store, deadline).await;
    refused(on, &mut app, "DELETE FROM t").await;
    for _ in 0..2 {
        end.admin.unfence(layout, Side::Target).await.unwrap();
        refused(on, &mut app, "DELETE FROM t").await;
    }
    rig.source.run("INSERT INTO t VALUES (5, 'guarded')").await;
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    own(end, rig.m(), "gate_target", false).await;
    app.run("INSERT INTO t VALUES (50, 'app')").await;
    end.admin.unfence(layout, Side::Target).await.unwrap();
    // Once it is open, making it again changes nothing.
    end.admin.make_gate(layout, Side::Target, &login, true).await.unwrap();
    app.run("DELETE FROM t WHERE id = 50").await;
    assert!(!end.store.gate(layout, Side::Target).await.unwrap().closed);
}

/// The reverse link speaks of the same two gates, with source and target swapped.
pub async fn both_links_speak_of_one_gate(on: On) {
    let g = Gated::new(on).await;
    let mut back: Layout = g.rig.layout.clone();
    back.migration = format!("{}{BACK}", g.rig.m());
    for map in &mut back.tables {
        std::mem::swap(&mut map.source, &mut map.target);
    }
    assert_eq!(back.link(), Link::Reverse);
    let (end, mut app) = (g.source(), g.source().app().await);
    g.fence(LONG_MS).await;
    assert!(end.store.gate(&back, Side::Target).await.unwrap().fenced);
    end.admin.unfence(&back, Side::Target).await.unwrap();
    app.run("UPDATE t SET v = 'x'").await;
    let fence = Fence { pause_ms: LONG_MS, lock_timeout_ms: LOCK_MS, cut: 2, grantee: &g.login, scopes: None };
    end.admin.fence(&back, Side::Target, &fence).await.unwrap();
    refused(on, &mut app, "UPDATE t SET v = 'y'").await;
    assert_eq!(end.store.gate(&g.rig.layout, Side::Source).await.unwrap().cut, 2);
    g.unfence().await;
    app.run("UPDATE t SET v = 'z'").await;
}

pub async fn removing_takes_the_gate_away(on: On) {
    let ddl = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {long})";
    let rig = Rig::bare(on, ddl, ddl, &[crate::rig::pair("t", "t")]).await;
    for end in [&rig.source, &rig.target] {
        end.run("INSERT INTO t VALUES (1, 'a')").await;
    }
    let before = (catalogue(&rig.source).await, catalogue(&rig.target).await);
    rig.install().await;
    for (end, side, closed) in [(&rig.source, Side::Source, false), (&rig.target, Side::Target, true)] {
        let login = end.store.who().await.unwrap();
        end.admin.make_gate(&rig.layout, side, &login, closed).await.unwrap();
        let fence = Fence { pause_ms: LONG_MS, lock_timeout_ms: LOCK_MS, cut: 1, grantee: &login, scopes: None };
        end.admin.fence(&rig.layout, side, &fence).await.unwrap();
        refused(on, &mut end.app().await, "DELETE FROM t").await;
        assert!(!end.admin.remove(rig.m()).await.unwrap().is_empty());
        assert!(end.admin.remove(rig.m()).await.unwrap().is_empty());
        end.run("UPDATE t SET v = 'x'").await;
    }
    assert_eq!((catalogue(&rig.source).await, catalogue(&rig.target).await), before);
}
