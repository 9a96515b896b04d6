//! SQLite as a store: one file, whose writers wait for each other and whose readers wait for nobody.
//!
//! - A sealing transaction takes the write lock and, while it holds it, pins the snapshot of a second connection:
//!   both see one state. Rows of the application are read from the pinned one, so that after
//!   [`keep_snapshot`](Engine::keep_snapshot) writers go on while a chunk or a digest is still being read.
//! - Foreign keys are off until the backfill is done and while chunks are applied (a row may come before its parent,
//!   see [`family`]), and otherwise deferred to the end of the entry, where SQLite's own count of violations is asked.
//! - What a declared type means is said in [`types`]; what is captured and how in [`capture`].
//!
//! A file is never made by accident: only where the URL says `?mode=rwc`, or by [`Sqlite::create`].

mod capture;
mod catalog;
mod connection;
mod count;
mod deferred;
mod define;
mod dialect;
mod errors;
mod expression;
mod family;
mod gate;
mod health;
mod install;
mod numbers;
mod ranges;
mod tokens;
mod types;

use async_trait::async_trait;

use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::finding::{Alike, Health, Violation};
use crate::mapping::{Layout, TableMap};
use crate::schema::{Addition, Column, Definition, EngineName, Kind, NewTable, Table, TableName};
use crate::value::{Row, Value};

use super::engine::{Arg, Engine, Mode, Out, Statement};
use super::{Fence, NumberRange, Role, Side, TableSize};

use connection::{File, Purpose, Tx};

/// Milliseconds since 1970 at the moment of the statement; julianday has them whole, but in days.
const NOW_MS: &str = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)";

/// One SQLite file.
pub struct Sqlite {
    file: File,
}

impl Sqlite {
    /// Opens nothing yet; a missing file is an error of the first call.
    pub fn connect(url: &str) -> Result<Self> {
        Ok(Self { file: File::new(url, false)? })
    }

    /// As `connect`, but a missing file is made, empty.
    pub fn create(url: &str) -> Result<Self> {
        Ok(Self { file: File::new(url, true)? })
    }

    async fn ddl(&self, name: &TableName) -> Result<Option<String>> {
        let mut tx = self.file.begin(Purpose::Read).await?;
        Ok(catalog::entry(&mut tx, &self.file, name).await?.map(|e| e.ddl))
    }
}

#[async_trait]
impl Engine for Sqlite {
    type Tx = Tx;

    const NAME: EngineName = EngineName::Sqlite;
    const NOW_MS: &'static str = NOW_MS;
    const INT: &'static str = "INTEGER";
    const TEXT: &'static str = "TEXT";
    const BYTES: &'static str = "BLOB";

    async fn begin(&self, mode: Mode<'_>) -> Result<Tx> {
        let purpose = match mode {
            Mode::Control => Purpose::Write,
            Mode::Look => Purpose::Read,
            Mode::Seal(_) => Purpose::Pair,
            Mode::Apply { backfill: true, .. } => Purpose::Bulk,
            Mode::Apply { backfill: false, .. } => Purpose::Deferred,
            Mode::Install => Purpose::Install,
        };
        self.file.begin(purpose).await
    }

    async fn commit(&self, tx: Tx) -> Result<()> {
        tx.commit().await
    }

    async fn keep_snapshot(&self, tx: Tx) -> Result<Tx> {
        tx.keep_reader().await
    }

    async fn execute(&self, tx: &mut Tx, statement: &Statement) -> Result<u64> {
        tx.execute(statement).await
    }

    async fn query(
        &self,
        tx: &mut Tx,
        statement: &Statement,
        outs: &[Out],
        each: &mut (dyn FnMut(Row) -> Result<bool> + Send),
    ) -> Result<()> {
        tx.query(statement, outs, each).await
    }

    async fn script(&self, tx: &mut Tx, sql: &str) -> Result<()> {
        tx.script(sql).await
    }

    async fn savepoint(&self, tx: &mut Tx) -> Result<()> {
        tx.script("SAVEPOINT migrate").await
    }

    async fn rollback_to_savepoint(&self, tx: &mut Tx) -> Result<()> {
        tx.script("ROLLBACK TO migrate; RELEASE migrate").await
    }

    async fn release_savepoint(&self, tx: &mut Tx) -> Result<()> {
        tx.script("RELEASE migrate").await
    }

    async fn mark_applier(&self, tx: &mut Tx, migration: &str) -> Result<()> {
        let applier = dialect::table(&capture::applier_name(migration));
        tx.script(&format!("INSERT INTO {applier} (connection) VALUES (1)")).await
    }

    async fn unmark_applier(&self, tx: &mut Tx, migration: &str) -> Result<()> {
        tx.script(&format!("DELETE FROM {}", dialect::table(&capture::applier_name(migration)))).await
    }

    async fn check_deferred(&self, tx: &mut Tx) -> Result<()> {
        install::check_deferred(tx, &self.file).await
    }

    fn quote(&self, identifier: &str) -> String {
        dialect::column(identifier)
    }

    fn table(&self, name: &TableName) -> String {
        dialect::table(&name.name)
    }

    fn control(&self, migration: &str, name: &str) -> String {
        dialect::table(&dialect::control(migration, name))
    }

    fn place(&self, n: usize, arg: &Arg) -> String {
        dialect::place(n, arg)
    }

    fn typed(&self, n: usize, value: &Value, column: &Column) -> Result<(String, Arg)> {
        let arg = types::bound(value, column)?;
        Ok((dialect::place(n, &arg), arg))
    }

    fn rows(&self, statement: &mut Statement, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<()> {
        dialect::values(statement, columns, rows)
    }

    fn max_rows(&self, columns: usize) -> usize {
        // A few arguments are left to what stands around the rows.
        (dialect::MAX_ARGS - 256) / columns.max(1)
    }

    fn select(&self, expression: &str, _out: &Out) -> String {
        expression.to_owned()
    }

    fn scope_text(&self, expression: &str) -> String {
        format!("CAST({expression} AS TEXT) COLLATE BINARY")
    }

    fn by_bytes(&self, expression: &str) -> String {
        format!("{expression} COLLATE BINARY")
    }

    fn overriding(&self, _identity_always: bool) -> &'static str {
        ""
    }

    async fn load(&self, tx: &mut Tx, map: &TableMap, rows: &[Row]) -> Result<()> {
        for page in rows.chunks(dialect::load_rows(map)) {
            tx.execute(&dialect::load(map, page)?).await?;
        }
        Ok(())
    }

    fn address(&self) -> String {
        format!("sqlite:{}", self.file.path.display())
    }

    async fn who(&self) -> Result<String> {
        Ok(["USER", "LOGNAME"].iter().find_map(|v| std::env::var(v).ok()).unwrap_or_else(|| "local".to_owned()))
    }

    async fn tables(&self) -> Result<Vec<TableName>> {
        catalog::tables(&self.file).await
    }

    async fn describe(&self, name: &TableName) -> Result<Option<Table>> {
        catalog::describe(&self.file, name).await
    }

    async fn expression(&self, name: &TableName, sql: &str, filter: bool) -> Result<Result<Option<Kind>, String>> {
        let gone = || Error::changed(format!("table \"{name}\" is gone"));
        let described = self.describe(name).await?.ok_or_else(gone)?;
        let ddl = self.ddl(name).await?.ok_or_else(gone)?;
        let kind = filter.then_some(Kind::Bool);
        Ok(expression::check(&described, &ddl, sql).await?.map(|()| kind))
    }

    async fn size(&self, name: &TableName) -> Result<TableSize> {
        catalog::size(&self.file, name).await
    }

    async fn missing_rights(&self, role: Role, _layout: &Layout) -> Result<Vec<String>> {
        install::missing_rights(&self.file, role).await
    }

    async fn grants(&self, _role: Role, _layout: &Layout) -> Result<Vec<String>> {
        let path = self.file.path.display();
        Ok(vec![format!("-- no roles: file permissions are all; read and write on \"{path}\" and on its directory")])
    }

    async fn health(&self, side: Side, layout: &Layout) -> Result<Health> {
        health::look(&self.file, side, layout).await
    }

    async fn limit_time(&self, tx: &mut Tx, limit_ms: u64) -> Result<()> {
        let limited = health::limit_time(tx.writer().await?, std::time::Duration::from_millis(limit_ms)).await;
        limited.map_err(|e| self.file.error(e))
    }

    fn violates(&self, expression: &str, violation: &Violation) -> Option<String> {
        count::violates(expression, violation)
    }

    fn folded(&self, expression: &str, alike: &Alike) -> String {
        count::folded(expression, alike)
    }

    async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>> {
        Sqlite::next_numbers(self, name).await
    }

    async fn raise_number(&self, name: &TableName, column: &str, next: i64, _upto: Option<i64>) -> Result<()> {
        Sqlite::raise_number(self, name, column, next).await
    }

    async fn hang_range(&self, layout: &Layout, side: Side, _grantee: &str, range: &NumberRange) -> Result<()> {
        self.range_hang(layout, side, range).await
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

    async fn create_home(&self, migration: &str, _grantee: &str) -> Result<()> {
        install::create_home(&self.file, migration).await
    }

    async fn grant_home(&self, _tx: &mut Tx, _migration: &str, _grantee: &str) -> Result<()> {
        Ok(())
    }

    async fn definition(&self, name: &TableName) -> Result<Definition> {
        self.define(name).await
    }

    async fn add(&self, addition: &Addition) -> Result<bool> {
        self.add_to(addition).await
    }

    async fn create_table(&self, table: &NewTable, _grantee: &str) -> Result<()> {
        let mut tx = self.file.begin(Purpose::Install).await?;
        tx.script(&dialect::create_table(table)).await?;
        tx.commit().await
    }

    async fn capture(&self, layout: &Layout, map: &TableMap, _grantee: &str) -> Result<()> {
        install::capture(&self.file, layout, map).await
    }

    async fn fingerprint(&self, tx: &mut Tx, layout: &Layout) -> Result<String> {
        install::fingerprint(tx, &self.file, layout).await
    }

    async fn overflowed(&self, tx: &mut Tx, layout: &Layout) -> Result<bool> {
        install::overflowed(tx, &self.file, layout).await
    }

    async fn advance_limit(&self, tx: &mut Tx, layout: &Layout, _tables: &[TableId], reset: bool) -> Result<()> {
        install::advance_limit(tx, layout, reset).await
    }

    async fn remove_parts(&self, migration: &str, keep_gate: bool) -> Result<Vec<String>> {
        install::remove(&self.file, migration, keep_gate).await
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        install::drop_table(&self.file, name).await
    }

    async fn relax(&self, layout: &Layout) -> Result<Vec<String>> {
        family::relax(&self.file, layout).await
    }

    async fn restore(&self, statements: &[String]) -> Result<()> {
        family::restore(&self.file, statements).await
    }
}
