//! Faults of two PostgreSQL catalogues and of the rows in them: all in one plan, one run.

use std::collections::BTreeSet;

use super::support::product::{Place, Product};
use super::{Fault, assert_each_is_found, fault, safe_database, seed};

const ID: &str = "CREATE TABLE {} (id bigint PRIMARY KEY, v text)";

/// The plan against the catalogues.
const PLAN: &[Fault] = &[
    fault("no_key", "CREATE TABLE {} (id bigint, v text)", ID, "", &["MG0101"]),
    fault(
        "key_nullable",
        "CREATE TABLE {} (id bigint PRIMARY KEY, code text UNIQUE)",
        "CREATE TABLE {} (id bigint, code text PRIMARY KEY)",
        "key: [code]",
        &["MG0102"],
    ),
    fault(
        "key_not_unique",
        "CREATE TABLE {} (id bigint PRIMARY KEY, code text NOT NULL)",
        "CREATE TABLE {} (id bigint, code text PRIMARY KEY)",
        "key: [code]",
        &["MG0103"],
    ),
    fault(
        "key_kind",
        "CREATE TABLE {} (f float8 PRIMARY KEY)",
        "CREATE TABLE {} (f float8 PRIMARY KEY)",
        "",
        &["MG0104"],
    ),
    fault(
        "key_lossy",
        "CREATE TABLE {} (id numeric(10,4) PRIMARY KEY)",
        "CREATE TABLE {} (id numeric(10,2) PRIMARY KEY)",
        "columns: { id: { from: id, accept: lossy } }",
        &["MG0105", "MG0122"],
    ),
    fault("key_not_mapped", ID, "CREATE TABLE {} (n bigserial PRIMARY KEY, v text)", "skip: [id]", &["MG0106"]),
    fault("target_key", ID, "CREATE TABLE {} (id bigint NOT NULL, v text PRIMARY KEY)", "", &["MG0107"]),
    fault("source_table", "", ID, "", &["MG0110"]),
    fault("target_table", ID, "", "to: nowhere", &["MG0111"]),
    fault("source_column", ID, ID, "skip: [w]", &["MG0112"]),
    fault("target_column", ID, "CREATE TABLE {} (id bigint PRIMARY KEY)", "", &["MG0113"]),
    fault(
        "shared",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); CREATE TABLE {}_too (id bigint PRIMARY KEY, v text)",
        ID,
        "\n  - from: shared_too\n    to: shared",
        &["MG0114"],
    ),
    fault("rollback", ID, "CREATE TABLE {} (id bigint PRIMARY KEY)", "skip: [v]", &["MG0125"]),
    fault("reverse", ID, ID, "reverse: { v: 'lower(w)' }", &["MG0126"]),
    fault("tolerance", ID, ID, "verify: { tolerance: { v: 1 } }", &["MG0127"]),
    fault("left_over", ID, ID, "columns: { id: id }", &["MG0115"]),
    fault("must_have_value", ID, "CREATE TABLE {} (id bigint PRIMARY KEY, v text, w text NOT NULL)", "", &["MG0116"]),
    fault(
        "generated",
        ID,
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text GENERATED ALWAYS AS ('x') STORED)",
        "",
        &["MG0117"],
    ),
    fault("expression", ID, ID, "columns: { id: id, v: { sql: \"v || now()\" } }", &["MG0118"]),
    fault("filter", ID, ID, "where: \"v < now()::text\"", &["MG0119"]),
    fault("constant", ID, ID, "columns: { id: id, v: { const: 5 } }\n    skip: [v]", &["MG0120"]),
    fault(
        "lossy",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n numeric(10,4))",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n numeric(10,2))",
        "",
        &["MG0121"],
    ),
    fault("lossy_needless", ID, ID, "columns: { id: id, v: { from: v, accept: lossy } }", &["MG0123"]),
    fault("no_meaning", ID, "CREATE TABLE {} (id bigint PRIMARY KEY, v uuid)", "", &["MG0124"]),
];

/// Tables that can't be captured or written right.
const TABLES: &[Fault] = &[
    fault(
        "a_view",
        "CREATE VIEW {} AS SELECT 1::bigint AS id",
        "CREATE TABLE {} (id bigint PRIMARY KEY)",
        "",
        &["MG0101", "MG0201"],
    ),
    fault("unlogged", "CREATE UNLOGGED TABLE {} (id bigint PRIMARY KEY, v text)", ID, "", &["MG0202"]),
    fault(
        "secured",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); ALTER TABLE {} ENABLE ROW LEVEL SECURITY",
        ID,
        "",
        &["MG0203"],
    ),
    fault(
        "inherited",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); CREATE TABLE {}_child () INHERITS ({})",
        ID,
        "",
        &["MG0204"],
    ),
    fault(
        "a_part",
        "CREATE TABLE {}_whole (id bigint PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE {} PARTITION OF {}_whole FOR VALUES FROM (0) TO (9)",
        ID,
        "",
        &["MG0205"],
    ),
    fault(
        "ruled",
        ID,
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); CREATE RULE r AS ON DELETE TO {} DO INSTEAD NOTHING",
        "",
        &["MG0206"],
    ),
    fault("deferrable_key", ID, "CREATE TABLE {} (id bigint PRIMARY KEY DEFERRABLE, v text)", "", &["MG0207"]),
    fault(
        "ring",
        "CREATE TABLE {} (id bigint PRIMARY KEY, o bigint); CREATE TABLE {}_other (id bigint PRIMARY KEY, o bigint)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, o bigint);
         CREATE TABLE {}_other (id bigint PRIMARY KEY, o bigint REFERENCES {});
         ALTER TABLE {} ADD FOREIGN KEY (o) REFERENCES {}_other",
        "\n  - from: ring_other",
        &["MG0212"],
    ),
    fault(
        "cascading",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint REFERENCES {}_parent)",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint REFERENCES {}_parent ON DELETE CASCADE)",
        "\n  - from: cascading_parent",
        &["MG0213"],
    ),
    fault(
        "triggered",
        ID,
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text);
         CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER mails AFTER INSERT ON {} FOR EACH ROW EXECUTE FUNCTION {}()",
        "",
        &["MG0215"],
    ),
    fault(
        "numbered",
        "CREATE TABLE {} (id bigserial PRIMARY KEY)",
        "CREATE TABLE {} (id bigint PRIMARY KEY)",
        "",
        &["MG0218"],
    ),
    fault(
        "outside",
        "CREATE TABLE {} (id bigint PRIMARY KEY, p bigint)",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint REFERENCES {}_parent)",
        "",
        &["MG0219"],
    ),
];

/// Rows, counted.
const DATA: &[Fault] = &[
    fault(
        "nulls",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); INSERT INTO {} VALUES (1, NULL), (2, 'row-canary')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text NOT NULL)",
        "",
        &["MG0301"],
    ),
    fault(
        "too_long",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); INSERT INTO {} VALUES (1, 'row-canary'), (2, 'fits')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(5))",
        "",
        &["MG0302"],
    ),
    fault(
        "out_of_range",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n bigint); INSERT INTO {} VALUES (1, 2147483648), (2, -2147483648)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int)",
        "",
        &["MG0303"],
    ),
    fault(
        "digits",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n numeric(12,2)); INSERT INTO {} VALUES (1, 9999.99), (2, -10000)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n numeric(6,2))",
        "",
        &["MG0304"],
    ),
    fault(
        "doubled",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text);
         INSERT INTO {} VALUES (1, 'row-canary'), (2, 'row-canary'), (3, NULL), (4, NULL)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text UNIQUE)",
        "",
        &["MG0305"],
    ),
    fault(
        "partly_unique",
        ID,
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); CREATE UNIQUE INDEX ON {} (v) WHERE v <> ''",
        "",
        &["MG0306"],
    ),
    fault("ruled_out", ID, "CREATE TABLE {} (id bigint PRIMARY KEY, v text CHECK (v <> 'x'))", "", &["MG0307"]),
    fault(
        "kept_apart",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v int4range)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v int4range, EXCLUDE USING gist (v WITH &&))",
        "",
        &["MG0307"],
    ),
    fault(
        "of_a_domain",
        ID,
        "CREATE DOMAIN word AS text CHECK (VALUE <> 'x'); CREATE TABLE {} (id bigint PRIMARY KEY, v word)",
        "",
        &["MG0307"],
    ),
    fault(
        "orphans",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY, gone boolean NOT NULL);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint REFERENCES {}_parent);
         INSERT INTO {}_parent VALUES (1, false), (2, true); INSERT INTO {} VALUES (1, 1), (2, 2), (3, NULL)",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY, gone boolean NOT NULL);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint REFERENCES {}_parent)",
        "\n  - from: orphans_parent\n    where: \"NOT gone\"",
        &["MG0308"],
    ),
    fault(
        "uncountable",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int NOT NULL); INSERT INTO {} VALUES (1, 0)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int NOT NULL)",
        "columns: { id: id, n: { sql: \"10 / n\" } }",
        &["MG0309", "MG0125"],
    ),
    fault(
        "not_empty",
        ID,
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); INSERT INTO {} VALUES (1, 'row-canary')",
        "",
        &["MG0313"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_are_found_in_one_run() {
    let (source, target) = (safe_database("faults_from").await, safe_database("faults_to").await);
    let (source, target) = (Place::Postgres(source), Place::Postgres(target));
    let mut tables = String::from("tables:\n");
    let mut all = Vec::new();
    for list in [PLAN, TABLES, DATA] {
        tables += seed(list, &source, &target).await.trim_start_matches("tables:\n");
        all.extend(list.iter().map(|f| fault(f.table, f.source, f.target, f.plan, f.ids)));
    }
    let distinct: BTreeSet<&str> = all.iter().flat_map(|f| f.ids.iter().copied()).collect();
    assert!(distinct.len() >= 30 && all.len() >= 30, "{} faults, {} ids", all.len(), distinct.len());
    let product = Product::new("faults", &source, &target, None, &tables);
    let before = (source.catalogue().await, target.catalogue().await);
    assert_each_is_found(&all, &product, &[]).await;
    assert_eq!((source.catalogue().await, target.catalogue().await), before, "something was written");

    // `apply` makes the same checks, and installs nothing.
    let ran = product.run(&["apply"]).await.expect(65);
    for id in &distinct {
        assert!(ran.stderr.contains(&format!("[{id}]")), "apply does not find {id}:\n{}", ran.stderr);
    }
    assert_eq!((source.catalogue().await, target.catalogue().await), before, "apply touched a store");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_of_the_plans_own_rows() {
    let (source, target) = (safe_database("counts_from").await, safe_database("counts_to").await);
    let (source, target) = (Place::Postgres(source), Place::Postgres(target));
    let fill = "CREATE TABLE t (id bigint PRIMARY KEY, v text, gone boolean NOT NULL);
        INSERT INTO t SELECT i, CASE WHEN i % 10 = 0 THEN NULL ELSE repeat('x', i) END, i > 50 FROM generate_series(1, 100) i";
    source.exec(fill).await;
    target.exec("CREATE TABLE t (id bigint PRIMARY KEY, v varchar(40) NOT NULL, gone boolean NOT NULL)").await;
    let product = Product::new("counts", &source, &target, None, "tables:\n  - from: t\n    where: \"NOT gone\"\n");
    let found = super::findings(&product, 65).await;
    let counts: Vec<_> = found.iter().map(|f| (f["id"].as_str(), f["column"].as_str(), f["count"].as_u64())).collect();
    // Of 1 to 50: five are null, and of 41 to 50 nine have a text.
    assert_eq!(counts, [(Some("MG0301"), Some("v"), Some(5)), (Some("MG0302"), Some("v"), Some(9))]);

    // As the rows fit, nothing is said.
    source.exec("UPDATE t SET v = 'fits' WHERE NOT gone").await;
    assert!(super::findings(&product, 0).await.is_empty());
}
