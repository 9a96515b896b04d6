//! Which columns of a table pair travel, in which kind; and what of both tables would be left over.

use std::collections::HashSet;

use super::consts;
use super::derive;
use super::model::{At, ColumnPlan, ColumnSource};
use super::resolve::{EXPRESSION_HINT, Notes, Pair};
use super::suggest::did_you_mean;
use crate::check;
use crate::mapping::{Misfit, Origin, WireColumn, has_text, wire_kind};
use crate::schema::{Column, EngineName, Kind, Table};
use crate::value::Value;

/// What was found usable; problems are in the notes.
#[derive(Default)]
pub(super) struct Columns {
    pub wire: Vec<WireColumn>,
    pub constants: Vec<(Column, Value)>,
    /// Source columns that the plan sends by a plain rename, usable or not.
    pub renamed: HashSet<String>,
    /// Target columns into which values go only lossily, as the plan accepts.
    pub lossy: HashSet<String>,
}

pub(super) fn resolve(pair: &Pair, notes: &mut Notes) -> Columns {
    check_skips(pair, notes);
    let mut columns = Columns::default();
    let assignments = assignments(pair);
    for assignment in &assignments {
        if let ColumnSource::Column(name) = &assignment.source.value {
            columns.renamed.insert(name.clone());
        }
        notes.column = Some(assignment.target.value.clone());
        add(pair, assignment, &mut columns, notes);
    }
    notes.column = None;
    check_sources(pair, &columns, notes);
    check_targets(pair, &assignments, notes);
    columns
}

/// The plan's columns, or every column that isn't skipped under its own name.
fn assignments(pair: &Pair) -> Vec<ColumnPlan> {
    if let Some(columns) = &pair.plan.columns {
        return columns.value.clone();
    }
    let (from, to) = (&pair.plan.from, pair.plan.to_or_from());
    let skipped = |name: &str| pair.plan.skip.iter().any(|s| s.value == name);
    let same = |column: &Column| ColumnPlan {
        target: At { value: column.name.clone(), span: to.span, shown: to.shown.clone() },
        source: At { value: ColumnSource::Column(column.name.clone()), span: from.span, shown: from.shown.clone() },
        accept_lossy: false,
        reverse: None,
    };
    pair.source.columns.iter().filter(|c| !skipped(&c.name)).map(same).collect()
}

fn names(table: &Table) -> impl Iterator<Item = &str> {
    table.columns.iter().map(|c| c.name.as_str())
}

fn check_skips(pair: &Pair, notes: &mut Notes) {
    for skip in &pair.plan.skip {
        if pair.source.column(skip).is_none() {
            let hint = did_you_mean(skip, names(pair.source)).unwrap_or_else(|| "remove it".to_owned());
            notes.at(
                &check::SOURCE_COLUMN,
                skip,
                format!("\"{}\" has no column \"{}\" to skip", pair.source.name, skip.shown),
                hint,
            );
        }
    }
}

fn add(pair: &Pair, column: &ColumnPlan, columns: &mut Columns, notes: &mut Notes) {
    let target = target_column(pair, column, notes);
    if let ColumnSource::Const(value) = &column.source.value {
        let made =
            || consts::kind_of(value).and_then(|k| derive::made(&column.target, &k, false, pair.facts.target_engine));
        let Some(target) = target.unwrap_or_else(made) else { return };
        match consts::parse(value, &column.source.shown, &target.kind) {
            Ok(value) => columns.constants.push((target, value)),
            Err(why) => {
                let message = format!("\"{}\" takes {}: {why}", target.name, target.type_name);
                notes.at(&check::CONSTANT, &column.source, message, consts::example(&target.name, &target.kind));
            }
        }
        return;
    }
    let Some(source) = source_of(pair, column, notes) else { return };
    let target = match target {
        Some(Some(target)) => target,
        Some(None) => return,
        None => match new_column(pair, column, &source) {
            Some(target) => target,
            None => return misfit(pair, column, &source.kind, None, notes),
        },
    };
    let kind = source.kind.clone().unwrap_or_else(|| target.kind.clone());
    if let Some(wire) = wire(pair, column, &source, &kind, &target, columns, notes) {
        columns.wire.push(WireColumn { origin: source.origin, source_kind: kind, wire, target });
    }
}

/// `None`: the target table is to be made. `Some(None)`: there is no such column, which is noted.
fn target_column(pair: &Pair, column: &ColumnPlan, notes: &mut Notes) -> Option<Option<Column>> {
    let table = pair.target?;
    let name = &column.target;
    let Some(found) = table.column(name) else {
        let message = format!("the target \"{}\" has no column \"{}\"", table.name, name.value);
        let hint = match (did_you_mean(name, names(table)), &pair.plan.columns) {
            (Some(hint), _) => hint,
            (None, Some(_)) => "remove it, or add the column to the target".to_owned(),
            (None, None) => format!("skip: [{0}], or name what it becomes: columns: {{ …: {0} }}", name.value),
        };
        notes.at(&check::TARGET_COLUMN, name, message, hint);
        return Some(None);
    };
    if found.generated {
        let message = format!("the target computes \"{}\" itself: it can't be written", name.value);
        let hint = match (&column.source.value, &pair.plan.columns) {
            (ColumnSource::Column(source), None) => format!("skip: [{source}]"),
            _ => format!("remove \"{}\" from columns, and skip its source", name.value),
        };
        notes.at(&check::GENERATED, name, message, hint);
        return Some(None);
    }
    Some(Some(found.clone()))
}

/// What a column plan reads. `kind` is `None` where the source's types are dynamic.
struct Read<'a> {
    origin: Origin,
    kind: Option<Kind>,
    column: Option<&'a Column>,
}

fn source_of<'a>(pair: &Pair<'a>, column: &ColumnPlan, notes: &mut Notes) -> Option<Read<'a>> {
    match &column.source.value {
        ColumnSource::Column(name) => {
            let found = named(pair, column, name, notes)?;
            Some(Read { origin: Origin::Column(name.clone()), kind: Some(found.kind.clone()), column: Some(found) })
        }
        ColumnSource::Cast { column: name, to } => {
            named(pair, column, name, notes)?;
            // SQLite takes any word for a type.
            if pair.facts.source_engine == EngineName::Sqlite && affinity(to).is_none() && !is_numeric(to) {
                let message = format!("\"{name}\" can't be cast to {to}: SQLite has no such class of values");
                notes.at(&check::EXPRESSION, &column.source, message, "INTEGER, REAL, NUMERIC, TEXT or BLOB");
                return None;
            }
            let sql = column.source.expression(pair.facts.source_engine)?;
            match pair.expression(&sql) {
                Ok(kind) => Some(Read { origin: Origin::Sql(sql), kind: kind.or_else(|| affinity(to)), column: None }),
                Err(why) => {
                    let message = format!("\"{name}\" can't be cast to {to}: {why}");
                    let hint = "a type into which the source converts by the row alone; or sql: with an expression";
                    notes.at(&check::EXPRESSION, &column.source, message, hint);
                    None
                }
            }
        }
        ColumnSource::Sql(sql) => match pair.expression(sql) {
            Ok(kind) => Some(Read { origin: Origin::Sql(sql.clone()), kind, column: None }),
            Err(why) => {
                notes.at(&check::EXPRESSION, &column.source, format!("this sql can't be used: {why}"), EXPRESSION_HINT);
                None
            }
        },
        ColumnSource::Const(_) => None,
    }
}

fn named<'a>(pair: &Pair<'a>, column: &ColumnPlan, name: &str, notes: &mut Notes) -> Option<&'a Column> {
    let found = pair.source.column(name);
    if found.is_none() {
        let hint = did_you_mean(name, names(pair.source))
            .unwrap_or_else(|| format!("its columns: {}", names(pair.source).collect::<Vec<_>>().join(", ")));
        let message = format!("\"{}\" has no column \"{}\"", pair.source.name, column.source.shown);
        notes.at(&check::SOURCE_COLUMN, &column.source, message, hint);
    }
    found
}

fn is_numeric(to: &str) -> bool {
    ["NUMERIC", "DECIMAL"].iter().any(|word| to.to_ascii_uppercase().starts_with(word))
}

/// What a cast of SQLite's gives, where its type's name says so.
fn affinity(to: &str) -> Option<Kind> {
    let to = to.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|w| to.contains(w));
    if has(&["INT"]) {
        Some(Kind::Int { bits: 64 })
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        Some(Kind::Text { max_chars: None })
    } else if has(&["BLOB"]) {
        Some(Kind::Bytes)
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Some(Kind::Float { bits: 64 })
    } else {
        None
    }
}

fn new_column(pair: &Pair, column: &ColumnPlan, source: &Read) -> Option<Column> {
    let (from, to) = (pair.facts.source_engine, pair.facts.target_engine);
    match source.column {
        Some(found) => derive::copied(&column.target, found, from, to),
        None => {
            let kind = source.kind.clone().unwrap_or(Kind::Text { max_chars: None });
            derive::made(&column.target, &derive::as_text(from, &kind), true, to)
        }
    }
}

/// The kind in which a column travels, unless that would change values behind the plan's back.
fn wire(
    pair: &Pair,
    column: &ColumnPlan,
    source: &Read,
    kind: &Kind,
    target: &Column,
    columns: &mut Columns,
    notes: &mut Notes,
) -> Option<Kind> {
    let (from, to) = (pair.facts.source_engine, pair.facts.target_engine);
    let spot = if pair.plan.columns.is_some() { &column.target } else { &pair.plan.from };
    match wire_kind(from, kind, to, &by_affinity(to, kind, target)) {
        Ok(wire) => {
            if column.accept_lossy {
                notes.warn(
                    &check::LOSSY_NEEDLESS,
                    spot,
                    format!("\"{}\" loses nothing: \"accept: lossy\" is not needed", target.name),
                );
            }
            Some(wire)
        }
        Err(Misfit::Lossy(why)) if column.accept_lossy => {
            notes.warn(
                &check::LOSSY_ACCEPTED,
                spot,
                format!("\"{}\" loses values, as the plan accepts: {why}", target.name),
            );
            columns.lossy.insert(target.name.clone());
            Some(target.kind.clone())
        }
        Err(Misfit::Lossy(why)) => {
            let accepted = match &column.source.value {
                ColumnSource::Sql(_) => format!("{{ sql: …, accept: lossy }} for {}", target.name),
                ColumnSource::Cast { column, to } => {
                    format!("{}: {{ from: {column}, cast: \"{to}\", accept: lossy }}", target.name)
                }
                _ => format!("{}: {{ from: {}, accept: lossy }}", target.name, origin_name(column)),
            };
            let message = format!("\"{}\" would lose values in {}: {why}", origin_name(column), target.type_name);
            notes.at(&check::LOSSY, spot, message, format!("widen the target's column, or accept it: {accepted}"));
            None
        }
        Err(Misfit::Unsupported) => {
            misfit(pair, column, &source.kind, Some(target), notes);
            None
        }
    }
}

/// A decimal in a column of text affinity is kept whole, however long: there it travels as decimal text.
pub(super) fn by_affinity(to: EngineName, source: &Kind, target: &Column) -> Kind {
    let is_text = to == EngineName::Sqlite && target.type_name.to_ascii_uppercase().contains("TEXT");
    match (source, &target.kind) {
        (Kind::Decimal { .. }, Kind::Decimal { .. }) if is_text => Kind::Text { max_chars: None },
        (_, kind) => kind.clone(),
    }
}

fn origin_name(column: &ColumnPlan) -> &str {
    match &column.source.value {
        ColumnSource::Column(name) | ColumnSource::Cast { column: name, .. } => name,
        _ => &column.source.shown,
    }
}

/// MySQL's types that have no text of their own.
const GEOMETRY: [&str; 5] = ["geometry", "point", "linestring", "polygon", "geometrycollection"];

fn misfit(pair: &Pair, column: &ColumnPlan, kind: &Option<Kind>, target: Option<&Column>, notes: &mut Notes) {
    let name = origin_name(column);
    let has = kind.as_ref().map_or("of no declared type", Kind::name);
    let takes = target.map_or_else(|| pair.facts.target_engine.to_string(), |t| t.type_name.clone());
    let is_text = target.is_none_or(|t| matches!(t.kind, Kind::Text { .. }));
    let cast = match pair.facts.source_engine {
        EngineName::Postgres => None,
        EngineName::MySql if GEOMETRY.iter().any(|g| has.ends_with(g)) => Some(format!("hex(`{name}`)")),
        EngineName::MySql => Some(format!("cast(`{name}` as char)")),
        EngineName::Sqlite => Some(format!("cast(\"{name}\" as text)")),
    };
    let hint = match (cast, kind) {
        (Some(cast), _) => {
            let into = if is_text { "" } else { ", into a text column" };
            format!("convert it: {}: {{ sql: '{cast}' }}{into}, or skip it", column.target.value)
        }
        // Such a cast is not immutable, so it can't be an expression.
        (None, Some(Kind::Opaque(own))) if has_text(EngineName::Postgres, own) => {
            "make the target's column a text, as which it travels, or skip it".to_owned()
        }
        (None, Some(Kind::Opaque(_))) => {
            "its text depends on a setting or on other tables: give the source a column of numeric or text, or skip it"
                .to_owned()
        }
        (None, _) => {
            let known = target.filter(|_| pair.facts.target_engine == EngineName::Postgres);
            let to = known.map_or("text", |t| t.type_name.as_str());
            format!("convert it: {}: {{ sql: '\"{name}\"::{to}' }}, or skip it", column.target.value)
        }
    };
    let spot = if pair.plan.columns.is_some() { &column.target } else { &pair.plan.from };
    notes.at(&check::NO_MEANING, spot, format!("\"{name}\" is {has}, which has no meaning in {takes}"), hint);
}

/// Where `columns` is given, each source column is mapped, used in an expression or the filter, or skipped.
fn check_sources(pair: &Pair, columns: &Columns, notes: &mut Notes) {
    let Some(plan) = &pair.plan.columns else { return };
    let expressions: Vec<_> = plan
        .iter()
        .filter_map(|c| match &c.source.value {
            ColumnSource::Sql(sql) => Some(sql.as_str()),
            _ => None,
        })
        .collect();
    let filter = pair.plan.filter.as_ref().map(|f| f.value.as_str());
    let is_cast = |name: &str| {
        plan.iter().any(|c| matches!(&c.source.value, ColumnSource::Cast { column, .. } if column == name))
    };
    for name in names(pair.source) {
        let used = columns.renamed.contains(name)
            || is_cast(name)
            || pair.plan.skip.iter().any(|s| s.value == name)
            || expressions.iter().copied().chain(filter).any(|sql| has_word(sql, name));
        if !used {
            let message = format!("\"{}\" of \"{}\" is neither mapped nor skipped", name, pair.source.name);
            notes.place(
                &check::LEFT_OVER,
                plan.span,
                "",
                message,
                format!("columns: {{ {name}: {name} }} or skip: [{name}]"),
            );
        }
    }
}

/// Whether a name occurs as a word of an expression. SQL folds case, so any case counts.
pub(super) fn has_word(sql: &str, name: &str) -> bool {
    let (sql, name) = (sql.to_lowercase(), name.to_lowercase());
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    sql.match_indices(&name).any(|(at, found)| {
        !sql[..at].ends_with(in_word) && !sql[at + found.len()..].starts_with(in_word) && !found.is_empty()
    })
}

/// Each target column that must have a value gets one.
fn check_targets(pair: &Pair, assignments: &[ColumnPlan], notes: &mut Notes) {
    let Some(table) = pair.target else { return };
    let needs = |c: &&Column| !c.nullable && !c.has_default && !c.generated && !c.identity_always;
    for column in table.columns.iter().filter(needs) {
        if assignments.iter().any(|a| a.target.value == column.name) {
            continue;
        }
        let message =
            format!("\"{}\" of the target \"{}\" must have a value, but none is mapped", column.name, table.name);
        let hint =
            format!("columns: {{ {0}: … }} or {{ {0}: {{ const: … }} }}, or give it a default there", column.name);
        match &pair.plan.columns {
            Some(columns) => notes.place(&check::MUST_HAVE_VALUE, columns.span, "", message, hint),
            None => notes.at(&check::MUST_HAVE_VALUE, pair.plan.to_or_from(), message, hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_as_a_whole_word_in_any_case() {
        assert!(has_word("lower(Email)", "email"));
        assert!(has_word("\"first name\" || x", "first name"));
        assert!(!has_word("lower(email_2)", "email"));
        assert!(!has_word("lower(email)", ""));
    }
}
