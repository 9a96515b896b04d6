//! Digests: equal where equal, and any difference at all is found and named.

use migrate::entry::{Difference, Finding, Range, TableId};
use migrate::store::{Side, TaskKind};
use migrate::value::Key;

use crate::apply::{key, range};
use crate::link::Wire;
use crate::rig::{On, Rig, pair};

const ALL: TaskKind = TaskKind::Rows { range: Range { after: None, upto: None } };

/// A column of each kind, a value, and the next one to it.
fn kinds(on: On) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut all = vec![
        ("boolean", "true", "false"),
        ("bigint", "9007199254740993", "9007199254740992"),
        ("smallint", "0", "-1"),
        ("numeric(10,2)", "12.34", "12.35"),
        ("double precision", "0.1", "0.10000000000000002"),
        ("varchar(20)", "'Straße'", "'Strasse'"),
        ("text", "''", "NULL"),
        ("text", "'a'", "'A'"),
        ("text", "'a '", "'a'"),
        ("text", "'\u{e9}'", "'e\u{301}'"),
        ("date", "'2024-02-29'", "'2024-03-01'"),
        ("time", "'12:00:00'", "'12:00:00.000001'"),
        ("timestamp", "'2024-01-01 00:00:00'", "'2024-01-01 00:00:00.000001'"),
    ];
    if on == On::MariaDb {
        // Without digits these keep whole seconds.
        let six = |t: &'static str| match t {
            "time" => "time(6)",
            "timestamp" => "datetime(6)",
            "text" => "text COLLATE utf8mb4_nopad_bin",
            other => other,
        };
        all.iter_mut().for_each(|kind| kind.0 = six(kind.0));
    }
    all.extend(match on {
        On::Postgres => vec![
            ("bytea", "'\\x00ff'", "'\\x00fe'"),
            ("timestamptz", "'2024-01-01 00:00:00+00'", "'2024-01-01 00:00:00.000001+00'"),
            ("uuid", "'00000000-0000-4000-8000-000000000000'", "'00000000-0000-4000-8000-000000000001'"),
            ("jsonb", "'{\"a\": 1}'", "'{\"a\": 2}'"),
            ("numeric", "1e30", "1000000000000000000000000000001"),
            ("real", "0.1", "0.10000001"),
            ("double precision", "0", "'-0'"),
            ("int4[]", "'{1,2}'", "'{1,2,NULL}'"),
            ("interval", "'1 day'", "'24 hours'"),
            ("inet", "'10.0.0.1'", "'10.0.0.1/24'"),
        ],
        On::MariaDb => vec![
            ("longblob", "x'00ff'", "x'00fe'"),
            ("timestamp(6) NULL", "'2024-01-01 00:00:00'", "'2024-01-01 00:00:00.000001'"),
            ("uuid", "'00000000-0000-4000-8000-000000000000'", "'00000000-0000-4000-8000-000000000001'"),
            ("json", "'{\"a\": 1}'", "'{\"a\": 2}'"),
            ("decimal(65,30)", "1e30", "1000000000000000000000000000001"),
            ("float", "0.1", "0.10000001"),
            ("bigint unsigned", "18446744073709551615", "18446744073709551614"),
            ("bit(9)", "b'100000001'", "b'100000000'"),
            ("enum('a','b')", "'a'", "'b'"),
            ("set('x','y')", "'x,y'", "'y'"),
            ("year", "2024", "1999"),
            ("inet6", "'::1'", "'::2'"),
            ("point", "POINT(1, 2)", "POINT(1, 3)"),
            ("varchar(9) CHARACTER SET latin1", "'é'", "'e'"),
        ],
        On::Sqlite => vec![
            ("BLOB", "x'00ff'", "x'00fe'"),
            ("UUID", "'00000000-0000-4000-8000-000000000000'", "'00000000-0000-4000-8000-000000000001'"),
            ("JSON", "'{\"a\": 1}'", "'{\"a\": 2}'"),
            ("DECIMAL_TEXT", "'1000000000000000000000000000000'", "'1000000000000000000000000000001'"),
            ("ANYTHING_ELSE", "1", "'x'"),
        ],
    });
    all
}

pub async fn one_unit_in_one_column_of_any_kind_is_found(on: On) {
    let kinds = kinds(on);
    let columns: String = kinds.iter().enumerate().map(|(i, (t, ..))| format!(", c{i} {t}")).collect();
    let ddl = format!("CREATE TABLE t(id {{int}} NOT NULL PRIMARY KEY{columns})");
    let rig = Rig::same(on, &ddl, &["t"]).await;
    let values = |pick: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        kinds.iter().map(|k| format!(", {}", pick(k))).collect::<String>()
    };
    let nulls = ", NULL".repeat(kinds.len());
    let (one, other) = (values(|k| k.1), values(|k| k.2));
    rig.source.run(&format!("INSERT INTO t VALUES (1{one}), (2{other}), (3{nulls})")).await;
    let mut wire = Wire::synced(&rig).await;
    wire.assert_digests_equal().await;
    for (i, (kind, value, next)) in kinds.iter().enumerate() {
        rig.target.run(&format!("UPDATE t SET c{i} = {next} WHERE id = 1")).await;
        assert_eq!(wire.whole(1).await, Finding::Differs { target_rows: 3 }, "{kind} {value} {next}");
        let named = Finding::Keys { keys: vec![(key(1), Difference::Changed)], more: 0 };
        assert_eq!(wire.compare(1, ALL).await, named, "{kind}");
        // Repair is marking the key.
        rig.source.store.mark_dirty(&rig.layout, TableId(1), &[key(1)]).await.unwrap();
        assert_eq!(wire.whole(1).await, Finding::Equal, "{kind}");
        if *value != "NULL" {
            rig.target.run(&format!("UPDATE t SET c{i} = {value} WHERE id = 3")).await;
            assert_eq!(wire.whole(1).await, Finding::Differs { target_rows: 3 }, "{kind} and null");
            rig.target.run(&format!("UPDATE t SET c{i} = NULL WHERE id = 3")).await;
        }
    }
    wire.assert_digests_equal().await;
}

async fn two(on: On, alike: bool) -> Rig {
    let ddl = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, a {text}, b {text})";
    let one = if alike { pair("t", "t") } else { pair("t", "t").unlike() };
    let rig = Rig::new(on, ddl, ddl, &[one]).await;
    rig.source
        .run("INSERT INTO t VALUES (1, 'p', 'q'), (2, 'r', 's'), (4, 't', 'u'), (6, 'v', 'w'), (8, 'p', 'q')")
        .await;
    rig
}

pub async fn missing_extra_and_swapped_rows_are_named(on: On) {
    for alike in [true, false] {
        let rig = two(on, alike).await;
        let mut wire = Wire::synced(&rig).await;
        wire.assert_digests_equal().await;
        for (spoil, mend, id, what) in [
            ("DELETE FROM t WHERE id = 4", "INSERT INTO t VALUES (4, 't', 'u')", 4, Difference::Missing),
            (
                "UPDATE t SET a = b, b = a WHERE id = 2",
                "UPDATE t SET a = b, b = a WHERE id = 2",
                2,
                Difference::Changed,
            ),
            ("UPDATE t SET b = 'W' WHERE id = 6", "UPDATE t SET b = 'w' WHERE id = 6", 6, Difference::Changed),
            ("INSERT INTO t VALUES (5, 'x', 'y')", "DELETE FROM t WHERE id = 5", 5, Difference::Extra),
            ("INSERT INTO t VALUES (99, 'x', 'y')", "DELETE FROM t WHERE id = 99", 99, Difference::Extra),
            ("INSERT INTO t VALUES (-9, 'x', 'y')", "DELETE FROM t WHERE id = -9", -9, Difference::Extra),
        ] {
            rig.target.run(spoil).await;
            let named = Finding::Keys { keys: vec![(key(id), what)], more: 0 };
            let by_rows = wire.compare(1, ALL).await;
            if alike || what != Difference::Extra {
                assert!(matches!(wire.whole(1).await, Finding::Differs { .. }), "{spoil}");
                assert_eq!(by_rows, named, "{spoil}");
            } else {
                assert_eq!(by_rows, Finding::Equal, "what has no name in the entry is the key set's to find");
            }
            let set = wire.compare(1, TaskKind::KeySet { buckets: 16 }).await;
            if what == Difference::Changed {
                assert_eq!(set, Finding::Equal, "{spoil}");
            } else {
                let Finding::Buckets(buckets) = set else { panic!("{spoil}: {set:?}") };
                assert_eq!(buckets.len(), 1);
                assert_eq!(wire.compare(1, TaskKind::Keys { of: 16, buckets }).await, named, "{spoil}");
            }
            rig.target.run(mend).await;
            wire.assert_digests_equal().await;
        }
    }
}

/// Two rows that change their contents: counts and the values together are what they were.
pub async fn rows_that_changed_places_are_found(on: On) {
    for alike in [true, false] {
        let rig = two(on, alike).await;
        let mut wire = Wire::synced(&rig).await;
        rig.target.run("UPDATE t SET a = CASE id WHEN 1 THEN 'r' ELSE 'p' END, b = CASE id WHEN 1 THEN 's' ELSE 'q' END WHERE id < 3").await;
        assert_eq!(wire.whole(1).await, Finding::Differs { target_rows: 5 });
        let Finding::Keys { mut keys, more: 0 } = wire.compare(1, ALL).await else { panic!() };
        keys.sort_by_key(|(k, _)| format!("{:?}", k.canonical()));
        assert_eq!(keys, [(key(1), Difference::Changed), (key(2), Difference::Changed)]);
        assert_eq!(wire.compare(1, TaskKind::KeySet { buckets: 3 }).await, Finding::Equal);
    }
}

pub async fn a_range_is_compared_within_its_ends(on: On) {
    let rig = two(on, true).await;
    let mut wire = Wire::synced(&rig).await;
    rig.target.run("UPDATE t SET a = 'bad' WHERE id = 4; INSERT INTO t VALUES (7, 'x', 'y')").await;
    for (after, upto, named) in [
        (None, Some(2), 0),
        (Some(2), Some(4), 1),
        (Some(4), Some(6), 0),
        (Some(4), Some(8), 1),
        (Some(8), None, 0),
        (Some(1), None, 2),
    ] {
        let finding = wire.compare(1, TaskKind::Rows { range: range(after, upto) }).await;
        let count = if let Finding::Keys { keys, .. } = &finding { keys.len() } else { 0 };
        assert_eq!(count, named, "{after:?} to {upto:?}: {finding:?}");
    }
}

pub async fn a_page_ends_where_it_says(on: On) {
    let rig = two(on, true).await;
    let mut wire = Wire::synced(&rig).await;
    let expected: [(Option<i64>, Option<i64>, u64); 4] =
        [(None, Some(2), 2), (Some(2), Some(6), 2), (Some(6), None, 1), (Some(8), None, 0)];
    for (after, end, rows) in expected {
        let task = wire.task(1, TaskKind::RangeAfter { after: after.map(key), max_rows: 2 });
        let id = task.id;
        let sealed = wire.seal(migrate::store::Work::Compare(vec![task])).await.unwrap();
        assert_eq!(sealed.ends, [(id, end.map(key), rows)]);
        assert_eq!(wire.deliver(&sealed).await[0].finding, Finding::Equal);
    }
    // Behind the last page there may be what only the target has.
    rig.target.run("INSERT INTO t VALUES (900, 'x', 'y')").await;
    let finding = wire.compare(1, TaskKind::RangeAfter { after: Some(key(6)), max_rows: 2 }).await;
    assert_eq!(finding, Finding::Differs { target_rows: 2 });
}

/// A look-up answers for the very key that was asked for, not for a neighbour of its collation.
pub async fn a_look_up_answers_for_the_very_key(on: On) {
    let ddl = format!("{} CREATE TABLE t(id {{fold}} NOT NULL PRIMARY KEY, v {{text}})", on.folding());
    let rig = Rig::same(on, &ddl, &["t"]).await;
    rig.source.run("INSERT INTO t VALUES ('anna', 'x')").await;
    let mut wire = Wire::synced(&rig).await;
    let keys = ["ANNA", "anna", "bert"].map(|k| Key(vec![crate::apply::text(k)]));
    for side in [Side::Source, Side::Target] {
        let store = if side == Side::Source { &rig.source.store } else { &rig.target.store };
        let found = store.look_up(&rig.layout, TableId(1), side, &keys).await.unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    }
    // Marked by hand: the neighbour's spelling has no row.
    rig.source.store.mark_dirty(&rig.layout, TableId(1), &keys).await.unwrap();
    let sealed = wire.seal(migrate::store::Work::Nothing).await.unwrap();
    let migrate::entry::Refs::Changes(tables) = &wire.entries(&sealed)[0].refs else { panic!() };
    let present: Vec<bool> = tables[0].keys.iter().map(|(_, present)| *present).collect();
    assert_eq!(present, [false, true, false]);
    wire.deliver(&sealed).await;
    rig.assert_equal("t", "id, v").await;
    wire.assert_digests_equal().await;
}

/// The source's collation puts `a` beside `B`, the target's bytes do not: a page of the source's is no range there, so its
/// keys are named. Pages agree, and a changed, a lost and a foreign row are found.
pub async fn pages_of_another_order_name_their_keys(on: On) {
    let source = format!("{} CREATE TABLE t(id {{fold}} NOT NULL PRIMARY KEY, v {{text}})", on.folding());
    let target = "CREATE TABLE t(id {text} NOT NULL PRIMARY KEY, v {text})";
    let rig = Rig::new(on, &source, target, &[pair("t", "t").unlike()]).await;
    rig.source.run("INSERT INTO t VALUES ('a', '1'), ('B', '2'), ('c', '3'), ('D', '4'), ('e', '5'), ('F', '6')").await;
    let mut wire = Wire::synced(&rig).await;
    wire.assert_digests_equal().await;
    let wrong = async |wire: &mut Wire<'_>| {
        let pages = wire.pages(1, 2).await;
        let keys = wire.compare(1, TaskKind::KeySet { buckets: 8 }).await;
        (pages.iter().filter(|f| **f != Finding::Equal).count(), keys == Finding::Equal)
    };
    assert_eq!(wrong(&mut wire).await, (0, true));
    rig.target.run("UPDATE t SET v = 'x' WHERE id = 'c'").await;
    assert_eq!(wrong(&mut wire).await, (1, true));
    rig.target.run("UPDATE t SET v = '3' WHERE id = 'c'; DELETE FROM t WHERE id = 'F'").await;
    assert_eq!(wrong(&mut wire).await, (1, false));
    rig.target.run("INSERT INTO t VALUES ('F', '6'), ('b', '2')").await;
    assert_eq!(wrong(&mut wire).await, (0, false));
}
