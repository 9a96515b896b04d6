//! Plain SQL for tests: several statements at once, and every value as the text that the engine itself writes.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, PgConnection, Row, TypeInfo, ValueRef};
use std::path::Path;
use std::time::Duration;

pub type TextRow = Vec<Option<String>>;

/// Statements, sent at once: PostgreSQL runs them in one transaction unless they say otherwise.
pub async fn try_exec(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut conn = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
    conn.close().await
}

/// As `try_exec`, for statements that must succeed.
pub async fn exec(url: &str, sql: &str) {
    try_exec(url, sql).await.unwrap_or_else(|e| panic!("{}: {e}", head(sql)));
}

/// All rows; each value in PostgreSQL's own text form (the simple protocol), so any type is welcome.
pub async fn try_query_text(url: &str, sql: &str) -> Result<Vec<TextRow>, sqlx::Error> {
    let mut conn = PgConnection::connect(url).await?;
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut conn).await?;
    conn.close().await?;
    let text = |row: &sqlx::postgres::PgRow, i: usize| -> Result<Option<String>, sqlx::Error> {
        let value = row.try_get_raw(i)?;
        if value.is_null() {
            return Ok(None);
        }
        Ok(Some(value.as_str().map_err(sqlx::Error::Decode)?.to_string()))
    };
    rows.iter().map(|row| (0..row.len()).map(|i| text(row, i)).collect()).collect()
}

/// As `try_query_text`, for a query that must succeed.
pub async fn query_text(url: &str, sql: &str) -> Vec<TextRow> {
    try_query_text(url, sql).await.unwrap_or_else(|e| panic!("{}: {e}", head(sql)))
}

/// Opens (and creates) a SQLite file as an application would that knows nothing of us.
pub async fn sqlite_connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.foreign_keys(false).busy_timeout(Duration::from_secs(30));
    options.connect().await.unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()))
}

pub async fn sqlite_exec(path: &Path, sql: &str) {
    let mut conn = sqlite_connect(path).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap_or_else(|e| panic!("{}: {e}", head(sql)));
    conn.close().await.expect("close");
}

/// All rows. The caller's SQL casts to text; a value of another storage class is a mistake in the test.
pub async fn sqlite_query_text(path: &Path, sql: &str) -> Vec<TextRow> {
    let mut conn = sqlite_connect(path).await;
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut conn).await;
    let rows = rows.unwrap_or_else(|e| panic!("{}: {e}", head(sql)));
    conn.close().await.expect("close");
    let text = |row: &sqlx::sqlite::SqliteRow, i: usize| {
        let value = row.try_get_raw(i).expect("a column");
        let class = value.type_info().name().to_string();
        assert!(value.is_null() || class == "TEXT", "column {} is {class}: cast it to text", row.column(i).name());
        row.try_get_unchecked::<Option<String>, _>(i).expect("text")
    };
    rows.iter().map(|row| (0..row.len()).map(|i| text(row, i)).collect()).collect()
}

/// A value of a text protocol's row.
pub fn value_text(row: &sqlx::mysql::MySqlRow, i: usize) -> Option<String> {
    let bytes: Option<Vec<u8>> = row.try_get_unchecked(i).expect("bytes");
    bytes.map(|b| String::from_utf8(b).expect("UTF-8"))
}

fn head(sql: &str) -> String {
    sql.trim().chars().take(200).collect()
}
