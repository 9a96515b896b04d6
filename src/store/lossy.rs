//! `accept: lossy`: how a source's value becomes one that the target's column holds, where the plan accepts that it
//! changes on the way.
//!
//! It is done once, as the source is read, so that what is applied and what is compared is the same value. Numbers are
//! rounded half away from zero, as PostgreSQL rounds a numeric; a time without a zone is one of UTC.

use crate::mapping::{Misfit, wire_kind};
use crate::schema::{EngineName, Kind};
use crate::value::{Decimal, Value};

const DAY: i64 = 86_400_000_000;

/// Whether values of this source kind are rounded on their way into this kind. Plans that don't accept it have no such
/// pair.
pub fn is_lossy(source: &Kind, wire: &Kind) -> bool {
    let any = EngineName::Postgres;
    matches!(wire_kind(any, source, any, wire), Err(Misfit::Lossy(_)))
}

/// `None` where even the rounded value does not exist in that kind.
pub fn rounded(value: Value, wire: &Kind) -> Option<Value> {
    Some(match (value, wire) {
        (Value::Null, _) => Value::Null,
        (Value::Float(f), Kind::Float { bits }) => Value::Float(float(f, *bits)?),
        (Value::Float(f), Kind::Int { .. }) => Value::Int(whole(f.round())?),
        (Value::Float(f), Kind::Decimal { scale, .. }) => {
            Value::Decimal(decimal(&Decimal::parse(&f.to_string())?, *scale)?)
        }
        (Value::Int(i), Kind::Float { bits }) => Value::Float(float(i as f64, *bits)?),
        (Value::Decimal(d), Kind::Decimal { scale, .. }) => Value::Decimal(decimal(&d, *scale)?),
        (Value::Decimal(d), Kind::Int { .. }) => Value::Int(decimal(&d, Some(0))?.as_str().parse().ok()?),
        (Value::Decimal(d), Kind::Float { bits }) => {
            let near =
                if *bits <= 32 { f64::from(d.as_str().parse::<f32>().ok()?) } else { d.as_str().parse().ok()? };
            // One that would only be infinite there is none.
            let is_finite = d.as_str().ends_with(|c: char| c.is_ascii_digit());
            (near.is_finite() || !is_finite).then_some(Value::Float(near))?
        }
        (Value::Timestamp(us), Kind::TimestampTz) => Value::TimestampTz(us),
        (Value::TimestampTz(us), Kind::Timestamp) => Value::Timestamp(us),
        (Value::Timestamp(i64::MIN), Kind::Date) => Value::Date(i32::MIN),
        (Value::Timestamp(i64::MAX), Kind::Date) => Value::Date(i32::MAX),
        (Value::Timestamp(us), Kind::Date) => Value::Date(i32::try_from(us.div_euclid(DAY)).ok()?),
        _ => return None,
    })
}

/// The nearest float of that size; one that would only be infinite there is none.
fn float(f: f64, bits: u8) -> Option<f64> {
    let near = if bits <= 32 { f64::from(f as f32) } else { f };
    (near.is_finite() || !f.is_finite()).then_some(near)
}

fn whole(f: f64) -> Option<i128> {
    (f.abs() < 1e30).then_some(f as i128)
}

/// So many digits behind the point, half away from zero. NaN and infinities stay what they are.
fn decimal(d: &Decimal, scale: Option<u32>) -> Option<Decimal> {
    let (Some(scale), text) = (scale, d.as_str()) else { return Some(d.clone()) };
    let Some((whole, fraction)) = text.split_once('.').filter(|(_, f)| f.len() > scale as usize) else {
        return Some(d.clone());
    };
    let (kept, cut) = fraction.split_at(scale as usize);
    let mut digits: Vec<u8> = format!("0{}{kept}", whole.trim_start_matches('-')).into_bytes();
    if cut.as_bytes()[0] >= b'5' {
        let nines = digits.iter().rev().take_while(|d| **d == b'9').count();
        let at = digits.len() - nines;
        digits[at..].fill(b'0');
        digits[at - 1] += 1;
    }
    let (whole, kept) = digits.split_at(digits.len() - kept.len());
    let sign = if text.starts_with('-') { "-" } else { "" };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let point = if kept.is_empty() { "" } else { "." };
    Decimal::parse(&format!("{sign}{}{point}{}", text(whole), text(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_rounded_half_away_from_zero() {
        let round =
            |text: &str, scale| decimal(&Decimal::parse(text).unwrap(), Some(scale)).unwrap().canonical().to_owned();
        for (text, scale, expected) in [
            ("1.2345", 2, "1.23"),
            ("1.235", 2, "1.24"),
            ("-1.235", 2, "-1.24"),
            ("-0.005", 2, "-0.01"),
            ("-0.004", 2, "0"),
            ("9.999", 2, "10"),
            ("99.5", 0, "100"),
            ("0.49", 0, "0"),
            ("7", 2, "7"),
            ("NaN", 2, "NaN"),
            ("123456789012345678901234567890.15", 1, "123456789012345678901234567890.2"),
        ] {
            assert_eq!(round(text, scale), expected, "{text} {scale}");
        }
    }

    #[test]
    fn each_accepted_pair_has_a_value() {
        let float = |bits| Kind::Float { bits };
        let d = |t: &str| Value::Decimal(Decimal::parse(t).unwrap());
        assert_eq!(rounded(Value::Float(0.1), &float(32)), Some(Value::Float(f64::from(0.1f32))));
        assert_eq!(rounded(Value::Float(1e300), &float(32)), None);
        assert_eq!(rounded(Value::Int((1 << 53) + 1), &float(64)), Some(Value::Float(9007199254740992.0)));
        assert_eq!(rounded(Value::Float(-2.5), &Kind::Int { bits: 64 }), Some(Value::Int(-3)));
        assert_eq!(rounded(Value::Float(f64::NAN), &Kind::Int { bits: 64 }), None);
        assert_eq!(rounded(d("2.5"), &Kind::Int { bits: 64 }), Some(Value::Int(3)));
        for (bits, beyond) in [(32, "1e39"), (64, "1e309"), (32, "-3.5e38")] {
            assert_eq!(rounded(d(beyond), &float(bits)), None, "{beyond}");
        }
        assert_eq!(rounded(d("Infinity"), &float(32)), Some(Value::Float(f64::INFINITY)));
        assert_eq!(rounded(d("0.1"), &float(64)), Some(Value::Float(0.1)));
        assert_eq!(rounded(Value::Timestamp(-1), &Kind::Date), Some(Value::Date(-1)));
        assert_eq!(rounded(Value::TimestampTz(5), &Kind::Timestamp), Some(Value::Timestamp(5)));
        assert!(is_lossy(&float(64), &float(32)) && !is_lossy(&float(32), &float(64)));
    }
}
