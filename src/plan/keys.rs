//! A table pair's key: the source's, one to one at the target, of kinds that can be looked up exactly.

use super::columns::Columns;
use super::model::At;
use super::resolve::{Facts, Notes, Pair};
use super::suggest::did_you_mean;
use crate::check;
use crate::mapping::{Origin, WireColumn};
use crate::schema::{Column, EngineName, Kind, Table};

/// A pair's key.
pub(super) struct ResolvedKey {
    /// Indices of the key's wire columns, in the order of the source's index.
    pub wire: Vec<usize>,
    /// The source's key columns, in the same order.
    pub source: Vec<Column>,
    /// The columns of the target's index, constants and all.
    pub target: Vec<String>,
}

pub(super) fn resolve(pair: &Pair, columns: &Columns, notes: &mut Notes) -> Option<ResolvedKey> {
    let names = source_key(pair, notes)?;
    let source: Vec<Column> = names.iter().filter_map(|n| pair.source.column(n)).cloned().collect();
    let before = notes.problems.len();
    let wire: Vec<usize> = source.iter().filter_map(|column| key_column(pair, column, columns, notes)).collect();
    if wire.len() != names.len() || notes.problems.len() > before {
        return None;
    }
    let target = target_index(pair, &wire, columns, notes)?;
    Some(ResolvedKey { wire, source, target })
}

/// What to point at for the key.
fn spot<'a>(pair: &'a Pair, column: &str) -> (crate::plan::Span, &'a str) {
    match &pair.plan.key {
        Some(key) => match key.iter().find(|k| k.value == column) {
            Some(item) => (item.span, &item.shown),
            None => (key.span, ""),
        },
        None => (pair.plan.from.span, &pair.plan.from.shown),
    }
}

/// The key's columns in the order of their index; the plan may name them in any order.
fn source_key(pair: &Pair, notes: &mut Notes) -> Option<Vec<String>> {
    let table = pair.source;
    let Some(key) = &pair.plan.key else {
        if table.primary_key.is_empty() {
            let message = format!("\"{}\" has no primary key", table.name);
            notes.at(&check::NO_KEY, &pair.plan.from, message, usable(table));
            return None;
        }
        return not_null(pair, table.primary_key.clone(), notes);
    };
    let mut known = true;
    for name in key.iter().filter(|name| table.column(name).is_none()) {
        let hint = did_you_mean(name, table.columns.iter().map(|c| c.name.as_str())).unwrap_or_else(|| usable(table));
        notes.at(&check::SOURCE_COLUMN, name, format!("\"{}\" has no column \"{}\"", table.name, name.shown), hint);
        known = false;
    }
    if !known || key.is_empty() {
        return None;
    }
    let same = |other: &&[String]| other.len() == key.len() && key.iter().all(|k| other.contains(&k.value));
    match indexes(table).find(same) {
        Some(index) => not_null(pair, index.to_vec(), notes),
        None => {
            let shown = key.iter().map(|k| k.shown.as_str()).collect::<Vec<_>>().join(", ");
            let message =
                format!("[{shown}] is neither the primary key nor a whole unique index of \"{}\"", table.name);
            notes.place(&check::KEY_NOT_UNIQUE, key.span, "", message, usable(table));
            None
        }
    }
}

/// The primary key, then the whole unique indexes.
fn indexes(table: &Table) -> impl Iterator<Item = &[String]> {
    let whole = table.uniques.iter().filter(|u| !u.partial).map(|u| u.columns.as_slice());
    std::iter::once(table.primary_key.as_slice()).filter(|key| !key.is_empty()).chain(whole)
}

fn not_null(pair: &Pair, names: Vec<String>, notes: &mut Notes) -> Option<Vec<String>> {
    let nullable: Vec<_> = pair.source.columns.iter().filter(|c| c.nullable && names.contains(&c.name)).collect();
    for column in &nullable {
        let (span, shown) = spot(pair, &column.name);
        let message = format!("the key column \"{}\" of \"{}\" may be null", column.name, pair.source.name);
        notes.place(
            &check::KEY_NULLABLE,
            span,
            shown,
            message,
            format!("declare it NOT NULL there, or use another key: {}", usable(pair.source)),
        );
    }
    nullable.is_empty().then_some(names)
}

/// The way out: a key that the table does have.
fn usable(table: &Table) -> String {
    match indexes(table).find(|index| table.is_key(index)) {
        Some(index) => format!("key: [{}]", index.join(", ")),
        None => format!(
            "give \"{}\" a primary key, or a unique index over columns that are NOT NULL and key: […]",
            table.name
        ),
    }
}

/// The wire column of one key column.
fn key_column(pair: &Pair, source: &Column, columns: &Columns, notes: &mut Notes) -> Option<usize> {
    let (span, shown) = spot(pair, &source.name);
    let named = |w: &WireColumn| matches!(&w.origin, Origin::Column(name) if *name == source.name);
    let Some((i, wire)) = columns.wire.iter().enumerate().find(|(_, w)| named(w)) else {
        // A mapped one that is unusable has its own problem.
        if !columns.renamed.contains(&source.name) {
            let message = format!("the key column \"{}\" is not mapped", source.name);
            notes.place(
                &check::KEY_NOT_MAPPED,
                span,
                shown,
                message,
                format!("map it by its name: columns: {{ {0}: {0} }}", source.name),
            );
        }
        return None;
    };
    if columns.lossy.contains(&wire.target.name) {
        let message = format!("the key column \"{}\" would lose values: two keys could become one", source.name);
        notes.place(&check::KEY_LOSSY, span, shown, message, "widen the target's column; a key can't be lossy");
        return None;
    }
    for kind in [&wire.source_kind, &wire.target.kind] {
        if !can_be_key(kind) {
            let message =
                format!("the key column \"{}\" is {}, which can't be looked up exactly", source.name, kind.name());
            notes.place(
                &check::KEY_KIND,
                span,
                shown,
                message,
                "use a key of integers, text, uuid, bytes, decimals, dates or times",
            );
            return None;
        }
    }
    if matches!(source.kind, Kind::Text { .. }) && !matches!(wire.wire, Kind::Text { .. }) {
        let at = At { value: (), span, shown: shown.to_owned() };
        let kind = wire.wire.name();
        notes.warn(
            &check::KEY_SPELLING,
            &at,
            format!(
                "the key column \"{}\" is text that travels as {kind}: two spellings of one {kind} are one key",
                source.name
            ),
        );
    }
    Some(i)
}

fn can_be_key(kind: &Kind) -> bool {
    !matches!(kind, Kind::Float { .. } | Kind::Json | Kind::Opaque(_))
}

/// At the target, the same columns and perhaps constants are a key: one row there for each of ours, and none else.
fn target_index(pair: &Pair, wire: &[usize], columns: &Columns, notes: &mut Notes) -> Option<Vec<String>> {
    let key: Vec<_> = wire.iter().map(|&i| columns.wire[i].target.name.clone()).collect();
    let Some(table) = pair.target else {
        let constants = columns.constants.iter().filter(|_| pair.is_shared).map(|(c, _)| c.name.clone());
        return Some(constants.chain(key).collect());
    };
    let constant = |name: &String| columns.constants.iter().any(|(c, _)| c.name == *name);
    let serves = |index: &[String]| {
        key.iter().all(|k| index.contains(k))
            && index.iter().all(|c| key.contains(c) || constant(c))
            && table.is_key(index)
    };
    if let Some(index) = indexes(table).find(|index| serves(index)) {
        return Some(index.to_vec());
    }
    let (span, shown) = spot(pair, "");
    let message = format!("[{}] is no key of the target \"{}\"", key.join(", "), table.name);
    let hint = "there, make them the primary key, or NOT NULL with a unique index over exactly these columns";
    notes.place(&check::TARGET_KEY, span, shown, message, hint);
    None
}

/// Whether both stores order these keys alike. In doubt they do not: a chunk or digest then names its keys.
pub(super) fn ordered_alike<'a>(facts: &Facts, mut key: impl Iterator<Item = (&'a Column, &'a WireColumn)>) -> bool {
    let both_postgres = facts.source_engine == EngineName::Postgres && facts.target_engine == EngineName::Postgres;
    key.all(|(source, wire)| match (&source.kind, &wire.target.kind) {
        (Kind::Int { .. }, Kind::Int { .. }) | (Kind::Bool, Kind::Bool) | (Kind::Bytes, Kind::Bytes) => true,
        (Kind::Text { .. }, Kind::Text { .. }) => orders_by_bytes(source) && orders_by_bytes(&wire.target),
        // SQLite holds these as text or numbers, in whatever spelling the application chose.
        (Kind::Uuid, Kind::Uuid)
        | (Kind::Decimal { .. }, Kind::Decimal { .. })
        | (Kind::Date, Kind::Date)
        | (Kind::Time, Kind::Time)
        | (Kind::Timestamp, Kind::Timestamp)
        | (Kind::TimestampTz, Kind::TimestampTz) => both_postgres,
        _ => false,
    })
}

/// `char(n)` compares without the spaces at its end, whatever its collation.
fn orders_by_bytes(column: &Column) -> bool {
    let padded = ["character(", "char(", "bpchar"].iter().any(|p| column.type_name.to_ascii_lowercase().starts_with(p));
    column.binary_order && !padded && column.type_name != "character"
}
