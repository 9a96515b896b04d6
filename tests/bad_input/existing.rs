//! A target that holds rows already: refused, unless the plan says that they may be replaced; then what the source does
//! not have vanishes, however much it is and wherever it stands.

use super::World;
use crate::support::compare::{assert_same, rows};
use crate::support::product::Place;

fn numbers(table: &str, from: i64, to: i64) -> String {
    format!(
        "INSERT INTO {table} WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to}) \
         SELECT i, 'row ' || i FROM n;"
    )
}

async fn replaces(mut world: World) {
    let ddl = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v TEXT); CREATE TABLE none (id BIGINT NOT NULL PRIMARY KEY, v TEXT);";
    world.source.exec(&format!("{ddl} {}", numbers("t", 1000, 1500))).await;
    // Before, inside and behind what the source has, more than a message can name; and an empty source table.
    let spoiled = "DELETE FROM t WHERE id = 1200; UPDATE t SET v = 'other' WHERE id = 1300;";
    let fill = [numbers("t", 1, 1499), numbers("t", 2000, 13_000), numbers("none", 1, 50)].concat();
    world.target.exec(&format!("{ddl} {fill} {spoiled}")).await;

    let tables = "tables:\n  - from: t\n  - from: none\n";
    world.set_body(tables);
    world.is_refused("rows", 65, &["the target holds rows already in", "on_existing: replace"]).await;
    let sql = "SELECT CAST(id AS TEXT), v FROM t UNION ALL SELECT CAST(-id AS TEXT), v FROM none";
    let before = rows(&world.target.store_ref(), sql).await;
    assert_eq!(before.count(), 1499 - 1 + 11_001 + 50, "a refusal takes no row");

    world.set_body(&format!("on_existing: replace\n{tables}"));
    world.product.run(&["apply"]).await.expect(0);
    assert_same("t", &rows(&world.source.store_ref(), sql).await, &rows(&world.target.store_ref(), sql).await);
    world.product.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_replaced_on_sqlite() {
    replaces(World::sqlite("").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_replaced_on_postgres() {
    replaces(World::postgres("replace", "").await).await;
}

/// A row that somebody put there after the refusal, and one that came between two applies, is not lost in silence:
/// without `replace` nothing of the target's own is ever removed by a first apply.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_targets_own_survives_a_refusal() {
    let mut world = World::sqlite("").await;
    world.source.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')").await;
    world.target.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v TEXT); INSERT INTO t VALUES (7, 'own')").await;
    world.set_body("tables:\n  - from: t\n");
    world.is_refused("one row", 65, &["\"t\""]).await;
    let Place::Sqlite(path) = &world.target else { unreachable!() };
    let found = crate::support::sqlite_query_text(path, "SELECT CAST(id AS TEXT) FROM t").await;
    assert_eq!(found, [[Some("7".to_owned())]]);
}
