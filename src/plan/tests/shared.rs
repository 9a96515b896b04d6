//! Two tables of a plan with one target, and one table in two of them.

use crate::finding::Violation;
use crate::plan::testing::*;
use crate::plan::{define, examine_family, mapping_hash, resolve, suspects, wanted_reverses};
use crate::schema::EngineName::{MySql, Postgres};
use crate::schema::{Definition, Table};

fn both(one: &str, other: &str) -> String {
    let entry = |from: &str, value: &str| {
        format!("{{ from: {from}, to: t, columns: {{ id: id, email: email, system: {{ const: {value} }} }} }}")
    };
    around(&format!("tables: [{}, {}]", entry("a", one), entry("b", other)))
}

fn sources() -> Vec<Table> {
    ["a", "b"].map(|name| table(Postgres, name, "id int!;email text(50)!")).into()
}

fn target(key: &[&str]) -> Table {
    table(Postgres, "t", "id int!;email text(50)!;system text(20)! C").keyed(key)
}

fn refused(yaml: &str, target: Vec<Table>, says: &str) {
    let problems = resolve(&plan(yaml), &facts((Postgres, sources()), (Postgres, target))).unwrap_err();
    assert!(problems.iter().any(|p| p.message.contains(says) && p.check.id == "MG0114"), "{}", show(&problems));
}

#[test]
fn constants_in_the_key_tell_rows_apart() {
    let facts_of = |target| facts((Postgres, sources()), (Postgres, vec![target]));
    let resolved = resolved(&both("crm", "erp"), &facts_of(target(&["system", "id"])));
    assert!(resolved.layout.tables.iter().all(|t| t.target_unique == ["system", "id"] && t.constants.len() == 1));
    refused(&both("crm", "crm"), vec![target(&["system", "id"])], "is the target of another table too");
    refused(&both("crm", "erp"), vec![target(&["id"])], "no constant in its key tells their rows apart");
    // A collation that may take the two for one.
    let folding = table(Postgres, "t", "id int!;email text!;system text!").keyed(&["system", "id"]);
    refused(&both("crm", "CRM"), vec![folding.clone()], "no constant in its key");
    refused(&both("café", "cafe"), vec![folding.clone()], "no constant in its key");
    assert!(resolve(&plan(&both("crm", "erp")), &facts_of(folding)).is_ok());
    // Another key of the target would hold both.
    let other = target(&["id"]).unique(&["system", "id"], false);
    refused(&both("crm", "erp"), vec![other], "no constant in its key");
}

#[test]
fn what_both_bring_is_counted() {
    let facts = facts(
        (Postgres, sources()),
        (Postgres, vec![target(&["system", "id"]).unique(&["email"], false).unique(&["system", "email"], false)]),
    );
    let yaml = both("crm", "erp");
    let resolved = resolved(&yaml, &facts);
    let (suspects, _) = suspects(&plan(&yaml), &facts, &resolved, &Default::default());
    let twice: Vec<_> = suspects.iter().filter(|s| matches!(s.violation, Violation::Twice { .. })).collect();
    assert_eq!(twice.len(), 1, "{suspects:?}");
    assert_eq!((twice[0].table.0, twice[0].columns.clone()), (2, vec![1]));
}

#[test]
fn one_table_is_made_for_both() {
    for engine in [Postgres, MySql] {
        let yaml = both("crm", "erp").replacen("tables:", "create_tables: true\ntables:", 1);
        let yaml = if engine == MySql {
            yaml.replace("target: { team: b, url: \"${SOURCE}\"", "target: { team: b, url: \"mysql://h/d\"")
        } else {
            yaml
        };
        let (plan, facts) = (plan(&yaml), facts((Postgres, sources()), (engine, vec![])));
        let mut resolved = resolve(&plan, &facts).unwrap_or_else(|problems| panic!("{}", show(&problems)));
        let definitions = sources().into_iter().map(|t| (t.name, Definition::default())).collect();
        define(&plan, &mut resolved, &facts, &definitions);
        assert_eq!(resolved.create.len(), 1);
        let made = &resolved.create[0];
        assert_eq!((made.primary_key.join(","), made.columns.len()), ("system,id".into(), 3));
        assert!(resolved.left_out.iter().any(|w| w.contains("filled from several tables")), "{:?}", resolved.left_out);
        assert!(resolved.layout.tables.iter().all(|t| t.target_unique == made.primary_key));
    }
}

#[test]
fn what_would_be_made_in_two_ways_is_refused() {
    let other = "tables: [{ from: a, to: t, columns: { id: id, email: email, system: { const: x } } }, \
        { from: b, to: t, columns: { id: id, email: id2, system: { const: y } }, skip: [email] }]";
    let sources = vec![sources().remove(0), table(Postgres, "b", "id int!;id2 int;email text(9)")];
    let yaml = around(&format!("create_tables: true\n{other}"));
    let problems = resolve(&plan(&yaml), &facts((Postgres, sources), (Postgres, vec![]))).unwrap_err();
    assert!(show(&problems).contains("\"email\" of \"public.t\" would be"), "{}", show(&problems));
}

/// A ring of one table is none, however many tables fill it.
#[test]
fn a_shared_table_may_refer_to_itself() {
    let target = || {
        let t = table(Postgres, "t", "id int!;p int;system text! C").keyed(&["system", "id"]);
        t.child_of(Postgres, "t")
    };
    let entry =
        |from: &str| format!("{{ from: {from}, to: t, columns: {{ id: id, p: p, system: {{ const: {from} }} }} }}");
    let yaml = around(&format!("tables: [{}, {}]", entry("a"), entry("b")));
    let sources: Vec<Table> = ["a", "b"].map(|n| table(Postgres, n, "id int!;p int")).into();
    let facts = facts((Postgres, sources), (Postgres, vec![target()]));
    let resolved = resolved(&yaml, &facts);
    assert_eq!(resolved.cycles.iter().map(Vec::len).collect::<Vec<_>>(), [1]);
    assert!(!examine_family(&plan(&yaml), &facts, &resolved).iter().any(|p| p.is_error()));
}

#[test]
fn one_table_goes_to_two_by_filter() {
    let yaml = around("tables: [{ from: a, to: t, where: \"id > 5\" }, { from: a, to: u, where: \"id < 9\" }]");
    let targets = || ["t", "u"].map(|name| table(Postgres, name, "id int!;email text(50)!")).into();
    let facts = facts((Postgres, sources()), (Postgres, targets()))
        .saying("a", "id > 5", Ok(Some(crate::schema::Kind::Bool)))
        .saying("a", "id < 9", Ok(Some(crate::schema::Kind::Bool)));
    let resolved = resolved(&yaml, &facts);
    let layout = &resolved.layout;
    let labels: Vec<_> = layout.tables.iter().map(|t| layout.source_label(t)).collect();
    assert_eq!(labels, ["public.a -> public.t", "public.a -> public.u"]);
}

#[test]
fn what_tells_our_rows_is_asked_of_the_target() {
    let yaml = |sql: &str| around(&format!("tables: [{{ from: a, to: t, owns: \"{sql}\" }}]"));
    let of = |columns: &str| {
        facts((Postgres, sources()), (Postgres, vec![table(Postgres, "t", columns)]))
            .answering("t", "id > 5", Ok(Some(crate::schema::Kind::Bool)))
            .answering("t", "now() > x", Err("is not immutable"))
    };
    let wanted = wanted_reverses(&plan(&yaml("id > 5")));
    assert!(wanted.len() == 1 && wanted[0].is_filter && wanted[0].from == "t", "{wanted:?}");
    let with = resolved(&yaml("id > 5"), &of("id int!;email text"));
    assert_eq!(with.layout.tables[0].owned.as_deref(), Some("id > 5"));
    let without = resolved(&around("tables: [{ from: a, to: t }]"), &of("id int!;email text"));
    assert_ne!(mapping_hash(&with.layout), mapping_hash(&without.layout));
    for (sql, columns, says) in [
        ("now() > x", "id int!;email text", "\"owns\" can't be used: is not immutable"),
        ("id > 6", "id int!;email text", "the target was not asked"),
        ("id > 5", "id int!;email text;c12 int", "is called \"c\" and a number"),
    ] {
        let problems = resolve(&plan(&yaml(sql)), &of(columns)).unwrap_err();
        assert!(show(&problems).contains(says), "{}", show(&problems));
    }
    let made = yaml("id > 5").replacen("tables:", "create_tables: true\ntables:", 1);
    let problems = resolve(&plan(&made), &facts((Postgres, sources()), (Postgres, vec![]))).unwrap_err();
    assert!(show(&problems).contains("yet to be made"), "{}", show(&problems));
}
