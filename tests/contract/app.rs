//! The application: a plain connection that knows nothing of the product, held open so that it can keep a
//! transaction open while the product works.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row, SqliteConnection, ValueRef};

use crate::support::sql::sqlite_connect;

pub enum App {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl App {
    pub async fn postgres(url: &str) -> Self {
        App::Postgres(PgConnection::connect(url).await.unwrap())
    }

    pub async fn mariadb(url: &str) -> Self {
        let mut app = App::MariaDb(MySqlConnection::connect(url).await.unwrap());
        // So that `SET a = b, b = a` means what it says.
        app.run("SET sql_mode = concat(@@sql_mode, ',SIMULTANEOUS_ASSIGNMENT')").await;
        app
    }

    pub async fn sqlite(path: &Path) -> Self {
        App::Sqlite(sqlite_connect(path).await)
    }

    pub async fn try_run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            App::Postgres(c) => sqlx::raw_sql(sql).execute(c).await.map(drop),
            App::MariaDb(c) => sqlx::raw_sql(sql).execute(c).await.map(drop),
            App::Sqlite(c) => sqlx::raw_sql(sql).execute(c).await.map(drop),
        }
    }

    /// Has really gone when this comes back.
    pub async fn close(self) {
        match self {
            App::Postgres(c) => c.close().await.unwrap(),
            App::MariaDb(c) => c.close().await.unwrap(),
            App::Sqlite(c) => c.close().await.unwrap(),
        }
    }

    pub async fn run(&mut self, sql: &str) {
        self.try_run(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// Each row as one line, in order of the lines. A blob shows as hex.
    pub async fn rows(&mut self, table: &str, columns: &str) -> Vec<String> {
        let cast = |c: &str| match self {
            App::Postgres(_) => format!("({c})::text"),
            App::MariaDb(_) => {
                format!("IF(charset({c}) = 'binary' AND coercibility({c}) = 2, hex({c}), CAST({c} AS CHAR))")
            }
            App::Sqlite(_) => format!("CASE typeof({c}) WHEN 'blob' THEN hex({c}) ELSE CAST({c} AS TEXT) END"),
        };
        let items: Vec<String> = columns.split(',').map(|c| cast(c.trim())).collect();
        let mut lines = self.query(&format!("SELECT {} FROM {table}", items.join(", "))).await;
        lines.sort();
        lines
    }

    /// Columns must be text already.
    pub async fn query(&mut self, sql: &str) -> Vec<String> {
        let text = AssertSqlSafe(sql.to_owned());
        match self {
            App::Postgres(c) => {
                let rows = sqlx::raw_sql(text).fetch_all(c).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
                let cell = |row: &sqlx::postgres::PgRow, i| {
                    let raw = row.try_get_raw(i).unwrap();
                    if raw.is_null() { "NULL".to_owned() } else { raw.as_str().unwrap().to_owned() }
                };
                rows.iter().map(|r| (0..r.len()).map(|i| cell(r, i)).collect::<Vec<_>>().join("|")).collect()
            }
            App::MariaDb(c) => {
                let text = AssertSqlSafe(sql.replace("AS TEXT)", "AS CHAR)"));
                let rows = sqlx::raw_sql(text).fetch_all(c).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
                let cell = |row, i| crate::support::sql::value_text(row, i).unwrap_or_else(|| "NULL".to_owned());
                rows.iter().map(|r| (0..r.len()).map(|i| cell(r, i)).collect::<Vec<_>>().join("|")).collect()
            }
            App::Sqlite(c) => {
                let rows = sqlx::raw_sql(text).fetch_all(c).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
                let cell = |row: &sqlx::sqlite::SqliteRow, i| {
                    row.try_get_unchecked::<Option<String>, _>(i).unwrap().unwrap_or_else(|| "NULL".to_owned())
                };
                rows.iter().map(|r| (0..r.len()).map(|i| cell(r, i)).collect::<Vec<_>>().join("|")).collect()
            }
        }
    }
}
