//! Rehearsing the way back: real rows of the giver-to-be, written into this store as the reverse link would write them,
//! in a transaction that is rolled back. What they would change, and what is refused, is what a rollback would lose.

use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::mapping::Layout;
use crate::value::{Key, Row};

use super::apply::write::{Op, Writer};
use super::engine::{Engine, Mode};
use super::read::Reader;
use super::{Rehearsed, Side};

/// Each row over the one that is here, and anew where it had gone. Nothing stays.
pub async fn rehearse<E: Engine>(e: &E, layout: &Layout, table: TableId, rows: &[Row]) -> Result<Rehearsed> {
    let map = layout.table(table).ok_or_else(|| Error::changed("the plan has no such table"))?;
    let keys: Vec<Key> = rows.iter().map(|row| map.key_of(row)).collect();
    let reader = Reader::new(e, &layout.migration, map, Side::Target);
    let mut tx = e.begin(Mode::Apply { layout, backfill: false }).await?;
    e.mark_applier(&mut tx, layout.base()).await?;
    let before = reader.look_up(&mut tx, &keys).await?;
    // A row that is on its way just now says nothing.
    let same: Vec<usize> = (0..rows.len()).filter(|&i| before[i].as_ref() == Some(&rows[i])).collect();
    let mut done = Rehearsed { rows: same.len() as u64, ..Rehearsed::default() };
    let writer = Writer { e, layout };
    let op = |&i: &usize, row| Op { table, key: &keys[i], row };
    let over: Vec<Op<'_>> = same.iter().map(|i| op(i, Some(&rows[*i]))).collect();
    done.refused.extend(writer.write(&mut tx, &over).await?.into_iter().map(|(_, why)| why));
    let after = reader.look_up(&mut tx, &keys).await?;
    for &i in &same {
        let Some(row) = &after[i] else { continue };
        let changed = (0..map.columns.len()).filter(|&c| row.get(c) != rows[i].get(c));
        done.changed.extend(changed.map(|c| map.columns[c].target.name.clone()));
    }
    // Anew: where others refer to the row it can't go, and says nothing.
    let gone: Vec<Op<'_>> = same.iter().map(|i| op(i, None)).collect();
    e.savepoint(&mut tx).await?;
    if writer.write_all(&mut tx, &gone).await? {
        done.refused.extend(writer.write(&mut tx, &over).await?.into_iter().map(|(_, why)| why));
        done.anew = same.len() as u64;
    }
    e.rollback_to_savepoint(&mut tx).await?;
    drop(tx);
    done.changed.sort();
    done.changed.dedup();
    done.refused.sort();
    done.refused.dedup();
    Ok(done)
}
