//! Sealing: exactly what the snapshot shows, bounded, chained, and by one sealer.

use std::time::Duration;

use migrate::entry::{Entry, Refs, TableId};
use migrate::error::Kind;
use migrate::store::{TaskKind, Work};
use migrate::value::{Key, Value};

use crate::link::Wire;
use crate::rig::{On, Rig};

/// The keys of a `changes` entry, with whether each has a row.
pub fn keys(entry: &Entry) -> Vec<(i128, bool)> {
    let Refs::Changes(tables) = &entry.refs else { panic!("a {} entry", entry.refs.name()) };
    let key = |k: &Key| match k.0[0] {
        Value::Int(i) => i,
        _ => panic!("no integer"),
    };
    tables.iter().flat_map(|t| &t.keys).map(|(k, present)| (key(k), *present)).collect()
}

fn sorted(mut keys: Vec<(i128, bool)>) -> Vec<(i128, bool)> {
    keys.sort();
    keys
}

pub async fn what_is_visible_is_taken_and_no_more(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source
        .run("UPDATE t SET v = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (-7, NULL)")
        .await;
    assert!(rig.source.store.anything_dirty(&rig.layout).await.unwrap());
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let entries = wire.entries(&sealed);
    assert_eq!(sorted(keys(&entries[0])), [(-7, true), (1, true), (2, false)]);
    assert!(entries[0].header.drained && sealed.drained);
    assert!(!rig.source.store.anything_dirty(&rig.layout).await.unwrap());
    wire.deliver(&sealed).await;
    rig.assert_equal("t", "id, v").await;
}

/// In SQLite nobody seals while a writer is at work: there the seal waits or is told to try again.
pub async fn a_late_committer_with_a_lower_mark_is_neither_lost_nor_early(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let mut wire = Wire::synced(&rig).await;
    let mut late = rig.source.app().await;
    if on == On::Sqlite {
        let mut other = rig.source.app().await;
        other.run("BEGIN; SELECT * FROM t").await;
        rig.source.run("UPDATE t SET v = 'second' WHERE id = 2").await;
        let sealed = wire.seal(Work::Nothing).await.unwrap();
        assert_eq!(keys(&wire.entries(&sealed)[0]), [(2, true)]);
        other.run("COMMIT").await;
        return wire.deliver(&sealed).await.clear();
    }
    late.run("BEGIN; UPDATE t SET v = 'first' WHERE id = 1").await;
    rig.source.run("UPDATE t SET v = 'second' WHERE id = 2").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert_eq!(keys(&wire.entries(&sealed)[0]), [(2, true)], "what is not committed is not sealed");
    wire.deliver(&sealed).await;
    assert_eq!(rig.target.rows("t", "id, v").await, ["1|a", "2|second"]);
    late.run("COMMIT").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert_eq!(keys(&wire.entries(&sealed)[0]), [(1, true)], "and what is committed late is not lost");
    wire.deliver(&sealed).await;
    rig.assert_equal("t", "id, v").await;
}

pub async fn nothing_dirty_is_nothing_sealed(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let head = wire.head;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert!(sealed.entries.is_empty() && sealed.drained && sealed.head == head);
}

pub async fn a_backlog_becomes_bounded_entries_and_the_last_is_drained(on: On) {
    let ddl = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text}); CREATE TABLE u(id {int} NOT NULL PRIMARY KEY, v {text})";
    let rig = Rig::same(on, ddl, &["t", "u"]).await;
    let mut wire = Wire::synced(&rig).await;
    let values = |n: i64| (1..=n).map(|i| format!("({i}, 'v{i}')")).collect::<Vec<_>>().join(", ");
    rig.source.run(&format!("INSERT INTO t VALUES {}; INSERT INTO u VALUES {}", values(23), values(4))).await;
    wire.max_keys = 5;
    let mut drained = Vec::new();
    let mut total = 0;
    for _ in 0..6 {
        let sealed = wire.seal(Work::Chunk { table: TableId(1), max_rows: 5, max_bytes: 1000 }).await.unwrap();
        let entries = wire.entries(&sealed);
        assert_eq!(entries.len(), 1, "nothing else is sealed before it is drained");
        assert!(keys(&entries[0]).len() <= 5);
        total += keys(&entries[0]).len();
        assert_eq!(entries[0].header.drained, sealed.drained);
        drained.push(sealed.drained);
        wire.deliver(&sealed).await;
    }
    assert_eq!(total, 27);
    assert_eq!(drained, [false, false, false, false, false, true]);
    assert!(wire.seal(Work::Nothing).await.unwrap().entries.is_empty());
    rig.assert_equal("t", "id, v").await;
    rig.assert_equal("u", "id, v").await;
}

pub async fn big_rows_are_bounded_by_bytes(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let big = "x".repeat(10_000);
    for i in 0..20 {
        rig.source.run(&format!("INSERT INTO t VALUES ({i}, '{i}{big}')")).await;
    }
    rig.source.run(&format!("INSERT INTO t VALUES (100, '{}')", "y".repeat(300_000))).await;
    (wire.max_bytes, wire.max_keys) = (35_000, 1_000);
    let mut sizes = Vec::new();
    loop {
        let sealed = wire.seal(Work::Nothing).await.unwrap();
        let Some(entry) = sealed.entries.first() else { break };
        sizes.push((entry.rows, entry.bytes.len()));
        assert!(entry.rows == 1 || entry.bytes.len() < 36_000, "{sizes:?}");
        wire.deliver(&sealed).await;
        assert!(sizes.len() < 40);
    }
    assert_eq!(sizes.iter().map(|(rows, _)| rows).sum::<u64>(), 21, "{sizes:?}");
    assert!(sizes.len() <= 12, "the bound is made use of: {sizes:?}");
    rig.assert_equal("t", "id, length(v)").await;
    wire.assert_digests_equal().await;
}

pub async fn a_key_change_marks_both(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET id = 10 WHERE id = 1").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert_eq!(sorted(keys(&wire.entries(&sealed)[0])), [(1, false), (10, true)]);
    wire.deliver(&sealed).await;
    // Every row's key becomes its neighbour's.
    rig.source.run("UPDATE t SET id = -id; UPDATE t SET id = 1 - id").await;
    wire.drain().await;
    assert_eq!(rig.target.rows("t", "id, v").await, ["11|a", "3|b", "4|c"]);
    wire.assert_digests_equal().await;
}

pub async fn what_comes_and_goes_in_one_transaction_is_gone(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("BEGIN; INSERT INTO t VALUES (1, 'a'); DELETE FROM t WHERE id = 1; COMMIT").await;
    rig.source.run("BEGIN; INSERT INTO t VALUES (2, 'a'); DELETE FROM t; INSERT INTO t VALUES (2, 'b'); COMMIT").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert_eq!(sorted(keys(&wire.entries(&sealed)[0])), [(1, false), (2, true)]);
    wire.deliver(&sealed).await;
    assert_eq!(rig.target.rows("t", "id, v").await, ["2|b"]);
}

pub async fn a_rolled_back_change_is_nothing(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("BEGIN; INSERT INTO t VALUES (1, 'a'); ROLLBACK").await;
    rig.source
        .run("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (2, 'a'); ROLLBACK TO s; INSERT INTO t VALUES (3, 'c'); COMMIT")
        .await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert_eq!(keys(&wire.entries(&sealed)[0]), [(3, true)]);
}

pub async fn a_hot_key_is_sealed_once(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    let mut wire = Wire::synced(&rig).await;
    let mut app = rig.source.app().await;
    for i in 0..50 {
        app.run(&format!("UPDATE t SET v = 'v{i}' WHERE id = 1")).await;
    }
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert_eq!(keys(&wire.entries(&sealed)[0]), [(1, true)]);
    assert!(sealed.drained);
    assert!(!rig.source.store.anything_dirty(&rig.layout).await.unwrap());
}

pub async fn the_chain_is_unbroken(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
    let mut wire = Wire::open(&rig).await;
    wire.chunk_rows = 1;
    wire.backfill().await;
    for i in 0..4 {
        rig.source.run(&format!("UPDATE t SET v = '{i}' WHERE id = 2")).await;
        wire.drain().await;
    }
    wire.assert_digests_equal().await;
    let entries: Vec<Entry> = wire.log.values().map(crate::link::decode).collect();
    assert!(entries.len() > 8);
    let mut prev = Default::default();
    for (entry, position) in entries.iter().zip(1..) {
        assert_eq!((entry.header.position.0, entry.header.prev), (position, prev));
        assert_eq!((entry.header.epoch, &entry.header.migration[..]), (wire.lease.epoch, rig.m()));
        prev = entry.hash;
    }
    assert_eq!(prev, wire.head.hash);
}

pub async fn of_two_sealers_with_one_lease_one_fails(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    // In turn: the second holds a head that is not the log's any more.
    let old = wire.head;
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    wire.deliver(&sealed).await;
    rig.source.run("INSERT INTO t VALUES (2, 'b')").await;
    let new = std::mem::replace(&mut wire.head, old);
    assert_eq!(wire.seal(Work::Nothing).await.unwrap_err().kind, Kind::Retry);
    wire.head = new;
    // At one moment, with and without something dirty.
    for round in 0..6 {
        if round % 2 == 0 {
            rig.source.run(&format!("UPDATE t SET v = 'r{round}'")).await;
        }
        let (a, b) = (rig.source.another(), rig.source.another());
        let task = || Work::Compare(vec![]);
        let (x, y) = tokio::join!(a.seal(wire.request(task(), true)), b.seal(wire.request(task(), true)));
        let mut won = Vec::new();
        for result in [x, y] {
            match result {
                Ok(sealed) => won.push(sealed),
                Err(e) => assert!(matches!(e.kind, Kind::Locked | Kind::Retry), "{e}"),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        wire.head = won[0].head;
        wire.deliver(&won[0]).await;
    }
    rig.assert_equal("t", "id, v").await;
}

/// On SQLite the chunk's rows are read while no lock is held: what was sealed meanwhile makes it void, not wrong.
pub async fn a_chunk_that_was_overtaken_is_not_recorded(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::open(&rig).await;
    let many: Vec<String> = (1..=20_000).map(|i| format!("({i}, 'row {i}')")).collect();
    rig.source.run(&format!("INSERT INTO t VALUES {}", many.join(", "))).await;
    wire.max_keys = 100_000;
    wire.drain().await;
    wire.max_bytes = 64 << 20;
    let (slow, quick) = (rig.source.another(), rig.source.another());
    let chunk = Work::Chunk { table: TableId(1), max_rows: 100_000, max_bytes: 64 << 20 };
    let overtake = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        quick.seal(wire.request(Work::Compare(vec![]), true)).await
    };
    let results = tokio::join!(slow.seal(wire.request(chunk, true)), overtake);
    let (mut won, mut kinds) = (Vec::new(), Vec::new());
    for result in [results.0, results.1] {
        match result {
            Ok(sealed) => won.push(sealed),
            Err(e) => kinds.push(e.kind),
        }
    }
    assert!(won.len() == 1 && kinds == [Kind::Retry], "{} sealed, {kinds:?}", won.len());
    wire.head = won[0].head;
    wire.deliver(&won[0]).await;
    wire.chunk_bytes = 64 << 20;
    wire.backfill().await;
    rig.assert_equal("t", "id, v").await;
}

pub async fn work_waits_for_drained(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
    wire.max_keys = 2;
    let task = wire.task(1, TaskKind::KeySet { buckets: 1 });
    let names = |sealed: &migrate::store::Sealed| sealed.entries.iter().map(|e| e.name).collect::<Vec<_>>();
    let sealed = wire.seal(Work::Compare(vec![task.clone()])).await.unwrap();
    assert_eq!((names(&sealed), sealed.drained), (vec!["changes"], false));
    wire.deliver(&sealed).await;
    // Nothing more is dirty, but the caller says that an undrained entry is not confirmed yet.
    let sealed = wire.seal_as(Work::Compare(vec![task.clone()]), false).await.unwrap();
    assert_eq!(names(&sealed), ["changes"]);
    assert!(!sealed.entries[0].drained && !sealed.drained);
    wire.deliver(&sealed).await;
    let sealed = wire.seal(Work::Compare(vec![task])).await.unwrap();
    assert_eq!(names(&sealed), ["digest"]);
    assert!(sealed.entries[0].drained);
    wire.deliver(&sealed).await;
}

pub async fn capture_that_was_touched_stops_sealing(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let mut owner = rig.source.owner().await;
    let touch = match on {
        On::Postgres => {
            "ALTER TABLE t DISABLE TRIGGER \"_migrate_m-1\"; ALTER TABLE t ENABLE ALWAYS TRIGGER \"_migrate_m-1\""
        }
        On::MariaDb => "DROP TRIGGER `_migrate_m-1_1_delete`",
        On::Sqlite => "DROP TRIGGER \"_migrate_m-1_capture_1_delete\"",
    };
    owner.run(touch).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    let head = wire.head;
    assert_eq!(wire.seal(Work::Nothing).await.unwrap_err().kind, Kind::Changed);
    let open = Work::Begin { generation: migrate::entry::Generation(2), mapping: crate::link::MAPPING, copied: false };
    assert_eq!(wire.seal(open).await.unwrap_err().kind, Kind::Changed, "nor does a new generation hide it");
    let login = rig.source.store.who().await.unwrap();
    rig.source.admin.capture(&rig.layout, TableId(1), &login).await.unwrap();
    rig.remember_capture().await;
    assert_eq!(wire.head, head);
    wire.begin(2).await;
    wire.backfill().await;
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    owner.run("ALTER TABLE t ADD COLUMN more {int}".replace("{int}", "bigint").as_str()).await;
    assert_eq!(wire.seal(Work::Nothing).await.unwrap_err().kind, Kind::Changed);
}

pub async fn an_overflow_stops_sealing_until_a_new_generation(on: On) {
    let mut rig = Rig::bare(
        on,
        "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text})",
        "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text})",
        &[crate::rig::pair("t", "t")],
    )
    .await;
    rig.layout.backlog_limit = 20;
    rig.install().await;
    let mut wire = Wire::synced(&rig).await;
    let mut app = rig.source.app().await;
    for i in 0..15 {
        app.run(&format!("INSERT INTO t VALUES ({i}, 'x')")).await;
    }
    wire.drain().await;
    for i in 15..30 {
        app.run(&format!("INSERT INTO t VALUES ({i}, 'x')")).await;
    }
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    for i in 30..80 {
        app.run(&format!("INSERT INTO t VALUES ({i}, 'x')")).await;
    }
    let head = wire.head;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert!(sealed.overflowed && sealed.entries.is_empty() && !sealed.drained && sealed.head == head);
    let dirty = rig.source.store.backlog(&rig.layout, 100).await.unwrap();
    assert!((1..=25).contains(&dirty[0].1), "it does not grow beyond the limit: {dirty:?}");
    wire.begin(2).await;
    wire.backfill().await;
    app.run("UPDATE t SET v = 'y' WHERE id > 75").await;
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
}
