//! What `plan` counts, in SQLite's SQL.

use super::dialect::text;
use crate::finding::{Alike, Case, Violation};
use crate::schema::{CharSet, Kind};
use crate::store::count::standard;

/// A condition that holds for values that would be refused, or can't be read as what their column declares.
pub fn violates(x: &str, violation: &Violation) -> Option<String> {
    let classes = match violation {
        Violation::LongerThan(chars) => return Some(format!("length({x}) > {chars}")),
        Violation::WholeDigits(digits) => return Some(format!("abs({x}) >= 1e{digits}")),
        Violation::OutsideSet(set) => return Some(outside(x, *set)),
        Violation::EndsWithBlank => return Some(format!("substr({x}, -1) = ' '")),
        Violation::NoneOf(texts) => {
            let list: Vec<String> = texts.iter().map(|t| text(t)).collect();
            return Some(format!("({x}) COLLATE BINARY NOT IN ({})", list.join(", ")));
        }
        // A REAL column has none, and of an expression's nobody can tell.
        Violation::NegativeZero => return None,
        Violation::Infinite => return Some(format!("{x} IN (9e999, -9e999)")),
        // Whatever the form and the offset; what it can't read as a time is not told.
        Violation::OutsideTime { low, high } => {
            return Some(format!("julianday({x}) < julianday('{low}') OR julianday({x}) > julianday('{high}')"));
        }
        Violation::OtherClass(kind) => match kind {
            Kind::Int { .. } => "'integer'",
            Kind::Bool => return Some(format!("{x} IS NOT NULL AND (typeof({x}) <> 'integer' OR {x} NOT IN (0, 1))")),
            Kind::Float { .. } => "'integer', 'real'",
            Kind::Decimal { .. } | Kind::Json => "'integer', 'real', 'text'",
            Kind::Text { .. } | Kind::Date | Kind::Time | Kind::Timestamp | Kind::TimestampTz => "'text'",
            Kind::Uuid => "'text', 'blob'",
            Kind::Bytes => "'blob'",
            Kind::Opaque(_) => return None,
        },
        other => return standard(x, other),
    };
    Some(format!("typeof({x}) NOT IN ('null', {classes})"))
}

fn outside(x: &str, set: CharSet) -> String {
    let one = |c: char| format!("char({})", u32::from(c));
    let ranges: Vec<String> = set.ranges().iter().map(|(a, b)| format!("{} || '-' || {}", one(*a), one(*b))).collect();
    format!("{x} GLOB '*[^' || {} || ']*'", ranges.join(" || "))
}

/// What two texts have in common that the target calls one. Only A to Z can be folded here.
pub fn folded(x: &str, alike: &Alike) -> String {
    let whole = if alike.blanks { format!("rtrim({x}, ' ')") } else { format!("({x})") };
    let collation = if alike.case == Case::Counts { "BINARY" } else { "NOCASE" };
    format!("{whole} COLLATE {collation}")
}
