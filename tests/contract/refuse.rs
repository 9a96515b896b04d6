//! What a target's own constraints make of entries: what can be put in order is, the rest is refused with key and
//! reason, never with values, and never by taking away another row.

use migrate::entry::{Refs, TableId};
use migrate::store::{Applied, Work};

use crate::apply::{changes, int, key, next, range, text};
use crate::link::Wire;
use crate::rig::{On, Rig, pair};

const LOOSE: &str = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text}, v {text})";
const UNIQUE: &str = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text} UNIQUE, v {text})";

async fn unique(on: On) -> Rig {
    let rig = Rig::new(on, LOOSE, UNIQUE, &[pair("t", "t")]).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'x'), (4, NULL, 'x')").await;
    rig
}

pub async fn unique_values_change_places_in_one_entry(on: On) {
    let rig = unique(on).await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET u = CASE id WHEN 1 THEN 'b' WHEN 2 THEN 'a' ELSE u END").await;
    wire.drain().await;
    rig.assert_equal("t", "id, u, v").await;
    rig.source.run("UPDATE t SET u = CASE id WHEN 1 THEN 'a' WHEN 2 THEN 'c' WHEN 3 THEN 'b' END").await;
    wire.drain().await;
    rig.assert_equal("t", "id, u, v").await;
    rig.source.run("DELETE FROM t WHERE id = 1; UPDATE t SET u = 'a' WHERE id = 4; INSERT INTO t VALUES (0, 'c', 'n'); UPDATE t SET u = NULL WHERE id = 2").await;
    wire.drain().await;
    rig.assert_equal("t", "id, u, v").await;
    rig.source.run("UPDATE t SET id = 10 - id").await;
    wire.drain().await;
    rig.assert_equal("t", "id, u, v").await;
    wire.assert_digests_equal().await;
}

pub async fn a_swap_keeps_what_is_not_ours(on: On) {
    let target = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text} UNIQUE, v {text}, own {text})";
    let rig = Rig::new(on, LOOSE, target, &[pair("t", "t").skip("own")]).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'x')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.target.run("UPDATE t SET own = 'own ' || id").await;
    rig.source.run("UPDATE t SET u = CASE id WHEN 1 THEN 'b' ELSE 'a' END").await;
    wire.drain().await;
    assert_eq!(rig.target.rows("t", "id, u, own").await, ["1|b|own 1", "2|a|own 2"]);
}

/// Where NULL is no way out, and children hang on the rows: each kind has a value that nobody has.
pub async fn values_that_must_not_be_null_change_places(on: On) {
    let (bytes, one, two) = match on {
        On::Postgres => ("bytea", "'\\x01'", "'\\x02'"),
        On::MariaDb => ("varbinary(40)", "x'01'", "x'02'"),
        On::Sqlite => ("BLOB", "x'01'", "x'02'"),
    };
    let uuid = |n: u8| format!("'00000000-0000-4000-8000-00000000000{n}'");
    let (first, second) = (uuid(1), uuid(2));
    for (kind, a, b) in [
        ("bigint", "1", "2"),
        ("smallint", "1", "2"),
        (if on == On::MariaDb { "varchar(99)" } else { "text" }, "'a'", "'b'"),
        ("varchar(8)", "'a'", "'b'"),
        ("numeric(10,2)", "1.5", "2.5"),
        ("double precision", "1.5", "2.5"),
        ("date", "'2024-01-01'", "'2024-01-02'"),
        ("timestamp", "'2024-01-01 00:00:00'", "'2024-01-02 00:00:00'"),
        (bytes, one, two),
        (if on == On::MariaDb { "char(36)" } else { "uuid" }, &first, &second),
        ("uuid", &first, &second),
    ] {
        let loose = format!(
            "CREATE TABLE p(id {{int}} NOT NULL PRIMARY KEY, u {kind} NOT NULL); CREATE TABLE c(id {{int}} NOT NULL PRIMARY KEY, p {{int}})"
        );
        let tight = format!(
            "CREATE TABLE p(id {{int}} NOT NULL PRIMARY KEY, u {kind} NOT NULL UNIQUE); CREATE TABLE c(id {{int}} NOT NULL PRIMARY KEY, p {{int}} REFERENCES p(id))"
        );
        let rig = Rig::new(on, &loose, &tight, &[pair("p", "p"), pair("c", "c")]).await;
        rig.source.run(&format!("INSERT INTO p VALUES (1, {a}), (2, {b}); INSERT INTO c VALUES (1, 1), (2, 2)")).await;
        let mut wire = Wire::synced(&rig).await;
        rig.source
            .run(&format!("BEGIN; UPDATE p SET u = {b} WHERE id = 1; UPDATE p SET u = {a} WHERE id = 2; COMMIT"))
            .await;
        let done = wire.try_drain().await;
        assert!(done.is_ok(), "{kind}: {done:?}");
        rig.assert_equal("p", "id, u").await;
        rig.assert_equal("c", "id, p").await;
        wire.assert_digests_equal().await;
        // A value passes from a parent that goes to one that comes, and the child with it.
        rig.source
            .run("BEGIN; INSERT INTO p SELECT 3, u FROM p WHERE id = 1; UPDATE c SET p = 3 WHERE p = 1; DELETE FROM p WHERE id = 1; COMMIT")
            .await;
        let done = wire.try_drain().await;
        assert!(done.is_ok(), "{kind}: {done:?}");
        rig.assert_equal("p", "id, u").await;
        rig.assert_equal("c", "id, p").await;
    }
}

/// The constant is part of the unique index.
pub async fn unique_values_change_places_within_a_constant(on: On) {
    let source = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text})";
    let target = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text}, origin {text}, UNIQUE (origin, u))";
    let rig = Rig::new(on, source, target, &[pair("t", "t").constant("origin", text("crm"))]).await;
    rig.target.run("INSERT INTO t VALUES (100, 'a', 'shop'), (101, 'b', 'shop')").await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET u = CASE id WHEN 1 THEN 'b' ELSE 'a' END").await;
    wire.drain().await;
    assert_eq!(rig.target.rows("t", "id, u").await, ["100|a", "101|b", "1|b", "2|a"]);
}

/// A partial index, or one over an expression: put in order or refused, but whole.
pub async fn a_swap_under_a_partial_index_is_whole(on: On) {
    let target = match on {
        On::MariaDb => {
            "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text}, v {text},
                folded {text} AS (CASE WHEN v = 'x' THEN lower(u) END) VIRTUAL UNIQUE)"
        }
        _ => {
            "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text}, v {text});
             CREATE UNIQUE INDEX folded ON t(lower(u)) WHERE v = 'x'"
        }
    };
    let rig = Rig::new(on, LOOSE, target, &[pair("t", "t").skip_if(on == On::MariaDb, "folded")]).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'a', 'y')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET u = CASE id WHEN 1 THEN 'B' WHEN 2 THEN 'A' ELSE u END").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let entries = wire.entries(&sealed);
    match wire.apply(&entries).await.unwrap() {
        Applied::Refused(_) => assert_eq!(rig.target.rows("t", "id, u").await, ["1|a", "2|b", "3|a"]),
        Applied::Done { .. } => rig.assert_equal("t", "id, u, v").await,
        Applied::Moved => panic!("it moved"),
    }
}

pub async fn a_collision_with_a_row_outside_the_entry_is_refused(on: On) {
    let rig = unique(on).await;
    let mut wire = Wire::synced(&rig).await;
    let before = rig.target.rows("t", "id, u, v").await;
    let at = wire.at;
    rig.source.run("UPDATE t SET u = 'b' WHERE id = 1; UPDATE t SET v = 's3cret-value' WHERE id IN (1, 3)").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let entries = wire.entries(&sealed);
    let Applied::Refused(refusal) = wire.apply(&entries).await.unwrap() else { panic!("it was applied") };
    assert_eq!((refusal.table, refusal.position), (TableId(1), entries[0].header.position));
    assert_eq!(refusal.key, key(1));
    assert!(
        !refusal.reason.is_empty() && !refusal.reason.contains("s3cret") && !refusal.reason.contains("'b'"),
        "{}",
        refusal.reason
    );
    assert_eq!(rig.target.rows("t", "id, u, v").await, before);
    // Mended at the source: the same entry is undone and made again.
    rig.source.run("UPDATE t SET u = 'd' WHERE id = 2").await;
    assert_eq!(wire.at, at);
    wire.rewind_to_target().await.unwrap();
    wire.drain().await;
    rig.assert_equal("t", "id, u, v").await;
}

/// Of several rows the one that stands in the way is named, not one that merely waits for another.
pub async fn the_culprit_is_named(on: On) {
    let target = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text} UNIQUE, v {text} CHECK (v <> 'bad'))";
    let rig = Rig::new(on, LOOSE, target, &[pair("t", "t")]).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'x'), (4, 'd', 'x')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET u = CASE id WHEN 1 THEN 'b' WHEN 2 THEN 'a' ELSE u END WHERE id < 3").await;
    rig.source.run("UPDATE t SET v = 'bad' WHERE id = 3").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let Applied::Refused(refusal) = wire.apply(&wire.entries(&sealed)).await.unwrap() else { panic!("it was applied") };
    assert_eq!(refusal.key, key(3), "{}", refusal.reason);
}

pub async fn in_an_undrained_entry_it_comes_back(on: On) {
    let rig = unique(on).await;
    let mut wire = Wire::synced(&rig).await;
    wire.max_keys = 1;
    // Their counterparts come in later entries.
    rig.source.run("UPDATE t SET u = CASE id WHEN 1 THEN 'b' WHEN 2 THEN 'c' WHEN 3 THEN 'a' END WHERE id < 4").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert!(!sealed.entries[0].drained);
    wire.deliver(&sealed).await;
    assert_eq!(wire.returned.len(), 1, "the first could not be taken yet");
    assert_eq!(rig.target.store.verdicts(&rig.layout, migrate::entry::Link::Forward).await.unwrap().len(), 1);
    wire.max_keys = 10;
    wire.drain().await;
    rig.assert_equal("t", "id, u, v").await;
    wire.assert_digests_equal().await;
    assert!(rig.target.store.verdicts(&rig.layout, migrate::entry::Link::Forward).await.unwrap().len() <= 1, "heard");
}

const FAMILY: &str = "CREATE TABLE p(id {int} NOT NULL PRIMARY KEY, boss {int} REFERENCES p(id), v {text});
    CREATE TABLE c(id {int} NOT NULL PRIMARY KEY, p {int} NOT NULL REFERENCES p(id), v {text})";

pub async fn children_and_parents_in_one_entry(on: On) {
    let rig = Rig::same(on, FAMILY, &["p", "c"]).await;
    rig.source
        .run("INSERT INTO p VALUES (1, NULL, 'a'), (2, 1, 'b'); INSERT INTO c VALUES (1, 2, 'x'), (2, 1, 'x')")
        .await;
    let mut wire = Wire::synced(&rig).await;
    let check = async |wire: &mut Wire<'_>, sql: &str| {
        rig.source.run(sql).await;
        assert_eq!(wire.drain().await, 1, "one entry: {sql}");
        rig.assert_equal("p", "id, boss, v").await;
        rig.assert_equal("c", "id, p, v").await;
    };
    check(&mut wire, "BEGIN; INSERT INTO p VALUES (9, NULL, 'n'); INSERT INTO c VALUES (0, 9, 'n'); COMMIT").await;
    check(&mut wire, "BEGIN; INSERT INTO p VALUES (5, NULL, 'n'); INSERT INTO p VALUES (4, 5, 'n'), (6, 4, 'n'); UPDATE p SET boss = 6 WHERE id = 5; COMMIT").await;
    check(&mut wire, "BEGIN; INSERT INTO p VALUES (3, NULL, 'n'); UPDATE c SET p = 3 WHERE id = 1; DELETE FROM p WHERE id = 2; COMMIT").await;
    check(&mut wire, "BEGIN; UPDATE p SET boss = NULL WHERE id = 5; DELETE FROM p WHERE id = 6; DELETE FROM p WHERE id = 4; DELETE FROM p WHERE id = 5; COMMIT").await;
    check(&mut wire, "BEGIN; DELETE FROM c WHERE id = 0; DELETE FROM p WHERE id = 9; COMMIT").await;
    check(
        &mut wire,
        "BEGIN; DELETE FROM c WHERE id = 2; DELETE FROM p WHERE id = 1; INSERT INTO p VALUES (1, 1, 'again'); COMMIT",
    )
    .await;
    wire.assert_digests_equal().await;
}

pub async fn a_child_whose_parent_comes_later_waits(on: On) {
    let rig = Rig::same(on, FAMILY, &["p", "c"]).await;
    let mut wire = Wire::synced(&rig).await;
    let child = next(&wire, changes(&[(2, &[(1, true)])]), vec![vec![int(1), int(7), text("x")]], false);
    let Applied::Done { verdicts, .. } = wire.apply(&[child]).await.unwrap() else { panic!() };
    assert_eq!(verdicts.len(), 1);
    assert_eq!(wire.returned, [(TableId(2), vec![key(1)])]);
    assert!(rig.target.rows("c", "id").await.is_empty());
    let child = next(&wire, changes(&[(2, &[(1, true)])]), vec![vec![int(1), int(7), text("x")]], true);
    let Applied::Refused(refusal) = wire.apply(&[child]).await.unwrap() else { panic!("an orphan") };
    assert_eq!((refusal.table, refusal.key), (TableId(2), key(1)));
    let both = changes(&[(2, &[(1, true)]), (1, &[(7, true)])]);
    let rows = vec![vec![int(1), int(7), text("x")], vec![int(7), migrate::value::Value::Null, text("x")]];
    let entry = next(&wire, both, rows, true);
    assert!(matches!(wire.apply(&[entry]).await.unwrap(), Applied::Done { .. }));
    // A parent goes whose child stays.
    let entry = next(&wire, changes(&[(1, &[(7, false)])]), vec![], true);
    assert!(matches!(wire.apply(&[entry]).await.unwrap(), Applied::Refused(r) if r.key == key(7)));
    assert_eq!(rig.target.rows("c", "id, p").await, ["1|7"]);
}

/// Keys that refer to each other, deferrable, in each entry of one call.
pub async fn deferred_keys_hold_at_the_end_of_each_entry(on: On) {
    let ddl = match on {
        On::Sqlite => {
            "CREATE TABLE a(id {int} NOT NULL PRIMARY KEY, b {int} NOT NULL REFERENCES b(id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE b(id {int} NOT NULL PRIMARY KEY, a {int} NOT NULL REFERENCES a(id) DEFERRABLE INITIALLY DEFERRED)"
        }
        // InnoDB defers nothing, and a ring is refused at plan.
        On::MariaDb => {
            "CREATE TABLE a(id {int} NOT NULL PRIMARY KEY, b {int} NOT NULL);
             CREATE TABLE b(id {int} NOT NULL PRIMARY KEY, a {int} NOT NULL REFERENCES a(id))"
        }
        On::Postgres => {
            "CREATE TABLE a(id {int} NOT NULL PRIMARY KEY, b {int} NOT NULL);
             CREATE TABLE b(id {int} NOT NULL PRIMARY KEY, a {int} NOT NULL REFERENCES a(id) DEFERRABLE);
             ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b(id) DEFERRABLE"
        }
    };
    let plain = "CREATE TABLE a(id {int} NOT NULL PRIMARY KEY, b {int}); CREATE TABLE b(id {int} NOT NULL PRIMARY KEY, a {int})";
    let rig = Rig::new(on, plain, ddl, &[pair("a", "a"), pair("b", "b")]).await;
    let mut wire = Wire::synced(&rig).await;
    let mut entries = Vec::new();
    for i in 1..4 {
        rig.source
            .run(&format!("BEGIN; INSERT INTO a VALUES ({i}, {i}); INSERT INTO b VALUES ({i}, {i}); COMMIT"))
            .await;
        let sealed = wire.seal(Work::Nothing).await.unwrap();
        entries.extend(wire.entries(&sealed));
    }
    let done = wire.apply(&entries).await.unwrap();
    assert!(matches!(done, Applied::Done { .. }), "{done:?}");
    rig.assert_equal("a", "id, b").await;
    rig.assert_equal("b", "id, a").await;
}

/// A swap of unique values must not take along what hangs on the rows.
pub async fn a_swap_does_not_cascade(on: On) {
    let parent = "CREATE TABLE p(id {int} NOT NULL PRIMARY KEY, u {text} UNIQUE);";
    let source = format!("{parent} CREATE TABLE c(id {{int}} NOT NULL PRIMARY KEY, p {{int}})");
    let target = format!(
        "{parent} CREATE TABLE c(id {{int}} NOT NULL PRIMARY KEY, p {{int}} REFERENCES p(id) ON DELETE CASCADE)"
    );
    let source = source.replace("UNIQUE", "");
    let rig = Rig::new(on, &source, &target, &[pair("p", "p"), pair("c", "c")]).await;
    rig.source.run("INSERT INTO p VALUES (1, 'a'), (2, 'b'); INSERT INTO c VALUES (1, 1), (2, 2)").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE p SET u = CASE id WHEN 1 THEN 'b' ELSE 'a' END").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let done = wire.try_deliver(&sealed).await;
    assert_eq!(rig.target.rows("c", "id, p").await, ["1|1", "2|2"], "{done:?}");
    if done.is_ok() {
        rig.assert_equal("p", "id, u").await;
    }
}

/// A key that is spelled anew, at a target that takes both spellings for one, in entries of one key each.
pub async fn a_folded_key_is_spelled_anew(on: On) {
    let ddl = format!("{} CREATE TABLE t(id {{fold}} NOT NULL PRIMARY KEY, v {{text}})", on.folding());
    let rig = Rig::same(on, &ddl, &["t"]).await;
    rig.source.run("INSERT INTO t VALUES ('anna', 'x'), ('bert', 'y')").await;
    for max_keys in [10, 1] {
        let mut wire = Wire::take(&rig).await;
        if wire.head.position.0 == 0 {
            wire.begin(1).await;
            wire.backfill().await;
        }
        wire.max_keys = max_keys;
        for sql in [
            "UPDATE t SET id = upper(id)",
            "UPDATE t SET id = lower(id), v = 'z' WHERE id = 'anna'",
            "BEGIN; DELETE FROM t WHERE id = 'BERT'; INSERT INTO t VALUES ('Bert', 'w'); COMMIT",
            "BEGIN; UPDATE t SET id = 'Anna' WHERE id = 'anna'; UPDATE t SET id = 'aNNa' WHERE id = 'anna'; COMMIT",
            "UPDATE t SET id = lower(id)",
        ] {
            rig.source.run(sql).await;
            wire.drain().await;
            rig.assert_equal("t", "id, v").await;
        }
        wire.assert_digests_equal().await;
    }
}

/// The source tells two keys apart that are one at the target: a refusal, and neither takes the other's place.
pub async fn two_keys_that_are_one_at_the_target_are_refused(on: On) {
    let source = "CREATE TABLE t(id {text} NOT NULL PRIMARY KEY, v {text})";
    let target = format!("{} CREATE TABLE t(id {{fold}} NOT NULL PRIMARY KEY, v {{text}})", on.folding());
    let rig = Rig::new(on, source, &target, &[pair("t", "t")]).await;
    rig.source.run("INSERT INTO t VALUES ('anna', 'x')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("INSERT INTO t VALUES ('ANNA', 'y')").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let done = wire.apply(&wire.entries(&sealed)).await.unwrap();
    assert!(matches!(done, Applied::Refused(_)), "{done:?}");
    assert_eq!(rig.target.rows("t", "id, v").await, ["anna|x"]);
    rig.source.run("DELETE FROM t WHERE id = 'ANNA'").await;
    wire.rewind_to_target().await.unwrap();
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
}

pub async fn a_chunk_is_refused_whole(on: On) {
    let target = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text}, v {text} CHECK (v <> 'bad'))";
    let rig = Rig::new(on, LOOSE, target, &[pair("t", "t")]).await;
    let mut wire = Wire::open(&rig).await;
    let rows: Vec<_> = (0..30).map(|i| vec![int(i), text("u"), text(if i == 17 { "bad" } else { "good" })]).collect();
    let refs = Refs::Chunk { table: TableId(1), range: range(None, Some(30)), fresh: true };
    let entry = next(&wire, refs, rows, true);
    let Applied::Refused(refusal) = wire.apply(&[entry]).await.unwrap() else { panic!("it was applied") };
    assert_eq!(refusal.key, key(17));
    assert!(!refusal.reason.contains("good"));
    assert!(rig.target.rows("t", "id").await.is_empty());
}
