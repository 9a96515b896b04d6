//! Resolving what can be done: layouts, new tables, order, hashes.

use crate::entry::TableId;
use crate::mapping::Origin;
use crate::plan::testing::*;
use crate::plan::{Facts, Wanted, mapping_hash, resolve, table_name, wanted_expressions};
use crate::schema::EngineName::{Postgres, Sqlite};
use crate::schema::{EngineName, Kind, Table};
use crate::value::Value;

const CONTACTS: &str = "tables:
  - from: customers
    to: contacts
    columns:
      contact_id: id
      email: { sql: \"lower(email)\" }
      source_system: { const: crm }
    skip: [password_hash]
    where: \"deleted_at IS NULL AND email <> ''\"
";

fn contacts(target: Vec<Table>) -> Facts {
    let customers = table(Postgres, "customers", "id int!;email text;password_hash text");
    facts((Postgres, vec![customers]), (Postgres, target))
        .saying("customers", "lower(email)", Ok(Some(Kind::Text { max_chars: None })))
        .saying("customers", "deleted_at IS NULL AND email <> ''", Ok(Some(Kind::Bool)))
}

#[test]
fn a_table_is_mapped_by_the_plan() {
    let target = table(Postgres, "contacts", "contact_id bigint!;email text;source_system text!");
    let resolved = resolved(&around(CONTACTS), &contacts(vec![target]));
    let map = &resolved.layout.tables[0];
    assert_eq!((map.id, map.target.to_string().as_str()), (TableId(1), "public.contacts"));
    assert_eq!(map.columns[0].wire, Kind::Int { bits: 64 });
    assert_eq!(map.columns[1].origin, Origin::Sql("lower(email)".into()));
    assert_eq!(map.key, [0]);
    assert!(map.constants[0].1 == Value::Text("crm".into()));
    assert!(
        map.ordered_alike && resolved.create.is_empty() && resolved.warnings.iter().all(|w| w.check.id == "MG0125")
    );
}

#[test]
fn every_expression_is_asked_for() {
    let wanted = wanted_expressions(&plan(&around(CONTACTS)));
    let asked = |sql: &str, is_filter| Wanted { from: "customers".into(), sql: sql.into(), is_filter };
    assert_eq!(wanted, [asked("lower(email)", false), asked("deleted_at IS NULL AND email <> ''", true)]);
}

#[test]
fn a_table_that_is_made_means_the_same_once_it_is_there() {
    let plan = around(&format!("create_tables: true\n{CONTACTS}"));
    let before = resolved(&plan, &contacts(vec![]));
    let made = &before.create[0];
    assert_eq!(made.primary_key, ["contact_id"]);
    let spelled: Vec<_> = made.columns.iter().map(|c| (c.name.as_str(), c.type_name.as_str(), c.nullable)).collect();
    assert_eq!(spelled, [("contact_id", "int", false), ("email", "text", true), ("source_system", "text", false)]);
    let there = Table {
        name: made.name.clone(),
        columns: made.columns.clone(),
        ..table(Postgres, "contacts", "contact_id int!")
    };
    let after = resolved(&plan, &contacts(vec![there]));
    assert!(after.create.is_empty());
    assert_eq!(mapping_hash(&before.layout), mapping_hash(&after.layout));
}

/// A PostgreSQL table made in SQLite, and what SQLite's catalogue reads back from it.
#[test]
fn a_long_decimal_survives_sqlite() {
    let source = table(Postgres, "t", "id int!;big decimal(30,4);small decimal(10,2);at timestamp");
    let plan = plan_of("SOURCE", "LITE", "create_tables: true\ntables: [{ from: t }]");
    let before = resolved(&plan, &facts((Postgres, vec![source.clone()]), (Sqlite, vec![])));
    let spelled: Vec<_> = before.create[0].columns.iter().map(|c| c.type_name.as_str()).collect();
    assert_eq!(spelled, ["INTEGER", "DECIMAL_TEXT(30,4)", "NUMERIC(10,2)", "DATETIME"]);
    for read_back in ["DECIMAL_TEXT(30,4)", "text"] {
        let there = table(Sqlite, "t", &format!("id bigint!;big {read_back};small decimal(10,2);at timestamp"));
        let after = resolved(&plan, &facts((Postgres, vec![source.clone()]), (Sqlite, vec![there])));
        assert_eq!(mapping_hash(&before.layout), mapping_hash(&after.layout), "{read_back}");
    }
}

#[test]
fn a_name_without_a_schema_is_public_and_dots_are_found() {
    assert_eq!(table_name(Postgres, "crm.t").to_string(), "crm.t");
    assert_eq!(table_name(Postgres, "t").to_string(), "public.t");
    assert_eq!(table_name(Sqlite, "a.t").to_string(), "a.t");
    let mut dotted = table(Postgres, "t", "id int!");
    dotted.name.name = "a.t".into();
    let same = facts((Postgres, vec![dotted.clone()]), (Postgres, vec![dotted]));
    let resolved = resolved(&around("tables: [{ from: a.t }]"), &same);
    assert_eq!(resolved.layout.tables[0].source.name, "a.t");
}

#[test]
fn the_target_has_the_same_name_by_default() {
    for (from, to, variables, expected) in
        [(Postgres, Sqlite, ("SOURCE", "LITE"), "t"), (Sqlite, Postgres, ("LITE", "SOURCE"), "public.t")]
    {
        let both = facts((from, vec![table(from, "t", "id int!")]), (to, vec![table(to, "t", "id int!")]));
        let resolved = resolved(&plan_of(variables.0, variables.1, "tables: [{ from: t }]"), &both);
        assert_eq!(resolved.layout.tables[0].target.to_string(), expected);
    }
}

#[test]
fn parents_come_first_and_cycles_keep_the_plans_order() {
    let t = |name: &str| table(Postgres, name, "id int!");
    let target = vec![
        t("track").child_of(Postgres, "album"),
        t("album").child_of(Postgres, "artist"),
        t("artist"),
        t("a").child_of(Postgres, "b"),
        t("b").child_of(Postgres, "a").child_of(Postgres, "artist"),
        t("employee").child_of(Postgres, "employee"),
    ];
    let source = ["track", "album", "artist", "a", "b", "employee"].map(t).to_vec();
    let plan = around(
        "tables: [{ from: track }, { from: a }, { from: b }, { from: employee }, { from: album }, { from: artist }]",
    );
    let resolved = resolved(&plan, &facts((Postgres, source), (Postgres, target)));
    let order: Vec<_> = resolved.layout.tables.iter().map(|t| (t.target.name.as_str(), t.id.0)).collect();
    assert_eq!(order, [("employee", 4), ("artist", 6), ("a", 2), ("b", 3), ("album", 5), ("track", 1)]);
    let cycles: Vec<Vec<_>> = resolved.cycles.iter().map(|c| c.iter().map(|t| t.name.as_str()).collect()).collect();
    assert_eq!(cycles, [vec!["a", "b"], vec!["employee"]]);
}

#[test]
fn new_tables_go_by_the_sources_foreign_keys() {
    let source = vec![table(Sqlite, "child", "id int!").child_of(Sqlite, "parent"), table(Sqlite, "parent", "id int!")];
    let plan = plan_of("LITE", "LITE", "create_tables: true\ntables: [{ from: child }, { from: parent }]");
    let resolved = resolved(&plan, &facts((Sqlite, source), (Sqlite, vec![])));
    let made: Vec<_> = resolved.create.iter().map(|t| t.name.name.as_str()).collect();
    assert_eq!((made, resolved.cycles.len()), (vec!["parent", "child"], 0));
}

#[test]
fn a_key_in_any_order_follows_its_index_and_may_rest_on_constants() {
    let source = table(Postgres, "t", "a int!;b int!;c int").keyed(&[]).unique(&["a", "b"], false);
    let target = table(Postgres, "t", "x int!;b int!;c int;tenant int!").keyed(&["tenant", "b", "x"]);
    let plan = around("tables: [{ from: t, key: [b, a], columns: { c: c, b: b, x: a, tenant: { const: 7 } } }]");
    let resolved = resolved(&plan, &facts((Postgres, vec![source]), (Postgres, vec![target])));
    let map = &resolved.layout.tables[0];
    assert_eq!(map.key, [2, 1]);
    assert_eq!(map.source_key.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

fn alike(from: EngineName, source: &str, to: EngineName, target: &str) -> bool {
    let variable = |engine| if engine == Postgres { "SOURCE" } else { "LITE" };
    let tables = |engine, column| vec![table(engine, "t", &format!("k {column}"))];
    let plan = plan_of(variable(from), variable(to), "tables: [{ from: t }]");
    resolved(&plan, &facts((from, tables(from, source)), (to, tables(to, target)))).layout.tables[0].ordered_alike
}

#[test]
fn keys_are_ordered_alike_only_where_that_is_sure() {
    for (from, source, to, target, expected) in [
        (Sqlite, "int!", Postgres, "bigint!", true),
        (Postgres, "bytes!", Sqlite, "bytes!", true),
        (Postgres, "uuid!", Postgres, "uuid!", true),
        (Postgres, "uuid!", Sqlite, "uuid!", false),
        (Sqlite, "text!", Postgres, "uuid!", false),
        (Postgres, "timestamp!", Postgres, "timestamp!", true),
        (Sqlite, "timestamp!", Sqlite, "timestamp!", false),
        (Postgres, "decimal(5,2)!", Postgres, "decimal(5,2)!", true),
        (Sqlite, "decimal(5,2)!", Postgres, "decimal(5,2)!", false),
        (Postgres, "text! C", Sqlite, "text! C", true),
        (Postgres, "text!", Sqlite, "text! C", false),
        (Postgres, "date!", Postgres, "timestamp!", false),
    ] {
        assert_eq!(alike(from, source, to, target), expected, "{source} {target}");
    }
}

#[test]
fn accepted_losses_and_needless_acceptance_are_warned_of() {
    let plan = around(
        "tables: [{ from: t, columns: { id: id, p: { from: p, accept: lossy }, q: { from: q, accept: lossy } } }]",
    );
    let source = table(Postgres, "t", "id int!;p decimal(10,4);q int");
    let target = table(Postgres, "t", "id int!;p decimal(10,2);q int");
    let resolved = resolved(&plan, &facts((Postgres, vec![source]), (Postgres, vec![target])));
    assert_eq!(resolved.layout.tables[0].columns[1].wire, Kind::Decimal { precision: Some(10), scale: Some(2) });
    assert!(
        resolved.warnings[0].line().contains("x.yaml:5: \"p\" loses values, as the plan accepts"),
        "{:?}",
        resolved.warnings
    );
    assert!(resolved.warnings[1].line().contains("\"accept: lossy\" is not needed"), "{:?}", resolved.warnings);
}

#[test]
fn the_mappings_hash_sees_what_travels() {
    let hash = |plan: &str| mapping_hash(&resolved(&around(plan), &contacts(vec![])).layout);
    let base = format!("create_tables: true\n{CONTACTS}");
    assert_eq!(hash(&base), hash(&format!("backlog_limit: 5\n{base}")));
    for (from, to) in [
        ("const: crm", "const: crm2"),
        ("contact_id: id", "cid: id"),
        ("to: contacts", "to: people"),
        ("    where: \"deleted_at IS NULL AND email <> ''\"\n", ""),
    ] {
        assert_ne!(hash(&base), hash(&base.replacen(from, to, 1)), "{to}");
    }
}

#[test]
fn a_plan_of_the_direct_kind_needs_no_target_table_twice() {
    let both = || vec![table(Postgres, "t", "id int!"), table(Postgres, "u", "id int!")];
    let plan = plan(&around("tables: [{ from: t, to: u }, { from: u }]"));
    let problems = resolve(&plan, &facts((Postgres, both()), (Postgres, both()))).unwrap_err();
    assert_problem(&problems, ("\"public.u\" is the target of another table too, in line 5", 5, 38), "");
}
