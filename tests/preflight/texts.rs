//! Values that a type does not tell of: characters, blanks, bytes, members, negative zeros, and keys that are one under
//! the target's collation. Each count is exact.

use super::mariadb::safe_place;
use super::support::product::{Place, Product};
use super::{Fault, assert_each_is_found, fault, file, findings, safe_database, seed};

/// Faults, and how many rows or groups each has.
pub type Counted = [(Fault, u64)];

pub async fn assert_counts(source: &Place, target: &Place, faults: &Counted, besides: &[&str]) {
    let all: Vec<Fault> = faults.iter().map(|(f, _)| fault(f.table, f.source, f.target, f.plan, f.ids)).collect();
    let tables = seed(&all, source, target).await;
    let product = Product::new("texts", source, target, None, &tables);
    assert_each_is_found(&all, &product, besides).await;
    let found = findings(&product, 65).await;
    for (fault, count) in faults {
        let own = |f: &&serde_json::Value| {
            f["table"].as_str().is_some_and(|t| t.trim_start_matches("public.") == fault.table) && f["count"].is_u64()
        };
        let counts: Vec<_> = found.iter().filter(own).filter_map(|f| f["count"].as_u64()).collect();
        assert_eq!(counts, [*count], "{}: {found:#?}", fault.table);
    }
}

const TO_NARROW: &str =
    "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50) CHARACTER SET latin1 COLLATE latin1_bin)";
const TO_PLANE: &str =
    "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin)";
const TO_ENUM: &str = "CREATE TABLE {} (id bigint PRIMARY KEY, v enum('a','B','it''s') COLLATE utf8mb4_bin)";
const TO_SET: &str = "CREATE TABLE {} (id bigint PRIMARY KEY, v set('x','y') COLLATE utf8mb4_bin)";
const TO_FOLDED: &str = "CREATE TABLE {} (v varchar(50) COLLATE utf8mb4_general_ci PRIMARY KEY)";
const TO_PADDED: &str = "CREATE TABLE {} (v varchar(50) COLLATE utf8mb4_bin PRIMARY KEY)";
const TO_NOCASE: &str = "CREATE TABLE {} (v TEXT NOT NULL COLLATE NOCASE PRIMARY KEY)";

const POSTGRES_TO_MARIADB: &Counted = &[
    (
        fault(
            "narrow",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50));
             INSERT INTO {} VALUES (1, 'é€Ÿ'), (2, 'row-canary ł'), (3, '🦀'), (4, NULL), (5, E'\\u0081'), (6, '')",
            TO_NARROW,
            "",
            &["MG0319"],
        ),
        2,
    ),
    (
        fault(
            "plane",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50));
             INSERT INTO {} VALUES (1, E'é\\uffff'), (2, E'\\U00010000'), (3, '𝒳'), (4, 'a')",
            TO_PLANE,
            "",
            &["MG0319"],
        ),
        2,
    ),
    (
        fault(
            "blanks",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(5)); INSERT INTO {} VALUES (1, 'a '), (2, ' a'), (3, '')",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v char(5))",
            "",
            &["MG0320"],
        ),
        1,
    ),
    (
        fault(
            "sized",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v bytea);
             INSERT INTO {} VALUES (1, '\\x00'), (2, '\\x00000000'), (3, '\\x0000000000'), (4, NULL)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v binary(4))",
            "",
            &["MG0321"],
        ),
        2,
    ),
    (
        fault(
            "bytes",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v text);
             INSERT INTO {} VALUES (1, repeat('ü', 128)), (2, repeat('u', 255))",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v tinytext)",
            "",
            &["MG0321"],
        ),
        1,
    ),
    (
        fault(
            "members",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v text);
             INSERT INTO {} VALUES (1, 'a'), (2, 'A'), (3, '1'), (4, ''), (5, 'it''s'), (6, NULL), (7, 'a ')",
            TO_ENUM,
            "",
            &["MG0322"],
        ),
        4,
    ),
    (
        fault(
            "sets",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v text); INSERT INTO {} VALUES (1, 'x,y'), (2, 'y,x'), (3, ''), (4, 'x')",
            TO_SET,
            "",
            &["MG0322"],
        ),
        1,
    ),
    (
        fault(
            "signed",
            "CREATE TABLE {} (id bigint PRIMARY KEY, f real); INSERT INTO {} VALUES (1, '-0'), (2, 0), (3, -1), (4, NULL)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, f float)",
            "",
            &["MG0323"],
        ),
        1,
    ),
    (
        fault(
            "folded",
            "CREATE TABLE {} (v varchar(50) PRIMARY KEY);
             INSERT INTO {} VALUES ('row-canary'), ('Row-Canary'), ('é'), ('E'), ('x'), ('x '), ('y')",
            TO_FOLDED,
            "",
            &["MG0305", "MG0324"],
        ),
        3,
    ),
    (
        fault(
            "padded",
            "CREATE TABLE {} (v varchar(50) PRIMARY KEY); INSERT INTO {} VALUES ('x'), ('x '), ('X'), ('é'), ('e')",
            TO_PADDED,
            "",
            &["MG0305"],
        ),
        1,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn texts_from_postgres_to_mariadb() {
    let source = Place::Postgres(safe_database("texts_from").await);
    assert_counts(&source, &safe_place("texts_to").await, POSTGRES_TO_MARIADB, &[]).await;
}

const MARIADB_TO_MARIADB: &Counted = &[
    (
        fault(
            "narrow",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50) COLLATE utf8mb4_bin);
             INSERT INTO {} VALUES (1, 'é€Ÿ?'), (2, 'row-canary ł'), (3, '🦀'), (4, NULL), (5, '')",
            TO_NARROW,
            "",
            &["MG0319"],
        ),
        2,
    ),
    (
        fault(
            "plane",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50) COLLATE utf8mb4_bin); INSERT INTO {} VALUES (1, 'é€'), (2, '𝒳')",
            TO_PLANE,
            "",
            &["MG0319"],
        ),
        1,
    ),
    (
        fault(
            "blanks",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(5)); INSERT INTO {} VALUES (1, 'a '), (2, ' a'), (3, '')",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v char(5))",
            "",
            &["MG0320"],
        ),
        1,
    ),
    (
        fault(
            "sized",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v blob); INSERT INTO {} VALUES (1, x'00'), (2, x'00000000'), (3, NULL)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v binary(4))",
            "",
            &["MG0321"],
        ),
        1,
    ),
    (
        fault(
            "members",
            "SET SESSION sql_mode = ''; CREATE TABLE {} (id bigint PRIMARY KEY, v enum('a','B','c'));
             INSERT INTO {} VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'nonsense'), (5, NULL)",
            TO_ENUM,
            "",
            &["MG0322"],
        ),
        2,
    ),
    (
        // By the collation itself.
        fault(
            "folded",
            "CREATE TABLE {} (v varchar(50) COLLATE utf8mb4_nopad_bin PRIMARY KEY);
             INSERT INTO {} VALUES ('row-canary'), ('Row-Canary'), ('ß'), ('s'), ('x'), ('x '), ('y')",
            TO_FOLDED,
            "",
            &["MG0305"],
        ),
        3,
    ),
    (
        // What the source calls one, the target need not.
        fault(
            "told_apart",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50) COLLATE utf8mb4_general_ci);
             INSERT INTO {} VALUES (1, 'a'), (2, 'A'), (3, 'row-canary'), (4, 'row-canary')",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50) COLLATE utf8mb4_nopad_bin UNIQUE)",
            "",
            &["MG0305"],
        ),
        1,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn texts_from_mariadb_to_mariadb() {
    let (source, target) = (safe_place("texts_a").await, safe_place("texts_b").await);
    assert_counts(&source, &target, MARIADB_TO_MARIADB, &[]).await;
}

const SQLITE_TO_MARIADB: &Counted = &[
    (
        fault(
            "narrow",
            "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(50));
             INSERT INTO {} VALUES (1, 'é€Ÿ-]^'), (2, 'row-canary ł'), (3, '🦀'), (4, NULL), (5, '')",
            TO_NARROW,
            "",
            &["MG0319"],
        ),
        2,
    ),
    (
        fault(
            "plane",
            "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(50)); INSERT INTO {} VALUES (1, 'é€'), (2, '𝒳')",
            TO_PLANE,
            "",
            &["MG0319"],
        ),
        1,
    ),
    (
        fault(
            "members",
            "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v TEXT); INSERT INTO {} VALUES (1, 'a'), (2, 'A'), (3, 'it''s')",
            TO_ENUM,
            "",
            &["MG0322"],
        ),
        1,
    ),
    (
        fault(
            "folded",
            "CREATE TABLE {} (v VARCHAR(50) NOT NULL PRIMARY KEY); INSERT INTO {} VALUES ('row-canary'), ('Row-Canary '), ('y')",
            TO_FOLDED,
            "",
            &["MG0305", "MG0324"],
        ),
        1,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn texts_from_sqlite_to_mariadb() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Place::Sqlite(file(&dir, "a.db", true).await);
    assert_counts(&source, &safe_place("texts_c").await, SQLITE_TO_MARIADB, &[]).await;
}

const POSTGRES_TO_SQLITE: &Counted = &[
    (
        fault(
            "signed",
            "CREATE TABLE {} (id bigint PRIMARY KEY, f float8); INSERT INTO {} VALUES (1, '-0'), (2, 0), (3, '-0')",
            "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, f REAL)",
            "",
            &["MG0323"],
        ),
        2,
    ),
    (
        fault(
            "folded",
            "CREATE TABLE {} (v text PRIMARY KEY); INSERT INTO {} VALUES ('row-canary'), ('Row-Canary'), ('é'), ('É'), ('x'), ('x ')",
            TO_NOCASE,
            "",
            &["MG0305"],
        ),
        1,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn texts_from_postgres_to_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Place::Postgres(safe_database("texts_lite").await);
    let target = Place::Sqlite(file(&dir, "b.db", true).await);
    assert_counts(&source, &target, POSTGRES_TO_SQLITE, &[]).await;
}

const MARIADB_TO_SQLITE: &Counted = &[
    (
        fault(
            "unsigneds",
            "CREATE TABLE {} (id bigint PRIMARY KEY, n bigint unsigned); INSERT INTO {} VALUES (1, 18446744073709551615), (2, 7)",
            "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, n INTEGER)",
            "",
            &["MG0303"],
        ),
        1,
    ),
    (
        fault(
            "folded",
            "CREATE TABLE {} (v varchar(50) COLLATE utf8mb4_nopad_bin PRIMARY KEY);
             INSERT INTO {} VALUES ('row-canary'), ('Row-Canary'), ('é'), ('É'), ('x'), ('x ')",
            TO_NOCASE,
            "",
            &["MG0305"],
        ),
        1,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn texts_from_mariadb_to_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let target = Place::Sqlite(file(&dir, "c.db", true).await);
    assert_counts(&safe_place("texts_d").await, &target, MARIADB_TO_SQLITE, &[]).await;
}

const SQLITE_TO_SQLITE: &Counted = &[(
    fault(
        "folded",
        "CREATE TABLE {} (v TEXT NOT NULL PRIMARY KEY); INSERT INTO {} VALUES ('row-canary'), ('Row-Canary'), ('é'), ('É')",
        TO_NOCASE,
        "",
        &["MG0305"],
    ),
    1,
)];

#[tokio::test(flavor = "multi_thread")]
async fn texts_from_sqlite_to_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (file(&dir, "d.db", true).await, file(&dir, "e.db", true).await);
    assert_counts(&Place::Sqlite(source), &Place::Sqlite(target), SQLITE_TO_SQLITE, &[]).await;
}

const MARIADB_TO_POSTGRES: &Counted = &[(
    fault(
        "truths",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v tinyint(1)); INSERT INTO {} VALUES (1, 0), (2, 1), (3, 2), (4, NULL), (5, -1)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v boolean)",
        "",
        &["MG0303"],
    ),
    2,
)];

#[tokio::test(flavor = "multi_thread")]
async fn truths_from_mariadb_to_postgres() {
    let target = Place::Postgres(safe_database("truths").await);
    assert_counts(&safe_place("truths_from").await, &target, MARIADB_TO_POSTGRES, &[]).await;
}
