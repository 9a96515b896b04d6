//! Two tables of a plan that go to one target table: each owns the rows of its own constant there, and no others.
//!
//! That is sound only where the constant is part of the key at the target and the constants differ for the target too:
//! then no key of one is a key of the other, and every statement, which is bounded by the constant, touches its own.

use super::model::Plan;
use super::resolve::{Notes, Pair};
use crate::check;
use crate::mapping::TableMap;
use crate::schema::{Column, Kind, NewTable};
use crate::value::{Key, Value};

/// Each pair of tables with one target must have keys that can't meet.
pub(super) fn check(plan: &Plan, maps: &[&TableMap], notes: &mut Notes) {
    for (i, map) in maps.iter().enumerate() {
        let Some(other) = maps[..i].iter().find(|other| other.target == map.target && !are_apart(map, other)) else {
            continue;
        };
        let line = |map: &TableMap| plan.table_plan(map.id).map(|t| t.to_or_from().span.line).unwrap_or_default();
        let Some(own) = plan.table_plan(map.id) else { continue };
        let message = format!(
            "\"{}\" is the target of another table too, in line {}, and no constant in its key tells their rows apart",
            map.target,
            line(other)
        );
        let hint = "columns: { system: { const: … } } with another value in each, in a column of the target's key";
        notes.table = Some(map.target.to_string());
        notes.at(&check::SAME_TARGET, own.to_or_from(), message, hint);
    }
}

/// Whether a constant that is part of both keys has another value in each.
pub(super) fn are_apart(one: &TableMap, other: &TableMap) -> bool {
    are_apart_in(one, other, &one.target_unique) && are_apart_in(one, other, &other.target_unique)
}

/// The same for an index of the target.
pub(super) fn are_apart_in(one: &TableMap, other: &TableMap, index: &[String]) -> bool {
    one.constants
        .iter()
        .filter(|(column, _)| index.contains(&column.name))
        .any(|(column, value)| other.constants.iter().any(|(c, v)| c.name == column.name && differ(column, value, v)))
}

/// Whether the target can't take the two for one value. Of a collation that folds only this much is known: letters of
/// ASCII that differ by more than their case are different.
fn differ(column: &Column, one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) if matches!(column.kind, Kind::Text { .. }) && !column.binary_order => {
            let plain = |t: &str| t.chars().all(|c| c.is_ascii_graphic());
            plain(one) && plain(other) && !one.eq_ignore_ascii_case(other)
        }
        _ => Key(vec![one.clone()]).canonical() != Key(vec![other.clone()]).canonical(),
    }
}

/// Of two texts the one with more room.
fn wider(one: &Column, other: &Column) -> Option<Column> {
    let (Kind::Text { max_chars: a }, Kind::Text { max_chars: b }) = (&one.kind, &other.kind) else { return None };
    let room = |n: &Option<u32>| n.unwrap_or(u32::MAX);
    let wider = if room(a) >= room(b) { one } else { other };
    Some(Column { nullable: one.nullable || other.nullable, ..wider.clone() })
}

/// What tells our rows at the target must be as sound as a filter at the source.
pub(super) fn check_owned(pair: &Pair, notes: &mut Notes) {
    let Some(owned) = &pair.plan.owned else { return };
    // The engine's lists of rows have such names, beside the table's own.
    let is_ours = |name: &str| name.strip_prefix(['c', 'C']).is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()));
    let why = match pair.target {
        None => Some("the table is yet to be made, and then all of its rows are ours".to_owned()),
        Some(target) if target.columns.iter().any(|c| is_ours(&c.name)) => {
            Some("a column of the target is called \"c\" and a number".to_owned())
        }
        Some(_) => {
            let asked = (pair.plan.to_or_from().value.clone(), owned.value.clone());
            pair.facts.reverses.get(&asked).cloned().unwrap_or_else(|| Err("the target was not asked".to_owned())).err()
        }
    };
    if let Some(why) = why {
        let hint = "an immutable condition of the target's engine over its own row, such as region = 'eu'";
        notes.at(&check::FILTER, owned, format!("\"owns\" can't be used: {why}"), hint);
    }
}

/// Adds a table that is to be made. One that two tables share has the columns of both; what only one of them fills may
/// be null.
pub(super) fn make(plan: &Plan, create: &mut Vec<NewTable>, new: NewTable, map: &TableMap, notes: &mut Notes) {
    let Some(made) = create.iter_mut().find(|t| t.name == new.name) else { return create.push(new) };
    let mut odd = None;
    for column in &mut made.columns {
        column.nullable |= !new.columns.iter().any(|c| c.name == column.name);
    }
    for column in new.columns {
        match made.columns.iter_mut().find(|c| c.name == column.name) {
            Some(known) if known.type_name == column.type_name => known.nullable |= column.nullable,
            Some(known) => match wider(known, &column) {
                Some(wider) => *known = wider,
                None => odd = Some((column.name, known.type_name.clone(), column.type_name)),
            },
            None => made.columns.push(Column { nullable: true, ..column }),
        }
    }
    let Some(own) = plan.table_plan(map.id) else { return };
    let same_key = made.primary_key.len() == new.primary_key.len()
        && new.primary_key.iter().all(|name| made.primary_key.contains(name));
    let message = match odd {
        Some((name, one, other)) => format!("\"{name}\" of \"{}\" would be {one} and {other}", made.name),
        None if !same_key => format!(
            "the key of \"{}\" would be [{}] and [{}]",
            made.name,
            made.primary_key.join(", "),
            new.primary_key.join(", ")
        ),
        None => return,
    };
    notes.table = Some(map.target.to_string());
    notes.at(&check::SAME_TARGET, own.to_or_from(), message, "make the table at the target, as both are to see it");
}
