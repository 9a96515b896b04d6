//! The issue's plan, end to end: other names, an expression, a constant, a skipped column and a filter. A row that
//! leaves the filter leaves the target, and rows of another constant are never touched.

use super::{World, assert_refusal, postgres};
use crate::support::compare::{Rows, assert_same, rows};
use crate::support::product::Place;

const TABLES: &str = "tables:\n  - from: customers\n    to: contacts\n    key: [id]\n    columns:\n      contact_id: id\n      \
    email: { sql: \"lower(email)\" }\n      source_system: { const: crm }\n    skip: [password_hash]\n    \
    where: \"deleted_at IS NULL\"\nbackfill: { chunk_rows: 50 }\n";

const CUSTOMERS: &str = "CREATE TABLE customers (id BIGINT NOT NULL PRIMARY KEY, email TEXT NOT NULL, \
    password_hash TEXT NOT NULL, deleted_at TIMESTAMP);";

fn contacts(key: &str) -> String {
    format!(
        "CREATE TABLE contacts (contact_id BIGINT NOT NULL, email TEXT NOT NULL, source_system TEXT NOT NULL, \
         note TEXT DEFAULT 'none', PRIMARY KEY ({key}));"
    )
}

const OURS: &str = "SELECT CAST(contact_id AS TEXT), email FROM contacts WHERE source_system = 'crm'";
const THEIRS: &str = "SELECT CAST(contact_id AS TEXT), email, note FROM contacts WHERE source_system <> 'crm'";
const WANTED: &str = "SELECT CAST(id AS TEXT), lower(email) FROM customers WHERE deleted_at IS NULL";

fn fill() -> String {
    let row = |i: i64| {
        let deleted = if i % 4 == 0 { "'2024-01-01 00:00:00'" } else { "NULL" };
        format!("({i}, 'User{i}@Example.ORG', 's3cret-canary-hash-{i}', {deleted})")
    };
    format!("INSERT INTO customers VALUES {};", (1..300).map(row).collect::<Vec<_>>().join(", "))
}

/// Each way in which a row can enter, stay in and leave the filter.
const CHANGES: &str = "UPDATE customers SET deleted_at = '2024-02-02 00:00:00' WHERE id IN (1, 2, 3);
    UPDATE customers SET deleted_at = NULL WHERE id IN (4, 8);
    UPDATE customers SET email = 'NEW@example.org' WHERE id = 5;
    UPDATE customers SET password_hash = 's3cret-canary-other' WHERE id = 6;
    UPDATE customers SET email = 'HIDDEN@example.org' WHERE id = 12;
    UPDATE customers SET id = 1005 WHERE id = 9;
    UPDATE customers SET id = 1006, deleted_at = '2024-02-02 00:00:00' WHERE id = 10;
    UPDATE customers SET id = 1007, deleted_at = NULL WHERE id = 16;
    DELETE FROM customers WHERE id IN (13, 20);
    INSERT INTO customers VALUES (2000, 'IN@x', 'h', NULL), (2001, 'OUT@x', 'h', '2024-01-01 00:00:00');";

async fn agree(world: &World) -> Rows {
    let wanted = rows(&world.source.store_ref(), WANTED).await;
    assert_same("contacts", &wanted, &rows(&world.target.store_ref(), OURS).await);
    rows(&world.target.store_ref(), THEIRS).await
}

async fn the_plan_of_the_issue(mut world: World) {
    world.source.exec(&format!("{CUSTOMERS} {}", fill())).await;
    // Another system's contacts with the very same ids, and beyond them.
    let others = (1..60).chain(5000..5005).map(|i| format!("({i}, 'Erp{i}@x', 'erp', 'theirs')"));
    let others = others.collect::<Vec<_>>().join(", ");
    let ddl = contacts("source_system, contact_id");
    world.target.exec(&format!("{ddl} INSERT INTO contacts VALUES {others}")).await;
    let theirs = rows(&world.target.store_ref(), THEIRS).await;
    world.set_body(TABLES);
    world.product.run(&["plan"]).await.expect(0);
    world.product.run(&["apply"]).await.expect(0);
    assert_eq!(agree(&world).await, theirs);

    world.source.exec(CHANGES).await;
    world.product.run(&["apply"]).await.expect(0);
    assert_eq!(agree(&world).await, theirs);
    world.product.run(&["verify"]).await.expect(0);

    // A row of ours that differs is found and repaired; what others have changed meanwhile is theirs.
    world.target.exec("UPDATE contacts SET email = 'x' WHERE contact_id = 7; UPDATE contacts SET note = 'n'").await;
    let theirs = rows(&world.target.store_ref(), THEIRS).await;
    let found = world.product.run(&["verify", "--show-values"]).await.expect(3);
    assert!(found.stdout.contains("contact_id = 7 "), "{}", found.stdout);
    world.product.run(&["verify", "--repair"]).await.expect(3);
    world.product.run(&["verify"]).await.expect(0);
    assert_eq!(agree(&world).await, theirs);
    world.product.run(&["abort"]).await.expect(0);
    assert_eq!(agree(&world).await, theirs, "abort leaves the data alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("b.db");
    std::fs::File::create(&path).expect("a file");
    the_plan_of_the_issue(World::of(postgres("mapped_from").await, Place::Sqlite(path), dir, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_to_postgres() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.db");
    std::fs::File::create(&path).expect("a file");
    the_plan_of_the_issue(World::of(Place::Sqlite(path), postgres("mapped_to").await, dir, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_postgres() {
    the_plan_of_the_issue(World::postgres("mapped", "").await).await;
}

/// Where the constant is no part of the key, another system's row may stand in the way: it stays, and we stop.
async fn a_foreign_row_in_the_way(mut world: World) {
    world.source.exec(&format!("{CUSTOMERS} {}", fill())).await;
    let foreign = "INSERT INTO contacts VALUES (7, 'Erp7@x', 'erp', 'theirs')";
    world.target.exec(&format!("{} {foreign}", contacts("contact_id"))).await;
    world.set_body(&format!("on_error: stop\n{TABLES}"));
    let ran = world.product.run(&["apply"]).await;
    println!("--- a foreign row\n{}", ran.stderr);
    assert_refusal(&ran, "a foreign row", 1, &["contacts", "(key \"contact_id\" = ***)", "does not own"]);
    assert!(!ran.stderr.contains("@x") && !ran.stderr.contains("user7@example.org"), "{}", ran.stderr);
    let theirs = rows(&world.target.store_ref(), THEIRS).await;
    assert_eq!(theirs.count(), 1);
    // With the row out of the way the same command goes on.
    world.target.exec("DELETE FROM contacts WHERE contact_id = 7").await;
    world.product.run(&["apply"]).await.expect(0);
    agree(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_row_on_sqlite() {
    a_foreign_row_in_the_way(World::sqlite("").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_row_on_postgres() {
    a_foreign_row_in_the_way(World::postgres("foreign", "").await).await;
}
