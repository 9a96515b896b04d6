//! Chinook, real data in the two shapes that its authors chose (tests/data/README.md).

use super::compare::{Rows, StoreRef, assert_same, rows};
use super::mariadb::{MyDatabase, mysql_exec};
use super::postgres::PgDatabase;
use super::sql::{exec, sqlite_exec};
use std::path::Path;

const SQLITE: &str = include_str!("../data/chinook.sqlite.sql");
const POSTGRES: &str = include_str!("../data/chinook.postgres.sql");
const MYSQL: &str = include_str!("../data/chinook.mysql.sql");

/// How a column is written as text that is equal on both sides.
#[derive(Clone, Copy)]
enum Kind {
    /// Integers and strings.
    Plain,
    /// An amount with two decimals.
    Cents,
    /// `YYYY-MM-DD HH:MM:SS`: text in SQLite, a timestamp in PostgreSQL.
    Time,
}

/// `$` marks amounts, `@` times; the first column, or the first two of PlaylistTrack, are the key.
const TABLES: [(&str, usize, &str); 11] = [
    ("Album", 347, "AlbumId Title ArtistId"),
    ("Artist", 275, "ArtistId Name"),
    (
        "Customer",
        59,
        "CustomerId FirstName LastName Company Address City State Country PostalCode Phone Fax Email SupportRepId",
    ),
    (
        "Employee",
        8,
        "EmployeeId LastName FirstName Title ReportsTo @BirthDate @HireDate Address City State Country PostalCode \
         Phone Fax Email",
    ),
    ("Genre", 25, "GenreId Name"),
    (
        "Invoice",
        412,
        "InvoiceId CustomerId @InvoiceDate BillingAddress BillingCity BillingState BillingCountry BillingPostalCode \
         $Total",
    ),
    ("InvoiceLine", 2240, "InvoiceLineId InvoiceId TrackId $UnitPrice Quantity"),
    ("MediaType", 5, "MediaTypeId Name"),
    ("Playlist", 18, "PlaylistId Name"),
    ("PlaylistTrack", 8715, "PlaylistId TrackId"),
    ("Track", 3503, "TrackId Name AlbumId MediaTypeId GenreId Composer Milliseconds Bytes $UnitPrice"),
];

/// One table in both shapes; the two SELECTs yield equal text for equal data.
#[derive(Debug, Clone)]
pub struct Pair {
    pub sqlite_table: &'static str,
    pub postgres_table: String,
    /// How many rows it has as it is loaded.
    pub rows: usize,
    /// (SQLite's name, PostgreSQL's name), in order.
    pub columns: Vec<(String, String)>,
    pub sqlite_sql: String,
    pub postgres_sql: String,
    /// The names are SQLite's.
    pub mysql_sql: String,
}

impl Pair {
    /// The SELECT for a store that has the shape of its engine.
    pub fn sql(&self, store: &StoreRef) -> &str {
        match store {
            StoreRef::Postgres(_) => &self.postgres_sql,
            StoreRef::MariaDb(_) => &self.mysql_sql,
            StoreRef::Sqlite(_) => &self.sqlite_sql,
        }
    }
}

pub fn chinook_pairs() -> Vec<Pair> {
    TABLES.iter().map(|(table, rows, columns)| pair(table, *rows, columns)).collect()
}

fn pair(table: &'static str, rows: usize, columns: &str) -> Pair {
    let (mut names, mut sqlite, mut postgres, mut mysql) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for marked in columns.split_whitespace() {
        let (kind, name) = match marked.split_at(1) {
            ("$", name) => (Kind::Cents, name),
            ("@", name) => (Kind::Time, name),
            _ => (Kind::Plain, marked),
        };
        let snake = snake_case(name);
        sqlite.push(sqlite_text(kind, name));
        // PostgreSQL's own text of int, varchar, numeric(10,2) and timestamp is the form that we want.
        postgres.push(format!("\"{snake}\"::text"));
        mysql.push(format!("CAST(`{name}` AS CHAR)"));
        names.push((name.to_string(), snake));
    }
    let postgres_table = snake_case(table);
    Pair {
        sqlite_table: table,
        rows,
        columns: names,
        sqlite_sql: format!("SELECT {} FROM \"{table}\"", sqlite.join(", ")),
        mysql_sql: format!("SELECT {} FROM `{table}`", mysql.join(", ")),
        postgres_sql: format!("SELECT {} FROM \"{postgres_table}\"", postgres.join(", ")),
        postgres_table,
    }
}

fn sqlite_text(kind: Kind, name: &str) -> String {
    match kind {
        // A time is compared as it is stored, since the application reads it so.
        Kind::Plain | Kind::Time => format!("CAST(\"{name}\" AS TEXT)"),
        // Rounding must not hide a wrong amount: anything but the number nearest to its two decimals says so.
        Kind::Cents => format!(
            "CASE WHEN \"{name}\" IS NULL THEN NULL
                  WHEN typeof(\"{name}\") IN ('real', 'integer') AND \"{name}\" = CAST(printf('%.2f', \"{name}\") AS REAL)
                  THEN printf('%.2f', \"{name}\")
                  ELSE 'no amount in cents: ' || typeof(\"{name}\") || ' ' || printf('%.17g', \"{name}\") END"
        ),
    }
}

/// `InvoiceLineId` -> `invoice_line_id`.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Everything into a new SQLite file.
pub async fn load_sqlite(path: &Path) {
    sqlite_exec(path, &format!("PRAGMA synchronous = OFF; BEGIN; {SQLITE}; COMMIT;")).await;
}

/// The tables with their keys and foreign keys, without rows: what a target is before the move.
pub async fn create_sqlite(path: &Path) {
    sqlite_exec(path, without_rows(SQLITE)).await;
}

/// Everything into a fresh database, as its owner; its text exactly as the script writes it (`plain_literals`).
pub async fn load_postgres(database: &PgDatabase) {
    exec(&database.owner_url, &plain_literals(tables_on(POSTGRES))).await;
}

/// The tables with their keys, indexes and foreign keys, without rows.
pub async fn create_postgres(database: &PgDatabase) {
    exec(&database.owner_url, without_rows(tables_on(POSTGRES))).await;
}

/// Everything into a fresh database, as its owner.
pub async fn load_mariadb(database: &MyDatabase) {
    let begin = "USE `Chinook`;";
    let at = MYSQL.find(begin).expect("the script uses its database") + begin.len();
    mysql_exec(&database.owner_url, &MYSQL[at..]).await;
}

/// The tables with their keys, indexes and foreign keys, without rows.
pub async fn create_mariadb(database: &MyDatabase) {
    let begin = "USE `Chinook`;";
    let script = without_rows(MYSQL);
    let at = script.find(begin).expect("the script uses its database") + begin.len();
    mysql_exec(&database.owner_url, &script[at..]).await;
}

/// Leaves out the lines for psql: drop, create and connect to the database `chinook`.
fn tables_on(script: &'static str) -> &'static str {
    let connect = "\\c chinook;";
    let at = script.find(connect).expect("the script connects to its database");
    &script[at + connect.len()..]
}

/// `N'text'` -> `'text'`. PostgreSQL reads the former as `character`, and trims it on the way to `varchar`: the city
/// `'Edinburgh '` of 1 customer and 7 invoices would differ from SQLite's, and so it does where psql loads the script.
fn plain_literals(script: &str) -> String {
    let (mut plain, mut in_text) = (String::with_capacity(script.len()), false);
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        in_text ^= c == '\''; // a doubled quote leaves the text and enters it again
        if in_text || c != 'N' || chars.peek() != Some(&'\'') {
            plain.push(c);
        }
    }
    plain
}

/// Both scripts make all tables first; the rows follow.
fn without_rows(script: &'static str) -> &'static str {
    &script[..script.find("INSERT INTO").expect("the script has rows")]
}

/// All 11 tables agree between two stores, each in its engine's shape. Panics with the rows that differ.
pub async fn assert_chinook_same(left: &StoreRef, right: &StoreRef) {
    for pair in chinook_pairs() {
        let (l, r): (Rows, Rows) = (rows(left, pair.sql(left)).await, rows(right, pair.sql(right)).await);
        assert_same(pair.sqlite_table, &l, &r);
    }
}
