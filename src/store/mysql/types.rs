//! Each kind's form in SQL: how it is selected, how a wire value enters a column, and how control values are bound.
//!
//! A value that stands in a joined list of rows has an explicit type and, for a text, the column's own character set
//! and collation, so that a join uses the index. Into a column it goes by plain assignment, which under the strict mode
//! refuses what does not fit. What even that changes in silence (digits, microseconds, blanks at the end) or what an
//! explicit cast would cut, [`Fit`] refuses before.

use sqlx::mysql::{MySql, MySqlArguments, MySqlRow, MySqlValueRef};
use sqlx::{Arguments, Column as _, Decode, Row as _, Type, TypeInfo, ValueRef};

use super::fit::Fit;
use crate::error::{Error, Result};
use crate::schema::{Column, Kind};
use crate::store::engine::{Arg, Out, Statement};
use crate::store::text;
use crate::value::{Row, Value};

pub fn bind(args: &[Arg]) -> Result<MySqlArguments> {
    let mut bound = MySqlArguments::default();
    for arg in args {
        let done = match arg {
            Arg::Texts(_) => return Err(Error::give_up("MySQL has no arrays")),
            Arg::One(Value::Null) => bound.add(None::<&str>),
            Arg::One(Value::Bool(b)) => bound.add(i64::from(*b)),
            Arg::One(Value::Float(f)) => bound.add(*f),
            Arg::One(Value::Bytes(b)) => bound.add(b.as_slice()),
            Arg::One(Value::Int(i)) => match (i64::try_from(*i), u64::try_from(*i)) {
                (Ok(i), _) => bound.add(i),
                (_, Ok(u)) => bound.add(u),
                _ => return Err(Error::give_up("an integer is beyond 64 bits")),
            },
            Arg::One(other) => bound.add(text::render(other)),
        };
        done.map_err(|_| Error::give_up("an argument is too large to send"))?;
    }
    Ok(bound)
}

/// A select item for `out`, in a type that [`wire_row`] reads. Dates are read as text: the driver takes a zero date
/// for NULL.
pub fn select(expression: &str, out: &Out) -> String {
    match &out.held {
        Kind::Date | Kind::Time | Kind::Timestamp | Kind::Uuid | Kind::Json => {
            format!("CAST({expression} AS CHAR CHARACTER SET utf8mb4)")
        }
        Kind::TimestampTz => format!("CONCAT(CAST({expression} AS CHAR CHARACTER SET utf8mb4), '+00:00')"),
        Kind::Opaque(name) if is_geometry(name) => format!("HEX({expression})"),
        Kind::Opaque(_) => format!("CAST({expression} AS CHAR CHARACTER SET utf8mb4)"),
        Kind::Int { .. } | Kind::Bool => format!("({expression})+0"),
        _ => expression.to_owned(),
    }
}

pub fn is_geometry(name: &str) -> bool {
    [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    ]
    .contains(&name.to_ascii_lowercase().as_str())
}

pub fn wire_row(row: &MySqlRow, outs: &[Out]) -> Result<Row> {
    if row.len() != outs.len() {
        return Err(Error::give_up(format!("a query gave {} columns instead of {}", row.len(), outs.len())));
    }
    outs.iter().enumerate().map(|(i, out)| wire_value(row, i, out)).collect()
}

fn bytes<'r>(raw: MySqlValueRef<'r>) -> Option<&'r [u8]> {
    <&[u8] as Decode<'r, MySql>>::decode(raw).ok()
}

fn utf8(raw: MySqlValueRef<'_>) -> Option<&str> {
    std::str::from_utf8(bytes(raw)?).ok()
}

/// Whatever number type an expression has.
fn integer(raw: MySqlValueRef<'_>) -> Option<i128> {
    let name = raw.type_info().name().to_owned();
    match name.as_str() {
        "DECIMAL" | "VARCHAR" | "CHAR" | "TEXT" => utf8(raw)?.parse().ok(),
        "DOUBLE" | "FLOAT" => {
            let f = <f64 as Decode<MySql>>::decode(raw).ok()?;
            (f.fract() == 0.0 && f.abs() < 9e15).then_some(f as i128)
        }
        unsigned if unsigned.ends_with("UNSIGNED") || unsigned == "BIT" || unsigned == "YEAR" => {
            <u64 as Decode<MySql>>::decode(raw).ok().map(i128::from)
        }
        _ => <i64 as Decode<MySql>>::decode(raw).ok().map(i128::from),
    }
}

fn wire_value(row: &MySqlRow, i: usize, out: &Out) -> Result<Value> {
    let raw = row.try_get_raw(i).map_err(super::errors::of)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let held = match &out.held {
        Kind::Int { .. } => integer(raw).map(Value::Int),
        Kind::Bool => integer(raw).map(|i| Value::Bool(i != 0)),
        Kind::Float { .. } => <f64 as Decode<MySql>>::decode(raw).ok().map(Value::Float),
        Kind::Bytes => bytes(raw).map(|b| Value::Bytes(b.to_vec())),
        _ => utf8(raw).and_then(|t| text::parse(&out.held, t)),
    };
    held.and_then(|value| text::convert(value, &out.wire)).ok_or_else(|| {
        Error::give_up(format!(
            "column {} holds a {} that is no {} within the range that can travel",
            row.column(i).name(),
            out.held.name(),
            out.wire.name()
        ))
    })
}

/// Whatever a control query gives, as `Null`, `Int`, `Float`, `Text` or `Bytes`.
pub fn control_row(row: &MySqlRow) -> Result<Row> {
    (0..row.len()).map(|i| control_value(row, i)).collect()
}

fn control_value(row: &MySqlRow, i: usize) -> Result<Value> {
    let raw = row.try_get_raw(i).map_err(super::errors::of)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let name = raw.type_info().name().to_owned();
    let value = match name.as_str() {
        "FLOAT" | "DOUBLE" => <f64 as Decode<MySql>>::decode(raw).ok().map(Value::Float),
        // The driver's names take a text that is compared by its bytes for binary.
        _ if <str as Type<MySql>>::compatible(&raw.type_info()) => utf8(raw).map(|t| Value::Text(t.to_owned())),
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            bytes(raw).map(|b| Value::Bytes(b.to_vec()))
        }
        "DECIMAL" => utf8(raw).and_then(|t| t.parse().ok()).map(Value::Int),
        "BOOLEAN" => <i64 as Decode<MySql>>::decode(raw).ok().map(|i| Value::Int(i.into())),
        n if n.contains("INT") || n == "YEAR" || n == "BIT" => integer(raw).map(Value::Int),
        _ => utf8(raw).map(|t| Value::Text(t.to_owned())),
    };
    value.ok_or_else(|| Error::give_up(format!("a control query gave an unreadable {name}")))
}

/// A column's character set: the beginning of its collation's name.
pub fn charset(collation: &str) -> &str {
    collation.split('_').next().unwrap_or(collation)
}

/// The placeholder for a value of this column, typed as a joined list needs it.
fn place(column: &Column) -> String {
    match (&column.kind, &column.collation) {
        (Kind::Bool, _) | (Kind::Int { bits: ..=64 }, _) => "CAST(? AS SIGNED)".to_owned(),
        (Kind::Int { .. }, _) => "CAST(? AS UNSIGNED)".to_owned(),
        (Kind::Decimal { precision, scale }, _) => {
            format!("CAST(? AS DECIMAL({}, {}))", precision.unwrap_or(65), scale.unwrap_or(30))
        }
        (Kind::Float { .. }, _) => "CAST(? AS DOUBLE)".to_owned(),
        (Kind::Text { .. }, Some(collation)) => {
            format!("CONVERT(? USING {}) COLLATE {collation}", charset(collation))
        }
        (Kind::Bytes, _) => "CAST(? AS BINARY)".to_owned(),
        (Kind::Date, _) => "CAST(? AS DATE)".to_owned(),
        (Kind::Time, _) => "CAST(? AS TIME(6))".to_owned(),
        (Kind::Timestamp | Kind::TimestampTz, _) => "CAST(? AS DATETIME(6))".to_owned(),
        (Kind::Uuid, _) if column.type_name == "uuid" => "CAST(? AS UUID)".to_owned(),
        (Kind::Opaque(name), _) if is_geometry(name) => "UNHEX(?)".to_owned(),
        _ => "CONVERT(? USING utf8mb4)".to_owned(),
    }
}

pub fn typed(value: &Value, column: &Column) -> Result<(String, Arg)> {
    let fit = Fit::of(column);
    Ok((place(column), fit.arg(value)?))
}

/// `SELECT … AS c1, … UNION ALL SELECT …`, a row each.
pub fn rows(statement: &mut Statement, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<()> {
    let fits: Vec<Fit> = columns.iter().map(|c| Fit::of(c)).collect();
    let places: Vec<String> = columns.iter().map(|c| place(c)).collect();
    let named: Vec<String> = places.iter().enumerate().map(|(i, p)| format!("{p} AS c{}", i + 1)).collect();
    let (first, next) = (named.join(", "), places.join(", "));
    for (n, row) in rows.iter().enumerate() {
        match n {
            0 => statement.sql += &format!("SELECT {first}"),
            _ => statement.sql += &format!(" UNION ALL SELECT {next}"),
        }
        for (fit, value) in fits.iter().zip(row) {
            statement.args.push(fit.arg(value)?);
        }
    }
    if rows.is_empty() {
        statement.sql += &format!("SELECT {} LIMIT 0", named.join(", ").replace('?', "NULL"));
    }
    Ok(())
}
