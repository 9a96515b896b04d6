//! Dates, times and unsigned integers that not every engine has: what a source may hold and the target, or the wire,
//! can't.

use super::resolve::Facts;
use crate::check::{self, Check};
use crate::finding::Violation;
use crate::mapping::{TableMap, WireColumn};
use crate::schema::{Column, EngineName, Kind};

/// Who has zero dates, times beyond a day, unsigned integers, and columns that keep whole seconds.
const PECULIAR: EngineName = EngineName::MySql;
/// Who has neither infinities nor years beyond 1 to 9999.
const YEARS: (&str, &str) = ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999");
/// What PECULIAR's `timestamp` holds.
const EPOCH: (&str, &str) = ("1970-01-01 00:00:01", "2038-01-19 03:14:07.999999");
/// Digits that SQLite's numbers keep.
const SQLITE_DIGITS: u32 = 15;
const DAY: (&str, &str) = ("00:00:00", "24:00:00");

type Found = Vec<(&'static Check, Violation)>;

/// `column`: what the plan reads plainly; none where it reads an expression.
pub fn of_time(facts: &Facts, column: Option<&Column>, wire: &WireColumn) -> Found {
    let from = facts.source_engine == PECULIAR;
    let to = facts.target_engine == PECULIAR;
    let mut found = Found::new();
    let has_date = matches!(wire.source_kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz);
    if from && has_date {
        found.push((&check::NOT_A_DATE, Violation::NoDate));
    }
    if from && wire.source_kind == Kind::Time {
        found.push((&check::BEYOND_RANGE, outside(DAY)));
    }
    if to && has_date && matches!(wire.target.kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz) {
        let narrow = is_epoch(&wire.target);
        let held = if narrow { column.is_some_and(is_epoch) } else { true };
        if !(from && held) {
            found.push((&check::BEYOND_RANGE, outside(if narrow { EPOCH } else { YEARS })));
        }
    }
    let has_seconds = |kind: &Kind| matches!(kind, Kind::Time | Kind::Timestamp | Kind::TimestampTz);
    if to && has_seconds(&wire.source_kind) && has_seconds(&wire.target.kind) {
        let digits = fraction(&wire.target);
        let held = from && column.is_some_and(|c| fraction(c) <= digits);
        if digits < 6 && !held {
            found.push((&check::FINER_TIME, Violation::FinerThan { digits }));
        }
    }
    found
}

fn outside((low, high): (&'static str, &'static str)) -> Violation {
    Violation::OutsideTime { low, high }
}

fn is_epoch(column: &Column) -> bool {
    column.type_name.to_ascii_lowercase().starts_with("timestamp")
}

/// Digits behind the seconds: none where the type has no number.
fn fraction(column: &Column) -> u8 {
    argument(&column.type_name).unwrap_or(0).min(6)
}

/// The number in a type's parentheses.
fn argument(type_name: &str) -> Option<u8> {
    type_name.split_once('(')?.1.split([')', ',']).next()?.trim().parse().ok()
}

/// An integer column of the target whose bounds are not those of its bits alone.
pub fn of_unsigned(facts: &Facts, column: Option<&Column>, wire: &WireColumn) -> Option<(&'static Check, Violation)> {
    let Kind::Int { bits } = wire.source_kind else { return None };
    // A truth value, of which PECULIAR has none of its own.
    if facts.source_engine == PECULIAR && wire.target.kind == Kind::Bool {
        return Some((&check::OUT_OF_RANGE, Violation::Outside { low: 0, high: 1 }));
    }
    let (low, high) = if facts.target_engine == PECULIAR { unsigned(&wire.target)? } else { return None };
    let own = column.filter(|_| facts.source_engine == PECULIAR).and_then(unsigned);
    let loose = facts.source_engine == EngineName::Sqlite;
    let bound = 1_i128 << (u32::from(if loose { 64 } else { bits }).clamp(1, 127) - 1);
    let (least, most) = own.unwrap_or((-bound, bound - 1));
    (least < low || most > high).then_some((&check::OUT_OF_RANGE, Violation::Outside { low, high }))
}

fn unsigned(column: &Column) -> Option<(i128, i128)> {
    let name = column.type_name.to_ascii_lowercase();
    let word = name.split([' ', '(']).next().unwrap_or_default();
    let bits = match word {
        "bit" => argument(&name).unwrap_or(1),
        _ if !name.contains("unsigned") => return None,
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "bigint" => 64,
        _ => return None,
    };
    Some((0, (1_i128 << bits.min(64)) - 1))
}

/// Numbers that SQLite's columns can't hold; it bounds no others.
pub fn of_sqlite(facts: &Facts, wire: &WireColumn) -> Option<(&'static Check, Violation)> {
    let is_text = wire.target.type_name.to_ascii_uppercase().contains("TEXT");
    if facts.source_engine == EngineName::Sqlite || is_text {
        return None;
    }
    match (&wire.source_kind, &wire.target.kind) {
        (Kind::Int { bits: 65.. }, Kind::Int { .. }) => {
            Some((&check::OUT_OF_RANGE, Violation::OutsideInt { bits: 64 }))
        }
        (Kind::Decimal { precision, scale }, Kind::Decimal { .. }) if precision.is_none_or(|p| p > SQLITE_DIGITS) => {
            let whole = SQLITE_DIGITS.saturating_sub(scale.unwrap_or(0));
            Some((&check::TOO_MANY_DIGITS, Violation::WholeDigits(whole)))
        }
        _ => None,
    }
}

/// A number that the plan lets be rounded, and that is beyond the target's type even so.
pub fn of_rounded(facts: &Facts, wire: &WireColumn) -> Option<(&'static Check, Violation)> {
    let digits = match wire.source_kind {
        Kind::Decimal { precision: Some(p), scale } if facts.source_engine != EngineName::Sqlite => {
            p.saturating_sub(scale.unwrap_or(0))
        }
        Kind::Decimal { .. } | Kind::Float { .. } => u32::MAX,
        _ => return None,
    };
    let violation = match wire.target.kind {
        Kind::Int { bits } => {
            let bits = if facts.target_engine == EngineName::Sqlite { 64 } else { u32::from(bits).clamp(1, 64) };
            let own = if facts.target_engine == PECULIAR { unsigned(&wire.target) } else { None };
            let (low, high) = own.unwrap_or((-(1 << (bits - 1)), (1 << (bits - 1)) - 1));
            let bounded = low < 0 && 10_i128.checked_pow(digits).is_some_and(|most| most <= high);
            (!bounded).then_some(Violation::Rounded { low, high })?
        }
        Kind::Float { bits: ..=32 } if wire.source_kind != (Kind::Float { bits: 32 }) && digits > 38 => {
            Violation::BeyondFloat { bits: 32 }
        }
        Kind::Float { .. } if matches!(wire.source_kind, Kind::Decimal { .. }) && digits > 308 => {
            Violation::BeyondFloat { bits: 64 }
        }
        _ => return None,
    };
    Some((&check::BEYOND_ROUNDED, violation))
}

/// A float's negative zero, which MySQL's lists of rows and SQLite's columns lose; a plain column of SQLite's has none.
pub fn of_zero(facts: &Facts, column: Option<&Column>, wire: &WireColumn) -> Option<(&'static Check, Violation)> {
    let is_float = |kind: &Kind| matches!(kind, Kind::Float { .. });
    let comes = is_float(&wire.source_kind) && is_float(&wire.target.kind);
    let none = facts.source_engine == EngineName::Sqlite && column.is_some();
    (comes && !none && facts.target_engine != EngineName::Postgres)
        .then_some((&check::NEGATIVE_ZERO, Violation::NegativeZero))
}

/// The texts and byte strings of a row, if together they may take more than so many bytes.
pub fn large(facts: &Facts, map: &TableMap, bytes: u64) -> Vec<usize> {
    let bounded = facts.source_engine != EngineName::Sqlite;
    let room = |w: &WireColumn| match w.source_kind {
        Kind::Text { max_chars: Some(n) } if bounded => 4 * u64::from(n),
        _ => u64::MAX,
    };
    let is_large = |w: &&WireColumn| matches!(w.source_kind, Kind::Text { .. } | Kind::Bytes);
    let columns: Vec<(usize, &WireColumn)> = map.columns.iter().enumerate().filter(|(_, w)| is_large(w)).collect();
    let most = columns.iter().fold(0_u64, |all, (_, w)| all.saturating_add(room(w)));
    if most > bytes { columns.into_iter().map(|(i, _)| i).collect() } else { Vec::new() }
}
