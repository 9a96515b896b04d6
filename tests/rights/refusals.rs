//! A row that the target refuses stops the run with its table, its key masked, and the reason; no value of it is told.
//! Once it is mended, the same command goes on.

use super::{database, sqlite};
use crate::support::compare::{assert_same, rows};
use crate::support::product::{Place, Product};

struct Case {
    about: &'static str,
    /// The target's columns behind the key.
    target: &'static str,
    /// Further statements for the target.
    more: &'static str,
    /// A row that does not fit.
    bad: &'static str,
    says: &'static str,
}

const PLAN: &str = "tables:\n  - from: t\n";
const SOURCE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, n BIGINT, v TEXT);";

const fn case(
    about: &'static str,
    target: &'static str,
    more: &'static str,
    bad: &'static str,
    says: &'static str,
) -> Case {
    Case { about, target, more, bad, says }
}

const KEY: i64 = 700_000_001;

const POSTGRES: &[Case] = &[
    case(
        "a check",
        "n BIGINT CONSTRAINT small CHECK (n < 1000), v TEXT",
        "",
        "987654321, 'canary-value'",
        "check constraint small of table t",
    ),
    case("not null", "n BIGINT NOT NULL, v TEXT", "", "NULL, 'canary-value'", "column n of table t must not be null"),
    case(
        "unique",
        "n BIGINT, v TEXT CONSTRAINT one UNIQUE",
        "INSERT INTO t VALUES (5, 5, 'canary-value')",
        "987654321, 'canary-value'",
        "unique constraint one of table t",
    ),
    case("too long", "n BIGINT, v VARCHAR(5)", "", "987654321, 'canary-value'", "column v is too short for a text"),
    case("out of range", "n INTEGER, v TEXT", "", "98765432109876, 'canary-value'", "out of its column's range"),
    case(
        "a trigger",
        "n BIGINT, v TEXT",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
           IF NEW.n > 1000 THEN RAISE 'refused: % %', NEW.n, NEW.v; END IF; RETURN NEW; END$$;
         CREATE TRIGGER no BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION no()",
        "987654321, 'canary-value'",
        "a trigger or function of the application refused",
    ),
];

const SQLITE: &[Case] = &[
    case(
        "a check",
        "n BIGINT CONSTRAINT small CHECK (n < 1000), v TEXT",
        "",
        "987654321, 'canary-value'",
        "CHECK constraint failed: small",
    ),
    case("not null", "n BIGINT NOT NULL, v TEXT", "", "NULL, 'canary-value'", "NOT NULL constraint failed: t.n"),
    case(
        "unique",
        "n BIGINT, v TEXT UNIQUE",
        "INSERT INTO t VALUES (5, 5, 'canary-value')",
        "987654321, 'canary-value'",
        "UNIQUE constraint failed: t.v",
    ),
    case(
        "a trigger",
        "n BIGINT, v TEXT",
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.n > 1000 BEGIN SELECT RAISE(ABORT, 'refused canary-value'); END",
        "987654321, 'canary-value'",
        "a trigger of the application refuses the row",
    ),
];

async fn stops_and_goes_on(case: &Case, source: Place, target: Place) {
    let fill: Vec<String> = (1..=300).map(|i| format!("({}, {i}, 'v{i}')", i * 1000)).collect();
    source.exec(&format!("{SOURCE} INSERT INTO t VALUES {}", fill.join(", "))).await;
    let table = format!("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, {}); {}", case.target, case.more);
    target.exec(&table).await;
    let existing = if case.more.starts_with("INSERT") { "on_existing: replace\n" } else { "" };
    // Where a row of the target's own is in the way, it is one that the source has, too.
    if !existing.is_empty() {
        source.exec("INSERT INTO t VALUES (5, 5, 'canary-value')").await;
    }
    let product = Product::new(
        "refusal",
        &source,
        &target,
        None,
        &format!("on_error: stop\n{existing}{PLAN}backfill: {{ chunk_rows: 64 }}\n"),
    );

    // What is there before is found by preflight (tests/preflight); what comes later is met by the backfill.
    product.run(&["apply", "--until", "dual-write"]).await.expect(0);
    source.exec(&format!("INSERT INTO t VALUES ({KEY}, {})", case.bad)).await;
    is_refused(case, &product, &["apply"]).await;
    is_refused(case, &product, &["apply", "--output", "json"]).await;
    source.exec(&format!("DELETE FROM t WHERE id = {KEY}")).await;
    product.run(&["apply"]).await.expect(0);

    // Met by a change while a host follows: everything else still arrives.
    let mut host = product.start(&["apply", "--follow"]);
    host.says("follow").await;
    source.exec(&format!("INSERT INTO t VALUES ({KEY}, {}), (700000777, 1, 'fine')", case.bad)).await;
    assert_eq!(host.wait().await, 1, "{}: {}", case.about, host.stderr());
    tells(case, &format!("{}{}", host.stdout(), host.stderr()));
    source.exec(&format!("UPDATE t SET n = 1, v = 'ok' WHERE id = {KEY}")).await;
    product.run(&["apply"]).await.expect(0);
    let sql = "SELECT CAST(id AS TEXT), CAST(n AS TEXT), v FROM t";
    assert_same(case.about, &rows(&source.store_ref(), sql).await, &rows(&target.store_ref(), sql).await);
    product.run(&["verify"]).await.expect(0);
}

async fn is_refused(case: &Case, product: &Product, args: &[&str]) {
    let ran = product.run(args).await;
    assert_eq!(ran.code, 1, "{}: {}\n{}", case.about, ran.stdout, ran.stderr);
    tells(case, &format!("{}{}", ran.stdout, ran.stderr));
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

fn tells(case: &Case, text: &str) {
    println!("--- {}\n{text}", case.about);
    assert!(text.contains("the target refuses a row of table"), "{}: {text}", case.about);
    assert!(text.contains(case.says), "{} does not say {:?}:\n{text}", case.about, case.says);
    assert!(text.contains("= ***"), "{}: no masked key:\n{text}", case.about);
    for value in ["canary-value", "98765432", &KEY.to_string()] {
        assert!(!text.contains(value), "{} tells {value}:\n{text}", case.about);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let each = POSTGRES.iter().map(async |case| {
        let (source, target) = (database("refusal_from").await, database("refusal_to").await);
        target.grant_target_rights().await;
        stops_and_goes_on(case, Place::Postgres(source), Place::Postgres(target)).await;
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let each = SQLITE.iter().map(async |case| {
        let dir = tempfile::tempdir().expect("a directory");
        stops_and_goes_on(case, sqlite(&dir, "a.db"), sqlite(&dir, "b.db")).await;
    });
    futures_util::future::join_all(each).await;
}
