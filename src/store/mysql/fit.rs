//! What a column takes without changing it. Everything else is refused before the server could round, cut or pad it.

use super::types::is_geometry;
use crate::error::{Error, Result};
use crate::schema::{CharSet, Column, Kind, Members};
use crate::store::engine::Arg;
use crate::store::text;
use crate::value::{Decimal, Value};

const DAY: i64 = 86_400_000_000;
/// Days of 0001-01-01 and 9999-12-31.
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
/// A cast of an integer that is wider than the column's own bits would be cut in silence.
const I64: std::ops::RangeInclusive<i128> = i64::MIN as i128..=i64::MAX as i128;
const U64: std::ops::RangeInclusive<i128> = 0..=u64::MAX as i128;

pub struct Fit {
    name: String,
    kind: Kind,
    /// `char(n)` loses blanks at its end, `binary(n)` gains zeros.
    padded: bool,
    /// The length of `binary(n)` and `varbinary(n)`.
    length: Option<usize>,
    set: Option<CharSet>,
    /// Of an enum or a set: anything else becomes a member in silence (`A`, `1`) or no member at all.
    members: Option<Members>,
    /// Microseconds of the column's smallest step.
    step: i64,
    geometry: bool,
}

impl Fit {
    pub fn of(column: &Column) -> Self {
        let type_name = column.type_name.to_ascii_lowercase();
        let size = type_name.split_once('(').and_then(|(_, rest)| rest.split(')').next()?.trim().parse::<u32>().ok());
        let step = match column.kind {
            Kind::Time | Kind::Timestamp | Kind::TimestampTz => 10_i64.pow(6 - size.unwrap_or(0).min(6)),
            _ => 1,
        };
        let is_binary = type_name.starts_with("binary") || type_name.starts_with("varbinary");
        Self {
            name: column.name.clone(),
            kind: column.kind.clone(),
            padded: type_name.starts_with("char") || type_name.starts_with("binary"),
            length: if is_binary { size.map(|n| n as usize).or(Some(1)) } else { None },
            set: column.collation.as_deref().and_then(CharSet::of_collation),
            members: Members::of(&column.type_name),
            step,
            geometry: matches!(&column.kind, Kind::Opaque(name) if is_geometry(name)),
        }
    }

    /// The value as an argument. `GiveUp` where the column would hold something else.
    pub fn arg(&self, value: &Value) -> Result<Arg> {
        if let Some(why) = self.misfit(value) {
            return Err(Error::give_up(format!("column {} {why}", self.name)));
        }
        Ok(Arg::One(match value {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Bytes(_) => value.clone(),
            // A session in UTC takes the local form for its own.
            Value::TimestampTz(us) => Value::Text(text::render(&Value::Timestamp(*us)).unwrap_or_default()),
            other => Value::Text(text::render(other).unwrap_or_default()),
        }))
    }

    fn misfit(&self, value: &Value) -> Option<&'static str> {
        match (value, &self.kind) {
            (Value::Text(t), _) => self.text_misfit(t),
            (Value::Bytes(b), _) => match self.length {
                Some(n) if b.len() > n => Some("is too short for these bytes"),
                Some(n) if self.padded && b.len() < n => Some("would add zeros to these bytes"),
                _ => None,
            },
            (Value::Int(i), Kind::Int { bits: ..=64 } | Kind::Bool) if !I64.contains(i) => {
                Some("is too small for a number")
            }
            (Value::Int(i), Kind::Int { .. }) if !I64.contains(i) && !U64.contains(i) => {
                Some("is too small for a number")
            }
            (Value::Int(i), Kind::Int { bits: 65.. }) if *i < 0 => Some("holds no negative numbers"),
            (Value::Int(i), Kind::Decimal { precision, scale }) => {
                let decimal = Decimal::parse(&i.to_string())?;
                decimal_misfit(&decimal, *precision, *scale)
            }
            (Value::Decimal(d), Kind::Decimal { precision, scale }) => decimal_misfit(d, *precision, *scale),
            (Value::Float(f), _) if !f.is_finite() => Some("can't hold NaN or an infinity"),
            // A bound one keeps it; a cast, and so a row in a list, does not.
            (Value::Float(f), _) if *f == 0.0 && f.is_sign_negative() => Some("can't hold a negative zero"),
            (Value::Float(f), Kind::Float { bits: ..=32 }) if f64::from(*f as f32) != *f => {
                Some("would round a number")
            }
            (Value::Date(days), _) if !DAYS.contains(&i64::from(*days)) => Some("holds the years 1 to 9999"),
            (Value::Timestamp(us) | Value::TimestampTz(us), _) if !DAYS.contains(&us.div_euclid(DAY)) => {
                Some("holds the years 1 to 9999")
            }
            (Value::Time(us) | Value::Timestamp(us) | Value::TimestampTz(us), _) if us % self.step != 0 => {
                Some("would round a time")
            }
            (Value::Opaque(t), _) if self.geometry && !t.len().is_multiple_of(2) => Some("takes no such geometry"),
            _ => None,
        }
    }

    fn text_misfit(&self, t: &str) -> Option<&'static str> {
        if self.padded && t.ends_with(' ') {
            return Some("drops blanks at the end: a text that ends with one would come back without it");
        }
        if let Kind::Text { max_chars: Some(max) } = self.kind
            && t.chars().count() > max as usize
        {
            return Some("is too short for a text");
        }
        if self.members.as_ref().is_some_and(|members| !members.hold(t)) {
            return Some("has a list of members in which this text is not, or not in this order or spelling");
        }
        let fits = self.set.is_none_or(|set| t.chars().all(|c| set.holds(c)));
        (!fits).then_some("has a character set that lacks a character of this text")
    }
}

fn decimal_misfit(d: &Decimal, precision: Option<u32>, scale: Option<u32>) -> Option<&'static str> {
    let (precision, scale) = (precision.unwrap_or(65), scale.unwrap_or(30));
    let whole = d.canonical().trim_start_matches('-').split('.').next().unwrap_or_default();
    if !whole.bytes().all(|b| b.is_ascii_digit()) {
        return Some("can't hold NaN or an infinity");
    }
    if d.scale() > scale as usize {
        return Some("would round a number");
    }
    let digits = if whole == "0" { 0 } else { whole.len() };
    (digits > precision.saturating_sub(scale) as usize).then_some("is too small for a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Kind, type_name: &str, collation: Option<&str>) -> Column {
        Column {
            name: "c".into(),
            kind,
            type_name: type_name.into(),
            nullable: true,
            has_default: false,
            generated: false,
            identity_always: false,
            numbered: Default::default(),
            binary_order: false,
            collation: collation.map(str::to_owned),
        }
    }

    #[test]
    fn what_the_server_would_change_in_silence_is_refused() {
        let text = |n| Kind::Text { max_chars: Some(n) };
        let t = |t: &str| Value::Text(t.to_owned());
        let d = |t: &str| Value::Decimal(Decimal::parse(t).unwrap());
        let decimal = Kind::Decimal { precision: Some(5), scale: Some(2) };
        for (kind, name, collation, value, fits) in [
            (text(3), "varchar(3)", Some("utf8mb4_bin"), t("abc "), false),
            (text(3), "varchar(3)", Some("utf8mb4_bin"), t("ab "), true),
            (text(3), "char(3)", Some("utf8mb4_bin"), t("ab "), false),
            (text(3), "varchar(3)", Some("utf8mb3_bin"), t("🦀"), false),
            (text(3), "varchar(3)", Some("latin1_swedish_ci"), t("é€"), true),
            (text(3), "varchar(3)", Some("latin1_swedish_ci"), t("ő"), false),
            (Kind::Bytes, "binary(2)", None, Value::Bytes(vec![1]), false),
            (Kind::Bytes, "varbinary(2)", None, Value::Bytes(vec![1]), true),
            (decimal.clone(), "decimal(5,2)", None, d("1.005"), false),
            (decimal.clone(), "decimal(5,2)", None, d("999.990"), true),
            (decimal, "decimal(5,2)", None, d("1000"), false),
            (Kind::Timestamp, "datetime", None, Value::Timestamp(1), false),
            (Kind::Timestamp, "datetime(6)", None, Value::Timestamp(1), true),
            (Kind::Timestamp, "datetime(6)", None, Value::Timestamp(i64::MAX), false),
            (Kind::Date, "date", None, Value::Date(-719_163), false),
            (Kind::Float { bits: 32 }, "float", None, Value::Float(0.1), false),
            (Kind::Float { bits: 64 }, "double", None, Value::Float(f64::NAN), false),
            (Kind::Float { bits: 64 }, "double", None, Value::Float(-0.0), false),
            (Kind::Float { bits: 64 }, "double", None, Value::Float(0.0), true),
            (Kind::Int { bits: 65 }, "bigint(20) unsigned", None, Value::Int(u64::MAX.into()), true),
            (Kind::Int { bits: 65 }, "bigint(20) unsigned", None, Value::Int(-1), false),
        ] {
            assert_eq!(Fit::of(&column(kind, name, collation)).arg(&value).is_ok(), fits, "{name}");
        }
    }
}
