//! Constants of a plan as values of the target's kind: exactly, or not at all.

use serde_yaml::Value as Yaml;

use crate::schema::Kind;
use crate::value::{Decimal, Value};

const DAY_US: i64 = 86_400_000_000;

/// The kind of a column that is made for a constant.
pub(super) fn kind_of(value: &Yaml) -> Option<Kind> {
    match value {
        Yaml::Bool(_) => Some(Kind::Bool),
        Yaml::Number(n) if n.is_f64() => Some(Kind::Decimal { precision: None, scale: None }),
        Yaml::Number(_) => Some(Kind::Int { bits: 64 }),
        Yaml::String(_) => Some(Kind::Text { max_chars: None }),
        _ => None,
    }
}

/// The constant's text; a number's digits are the plan's own, which YAML's typing may have rounded.
pub(super) fn text_of<'a>(value: &'a Yaml, shown: &'a str) -> &'a str {
    value.as_str().unwrap_or(shown)
}

/// `Err`: why it does not fit, without the value.
pub(super) fn parse(value: &Yaml, shown: &str, kind: &Kind) -> Result<Value, String> {
    let text = text_of(value, shown);
    let fits = |value: Option<Value>, form: &str| value.ok_or_else(|| format!("the constant is not {form}"));
    match kind {
        Kind::Bool => fits(text.to_ascii_lowercase().parse().ok().map(Value::Bool), "true or false"),
        Kind::Int { bits } => {
            let bound = 1i128 << (u32::from(*bits).clamp(1, 127) - 1);
            let number = text.parse().ok().filter(|i| (-bound..bound).contains(i));
            fits(number.map(Value::Int), &format!("an integer of {bits} bits"))
        }
        Kind::Decimal { precision, scale } => fits(decimal(text, *precision, *scale), "a decimal of its digits"),
        Kind::Float { bits } => {
            let exact = |f: &f64| f.is_finite() && (*bits > 32 || f64::from(*f as f32) == *f);
            fits(text.parse().ok().filter(exact).map(Value::Float), "a number that it can hold exactly")
        }
        Kind::Text { .. } if !value.is_string() => Err("the constant is not text".to_owned()),
        Kind::Text { max_chars: Some(n) } if text.chars().count() > *n as usize => {
            Err(format!("the constant is longer than {n} characters"))
        }
        Kind::Text { .. } => Ok(Value::Text(text.to_owned())),
        Kind::Bytes => fits(hex(text.strip_prefix("\\x").unwrap_or(text)).map(Value::Bytes), "bytes in hex"),
        Kind::Date => fits(date(text).map(Value::Date), "a date"),
        Kind::Time => fits(time(text).map(Value::Time), "a time"),
        Kind::Timestamp => fits(timestamp(text).map(Value::Timestamp), "a timestamp"),
        Kind::TimestampTz => fits(timestamp_tz(text).map(Value::TimestampTz), "a timestamp with its zone"),
        Kind::Uuid => fits(uuid(text).map(Value::Uuid), "a uuid"),
        Kind::Json | Kind::Opaque(_) => Err("no constant can be compared exactly there".to_owned()),
    }
}

/// How a constant of a kind is written.
pub(super) fn example(name: &str, kind: &Kind) -> String {
    let value = match kind {
        Kind::Bool => "true",
        Kind::Int { .. } => "1",
        Kind::Decimal { .. } | Kind::Float { .. } => "1.5",
        Kind::Text { .. } => "\"crm\"",
        Kind::Bytes => "\"\\\\x00ff\"",
        Kind::Date => "\"2025-01-31\"",
        Kind::Time => "\"12:30:00\"",
        Kind::Timestamp => "\"2025-01-31 12:30:00\"",
        Kind::TimestampTz => "\"2025-01-31 12:30:00Z\"",
        Kind::Uuid => "\"00000000-0000-0000-0000-000000000000\"",
        Kind::Json | Kind::Opaque(_) => return format!("give {name} a default in the target instead"),
    };
    format!("{name}: {{ const: {value} }}")
}

fn decimal(text: &str, precision: Option<u32>, scale: Option<u32>) -> Option<Value> {
    let decimal = Decimal::parse(text).filter(|d| d.as_str().ends_with(|c: char| c.is_ascii_digit()))?;
    let whole = decimal.canonical().trim_start_matches('-').split('.').next()?.trim_start_matches('0').len();
    let fits = scale.is_none_or(|s| decimal.scale() <= s as usize)
        && precision.is_none_or(|p| whole + scale.unwrap_or(0) as usize <= p as usize);
    fits.then_some(Value::Decimal(decimal))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let dashes = [8, 13, 18, 23];
    let placed = text.len() == 36 && text.bytes().enumerate().all(|(i, b)| (b == b'-') == dashes.contains(&i));
    placed.then(|| hex(&text.replace('-', "")))??.try_into().ok()
}

/// A run of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `YYYY-MM-DD` as days since 1970-01-01.
fn date(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || year == 0 || !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March put the leap day last: 146,097 days are 400 years.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    i32::try_from(365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468).ok()
}

/// `HH:MM[:SS[.ffffff]]` in microseconds.
fn time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let (hours, minutes) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let seconds = parts.next().map_or(Some(0), |s| digits(s, 2))?;
    let in_bounds = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
    let micros = digits(fraction, fraction.len()).filter(|_| (1..=6).contains(&fraction.len()))?;
    let micros = micros * 10i64.pow(6 - fraction.len() as u32);
    in_bounds.then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

fn timestamp(text: &str) -> Option<i64> {
    match text.split_once([' ', 'T']) {
        Some((day, clock)) => Some(i64::from(date(day)?) * DAY_US + time(clock)?),
        None => Some(i64::from(date(text)?) * DAY_US),
    }
}

/// With `Z` or `+HH:MM`: a zone is never guessed.
fn timestamp_tz(text: &str) -> Option<i64> {
    if let Some(utc) = text.strip_suffix(['Z', 'z']) {
        return timestamp(utc);
    }
    let (day, clock) = text.split_once([' ', 'T'])?;
    let at = clock.find(['+', '-'])?;
    let (hours, minutes) = clock[at + 1..].split_once(':').unwrap_or((&clock[at + 1..], "00"));
    let offset = (digits(hours, 2)? * 60 + digits(minutes, 2)?) * 60_000_000;
    let local = i64::from(date(day)?) * DAY_US + time(&clock[..at])?;
    Some(if clock.as_bytes()[at] == b'-' { local + offset } else { local - offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Yaml {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn constants_become_values_of_the_columns_kind() {
        let decimal = Kind::Decimal { precision: Some(4), scale: Some(2) };
        let cases = [
            ("true", Kind::Bool, Value::Bool(true)),
            ("-5", Kind::Int { bits: 16 }, Value::Int(-5)),
            ("12.50", decimal, Value::Decimal(Decimal::parse("12.50").unwrap())),
            ("crm", Kind::Text { max_chars: Some(3) }, Value::Text("crm".into())),
            ("\"\\\\x00fF\"", Kind::Bytes, Value::Bytes(vec![0, 255])),
            ("\"1969-12-31\"", Kind::Date, Value::Date(-1)),
            ("\"2000-02-29\"", Kind::Date, Value::Date(11_016)),
            ("\"00:00:01.5\"", Kind::Time, Value::Time(1_500_000)),
            ("\"1970-01-02T00:00\"", Kind::Timestamp, Value::Timestamp(DAY_US)),
            ("\"1970-01-02 01:00:00+01:00\"", Kind::TimestampTz, Value::TimestampTz(DAY_US)),
            ("\"00000000-0000-0000-0000-0000000000ff\"", Kind::Uuid, {
                let mut bytes = [0; 16];
                bytes[15] = 255;
                Value::Uuid(bytes)
            }),
        ];
        for (text, kind, expected) in cases {
            assert!(parse(&yaml(text), text, &kind) == Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, kind) in [
            ("40000", Kind::Int { bits: 16 }),
            ("1.5", Kind::Int { bits: 64 }),
            ("1.234", Kind::Decimal { precision: Some(10), scale: Some(2) }),
            ("123.5", Kind::Decimal { precision: Some(4), scale: Some(2) }),
            ("0.1", Kind::Float { bits: 32 }),
            ("5", Kind::Text { max_chars: None }),
            ("abcd", Kind::Text { max_chars: Some(3) }),
            ("\"2025-02-29\"", Kind::Date),
            ("\"24:00\"", Kind::Time),
            ("\"2025-01-01 00:00:00\"", Kind::TimestampTz),
            ("\"0000000000000000000000000000000000ff\"", Kind::Uuid),
            ("{}", Kind::Json),
        ] {
            assert!(parse(&yaml(text), text, &kind).is_err(), "{text}");
        }
    }
}
