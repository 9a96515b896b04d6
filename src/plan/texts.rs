//! Texts and byte strings that the target's column would refuse or change: characters, blanks, bytes, members; and
//! which different texts its unique indexes call one.

use super::resolve::Facts;
use crate::check::{self, Check};
use crate::finding::{Alike, Case, Health, Violation};
use crate::mapping::{Origin, TableMap, WireColumn};
use crate::schema::{CharSet, Column, EngineName, Kind, Members};

/// Who has character sets for each column, lists of members, and text types that are bounded by bytes.
const PECULIAR: EngineName = EngineName::MySql;
/// Of which it is known that accents don't count in them. (In `latin1_swedish_ci` and others some do.)
const NO_ACCENTS: [&str; 6] =
    ["utf8mb4_general_ci", "utf8mb3_general_ci", "unicode_ci", "unicode_520_ci", "0900_ai_ci", "uca1400_ai_ci"];

type Found = Vec<(&'static Check, Violation)>;

/// `column`: what the plan reads plainly; none where it reads an expression.
pub fn of_text(facts: &Facts, column: Option<&Column>, wire: &WireColumn) -> Found {
    let (from, to) = (facts.source_engine == PECULIAR, facts.target_engine == PECULIAR);
    let own = |of: &dyn Fn(&Column) -> Option<CharSet>| column.filter(|_| from).and_then(of);
    let mut found = Found::new();
    let is_text = matches!(wire.target.kind, Kind::Text { .. });
    let comes = is_text && matches!(wire.source_kind, Kind::Text { .. } | Kind::Json | Kind::Opaque(_));
    if comes && facts.target_engine != EngineName::Sqlite && is_padded(&wire.target) && !column.is_some_and(is_padded) {
        found.push((&check::ENDS_WITH_BLANK, Violation::EndsWithBlank));
    }
    if !to {
        return found;
    }
    let set = |c: &Column| c.collation.as_deref().and_then(CharSet::of_collation);
    if let Some(takes) = set(&wire.target).filter(|_| comes)
        && own(&set).is_none_or(|has| has != takes && has != CharSet::Ascii)
    {
        found.push((&check::CHARACTERS, Violation::OutsideSet(takes)));
    }
    if let Some(Members { names, many }) = Members::of(&wire.target.type_name).filter(|_| comes) {
        let violation = if many { Violation::NotOfSet(names) } else { Violation::NoneOf(names) };
        found.push((&check::NO_MEMBER, violation));
    }
    if comes && !matches!(wire.source_kind, Kind::Opaque(_)) || wire.source_kind == Kind::Bytes {
        found.extend(bytes(column.filter(|_| from), wire));
    }
    found
}

/// A text in a set of one byte for each character is bounded by characters elsewhere.
fn bytes(column: Option<&Column>, wire: &WireColumn) -> Option<(&'static Check, Violation)> {
    let is_text = wire.source_kind != Kind::Bytes;
    let narrow = wire.target.collation.as_deref().and_then(CharSet::of_collation);
    if is_text && matches!(narrow, Some(CharSet::Latin1 | CharSet::Ascii)) {
        return None;
    }
    let (least, most) = octets(&wire.target)?;
    let held = column.and_then(octets).is_some_and(|(low, high)| low >= least && high <= most);
    (!held).then_some((&check::BYTE_LENGTH, Violation::OutsideBytes { least, most }))
}

/// The bounds of a type of PECULIAR's, in bytes.
fn octets(column: &Column) -> Option<(u64, u64)> {
    let name = column.type_name.to_ascii_lowercase();
    let (word, rest) = name.split_once('(').unwrap_or((&name, ""));
    let n = rest.split(')').next().and_then(|n| n.parse().ok());
    match word.trim() {
        "binary" => Some((n.unwrap_or(1), n.unwrap_or(1))),
        "varbinary" => Some((0, n?)),
        "tinytext" | "tinyblob" => Some((0, 255)),
        "text" | "blob" => Some((0, 65_535)),
        "mediumtext" | "mediumblob" => Some((0, 16_777_215)),
        _ => None,
    }
}

/// Labels of an enum that the target's type of that name may lack.
pub fn of_labels(
    map: &TableMap,
    (source, target): (&Health, &Health),
    wire: &WireColumn,
) -> Option<(&'static Check, Violation)> {
    let taken = target.enums.iter().find(|e| e.table == map.target && e.column == wire.target.name)?;
    let has = source.enums.iter().find(|e| e.table == map.source && wire.origin == Origin::Column(e.column.clone()));
    let held = has.is_some_and(|has| has.names.iter().all(|name| taken.names.contains(name)));
    (!held).then(|| (&check::NO_MEMBER, Violation::NoneOf(taken.names.clone())))
}

/// MariaDB's own type takes not all bits that others do.
pub fn of_uuid(facts: &Facts, column: Option<&Column>, wire: &WireColumn) -> Option<(&'static Check, Violation)> {
    let is_own = |c: &Column| c.type_name.eq_ignore_ascii_case("uuid");
    let comes = wire.wire == Kind::Uuid && facts.target_engine == PECULIAR && is_own(&wire.target);
    let held = facts.source_engine == PECULIAR && column.is_some_and(is_own);
    (comes && !held).then_some((&check::STRANGE_UUID, Violation::StrangeUuid))
}

/// `char(n)` keeps no blanks at the end of a text.
fn is_padded(column: &Column) -> bool {
    let name = column.type_name.to_ascii_lowercase();
    matches!(column.kind, Kind::Text { .. })
        && matches!(name.split('(').next().unwrap_or_default(), "char" | "character" | "bpchar")
}

/// What a unique index of this engine makes of the column's texts.
pub fn alike(engine: EngineName, column: &Column) -> Alike {
    let Some(name) = column.collation.as_deref().filter(|_| matches!(column.kind, Kind::Text { .. })) else {
        return Alike::default();
    };
    match engine {
        EngineName::Postgres => Alike::default(),
        EngineName::Sqlite => match name.trim_matches('"').to_ascii_uppercase().as_str() {
            "NOCASE" => Alike { case: Case::Ascii, ..Alike::default() },
            "RTRIM" => Alike { blanks: true, ..Alike::default() },
            _ => Alike::default(),
        },
        EngineName::MySql => of_mysql(name),
    }
}

fn of_mysql(name: &str) -> Alike {
    let blanks = !name.contains("_nopad_") && !name.contains("_0900_") && name != "binary";
    if name.ends_with("_bin") || name == "binary" {
        return Alike { blanks, ..Alike::default() };
    }
    let plain = name.replace("_nopad", "");
    let accents = NO_ACCENTS.iter().any(|known| plain.ends_with(known));
    let case = if name.ends_with("_cs") { Case::Counts } else { Case::Ignored };
    Alike { case, accents, blanks, collation: Some((EngineName::MySql, name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collations_name_tells_what_it_calls_one() {
        let of = |name: &str| of_mysql(name);
        assert!(of("utf8mb4_nopad_bin").is_exact() && of("utf8mb4_0900_bin").is_exact());
        assert_eq!(of("latin1_bin"), Alike { blanks: true, ..Alike::default() });
        let general = of("utf8mb4_general_ci");
        assert!(general.case == Case::Ignored && general.accents && general.blanks);
        assert!(!of("utf8mb4_general_nopad_ci").blanks && of("utf8mb4_general_nopad_ci").accents);
        assert!(!of("latin1_swedish_ci").accents && of("latin1_general_cs").case == Case::Counts);
        assert!(general.covers(&of("utf8mb4_bin")) && !of("utf8mb4_bin").covers(&general));
        assert!(!general.covers(&of("latin1_swedish_ci")), "nobody knows");
    }
}
