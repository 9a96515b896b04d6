//! Writing rows: delete the absent, upsert the present, by primary key only, and find out which row is refused.
//!
//! Nothing here ever replaces a row by another unique value: a collision is first tried in the orders that two
//! honest states can need (deletes last, deletes first, colliding rows of this very entry moved aside first), and is
//! then a refusal.

use std::collections::BTreeMap;

use crate::entry::TableId;
use crate::error::{Error, Kind, Result};
use crate::mapping::{Layout, TableMap, WireColumn};
use crate::schema::Column;
use crate::value::{Key, Row, Value};

use super::super::engine::{Dml, Engine};
use super::super::read::{is_folded, within_constants};
use super::super::sql::Sql;
use super::aside;

/// What is to become of one key.
#[derive(Clone, Copy)]
pub struct Op<'a> {
    pub table: TableId,
    pub key: &'a Key,
    /// `None`: the key has no row now.
    pub row: Option<&'a Row>,
}

pub struct Writer<'a, E: Engine> {
    pub e: &'a E,
    pub layout: &'a Layout,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    DeletesLast,
    DeletesFirst,
    AsideFirst,
}

/// Among more refused rows than these the first is named.
pub const CULPRITS_MAX: usize = 24;

pub type Refused<'a> = Vec<(Op<'a>, String)>;

impl<E: Engine> Writer<'_, E> {
    /// Writes all that can be written; the rest comes back with the engine's reasons.
    pub async fn write<'o>(&self, tx: &mut E::Tx, ops: &[Op<'o>]) -> Result<Refused<'o>> {
        if ops.is_empty() {
            return Ok(vec![]);
        }
        let mut reason = String::new();
        for order in [Order::DeletesLast, Order::DeletesFirst, Order::AsideFirst] {
            self.e.savepoint(tx).await?;
            let tried = match self.attempt(tx, ops, order).await {
                Ok(()) => self.e.check_deferred(tx).await,
                Err(e) => Err(e),
            };
            match tried {
                Ok(()) => return self.e.release_savepoint(tx).await.map(|()| vec![]),
                Err(e) if e.kind == Kind::GiveUp => {
                    self.e.rollback_to_savepoint(tx).await?;
                    reason = e.message().to_owned();
                }
                Err(e) => return Err(e),
            }
        }
        let (first, second) = ops.split_at(ops.len() / 2);
        if first.is_empty() {
            return Ok(ops.iter().map(|op| (*op, reason.clone())).collect());
        }
        let mut refused = Box::pin(self.write(tx, first)).await?;
        refused.extend(Box::pin(self.write(tx, second)).await?);
        // One may have waited for the other half.
        if !refused.is_empty() && refused.len() < ops.len() {
            let again: Vec<Op<'o>> = refused.iter().map(|(op, _)| *op).collect();
            return Box::pin(self.write(tx, &again)).await;
        }
        Ok(refused)
    }

    /// Writes all, or nothing where any of it is refused, without looking which.
    pub async fn write_all(&self, tx: &mut E::Tx, ops: &[Op<'_>]) -> Result<bool> {
        self.e.savepoint(tx).await?;
        let tried = match self.attempt(tx, ops, Order::DeletesLast).await {
            Ok(()) => self.e.check_deferred(tx).await,
            Err(e) => Err(e),
        };
        match tried {
            Ok(()) => self.e.release_savepoint(tx).await.map(|()| true),
            Err(e) if e.kind == Kind::GiveUp => self.e.rollback_to_savepoint(tx).await.map(|()| false),
            Err(e) => Err(e),
        }
    }

    /// Of several rows that can't be written the one that stands in the others' way: without it most of them could.
    pub async fn culprit<'r, 'o>(&self, tx: &mut E::Tx, refused: &'r Refused<'o>) -> Result<&'r (Op<'o>, String)> {
        let (mut found, mut least) = (0, refused.len() - 1);
        for at in (0..refused.len()).filter(|_| (2..=CULPRITS_MAX).contains(&refused.len())) {
            let others: Vec<Op<'o>> = (0..).zip(refused).filter(|(i, _)| *i != at).map(|(_, (op, _))| *op).collect();
            self.e.savepoint(tx).await?;
            let left = self.write(tx, &others).await?.len();
            self.e.rollback_to_savepoint(tx).await?;
            if left < least {
                (found, least) = (at, left);
            }
        }
        Ok(&refused[found])
    }

    async fn attempt(&self, tx: &mut E::Tx, ops: &[Op<'_>], order: Order) -> Result<()> {
        let mut by_table: BTreeMap<usize, (Vec<&Key>, Vec<&Row>)> = BTreeMap::new();
        for op in ops {
            let place = self.layout.tables.iter().position(|t| t.id == op.table);
            let slot = by_table.entry(place.unwrap_or(usize::MAX)).or_default();
            match op.row {
                Some(row) => slot.1.push(row),
                None => slot.0.push(op.key),
            }
        }
        let tables: Vec<(&TableMap, Vec<&Key>, Vec<&Row>)> = by_table
            .into_iter()
            .filter_map(|(i, (gone, present))| self.layout.tables.get(i).map(|map| (map, gone, present)))
            .collect();
        // Children first for deletes, parents first for upserts: the layout is in parents-first order.
        for (map, gone, _) in tables.iter().rev() {
            if order == Order::DeletesFirst || folds_keys(map) {
                self.delete(tx, map, gone).await?;
            }
        }
        for (map, gone, present) in &tables {
            if order == Order::AsideFirst {
                aside::step_aside(self, tx, map, gone, present).await?;
                if E::DML == Dml::Joined {
                    aside::untie(self, tx, map, gone, present).await?;
                }
            }
            self.upsert(tx, map, present).await?;
        }
        for (map, gone, _) in tables.iter().rev() {
            if order != Order::DeletesFirst && !folds_keys(map) {
                self.delete(tx, map, gone).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, tx: &mut E::Tx, map: &TableMap, keys: &[&Key]) -> Result<()> {
        let columns: Vec<&Column> = map.target_key().map(|c| &c.target).collect();
        for page in keys.chunks(self.e.max_rows(columns.len()).max(1)) {
            let rows: Vec<Vec<&Value>> = page.iter().map(|k| k.0.iter().collect()).collect();
            let names: Vec<String> = columns.iter().map(|c| self.e.quote(&c.name)).collect();
            let table = self.e.table(&map.target);
            let sql = Sql::new(self.e, &self.layout.migration).delete_listed(&table, &names, &columns, &rows)?;
            let of_table = if E::DML == Dml::Joined { format!("{table}.") } else { String::new() };
            let mut sql = self.within_constants(sql, map, &of_table)?;
            if folds_keys(map) {
                // The key as it is spelled, not another that only looks the same to the target.
                let exact = columns.iter().zip(&names).map(|(c, n)| self.by_bytes(&format!("{of_table}{n}"), c));
                let exact = exact.collect::<Vec<_>>();
                sql = match E::DML {
                    Dml::With => {
                        let picked = numbered("c", columns.len());
                        sql.push(&format!(" AND ({}) IN (SELECT {picked} FROM v)", exact.join(", ")))
                    }
                    Dml::Joined => (1..).zip(&exact).zip(&columns).fold(sql, |sql, ((i, e), c)| {
                        sql.push(&format!(" AND {e} = {}", self.by_bytes(&listed(i), c)))
                    }),
                };
            }
            sql.execute(tx).await?;
        }
        Ok(())
    }

    pub(super) fn within_constants<'s>(&'s self, sql: Sql<'s, E>, map: &TableMap, table: &str) -> Result<Sql<'s, E>> {
        within_constants(self.e, sql, map, table)
    }

    async fn upsert(&self, tx: &mut E::Tx, map: &TableMap, rows: &[&Row]) -> Result<()> {
        let columns: Vec<&Column> =
            map.columns.iter().map(|c| &c.target).chain(map.constants.iter().map(|c| &c.0)).collect();
        let names = columns.iter().map(|c| self.e.quote(&c.name)).collect::<Vec<_>>();
        let key = map.target_unique.iter().map(|c| self.e.quote(c)).collect::<Vec<_>>();
        let respells = respells_keys(map);
        let set = |c: &&Column| !map.target_unique.contains(&c.name) || respells && is_folded(c);
        let mut sets: Vec<usize> = (0..columns.len()).filter(|&i| set(&columns[i])).collect();
        if sets.is_empty() && folds_keys(map) {
            sets = names.iter().position(|n| *n == key[0]).into_iter().collect();
        }
        let identity = columns.iter().any(|c| c.identity_always);
        let table = self.e.table(&map.target);
        for page in rows.chunks(self.e.max_rows(columns.len()).max(1)) {
            let constants = || map.constants.iter().map(|(_, v)| v);
            let values: Vec<Vec<&Value>> = page.iter().map(|r| r.iter().chain(constants()).collect()).collect();
            let touched = if E::DML == Dml::Joined {
                self.update_and_insert(tx, map, &columns, &sets, &values).await?
            } else {
                let sql = Sql::new(self.e, &self.layout.migration).push("WITH ").rows_as_v(&columns, &values)?;
                let sql = sql.push(&format!(
                    " INSERT INTO {table} ({}) {} SELECT {} FROM v WHERE 1 = 1 ON CONFLICT ({})",
                    names.join(", "),
                    self.e.overriding(identity),
                    numbered("c", columns.len()),
                    key.join(", ")
                ));
                let sql = if sets.is_empty() {
                    sql.push(" DO NOTHING")
                } else {
                    let sets = sets.iter().map(|&i| format!("{0} = excluded.{0}", names[i])).collect::<Vec<_>>();
                    let new = |i: usize| format!("excluded.{}", names[i]);
                    self.within_owned(sql.push(&format!(" DO UPDATE SET {} WHERE 1 = 1", sets.join(", "))), map, &new)?
                };
                sql.execute(tx).await?
            };
            if !sets.is_empty() && touched != page.len() as u64 {
                let why = "that this migration does not own, or with keys that only look the same to it";
                let text = format!("table \"{}\" has rows with these keys {why}", map.target);
                return Err(Error::give_up(text));
            }
        }
        Ok(())
    }

    /// A row that this key finds and that is not ours, or has another key by its bytes, stays as it is, and is then
    /// missed in the count.
    fn within_owned<'s>(
        &'s self,
        mut sql: Sql<'s, E>,
        map: &TableMap,
        new: &dyn Fn(usize) -> String,
    ) -> Result<Sql<'s, E>> {
        let table = self.e.table(&map.target);
        let told_by_key = |c: &Column| map.target_unique.contains(&c.name) && !is_folded(c);
        if map.owned.is_some() || map.within.is_some() || map.constants.iter().any(|(c, _)| !told_by_key(c)) {
            sql = self.within_constants(sql, map, &format!("{table}."))?;
        }
        if !respells_keys(map) {
            for (&i, column) in map.key.iter().zip(map.target_key().map(|c| &c.target)).filter(|(_, c)| is_folded(c)) {
                let exact = self.by_bytes(&format!("{table}.{}", self.e.quote(&column.name)), column);
                sql = sql.push(&format!(" AND {exact} = {}", self.by_bytes(&new(i), column)));
            }
        }
        Ok(sql)
    }

    /// An upsert where the engine has none by one chosen key: what is there and ours is updated, what is not there is
    /// inserted. How many rows that were.
    async fn update_and_insert(
        &self,
        tx: &mut E::Tx,
        map: &TableMap,
        columns: &[&Column],
        sets: &[usize],
        rows: &[Vec<&Value>],
    ) -> Result<u64> {
        let table = self.e.table(&map.target);
        let name = |i: usize| self.e.quote(&columns[i].name);
        let place = |key: &String| columns.iter().position(|c| c.name == *key);
        let key: Vec<usize> = map.target_unique.iter().filter_map(place).collect();
        let same: Vec<String> = key.iter().map(|&i| format!("{table}.{} = {}", name(i), listed(i + 1))).collect();
        let same = same.join(" AND ");
        let mut touched = 0;
        if !sets.is_empty() {
            let set: Vec<String> = sets.iter().map(|&i| format!("{table}.{} = {}", name(i), listed(i + 1))).collect();
            let sql = Sql::new(self.e, &self.layout.migration).push("UPDATE (").rows(columns, rows)?;
            let set = set.join(", ");
            let sql = sql.push(&format!(") v STRAIGHT_JOIN {table} ON {same} SET {set} WHERE 1 = 1"));
            touched = self.within_owned(sql, map, &|i| listed(i + 1))?.execute(tx).await?;
            if touched == rows.len() as u64 {
                return Ok(touched);
            }
        }
        Ok(touched + self.insert_absent(tx, map, columns, rows).await?)
    }

    /// The rows whose keys are not there yet.
    pub(super) async fn insert_absent(
        &self,
        tx: &mut E::Tx,
        map: &TableMap,
        columns: &[&Column],
        rows: &[Vec<&Value>],
    ) -> Result<u64> {
        let table = self.e.table(&map.target);
        let name = |i: usize| self.e.quote(&columns[i].name);
        let key = (0..columns.len()).filter(|&i| map.target_unique.contains(&columns[i].name));
        let same: Vec<String> = key.map(|i| format!("{table}.{} = {}", name(i), listed(i + 1))).collect();
        let names: Vec<String> = (0..columns.len()).map(name).collect();
        let (names, picked) = (names.join(", "), numbered("c", columns.len()));
        let sql = Sql::new(self.e, &self.layout.migration).push(&format!("INSERT INTO {table} ({names}) WITH "));
        let sql = sql.rows_as_v(columns, rows)?;
        let absent = format!("NOT EXISTS (SELECT 1 FROM {table} WHERE {})", same.join(" AND "));
        sql.push(&format!(" SELECT {picked} FROM v WHERE {absent}")).execute(tx).await
    }

    fn by_bytes(&self, expression: &str, column: &Column) -> String {
        if is_folded(column) { self.e.by_bytes(expression) } else { expression.to_owned() }
    }
}

/// A column of the list.
pub(super) fn listed(i: usize) -> String {
    format!("v.c{i}")
}

pub(super) fn numbered(prefix: &str, count: usize) -> String {
    (1..=count).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>().join(", ")
}

/// Whether two spellings of a key may be one key at the target: then the old spelling must go before the new comes.
pub(super) fn folds_keys(map: &TableMap) -> bool {
    map.target_key().any(|c| is_folded(&c.target))
}

/// Whether the source takes the same spellings for one: a row that the target has under another spelling is then the
/// very row, spelled anew. Otherwise the source may have both.
fn respells_keys(map: &TableMap) -> bool {
    let alike = |(source, c): (&Column, &WireColumn)| !is_folded(&c.target) || source.collation == c.target.collation;
    folds_keys(map) && map.source_key.iter().zip(map.target_key()).all(alike)
}
