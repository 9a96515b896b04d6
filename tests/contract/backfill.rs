//! Backfill: ranges in the source's own key order, whatever the key, while rows come, go and move.

use migrate::entry::{Finding, Range, Refs, TableId};
use migrate::store::{TaskKind, Work};

use crate::link::{Wire, decode};
use crate::rig::{On, Pair, Rig, pair};

/// One kind of key: the table's DDL, its key, literals of keys in no order, and one to come behind all others.
struct Keys {
    ddl: String,
    shown: &'static str,
    literals: Vec<String>,
    last: String,
    pair: Pair,
}

fn keys(columns: &str, key: &str, shown: &'static str, literals: Vec<String>, last: &str) -> Keys {
    let ddl = format!("CREATE TABLE t({columns}, v {{text}}, PRIMARY KEY ({key}))");
    Keys { ddl, shown, literals, last: last.to_owned(), pair: pair("t", "t") }
}

fn quoted(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| format!("'{}'", t.replace('\'', "''"))).collect()
}

/// Copies in chunks of three, with a write between any two, and compares in pages of two.
async fn copied(on: On, keys: Keys) {
    let rig = Rig::new(on, &keys.ddl, &keys.ddl, &[keys.pair]).await;
    let key = keys.shown.rsplit_once(',').map_or(keys.shown, |(key, _)| key).trim();
    for literal in &keys.literals {
        rig.source.run(&format!("INSERT INTO t({key}, v) VALUES ({literal}, 'first')")).await;
    }
    let count = keys.literals.len() as u64;
    let mut wire = Wire::open(&rig).await;
    wire.chunk_rows = 3;
    let mut app = rig.source.app().await;
    let (mut read, mut seen) = (0, 0);
    for (round, literal) in keys.literals.iter().cycle().enumerate() {
        let sealed = wire.chunk(1).await;
        let chunks: Vec<_> = sealed.entries.iter().filter(|e| e.name == "chunk").collect();
        seen += chunks.iter().map(|e| e.rows).sum::<u64>();
        assert!(chunks.iter().all(|e| e.rows <= 3));
        read += 1;
        if sealed.progress.is_some_and(|(_, p)| p.done) {
            break;
        }
        assert!(read <= count, "it does not end");
        app.run(&format!("UPDATE t SET v = 'r{round}' WHERE ({key}) = ({literal})")).await;
        if round == 1 {
            app.run(&format!("INSERT INTO t({key}, v) VALUES ({}, 'behind the end')", keys.last)).await;
        }
    }
    assert_eq!(seen, count, "each row once, and none from behind the stop key");
    wire.drain().await;
    rig.assert_equal("t", keys.shown).await;
    let rows = if count > 3 { count + 1 } else { count };
    assert_eq!(rig.target.rows("t", "v").await.len() as u64, rows);
    page_through(&mut wire, 2, rows).await;
}

/// Digests range after range, as a pass of verification does; then all keys.
async fn page_through(wire: &mut Wire<'_>, max_rows: u64, rows: u64) {
    let (mut after, mut seen) = (None, 0);
    loop {
        let task = wire.task(1, TaskKind::RangeAfter { after: after.clone(), max_rows });
        let sealed = wire.seal(Work::Compare(vec![task.clone()])).await.unwrap();
        let (id, end, count) = sealed.ends[0].clone();
        assert_eq!(id, task.id);
        seen += count;
        let verdicts = wire.deliver(&sealed).await;
        assert_eq!(verdicts[0].finding, Finding::Equal);
        after = end;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, rows);
    assert_eq!(wire.compare(1, TaskKind::KeySet { buckets: 4 }).await, Finding::Equal);
}

pub async fn negative_integer_keys(on: On) {
    let literals = (0..11).map(|i| ((i * 7) % 11 - 5).to_string()).collect();
    copied(on, keys("id {int} NOT NULL", "id", "id, v", literals, "9223372036854775807")).await;
}

pub async fn composite_keys(on: On) {
    let literals = (0..12).map(|i| format!("{}, 'b{}'", i % 3 - 1, i / 3)).collect();
    copied(on, keys("a {int} NOT NULL, b {text} NOT NULL", "a, b", "a, b, v", literals, "9, ''")).await;
}

pub async fn composite_keys_of_which_the_index_order_is_not_the_columns(on: On) {
    let literals = (0..12).map(|i| format!("{}, {}", i % 5, i % 2)).collect::<std::collections::BTreeSet<_>>();
    let all = keys("a {int} NOT NULL, b {int} NOT NULL", "b, a", "a, b, v", literals.into_iter().collect(), "9, 9");
    copied(on, all).await;
}

/// PostgreSQL's primary keys have no direction: there an index of the other one stands beside it.
pub async fn keys_of_a_descending_index(on: On) {
    let literals = (0..12).map(|i| format!("{}, 'b{}'", i % 3 - 1, i / 3)).collect();
    let key = if on == On::Postgres { "a, b" } else { "a DESC, b" };
    let mut all = keys("a {int} NOT NULL, b {text} NOT NULL", key, "a, b, v", literals, "9, ''");
    if on == On::Postgres {
        all.ddl += "; CREATE UNIQUE INDEX down ON t(a DESC, b)";
    }
    copied(on, all).await;
}

const WORDS: [&str; 14] = ["a", "B", "c", "", " ", "A b", "a-b", "ab", "Z", "ä", "z", "é", "it's \\ \t\n", "\u{1F600}"];

pub async fn text_keys_by_their_bytes(on: On) {
    copied(on, keys("id {text} NOT NULL", "id", "id, v", quoted(&WORDS), "'\u{10FFFF}'")).await;
}

fn behind_all(on: On) -> &'static str {
    if on == On::Sqlite { "'\u{10FFFF}'" } else { "'zzzzz'" }
}

fn behind_all_folded(on: On) -> &'static str {
    if on == On::MariaDb { "'\u{1F600}z'" } else { behind_all(on) }
}

pub async fn text_keys_of_another_collation(on: On) {
    let columns = match on {
        On::Sqlite => "id TEXT COLLATE RTRIM NOT NULL",
        On::Postgres => "id text COLLATE \"und-x-icu\" NOT NULL",
        On::MariaDb => "id varchar(200) COLLATE utf8mb4_uca1400_as_cs NOT NULL",
    };
    let words: Vec<&str> = WORDS.into_iter().filter(|w| on == On::Postgres || *w != " ").collect();
    copied(on, keys(columns, "id", "id, v", quoted(&words), behind_all(on))).await;
}

pub async fn text_keys_that_are_folded(on: On) {
    let mut all = keys("id {fold} NOT NULL", "id", "id, v", quoted(&WORDS[1..]), behind_all_folded(on));
    all.ddl = format!("{} {}", on.folding(), all.ddl);
    all.literals.retain(|l| l != "'ä'" && l != "'Z'");
    copied(on, all).await;
}

pub async fn bytes_keys(on: On) {
    let literal = |hex: &str| match on {
        On::Sqlite | On::MariaDb => format!("x'{hex}'"),
        On::Postgres => format!("'\\x{hex}'"),
    };
    let literals = ["", "00", "0000", "01", "7f", "80", "ff", "ff00", "ffff"].map(literal).to_vec();
    copied(on, keys("id {bytes} NOT NULL", "id", "id, v", literals, &literal("ffffff"))).await;
}

pub async fn uuid_keys(on: On) {
    let literals = (0..10_u32).map(|i| format!("'{:08x}-0000-4000-8000-00000000000{i}'", i.wrapping_mul(0x9e37_79b9)));
    let columns = if on == On::Sqlite { "id UUID NOT NULL" } else { "id uuid NOT NULL" };
    copied(on, keys(columns, "id", "id, v", literals.collect(), "'ffffffff-ffff-ffff-ffff-ffffffffffff'")).await;
}

pub async fn date_keys(on: On) {
    let dates = ["1999-12-31", "2000-01-01", "1970-01-01", "1969-12-31", "2024-02-29", "0001-01-01", "9999-01-01"];
    copied(on, keys("id date NOT NULL", "id", "id, v", quoted(&dates), "'9999-12-31'")).await;
}

pub async fn timestamp_keys(on: On) {
    let times = [
        "2000-01-01 00:00:00",
        "1999-12-31 23:59:59.999999",
        "2000-01-01 00:00:00.5",
        "1969-01-01 01:02:03",
        "2030-01-01 00:00:00",
        "2031-01-01 00:00:00",
    ];
    let columns = if on == On::MariaDb { "id datetime(6) NOT NULL" } else { "id timestamp NOT NULL" };
    copied(on, keys(columns, "id", "id, v", quoted(&times), "'2100-01-01 00:00:00'")).await;
}

pub async fn decimal_keys(on: On) {
    let literals = ["1.50", "-2.25", "0", "10", "9.99", "100.01"].map(str::to_owned).to_vec();
    copied(on, keys("id numeric(10,2) NOT NULL", "id", "id, v", literals, "9999.5")).await;
}

pub async fn an_empty_table_is_done_at_once(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::open(&rig).await;
    let sealed = wire.chunk(1).await;
    assert!(sealed.progress.unwrap().1.done);
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    wire.assert_digests_equal().await;
}

pub async fn chunks_are_bounded_by_bytes(on: On) {
    let rig = Rig::plain(on).await;
    for i in 0..12 {
        let big = "x".repeat(if i == 5 { 200_000 } else { 9_000 });
        rig.source.run(&format!("INSERT INTO t VALUES ({i}, '{big}')")).await;
    }
    let mut wire = Wire::open(&rig).await;
    wire.chunk_bytes = 20_000;
    let chunks = wire.backfill().await;
    assert_eq!(chunks.iter().sum::<u64>(), 12);
    assert!(chunks.iter().all(|rows| *rows <= 2) && chunks.len() <= 9, "{chunks:?}");
    rig.assert_equal("t", "id, length(v)").await;
}

/// What is dirty beyond the frontier is dropped, not sent: the range stays fresh. Behind the stop key it is sent.
pub async fn beyond_the_frontier_nothing_is_sent(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (10, 'a'), (20, 'b'), (30, 'c'), (40, 'd')").await;
    let mut wire = Wire::open(&rig).await;
    rig.source.run("UPDATE t SET v = 'early'; INSERT INTO t VALUES (5, 'new'), (45, 'new')").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    assert!(sealed.entries.is_empty() && sealed.drained, "nothing was reached yet");
    wire.chunk_rows = 2;
    wire.chunk(1).await;
    assert_eq!(rig.target.rows("t", "id").await, ["10", "5"]);
    rig.source.run("INSERT INTO t VALUES (7, 'behind'), (25, 'beyond'), (99, 'behind the stop')").await;
    rig.source.run("DELETE FROM t WHERE id = 5; DELETE FROM t WHERE id = 30; UPDATE t SET v = 'x' WHERE id = 40").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    let mut sent = crate::seal::keys(&wire.entries(&sealed)[0]);
    sent.sort();
    assert_eq!(sent, [(5, false), (7, true), (99, true)]);
    wire.deliver(&sealed).await;
    for entry in wire.log.values().map(decode) {
        if let Refs::Chunk { fresh, .. } = entry.refs {
            assert!(fresh);
        }
    }
    wire.backfill().await;
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    wire.assert_digests_equal().await;
}

/// The end is the greatest key when it began, so that inserts at the end can't keep it going.
pub async fn inserts_at_the_end_do_not_keep_it_going(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, 'a')").await;
    let mut wire = Wire::open(&rig).await;
    wire.chunk_rows = 1;
    let mut chunks = 0;
    for i in 5.. {
        rig.source.run(&format!("INSERT INTO t VALUES ({i}, 'late')")).await;
        chunks += 1;
        if wire.chunk(1).await.progress.unwrap().1.done {
            break;
        }
        assert!(chunks < 20);
    }
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
}

pub async fn a_filter_is_where_rows_begin_and_end(on: On) {
    let ddl = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text}, gone {int})";
    let target = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text})";
    let rig = Rig::new(on, ddl, target, &[pair("t", "t").filter("gone IS NULL")]).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', 1), (3, 'c', NULL), (9, 'z', 1)").await;
    let mut wire = Wire::synced(&rig).await;
    assert_eq!(rig.target.rows("t", "id, v").await, ["1|a", "3|c"]);
    rig.source
        .run("UPDATE t SET gone = 1 WHERE id = 1; UPDATE t SET gone = NULL WHERE id = 2; UPDATE t SET v = 'x'")
        .await;
    rig.source.run("INSERT INTO t VALUES (4, 'd', 5)").await;
    wire.drain().await;
    assert_eq!(rig.target.rows("t", "id, v").await, ["2|x", "3|x"]);
    rig.source.run("UPDATE t SET id = 30, gone = 3 WHERE id = 3; UPDATE t SET id = 11, gone = NULL WHERE id = 1").await;
    wire.drain().await;
    assert_eq!(rig.target.rows("t", "id, v").await, ["11|x", "2|x"]);
    wire.assert_digests_equal().await;
}

pub async fn expressions_and_constants(on: On) {
    let source = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, mail {text}, a {int}, b {int})";
    let target = "CREATE TABLE c(origin {text} NOT NULL, cid {int} NOT NULL, email {text}, total {int}, note {text},
        PRIMARY KEY (origin, cid))";
    let pairs = pair("t", "c")
        .column("cid", "id")
        .sql("email", "lower(mail)")
        .sql("total", "a + b")
        .skip("note")
        .constant("origin", migrate::value::Value::Text("crm".into()));
    let rig = Rig::new(on, source, target, &[pairs]).await;
    rig.target.run("INSERT INTO c VALUES ('shop', 1, 'theirs', 0, 'x'), ('shop', 7, 'theirs', 0, 'x')").await;
    rig.source.run("INSERT INTO t VALUES (1, 'ANNA@X', 1, 2), (2, NULL, NULL, 2)").await;
    let mut wire = Wire::synced(&rig).await;
    let shop = ["shop|1|theirs|0|x", "shop|7|theirs|0|x"];
    let columns = "origin, cid, email, total, note";
    assert_eq!(
        rig.target.rows("c", columns).await,
        [&["crm|1|anna@x|3|NULL", "crm|2|NULL|NULL|NULL"], &shop[..]].concat()
    );
    rig.target.run("UPDATE c SET note = 'kept' WHERE origin = 'crm'").await;
    rig.source.run("UPDATE t SET mail = 'Bert', a = -2 WHERE id = 1; UPDATE t SET id = 7 WHERE id = 2").await;
    wire.drain().await;
    assert_eq!(
        rig.target.rows("c", columns).await,
        [&["crm|1|bert|0|kept", "crm|7|NULL|NULL|NULL"], &shop[..]].concat()
    );
    rig.source.run("DELETE FROM t").await;
    wire.drain().await;
    assert_eq!(rig.target.rows("c", columns).await, shop);
    wire.assert_digests_equal().await;
}

/// A generation that begins over what an older one left: ranges are made equal, and what lies outside of all of them
/// is found by the keys, and goes when it is marked.
pub async fn a_new_generation_replaces_the_old_rows(on: On) {
    let rig = Rig::plain(on).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (9, 'z')").await;
    Wire::synced(&rig).await;
    // What capture has not seen.
    rig.target
        .run("INSERT INTO t VALUES (-5, 'stale'), (6, 'stale'), (70, 'stale'); UPDATE t SET v = 'bad' WHERE id = 2")
        .await;
    rig.target.run("DELETE FROM t WHERE id IN (4, 9)").await;
    let mut wire = Wire::take(&rig).await;
    wire.chunk_rows = 2;
    wire.begin(2).await;
    wire.backfill().await;
    assert_eq!(rig.target.rows("t", "id, v").await, ["1|a", "2|b", "3|c", "4|d", "70|stale", "9|z"]);
    assert!(matches!(wire.whole(1).await, Finding::Differs { target_rows: 6 }));
    let stale = migrate::value::Key(vec![migrate::value::Value::Int(70)]);
    rig.source.store.mark_dirty(&rig.layout, TableId(1), &[stale]).await.unwrap();
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
    wire.assert_digests_equal().await;
    let all = TaskKind::Rows { range: Range::default() };
    assert_eq!(wire.compare(1, all).await, Finding::Equal);
}

/// A new generation over rows of an older one: a unique value has moved, unseen by capture, from a key whose range
/// comes later. The target's stale row still holds it when the first chunk arrives. While the backfill is not done a
/// refused row goes back, and is sent again once its neighbour's range was made equal.
pub async fn stale_unique_values_give_way_in_a_new_generation(on: On) {
    let rig = Rig::same(on, "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, u {text} UNIQUE)", &["t"]).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("UPDATE t SET u = NULL WHERE id = 4; UPDATE t SET u = 'd' WHERE id = 1").await;
    wire.begin(2).await;
    (wire.chunk_rows, wire.settled) = (2, false);
    wire.backfill().await;
    wire.settled = true;
    wire.drain().await;
    rig.assert_equal("t", "id, u").await;
}
