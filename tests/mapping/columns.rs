//! Columns that are converted, their way back, and tolerances.

use super::*;

fn source_ddl(place: &Place) -> String {
    let float = if matches!(place, Place::Postgres(_)) { "double precision" } else { "DOUBLE" };
    format!(
        "CREATE TABLE items (id BIGINT NOT NULL PRIMARY KEY, code INTEGER NOT NULL, price {float} NOT NULL,
           name VARCHAR(40) NOT NULL, secret VARCHAR(40));
         INSERT INTO items VALUES {};",
        (1..400)
            .map(|i| format!("({i}, {}, {}.25, 'Name{i}', 'hidden')", i * 7, i % 50))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

/// As PostgreSQL gives it to everybody by default: the server then judges expressions itself.
async fn may_make_temporary_tables(place: &Place) {
    if let Place::Postgres(db) = place {
        let sql = "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$";
        support::exec(&db.superuser_url, sql).await;
    }
}

fn target_ddl(place: &Place) -> String {
    let (float, text) = match place {
        Place::Postgres(_) => ("double precision", "text"),
        Place::MariaDb(_) => ("DOUBLE", "longtext"),
        Place::Sqlite(_) => ("DOUBLE", "TEXT"),
    };
    format!(
        "CREATE TABLE goods (id BIGINT NOT NULL PRIMARY KEY, code {text} NOT NULL, price {float} NOT NULL, name {text} NOT NULL);"
    )
}

fn body(source: &Place, more: &str) -> String {
    let cast = if matches!(source, Place::MariaDb(_)) { "char" } else { "text" };
    format!(
        "guard_target: false
tables:
  - from: items
    to: goods
    columns:
      id: id
      code: {{ from: code, cast: {cast} }}
      price: price
      name: {{ sql: \"upper(name)\", reverse: \"lower(name)\" }}
    skip: [secret]
{more}backfill: {{ chunk_rows: 50 }}
lease: {{ ttl: 1s }}
"
    )
}

fn change(rng: &mut StdRng) -> String {
    let (id, n) = (rng.random_range(1..600), rng.random_range(1..9_000));
    match rng.random_range(0..4) {
        0 => format!("DELETE FROM items WHERE id = {id}"),
        1 => format!(
            "INSERT INTO items SELECT {id}, {n}, {n}.5, 'In{n}', NULL WHERE NOT EXISTS (SELECT 1 FROM items WHERE id = {id})"
        ),
        _ => format!("UPDATE items SET code = {n}, price = {n}.125 WHERE id = {id}"),
    }
}

const TOLERANCE: &str = "    verify: { tolerance: { price: \"0.001\" } }\n";

async fn columns_are_converted(name: &str, source: Place, target: Place) {
    source.exec(&source_ddl(&source)).await;
    may_make_temporary_tables(&source).await;
    may_make_temporary_tables(&target).await;
    target.exec(&target_ddl(&target)).await;
    let product = Product::new(name, &source, &target, None, &body(&source, TOLERANCE));
    let planned = product.run(&["plan", "--json"]).await.expect(0).json();
    let back = |column: &str| {
        let all = planned["tables"][0]["rollback"].as_array().expect("the way back");
        let one = all.iter().find(|b| b["column"] == column).expect("a column");
        (one["how"].as_str().expect("how").to_owned(), one["by"].as_str().expect("by").to_owned())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(back("id"), pair("derived", "rename"));
    assert_eq!(back("code"), pair("derived", "cast"));
    assert_eq!(back("name"), pair("given", "lower(name)"));
    assert_eq!(back("secret").0, "lost");
    let findings = planned["findings"].as_array().expect("findings");
    assert!(findings.iter().any(|f| f["id"] == "MG0125" && f["column"] == "secret"), "{findings:?}");
    let text = product.run(&["plan"]).await.expect(0).stdout;
    for part in [
        "rollback loses column \"secret\"",
        "code by cast; name given: lower(name); loses secret",
        "may lie apart by 0.001",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }

    let writer = Writer::start(&source, rand::random(), change);
    killed_and_run_again(&product, &mut StdRng::seed_from_u64(rand::random())).await;
    writer.stop().await;
    apply(&product).await;
    let wanted = texts(&source, &["id", "code", "upper(name)"], "items").await;
    support::compare::assert_same("goods", &wanted, &texts(&target, &["id", "code", "name"], "goods").await);

    tolerances_hold(&product, &target).await;
    product.run(&["abort"]).await.expect(0);
}

/// Small differences of the price are equal and reported as that; anything else is found, also in the same row.
async fn tolerances_hold(product: &Product, target: &Place) {
    let nth = |n: u32| format!("(SELECT m FROM (SELECT id AS m FROM goods ORDER BY id LIMIT 1 OFFSET {n}) x)");
    let told = |report: &serde_json::Value| {
        let table = &report["tables"][0];
        assert_eq!(table["tolerances"][0]["tolerance"], "0.001", "{report}");
        (report["mismatches"].as_u64(), table["within_tolerance"].as_u64(), table["differing"].as_u64())
    };
    assert_eq!(told(&verified(product, 0).await), (Some(0), Some(0), Some(0)));
    for n in [3, 4, 90] {
        target.exec(&format!("UPDATE goods SET price = price + 0.0005 WHERE id = {}", nth(n))).await;
    }
    assert_eq!(told(&verified(product, 0).await), (Some(0), Some(3), Some(0)));
    let text = product.run(&["verify"]).await.expect(0).stdout;
    assert!(text.contains("goods.price 0.001 (3 rows equal only by that)"), "{text}");

    let faults = [
        format!("UPDATE goods SET name = 'nAME' WHERE id = {}", nth(3)),
        format!("UPDATE goods SET price = price + 0.002 WHERE id = {}", nth(40)),
        format!("DELETE FROM goods WHERE id = {}", nth(60)),
        "INSERT INTO goods SELECT 5000, '1', 1, 'EXTRA' WHERE 1 = 1".to_owned(),
    ];
    for (i, fault) in faults.iter().enumerate() {
        target.exec(fault).await;
        let report = verified(product, 3).await;
        assert_eq!(report["tables"][0]["differing"], i + 1, "{fault}: {report}");
    }
    product.run(&["verify", "--repair"]).await.expect(3);
    assert_eq!(told(&verified(product, 0).await).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_converted_on_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    columns_are_converted("cast-ss", sqlite(&dir, "a.db"), sqlite(&dir, "b.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_converted_from_postgres_to_mariadb() {
    columns_are_converted("cast-pm", postgres("cast_pm").await, mariadb("cast_pm").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_converted_from_mariadb_to_postgres() {
    columns_are_converted("cast-mp", mariadb("cast_mp").await, postgres("cast_mp").await).await;
}

async fn wrong_ways(source: Place, target: Place) {
    source.exec(&source_ddl(&source)).await;
    may_make_temporary_tables(&source).await;
    may_make_temporary_tables(&target).await;
    target.exec(&target_ddl(&target)).await;
    let before = (source.catalogue().await, target.catalogue().await);
    for (from, to, says) in [
        ("cast: text", "cast: nonsense", "can't be cast to nonsense"),
        ("reverse: \"lower(name)\"", "reverse: \"nothing(name)\"", "this reverse can't be used"),
        ("reverse: \"lower(name)\"", "reverse: \"(SELECT name FROM goods)\"", "this reverse can't be used"),
        ("reverse: \"lower(name)\"", "reverse: \"lower(nam)\"", "this reverse can't be used"),
        (
            "skip: [secret]",
            "skip: [secret]\n    reverse: { secret: \"current_timestamp\" }",
            "this reverse can't be used",
        ),
        ("{ price: \"0.001\" }", "{ name: \"0.001\" }", "which is no number"),
    ] {
        let text = body(&source, TOLERANCE);
        assert!(text.contains(from), "{from}");
        let ran =
            Product::new("wrong", &source, &target, None, &text.replace(from, to)).run(&["plan"]).await.expect(65);
        assert!(ran.stderr.contains(says) && ran.stderr.contains("    = "), "{to}: {}", ran.stderr);
    }
    assert_eq!((source.catalogue().await, target.catalogue().await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_ways_are_refused_on_sqlite_and_servers() {
    let dir = tempfile::tempdir().expect("a directory");
    wrong_ways(sqlite(&dir, "a.db"), mariadb("wrong_ways").await).await;
    wrong_ways(postgres("wrong_ways").await, sqlite(&dir, "b.db")).await;
    wrong_ways(postgres("wrong_from").await, postgres("wrong_to").await).await;
}
