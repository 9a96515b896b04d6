//! What SQLite's loose types mean: from a declared type to a [`Kind`], from a stored cell to a [`Value`], and back.
//!
//! SQLite keeps what it is given. The declared type says what is meant, and a cell that can't mean that is a loud
//! error that names the storage class, never a near value and never the value itself. docs/types-sqlite.md is this
//! module as a table. What is written is chosen so that reading gives the same canonical value again.

use sqlx::sqlite::SqliteValueRef;
use sqlx::{Decode, TypeInfo, ValueRef};

use crate::error::{Error, Result};
use crate::schema::{Column, Kind};
use crate::store::engine::{Arg, Out};
use crate::store::text;
use crate::value::{Decimal, Value};

/// How SQLite bends what is stored in a column of a declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    Integer,
    Text,
    None,
    Real,
    Numeric,
}

/// SQLite's own rules, in its own order (<https://www.sqlite.org/datatype3.html>, 3.1).
pub fn affinity(declared: &str) -> Affinity {
    let d = declared.to_ascii_uppercase();
    let has = |part: &str| d.contains(part);
    if has("INT") {
        Affinity::Integer
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Affinity::Text
    } else if has("BLOB") || d.is_empty() || d == "ANY" {
        Affinity::None
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

/// The kind that a declared type stands for. A column without a type, or of a type that nobody knows, is opaque: it
/// travels between SQLite stores with its storage class, and nowhere else.
pub fn kind(declared: &str) -> Kind {
    let d = declared.trim().to_ascii_uppercase();
    let name = d.split('(').next().unwrap_or_default().trim();
    let has = |part: &str| d.contains(part);
    if has("INT") {
        Kind::Int { bits: 64 }
    } else if matches!(name, "DECIMAL_TEXT" | "NUMERIC" | "DECIMAL" | "DEC" | "NUMBER") {
        let (precision, scale) = precision_and_scale(&d);
        Kind::Decimal { precision, scale }
    } else if name.starts_with("BOOL") {
        Kind::Bool
    } else if matches!(name, "JSON" | "JSONB" | "JSON_TEXT") {
        Kind::Json
    } else if name == "UUID" {
        Kind::Uuid
    } else if name == "TIMESTAMPTZ" || name.starts_with("TIMESTAMP") && has("WITH TIME ZONE") {
        Kind::TimestampTz
    } else if name == "DATETIME" || name.starts_with("TIMESTAMP") {
        Kind::Timestamp
    } else if name == "DATE" {
        Kind::Date
    } else if name == "TIME" || name == "TIME WITHOUT TIME ZONE" {
        Kind::Time
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Kind::Text { max_chars: None }
    } else if has("BLOB") || has("BINARY") {
        Kind::Bytes
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Kind::Float { bits: 64 }
    } else {
        Kind::Opaque(if d.is_empty() { "ANY".to_owned() } else { d })
    }
}

fn precision_and_scale(declared: &str) -> (Option<u32>, Option<u32>) {
    let inside = declared.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside);
    let mut numbers = inside.unwrap_or_default().split(',').map(|n| n.trim().parse().ok());
    match (numbers.next().flatten(), numbers.next()) {
        (Some(p), None) => (Some(p), Some(0)),
        (Some(p), Some(Some(s))) => (Some(p), Some(s)),
        _ => (None, None),
    }
}

/// One stored value, as its storage class.
#[derive(Clone, PartialEq)]
pub enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Cell {
    pub fn read(raw: SqliteValueRef<'_>) -> Result<Self> {
        if raw.is_null() {
            return Ok(Self::Null);
        }
        let class = raw.type_info().name().to_owned();
        let cell = match class.as_str() {
            "INTEGER" => <i64 as Decode<sqlx::Sqlite>>::decode(raw).map(Self::Int),
            "REAL" => <f64 as Decode<sqlx::Sqlite>>::decode(raw).map(Self::Real),
            "BLOB" => <Vec<u8> as Decode<sqlx::Sqlite>>::decode(raw).map(Self::Blob),
            _ => <String as Decode<sqlx::Sqlite>>::decode(raw).map(Self::Text),
        };
        cell.map_err(|_| Error::give_up("a text is not valid UTF-8").hint("repair the row, or map `CAST(… AS BLOB)`"))
    }

    fn class(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Int(_) => "INTEGER",
            Self::Real(_) => "REAL",
            Self::Text(_) => "TEXT",
            Self::Blob(_) => "BLOB",
        }
    }

    /// The cell as a control value: what it is, and nothing read into it.
    pub fn control(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Int(i) => Value::Int(i.into()),
            Self::Real(f) => Value::Float(f),
            Self::Text(t) => Value::Text(t),
            Self::Blob(b) => Value::Bytes(b),
        }
    }

    /// The cell as a value of the wire. `column` is its number from 1, for the message.
    pub fn value(self, out: &Out, column: usize) -> Result<Value> {
        if self == Self::Null {
            return Ok(Value::Null);
        }
        let class = self.class();
        let kept = out.exact.then(|| self.clone());
        let refuse = |why: String| {
            Error::give_up(format!("column {column} holds a value of class {class} that {why}"))
                .hint("repair these rows, or map the column with `sql:` to what is meant")
        };
        let held = held(self, &out.held).ok_or_else(|| refuse(format!("is no {}", describe(&out.held))))?;
        let value =
            text::convert(held, &out.wire).ok_or_else(|| refuse(format!("does not fit {}", out.wire.name())))?;
        match kept {
            Some(cell) if !is_own_spelling(&cell, &value, &out.held) => {
                let why = format!("is not spelled as this key must be to be found again ({})", spelling(&out.held));
                Err(refuse(why))
            }
            _ => Ok(value),
        }
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Decimal { scale: Some(s), .. } => format!("decimal with {s} digits behind the point"),
        other => other.name().to_owned(),
    }
}

fn spelling(kind: &Kind) -> &'static str {
    match kind {
        Kind::Uuid => "36 characters, small letters",
        Kind::Date => "YYYY-MM-DD",
        Kind::Time => "HH:MM:SS, a fraction without zeros at its end",
        Kind::Timestamp => "YYYY-MM-DD HH:MM:SS, a fraction without zeros at its end",
        Kind::TimestampTz => "YYYY-MM-DD HH:MM:SS+00:00",
        _ => "without what could be left out",
    }
}

/// What a cell means in a column of this kind; `None` where that would be a guess.
fn held(cell: Cell, kind: &Kind) -> Option<Value> {
    Some(match (kind, cell) {
        (Kind::Opaque(_), cell) => Value::Opaque(opaque(&cell)),
        (Kind::Int { .. }, Cell::Int(i)) => Value::Int(i.into()),
        (Kind::Bool, Cell::Int(i @ 0..=1)) => Value::Bool(i == 1),
        (Kind::Float { .. }, Cell::Real(f)) => Value::Float(f),
        (Kind::Float { .. }, Cell::Int(i)) => text::convert(Value::Int(i.into()), &Kind::Float { bits: 64 })?,
        (Kind::Decimal { scale, .. }, Cell::Real(f)) => Value::Decimal(shortest(f, *scale)?),
        (Kind::Decimal { .. }, Cell::Int(i)) => Value::Decimal(Decimal::parse(&i.to_string())?),
        (Kind::Decimal { scale, .. }, Cell::Text(t)) => {
            let d = Decimal::parse(&t)?;
            let fits = !t.starts_with(char::is_whitespace) && scale.is_none_or(|s| d.scale() <= s as usize);
            Value::Decimal(if fits && finite(&d) { d } else { return None })
        }
        (Kind::Text { .. }, Cell::Text(t)) => Value::Text(t),
        (Kind::Bytes, Cell::Blob(b)) => Value::Bytes(b),
        (Kind::Uuid, Cell::Blob(b)) => Value::Uuid(b.try_into().ok()?),
        (Kind::Uuid | Kind::Date | Kind::Time | Kind::Timestamp | Kind::TimestampTz, Cell::Text(t)) => {
            text::parse(kind, &t)?
        }
        (Kind::Json, Cell::Text(t)) => Value::Json(t),
        (Kind::Json, Cell::Int(i)) => Value::Json(i.to_string()),
        (Kind::Json, Cell::Real(f)) if f.is_finite() => Value::Json(shortest(f, None)?.as_str().to_owned()),
        _ => return None,
    })
}

fn finite(d: &Decimal) -> bool {
    d.as_str().ends_with(|c: char| c.is_ascii_digit())
}

/// The decimal of that scale that this double is the nearest one to; without a scale the shortest there is. `None`
/// where the double carries more than that (a computed 13.860000000000001 at two digits).
fn shortest(f: f64, scale: Option<u32>) -> Option<Decimal> {
    let text = match scale {
        Some(s) => format!("{f:.*}", usize::try_from(s).ok()?),
        None => format!("{f}"),
    };
    (f.is_finite() && text.parse::<f64>() == Ok(f)).then(|| Decimal::parse(&text))?
}

/// Storage class and content as text, so that an untyped column is exact between two SQLite stores.
fn opaque(cell: &Cell) -> String {
    match cell {
        Cell::Null => "n".to_owned(),
        Cell::Int(i) => format!("i{i}"),
        Cell::Real(f) => format!("r{:016x}", f.to_bits()),
        Cell::Text(t) => format!("t{t}"),
        Cell::Blob(b) => text::render(&Value::Bytes(b.clone())).map(|hex| format!("b{hex}")).unwrap_or_default(),
    }
}

fn from_opaque(text: &str) -> Option<Arg> {
    let content = text.get(1..)?;
    Some(Arg::One(match text.as_bytes().first()? {
        b'n' => Value::Null,
        b'i' => Value::Int(content.parse().ok()?),
        b'r' => Value::Float(f64::from_bits(u64::from_str_radix(content, 16).ok()?)),
        b't' => Value::Text(content.to_owned()),
        b'b' => text::parse(&Kind::Bytes, content)?,
        _ => return None,
    }))
}

/// The argument that stores a wire value in `column`, and finds it there again.
pub fn bound(value: &Value, column: &Column) -> Result<Arg> {
    stored(value, affinity(&column.type_name))
        .map_err(|why| Error::give_up(format!("column \"{}\" ({}) {why}", column.name, column.type_name)))
}

/// The form in which a value is stored under an affinity, such that reading gives it back. `Err`: why it can't be.
fn stored(value: &Value, affinity: Affinity) -> Result<Arg, String> {
    let rendered = || text::render(value).map(Value::Text).unwrap_or(Value::Null);
    let one = match value {
        Value::Null | Value::Text(_) | Value::Bytes(_) => value.clone(),
        Value::Bool(b) => Value::Int((*b).into()),
        Value::Int(i) if i64::try_from(*i).is_err() => return Err("can't hold an integer beyond 64 bits".into()),
        Value::Int(_) if affinity == Affinity::Text => rendered(),
        Value::Int(_) => value.clone(),
        Value::Float(f) if f.is_nan() => return Err("can't hold NaN, SQLite would make it NULL".into()),
        Value::Float(f) if *f == 0.0 && f.is_sign_negative() && affinity == Affinity::Real => {
            return Err("can't hold a negative zero, SQLite would drop its sign".into());
        }
        Value::Float(_) => value.clone(),
        Value::Decimal(d) if !finite(d) => return Err("can't hold a decimal that is no number".into()),
        Value::Decimal(d) if affinity == Affinity::Text => Value::Text(d.canonical().to_owned()),
        Value::Decimal(d) => number(d)?,
        Value::Json(t) => json(t, affinity)?,
        Value::Opaque(t) => return from_opaque(t).ok_or_else(|| "got an opaque value that SQLite did not make".into()),
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) | Value::TimestampTz(_) | Value::Uuid(_) => rendered(),
    };
    Ok(Arg::One(one))
}

/// A decimal as the number that a NUMERIC column would make of it: bound as such, it also compares right where a
/// common table expression has no affinity.
fn number(d: &Decimal) -> Result<Value, String> {
    let text = d.canonical();
    let digits = text.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
    let counted = digits.iter().skip_while(|d| **d == b'0').count();
    if d.scale() == 0
        && let Ok(i) = text.parse::<i64>()
    {
        return Ok(Value::Int(i.into()));
    }
    match text.parse::<f64>() {
        Ok(f) if counted <= 15 && f.is_finite() => Ok(Value::Float(f)),
        _ => Err("can't hold a number of more than 15 digits exactly; DECIMAL_TEXT can".into()),
    }
}

/// JSON that is a bare number turns into one in a column that isn't of text: it may, if it comes back as it was.
fn json(t: &str, affinity: Affinity) -> Result<Value, String> {
    let numeric = Decimal::parse(t).filter(finite);
    match (affinity, numeric) {
        (Affinity::Text | Affinity::None, _) | (_, None) => Ok(Value::Text(t.to_owned())),
        (_, Some(_)) => {
            let same = |cell: Cell| held(cell, &Kind::Json) == Some(Value::Json(t.to_owned()));
            match (t.parse::<i64>(), t.parse::<f64>()) {
                (Ok(i), _) if same(Cell::Int(i)) => Ok(Value::Int(i.into())),
                (_, Ok(f)) if f.fract() != 0.0 && same(Cell::Real(f)) => Ok(Value::Float(f)),
                _ => Err("would change the spelling of a bare number; JSON_TEXT keeps it".into()),
            }
        }
    }
}

/// Whether a stored key is spelled as we would write it, since ranges and look-ups ask for that spelling.
fn is_own_spelling(cell: &Cell, value: &Value, kind: &Kind) -> bool {
    let affinity = match (cell, kind) {
        (Cell::Text(_), _) | (_, Kind::Text { .. }) => Affinity::Text,
        _ => Affinity::Numeric,
    };
    match (cell, stored(value, affinity)) {
        (Cell::Text(t), Ok(Arg::One(Value::Text(own)))) => *t == own,
        (Cell::Int(i), Ok(Arg::One(Value::Int(own)))) => i128::from(*i) == own,
        (Cell::Int(i), Ok(Arg::One(Value::Float(own)))) => *i as f64 == own,
        (Cell::Real(f), Ok(Arg::One(Value::Int(own)))) => *f == own as f64,
        (Cell::Real(f), Ok(Arg::One(Value::Float(own)))) => *f == own,
        (Cell::Blob(b), Ok(Arg::One(Value::Bytes(own)))) => *b == own,
        _ => false,
    }
}
