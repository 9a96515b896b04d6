//! Sealing: one source transaction, one snapshot, that turns dirty keys into the next entries of the log.
//!
//! The order is the protocol's: prove lease and head; check that capture is whole; take exactly the dirty keys that
//! the snapshot shows and read their rows in it; only when nothing is left, read a range or digests of the same
//! snapshot; record references and hash; commit. Nothing waits on the network meanwhile.

use std::collections::HashMap;

use crate::entry::*;
use crate::error::{Error, Kind, Result};
use crate::mapping::{Layout, TableMap};
use crate::value::{Key, Row, Value};

use super::engine::{Engine, Mode};
use super::lease::{is_ours, lost, ours, ours_at, state_in};
use super::read::{Reader, Which};
use super::sql::{Cells, Sql, dirty_table, int_out, link_table, seq_column};
use super::{Gate, SealRequest, Sealed, SealedEntry, Side, TableProgress, Work, control, decide, digest, gate, log};

/// Setting at the source, not empty while a new generation must begin whatever the target says: capture was not whole
/// at some time since the last one began. Cleared by the transaction that begins it.
pub const BEGIN_ANEW: &str = "begin_anew";

/// Setting at a link's source after a person named the store that counts: how the next generation begins, `anew` or as
/// `copied`. Cleared by the transaction that begins it.
pub const SURVIVES: &str = "survives";

/// Setting at a link's source: how its generation began, `anew` or as `copied`. One that was sealed and never arrived is
/// begun again in the same way.
pub const BEGAN: &str = "began";

/// Dirty rows that are looked up by one statement.
const LOOK_UP_PAGE: usize = 500;

pub struct Sealing<'a, E: Engine> {
    e: &'a E,
    codec: &'a dyn Codec,
    req: &'a SealRequest<'a>,
    /// The request's, of what this store owns.
    layout: &'a Layout,
    out: Sealed,
}

pub async fn seal<E: Engine>(e: &E, codec: &dyn Codec, req: &SealRequest<'_>) -> Result<Sealed> {
    let mut tx = e.begin(Mode::Seal(req.layout)).await?;
    let gate = match req.layout.is_scoped() {
        true => Some(gate::look_in(e, &mut tx, req.layout, Side::Source).await?),
        false => None,
    };
    let layout = req.layout.within(gate.as_ref().map(Gate::owned).as_ref());
    let mut s = Sealing::new(e, codec, req, &layout);
    s.prove(&mut tx).await?;
    s.check_capture(&mut tx).await?;
    if !matches!(req.work, Work::Begin { .. }) && e.overflowed(&mut tx, req.layout).await? {
        // Nothing is sealed: what follows would pretend to be whole.
        s.out.overflowed = true;
        return Ok(s.out);
    }
    if let Some(gate) = gate.as_ref().filter(|g| g.is_fenced()) {
        s.out.breached = decide::first_dirty(e, &mut tx, req.layout, gate).await?.is_some();
    }
    for (table, keys) in req.returned {
        if let Some(map) = req.layout.table(*table) {
            log::insert_dirty(e, &mut tx, &req.layout.migration, map, keys).await?;
        }
    }
    if let Work::Begin { generation, mapping, copied } = &req.work {
        s.begin(&mut tx, Mark { generation: *generation, ..Mark::default() }, *mapping, *copied).await?;
    } else {
        let (keys, rows, all, taken) = s.take_dirty(&mut tx).await?;
        s.out.caught_up = all;
        s.out.drained = all && req.may_drain;
        if !keys.is_empty() {
            s.append(&mut tx, Refs::Changes(keys), rows).await?;
        }
        // What was rolled back uses numbers up, too: an idle seal looks at every table.
        let every: Vec<TableId> = req.layout.tables.iter().map(|map| map.id).collect();
        let tables = if req.work == Work::Nothing && taken.is_empty() { &every } else { &taken };
        e.advance_limit(&mut tx, req.layout, tables, false).await?;
        if s.out.drained && req.work != Work::Nothing {
            tx = s.work(tx).await?;
        }
    }
    e.commit(tx).await?;
    Ok(s.out)
}

impl<'a, E: Engine> Sealing<'a, E> {
    pub fn new(e: &'a E, codec: &'a dyn Codec, req: &'a SealRequest<'a>, layout: &'a Layout) -> Self {
        let out = Sealed {
            entries: vec![],
            head: req.head,
            drained: false,
            caught_up: false,
            breached: false,
            overflowed: false,
            ends: vec![],
            progress: None,
        };
        Self { e, codec, req, layout, out }
    }

    pub fn into_sealed(self) -> Sealed {
        self.out
    }

    fn migration(&self) -> &str {
        &self.req.layout.migration
    }

    /// First in each transaction that writes: our epoch, and the head that we hold.
    pub async fn prove(&self, tx: &mut E::Tx) -> Result<()> {
        let lease = self.req.lease;
        let set = Sql::new(self.e, self.migration()).push("UPDATE ").control(link_table(Side::Source));
        let set = set.push(" SET expires_ms = ").push(E::NOW_MS).push(" + ").arg(lease.ttl_ms);
        if ours_at(set, lease, &self.out.head).execute(tx).await? != 1 {
            let state = state_in(self.e, tx, self.migration(), lease.link, Side::Source).await?;
            if is_ours(&state, lease) {
                // A commit whose outcome we never heard, or a promoted replica that lost its tail.
                return Err(Error::retry("the head of the log is elsewhere than this relay thought"));
            }
            return Err(lost(&state, lease));
        }
        Ok(())
    }

    async fn check_capture(&self, tx: &mut E::Tx) -> Result<()> {
        let now = self.e.fingerprint(tx, self.req.layout).await?;
        let get = Sql::new(self.e, self.migration()).push("SELECT value FROM ").control("setting_source");
        let was = get.push(" WHERE name = 'fingerprint'").first(tx).await?.map(|r| r.text(0));
        if was.as_deref() != Some(&now) {
            return Err(Error::changed("capture at the source is not as it was installed: a trigger or a captured table was altered, dropped or made again")
                .hint("changes may have been missed; `migrate apply PLAN` installs capture again and copies everything anew"));
        }
        Ok(())
    }

    /// A new generation: every range pending, the old log void. What is dirty stays and is dropped by later seals,
    /// since nothing has been reached.
    async fn begin(&mut self, tx: &mut E::Tx, at: Mark, mapping: Hash, copied: bool) -> Result<()> {
        let m = self.migration().to_owned();
        let state = if copied { log::DONE } else { log::PENDING };
        let reset = ", frontier = NULL, stop = NULL, rows_count = 0, bytes_count = 0";
        let set = Sql::new(self.e, &m).push("UPDATE ").control("backfill").push(" SET state = ").arg(state);
        set.push(reset).execute(tx).await?;
        Sql::new(self.e, &m).push("DELETE FROM ").control("log").execute(tx).await?;
        let none = Sql::new(self.e, &m).push("UPDATE ").control(link_table(Side::Source)).push(" SET confirmed = 0");
        ours(none, self.req.lease).execute(tx).await?;
        if !copied {
            self.e.advance_limit(tx, self.req.layout, &[], true).await?;
        }
        control::put_in(self.e, tx, &m, Side::Source, "verified", "").await?;
        control::put_in(self.e, tx, &m, Side::Source, BEGIN_ANEW, "").await?;
        control::put_in(self.e, tx, &m, Side::Source, SURVIVES, "").await?;
        control::put_in(self.e, tx, &m, Side::Source, BEGAN, if copied { "copied" } else { "anew" }).await?;
        self.out.head = at;
        self.out.drained = self.req.may_drain;
        self.append(tx, Refs::Control(Control::Begin { mapping }), vec![]).await
    }

    /// Chains, records and remembers one entry; the head moves with it in the same transaction.
    pub async fn append(&mut self, tx: &mut E::Tx, refs: Refs, rows: Vec<Row>) -> Result<()> {
        let (req, prev) = (self.req, self.out.head);
        let header = Header {
            migration: req.layout.migration.clone(),
            link: req.lease.link,
            generation: prev.generation,
            position: prev.position.next(),
            epoch: req.lease.epoch,
            prev: prev.hash,
            drained: self.out.drained,
            settled: req.settled,
            heard: req.heard,
            sealed_ms: control::now_in(self.e, tx).await?,
            owned: self.layout.tables.first().and_then(|map| map.within.clone()),
        };
        let (hash, bytes) = self.codec.seal(&header, &refs, &rows);
        let head = Mark { generation: prev.generation, position: header.position, hash };
        let row = log::LogRow {
            mark: head,
            prev: prev.hash,
            epoch: header.epoch,
            rows: rows.len() as u64,
            bytes: bytes.len() as u64,
        };
        // There is nothing to undo in a digest, and its keys and hashes are large.
        let kept = if matches!(refs, Refs::Digest(_)) { &Refs::Digest(vec![]) } else { &refs };
        log::insert(self.e, tx, self.codec, self.migration(), &row, kept, header.sealed_ms).await?;
        log::set_head(self.e, tx, self.migration(), req.lease, &head).await?;
        self.out.head = head;
        let (rows, drained, sealed_ms, name) = (rows.len() as u64, header.drained, header.sealed_ms, refs.name());
        let keys = if let Refs::Changes(keys) = refs { keys } else { vec![] };
        self.out.entries.push(SealedEntry { mark: head, name, rows, drained, sealed_ms, bytes, keys });
        Ok(())
    }

    /// Takes visible dirty keys up to the bounds, deletes exactly those, and reads the rows of the ones that the
    /// backfill has reached. `true`: nothing visible is left. And the tables of which any was taken.
    async fn take_dirty(&mut self, tx: &mut E::Tx) -> Result<(Vec<TableKeys>, Vec<Row>, bool, Vec<TableId>)> {
        let layout = self.layout;
        let (mut keys, mut rows, mut all, mut tables) = (Vec::new(), Vec::new(), true, Vec::new());
        let mut room = Room { keys: self.req.max_keys.max(1), bytes: self.req.max_bytes };
        let states = log::backfill_rows(self.e, tx, self.codec, layout).await?;
        for map in &layout.tables {
            if room.is_full(&rows) {
                all &= !self.any_dirty(tx, map).await?;
                continue;
            }
            let state = states.get(&map.id).cloned().unwrap_or_default();
            let taken = self.take_table(tx, map, &state, &mut room).await?;
            all &= taken.all;
            if taken.any {
                tables.push(map.id);
            }
            if !taken.keys.is_empty() {
                keys.push(TableKeys { table: map.id, keys: taken.keys });
                rows.extend(taken.rows);
            }
        }
        Ok((keys, rows, all, tables))
    }

    async fn any_dirty(&self, tx: &mut E::Tx, map: &TableMap) -> Result<bool> {
        let sql = Sql::new(self.e, self.migration()).push("SELECT seq FROM ").control(&dirty_table(map.id));
        Ok(sql.push(" LIMIT 1").first(tx).await?.is_some())
    }

    async fn take_table(
        &self,
        tx: &mut E::Tx,
        map: &TableMap,
        state: &log::Backfill,
        room: &mut Room,
    ) -> Result<Taken> {
        let seen = self.dirty_keys(tx, map, state, room.keys).await?;
        let mut all = (seen.len() as u64) <= room.keys;
        let seen = &seen[..seen.len().min(room.keys as usize)];
        let mut gone: Vec<i64> = seen.iter().filter(|d| !d.reached).map(|d| d.seq).collect();
        let mut distinct: Vec<(&Dirty, Vec<i64>)> = Vec::new();
        let mut place: HashMap<Vec<u8>, usize> = HashMap::new();
        for dirty in seen.iter().filter(|d| d.reached) {
            let at = *place.entry(dirty.key.canonical()).or_insert(distinct.len());
            if at == distinct.len() {
                distinct.push((dirty, vec![]));
            }
            distinct[at].1.push(dirty.seq);
        }
        let mut taken = Taken { any: !seen.is_empty(), ..Taken::default() };
        for page in distinct.chunks(LOOK_UP_PAGE) {
            let found = self.look_up_dirty(tx, map, page, room).await?;
            for ((dirty, seqs), row) in page.iter().zip(found.rows) {
                taken.keys.push((dirty.key.clone(), row.is_some()));
                taken.rows.extend(row);
                gone.extend(seqs);
            }
            if found.cut {
                all = false;
                room.bytes = 0;
                break;
            }
        }
        room.keys = room.keys.saturating_sub(seen.len() as u64);
        self.delete_dirty(tx, map, &gone).await?;
        taken.all = all;
        Ok(taken)
    }

    /// Up to `limit + 1` dirty keys in the order of their marks, and whether the backfill has reached each.
    async fn dirty_keys(
        &self,
        tx: &mut E::Tx,
        map: &TableMap,
        state: &log::Backfill,
        limit: u64,
    ) -> Result<Vec<Dirty>> {
        let r = Reader::new(self.e, self.migration(), map, Side::Source);
        let outs = r.key_outs();
        let keys = (1..=outs.len()).zip(&outs).map(|(i, out)| self.e.select(&format!("d.k{i}"), out));
        let mut sql = Sql::new(self.e, self.migration())
            .push(&format!("SELECT d.seq, {}, ", keys.collect::<Vec<_>>().join(", ")));
        sql = match (state.state, &state.frontier, &state.stop) {
            (log::PENDING, ..) => sql.push("0"),
            (log::DONE, ..) => sql.push("1"),
            (_, frontier, stop) => {
                sql = sql.push("CASE WHEN ");
                sql = match frontier {
                    Some(key) => r.compare(sql, "d.k", "<=", key)?,
                    None => sql.push("1 = 0"),
                };
                sql = match stop {
                    Some(key) => r.compare(sql.push(" OR "), "d.k", ">", key)?,
                    None => sql,
                };
                sql.push(" THEN 1 ELSE 0 END")
            }
        };
        let sql =
            sql.push(" FROM ").control(&dirty_table(map.id)).push(&format!(" d ORDER BY d.seq LIMIT {}", limit + 1));
        let outs: Vec<_> = std::iter::once(int_out()).chain(outs).chain([int_out()]).collect();
        let rows = sql.read(tx, &outs).await?;
        let dirty = |mut row: Row| {
            let reached = row.pop() == Some(Value::Int(1));
            Dirty { seq: row.int(0), key: Key(row.split_off(1)), reached }
        };
        Ok(rows.into_iter().map(dirty).collect())
    }

    async fn look_up_dirty(
        &self,
        tx: &mut E::Tx,
        map: &TableMap,
        page: &[(&Dirty, Vec<i64>)],
        room: &mut Room,
    ) -> Result<Found> {
        let seqs: Vec<i64> = page.iter().map(|(d, _)| d.seq).collect();
        let asked: HashMap<i64, Vec<u8>> = page.iter().map(|(d, _)| (d.seq, d.key.canonical())).collect();
        let mut rows: HashMap<i64, Row> = HashMap::new();
        let (mut bytes, mut cut) = (0u64, false);
        let mut each = |mut row: Row| {
            let seq = row.int(0);
            let row = row.split_off(1);
            // A collation may answer for a neighbour: only the very key that was asked for counts.
            if asked.get(&seq) == Some(&map.key_of(&row).canonical()) {
                let size: usize = row.iter().map(Value::size).sum();
                cut = bytes > 0 && bytes + size as u64 > room.bytes;
                if !cut {
                    bytes += size as u64;
                    rows.insert(seq, row);
                }
            }
            Ok(!cut)
        };
        Reader::new(self.e, self.migration(), map, Side::Source).rows(tx, Which::Dirty(&seqs), &mut each).await?;
        if cut && page.len() > 1 {
            // Which of the others have rows is not known: ask again for half, until what is asked fits.
            return Box::pin(self.look_up_dirty(tx, map, &page[..page.len() / 2], room))
                .await
                .map(|f| Found { cut: true, ..f });
        }
        room.bytes = room.bytes.saturating_sub(bytes);
        Ok(Found { rows: seqs.iter().map(|s| rows.remove(s)).collect(), cut })
    }

    async fn delete_dirty(&self, tx: &mut E::Tx, map: &TableMap, seqs: &[i64]) -> Result<()> {
        let column = seq_column::<E>();
        for page in seqs.chunks(self.e.max_rows(1).max(1)) {
            let values: Vec<Value> = page.iter().map(|&s| Value::Int(s.into())).collect();
            let rows: Vec<Vec<&Value>> = values.iter().map(|v| vec![v]).collect();
            let dirty = self.e.control(self.migration(), &dirty_table(map.id));
            let sql = Sql::new(self.e, self.migration());
            let gone = sql.delete_listed(&dirty, &["seq".to_owned()], &[&column], &rows)?.execute(tx).await?;
            if gone != page.len() as u64 {
                let text = format!("{} dirty keys were read and {gone} deleted: somebody else takes them", page.len());
                return Err(Error::retry(text));
            }
        }
        Ok(())
    }

    /// The backfill's next range, or digests, of the snapshot in which nothing is dirty.
    async fn work(&mut self, tx: E::Tx) -> Result<E::Tx> {
        let mut tx = self.e.keep_snapshot(tx).await?;
        match &self.req.work {
            Work::Chunk { table, max_rows, max_bytes } => self.chunk(&mut tx, *table, *max_rows, *max_bytes).await?,
            Work::Compare(tasks) => {
                let mut checks = Vec::new();
                for task in tasks {
                    let Some(map) = self.layout.table(task.table) else { continue };
                    let r = Reader::new(self.e, self.migration(), map, Side::Source);
                    let (check, end, rows) = digest::ask(&r, &mut tx, task).await?;
                    checks.push(check);
                    self.out.ends.push((task.id, end, rows));
                }
                self.prove(&mut tx).await?;
                self.append(&mut tx, Refs::Digest(checks), vec![]).await?;
            }
            Work::Fence { cut } => {
                let gate = gate::look_in(self.e, &mut tx, self.req.layout, Side::Source).await?;
                let undecided = gate.parts().any(|p| p.covered && !p.closed);
                if !gate.is_fenced() || gate.cut != *cut || !undecided {
                    return Err(Error::new(Kind::Gate, "the fence is not there any more: its time ran out"));
                }
                self.prove(&mut tx).await?;
                self.append(&mut tx, Refs::Control(Control::Fence { cut: *cut }), vec![]).await?;
            }
            Work::Tell(control) => {
                self.prove(&mut tx).await?;
                self.append(&mut tx, Refs::Control(control.clone()), vec![]).await?;
            }
            Work::Nothing | Work::Begin { .. } => {}
        }
        Ok(tx)
    }

    async fn chunk(&mut self, tx: &mut E::Tx, table: TableId, max_rows: u64, max_bytes: u64) -> Result<()> {
        let layout = self.layout;
        let Some(map) = layout.table(table) else { return Ok(()) };
        let r = Reader::new(self.e, self.migration(), map, Side::Source);
        let mut state = log::backfill_row(self.e, tx, self.codec, layout, table).await?;
        if state.state == log::DONE {
            return Ok(());
        }
        if state.state == log::PENDING {
            state.stop = r.last_key(tx).await?;
        }
        let (mut rows, mut bytes, mut full) = (Vec::new(), 0u64, false);
        if state.stop.is_some() {
            let which =
                Which::Range { after: state.frontier.as_ref(), upto: state.stop.as_ref(), limit: Some(max_rows) };
            let mut each = |row: Row| {
                let size: usize = row.iter().map(Value::size).sum();
                full = bytes > 0 && bytes + size as u64 > max_bytes;
                if !full {
                    bytes += size as u64;
                    rows.push(row);
                }
                Ok(!full)
            };
            r.rows(tx, which, &mut each).await?;
        }
        let more = full || rows.len() as u64 >= max_rows;
        let upto = if more { rows.last().map(|row| map.key_of(row)) } else { state.stop.clone() };
        let range = Range { after: state.frontier.take(), upto: upto.clone() };
        state.frontier = upto;
        state.state = if more { log::RUNNING } else { log::DONE };
        state.rows += rows.len() as u64;
        state.bytes += bytes;
        self.prove(tx).await?;
        log::set_backfill(self.e, tx, self.codec, self.migration(), table, &state).await?;
        if range.upto.is_some() {
            self.append(tx, Refs::Chunk { table, range, fresh: true }, rows).await?;
        }
        let progress = TableProgress { frontier: state.frontier, done: !more, rows: state.rows, bytes: state.bytes };
        self.out.progress = Some((table, progress));
        Ok(())
    }
}

struct Room {
    keys: u64,
    bytes: u64,
}

impl Room {
    fn is_full(&self, rows: &[Row]) -> bool {
        self.keys == 0 || (self.bytes == 0 && !rows.is_empty())
    }
}

struct Dirty {
    seq: i64,
    key: Key,
    reached: bool,
}

#[derive(Default)]
struct Taken {
    keys: Vec<(Key, bool)>,
    rows: Vec<Row>,
    all: bool,
    /// Also what the backfill has not reached.
    any: bool,
}

struct Found {
    /// One per asked key, for as many as `cut` left.
    rows: Vec<Option<Row>>,
    cut: bool,
}
