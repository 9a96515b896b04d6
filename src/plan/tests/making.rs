//! What a made table has beyond columns and key, by definitions in short form.

use std::collections::BTreeMap;

use crate::plan::testing::*;
use crate::plan::{Resolved, define, resolve};
use crate::schema::EngineName::{self, Postgres, Sqlite};
use crate::schema::{Definition, ForeignKey, Index, Table};

fn index(name: &str, columns: &[&str], unique: bool, unfit: Option<&str>) -> Index {
    let columns = columns.iter().map(|c| (*c).to_owned()).collect();
    Index { name: name.into(), columns, unique, unfit: unfit.map(str::to_owned) }
}

fn made(lines: &str, source: Vec<(Table, Definition)>, to: EngineName) -> Resolved {
    let variable = if to == Postgres { "SOURCE" } else { "LITE" };
    let plan = plan(&plan_of("SOURCE", variable, &format!("create_tables: true\n{lines}")));
    let definitions: BTreeMap<_, _> = source
        .iter()
        .map(|(t, d)| (t.name.clone(), Definition { foreign_keys: t.foreign_keys.clone(), ..d.clone() }))
        .collect();
    let facts = facts((Postgres, source.into_iter().map(|(t, _)| t).collect()), (to, vec![]));
    let mut resolved = resolve(&plan, &facts).unwrap_or_else(|problems| panic!("{}", show(&problems)));
    define(&plan, &mut resolved, &facts, &definitions);
    resolved
}

fn added(resolved: &Resolved) -> Vec<String> {
    resolved.additions.iter().map(|a| format!("{}: {a}", a.name)).collect()
}

#[test]
fn indexes_follow_their_columns_and_what_is_left_out_is_said() {
    let t = table(Postgres, "t", "id int!;a text(20);b int;gone text(9)");
    let indexes = vec![
        index("one", &["a"], true, None),
        index("two", &["b", "a"], false, None),
        index("again", &["b", "a"], false, None),
        index("part", &["a"], false, Some("is partial")),
        index("away", &["gone"], false, None),
        index("of the key", &["id"], true, None),
    ];
    let defaults = vec![("a".into(), "'x'::character varying".into()), ("b".into(), "random()".into())];
    let definition = Definition { indexes, defaults, numbered: vec!["id".into()], ..Definition::default() };
    let lines = "tables: [{ from: t, columns: { id: id, x: a, b: b }, skip: [gone] }]";
    let resolved = made(lines, vec![(t, definition)], Postgres);
    let expected = ["t_x_key: unique index on \"public.t\" (x)", "t_b_x_idx: index on \"public.t\" (b, x)"];
    assert_eq!(added(&resolved), expected);
    assert_eq!(resolved.create[0].default_of("x"), Some("'x'"));
    assert_eq!(resolved.create[0].default_of("b"), None);
    for part in ["\"part\" of \"public.t\" is not carried: it is partial", "\"away\"", "the default of \"b\""] {
        assert!(resolved.left_out.iter().any(|w| w.contains(part)), "no {part:?} in {:?}", resolved.left_out);
    }
}

#[test]
fn foreign_keys_stay_among_made_tables_and_never_go_round() {
    let plain = |name: &str| (table(Postgres, name, "id int!;p int"), Definition::default());
    let child = |name: &str, parent: &str| (plain(name).0.child_of(Postgres, parent), Definition::default());
    let mut cascading = child("d", "c");
    cascading.0.foreign_keys =
        cascading.0.foreign_keys.into_iter().map(|k| ForeignKey { on_delete_cascades: true, ..k }).collect();
    let source =
        [child("a", "b"), child("b", "a"), child("c", "c"), cascading, child("e", "f"), child("f", "x"), plain("x")];
    let lines =
        "tables: [{ from: a }, { from: b }, { from: c }, { from: d }, { from: e }, { from: f, where: \"id > 1\" }]";
    let asked = |to| {
        let variable = if to == Postgres { "SOURCE" } else { "LITE" };
        let plan = plan(&plan_of("SOURCE", variable, &format!("create_tables: true\n{lines}")));
        let definitions: BTreeMap<_, _> = source
            .iter()
            .map(|(t, _)| {
                let definition = Definition { foreign_keys: t.foreign_keys.clone(), ..Definition::default() };
                (t.name.clone(), definition)
            })
            .collect();
        let tables = source.iter().map(|(t, _)| t.clone()).collect();
        let facts = facts((Postgres, tables), (to, vec![])).saying("f", "id > 1", Ok(None));
        let mut resolved = resolve(&plan, &facts).unwrap_or_else(|problems| panic!("{}", show(&problems)));
        define(&plan, &mut resolved, &facts, &definitions);
        resolved
    };
    let resolved = asked(Postgres);
    let expected = [
        "c_p_fkey: foreign key of \"public.c\" (p) to \"public.c\"",
        "d_p_fkey: foreign key of \"public.d\" (p) to \"public.c\"",
    ];
    assert_eq!(added(&resolved), expected);
    for part in ["go round", "made as NO ACTION", "a filter may leave out", "not in the plan"] {
        assert!(resolved.left_out.iter().any(|w| w.contains(part)), "no {part:?} in {:?}", resolved.left_out);
    }
    // SQLite takes them with the table only.
    let resolved = asked(Sqlite);
    assert!(resolved.additions.is_empty());
    let with_keys: Vec<_> =
        resolved.create.iter().filter(|t| !t.foreign_keys.is_empty()).map(|t| t.name.to_string()).collect();
    assert_eq!(with_keys, ["c", "d"]);
}

#[test]
fn long_names_are_cut_and_no_two_are_one() {
    let long = "x".repeat(60);
    let t = table(Postgres, "t_a", &format!("id int!;b int;{long} int"));
    let u = table(Postgres, "t", "id int!;a_b int");
    let plain =
        |columns: &[&str]| Definition { indexes: vec![index("i", columns, false, None)], ..Definition::default() };
    let mut of_t = plain(&["b"]);
    of_t.indexes.push(index("j", &[&long], false, None));
    let resolved = made("tables: [{ from: t_a }, { from: t }]", vec![(t, of_t), (u, plain(&["a_b"]))], Postgres);
    let names: Vec<_> = resolved.additions.iter().map(|a| a.name.as_str()).collect();
    assert_eq!((names[0], names[2]), ("t_a_b_idx", "t_a_b_idx2"));
    assert!(names[1].len() <= 63 && names[1].ends_with("_idx") && names[1].starts_with("t_a_xxx"), "{}", names[1]);
}
