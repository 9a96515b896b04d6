//! What `plan` counts, in PostgreSQL's SQL.

use super::name::literal;
use crate::finding::{Alike, Case, Violation};
use crate::schema::CharSet;
use crate::store::count::{ALPHABET, OVER_DOUBLE, OVER_SINGLE, standard};

/// A condition that holds for values that would be refused.
pub fn violates(expression: &str, violation: &Violation) -> Option<String> {
    match violation {
        Violation::NotFinite => Some(format!("{expression} = 'NaN'")),
        // As text: before version 14 a numeric can't even be compared with an infinity.
        Violation::Infinite => Some(format!("({expression})::text IN ('Infinity', '-Infinity')")),
        Violation::LongerThan(chars) => Some(format!("char_length(({expression})::text) > {chars}")),
        Violation::NegativeZero => Some(format!("{expression} = 0 AND ({expression})::text = '-0'")),
        Violation::OutsideSet(set) => Some(format!("({expression})::text ~ '[^{}]'", class(*set))),
        Violation::EndsWithBlank => Some(format!("right(({expression})::text, 1) = ' '")),
        Violation::NoneOf(texts) => {
            let list: Vec<String> = texts.iter().map(|t| literal(t)).collect();
            Some(format!("({expression})::text COLLATE \"C\" NOT IN ({})", list.join(", ")))
        }
        Violation::NotOfSet(names) => {
            let one = |name: &String| {
                let (inside, own) = (literal(&format!(",{name},")), literal(&format!(",{name}")));
                format!("CASE WHEN strpos(',' || ({expression})::text || ',', {inside}) > 0 THEN {own} ELSE '' END")
            };
            let own: Vec<String> = names.iter().map(one).collect();
            let whole = format!("(',' || ({expression})::text) COLLATE \"C\"");
            Some(format!("({expression})::text <> '' AND {whole} <> {}", own.join(" || ")))
        }
        // NaN is larger than all numbers, and a float stays one: as a numeric it has 15 digits.
        Violation::BeyondFloat { bits } => {
            let most = if *bits <= 32 { OVER_SINGLE } else { OVER_DOUBLE };
            let finite = format!("({expression})::text NOT IN ('NaN', 'Infinity', '-Infinity')");
            Some(format!("CASE WHEN {finite} THEN abs({expression}) >= {most} END"))
        }
        Violation::StrangeUuid => Some(format!("({expression})::text ~ '^.{{14}}[89a-f].{{4}}[0-7]'")),
        Violation::Nul => None,
        // A plain timestamp or date takes no notice of the zone. Infinities are beyond every bound.
        Violation::OutsideTime { low, high } => {
            Some(format!("{expression} < '{low}+00' OR {expression} > '{high}+00'"))
        }
        Violation::FinerThan { digits } => {
            let step = 10_u32.pow(6 - u32::from(*digits).min(6));
            Some(format!("extract(microseconds FROM {expression})::bigint % {step} <> 0"))
        }
        other => standard(expression, other),
    }
}

/// Characters as a regular expression names them.
fn class(set: CharSet) -> String {
    let one = |c: char| format!("\\U{:08x}", u32::from(c));
    set.ranges().iter().map(|(a, b)| format!("{}-{}", one(*a), one(*b))).collect()
}

/// What two texts have in common that the target calls one, as far as this server knows letters.
pub fn folded(x: &str, alike: &Alike) -> String {
    if alike.is_exact() {
        return x.to_owned();
    }
    let text = format!("({x})::text");
    let base = match alike.accents {
        true => format!("regexp_replace(normalize({text}, NFD), '[\\u0300-\\u036f]', '', 'g')"),
        false => text,
    };
    let small = match alike.case {
        Case::Counts => base,
        Case::Ascii => format!("translate({base}, '{ALPHABET}', '{}')", ALPHABET.to_ascii_lowercase()),
        Case::Ignored => format!("lower({base})"),
    };
    let whole = if alike.blanks { format!("rtrim({small}, ' ')") } else { small };
    format!("{whole} COLLATE \"C\"")
}
