//! Storage classes and kinds, both ways.

use migrate::error::Kind as ErrorKind;
use migrate::schema::Kind;
use migrate::store::engine::{Arg, Engine, Mode, Out, Statement};
use migrate::store::text;
use migrate::value::{Decimal, Value, hash128};
use proptest::prelude::*;

use crate::world::{World, query};

const DAY: i64 = 86_400_000_000;
/// 2009-01-02 in days.
const D: i32 = 14_246;

fn decimal(t: &str) -> Value {
    Value::Decimal(Decimal::parse(t).unwrap())
}

/// What one stored literal in a column of this type is.
async fn read(declared: &str, literal: &str) -> Result<Value, String> {
    let world = World::new(&format!("CREATE TABLE t (x {declared}); INSERT INTO t VALUES ({literal})")).await;
    let map = world.map(1, "t").await;
    let rows = world.read(&map, false).await.map_err(|e| {
        assert_eq!(e.kind, ErrorKind::GiveUp);
        e.message().to_owned()
    })?;
    Ok(rows[0][0].clone())
}

#[tokio::test]
async fn a_declared_type_says_what_a_cell_means() {
    let at = |days: i32| Value::Timestamp(i64::from(days) * DAY);
    let cases = [
        ("INTEGER", "9223372036854775807", Value::Int(i64::MAX.into())),
        ("BIGINT", "'12'", Value::Int(12)),
        ("BOOLEAN", "1", Value::Bool(true)),
        ("NUMERIC(10,2)", "0.99", decimal("0.99")),
        ("NUMERIC(10,2)", "1.1", decimal("1.1")),
        ("NUMERIC(10,2)", "5", decimal("5")),
        ("NUMERIC(10,2)", "'-13.86'", decimal("-13.86")),
        ("DECIMAL", "0.125", decimal("0.125")),
        (
            "DECIMAL_TEXT(40,20)",
            "'12345678901234567890.12345678901234567890'",
            decimal("12345678901234567890.1234567890123456789"),
        ),
        ("DOUBLE", "3", Value::Float(3.0)),
        ("REAL", "9e999", Value::Float(f64::INFINITY)),
        ("NVARCHAR(3)", "'longer than 3'", Value::Text("longer than 3".into())),
        ("TEXT", "'a' || char(0) || 'b'", Value::Text("a\0b".into())),
        ("TEXT", "''", Value::Text(String::new())),
        ("BLOB", "x''", Value::Bytes(vec![])),
        ("VARBINARY(4)", "x'00ff'", Value::Bytes(vec![0, 255])),
        ("DATETIME", "'2009-01-02'", at(D)),
        ("DATETIME", "'2009-01-02 00:00:00'", at(D)),
        ("DATETIME", "'2009-01-02T00:00:00.000'", at(D)),
        ("TIMESTAMP", "'2009-01-02 00:00:00.000001'", Value::Timestamp(i64::from(D) * DAY + 1)),
        ("TIMESTAMPTZ", "'2009-01-02T02:00:00+02:00'", Value::TimestampTz(i64::from(D) * DAY)),
        ("TIMESTAMP WITH TIME ZONE", "'2009-01-02 00:00:00Z'", Value::TimestampTz(i64::from(D) * DAY)),
        ("DATE", "'2009-01-02'", Value::Date(D)),
        ("TIME", "'00:00:01'", Value::Time(1_000_000)),
        (
            "UUID",
            "'00112233-4455-6677-8899-AABBCCDDEEFF'",
            text::parse(&Kind::Uuid, "00112233445566778899aabbccddeeff").unwrap(),
        ),
        (
            "UUID",
            "x'00112233445566778899aabbccddeeff'",
            text::parse(&Kind::Uuid, "00112233445566778899aabbccddeeff").unwrap(),
        ),
        ("JSON", "'{\"a\": 1}'", Value::Json("{\"a\": 1}".into())),
        ("JSON", "7", Value::Json("7".into())),
        ("", "x'01'", Value::Opaque("b\\x01".into())),
        ("", "'1'", Value::Opaque("t1".into())),
        ("GEOMETRY", "1.5", Value::Opaque(format!("r{:016x}", 1.5f64.to_bits()))),
        ("DATETIME", "NULL", Value::Null),
    ];
    for (declared, literal, expected) in cases {
        let got = read(declared, literal).await;
        let is = got.as_ref().is_ok_and(|g| same(std::slice::from_ref(g), std::slice::from_ref(&expected)));
        let shown = text::render(got.as_ref().unwrap_or(&Value::Null)).unwrap_or_default();
        assert!(is, "{declared} {literal}: {got:?} {shown}");
    }
}

#[tokio::test]
async fn what_would_be_a_guess_is_refused_by_class_and_never_by_value() {
    for (declared, literal, class) in [
        ("INTEGER", "'secret'", "TEXT"),
        ("INTEGER", "1.5", "REAL"),
        ("BOOLEAN", "2", "INTEGER"),
        ("BOOLEAN", "'true'", "TEXT"),
        ("NUMERIC(10,2)", "0.125", "REAL"),
        ("NUMERIC(10,2)", "0.1 + 0.2", "REAL"),
        ("NUMERIC(10,2)", "'secret'", "TEXT"),
        ("NUMERIC(10,2)", "9e999", "REAL"),
        ("REAL", "'secret'", "TEXT"),
        ("TEXT", "x'ff'", "BLOB"),
        ("BLOB", "'secret'", "TEXT"),
        ("DATETIME", "1230854400", "INTEGER"),
        ("DATETIME", "2454833.5", "REAL"),
        ("DATETIME", "'2009-01-02 00:00:00Z'", "TEXT"),
        ("DATETIME", "'2009-02-30'", "TEXT"),
        ("TIMESTAMPTZ", "'2009-01-02 00:00:00'", "TEXT"),
        ("DATE", "'2009-01-02 10:00:00'", "TEXT"),
        ("UUID", "'secret'", "TEXT"),
        ("JSON", "x'00'", "BLOB"),
    ] {
        let message = read(declared, literal).await.err().unwrap_or_else(|| panic!("{declared} {literal} was read"));
        assert!(message.contains(class) && message.contains("column 1") && !message.contains("secret"), "{message}");
    }
    assert!(read("TEXT", "CAST(x'ff' AS TEXT)").await.unwrap_err().contains("UTF-8"));
}

/// Writes values into columns of these types by `load`, and reads them back.
async fn round_trip(declared: &str, values: Vec<Value>) -> Result<Vec<Value>, String> {
    let world = World::new(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, x {declared})")).await;
    let map = world.map(1, "t").await;
    let rows: Vec<_> = (0..).zip(values).map(|(i, v)| vec![Value::Int(i), v]).collect();
    let mut tx = world.engine.begin(Mode::Control).await.unwrap();
    world.engine.load(&mut tx, &map, &rows).await.map_err(|e| e.message().to_owned())?;
    world.engine.commit(tx).await.unwrap();
    let back = world.read(&map, false).await.map_err(|e| e.message().to_owned())?;
    Ok(back.into_iter().map(|mut r| r.remove(1)).collect())
}

fn same(a: &[Value], b: &[Value]) -> bool {
    let mut scratch = Vec::new();
    hash128(a, &mut scratch) == hash128(b, &mut scratch)
}

#[tokio::test]
async fn extremes_come_back() {
    let int = |i: i64| Value::Int(i.into());
    for (declared, values) in [
        ("BIGINT", vec![int(i64::MIN), int(i64::MAX), int(0), Value::Null]),
        (
            "DOUBLE",
            vec![0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2]
                .into_iter()
                .map(Value::Float)
                .collect(),
        ),
        ("TEXT", ["", "\0", "a\0b", "🦀", "1e5", " 12 ", "'\"`;--"].map(|t| Value::Text(t.into())).to_vec()),
        ("BLOB", vec![Value::Bytes(vec![]), Value::Bytes((0..=255).collect())]),
        (
            "TIMESTAMP",
            vec![i64::MIN, i64::MAX, 0, -1, 1, -62_135_596_800_000_000, 253_402_300_799_999_999]
                .into_iter()
                .map(Value::Timestamp)
                .collect(),
        ),
        ("TIMESTAMPTZ", vec![Value::TimestampTz(i64::MAX), Value::TimestampTz(-1)]),
        ("DATE", vec![i32::MIN, i32::MAX, 0, -719_163, 2_932_896].into_iter().map(Value::Date).collect()),
        ("TIME", vec![Value::Time(0), Value::Time(DAY), Value::Time(DAY - 1)]),
        ("UUID", vec![Value::Uuid([0; 16]), Value::Uuid([255; 16]), Value::Uuid(*b"0123456789abcdef")]),
        ("NUMERIC(15,2)", vec![decimal("9999999999999.99"), decimal("-0.01"), decimal("100.00")]),
        ("DECIMAL_TEXT(60,30)", vec![decimal("1"), decimal(&format!("{}.{}1", "9".repeat(29), "0".repeat(28)))]),
        ("JSON", ["{\"a\":[1.0,2]}", "12", "1.5", "null", "\"12\""].map(|t| Value::Json(t.into())).to_vec()),
        ("JSON_TEXT", ["1.0", "1e5", "007"].map(|t| Value::Json(t.into())).to_vec()),
        (
            "",
            vec![
                Value::Opaque("i1".into()),
                Value::Opaque("t1".into()),
                Value::Opaque("r8000000000000000".into()),
                Value::Opaque("b\\xff".into()),
            ],
        ),
        ("ANY", vec![Value::Opaque("t2009".into())]),
    ] {
        let back = round_trip(declared, values.clone()).await;
        if declared == "ANY" {
            continue; // Outside STRICT tables SQLite bends what it puts there; such a text never comes from there.
        }
        assert!(back.as_ref().is_ok_and(|b| same(b, &values)), "{declared}: {back:?}");
    }
}

#[tokio::test]
async fn what_sqlite_would_change_is_not_written() {
    for (declared, value) in [
        ("DOUBLE", Value::Float(f64::NAN)),
        ("DOUBLE", Value::Float(-0.0)),
        ("NUMERIC(20,2)", decimal("123456789012345678.91")),
        ("NUMERIC(10,2)", decimal("NaN")),
        ("BIGINT", Value::Int(i128::from(i64::MAX) + 1)),
        ("JSON", Value::Json("1.0".into())),
        ("JSON", Value::Json("1e5".into())),
    ] {
        assert!(round_trip(declared, vec![value.clone()]).await.is_err(), "{declared} {value:?}");
    }
}

#[tokio::test]
async fn a_key_must_be_spelled_as_we_would_ask_for_it() {
    for (declared, literal, found) in [
        ("DATETIME", "'2009-01-02 00:00:00'", true),
        ("DATETIME", "'2009-01-02'", false),
        ("UUID", "'00112233-4455-6677-8899-aabbccddeeff'", true),
        ("UUID", "'00112233-4455-6677-8899-AABBCCDDEEFF'", false),
        ("UUID", "x'00112233445566778899aabbccddeeff'", false),
        ("DECIMAL_TEXT(10,2)", "'1.1'", true),
        ("DECIMAL_TEXT(10,2)", "'1.10'", false),
        ("NUMERIC(10,2)", "1.1", true),
        ("NUMERIC(10,2)", "7", true),
        ("TEXT", "'A'", true),
        ("INTEGER", "7", true),
        ("", "7", true),
    ] {
        let world = World::new(&format!("CREATE TABLE t (x {declared}); INSERT INTO t VALUES ({literal})")).await;
        let map = world.map(1, "t").await;
        let read = world.read(&map, true).await;
        assert_eq!(read.is_ok(), found, "{declared} {literal}");
        if let Ok(rows) = read {
            let (place, arg) = world.engine.typed(1, &rows[0][0], &map.columns[0].target).unwrap();
            let sql = format!("SELECT count(*) FROM t WHERE x = {place}");
            let mut tx = world.engine.begin(Mode::Look).await.unwrap();
            let count = query(&world.engine, &mut tx, &Statement { sql, args: vec![arg] }, &[]).await.unwrap();
            assert!(count[0][0] == Value::Int(1), "{declared} {literal} is not found again");
        }
    }
}

#[tokio::test]
async fn text_columns_hold_what_sqlite_has_no_type_for() {
    let world = World::new("CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('2009-01-02T00:00:00')").await;
    let mut tx = world.engine.begin(Mode::Look).await.unwrap();
    let out = |exact| vec![Out { held: Kind::Text { max_chars: None }, wire: Kind::Timestamp, exact }];
    let s = Statement { sql: "SELECT x FROM t".into(), args: vec![] };
    let rows = query(&world.engine, &mut tx, &s, &out(false)).await.unwrap();
    assert!(rows[0][0] == Value::Timestamp(i64::from(D) * DAY));
    assert!(query(&world.engine, &mut tx, &s, &out(true)).await.is_err());
}

#[tokio::test]
async fn the_clock_runs_within_a_transaction() {
    let world = World::new("CREATE TABLE t (x)").await;
    let mut tx = world.engine.begin(Mode::Control).await.unwrap();
    let sql = format!("SELECT {}", migrate::store::sqlite::Sqlite::NOW_MS);
    let first = crate::world::ints(&world.engine, &mut tx, &sql).await[0];
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    let second = crate::world::ints(&world.engine, &mut tx, &sql).await[0];
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i128;
    assert!(second - first >= 59 && (unix - second).abs() < 1000, "{first} {second} {unix}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Up to 15 digits are exact in a NUMERIC column, whether we or the application write them.
    #[test]
    fn decimals_of_15_digits_come_back(
        numbers in prop::collection::vec((-999_999_999_999_999i64..=999_999_999_999_999, 0u32..=6), 1..200),
    ) {
        let texts: Vec<String> = numbers.iter().map(|(n, _)| {
            let digits = format!("{:07}", n.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - 6);
            format!("{}{whole}.{fraction}", if *n < 0 { "-" } else { "" })
        }).collect();
        let values: Vec<Value> = texts.iter().map(|t| decimal(t)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let back = round_trip("NUMERIC(15,6)", values.clone()).await.unwrap();
            prop_assert!(same(&back, &values));
            let literals = texts.iter().enumerate().map(|(i, t)| format!("({i}, '{t}')")).collect::<Vec<_>>().join(", ");
            let mut world = World::new("CREATE TABLE t (id INTEGER PRIMARY KEY, x NUMERIC(15,6))").await;
            world.sql(&format!("INSERT INTO t VALUES {literals}")).await;
            let map = world.map(1, "t").await;
            let read: Vec<Value> = world.read(&map, true).await.unwrap().into_iter().map(|mut r| r.remove(1)).collect();
            prop_assert!(same(&read, &values));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn arguments_of_every_kind_are_bound() {
    let world = World::new("CREATE TABLE t (x)").await;
    let mut tx = world.engine.begin(Mode::Look).await.unwrap();
    let args = vec![
        Arg::from(5i64),
        Arg::from("x"),
        Arg::from(vec![1u8]),
        Arg::from(None::<i64>),
        Arg::One(Value::Float(1.5)),
    ];
    let s = Statement { sql: "SELECT ?1, ?2, ?3, ?4, ?5".into(), args };
    let rows = query(&world.engine, &mut tx, &s, &[]).await.unwrap();
    assert!(rows[0] == [Value::Int(5), Value::Text("x".into()), Value::Bytes(vec![1]), Value::Null, Value::Float(1.5)]);
    let bad = Statement { sql: "SELECT ?1".into(), args: vec![Arg::Texts(vec![])] };
    assert!(query(&world.engine, &mut tx, &bad, &[]).await.is_err());
}
