//! Loading: each rule with a snippet, and where its problem stands.

use std::path::Path;

use crate::error::Kind;
use crate::plan::testing::*;
use crate::plan::{ColumnSource, OnExisting, load as load_file, load_text, plan_hash, to_error};

#[test]
fn the_issues_example_is_understood() {
    let plan = plan(include_str!("../../../plans/first.yaml"));
    assert_eq!(plan.migration, "crm-to-marketing");
    assert_eq!(plan.events.as_ref().unwrap().url.expose(), "nats://127.0.0.1:4222");
    assert!(plan.create_tables && plan.on_existing == OnExisting::Refuse);
    let table = &plan.tables[0];
    assert_eq!((table.from.as_str(), table.to.as_ref().unwrap().as_str()), ("customers", "contacts"));
    let columns: Vec<_> = table.columns.as_ref().unwrap().iter().map(|c| c.target.as_str()).collect();
    assert_eq!(columns, ["contact_id", "email", "source_system"]);
    assert_eq!(table.columns.as_ref().unwrap()[1].source.value, ColumnSource::Sql("lower(email)".into()));
    assert_eq!(plan.backfill.chunk_bytes, 8 << 20);
    assert_eq!((plan.backlog_limit, plan.lease_ttl_ms), (10_000_000, 10_000));
}

#[test]
fn every_plan_in_plans_loads() {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut count = 0;
    for entry in std::fs::read_dir(plans).unwrap() {
        let path = entry.unwrap().path();
        load_file(&path, &env).unwrap_or_else(|problems| panic!("{}", show(&problems)));
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn what_is_left_out_has_its_default() {
    let plan = plan(&around(""));
    assert!(plan.events.is_none() && !plan.create_tables && plan.source.admin_url.is_none());
    assert_eq!(plan.backfill.chunk_rows, 20_000);
    let table = &plan.tables[0];
    assert!(table.to.is_none() && table.key.is_none() && table.columns.is_none() && table.filter.is_none());
    assert_eq!(table.to_or_from().value, "customers");
}

#[test]
fn each_mistake_has_its_place() {
    let cases = [
        ("colums: 1", ("unknown key \"colums\"", 5, 1)),
        ("lease: { ttl: 1s, tll: 1s }", ("unknown key \"tll\"", 5, 19)),
        ("create_tables: true\ncreate_tables: true", ("\"create_tables\" stands twice, first in line 5", 6, 1)),
        ("create_tables: \"true\"", ("must be true or false", 5, 16)),
        ("create_tables: \"${SOURCE}\"", ("must be true or false", 5, 16)),
        ("on_existing: overwrite", ("on_existing can't be \"overwrite\"", 5, 14)),
        ("backfill: 5", ("backfill must be a map, not a number", 5, 11)),
        ("backfill: { chunk_rows: many }", ("must be a whole number, not \"many\"", 5, 25)),
        ("backfill: { chunk_rows: \"5\" }", ("must be a whole number", 5, 25)),
        ("backfill: { chunk_rows: 0 }", ("out of bounds: \"0\"", 5, 25)),
        ("backfill: { chunk_bytes: 8mb }", ("must be a size such as", 5, 26)),
        ("lease: { ttl: 10 }", ("must be a time such as", 5, 15)),
        ("lease: { ttl: 300ms }", ("out of bounds: \"300ms\"", 5, 15)),
        ("backlog_limit: -1", ("must be a whole number", 5, 16)),
        ("events: { url: \"http://a\" }", ("is no URL of a NATS server", 5, 16)),
        ("events: {}", ("events has no \"url\"", 5, 9)),
        ("events: { url: \"nats://a\", cert: c.pem }", ("needs both \"cert\" and \"key\"", 5, 9)),
        ("events: { url: \"nats://a\", replicas: 9 }", ("out of bounds", 5, 38)),
        ("events:", ("events must be a map, not nothing", 5, 7)),
        ("events: { url: \"${UNSET}\" }", ("the variable \"UNSET\" is not set", 5, 16)),
        ("events: { url: \"${UNSET:?ask ops}\" }", ("is not set: ask ops", 5, 16)),
        ("events: { url: \"${UNSET\" }", ("is not closed", 5, 16)),
        ("tables: []", ("tables is empty", 5, 9)),
        ("tables: { from: a }", ("tables must be a list, not a map", 5, 9)),
        ("tables: [a]", ("a table must be a map, not text", 5, 10)),
        ("tables: [{ to: a }]", ("a table has no \"from\"", 5, 10)),
        ("tables: [{ from: 5 }]", ("from must be text, not a number", 5, 18)),
        ("tables: [{ from: \"\" }]", ("from is empty", 5, 18)),
        ("tables: [{ from: a }, { from: a }]", ("the target table \"a\" stands twice", 5, 31)),
        ("tables: [{ from: a, to: c }, { from: b, to: c }]", ("the target table \"c\" stands twice", 5, 45)),
        ("tables: [{ from: a, key: id }]", ("key must be a list", 5, 26)),
        ("tables: [{ from: a, key: [] }]", ("key is empty", 5, 26)),
        ("tables: [{ from: a, key: [x, x] }]", ("\"x\" stands twice in key", 5, 30)),
        ("tables: [{ from: a, skip: [x, x] }]", ("\"x\" stands twice in skip", 5, 31)),
        ("tables: [{ from: a, columns: [x] }]", ("columns must be a map", 5, 30)),
        ("tables: [{ from: a, columns: { x: a, y: a } }]", ("\"a\" is mapped twice", 5, 41)),
        ("tables: [{ from: a, columns: { x: a }, skip: [a] }]", ("\"a\" is skipped, but mapped", 5, 47)),
        ("tables: [{ from: a, columns: { x: 5 } }]", ("must be a column's name, not a number", 5, 35)),
        ("tables: [{ from: a, columns: { x: { sql: s, const: 1 } } }]", ("must be one of", 5, 35)),
        ("tables: [{ from: a, columns: { x: { from: s, accept: all } } }]", ("accept can't be \"all\"", 5, 54)),
        ("tables: [{ from: a, columns: { x: { const: null } } }]", ("can't be null", 5, 44)),
        ("tables: [{ from: a, columns: { x: { const: 1, accept: lossy } } }]", ("never lossy", 5, 47)),
        ("tables: [{ from: a, where: }]", ("where must be text, not nothing", 5, 26)),
    ];
    for (lines, expected) in cases {
        let source = around(lines);
        let problems = load(&source).err().unwrap_or_else(|| panic!("accepted: {source}"));
        assert_problem(&problems, expected, &source);
    }
}

#[test]
fn the_head_of_a_plan_is_checked() {
    let good = around("");
    for (from, to, expected) in [
        ("version: 1", "version: 2", ("version 2 is not known", 1, 10)),
        ("version: 1\n", "", ("the plan has no \"version\"", 1, 1)),
        ("migration: m", "migration: My_Crm", ("\"My_Crm\" can't name a migration", 2, 12)),
        ("team: a, ", "", ("source has no \"team\"", 3, 9)),
        ("\"${SOURCE}\" }\nt", "oracle://h/d }\nt", ("is no URL of a store", 3, 25)),
        ("\"${SOURCE}\" }\nt", "\"${SOURCE}\", admin_url: \"${LITE}\" }\nt", ("another engine", 3, 49)),
    ] {
        let source = good.replacen(from, to, 1);
        assert_problem(&load(&source).unwrap_err(), expected, &source);
    }
    let long = good.replacen("migration: m", &format!("migration: {}", "a".repeat(49)), 1);
    assert_problem(&load(&long).unwrap_err(), ("can't name a migration", 2, 12), &long);
}

#[test]
fn all_problems_are_told_at_once() {
    let source =
        "version: 2\nmigration: X\nsource: 5\ntarget: { team: b, url: \"${NO}\" }\nlease: { tl: 1 }\ntables: []\n";
    let lines: Vec<_> = load(source).unwrap_err().iter().map(|p| p.span.line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_near_word_is_suggested() {
    let problems = load(&around("backlog_limt: 5")).unwrap_err();
    assert_eq!(problems[0].hint.as_deref(), Some("did you mean \"backlog_limit\"?"));
    assert!(problems[0].to_string().contains("  5 | backlog_limt: 5\n    | ^^^^^^^^^^^^\n"), "{}", problems[0]);
}

#[test]
fn a_password_in_the_plan_is_refused_and_not_shown() {
    let source = |url: &str| around("").replacen("\"${SOURCE}\"", url, 1);
    for url in [
        "postgres://crm:hunter2@db/crm",
        "\"postgres://crm:hunter2${X}@db/crm\"",
        "\"${NO:-postgres://crm:hunter2@db/crm}\"",
        "postgres://db/crm?password=hunter2",
    ] {
        assert_problem(&load(&source(url)).unwrap_err(), ("a password stands in the plan", 3, 25), url);
    }
    for events in ["{ url: \"nats://hunter2@a\" }", "{ url: \"nats://a\", user: u, password: hunter2 }"] {
        let problems = load(&around(&format!("events: {events}"))).unwrap_err();
        assert!(show(&problems).contains("stands in the plan") && !show(&problems).contains(CANARY), "{events}");
    }
    plan(&source("\"postgres://crm:${PASSWORD}@db/crm\""));
}

#[test]
fn no_message_shows_what_a_variable_was_replaced_by() {
    for lines in [
        "on_existing: ${PASSWORD}",
        "backfill: { chunk_rows: \"${PASSWORD}\" }",
        "events: { url: \"${PASSWORD}\" }",
        "tables: [{ from: \"${PASSWORD}\" }, { from: \"${PASSWORD}\" }]",
    ] {
        let problems = load(&around(lines)).unwrap_err();
        assert!(!show(&problems).contains(CANARY) && show(&problems).contains("${PASSWORD}"), "{}", show(&problems));
    }
    let plan = plan(&around("events: { url: \"nats://a\", token: \"${PASSWORD}\" }"));
    assert!(!format!("{plan:?}").contains(CANARY));
}

#[test]
fn events_take_the_nats_clis_variables_where_the_plan_is_silent() {
    let from = |lines: &str, vars: &[(&str, &str)]| {
        let look = |name: &str| {
            let found = vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            found.or_else(|| env(name))
        };
        load_text("x.yaml", &around(lines), &look).unwrap().events.unwrap()
    };
    let events = from("events: {}", &[("NATS_URL", "tls://n"), ("NATS_USER", "u"), ("NATS_PASSWORD", "p")]);
    assert_eq!((events.url.expose(), events.user.as_deref()), ("tls://n", Some("u")));
    assert_eq!(events.password.unwrap().expose(), "p");
    let events = from("events: { url: \"nats://a\" }", &[("NATS_USER", "token"), ("NATS_CA", "ca.pem")]);
    assert_eq!((events.user, events.token.unwrap().expose()), (None, "token"));
    assert_eq!(events.ca, Some("ca.pem".into()));
    let events = from("events: { url: \"nats://a\", creds: a.creds }", &[("NATS_USER", "u"), ("NATS_PASSWORD", "p")]);
    assert!(events.user.is_none() && events.password.is_none() && events.creds.is_some());
}

#[test]
fn a_variable_may_stand_for_a_number_and_an_empty_admin_url_is_none() {
    let plan = plan(&around("backfill: { chunk_rows: \"${ROWS}\" }").replacen(
        "team: a,",
        "team: a, admin_url: \"${NO:-}\",",
        1,
    ));
    assert_eq!(plan.backfill.chunk_rows, 500);
    assert!(plan.source.admin_url.is_none() && plan.source.admin().expose().starts_with("postgres:"));
}

#[test]
fn a_file_that_is_none_is_said_clearly() {
    let missing = to_error(load_file(Path::new("no/such.yaml"), &env).unwrap_err());
    assert_eq!(missing.kind, Kind::Plan);
    assert!(missing.message().starts_with("no/such.yaml: can't read the plan: No such file"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    for (content, expected) in [
        (vec![b' '; (1 << 20) + 1], "larger than 1 MiB"),
        (vec![0xff, 0xfe], "not UTF-8"),
        (b"# nothing\n".to_vec(), "the plan is empty"),
    ] {
        let path = folder.path().join("x.yaml");
        std::fs::write(&path, content).unwrap();
        let problems = load_file(&path, &env).unwrap_err();
        assert!(show(&problems).contains(expected), "{}", show(&problems));
    }
}

#[test]
fn the_plans_hash_ignores_tuning_and_sees_meaning() {
    let of = |lines: &str| plan_hash(&plan(&around(lines)));
    assert_eq!(of(""), of("backfill: { chunk_rows: 5 }\nlease: { ttl: 5s }\nevents: { url: \"nats://a\" }"));
    let table = |rest: &str| of(&format!("tables: [{{ from: customers{rest} }}]"));
    assert_eq!(of(""), table(""));
    let variants = [
        "",
        ", to: c",
        ", key: [c]",
        ", skip: [c]",
        ", where: c",
        ", columns: { c: c }",
        ", columns: { c: { sql: c } }",
    ];
    let hashes: std::collections::HashSet<_> = variants.iter().map(|v| table(v)).collect();
    assert_eq!(hashes.len(), variants.len());
}
