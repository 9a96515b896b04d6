//! Tolerances of a plan: which numbers may lie apart in a comparison, and how far.

use super::columns::Columns;
use super::resolve::{Notes, Pair};
use super::suggest::did_you_mean;
use crate::check;
use crate::schema::Kind;
use crate::value::Decimal;

pub(super) fn resolve(pair: &Pair, columns: &Columns, key: &[usize], notes: &mut Notes) -> Vec<(usize, Decimal)> {
    let mut found = Vec::new();
    for (name, tolerance) in &pair.plan.tolerance {
        notes.column = Some(name.value.clone());
        let Some(i) = columns.wire.iter().position(|w| w.target.name == name.value) else {
            let names = columns.wire.iter().map(|w| w.target.name.as_str());
            let hint =
                did_you_mean(name, names).unwrap_or_else(|| "name a target column to which one travels".to_owned());
            notes.at(&check::TOLERANCE, name, format!("nothing that travels arrives in \"{}\"", name.value), hint);
            continue;
        };
        let wire = &columns.wire[i].wire;
        if key.contains(&i) {
            let message = format!("\"{}\" is part of the key, which has no tolerance", name.value);
            notes.at(&check::TOLERANCE, name, message, "remove it: another key is another row");
        } else if !matches!(wire, Kind::Int { .. } | Kind::Decimal { .. } | Kind::Float { .. }) {
            let message = format!("\"{}\" travels as {}, which is no number", name.value, wire.name());
            notes.at(&check::TOLERANCE, name, message, "remove it: only numbers have a tolerance");
        } else {
            found.push((i, tolerance.value.clone()));
        }
    }
    notes.column = None;
    found
}
