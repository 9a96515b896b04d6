//! The layout of the way back, and what the plan says of the cut over.

use crate::mapping::{BACK, Origin};
use crate::plan::testing::*;
use crate::plan::{Cutover, Hook, resolve, reverse};
use crate::schema::EngineName::{MySql, Postgres};
use crate::schema::Kind;

const TABLES: &str = "tables: [{ from: t, to: u, key: [a, b], columns: { kind: { const: crm }, b: b, a: a, note: text }, \
    skip: [extra], where: 'a > 0' }]";

fn world(target: crate::schema::EngineName) -> crate::plan::Facts {
    let source = table(Postgres, "t", "a int!;b int!;text text;extra text").keyed(&["a", "b"]);
    let made = table(target, "u", "kind text!;b int!;a int!;note text").keyed(&["kind", "a", "b"]);
    facts((Postgres, vec![source]), (target, vec![made])).saying("t", "a > 0", Ok(Some(Kind::Bool)))
}

#[test]
fn source_and_target_change_places_and_each_keeps_to_what_is_ours() {
    let facts = world(Postgres);
    let forward = resolved(&around(TABLES), &facts);
    let back = reverse(&forward, &facts).unwrap();
    let map = &back.tables[0];
    assert_eq!(back.migration, format!("{}{BACK}", forward.layout.migration));
    assert_eq!((map.source.name.as_str(), map.target.name.as_str()), ("u", "t"));
    let named: Vec<_> = map.columns.iter().map(|c| (c.origin.clone(), c.target.name.as_str())).collect();
    let from = |name: &str| Origin::Column(name.to_owned());
    assert_eq!(named, [(from("a"), "a"), (from("b"), "b"), (from("note"), "text")], "\"extra\" is lost");
    // What bounded the receiver is the sender's filter now, and the other way round.
    assert_eq!(map.owned.as_deref(), Some("a > 0"));
    assert!(map.filter.as_ref().is_some_and(|f| f.contains("\"kind\" = 'crm'")), "{:?}", map.filter);
    assert!(map.constants.is_empty());
    assert_eq!(map.target_unique, ["a", "b"]);
    assert_eq!(map.key.len(), 2);
}

#[test]
fn a_constants_spelling_counts_on_the_way_back_too() {
    let facts = world(MySql);
    let plan = plan_of("SOURCE", "MARIA", TABLES);
    let back = reverse(&resolved(&plan, &facts), &facts).unwrap();
    let filter = back.tables[0].filter.clone().unwrap();
    assert!(filter.contains("`kind` = 'crm'") && filter.contains("AS BINARY"), "{filter}");
}

#[test]
fn a_column_that_must_have_a_value_and_can_have_none_is_in_the_way() {
    let source = table(Postgres, "t", "id int!;needed text!");
    let made = table(Postgres, "u", "id int!");
    let facts = facts((Postgres, vec![source]), (Postgres, vec![made]));
    let plan = plan(&around("tables: [{ from: t, to: u, skip: [needed] }]"));
    let obstacles = reverse(&resolve(&plan, &facts).unwrap(), &facts).unwrap_err();
    assert!(obstacles.len() == 1 && obstacles[0].contains("\"needed\""), "{obstacles:?}");
}

#[test]
fn the_cut_over_has_defaults_and_its_hooks_are_programs() {
    assert_eq!(plan(&around("")).cutover, Cutover::default());
    assert!(plan(&around("")).guard_target);
    let text = "cutover: { max_write_pause: 1s, approvals: [crm, web], whole_tables: true }\nguard_target: false\n\
        hooks: { before_cutover: { run: [./freeze.sh, --all], timeout: 5s }, after_cutover: { run: [x], on_failure: abort } }\n\
        tables: [{ from: customers }]";
    let plan = plan(&around(text));
    let expected = Cutover {
        max_write_pause_ms: 1_000,
        approvals: vec!["crm".into(), "web".into()],
        whole_tables: true,
        ..Cutover::default()
    };
    assert_eq!(plan.cutover, expected);
    let before = Hook { run: vec!["./freeze.sh".into(), "--all".into()], timeout_ms: 5_000, aborts: true };
    assert_eq!(plan.hooks.before_cutover, Some(before));
    assert!(plan.hooks.after_cutover.is_some_and(|hook| hook.aborts));
    assert!(!plan.guard_target);
}

#[test]
fn what_is_wrong_with_it_has_a_place() {
    for (text, message) in [
        ("cutover: { max_write_pause: 1ms }", "max_write_pause"),
        ("cutover: { lock_timeout: 2s }", "lock_timeout"),
        ("cutover: { max_pause: 1s }", "unknown key \"max_pause\""),
        ("hooks: { before_cutover: { run: [] } }", "run names no program"),
        ("hooks: { before_cutover: { run: x } }", "run must be a list"),
        ("hooks: { before_cutover: { run: [x], on_failure: ignore } }", "on_failure can't be"),
    ] {
        let problems = load(&around(text)).unwrap_err();
        assert!(show(&problems).contains(message), "{text}: {}", show(&problems));
    }
}
