//! The decision of a cut over: one transaction at the sender, after which there is only forward.
//!
//! It locks the owner's row of the gate before it looks at anything: writers that passed an expired fence hold that row
//! until they have committed, and none passes afterwards. Then, with a snapshot of its own for each statement, it
//! proves that the fence still counts, that nothing was sealed since the fence entry, and that no key is dirty. So
//! clocks are not trusted alone. The `open` entry is chained in the same transaction.

use crate::entry::{Codec, Control, Refs};
use crate::error::{Error, Result};

use super::engine::{Engine, Mode};
use super::seal::Sealing;
use super::sql::{Sql, dirty_table};
use super::{Decided, SealRequest, Side, gate};

/// For writers that passed an expired fence and have not ended.
const LOCK_MS: i64 = 900;

pub async fn decide<E: Engine>(e: &E, codec: &dyn Codec, req: &SealRequest<'_>, cut: u64) -> Result<Decided> {
    let mut s = Sealing::new(e, codec, req);
    let mut tx = e.begin(Mode::Control).await?;
    for row in [gate::FENCE, gate::OWNER] {
        e.take_gate(&mut tx, req.layout, Side::Source, row, LOCK_MS).await?;
    }
    let before = gate::look_in(e, &mut tx, req.layout, Side::Source).await?;
    let turn = before.turn + 1;
    gate::set_owner(e, &mut tx, req.layout, Side::Source, true, turn).await?;
    s.prove(&mut tx).await?;
    if let Some(why) = refuses(e, &mut tx, req, before.turn, turn, cut).await? {
        return Ok(Decided::No(why));
    }
    s.append(&mut tx, Refs::Control(Control::Open { turn }), vec![]).await?;
    e.commit(tx).await?;
    Ok(Decided::Open { turn, sealed: s.into_sealed() })
}

async fn refuses<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    req: &SealRequest<'_>,
    before: u64,
    turn: u64,
    cut: u64,
) -> Result<Option<String>> {
    let gate = gate::look_in(e, tx, req.layout, Side::Source).await?;
    if gate.turn != turn || before + 1 != turn {
        return Err(Error::retry("the gate was changed by somebody else"));
    }
    if !gate.fenced || gate.cut != cut {
        return Ok(Some("the fence of this attempt is gone".to_owned()));
    }
    if gate.now_ms >= gate.deadline_ms {
        return Ok(Some("the write pause took longer than \"max_write_pause\"".to_owned()));
    }
    for map in &req.layout.tables {
        let sql = Sql::new(e, &req.layout.migration).push("SELECT seq FROM ").control(&dirty_table(map.id));
        if sql.push(" LIMIT 1").first(tx).await?.is_some() {
            return Ok(Some(format!("a write on \"{}\" was accepted after the fence", map.source)));
        }
    }
    Ok(None)
}
