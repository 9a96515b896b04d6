//! The decision: with the fence in place, the head at its entry and nothing dirty, the giver closes for good and says so
//! in its log; in any other state nothing happens. The taker opens with that entry, once.

use migrate::entry::{Control, Refs, Turn};
use migrate::error::Kind;
use migrate::store::{Decided, Side, Work};

use crate::gated::{Gated, LONG_MS, behind, refused};
use crate::link::{Wire, decode};
use crate::rig::On;

/// In step, fenced, and the fence's entry sealed and applied.
async fn fenced(g: &Gated, pause_ms: i64) -> Wire<'_> {
    let login = g.rig.target.store.who().await.unwrap();
    g.rig.target.admin.make_gate(&g.rig.layout, Side::Target, &login, true).await.unwrap();
    let mut wire = Wire::synced(&g.rig).await;
    g.fence(pause_ms).await;
    wire.drain().await;
    let sealed = wire.seal(Work::Fence { cut: 1 }).await.unwrap();
    assert_eq!(decode(&sealed.entries[0].bytes).refs, Refs::Control(Control::Fence { cut: 1 }));
    wire.deliver(&sealed).await;
    wire
}

async fn decide(g: &Gated, wire: &Wire<'_>, cut: u64) -> migrate::error::Result<Decided> {
    g.rig.source.store.decide(wire.request(Work::Nothing, true), cut).await
}

async fn is_refused(g: &Gated, wire: &Wire<'_>, cut: u64, why: &str) {
    match decide(g, wire, cut).await.unwrap() {
        Decided::No(said) => assert!(said.contains(why), "{said}"),
        Decided::Open { .. } => panic!("it decided, though: {why}"),
    }
    let gate = g.source().store.gate(&g.rig.layout, Side::Source).await.unwrap();
    assert!(!gate.closed && gate.turn == 0, "{gate:?}");
    let state = g.source().store.link_state(g.rig.m(), wire.lease.link, Side::Source).await.unwrap();
    assert_eq!(state.mark, wire.head, "nothing was chained");
}

pub async fn the_giver_closes_and_the_taker_opens_once(on: On) {
    let g = Gated::new(on).await;
    let mut wire = fenced(&g, LONG_MS).await;
    let (source, target, layout) = (g.source(), &g.rig.target, &g.rig.layout);
    let mut there = target.app().await;
    refused(on, &mut there, "INSERT INTO t VALUES (7, 'early')").await;
    let Decided::Open { turns, sealed } = decide(&g, &wire, 1).await.unwrap() else { panic!("it did not decide") };
    assert_eq!(turns, [Turn { scope: None, turn: 1 }]);
    let mut here = source.app().await;
    refused(on, &mut here, "DELETE FROM t").await;
    refused(on, &mut there, "INSERT INTO t VALUES (7, 'early')").await;
    wire.head = sealed.head;
    wire.deliver(&sealed).await;
    let gate = target.store.gate(layout, Side::Target).await.unwrap();
    assert!(!gate.closed && gate.turn == 1, "{gate:?}");
    there.run("INSERT INTO t VALUES (7, 'now')").await;
    refused(on, &mut here, "DELETE FROM t").await;
    // Told again, as whoever takes over tells it.
    let again = wire.seal(Work::Tell(Control::Open { turns })).await.unwrap();
    wire.deliver(&again).await;
    let same = target.store.gate(layout, Side::Target).await.unwrap();
    assert!(!same.closed && same.turn == 1, "{same:?}");
}

pub async fn a_write_behind_the_fence_is_in_the_way(on: On) {
    let g = Gated::new(on).await;
    let wire = fenced(&g, LONG_MS).await;
    // As a clock that stepped back would have let it through.
    let key = migrate::value::Key(vec![migrate::value::Value::Int(1)]);
    g.source().store.mark_dirty(&g.rig.layout, g.rig.layout.tables[0].id, &[key]).await.unwrap();
    is_refused(&g, &wire, 1, "was accepted after the fence").await;
}

pub async fn a_fence_that_ran_out_decides_nothing(on: On) {
    let g = Gated::new(on).await;
    let wire = fenced(&g, 6_000).await;
    let gate = g.source().store.gate(&g.rig.layout, Side::Source).await.unwrap();
    behind(&g.source().store, gate.deadline_ms).await;
    is_refused(&g, &wire, 1, "max_write_pause").await;
    g.source().run("INSERT INTO t VALUES (9, 'taken')").await;
}

pub async fn another_attempts_fence_decides_nothing(on: On) {
    let g = Gated::new(on).await;
    let wire = fenced(&g, LONG_MS).await;
    is_refused(&g, &wire, 2, "is gone").await;
    g.unfence().await;
    is_refused(&g, &wire, 1, "is gone").await;
}

pub async fn a_relay_that_lost_its_lease_decides_nothing(on: On) {
    let g = Gated::new(on).await;
    let wire = fenced(&g, LONG_MS).await;
    let (store, m) = (&g.source().store, g.rig.m());
    store.release_lease(m, &wire.lease).await.unwrap();
    store.take_lease(m, wire.lease.link, Side::Source, "another", 60_000).await.unwrap();
    assert_eq!(decide(&g, &wire, 1).await.unwrap_err().kind, Kind::Locked);
    let gate = store.gate(&g.rig.layout, Side::Source).await.unwrap();
    assert!(!gate.closed, "{gate:?}");
}

pub async fn no_fence_no_fence_entry(on: On) {
    let g = Gated::new(on).await;
    let mut wire = Wire::synced(&g.rig).await;
    assert_eq!(wire.seal(Work::Fence { cut: 1 }).await.unwrap_err().kind, Kind::Gate);
}
