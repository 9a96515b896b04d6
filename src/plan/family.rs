//! What only all tables together show: foreign keys and the order they force, and keys that nobody will number.

use super::model::Plan;
use super::problem::Problem;
use super::resolve::{Facts, Resolved};
use crate::check;
use crate::finding::Finding;
use crate::mapping::TableMap;
use crate::schema::{EngineName, ForeignKey, Kind, Table, TableName};

/// Problems and warnings of tables that are right each by itself.
pub fn examine_family(plan: &Plan, facts: &Facts, resolved: &Resolved) -> Vec<Problem> {
    let mut found = rings(plan, facts, resolved);
    for map in &resolved.layout.tables {
        let mut add = |finding| found.push(plan.at_target(map.id, finding));
        if let Some(target) = facts.target.get(&map.target) {
            cascades(resolved, map, target).into_iter().for_each(&mut add);
            outside_parents(resolved, map, target).into_iter().for_each(&mut add);
            // A table that we make numbers its key as the source does.
            if facts.target_engine != EngineName::Sqlite {
                numbering(map).into_iter().for_each(&mut add);
            }
        }
    }
    found
}

/// A ring of foreign keys over several tables has no order in which rows can be written, unless they are checked only
/// when an entry is whole, as on SQLite.
fn rings(plan: &Plan, facts: &Facts, resolved: &Resolved) -> Vec<Problem> {
    if facts.target_engine == EngineName::Sqlite {
        return Vec::new();
    }
    let several = resolved.cycles.iter().filter(|ring| ring.len() > 1);
    several
        .filter_map(|ring| {
            let names = ring.iter().map(|t| format!("\"{t}\"")).collect::<Vec<_>>().join(", ");
            let first = resolved.layout.tables.iter().find(|t| Some(&t.target) == ring.first())?;
            let message = format!("the foreign keys of the target's tables {names} go round");
            let hint = "drop one of them there until the migration is finished";
            Some(plan.at_target(first.id, Finding::new(&check::KEY_RING, message, hint).table(&first.target)))
        })
        .collect()
}

fn by_target<'a>(resolved: &'a Resolved, name: &TableName) -> Option<&'a TableMap> {
    resolved.layout.tables.iter().find(|t| t.target == *name)
}

/// A cascade at the target would take rows along that a later entry still needs.
fn cascades(resolved: &Resolved, map: &TableMap, target: &Table) -> Vec<Finding> {
    let ours = |key: &&ForeignKey| key.on_delete_cascades && by_target(resolved, &key.references).is_some();
    let finding = |key: &ForeignKey| {
        let (name, parent) = (&key.name, &key.references);
        let message = format!(
            "the target's foreign key \"{name}\" of \"{}\" changes rows when one of \"{parent}\" is deleted",
            map.target
        );
        let hint = "make it NO ACTION until the migration is finished: the source's own deletes arrive by themselves";
        Finding::new(&check::TARGET_CASCADE, message, hint).table(&map.target)
    };
    target.foreign_keys.iter().filter(ours).map(finding).collect()
}

fn outside_parents(resolved: &Resolved, map: &TableMap, target: &Table) -> Vec<Finding> {
    let filled = |name: &String| {
        map.columns.iter().map(|w| &w.target).chain(map.constants.iter().map(|(c, _)| c)).any(|c| c.name == *name)
    };
    let outside = |key: &&ForeignKey| by_target(resolved, &key.references).is_none() && key.columns.iter().all(filled);
    let finding = |key: &ForeignKey| {
        let message = format!(
            "the target's foreign key \"{}\" of \"{}\" refers to \"{}\", which the plan does not move",
            key.name, map.target, key.references
        );
        let hint = "move that table too, or fill it first: a row whose parent is not there is refused";
        Finding::new(&check::OUTSIDE_PARENT, message, hint).table(&map.target)
    };
    target.foreign_keys.iter().filter(outside).map(finding).collect()
}

/// A single integer key that the source fills by itself, and the target does not.
fn numbering(map: &TableMap) -> Option<Finding> {
    let ([source], [wire]) = (&map.source_key[..], &map.key[..]) else { return None };
    let target = &map.columns[*wire].target;
    let numbers = |has_default: bool, kind: &Kind| has_default && matches!(kind, Kind::Int { .. });
    if !numbers(source.has_default, &source.kind) || target.has_default || target.identity_always {
        return None;
    }
    let message = format!(
        "the source numbers \"{}\" by itself, \"{}\" of the target \"{}\" has no default",
        source.name, target.name, map.target
    );
    let hint = "give it an identity there before the target's application inserts rows of its own";
    Some(Finding::new(&check::NUMBERING, message, hint).table(&map.target).column(&target.name))
}
