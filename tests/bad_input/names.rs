//! Names that a terminal or GitHub's runner would act on: they work, and are shown escaped, in results and in refusals.

use super::{World, assert_quiet, assert_refusal};

const EVIL: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\n::error::pwned\n##[command]\u{202e}\u{9b}31m\"'\\";

/// As a double-quoted scalar of YAML.
fn yaml(name: &str) -> String {
    let each = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c.is_control() || c == '\u{202e}' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", name.chars().map(each).collect::<String>())
}

fn sql(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn runs_quietly(mut world: World) {
    let (quoted, column) = (sql(EVIL), sql(&format!("c{EVIL}")));
    let ddl = format!("CREATE TABLE {quoted} (id BIGINT NOT NULL PRIMARY KEY, {column} BIGINT NOT NULL)");
    world.source.exec(&format!("{ddl}; INSERT INTO {quoted} VALUES (1, 2), (2, 3)")).await;
    let tables = format!("guard_target: false\ncreate_tables: true\ntables:\n  - from: {}\n", yaml(EVIL));
    world.set_body(&tables);
    for (args, code) in [
        (&["plan"][..], 0),
        (&["plan", "--json"], 0),
        (&["apply", "--heartbeat", "50ms"], 0),
        (&["status"], 0),
        (&["status", "--json"], 0),
    ] {
        assert_quiet(&world.product.run(args).await.expect(code), &format!("{args:?}"));
    }
    world.target.exec(&format!("UPDATE {quoted} SET {column} = 9 WHERE id = 1")).await;
    for args in [&["verify"][..], &["verify", "--output", "json"], &["verify", "--show-values", "--repair"]] {
        assert_quiet(&world.product.run(args).await.expect(3), &format!("{args:?}"));
    }
    assert_quiet(&world.product.run(&["apply"]).await.expect(0), "apply again");
    world.set_body(&format!("{tables}    skip: [{}]\n", yaml(&format!("c{EVIL}"))));
    assert_refusal(&world.product.run(&["apply"]).await, "changed", 6, &[]);
    world.set_body(&format!("{tables}    columns: {{ id: id, {}: nobody }}\n", yaml(EVIL)));
    assert_refusal(&world.product.run(&["apply"]).await, "no such column", 6, &["nobody"]);
    world.set_body(&tables);
    assert_quiet(&world.product.run(&["abort", "--drop-created", "--yes"]).await.expect(0), "abort");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    runs_quietly(World::sqlite("").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    runs_quietly(World::postgres("evil", "").await).await;
}

/// Values are shown only if asked for, and then escaped.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_shown_are_escaped() {
    let mut world = World::sqlite("").await;
    let literal = EVIL.replace('\'', "''");
    world
        .source
        .exec(&format!(
            "CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, v TEXT); INSERT INTO t VALUES ('{literal}', '{literal}')"
        ))
        .await;
    world.set_body("guard_target: false\ncreate_tables: true\ntables:\n  - from: t\n");
    world.product.run(&["apply"]).await.expect(0);
    world.target.exec("UPDATE t SET v = 'other'").await;
    let ran = world.product.run(&["verify", "--show-values"]).await.expect(3);
    assert_quiet(&ran, "values");
    assert!(ran.stdout.contains("pwned"), "{}", ran.stdout);
}
