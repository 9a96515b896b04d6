//! Values as text: one reading and one spelling for every engine, so that a date that travelled through a text column
//! is the date that it was.
//!
//! [`render`] gives the canonical spelling; [`parse`] reads that and the ISO forms that engines and people write
//! (`T` for the blank, offsets, `BC`, `infinity`). What would have to be guessed (a zone that is missing, a seventh
//! digit of a second) or does not exist (February 30) is `None`, never a near value.
//!
//! The calendar is proleptic Gregorian; its two functions are `days_from_civil` and `civil_from_days` of Howard
//! Hinnant, "chrono-Compatible Low-Level Date Algorithms" (<https://howardhinnant.github.io/date_algorithms.html>).

use crate::schema::Kind;
use crate::value::{Decimal, Value};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Reads `text` as a value of this kind. `None` where it isn't one. Sizes (bits, precision, length) are not checked:
/// whoever stores the value refuses what is too large.
pub fn parse(kind: &Kind, text: &str) -> Option<Value> {
    Some(match kind {
        Kind::Bool => Value::Bool(bool(text)?),
        Kind::Int { .. } => Value::Int(text.trim().parse().ok()?),
        Kind::Decimal { .. } => Value::Decimal(Decimal::parse(text)?),
        Kind::Float { .. } => Value::Float(text.trim().parse().ok()?),
        Kind::Text { .. } => Value::Text(text.to_owned()),
        Kind::Bytes => Value::Bytes(unhex(text.strip_prefix("\\x")?)?),
        Kind::Date => Value::Date(match infinite(text) {
            Some(positive) => extreme(positive, i32::MIN, i32::MAX),
            None => finite_date(text)?,
        }),
        Kind::Time => Value::Time(time(text.trim())?),
        Kind::Timestamp => Value::Timestamp(instant(text, false)?),
        Kind::TimestampTz => Value::TimestampTz(instant(text, true)?),
        Kind::Uuid => Value::Uuid(uuid(text.trim())?),
        Kind::Json => Value::Json(text.to_owned()),
        Kind::Opaque(_) => Value::Opaque(text.to_owned()),
    })
}

/// The canonical text. `None` for `Null`.
pub fn render(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Decimal(d) => d.as_str().to_owned(),
        Value::Float(f) => render_float(*f),
        Value::Text(t) | Value::Json(t) | Value::Opaque(t) => t.clone(),
        Value::Bytes(b) => format!("\\x{}", hex(b)),
        Value::Date(i32::MAX) | Value::Timestamp(i64::MAX) | Value::TimestampTz(i64::MAX) => "infinity".to_owned(),
        Value::Date(i32::MIN) | Value::Timestamp(i64::MIN) | Value::TimestampTz(i64::MIN) => "-infinity".to_owned(),
        Value::Date(days) => {
            let (date, era) = render_date((*days).into());
            format!("{date}{era}")
        }
        Value::Time(us) => render_time(*us),
        Value::Timestamp(us) => render_instant(*us, ""),
        Value::TimestampTz(us) => render_instant(*us, "+00:00"),
        Value::Uuid(bytes) => {
            let h = hex(bytes);
            format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
        }
    })
}

/// Brings a value to the wire kind, where that says the same (`mapping::wire_kind` tells which pairs can). `None`
/// where this value does not fit.
pub fn convert(value: Value, wire: &Kind) -> Option<Value> {
    Some(match (value, wire) {
        (Value::Null, _) => Value::Null,
        (v @ Value::Bool(_), Kind::Bool)
        | (v @ Value::Int(_), Kind::Int { .. })
        | (v @ Value::Decimal(_), Kind::Decimal { .. })
        | (v @ Value::Float(_), Kind::Float { bits: 64 })
        | (v @ Value::Text(_), Kind::Text { .. })
        | (v @ Value::Bytes(_), Kind::Bytes)
        | (v @ Value::Date(_), Kind::Date)
        | (v @ Value::Time(_), Kind::Time)
        | (v @ Value::Timestamp(_), Kind::Timestamp)
        | (v @ Value::TimestampTz(_), Kind::TimestampTz)
        | (v @ Value::Uuid(_), Kind::Uuid)
        | (v @ Value::Json(_), Kind::Json)
        | (v @ Value::Opaque(_), Kind::Opaque(_)) => v,
        (Value::Json(t) | Value::Opaque(t), Kind::Text { .. }) => Value::Text(t),
        (Value::Float(f), Kind::Float { .. }) if f.is_nan() || f64::from(f as f32) == f => Value::Float(f),
        (Value::Bool(b), Kind::Int { .. }) => Value::Int(b.into()),
        (Value::Int(i @ 0..=1), Kind::Bool) => Value::Bool(i == 1),
        (Value::Int(i), Kind::Decimal { .. }) => Value::Decimal(Decimal::parse(&i.to_string())?),
        (Value::Int(i), Kind::Float { bits }) => {
            let exact = if *bits > 32 { 1 << 53 } else { 1 << 24 };
            if !(-exact..=exact).contains(&i) {
                return None;
            }
            Value::Float(i as f64)
        }
        (Value::Date(i32::MIN), Kind::Timestamp) => Value::Timestamp(i64::MIN),
        (Value::Date(i32::MAX), Kind::Timestamp) => Value::Timestamp(i64::MAX),
        (Value::Date(days), Kind::Timestamp) => Value::Timestamp(finite(i64::from(days).checked_mul(DAY)?)?),
        (Value::Text(t), kind) if !matches!(kind, Kind::Bytes | Kind::Opaque(_)) => parse(kind, &t)?,
        _ => return None,
    })
}

fn bool(text: &str) -> Option<bool> {
    match text.trim() {
        "t" | "true" | "1" => Some(true),
        "f" | "false" | "0" => Some(false),
        other if other.eq_ignore_ascii_case("true") => Some(true),
        other if other.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn render_float(f: f64) -> String {
    if f.is_nan() {
        return "NaN".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if f != 0.0 && !(1e-5..1e16).contains(&f.abs()) { format!("{f:e}") } else { f.to_string() }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|b| [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
    digits.map(char::from).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let plain = match text.len() {
        32 => text.to_owned(),
        36 if [8, 13, 18, 23].iter().all(|&at| text.as_bytes()[at] == b'-') => text.replace('-', ""),
        _ => return None,
    };
    unhex(&plain)?.try_into().ok()
}

/// Whether the text says an infinity, and then whether the positive one.
fn infinite(text: &str) -> Option<bool> {
    match text.trim() {
        "infinity" | "Infinity" | "+infinity" => Some(true),
        "-infinity" | "-Infinity" => Some(false),
        _ => None,
    }
}

fn extreme<T>(positive: bool, low: T, high: T) -> T {
    if positive { high } else { low }
}

/// The extremes stand for the infinities, so no finite instant may be one.
fn finite(us: i64) -> Option<i64> {
    (us != i64::MIN && us != i64::MAX).then_some(us)
}

/// Takes ` BC` off the end.
fn era(text: &str) -> (&str, bool) {
    let text = text.trim();
    match text.strip_suffix("BC").or_else(|| text.strip_suffix("bc")) {
        Some(rest) => (rest.trim_end(), true),
        None => (text, false),
    }
}

fn finite_date(text: &str) -> Option<i32> {
    let (text, bc) = era(text);
    let days = i32::try_from(date(text, bc)?).ok()?;
    (days != i32::MIN && days != i32::MAX).then_some(days)
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    (digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days since 1970-01-01 of `YYYY-MM-DD`. A sign in front counts years as astronomers do (0 is 1 BC).
fn date(text: &str, bc: bool) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(3, '-');
    let (year, month, day) =
        (number(parts.next()?, 4..=7)?, number(parts.next()?, 2..=2)?, number(parts.next()?, 2..=2)?);
    let year = match (negative, bc) {
        (false, false) => year,
        (true, false) => -year,
        (false, true) if year > 0 => 1 - year,
        _ => return None,
    };
    let days = days_from_civil(year, month, day);
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// Microseconds since midnight of `HH:MM[:SS[.ffffff]]`; `24:00:00` is the end of the day.
fn time(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let hours = number(parts.next()?, 2..=2)?;
    let minutes = number(parts.next()?, 2..=2)?;
    let (seconds, fraction) = match parts.next() {
        None => (0, 0),
        Some(text) => {
            let (seconds, digits) = text.split_once('.').unwrap_or((text, "0"));
            (number(seconds, 2..=2)?, fraction(digits)?)
        }
    };
    let us = hours * HOUR + minutes * MINUTE + seconds * SECOND + fraction;
    (minutes < 60 && seconds < 60 && us <= DAY).then_some(us)
}

/// Digits behind the point of a second, as microseconds; finer ones may only be zeros.
fn fraction(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (kept, finer) = digits.split_at(digits.len().min(6));
    if finer.bytes().any(|b| b != b'0') {
        return None;
    }
    Some(number(kept, 1..=6)? * 10_i64.pow(6 - kept.len() as u32))
}

/// Microseconds since 1970, of a local time (`zoned` false: a zone is refused) or of an instant (it is required).
fn instant(text: &str, zoned: bool) -> Option<i64> {
    if let Some(positive) = infinite(text) {
        return Some(extreme(positive, i64::MIN, i64::MAX));
    }
    let (text, bc) = era(text);
    let (day, clock) = match text.find([' ', 'T', 't']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, if zoned { return None } else { "00:00:00" }),
    };
    let (clock, offset) = match clock.find(['+', '-', 'Z', 'z']) {
        Some(at) if zoned => (&clock[..at], offset(&clock[at..])?),
        None if !zoned => (clock, 0),
        _ => return None,
    };
    let midnight = i128::from(date(day, bc)?) * i128::from(DAY);
    let us = midnight + i128::from(time(clock.trim_end())?) - i128::from(offset);
    finite(i64::try_from(us).ok()?)
}

/// `Z`, `+02`, `+0230`, `+02:30`, `+02:30:15`, in microseconds east of Greenwich.
fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at(1) {
        ("Z" | "z", "") => return Some(0),
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let plain = digits.replace(':', "");
    if !matches!((digits.len(), plain.len()), (2, 2) | (4 | 5, 4) | (8, 6)) {
        return None;
    }
    let part = |at: usize| plain.get(at..at + 2).map_or(Some(0), |p| number(p, 2..=2));
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    (hours < 24 && minutes < 60 && seconds < 60).then_some(sign * (hours * HOUR + minutes * MINUTE + seconds * SECOND))
}

fn render_date(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil_from_days(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

fn render_time(us: i64) -> String {
    let (hours, minutes, seconds) = (us / HOUR, us / MINUTE % 60, us / SECOND % 60);
    let whole = format!("{hours:02}:{minutes:02}:{seconds:02}");
    match us % SECOND {
        0 => whole,
        fraction => format!("{whole}.{}", format!("{fraction:06}").trim_end_matches('0')),
    }
}

fn render_instant(us: i64, zone: &str) -> String {
    let (date, era) = render_date(us.div_euclid(DAY));
    format!("{date} {}{zone}{era}", render_time(us.rem_euclid(DAY)))
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Days of 4714-11-24 BC and of 294246-12-31: what both a date and a timestamp can hold.
    const DAYS: std::ops::Range<i32> = -2_440_588..106_751_980;
    const DECIMAL: Kind = Kind::Decimal { precision: None, scale: None };
    const TEXT: Kind = Kind::Text { max_chars: None };

    fn same(kind: &Kind, text: &str, canonical: &str) {
        let value = parse(kind, text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(render(&value).unwrap(), canonical, "{text}");
        assert!(parse(kind, canonical) == Some(value), "{canonical}");
    }

    #[test]
    fn iso_forms_have_one_spelling() {
        for (kind, text, canonical) in [
            (Kind::Date, "2009-01-01", "2009-01-01"),
            (Kind::Date, "0044-03-15 BC", "0044-03-15 BC"),
            (Kind::Date, "-0043-03-15", "0044-03-15 BC"),
            (Kind::Date, "0000-02-29", "0001-02-29 BC"),
            (Kind::Date, "5874897-12-31", "5874897-12-31"),
            (Kind::Date, "infinity", "infinity"),
            (Kind::Date, "-infinity", "-infinity"),
            (Kind::Time, "12:34:56.789", "12:34:56.789"),
            (Kind::Time, "12:34:56.100000", "12:34:56.1"),
            (Kind::Time, "24:00:00", "24:00:00"),
            (Kind::Time, "07:08", "07:08:00"),
            (Kind::Timestamp, "2009-01-01", "2009-01-01 00:00:00"),
            (Kind::Timestamp, "2009-01-01T23:59:59.000001", "2009-01-01 23:59:59.000001"),
            (Kind::Timestamp, "1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"),
            (Kind::Timestamp, "4713-11-24 00:00:00 BC", "4713-11-24 00:00:00 BC"),
            (Kind::Timestamp, "2009-01-01 00:00:00.1234560000", "2009-01-01 00:00:00.123456"),
            (Kind::TimestampTz, "2009-01-01 00:30:00+02", "2008-12-31 22:30:00+00:00"),
            (Kind::TimestampTz, "2009-01-01T00:00:00Z", "2009-01-01 00:00:00+00:00"),
            (Kind::TimestampTz, "2009-01-01 00:00:00.5-0230", "2009-01-01 02:30:00.5+00:00"),
            (Kind::TimestampTz, "0001-01-01 00:00:00+00:00:01", "0001-12-31 23:59:59+00:00 BC"),
            (Kind::TimestampTz, "infinity", "infinity"),
            (Kind::Uuid, "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (Kind::Uuid, "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (Kind::Bool, "t", "true"),
            (Kind::Bool, "0", "false"),
            (Kind::Bytes, "\\x00fF", "\\x00ff"),
            (Kind::Float { bits: 64 }, "1e300", "1e300"),
            (Kind::Float { bits: 64 }, "-Infinity", "-Infinity"),
            (Kind::Int { bits: 64 }, "-9223372036854775808", "-9223372036854775808"),
            (DECIMAL, "12.50", "12.50"),
            (DECIMAL, "NaN", "NaN"),
        ] {
            same(&kind, text, canonical);
        }
    }

    #[test]
    fn what_is_no_such_value_or_would_be_guessed_is_refused() {
        for (kind, text) in [
            (Kind::Date, "2009-02-29"),
            (Kind::Date, "2009-13-01"),
            (Kind::Date, "0000-00-00"),
            (Kind::Date, "0000-01-01 BC"),
            (Kind::Date, "2009-1-1"),
            (Kind::Date, "09-01-01"),
            (Kind::Date, "2009-01-01 00:00:00"),
            (Kind::Time, "24:00:01"),
            (Kind::Time, "12:60:00"),
            (Kind::Time, "12:00:00."),
            (Kind::Time, "1 day"),
            (Kind::Timestamp, "2009-01-01 00:00:00Z"),
            (Kind::Timestamp, "2009-01-01 00:00:00.1234567"),
            (Kind::Timestamp, "294247-01-11 00:00:00"),
            (Kind::TimestampTz, "2009-01-01 00:00:00"),
            (Kind::TimestampTz, "2009-01-01 00:00:00+2"),
            (Kind::TimestampTz, "2009-01-01 00:00:00 Europe/Rome"),
            (Kind::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1"),
            (Kind::Uuid, "a0eebc99_9c0b-4ef8-bb6d-6bb9bd380a11"),
            (Kind::Uuid, "éééééééééééééééé"),
            (Kind::Bytes, "\\x0"),
            (Kind::Bytes, "abc"),
            (Kind::Bool, "yes!"),
            (Kind::Int { bits: 64 }, "1.0"),
        ] {
            assert!(parse(&kind, text).is_none(), "{text}");
        }
    }

    #[test]
    fn known_days_are_where_they_belong() {
        for (text, days) in
            [("1970-01-01", 0), ("2000-01-01", 10_957), ("1969-12-31", -1), ("4714-11-24 BC", -2_440_588)]
        {
            assert!(parse(&Kind::Date, text) == Some(Value::Date(days)), "{text}");
        }
    }

    #[test]
    fn only_what_says_the_same_is_converted() {
        let decimal = |t: &str| Value::Decimal(Decimal::parse(t).unwrap());
        let text = |t: &str| Value::Text(t.to_owned());
        for (value, kind, expected) in [
            (Value::Null, Kind::Uuid, Some(Value::Null)),
            (Value::Bool(true), Kind::Int { bits: 16 }, Some(Value::Int(1))),
            (Value::Int(7), DECIMAL, Some(decimal("7"))),
            (Value::Int(1 << 53), Kind::Float { bits: 64 }, Some(Value::Float(9_007_199_254_740_992.0))),
            (Value::Int((1 << 53) + 1), Kind::Float { bits: 64 }, None),
            (Value::Int(2), Kind::Bool, None),
            (Value::Float(0.1), Kind::Float { bits: 32 }, None),
            (Value::Date(1), Kind::Timestamp, Some(Value::Timestamp(DAY))),
            (Value::Date(i32::MAX), Kind::Timestamp, Some(Value::Timestamp(i64::MAX))),
            (Value::Date(i32::MAX - 1), Kind::Timestamp, None),
            (text("2009-01-01"), Kind::Timestamp, parse(&Kind::Timestamp, "2009-01-01")),
            (text("x"), TEXT, Some(text("x"))),
            (text("x"), Kind::Date, None),
            (Value::Timestamp(1), Kind::Date, None),
            (decimal("1.5"), Kind::Int { bits: 64 }, None),
        ] {
            assert!(convert(value, &kind) == expected, "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn every_date_comes_back(days in DAYS) {
            let text = render(&Value::Date(days)).unwrap();
            prop_assert!(parse(&Kind::Date, &text) == Some(Value::Date(days)), "{}", text);
        }

        #[test]
        fn every_instant_comes_back(days in DAYS, us in 0..DAY) {
            let us = i64::from(days) * DAY + us;
            let (local, zoned) = (Value::Timestamp(us), Value::TimestampTz(us));
            prop_assert!(parse(&Kind::Timestamp, &render(&local).unwrap()) == Some(local));
            prop_assert!(parse(&Kind::TimestampTz, &render(&zoned).unwrap()) == Some(zoned));
        }

        #[test]
        fn days_follow_each_other(days in -2_500_000_i64..110_000_000) {
            let (y, m, d) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(y, m, d), days);
            let next = civil_from_days(days + 1);
            prop_assert!(next == (y, m, d + 1) || next == (y, m + 1, 1) || next == (y + 1, 1, 1));
        }

        #[test]
        fn floats_uuids_and_bytes_come_back(f in any::<f64>(), u: [u8; 16], b: Vec<u8>) {
            let back = parse(&Kind::Float { bits: 64 }, &render(&Value::Float(f)).unwrap());
            prop_assert!(matches!(back, Some(Value::Float(g)) if g.to_bits() == f.to_bits() || f.is_nan() && g.is_nan()));
            prop_assert!(parse(&Kind::Uuid, &render(&Value::Uuid(u)).unwrap()) == Some(Value::Uuid(u)));
            let bytes = Value::Bytes(b);
            prop_assert!(parse(&Kind::Bytes, &render(&bytes).unwrap()) == Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[-0-9T :.+ZBC]{0,32}") {
            for kind in [Kind::Bool, Kind::Bytes, Kind::Date, Kind::Time, Kind::Timestamp, Kind::TimestampTz, Kind::Uuid, DECIMAL] {
                parse(&kind, &text);
            }
        }
    }
}
