//! An application's own view of a store, for `migrate demo`: it fills three tables, writes to them as applications do,
//! and reads back which version each row has. It shares nothing with the product but the driver, so that what it
//! says about a migration is an independent witness.
//!
//! A row is a number `n`, from which its key and all its values follow, and a version, which grows with each write.

mod tables;

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, IntoArguments, Pool};

use tables::Dialect;
pub use tables::{Demo, SHOPS};

use crate::error::{Error, Kind, Result};

/// One write of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Insert {
        table: Demo,
        n: i64,
        version: i64,
    },
    Update {
        table: Demo,
        n: i64,
        version: i64,
    },
    Delete {
        table: Demo,
        n: i64,
    },
    /// The row moves to another key.
    Rekey {
        table: Demo,
        from: i64,
        to: i64,
        version: i64,
    },
}

/// How a transaction ends if nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Commit,
    Rollback,
}

/// What became of a transaction.
#[derive(Debug)]
pub enum Written {
    Committed,
    RolledBack,
    /// The store does not own these rows now: nothing of it happened, and the other store may take it.
    Refused,
    /// It failed before its end: nothing of it happened.
    Failed(Error),
    /// Its commit failed: it happened or not.
    Unknown(Error),
}

/// A store as an application sees it.
pub struct Playground {
    pool: Connections,
}

enum Connections {
    Postgres(PgPool),
    Sqlite(SqlitePool),
    MySql(MySqlPool),
}

/// The session of an application on MySQL: nothing is cut short in silence, and `||` joins texts. Both servers stop
/// recursions early unless told, each by a setting of its own.
const MYSQL_SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION' \
    /*!80000 , cte_max_recursion_depth = 4294967295 */ /*M! , max_recursive_iterations = 4294967295 */";

/// Runs a body on whichever engine it is.
macro_rules! on {
    ($self:expr, $pool:ident => $body:expr) => {
        match &$self.pool {
            Connections::Postgres($pool) => $body,
            Connections::Sqlite($pool) => $body,
            Connections::MySql($pool) => $body,
        }
    };
}

impl Playground {
    /// Connects; a SQLite file is made if there is none. A server that is not there is told at once.
    pub async fn connect(url: &str, connections: u32) -> Result<Self> {
        // What the driver says of a bad URL may quote it, with the password.
        let unreadable = |_| Error::new(Kind::Usage, "the database URL can't be read");
        let pool = match scheme(url) {
            "postgres" | "postgresql" => {
                let options = PgConnectOptions::from_str(url).map_err(unreadable)?.disable_statement_logging();
                let pool = PgPoolOptions::new().max_connections(connections);
                let pool = pool.acquire_timeout(Duration::from_secs(30)).idle_timeout(None).max_lifetime(None);
                options.connect().await.map_err(unreachable)?.close().await.map_err(failed)?;
                Connections::Postgres(pool.connect_lazy_with(options))
            }
            "sqlite" => {
                let options = SqliteConnectOptions::from_str(url).map_err(unreadable)?.create_if_missing(true);
                let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
                let options = options.busy_timeout(Duration::from_secs(5)).disable_statement_logging();
                let pool = SqlitePoolOptions::new().max_connections(connections.min(2));
                let pool = pool.acquire_timeout(Duration::from_secs(60)).idle_timeout(None).max_lifetime(None);
                options.connect().await.map_err(unreachable)?.close().await.map_err(failed)?;
                Connections::Sqlite(pool.connect_lazy_with(options))
            }
            "mysql" | "mariadb" => {
                let options = MySqlConnectOptions::from_str(url).map_err(unreadable)?;
                let options = options.charset("utf8mb4").disable_statement_logging();
                let pool = MySqlPoolOptions::new().max_connections(connections);
                let pool = pool.acquire_timeout(Duration::from_secs(30)).idle_timeout(None).max_lifetime(None);
                let pool =
                    pool.after_connect(|conn, _| Box::pin(async move { conn.execute(MYSQL_SESSION).await.map(drop) }));
                options.connect().await.map_err(unreachable)?.close().await.map_err(failed)?;
                Connections::MySql(pool.connect_lazy_with(options))
            }
            _ => return Err(not_known()),
        };
        Ok(Self { pool })
    }

    /// Waits until all connections are closed: SQLite then folds its log into the file.
    pub async fn close(&self) {
        on!(self, pool => pool.close().await);
    }

    fn dialect(&self) -> Dialect {
        match &self.pool {
            Connections::Postgres(_) => Dialect::Postgres,
            Connections::Sqlite(_) => Dialect::Sqlite,
            Connections::MySql(_) => Dialect::MySql,
        }
    }

    /// The demo's tables that are there already.
    pub async fn existing(&self) -> Result<Vec<Demo>> {
        let mut found = Vec::new();
        for table in Demo::ALL {
            let sql = tables::exists(self.dialect(), table);
            let (there,): (i64,) =
                on!(self, pool => sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await.map_err(failed)?);
            if there > 0 {
                found.push(table);
            }
        }
        Ok(found)
    }

    pub async fn create_tables(&self) -> Result<()> {
        for table in Demo::ALL {
            self.run(tables::create(self.dialect(), table)).await?;
        }
        Ok(())
    }

    /// Drops those that are there.
    pub async fn drop_tables(&self) -> Result<()> {
        for table in Demo::ALL {
            self.run(tables::drop(table)).await?;
        }
        Ok(())
    }

    async fn run(&self, sql: String) -> Result<()> {
        on!(self, pool => pool.execute(AssertSqlSafe(sql)).await.map(|_| ()).map_err(failed))
    }

    /// Inserts rows `from..=to` at version 1, in one transaction.
    pub async fn fill(&self, table: Demo, from: i64, to: i64) -> Result<()> {
        let (sql, numbers) = tables::fill(self.dialect(), table, from, to);
        on!(self, pool => {
            let query = numbers.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, n| query.bind(n));
            query.execute(pool).await.map(|_| ()).map_err(failed)
        })
    }

    /// Lets the engine count, so that estimates are good ones.
    pub async fn analyze(&self) -> Result<()> {
        for table in Demo::ALL {
            self.run(tables::analyze(self.dialect(), table)).await?;
        }
        Ok(())
    }

    /// One transaction of an application.
    pub async fn write(&self, ops: &[Op], end: End) -> Written {
        let dialect = self.dialect();
        match &self.pool {
            Connections::Postgres(pool) => transaction(pool, "BEGIN", dialect, ops, end, |r| r.rows_affected()).await,
            Connections::MySql(pool) => transaction(pool, "BEGIN", dialect, ops, end, |r| r.rows_affected()).await,
            Connections::Sqlite(pool) => {
                transaction(pool, "BEGIN IMMEDIATE", dialect, ops, end, |r| r.rows_affected()).await
            }
        }
    }

    /// Calls `each` with every row's key, as [`Demo::key`] spells it, and its version.
    pub async fn rows(&self, table: Demo, mut each: impl FnMut(&str, i64)) -> Result<()> {
        let sql = tables::read(self.dialect(), table);
        on!(self, pool => {
            let mut rows = sqlx::query_as::<_, (String, i64)>(AssertSqlSafe(sql)).fetch(pool);
            while let Some((key, version)) = rows.try_next().await.map_err(failed)? {
                each(&key, version);
            }
        });
        Ok(())
    }
}

async fn transaction<DB>(
    pool: &Pool<DB>,
    begin: &'static str,
    dialect: Dialect,
    ops: &[Op],
    end: End,
    affected: impl Fn(&DB::QueryResult) -> u64,
) -> Written
where
    DB: sqlx::Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'q> i64: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
{
    let mut transaction = match pool.begin_with(begin).await {
        Ok(transaction) => transaction,
        Err(error) => return Written::Failed(failed(error)),
    };
    for op in ops {
        let (sql, numbers) = tables::write(dialect, op);
        let query = numbers.into_iter().fold(sqlx::query::<DB>(AssertSqlSafe(sql)), |query, n| query.bind(n));
        // Dropped, the transaction is rolled back.
        match query.execute(&mut *transaction).await {
            Err(error) if is_refusal(&error) => return Written::Refused,
            Err(error) => return Written::Failed(failed(error)),
            Ok(result) if affected(&result) != 1 => return Written::Failed(missing(op, affected(&result))),
            Ok(_) => {}
        }
    }
    match end {
        End::Commit => outcome(transaction.commit(), Written::Committed).await,
        End::Rollback => outcome(transaction.rollback(), Written::RolledBack).await,
    }
}

async fn outcome(ending: impl Future<Output = Result<(), sqlx::Error>>, done: Written) -> Written {
    match (ending.await, &done) {
        (Ok(()), _) => done,
        // A rollback that fails is still one: nobody will commit.
        (Err(_), Written::RolledBack) => done,
        // A database that answers says that it did not commit.
        (Err(error), _) if is_refusal(&error) => Written::Refused,
        (Err(error), _) => Written::Unknown(failed(error)),
    }
}

/// As docs/applications.md tells every application.
fn is_refusal(error: &sqlx::Error) -> bool {
    let stale = |code: &str| code == "40001" || code == "MG002";
    error.as_database_error().is_some_and(|e| {
        e.message().starts_with("migrate: writes to ") || e.code().is_some_and(|code| stale(code.as_ref()))
    })
}

fn missing(op: &Op, affected: u64) -> Error {
    Error::give_up(format!("{op:?} changed {affected} rows at the source, where exactly one was expected"))
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

fn not_known() -> Error {
    Error::new(Kind::Usage, "the database URL is of no engine that the demo knows")
        .hint("postgres://user@host/database, mysql://user@host/database or sqlite:///path/to/file.db")
}

/// The engine's own name, for a URL that [`Playground::connect`] takes.
pub fn engine(url: &str) -> Result<crate::schema::EngineName> {
    match scheme(url) {
        "postgres" | "postgresql" => Ok(crate::schema::EngineName::Postgres),
        "sqlite" => Ok(crate::schema::EngineName::Sqlite),
        "mysql" | "mariadb" => Ok(crate::schema::EngineName::MySql),
        _ => Err(not_known()),
    }
}

/// The first connection failed. A pool would try again until its patience ends, and then not say why.
fn unreachable(error: sqlx::Error) -> Error {
    failed(error).hint("is the URL right, and does the server run?")
}

/// A driver's error; its text holds no URL, and the demo's rows are no secret.
fn failed(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => {
            Error::retry(format!("the application's statement failed: {}", error.message()))
        }
        sqlx::Error::Io(error) => Error::retry(format!("the application's connection failed: {error}")),
        sqlx::Error::PoolTimedOut => Error::retry("the application found no free connection in time"),
        other => Error::retry(format!("the application's store failed: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    async fn open() -> (tempfile::TempDir, Playground) {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("a.db").display());
        (dir, Playground::connect(&url, 4).await.unwrap())
    }

    async fn all(playground: &Playground, table: Demo) -> BTreeMap<String, i64> {
        let mut rows = BTreeMap::new();
        playground.rows(table, |key, version| assert!(rows.insert(key.to_owned(), version).is_none())).await.unwrap();
        rows
    }

    #[tokio::test]
    async fn rows_are_filled_written_and_read_back_under_the_keys_that_rust_expects() {
        let (_dir, store) = open().await;
        assert_eq!(store.existing().await.unwrap(), []);
        store.create_tables().await.unwrap();
        assert_eq!(store.existing().await.unwrap(), Demo::ALL);
        for table in Demo::ALL {
            store.fill(table, 1, 100).await.unwrap();
            let expected: BTreeMap<_, _> = (1..=100).map(|n| (table.key(n), 1)).collect();
            assert_eq!(all(&store, table).await, expected);

            let ops = [
                Op::Insert { table, n: 500, version: 2 },
                Op::Update { table, n: 7, version: 3 },
                Op::Delete { table, n: 8 },
                Op::Rekey { table, from: 9, to: 501, version: 4 },
            ];
            assert!(matches!(store.write(&ops, End::Rollback).await, Written::RolledBack));
            assert_eq!(all(&store, table).await, expected);
            assert!(matches!(store.write(&ops, End::Commit).await, Written::Committed));
            let rows = all(&store, table).await;
            let version = |n| rows.get(&table.key(n)).copied();
            assert_eq!([500, 7, 8, 9, 501].map(version), [Some(2), Some(3), None, None, Some(4)]);
        }
        store.drop_tables().await.unwrap();
        assert_eq!(store.existing().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_write_that_hits_no_row_fails_and_leaves_nothing() {
        let (_dir, store) = open().await;
        store.create_tables().await.unwrap();
        let table = Demo::Notes;
        let ops = [Op::Insert { table, n: 1, version: 1 }, Op::Update { table, n: 2, version: 2 }];
        let Written::Failed(error) = store.write(&ops, End::Commit).await else { panic!("it did not fail") };
        assert!(error.message().contains("changed 0 rows"), "{error}");
        assert_eq!(all(&store, table).await, BTreeMap::new());
    }

    #[tokio::test]
    async fn a_url_of_no_engine_is_not_repeated() {
        for url in ["oracle://root:s3cret@host/db", "s3cret", "postgres://u:s3cret@host:99999999/x"] {
            let Err(error) = Playground::connect(url, 1).await else { panic!("connected") };
            assert_eq!(error.kind, Kind::Usage);
            assert!(!error.message().contains("s3cret"), "{error}");
        }
    }
}
