//! What `plan` counts, in the server's own SQL.

use super::name::literal;
use crate::finding::{Alike, Case, Violation};
use crate::schema::{CharSet, EngineName};
use crate::store::count::{ALPHABET, standard};

/// A condition that holds for values that would be refused. Sessions of ours read zero dates as they are.
pub fn violates(x: &str, violation: &Violation) -> Option<String> {
    match violation {
        Violation::Nul => Some(format!("instr(CAST({x} AS BINARY), 0x00) > 0")),
        Violation::NoDate => {
            Some(format!("year({x}) = 0 OR month({x}) = 0 OR day({x}) = 0 OR day({x}) > day(last_day({x}))"))
        }
        // A zero date is another violation.
        Violation::OutsideTime { low, high } if low.contains('-') => {
            Some(format!("year({x}) > 0 AND ({x} < '{low}' OR {x} > '{high}')"))
        }
        Violation::OutsideTime { low, high } => Some(format!("{x} < '{low}' OR {x} > '{high}'")),
        // MariaDB's columns have none, MySQL's have; not every text of one shows it.
        Violation::NegativeZero => Some(format!("{x} = 0 AND atan2({x}, -1) < 0")),
        Violation::OutsideSet(set) => {
            let name = match set {
                CharSet::Plane0 => "utf8mb3",
                CharSet::Ascii => "ascii",
                CharSet::Latin1 => "latin1",
            };
            // What a set lacks becomes a question mark.
            Some(format!("{} <> {}", bytes(&format!("CONVERT({x} USING {name})")), bytes(x)))
        }
        Violation::EndsWithBlank => Some(format!("CAST(RIGHT({x}, 1) AS BINARY) = ' '")),
        Violation::NoneOf(texts) => {
            let list: Vec<String> = texts.iter().map(|t| bytes(&literal(t))).collect();
            Some(format!("{} NOT IN ({})", bytes(x), list.join(", ")))
        }
        Violation::NotOfSet(names) => {
            let listed = format!("CONCAT(',', {x}, ',')");
            let one = |name: &String| {
                let (inside, own) = (bytes(&literal(&format!(",{name},"))), bytes(&literal(&format!(",{name}"))));
                format!("IF(instr({}, {inside}) > 0, {own}, '')", bytes(&listed))
            };
            let own: Vec<String> = names.iter().map(one).collect();
            let whole = bytes(&format!("CONCAT(',', {x})"));
            Some(format!("octet_length({x}) > 0 AND {whole} <> CAST(CONCAT({}) AS BINARY)", own.join(", ")))
        }
        Violation::FinerThan { digits } => {
            let step = 10_u32.pow(6 - u32::from(*digits).min(6));
            Some(format!("microsecond({x}) % {step} <> 0"))
        }
        other => standard(x, other),
    }
}

/// A text's bytes in UTF-8, which compare as bytes do.
fn bytes(x: &str) -> String {
    format!("CAST(CONVERT({x} USING utf8mb4) AS BINARY)")
}

/// What two texts have in common that the target calls one.
pub fn folded(x: &str, alike: &Alike) -> String {
    if let Some((EngineName::MySql, name)) = &alike.collation {
        return format!("CONVERT({x} USING {}) COLLATE {name}", super::types::charset(name));
    }
    let text = format!("CONVERT({x} USING utf8mb4) COLLATE utf8mb4_bin");
    let small = match alike.case {
        Case::Counts => text,
        // Case counts in this collation, so each letter is replaced by itself.
        Case::Ascii => {
            ALPHABET.chars().fold(text, |all, c| format!("REPLACE({all}, '{c}', '{}')", c.to_ascii_lowercase()))
        }
        Case::Ignored => format!("LOWER({text})"),
    };
    bytes(&if alike.blanks { format!("RTRIM({small})") } else { small })
}
