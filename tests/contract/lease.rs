//! Leases: one holder, by the database's clock; who lost it changes nothing, neither here nor there.

use std::time::Duration;

use migrate::entry::{Epoch, Link, Position, TableId};
use migrate::error::Kind;
use migrate::store::{Applied, Lease, Side, Store, Work};
use migrate::value::{Key, Value};

use crate::link::Wire;
use crate::rig::{On, Rig};

const SIDES: [Side; 2] = [Side::Source, Side::Target];

fn end(rig: &Rig, side: Side) -> &dyn Store {
    match side {
        Side::Source => rig.source.store.as_ref(),
        Side::Target => rig.target.store.as_ref(),
    }
}

pub async fn taken_refused_and_taken_over(on: On) {
    let rig = Rig::plain(on).await;
    for side in SIDES {
        let store = end(&rig, side);
        let first = store.take_lease(rig.m(), Link::Forward, side, "anna pid 1", 400).await.unwrap();
        assert!(first.epoch > Epoch(0));
        let refused = store.take_lease(rig.m(), Link::Forward, side, "bert pid 2", 400).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Locked);
        assert!(refused.message().contains("anna pid 1"), "{refused}");
        let again = store.take_lease(rig.m(), Link::Forward, side, "anna pid 1", 400).await.unwrap();
        assert!(again.epoch > first.epoch, "the epoch grows each time");
        assert_eq!(store.renew_lease(rig.m(), &first).await.unwrap_err().kind, Kind::Locked);
        store.renew_lease(rig.m(), &again).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        let other = store.take_lease(rig.m(), Link::Forward, side, "bert pid 2", 60_000).await.unwrap();
        assert!(other.epoch > again.epoch);
        let state = store.link_state(rig.m(), Link::Forward, side).await.unwrap();
        assert_eq!((state.holder.as_deref(), state.lease_epoch), (Some("bert pid 2"), other.epoch));
        assert!(state.since_ms <= state.now_ms && state.now_ms - state.since_ms < 30_000, "since the take-over");
        store.release_lease(rig.m(), &other).await.unwrap();
        let third = store.take_lease(rig.m(), Link::Forward, side, "anna pid 1", 400).await.unwrap();
        assert!(third.epoch > other.epoch);
    }
}

pub async fn a_loser_can_neither_renew_nor_release_nor_raise(on: On) {
    let rig = Rig::plain(on).await;
    for side in SIDES {
        let store = end(&rig, side);
        let lost = store.take_lease(rig.m(), Link::Forward, side, "anna", -1).await.unwrap();
        let held = store.take_lease(rig.m(), Link::Forward, side, "bert", 60_000).await.unwrap();
        let error = store.renew_lease(rig.m(), &lost).await.unwrap_err();
        assert!(error.kind == Kind::Locked && error.message().contains("bert"), "{error}");
        assert_eq!(store.raise_epoch(rig.m(), &lost, Epoch(90)).await.unwrap_err().kind, Kind::Locked);
        store.release_lease(rig.m(), &lost).await.unwrap();
        let state = store.link_state(rig.m(), Link::Forward, side).await.unwrap();
        assert_eq!((state.holder.as_deref(), state.lease_epoch), (Some("bert"), held.epoch));
        let raised = store.raise_epoch(rig.m(), &held, Epoch(90)).await.unwrap();
        assert!(raised.epoch > Epoch(90) && raised.holder == "bert");
        assert_eq!(store.renew_lease(rig.m(), &held).await.unwrap_err().kind, Kind::Locked, "the old epoch is void");
        store.renew_lease(rig.m(), &raised).await.unwrap();
    }
}

/// A transaction that takes longer than the lease runs has the lease's row locked: what says that its holder lives
/// stands beside it, and counts for no other epoch.
pub async fn who_says_that_he_lives_is_not_taken_over(on: On) {
    let rig = Rig::plain(on).await;
    for side in SIDES {
        let store = end(&rig, side);
        let (m, link) = (rig.m(), Link::Forward);
        let old = store.take_lease(m, link, side, "anna", -1).await.unwrap();
        let lease = store.take_lease(m, link, side, "bert", -1).await.unwrap();
        let alive = |lease: &Lease| Lease { ttl_ms: 1_500, ..lease.clone() };
        store.say_alive(m, &alive(&lease)).await.unwrap();
        let refused = store.take_lease(m, link, side, "carl", 400).await.unwrap_err();
        assert!(refused.kind == Kind::Locked && refused.message().contains("bert"), "{refused}");
        let state = store.link_state(m, link, side).await.unwrap();
        assert!(state.expires_ms > state.now_ms);
        tokio::time::sleep(Duration::from_millis(1_600)).await;
        let carl = store.take_lease(m, link, side, "carl", -1).await.unwrap();
        assert!(carl.epoch > lease.epoch);
        // One that lost its lease may say what it likes: it keeps nobody from taking over from its heir.
        store.say_alive(m, &alive(&old)).await.unwrap();
        store.say_alive(m, &alive(&lease)).await.unwrap();
        let dora = store.take_lease(m, link, side, "dora", 60_000).await.unwrap();
        // And a lease that was given back is free, whoever still says that he lives.
        store.say_alive(m, &alive(&dora)).await.unwrap();
        store.release_lease(m, &dora).await.unwrap();
        store.take_lease(m, link, side, "emil", 400).await.unwrap();
    }
}

async fn steal(rig: &Rig, side: Side) {
    let owner = match side {
        Side::Source => &rig.source,
        Side::Target => &rig.target,
    };
    let table = match (rig.on, side) {
        (On::Sqlite, Side::Source) => "\"_migrate_m-1_link_source\"",
        (On::Sqlite, Side::Target) => "\"_migrate_m-1_link_target\"",
        (On::MariaDb, Side::Source) => "`_migrate_m-1_link_source`",
        (On::MariaDb, Side::Target) => "`_migrate_m-1_link_target`",
        (On::Postgres, Side::Source) => "\"_migrate_m-1\".link_source",
        (On::Postgres, Side::Target) => "\"_migrate_m-1\".link_target",
    };
    owner.owner().await.run(&format!("UPDATE {table} SET expires_ms = 1")).await;
    owner.store.take_lease(rig.m(), Link::Forward, side, "thief", 60_000).await.unwrap();
}

pub async fn a_loser_changes_nothing_at_the_source(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let mut wire = Wire::synced(&rig).await;
    let before = wire.head;
    rig.source.run("UPDATE t SET v = 'c' WHERE id = 2").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert_eq!(sealed.entries.len(), 1);
    rig.source.run("UPDATE t SET v = 'd' WHERE id = 1").await;
    steal(&rig, Side::Source).await;
    let (store, layout) = (&rig.source.store, &rig.layout);
    let state = store.link_state(rig.m(), Link::Forward, Side::Source).await.unwrap();
    assert_eq!(wire.seal(Work::Nothing).await.unwrap_err().kind, Kind::Locked);
    let open = Work::Begin { generation: migrate::entry::Generation(9), mapping: Default::default(), copied: false };
    assert_eq!(wire.seal(open).await.unwrap_err().kind, Kind::Locked);
    wire.returned = vec![(TableId(1), vec![Key(vec![Value::Int(2)])])];
    assert_eq!(wire.seal(Work::Nothing).await.unwrap_err().kind, Kind::Locked);
    let error = store.rewind(layout, &wire.lease, wire.head, before).await.unwrap_err();
    assert_eq!(error.kind, Kind::Locked);
    let error = store.confirm(layout, &wire.lease, wire.head.position, 0).await.unwrap_err();
    assert_eq!(error.kind, Kind::Locked);
    let after = store.link_state(rig.m(), Link::Forward, Side::Source).await.unwrap();
    assert_eq!((after.mark, after.confirmed), (state.mark, state.confirmed));
    assert_eq!(after.expires_ms, state.expires_ms, "the thief's lease was not prolonged");
    assert!(store.knows(rig.m(), Link::Forward, &wire.head).await.unwrap(), "nothing was cut off the log");
    assert_eq!(store.backlog(layout, 10).await.unwrap(), [(TableId(1), 1)], "one key is still dirty");
}

pub async fn a_loser_changes_nothing_at_the_target(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let store = &rig.target.store;
    let before = store.link_state(rig.m(), Link::Forward, Side::Target).await.unwrap();
    steal(&rig, Side::Target).await;
    let error = wire.apply(&wire.entries(&sealed)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Locked);
    let error = store.record_epoch(rig.m(), &wire.applier, Epoch(50)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Locked);
    let after = store.link_state(rig.m(), Link::Forward, Side::Target).await.unwrap();
    assert_eq!((after.mark, after.epoch), (before.mark, before.epoch));
    assert!(rig.target.rows("t", "id").await.is_empty());
}

pub async fn a_released_lease_writes_no_more(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    rig.source.store.release_lease(rig.m(), &wire.lease).await.unwrap();
    rig.target.store.release_lease(rig.m(), &wire.applier).await.unwrap();
    assert_eq!(wire.seal(Work::Nothing).await.unwrap_err().kind, Kind::Locked);
    let entries = wire.entries(&sealed);
    let applied = wire.apply(&entries).await;
    assert!(matches!(&applied, Err(e) if e.kind == Kind::Locked), "{applied:?}");
    let recorded = rig.target.store.record_epoch(rig.m(), &wire.applier, Epoch(50)).await;
    assert!(matches!(&recorded, Err(e) if e.kind == Kind::Locked), "{recorded:?}");
    let confirmed = rig.source.store.confirm(&rig.layout, &wire.lease, Position(1), 0).await;
    assert!(matches!(&confirmed, Err(e) if e.kind == Kind::Locked), "{confirmed:?}");
    assert!(rig.target.rows("t", "id").await.is_empty());
    let again = Wire::take(&rig).await;
    assert!(matches!(
        rig.target.store.apply(&rig.layout, &again.applier, again.at.mark, &entries).await,
        Ok(Applied::Done { .. })
    ));
}

pub async fn many_takers_get_one_lease(on: On) {
    let rig = Rig::plain(on).await;
    for _ in 0..3 {
        let takers = (0..6).map(|i| {
            let (store, m) = (rig.source.another(), rig.m().to_owned());
            tokio::spawn(async move {
                store.take_lease(&m, Link::Forward, Side::Source, &format!("taker {i}"), 60_000).await
            })
        });
        let mut taken = Vec::new();
        for taker in takers.collect::<Vec<_>>() {
            match taker.await.unwrap() {
                Ok(lease) => taken.push(lease),
                Err(e) => assert!(matches!(e.kind, Kind::Locked | Kind::Retry), "{e}"),
            }
        }
        assert_eq!(taken.len(), 1);
        rig.source.store.renew_lease(rig.m(), &taken[0]).await.unwrap();
        rig.source.store.release_lease(rig.m(), &taken[0]).await.unwrap();
    }
}
