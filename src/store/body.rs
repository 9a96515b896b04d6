//! One body for all engines: the object-safe [`Store`] over any [`Engine`].

use async_trait::async_trait;

use crate::entry::{Codec, Entry, Epoch, Link, Mark, Position, TableId, Verdict};
use crate::error::{Error, Result};
use crate::finding::{Counted, Health, Suspect};
use crate::mapping::{Layout, TableMap};
use crate::schema::{Addition, Definition, EngineName, Kind, NewTable, Table, TableName};
use crate::value::{Key, Row};

use super::engine::{Engine, Mode};
use super::read::{Reader, Which};
use super::*;

pub struct SqlStore<E: Engine> {
    pub engine: E,
    pub codec: &'static dyn Codec,
}

fn map_of(layout: &Layout, table: TableId) -> Result<&TableMap> {
    layout.table(table).ok_or_else(|| Error::changed(format!("the plan has no table {table}")))
}

#[async_trait]
impl<E: Engine> Store for SqlStore<E> {
    fn engine(&self) -> EngineName {
        E::NAME
    }

    fn address(&self) -> String {
        self.engine.address()
    }

    async fn who(&self) -> Result<String> {
        self.engine.who().await
    }

    async fn tables(&self) -> Result<Vec<TableName>> {
        self.engine.tables().await
    }

    async fn describe(&self, name: &TableName) -> Result<Option<Table>> {
        self.engine.describe(name).await
    }

    async fn expression(&self, name: &TableName, sql: &str, filter: bool) -> Result<Result<Option<Kind>, String>> {
        self.engine.expression(name, sql, filter).await
    }

    async fn size(&self, name: &TableName) -> Result<TableSize> {
        self.engine.size(name).await
    }

    async fn target_is_empty(&self, layout: &Layout, table: TableId) -> Result<bool> {
        apply::is_empty(&self.engine, layout, map_of(layout, table)?).await
    }

    async fn missing_rights(&self, role: Role, layout: &Layout) -> Result<Vec<String>> {
        self.engine.missing_rights(role, layout).await
    }

    async fn grants(&self, role: Role, layout: &Layout) -> Result<Vec<String>> {
        self.engine.grants(role, layout).await
    }

    async fn health(&self, side: Side, layout: &Layout) -> Result<Health> {
        self.engine.health(side, layout).await
    }

    async fn count(&self, layout: &Layout, suspects: &[Suspect]) -> Result<Vec<Counted>> {
        count::count(&self.engine, layout, suspects).await
    }

    async fn now_ms(&self) -> Result<i64> {
        control::now_ms(&self.engine).await
    }

    async fn is_installed(&self, migration: &str, side: Side) -> Result<bool> {
        control::is_installed(&self.engine, migration, side).await
    }

    async fn install_control(&self, layout: &Layout, side: Side, grantee: &str) -> Result<()> {
        control::install(&self.engine, layout, side, grantee).await
    }

    async fn definition(&self, name: &TableName) -> Result<Definition> {
        self.engine.definition(name).await
    }

    async fn add(&self, addition: &Addition) -> Result<bool> {
        self.engine.add(addition).await
    }

    async fn create_table(&self, table: &NewTable, grantee: &str) -> Result<()> {
        self.engine.create_table(table, grantee).await
    }

    async fn capture(&self, layout: &Layout, table: TableId, grantee: &str) -> Result<()> {
        self.engine.capture(layout, map_of(layout, table)?, grantee).await
    }

    async fn relax(&self, layout: &Layout) -> Result<Vec<String>> {
        self.engine.relax(layout).await
    }

    async fn restore(&self, statements: &[String]) -> Result<()> {
        self.engine.restore(statements).await
    }

    async fn remove(&self, migration: &str) -> Result<Vec<String>> {
        self.engine.remove(migration).await
    }

    async fn remove_but_gate(&self, migration: &str) -> Result<Vec<String>> {
        self.engine.remove_parts(migration, true).await
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        self.engine.drop_table(name).await
    }

    async fn get(&self, migration: &str, side: Side, key: &str) -> Result<Option<String>> {
        control::get(&self.engine, migration, side, key).await
    }

    async fn put(&self, migration: &str, side: Side, key: &str, value: &str) -> Result<()> {
        control::put(&self.engine, migration, side, key, value).await
    }

    async fn journal(&self, migration: &str, phase: &str, step: &str, detail: &str) -> Result<()> {
        control::journal(&self.engine, migration, phase, step, detail).await
    }

    async fn journal_lines(&self, migration: &str, last: u32) -> Result<Vec<JournalLine>> {
        control::journal_lines(&self.engine, migration, last).await
    }

    async fn ask(&self, migration: &str, verb: &str, body: &str) -> Result<u64> {
        control::ask(&self.engine, migration, verb, body).await
    }

    async fn answer(&self, migration: &str, id: u64, answer: &str) -> Result<()> {
        control::answer(&self.engine, migration, id, answer).await
    }

    async fn open_requests(&self, migration: &str) -> Result<Vec<Request>> {
        control::requests(&self.engine, migration, None).await
    }

    async fn request(&self, migration: &str, id: u64) -> Result<Option<Request>> {
        Ok(control::requests(&self.engine, migration, Some(id)).await?.pop())
    }

    async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>> {
        self.engine.next_numbers(name).await
    }

    async fn raise_number(&self, name: &TableName, column: &str, next: i64, upto: Option<i64>) -> Result<()> {
        self.engine.raise_number(name, column, next, upto).await
    }

    async fn greatest_number(&self, name: &TableName, column: &str, below: Option<i64>) -> Result<Option<i64>> {
        ranges::greatest(&self.engine, name, column, below).await
    }

    async fn hang_range(&self, layout: &Layout, side: Side, grantee: &str, range: &NumberRange) -> Result<()> {
        self.engine.hang_range(layout, side, grantee, range).await
    }

    async fn drop_ranges(&self, layout: &Layout, side: Side) -> Result<()> {
        self.engine.drop_ranges(layout, side).await
    }

    async fn make_gate(&self, layout: &Layout, side: Side, grantee: &str, closed: bool) -> Result<()> {
        gate::make(&self.engine, layout, side, grantee, closed).await
    }

    async fn mark_gate(&self, layout: &Layout, side: Side, closed: bool) -> Result<()> {
        gate::mark(&self.engine, layout, side, closed).await.map(drop)
    }

    async fn name_scopes(&self, layout: &Layout, side: Side, grantee: &str, scopes: &[String]) -> Result<()> {
        gate::name(&self.engine, layout, side, grantee, scopes).await
    }

    async fn name_turn(
        &self,
        layout: &Layout,
        side: Side,
        grantee: &str,
        closed: Option<bool>,
        turn: u64,
    ) -> Result<()> {
        gate::name_turn(&self.engine, layout, side, grantee, closed, turn).await
    }

    async fn has_gate(&self, migration: &str, side: Side) -> Result<bool> {
        gate::exists(&self.engine, migration, side).await
    }

    async fn gate(&self, layout: &Layout, side: Side) -> Result<Gate> {
        gate::look(&self.engine, layout, side).await
    }

    async fn fence(&self, layout: &Layout, side: Side, fence: &Fence<'_>) -> Result<i64> {
        gate::fence(&self.engine, layout, side, fence).await
    }

    async fn unfence(&self, layout: &Layout, side: Side) -> Result<()> {
        gate::unfence(&self.engine, layout, side).await
    }

    async fn take_lease(&self, migration: &str, link: Link, side: Side, holder: &str, ttl_ms: i64) -> Result<Lease> {
        lease::take(&self.engine, migration, link, side, holder, ttl_ms).await
    }

    async fn renew_lease(&self, migration: &str, lease: &Lease) -> Result<()> {
        lease::renew(&self.engine, migration, lease).await
    }

    async fn say_alive(&self, migration: &str, lease: &Lease) -> Result<()> {
        lease::say_alive(&self.engine, migration, lease).await
    }

    async fn release_lease(&self, migration: &str, lease: &Lease) -> Result<()> {
        lease::release(&self.engine, migration, lease).await
    }

    async fn link_state(&self, migration: &str, link: Link, side: Side) -> Result<LinkState> {
        lease::state(&self.engine, migration, link, side).await
    }

    async fn seal(&self, request: SealRequest<'_>) -> Result<Sealed> {
        seal::seal(&self.engine, self.codec, &request).await
    }

    async fn decide(&self, request: SealRequest<'_>, cut: u64) -> Result<Decided> {
        decide::decide(&self.engine, self.codec, &request, cut).await
    }

    async fn anything_dirty(&self, layout: &Layout) -> Result<bool> {
        log::anything_dirty(&self.engine, layout).await
    }

    async fn raise_epoch(&self, migration: &str, lease: &Lease, above: Epoch) -> Result<Lease> {
        lease::raise_epoch(&self.engine, migration, lease, above).await
    }

    async fn knows(&self, migration: &str, link: Link, mark: &Mark) -> Result<bool> {
        log::knows(&self.engine, migration, link, mark).await
    }

    async fn rewind(&self, layout: &Layout, lease: &Lease, head: Mark, to: Mark) -> Result<()> {
        log::rewind(&self.engine, self.codec, layout, lease, head, to).await
    }

    async fn confirm(&self, layout: &Layout, lease: &Lease, position: Position, keep: u64) -> Result<()> {
        log::confirm(&self.engine, &layout.migration, lease, position, keep).await
    }

    async fn mark_dirty(&self, layout: &Layout, table: TableId, keys: &[Key]) -> Result<()> {
        log::mark_dirty(&self.engine, layout, table, keys).await
    }

    async fn progress(&self, layout: &Layout) -> Result<Vec<(TableId, TableProgress)>> {
        log::progress(&self.engine, self.codec, layout).await
    }

    async fn backlog(&self, layout: &Layout, cap: u64) -> Result<Vec<(TableId, u64)>> {
        log::backlog(&self.engine, layout, cap).await
    }

    async fn fingerprint(&self, layout: &Layout) -> Result<String> {
        let mut tx = self.engine.begin(Mode::Look).await?;
        self.engine.fingerprint(&mut tx, layout).await
    }

    async fn record_epoch(&self, migration: &str, lease: &Lease, epoch: Epoch) -> Result<LinkState> {
        apply::record_epoch(&self.engine, migration, lease, epoch).await
    }

    async fn apply(&self, layout: &Layout, lease: &Lease, from: Mark, entries: &[Entry]) -> Result<Applied> {
        apply::apply(&self.engine, self.codec, layout, lease, from, entries).await
    }

    async fn page(
        &self,
        layout: &Layout,
        table: TableId,
        side: Side,
        after: Option<&Key>,
        max_rows: u64,
    ) -> Result<Vec<Row>> {
        let (mut tx, mut rows) = (self.engine.begin(Mode::Look).await?, Vec::new());
        let mut each = |row| {
            rows.push(row);
            Ok(true)
        };
        let which = Which::Range { after, upto: None, limit: Some(max_rows) };
        let reader = Reader::new(&self.engine, &layout.migration, map_of(layout, table)?, side);
        reader.rows(&mut tx, which, &mut each).await?;
        Ok(rows)
    }

    async fn rehearse(&self, layout: &Layout, table: TableId, rows: &[Row]) -> Result<Rehearsed> {
        rehearse::rehearse(&self.engine, layout, table, rows).await
    }

    async fn parked(&self, migration: &str) -> Result<Vec<Parked>> {
        parked::list(&self.engine, self.codec, migration).await
    }

    async fn parked_count(&self, migration: &str) -> Result<u64> {
        parked::count(&self.engine, migration).await
    }

    async fn forget_parked(&self, migration: &str, ids: &[u64]) -> Result<u64> {
        parked::forget(&self.engine, migration, ids).await
    }

    async fn verdicts(&self, layout: &Layout, _link: Link) -> Result<Vec<Verdict>> {
        apply::verdicts(&self.engine, self.codec, &layout.migration).await
    }

    async fn look_up(&self, layout: &Layout, table: TableId, side: Side, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let mut tx = self.engine.begin(Mode::Look).await?;
        Reader::new(&self.engine, &layout.migration, map_of(layout, table)?, side).look_up(&mut tx, keys).await
    }
}
