//! Every kind's extremes go through every way in and out, and come back as they were; what a column would change in
//! silence is refused.

use super::{Place, collect, number};
use crate::support::{exec, query_text};
use migrate::error::Kind as ErrorKind;
use migrate::mapping::TableMap;
use migrate::schema::Kind;
use migrate::store::engine::{Arg, Engine, Mode, Out, Statement};
use migrate::store::postgres::Postgres;
use migrate::value::{Row, Value};

const TABLE: &str = r#"(
    id int PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, n numeric, np numeric(10,2), f4 real, f8 double precision,
    t text, v varchar(5), c char(5), y bytea, d date, tm time, ts timestamp, tz timestamptz, u uuid, j jsonb, js json,
    e mood, a int[], ip inet, iv interval, bt bit(3), m money, dm short, tt timetz, r int4range, x xml, ch "char",
    "Weird ""col; --" text)"#;

const ROWS: &str = r#"
    (1, true, -32768, -2147483648, -9223372036854775808, 'NaN', -99999999.99, '-3.4028235e38', '-1.7976931348623157e308',
     '', '', '', '', '4713-11-24 BC', '00:00', '4714-11-24 00:00:00 BC', '4714-11-24 00:00:00+00 BC',
     '00000000-0000-0000-0000-000000000000', 'null', '{"b": 1, "a": 1.0, "a":2}', 'sad', '{}', '::1/128', '-1 mon', '000',
     -92233720368547758.08, '', '00:00+15:59', 'empty', '<a/>', '', E'tab\t nl\n cr\r bs\\ \\N "quote" \b \u0001'),
    (2, false, 32767, 2147483647, 9223372036854775807, 'Infinity', 99999999.99, '1e-45', '5e-324', E'\\.', 'ÄÖÜ€😀', 'a b  ',
     '\x00ff5c0a09', '5874897-12-31', '24:00:00', '294246-12-31 23:59:59.999999', '294246-12-31 23:59:59.999999+00',
     'ffffffff-ffff-ffff-ffff-ffffffffffff', '{"z": [1, 2.50, "é\"\\"]}', ' [1] ', 'very "happy", {sure}', '{1,NULL,3}',
     '10.0.0.0/8', 'P1Y2M3DT4H5M6.789S', '101', 1.5, 'abc', '23:59:59.999999-03:30', '[1,10)', 'text', 'z', '\N'),
    (3, NULL, 0, 0, 0, '-Infinity', 0.00, 'NaN', 'NaN', '\N', 'abcde', 'abcde', '\x', 'infinity', '12:34:56.000001',
     'infinity', '-infinity', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '1.10', '{}', NULL, '{}', NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, ''),
    (4, NULL, 1, 1, 1, '12345678901234567890123456789.000000000100', 1.10, 'Infinity', '-Infinity', ' x ', ' x ', ' x', 'x',
     '-infinity', '00:00:00.1', '1999-12-31 23:59:59.5', '0044-03-15 12:00:00+00 BC', NULL, '"\u00e9"', 'null', 'ok', NULL,
     NULL, NULL, NULL, NULL, 'xyz', NULL, NULL, NULL, NULL, NULL),
    (5, NULL, NULL, NULL, NULL, NULL, NULL, 0.1, 0.1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"#;

async fn place() -> Place {
    let ddl = format!(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'very \"happy\", {{sure}}'); CREATE DOMAIN short AS varchar(5);
        CREATE TABLE src {TABLE}; CREATE TABLE by_values {TABLE}; CREATE TABLE by_rows {TABLE}; CREATE TABLE by_load {TABLE};
        INSERT INTO src VALUES {ROWS}"
    );
    let place = Place::new("kinds", &ddl).await;
    place.db.grant_target_rights().await;
    place
}

fn outs(map: &TableMap) -> Vec<Out> {
    map.columns.iter().map(|c| Out { held: c.source_kind.clone(), wire: c.wire.clone(), exact: false }).collect()
}

async fn read(place: &Place, map: &TableMap) -> Vec<Row> {
    let run = &place.run;
    let outs = outs(map);
    let items: Vec<String> =
        map.columns.iter().zip(&outs).map(|(c, out)| run.select(&run.quote(&c.target.name), out)).collect();
    let sql = format!("SELECT {} FROM {} ORDER BY id", items.join(", "), run.table(&map.source));
    let mut tx = run.begin(Mode::Look).await.unwrap();
    collect(run, &mut tx, &sql, &outs).await.unwrap()
}

async fn same(place: &Place, table: &str) {
    let sql = format!(
        "SELECT coalesce(one.id, two.id)::text FROM src one FULL JOIN {table} two ON one.id = two.id
        WHERE one::text IS DISTINCT FROM two::text"
    );
    assert_eq!(query_text(&place.db.superuser_url, &sql).await, Vec::<Vec<Option<String>>>::new(), "{table}");
    assert_eq!(
        query_text(&place.db.superuser_url, &format!("SELECT count(*) FROM {table}")).await[0][0].as_deref(),
        Some("5")
    );
}

#[tokio::test]
async fn extremes_survive_every_way_in() {
    let place = place().await;
    let run = &place.run;
    let map = place.map(1, "src", "by_load").await;
    let rows = read(&place, &map).await;
    assert_eq!(rows.len(), 5);
    let columns: Vec<String> = map.columns.iter().map(|c| run.quote(&c.target.name)).collect();

    let mut tx = run.begin(Mode::Control).await.unwrap();
    run.load(&mut tx, &map, &rows).await.unwrap();
    for row in &rows {
        let (mut items, mut args) = (Vec::new(), Vec::new());
        for (i, (column, value)) in map.columns.iter().zip(row).enumerate() {
            let (item, arg) = run.typed(i + 1, value, &column.target).unwrap();
            items.push(item);
            args.push(arg);
        }
        let sql = format!("INSERT INTO by_values({}) VALUES ({})", columns.join(", "), items.join(", "));
        assert_eq!(run.execute(&mut tx, &Statement { sql, args }).await.unwrap(), 1);
    }
    let mut statement =
        Statement { sql: format!("INSERT INTO by_rows({}) SELECT * FROM ", columns.join(", ")), args: vec![] };
    let targets: Vec<_> = map.columns.iter().map(|c| &c.target).collect();
    let borrowed: Vec<Vec<&Value>> = rows.iter().map(|r| r.iter().collect()).collect();
    run.rows(&mut statement, &targets, &borrowed).unwrap();
    statement.sql += " AS new";
    assert_eq!(run.execute(&mut tx, &statement).await.unwrap(), 5);
    run.commit(tx).await.unwrap();
    for table in ["by_load", "by_values", "by_rows"] {
        same(&place, table).await;
    }
}

#[tokio::test]
async fn values_are_what_the_rows_say() {
    let place = place().await;
    let map = place.map(1, "src", "src").await;
    let rows = read(&place, &map).await;
    let at = |row: usize, column: &str| {
        let i = map.columns.iter().position(|c| c.target.name == column).unwrap();
        rows[row][i].clone()
    };
    for (row, column, expected) in [
        (0, "d", Value::Date(-2_440_588 + 366)),
        (1, "tm", Value::Time(86_400_000_000)),
        (2, "d", Value::Date(i32::MAX)),
        (2, "ts", Value::Timestamp(i64::MAX)),
        (2, "tz", Value::TimestampTz(i64::MIN)),
        (1, "c", Value::Text("a b".into())),
        (3, "c", Value::Text(" x".into())),
        (1, "y", Value::Bytes(b"\x00\xff\x5c\x0a\x09".to_vec())),
        (4, "f4", Value::Float(0.1_f32.into())),
        (4, "f8", Value::Float(0.1)),
        (0, "i8", Value::Int(i64::MIN.into())),
        (1, "j", Value::Json(r#"{"z": [1, 2.50, "é\"\\"]}"#.into())),
        (0, "js", Value::Opaque(r#"{"b": 1, "a": 1.0, "a":2}"#.into())),
        (1, "iv", Value::Opaque("P1Y2M3DT4H5M6.789S".into())),
        (4, "b", Value::Null),
    ] {
        assert!(at(row, column) == expected, "{column} in row {row}");
    }
}

#[tokio::test]
async fn widening_happens_on_the_way_out() {
    let place = Place::new("widen", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let run = &place.run;
    let decimal = Kind::Decimal { precision: None, scale: None };
    let mut tx = run.begin(Mode::Look).await.unwrap();
    for (sql, held, wire, expected) in [
        ("true", Kind::Bool, Kind::Int { bits: 32 }, Value::Int(1)),
        ("7", Kind::Int { bits: 32 }, Kind::Float { bits: 64 }, Value::Float(7.0)),
        ("date '1970-01-02'", Kind::Date, Kind::Timestamp, Value::Timestamp(86_400_000_000)),
        ("date 'infinity'", Kind::Date, Kind::Timestamp, Value::Timestamp(i64::MAX)),
    ] {
        let out = Out { held, wire, exact: false };
        let rows = collect(run, &mut tx, &format!("SELECT {}", run.select(sql, &out)), &[out]).await.unwrap();
        assert!(rows[0][0] == expected, "{sql}");
    }
    let out = Out { held: Kind::Int { bits: 64 }, wire: decimal, exact: false };
    let rows = collect(run, &mut tx, &format!("SELECT {}", run.select("42", &out)), &[out]).await.unwrap();
    assert!(matches!(&rows[0][0], Value::Decimal(d) if d.as_str() == "42"));
    let out = Out { held: Kind::Timestamp, wire: Kind::Timestamp, exact: false };
    let late = run.select("timestamp '294276-12-31 23:59:59'", &out);
    let error = collect(run, &mut tx, &format!("SELECT {late}"), &[out]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::GiveUp);
}

#[tokio::test]
async fn what_a_column_would_change_in_silence_is_refused() {
    let ddl =
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(3), c char(3), n numeric(5,2), ts timestamp(0), f real, x text)";
    let place = Place::new("silent", ddl).await;
    place.db.grant_target_rights().await;
    let (run, map) = (&place.run, place.map(1, "t", "t").await);
    let decimal = |t| Value::Decimal(migrate::value::Decimal::parse(t).unwrap());
    for (column, value) in [
        ("v", Value::Text("abc ".into())),
        ("c", Value::Text("a ".into())),
        ("n", decimal("1.234")),
        ("ts", Value::Timestamp(1)),
        ("f", Value::Float(0.1)),
        ("x", Value::Text("secret\0value".into())),
    ] {
        let i = map.columns.iter().position(|c| c.target.name == column).unwrap();
        let target = &map.columns[i].target;
        let error = run.typed(1, &value, target).unwrap_err();
        assert!(error.kind == ErrorKind::GiveUp && error.message().contains(&format!("column {column} ")), "{error}");
        assert!(!error.message().contains("secret"));
        let mut row: Row = map.columns.iter().map(|_| Value::Null).collect();
        (row[0], row[i]) = (Value::Int(1), value);
        let mut tx = run.begin(Mode::Control).await.unwrap();
        run.savepoint(&mut tx).await.unwrap();
        assert_eq!(run.load(&mut tx, &map, &[row]).await.unwrap_err().kind, ErrorKind::GiveUp, "{column}");
        run.rollback_to_savepoint(&mut tx).await.unwrap();
        assert_eq!(number(run, &mut tx, "SELECT count(*) FROM t").await, 0, "{column}");
    }
    assert!(run.typed(1, &decimal("1.2300"), &map.columns[3].target).is_ok());
}

#[tokio::test]
async fn control_values_and_nulls_fit_every_column() {
    let place = Place::new("control", "CREATE TABLE c (i bigint PRIMARY KEY, t text, b bytea, f float8)").await;
    place.db.grant_target_rights().await;
    let run = &place.run;
    let mut tx = run.begin(Mode::Control).await.unwrap();
    let full = [Arg::from(1_i64), "a'b".into(), vec![0_u8, 255].into(), Arg::One(Value::Float(1.5))];
    let empty = [Arg::from(2_i64), Arg::One(Value::Null), None::<Vec<u8>>.into(), Arg::One(Value::Null)];
    for args in [full, empty] {
        let places: Vec<String> = args.iter().enumerate().map(|(i, a)| run.place(i + 1, a)).collect();
        let sql = format!("INSERT INTO c VALUES ({})", places.join(", "));
        assert_eq!(run.execute(&mut tx, &Statement { sql, args: args.to_vec() }).await.unwrap(), 1);
    }
    let null = Arg::One(Value::Null);
    let sql = format!("UPDATE c SET t = {}, b = coalesce({}, b) WHERE i = 1", run.place(1, &null), run.place(2, &null));
    assert_eq!(run.execute(&mut tx, &Statement { sql, args: vec![null.clone(), null] }).await.unwrap(), 1);
    let rows = collect(run, &mut tx, "SELECT i, t, b, f, sum(i) OVER (), i > 1 FROM c ORDER BY i", &[]).await.unwrap();
    let first =
        [Value::Int(1), Value::Null, Value::Bytes(vec![0, 255]), Value::Float(1.5), Value::Int(3), Value::Int(0)];
    assert!(rows[0] == first);
    assert!(rows[1][1..4].iter().all(Value::is_null));
    let now = number(run, &mut tx, &format!("SELECT {}", Postgres::NOW_MS)).await;
    let ours = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i128;
    assert!((now - ours).abs() < 60_000);
}

/// Rows of a megabyte: a reader that has enough after one must not wait for the rest of them.
#[tokio::test]
async fn a_reader_that_has_enough_stops_the_server() {
    let place = Place::new("enough", "CREATE TABLE big (id int PRIMARY KEY, t text)").await;
    let fill = "INSERT INTO big SELECT i, repeat(md5(i::text), 30000) FROM generate_series(1, 300) i";
    exec(&place.db.owner_url, fill).await;
    let run = &place.run;
    let out = Out { held: Kind::Text { max_chars: None }, wire: Kind::Text { max_chars: None }, exact: false };
    let mut tx = run.begin(Mode::Look).await.unwrap();
    let sql = format!("SELECT {} FROM big WHERE id > $1::bigint ORDER BY id", run.select("t", &out));
    for after in [0_i64, 1, 2] {
        let statement = Statement { sql: sql.clone(), args: vec![after.into()] };
        let mut seen = 0;
        let each = &mut |row: Row| {
            seen += 1;
            assert!(matches!(&row[0], Value::Text(t) if t.len() == 960_000));
            Ok(seen < 2)
        };
        run.query(&mut tx, &statement, std::slice::from_ref(&out), each).await.unwrap();
        assert_eq!(seen, 2);
    }
    let mut all = 0;
    let statement = Statement { sql, args: vec![200_i64.into()] };
    run.query(&mut tx, &statement, &[out], &mut |_| {
        all += 1;
        Ok(true)
    })
    .await
    .unwrap();
    assert_eq!(all, 100);
}
