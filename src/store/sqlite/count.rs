//! What `plan` counts, in SQLite's SQL.

use super::dialect::text;
use crate::finding::{Alike, Case, Violation};
use crate::schema::{CharSet, Kind};
use crate::store::count::standard;

/// A condition that holds for values that would be refused, or can't be read as what their column declares.
pub fn violates(x: &str, violation: &Violation) -> Option<String> {
    Some(match violation {
        Violation::LongerThan(chars) => format!("length({x}) > {chars}"),
        // A number in a text may have more digits than a float tells apart.
        Violation::WholeDigits(digits) => format!(
            "CASE WHEN typeof({x}) = 'text' AND {x} NOT GLOB '*[eE]*' \
             THEN length(ltrim(substr({x}, 1, instr({x} || '.', '.') - 1), '-+0 ')) > {digits} \
             ELSE {x} >= 1e{digits} OR {x} <= -1e{digits} END"
        ),
        Violation::OutsideSet(set) => outside(x, *set),
        Violation::EndsWithBlank => format!("substr({x}, -1) = ' '"),
        Violation::NoneOf(texts) => {
            let list: Vec<String> = texts.iter().map(|t| text(t)).collect();
            format!("({x}) COLLATE BINARY NOT IN ({})", list.join(", "))
        }
        // A REAL column has none, and of an expression's nobody can tell.
        Violation::NegativeZero => return None,
        Violation::Infinite => format!("{x} IN (9e999, -9e999)"),
        // Whatever the form and the offset; what it can't read as a time is not told.
        Violation::OutsideTime { low, high } => {
            format!("julianday({x}) < julianday('{low}') OR julianday({x}) > julianday('{high}')")
        }
        Violation::OtherClass(kind) => {
            let classes = classes(x, kind)?;
            nonsense(x, kind).into_iter().fold(classes, |all, also| format!("{all} OR {also}"))
        }
        other => return standard(x, other),
    })
}

fn classes(x: &str, kind: &Kind) -> Option<String> {
    let classes = match kind {
        Kind::Int { .. } => "'integer'",
        Kind::Bool => return Some(format!("{x} IS NOT NULL AND (typeof({x}) <> 'integer' OR {x} NOT IN (0, 1))")),
        Kind::Float { .. } => "'integer', 'real'",
        Kind::Decimal { .. } | Kind::Json => "'integer', 'real', 'text'",
        Kind::Text { .. } | Kind::Date | Kind::Time | Kind::Timestamp | Kind::TimestampTz => "'text'",
        Kind::Uuid => "'text', 'blob'",
        Kind::Bytes => "'blob'",
        Kind::Opaque(_) => return None,
    };
    Some(format!("typeof({x}) NOT IN ('null', {classes})"))
}

/// What is of the right class and still can't be read, as far as SQL tells for sure.
fn nonsense(x: &str, kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Float { .. } => {
            format!("typeof({x}) = 'integer' AND ({x} > 9007199254740992 OR {x} < -9007199254740992)")
        }
        // Beyond that SQLite's own text of a number is not exact.
        Kind::Decimal { scale: Some(scale @ 0..=14), .. } => {
            let cut = format!("CAST(printf('%.{scale}f', {x}) AS REAL)");
            format!("typeof({x}) = 'real' AND abs({x}) < 1e{} AND {cut} <> {x}", 15 - scale)
        }
        Kind::Date | Kind::Timestamp | Kind::TimestampTz => {
            let day = format!("substr({x}, 1, 10)");
            let digits = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]";
            format!(
                "typeof({x}) = 'text' AND (ltrim({x}) NOT GLOB '[0-9]*' AND {x} NOT LIKE '%infinity%' \
                 OR {day} GLOB '{digits}' AND date({day}) IS NOT {day})"
            )
        }
        Kind::Time => format!("typeof({x}) = 'text' AND ltrim({x}) NOT GLOB '[0-9]*'"),
        Kind::Uuid => {
            let digits =
                ["-", "{", "}"].iter().fold(format!("trim({x})"), |all, c| format!("replace({all}, '{c}', '')"));
            format!("typeof({x}) = 'blob' AND length({x}) <> 16 OR typeof({x}) = 'text' AND length({digits}) <> 32")
        }
        _ => return None,
    })
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
