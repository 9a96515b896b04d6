//! The one read path: rows of a table pair, from either side, always by the same `SELECT`.
//!
//! At the source it is the plan's expressions and filter; at the target the mapped columns within the constants.
//! A change, a chunk, a digest and a look-up differ only in which keys they ask for, so a value has one meaning.

use crate::entry::Scopes;
use crate::error::{Error, Kind, Result};
use crate::mapping::{Origin, TableMap};
use crate::schema::{Column, Kind as ColumnKind};
use crate::value::{Key, Row, Value};

use super::Side;
use super::engine::{Dml, Engine, Out};
use super::lossy;
use super::sql::{Sql, dirty_table, int_out, join, seq_column};

pub type Each<'a> = &'a mut (dyn FnMut(Row) -> Result<bool> + Send);

/// One side of one pair.
pub struct Reader<'a, E: Engine> {
    pub e: &'a E,
    pub migration: &'a str,
    pub map: &'a TableMap,
    pub side: Side,
}

/// Which rows to read.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// After and up to, in key order; at most so many.
    Range { after: Option<&'a Key>, upto: Option<&'a Key>, limit: Option<u64> },
    /// These keys; the answer comes in any order.
    Keys(&'a [Key]),
    /// The keys of these dirty rows.
    Dirty(&'a [i64]),
}

impl<'a, E: Engine> Reader<'a, E> {
    pub fn new(e: &'a E, migration: &'a str, map: &'a TableMap, side: Side) -> Self {
        Self { e, migration, map, side }
    }

    pub fn key_columns(&self) -> Vec<&'a Column> {
        match self.side {
            Side::Source => self.map.source_key.iter().collect(),
            Side::Target => self.map.target_key().map(|c| &c.target).collect(),
        }
    }

    fn outs(&self) -> Vec<Out> {
        let exact = |i| self.side == Side::Source && self.map.key.contains(&i);
        let held = |c: &'a crate::mapping::WireColumn| match self.side {
            Side::Source => &c.source_kind,
            Side::Target => &c.target.kind,
        };
        // What is rounded on its way is read as it is first.
        let wire = |i, c: &'a crate::mapping::WireColumn| if self.rounds(i) { &c.source_kind } else { &c.wire };
        let out = |(i, c)| Out { held: held(c).clone(), wire: wire(i, c).clone(), exact: exact(i) };
        self.map.columns.iter().enumerate().map(out).collect()
    }

    fn rounds(&self, i: usize) -> bool {
        let c = &self.map.columns[i];
        self.side == Side::Source && lossy::is_lossy(&c.source_kind, &c.wire)
    }

    fn round(&self, row: &mut Row, lead: usize, rounded: &[usize]) -> Result<()> {
        for &i in rounded {
            let (column, cell) = (&self.map.columns[i], &mut row[lead + i]);
            *cell = lossy::rounded(std::mem::replace(cell, Value::Null), &column.wire).ok_or_else(|| {
                let (name, kind) = (&column.target.name, column.wire.name());
                Error::give_up(format!("a value for column \"{name}\" is no {kind}, not even rounded"))
                    .hint("mend it at the source, or map the column with `sql:` to what is meant")
            })?;
        }
        Ok(())
    }

    pub fn key_outs(&self) -> Vec<Out> {
        let outs = self.outs();
        self.map.key.iter().map(|&i| outs[i].clone()).collect()
    }

    /// The rows' `SELECT`: raw keys as `q1 …`, wire columns as `w1 …` (only the key's where `keys_only`).
    fn base(&self, mut sql: Sql<'a, E>, keys_only: bool) -> Result<Sql<'a, E>> {
        let (outs, map) = (self.outs(), self.map);
        let keys = self.key_columns();
        let raw = keys.iter().enumerate().map(|(i, k)| format!("{} AS q{}", self.e.quote(&k.name), i + 1));
        let wanted = |i: &usize| !keys_only || map.key.contains(i);
        let wire = (0..map.columns.len()).filter(wanted).map(|i| {
            let expression = match (&map.columns[i].origin, self.side) {
                (Origin::Sql(text), Side::Source) => format!("({text})"),
                (Origin::Column(name), Side::Source) => self.e.quote(name),
                (_, Side::Target) => self.e.quote(&map.columns[i].target.name),
            };
            format!("{} AS w{}", self.e.select(&expression, &outs[i]), i + 1)
        });
        let items = raw.chain(wire).collect::<Vec<_>>().join(", ");
        match self.side {
            Side::Source => {
                let filter = map.filter.as_ref().map_or_else(|| "1 = 1".to_owned(), |f| format!("({f})"));
                sql = sql.push(&format!("SELECT {items} FROM {} WHERE {filter}", self.e.table(&map.source)));
                match map.scope_columns() {
                    Some((scope, ..)) => Ok(within_scopes(self.e, sql, map, &self.e.quote(scope))),
                    None => Ok(sql),
                }
            }
            Side::Target => {
                sql = sql.push(&format!("SELECT {items} FROM {}", self.e.table(&map.target)));
                within_constants(self.e, sql.push(" WHERE 1 = 1"), map, "")
            }
        }
    }

    /// `(q1, q2) <op> (…)` for one key, bound.
    pub fn compare(&self, sql: Sql<'a, E>, left: &str, op: &str, key: &Key) -> Result<Sql<'a, E>> {
        let columns = self.key_columns();
        if E::DML == Dml::Joined && columns.len() > 1 {
            return self.compare_by_column(sql, left, op, key);
        }
        let names = (1..=columns.len()).map(|i| format!("{left}{i}")).collect::<Vec<_>>().join(", ");
        let mut sql = sql.push(&format!("({names}) {op} ("));
        for (i, (value, column)) in key.0.iter().zip(columns).enumerate() {
            sql = sql.push(if i == 0 { "" } else { ", " }).typed(value, column)?;
        }
        Ok(sql.push(")"))
    }

    /// The same spelled out, with a bound on the first column in front.
    fn compare_by_column(&self, mut sql: Sql<'a, E>, left: &str, op: &str, key: &Key) -> Result<Sql<'a, E>> {
        let columns = self.key_columns();
        let strict = if op.starts_with('<') { "<" } else { ">" };
        sql = sql.push(&format!("({left}1 {strict}= ")).typed(&key.0[0], columns[0])?.push(" AND (");
        for last in 0..columns.len() {
            sql = sql.push(if last == 0 { "(" } else { " OR (" });
            for (i, (value, column)) in key.0.iter().zip(&columns).enumerate().take(last) {
                sql = sql.push(&format!("{left}{} = ", i + 1)).typed(value, column)?.push(" AND ");
            }
            let op = if last + 1 == columns.len() { op } else { strict };
            sql = sql.push(&format!("{left}{} {op} ", last + 1)).typed(&key.0[last], columns[last])?.push(")");
        }
        Ok(sql.push("))"))
    }

    /// Wire rows, one after another. For `Dirty` each row has the asked `seq` in front.
    pub async fn rows(&self, tx: &mut E::Tx, which: Which<'_>, each: Each<'_>) -> Result<()> {
        let (items, outs) = self.items(false);
        self.run(tx, which, false, &items, outs, each).await
    }

    /// Only keys, in wire form.
    pub async fn keys(&self, tx: &mut E::Tx, which: Which<'_>, each: Each<'_>) -> Result<()> {
        let (items, outs) = self.items(true);
        self.run(tx, which, true, &items, outs, each).await
    }

    fn items(&self, keys_only: bool) -> (String, Vec<Out>) {
        let indices: Vec<usize> = if keys_only { self.map.key.clone() } else { (0..self.map.columns.len()).collect() };
        let items = indices.iter().map(|i| format!("s.w{}", i + 1)).collect::<Vec<_>>().join(", ");
        (items, if keys_only { self.key_outs() } else { self.outs() })
    }

    async fn run(
        &self,
        tx: &mut E::Tx,
        which: Which<'_>,
        keys_only: bool,
        items: &str,
        mut outs: Vec<Out>,
        each: Each<'_>,
    ) -> Result<()> {
        let sql = Sql::new(self.e, self.migration);
        let statement = match which {
            Which::Range { after, upto, limit } => {
                let mut sql = self.base(sql.push(&format!("SELECT {items} FROM (")), keys_only)?.push(") s");
                let ends = [(after, ">"), (upto, "<=")];
                for (i, (key, op)) in ends.iter().filter_map(|(k, op)| k.map(|k| (k, op))).enumerate() {
                    sql = self.compare(sql.push(if i == 0 { " WHERE " } else { " AND " }), "s.q", op, key)?;
                }
                if let Some(limit) = limit {
                    sql = sql.push(&format!(" ORDER BY {} LIMIT {limit}", self.order("")));
                }
                sql.done()
            }
            Which::Keys(keys) => {
                let rows: Vec<Vec<&Value>> = keys.iter().map(|k| k.0.iter().collect()).collect();
                let sql = sql.push("WITH ").rows_as_v(&self.key_columns(), &rows)?;
                let sql = sql.push(&format!(" SELECT {items} FROM v {} (", join::<E>()));
                self.base(sql, keys_only)?.push(&format!(") s ON {}", self.join("v.c"))).done()
            }
            Which::Dirty(seqs) => {
                outs.insert(0, int_out());
                let values: Vec<Value> = seqs.iter().map(|&s| Value::Int(s.into())).collect();
                let rows: Vec<Vec<&Value>> = values.iter().map(|v| vec![v]).collect();
                let seq = seq_column::<E>();
                let (sql, join) = (sql.push("WITH ").rows_as_v(&[&seq], &rows)?, join::<E>());
                let sql = sql.push(&format!(" SELECT d.seq, {items} FROM v {join} "));
                let sql = sql.control(&dirty_table(self.map.id)).push(&format!(" d ON d.seq = v.c1 {join} ("));
                self.base(sql, keys_only)?.push(&format!(") s ON {}", self.join("d.k"))).done()
            }
        };
        let lead = usize::from(matches!(which, Which::Dirty(_)));
        let rounded: Vec<usize> = (0..self.map.columns.len()).filter(|i| !keys_only && self.rounds(*i)).collect();
        let mut each_rounded = |mut row: Row| {
            self.round(&mut row, lead, &rounded)?;
            each(row)
        };
        self.e
            .query(tx, &statement, &outs, &mut each_rounded)
            .await
            .map_err(|e| e.context(format!("table \"{}\"", self.name())))
    }

    pub fn order(&self, direction: &str) -> String {
        (1..=self.map.key.len()).map(|i| format!("s.q{i}{direction}")).collect::<Vec<_>>().join(", ")
    }

    fn join(&self, other: &str) -> String {
        (1..=self.map.key.len()).map(|i| format!("s.q{i} = {other}{i}")).collect::<Vec<_>>().join(" AND ")
    }

    fn name(&self) -> String {
        match self.side {
            Side::Source => self.map.source.to_string(),
            Side::Target => self.map.target.to_string(),
        }
    }

    /// The greatest key of the whole source table, filter or not.
    pub async fn last_key(&self, tx: &mut E::Tx) -> Result<Option<Key>> {
        let bare = TableMap { filter: None, within: None, ..self.map.clone() };
        let reader = Reader { e: self.e, migration: self.migration, map: &bare, side: self.side };
        let (items, outs) = reader.items(true);
        let sql = reader.base(Sql::new(self.e, self.migration).push(&format!("SELECT {items} FROM (")), true)?;
        let sql = sql.push(&format!(") s ORDER BY {} LIMIT 1", reader.order(" DESC")));
        Ok(sql.read(tx, &outs).await?.pop().map(Key))
    }

    /// Reads rows by key in statements of a size that the engine takes. The answer has one item per asked key: a row
    /// that a collation found for its neighbour does not count.
    pub async fn look_up(&self, tx: &mut E::Tx, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let mut found = std::collections::HashMap::with_capacity(keys.len());
        for page in keys.chunks(self.e.max_rows(self.map.key.len()).clamp(1, 2000)) {
            let map = self.map;
            let mut each = |row: Row| {
                found.insert(map.key_of(&row).canonical(), row);
                Ok(true)
            };
            self.rows(tx, Which::Keys(page), &mut each).await?;
        }
        Ok(keys.iter().map(|k| found.remove(&k.canonical())).collect())
    }
}

/// Whether the store may take two spellings of this column's texts for one.
pub fn is_folded(column: &Column) -> bool {
    matches!(column.kind, ColumnKind::Text { .. }) && !column.binary_order
}

/// Only the rows that are ours, to follow a condition: those of the pair's constants, and within what the plan says of
/// the target. `table` stands before each column's name.
/// Where the store folds texts the constant counts as it is spelled: `CRM` is not `crm`.
pub fn within_constants<'s, E: Engine>(e: &E, mut sql: Sql<'s, E>, map: &TableMap, table: &str) -> Result<Sql<'s, E>> {
    for (column, value) in &map.constants {
        let name = format!("{table}{}", e.quote(&column.name));
        sql = sql.push(&format!(" AND {name} = ")).typed(value, column)?;
        // Other characters need not have the same bytes in the column's character set.
        if is_folded(column) && matches!(value, Value::Text(text) if text.is_ascii()) {
            sql = sql.push(&format!(" AND {} = ", e.by_bytes(&name))).typed_by_bytes(value, column)?;
        }
    }
    if let Some((_, scope, _)) = map.scope_columns() {
        sql = within_scopes(e, sql, map, &format!("{table}{}", e.quote(&scope.name)));
    }
    if let Some(owned) = &map.owned {
        sql = sql.push(" AND ").push(&match table {
            "" => format!("({owned})"),
            _ => e.of_row(owned, &map.target),
        });
    }
    Ok(sql)
}

/// Only the rows of the scopes that count; `column` is the scope's.
fn within_scopes<'s, E: Engine>(e: &E, sql: Sql<'s, E>, map: &TableMap, column: &str) -> Sql<'s, E> {
    match &map.within {
        Some(within) => among_scopes(e, sql, within, column, &e.scope_text(column)),
        None => sql,
    }
}

/// To follow a condition: `text` is of these scopes, or `column` is null and they have the rest.
pub fn among_scopes<'s, E: Engine>(
    e: &E,
    mut sql: Sql<'s, E>,
    within: &Scopes,
    column: &str,
    text: &str,
) -> Sql<'s, E> {
    if !within.rest {
        sql = sql.push(" AND (1 = 0");
        for scope in &within.except {
            sql = sql.push(&format!(" OR {text} = ")).arg(e.scope(scope));
        }
        return sql.push(")");
    }
    if within.except.is_empty() {
        return sql;
    }
    sql = sql.push(&format!(" AND ({column} IS NULL OR (1 = 1"));
    for scope in &within.except {
        sql = sql.push(&format!(" AND {text} <> ")).arg(e.scope(scope));
    }
    sql.push("))")
}

/// A key that came back from our own tables.
pub fn key_cell(codec: &dyn crate::entry::Codec, bytes: Option<Vec<u8>>) -> Result<Option<Key>> {
    bytes.map(|b| codec.read_key(&b)).transpose().map_err(|e| {
        Error::new(Kind::GiveUp, format!("a key in the control tables can't be read: {}", e.message()))
            .hint("`migrate abort PLAN`, then begin again")
    })
}
