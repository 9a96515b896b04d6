//! Resolving what can't be done right: each rule, and where its problem stands.

use crate::plan::resolve;
use crate::plan::testing::*;
use crate::schema::EngineName::{Postgres, Sqlite};
use crate::schema::{Kind, Table};

const SOURCE: &str = "id int!;email text;total decimal(10,4)";
const TARGET: &str = "id int!;email text;total decimal(10,4)";

/// Tables `t`, `u` at the source, `t` at the target; line 5 is `tables: [{ from: t, <rest> }]`.
fn refused(rest: &str, source: Table, target: Table, expected: (&str, usize, usize)) {
    let yaml = around(&format!("tables: [{{ from: t{rest} }}]"));
    let facts = facts((Postgres, vec![source, table(Postgres, "u", "id int!")]), (Postgres, vec![target]))
        .saying("t", "lower(email)", Ok(Some(Kind::Text { max_chars: None })))
        .saying("t", "now()", Err("\"now\" is not immutable"))
        .saying("t", "id", Ok(Some(Kind::Int { bits: 32 })));
    let problems = resolve(&plan(&yaml), &facts).err().unwrap_or_else(|| panic!("accepted: {yaml}"));
    assert_problem(&problems, expected, &yaml);
}

#[test]
fn each_misfit_of_names_has_its_place() {
    let source = || table(Postgres, "t", SOURCE);
    let target = || table(Postgres, "t", TARGET);
    let all = "id: id, email: email, total: total";
    for (rest, expected) in [
        (", to: contacts".to_owned(), ("the target has no table \"public.contacts\"", 5, 25)),
        (", skip: [emial]".to_owned(), ("has no column \"emial\" to skip", 5, 28)),
        (", columns: { id: id, email: emial, total: total }".to_owned(), ("has no column \"emial\"", 5, 47)),
        (", columns: { id: id, mail: email, total: total }".to_owned(), ("has no column \"mail\"", 5, 40)),
        (", columns: { id: id, email: email }".to_owned(), ("\"total\" of \"public.t\" is neither mapped", 5, 30)),
        (format!(", where: 'now()', columns: {{ {all} }}"), ("\"where\" can't be used: \"now\" is not", 5, 28)),
        (format!(", where: 'id', columns: {{ {all} }}"), ("\"where\" gives integer", 5, 28)),
        (", columns: { id: id, email: { sql: now() }, total: total }".to_owned(), ("this sql can't be used", 5, 54)),
        (", columns: { id: id, email: { sql: 'asked?' }, total: total }".to_owned(), ("not asked about", 5, 54)),
        (", columns: { id: id, email: { const: 5 }, total: total }, skip: [email]".to_owned(), ("is not text", 5, 56)),
    ] {
        refused(&rest, source(), target(), expected);
    }
}

#[test]
fn each_misfit_of_tables_and_types_has_its_place() {
    let source = || table(Postgres, "t", SOURCE);
    for (target, expected) in [
        ("id int!;email text;total decimal(10,2)", ("\"total\" would lose values in decimal(10,2)", 5, 18)),
        ("id int!;email uuid;total decimal", ("\"email\" is text, which has no meaning in uuid", 5, 18)),
        ("id int!;email text", ("the target \"public.t\" has no column \"total\"", 5, 18)),
        ("id int!;email text;total decimal ^", ("the target computes \"total\" itself", 5, 18)),
        ("id int!;email text;total decimal;x int!", ("\"x\" of the target \"public.t\" must have a value", 5, 18)),
    ] {
        refused("", source(), table(Postgres, "t", target), expected);
    }
    let view = || table(Postgres, "t", TARGET).with_obstacle("is a view");
    refused("", view(), table(Postgres, "t", TARGET), ("\"public.t\" is a view", 5, 18));
    refused(", to: t", source(), view(), ("\"public.t\" is a view", 5, 25));
    let other = table(Postgres, "tt", "id int!");
    refused("", other, table(Postgres, "t", TARGET), ("the source has no table \"public.t\"", 5, 18));
}

#[test]
fn each_unusable_key_has_its_place() {
    let source = || table(Postgres, "t", SOURCE);
    let target = || table(Postgres, "t", TARGET);
    for (rest, source, target, expected) in [
        ("", source().keyed(&[]), target(), ("\"public.t\" has no primary key", 5, 18)),
        (
            "",
            table(Postgres, "t", "id int;email text;total decimal"),
            target(),
            ("\"id\" of \"public.t\" may be null", 5, 18),
        ),
        (", key: [id, mail]", source(), target(), ("has no column \"mail\"", 5, 31)),
        (", key: [email]", source(), target(), ("neither the primary key nor a whole unique index", 5, 26)),
        (", key: [email]", source().unique(&["email"], true), target(), ("neither the primary key", 5, 26)),
        (
            ", key: [email]",
            source().unique(&["email"], false),
            target(),
            ("\"email\" of \"public.t\" may be null", 5, 27),
        ),
        (", skip: [id]", source(), table(Postgres, "t", "email text;total decimal"), ("\"id\" is not mapped", 5, 18)),
        ("", source(), target().keyed(&["email"]), ("[id] is no key of the target \"public.t\"", 5, 18)),
        ("", source(), target().keyed(&["id", "email"]), ("[id] is no key of the target", 5, 18)),
        (
            ", columns: { id: { sql: id }, email: email, total: total }",
            source(),
            target(),
            ("the key column \"id\" is not mapped", 5, 18),
        ),
        (
            ", columns: { id: { from: id, accept: lossy }, email: email, total: total }",
            table(Postgres, "t", "id decimal(10,4)!;email text;total decimal"),
            table(Postgres, "t", "id decimal(10,2)!;email text;total decimal"),
            ("two keys could become one", 5, 18),
        ),
        (
            "",
            table(Postgres, "t", "id float!"),
            table(Postgres, "t", "id float!"),
            ("\"id\" is float, which can't be looked up exactly", 5, 18),
        ),
    ] {
        refused(rest, source, target, expected);
    }
}

#[test]
fn the_way_out_names_what_is_there() {
    let hints = |source: Table, target: Vec<Table>, rest: &str| {
        let plan = plan(&around(&format!("tables: [{{ from: t{rest} }}]")));
        let problems = resolve(&plan, &facts((Postgres, vec![source]), (Postgres, target))).unwrap_err();
        problems.into_iter().filter_map(|p| p.hint).collect::<Vec<_>>().join("\n")
    };
    let keyless = table(Postgres, "t", "a int!;b int!").keyed(&[]).unique(&["b", "a"], false);
    let target = || vec![table(Postgres, "t", "a int!;b int!").keyed(&["a", "b"])];
    assert_eq!(hints(keyless, target(), ""), "key: [b, a]");
    let source = || table(Postgres, "t", "a int!;b int!").keyed(&["a", "b"]);
    assert_eq!(hints(source(), vec![], ""), "create_tables: true makes it");
    let elsewhere = vec![table(Postgres, "crm.t", "a int!")];
    assert_eq!(hints(source(), elsewhere, ""), "did you mean \"crm.t\"? Or create_tables: true makes it");
    assert!(hints(source(), target(), ", skip: [bb]").contains("did you mean \"b\"?"));
}

#[test]
fn what_another_engine_lacks_must_be_converted() {
    let plan = plan(&plan_of("SOURCE", "LITE", "create_tables: true\ntables: [{ from: t }]"));
    let source = table(Postgres, "t", "id int!;place money");
    let problems = resolve(&plan, &facts((Postgres, vec![source]), (Sqlite, vec![]))).unwrap_err();
    assert_problem(&problems, ("\"place\" is money, which has no meaning in SQLite", 6, 18), "");
    assert!(problems[0].hint.as_ref().unwrap().contains("depends on a setting"));
}

#[test]
fn sqlites_expressions_take_the_targets_kind() {
    let yaml = plan_of("LITE", "SOURCE", "tables: [{ from: t, columns: { id: id, at: { sql: date(x) } } }]");
    let source = table(Sqlite, "t", "id int!;x text");
    let target = table(Postgres, "t", "id int!;at date");
    let facts = facts((Sqlite, vec![source]), (Postgres, vec![target])).saying("t", "date(x)", Ok(None));
    let resolved = resolved(&yaml, &facts);
    assert_eq!(resolved.layout.tables[0].columns[1].wire, Kind::Date);
}

#[test]
fn all_problems_of_all_tables_are_told_at_once() {
    let yaml = around("tables:\n  - from: no\n  - from: t\n    skip: [x]\n    key: [email]\n");
    let both = || vec![table(Postgres, "t", SOURCE)];
    let problems = resolve(&plan(&yaml), &facts((Postgres, both()), (Postgres, both()))).unwrap_err();
    let lines: Vec<_> = problems.iter().map(|p| p.span.line).collect();
    assert_eq!(lines, [6, 6, 8, 9]);
}
