//! PostgreSQL, as `trait Engine` wants it: what only this server needs, each part in a file of its own.
//!
//! Sealing reads one REPEATABLE READ snapshot, and locks the tables against DDL *before* that snapshot is taken:
//! TRUNCATE and rewriting ALTERs are not bound to snapshots. A dropped transaction is rolled back.

mod bulk;
mod capture;
mod catalog;
mod connect;
mod count;
mod define;
mod errors;
mod expression;
mod gate;
mod guard;
mod health;
mod install;
mod lexer;
mod name;
mod numbers;
mod query;
mod ranges;
mod rights;
mod types;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::Transaction;
use sqlx::postgres::{PgConnectOptions, PgPool};

use super::engine::{Arg, Engine, Mode, Out, Statement};
use super::{Fence, NumberRange, Role, Side, TableSize, holder};
use crate::entry::TableId;
use crate::error::{Context, Error, Result};
use crate::finding::{Alike, Health, Violation};
use crate::mapping::{Layout, TableMap};
use crate::schema::{Addition, Column, Definition, EngineName, Kind, NewTable, Table, TableName};
use crate::value::{Row, Value};

pub struct Postgres {
    pool: PgPool,
    options: PgConnectOptions,
    address: String,
    /// The server has answered once; from then on the pool's patience with a restart is welcome.
    answered: AtomicBool,
}

pub type Tx = Transaction<'static, sqlx::Postgres>;

impl Postgres {
    /// Reads the url; nothing is connected yet.
    pub fn connect(url: &str) -> Result<Self> {
        let options = connect::options(url)?;
        let address = connect::address(&options);
        Ok(Self { pool: connect::pool(options.clone()), options, address, answered: AtomicBool::new(false) })
    }

    async fn open(&self, begin: &'static str) -> Result<Tx> {
        let at = || format!("PostgreSQL at {}", self.address);
        if !self.answered.load(Ordering::Relaxed) {
            connect::probe(&self.options).await.context(at())?;
            self.answered.store(true, Ordering::Relaxed);
        }
        match self.pool.begin_with(begin).await {
            Ok(tx) => Ok(tx),
            Err(sqlx::Error::PoolTimedOut) => {
                connect::probe(&self.options).await.context(at())?;
                Err(errors::of(sqlx::Error::PoolTimedOut)).context(at())
            }
            Err(e) => Err(errors::of(e)).context(at()),
        }
    }

    async fn open_install(&self) -> Result<Tx> {
        self.begin(Mode::Install).await
    }

    async fn close(&self, tx: Tx) -> Result<()> {
        tx.commit().await.map_err(errors::of)
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(t) => t.clone(),
        _ => String::new(),
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(i) => i64::try_from(*i).unwrap_or(i64::MAX),
        _ => 0,
    }
}

fn flag(value: &Value) -> bool {
    int(value) != 0
}

/// Before the first statement that takes a snapshot, which neither SET nor LOCK does.
fn lock_sources(layout: &Layout) -> String {
    let mut tables: Vec<String> = layout.tables.iter().map(|m| name::table(&m.source)).collect();
    tables.sort();
    tables.dedup();
    let lock = if tables.is_empty() {
        String::new()
    } else {
        format!("; LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "))
    };
    format!("SET LOCAL lock_timeout = '300ms'{lock}; SET LOCAL lock_timeout = '5s'")
}

#[async_trait]
impl Engine for Postgres {
    type Tx = Tx;

    const NAME: EngineName = EngineName::Postgres;
    const NOW_MS: &'static str = "(extract(epoch from clock_timestamp()) * 1000)::bigint";
    const INT: &'static str = "bigint";
    const APPLIER_TABLE: bool = false;
    const TEXT: &'static str = "text";
    const BYTES: &'static str = "bytea";

    async fn begin(&self, mode: Mode<'_>) -> Result<Tx> {
        match mode {
            Mode::Control => self.open("BEGIN ISOLATION LEVEL READ COMMITTED").await,
            Mode::Look => self.open("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
            Mode::Seal(layout) => {
                let mut tx = self.open("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
                query::script(&mut tx, lock_sources(layout)).await.context("locking the source tables against DDL")?;
                Ok(tx)
            }
            Mode::Apply { .. } => {
                let mut tx = self.open("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
                query::script(&mut tx, "SET CONSTRAINTS ALL DEFERRED").await?;
                Ok(tx)
            }
            Mode::Install => {
                let mut tx = self.open("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
                query::script(&mut tx, "SET LOCAL lock_timeout = '300ms'").await?;
                Ok(tx)
            }
        }
    }

    async fn commit(&self, tx: Tx) -> Result<()> {
        self.close(tx).await
    }

    async fn execute(&self, tx: &mut Tx, statement: &Statement) -> Result<u64> {
        query::execute(tx, &statement.sql, &statement.args).await
    }

    async fn query(
        &self,
        tx: &mut Tx,
        statement: &Statement,
        outs: &[Out],
        each: &mut (dyn FnMut(Row) -> Result<bool> + Send),
    ) -> Result<()> {
        query::query(tx, statement, outs, each).await
    }

    async fn script(&self, tx: &mut Tx, sql: &str) -> Result<()> {
        query::script(tx, sql).await
    }

    async fn savepoint(&self, tx: &mut Tx) -> Result<()> {
        query::script(tx, "SAVEPOINT migrate").await
    }

    async fn rollback_to_savepoint(&self, tx: &mut Tx) -> Result<()> {
        query::script(tx, "ROLLBACK TO SAVEPOINT migrate; RELEASE SAVEPOINT migrate").await
    }

    async fn release_savepoint(&self, tx: &mut Tx) -> Result<()> {
        query::script(tx, "RELEASE SAVEPOINT migrate").await
    }

    async fn mark_applier(&self, tx: &mut Tx, migration: &str) -> Result<()> {
        query::script(tx, format!("SET LOCAL {} = {}", capture::APPLIER, name::literal(migration))).await
    }

    async fn check_deferred(&self, tx: &mut Tx) -> Result<()> {
        // Deferred again for what this transaction writes next.
        query::script(tx, "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED").await
    }

    fn quote(&self, identifier: &str) -> String {
        name::quote(identifier)
    }

    fn table(&self, name: &TableName) -> String {
        name::table(name)
    }

    fn control(&self, migration: &str, name: &str) -> String {
        name::control(migration, name)
    }

    fn place(&self, n: usize, arg: &Arg) -> String {
        types::place(n, arg)
    }

    fn typed(&self, n: usize, value: &Value, column: &Column) -> Result<(String, Arg)> {
        types::typed(n, value, column)
    }

    fn rows(&self, statement: &mut Statement, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<()> {
        types::rows(statement, columns, rows)
    }

    fn max_rows(&self, _columns: usize) -> usize {
        5_000
    }

    fn select(&self, expression: &str, out: &Out) -> String {
        types::select(expression, out)
    }

    /// A plain name would also mean `excluded`'s.
    fn of_row(&self, condition: &str, table: &TableName) -> String {
        format!("(SELECT ({condition}) FROM (SELECT {}.*) AS migrate_own)", name::table(table))
    }

    fn scope_text(&self, expression: &str) -> String {
        format!("({expression})::text COLLATE \"C\"")
    }

    fn by_bytes(&self, expression: &str) -> String {
        format!("{expression} COLLATE \"C\"")
    }

    fn overriding(&self, identity_always: bool) -> &'static str {
        if identity_always { "OVERRIDING SYSTEM VALUE" } else { "" }
    }

    async fn load(&self, tx: &mut Tx, map: &TableMap, rows: &[Row]) -> Result<()> {
        bulk::load(tx, map, rows).await
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn who(&self) -> Result<String> {
        let mut tx = self.begin(Mode::Look).await?;
        let rows = query::fetch(&mut tx, "SELECT current_user::text", &[]).await?;
        self.close(tx).await?;
        rows.first().map(|r| text(&r[0])).ok_or_else(|| Error::give_up("the server does not say who we are"))
    }

    async fn tables(&self) -> Result<Vec<TableName>> {
        let mut tx = self.begin(Mode::Look).await?;
        let tables = catalog::tables(&mut tx).await.context("listing tables")?;
        self.close(tx).await?;
        Ok(tables)
    }

    async fn describe(&self, name: &TableName) -> Result<Option<Table>> {
        let mut tx = self.begin(Mode::Look).await?;
        let table = catalog::describe(&mut tx, name).await.context(format_args!("looking at table {name}"))?;
        self.close(tx).await?;
        Ok(table)
    }

    async fn expression(&self, name: &TableName, sql: &str, filter: bool) -> Result<Result<Option<Kind>, String>> {
        let mut tx = self.begin(Mode::Control).await?;
        let checked = expression::check(&mut tx, name, sql, filter).await;
        tx.rollback().await.map_err(errors::of)?;
        checked.context(format_args!("checking an expression over {name}"))
    }

    async fn size(&self, name: &TableName) -> Result<TableSize> {
        let mut tx = self.begin(Mode::Look).await?;
        let size = catalog::size(&mut tx, name).await.context(format_args!("measuring table {name}"))?;
        self.close(tx).await?;
        Ok(size)
    }

    async fn missing_rights(&self, role: Role, layout: &Layout) -> Result<Vec<String>> {
        let mut tx = self.begin(Mode::Look).await?;
        let missing = rights::missing(&mut tx, role, layout).await.context("checking rights")?;
        self.close(tx).await?;
        Ok(missing)
    }

    async fn grants(&self, role: Role, layout: &Layout) -> Result<Vec<String>> {
        let mut tx = self.begin(Mode::Look).await?;
        let all = rights::all(&mut tx, role, layout).await.context("listing rights")?;
        self.close(tx).await?;
        Ok(all)
    }

    async fn health(&self, side: Side, layout: &Layout) -> Result<Health> {
        let mut tx = self.begin(Mode::Look).await?;
        let health = health::look(&mut tx, side, layout).await.context("looking at the server")?;
        self.close(tx).await?;
        Ok(health)
    }

    fn violates(&self, expression: &str, violation: &Violation) -> Option<String> {
        count::violates(expression, violation)
    }

    fn folded(&self, expression: &str, alike: &Alike) -> String {
        count::folded(expression, alike)
    }

    async fn end_sessions(&self, holder: &str) -> Result<()> {
        let Some(name) = holder::session_name(holder) else { return Ok(()) };
        let mut tx = self.begin(Mode::Look).await?;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()";
        query::fetch(&mut tx, sql, &[name.as_str().into()]).await?;
        self.close(tx).await
    }

    async fn limit_time(&self, tx: &mut Tx, limit_ms: u64) -> Result<()> {
        query::script(tx, format!("SET LOCAL statement_timeout = {limit_ms}")).await
    }

    async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>> {
        Postgres::next_numbers(self, name).await
    }

    async fn raise_number(&self, name: &TableName, column: &str, next: i64, upto: Option<i64>) -> Result<()> {
        Postgres::raise_number(self, name, column, next, upto).await
    }

    async fn hang_range(&self, layout: &Layout, side: Side, grantee: &str, range: &NumberRange) -> Result<()> {
        self.range_hang(layout, side, grantee, range).await
    }

    async fn drop_ranges(&self, layout: &Layout, side: Side) -> Result<()> {
        self.ranges_drop(layout, side).await
    }

    async fn hang_gate(&self, layout: &Layout, side: Side, grantee: &str) -> Result<()> {
        self.gate_hang(layout, side, grantee).await
    }

    async fn shut_gate(&self, layout: &Layout, side: Side, fence: &Fence<'_>, deadline_ms: i64) -> Result<()> {
        self.gate_shut(layout, side, fence, deadline_ms).await
    }

    async fn free_gate(&self, layout: &Layout, side: Side) -> Result<()> {
        self.gate_free(layout, side).await
    }

    async fn create_home(&self, migration: &str, grantee: &str) -> Result<()> {
        self.make_home(migration, grantee).await
    }

    async fn grant_home(&self, tx: &mut Tx, migration: &str, grantee: &str) -> Result<()> {
        install::grant(tx, migration, grantee).await.context("granting rights on the control tables")
    }

    async fn definition(&self, name: &TableName) -> Result<Definition> {
        self.define(name).await
    }

    async fn add(&self, addition: &Addition) -> Result<bool> {
        self.add_to(addition).await
    }

    async fn create_table(&self, table: &NewTable, grantee: &str) -> Result<()> {
        self.make_table(table, grantee).await
    }

    async fn capture(&self, layout: &Layout, map: &TableMap, grantee: &str) -> Result<()> {
        self.make_capture(layout, map, grantee).await
    }

    async fn fingerprint(&self, tx: &mut Tx, layout: &Layout) -> Result<String> {
        capture::fingerprint(tx, layout).await
    }

    async fn overflowed(&self, tx: &mut Tx, layout: &Layout) -> Result<bool> {
        capture::overflowed(tx, layout).await
    }

    async fn advance_limit(&self, tx: &mut Tx, layout: &Layout, _tables: &[TableId], reset: bool) -> Result<()> {
        capture::advance_limit(tx, layout, reset).await
    }

    async fn remove_parts(&self, migration: &str, keep_gate: bool) -> Result<Vec<String>> {
        self.unmake(migration, keep_gate).await
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        self.unmake_table(name).await
    }

    async fn relax(&self, layout: &Layout) -> Result<Vec<String>> {
        self.drop_self_references(layout).await
    }

    async fn restore(&self, statements: &[String]) -> Result<()> {
        for statement in statements {
            self.restore_one(statement).await.context("restoring a foreign key")?;
        }
        Ok(())
    }
}
