//! Values that a type does not tell of, and that were once met only by `apply`: labels that an enum lacks, sets of many
//! members, keys of SQLite's in another spelling, numbers that are too large even when rounded. Each count is exact.

use super::mariadb::safe_place;
use super::support::product::{Place, Product};
use super::texts::{Counted, assert_counts};
use super::{fault, file, findings, safe_database};

const TO_SET: &str =
    "CREATE TABLE {} (id bigint PRIMARY KEY, v set('a','b','c.','d%','e''s','f','g','h','(i','j') COLLATE utf8mb4_bin)";
const LOSSY: &str = "columns: { id: id, v: { from: v, accept: lossy } }";

const POSTGRES_TO_POSTGRES: &Counted = &[
    (
        fault(
            "labels",
            "CREATE TYPE {}_mood AS ENUM ('sad', 'ok', 'row-canary', ''); CREATE TABLE {} (id bigint PRIMARY KEY, v {}_mood);
             INSERT INTO {} VALUES (1, 'sad'), (2, 'row-canary'), (3, 'ok'), (4, NULL), (5, '')",
            "CREATE TYPE {}_mood AS ENUM ('ok', 'sad', 'Ok'); CREATE TABLE {} (id bigint PRIMARY KEY, v {}_mood)",
            "",
            &["MG0322"],
        ),
        2,
    ),
    (
        fault(
            "single",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v float8);
             INSERT INTO {} VALUES (1, 1e300), (2, -3.5e38), (3, 3.4e38), (4, 'NaN'), (5, '-Infinity'), (6, 0.1), (7, 3.4028235677973366e38),
                (8, 3.4028235677973362e38), (9, NULL)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v real)",
            LOSSY,
            &["MG0122", "MG0125", "MG0326"],
        ),
        3,
    ),
    (
        fault(
            "whole",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v float8);
             INSERT INTO {} VALUES (1, 2147483647.4), (2, 2147483647.5), (3, -2147483648.4), (4, -2147483648.5), (5, 'NaN'), (6, 'Infinity'), (7, NULL)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v integer)",
            LOSSY,
            &["MG0122", "MG0125", "MG0326"],
        ),
        4,
    ),
    (
        fault(
            "large",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v float8);
             INSERT INTO {} VALUES (1, 9223372036854775807), (2, -9223372036854775808), (3, 9223372036854774784), (4, -9223372036854777856)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v bigint)",
            LOSSY,
            &["MG0122", "MG0125", "MG0326"],
        ),
        2,
    ),
    (
        fault(
            "numerics",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v numeric);
             INSERT INTO {} VALUES (1, 1e309), (2, -1e400), (3, 1.7e308), (4, 'NaN'), (5, 0.1)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v float8)",
            LOSSY,
            &["MG0122", "MG0125", "MG0326"],
        ),
        2,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn fits_from_postgres_to_postgres() {
    let (source, target) = (safe_database("fits_a").await, safe_database("fits_b").await);
    assert_counts(&Place::Postgres(source), &Place::Postgres(target), POSTGRES_TO_POSTGRES, &[]).await;
}

const SETS: &str =
    "(1, 'a,b,c.'), (2, 'b,a'), (3, ''), (4, 'a,a'), (5, 'row-canary'), (6, 'e''s,(i'), (7, 'a,'), (8, 'A'), (9, 'cx'),
    (10, ' '), (11, NULL), (12, 'a,b,c.,d%,e''s,f,g,h,(i,j'), (13, 'j,a')";

const POSTGRES_TO_MARIADB: &Counted = &[
    (
        fault(
            "uuids",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v uuid);
             INSERT INTO {} VALUES (1, '5fa3b1c2-d4e5-f607-1829-3a4b5c6d7e8f'), (2, '5fa3b1c2-d4e5-f607-8829-3a4b5c6d7e8f'),
                (3, '5fa3b1c2-d4e5-7607-1829-3a4b5c6d7e8f'), (4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), (5, NULL)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v uuid)",
            "",
            &["MG0327"],
        ),
        1,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn fits_from_postgres_to_mariadb() {
    let source = Place::Postgres(safe_database("fits_c").await);
    assert_counts(&source, &safe_place("fits_d").await, POSTGRES_TO_MARIADB, &[]).await;
}

const MARIADB_TO_MARIADB: &Counted = &[
    (
        fault(
            "single",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v double); INSERT INTO {} VALUES (1, 1e300), (2, 0.1), (3, -4e38), (4, NULL)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v float)",
            LOSSY,
            &["MG0122", "MG0125", "MG0326"],
        ),
        2,
    ),
    (
        fault(
            "small",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v decimal(9,2));
             INSERT INTO {} VALUES (1, 255.49), (2, 255.50), (3, -0.49), (4, -0.50), (5, NULL)",
            "CREATE TABLE {} (id bigint PRIMARY KEY, v tinyint unsigned)",
            LOSSY,
            &["MG0122", "MG0125", "MG0326"],
        ),
        2,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn fits_from_mariadb_to_mariadb() {
    let (source, target) = (safe_place("fits_e").await, safe_place("fits_f").await);
    assert_counts(&source, &target, MARIADB_TO_MARIADB, &[]).await;
}

/// A set of ten members, from each engine.
#[tokio::test(flavor = "multi_thread")]
async fn large_sets_from_each() {
    let dir = tempfile::tempdir().expect("a directory");
    for (hint, source) in [
        ("sets_p", Place::Postgres(safe_database("sets_p").await)),
        ("sets_m", safe_place("sets_m").await),
        ("sets_s", Place::Sqlite(file(&dir, "sets.db", true).await)),
    ] {
        let made = "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(60)); INSERT INTO {} VALUES ";
        let made: &'static str = Box::leak(format!("{made}{SETS}").into_boxed_str());
        let sets = [(fault("sets", made, TO_SET, "", &["MG0322"]), 8)];
        assert_counts(&source, &safe_place(hint).await, &sets, &[]).await;
    }
}

const UUIDS: &str = "('00000000-0000-4000-8000-00000000000a')";
const KEYS: &[(&str, &str, &str, &str, &str, u64)] = &[
    // Table, declared type, target's type, keys that are well spelled, keys that are not, and how many.
    (
        "uuids",
        "UUID",
        "uuid",
        UUIDS,
        "('10000000-0000-4000-8000-00000000000A'), ('2000000000004000800000000000000a'), (x'3000000000004000800000000000000a'),
         ('{40000000-0000-4000-8000-00000000000a}')",
        4,
    ),
    ("dates", "DATE", "date", "('2024-01-01'), ('0001-01-01'), ('infinity')", "(' 2024-01-02'), ('2024-01-03 ')", 2),
    (
        "stamps",
        "DATETIME",
        "timestamp",
        "('2024-01-01 00:00:00'), ('2024-01-04 00:00:00.5'), ('9999-12-31 23:59:59.999999')",
        "('2024-01-02'), ('2024-01-03T00:00:00'), ('2024-01-05 00:00:00.50'), ('2024-01-06 24:00:00'), ('2024-01-07 00:00')",
        5,
    ),
    (
        "zoned",
        "TIMESTAMPTZ",
        "timestamptz",
        "('2024-01-01 00:00:00+00:00'), ('2024-01-01 00:00:00.25+00:00')",
        "('2024-01-02 00:00:00Z'), ('2024-01-03 00:00:00+02:00'), ('2024-01-04 00:00:00.50+00:00')",
        3,
    ),
    ("times", "TIME", "time", "('12:00:00'), ('12:00:00.1'), ('24:00:00')", "('13:00'), ('14:00:00.10')", 2),
    (
        "decimals",
        "DECIMAL_TEXT(20,5)",
        "numeric(20,5)",
        "('1.1'), ('-4.5'), ('0.5'), ('10'), ('-100')",
        "('1.20'), ('+2'), ('03'), ('.7'), ('5.0'), ('-0')",
        6,
    ),
    ("numbers", "DECIMAL(10,2)", "numeric(10,2)", "(1.1), (-4.5), (10), ('2.20')", "", 0),
];

/// What is counted is what `apply` could not look up; the others it moves.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_sqlite_in_another_spelling() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Place::Sqlite(file(&dir, "keys.db", true).await);
    let target = Place::Postgres(safe_database("keys").await);
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let misspelled = KEYS.iter().filter(|(.., count)| *count > 0);
    let faults: Vec<_> = misspelled
        .map(|(table, declared, kind, well, badly, count)| {
            let source = leak(format!(
                "CREATE TABLE {{}} (id {declared} NOT NULL PRIMARY KEY); INSERT INTO {{}} VALUES {well}; INSERT INTO {{}} VALUES {badly}"
            ));
            let target = leak(format!("CREATE TABLE {{}} (id {kind} PRIMARY KEY)"));
            (fault(table, source, target, "", &["MG0325"]), *count)
        })
        .collect();
    assert_counts(&source, &target, &faults, &[]).await;

    let source = Place::Sqlite(file(&dir, "well.db", true).await);
    let target = Place::Postgres(safe_database("keys_well").await);
    let mut tables = String::from("create_tables: true\ntables:\n");
    for (table, declared, _, well, ..) in KEYS {
        source
            .exec(&format!(
                "CREATE TABLE {table} (id {declared} NOT NULL PRIMARY KEY); INSERT INTO {table} VALUES {well}"
            ))
            .await;
        tables += &format!("  - from: {table}\n");
    }
    let product = Product::new("well", &source, &target, None, &tables);
    let found = findings(&product, 0).await;
    assert!(found.is_empty(), "{found:#?}");
    product.run(&["apply"]).await.expect(0);
    product.run(&["verify"]).await.expect(0);
}

/// A text that travels as a uuid: as a key by its spelling, and anywhere by what it says.
#[tokio::test(flavor = "multi_thread")]
async fn texts_of_sqlite_that_travel_as_uuids() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Place::Sqlite(file(&dir, "texts.db", true).await);
    let target = Place::Postgres(safe_database("said").await);
    let said = [
        (
            fault(
                "keyed",
                "CREATE TABLE {} (id TEXT NOT NULL PRIMARY KEY);
                 INSERT INTO {} VALUES ('00000000-0000-4000-8000-00000000000a'), ('10000000-0000-4000-8000-00000000000A')",
                "CREATE TABLE {} (id uuid PRIMARY KEY)",
                "",
                &["MG0108", "MG0325"],
            ),
            1,
        ),
        (
            fault(
                "plain",
                "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, v TEXT);
                 INSERT INTO {} VALUES (1, '10000000-0000-4000-8000-00000000000A'), (2, 'row-canary'), (3, NULL)",
                "CREATE TABLE {} (id bigint PRIMARY KEY, v uuid)",
                "",
                &["MG0311"],
            ),
            1,
        ),
    ];
    assert_counts(&source, &target, &said, &[]).await;
}
