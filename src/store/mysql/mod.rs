//! MariaDB (and the subset that it shares with MySQL 8), as `trait Engine` wants it: what only this server needs, each
//! part in a file of its own.
//!
//! Sealing proves its lease by a guarded update, which reads what is committed *now*, and only then takes its one
//! REPEATABLE READ snapshot, at its first plain read: nothing committed before the lease was locked can be missing from
//! it. The tables are opened before, which keeps DDL (`TRUNCATE` too) away until the end. What was read is deleted by
//! its very ids, through a joined list: never by a range, which would take what the snapshot does not show.
//!
//! DDL commits by itself, so each step of an installation is one that may be repeated.

mod bulk;
mod capture;
mod catalog;
mod connect;
mod count;
mod define;
mod errors;
mod expression;
mod fit;
mod gate;
mod health;
mod install;
mod name;
mod numbers;
mod query;
mod ranges;
mod rights;
mod types;

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::Transaction;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool};

use super::engine::{Arg, Dml, Engine, Mode, Out, Statement};
use super::{Fence, NumberRange, Role, Side, TableSize};
use crate::entry::TableId;
use crate::error::{Context, Error, Result};
use crate::finding::{Alike, Health, Violation};
use crate::mapping::{Layout, TableMap};
use crate::schema::{Addition, Column, Definition, EngineName, Kind, NewTable, Table, TableName};
use crate::value::{Row, Value};

pub use name::control as control_name;

pub struct MySql {
    pool: MySqlPool,
    options: MySqlConnectOptions,
    address: String,
    /// The url's: where our tables live, and those of the plan that name no other.
    database: String,
    /// The server has answered once; from then on the pool's patience with a restart is welcome.
    answered: AtomicBool,
}

/// An open transaction. A savepoint's name replaces an older one of that name, so each depth has its own.
pub struct Tx {
    inner: Transaction<'static, sqlx::MySql>,
    savepoints: usize,
}

impl Deref for Tx {
    type Target = MySqlConnection;

    fn deref(&self) -> &MySqlConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut MySqlConnection {
        &mut self.inner
    }
}

/// The settings that differ from one transaction to another stand in front of each, since connections are shared.
const CONTROL: &str = "SET SESSION lock_wait_timeout = 5, foreign_key_checks = 1;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";
const LOOK: &str = "SET SESSION lock_wait_timeout = 5;
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION READ ONLY";
const SEAL: &str = "SET SESSION lock_wait_timeout = 1, foreign_key_checks = 1;
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION";
const APPLY: &str = CONTROL;
const APPLY_BACKFILL: &str = "SET SESSION lock_wait_timeout = 5, foreign_key_checks = 0;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";
const INSTALL: &str = "SET SESSION lock_wait_timeout = 1, foreign_key_checks = 1;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";

impl MySql {
    /// Reads the url; nothing is connected yet.
    pub fn connect(url: &str) -> Result<Self> {
        let options = connect::options(url)?;
        let (address, database) = (connect::address(&options), connect::database(&options));
        let pool = connect::pool(options.clone());
        Ok(Self { pool, options, address, database, answered: AtomicBool::new(false) })
    }

    async fn open(&self, begin: &'static str) -> Result<Tx> {
        let at = || format!("MySQL at {}", self.address);
        if !self.answered.load(Ordering::Relaxed) {
            connect::probe(&self.options).await.context(at())?;
            self.answered.store(true, Ordering::Relaxed);
        }
        match self.pool.begin_with(begin).await {
            Ok(inner) => Ok(Tx { inner, savepoints: 0 }),
            Err(sqlx::Error::PoolTimedOut) => {
                connect::probe(&self.options).await.context(at())?;
                Err(errors::of(sqlx::Error::PoolTimedOut)).context(at())
            }
            Err(e) => Err(errors::of(e)).context(at()),
        }
    }

    async fn open_install(&self) -> Result<Tx> {
        self.open(INSTALL).await
    }

    async fn close(&self, tx: Tx) -> Result<()> {
        tx.inner.commit().await.map_err(errors::of)
    }

    fn qualified(&self, bare: &str) -> String {
        format!("{}.{}", name::quote(&self.database), name::quote(bare))
    }

    fn control_name(&self, migration: &str, name: &str) -> String {
        self.qualified(&name::control(migration, name))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(t) => t.clone(),
        Value::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        _ => String::new(),
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(i) => i64::try_from(*i).unwrap_or(i64::MAX),
        _ => 0,
    }
}

/// Opens each table without reading it: its definition is then fixed until the end, and no snapshot is taken yet.
async fn hold_definitions(tx: &mut Tx, layout: &Layout) -> Result<()> {
    let mut tables: Vec<String> = layout.tables.iter().map(|m| name::table(&m.source)).collect();
    tables.sort();
    tables.dedup();
    let touch: String = tables.iter().map(|t| format!("SELECT 1 FROM {t} LIMIT 0;")).collect();
    if touch.is_empty() { Ok(()) } else { query::script(tx, touch).await }
}

#[async_trait]
impl Engine for MySql {
    type Tx = Tx;

    const NAME: EngineName = EngineName::MySql;
    const NOW_MS: &'static str = "CAST(floor(unix_timestamp(sysdate(6)) * 1000) AS SIGNED)";
    const INT: &'static str = "bigint";
    const TEXT: &'static str = "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    const BYTES: &'static str = "longblob";
    const SCOPE: &'static str = name::SCOPE;
    const SHORT: &'static str = "varchar(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    const DML: Dml = Dml::Joined;
    const GATE_HANGS: bool = true;

    async fn begin(&self, mode: Mode<'_>) -> Result<Tx> {
        match mode {
            Mode::Control => self.open(CONTROL).await,
            Mode::Look => self.open(LOOK).await,
            Mode::Seal(layout) => {
                let mut tx = self.open(SEAL).await?;
                hold_definitions(&mut tx, layout).await.context("opening the source tables")?;
                Ok(tx)
            }
            Mode::Apply { backfill: true, .. } => self.open(APPLY_BACKFILL).await,
            Mode::Apply { backfill: false, .. } => self.open(APPLY).await,
            Mode::Install => self.open_install().await,
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
        tx.savepoints += 1;
        let sql = format!("SAVEPOINT migrate_{}", tx.savepoints);
        query::script(tx, sql).await
    }

    async fn rollback_to_savepoint(&self, tx: &mut Tx) -> Result<()> {
        let sql = format!("ROLLBACK TO SAVEPOINT migrate_{}", tx.savepoints);
        query::script(tx, sql).await?;
        self.release_savepoint(tx).await
    }

    async fn release_savepoint(&self, tx: &mut Tx) -> Result<()> {
        let sql = format!("RELEASE SAVEPOINT migrate_{}", tx.savepoints);
        tx.savepoints = tx.savepoints.saturating_sub(1);
        query::script(tx, sql).await
    }

    async fn mark_applier(&self, tx: &mut Tx, migration: &str) -> Result<()> {
        let applier = self.control_name(migration, capture::APPLIER);
        query::script(tx, format!("INSERT INTO {applier} (connection) VALUES (CONNECTION_ID())")).await
    }

    async fn unmark_applier(&self, tx: &mut Tx, migration: &str) -> Result<()> {
        let applier = self.control_name(migration, capture::APPLIER);
        query::script(tx, format!("DELETE FROM {applier} WHERE connection = CONNECTION_ID()")).await
    }

    async fn check_deferred(&self, _tx: &mut Tx) -> Result<()> {
        // InnoDB defers nothing: each row is checked as it is written.
        Ok(())
    }

    fn quote(&self, identifier: &str) -> String {
        name::quote(identifier)
    }

    fn table(&self, name: &TableName) -> String {
        name::table(name)
    }

    fn control(&self, migration: &str, name: &str) -> String {
        self.control_name(migration, name)
    }

    fn place(&self, _n: usize, _arg: &Arg) -> String {
        "?".to_owned()
    }

    fn typed(&self, _n: usize, value: &Value, column: &Column) -> Result<(String, Arg)> {
        types::typed(value, column)
    }

    fn rows(&self, statement: &mut Statement, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<()> {
        types::rows(statement, columns, rows)
    }

    fn max_rows(&self, columns: usize) -> usize {
        (bulk::MAX_ARGS / columns.max(1)).clamp(1, 500)
    }

    fn select(&self, expression: &str, out: &Out) -> String {
        types::select(expression, out)
    }

    fn scope_text(&self, expression: &str) -> String {
        name::scope_text(expression)
    }

    fn scope(&self, scope: &str) -> Arg {
        scope.as_bytes().to_vec().into()
    }

    fn by_bytes(&self, expression: &str) -> String {
        format!("CAST({expression} AS BINARY)")
    }

    fn overriding(&self, _identity_always: bool) -> &'static str {
        ""
    }

    async fn load(&self, tx: &mut Tx, map: &TableMap, rows: &[Row]) -> Result<()> {
        bulk::load(tx, map, rows).await
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn who(&self) -> Result<String> {
        let mut tx = self.begin(Mode::Look).await?;
        let rows = query::fetch(&mut tx, "SELECT CURRENT_USER()", &[]).await?;
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
        let mut tx = self.begin(Mode::Look).await?;
        let checked = expression::check(&mut tx, name, sql, filter).await;
        let checked = checked.context(format_args!("checking an expression over {name}"))?;
        self.close(tx).await?;
        Ok(checked)
    }

    async fn size(&self, name: &TableName) -> Result<TableSize> {
        let mut tx = self.begin(Mode::Look).await?;
        let size = catalog::size(&mut tx, name).await.context(format_args!("measuring table {name}"))?;
        self.close(tx).await?;
        Ok(size)
    }

    async fn missing_rights(&self, role: Role, layout: &Layout) -> Result<Vec<String>> {
        let mut tx = self.begin(Mode::Look).await?;
        let missing = rights::missing(self, &mut tx, role, layout).await.context("checking rights")?;
        self.close(tx).await?;
        Ok(missing)
    }

    async fn grants(&self, role: Role, layout: &Layout) -> Result<Vec<String>> {
        let mut tx = self.begin(Mode::Look).await?;
        let all = rights::all(self, &mut tx, role, layout).await.context("listing rights")?;
        self.close(tx).await?;
        Ok(all)
    }

    async fn health(&self, side: Side, layout: &Layout) -> Result<Health> {
        let mut tx = self.begin(Mode::Look).await?;
        let health = health::look(&mut tx, side, layout).await.context("looking at the server")?;
        self.close(tx).await?;
        Ok(health)
    }

    async fn limit_time(&self, tx: &mut Tx, limit_ms: u64) -> Result<()> {
        // Each server passes over what stands between the other's marks.
        let seconds = format!("{}.{:03}", limit_ms / 1000, limit_ms % 1000);
        let set =
            format!("SET SESSION /*M! max_statement_time = {seconds} */ /*!50708 max_execution_time = {limit_ms} */");
        query::script(tx, set).await
    }

    fn violates(&self, expression: &str, violation: &Violation) -> Option<String> {
        count::violates(expression, violation)
    }

    fn folded(&self, expression: &str, alike: &Alike) -> String {
        count::folded(expression, alike)
    }

    async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>> {
        MySql::next_numbers(self, name).await
    }

    async fn raise_number(&self, name: &TableName, column: &str, next: i64, _upto: Option<i64>) -> Result<()> {
        MySql::raise_number(self, name, column, next).await
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

    async fn take_gate(&self, tx: &mut Tx, l: &Layout, side: Side, row: i64, limit_ms: i64) -> Result<()> {
        self.gate_take(tx, l, side, row, limit_ms).await
    }

    /// The triggers stay; what they cost is a row's share lock.
    async fn free_gate(&self, _layout: &Layout, _side: Side) -> Result<()> {
        Ok(())
    }

    async fn create_home(&self, migration: &str, grantee: &str) -> Result<()> {
        self.make_home(migration, grantee).await
    }

    async fn grant_home(&self, tx: &mut Tx, migration: &str, grantee: &str) -> Result<()> {
        self.grant(tx, migration, grantee).await.context("granting rights on the control tables")
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
        capture::fingerprint(self, tx, layout).await
    }

    async fn overflowed(&self, tx: &mut Tx, layout: &Layout) -> Result<bool> {
        capture::overflowed(self, tx, layout).await
    }

    async fn advance_limit(&self, tx: &mut Tx, layout: &Layout, tables: &[TableId], reset: bool) -> Result<()> {
        capture::advance_limit(self, tx, layout, tables, reset).await
    }

    async fn remove_parts(&self, migration: &str, keep_gate: bool) -> Result<Vec<String>> {
        self.unmake(migration, keep_gate).await
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        self.unmake_table(name).await
    }

    async fn relax(&self, layout: &Layout) -> Result<Vec<String>> {
        self.checks(layout).await
    }

    async fn restore(&self, statements: &[String]) -> Result<()> {
        self.run_checks(statements).await
    }
}
