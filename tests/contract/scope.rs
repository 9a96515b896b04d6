//! Scopes: a part of the rows is fenced, decided and opened by itself; the others are written on. Each link carries what
//! its sender owns, and the receiver touches nothing else.

use migrate::entry::{Control, Entry, Finding, Link, Refs, Scopes, TableKeys, Turn};
use migrate::error::Kind;
use migrate::store::{Applied, Decided, Fence, Side, Task, TaskKind, Work};
use migrate::value::{Key, Value};

use crate::app::App;
use crate::gated::{LOCK_MS, LONG_MS, behind, refused};
use crate::link::{Wire, decode};
use crate::rig::{On, Rig};

const DDL: &str = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, tenant {text}, v {long})";

/// Both gates made, the source's open; each of the tenants 7, 42 and null has two rows.
struct Scoped {
    rig: Rig,
    here: String,
    there: String,
}

impl Scoped {
    async fn new(on: On) -> Self {
        let mut rig = Rig::bare(on, DDL, DDL, &[crate::rig::pair("t", "t")]).await;
        let map = &mut rig.layout.tables[0];
        map.scope = map.columns.iter().position(|c| c.target.name == "tenant");
        assert!(rig.layout.is_scoped());
        rig.install().await;
        let (here, there) = (rig.source.store.who().await.unwrap(), rig.target.store.who().await.unwrap());
        rig.source.admin.make_gate(&rig.layout, Side::Source, &here, false).await.unwrap();
        rig.target.admin.make_gate(&rig.layout, Side::Target, &there, true).await.unwrap();
        let rows = "(1, '7', 'a'), (2, '7', 'b'), (3, '42', 'c'), (4, '42', 'd'), (5, NULL, 'e'), (6, NULL, 'f')";
        rig.source.run(&format!("INSERT INTO t VALUES {rows}")).await;
        if on == On::MariaDb {
            // Transactions are told from older ones than the gate by whole seconds.
            tokio::time::sleep(std::time::Duration::from_millis(2_200)).await;
        }
        Self { rig, here, there }
    }

    async fn name(&self, scopes: &[&str]) {
        let scopes: Vec<String> = scopes.iter().map(|s| (*s).to_owned()).collect();
        let (rig, layout) = (&self.rig, &self.rig.layout);
        rig.source.admin.name_scopes(layout, Side::Source, &self.here, &scopes).await.unwrap();
        rig.target.admin.name_scopes(layout, Side::Target, &self.there, &scopes).await.unwrap();
    }

    async fn fence(&self, scopes: Option<&[&str]>, pause_ms: i64) -> i64 {
        let scopes: Option<Vec<String>> = scopes.map(|all| all.iter().map(|s| (*s).to_owned()).collect());
        let (grantee, scopes) = (self.here.as_str(), scopes.as_deref());
        let fence = Fence { pause_ms, lock_timeout_ms: LOCK_MS, cut: 1, grantee, scopes };
        for _ in 0..40 {
            match self.rig.source.admin.fence(&self.rig.layout, Side::Source, &fence).await {
                Err(e) if e.is_retry() => {}
                done => return done.unwrap(),
            }
        }
        panic!("no fence in so many tries");
    }

    async fn unfence(&self) {
        self.rig.source.admin.unfence(&self.rig.layout, Side::Source).await.unwrap();
    }

    /// In step, fenced, and the fence's entry at the receiver.
    async fn fenced(&self, scopes: Option<&[&str]>) -> Wire<'_> {
        let begun = self.rig.source.store.link_state(self.rig.m(), Link::Forward, Side::Source).await.unwrap();
        let mut wire = match begun.mark.generation.0 {
            0 => Wire::synced(&self.rig).await,
            _ => Wire::take(&self.rig).await,
        };
        self.fence(scopes, LONG_MS).await;
        wire.drain().await;
        let sealed = wire.seal(Work::Fence { cut: 1 }).await.unwrap();
        wire.deliver(&sealed).await;
        wire
    }

    async fn decide(&self, wire: &mut Wire<'_>) -> Vec<Turn> {
        let decided = self.rig.source.store.decide(wire.request(Work::Nothing, true), 1).await.unwrap();
        let Decided::Open { turns, sealed } = decided else { panic!("it did not decide: {decided:?}") };
        wire.head = sealed.head;
        wire.deliver(&sealed).await;
        turns
    }

    /// The whole change of owner of some scopes.
    async fn give(&self, scopes: Option<&[&str]>) -> Vec<Turn> {
        if let Some(scopes) = scopes {
            self.name(scopes).await;
        }
        let mut wire = self.fenced(scopes).await;
        let turns = self.decide(&mut wire).await;
        self.unfence().await;
        self.rig.target.admin.unfence(&self.rig.layout, Side::Target).await.unwrap();
        for (end, side) in [(&self.rig.source, Side::Source), (&self.rig.target, Side::Target)] {
            let lease = if side == Side::Source { &wire.lease } else { &wire.applier };
            end.store.release_lease(self.rig.m(), lease).await.unwrap();
        }
        turns
    }
}

fn turn(scope: &str, turn: u64) -> Turn {
    Turn { scope: Some(scope.to_owned()), turn }
}

/// Writes that touch the scope 42, alone or with others.
const OF_42: [&str; 9] = [
    "INSERT INTO t VALUES (10, '42', 'x')",
    "INSERT INTO t VALUES (10, '7', 'x'), (11, '42', 'x')",
    "UPDATE t SET v = 'x' WHERE id = 3",
    "UPDATE t SET v = 'x'",
    "UPDATE t SET tenant = '7' WHERE id = 4",
    "UPDATE t SET tenant = '42' WHERE id = 1",
    "UPDATE t SET tenant = NULL WHERE id = 3",
    "DELETE FROM t WHERE id = 4",
    "DELETE FROM t",
];

/// Writes of other scopes, that leave everything as it was.
const OF_OTHERS: [&str; 4] = [
    "INSERT INTO t VALUES (20, '7', 'x'), (21, NULL, 'x'), (22, '8', 'x')",
    "UPDATE t SET tenant = '9' WHERE id = 20",
    "UPDATE t SET v = 'y' WHERE id IN (5, 21)",
    "DELETE FROM t WHERE id >= 20",
];

async fn only_others_write(on: On, app: &mut App) {
    for sql in OF_42 {
        refused(on, app, sql).await;
    }
    for sql in OF_OTHERS {
        app.run(sql).await;
    }
}

pub async fn a_fence_covers_the_scopes_that_it_names(on: On) {
    let s = Scoped::new(on).await;
    let mut app = s.rig.source.app().await;
    s.name(&["42"]).await;
    s.name(&["42"]).await;
    app.run("UPDATE t SET v = 'c' WHERE tenant = '42'").await;
    let deadline = s.fence(Some(&["42"]), 3_000).await;
    only_others_write(on, &mut app).await;
    let gate = s.rig.source.store.gate(&s.rig.layout, Side::Source).await.unwrap();
    assert!(gate.is_fenced() && !gate.covered && gate.scopes[0].covered && gate.is_open(), "{gate:?}");
    behind(&s.rig.source.store, deadline).await;
    app.run("UPDATE t SET v = 'd' WHERE id = 4").await;
    s.unfence().await;
    // The rest, and what is named with it.
    s.fence(None, LONG_MS).await;
    for sql in OF_42.iter().chain(&OF_OTHERS[..1]) {
        refused(on, &mut app, sql).await;
    }
    s.unfence().await;
    app.run("UPDATE t SET v = 'e' WHERE id IN (1, 4)").await;
}

pub async fn a_decided_scope_is_the_others_and_no_other_is(on: On) {
    let s = Scoped::new(on).await;
    assert_eq!(s.give(Some(&["42"])).await, [turn("42", 1)]);
    let (mut here, mut there) = (s.rig.source.app().await, s.rig.target.app().await);
    only_others_write(on, &mut here).await;
    for sql in ["INSERT INTO t VALUES (30, '7', 'x')", "UPDATE t SET v = 'x' WHERE id IN (1, 3)", "DELETE FROM t"] {
        refused(on, &mut there, sql).await;
    }
    refused(on, &mut there, "UPDATE t SET tenant = '7' WHERE id = 3").await;
    refused(on, &mut there, "INSERT INTO t VALUES (30, NULL, 'x')").await;
    there.run("INSERT INTO t VALUES (31, '42', 'x')").await;
    there.run("UPDATE t SET v = 'z' WHERE id = 3").await;
    there.run("DELETE FROM t WHERE id IN (31, 4)").await;
    let gates = [
        s.rig.source.store.gate(&s.rig.layout, Side::Source).await.unwrap(),
        s.rig.target.store.gate(&s.rig.layout, Side::Target).await.unwrap(),
    ];
    assert_eq!(gates[0].owned(), Scopes { rest: true, except: vec!["42".into()] });
    assert_eq!(gates[1].owned(), Scopes { rest: false, except: vec!["42".into()] });
    // Another follows, alone; then the first is not decided a second time.
    assert_eq!(s.give(Some(&["7", "42"])).await, [turn("7", 1)]);
    refused(on, &mut here, "DELETE FROM t WHERE id = 1").await;
    there.run("UPDATE t SET v = 'z' WHERE id IN (1, 3)").await;
}

pub async fn scopes_are_told_apart_by_their_bytes(on: On) {
    let s = Scoped::new(on).await;
    let mut app = s.rig.source.app().await;
    let named = ["a", "it's", "b\\n", "é", "🦀", "Tab\there", ""];
    s.name(&named).await;
    s.fence(Some(&named), LONG_MS).await;
    let spelled = |text: &str| match on {
        On::MariaDb => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        _ => format!("'{}'", text.replace('\'', "''")),
    };
    for (i, scope) in named.iter().enumerate() {
        refused(on, &mut app, &format!("INSERT INTO t VALUES ({}, {}, 'x')", 100 + i, spelled(scope))).await;
    }
    let long = "l".repeat(200);
    for (i, scope) in ["A", "a ", "e", "É", "b\n", "Tab here", " ", long.as_str()].into_iter().enumerate() {
        app.run(&format!("INSERT INTO t VALUES ({}, {}, 'x')", 200 + i, spelled(scope))).await;
    }
}

pub async fn a_snapshot_from_before_does_not_write_a_scope_that_was_given(on: On) {
    let s = Scoped::new(on).await;
    let mut old = s.rig.source.app().await;
    match on {
        On::Postgres => old.run("BEGIN ISOLATION LEVEL REPEATABLE READ").await,
        On::MariaDb => old.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; BEGIN").await,
        On::Sqlite => old.run("BEGIN").await,
    }
    assert_eq!(old.rows("t", "id").await.len(), 6, "its snapshot is from here on");
    s.give(Some(&["42"])).await;
    let error = old.try_run("UPDATE t SET v = 'late' WHERE id = 3").await.expect_err("a write behind the decision");
    assert!(!error.to_string().is_empty());
    let _ = old.try_run("ROLLBACK").await;
    assert_eq!(s.rig.source.rows("t", "id, v").await[2], "3|c");
    old.run("UPDATE t SET v = 'on time' WHERE id = 1").await;
}

pub async fn a_write_of_another_scope_is_not_in_the_way(on: On) {
    let s = Scoped::new(on).await;
    s.name(&["42"]).await;
    let mut wire = s.fenced(Some(&["42"])).await;
    s.rig.source.run("UPDATE t SET v = 'meanwhile' WHERE id = 1").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert!(!sealed.breached);
    wire.deliver(&sealed).await;
    s.rig.source.run("UPDATE t SET v = 'and again' WHERE id = 5").await;
    assert_eq!(s.decide(&mut wire).await, [turn("42", 1)]);
    let entries: Vec<Entry> = wire.log.values().map(decode).collect();
    assert!(entries.iter().all(|e| e.header.owned.is_none()), "until it was decided everything was the source's");
    wire.drain().await;
    s.rig.assert_equal("t", "id, tenant, v").await;
}

/// Its mark is made by hand: as a clock that stepped back would have let the write through.
pub async fn a_write_of_the_scope_behind_the_fence_is(on: On) {
    let s = Scoped::new(on).await;
    s.name(&["42"]).await;
    let mut wire = s.fenced(Some(&["42"])).await;
    let dirty = match on {
        On::Postgres => "\"_migrate_m-1\".dirty_1",
        On::MariaDb => "`_migrate_m-1_dirty_1`",
        On::Sqlite => "\"_migrate_m-1_dirty_1\"",
    };
    let mut owner = s.rig.source.owner().await;
    owner.run(&format!("INSERT INTO {dirty} (k1, scope) VALUES (3, '42')")).await;
    let decided = s.rig.source.store.decide(wire.request(Work::Nothing, true), 1).await.unwrap();
    let Decided::No(why) = decided else { panic!("it decided") };
    assert!(why.contains("was accepted after the fence"), "{why}");
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert!(sealed.breached, "whoever seals it must know");
    let gate = s.rig.source.store.gate(&s.rig.layout, Side::Source).await.unwrap();
    assert!(gate.is_open() && gate.turns() == 0, "{gate:?}");
}

pub async fn everything_is_given_and_one_scope_comes_back(on: On) {
    let s = Scoped::new(on).await;
    s.give(Some(&["42"])).await;
    let all = s.give(None).await;
    assert_eq!(all, [Turn { scope: None, turn: 1 }], "what was given before is not given again");
    let (mut here, mut there) = (s.rig.source.app().await, s.rig.target.app().await);
    refused(on, &mut here, "INSERT INTO t VALUES (40, 'new', 'x')").await;
    there.run("INSERT INTO t VALUES (40, 'new', 'x')").await;
    there.run("UPDATE t SET v = 'all'").await;
    // Back, as the other link's applier hears it: only what is told opens, and only by a later turn.
    let gate = s.rig.source.store.gate(&s.rig.layout, Side::Source).await.unwrap();
    assert!(gate.parts().all(|p| p.closed && p.turn == 1), "{gate:?}");
}

/// An entry as the relay makes it, with other contents.
fn entry(sealed: &Entry, owned: Option<Scopes>, refs: Refs, rows: Vec<Vec<Value>>) -> Entry {
    use migrate::log::codec::{read_entry, seal};
    let header = migrate::entry::Header { owned, drained: true, settled: true, ..sealed.header.clone() };
    read_entry(&seal(&header, &refs, &rows).1).unwrap()
}

pub async fn the_receiver_touches_only_what_the_sender_owns(on: On) {
    let s = Scoped::new(on).await;
    s.give(Some(&["42"])).await;
    let mut wire = Wire::take(&s.rig).await;
    let mut there = s.rig.target.app().await;
    there.run("UPDATE t SET v = 'mine' WHERE id = 3").await;
    there.run("DELETE FROM t WHERE id = 4").await;
    // What the source still has of the scope is not sent, compared or missed.
    let table = s.rig.layout.tables[0].id;
    let everything = Task { id: 1, table, what: TaskKind::RangeAfter { after: None, max_rows: 100 } };
    let keys = Task { id: 2, table, what: TaskKind::KeySet { buckets: 8 } };
    wire.drain().await;
    let sealed = wire.seal(Work::Compare(vec![everything, keys])).await.unwrap();
    let verdicts = wire.deliver(&sealed).await;
    assert!(verdicts.len() == 2 && verdicts.iter().all(|v| v.finding == Finding::Equal), "{verdicts:?}");
    // Repair asks for a key of the other's: its row is not ours to send, and to delete neither.
    let key = |i: i64| Key(vec![Value::Int(i.into())]);
    s.rig.source.store.mark_dirty(&s.rig.layout, table, &[key(3), key(1)]).await.unwrap();
    wire.drain().await;
    assert_eq!(s.rig.target.rows("t", "id, v").await[2], "3|mine");
    // A range, as a copy of everything would bring it: neither 42's rows nor its absence are touched.
    let sealed = wire.seal(Work::Tell(Control::Abort { cut: 9 })).await.unwrap();
    let range = migrate::entry::Range { after: None, upto: Some(key(100)) };
    let rows = vec![vec![Value::Int(1), Value::Text("7".into()), Value::Text("copied".into())]];
    let owned = Some(Scopes { rest: true, except: vec!["42".into()] });
    let chunk =
        entry(&decode(&sealed.entries[0].bytes), owned.clone(), Refs::Chunk { table, range, fresh: false }, rows);
    assert!(matches!(wire.offer(&chunk).await.unwrap(), Some(Applied::Done { .. })));
    assert_eq!(s.rig.target.rows("t", "id, v").await, ["1|copied", "3|mine"]);
    // A row that takes the key of another owner's.
    let mut header = decode(&sealed.entries[0].bytes);
    header.header.position = chunk.header.position.next();
    header.header.prev = chunk.hash;
    let changes = Refs::Changes(vec![TableKeys { table, keys: vec![(key(3), true)] }]);
    let rows = vec![vec![Value::Int(3), Value::Text("7".into()), Value::Text("over".into())]];
    let taken = entry(&header, owned, changes, rows);
    assert!(matches!(wire.offer(&taken).await.unwrap(), Some(Applied::Refused(_))));
    assert_eq!(s.rig.target.rows("t", "id, v").await[1], "3|mine");
}

pub async fn a_sender_that_claims_what_the_receiver_owns_is_stopped(on: On) {
    let s = Scoped::new(on).await;
    s.give(Some(&["42"])).await;
    let mut wire = Wire::take(&s.rig).await;
    let sealed = wire.seal(Work::Tell(Control::Abort { cut: 9 })).await.unwrap();
    let told = decode(&sealed.entries[0].bytes);
    for claimed in [None, Some(Scopes { rest: false, except: vec!["42".into()] })] {
        let claim = entry(&told, claimed, Refs::Control(Control::Abort { cut: 9 }), vec![]);
        assert_eq!(wire.offer(&claim).await.unwrap_err().kind, Kind::Changed);
    }
    wire.deliver(&sealed).await;
}
