//! Applying: entries and the checkpoint in one target transaction, so that an effect happens exactly once.
//!
//! Only what the sender owns is touched: every statement is bounded by the pair's constants. A row that is refused is
//! found by halving what was tried. In an undrained entry its counterpart may come later: the key goes back and the
//! source marks it dirty. In a drained one the refusal is real: the row is parked ([`super::parked`]), or, where no more
//! may be, everything is rolled back and it is named.

mod aside;
pub(super) mod write;

use std::borrow::Cow;
use std::collections::HashMap;

use crate::entry::*;
use crate::error::{Error, Kind, Result};
use crate::mapping::{Layout, TableMap};
use crate::value::{Key, Row};

use super::engine::{Engine, Mode};
use super::lease::{is_ours, lost, ours, state_in};
use super::parked::Places;
use super::read::{Reader, Which};
use super::sql::{Cells, Sql, link_table};
use super::{Applied, Lease, LinkState, Side, control, digest, gate};

use write::{CULPRITS_MAX, Op, Refused, Writer};

pub async fn record_epoch<E: Engine>(e: &E, m: &str, lease: &Lease, epoch: Epoch) -> Result<LinkState> {
    let mut tx = e.begin(Mode::Control).await?;
    let set = Sql::new(e, m).push("UPDATE ").control(link_table(Side::Target)).push(" SET epoch = ").arg(epoch.0);
    ours(set, lease).push(" AND epoch < ").arg(epoch.0).execute(&mut tx).await?;
    let state = state_in(e, &mut tx, m, lease.link, Side::Target).await?;
    if !is_ours(&state, lease) {
        return Err(lost(&state, lease));
    }
    e.commit(tx).await?;
    Ok(state)
}

pub async fn verdicts<E: Engine>(e: &E, codec: &dyn Codec, m: &str) -> Result<Vec<Verdict>> {
    let mut tx = e.begin(Mode::Look).await?;
    let rows =
        Sql::new(e, m).push("SELECT verdict FROM ").control("verdict").push(" ORDER BY position, item").all(&mut tx);
    rows.await?.iter().map(|r| codec.read_verdict(&r.bytes(0))).collect()
}

pub async fn is_empty<E: Engine>(e: &E, layout: &Layout, map: &TableMap) -> Result<bool> {
    let mut tx = e.begin(Mode::Look).await?;
    table_is_empty(e, &mut tx, &layout.migration, map).await
}

async fn table_is_empty<E: Engine>(e: &E, tx: &mut E::Tx, m: &str, map: &TableMap) -> Result<bool> {
    let mut empty = true;
    let mut each = |_| {
        empty = false;
        Ok(false)
    };
    let which = Which::Range { after: None, upto: None, limit: Some(1) };
    Reader::new(e, m, map, Side::Target).keys(tx, which, &mut each).await?;
    Ok(empty)
}

pub async fn apply<E: Engine>(
    e: &E,
    codec: &dyn Codec,
    layout: &Layout,
    lease: &Lease,
    from: Mark,
    entries: &[Entry],
) -> Result<Applied> {
    let Some(last) = entries.last() else { return Ok(Applied::Moved) };
    if !extend(&from, entries) {
        return Ok(Applied::Moved);
    }
    let pending = |entry: &Entry| matches!(entry.refs, Refs::Chunk { .. }) || !entry.header.settled;
    let backfill = entries.iter().any(pending);
    let mut tx = e.begin(Mode::Apply { layout, backfill }).await?;
    let m = layout.migration.as_str();
    let Some(lag_ms) = move_checkpoint(e, &mut tx, m, lease, &from, last).await? else { return Ok(Applied::Moved) };
    e.mark_applier(&mut tx, layout.base()).await?;
    let (mut verdicts, mut ours) = (Vec::new(), None);
    let mut parked = Places::load(e, &mut tx, m).await?;
    for entry in entries {
        let layout = only_the_senders(e, &mut tx, layout, &mut ours, entry).await?;
        let mut a = Applying { e, codec, layout: &layout, verdicts, parked };
        if let Some(refusal) = a.entry(&mut tx, entry).await? {
            return Ok(Applied::Refused(refusal));
        }
        (verdicts, parked) = (a.verdicts, a.parked);
        if matches!(entry.refs, Refs::Control(Control::Open { .. })) {
            ours = None;
        }
    }
    keep_verdicts(e, &mut tx, codec, m, last.header.heard, &verdicts).await?;
    e.unmark_applier(&mut tx, layout.base()).await?;
    e.check_deferred(&mut tx).await?;
    e.commit(tx).await?;
    Ok(Applied::Done { verdicts, lag_ms, parked: parked.len() })
}

/// What an entry may touch. What this store owns (`ours`, read where it is not known) the sender can't own too.
async fn only_the_senders<'l, E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    layout: &'l Layout,
    ours: &mut Option<Scopes>,
    entry: &Entry,
) -> Result<Cow<'l, Layout>> {
    if layout.is_scoped() {
        let ours = match ours {
            Some(known) => known,
            None => ours.insert(gate::look_in(e, tx, layout, Side::Target).await?.owned()),
        };
        if ours.meets(entry.header.owned.as_ref().unwrap_or(&Scopes::ALL)) {
            let text =
                "the sender brings rows that this store owns: one of the two was restored from before a cut over";
            return Err(Error::changed(text).hint(
                "nothing was overwritten; `migrate survive PLAN --side source` (or target) names the side that counts",
            ));
        }
    }
    Ok(layout.within(entry.header.owned.as_ref()))
}

/// The guard, first in the transaction: the checkpoint is exactly `from`, of an epoch not above the entry's, and the
/// lease is ours. `None` where the checkpoint is elsewhere.
async fn move_checkpoint<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    m: &str,
    lease: &Lease,
    from: &Mark,
    last: &Entry,
) -> Result<Option<i64>> {
    let (to, h) = (last.mark(), &last.header);
    let set = Sql::new(e, m).push("UPDATE ").control(link_table(Side::Target));
    let set = set.push(" SET generation = ").arg(to.generation.0).push(", position = ").arg(to.position.0);
    let set = set.push(", hash = ").arg(to.hash.0.to_vec()).push(", epoch = ").arg(h.epoch.0).push(", lag_ms = ");
    let set = set.push(E::NOW_MS).push(" - ").arg(h.sealed_ms).push(", expires_ms = ").push(E::NOW_MS);
    let set = super::lease::ours_at(set.push(" + ").arg(lease.ttl_ms), lease, from);
    let moved = set.push(" AND epoch <= ").arg(h.epoch.0).execute(tx).await?;
    let state = state_in(e, tx, m, lease.link, Side::Target).await?;
    if moved == 1 {
        return Ok(Some(state.lag_ms));
    }
    if is_ours(&state, lease) { Ok(None) } else { Err(lost(&state, lease)) }
}

/// Each entry's place is right behind the one before it, or it begins a later generation.
fn extend(from: &Mark, entries: &[Entry]) -> bool {
    let mut at = *from;
    entries.iter().all(|entry| {
        let (h, opens) = (&entry.header, matches!(entry.refs, Refs::Control(Control::Begin { .. })));
        let first = opens && h.generation > at.generation && h.position == Position(1) && h.prev == Hash::default();
        let next = h.generation == at.generation && h.position == at.position.next() && h.prev == at.hash;
        at = entry.mark();
        first || next
    })
}

async fn keep_verdicts<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    codec: &dyn Codec,
    m: &str,
    heard: Position,
    verdicts: &[Verdict],
) -> Result<()> {
    let delete = Sql::new(e, m).push("DELETE FROM ").control("verdict").push(" WHERE position <= ").arg(heard.0);
    delete.execute(tx).await?;
    for (item, verdict) in (0i64..).zip(verdicts) {
        let sql = Sql::new(e, m).push("INSERT INTO ").control("verdict").push(" (position, item, verdict) VALUES (");
        let sql = sql.arg(verdict.position.0).push(", ").arg(item).push(", ").arg(codec.write_verdict(verdict));
        sql.push(")").execute(tx).await?;
    }
    Ok(())
}

struct Applying<'a, E: Engine> {
    e: &'a E,
    codec: &'a dyn Codec,
    layout: &'a Layout,
    verdicts: Vec<Verdict>,
    parked: Places,
}

impl<E: Engine> Applying<'_, E> {
    async fn entry(&mut self, tx: &mut E::Tx, entry: &Entry) -> Result<Option<Refusal>> {
        match &entry.refs {
            Refs::Changes(tables) => self.changes(tx, entry, tables).await,
            Refs::Chunk { table, range, fresh } => self.chunk(tx, entry, *table, range, *fresh).await,
            Refs::Digest(checks) => {
                for check in checks {
                    let finding = digest::judge(self.e, tx, self.layout, check).await?;
                    let position = entry.header.position;
                    self.verdicts.push(Verdict { position, check: check.id, table: check.table, finding });
                }
                Ok(None)
            }
            Refs::Control(Control::Begin { .. }) => self.begin(tx, entry).await.map(|()| None),
            // Nothing of ours follows: what the applier has to know of it is its place in the chain.
            Refs::Control(Control::Fence { .. } | Control::Abort { .. }) => Ok(None),
            Refs::Control(Control::Open { turns }) => gate::open(self.e, tx, self.layout, turns).await.map(|()| None),
        }
    }

    /// A new generation: what was said of the old one is void. A table without rows of ours may be loaded in bulk.
    async fn begin(&mut self, tx: &mut E::Tx, entry: &Entry) -> Result<()> {
        let m = self.layout.migration.as_str();
        Sql::new(self.e, m).push("DELETE FROM ").control("verdict").execute(tx).await?;
        self.verdicts.clear();
        self.parked.clear(self.e, tx, m).await?;
        for map in &self.layout.tables {
            let fresh = table_is_empty(self.e, tx, m, map).await?;
            let value = if fresh { entry.header.generation.to_string() } else { String::new() };
            control::put_in(self.e, tx, m, Side::Target, &fresh_key(map), &value).await?;
        }
        Ok(())
    }

    fn map(&self, id: TableId) -> Result<&TableMap> {
        self.layout.table(id).ok_or_else(|| {
            Error::changed(format!("an entry is of table {id}, which this plan does not have"))
                .hint("both sides must run the same plan; see `migrate status PLAN`")
        })
    }

    async fn changes(&mut self, tx: &mut E::Tx, entry: &Entry, tables: &[TableKeys]) -> Result<Option<Refusal>> {
        let mut rows = entry.rows.iter();
        let mut ops = Vec::new();
        for t in tables {
            let map = self.map(t.table)?;
            for (key, present) in &t.keys {
                let row = if *present { Some(rows.next().ok_or_else(|| malformed(entry))?) } else { None };
                if row.is_some_and(|r| r.len() != map.columns.len()) || key.0.len() != map.key.len() {
                    return Err(malformed(entry));
                }
                ops.push(Op { table: t.table, key, row });
            }
        }
        self.write(tx, entry, ops).await
    }

    /// Makes the range equal to the chunk. Where nothing has reached it and the table was empty when the generation
    /// began there can be no conflict, so a plain bulk load serves.
    async fn chunk(
        &mut self,
        tx: &mut E::Tx,
        entry: &Entry,
        id: TableId,
        range: &Range,
        fresh: bool,
    ) -> Result<Option<Refusal>> {
        let (e, layout) = (self.e, self.layout);
        let map = self.map(id)?;
        if entry.rows.iter().any(|r| r.len() != map.columns.len()) {
            return Err(malformed(entry));
        }
        if fresh && self.began_empty(tx, map, entry.header.generation).await? {
            let waits = !self.parked.is_empty();
            e.savepoint(tx).await?;
            match e.load(tx, map, &entry.rows).await {
                Ok(()) => {
                    let keys: Vec<Key> = entry.rows.iter().filter(|_| waits).map(|row| map.key_of(row)).collect();
                    for key in &keys {
                        self.parked.take(e, tx, &layout.migration, id, key).await?;
                    }
                    return e.release_savepoint(tx).await.map(|()| None);
                }
                Err(error) if error.kind == Kind::GiveUp => e.rollback_to_savepoint(tx).await?,
                Err(error) => return Err(error),
            }
        }
        let keys: Vec<Key> = entry.rows.iter().map(|row| map.key_of(row)).collect();
        let mut extra: HashMap<Vec<u8>, Key> = HashMap::new();
        if map.ordered_alike {
            let mut each = |key: Row| {
                let key = Key(key);
                extra.insert(key.canonical(), key);
                Ok(true)
            };
            let which = Which::Range { after: range.after.as_ref(), upto: range.upto.as_ref(), limit: None };
            Reader::new(e, &layout.migration, map, Side::Target).keys(tx, which, &mut each).await?;
            keys.iter().for_each(|k| drop(extra.remove(&k.canonical())));
        }
        let extra: Vec<Key> = extra.into_values().collect();
        let gone = extra.iter().map(|key| Op { table: id, key, row: None });
        let present = keys.iter().zip(&entry.rows).map(|(key, row)| Op { table: id, key, row: Some(row) });
        let ops = gone.chain(present).collect();
        self.write(tx, entry, ops).await
    }

    async fn began_empty(&self, tx: &mut E::Tx, map: &TableMap, generation: Generation) -> Result<bool> {
        let sql = Sql::new(self.e, &self.layout.migration).push("SELECT value FROM ").control("setting_target");
        let row = sql.push(" WHERE name = ").arg(fresh_key(map).as_str()).first(tx).await?;
        Ok(row.is_some_and(|r| r.text(0) == generation.to_string()))
    }

    async fn write(&mut self, tx: &mut E::Tx, entry: &Entry, ops: Vec<Op<'_>>) -> Result<Option<Refusal>> {
        let writer = Writer { e: self.e, layout: self.layout };
        let mut refused = writer.write(tx, &ops).await?;
        self.take_written(tx, &ops, &refused).await?;
        if matches!(entry.refs, Refs::Chunk { .. }) {
            // A stale row to which other stale rows refer stays until the comparison names them all together.
            refused.retain(|(op, _)| op.row.is_some());
        }
        let position = entry.header.position;
        if refused.is_empty() {
            return Ok(None);
        }
        if entry.header.drained && entry.header.settled {
            return self.park(tx, entry, &writer, refused).await;
        }
        let mut returned: Vec<(TableId, Vec<Key>)> = Vec::new();
        for (op, _) in &refused {
            match returned.iter_mut().find(|(t, _)| *t == op.table) {
                Some((_, keys)) => keys.push(op.key.clone()),
                None => returned.push((op.table, vec![op.key.clone()])),
            }
        }
        let verdict = |(table, keys)| Verdict { position, check: 0, table, finding: Finding::Returned(keys) };
        self.verdicts.extend(returned.into_iter().map(verdict));
        Ok(None)
    }

    /// Only what stands in the others' way is parked, one after the other, as far as that can be told. A refusal comes back
    /// where no more may be.
    async fn park<'o>(
        &mut self,
        tx: &mut E::Tx,
        entry: &Entry,
        writer: &Writer<'_, E>,
        mut refused: Refused<'o>,
    ) -> Result<Option<Refusal>> {
        let (m, at) = (self.layout.migration.as_str(), entry.mark());
        while !refused.is_empty() {
            let chosen: Refused<'o> = match refused.len() <= CULPRITS_MAX {
                true => vec![writer.culprit(tx, &refused).await?.clone()],
                false => std::mem::take(&mut refused),
            };
            for (op, reason) in &chosen {
                if !self.parked.has(op.table, op.key) && self.parked.len() >= self.layout.max_parked {
                    let reason = match self.layout.max_parked {
                        0 => reason.clone(),
                        max => format!("{reason}; {max} rows are parked already, \"max_parked\" allows no more"),
                    };
                    let (position, table, key) = (entry.header.position, op.table, op.key.clone());
                    return Ok(Some(Refusal { position, table, key, reason }));
                }
                self.parked.put(self.e, self.codec, tx, m, (op.table, op.key, reason, &at)).await?;
            }
            // One that waited before may be written now that the culprit is set aside.
            let others: Vec<Op<'o>> = refused.iter().map(|(op, _)| *op).filter(|op| !is_among(op, &chosen)).collect();
            refused = writer.write(tx, &others).await?;
            self.take_written(tx, &others, &refused).await?;
        }
        Ok(None)
    }

    async fn take_written(&mut self, tx: &mut E::Tx, ops: &[Op<'_>], refused: &Refused<'_>) -> Result<()> {
        if self.parked.is_empty() {
            return Ok(());
        }
        for op in ops.iter().filter(|op| !is_among(op, refused)) {
            self.parked.take(self.e, tx, &self.layout.migration, op.table, op.key).await?;
        }
        Ok(())
    }
}

fn is_among(op: &Op<'_>, refused: &Refused<'_>) -> bool {
    refused.iter().any(|(other, _)| other.table == op.table && other.key == op.key)
}

fn fresh_key(map: &TableMap) -> String {
    format!("began_empty_{}", map.id)
}

fn malformed(entry: &Entry) -> Error {
    Error::changed(format!("the entry at position {} does not have this plan's columns", entry.header.position))
        .hint("both sides must run the same plan and the same version of migrate")
}
