//! Whether two numbers lie within a tolerance of each other: exactly, digit by digit, whatever their size and form.

use super::{Decimal, Value};

/// Whether two values are equal, or are numbers that lie no farther apart than this. NULL, NaN and the infinities are
/// near nothing but themselves.
pub fn is_near(one: &Value, other: &Value, tolerance: &Decimal) -> bool {
    let canonical = |v: &Value| {
        let mut bytes = Vec::new();
        v.canonical(&mut bytes);
        bytes
    };
    if canonical(one) == canonical(other) {
        return true;
    }
    match (number(one), number(other), Digits::of(tolerance)) {
        (Some(one), Some(other), Some(tolerance)) => distance(&one, &other).is_at_most(&tolerance),
        _ => false,
    }
}

fn number(value: &Value) -> Option<Digits> {
    match value {
        Value::Int(i) => Digits::of(&Decimal::parse(&i.to_string())?),
        Value::Decimal(d) => Digits::of(d),
        // The shortest decimal that names the very float.
        Value::Float(f) if f.is_finite() => Digits::of(&Decimal::parse(&f.to_string())?),
        _ => None,
    }
}

/// A decimal as digits, the point's place and the sign.
struct Digits {
    negative: bool,
    digits: Vec<u8>,
    scale: usize,
}

impl Digits {
    fn of(decimal: &Decimal) -> Option<Self> {
        let text = decimal.as_str();
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits: Option<Vec<u8>> =
            whole.chars().chain(fraction.chars()).map(|c| c.to_digit(10).map(|d| d as u8)).collect();
        Some(Self { negative, digits: digits?, scale: fraction.len() })
    }

    /// The digits with so many behind the point and so many in all.
    fn padded(&self, scale: usize, len: usize) -> Vec<u8> {
        let mut digits = self.digits.clone();
        digits.resize(digits.len() + scale - self.scale, 0);
        let mut padded = vec![0; len.saturating_sub(digits.len())];
        padded.append(&mut digits);
        padded
    }

    fn is_at_most(&self, other: &Self) -> bool {
        let (one, other) = alike(self, other);
        one <= other
    }
}

/// Both with the same number of digits before and behind the point, and one to spare.
fn alike(one: &Digits, other: &Digits) -> (Vec<u8>, Vec<u8>) {
    let scale = one.scale.max(other.scale);
    let whole = |d: &Digits| d.digits.len() - d.scale;
    let len = whole(one).max(whole(other)) + scale + 1;
    (one.padded(scale, len), other.padded(scale, len))
}

fn distance(one: &Digits, other: &Digits) -> Digits {
    let scale = one.scale.max(other.scale);
    let (a, b) = alike(one, other);
    let digits = if one.negative != other.negative {
        sum(&a, &b)
    } else if a >= b {
        rest(&a, &b)
    } else {
        rest(&b, &a)
    };
    Digits { negative: false, digits, scale }
}

fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let digit = a + b + carry;
            carry = digit / 10;
            digit % 10
        })
        .collect();
    digits.reverse();
    digits
}

/// `a - b`, where `a` is not less.
fn rest(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let taken = b + borrow;
            borrow = u8::from(*a < taken);
            a + 10 * borrow - taken
        })
        .collect();
    digits.reverse();
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_near_by_their_exact_distance() {
        let d = |t: &str| Value::Decimal(Decimal::parse(t).unwrap());
        let near = |a: &Value, b: &Value, t: &str| is_near(a, b, &Decimal::parse(t).unwrap());
        for (a, b, t, expected) in [
            ("1.000", "1.001", "0.001", true),
            ("1.000", "1.0011", "0.001", false),
            ("-0.0005", "0.0005", "0.001", true),
            ("-0.0005", "0.00051", "0.001", false),
            ("99999999999999999999999999.5", "100000000000000000000000000", "0.5", true),
            ("99999999999999999999999999.4", "100000000000000000000000000", "0.5", false),
            ("-5", "-7", "2", true),
            ("0", "1e30", "1e30", true),
            ("NaN", "NaN", "1", true),
            ("NaN", "0", "1", false),
            ("Infinity", "-Infinity", "1", false),
        ] {
            assert_eq!(near(&d(a), &d(b), t), expected, "{a} {b} {t}");
            assert_eq!(near(&d(b), &d(a), t), expected, "{b} {a} {t}");
        }
        assert!(near(&Value::Float(0.3), &Value::Float(0.299), "0.001"), "as written, not as the machine adds");
        assert!(!near(&Value::Float(f64::INFINITY), &Value::Float(1.0), "1e300"));
        assert!(near(&Value::Int(7), &Value::Int(9), "2") && !near(&Value::Int(7), &Value::Null, "9"));
        assert!(
            near(&Value::Null, &Value::Null, "1") && !near(&Value::Text("1".into()), &Value::Text("1.0".into()), "1")
        );
    }
}
