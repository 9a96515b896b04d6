//! The lease: a row with an epoch and an expiry by the database's clock. The expiry is for liveness only; safety is
//! the epoch, which every write of the holder proves in its own transaction.

use crate::entry::{Epoch, Generation, Hash, Link, Mark, Position};
use crate::error::{Context, Error, Kind, Result};

use super::control;
use super::engine::{Engine, Mode};
use super::sql::{Cells, Sql, link_table};
use super::{Lease, LinkState, Side};

/// Setting of either side: `EPOCH EXPIRES_MS`.
const ALIVE: &str = "alive";

/// As committed; a sign of life of the lease's own epoch counts as its expiry.
pub async fn state<E: Engine>(e: &E, m: &str, link: Link, side: Side) -> Result<LinkState> {
    let mut tx = e.begin(Mode::Look).await?;
    let mut state = state_in(e, &mut tx, m, link, side).await?;
    if let Some(alive) = control::get_in(e, &mut tx, m, side, ALIVE).await?
        && let Some((epoch, expires_ms)) = alive.split_once(' ')
        && epoch.parse() == Ok(state.lease_epoch.0)
        && state.holder.is_some()
    {
        state.expires_ms = state.expires_ms.max(expires_ms.parse().unwrap_or_default());
    }
    Ok(state)
}

pub async fn state_in<E: Engine>(e: &E, tx: &mut E::Tx, m: &str, link: Link, side: Side) -> Result<LinkState> {
    let row = Sql::new(e, m)
        .push(
            "SELECT generation, position, hash, epoch, lease_epoch, holder, since_ms, expires_ms, lag_ms, confirmed, ",
        )
        .push(E::NOW_MS)
        .push(" FROM ")
        .control(link_table(side))
        .push(" WHERE name = ")
        .arg(link.name())
        .first(tx)
        .await?;
    let Some(r) = row else {
        return Err(Error::changed("the migration's own row is gone from its control tables")
            .hint("remove what is left of it with `migrate abort PLAN`, then `migrate apply PLAN`"));
    };
    let mark = Mark { generation: Generation(r.uint(0)), position: Position(r.uint(1)), hash: hash(&r.bytes(2)) };
    Ok(LinkState {
        mark,
        epoch: Epoch(r.uint(3)),
        lease_epoch: Epoch(r.uint(4)),
        holder: r.opt_text(5),
        since_ms: r.int(6),
        expires_ms: r.int(7),
        lag_ms: r.int(8),
        confirmed: Position(r.uint(9)),
        now_ms: r.int(10),
    })
}

pub fn hash(bytes: &[u8]) -> Hash {
    Hash(bytes.try_into().unwrap_or_default())
}

pub async fn take<E: Engine>(e: &E, m: &str, link: Link, side: Side, holder: &str, ttl_ms: i64) -> Result<Lease> {
    let before = state(e, m, link, side).await?;
    if let Some(other) = before.holder.as_ref().filter(|other| *other != holder) {
        if before.expires_ms >= before.now_ms {
            return Err(held(&before));
        }
        e.end_sessions(other).await.context("ending the sessions of the holder before")?;
    }
    let mut tx = e.begin(Mode::Control).await?;
    let taken = Sql::new(e, m)
        .push("UPDATE ")
        .control(link_table(side))
        .push(" SET lease_epoch = lease_epoch + 1, since_ms = CASE WHEN holder = ")
        .arg(holder)
        .push(" THEN since_ms ELSE ")
        .push(E::NOW_MS)
        .push(" END, holder = ")
        .arg(holder)
        .push(", expires_ms = ")
        .push(E::NOW_MS)
        .push(" + ")
        .arg(ttl_ms)
        .push(" WHERE name = ")
        .arg(link.name())
        .push(" AND (holder IS NULL OR holder = ")
        .arg(holder)
        .push(" OR expires_ms < ")
        .push(E::NOW_MS)
        .push(")")
        .execute(&mut tx)
        .await
        .map_err(hangs)?;
    let state = state_in(e, &mut tx, m, link, side).await?;
    if taken != 1 {
        return Err(held(&state));
    }
    e.commit(tx).await?;
    Ok(Lease { link, side, epoch: state.lease_epoch, holder: holder.to_owned(), ttl_ms })
}

/// A lock on the lease's row: its holder stopped, or lost its machine, with a transaction open.
fn hangs(error: Error) -> Error {
    if !error.is_retry() {
        return error;
    }
    error.context("taking the lease").hint("if its holder hangs, the store lets go of it within seconds: run it again")
}

fn held(state: &LinkState) -> Error {
    let holder = state.holder.as_deref().unwrap_or("nobody");
    let (since, left) = ((state.now_ms - state.since_ms).max(0), (state.expires_ms - state.now_ms).max(0));
    let text =
        format!("\"{holder}\" holds the migration since {} s, its lease runs for {} ms more", since / 1000, left);
    Error::new(Kind::Locked, text).hint(
        "stop that process, or wait: if it is dead the lease passes on when it expires; `migrate status PLAN` shows it",
    )
}

/// The lost lease, said of the one who holds it now.
pub fn lost(state: &LinkState, lease: &Lease) -> Error {
    let holder = state.holder.as_deref().unwrap_or("nobody");
    let text = format!(
        "the lease of epoch {} is lost: \"{holder}\" holds epoch {} at generation {}, position {}",
        lease.epoch, state.lease_epoch, state.mark.generation, state.mark.position
    );
    Error::new(Kind::Locked, text).hint("`migrate status PLAN` shows who runs it now")
}

pub async fn renew<E: Engine>(e: &E, m: &str, lease: &Lease) -> Result<()> {
    let mut tx = e.begin(Mode::Control).await?;
    let set = Sql::new(e, m).push("UPDATE ").control(link_table(lease.side)).push(" SET expires_ms = ").push(E::NOW_MS);
    if ours(set.push(" + ").arg(lease.ttl_ms), lease).execute(&mut tx).await? != 1 {
        return Err(lost(&state_in(e, &mut tx, m, lease.link, lease.side).await?, lease));
    }
    e.commit(tx).await
}

/// Says that the holder lives, beside the lease's row, which a long transaction of the holder itself may have locked.
/// It keeps others from taking over, and proves nothing.
pub async fn say_alive<E: Engine>(e: &E, m: &str, lease: &Lease) -> Result<()> {
    let mut tx = e.begin(Mode::Control).await?;
    let alive = format!("{} {}", lease.epoch, control::now_in(e, &mut tx).await? + lease.ttl_ms);
    control::put_in(e, &mut tx, m, lease.side, ALIVE, &alive).await?;
    e.commit(tx).await
}

pub async fn release<E: Engine>(e: &E, m: &str, lease: &Lease) -> Result<()> {
    let mut tx = e.begin(Mode::Control).await?;
    let set = Sql::new(e, m).push("UPDATE ").control(link_table(lease.side)).push(" SET holder = NULL, expires_ms = 0");
    ours(set, lease).execute(&mut tx).await?;
    e.commit(tx).await
}

pub async fn raise_epoch<E: Engine>(e: &E, m: &str, lease: &Lease, above: Epoch) -> Result<Lease> {
    let epoch = Epoch(above.0.max(lease.epoch.0) + 1);
    let mut tx = e.begin(Mode::Control).await?;
    let set = Sql::new(e, m).push("UPDATE ").control(link_table(lease.side)).push(" SET lease_epoch = ").arg(epoch.0);
    if ours(set, lease).execute(&mut tx).await? != 1 {
        return Err(lost(&state_in(e, &mut tx, m, lease.link, lease.side).await?, lease));
    }
    e.commit(tx).await?;
    Ok(Lease { epoch, ..lease.clone() })
}

/// What [`ours`] asks, of a row that was read: a lease that was given back is lost too, at the same epoch.
pub fn is_ours(state: &LinkState, lease: &Lease) -> bool {
    state.lease_epoch == lease.epoch && state.holder.as_ref() == Some(&lease.holder)
}

/// The guard of everything that a holder writes: its name and its epoch.
pub fn ours<'e, E: Engine>(sql: Sql<'e, E>, lease: &Lease) -> Sql<'e, E> {
    let sql = sql.push(" WHERE name = ").arg(lease.link.name()).push(" AND holder = ").arg(lease.holder.as_str());
    sql.push(" AND lease_epoch = ").arg(lease.epoch.0)
}

/// The same, and the mark must be where the holder thinks it is.
pub fn ours_at<'e, E: Engine>(sql: Sql<'e, E>, lease: &Lease, at: &Mark) -> Sql<'e, E> {
    let sql = ours(sql, lease).push(" AND generation = ").arg(at.generation.0);
    sql.push(" AND position = ").arg(at.position.0).push(" AND hash = ").arg(at.hash.0.to_vec())
}
