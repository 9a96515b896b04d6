//! The source's log of references, and how far each table's backfill is: what makes an undelivered entry undoable.
//!
//! A row of the log says what an entry referred to, never what was in it. Undoing marks those keys dirty and sets
//! ranges back; the next seals read what is there then.

use std::collections::HashMap;

use crate::entry::{Codec, Epoch, Hash, Link, Mark, Position, Refs, TableId};
use crate::error::{Error, Result};
use crate::mapping::{Layout, TableMap};
use crate::value::{Key, Value};

use super::engine::{Engine, Mode};
use super::lease::{lost, ours, ours_at, state_in};
use super::read::{Reader, key_cell};
use super::sql::{Cells, Sql, dirty_table, link_table};
use super::{Lease, Side, TableProgress};

pub const PENDING: i64 = 0;
pub const RUNNING: i64 = 1;
pub const DONE: i64 = 2;

/// One table's backfill: keys up to `frontier` have been read. Keys beyond `stop`, the greatest when it began, need no
/// chunk: whatever is there was written since, and is dirty.
#[derive(Debug, Clone, Default)]
pub struct Backfill {
    pub state: i64,
    pub frontier: Option<Key>,
    pub stop: Option<Key>,
    pub rows: u64,
    pub bytes: u64,
}

pub async fn backfill_rows<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    codec: &dyn Codec,
    layout: &Layout,
) -> Result<HashMap<TableId, Backfill>> {
    let sql =
        Sql::new(e, &layout.migration).push("SELECT table_id, state, frontier, stop, rows_count, bytes_count FROM ");
    let mut all = HashMap::new();
    for row in sql.control("backfill").all(tx).await? {
        let state = Backfill {
            state: row.int(1),
            frontier: key_cell(codec, row.opt_bytes(2))?,
            stop: key_cell(codec, row.opt_bytes(3))?,
            rows: row.uint(4),
            bytes: row.uint(5),
        };
        all.insert(TableId(row.int(0) as u16), state);
    }
    Ok(all)
}

pub async fn backfill_row<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    codec: &dyn Codec,
    layout: &Layout,
    table: TableId,
) -> Result<Backfill> {
    Ok(backfill_rows(e, tx, codec, layout).await?.remove(&table).unwrap_or_default())
}

pub async fn set_backfill<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    codec: &dyn Codec,
    m: &str,
    table: TableId,
    b: &Backfill,
) -> Result<()> {
    let key = |k: &Option<Key>| k.as_ref().map(|k| codec.write_key(k));
    let sql = Sql::new(e, m).push("UPDATE ").control("backfill").push(" SET state = ").arg(b.state);
    let sql = nullable(sql.push(", frontier = "), key(&b.frontier));
    let sql = nullable(sql.push(", stop = "), key(&b.stop));
    let sql = sql.push(", rows_count = ").arg(b.rows).push(", bytes_count = ").arg(b.bytes);
    sql.push(" WHERE table_id = ").arg(i64::from(table.0)).execute(tx).await.map(|_| ())
}

fn nullable<'e, E: Engine>(sql: Sql<'e, E>, bytes: Option<Vec<u8>>) -> Sql<'e, E> {
    match bytes {
        Some(bytes) => sql.arg(bytes),
        None => sql.push("NULL"),
    }
}

pub async fn progress<E: Engine>(e: &E, codec: &dyn Codec, layout: &Layout) -> Result<Vec<(TableId, TableProgress)>> {
    let mut tx = e.begin(Mode::Look).await?;
    let mut states = backfill_rows(e, &mut tx, codec, layout).await?;
    let of = |id: TableId| {
        let b = states.remove(&id).unwrap_or_default();
        (id, TableProgress { frontier: b.frontier, done: b.state == DONE, rows: b.rows, bytes: b.bytes })
    };
    Ok(layout.tables.iter().map(|t| t.id).map(of).collect())
}

pub struct LogRow {
    pub mark: Mark,
    pub prev: Hash,
    pub epoch: Epoch,
    pub rows: u64,
    pub bytes: u64,
}

pub async fn insert<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    codec: &dyn Codec,
    m: &str,
    row: &LogRow,
    refs: &Refs,
    sealed_ms: i64,
) -> Result<()> {
    let sql = Sql::new(e, m).push("INSERT INTO ").control("log");
    let sql =
        sql.push(" (generation, position, epoch, kind, refs, prev, hash, rows_count, bytes_count, sealed_ms) VALUES (");
    let sql = sql.arg(row.mark.generation.0).push(", ").arg(row.mark.position.0).push(", ").arg(row.epoch.0);
    let sql = sql.push(", ").arg(refs.name()).push(", ").arg(codec.write_refs(refs)).push(", ");
    let sql = sql.arg(row.prev.0.to_vec()).push(", ").arg(row.mark.hash.0.to_vec()).push(", ").arg(row.rows);
    let sql = sql.push(", ").arg(row.bytes).push(", ").arg(sealed_ms).push(")");
    sql.execute(tx).await.map(|_| ())
}

pub async fn set_head<E: Engine>(e: &E, tx: &mut E::Tx, m: &str, lease: &Lease, head: &Mark) -> Result<()> {
    let sql = Sql::new(e, m).push("UPDATE ").control(link_table(Side::Source));
    let sql = sql.push(" SET generation = ").arg(head.generation.0).push(", position = ").arg(head.position.0);
    if ours(sql.push(", hash = ").arg(head.hash.0.to_vec()), lease).execute(tx).await? == 1 {
        return Ok(());
    }
    Err(lost(&state_in(e, tx, m, lease.link, Side::Source).await?, lease))
}

pub async fn knows<E: Engine>(e: &E, m: &str, link: Link, mark: &Mark) -> Result<bool> {
    let mut tx = e.begin(Mode::Look).await?;
    if mark.position == Position(0) {
        let head = state_in(e, &mut tx, m, link, Side::Source).await?.mark;
        // The beginning is known as long as the log still reaches back to it.
        let sql = Sql::new(e, m).push("SELECT 1 FROM ").control("log").push(" WHERE position = 1 AND generation = ");
        return Ok(head.generation == mark.generation && sql.arg(mark.generation.0).first(&mut tx).await?.is_some());
    }
    let sql =
        Sql::new(e, m).push("SELECT hash FROM ").control("log").push(" WHERE generation = ").arg(mark.generation.0);
    let row = sql.push(" AND position = ").arg(mark.position.0).first(&mut tx).await?;
    Ok(row.is_some_and(|r| r.bytes(0) == mark.hash.0))
}

pub async fn rewind<E: Engine>(
    e: &E,
    codec: &dyn Codec,
    layout: &Layout,
    lease: &Lease,
    head: Mark,
    to: Mark,
) -> Result<()> {
    let m = layout.migration.as_str();
    let mut tx = e.begin(Mode::Control).await?;
    let touch = Sql::new(e, m).push("UPDATE ").control(link_table(Side::Source)).push(" SET lag_ms = 0");
    if ours_at(touch, lease, &head).execute(&mut tx).await? != 1 {
        return Err(lost(&state_in(e, &mut tx, m, lease.link, Side::Source).await?, lease));
    }
    let behind = |sql: Sql<'_, E>| {
        sql.push(" WHERE generation = ").arg(to.generation.0).push(" AND position > ").arg(to.position.0).done()
    };
    let select = Sql::new(e, m).push("SELECT refs, rows_count, bytes_count FROM ").control("log");
    let mut select = behind(select);
    select.sql.push_str(" ORDER BY position DESC");
    let mut rows = Vec::new();
    let mut each = |row| {
        rows.push(row);
        Ok(true)
    };
    e.query(&mut tx, &select, &[], &mut each).await?;
    for row in rows {
        undo(e, &mut tx, codec, layout, &codec.read_refs(&row.bytes(0))?, row.uint(1)).await?;
    }
    let delete = behind(Sql::new(e, m).push("DELETE FROM ").control("log"));
    e.execute(&mut tx, &delete).await?;
    set_head(e, &mut tx, m, lease, &to).await?;
    e.commit(tx).await
}

/// Entries are undone from the last to the first, so a table's frontier ends at its earliest undone chunk.
async fn undo<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    codec: &dyn Codec,
    layout: &Layout,
    refs: &Refs,
    rows: u64,
) -> Result<()> {
    match refs {
        Refs::Changes(tables) => {
            for t in tables {
                let Some(map) = layout.table(t.table) else { continue };
                let keys: Vec<Key> = t.keys.iter().map(|(k, _)| k.clone()).collect();
                insert_dirty(e, tx, &layout.migration, map, &keys).await?;
            }
        }
        Refs::Chunk { table, range, .. } => {
            let mut b = backfill_row(e, tx, codec, layout, *table).await?;
            b.state = if range.after.is_some() { RUNNING } else { PENDING };
            b.frontier = range.after.clone();
            b.rows = b.rows.saturating_sub(rows);
            set_backfill(e, tx, codec, &layout.migration, *table, &b).await?;
        }
        Refs::Digest(_) | Refs::Control(_) => {}
    }
    Ok(())
}

/// Marks keys dirty by their source values.
pub async fn insert_dirty<E: Engine>(e: &E, tx: &mut E::Tx, m: &str, map: &TableMap, keys: &[Key]) -> Result<()> {
    let columns = Reader::new(e, m, map, Side::Source).key_columns();
    let names = (1..=columns.len()).map(|i| format!("k{i}")).collect::<Vec<_>>().join(", ");
    let from = (1..=columns.len()).map(|i| format!("c{i}")).collect::<Vec<_>>().join(", ");
    for page in keys.chunks(e.max_rows(columns.len()).max(1)) {
        let rows: Vec<Vec<&Value>> = page.iter().map(|k| k.0.iter().collect()).collect();
        let sql = Sql::new(e, m).push("INSERT INTO ").control(&dirty_table(map.id));
        let sql = sql.push(&format!(" ({names}) WITH ")).rows_as_v(&columns, &rows)?;
        sql.push(&format!(" SELECT {from} FROM v")).execute(tx).await?;
    }
    Ok(())
}

pub async fn confirm<E: Engine>(e: &E, m: &str, lease: &Lease, position: Position, keep: u64) -> Result<()> {
    let mut tx = e.begin(Mode::Control).await?;
    let sql =
        Sql::new(e, m).push("UPDATE ").control(link_table(Side::Source)).push(" SET confirmed = ").arg(position.0);
    if ours(sql, lease).execute(&mut tx).await? != 1 {
        return Err(lost(&state_in(e, &mut tx, m, lease.link, Side::Source).await?, lease));
    }
    let delete = Sql::new(e, m).push("DELETE FROM ").control("log").push(" WHERE position <= ");
    // The confirmed entry itself stays: from it the log goes on when the rest has to be undone.
    delete.arg(position.0.saturating_sub(keep.max(1))).execute(&mut tx).await?;
    e.commit(tx).await
}

pub async fn mark_dirty<E: Engine>(e: &E, layout: &Layout, table: TableId, keys: &[Key]) -> Result<()> {
    let map = layout.table(table).ok_or_else(|| Error::changed("a key is of a table that this plan does not have"))?;
    let mut tx = e.begin(Mode::Control).await?;
    insert_dirty(e, &mut tx, &layout.migration, map, keys).await?;
    e.commit(tx).await
}

pub async fn backlog<E: Engine>(e: &E, layout: &Layout, cap: u64) -> Result<Vec<(TableId, u64)>> {
    let mut tx = e.begin(Mode::Look).await?;
    let mut all = Vec::new();
    for map in &layout.tables {
        let sql = Sql::new(e, &layout.migration).push("SELECT count(*) FROM (SELECT 1 FROM ");
        let row = sql.control(&dirty_table(map.id)).push(&format!(" LIMIT {cap}) x")).first(&mut tx).await?;
        all.push((map.id, row.map(|r| r.uint(0)).unwrap_or_default()));
    }
    Ok(all)
}

pub async fn anything_dirty<E: Engine>(e: &E, layout: &Layout) -> Result<bool> {
    let mut tx = e.begin(Mode::Look).await?;
    let mut sql = Sql::new(e, &layout.migration).push("SELECT CASE WHEN 1 = 0");
    for map in &layout.tables {
        sql = sql.push(" OR EXISTS (SELECT 1 FROM ").control(&dirty_table(map.id)).push(")");
    }
    let row = sql.push(" THEN 1 ELSE 0 END").first(&mut tx).await?;
    Ok(row.is_some_and(|r| r.int(0) == 1))
}
