//! A pair with nothing wrong yields no finding; and a look writes nothing, by the server's own log and the file's bytes.

use std::path::Path;

use super::support::product::{Place, Product};
use super::support::{MariaDb, Nats, NatsVersion, PgOptions, Postgres, exec, mysql_exec, mysql_query_text};
use super::{file, findings, safe_database};

const POSTGRES: &str = "
    CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email varchar(80) NOT NULL UNIQUE,
        born date, CONSTRAINT sane CHECK (born > '1900-01-01'));
    CREATE TABLE orders (id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES customers,
        total numeric(10,2) NOT NULL, parent bigint REFERENCES orders);
    CREATE TABLE events (id bigint, at timestamptz NOT NULL, body jsonb, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
    CREATE TABLE events_2 PARTITION OF events DEFAULT;";
const ROWS: &str = "
    INSERT INTO customers (email, born) SELECT 'row-canary' || i, '2000-01-01' FROM generate_series(1, 50) i;
    INSERT INTO orders (customer, total) SELECT i, i FROM generate_series(1, 50) i;
    INSERT INTO events SELECT i, '2024-01-01', '{}' FROM generate_series(1, 50) i;";
const TABLES: &str = "tables:\n  - from: customers\n  - from: orders\n  - from: events\n";

async fn clean_postgres(hint: &str, nats: Option<&Nats>) -> (Place, Place, Product) {
    let source = Place::Postgres(safe_database(&format!("{hint}_from")).await);
    let target = Place::Postgres(safe_database(&format!("{hint}_to")).await);
    source.exec(&format!("{POSTGRES} {ROWS}")).await;
    target.exec(POSTGRES).await;
    let product = Product::new("clean", &source, &target, nats, TABLES);
    (source, target, product)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_pair_yields_nothing_on_postgres() {
    let nats = Nats::start(NatsVersion::Current);
    let (_source, _target, product) = clean_postgres("clean", Some(&nats)).await;
    let found = findings(&product, 0).await;
    assert!(found.is_empty(), "{found:#?}");
    let ran = product.run(&["plan"]).await.expect(0);
    assert!(!ran.stdout.contains("warning") && !ran.stderr.contains("warning"), "{}{}", ran.stdout, ran.stderr);
    // It holds what it says.
    product.run(&["apply"]).await.expect(0);
    assert!(findings(&product, 0).await.is_empty());
}

const LITE: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, born DATE CHECK (born > '1900-01-01'));
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer BIGINT NOT NULL REFERENCES customers, total NUMERIC(10,2));";

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_pair_yields_nothing_on_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (file(&dir, "a.db", true).await, file(&dir, "b.db", true).await);
    let (source, target) = (Place::Sqlite(from), Place::Sqlite(to));
    let rows = "INSERT INTO customers VALUES (1, 'row-canary', '2000-01-01'); INSERT INTO orders VALUES (1, 1, 12.34);";
    source.exec(&format!("{LITE} {rows}")).await;
    target.exec(LITE).await;
    let product = Product::new("clean", &source, &target, None, "tables:\n  - from: customers\n  - from: orders\n");
    let found = findings(&product, 0).await;
    assert!(found.is_empty(), "{found:#?}");
    product.run(&["apply"]).await.expect(0);
}

/// Every statement that the product sent, as the server has it.
fn statements(server: &Postgres) -> Vec<String> {
    let log = server.log();
    let ours =
        log.lines().filter_map(|line| line.strip_prefix("migrate pid ")?.split_once("|LOG:  ")).map(|(_, text)| text);
    let sent = ours.filter_map(|line| {
        let statement = line.strip_prefix("statement: ");
        statement.or_else(|| line.strip_prefix("execute ").and_then(|rest| rest.split_once(": ")).map(|(_, s)| s))
    });
    sent.map(|s| s.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_log_shows_no_write() {
    let settings = [("log_statement", "all"), ("log_line_prefix", "%a|")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = Postgres::start_with(PgOptions { fsync: true, settings });
    let (db, to) = (server.database("from").await, server.database("to").await);
    to.grant_target_rights().await;
    let (source, target) = (Place::Postgres(db.clone()), Place::Postgres(to));
    source.exec(&format!("{POSTGRES} {ROWS}")).await;
    target.exec(POSTGRES).await;
    // With a filter and an expression, too, which the server itself is asked about; once without the right to temporary
    // tables, by its catalogue alone.
    let tables = "tables:\n  - from: customers\n    columns: { id: id, email: { sql: \"lower(email)\" }, born: born }\n    \
                  where: \"born IS NOT NULL\"\n  - from: orders\n  - from: events\n";
    let product = Product::new("unwritten", &source, &target, None, tables);
    let before = (source.catalogue().await, target.catalogue().await);
    let ran = product.run(&["plan"]).await.expect(0);
    super::assert_quiet(&ran);
    product.run(&["grants"]).await.expect(0);
    let reads = ["SELECT", "WITH", "BEGIN", "COMMIT", "ROLLBACK", "SET ", "DECLARE", "FETCH", "CLOSE"];
    let sent = statements(&server);
    assert!(sent.len() > 50, "the log is not read: {sent:?}");
    for statement in &sent {
        assert!(reads.iter().any(|word| statement.starts_with(word)), "a write: {statement}");
    }
    assert_eq!((source.catalogue().await, target.catalogue().await), before);

    // With that right the server itself judges the expression, in a transaction that is rolled back.
    exec(&db.owner_url, &format!("GRANT TEMPORARY ON DATABASE \"{}\" TO \"{}\"", db.name, db.run)).await;
    let before = (source.catalogue().await, target.catalogue().await);
    product.run(&["plan"]).await.expect(0);
    assert_eq!((source.catalogue().await, target.catalogue().await), before, "the temporary table is gone");
}

const MARIA: &str = "
    CREATE TABLE customers (id bigint AUTO_INCREMENT PRIMARY KEY, email varchar(80) NOT NULL UNIQUE, born date,
        mood enum('a', 'b'));
    CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, customer bigint NOT NULL,
        total decimal(10,2) NOT NULL, FOREIGN KEY (customer) REFERENCES customers (id));";

/// Every statement that logins of the product sent, by the general log: prepared ones stand there as they are executed.
async fn general_log(server: &MariaDb, logins: &[&str]) -> Vec<String> {
    let ours: Vec<String> = logins.iter().map(|login| format!("user_host LIKE '{login}[%'")).collect();
    let sql = format!(
        "SELECT command_type, CONVERT(argument USING utf8mb4) FROM mysql.general_log
         WHERE command_type IN ('Query', 'Execute') AND ({})",
        ours.join(" OR ")
    );
    let rows = mysql_query_text(&server.superuser_url("mysql"), &sql).await;
    rows.into_iter().filter_map(|row| Some(row.get(1)?.as_ref()?.trim().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_general_log_shows_no_write() {
    let server = MariaDb::start(&["--innodb-flush-log-at-trx-commit=1", "--innodb-flush-method=fsync"]);
    let (from, to) = (server.database("from").await, server.database("to").await);
    to.grant_target_rights().await;
    let (source, target) = (Place::MariaDb(from.clone()), Place::MariaDb(to.clone()));
    let rows = "INSERT INTO customers (email, born) VALUES ('row-canary', '2000-01-01'); INSERT INTO orders VALUES (1, 1, 9.5)";
    source.exec(&format!("{MARIA} {rows}")).await;
    target.exec(MARIA).await;
    // With a filter and an expression, too, which the server itself is asked about.
    let tables = "tables:\n  - from: customers\n    columns: { id: id, email: { sql: \"lower(email)\" }, born: born, mood: mood }\n    \
                  where: \"born IS NOT NULL\"\n  - from: orders\n";
    let product = Product::new("unwritten", &source, &target, None, tables);
    let before = (source.catalogue().await, target.catalogue().await);
    let log = "SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON";
    mysql_exec(&server.superuser_url("mysql"), log).await;
    let ran = product.run(&["plan"]).await.expect(0);
    super::assert_quiet(&ran);
    product.run(&["grants"]).await.expect(0);
    let logins = [&from.run, &from.owner, &to.run, &to.owner];
    let sent = general_log(&server, &logins.map(String::as_str)).await;
    assert!(sent.len() > 50, "the log is not read: {sent:?}");
    let reads = ["SELECT", "WITH", "SHOW", "SET ", "START TRANSACTION", "COMMIT", "ROLLBACK", "XA RECOVER"];
    for statement in &sent {
        assert!(reads.iter().any(|word| statement.starts_with(word)), "a write: {statement}");
        let global = statement.starts_with("SET ") && statement.contains("GLOBAL");
        assert!(!global, "a write: {statement}");
    }
    assert_eq!((source.catalogue().await, target.catalogue().await), before);
    // The log would show one: a run that installs is full of them.
    product.run(&["apply"]).await.expect(0);
    let sent = general_log(&server, &logins.map(String::as_str)).await;
    for word in ["CREATE TRIGGER", "CREATE TABLE", "INSERT INTO", "GRANT"] {
        assert!(sent.iter().any(|statement| statement.contains(word)), "no {word} in the log of an apply");
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the file")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_file_changes() {
    for wal in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (file(&dir, "a.db", wal).await, file(&dir, "b.db", wal).await);
        let (source, target) = (Place::Sqlite(from.clone()), Place::Sqlite(to.clone()));
        source.exec(&format!("{LITE} INSERT INTO customers VALUES (1, 'x', '2000-01-01')")).await;
        target.exec(LITE).await;
        let tables = "tables:\n  - from: customers\n    where: \"email <> ''\"\n  - from: orders\n";
        let product = Product::new("unwritten", &source, &target, None, tables);
        let before = (bytes(&from), bytes(&to));
        for verb in ["plan", "grants"] {
            product.run(&[verb]).await.expect(0);
            assert!((bytes(&from), bytes(&to)) == before, "{verb} changed a file (wal: {wal})");
        }
        let names = std::fs::read_dir(dir.path()).expect("the directory").flatten().map(|e| e.file_name());
        let left: Vec<_> = names.filter(|n| !wal && n != "a.db" && n != "b.db").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
