//! Dead letters: rows that the receiver refused, parked with the reason, so that only their keys wait and the rest flows.
//!
//! Nothing of them is lost: the sender has the row. Whatever is written of such a key later takes it out again, in the same
//! transaction. As long as one is there the two stores are not equal, so verification and a cut over are closed.

use std::collections::HashMap;

use crate::entry::{Codec, Mark, TableId};
use crate::error::Result;
use crate::value::Key;

use super::control;
use super::engine::{Engine, Mode};
use super::read::key_cell;
use super::sql::{Cells, Sql};

/// A row that the receiver refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    /// Unique in this store and link.
    pub id: u64,
    pub table: TableId,
    pub key: Key,
    /// The engine's words. They may quote values: not for logs.
    pub reason: String,
    /// The entry that was refused last.
    pub at: Mark,
    pub times: u64,
    /// By the receiver's clock.
    pub first_ms: i64,
    pub last_ms: i64,
}

/// What is parked, known to the transaction that applies.
pub struct Places(HashMap<(TableId, String), u64>);

/// Keys may be longer than an index takes.
fn hash(key: &Key) -> String {
    blake3::hash(&key.canonical()).to_hex().to_string()
}

impl Places {
    pub async fn load<E: Engine>(e: &E, tx: &mut E::Tx, m: &str) -> Result<Self> {
        let rows = Sql::new(e, m).push("SELECT id, table_id, key_hash FROM ").control("parked").all(tx).await?;
        Ok(Self(rows.iter().map(|r| ((TableId(r.int(1) as u16), r.text(2)), r.uint(0))).collect()))
    }

    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, table: TableId, key: &Key) -> bool {
        !self.0.is_empty() && self.0.contains_key(&(table, hash(key)))
    }

    /// The key's row is as the sender has it, or gone as there.
    pub async fn take<E: Engine>(&mut self, e: &E, tx: &mut E::Tx, m: &str, table: TableId, key: &Key) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Some(id) = self.0.remove(&(table, hash(key))) else { return Ok(()) };
        let sql = Sql::new(e, m).push("DELETE FROM ").control("parked").push(" WHERE id = ").arg(id);
        sql.execute(tx).await.map(drop)
    }

    pub async fn put<E: Engine>(
        &mut self,
        e: &E,
        codec: &dyn Codec,
        tx: &mut E::Tx,
        m: &str,
        (table, key, reason, at): (TableId, &Key, &str, &Mark),
    ) -> Result<()> {
        let (hash, now) = (hash(key), control::now_in(e, tx).await?);
        if let Some(id) = self.0.get(&(table, hash.clone())) {
            let sql = Sql::new(e, m).push("UPDATE ").control("parked").push(" SET times = times + 1, reason = ");
            let sql = sql.arg(reason).push(", generation = ").arg(at.generation.0).push(", position = ");
            let sql = sql.arg(at.position.0).push(", last_ms = ").arg(now).push(" WHERE id = ").arg(*id);
            return sql.execute(tx).await.map(drop);
        }
        let id = self.0.values().max().copied().unwrap_or_default() + 1;
        let sql = Sql::new(e, m).push("INSERT INTO ").control("parked");
        let sql =
            sql.push(" (id, table_id, key_hash, row_key, reason, generation, position, times, first_ms, last_ms) ");
        let sql = sql.push("VALUES (").arg(id).push(", ").arg(i64::from(table.0)).push(", ").arg(hash.as_str());
        let sql = sql.push(", ").arg(codec.write_key(key)).push(", ").arg(reason).push(", ").arg(at.generation.0);
        let sql = sql.push(", ").arg(at.position.0).push(", 1, ").arg(now).push(", ").arg(now).push(")");
        sql.execute(tx).await?;
        self.0.insert((table, hash), id);
        Ok(())
    }

    /// A new generation brings everything again.
    pub async fn clear<E: Engine>(&mut self, e: &E, tx: &mut E::Tx, m: &str) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.clear();
        Sql::new(e, m).push("DELETE FROM ").control("parked").execute(tx).await.map(drop)
    }
}

pub async fn list<E: Engine>(e: &E, codec: &dyn Codec, m: &str) -> Result<Vec<Parked>> {
    let mut tx = e.begin(Mode::Look).await?;
    let sql = Sql::new(e, m)
        .push("SELECT id, table_id, row_key, reason, generation, position, times, first_ms, last_ms FROM ");
    let rows = sql.control("parked").push(" ORDER BY id").all(&mut tx).await?;
    let one = |r: &Vec<crate::value::Value>| {
        let key = key_cell(codec, r.opt_bytes(2))?.unwrap_or_else(|| Key(vec![]));
        let mut at = Mark::default();
        (at.generation.0, at.position.0) = (r.uint(4), r.uint(5));
        let (table, reason, times) = (TableId(r.int(1) as u16), r.text(3), r.uint(6));
        Ok(Parked { id: r.uint(0), table, key, reason, at, times, first_ms: r.int(7), last_ms: r.int(8) })
    };
    rows.iter().map(one).collect()
}

pub async fn count<E: Engine>(e: &E, m: &str) -> Result<u64> {
    let mut tx = e.begin(Mode::Look).await?;
    let row = Sql::new(e, m).push("SELECT count(*) FROM ").control("parked").first(&mut tx).await?;
    Ok(row.map(|r| r.uint(0)).unwrap_or_default())
}

/// Forgets these; which of them were there.
pub async fn forget<E: Engine>(e: &E, m: &str, ids: &[u64]) -> Result<u64> {
    let mut tx = e.begin(Mode::Control).await?;
    let mut gone = 0;
    for id in ids {
        gone += Sql::new(e, m)
            .push("DELETE FROM ")
            .control("parked")
            .push(" WHERE id = ")
            .arg(*id)
            .execute(&mut tx)
            .await?;
    }
    e.commit(tx).await?;
    Ok(gone)
}
