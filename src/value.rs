//! Values, rows and keys as they travel, and the one canonical form that apply, digest and repair share.
//!
//! A [`Value`] is in *wire* form: what both stores of a column pair can hold exactly. Two values are the same
//! value exactly when their canonical bytes are equal; a digest is taken over nothing else. `Debug` never shows a
//! value's content, so that a row can't reach a log by accident.

mod near;

use std::fmt;

pub use near::is_near;

/// One value in wire form. Times are counted in microseconds, dates in days since 1970-01-01 (proleptic
/// Gregorian); the extremes of their integers stand for the infinities, as in PostgreSQL.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Decimal(Decimal),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    TimestampTz(i64),
    Uuid([u8; 16]),
    Json(String),
    /// A value that only its own engine understands, in that engine's text form.
    Opaque(String),
}

/// The values of a table pair's wire columns, in their order.
pub type Row = Vec<Value>;

/// The values of the source's key columns, in wire form and in key order.
#[derive(Clone, PartialEq)]
pub struct Key(pub Vec<Value>);

/// A decimal as text: sign, digits, point, digits, its scale kept; or `NaN`, `Infinity`, `-Infinity`.
#[derive(Clone, PartialEq, Eq)]
pub struct Decimal(String);

impl Decimal {
    /// Reads plain and exponent forms. `None` where the text is no decimal.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text {
            "NaN" | "Infinity" | "-Infinity" => return Some(Self(text.to_owned())),
            _ => {}
        }
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) || exponent.abs() > 20_000 {
            return None;
        }
        let (whole, fraction) = shift(whole, fraction, exponent);
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let zero = whole == "0" && fraction.bytes().all(|b| b == b'0');
        let sign = if negative && !zero { "-" } else { "" };
        Some(Self(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number without the zeros behind its last digit: equal numbers have equal canonical text.
    pub fn canonical(&self) -> &str {
        if self.0.contains('.') { self.0.trim_end_matches('0').trim_end_matches('.') } else { &self.0 }
    }

    /// Digits behind the point that count.
    pub fn scale(&self) -> usize {
        self.canonical().split_once('.').map_or(0, |(_, f)| f.len())
    }
}

/// Moves the point `exponent` places to the right.
fn shift(whole: &str, fraction: &str, exponent: i32) -> (String, String) {
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i64 + i64::from(exponent);
    if point <= 0 {
        return ("0".to_owned(), format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize)));
    }
    let point = point as usize;
    if point >= digits.len() {
        return (format!("{digits}{}", "0".repeat(point - digits.len())), String::new());
    }
    (digits[..point].to_owned(), digits[point..].to_owned())
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The kind's name, for messages.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "integer",
            Self::Decimal(_) => "decimal",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Timestamp(_) => "timestamp",
            Self::TimestampTz(_) => "timestamp with zone",
            Self::Uuid(_) => "uuid",
            Self::Json(_) => "json",
            Self::Opaque(_) => "opaque",
        }
    }

    /// Appends the canonical bytes: a tag, then the content, self-delimiting, so that a row's bytes are
    /// unambiguous. Floats are their bits, with one NaN; decimals lose the zeros behind their last digit.
    pub fn canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Decimal(d) => tagged(out, 4, d.canonical().as_bytes()),
            Self::Float(f) if f.is_nan() => fixed(out, 5, &f64::NAN.to_bits().to_be_bytes()),
            other => other.encode(out),
        }
    }

    /// Appends the wire bytes: as canonical, but that a decimal keeps its scale. [`crate::value::decode`] reads them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0),
            Self::Bool(b) => fixed(out, 1, &[u8::from(*b)]),
            Self::Int(i) => match i64::try_from(*i) {
                Ok(small) => fixed(out, 2, &small.to_be_bytes()),
                Err(_) => fixed(out, 3, &i.to_be_bytes()),
            },
            Self::Decimal(d) => tagged(out, 4, d.0.as_bytes()),
            Self::Float(f) => fixed(out, 5, &f.to_bits().to_be_bytes()),
            Self::Text(t) => tagged(out, 6, t.as_bytes()),
            Self::Bytes(b) => tagged(out, 7, b),
            Self::Date(d) => fixed(out, 8, &d.to_be_bytes()),
            Self::Time(t) => fixed(out, 9, &t.to_be_bytes()),
            Self::Timestamp(t) => fixed(out, 10, &t.to_be_bytes()),
            Self::TimestampTz(t) => fixed(out, 11, &t.to_be_bytes()),
            Self::Uuid(u) => fixed(out, 12, u),
            Self::Json(t) => tagged(out, 13, t.as_bytes()),
            Self::Opaque(t) => tagged(out, 14, t.as_bytes()),
        }
    }

    /// Bytes that the value takes in memory and on the wire, near enough for bounding batches.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(t) | Self::Json(t) | Self::Opaque(t) => t.len() + 5,
            Self::Decimal(d) => d.0.len() + 5,
            Self::Bytes(b) => b.len() + 5,
            _ => 9,
        }
    }
}

fn fixed(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    out.extend_from_slice(content);
}

fn tagged(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(content.len() as u32).to_be_bytes());
    out.extend_from_slice(content);
}

/// Reads one value from the front of `bytes`, which is left behind it. `None`: the bytes are not ours.
pub fn decode(bytes: &mut &[u8]) -> Option<Value> {
    let tag = take(bytes, 1)?[0];
    Some(match tag {
        0 => Value::Null,
        1 => Value::Bool(match take(bytes, 1)?[0] {
            0 => false,
            1 => true,
            _ => return None,
        }),
        2 => Value::Int(i64::from_be_bytes(array(bytes)?).into()),
        3 => Value::Int(i128::from_be_bytes(array(bytes)?)),
        4 => Value::Decimal(Decimal::parse(&text(bytes)?)?),
        5 => Value::Float(f64::from_bits(u64::from_be_bytes(array(bytes)?))),
        6 => Value::Text(text(bytes)?),
        7 => Value::Bytes(counted(bytes)?.to_vec()),
        8 => Value::Date(i32::from_be_bytes(array(bytes)?)),
        9 => Value::Time(i64::from_be_bytes(array(bytes)?)),
        10 => Value::Timestamp(i64::from_be_bytes(array(bytes)?)),
        11 => Value::TimestampTz(i64::from_be_bytes(array(bytes)?)),
        12 => Value::Uuid(array(bytes)?),
        13 => Value::Json(text(bytes)?),
        14 => Value::Opaque(text(bytes)?),
        _ => return None,
    })
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    take(bytes, N)?.try_into().ok()
}

fn counted<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = u32::from_be_bytes(array(bytes)?);
    take(bytes, count as usize)
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    String::from_utf8(counted(bytes)?.to_vec()).ok()
}

impl Key {
    /// The bytes by which keys are compared for equality, never for order (that is the source's own).
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * 9);
        self.0.iter().for_each(|v| v.canonical(&mut out));
        out
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.kind_name())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.0).finish()
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<decimal>")
    }
}

/// The digest of rows: how many, and the order-free sum of their 128-bit hashes. Two sets of rows with unique keys
/// agree exactly when their digests do (but for a collision, 2^-64 at the worst for anyone not choosing rows to
/// that end).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    pub rows: u64,
    pub sum: u128,
}

impl Digest {
    pub fn add(&mut self, values: &[Value], scratch: &mut Vec<u8>) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash128(values, scratch));
    }
}

/// The first 128 bits of BLAKE3 over the canonical bytes.
pub fn hash128(values: &[Value], scratch: &mut Vec<u8>) -> u128 {
    scratch.clear();
    values.iter().for_each(|v| v.canonical(scratch));
    let hash = blake3::hash(scratch);
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i128>().prop_map(Value::Int),
            any::<i64>().prop_map(|i| Value::Int(i.into())),
            "-?[0-9]{1,30}(\\.[0-9]{1,20})?".prop_map(|t| Value::Decimal(Decimal::parse(&t).unwrap())),
            any::<f64>().prop_filter("one NaN", |f| !f.is_nan()).prop_map(Value::Float),
            any::<String>().prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(Value::Bytes),
            any::<i32>().prop_map(Value::Date),
            any::<i64>().prop_map(Value::Timestamp),
            any::<[u8; 16]>().prop_map(Value::Uuid),
        ]
    }

    proptest! {
        #[test]
        fn encoded_values_come_back(values in prop::collection::vec(any_value(), 0..8)) {
            let mut bytes = Vec::new();
            values.iter().for_each(|v| v.encode(&mut bytes));
            let mut rest = bytes.as_slice();
            let back: Vec<_> = values.iter().map(|_| decode(&mut rest).unwrap()).collect();
            prop_assert!(back == values && rest.is_empty());
        }

        #[test]
        fn different_rows_have_different_canonical_bytes(a in prop::collection::vec(any_value(), 3), b in prop::collection::vec(any_value(), 3)) {
            let bytes = |r: &Vec<Value>| Key(r.clone()).canonical();
            let same = a.iter().zip(&b).all(|(x, y)| match (x, y) {
                (Value::Decimal(x), Value::Decimal(y)) => x.canonical() == y.canonical(),
                (Value::Float(x), Value::Float(y)) => x.to_bits() == y.to_bits(),
                _ => x == y,
            });
            prop_assert_eq!(bytes(&a) == bytes(&b), same);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while decode(&mut rest).is_some() && !rest.is_empty() {}
        }
    }

    #[test]
    fn decimals_are_equal_whatever_their_scale_and_form() {
        let canonical = |t: &str| Decimal::parse(t).unwrap().canonical().to_owned();
        for (text, expected) in [
            ("1.00", "1"),
            ("-0.0", "0"),
            ("+07", "7"),
            ("1e3", "1000"),
            ("12.5E-3", "0.0125"),
            ("100", "100"),
            (".5", "0.5"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
        for text in ["", "-", "1.2.3", "abc", "1e", "0x1", "1e99999"] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_content() {
        assert!(!format!("{:?}", Value::Text("hunter2".into())).contains("hunter2"));
    }
}
