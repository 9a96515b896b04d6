//! The gate: whether a store takes the application's writes on a migration's tables.
//!
//! Two rows say it. The *fence* refuses until a deadline by the database's own clock, and so opens again by itself when
//! everything of ours dies. The *owner's* row refuses for good; the decision sets it, and only the `open` entry of the
//! other side's decision takes it back. They are two, since a refused statement may keep a lock on what refused it.
//!
//! A writer that finds the fence expired locks the owner's row in share mode: the decision, which changes that row,
//! waits for it, and a snapshot older than the decision can't get the lock (or sees it). So no statement slips between.
//! The applier of either link passes always.
//!
//! The owner's row is closed only by who has the fence's row locked, and closed: `unfence` takes that lock first, and
//! opens the fence's row only where the owner's is open. So an open fence's row means an open gate.
//!
//! A refused write gets SQLSTATE `MG002` (PostgreSQL), 45000 (MySQL) or an aborted statement (SQLite), and
//! [`refusal`]'s words.

use crate::entry::{Link, TableId};
use crate::error::{Error, Result};
use crate::mapping::{Layout, TableMap};
use crate::schema::TableName;

use super::engine::{Engine, Mode};
use super::sql::{Cells, Sql, control_table};
use super::{Fence, Gate, Side};

/// Refuses until `deadline_ms`.
pub const FENCE: i64 = 1;
/// Refuses for good.
pub const OWNER: i64 = 2;

/// The store's part in the plan: a link's source is the plan's target on the way back.
pub fn plan_side(layout: &Layout, side: Side) -> Side {
    match (layout.link(), side) {
        (Link::Forward, side) => side,
        (Link::Reverse, Side::Source) => Side::Target,
        (Link::Reverse, Side::Target) => Side::Source,
    }
}

/// The gate's table, in the control tables of the forward link: both links speak of the same gate.
pub fn gate_table(layout: &Layout, side: Side) -> &'static str {
    match plan_side(layout, side) {
        Side::Source => "gate_source",
        Side::Target => "gate_target",
    }
}

/// What a refused write is told; `table` has at most [`TABLE_MAX`] characters where a message is limited to 128.
pub fn refusal(table: &str) -> String {
    format!(
        "migrate: writes to {table} are refused now, \
         this store does not own its rows: read the route and try again"
    )
}

pub const TABLE_MAX: usize = 29;

/// The side's tables, each once, with the least number of its pairs.
pub fn tables(layout: &Layout, side: Side) -> Vec<(TableId, &TableName)> {
    let of = |m: &'_ TableMap| match side {
        Side::Source => m.source.clone(),
        Side::Target => m.target.clone(),
    };
    let mut maps: Vec<&TableMap> = layout.tables.iter().collect();
    maps.sort_by_key(|m| m.id);
    let first = |(i, m): &(usize, &&TableMap)| !maps[..*i].iter().any(|other| of(other) == of(m));
    let found = maps.iter().enumerate().filter(first);
    found.map(|(_, m)| (m.id, if side == Side::Source { &m.source } else { &m.target })).collect()
}

/// Makes the rows where they are missing, and hangs the triggers where they must hang from the beginning.
pub async fn make<E: Engine>(e: &E, layout: &Layout, side: Side, grantee: &str, closed: bool) -> Result<()> {
    // As the rows are, which may be older than what is asked for.
    let shut = mark(e, layout, side, closed).await?;
    if shut || E::GATE_HANGS { e.hang_gate(layout, side, grantee).await } else { Ok(()) }
}

/// Only the rows, where they are missing: who owns is written down, and nobody is refused. Whether it is closed.
pub async fn mark<E: Engine>(e: &E, layout: &Layout, side: Side, closed: bool) -> Result<bool> {
    let mut tx = e.begin(Mode::Install).await?;
    let (m, table) = (layout.base(), gate_table(layout, side));
    for id in [FENCE, OWNER] {
        let sql = Sql::new(e, m).push("INSERT INTO ").control(table).push(" (id, closed, deadline_ms, turn) SELECT ");
        let sql = sql.arg(id).push(", ").arg(i64::from(closed)).push(", 0, 0 WHERE NOT EXISTS (SELECT 1 FROM ");
        sql.control(table).push(" WHERE id = ").arg(id).push(")").execute(&mut tx).await?;
    }
    let shut = look_in(e, &mut tx, layout, side).await?.closed;
    e.commit(tx).await?;
    Ok(shut)
}

pub async fn exists<E: Engine>(e: &E, migration: &str, side: Side) -> Result<bool> {
    let named = if side == Side::Source { "gate_source" } else { "gate_target" };
    if e.describe(&control_table::<E>(migration, named)).await?.is_none() {
        return Ok(false);
    }
    let mut tx = e.begin(Mode::Look).await?;
    let rows = Sql::new(e, migration).push("SELECT id FROM ").control(named).all(&mut tx).await?;
    Ok(!rows.is_empty())
}

pub async fn look<E: Engine>(e: &E, layout: &Layout, side: Side) -> Result<Gate> {
    let mut tx = e.begin(Mode::Look).await?;
    look_in(e, &mut tx, layout, side).await
}

pub async fn look_in<E: Engine>(e: &E, tx: &mut E::Tx, layout: &Layout, side: Side) -> Result<Gate> {
    let sql = Sql::new(e, layout.base()).push("SELECT id, closed, deadline_ms, turn, ").push(E::NOW_MS);
    let rows = sql.push(" FROM ").control(gate_table(layout, side)).all(tx).await?;
    let row = |id: i64| rows.iter().find(|r| r.int(0) == id);
    let (Some(fence), Some(owner)) = (row(FENCE), row(OWNER)) else {
        return Err(Error::changed("the gate's rows are gone from the migration's control tables")
            .hint("`migrate status PLAN` shows what is left; nothing is decided without them"));
    };
    Ok(Gate {
        fenced: fence.int(1) != 0,
        deadline_ms: fence.int(2),
        cut: fence.uint(3),
        closed: owner.int(1) != 0,
        turn: owner.uint(3),
        now_ms: owner.int(4),
    })
}

/// What the rows say from now on; the triggers are the engine's matter.
pub async fn set_fence<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    layout: &Layout,
    side: Side,
    closed: bool,
    deadline_ms: i64,
    cut: u64,
) -> Result<()> {
    let sql = Sql::new(e, layout.base()).push("UPDATE ").control(gate_table(layout, side));
    let sql = sql.push(" SET closed = ").arg(i64::from(closed)).push(", deadline_ms = ").arg(deadline_ms);
    sql.push(", turn = ").arg(cut).push(" WHERE id = ").arg(FENCE).execute(tx).await.map(drop)
}

pub async fn set_owner<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    layout: &Layout,
    side: Side,
    closed: bool,
    turn: u64,
) -> Result<()> {
    let sql = Sql::new(e, layout.base()).push("UPDATE ").control(gate_table(layout, side));
    let sql = sql.push(" SET closed = ").arg(i64::from(closed)).push(", turn = ").arg(turn);
    sql.push(" WHERE id = ").arg(OWNER).execute(tx).await.map(drop)
}

/// From the return on no write of the application is accepted until the deadline, which comes back.
pub async fn fence<E: Engine>(e: &E, layout: &Layout, side: Side, fence: &Fence<'_>) -> Result<i64> {
    let deadline_ms = now(e).await? + fence.pause_ms;
    e.shut_gate(layout, side, fence, deadline_ms).await?;
    Ok(deadline_ms)
}

async fn now<E: Engine>(e: &E) -> Result<i64> {
    let mut tx = e.begin(Mode::Look).await?;
    let row = Sql::new(e, "").push("SELECT ").push(E::NOW_MS).first(&mut tx).await?;
    Ok(row.map(|r| r.int(0)).unwrap_or_default())
}

/// How long an act that nobody waits for may keep writers waiting for a row.
const ROW_WAIT_MS: i64 = 300;

/// Takes the fence away. The owner's row stays as it is.
pub async fn unfence<E: Engine>(e: &E, layout: &Layout, side: Side) -> Result<()> {
    let mut tx = e.begin(Mode::Install).await?;
    e.take_gate(&mut tx, layout, side, FENCE, ROW_WAIT_MS).await?;
    set_fence(e, &mut tx, layout, side, true, 0, 0).await?;
    // Read behind that lock, so that nobody closes it now.
    if !look_in(e, &mut tx, layout, side).await?.closed {
        set_fence(e, &mut tx, layout, side, false, 0, 0).await?;
    }
    e.commit(tx).await?;
    e.free_gate(layout, side).await
}
