//! Applying: an effect once, together with its checkpoint, and only on what the sender owns.

use migrate::entry::{Entry, Epoch, Generation, Hash, Header, Link, Mark, Position, Range, Refs, TableId, TableKeys};
use migrate::log::codec;
use migrate::store::{Applied, Side, Work};
use migrate::value::{Key, Row, Value};

use crate::link::Wire;
use crate::rig::{On, Rig, pair};

pub fn int(i: i64) -> Value {
    Value::Int(i.into())
}

pub fn text(t: &str) -> Value {
    Value::Text(t.to_owned())
}

pub fn key(i: i64) -> Key {
    Key(vec![int(i)])
}

/// A `changes` entry's refs; the rows are given beside.
pub fn changes(tables: &[(u16, &[(i64, bool)])]) -> Refs {
    let of = |(t, keys): &(u16, &[(i64, bool)])| TableKeys {
        table: TableId(*t),
        keys: keys.iter().map(|(k, present)| (key(*k), *present)).collect(),
    };
    Refs::Changes(tables.iter().map(of).collect())
}

pub fn range(after: Option<i64>, upto: Option<i64>) -> Range {
    Range { after: after.map(key), upto: upto.map(key) }
}

/// An entry that nobody sealed, next in the chain.
pub fn next(wire: &Wire<'_>, refs: Refs, rows: Vec<Row>, drained: bool) -> Entry {
    after(wire, wire.at.mark, wire.lease.epoch, refs, rows, drained)
}

pub fn after(wire: &Wire<'_>, at: Mark, epoch: Epoch, refs: Refs, rows: Vec<Row>, drained: bool) -> Entry {
    let header = Header {
        migration: wire.rig.m().to_owned(),
        link: Link::Forward,
        generation: at.generation,
        position: at.position.next(),
        epoch,
        prev: at.hash,
        drained,
        settled: true,
        heard: wire.heard,
        sealed_ms: 0,
        owned: None,
    };
    let (_, bytes) = codec::seal(&header, &refs, &rows);
    codec::read_entry(&bytes).unwrap()
}

async fn checkpoint(rig: &Rig) -> (Mark, Epoch) {
    let state = rig.target.store.link_state(rig.m(), Link::Forward, Side::Target).await.unwrap();
    (state.mark, state.epoch)
}

pub async fn an_entry_has_its_effect_once_whatever_arrives(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let mut entries = Vec::new();
    for i in 1..=6 {
        rig.source.run(&format!("DELETE FROM t; INSERT INTO t VALUES ({i}, 'v{i}')")).await;
        let sealed = wire.seal(Work::Nothing).await.unwrap();
        entries.extend(wire.entries(&sealed));
    }
    let forked = Mark { hash: Hash([1; 32]), ..entries[1].mark() };
    let row = vec![vec![int(9), text("fork")]];
    let other = after(&wire, forked, wire.lease.epoch, changes(&[(1, &[(9, true)])]), row, true);
    for (arrives, applied) in
        [(0, true), (0, false), (2, false), (1, true), (0, false), (1, false), (2, true), (5, false), (3, true)]
    {
        let done = wire.offer(&entries[arrives]).await.unwrap();
        assert_eq!(done.is_some(), applied, "entry {arrives}");
        let shown = rig.target.rows("t", "id").await;
        assert_eq!(
            shown,
            [wire.at.mark.position.0 as i64 - entries[0].header.position.0 as i64 + 1].map(|i| i.to_string())
        );
        assert!(wire.offer(&other).await.unwrap().is_none(), "a fork");
        assert_eq!(checkpoint(&rig).await.0, wire.at.mark);
    }
}

/// The store does not trust its caller's judgement of the chain.
pub async fn a_broken_chain_has_no_effect(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let row = |i: i64| vec![vec![int(i), text("x")]];
    let insert = |i: i64| changes(&[(1, &[(i, true)])]);
    let good = next(&wire, insert(1), row(1), true);
    let gap = after(&wire, good.mark(), wire.lease.epoch, insert(2), row(2), true);
    let spliced = Mark { hash: Hash([9; 32]), ..wire.at.mark };
    let spliced = after(&wire, spliced, wire.lease.epoch, insert(3), row(3), true);
    let ahead = Mark { generation: Generation(5), ..wire.at.mark };
    let ahead = after(&wire, ahead, wire.lease.epoch, insert(4), row(4), true);
    let second = after(&wire, gap.mark(), wire.lease.epoch, insert(5), row(5), true);
    let before = checkpoint(&rig).await;
    for bad in [
        vec![gap.clone()],
        vec![spliced],
        vec![ahead],
        vec![good.clone(), second.clone()],
        vec![good.clone(), good.clone()],
    ] {
        let done = wire.apply(&bad).await;
        assert!(!matches!(done, Ok(Applied::Done { .. })), "{done:?}");
        assert_eq!(checkpoint(&rig).await, before);
        assert!(rig.target.rows("t", "id").await.is_empty());
    }
    assert!(matches!(wire.apply(&[good, gap, second]).await.unwrap(), Applied::Done { .. }));
    assert_eq!(rig.target.rows("t", "id").await, ["1", "2", "5"]);
}

pub async fn an_old_epoch_has_no_effect(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let entries = wire.entries(&sealed);
    let store = &rig.target.store;
    let (mark, epoch) = checkpoint(&rig).await;
    let state = store.record_epoch(rig.m(), &wire.applier, Epoch(epoch.0 + 7)).await.unwrap();
    assert_eq!((state.mark, state.epoch), (mark, Epoch(epoch.0 + 7)));
    let state = store.record_epoch(rig.m(), &wire.applier, epoch).await.unwrap();
    assert_eq!(state.epoch, Epoch(epoch.0 + 7), "it never goes back");
    let done = wire.apply(&entries).await.unwrap();
    assert_eq!(done, Applied::Moved);
    assert!(rig.target.rows("t", "id").await.is_empty());
    assert_eq!(checkpoint(&rig).await, (mark, Epoch(epoch.0 + 7)));
    wire.lease = rig.source.store.raise_epoch(rig.m(), &wire.lease, Epoch(epoch.0 + 7)).await.unwrap();
    wire.rewind_to_target().await.unwrap();
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
}

pub async fn a_checkpoint_that_moved_is_seen(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let start = wire.at.mark;
    let first = next(&wire, changes(&[(1, &[(1, true)])]), vec![vec![int(1), text("x")]], true);
    let two: Vec<_> = (0..2)
        .map(|_| {
            let (store, layout, lease, entry) =
                (rig.target.another(), rig.layout.clone(), wire.applier.clone(), first.clone());
            tokio::spawn(async move { store.apply(&layout, &lease, start, &[entry]).await })
        })
        .collect();
    let mut done = 0;
    for one in two {
        match one.await.unwrap() {
            Ok(Applied::Done { .. }) => done += 1,
            Ok(Applied::Moved) => {}
            Ok(other) => panic!("{other:?}"),
            Err(e) => assert!(e.is_retry(), "{e}"),
        }
    }
    assert_eq!(done, 1);
    wire.at.mark = start;
    assert_eq!(wire.apply(&[first]).await.unwrap(), Applied::Moved);
}

/// An error after some rows: neither they nor the checkpoint stay.
pub async fn checkpoint_and_effect_are_one(on: On) {
    let ddl = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text} CHECK (v <> 'bad'))";
    let rig = Rig::same(on, ddl, &["t"]).await;
    let mut wire = Wire::synced(&rig).await;
    rig.target.run("INSERT INTO t VALUES (50, 'old'), (60, 'old')").await;
    let before = checkpoint(&rig).await;
    let keys: Vec<(i64, bool)> = (0..40).map(|i| (i, true)).chain([(50, false), (60, true)]).collect();
    let mut rows: Vec<Row> = (0..40).map(|i| vec![int(i), text("good")]).collect();
    rows.push(vec![int(60), text("bad")]);
    let refused = next(&wire, changes(&[(1, &keys)]), rows, true);
    let first = next(&wire, changes(&[(1, &[(1, true)])]), vec![vec![int(1), text("x")]], true);
    let second = after(
        &wire,
        first.mark(),
        wire.lease.epoch,
        changes(&[(1, &[(2, true)])]),
        vec![vec![int(2), text("bad")]],
        true,
    );
    for entries in [vec![refused], vec![first, second]] {
        let Applied::Refused(refusal) = wire.apply(&entries).await.unwrap() else { panic!("it was applied") };
        assert_eq!(refusal.position, entries.last().unwrap().header.position);
        assert_eq!(rig.target.rows("t", "id, v").await, ["50|old", "60|old"]);
        assert_eq!(checkpoint(&rig).await, before);
    }
    let short = next(&wire, changes(&[(1, &[(1, true), (2, true)])]), vec![vec![int(1), text("x")]], true);
    assert!(wire.apply(&[short]).await.is_err(), "a row is missing");
    let alien = next(&wire, changes(&[(1, &[(1, true)]), (9, &[(1, false)])]), vec![vec![int(1), text("x")]], true);
    assert!(wire.apply(&[alien]).await.is_err(), "there is no such table");
    assert_eq!(rig.target.rows("t", "id, v").await, ["50|old", "60|old"]);
    assert_eq!(checkpoint(&rig).await, before);
}

pub async fn a_chunk_makes_its_range_equal_and_no_more(on: On) {
    let source = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text})";
    let target =
        "CREATE TABLE c(origin {text} NOT NULL, id {int} NOT NULL, v {text}, own {text}, PRIMARY KEY (origin, id))";
    let pairs = pair("t", "c").skip("own").constant("origin", text("crm"));
    let rig = Rig::new(on, source, target, &[pairs]).await;
    let shop = "('shop', 12, 'theirs', 'o'), ('shop', 15, 'theirs', 'o')";
    let ours = "('crm', 10, 'at the edge', 'o'), ('crm', 12, 'extra', 'o'), ('crm', 15, 'changed', 'o'), ('crm', 20, 'extra', 'o'), ('crm', 21, 'outside', 'o')";
    rig.target.run(&format!("INSERT INTO c VALUES {shop}, {ours}")).await;
    let mut wire = Wire::open(&rig).await;
    let rows = vec![vec![int(15), text("new")], vec![int(18), text("new")]];
    for fresh in [true, false] {
        let refs = Refs::Chunk { table: TableId(1), range: range(Some(10), Some(20)), fresh };
        let entry = next(&wire, refs, rows.clone(), true);
        assert!(matches!(wire.apply(&[entry]).await.unwrap(), Applied::Done { .. }));
        let expected = [
            "crm|10|at the edge|o",
            "crm|15|new|o",
            "crm|18|new|NULL",
            "crm|21|outside|o",
            "shop|12|theirs|o",
            "shop|15|theirs|o",
        ];
        assert_eq!(rig.target.rows("c", "origin, id, v, own").await, expected);
        rig.target.run("INSERT INTO c VALUES ('crm', 13, 'extra', 'o')").await;
    }
    // Unbounded on both sides, and empty.
    let refs = Refs::Chunk { table: TableId(1), range: range(None, None), fresh: false };
    let entry = next(&wire, refs, vec![], true);
    wire.apply(&[entry]).await.unwrap();
    assert_eq!(rig.target.rows("c", "origin, id").await, ["shop|12", "shop|15"]);
}

/// A fresh range of a table that was empty is loaded in bulk; where a row is there all the same, it is made equal.
pub async fn a_bulk_load_that_meets_a_row_makes_it_equal(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'tab\t\\ \r\n new')").await;
    let mut wire = Wire::open(&rig).await;
    rig.target.run("INSERT INTO t VALUES (2, 'somebody'), (0, 'somebody'), (7, 'outside')").await;
    wire.backfill().await;
    assert_eq!(rig.target.rows("t", "id").await, ["1", "2", "3", "7"]);
    rig.target.run("DELETE FROM t WHERE id = 7").await;
    rig.assert_equal("t", "id, v").await;
}

pub async fn a_column_that_is_not_mapped_keeps_its_value(on: On) {
    let source = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text})";
    let target = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text}, own {text} DEFAULT 'd')";
    let rig = Rig::new(on, source, target, &[pair("t", "t").skip("own")]).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.target.run("UPDATE t SET own = 'mine' WHERE id = 1").await;
    rig.source.run("UPDATE t SET v = 'x'").await;
    wire.drain().await;
    assert_eq!(rig.target.rows("t", "id, v, own").await, ["1|x|mine", "2|x|d"]);
    wire.begin(2).await;
    wire.backfill().await;
    assert_eq!(rig.target.rows("t", "id, v, own").await, ["1|x|mine", "2|x|d"], "nor does a chunk touch it");
}

/// A constant that is no part of the key: another one's row with our key is neither changed nor deleted.
pub async fn a_row_of_another_constant_is_never_touched(on: On) {
    let source = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text})";
    let target = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text}, origin {text})";
    let rig = Rig::new(on, source, target, &[pair("t", "t").constant("origin", text("crm"))]).await;
    rig.target.run("INSERT INTO t VALUES (1, 'theirs', 'shop'), (2, 'nobodys', NULL)").await;
    let mut wire = Wire::synced(&rig).await;
    let theirs = ["1|theirs|shop", "2|nobodys|NULL"];
    for id in [1, 2] {
        let entry = next(
            &wire,
            changes(&[(1, &[(5, true), (id, true)])]),
            vec![vec![int(5), text("x")], vec![int(id), text("x")]],
            true,
        );
        let Applied::Refused(refusal) = wire.apply(&[entry]).await.unwrap() else { panic!("it was taken over") };
        assert_eq!(refusal.key, key(id));
        let entry = next(&wire, changes(&[(1, &[(id, false)])]), vec![], true);
        assert!(matches!(wire.apply(&[entry]).await.unwrap(), Applied::Done { .. }));
        assert_eq!(rig.target.rows("t", "id, v, origin").await, theirs);
    }
    let refs = Refs::Chunk { table: TableId(1), range: range(None, None), fresh: false };
    let entry = next(&wire, refs, vec![], true);
    wire.apply(&[entry]).await.unwrap();
    assert_eq!(rig.target.rows("t", "id, v, origin").await, theirs);
    let mut again = Wire::take(&rig).await;
    again.begin(2).await;
    again.backfill().await;
    again.assert_digests_equal().await;
    assert_eq!(rig.target.rows("t", "id, v, origin").await, theirs);
    assert!(rig.target.store.target_is_empty(&rig.layout, TableId(1)).await.unwrap(), "no row of ours");
}

pub async fn several_entries_in_one_call_are_one(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let mut entries = Vec::new();
    for i in 0..5 {
        rig.source.run(&format!("DELETE FROM t; INSERT INTO t VALUES ({i}, 'x')")).await;
        let sealed = wire.seal(Work::Nothing).await.unwrap();
        entries.extend(wire.entries(&sealed));
    }
    assert!(matches!(wire.apply(&entries).await.unwrap(), Applied::Done { .. }));
    assert_eq!(checkpoint(&rig).await.0, entries[4].mark());
    assert_eq!(checkpoint(&rig).await.0.position, Position(entries[0].header.position.0 + 4));
    rig.assert_equal("t", "id, v").await;
}
