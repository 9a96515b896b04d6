//! Connections to one file, and the transactions on them.
//!
//! Some settings can only be chosen outside of a transaction, so they stand in the text that begins it. A transaction
//! that is dropped is rolled back by its connection's own thread before that connection serves again.
//!
//! The write lock is asked for every few milliseconds. SQLite's own waiting sleeps up to a tenth of a second between
//! its tries, and a busy application then hardly ever lets a second process in.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::pool::PoolOptions;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Pool, Row as _, SqlSafeStr, Transaction};

use crate::error::{Error, Result};
use crate::store::engine::{Arg, Out, Statement};
use crate::value::{Row, Value};

use super::errors;
use super::types::Cell;

type Db = sqlx::Sqlite;

/// How long to wait for another writer; for DDL of ours, during which others would wait, much shorter.
const WAIT: Duration = Duration::from_secs(5);
pub const SHORT_WAIT: Duration = Duration::from_millis(300);
/// Statements with more arguments are as long as a page of rows and not worth a place in the cache.
const CACHED_ARGS: usize = 4000;

#[derive(Clone)]
struct Pools {
    write: Pool<Db>,
    read: Pool<Db>,
}

/// One database file.
pub struct File {
    pub path: PathBuf,
    options: SqliteConnectOptions,
    pools: Mutex<Pools>,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Write,
    /// Foreign keys count when they are asked for, and at the commit.
    Deferred,
    /// Foreign keys do not count.
    Bulk,
    /// As `Bulk`, with a short wait.
    Install,
    Read,
    /// A write transaction, and a read transaction of the very same state.
    Pair,
}

impl Purpose {
    fn wait(self) -> Duration {
        if self == Self::Install { SHORT_WAIT } else { WAIT }
    }

    /// The two waits are SQLite's own: hardly any for the lock, which is asked for again, a long one behind it.
    fn begin(self) -> String {
        let keys = if matches!(self, Self::Bulk | Self::Install) { "OFF" } else { "ON" };
        let deferred = if self == Self::Deferred { "; PRAGMA defer_foreign_keys = ON" } else { "" };
        let wait = WAIT.as_millis();
        format!(
            "PRAGMA foreign_keys = {keys}; PRAGMA busy_timeout = 3; BEGIN IMMEDIATE; \
             PRAGMA busy_timeout = {wait}{deferred}"
        )
    }
}

/// An open transaction: a writer, a reader, or a writer and a reader of one state.
pub struct Tx {
    writer: Option<Transaction<'static, Db>>,
    reader: Option<Transaction<'static, Db>>,
    /// Where the next writer comes from when the first one was committed and the reader goes on.
    writers: Option<Pool<Db>>,
    path: PathBuf,
}

impl File {
    /// Nothing is opened yet. A missing file stays missing, unless the URL or `create` says otherwise.
    pub fn new(url: &str, create: bool) -> Result<Self> {
        let wrong = |e: sqlx::Error| errors::from_driver(e, Path::new(url));
        let options = SqliteConnectOptions::from_str(url).map_err(wrong)?;
        let path = options.get_filename().to_owned();
        if url.contains(":memory:") || url.contains("mode=memory") || path.as_os_str().is_empty() {
            return Err(Error::plan("a SQLite store must be a file").hint("write `sqlite:///absolute/path.db`"));
        }
        let mut options = options.disable_statement_logging().synchronous(SqliteSynchronous::Full);
        if create {
            options = options.create_if_missing(true);
        }
        let pools = Mutex::new(Pools::new(&options));
        Ok(Self { path, options, pools })
    }

    fn pools(&self) -> Pools {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes every connection of ours that is idle, and those in use as they come back.
    pub async fn close_all(&self) {
        let old = std::mem::replace(
            &mut *self.pools.lock().unwrap_or_else(PoisonError::into_inner),
            Pools::new(&self.options),
        );
        for pool in [old.write, old.read] {
            pool.close().await;
        }
    }

    pub fn error(&self, e: sqlx::Error) -> Error {
        errors::from_driver(e, &self.path)
    }

    /// As `begin(Purpose::Install)`, with a wait of one's own.
    pub async fn begin_install(&self, wait: Duration) -> Result<Tx> {
        let writer = lock(&self.pools().write, Purpose::Install, wait).await.map_err(|e| self.error(e))?;
        Ok(Tx { writer: Some(writer), reader: None, writers: None, path: self.path.clone() })
    }

    pub async fn begin(&self, purpose: Purpose) -> Result<Tx> {
        let pools = self.pools();
        let mut tx = Tx { writer: None, reader: None, writers: None, path: self.path.clone() };
        if purpose != Purpose::Read {
            tx.writer = Some(lock(&pools.write, purpose, purpose.wait()).await.map_err(|e| self.error(e))?);
        }
        if purpose == Purpose::Read {
            tx.reader = Some(pools.read.begin_with("BEGIN").await.map_err(|e| self.error(e))?);
        }
        if purpose == Purpose::Pair {
            tx.reader = self.pin(&pools.read).await.map_err(|e| self.error(e))?;
            tx.writers = Some(pools.write);
        }
        Ok(tx)
    }

    /// A read transaction whose snapshot is taken: nobody can write meanwhile, so that it is the writer's state.
    /// `None` where there is no write-ahead log: there a reader would keep the writer from committing.
    async fn pin(&self, pool: &Pool<Db>) -> sqlx::Result<Option<Transaction<'static, Db>>> {
        let mut reader = pool.begin_with("BEGIN").await?;
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *reader).await?;
        // Only a read takes the snapshot.
        sqlx::query("SELECT 1 FROM sqlite_master LIMIT 1").fetch_optional(&mut *reader).await?;
        Ok((mode == "wal").then_some(reader))
    }

    /// A connection for what cannot be done inside a transaction.
    pub async fn outside(&self) -> Result<sqlx::pool::PoolConnection<Db>> {
        self.pools().write.acquire().await.map_err(|e| self.error(e))
    }
}

impl Pools {
    fn new(options: &SqliteConnectOptions) -> Self {
        let pool = |options: SqliteConnectOptions| {
            PoolOptions::new()
                .min_connections(0)
                .max_connections(16)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                // SQLite may have ended a transaction by itself (a full disk), which the driver doesn't see.
                .before_acquire(|c: &mut sqlx::SqliteConnection, _| {
                    let usable = !c.is_in_transaction();
                    Box::pin(async move { Ok(usable) })
                })
                .connect_lazy_with(options)
        };
        let options = options.clone().busy_timeout(WAIT);
        Self { write: pool(options.clone()), read: pool(options.create_if_missing(false).pragma("query_only", "ON")) }
    }
}

/// Begins a transaction that holds the write lock.
async fn lock(pool: &Pool<Db>, purpose: Purpose, wait: Duration) -> sqlx::Result<Transaction<'static, Db>> {
    let begun = Instant::now();
    loop {
        match pool.begin_with(AssertSqlSafe(purpose.begin())).await {
            Err(e) if errors::is_busy(&e) && begun.elapsed() < wait => {}
            done => return done,
        }
    }
}

impl Tx {
    fn error(&self, e: sqlx::Error) -> Error {
        errors::from_driver(e, &self.path)
    }

    /// The connection that writes; after `keep_reader` it is only now that the lock is taken.
    pub async fn writer(&mut self) -> Result<&mut sqlx::SqliteConnection> {
        if self.writer.is_none()
            && let Some(pool) = &self.writers
        {
            self.writer = Some(lock(pool, Purpose::Pair, WAIT).await.map_err(|e| self.error(e))?);
        }
        match (&mut self.writer, &mut self.reader) {
            (Some(tx), _) | (None, Some(tx)) => Ok(&mut *tx),
            (None, None) => Err(Error::give_up("a transaction without a connection")),
        }
    }

    /// The connection for rows of the application.
    async fn reader(&mut self) -> Result<&mut sqlx::SqliteConnection> {
        match self.reader {
            Some(ref mut tx) => Ok(&mut *tx),
            None => self.writer().await,
        }
    }

    pub async fn commit(self) -> Result<()> {
        let path = self.path;
        if let Some(writer) = self.writer {
            writer.commit().await.map_err(|e| errors::from_driver(e, &path))?;
        }
        match self.reader {
            Some(reader) => reader.rollback().await.map_err(|e| errors::from_driver(e, &path)),
            None => Ok(()),
        }
    }

    /// Commits what was written and lets other writers go on, while the reader keeps its state. Where there is no
    /// reader nothing happens.
    pub async fn keep_reader(mut self) -> Result<Self> {
        if self.reader.is_some()
            && let Some(writer) = self.writer.take()
        {
            writer.commit().await.map_err(|e| self.error(e))?;
        }
        Ok(self)
    }

    pub async fn execute(&mut self, statement: &Statement) -> Result<u64> {
        let path = self.path.clone();
        let done = prepare(statement)?.execute(self.writer().await?).await;
        done.map(|d| d.rows_affected()).map_err(|e| errors::from_driver(e, &path))
    }

    pub async fn script(&mut self, sql: &str) -> Result<()> {
        let path = self.path.clone();
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        sql.execute(self.writer().await?).await.map(|_| ()).map_err(|e| errors::from_driver(e, &path))
    }

    /// Rows of the application come from the pinned reader, whatever has to do with our own tables from the writer:
    /// only that one sees what this transaction has just written there. The two are otherwise one state.
    pub async fn query(
        &mut self,
        statement: &Statement,
        outs: &[Out],
        each: &mut (dyn FnMut(Row) -> Result<bool> + Send),
    ) -> Result<()> {
        let path = self.path.clone();
        let ours = outs.is_empty() || statement.sql.contains("\"_migrate_");
        if ours
            && self.writer.is_none()
            && let Some(pool) = self.writers.clone()
        {
            // A look at our own tables takes no lock; what is written later proves that it still holds.
            let mut now = pool.acquire().await.map_err(|e| self.error(e))?;
            return fetch(&mut now, statement, outs, each, &path).await;
        }
        let connection = if ours && self.writer.is_some() { self.writer().await? } else { self.reader().await? };
        fetch(connection, statement, outs, each, &path).await
    }
}

async fn fetch(
    connection: &mut sqlx::SqliteConnection,
    statement: &Statement,
    outs: &[Out],
    each: &mut (dyn FnMut(Row) -> Result<bool> + Send),
    path: &Path,
) -> Result<()> {
    let mut rows = prepare(statement)?.fetch(connection);
    while let Some(raw) = rows.try_next().await.map_err(|e| errors::from_driver(e, path))? {
        let mut row = Vec::with_capacity(raw.len());
        for i in 0..raw.len() {
            let cell = Cell::read(raw.try_get_raw(i).map_err(|e| errors::from_driver(e, path))?)?;
            row.push(match outs.get(i) {
                Some(out) => cell.value(out, i + 1)?,
                None => cell.control(),
            });
        }
        if !each(row)? {
            break;
        }
    }
    Ok(())
}

fn prepare(statement: &Statement) -> Result<Query<'static, Db, SqliteArguments>> {
    let sql = AssertSqlSafe(statement.sql.clone()).into_sql_str();
    let mut query = sqlx::query(sql).persistent(statement.args.len() <= CACHED_ARGS);
    for arg in &statement.args {
        query = match arg {
            Arg::One(Value::Null) => query.bind(None::<i64>),
            Arg::One(Value::Bool(b)) => query.bind(i64::from(*b)),
            Arg::One(Value::Int(i)) => query
                .bind(i64::try_from(*i).map_err(|_| Error::give_up("SQLite can't hold an integer beyond 64 bits"))?),
            Arg::One(Value::Float(f)) => query.bind(*f),
            Arg::One(Value::Text(t)) => query.bind(t.clone()),
            Arg::One(Value::Bytes(b)) => query.bind(b.clone()),
            Arg::One(other) => return Err(Error::give_up(format!("a {} can't be bound", other.kind_name()))),
            Arg::Texts(_) => return Err(Error::give_up("SQLite has no arrays")),
        };
    }
    Ok(query)
}
