//! What may not change between two applies: the plan's meaning and both catalogues. Exit code 6, and nothing moves.

use super::World;

const TABLES: &str = "create_tables: true\ntables:\n  - from: t\n";
const DDL: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20), w VARCHAR(20)); INSERT INTO t VALUES (1, 'a', 'b');";

async fn refuses(world: &World, about: &str) {
    let says = ["not what it was when this migration began", "migrate abort"];
    world.is_refused(about, 6, &says).await;
    let verify = world.product.run(&["verify"]).await;
    super::assert_refusal(&verify, about, 6, &says);
}

async fn the_plan(mut world: World) {
    world.source.exec(DDL).await;
    world.set_body(TABLES);
    world.product.run(&["apply"]).await.expect(0);
    for (about, more) in [
        ("a column is skipped", "    skip: [w]\n"),
        ("a filter", "    where: \"id < 5\"\n"),
        ("an expression", "    columns: { id: id, v: { sql: \"lower(v)\" }, w: w }\n"),
        ("columns crossed", "    columns: { id: id, v: w, w: v }\n"),
    ] {
        world.set_body(&format!("{TABLES}{more}"));
        refuses(&world, about).await;
    }
    // What docs/plan.md lets change.
    world.set_body(&format!("{TABLES}backfill: {{ chunk_rows: 7 }}\nlease: {{ ttl: 3s }}\nbacklog_limit: 500\n"));
    world.product.run(&["apply"]).await.expect(0);
}

async fn a_catalogue(mut world: World, changes: &[(&str, &str, &str)]) {
    world.source.exec(DDL).await;
    world.set_body(TABLES);
    world.product.run(&["apply"]).await.expect(0);
    for (about, at_source, at_target) in changes {
        if !at_source.is_empty() {
            world.source.exec(at_source).await;
        }
        if !at_target.is_empty() {
            world.target.exec(at_target).await;
        }
        let ran = world.product.run(&["apply"]).await;
        println!("--- {about}\n{}", ran.stderr);
        super::assert_refusal(&ran, about, 6, &["not what it was when this migration began"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_on_sqlite() {
    the_plan(World::sqlite("").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_on_postgres() {
    the_plan(World::postgres("changed", "").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_both_sides_is_dropped() {
    let drop = "ALTER TABLE t DROP COLUMN w";
    a_catalogue(World::postgres("dropped", "").await, &[("dropped", drop, drop)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_comes_at_the_source_alone() {
    let add = "ALTER TABLE t ADD COLUMN x VARCHAR(9)";
    a_catalogue(World::sqlite("").await, &[("added on SQLite", add, "")]).await;
    a_catalogue(World::postgres("added", "").await, &[("added on PostgreSQL", add, "")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_goes_at_the_target_alone() {
    a_catalogue(World::sqlite("").await, &[("gone on SQLite", "", "ALTER TABLE t DROP COLUMN w")]).await;
    a_catalogue(World::postgres("gone", "").await, &[("gone on PostgreSQL", "", "ALTER TABLE t DROP COLUMN w")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_types_meaning_changes() {
    let alter = "ALTER TABLE t ALTER COLUMN w TYPE BIGINT USING 1";
    a_catalogue(World::postgres("retyped", "").await, &[("another type", alter, alter)]).await;
}
