//! The way back: for each source column whether its value can be had from the target, derived, given, or lost.
//!
//! A plain column goes back by its name. A cast goes back by the opposite cast where it keeps every value. Everything
//! else must be given in SQL of the target's engine (`reverse`), which the target judges as the source judges `sql`.
//! What is neither is lost, and said.

use super::columns::{Columns, by_affinity, has_word};
use super::keys::ResolvedKey;
use super::model::{At, ColumnPlan, ColumnSource, Plan};
use super::resolve::{Notes, Pair, Wanted};
use super::suggest::did_you_mean;
use crate::check;
use crate::mapping::{Misfit, Origin, wire_kind};
use crate::schema::{Column, Kind};

/// How one source column comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    pub column: String,
    pub how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// From this target column, as it is.
    Name(String),
    /// From this target column, converted into the source's type.
    Cast(String, String),
    /// By the plan's own SQL.
    Given(String),
    /// Why it is lost.
    Lost(String),
}

/// Every expression of which the target must be asked, by the target table: the reverses, and what tells our rows.
pub fn wanted_reverses(plan: &Plan) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for table in &plan.tables {
        let own = table.columns.iter().flat_map(|c| c.iter()).filter_map(|c| c.reverse.as_ref());
        for sql in own.chain(table.reverse.iter().map(|(_, sql)| sql)).filter(|sql| !is_null(sql)) {
            let entry = Wanted { from: table.to_or_from().value.clone(), sql: sql.value.clone(), is_filter: false };
            if !wanted.contains(&entry) {
                wanted.push(entry);
            }
        }
        if let Some(sql) = &table.owned {
            wanted.push(Wanted { from: table.to_or_from().value.clone(), sql: sql.value.clone(), is_filter: true });
        }
    }
    wanted
}

fn is_null(sql: &str) -> bool {
    sql.trim().eq_ignore_ascii_case("null")
}

pub(super) fn resolve(pair: &Pair, columns: &Columns, key: &ResolvedKey, notes: &mut Notes) -> Vec<Back> {
    let given = given(pair, key, notes);
    let mut backs = Vec::new();
    // What the source computes by itself comes back by itself.
    for column in pair.source.columns.iter().filter(|c| !c.generated) {
        let how = match given.iter().find(|(name, _)| *name == column.name) {
            Some((_, sql)) => How::Given(sql.clone()),
            None => derived(pair, columns, column),
        };
        if let How::Lost(why) = &how {
            let skip = pair.plan.skip.iter().find(|s| s.value == column.name);
            let spot = skip.unwrap_or(&pair.plan.from);
            let message = format!("rollback loses column \"{}\" of \"{}\": {why}", column.name, pair.source.name);
            notes.column = Some(column.name.clone());
            notes.warn(&check::ROLLBACK_LOSES, spot, message);
            notes.column = None;
        }
        backs.push(Back { column: column.name.clone(), how });
    }
    backs
}

/// What the plan gives: source column and SQL, each checked.
fn given(pair: &Pair, key: &ResolvedKey, notes: &mut Notes) -> Vec<(String, String)> {
    let mut all: Vec<(String, &At<String>)> = Vec::new();
    for column in pair.plan.columns.iter().flat_map(|c| c.iter()) {
        let Some(sql) = &column.reverse else { continue };
        match only_source(pair, column) {
            Some(name) => all.push((name, sql)),
            None => {
                let message = format!("\"reverse\" of \"{}\" gives back more than one column", column.target.value);
                let hint = "say it beside `columns`: reverse: { first: \"…\", last: \"…\" }";
                notes.at(&check::REVERSE, sql, message, hint);
            }
        }
    }
    for (name, sql) in &pair.plan.reverse {
        if pair.source.column(name).is_none() {
            let names = pair.source.columns.iter().map(|c| c.name.as_str());
            let hint = did_you_mean(name, names).unwrap_or_else(|| "name a column of the source".to_owned());
            let message = format!("\"{}\" has no column \"{}\" to give back", pair.source.name, name.shown);
            notes.at(&check::SOURCE_COLUMN, name, message, hint);
            continue;
        }
        all.push((name.value.clone(), sql));
    }
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, sql) in all {
        let Some(column) = pair.source.column(&name) else { continue };
        notes.column = Some(name.clone());
        let problem = if found.iter().any(|(n, _)| *n == name) {
            Some((format!("\"{name}\" is given back twice"), "remove one of the two".to_owned()))
        } else if key.source.iter().any(|k| k.name == name) {
            Some((
                format!("\"{name}\" is part of the key, which goes back by its name"),
                "remove \"reverse\"".to_owned(),
            ))
        } else {
            unfit(pair, column, sql).map(|why| (format!("this reverse can't be used: {why}"), HINT.to_owned()))
        };
        match problem {
            Some((message, hint)) => notes.at(&check::REVERSE, sql, message, hint),
            None => found.push((name, sql.value.clone())),
        }
        notes.column = None;
    }
    found
}

const HINT: &str =
    "an immutable expression of the target's engine over columns of the target's row, of the source's type";

/// The one source column of which a target column is made.
fn only_source(pair: &Pair, column: &ColumnPlan) -> Option<String> {
    match &column.source.value {
        ColumnSource::Column(name) | ColumnSource::Cast { column: name, .. } => Some(name.clone()),
        ColumnSource::Sql(sql) => {
            let mut named = pair.source.columns.iter().filter(|c| has_word(sql, &c.name));
            let first = named.next()?;
            named.next().is_none().then(|| first.name.clone())
        }
        ColumnSource::Const(_) => None,
    }
}

/// Why this SQL does not give the column back. Of a table that is yet to be made it is known once it is there.
fn unfit(pair: &Pair, column: &Column, sql: &At<String>) -> Option<String> {
    if is_null(sql) {
        return (!column.nullable).then(|| format!("\"{}\" may not be null", column.name));
    }
    pair.target?;
    let asked = (pair.plan.to_or_from().value.clone(), sql.value.clone());
    let kind = match pair.facts.reverses.get(&asked) {
        Some(Ok(kind)) => kind.as_ref()?,
        Some(Err(why)) => return Some(why.clone()),
        None => return Some("the target was not asked about it".to_owned()),
    };
    match wire_kind(pair.facts.target_engine, kind, pair.facts.source_engine, &column.kind) {
        Ok(_) => None,
        Err(Misfit::Lossy(why)) => {
            Some(format!("it gives {}, and \"{}\" is {}: {why}", kind.name(), column.name, column.type_name))
        }
        Err(Misfit::Unsupported) => {
            Some(format!("it gives {}, which has no meaning in {}", kind.name(), column.type_name))
        }
    }
}

fn derived(pair: &Pair, columns: &Columns, column: &Column) -> How {
    let (from, to) = (pair.facts.source_engine, pair.facts.target_engine);
    let by_name = |o: &Origin| matches!(o, Origin::Column(name) if *name == column.name);
    if let Some(wire) = columns.wire.iter().find(|w| by_name(&w.origin)) {
        if columns.lossy.contains(&wire.target.name) {
            return How::Lost(format!(
                "its values change on their way into {}, as the plan accepts",
                wire.target.type_name
            ));
        }
        // What can travel there without loss is held by both; a wider type only takes more.
        return match wire_kind(to, &by_affinity(to, &wire.source_kind, &wire.target), from, &column.kind) {
            Ok(_) => How::Name(wire.target.name.clone()),
            Err(_) => How::Cast(wire.target.name.clone(), column.type_name.clone()),
        };
    }
    let plans = || pair.plan.columns.iter().flat_map(|c| c.iter());
    let cast =
        plans().find(|c| matches!(&c.source.value, ColumnSource::Cast { column: name, .. } if *name == column.name));
    if let Some(cast) = cast {
        let sql = cast.source.expression(from);
        let wire = columns.wire.iter().find(|w| matches!(&w.origin, Origin::Sql(text) if Some(text) == sql.as_ref()));
        return match wire {
            Some(w) if !columns.lossy.contains(&w.target.name) && keeps(&column.kind, &w.source_kind) => {
                How::Cast(w.target.name.clone(), column.type_name.clone())
            }
            _ => How::Lost(format!("its cast into \"{}\" may change values", cast.target.value)),
        };
    }
    let reads = |c: &&ColumnPlan| matches!(&c.source.value, ColumnSource::Sql(sql) if has_word(sql, &column.name));
    How::Lost(match plans().find(reads) {
        Some(made) => format!("only the expression of \"{}\" reads it", made.target.value),
        None if pair.plan.skip.iter().any(|s| s.value == column.name) => "it is skipped".to_owned(),
        None => "only the filter reads it".to_owned(),
    })
}

/// Whether a cast of one kind into another keeps every value apart, so that the cast back gives it again.
fn keeps(from: &Kind, to: &Kind) -> bool {
    use Kind::*;
    let whole = |precision: &Option<u32>, scale: &Option<u32>| precision.map(|p| p.saturating_sub(scale.unwrap_or(0)));
    let digits = |bits: u8| {
        if bits <= 16 {
            5
        } else if bits <= 32 {
            10
        } else {
            20
        }
    };
    match (from, to) {
        (Int { bits: a }, Int { bits: b }) => a <= b,
        (Int { bits }, Decimal { precision, scale }) => whole(precision, scale).is_none_or(|n| n >= digits(*bits)),
        (Int { bits }, Float { bits: 64 }) => *bits <= 32,
        (Int { .. }, Text { max_chars }) => max_chars.is_none_or(|n| n > 20),
        (Decimal { precision: p, scale: s }, Decimal { precision: q, scale: t }) => {
            let wide = whole(q, t).is_none_or(|n| whole(p, s).is_some_and(|m| m <= n));
            wide && t.is_none_or(|t| s.is_some_and(|s| s <= t))
        }
        (Decimal { .. } | Uuid | Bool, Text { max_chars: None }) => true,
        (Uuid, Text { max_chars: Some(n) }) => *n >= 36,
        (Float { bits: a }, Float { bits: b }) => a <= b,
        (Text { .. }, Text { max_chars: None }) | (Date, Timestamp) | (Bool, Int { .. }) => true,
        (Text { max_chars: Some(a) }, Text { max_chars: Some(b) }) => a <= b,
        _ => false,
    }
}
