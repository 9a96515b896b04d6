//! Which rows of the source the target would refuse, as conditions to be counted: where the two catalogues alone can't
//! tell, and only there.
//!
//! A column that both catalogues bound alike is no suspect; SQLite enforces neither lengths nor types nor (by itself)
//! foreign keys, so as a source it proves nothing by declaring them.

use super::model::Plan;
use super::problem::Problem;
use super::resolve::{Facts, Resolved};
use super::{bounds, texts};
use crate::check::{self, Check};
use crate::finding::{Alike, Finding, Health, Suspect, Violation};
use crate::mapping::{Origin, TableMap, WireColumn};
use crate::schema::{Column, EngineName, ForeignKey, Kind, Table, Unique};

/// Whose numbers are all finite.
const NO_INFINITY: EngineName = EngineName::MySql;
/// Whose numbers may be NaN.
const HAS_NAN: EngineName = EngineName::Postgres;
/// Where text may not hold a NUL character.
const NO_NUL: EngineName = EngineName::Postgres;

/// What to count, and what can't be counted at all.
pub fn suspects(
    plan: &Plan,
    facts: &Facts,
    resolved: &Resolved,
    [source_health, target_health]: &[Health; 2],
) -> (Vec<Suspect>, Vec<Problem>) {
    let (mut suspects, mut unknown) = (Vec::new(), Vec::new());
    let packet_bytes = target_health.packet_bytes;
    for map in &resolved.layout.tables {
        let Some(source) = facts.source.get(&map.source) else { continue };
        let mut add = |check: &'static Check, columns: Vec<usize>, violation| {
            suspects.push(Suspect { check, table: map.id, columns, violation });
        };
        for (i, wire) in map.columns.iter().enumerate() {
            of_column(facts, source, wire).into_iter().for_each(|(check, violation)| add(check, vec![i], violation));
            if facts.source_engine == EngineName::Sqlite && map.key.contains(&i) && has_spellings(&wire.wire) {
                add(&check::KEY_FORM, vec![i], Violation::Misspelled(wire.wire.clone()));
            }
            let lacking = texts::of_labels(map, (source_health, target_health), wire);
            lacking.into_iter().for_each(|(check, violation)| add(check, vec![i], violation));
        }
        let stream_bytes = plan.events.as_ref().and_then(|e| e.max_bytes);
        for (check, bytes) in [(&check::ROW_TOO_LARGE, stream_bytes), (&check::OVER_PACKET, packet_bytes)] {
            let Some(bytes) = bytes else { continue };
            let columns = bounds::large(facts, map, bytes);
            if !columns.is_empty() {
                add(check, columns, Violation::RowOver { bytes });
            }
        }
        for (columns, violation) in super::scope::crossing(&resolved.layout, map, source) {
            add(&check::CROSSES_SCOPES, columns, violation);
        }
        let Some(target) = facts.target.get(&map.target) else { continue };
        for index in filled_key(target, map).iter().chain(&target.uniques) {
            match of_unique(facts, source, map, index) {
                Demand::Held => {}
                Demand::Count(columns, by) => {
                    unknown.extend(coarser(facts, map, index, &by).map(|finding| plan.at_target(map.id, finding)));
                    add(&check::DUPLICATES, columns, Violation::Duplicate { by });
                }
                Demand::Unknown => unknown.push(plan.at_target(map.id, unknowable(map, index))),
            }
        }
        for (columns, violation) in of_shared(resolved, map, target) {
            add(&check::DUPLICATES, columns, violation);
        }
        for key in &target.foreign_keys {
            if let Some((columns, violation)) = of_parent(facts, resolved, source, map, key) {
                add(&check::ORPHANS, columns, violation);
            }
        }
    }
    (suspects, unknown)
}

fn of_column(facts: &Facts, source: &Table, wire: &WireColumn) -> Vec<(&'static Check, Violation)> {
    let column = match &wire.origin {
        Origin::Column(name) => source.column(name),
        Origin::Sql(_) => None,
    };
    let loose = facts.source_engine == EngineName::Sqlite;
    let mut found = Vec::new();
    if !wire.target.nullable && column.is_none_or(|c| c.nullable) {
        found.push((&check::NULLS, Violation::Null));
    }
    if loose && column.is_some() && !matches!(wire.source_kind, Kind::Opaque(_)) {
        // A text may travel as what it says.
        let meant = if matches!(wire.source_kind, Kind::Text { .. }) { &wire.wire } else { &wire.source_kind };
        found.push((&check::OTHER_CLASS, Violation::OtherClass(meant.clone())));
    }
    let leaves = |engine: EngineName| facts.source_engine == engine && facts.target_engine != engine;
    let arrives = |engine: EngineName| facts.source_engine != engine && facts.target_engine == engine;
    if leaves(HAS_NAN) && matches!(wire.source_kind, Kind::Float { .. } | Kind::Decimal { .. }) {
        found.push((&check::NOT_FINITE, Violation::NotFinite));
    }
    if arrives(NO_INFINITY) && matches!(wire.source_kind, Kind::Float { .. } | Kind::Decimal { precision: None, .. }) {
        found.push((&check::NOT_FINITE, Violation::Infinite));
    }
    if arrives(NO_NUL) && matches!(wire.source_kind, Kind::Text { .. }) {
        found.push((&check::NUL_CHARACTERS, Violation::Nul));
    }
    if facts.target_engine == EngineName::Sqlite {
        found.extend(bounds::of_sqlite(facts, wire));
    } else {
        found.extend(bounds::of_unsigned(facts, column, wire).or_else(|| too_small(wire, loose)));
    }
    found.extend(bounds::of_rounded(facts, wire));
    found.extend(bounds::of_zero(facts, column, wire));
    found.extend(texts::of_uuid(facts, column, wire));
    found.extend(bounds::of_time(facts, column, wire));
    found.extend(texts::of_text(facts, column, wire));
    found
}

/// Whether SQLite may hold one value of this kind in several spellings.
fn has_spellings(kind: &Kind) -> bool {
    matches!(kind, Kind::Uuid | Kind::Date | Kind::Time | Kind::Timestamp | Kind::TimestampTz | Kind::Decimal { .. })
}

/// Whether the target's type has less room than the source's is known to need.
fn too_small(wire: &WireColumn, loose: bool) -> Option<(&'static Check, Violation)> {
    let dynamic = loose && matches!(wire.origin, Origin::Sql(_));
    match (&wire.source_kind, &wire.target.kind) {
        (Kind::Opaque(_), Kind::Text { max_chars: Some(takes) }) => {
            Some((&check::TOO_LONG, Violation::LongerThan(*takes)))
        }
        (Kind::Text { max_chars: has }, Kind::Text { max_chars: Some(takes) }) => {
            let bounded = !loose && has.is_some_and(|has| has <= *takes);
            (!bounded).then_some((&check::TOO_LONG, Violation::LongerThan(*takes)))
        }
        (Kind::Int { bits: has }, Kind::Int { bits: takes }) => {
            let wider = has > takes || dynamic && *takes < 64;
            wider.then_some((&check::OUT_OF_RANGE, Violation::OutsideInt { bits: *takes }))
        }
        (has, Kind::Decimal { precision: Some(p), scale }) => {
            let takes = p.saturating_sub(scale.unwrap_or(0));
            let bounded = whole_digits(has)? <= takes && !loose;
            (!bounded).then_some((&check::TOO_MANY_DIGITS, Violation::WholeDigits(takes)))
        }
        _ => None,
    }
}

/// Digits before the point that a number may have; `None`: it is none.
fn whole_digits(kind: &Kind) -> Option<u32> {
    match kind {
        Kind::Int { bits: ..=16 } => Some(5),
        Kind::Int { bits: ..=32 } => Some(10),
        Kind::Int { bits: ..=64 } => Some(20),
        Kind::Int { .. } => Some(u32::MAX),
        Kind::Decimal { precision: Some(p), scale } => Some(p.saturating_sub(scale.unwrap_or(0))),
        Kind::Decimal { .. } | Kind::Float { .. } => Some(u32::MAX),
        _ => None,
    }
}

/// What the source says to an index of the target.
enum Demand {
    /// The source enforces it too.
    Held,
    /// By these columns, and when two of their values are one.
    Count(Vec<usize>, Vec<Alike>),
    Unknown,
}

fn of_unique(facts: &Facts, source: &Table, map: &TableMap, index: &Unique) -> Demand {
    let origin = |name: &String| match map.columns.iter().find(|w| w.target.name == *name).map(|w| &w.origin) {
        Some(Origin::Column(source)) => Some(source.as_str()),
        _ => None,
    };
    if index.partial {
        let named: Vec<_> = index.columns.iter().filter_map(origin).collect();
        let alike = |u: &&Unique| u.partial && u.columns.iter().map(String::as_str).eq(named.iter().copied());
        let known = named.len() == index.columns.len() && source.uniques.iter().any(|u| alike(&u));
        return if known { Demand::Held } else { Demand::Unknown };
    }
    let wire = |name: &String| map.columns.iter().position(|w| w.target.name == *name);
    let constant = |name: &String| map.constants.iter().any(|(c, _)| c.name == *name);
    let free: Vec<&String> = index.columns.iter().filter(|c| !constant(c)).collect();
    let columns: Vec<usize> = free.iter().filter_map(|c| wire(c)).collect();
    if columns.is_empty() || columns.len() < free.len() {
        return Demand::Unknown;
    }
    let by: Vec<Alike> = columns.iter().map(|&i| texts::alike(facts.target_engine, &map.columns[i].target)).collect();
    // Those of which the source tells apart all that the target does.
    let plain: Vec<&str> = free
        .iter()
        .zip(&by)
        .filter_map(|(c, by)| Some((origin(c)?, by)))
        .filter(|(name, by)| source.column(name).is_some_and(|c| texts::alike(facts.source_engine, c).covers(by)))
        .map(|(name, _)| name)
        .collect();
    let within = |columns: &[String]| !columns.is_empty() && columns.iter().all(|c| plain.contains(&c.as_str()));
    let held = within(&source.primary_key) || source.uniques.iter().any(|u| !u.partial && within(&u.columns));
    if held { Demand::Held } else { Demand::Count(columns, by) }
}

/// The target's primary key, as an index among the others, where the plan fills it.
fn filled_key(target: &Table, map: &TableMap) -> Option<Unique> {
    let filled = |name: &String| {
        map.columns.iter().map(|w| &w.target).chain(map.constants.iter().map(|(c, _)| c)).any(|c| c.name == *name)
    };
    let key = &target.primary_key;
    let whole = !key.is_empty() && key.iter().all(filled);
    whole.then(|| Unique { name: "primary key".to_owned(), columns: key.clone(), partial: false })
}

/// An index that calls more texts one than the source can be asked for.
fn coarser(facts: &Facts, map: &TableMap, index: &Unique, by: &[Alike]) -> Option<Finding> {
    let (_, name) = by.iter().filter_map(|b| b.collation.as_ref()).find(|(e, _)| *e != facts.source_engine)?;
    let message = format!(
        "the target's unique index \"{}\" of \"{}\" compares texts by {name}: texts that differ in case, accents or \
         blanks at the end were counted, but it calls more texts one than that",
        index.name, map.target
    );
    let finding = Finding::new(&check::COARSER, message, check::COARSER.way_out);
    Some(finding.table(&map.target))
}

/// Unique values that two tables with one target may bring both, each only once.
fn of_shared(resolved: &Resolved, map: &TableMap, target: &Table) -> Vec<(Vec<usize>, Violation)> {
    let earlier = resolved.layout.tables.iter().take_while(|t| t.id != map.id);
    let whole = target.uniques.iter().filter(|u| !u.partial).map(|u| &u.columns);
    let indexes: Vec<&Vec<String>> = whole.chain([&target.primary_key]).collect();
    let mut found = Vec::new();
    for other in earlier.filter(|t| t.target == map.target) {
        for index in &indexes {
            let constant = |m: &TableMap, name: &String| m.constants.iter().any(|(c, _)| c.name == *name);
            let apart = |name: &&String| constant(map, name) && constant(other, name);
            let free: Vec<&String> = index.iter().filter(|name| !apart(name)).collect();
            // A constant that both have either keeps them apart or says nothing.
            let kept_apart = free.len() < index.len() && super::shared::are_apart_in(map, other, index);
            let places = |m: &TableMap| -> Option<Vec<usize>> {
                free.iter().map(|name| m.columns.iter().position(|w| w.target.name == **name)).collect()
            };
            if let (false, false, Some(own), Some(columns)) = (free.is_empty(), kept_apart, places(map), places(other))
            {
                found.push((own, Violation::Twice { other: other.id, columns }));
            }
        }
    }
    found
}

fn unknowable(map: &TableMap, index: &Unique) -> Finding {
    let why =
        if index.partial { "is partial or over an expression" } else { "has a column that the plan does not fill" };
    let message = format!(
        "the target's unique index \"{}\" of \"{}\" {why}: equal rows can't be counted",
        index.name, map.target
    );
    let hint = "compare it with the source's by eye; a row that it refuses stops the run with its key";
    Finding::new(&check::UNIQUE_UNKNOWN, message, hint).table(&map.target)
}

/// A foreign key between two tables of the plan that the source does not guarantee for the rows that travel.
fn of_parent(
    facts: &Facts,
    resolved: &Resolved,
    source: &Table,
    map: &TableMap,
    key: &ForeignKey,
) -> Option<(Vec<usize>, Violation)> {
    // A constant in the key leads to the parent whose rows bear it.
    let constant =
        |m: &TableMap, name: &String| m.constants.iter().find(|(c, _)| c.name == *name).map(|(_, v)| v.clone());
    let pairs: Vec<(&String, &String)> = key.columns.iter().zip(&key.referenced_columns).collect();
    let leads_to = |t: &&TableMap| {
        let meets = |(own, theirs): &(&String, &String)| match (constant(map, own), constant(t, theirs)) {
            (Some(own), Some(theirs)) => own == theirs,
            _ => true,
        };
        t.target == key.references && pairs.iter().all(meets)
    };
    let mut parents = resolved.layout.tables.iter().filter(leads_to);
    let parent = parents.next()?;
    let is_free = |(own, _): &(&String, &String)| constant(map, own).is_none();
    // Of several each may have the row.
    if parents.next().is_some() || !pairs.iter().any(is_free) {
        return None;
    }
    let travels =
        |(own, theirs): &&(&String, &String)| constant(map, own).is_none() || constant(parent, theirs).is_none();
    let (columns, referenced): (Vec<String>, Vec<String>) =
        pairs.iter().filter(travels).map(|(own, theirs)| ((*own).clone(), (*theirs).clone())).unzip();
    let places = |map: &TableMap, names: &[String]| -> Option<Vec<usize>> {
        names.iter().map(|name| map.columns.iter().position(|w| w.target.name == *name)).collect()
    };
    let (own, theirs) = (places(map, &columns)?, places(parent, &referenced)?);
    let named = |map: &TableMap, places: &[usize]| -> Option<Vec<String>> {
        let name = |&i: &usize| match &map.columns[i].origin {
            Origin::Column(name) => Some(name.clone()),
            Origin::Sql(_) => None,
        };
        places.iter().map(name).collect()
    };
    let same = |k: &ForeignKey| {
        k.references == parent.source
            && named(map, &own).as_ref() == Some(&k.columns)
            && named(parent, &theirs).as_ref() == Some(&k.referenced_columns)
    };
    let enforced = facts.source_engine != EngineName::Sqlite && source.foreign_keys.iter().any(same);
    // A parent that its own filter keeps back is missing at the target.
    if enforced && parent.filter.is_none() {
        return None;
    }
    Some((own, Violation::Orphan { parent: parent.id, columns: theirs }))
}

/// The columns of a suspect by their names at the source, or as the plan names them at the target.
pub fn names(map: &TableMap, columns: &[usize]) -> String {
    let name = |&i: &usize| match &map.columns[i].origin {
        Origin::Column(name) => name.clone(),
        Origin::Sql(_) => map.columns[i].target.name.clone(),
    };
    columns.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What is said of values that are not what they should be.
fn unlike(map: &TableMap, suspect: &Suspect, type_name: &str) -> String {
    match &suspect.violation {
        Violation::OtherClass(kind) => {
            let is_declared = suspect.columns.iter().all(|&i| map.columns[i].source_kind == *kind);
            let role = if is_declared { "which it is declared as" } else { "as which it travels" };
            format!("is no {}, {role}", kind.name())
        }
        Violation::NotOfSet(_) => format!("is no list of members of {type_name}, in its order"),
        Violation::Misspelled(kind) => {
            format!("is a key, and spells its {} otherwise than it is looked up", kind.name())
        }
        Violation::Rounded { .. } | Violation::BeyondFloat { .. } => format!("is beyond {type_name} even when rounded"),
        Violation::StrangeUuid => format!("has a version and a variant that {type_name} does not take"),
        _ => format!("is no member of {type_name}"),
    }
}

/// What a count says, in words.
pub fn counted(map: &TableMap, suspect: &Suspect, rows: u64) -> Finding {
    let names = names(map, &suspect.columns);
    let target: Option<&Column> = suspect.columns.first().map(|&i| &map.columns[i].target);
    let type_name = target.map_or("", |c| c.type_name.as_str());
    let number = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    let (within, own) = (format!("in {number} of \"{}\"", map.source), format!("\"{names}\""));
    let message = match &suspect.violation {
        Violation::Null => format!("{within} {own} is null, and must not be at the target"),
        Violation::LongerThan(n) => format!("{within} {own} has more than {n} characters, the bound of {type_name}"),
        Violation::OutsideInt { .. } | Violation::Outside { .. } => {
            format!("{within} {own} is out of range of {type_name}")
        }
        Violation::WholeDigits(_) => format!("{within} {own} has too many digits for {type_name}"),
        Violation::NegativeZero => format!("{within} {own} is a negative zero"),
        Violation::OutsideSet(_) => {
            format!("{within} {own} has a character that the character set of the target's {type_name} lacks")
        }
        Violation::EndsWithBlank => format!("{within} {own} ends with a blank, which {type_name} drops"),
        Violation::OutsideBytes { least, most } if least == most => {
            format!("{within} {own} has not the {most} bytes of {type_name}")
        }
        Violation::OutsideBytes { most, .. } => {
            format!("{within} {own} has more than {most} bytes, the bound of {type_name}")
        }
        Violation::Nul => format!("{within} {own} has a NUL character"),
        Violation::NotFinite => format!("{within} {own} is NaN"),
        Violation::Infinite => format!("{within} {own} is infinite"),
        Violation::NoDate => format!("{within} {own} is no date of the calendar (a zero date, month or day)"),
        Violation::OutsideTime { low, high } => format!("{within} {own} is not within {low} and {high}"),
        Violation::FinerThan { digits: 0 } => {
            format!("{within} {own} has a fraction of a second, which {type_name} does not keep")
        }
        Violation::FinerThan { digits } => {
            format!("{within} {own} has more than {digits} digits behind its seconds, which {type_name} does not keep")
        }
        Violation::OtherClass(_)
        | Violation::NoneOf(_)
        | Violation::NotOfSet(_)
        | Violation::Misspelled(_)
        | Violation::Rounded { .. }
        | Violation::BeyondFloat { .. }
        | Violation::StrangeUuid => format!("{within} {own} {}", unlike(map, suspect, type_name)),
        Violation::RowOver { bytes } if suspect.check == &check::OVER_PACKET => {
            format!("{within} the values take more than the {bytes} bytes of the target's max_allowed_packet")
        }
        Violation::RowOver { bytes } => {
            format!("{within} the values take more than the stream's bound of {bytes} bytes")
        }
        Violation::Duplicate { by } => {
            let alike = if by.iter().all(Alike::is_exact) { "" } else { ", as the target compares," };
            let groups = if rows == 1 { "1 group".to_owned() } else { format!("{rows} groups") };
            format!("{groups} of rows of \"{}\" agree{alike} in [{names}], which is unique at the target", map.source)
        }
        Violation::Twice { .. } => {
            format!("{within} [{names}], which is unique at the target, has what a row of another table brings too")
        }
        Violation::Orphan { .. } if suspect.check == &check::CROSSES_SCOPES => {
            format!("{within} [{names}] refers to a row that is of another scope, or does not travel")
        }
        Violation::Orphan { .. } => {
            format!("{within} [{names}] refers to a parent that is not there, or that its filter keeps back")
        }
    };
    let way_out = match (&suspect.violation, target.map(|c| &c.kind)) {
        (Violation::Outside { .. }, Some(Kind::Bool)) => "Map { sql: \"v <> 0\" }, or use an integer at the target.",
        _ => suspect.check.way_out,
    };
    let finding = Finding::new(suspect.check, message, way_out).table(&map.source).count(rows);
    if suspect.columns.len() == 1 { finding.column(&names) } else { finding }
}
