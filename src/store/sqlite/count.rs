//! What `plan` counts, in SQLite's SQL.

use super::dialect::text;
use crate::finding::{Alike, Case, Violation};
use crate::schema::{CharSet, Kind};
use crate::store::count::{OVER_DOUBLE, OVER_SINGLE, standard};

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
        Violation::NotOfSet(names) => {
            let one = |name: &String| {
                let (inside, own) = (text(&format!(",{name},")), text(&format!(",{name}")));
                format!("CASE WHEN instr(',' || {x} || ',', {inside}) > 0 THEN {own} ELSE '' END")
            };
            let own: Vec<String> = names.iter().map(one).collect();
            format!("{x} <> '' AND (',' || {x}) COLLATE BINARY <> ({})", own.join(" || "))
        }
        Violation::Misspelled(kind) => misspelled(x, kind)?,
        // A number in a text is compared as one.
        Violation::Rounded { .. } => return standard(&format!("CAST({x} AS NUMERIC)"), violation),
        Violation::BeyondFloat { bits } => {
            let most = if *bits <= 32 { OVER_SINGLE } else { OVER_DOUBLE };
            format!(
                "typeof({x}) <> 'real' AND abs(CAST({x} AS REAL)) >= {most} OR abs({x}) >= {most} AND abs({x}) < 9e999"
            )
        }
        Violation::StrangeUuid => {
            let hex = format!("lower(CASE typeof({x}) WHEN 'blob' THEN hex({x}) ELSE {} END)", bare_uuid(x));
            format!("substr({hex}, 13, 1) GLOB '[89a-f]' AND substr({hex}, 17, 1) GLOB '[0-7]'")
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
            let digits = bare_uuid(x);
            format!("typeof({x}) = 'blob' AND length({x}) <> 16 OR typeof({x}) = 'text' AND length({digits}) <> 32")
        }
        _ => return None,
    })
}

fn bare_uuid(x: &str) -> String {
    ["-", "{", "}"].iter().fold(format!("trim({x})"), |all, c| format!("replace({all}, '{c}', '')"))
}

const DAY: &str = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]";
const CLOCK: &str = "[0-9][0-9]:[0-9][0-9]:[0-9][0-9]";

/// A key that says a value of this kind in another spelling than ours. Infinities and years that take more or less than
/// four digits are left to the run.
fn misspelled(x: &str, kind: &Kind) -> Option<String> {
    let four_digits =
        format!("ltrim({x}) GLOB '[0-9]*' AND {x} NOT GLOB '[0-9][0-9][0-9][0-9][0-9]*' AND {x} NOT LIKE '%bc'");
    // Behind so many characters a point and digits, the last of them no zero.
    let timed = |x: &str, form: &str, length: usize| {
        let (dot, most) = (length + 2, length + 7);
        let fraction =
            format!("{x} GLOB '{form}.*[1-9]' AND substr({x}, {dot}) NOT GLOB '*[^0-9]*' AND length({x}) <= {most}");
        format!("({x} GLOB '{form}' OR {fraction})")
    };
    let is_text = format!("typeof({x}) = 'text'");
    Some(match kind {
        Kind::Uuid => {
            let hex = |n: usize| "[0-9a-f]".repeat(n);
            let form = [8, 4, 4, 4, 12].map(hex).join("-");
            format!(
                "typeof({x}) = 'blob' AND length({x}) = 16 OR {is_text} AND length({}) = 32 AND {x} NOT GLOB '{form}'",
                bare_uuid(x)
            )
        }
        Kind::Date => format!("{is_text} AND {four_digits} AND {x} NOT GLOB '{DAY}'"),
        Kind::Time => format!("{is_text} AND ltrim({x}) GLOB '[0-9]*' AND NOT {}", timed(x, CLOCK, 8)),
        Kind::Timestamp => {
            let own = timed(x, &format!("{DAY} {CLOCK}"), 19);
            format!("{is_text} AND {four_digits} AND (NOT {own} OR substr({x}, 12, 2) = '24')")
        }
        Kind::TimestampTz => {
            let own = timed(&format!("substr({x}, 1, length({x}) - 6)"), &format!("{DAY} {CLOCK}"), 19);
            format!("{is_text} AND {four_digits} AND NOT ({x} GLOB '*+00:00' AND {own} AND substr({x}, 12, 2) <> '24')")
        }
        Kind::Decimal { .. } => {
            let odd = ["*[^0-9.-]*", "0[0-9]*", "-0[0-9]*", ".*", "-.*", "*.", "*.*0", "-0"];
            let odd: Vec<String> = odd.iter().map(|form| format!("{x} GLOB '{form}'")).collect();
            format!("{is_text} AND {x} GLOB '*[0-9]*' AND ({})", odd.join(" OR "))
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
