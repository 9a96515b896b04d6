//! The decision of a cut over: one transaction at the sender, after which there is only forward.
//!
//! It locks the owners' rows of what the fence covers before it looks at anything: writers that passed an expired fence
//! hold such a row until they have committed, and none passes afterwards. Then, with a snapshot of its own for each
//! statement, it proves that the fence still counts and that no key of what it covers is dirty; the relay knows that
//! none was sealed since the fence entry. So clocks are not trusted alone. The `open` entry is chained in the same
//! transaction.

use crate::entry::{Codec, Control, Refs, Turn};
use crate::error::{Error, Result};
use crate::mapping::Layout;

use super::engine::{Engine, Mode};
use super::read::among_scopes;
use super::seal::Sealing;
use super::sql::{Sql, dirty_table};
use super::{Decided, Gate, SealRequest, Side, gate};

/// For writers that passed an expired fence and have not ended.
const LOCK_MS: i64 = 900;

pub async fn decide<E: Engine>(e: &E, codec: &dyn Codec, req: &SealRequest<'_>, cut: u64) -> Result<Decided> {
    let mut tx = e.begin(Mode::Control).await?;
    e.take_gate(&mut tx, req.layout, Side::Source, gate::FENCE, LOCK_MS).await?;
    let before = gate::look_in(e, &mut tx, req.layout, Side::Source).await?;
    let owned = req.layout.is_scoped().then(|| before.owned());
    let layout = req.layout.within(owned.as_ref());
    let mut s = Sealing::new(e, codec, req, &layout);
    let mut turns = Vec::new();
    for part in before.parts().filter(|p| p.covered && !p.closed) {
        e.take_gate(&mut tx, req.layout, Side::Source, part.id, LOCK_MS).await?;
        gate::set_owner(e, &mut tx, req.layout, Side::Source, part.id, true, part.turn + 1).await?;
        turns.push(part.at(part.turn + 1));
    }
    s.prove(&mut tx).await?;
    if let Some(why) = refuses(e, &mut tx, req, &before, &turns, cut).await? {
        return Ok(Decided::No(why));
    }
    s.append(&mut tx, Refs::Control(Control::Open { turns: turns.clone() }), vec![]).await?;
    e.commit(tx).await?;
    Ok(Decided::Open { turns, sealed: s.into_sealed() })
}

async fn refuses<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    req: &SealRequest<'_>,
    before: &Gate,
    turns: &[Turn],
    cut: u64,
) -> Result<Option<String>> {
    let gate = gate::look_in(e, tx, req.layout, Side::Source).await?;
    let as_set = |t: &Turn| gate.part(t.scope.as_deref()).turn == t.turn;
    let as_before = |t: &Turn| before.part(t.scope.as_deref()).turn + 1 == t.turn;
    if !turns.iter().all(|t| as_set(t) && as_before(t)) {
        return Err(Error::retry("the gate was changed by somebody else"));
    }
    if !gate.fenced || gate.cut != cut || turns.is_empty() {
        return Ok(Some("the fence of this attempt is gone".to_owned()));
    }
    if gate.now_ms >= gate.deadline_ms {
        return Ok(Some("the write pause took longer than \"max_write_pause\"".to_owned()));
    }
    Ok(first_dirty(e, tx, req.layout, &gate)
        .await?
        .map(|table| format!("a write on \"{table}\" was accepted after the fence")))
}

/// A table with a dirty key of what the fence covers.
pub async fn first_dirty<E: Engine>(e: &E, tx: &mut E::Tx, layout: &Layout, gate: &Gate) -> Result<Option<String>> {
    for map in &layout.tables {
        let mut sql = Sql::new(e, &layout.migration).push("SELECT seq FROM ").control(&dirty_table(map.id));
        if layout.is_scoped() {
            // What we marked ourselves has no scope, and counts as the rest's.
            sql = among_scopes(e, sql.push(" WHERE 1 = 1"), &gate.covered_scopes(), "scope", "scope");
        }
        if sql.push(" LIMIT 1").first(tx).await?.is_some() {
            return Ok(Some(map.source.to_string()));
        }
    }
    Ok(None)
}
