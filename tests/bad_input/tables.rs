//! Tables, keys and expressions that can't be carried exactly are refused before anything is made; so is a type that
//! would lose values, until the plan accepts it.

use super::World;
use crate::support::product::Place;

struct Case {
    about: &'static str,
    /// `{}` is the table's name.
    source: &'static str,
    /// Empty: `create_tables` makes it.
    target: &'static str,
    /// Below `from`.
    plan: &'static str,
    says: &'static [&'static str],
}

const fn case(
    about: &'static str,
    source: &'static str,
    target: &'static str,
    plan: &'static str,
    says: &'static [&'static str],
) -> Case {
    Case { about, source, target, plan, says }
}

const EMAIL: &str = "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, email TEXT)";

const BOTH: &[Case] = &[
    case("no key", "CREATE TABLE {} (id BIGINT, email TEXT)", "", "", &["has no primary key"]),
    case(
        "a nullable key",
        "CREATE TABLE {} (id BIGINT, code TEXT UNIQUE)",
        "",
        "key: [code]",
        &["the key column \"code\"", "may be null", "declare it NOT NULL"],
    ),
    case(
        "a key that is not unique",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, code TEXT NOT NULL)",
        "",
        "key: [code]",
        &["[code] is neither the primary key nor a whole unique index"],
    ),
    case(
        "a float as a key",
        "CREATE TABLE {} (f DOUBLE PRECISION NOT NULL PRIMARY KEY, email TEXT)",
        "",
        "",
        &["the key column \"f\" is", "can't be looked up exactly", "use a key of integers"],
    ),
    case(
        "a syntax error",
        EMAIL,
        "",
        "columns: { id: id, email: { sql: \"lower(email\" } }",
        &["this sql can't be used"],
    ),
    case(
        "a column that is not there, in an expression",
        EMAIL,
        "",
        "columns: { id: id, email: { sql: \"lower(mail)\" } }\n    skip: [email]",
        &["this sql can't be used", "mail"],
    ),
    case(
        "a subquery",
        EMAIL,
        "",
        "columns: { id: id, email: { sql: \"(SELECT max(email) FROM {})\" } }",
        &["this sql can't be used", "subquer"],
    ),
    case("an aggregate", EMAIL, "", "columns: { id: id, email: { sql: \"max(email)\" } }", &["this sql can't be used"]),
    case(
        "two statements",
        EMAIL,
        "",
        "columns: { id: id, email: { sql: \"email); DROP TABLE {}; --\" } }",
        &["this sql can't be used"],
    ),
    case("a filter with a mistake", EMAIL, "", "where: \"id >\"", &["\"where\" can't be used"]),
    case(
        "a target that wants more",
        EMAIL,
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, email TEXT, country TEXT NOT NULL)",
        "",
        &["\"country\" of the target", "must have a value, but none is mapped", "const"],
    ),
    case(
        "a target that lacks a column",
        EMAIL,
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, mail TEXT)",
        "",
        &["has no column \"email\"", "mail"],
    ),
    case(
        "a target with another key",
        EMAIL,
        "CREATE TABLE {} (id BIGINT NOT NULL, email TEXT NOT NULL PRIMARY KEY)",
        "",
        &["[id] is no key of the target"],
    ),
    case(
        "a decimal with fewer digits",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, d NUMERIC(10,4))",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, d NUMERIC(10,2))",
        "",
        &["\"d\" would lose values", "digits behind the point are rounded away", "accept: lossy"],
    ),
    case(
        "a decimal into an integer",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, d NUMERIC(10,4))",
        "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY, d BIGINT)",
        "",
        &["\"d\" would lose values", "numbers are rounded"],
    ),
];

const POSTGRES: &[Case] = &[
    case("a filter that is no condition", EMAIL, "", "where: \"lower(email)\"", &["\"where\""]),
    case(
        "a clock",
        EMAIL,
        "",
        "columns: { id: id, email: { sql: \"email || now()::text\" } }",
        &["this sql can't be used", "not immutable"],
    ),
    case(
        "a setting",
        EMAIL,
        "",
        "columns: { id: id, email: { sql: \"email || current_setting('TimeZone')\" } }",
        &["not immutable"],
    ),
    case(
        "a filter by the clock",
        EMAIL,
        "",
        "where: \"id < extract(epoch FROM now())\"",
        &["\"where\" can't be used", "not immutable"],
    ),
    case(
        "a double into a float",
        "CREATE TABLE {} (id BIGINT PRIMARY KEY, f DOUBLE PRECISION)",
        "CREATE TABLE {} (id BIGINT PRIMARY KEY, f REAL)",
        "",
        &["\"f\" would lose values", "single precision"],
    ),
    case(
        "a zone that is dropped",
        "CREATE TABLE {} (id BIGINT PRIMARY KEY, t TIMESTAMPTZ)",
        "CREATE TABLE {} (id BIGINT PRIMARY KEY, t TIMESTAMP)",
        "",
        &["\"t\" would lose values", "time zone"],
    ),
    case("a view", "CREATE VIEW {} AS SELECT 1 AS id", "", "", &["view"]),
];

const SQLITE: &[Case] = &[
    case(
        "chance",
        EMAIL,
        "",
        "columns: { id: id, email: { sql: \"email || random()\" } }",
        &["this sql can't be used", "random"],
    ),
    case(
        "a clock",
        EMAIL,
        "",
        "columns: { id: id, email: { sql: \"datetime('now')\" } }\n    skip: [email]",
        &["this sql can't be used"],
    ),
    case("a filter by the clock", EMAIL, "", "where: \"id < strftime('%s', 'now')\"", &["\"where\" can't be used"]),
    case("a view", "CREATE VIEW {} AS SELECT 1 AS id", "", "", &["view"]),
];

fn body(case: &Case, table: &str) -> String {
    let create = if case.target.is_empty() { "create_tables: true\n" } else { "" };
    format!("{create}tables:\n  - from: {table}\n    {}\n", case.plan.replace("{}", table))
}

async fn refuses_each(mut world: World, cases: &[&[Case]]) {
    for (i, case) in cases.iter().flat_map(|list| list.iter()).enumerate() {
        let table = format!("t{i}");
        world.source.exec(&case.source.replace("{}", &table)).await;
        if !case.target.is_empty() {
            world.target.exec(&case.target.replace("{}", &table)).await;
        }
        world.set_body(&body(case, &table));
        world.is_refused(case.about, 65, case.says).await;
        let kind = if case.source.contains("VIEW") { "VIEW" } else { "TABLE" };
        world.source.exec(&format!("DROP {kind} {table}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    refuses_each(World::sqlite("").await, &[BOTH, SQLITE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let world = World::postgres("tables", "").await;
    let Place::Postgres(db) = &world.source else { unreachable!() };
    let grant = format!("GRANT TEMPORARY ON DATABASE \"{}\" TO \"{}\"", db.name, db.run);
    crate::support::exec(&db.owner_url, &grant).await;
    refuses_each(world, &[BOTH, POSTGRES]).await;
}

/// Without the right to make temporary tables the server can't be asked: what is not plain is refused, with the way out.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_without_temporary_tables() {
    let mut world = World::postgres("no_temp", "").await;
    world.source.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, email TEXT)").await;
    for sql in ["email || now()::text", "md5(email || random())", "(SELECT 1)", "lower(email", "id::text"] {
        world.set_body(&format!(
            "create_tables: true\ntables:\n  - from: t\n    columns: {{ id: id, email: {{ sql: \"{sql}\" }} }}\n"
        ));
        world.is_refused(sql, 65, &["this sql can't be used"]).await;
    }
    world.is_refused("a cast", 65, &["grant TEMPORARY on the database"]).await;
}

/// What is accepted as lossy is carried as the target rounds it, and both sides agree afterwards.
async fn lossy_is_let_through(
    mut world: World,
    source: &str,
    target: &str,
    columns: &str,
    rows: &str,
    expected: &[&str],
) {
    world.source.exec(&format!("CREATE TABLE t {source}; INSERT INTO t VALUES {rows}")).await;
    world.target.exec(&format!("CREATE TABLE t {target}")).await;
    world.set_body(&format!("tables:\n  - from: t\n    columns: {columns}\n"));
    let plan = world.product.run(&["plan"]).await.expect(0);
    assert!(format!("{}{}", plan.stdout, plan.stderr).contains("loses values, as the plan accepts"), "{}", plan.stdout);
    world.product.run(&["apply"]).await.expect(0);
    world.product.run(&["verify"]).await.expect(0);
    let sql = "SELECT CAST(v AS TEXT) FROM t ORDER BY id";
    let found = match &world.target {
        Place::Postgres(db) => crate::support::query_text(&db.owner_url, sql).await,
        Place::MariaDb(db) => crate::support::mysql_query_text(&db.owner_url, &sql.replace("AS TEXT", "AS CHAR")).await,
        Place::Sqlite(path) => crate::support::sqlite_query_text(path, sql).await,
    };
    let found: Vec<&str> = found.iter().map(|row| row[0].as_deref().unwrap_or("NULL")).collect();
    assert_eq!(found, expected);
}

const LOSSY: &str = "{ id: id, v: { from: v, accept: lossy } }";

#[tokio::test(flavor = "multi_thread")]
async fn lossy_decimals_on_postgres() {
    let (source, target) = ("(id BIGINT PRIMARY KEY, v NUMERIC(10,4))", "(id BIGINT PRIMARY KEY, v NUMERIC(10,2))");
    let world = World::postgres("lossy_d", "").await;
    let rows = "(1, 1.2345), (2, -0.005), (3, 7), (4, NULL)";
    lossy_is_let_through(world, source, target, LOSSY, rows, &["1.23", "-0.01", "7.00", "NULL"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lossy_floats_and_times_on_postgres() {
    let (source, target) = ("(id BIGINT PRIMARY KEY, v DOUBLE PRECISION)", "(id BIGINT PRIMARY KEY, v REAL)");
    let world = World::postgres("lossy_f", "").await;
    lossy_is_let_through(world, source, target, LOSSY, "(1, 0.1), (2, 1e300 / 1e290)", &["0.1", "1e+10"]).await;
    let (source, target) = ("(id BIGINT PRIMARY KEY, v TIMESTAMPTZ)", "(id BIGINT PRIMARY KEY, v TIMESTAMP)");
    let world = World::postgres("lossy_t", "").await;
    let rows = "(1, '2024-05-05 10:00:00+02'), (2, NULL)";
    lossy_is_let_through(world, source, target, LOSSY, rows, &["2024-05-05 08:00:00", "NULL"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lossy_decimals_on_sqlite() {
    let (source, target) =
        ("(id BIGINT NOT NULL PRIMARY KEY, v NUMERIC(10,4))", "(id BIGINT NOT NULL PRIMARY KEY, v NUMERIC(10,2))");
    let world = World::sqlite("").await;
    lossy_is_let_through(world, source, target, LOSSY, "(1, 1.2345), (2, 7), (3, -0.125)", &["1.23", "7", "-0.13"])
        .await;
}
