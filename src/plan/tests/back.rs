//! Casts, the way back and tolerances: what is derived, given, lost, and refused.

use crate::mapping::Origin;
use crate::plan::testing::*;
use crate::plan::{How, Resolved, plan_hash, resolve, wanted_expressions, wanted_reverses};
use crate::schema::EngineName::{MySql, Postgres};
use crate::schema::{Kind, Table};

const SOURCE: &str = "id int!;email text;price text;qty int;secret text;gone_at timestamp";
const TARGET: &str = "id int!;mail text;price decimal(10,2);qty text";
const COLUMNS: &str = "columns: { id: id, mail: { sql: 'lower(email)' }, price: { from: price, cast: 'numeric(10,2)' }, \
    qty: { from: qty, cast: text } }, skip: [secret], where: 'gone_at IS NULL'";

fn text() -> Kind {
    Kind::Text { max_chars: None }
}

fn world(target: &str) -> crate::plan::Facts {
    let tables = |name: &str, columns: &str| -> Vec<Table> { vec![table(Postgres, name, columns)] };
    facts((Postgres, tables("t", SOURCE)), (Postgres, tables("u", target)))
        .saying("t", "lower(email)", Ok(Some(text())))
        .saying("t", "gone_at IS NULL", Ok(Some(Kind::Bool)))
        .saying(
            "t",
            "CAST(\"price\" AS numeric(10,2))",
            Ok(Some(Kind::Decimal { precision: Some(10), scale: Some(2) })),
        )
        .saying("t", "CAST(\"qty\" AS text)", Ok(Some(text())))
        .answering("u", "mail", Ok(Some(text())))
        .answering("u", "price::text", Ok(Some(text())))
        .answering("u", "qty", Ok(Some(text())))
        .answering("u", "now()", Err("is not immutable"))
}

fn told(resolved: &Resolved) -> Vec<String> {
    let how = |h: &How| match h {
        How::Name(from) => format!("by {from}"),
        How::Cast(from, to) => format!("by {from} as {to}"),
        How::Given(sql) => format!("given {sql}"),
        How::Lost(why) => format!("lost: {why}"),
    };
    resolved.backs[0].1.iter().map(|b| format!("{} {}", b.column, how(&b.how))).collect()
}

fn yaml(rest: &str) -> String {
    around(&format!("tables: [{{ from: t, to: u, {COLUMNS}{rest} }}]"))
}

#[test]
fn what_is_no_name_and_no_whole_cast_is_lost_and_said() {
    let resolved = resolved(&yaml(""), &world(TARGET));
    assert_eq!(
        told(&resolved),
        [
            "id by id",
            "email lost: only the expression of \"mail\" reads it",
            "price lost: its cast into \"price\" may change values",
            "qty by qty as int",
            "secret lost: it is skipped",
            "gone_at lost: only the filter reads it",
        ]
    );
    let map = &resolved.layout.tables[0];
    assert_eq!(map.columns[2].origin, Origin::Sql("CAST(\"price\" AS numeric(10,2))".into()));
    let lost: Vec<_> = resolved.warnings.iter().filter(|w| w.check.id == "MG0125").collect();
    assert_eq!(lost.len(), 4, "{}", show(&resolved.warnings));
    assert!(lost.iter().any(|w| w.message == "rollback loses column \"secret\" of \"public.t\": it is skipped"));
    assert!(lost.iter().all(|w| w.column.is_some() && !w.is_error()));
}

#[test]
fn what_is_given_is_asked_of_the_target() {
    let given = COLUMNS
        .replace("'lower(email)' }", "'lower(email)', reverse: mail }")
        .replace("'numeric(10,2)' }", "'numeric(10,2)', reverse: 'price::text' }");
    let yaml = around(&format!("tables: [{{ from: t, to: u, {given}, reverse: {{ gone_at: 'NULL' }} }}]"));
    let asked: Vec<_> = wanted_reverses(&plan(&yaml)).into_iter().map(|w| (w.from, w.sql)).collect();
    assert_eq!(asked, [("u".to_owned(), "mail".to_owned()), ("u".to_owned(), "price::text".to_owned())]);
    let resolved = resolved(&yaml, &world(TARGET));
    let told = told(&resolved);
    assert_eq!(told[1..3], ["email given mail", "price given price::text"]);
    assert_eq!(told[5], "gone_at given NULL");
    assert_ne!(plan_hash(&plan(&yaml)), plan_hash(&plan(&yaml.replace("reverse: mail", "reverse: email"))));
}

#[test]
fn a_wrong_reverse_is_refused_at_its_place() {
    for (rest, says) in [
        (", reverse: { email: now() }", "this reverse can't be used: is not immutable"),
        (", reverse: { email: 'what?' }", "the target was not asked"),
        (", reverse: { qty: qty }", "it gives text, which has no meaning in int"),
        (", reverse: { emial: mail }", "has no column \"emial\" to give back"),
        (", reverse: { id: 'NULL' }", "\"id\" is part of the key"),
    ] {
        let problems = resolve(&plan(&yaml(rest)), &world(TARGET)).err().unwrap_or_else(|| panic!("accepted: {rest}"));
        assert!(show(&problems).contains(says), "{rest}: {}", show(&problems));
        assert!(problems.iter().all(|p| p.hint.is_some() && p.span.line == 5), "{}", show(&problems));
    }
    let two = yaml("").replace("'lower(email)' }", "'lower(email || secret)', reverse: mail }");
    let facts = world(TARGET).saying("t", "lower(email || secret)", Ok(Some(text())));
    let problems = resolve(&plan(&two), &facts).unwrap_err();
    assert!(show(&problems).contains("gives back more than one column"), "{}", show(&problems));
}

#[test]
fn casts_are_written_in_the_sources_words() {
    let own = "tables: [{ from: t, columns: { id: id, a: { from: 'a`b\"', cast: 'decimal(9,2)' } } }]";
    let mut asked = plan(&around(own));
    assert_eq!(wanted_expressions(&asked)[0].sql, "CAST(\"a`b\"\"\" AS decimal(9,2))");
    asked.source.engine = MySql;
    assert_eq!(wanted_expressions(&asked)[0].sql, "CAST(`a``b\"` AS decimal(9,2))");
    for (column, says) in [
        ("{ from: a, cast: 'text); DROP TABLE t' }", "is no type"),
        ("{ from: a, cast: '' }", "cast is empty"),
        ("{ sql: a, cast: text }", "a cast is of a column"),
        ("{ const: 5, reverse: a }", "a constant comes from no column"),
    ] {
        let problems =
            load(&around(&format!("tables: [{{ from: t, columns: {{ id: id, a: {column} }} }}]"))).unwrap_err();
        assert!(show(&problems).contains(says), "{column}: {}", show(&problems));
    }
}

#[test]
fn a_cast_that_the_source_refuses_is_named() {
    let facts = world(TARGET).saying("t", "CAST(\"price\" AS numeric(10,2))", Err("is not immutable"));
    let problems = resolve(&plan(&yaml("")), &facts).unwrap_err();
    assert!(
        show(&problems).contains("\"price\" can't be cast to numeric(10,2): is not immutable"),
        "{}",
        show(&problems)
    );
}

#[test]
fn tolerances_are_for_numbers_that_travel() {
    let of = |tolerance: &str| yaml(&format!(", verify: {{ tolerance: {{ {tolerance} }} }}"));
    let tolerance = resolved(&of("price: '0.001'"), &world(TARGET)).layout.tables[0].tolerance.clone();
    assert_eq!(tolerance.iter().map(|(i, t)| (*i, t.as_str())).collect::<Vec<_>>(), [(2, "0.001")]);
    for (wrong, says) in [
        ("id: 1", "part of the key"),
        ("mail: 1", "travels as text, which is no number"),
        ("pricee: 1", "nothing that travels arrives in \"pricee\""),
    ] {
        let problems = resolve(&plan(&of(wrong)), &world(TARGET)).unwrap_err();
        assert!(show(&problems).contains(says) && problems[0].check.id == "MG0127", "{}", show(&problems));
    }
    for (wrong, says) in
        [("price: '-1'", "must be a number above 0"), ("price: x", "must be a number"), ("price: 0", "above 0")]
    {
        let problems = load(&of(wrong)).unwrap_err();
        assert!(show(&problems).contains(says), "{}", show(&problems));
    }
}
