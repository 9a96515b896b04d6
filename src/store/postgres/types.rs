//! Each kind's form in SQL: how it is selected, how a wire value enters a column, and how control values are bound.
//!
//! A value enters as text under an explicit cast to the column's *base* type, without length or precision: an explicit
//! cast to `varchar(3)` or `numeric(5,2)` would cut or round in silence, while the assignment to the column refuses.
//! What even an assignment changes in silence (digits, microseconds, blanks at the end) [`Fit`] refuses before.

use std::borrow::Cow;

use sqlx::postgres::{PgArguments, PgRow, PgValueRef};
use sqlx::{Arguments, Column as _, Decode, Row as _, TypeInfo, ValueRef};

use crate::error::{Error, Result};
use crate::schema::{Column, Kind};
use crate::store::engine::{Arg, Out, Statement};
use crate::store::text;
use crate::value::{Row, Value};

pub fn place(n: usize, arg: &Arg) -> String {
    match arg {
        Arg::Texts(_) => format!("${n}::text[]"),
        Arg::One(Value::Null) => "NULL".to_owned(),
        Arg::One(Value::Bool(_)) => format!("${n}::boolean"),
        Arg::One(Value::Int(_)) => format!("${n}::bigint"),
        Arg::One(Value::Float(_)) => format!("${n}::float8"),
        Arg::One(Value::Bytes(_)) => format!("${n}::bytea"),
        Arg::One(_) => format!("${n}::text"),
    }
}

pub fn bind(args: &[Arg]) -> Result<PgArguments> {
    let mut bound = PgArguments::default();
    for arg in args {
        let done = match arg {
            Arg::Texts(texts) => bound.add(texts),
            Arg::One(Value::Null) => bound.add(None::<&str>),
            Arg::One(Value::Bool(b)) => bound.add(*b),
            Arg::One(Value::Float(f)) => bound.add(*f),
            Arg::One(Value::Bytes(b)) => bound.add(b.as_slice()),
            Arg::One(Value::Int(i)) => match i64::try_from(*i) {
                Ok(i) => bound.add(i),
                Err(_) => return Err(Error::give_up("an integer is beyond 64 bits")),
            },
            Arg::One(other) => bound.add(text::render(other)),
        };
        done.map_err(|_| Error::give_up("an argument is too large to send"))?;
    }
    Ok(bound)
}

/// A select item for `out`, in a type that [`wire_row`] reads.
pub fn select(expression: &str, out: &Out) -> String {
    let cast = match out.held {
        Kind::Int { .. } => "int8",
        Kind::Float { .. } => "float8",
        Kind::Bool => "boolean",
        Kind::Bytes => "bytea",
        _ => "text",
    };
    format!("({expression})::{cast}")
}

pub fn wire_row(row: &PgRow, outs: &[Out]) -> Result<Row> {
    if row.len() != outs.len() {
        return Err(Error::give_up(format!("a query gave {} columns instead of {}", row.len(), outs.len())));
    }
    outs.iter().enumerate().map(|(i, out)| wire_value(row, i, out)).collect()
}

fn decode<'r, T: Decode<'r, sqlx::Postgres>>(raw: PgValueRef<'r>) -> Option<T> {
    T::decode(raw).ok()
}

fn wire_value(row: &PgRow, i: usize, out: &Out) -> Result<Value> {
    let raw = row.try_get_raw(i).map_err(super::errors::of)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let held = match out.held {
        Kind::Int { .. } => decode::<i64>(raw).map(|i| Value::Int(i.into())),
        Kind::Float { .. } => decode::<f64>(raw).map(Value::Float),
        Kind::Bool => decode::<bool>(raw).map(Value::Bool),
        Kind::Bytes => decode::<Vec<u8>>(raw).map(Value::Bytes),
        _ => raw.as_str().ok().and_then(|t| text::parse(&out.held, t)),
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
pub fn control_row(row: &PgRow) -> Result<Row> {
    (0..row.len()).map(|i| control_value(row, i)).collect()
}

fn control_value(row: &PgRow, i: usize) -> Result<Value> {
    let raw = row.try_get_raw(i).map_err(super::errors::of)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let name = raw.type_info().name().to_owned();
    let value = match name.as_str() {
        "BOOL" => decode::<bool>(raw).map(|b| Value::Int(b.into())),
        "INT2" => decode::<i16>(raw).map(|i| Value::Int(i.into())),
        "INT4" => decode::<i32>(raw).map(|i| Value::Int(i.into())),
        "INT8" => decode::<i64>(raw).map(|i| Value::Int(i.into())),
        "FLOAT4" => decode::<f32>(raw).map(|f| Value::Float(f.into())),
        "FLOAT8" => decode::<f64>(raw).map(Value::Float),
        "BYTEA" => decode::<Vec<u8>>(raw).map(Value::Bytes),
        "NUMERIC" => raw.as_bytes().ok().and_then(whole_numeric).map(Value::Int),
        _ => raw.as_str().ok().map(|t| Value::Text(t.to_owned())),
    };
    value.ok_or_else(|| Error::give_up(format!("a control query gave an unreadable {name}")))
}

/// A whole number in numeric's binary form (`sum` of bigints): count, weight, sign, scale, then base-10000 digits.
fn whole_numeric(bytes: &[u8]) -> Option<i128> {
    let mut halves = bytes.chunks_exact(2).map(|b| i16::from_be_bytes([b[0], b[1]]));
    let (count, weight, sign, _scale) = (halves.next()?, halves.next()?, halves.next()?, halves.next()?);
    let mut sum: i128 = 0;
    for place in 0..=weight.max(-1) {
        let digit = if place < count { halves.next()? } else { 0 };
        sum = sum.checked_mul(10_000)?.checked_add(digit.into())?;
    }
    match sign {
        0 if halves.all(|d| d == 0) => Some(sum),
        0x4000 if halves.all(|d| d == 0) => Some(-sum),
        _ => None,
    }
}

/// The column's type for an explicit cast: what it stores, without length or precision.
pub fn base_type(column: &Column) -> String {
    match &column.kind {
        Kind::Bool => "boolean".to_owned(),
        Kind::Int { bits } => format!("int{}", bits / 8),
        Kind::Decimal { .. } => "numeric".to_owned(),
        Kind::Float { bits } => format!("float{}", bits / 8),
        Kind::Text { .. } if is_padded(column) => "bpchar".to_owned(),
        Kind::Text { .. } => "text".to_owned(),
        Kind::Bytes => "bytea".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::Time => "time".to_owned(),
        Kind::Timestamp => "timestamp".to_owned(),
        Kind::TimestampTz => "timestamptz".to_owned(),
        Kind::Uuid => "uuid".to_owned(),
        Kind::Json => "jsonb".to_owned(),
        Kind::Opaque(name) => without_modifier(name),
    }
}

fn is_padded(column: &Column) -> bool {
    let name = &column.type_name;
    name == "character" || name == "bpchar" || name.starts_with("character(")
}

/// `bit(3)` and `character(3)` without their length would mean a length of one: these two have other names.
fn without_modifier(name: &str) -> String {
    let (mut plain, mut depth, mut quoted) = (String::new(), 0_u32, false);
    for c in name.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            plain.push(c);
        }
    }
    let (element, array) = match plain.strip_suffix("[]") {
        Some(element) => (element, "[]"),
        None => (plain.as_str(), ""),
    };
    match element {
        "bit" => format!("\"bit\"{array}"),
        "character" => format!("bpchar{array}"),
        _ => plain,
    }
}

/// What a column takes without changing it.
pub struct Fit {
    name: String,
    kind: Kind,
    padded: bool,
    /// Microseconds of the column's smallest step.
    step: i64,
}

impl Fit {
    pub fn of(column: &Column) -> Self {
        let digits = |prefix: &str| {
            let rest = column.type_name.strip_prefix(prefix)?.strip_prefix('(')?;
            rest.split_once(')')?.0.parse::<u32>().ok()
        };
        let digits = match column.kind {
            Kind::Time => digits("time"),
            Kind::Timestamp | Kind::TimestampTz => digits("timestamp"),
            _ => None,
        };
        let step = 10_i64.pow(6 - digits.unwrap_or(6).min(6));
        Self { name: column.name.clone(), kind: column.kind.clone(), padded: is_padded(column), step }
    }

    /// The value's text for the column, `None` for null. `GiveUp` where the column would hold something else.
    pub fn text<'a>(&self, value: &'a Value) -> Result<Option<Cow<'a, str>>> {
        let refuse = |why: &str| Err(Error::give_up(format!("column {} {why}", self.name)));
        match (value, &self.kind) {
            (Value::Text(t) | Value::Json(t) | Value::Opaque(t), _) if t.contains('\0') => {
                return refuse("can't hold a text with a NUL character");
            }
            (Value::Text(t), _) if self.padded && t.ends_with(' ') => {
                return refuse("pads with blanks: a text that ends with one would come back without it");
            }
            (Value::Text(t), Kind::Text { max_chars: Some(max) }) if t.chars().count() > *max as usize => {
                return refuse("is too short for a text");
            }
            (Value::Decimal(d), Kind::Decimal { scale: Some(scale), .. }) if d.scale() > *scale as usize => {
                return refuse("would round a number");
            }
            (Value::Float(f), Kind::Float { bits: 32 }) if !f.is_nan() && f64::from(*f as f32) != *f => {
                return refuse("would round a number");
            }
            (Value::Time(us) | Value::Timestamp(us) | Value::TimestampTz(us), _)
                if us % self.step != 0 && *us != i64::MIN && *us != i64::MAX =>
            {
                return refuse("would round a time");
            }
            _ => {}
        }
        Ok(match value {
            Value::Text(t) | Value::Json(t) | Value::Opaque(t) => Some(Cow::Borrowed(t)),
            Value::Decimal(d) => Some(Cow::Borrowed(d.as_str())),
            other => text::render(other).map(Cow::Owned),
        })
    }
}

pub fn typed(n: usize, value: &Value, column: &Column) -> Result<(String, Arg)> {
    if let (Value::Bytes(bytes), Kind::Bytes) = (value, &column.kind) {
        return Ok((format!("${n}::bytea"), Arg::One(Value::Bytes(bytes.clone()))));
    }
    let arg = Fit::of(column).text(value)?.map_or(Value::Null, |t| Value::Text(t.into_owned()));
    Ok((format!("${n}::text::{}", base_type(column)), Arg::One(arg)))
}

/// A parenthesised query that has these rows, columns `c1`, `c2` …: one array per column, so that the statement's text
/// does not depend on how many rows there are and stays prepared.
pub fn rows(statement: &mut Statement, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<()> {
    let (mut items, mut arrays, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (i, column) in columns.iter().enumerate() {
        let fit = Fit::of(column);
        let owned = |row: &Vec<&Value>| Ok(fit.text(row[i])?.map(Cow::into_owned));
        let texts: Result<Vec<_>> = rows.iter().map(owned).collect();
        statement.args.push(Arg::Texts(texts?));
        let (name, n) = (format!("c{}", i + 1), statement.args.len());
        items.push(format!("{name}::{} AS {name}", base_type(column)));
        arrays.push(format!("${n}::text[]"));
        names.push(name);
    }
    statement.sql +=
        &format!("(SELECT {} FROM unnest({}) AS u({}))", items.join(", "), arrays.join(", "), names.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cast_never_has_a_length() {
        for (name, plain) in [
            ("bit(3)", "\"bit\""),
            ("bit varying(3)", "bit varying"),
            ("character(3)[]", "bpchar[]"),
            ("numeric(10,2)[]", "numeric[]"),
            ("time(3) with time zone", "time with time zone"),
            ("interval day to second(3)", "interval day to second"),
            ("\"we(i)rd\"", "\"we(i)rd\""),
        ] {
            assert_eq!(without_modifier(name), plain);
        }
    }

    #[test]
    fn whole_numerics_are_read() {
        let bytes = |halves: &[i16]| halves.iter().flat_map(|h| h.to_be_bytes()).collect::<Vec<u8>>();
        assert_eq!(whole_numeric(&bytes(&[0, 0, 0, 0])), Some(0));
        assert_eq!(whole_numeric(&bytes(&[2, 1, 0, 0, 1, 2345])), Some(12_345));
        assert_eq!(whole_numeric(&bytes(&[1, 2, 0x4000, 0, 7])), Some(-700_000_000));
        assert_eq!(whole_numeric(&bytes(&[1, -1, 0, 1, 5000])), None);
    }
}
