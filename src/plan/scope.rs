//! The column by which ownership is divided: `cutover.scope_by`, or a table's own `scope_by`.
//!
//! A row's scope must mean the same at both stores, so its column travels by itself, in one kind, without loss. While
//! some scopes live on each side both stores take new rows: what is unique must then be so across the two, so it has
//! the scope in it, or is a uuid, or a number of which each store has a range of its own ([`has_ranges`]).

use super::columns::Columns;
use super::define::made_numbered;
use super::model::{At, Plan};
use super::resolve::{Notes, Pair};
use super::suggest::did_you_mean;
use crate::check;
use crate::finding::Violation;
use crate::mapping::{Layout, Origin, TableMap, WireColumn};
use crate::schema::{Column, EngineName, ForeignKey, Kind, Numbered, Table};

/// Places among the columns that travel.
pub(super) struct Divided {
    pub scope: usize,
    pub ranged: Option<usize>,
}

/// `None` where the plan has no scope, or it can't be used. `key`: the target's, which a table that is made will have.
pub(super) fn resolve(
    plan: &Plan,
    pair: &Pair,
    columns: &Columns,
    key: &[String],
    notes: &mut Notes,
) -> Option<Divided> {
    let by = pair.plan.scope_by.as_ref().or(plan.cutover.scope_by.as_ref())?;
    notes.column = Some(by.value.clone());
    let found = find(by, pair, columns, notes).map(|scope| {
        let ranged = (0..columns.wire.len()).find(|&i| has_ranges(plan, pair, &columns.wire[i], key));
        let is_used = check_uniques(by, pair, columns, scope, ranged, notes);
        Divided { scope, ranged: ranged.filter(|_| is_used) }
    });
    notes.column = None;
    found
}

/// Both stores number the column, and one of them by a sequence, which the other's numbers do not move: then the other
/// may take those from a boundary on. Behind the greatest that is there (SQLite without `AUTOINCREMENT`) no store can be
/// moved up, and of two that number behind the greatest one follows the other.
fn has_ranges(plan: &Plan, pair: &Pair, wire: &WireColumn, key: &[String]) -> bool {
    let Origin::Column(name) = &wire.origin else { return false };
    let Some(here) = pair.source.column(name).filter(|c| c.numbered != Numbered::No) else { return false };
    let there = match pair.target {
        Some(_) => wire.target.numbered,
        None => made_numbered(pair.facts.target_engine, &wire.target, key),
    };
    let can = matches!(
        (here.numbered, there),
        (Numbered::Counts, Numbered::Counts | Numbered::BehindGreatest) | (Numbered::BehindGreatest, Numbered::Counts)
    );
    let is_int = |kind: &Kind| matches!(kind, Kind::Int { bits: ..=64 });
    // In several pairs the boundary would have to be one for all.
    let once = plan.tables.iter().filter(|t| t.from.value == pair.plan.from.value).count() == 1 && !pair.is_shared;
    can && once && [&here.kind, &wire.wire, &wire.target.kind].into_iter().all(is_int)
}

fn find(by: &At<String>, pair: &Pair, columns: &Columns, notes: &mut Notes) -> Option<usize> {
    let table = &pair.source.name;
    let mut refuse = |why: String, hint: String| {
        let message = format!("\"{table}\" can't be divided by \"{}\": {why}", by.value);
        notes.at(&check::SCOPE, by, message, hint);
    };
    let Some(source) = pair.source.column(&by.value) else {
        let hint = did_you_mean(by, pair.source.columns.iter().map(|c| c.name.as_str()))
            .unwrap_or_else(|| "name a column that the table has, in the table's own \"scope_by\"".to_owned());
        refuse("the source has no such column".to_owned(), hint);
        return None;
    };
    let as_itself = |w: &WireColumn| w.origin == Origin::Column(by.value.clone());
    let Some(i) = columns.wire.iter().position(as_itself) else {
        refuse("it does not travel as it is".to_owned(), "map the column by its name".to_owned());
        return None;
    };
    let wire = &columns.wire[i];
    let (from, to) = (pair.facts.source_engine, pair.facts.target_engine);
    match (textual(from, source), textual(to, &wire.target)) {
        (Some(a), Some(b)) if a == b => Some(i),
        _ => {
            let (a, b) = (&source.type_name, &wire.target.type_name);
            let hint = "an integer, a text of varying length, or a native uuid, of the same kind on both sides";
            refuse(format!("{a} here and {b} there have no text in common for every value"), hint.to_owned());
            None
        }
    }
}

/// Kinds whose values have one text on every engine that holds them.
fn textual(engine: EngineName, column: &Column) -> Option<&'static str> {
    let type_name = column.type_name.to_ascii_lowercase();
    match column.kind {
        Kind::Int { .. } => Some("integer"),
        Kind::Uuid if engine != EngineName::Sqlite && type_name == "uuid" => Some("uuid"),
        // CHAR is padded, and its blanks count on one engine and not on another.
        Kind::Text { .. } if !type_name.starts_with("char(") && !type_name.starts_with("character(") => Some("text"),
        _ => None,
    }
}

/// Whether a unique key is told apart by the numbers' ranges alone.
fn check_uniques(
    by: &At<String>,
    pair: &Pair,
    columns: &Columns,
    scope: usize,
    ranged: Option<usize>,
    notes: &mut Notes,
) -> bool {
    let mut is_used = false;
    let target_scope = &columns.wire[scope].target.name;
    let sides = [(Some(pair.source), &by.value, "source"), (pair.target, target_scope, "target")];
    for (table, scope, side) in sides.into_iter().filter_map(|(t, s, side)| Some((t?, s, side))) {
        // What is a uuid on one side is one on both, whatever holds it.
        let is_random = |name: &String| {
            let own = |w: &&WireColumn| match side {
                "source" => w.origin == Origin::Column(name.clone()),
                _ => w.target.name == *name,
            };
            let wire = columns.wire.iter().find(own).is_some_and(|w| w.wire == Kind::Uuid);
            wire || table.column(name).is_some_and(|c| c.kind == Kind::Uuid)
        };
        let number = ranged.map(|i| &columns.wire[i]).and_then(|w| match (&w.origin, side) {
            (Origin::Column(name), "source") => Some(name),
            (_, "target") => Some(&w.target.name),
            _ => None,
        });
        for unique in undivided(table, scope, is_random) {
            if number.is_some_and(|number| unique.contains(number)) {
                is_used = true;
                continue;
            }
            let message = format!(
                "rows of two scopes may meet in [{}], which is unique in the {side}'s \"{}\" and has no \"{scope}\"",
                unique.join(", "),
                table.name
            );
            notes.at(&check::SCOPE_UNIQUE, by, message, check::SCOPE_UNIQUE.way_out);
        }
    }
    is_used
}

/// Unique keys in which rows of two scopes could meet.
fn undivided<'a>(
    table: &'a Table,
    scope: &'a String,
    is_random: impl Fn(&String) -> bool,
) -> impl Iterator<Item = &'a [String]> {
    let uniques = table.uniques.iter().map(|u| u.columns.as_slice());
    let all = std::iter::once(table.primary_key.as_slice()).chain(uniques).filter(|columns| !columns.is_empty());
    let mut seen: Vec<&[String]> = Vec::new();
    all.filter(move |columns| !columns.contains(scope) && !columns.iter().any(&is_random)).filter(move |columns| {
        let is_new = !seen.contains(columns);
        seen.push(columns);
        is_new
    })
}

/// Foreign keys of the source, between tables of the plan, that do not say that the parent is of the row's own scope:
/// what is to be counted.
pub(super) fn crossing(layout: &Layout, map: &TableMap, source: &Table) -> Vec<(Vec<usize>, Violation)> {
    let at = |m: &TableMap, name: &String| m.columns.iter().position(|w| w.origin == Origin::Column(name.clone()));
    let of_key = |key: &ForeignKey| {
        let parent = layout.tables.iter().find(|t| t.source == key.references)?;
        let (own, theirs) = (map.scope?, parent.scope?);
        let places: Option<Vec<(usize, usize)>> =
            key.columns.iter().zip(&key.referenced_columns).map(|(a, b)| Some((at(map, a)?, at(parent, b)?))).collect();
        let mut places = places?;
        if places.contains(&(own, theirs)) {
            return None;
        }
        places.push((own, theirs));
        let (columns, theirs) = places.into_iter().unzip();
        Some((columns, Violation::Orphan { parent: parent.id, columns: theirs }))
    };
    source.foreign_keys.iter().filter_map(of_key).collect()
}
