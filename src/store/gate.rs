//! The gate: whether a store takes the application's writes on a migration's tables.
//!
//! Two rows say it. The *fence* refuses until a deadline by the database's own clock, and so opens again by itself when
//! everything of ours dies. The *owner's* row refuses for good; the decision sets it, and only the `open` entry of the
//! other side's decision takes it back. They are two, since a refused statement may keep a lock on what refused it.
//!
//! A scope that changes its owner by itself has an owner's row of its own, made before anything is fenced (*named*). The
//! first owner's row then speaks of the rest. The fence says which of them it covers.
//!
//! A writer that finds the fence expired locks the owner's row in share mode: the decision, which changes that row,
//! waits for it, and a snapshot older than the decision can't get the lock (or sees it). So no statement slips between.
//! The applier of either link passes always.
//!
//! An owner's row is closed only by who has the fence's row locked, and closed: `unfence` takes that lock first, and
//! opens the fence's row only where every owner's is open. So an open fence's row means an open gate.
//!
//! A refused write gets SQLSTATE `MG002` (PostgreSQL), 45000 (MySQL) or an aborted statement (SQLite), and
//! [`refusal`]'s words.

use crate::entry::{Link, Scopes, TableId, Turn};
use crate::error::{Error, Result};
use crate::mapping::{Layout, TableMap};
use crate::schema::TableName;

use super::engine::{Engine, Mode};
use super::sql::{Cells, Sql, control_table};
use super::{Side, control};

/// Refuses until `deadline_ms`.
pub const FENCE: i64 = 1;
/// Refuses for good: the rest, or everything. Scopes that are named have the numbers behind it.
pub const OWNER: i64 = 2;
/// Characters of a scope that can be named.
pub const SCOPE_MAX: usize = 190;

/// Whether a store takes the application's writes on a migration's tables, by the rows of this module. What is said of
/// everything is said of every scope that is not named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// Refused until the deadline, by the database's clock; then `closed` alone counts.
    pub fenced: bool,
    pub deadline_ms: i64,
    /// The attempt that fenced it.
    pub cut: u64,
    /// Refused for good: the other side owns the data, or will when it hears of it.
    pub closed: bool,
    /// Changes of owner that this store knows of.
    pub turn: u64,
    /// The fence is for these rows too.
    pub covered: bool,
    pub now_ms: i64,
    /// Scopes that were ever named, sorted.
    pub scopes: Vec<ScopeGate>,
}

/// The same of one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeGate {
    pub id: i64,
    pub scope: String,
    pub closed: bool,
    pub turn: u64,
    pub covered: bool,
}

/// A fence to be made.
#[derive(Debug, Clone, Copy)]
pub struct Fence<'a> {
    /// How long it holds if nobody decides.
    pub pause_ms: i64,
    /// How long it may wait for the locks of one table, at most; writers of that table wait no longer either.
    pub lock_timeout_ms: i64,
    pub cut: u64,
    /// The daily login, whose applier passes.
    pub grantee: &'a str,
    /// Named before; `None`: everything that this store owns.
    pub scopes: Option<&'a [String]>,
}

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

/// The column by whose value this side tells one of its tables' rows apart; none where ownership is not divided.
pub fn scope_column<'a>(layout: &'a Layout, side: Side, table: &TableName) -> Option<&'a str> {
    if !layout.is_scoped() {
        return None;
    }
    let of = |m: &TableMap| if side == Side::Source { m.source == *table } else { m.target == *table };
    let (source, target, _) = layout.tables.iter().find(|m| of(m))?.scope_columns()?;
    Some(if side == Side::Source { source } else { &target.name })
}

impl Gate {
    /// What this store owns.
    pub fn owned(&self) -> Scopes {
        self.scopes_where(|part| !part.closed)
    }

    /// What the fence is for.
    pub fn covered_scopes(&self) -> Scopes {
        self.scopes_where(|part| part.covered)
    }

    fn scopes_where(&self, holds: impl Fn(&Part<'_>) -> bool) -> Scopes {
        let rest = holds(&self.part(None));
        let other = self.parts().filter(|part| holds(part) != rest).filter_map(|part| part.scope.map(str::to_owned));
        Scopes { rest, except: other.collect() }
    }

    /// The rest and each named scope: its row, whether it is closed, and its turn.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let rest = Part { id: OWNER, scope: None, closed: self.closed, turn: self.turn, covered: self.covered };
        std::iter::once(rest).chain(self.scopes.iter().map(|s| Part {
            id: s.id,
            scope: Some(&s.scope),
            closed: s.closed,
            turn: s.turn,
            covered: s.covered,
        }))
    }

    /// A scope that is not named is as the rest.
    pub fn part<'a>(&'a self, scope: Option<&'a str>) -> Part<'a> {
        let rest = Part { id: OWNER, scope, closed: self.closed, turn: self.turn, covered: self.covered };
        self.parts().find(|p| p.scope == scope).unwrap_or(rest)
    }

    pub fn is_open(&self) -> bool {
        self.parts().all(|p| !p.closed)
    }

    /// A fence that still refuses, by the store's clock at the time of looking.
    pub fn is_fenced(&self) -> bool {
        self.fenced && self.now_ms < self.deadline_ms
    }

    /// Changes of owner that this store knows of, all in all.
    pub fn turns(&self) -> u64 {
        self.parts().map(|p| p.turn).sum()
    }
}

/// What changes its owner as one: a named scope, or (`None`) all the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    pub id: i64,
    pub scope: Option<&'a str>,
    pub closed: bool,
    pub turn: u64,
    pub covered: bool,
}

impl Part<'_> {
    pub fn at(&self, turn: u64) -> Turn {
        Turn { scope: self.scope.map(str::to_owned), turn }
    }
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
        let sql = Sql::new(e, m).push("INSERT INTO ").control(table);
        let sql = sql.push(" (id, closed, deadline_ms, turn, fenced) SELECT ").arg(id).push(", ");
        let sql = sql.arg(i64::from(closed)).push(", 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM ");
        sql.control(table).push(" WHERE id = ").arg(id).push(")").execute(&mut tx).await?;
    }
    let shut = !look_in(e, &mut tx, layout, side).await?.is_open();
    e.commit(tx).await?;
    Ok(shut)
}

/// Gives each of these scopes a row, which says what the rest's says; where triggers hang already they learn of them.
pub async fn name<E: Engine>(e: &E, layout: &Layout, side: Side, grantee: &str, scopes: &[String]) -> Result<()> {
    let mut tx = e.begin(Mode::Install).await?;
    e.take_gate(&mut tx, layout, side, FENCE, ROW_WAIT_MS).await?;
    let gate = look_in(e, &mut tx, layout, side).await?;
    let mut id = gate.parts().map(|p| p.id).max().unwrap_or(OWNER);
    for scope in scopes.iter().filter(|s| gate.scopes.iter().all(|g| g.scope != **s)) {
        id += 1;
        insert(e, &mut tx, layout, side, id, &Turn { scope: Some(scope.clone()), turn: gate.turn }, gate.closed)
            .await?;
    }
    e.commit(tx).await?;
    if !gate.is_open() || gate.fenced || E::GATE_HANGS { e.hang_gate(layout, side, grantee).await } else { Ok(()) }
}

async fn insert<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    layout: &Layout,
    side: Side,
    id: i64,
    part: &Turn,
    closed: bool,
) -> Result<()> {
    let sql = Sql::new(e, layout.base()).push("INSERT INTO ").control(gate_table(layout, side));
    let sql = sql.push(" (id, closed, deadline_ms, turn, scope, fenced) VALUES (").arg(id).push(", ");
    let sql = sql.arg(i64::from(closed)).push(", 0, ").arg(part.turn).push(", ");
    let sql = sql.arg(e.scope(part.scope.as_deref().unwrap_or_default())).push(", 0)");
    sql.execute(tx).await.map(drop)
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
    let rows = sql.push(", fenced, scope FROM ").control(gate_table(layout, side)).all(tx).await?;
    let row = |id: i64| rows.iter().find(|r| r.int(0) == id);
    let (Some(fence), Some(owner)) = (row(FENCE), row(OWNER)) else {
        return Err(Error::changed("the gate's rows are gone from the migration's control tables")
            .hint("`migrate status PLAN` shows what is left; nothing is decided without them"));
    };
    let named = |r: &Vec<crate::value::Value>| ScopeGate {
        id: r.int(0),
        scope: r.opt_text(6).unwrap_or_else(|| String::from_utf8_lossy(&r.bytes(6)).into_owned()),
        closed: r.int(1) != 0,
        turn: r.uint(3),
        covered: r.int(5) != 0,
    };
    let mut scopes: Vec<ScopeGate> = rows.iter().filter(|r| r.int(0) > OWNER).map(named).collect();
    scopes.sort_by(|a, b| a.scope.cmp(&b.scope));
    Ok(Gate {
        fenced: fence.int(1) != 0,
        deadline_ms: fence.int(2),
        cut: fence.uint(3),
        closed: owner.int(1) != 0,
        turn: owner.uint(3),
        covered: owner.int(5) != 0,
        now_ms: owner.int(4),
        scopes,
    })
}

/// What the fence's row says from now on; the triggers are the engine's matter.
async fn set_fence<E: Engine>(
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

/// The fence refuses until the deadline what it covers.
pub async fn arm<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    layout: &Layout,
    side: Side,
    fence: &Fence<'_>,
    deadline_ms: i64,
) -> Result<()> {
    set_fence(e, tx, layout, side, true, deadline_ms, fence.cut).await?;
    let gate = look_in(e, tx, layout, side).await?;
    let asked = |p: &Part<'_>| match (fence.scopes, p.scope) {
        (None, _) => true,
        (Some(scopes), Some(scope)) => scopes.iter().any(|s| s == scope),
        (Some(_), None) => false,
    };
    for part in gate.parts() {
        cover(e, tx, layout, side, &part, asked(&part) && !part.closed).await?;
    }
    Ok(())
}

async fn cover<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    layout: &Layout,
    side: Side,
    part: &Part<'_>,
    covered: bool,
) -> Result<()> {
    if part.covered == covered {
        return Ok(());
    }
    let sql = Sql::new(e, layout.base()).push("UPDATE ").control(gate_table(layout, side)).push(" SET fenced = ");
    sql.arg(i64::from(covered)).push(" WHERE id = ").arg(part.id).execute(tx).await.map(drop)
}

/// The fence is gone; its row stays closed where an owner's is.
async fn disarm<E: Engine>(e: &E, tx: &mut E::Tx, layout: &Layout, side: Side) -> Result<()> {
    let gate = look_in(e, tx, layout, side).await?;
    for part in gate.parts() {
        cover(e, tx, layout, side, &part, false).await?;
    }
    set_fence(e, tx, layout, side, !gate.is_open(), 0, 0).await
}

pub async fn set_owner<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    layout: &Layout,
    side: Side,
    id: i64,
    closed: bool,
    turn: u64,
) -> Result<()> {
    let sql = Sql::new(e, layout.base()).push("UPDATE ").control(gate_table(layout, side));
    let sql = sql.push(" SET closed = ").arg(i64::from(closed)).push(", turn = ").arg(turn);
    sql.push(" WHERE id = ").arg(id).execute(tx).await.map(drop)
}

/// From this transaction on this store takes the application's writes of these rows. Told twice it changes nothing; told
/// late, by a sender that was restored from before a later change of owner, neither.
pub async fn open<E: Engine>(e: &E, tx: &mut E::Tx, layout: &Layout, turns: &[Turn]) -> Result<()> {
    let gate = look_in(e, tx, layout, Side::Target).await?;
    let mut id = gate.parts().map(|p| p.id).max().unwrap_or(OWNER);
    let mut changed = false;
    for told in turns {
        let part = gate.part(told.scope.as_deref());
        if part.turn >= told.turn {
            continue;
        }
        changed = true;
        if part.scope.is_some() && part.id == OWNER {
            id += 1;
            insert(e, tx, layout, Side::Target, id, told, false).await?;
        } else {
            set_owner(e, tx, layout, Side::Target, part.id, false, told.turn).await?;
        }
    }
    if changed && !gate.is_fenced() {
        disarm(e, tx, layout, Side::Target).await?;
    }
    Ok(())
}

/// From the return on no write of the application is accepted until the deadline, which comes back.
pub async fn fence<E: Engine>(e: &E, layout: &Layout, side: Side, fence: &Fence<'_>) -> Result<i64> {
    let deadline_ms = control::now_ms(e).await? + fence.pause_ms;
    e.shut_gate(layout, side, fence, deadline_ms).await?;
    Ok(deadline_ms)
}

/// How long an act that nobody waits for may keep writers waiting for a row.
const ROW_WAIT_MS: i64 = 300;

/// Takes the fence away. The owner's row stays as it is.
pub async fn unfence<E: Engine>(e: &E, layout: &Layout, side: Side) -> Result<()> {
    let mut tx = e.begin(Mode::Install).await?;
    e.take_gate(&mut tx, layout, side, FENCE, ROW_WAIT_MS).await?;
    set_fence(e, &mut tx, layout, side, true, 0, 0).await?;
    // The owners' rows are read behind that lock, so that nobody closes one now.
    disarm(e, &mut tx, layout, side).await?;
    e.commit(tx).await?;
    e.free_gate(layout, side).await
}

/// As a person decided: no fence is left, and every part has this turn.
pub async fn name_turn<E: Engine>(
    e: &E,
    layout: &Layout,
    side: Side,
    grantee: &str,
    closed: Option<bool>,
    turn: u64,
) -> Result<()> {
    let mut tx = e.begin(Mode::Install).await?;
    e.take_gate(&mut tx, layout, side, FENCE, ROW_WAIT_MS).await?;
    set_fence(e, &mut tx, layout, side, true, 0, 0).await?;
    let gate = look_in(e, &mut tx, layout, side).await?;
    for part in gate.parts() {
        e.take_gate(&mut tx, layout, side, part.id, ROW_WAIT_MS).await?;
        set_owner(e, &mut tx, layout, side, part.id, closed.unwrap_or(part.closed), turn).await?;
    }
    disarm(e, &mut tx, layout, side).await?;
    e.commit(tx).await?;
    match closed {
        Some(true) => e.hang_gate(layout, side, grantee).await,
        Some(false) => e.free_gate(layout, side).await,
        None => Ok(()),
    }
}
