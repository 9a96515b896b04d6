//! Rewinding: whatever suffix of the log is undone, sealing again brings all of it.
//!
//! The property at the end runs random writes, seals, deliveries, chunks and take-overs, from a seed that it prints;
//! `CONTRACT_SEED=n` repeats one, `CONTRACT_ROUNDS=n` makes more of them.

use std::collections::VecDeque;

use migrate::entry::{Entry, Generation, Link, Mark, TableId};
use migrate::error::Kind;
use migrate::store::{Applied, Side, TableProgress, Work};
use rand::prelude::*;

use crate::link::Wire;
use crate::rig::{On, Rig};

async fn progress(rig: &Rig) -> TableProgress {
    rig.source.store.progress(&rig.layout).await.unwrap().remove(0).1
}

pub async fn an_undone_entry_is_dirty_again(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source
        .run("UPDATE t SET v = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3, 'c')")
        .await;
    let lost = wire.seal(Work::Nothing).await.unwrap();
    assert!(!rig.source.store.anything_dirty(&rig.layout).await.unwrap());
    rig.source.run("UPDATE t SET v = 'newer' WHERE id = 3").await;
    wire.rewind_to_target().await.unwrap();
    let state = rig.source.store.link_state(rig.m(), Link::Forward, Side::Source).await.unwrap();
    assert_eq!(state.mark, wire.at.mark);
    assert!(!rig.source.store.knows(rig.m(), Link::Forward, &lost.head).await.unwrap());
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let entries = wire.entries(&sealed);
    let mut keys = crate::seal::keys(&entries[0]);
    keys.sort();
    assert_eq!(keys, [(1, true), (2, false), (3, true)]);
    assert_ne!(entries[0].hash, lost.head.hash, "the same position, and another entry");
    wire.deliver(&sealed).await;
    rig.assert_equal("t", "id, v").await;
}

pub async fn undone_chunks_are_pending_again(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')").await;
    let mut wire = Wire::open(&rig).await;
    let before = progress(&rig).await;
    let start = wire.head;
    let chunk = Work::Chunk { table: TableId(1), max_rows: 2, max_bytes: 1000 };
    let mut marks = Vec::new();
    for _ in 0..3 {
        marks.push((wire.head, progress(&rig).await));
        wire.seal(chunk.clone()).await.unwrap();
        rig.source.run("UPDATE t SET v = v || '+'; INSERT INTO t SELECT max(id) + 1, 'late' FROM t").await;
    }
    assert!(progress(&rig).await.done);
    for (mark, then) in marks.into_iter().rev() {
        rig.source.store.rewind(&rig.layout, &wire.lease, wire.head, mark).await.unwrap();
        wire.head = mark;
        let now = progress(&rig).await;
        assert_eq!((now.frontier, now.done, now.rows), (then.frontier, then.done, then.rows));
    }
    assert_eq!((wire.head, progress(&rig).await.frontier), (start, before.frontier));
    wire.backfill().await;
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    wire.assert_digests_equal().await;
}

pub async fn a_rewind_by_who_does_not_hold_the_head_is_nothing(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let old = wire.head;
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    wire.seal(Work::Nothing).await.unwrap();
    let store = &rig.source.store;
    let error = store.rewind(&rig.layout, &wire.lease, old, old).await.unwrap_err();
    assert_eq!(error.kind, Kind::Locked);
    assert!(store.knows(rig.m(), Link::Forward, &wire.head).await.unwrap());
    store.rewind(&rig.layout, &wire.lease, wire.head, old).await.unwrap();
    store.rewind(&rig.layout, &wire.lease, old, old).await.unwrap();
}

const DDL: &str = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {int} UNIQUE, v {text});
    CREATE TABLE w(a {fold} NOT NULL, b {int} NOT NULL, v {text}, PRIMARY KEY (a, b))";

/// One random history.
struct History<'a> {
    wire: Wire<'a>,
    rng: StdRng,
    /// Sealed and not delivered.
    queue: VecDeque<Entry>,
    generation: u64,
    app: crate::app::App,
}

impl History<'_> {
    async fn write(&mut self) {
        let r = &mut self.rng;
        let (id, other, n) = (r.random_range(0..24), r.random_range(0..24), r.random_range(0..1000));
        let a = ["a", "A", "b", "Ba", "c", "ä"].choose(r).unwrap();
        let sql = match r.random_range(0..12) {
            0..=2 => format!("INSERT INTO t VALUES ({id}, NULL, 'i{n}') ON CONFLICT (id) DO UPDATE SET v = 'c{n}'"),
            3 => format!("DELETE FROM t WHERE id = {id}"),
            4 => format!("UPDATE t SET id = {other} WHERE id = {id}"),
            5 => format!("UPDATE t SET u = {n} % 6 WHERE id = {id}"),
            6 => format!(
                "BEGIN; UPDATE t SET u = -1 WHERE id = {id}; UPDATE t SET u = {n} % 6 WHERE id = {other};
                 UPDATE t SET u = {n} % 5 WHERE id = {id}; COMMIT"
            ),
            7 => format!("UPDATE t SET v = 'all{n}' WHERE id % 3 = {n} % 3"),
            8 | 9 => format!(
                "INSERT INTO w VALUES ('{a}', {id} % 3, 'i{n}') ON CONFLICT (a, b) DO UPDATE SET v = 'c{n}', a = excluded.a"
            ),
            10 => format!("DELETE FROM w WHERE a = '{a}'"),
            _ => format!("UPDATE w SET a = CASE WHEN a = upper(a) THEN lower(a) ELSE upper(a) END WHERE b = {id} % 3"),
        };
        if self.app.try_run(&sql).await.is_err() {
            let _ = self.app.try_run("ROLLBACK").await; // a unique value that is taken: no change at all
        }
    }

    async fn seal(&mut self) {
        let wire = &mut self.wire;
        wire.max_keys = *[1, 2, 3, 50].choose(&mut self.rng).unwrap();
        wire.max_bytes = *[10, 60, 10_000].choose(&mut self.rng).unwrap();
        wire.chunk_rows = self.rng.random_range(1..5);
        let may_drain = self.queue.iter().all(|e| e.header.drained) && wire.returned.is_empty();
        let pending = wire.pending().await;
        let work = match pending {
            Some(t) if may_drain && self.rng.random_bool(0.5) => {
                Work::Chunk { table: TableId(t), max_rows: wire.chunk_rows, max_bytes: 1000 }
            }
            _ => Work::Nothing,
        };
        // Returned keys are in this very seal: then it may drain.
        let may_drain = self.queue.iter().all(|e| e.header.drained);
        let sealed = wire.seal_as(work, may_drain).await.unwrap();
        self.queue.extend(wire.entries(&sealed));
    }

    async fn deliver(&mut self) {
        let Some(entry) = self.queue.pop_front() else { return };
        let done = self.wire.offer(&entry).await.unwrap();
        assert!(matches!(done, Some(Applied::Done { .. })), "{done:?} of {:?}", entry.refs.name());
        if self.rng.random_bool(0.5) {
            let (store, mark) = (&self.wire.rig.source.store, self.wire.at.mark);
            store.confirm(&self.wire.rig.layout, &self.wire.lease, mark.position, 0).await.unwrap();
        }
    }

    /// What was not delivered is undone; sometimes by another relay, sometimes with a new generation.
    async fn take_over(&mut self) {
        self.queue.clear();
        let wire = &mut self.wire;
        let store = &wire.rig.source.store;
        wire.lease = store.raise_epoch(wire.rig.m(), &wire.lease, wire.lease.epoch).await.unwrap();
        if self.rng.random_bool(0.25) {
            self.generation += 1;
            wire.returned.clear();
            // Stale unique values of ranges that are not covered yet: `known::stale_unique_values` is about those.
            wire.rig.target.run("UPDATE t SET u = NULL").await;
            return wire.begin(self.generation).await;
        }
        let known = store.knows(wire.rig.m(), Link::Forward, &wire.at.mark).await.unwrap();
        assert!(known || wire.head == wire.at.mark, "the log reaches back to the target");
        wire.rewind_to_target().await.unwrap();
    }

    async fn end(&mut self) {
        while !self.queue.is_empty() {
            self.deliver().await;
        }
        self.wire.max_bytes = 1 << 20;
        self.wire.max_keys = 1_000;
        self.wire.drain().await;
        self.wire.backfill().await;
        self.wire.drain().await;
    }
}

pub async fn any_suffix_undone_comes_again(on: On) {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("CONTRACT_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("CONTRACT_ROUNDS").unwrap_or(4)).map(|_| rand::random_range(0..1_000_000)).collect(),
    };
    for seed in seeds {
        eprintln!("CONTRACT_SEED={seed}");
        history(on, seed).await;
    }
}

async fn history(on: On, seed: u64) {
    let rig = Rig::same(on, &format!("{} {DDL}", on.folding()), &["t", "w"]).await;
    let wire = Wire::open(&rig).await;
    let (rng, app) = (StdRng::seed_from_u64(seed), rig.source.app().await);
    let mut h = History { wire, rng, queue: VecDeque::new(), generation: 1, app };
    for _ in 0..30 {
        h.write().await;
    }
    for _ in 0..150 {
        match h.rng.random_range(0..20) {
            0..=9 => h.write().await,
            10..=14 => h.seal().await,
            15..=17 => h.deliver().await,
            _ => h.take_over().await,
        }
    }
    h.end().await;
    // Rows that an older generation left behind the stop key are found by their keys, and marked.
    if h.generation > 1 {
        for table in [1, 2] {
            let extra = h.wire.extra_keys(table).await;
            rig.source.store.mark_dirty(&rig.layout, TableId(table), &extra).await.unwrap();
        }
        h.wire.drain().await;
    }
    rig.assert_equal("t", "id, u, v").await;
    rig.assert_equal("w", "a, b, v").await;
    h.wire.assert_digests_equal().await;
    let mark: Mark = h.wire.head;
    assert_eq!(mark.generation, Generation(h.generation));
}
