//! CHECK constraints of the target that the source does not have too. They are told, not tried: another team's
//! expression is no code to run at the source.

use super::model::Plan;
use super::problem::Problem;
use super::resolve::{Facts, Resolved};
use crate::check;
use crate::finding::{Finding, Rule};
use crate::mapping::{Origin, TableMap};
use crate::schema::Kind;

pub fn unshared_rules(
    plan: &Plan,
    facts: &Facts,
    resolved: &Resolved,
    source: &[Rule],
    target: &[Rule],
) -> Vec<Problem> {
    let same_engine = facts.source_engine == facts.target_engine;
    let mut found = Vec::new();
    for map in &resolved.layout.tables {
        let held = |rule: &Rule| {
            let alike = |s: &&Rule| s.table == map.source && bare(&s.text) == bare(&rule.text);
            is_of_json(map, rule) || same_engine && carries_alike(map, rule) && source.iter().any(|s| alike(&s))
        };
        for rule in target.iter().filter(|r| r.table == map.target && touches(map, r) && !held(r)) {
            let message = format!(
                "the target's constraint \"{}\" of \"{}\" is none of the source: {}",
                rule.name, map.target, rule.text
            );
            let hint = "look whether rows of the source break it; a row that it refuses stops the run with its key";
            let finding = Finding::new(&check::RULE_UNKNOWN, message, hint).table(&map.target);
            found.push(plan.at_target(map.id, finding));
        }
    }
    found
}

/// Whether it reads anything that we write.
fn touches(map: &TableMap, rule: &Rule) -> bool {
    let Some(columns) = &rule.columns else { return true };
    map.columns.iter().any(|w| columns.contains(&w.target.name))
}

/// Whether each column that it reads comes from the source's column of the same name, in the same kind.
fn carries_alike(map: &TableMap, rule: &Rule) -> bool {
    let carried = |name: &String| {
        let same = |o: &Origin| matches!(o, Origin::Column(from) if from == name);
        map.columns.iter().any(|w| w.target.name == *name && same(&w.origin) && w.source_kind == w.target.kind)
    };
    rule.columns.as_ref().is_some_and(|columns| columns.iter().all(carried))
}

/// Whether it only says that a column holds JSON, as MariaDB's type of that name does, and JSON is what comes.
fn is_of_json(map: &TableMap, rule: &Rule) -> bool {
    let text = bare(&rule.text);
    let is_of = |name: &str| text == format!("json_valid(`{}`)", name.replace('`', "``"));
    map.columns.iter().any(|w| w.source_kind == Kind::Json && is_of(&w.target.name))
}

/// Without the parentheses around the whole.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) else { return text };
    let mut depth = 0i32;
    let closes_early = inner.chars().any(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth < 0
    });
    if closes_early { text } else { bare(inner) }
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn only_parentheses_around_the_whole_are_taken_off() {
        assert_eq!(bare("((n < 5))"), "n < 5");
        assert_eq!(bare("(a) OR (b)"), "(a) OR (b)");
        assert_eq!(bare(" n < 5 "), "n < 5");
    }
}
