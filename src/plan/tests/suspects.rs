//! Which columns, indexes and foreign keys are suspect: only where the two catalogues don't tell.

use crate::finding::{Alike, Violation};
use crate::plan::testing::*;
use crate::plan::{Facts, examine_family, suspects};
use crate::schema::EngineName::{self, MySql, Postgres, Sqlite};
use crate::schema::{Kind, Table};

/// `id column: violation` for one table pair, and the ids that are told without counting.
fn told(
    engines: (EngineName, EngineName),
    source: Table,
    target: Table,
    rest: &str,
) -> (Vec<String>, Vec<&'static str>) {
    let url = |e: EngineName| match e {
        Sqlite => "LITE",
        MySql => "MARIA",
        Postgres => "SOURCE",
    };
    let yaml = plan_of(url(engines.0), url(engines.1), &format!("tables: [{{ from: t{rest} }}]"));
    let facts: Facts = facts((engines.0, vec![source]), (engines.1, vec![target])).saying(
        "t",
        "f(v)",
        Ok(Some(Kind::Text { max_chars: None })),
    );
    let (plan, resolved) = (plan(&yaml), resolved(&yaml, &facts));
    let (found, unknown) = suspects(&plan, &facts, &resolved, &Default::default());
    let name = |i: &usize| resolved.layout.tables[0].columns[*i].target.name.clone();
    let show = |s: &crate::finding::Suspect| {
        let names = s.columns.iter().map(name).collect::<Vec<_>>().join(" ");
        format!("{} {names}: {:?}", s.check.id, s.violation)
    };
    (found.iter().map(show).collect(), unknown.iter().map(|p| p.check.id).collect())
}

fn counted(engines: (EngineName, EngineName), source: &str, target: &str, rest: &str) -> Vec<String> {
    told(engines, table(engines.0, "t", source), table(engines.1, "t", target), rest).0
}

const SAME: (EngineName, EngineName) = (Postgres, Postgres);

#[test]
fn what_both_catalogues_bound_alike_is_no_suspect() {
    let columns = "id int!;v text(20)!;n bigint;d decimal(10,2);f float";
    assert!(counted(SAME, columns, columns, "").is_empty());
    let wider = "id bigint!;v text(30);n bigint;d decimal(12,2);f float";
    assert!(counted(SAME, columns, wider, "").is_empty());
}

#[test]
fn a_narrower_target_makes_a_suspect() {
    for (source, target, expected) in [
        ("id int!;v text", "id int!;v text!", "MG0301 v: Null"),
        ("id int!;v text", "id int!;v text(5)", "MG0302 v: LongerThan(5)"),
        ("id int!;v text(9)", "id int!;v text(5)", "MG0302 v: LongerThan(5)"),
        ("id bigint!", "id int!", "MG0303 id: OutsideInt { bits: 32 }"),
        ("id int!;n decimal(12,2)", "id int!;n decimal(6,2)", "MG0304 n: WholeDigits(4)"),
        ("id int!;n bigint", "id int!;n decimal(6,2)", "MG0304 n: WholeDigits(4)"),
        ("id int!;n decimal(12,2)", "id int!;n decimal(6,4)", "MG0304 n: WholeDigits(2)"),
    ] {
        let found = counted(SAME, source, target, "");
        assert_eq!(found, [expected], "{source} -> {target}");
    }
    // An expression may give null, and a text of any length, whatever its column is.
    let sql = ", columns: { id: id, v: { sql: f(v) } }";
    let found = counted(SAME, "id int!;v text(3)!", "id int!;v text(5)!", sql);
    assert_eq!(found, ["MG0301 v: Null", "MG0302 v: LongerThan(5)"]);
}

#[test]
fn sqlite_proves_nothing_by_declaring() {
    let found = counted((Sqlite, Postgres), "id bigint!;v text(5)", "id bigint!;v text(5)", "");
    let class = |name: &str, kind: &str| format!("MG0311 {name}: OtherClass({kind})");
    assert_eq!(found[0], class("id", "Int { bits: 64 }"));
    assert_eq!(found[2..], ["MG0310 v: Nul".to_owned(), "MG0302 v: LongerThan(5)".to_owned()], "{found:?}");
    // As a target it takes any length, but no NaN.
    let found = counted((Postgres, Sqlite), "id int!;v text;f float", "id bigint!;v text(5);f float", "");
    assert_eq!(found, ["MG0312 f: NotFinite", "MG0323 f: NegativeZero"]);
}

#[test]
fn a_narrower_character_set_makes_a_suspect() {
    let of = |source: &str, target: &str| {
        counted((MySql, MySql), &format!("id int!;{source}"), &format!("id int!;{target}"), "")
    };
    let none: [&str; 0] = [];
    for same in ["v text @latin1_bin", "v text @ascii_bin", "v text @utf8mb4_bin"] {
        assert_eq!(of(same, same), none, "{same}");
    }
    assert_eq!(of("v text @ascii_bin", "v text @latin1_bin"), none);
    assert_eq!(of("v text @latin1_bin", "v text @utf8mb3_bin"), ["MG0319 v: OutsideSet(Plane0)"]);
    assert_eq!(of("v text @utf8mb4_bin", "v text @latin1_bin"), ["MG0319 v: OutsideSet(Latin1)"]);
    assert_eq!(of("v text(5)", "v char(5)"), ["MG0320 v: EndsWithBlank"]);
    assert_eq!(of("v char(5)", "v char(5)"), none);
    assert_eq!(of("v blob", "v binary(4)"), ["MG0321 v: OutsideBytes { least: 4, most: 4 }"]);
    assert_eq!(of("v binary(4)", "v binary(4)"), none);
    assert_eq!(of("v text", "v enum('a','b')"), ["MG0322 v: NoneOf([\"a\", \"b\"])"]);
    assert_eq!(of("v text", "v set('a','b')"), ["MG0322 v: NotOfSet([\"a\", \"b\"])"]);
}

#[test]
fn a_key_is_counted_where_the_target_calls_more_texts_one() {
    let of = |engines, source: &str, target: &str| {
        let (found, unknown) = told(engines, table(engines.0, "t", source), table(engines.1, "t", target), "");
        let ids: Vec<String> = found.iter().map(|f| f.split(':').next().unwrap_or_default().to_owned()).collect();
        (ids.into_iter().filter(|id| id.starts_with("MG0305")).collect::<Vec<_>>(), unknown)
    };
    let ci = "k text(9)! @utf8mb4_general_ci";
    let counts = || vec!["MG0305 k".to_owned()];
    assert_eq!(of((Postgres, MySql), "k text(9)!", ci), (counts(), vec!["MG0324"]));
    assert_eq!(of((Postgres, MySql), "k text(9)!", "k text(9)! @utf8mb4_bin"), (counts(), vec![]), "blanks only");
    assert_eq!(of((Postgres, MySql), "k text(9)!", "k text(9)! @utf8mb4_nopad_bin"), (vec![], vec![]));
    assert_eq!(of((MySql, MySql), "k text(9)! @utf8mb4_bin", ci), (counts(), vec![]), "it can be asked for");
    assert_eq!(of((MySql, MySql), ci, ci), (vec![], vec![]));
    assert_eq!(of((MySql, MySql), ci, "k text(9)! @utf8mb4_bin"), (vec![], vec![]), "the source is coarser");
    assert_eq!(of((Postgres, Sqlite), "k text!", "k text! @NOCASE"), (counts(), vec![]));
    assert_eq!(of((Sqlite, Sqlite), "k text! @NOCASE", "k text! @NOCASE"), (vec![], vec![]));
    assert_eq!(of((MySql, Sqlite), "k text! @utf8mb4_general_ci", "k text! @NOCASE"), (vec![], vec![]));
    assert_eq!(of((Sqlite, Postgres), "k text!", "k text!"), (vec![], vec![]));
    let composite = "n int!;k text(9)! @utf8mb4_general_ci";
    let keyed = |engine, columns: &str| table(engine, "t", columns).keyed(&["n", "k"]);
    let found = told((Postgres, MySql), keyed(Postgres, "n int!;k text(9)!"), keyed(MySql, composite), "");
    assert!(found.0.iter().any(|f| f.starts_with("MG0305 n k: Duplicate")), "{found:?}");
}

#[test]
fn an_index_that_the_source_has_too_is_held() {
    let source = || table(Postgres, "t", "id int!;a int;b int");
    let target = || table(Postgres, "t", "id int!;a int;b int");
    let of = |source: Table, target: Table| told(SAME, source, target, "");
    let none: (Vec<String>, Vec<&str>) = (vec![], vec![]);
    assert_eq!(of(source(), target().unique(&["id"], false)), none, "it is the key");
    assert_eq!(of(source(), target().unique(&["a", "id"], false)), none, "the key is within it");
    assert_eq!(of(source().unique(&["a"], false), target().unique(&["a", "b"], false)), none);
    assert_eq!(of(source().unique(&["a"], true), target().unique(&["a"], true)), none);
    let counted = |columns: &str| {
        let by = vec![Alike::default(); columns.split(' ').count()];
        (vec![format!("MG0305 {columns}: {:?}", Violation::Duplicate { by })], vec![])
    };
    assert_eq!(of(source(), target().unique(&["b", "a"], false)), counted("b a"));
    assert_eq!(of(source().unique(&["a", "b"], false), target().unique(&["a"], false)), counted("a"));
    assert_eq!(of(source().unique(&["a"], true), target().unique(&["a"], false)), counted("a"));
    assert_eq!(of(source(), target().unique(&["a"], true)), (vec![], vec!["MG0306"]));
    let free = table(Postgres, "t", "id int!;a int;b int;c int =").unique(&["a", "c"], false);
    assert_eq!(of(source(), free), (vec![], vec!["MG0306"]), "a default decides");
}

#[test]
fn a_parent_counts_where_the_source_does_not_enforce_it() {
    let child = |e| table(e, "c", "id int!;p int");
    let parent = |e| table(e, "p", "id int!");
    let of = |engine: EngineName, source: Table, filter: &str| {
        let url = if engine == Sqlite { "LITE" } else { "SOURCE" };
        let yaml = plan_of(url, "SOURCE", &format!("tables: [{{ from: c }}, {{ from: p{filter} }}]"));
        let target = vec![child(Postgres).child_of(Postgres, "p"), parent(Postgres)];
        let facts = facts((engine, vec![source, parent(engine)]), (Postgres, target)).saying(
            "p",
            "id > 0",
            Ok(Some(Kind::Bool)),
        );
        let (plan, resolved) = (plan(&yaml), resolved(&yaml, &facts));
        assert!(examine_family(&plan, &facts, &resolved).is_empty());
        suspects(&plan, &facts, &resolved, &Default::default()).0.iter().filter(|s| s.check.id == "MG0308").count()
    };
    assert_eq!(of(Postgres, child(Postgres).child_of(Postgres, "p"), ""), 0, "enforced there");
    assert_eq!(of(Postgres, child(Postgres), ""), 1, "not declared");
    assert_eq!(of(Postgres, child(Postgres).child_of(Postgres, "p"), ", where: 'id > 0'"), 1, "filtered");
    assert_eq!(of(Sqlite, child(Sqlite).child_of(Sqlite, "p"), ""), 1, "SQLite's are off by themselves");
}
