//! An application at work: writers that keep inserting, updating, deleting and changing keys, and a ledger of every
//! write that the store acknowledged.

use super::compare::{self, StoreRef};
use super::product::Place;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, SqliteConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// One connection of the application.
pub enum App {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl App {
    pub async fn connect(place: &Place) -> Self {
        match place {
            Place::Postgres(db) => App::Postgres(PgConnection::connect(&db.app_url).await.expect("app")),
            Place::MariaDb(db) => App::MariaDb(MySqlConnection::connect(&db.app_url).await.expect("app")),
            Place::Sqlite(path) => App::Sqlite(super::sql::sqlite_connect(path).await),
        }
    }

    pub async fn exec(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        match self {
            App::Postgres(c) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(c).await.map(|_| ()),
            App::MariaDb(c) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(c).await.map(|_| ()),
            App::Sqlite(c) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(c).await.map(|_| ()),
        }
    }

    pub fn begin(&self) -> &'static str {
        match self {
            App::Postgres(_) | App::MariaDb(_) => "BEGIN",
            App::Sqlite(_) => "BEGIN IMMEDIATE",
        }
    }
}

/// The tables of the application. The same statements work on every engine; the types are each engine's own.
pub fn schema(place: &Place) -> String {
    let (bytes, stamp) = match place {
        Place::Postgres(_) => ("bytea", "timestamp"),
        Place::MariaDb(_) => ("longblob", "datetime"),
        Place::Sqlite(_) => ("BLOB", "DATETIME"),
    };
    format!(
        "CREATE TABLE customers (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(200) NOT NULL, name TEXT, \
           balance NUMERIC(10,2) NOT NULL, created {stamp} NOT NULL, active BOOLEAN NOT NULL, photo {bytes}, version BIGINT NOT NULL);
         CREATE TABLE orders (customer BIGINT NOT NULL, code VARCHAR(40) NOT NULL, amount INTEGER, note TEXT, version BIGINT NOT NULL, \
           PRIMARY KEY (customer, code));"
    )
}

/// What both sides must agree on, as text, by plain SQL.
pub fn selects(place: &Place) -> [String; 2] {
    let (photo, stamp, balance, active) = match place {
        Place::Postgres(_) => {
            ("encode(photo, 'hex')", "to_char(created, 'YYYY-MM-DD HH24:MI:SS')", "balance::text", "active::int::text")
        }
        Place::MariaDb(_) => (
            "lower(hex(photo))",
            "date_format(created, '%Y-%m-%d %H:%i:%S')",
            "CAST(balance AS CHAR)",
            "CAST(active AS CHAR)",
        ),
        Place::Sqlite(_) => ("lower(hex(photo))", "created", "printf('%.2f', balance)", "CAST(active AS TEXT)"),
    };
    let photo = format!("CASE WHEN photo IS NULL THEN NULL ELSE {photo} END");
    let text = if matches!(place, Place::MariaDb(_)) { "CHAR" } else { "TEXT" };
    [
        format!(
            "SELECT CAST(id AS TEXT), email, name, {balance}, {stamp}, {active}, {photo}, CAST(version AS TEXT) FROM customers"
        )
        .replace("AS TEXT", &format!("AS {text}")),
        "SELECT CAST(customer AS TEXT), code, CAST(amount AS TEXT), note, CAST(version AS TEXT) FROM orders"
            .replace("AS TEXT", &format!("AS {text}")),
    ]
}

fn customer(place: &Place, id: i64, version: u64, rng: &mut StdRng) -> String {
    let photo = match (rng.random_range(0..3), place) {
        (0, _) => "NULL".to_owned(),
        (_, Place::Postgres(_)) => format!("'\\x{:016x}'", rng.random::<u64>()),
        (_, Place::Sqlite(_) | Place::MariaDb(_)) => format!("x'{:016x}'", rng.random::<u64>()),
    };
    let name = ["NULL", "''", "'Ünïcödé 🦀 '", "'O''Brien'", "E'tab'"][rng.random_range(0..4)];
    let balance = rng.random_range(-99_999..99_999i64);
    format!(
        "({id}, 'u{id}@example.org', {name}, {}.{:02}, '2024-0{}-1{} 0{}:00:00', {}, {photo}, {version})",
        balance / 100,
        balance.abs() % 100,
        rng.random_range(1..10),
        rng.random_range(0..10),
        rng.random_range(0..10),
        ["TRUE", "FALSE"][rng.random_range(0..2)],
    )
}

/// Makes the tables and `rows` customers with an order each.
pub async fn fill(place: &Place, rows: i64, seed: u64) {
    place.exec(&schema(place)).await;
    let mut app = App::connect(place).await;
    let mut rng = StdRng::seed_from_u64(seed);
    for first in (0..rows).step_by(500) {
        let ids = first..(first + 500).min(rows);
        let customers: Vec<_> = ids.clone().map(|id| customer(place, id * 16, 1, &mut rng)).collect();
        let orders: Vec<_> = ids.map(|id| format!("({}, 'c{}', {id}, 'x', 1)", id * 16, id % 7)).collect();
        app.exec(&format!("INSERT INTO customers VALUES {}", customers.join(","))).await.expect("fill");
        app.exec(&format!("INSERT INTO orders VALUES {}", orders.join(","))).await.expect("fill");
    }
}

/// What was acknowledged: the last version per key, `None` where it was deleted.
pub type Ledger = BTreeMap<i64, Option<u64>>;

pub struct Writers {
    stop: Arc<AtomicBool>,
    pub acknowledged: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Ledger>>,
}

impl Writers {
    /// Each writer owns the ids that leave its number by 16, so that its ledger is exact.
    pub fn start(place: &Place, count: usize, rows: i64, seed: u64, pause: Duration) -> Self {
        assert!(count < 16);
        println!("writers: seed {seed}");
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = |i: usize| {
            let (place, stop, acknowledged) = (place.clone(), stop.clone(), acknowledged.clone());
            tokio::spawn(async move { write(&place, i as i64, rows, seed, pause, &stop, &acknowledged).await })
        };
        Self { tasks: (0..count).map(task).collect(), stop, acknowledged }
    }

    pub fn count(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut ledger = Ledger::new();
        for task in self.tasks {
            ledger.extend(task.await.expect("a writer"));
        }
        ledger
    }
}

async fn write(
    place: &Place,
    writer: i64,
    rows: i64,
    seed: u64,
    pause: Duration,
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
) -> Ledger {
    let mut rng = StdRng::seed_from_u64(seed ^ (writer as u64) << 32);
    let mut app = App::connect(place).await;
    let mut ledger = Ledger::new();
    let mut version = 1;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let mut sql = String::new();
        let mut changed = Ledger::new();
        for _ in 0..rng.random_range(1..4) {
            let id = rng.random_range(0..rows.max(1) * 2) * 16 + writer;
            step(place, id, version, &mut rng, &mut sql, &mut changed);
        }
        let commit = rng.random_range(0..10) > 0;
        let end = if commit { "COMMIT" } else { "ROLLBACK" };
        let begin = app.begin();
        match app.exec(&format!("{begin}; {sql} {end};")).await {
            Ok(()) if commit => {
                acknowledged.fetch_add(changed.len() as u64, Ordering::Relaxed);
                ledger.extend(changed);
            }
            Ok(()) => {}
            Err(e) => {
                let _ = app.exec("ROLLBACK").await;
                let passing = ["locked", "deadlock", "Deadlock", "Lock wait"].iter().any(|w| e.to_string().contains(w));
                assert!(passing, "{sql}: {e}");
            }
        }
        tokio::time::sleep(pause).await;
    }
    ledger
}

fn step(place: &Place, id: i64, version: u64, rng: &mut StdRng, sql: &mut String, changed: &mut Ledger) {
    match rng.random_range(0..10) {
        0..6 => {
            *sql += &format!(
                "DELETE FROM customers WHERE id = {id}; INSERT INTO customers VALUES {};",
                customer(place, id, version, rng)
            );
            *sql += &format!(
                "DELETE FROM orders WHERE customer = {id}; INSERT INTO orders VALUES ({id}, 'k{version}', NULL, 'n', {version});"
            );
            changed.insert(id, Some(version));
        }
        6..8 => {
            *sql += &format!("DELETE FROM customers WHERE id = {id}; DELETE FROM orders WHERE customer = {id};");
            changed.insert(id, None);
        }
        _ => {
            // A key changes: to a neighbour of the same writer, which is made free first.
            let to = id + 16;
            *sql += &format!(
                "DELETE FROM customers WHERE id IN ({id}, {to}); INSERT INTO customers VALUES {};",
                customer(place, id, version, rng)
            );
            *sql += &format!(
                "UPDATE customers SET id = {to} WHERE id = {id}; UPDATE orders SET code = code || 'z' WHERE customer = {id} AND length(code) < 30;"
            );
            changed.insert(id, None);
            changed.insert(to, Some(version));
        }
    }
}

/// Both sides by plain SELECTs, and each acknowledged write on the target.
pub async fn assert_nothing_lost(source: &Place, target: &Place, ledger: &Ledger) {
    for (i, name) in ["customers", "orders"].iter().enumerate() {
        let left = compare::rows(&source.store_ref(), &selects(source)[i]).await;
        let right = compare::rows(&target.store_ref(), &selects(target)[i]).await;
        compare::assert_same(name, &left, &right);
    }
    let sql = match target {
        Place::MariaDb(_) => "SELECT CAST(id AS CHAR), CAST(version AS CHAR) FROM customers",
        _ => "SELECT CAST(id AS TEXT), CAST(version AS TEXT) FROM customers",
    };
    let found: BTreeMap<i64, u64> = read(&target.store_ref(), sql).await;
    for (id, version) in ledger {
        assert_eq!(found.get(id), version.as_ref(), "customer {id}: the ledger has {version:?}");
    }
}

async fn read(store: &StoreRef, sql: &str) -> BTreeMap<i64, u64> {
    let rows = match store {
        StoreRef::Postgres(url) => super::query_text(url, sql).await,
        StoreRef::MariaDb(url) => super::mysql_query_text(url, sql).await,
        StoreRef::Sqlite(path) => super::sqlite_query_text(path, sql).await,
    };
    let number = |cell: &Option<String>| cell.as_ref().and_then(|t| t.parse::<i64>().ok()).expect("a number");
    rows.iter().map(|r| (number(&r[0]), number(&r[1]) as u64)).collect()
}
