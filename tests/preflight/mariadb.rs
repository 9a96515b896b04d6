//! Faults of MariaDB catalogues, rows and servers; and a clean pair, which yields none.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use super::support::postgres::CANARY;
use super::support::product::{Place, Product};
use super::support::{MariaDb, MyDatabase, mysql_exec, mysql_query_text};
use super::{Fault, assert_each_is_found, fault, findings, ids, safe_database, seed};

/// A server that a power cut would not hurt.
fn safe_server() -> &'static MariaDb {
    static SAFE: OnceLock<MariaDb> = OnceLock::new();
    SAFE.get_or_init(|| MariaDb::start(&["--innodb-flush-log-at-trx-commit=1", "--innodb-flush-method=fsync"]))
}

async fn database(server: &MariaDb, hint: &str) -> MyDatabase {
    let db = server.database(hint).await;
    db.grant_target_rights().await;
    db
}

pub async fn safe_place(hint: &str) -> Place {
    Place::MariaDb(database(safe_server(), hint).await)
}

const ID: &str = "CREATE TABLE {} (id bigint PRIMARY KEY, v text)";

const CATALOGUE: &[Fault] = &[
    fault("no_key", "CREATE TABLE {} (id bigint, v text)", ID, "", &["MG0101"]),
    fault(
        "key_kind",
        "CREATE TABLE {} (id enum('a', 'b') PRIMARY KEY, v text)",
        "CREATE TABLE {} (id varchar(9) PRIMARY KEY, v text)",
        "",
        &["MG0104"],
    ),
    fault("target_table", ID, "", "to: nowhere", &["MG0111"]),
    fault("target_column", ID, "CREATE TABLE {} (id bigint PRIMARY KEY)", "", &["MG0113"]),
    fault("must_have_value", ID, "CREATE TABLE {} (id bigint PRIMARY KEY, v text, w text NOT NULL)", "", &["MG0116"]),
    fault("a_view", "CREATE VIEW {} AS SELECT 1 AS id", "CREATE TABLE {} (id int PRIMARY KEY)", "", &["MG0101", "MG0201"]),
    fault("forgetful", "CREATE TABLE {} (id bigint PRIMARY KEY, v text) ENGINE = MyISAM", ID, "", &["MG0202"]),
    fault(
        "parents",
        "CREATE TABLE {}_above (id bigint PRIMARY KEY);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint, FOREIGN KEY (p) REFERENCES {}_above (id))",
        "CREATE TABLE {}_above (id bigint PRIMARY KEY);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint, FOREIGN KEY (p) REFERENCES {}_above (id) ON DELETE CASCADE)",
        "\n  - from: parents_above",
        // As a table of its own, too: an engine says of each what it can't capture.
        &["MG0213", "MG0214"],
    ),
    fault(
        "cascading",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint, FOREIGN KEY (p) REFERENCES {}_parent (id) ON DELETE CASCADE)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, p bigint)",
        "",
        &["MG0214"],
    ),
    fault(
        "triggered",
        ID,
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text);
         CREATE TRIGGER mails AFTER INSERT ON {} FOR EACH ROW SET @mails = 1",
        "",
        &["MG0215"],
    ),
    fault(
        "numbered",
        "CREATE TABLE {} (id bigint AUTO_INCREMENT PRIMARY KEY)",
        "CREATE TABLE {} (id bigint PRIMARY KEY)",
        "",
        &["MG0218"],
    ),
    fault(
        "outside",
        "CREATE TABLE {} (id bigint PRIMARY KEY, p bigint)",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint, FOREIGN KEY (p) REFERENCES {}_parent (id))",
        "",
        &["MG0219"],
    ),
    fault(
        "partly_unique",
        ID,
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text, UNIQUE (v(3)))",
        "",
        &["MG0306"],
    ),
    fault("ruled_out", ID, "CREATE TABLE {} (id bigint PRIMARY KEY, v text CHECK (v <> 'x'))", "", &["MG0307"]),
];

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
        "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50)); INSERT INTO {} VALUES (1, 'row-canary'), (2, 'fits')",
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
        "below_zero",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int); INSERT INTO {} VALUES (1, -1), (2, 1)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int unsigned)",
        "",
        &["MG0303"],
    ),
    fault(
        "digits",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n bigint); INSERT INTO {} VALUES (1, 9999), (2, -9223372036854775808)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n decimal(6, 2))",
        "",
        &["MG0304"],
    ),
    fault(
        "doubled",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50));
         INSERT INTO {} VALUES (1, 'row-canary'), (2, 'row-canary'), (3, NULL), (4, NULL)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50) UNIQUE)",
        "",
        &["MG0305"],
    ),
    fault(
        "orphans",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY, gone int NOT NULL);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint, FOREIGN KEY (p) REFERENCES {}_parent (id));
         INSERT INTO {}_parent VALUES (1, 0), (2, 1); INSERT INTO {} VALUES (1, 1), (2, 2), (3, NULL)",
        "CREATE TABLE {}_parent (id bigint PRIMARY KEY, gone int NOT NULL);
         CREATE TABLE {} (id bigint PRIMARY KEY, p bigint, FOREIGN KEY (p) REFERENCES {}_parent (id))",
        "\n  - from: orphans_parent\n    where: \"gone = 0\"",
        &["MG0308"],
    ),
    fault(
        "not_empty",
        ID,
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text); INSERT INTO {} VALUES (1, 'row-canary')",
        "",
        &["MG0313"],
    ),
    fault(
        "no_dates",
        "CREATE TABLE {} (id bigint PRIMARY KEY, d date);
         SET SESSION sql_mode = ''; INSERT INTO {} VALUES (1, '0000-00-00'), (2, '2024-00-00'), (3, '2024-02-29'), (4, NULL)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, d date)",
        "",
        &["MG0315"],
    ),
    fault(
        "zero_stamps",
        "CREATE TABLE {} (id bigint PRIMARY KEY, s timestamp NULL);
         SET SESSION sql_mode = ''; INSERT INTO {} VALUES (1, '0000-00-00 00:00:00'), (2, '2024-02-29 01:02:03')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, s timestamp NULL)",
        "",
        &["MG0315"],
    ),
    fault(
        "no_times",
        "CREATE TABLE {} (id bigint PRIMARY KEY, t time(6));
         INSERT INTO {} VALUES (1, '-00:00:00.5'), (2, '100:00:00'), (3, '23:59:59.999999'), (4, NULL)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, t time(6))",
        "",
        &["MG0316"],
    ),
    fault(
        "finer",
        "CREATE TABLE {} (id bigint PRIMARY KEY, t datetime(6));
         INSERT INTO {} VALUES (1, '2024-02-29 01:02:03.000001'), (2, '2024-02-29 01:02:03.1'), (3, '2024-02-29 01:02:03')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, t datetime(3))",
        "",
        &["MG0317"],
    ),
    fault(
        "huge",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v longtext, w longblob);
         INSERT INTO {} VALUES (1, repeat('x', 9000000), NULL), (2, 'x', 'y'); UPDATE {} SET w = v WHERE id = 1",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v longtext, w longblob)",
        "",
        &["MG0318"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_of_mariadb_are_found_in_one_run() {
    let (source, target) = (safe_place("faults_from").await, safe_place("faults_to").await);
    let mut tables = String::from("tables:\n");
    let mut all = Vec::new();
    for list in [CATALOGUE, DATA] {
        tables += seed(list, &source, &target).await.trim_start_matches("tables:\n");
        all.extend(list.iter().map(|f| fault(f.table, f.source, f.target, f.plan, f.ids)));
    }
    let distinct: BTreeSet<&str> = all.iter().flat_map(|f| f.ids.iter().copied()).collect();
    assert!(distinct.len() >= 20, "{} ids", distinct.len());
    let product = Product::new("faults", &source, &target, None, &tables);
    let before = (source.catalogue().await, target.catalogue().await);
    assert_each_is_found(&all, &product, &[]).await;
    let counts: Vec<_> = findings(&product, 65).await;
    let counted = |table: &str| {
        let of = |f: &&serde_json::Value| f["table"].as_str().is_some_and(|t| t == table);
        counts.iter().find(of).and_then(|f| f["count"].as_u64())
    };
    let numbers = ["no_dates", "no_times", "finer", "digits", "doubled", "huge"].map(counted);
    assert_eq!(numbers, [Some(2), Some(2), Some(1), Some(1), Some(1), Some(1)]);
    assert_eq!((source.catalogue().await, target.catalogue().await), before, "something was written");
}

const CLEAN: &str = "
    CREATE TABLE customers (id bigint AUTO_INCREMENT PRIMARY KEY, email varchar(80) NOT NULL UNIQUE, born date,
        CONSTRAINT sane CHECK (born > '1900-01-01'));
    CREATE TABLE orders (id int unsigned AUTO_INCREMENT PRIMARY KEY, customer bigint NOT NULL, total decimal(10,2) NOT NULL,
        at timestamp(6) NOT NULL DEFAULT current_timestamp(6), took time, notes json, body blob,
        FOREIGN KEY (customer) REFERENCES customers (id));";
const ROWS: &str = "
    INSERT INTO customers (email, born) SELECT concat('row-canary', seq), '2000-01-01' FROM seq_1_to_50;
    INSERT INTO orders (customer, total, took, notes, body) SELECT id, id, '12:34:56', '{}', 'x' FROM customers;";

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_pair_yields_nothing_on_mariadb() {
    let (source, target) = (safe_place("clean_from").await, safe_place("clean_to").await);
    source.exec(&format!("{CLEAN} {ROWS}")).await;
    target.exec(CLEAN).await;
    let product = Product::new("clean", &source, &target, None, "tables:\n  - from: customers\n  - from: orders\n");
    let found = findings(&product, 0).await;
    assert!(found.is_empty(), "{found:#?}");
    product.run(&["apply"]).await.expect(0);
    assert!(findings(&product, 0).await.is_empty());
}

const FROM_POSTGRES: &[Fault] = &[
    fault(
        "ages",
        "CREATE TABLE {} (id bigint PRIMARY KEY, d date);
         INSERT INTO {} VALUES (1, '0044-03-15 BC'), (2, 'infinity'), (3, '10000-01-01'), (4, '2024-02-29'), (5, NULL)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, d date)",
        "",
        &["MG0316"],
    ),
    fault(
        "moments",
        "CREATE TABLE {} (id bigint PRIMARY KEY, s timestamptz);
         INSERT INTO {} VALUES (1, '1969-12-31 23:59:59+00'), (2, '2038-01-19 03:14:08+00'), (3, '2024-02-29 12:00+00')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, s timestamp(6) NULL)",
        "",
        &["MG0316"],
    ),
    fault(
        "fractions",
        "CREATE TABLE {} (id bigint PRIMARY KEY, s timestamp);
         INSERT INTO {} VALUES (1, '2024-02-29 12:00:00.5'), (2, '2024-02-29 12:00:01')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, s datetime)",
        "",
        &["MG0317"],
    ),
    fault(
        "endless",
        "CREATE TABLE {} (id bigint PRIMARY KEY, f float8); INSERT INTO {} VALUES (1, 'Infinity'), (2, '-Infinity'), (3, 1)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, f double)",
        "",
        &["MG0312"],
    ),
    fault(
        "nan",
        "CREATE TABLE {} (id bigint PRIMARY KEY, f float8); INSERT INTO {} VALUES (1, 'NaN'), (2, 1.5)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, f double)",
        "",
        &["MG0312"],
    ),
    fault(
        "below_zero",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int); INSERT INTO {} VALUES (1, -1), (2, 1)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int unsigned)",
        "",
        &["MG0303"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_mariadb() {
    let source = Place::Postgres(safe_database("my_from").await);
    let target = safe_place("pg_to").await;
    let tables = seed(FROM_POSTGRES, &source, &target).await;
    assert_each_is_found(FROM_POSTGRES, &Product::new("mixed", &source, &target, None, &tables), &[]).await;
}

const TO_POSTGRES: &[Fault] = &[
    fault(
        "no_dates",
        "CREATE TABLE {} (id bigint PRIMARY KEY, d datetime(6));
         SET SESSION sql_mode = ''; INSERT INTO {} VALUES (1, '0000-00-00'), (2, '2024-02-00 01:00:00'), (3, '9999-12-31 23:59:59.999999')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, d timestamp)",
        "",
        &["MG0315"],
    ),
    fault(
        "no_times",
        "CREATE TABLE {} (id bigint PRIMARY KEY, t time); INSERT INTO {} VALUES (1, '-01:00:00'), (2, '12:00:00')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, t time)",
        "",
        &["MG0316"],
    ),
    fault(
        "nul",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v varchar(50)); INSERT INTO {} VALUES (1, 'a\\0b'), (2, 'row-canary'), (3, '')",
        "CREATE TABLE {} (id bigint PRIMARY KEY, v text)",
        "",
        &["MG0310"],
    ),
    fault(
        "beyond",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int unsigned); INSERT INTO {} VALUES (1, 4294967295), (2, 7)",
        "CREATE TABLE {} (id bigint PRIMARY KEY, n int)",
        "",
        &["MG0303"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_postgres() {
    let source = safe_place("pg_from").await;
    let target = Place::Postgres(safe_database("my_to").await);
    let tables = seed(TO_POSTGRES, &source, &target).await;
    assert_each_is_found(TO_POSTGRES, &Product::new("mixed", &source, &target, None, &tables), &[]).await;
}

fn these(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// A server with everything wrong that a setting can make wrong; each is set right in turn.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_server_is_told() {
    let server = MariaDb::start(&["--log-bin", "--server-id=1", "--innodb-flush-method=fsync", "--sql-mode="]);
    let (from, to) = (database(&server, "from").await, database(&server, "to").await);
    let (source, target) = (Place::MariaDb(from.clone()), Place::MariaDb(to));
    source.exec("CREATE TABLE t (id bigint PRIMARY KEY, v text)").await;
    target.exec("CREATE TABLE t (id bigint PRIMARY KEY, v text)").await;
    let mut product = Product::new("servers", &source, &target, None, "tables:\n  - from: t\n");
    let as_superuser = async |sql: &str| mysql_exec(&server.superuser_url("mysql"), sql).await;
    let trust = "SET GLOBAL log_bin_trust_function_creators = 1";

    let found = findings(&product, 65).await;
    assert_eq!(ids(&found), these(&["MG0401", "MG0405", "MG0412"]), "{found:#?}");
    let rights = found.iter().find(|f| f["id"] == "MG0401").and_then(|f| f["message"].as_str());
    assert!(rights.is_some_and(|m| m.contains(trust)), "{rights:?}");
    as_superuser(&format!(
        "{trust}; SET GLOBAL innodb_flush_log_at_trx_commit = 1; SET GLOBAL sql_mode = 'TRADITIONAL'"
    ))
    .await;
    assert!(findings(&product, 0).await.is_empty());

    as_superuser("SET GLOBAL read_only = 1").await;
    assert_eq!(ids(&findings(&product, 65).await), these(&["MG0403"]));
    as_superuser("SET GLOBAL read_only = 0").await;

    source
        .exec(
            "XA START 'forgotten'; INSERT INTO t VALUES (1, 'row-canary'); XA END 'forgotten'; XA PREPARE 'forgotten'",
        )
        .await;
    assert_eq!(ids(&findings(&product, 0).await), these(&["MG0411"]));
    source.exec("XA ROLLBACK 'forgotten'").await;

    let login = product_url(&server, &from);
    product.set("SOURCE", &login);
    assert_eq!(ids(&findings(&product, 0).await), these(&["MG0409"]));
    product.set("SOURCE", &source.url());
    product.set("TARGET", &source.url());
    assert!(ids(&findings(&product, 65).await).contains("MG0220"), "the same table on both sides");
}

/// What a replica gets by row events fires none of its triggers.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_refused() {
    let primary = MariaDb::start(&["--log-bin", "--server-id=1"]);
    let replica = MariaDb::start(&["--server-id=2"]);
    let (from, to) = (database(&replica, "from").await, database(&replica, "to").await);
    let (source, target) = (Place::MariaDb(from), Place::MariaDb(to));
    for place in [&source, &target] {
        place.exec("CREATE TABLE t (id bigint PRIMARY KEY, v text)").await;
    }
    let product = Product::new("replica", &source, &target, None, "tables:\n  - from: t\n");
    assert!(!ids(&findings(&product, 0).await).contains("MG0403"));
    let follow = format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'tester', MASTER_PASSWORD = '{CANARY}tester'; START SLAVE",
        primary.port()
    );
    mysql_exec(&replica.superuser_url("mysql"), &follow).await;
    for _ in 0..200 {
        let status = mysql_query_text(&replica.superuser_url("mysql"), "SHOW STATUS LIKE 'Slave_running'").await;
        if status.first().is_some_and(|row| row[1].as_deref() == Some("ON")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(ids(&findings(&product, 65).await).contains("MG0403"));
}

fn product_url(server: &MariaDb, db: &MyDatabase) -> String {
    server.superuser_url(&db.name)
}

/// What `grants` prints is a script, and enough for logins that have nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_grants_prints_is_enough() {
    let server = MariaDb::start(&[
        "--log-bin",
        "--server-id=1",
        "--innodb-flush-method=fsync",
        "--innodb-flush-log-at-trx-commit=1",
    ]);
    let (from, to) = (database(&server, "a_b").await, database(&server, "a_b").await);
    let (source, target) = (Place::MariaDb(from.clone()), Place::MariaDb(to.clone()));
    source.exec("CREATE TABLE t (id bigint PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'row-canary')").await;
    target.exec("CREATE TABLE t (id bigint PRIMARY KEY, v text)").await;
    let product = Product::new("granted", &source, &target, None, "tables:\n  - from: t\n");
    let script = product.run(&["grants"]).await.expect(0).stdout;
    for part in [
        format!("GRANT SELECT ON `{}`.`t` TO '{}'@'%';", from.name, from.run),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{}`.`t` TO '{}'@'%';", to.name, to.run),
        "GRANT PROCESS ON *.* TO".to_owned(),
        "SET GLOBAL log_bin_trust_function_creators = 1;".to_owned(),
    ] {
        assert!(script.contains(&part), "no {part}:\n{script}");
    }
    let mut sql = String::new();
    for account in [&from.owner, &from.run, &to.owner, &to.run] {
        sql += &format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{account}'@'%';");
    }
    // Without a right on it a database can't even be entered.
    mysql_exec(&server.superuser_url("mysql"), &format!("{sql}\n{script}")).await;
    assert!(findings(&product, 0).await.is_empty());
    product.run(&["apply"]).await.expect(0);
}
