//! Dead letters: a refused row of a drained entry waits with its reason, everything else is applied; what is written of
//! its key later takes it out.

use migrate::store::{Applied, Work};

use crate::apply::key;
use crate::link::Wire;
use crate::rig::{On, Rig, pair};

const LOOSE: &str = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text}, v {text})";
const TIGHT: &str = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text} UNIQUE, v {text} CHECK (v <> 'bad'))";

async fn rig(on: On, max_parked: u64) -> Rig {
    let mut rig = Rig::new(on, LOOSE, TIGHT, &[pair("t", "t")]).await;
    rig.layout.max_parked = max_parked;
    rig.source.run("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'x'), (4, 'd', 'x')").await;
    rig
}

/// Key and how often, by id.
async fn waiting(rig: &Rig) -> Vec<(String, u64)> {
    let parked = rig.target.store.parked(rig.m()).await.unwrap();
    assert_eq!(rig.target.store.parked_count(rig.m()).await.unwrap(), parked.len() as u64);
    for p in &parked {
        assert!(!p.reason.is_empty() && p.first_ms > 0 && p.last_ms >= p.first_ms && p.at.position.0 > 0, "{p:?}");
    }
    parked.iter().map(|p| (format!("{:?}", p.key), p.times)).collect()
}

fn of(id: i64, times: u64) -> (String, u64) {
    (format!("{:?}", key(id)), times)
}

pub async fn a_refused_row_waits_and_the_rest_flows(on: On) {
    let rig = rig(on, 10).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET v = 'bad' WHERE id = 3; UPDATE t SET v = 'y' WHERE id IN (1, 4)").await;
    rig.source.run("INSERT INTO t VALUES (5, 'e', 'z'); DELETE FROM t WHERE id = 2").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, [of(3, 1)]);
    assert_eq!(rig.target.rows("t", "id, u, v").await, ["1|a|y", "3|c|x", "4|d|y", "5|e|z"], "the row of before stays");
    // Refused again: still one.
    rig.source.run("UPDATE t SET u = 'cc' WHERE id = 3").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, [of(3, 2)]);
    // Brought as it is by then.
    rig.source.run("UPDATE t SET v = 'good' WHERE id = 3").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, []);
    rig.assert_equal("t", "id, u, v").await;
    wire.assert_digests_equal().await;
}

pub async fn what_is_deleted_waits_no_more(on: On) {
    let rig = rig(on, 10).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET v = 'bad' WHERE id IN (1, 3)").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, [of(1, 1), of(3, 1)]);
    rig.source.run("DELETE FROM t WHERE id = 1").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, [of(3, 1)]);
    // A person forgets one: nothing happens to the row.
    let id = rig.target.store.parked(rig.m()).await.unwrap()[0].id;
    assert_eq!(rig.target.store.forget_parked(rig.m(), &[id, id + 1]).await.unwrap(), 1);
    assert_eq!(waiting(&rig).await, []);
    assert_eq!(rig.target.rows("t", "id, v").await, ["2|x", "3|x", "4|x"]);
}

/// Only the one that stands in the way: who needs what it holds is brought when it can be.
pub async fn the_culprit_is_parked_and_not_who_swaps_beside_it(on: On) {
    let rig = rig(on, 10).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("BEGIN; UPDATE t SET u = CASE id WHEN 1 THEN 'b' ELSE 'a' END WHERE id < 3; UPDATE t SET v = 'bad' WHERE id = 3; COMMIT").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, [of(3, 1)]);
    assert_eq!(rig.target.rows("t", "id, u").await, ["1|b", "2|a", "3|c", "4|d"]);
}

/// Who waited before is written with the others, once the culprit is set aside.
pub async fn who_waited_is_tried_again_beside_the_culprit(on: On) {
    let rig = rig(on, 10).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET v = 'bad' WHERE id = 1").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, [of(1, 1)]);
    // In this order neither half can be written by itself.
    rig.source.run("BEGIN; UPDATE t SET u = 'b', v = 'x' WHERE id = 1; UPDATE t SET v = 'bad' WHERE id = 3; UPDATE t SET u = 'a' WHERE id = 2; COMMIT").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, [of(3, 1)]);
    assert_eq!(rig.target.rows("t", "id, u").await, ["1|b", "2|a", "3|c", "4|d"]);
}

pub async fn more_than_may_wait_stop_the_link_and_nothing_is_done(on: On) {
    let rig = rig(on, 2).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET v = 'bad' WHERE id < 3").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await.len(), 2);
    // One that waits already is no further one.
    rig.source.run("UPDATE t SET u = 'q' WHERE id = 1").await;
    wire.drain().await;
    rig.source.run("UPDATE t SET v = 'bad' WHERE id = 3; UPDATE t SET v = 'fine' WHERE id = 4").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let Applied::Refused(refusal) = wire.apply(&wire.entries(&sealed)).await.unwrap() else { panic!("it was applied") };
    assert_eq!(refusal.key, key(3));
    assert!(refusal.reason.contains("2 rows are parked already"), "{}", refusal.reason);
    assert_eq!(waiting(&rig).await.len(), 2);
    assert_eq!(rig.target.rows("t", "v").await, ["x", "x", "x", "x"], "the entry is undone as a whole");
}

/// Many at once are not tried one by one; a chunk and a new generation bring all of them again.
pub async fn many_wait_and_a_new_generation_brings_all(on: On) {
    let rig = rig(on, 1_000).await;
    let mut wire = Wire::synced(&rig).await;
    let rows: Vec<String> = (100..160).map(|id| format!("({id}, NULL, 'bad')")).collect();
    rig.source.run(&format!("INSERT INTO t VALUES {}, (200, NULL, 'fine')", rows.join(", "))).await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await.len(), 60);
    assert_eq!(rig.target.rows("t", "id").await, ["1", "2", "200", "3", "4"]);
    rig.source.run("UPDATE t SET v = 'good' WHERE v = 'bad' AND id < 130").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await.len(), 30);
    wire.begin(9).await;
    assert_eq!(waiting(&rig).await, [], "what comes is brought anew");
    wire.backfill().await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await.len(), 30);
    rig.source.run("UPDATE t SET v = 'good'").await;
    wire.drain().await;
    assert_eq!(waiting(&rig).await, []);
    rig.assert_equal("t", "id, u, v").await;
    wire.assert_digests_equal().await;
}
