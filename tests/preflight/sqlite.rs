//! Faults that only SQLite can have: what it keeps is not always what its catalogue declares.

use super::support::product::{Place, Product};
use super::{Fault, assert_each_is_found, fault, file, safe_database, seed};

const KEY: &str = "CREATE TABLE {} (id bigint PRIMARY KEY, v text)";

const TO_POSTGRES: &[Fault] = &[
    fault(
        "spelled",
        "CREATE TABLE {} (id TEXT NOT NULL PRIMARY KEY)",
        "CREATE TABLE {} (id uuid PRIMARY KEY)",
        "",
        &["MG0108"],
    ),
    fault("a_view", "CREATE VIEW {} AS SELECT 1 AS id", "CREATE TABLE {} (id bigint PRIMARY KEY)", "", &[
        "MG0101", "MG0124", "MG0201",
    ]),
    fault(
        "conflicts",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v TEXT UNIQUE ON CONFLICT REPLACE)",
        KEY,
        "",
        &["MG0209"],
    ),
    fault(
        "collated",
        // What an application with a collation of its own leaves behind.
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v TEXT COLLATE NOCASE); PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'somebodys') WHERE name = '{}'; PRAGMA writable_schema = OFF",
        KEY,
        "",
        &["MG0210"],
    ),
    fault(
        "nul",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v TEXT);
         INSERT INTO {} VALUES (1, 'row-canary' || char(0) || 'x'), (2, 'fine')",
        KEY,
        "",
        &["MG0310"],
    ),
    fault(
        "classless",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, n INTEGER); INSERT INTO {} VALUES (1, 'row-canary'), (2, 5)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n bigint)",
        "",
        &["MG0311"],
    ),
    fault(
        "orphans",
        "CREATE TABLE {}_parent (id BIGINT NOT NULL PRIMARY KEY);
         CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, p BIGINT REFERENCES {}_parent); INSERT INTO {} VALUES (1, 5)",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint REFERENCES {}_parent)",
        "\n  - from: orphans_parent",
        &["MG0308"],
    ),
    fault(
        "too_long",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(5)); INSERT INTO {} VALUES (1, 'row-canary')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(5))",
        "",
        &["MG0302"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_to_postgres() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Place::Sqlite(file(&dir, "a.db", false).await);
    let target = Place::Postgres(safe_database("lite_to").await);
    let tables = seed(TO_POSTGRES, &source, &target).await;
    let product = Product::new("lite", &source, &target, None, &tables);
    assert_each_is_found(TO_POSTGRES, &product, &["MG0406"]).await;
    assert!(super::ids(&super::findings(&product, 65).await).contains("MG0406"), "the journal mode is told");
}

const TO_SQLITE: &[Fault] = &[
    fault(
        "nan",
        "CREATE TABLE {} (id bigint PRIMARY KEY, f float8); INSERT INTO {} VALUES (1, 'NaN'), (2, 1.5)",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, f REAL)",
        "",
        &["MG0312"],
    ),
    fault(
        "triggered",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text)",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v TEXT);
         CREATE TRIGGER mails AFTER INSERT ON {} BEGIN SELECT 1; END",
        "",
        &["MG0215"],
    ),
    fault(
        "ruled_out",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text)",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v TEXT CHECK (v <> 'x'))",
        "",
        &["MG0307"],
    ),
    fault(
        "doubled",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); INSERT INTO {} VALUES (1, 'row-canary'), (2, 'row-canary')",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v TEXT UNIQUE)",
        "",
        &["MG0305"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Place::Postgres(safe_database("lite_from").await);
    let target = Place::Sqlite(file(&dir, "b.db", true).await);
    let tables = seed(TO_SQLITE, &source, &target).await;
    assert_each_is_found(TO_SQLITE, &Product::new("lite", &source, &target, None, &tables), &[]).await;
}
