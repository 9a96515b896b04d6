//! Each kind comes back as it was, or is refused loudly: through the bulk load, and through a list of rows.

use migrate::error::Kind as ErrorKind;
use migrate::schema::Kind;
use migrate::store::engine::{Engine, Mode, Out, Statement};
use migrate::value::{Decimal, Row, Value};

use crate::support::mysql_query_text;
use crate::{Place, collect};

/// A type, and literals of it.
const KINDS: &[(&str, &[&str])] = &[
    ("tinyint(1)", &["0", "1", "-128", "127"]),
    ("tinyint unsigned", &["0", "255"]),
    ("mediumint", &["-8388608", "8388607"]),
    ("int unsigned", &["0", "4294967295"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("bigint unsigned", &["0", "18446744073709551615"]),
    (
        "decimal(65,30)",
        &[
            "0",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
        ],
    ),
    ("decimal(5,2)", &["-999.99", "1.10"]),
    ("float", &["0.1", "-3.4028234e38", "1.17549e-38", "16777217"]),
    ("double", &["0.1", "1.7976931348623157e308", "2.2250738585072014e-308", "-0.0", "123456789.123456789"]),
    ("char(5)", &["''", "'a'", "'é\\\\'"]),
    ("varchar(9) COLLATE utf8mb4_general_ci", &["''", "'a '", "'A'", "'🦀\\t\\0'"]),
    ("varchar(9) CHARACTER SET latin1", &["'é€'"]),
    ("tinytext", &["'x'", "''"]),
    ("longtext", &["repeat('ü', 100000)"]),
    ("binary(4)", &["x'00ff0000'", "'ab'"]),
    ("varbinary(9)", &["''", "x'00'", "x'ff00'"]),
    ("longblob", &["repeat(x'00ff', 100000)"]),
    ("date", &["'0001-01-01'", "'9999-12-31'", "'1970-01-01'"]),
    ("time", &["'00:00:00'", "'23:59:59'"]),
    ("time(6)", &["'12:34:56.000001'", "'24:00:00'"]),
    ("datetime", &["'1000-01-01 00:00:00'"]),
    ("datetime(6)", &["'0001-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"]),
    ("timestamp(6) NULL", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999999'"]),
    ("year", &["1901", "2155", "0"]),
    ("bit(1)", &["b'1'", "b'0'"]),
    ("bit(64)", &["18446744073709551615"]),
    ("enum('a','b''c')", &["'a'", "'b''c'"]),
    ("set('x','y')", &["''", "'x,y'"]),
    ("json", &["'{\"a\": [1, 1.0, null]}'"]),
    ("uuid", &["'123e4567-e89b-12d3-a456-426655440000'"]),
    ("inet6", &["'2001:db8::1'"]),
    ("point", &["ST_GeomFromText('POINT(1 2)', 4326)"]),
];

#[tokio::test]
async fn every_value_comes_back_as_it_was() {
    let columns: String = KINDS.iter().enumerate().map(|(i, (t, _))| format!(", c{i} {t}")).collect();
    let ddl = format!("CREATE TABLE s(id int PRIMARY KEY{columns}); CREATE TABLE t LIKE s; CREATE TABLE u LIKE s");
    let place = Place::new("roundtrip", &ddl).await;
    place.db.grant_target_rights().await;
    let most = KINDS.iter().map(|k| k.1.len()).max().unwrap();
    let literal = |k: &(&str, &'static [&'static str]), n: usize| k.1.get(n).copied().unwrap_or("NULL");
    for n in 0..=most {
        let values: String = KINDS.iter().map(|k| format!(", {}", literal(k, n))).collect();
        place.app(&format!("SET time_zone = '+00:00'; INSERT INTO s VALUES ({n}{values})")).await;
    }
    for (target, bulk) in [("t", true), ("u", false)] {
        let map = place.map(1, "s", target).await;
        let outs: Vec<Out> = map
            .columns
            .iter()
            .map(|c| Out { held: c.source_kind.clone(), wire: c.wire.clone(), exact: false })
            .collect();
        let items: Vec<String> = map
            .columns
            .iter()
            .zip(&outs)
            .map(|(c, out)| place.run.select(&place.run.quote(&c.target.name), out))
            .collect();
        let mut tx = place.run.begin(Mode::Control).await.unwrap();
        let rows = collect(&place.run, &mut tx, &format!("SELECT {} FROM s", items.join(", ")), &outs).await.unwrap();
        if bulk {
            place.run.load(&mut tx, &map, &rows).await.unwrap();
        } else {
            let columns: Vec<_> = map.columns.iter().map(|c| &c.target).collect();
            let listed: Vec<Vec<&Value>> = rows.iter().map(|r: &Row| r.iter().collect()).collect();
            let mut statement = Statement { sql: format!("INSERT INTO {target} "), args: vec![] };
            place.run.rows(&mut statement, &columns, &listed).unwrap();
            place.run.execute(&mut tx, &statement).await.unwrap();
        }
        place.run.commit(tx).await.unwrap();
        for (i, (kind, _)) in KINDS.iter().enumerate() {
            let sql = format!(
                "SELECT id, hex(s.c{i}), hex({target}.c{i}) FROM s JOIN {target} USING (id) WHERE NOT (hex(s.c{i}) <=> hex({target}.c{i})) LIMIT 3"
            );
            let differ = mysql_query_text(&place.db.superuser_url, &sql).await;
            assert!(differ.is_empty(), "{kind} into {target}: {differ:?}");
        }
    }
}

#[tokio::test]
async fn a_value_that_is_none_is_an_error_and_never_a_near_one() {
    let place =
        Place::new("zero", "CREATE TABLE t(id int PRIMARY KEY, d date, dt datetime, ts timestamp NULL, t time)").await;
    let kinds = [("d", Kind::Date), ("dt", Kind::Timestamp), ("ts", Kind::TimestampTz), ("t", Kind::Time)];
    for (column, value) in [
        ("d", "'0000-00-00'"),
        ("d", "'2024-00-00'"),
        ("d", "'2024-02-00'"),
        ("dt", "'0000-00-00 00:00:00'"),
        ("ts", "'0000-00-00 00:00:00'"),
        ("t", "'-01:00:00'"),
        ("t", "'838:59:59'"),
    ] {
        place.app(&format!("SET sql_mode = ''; REPLACE INTO t(id, {column}) VALUES (1, {value})")).await;
        let kind = kinds.iter().find(|k| k.0 == column).unwrap().1.clone();
        let out = Out { held: kind.clone(), wire: kind, exact: false };
        let sql = format!("SELECT {} AS w FROM t", place.run.select(column, &out));
        let mut tx = place.run.begin(Mode::Look).await.unwrap();
        let error = collect(&place.run, &mut tx, &sql, &[out]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::GiveUp, "{column} {value}");
    }
}

#[tokio::test]
async fn what_the_server_would_change_in_silence_is_refused_by_every_way() {
    let place = Place::new(
        "silence",
        "CREATE TABLE t(id int PRIMARY KEY, n decimal(5,2), c char(4), v varchar(3) CHARACTER SET utf8mb3, b binary(2), s datetime, e enum('a'), i tinyint)",
    )
    .await;
    place.db.grant_target_rights().await;
    let map = place.map(1, "t", "t").await;
    let text = |t: &str| Value::Text(t.to_owned());
    for (column, value) in [
        ("n", Value::Decimal(Decimal::parse("1.005").unwrap())),
        ("n", Value::Decimal(Decimal::parse("1000").unwrap())),
        ("c", text("a ")),
        ("v", text("abc ")),
        ("v", text("🦀")),
        ("b", Value::Bytes(vec![1])),
        ("s", Value::Timestamp(1)),
        ("s", Value::Timestamp(i64::MAX)),
        ("e", text("b")),
        ("i", Value::Int(128)),
    ] {
        let at = map.columns.iter().position(|c| c.target.name == column).unwrap();
        let mut row = vec![Value::Null; map.columns.len()];
        (row[0], row[at]) = (Value::Int(1), value);
        let mut tx = place.run.begin(Mode::Control).await.unwrap();
        let loaded = place.run.load(&mut tx, &map, std::slice::from_ref(&row)).await;
        assert_eq!(loaded.unwrap_err().kind, ErrorKind::GiveUp, "{column}");
        let columns: Vec<_> = map.columns.iter().map(|c| &c.target).collect();
        let mut statement = Statement { sql: "INSERT INTO t ".to_owned(), args: vec![] };
        let listed = match place.run.rows(&mut statement, &columns, &[row.iter().collect()]) {
            Ok(()) => place.run.execute(&mut tx, &statement).await.map(drop),
            Err(e) => Err(e),
        };
        assert_eq!(listed.unwrap_err().kind, ErrorKind::GiveUp, "{column}");
    }
}
