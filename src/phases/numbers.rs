//! Generated numbers at a change of owner: the taker goes on behind what the giver has given out, rows or no rows.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::mapping::{Origin, TableMap};
use crate::schema::TableName;

use super::session::Session;
use super::way::Way;

impl Session {
    /// The giver is fenced, so nothing is given out there any more. Only ever raises, so it may be repeated. `parted`: but
    /// for columns of which each store has a range of its own.
    pub(super) async fn carry_numbers(&self, way: &Way, parted: bool) -> Result<()> {
        let is_left = |map: &TableMap, i: usize| parted && map.ranged == Some(i);
        let mut wanted: BTreeMap<(&TableName, &str), i64> = BTreeMap::new();
        for map in &way.layout.tables {
            let given = way.sender_admin.next_numbers(&map.source).await?;
            for (_, wire) in map.columns.iter().enumerate().filter(|(i, _)| !is_left(map, *i)) {
                let Origin::Column(name) = &wire.origin else { continue };
                let Some((_, next)) = given.iter().find(|(column, _)| column == name) else { continue };
                let at = wanted.entry((&map.target, wire.target.name.as_str())).or_insert(*next);
                *at = (*at).max(*next);
            }
        }
        for map in &way.layout.tables {
            for (column, next) in way.receiver_admin.next_numbers(&map.target).await? {
                let place = map.columns.iter().position(|w| w.target.name == column);
                if place.is_some_and(|i| is_left(map, i)) {
                    continue;
                }
                // Where the giver does not count, what is there does.
                let next = wanted.get(&(&map.target, column.as_str())).copied().unwrap_or(next);
                self.patiently(|| way.receiver_admin.raise_number(&map.target, &column, next, None)).await?;
            }
        }
        Ok(())
    }
}
