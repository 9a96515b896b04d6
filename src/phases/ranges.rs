//! Numbers while ownership is divided: both stores give them out, so each gets a range of its own before the first scope
//! goes, and both count as one again when everything is one side's.
//!
//! The store that counts by a sequence has the numbers below a boundary, since the other's rows do not move it; the
//! other one has those from the boundary on. Each step may be repeated: the boundary is written down before anything
//! is made by it.

use serde::{Deserialize, Serialize};

use crate::entry::TableId;
use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::mapping::{Layout, TableMap};
use crate::schema;
use crate::schema::{EngineName, TableName};
use crate::store::{NumberRange, Side, Store};
use crate::task::failpoint;

use super::owner::{Owner, Ownership};
use super::session::Session;
use super::survey::Survey;

/// Setting of the source: the boundaries that hold. Empty: none.
const RANGES: &str = "ranges";
/// Numbers that are left to the lower range, at the most, and the least that it can do with.
const ROOM: i64 = 1 << 32;
const LEAST_ROOM: i64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Boundary {
    table: u16,
    /// The first number of the upper range.
    at: i64,
    /// The first of the lower one that its store may give out; none where that store has given out all before.
    lower_from: Option<i64>,
    /// Both triggers hang, and both stores count in their ranges.
    done: bool,
    /// A part of the ownership may have changed sides since.
    used: bool,
}

/// One side of a pair.
struct Counter<'a> {
    side: Side,
    admin: &'a dyn Store,
    daily: &'a dyn Store,
    table: &'a TableName,
    column: &'a str,
}

impl Counter<'_> {
    /// What it would give out next.
    async fn counted(&self) -> Result<i64> {
        let counted = self.admin.next_numbers(self.table).await?;
        Ok(counted.iter().find(|(column, _)| column == self.column).map_or(1, |(_, next)| *next))
    }

    /// Behind all numbers that are there, of those below a bound.
    async fn behind(&self, below: Option<i64>) -> Result<i64> {
        let greatest = self.admin.greatest_number(self.table, self.column, below).await?;
        Ok(greatest.unwrap_or(0).saturating_add(1))
    }

    async fn hang(&self, layout: &Layout, id: TableId, from: Option<i64>, until: Option<i64>) -> Result<()> {
        let range = NumberRange { id, table: self.table.clone(), column: self.column.to_owned(), from, until };
        let grantee = self.daily.who().await?;
        self.admin.hang_range(layout, self.side, &grantee, &range).await
    }
}

impl Session {
    /// None, without a look, where no table has ranges.
    async fn boundaries(&self, layout: &Layout) -> Result<Vec<Boundary>> {
        if layout.tables.iter().all(|map| map.ranged.is_none()) {
            return Ok(vec![]);
        }
        let text = self.source.get(self.migration(), Side::Source, RANGES).await?.unwrap_or_default();
        if text.is_empty() {
            return Ok(vec![]);
        }
        let unreadable = || Error::changed("the ranges of numbers that are written down can't be read");
        serde_json::from_str(&text).map_err(|_| unreadable())
    }

    async fn write_boundaries(&self, boundaries: &[Boundary]) -> Result<()> {
        let text =
            if boundaries.is_empty() { String::new() } else { serde_json::to_string(boundaries).unwrap_or_default() };
        self.source.put(self.migration(), Side::Source, RANGES, &text).await
    }

    pub(super) async fn are_numbers_parted(&self, layout: &Layout) -> Result<bool> {
        Ok(!self.boundaries(layout).await?.is_empty())
    }

    /// The lower range's store and the upper's.
    fn counters<'a>(&'a self, map: &'a TableMap) -> Option<(Counter<'a>, Counter<'a>)> {
        let (source_column, target_column) = map.ranged_columns()?;
        let (source_admin, source) = (self.source_admin.as_ref(), self.source.as_ref());
        let (target_admin, target) = (self.target_admin.as_ref(), self.target.as_ref());
        let source = Counter {
            side: Side::Source,
            admin: source_admin,
            daily: source,
            table: &map.source,
            column: source_column,
        };
        let target = Counter {
            side: Side::Target,
            admin: target_admin,
            daily: target,
            table: &map.target,
            column: &target_column.name,
        };
        // Of the two one counts by a sequence.
        Some(if source.admin.engine() == EngineName::Postgres { (source, target) } else { (target, source) })
    }

    /// Before a part of the ownership changes sides: each store counts in its range, and refuses numbers of the other's.
    pub(super) async fn part_numbers(&self, survey: &Survey) -> Result<()> {
        let layout = survey.layout();
        let mut boundaries = self.boundaries(layout).await?;
        for map in &layout.tables {
            let Some((lower, upper)) = self.counters(map) else { continue };
            let place = boundaries.iter().position(|b| b.table == map.id.0);
            if place.is_some_and(|place| boundaries[place].done) {
                continue;
            }
            let there = lower.counted().await?.max(lower.behind(None).await?).max(upper.behind(None).await?);
            let counted = upper.counted().await?;
            let at = boundary(map, there, counted)?;
            // What the source gave out and deleted again is not given out once more. Moved up already: noted before that.
            let noted = place.and_then(|place| boundaries[place].lower_from);
            let lower_from = (lower.side == Side::Target).then(|| noted.unwrap_or(counted));
            boundaries.retain(|old| old.table != map.id.0);
            boundaries.push(Boundary { table: map.id.0, at, lower_from, done: false, used: false });
            self.write_boundaries(&boundaries).await?;
            failpoint("cutover.parting");
            if let Some(b) = boundaries.last_mut() {
                let doing = || format!("dividing the numbers of \"{}\"", map.source);
                self.part(layout, map, &lower, &upper, b).await.context(doing())?;
            }
            self.write_boundaries(&boundaries).await?;
        }
        Ok(())
    }

    /// Right before a part changes sides: from here on both stores may give out numbers.
    /// Whether there are ranges.
    pub(super) async fn use_ranges(&self, layout: &Layout) -> Result<bool> {
        let mut boundaries = self.boundaries(layout).await?;
        if !boundaries.iter().all(|b| b.used) {
            boundaries.iter_mut().for_each(|b| b.used = true);
            self.write_boundaries(&boundaries).await?;
        }
        Ok(!boundaries.is_empty())
    }

    async fn part(
        &self,
        layout: &Layout,
        map: &TableMap,
        lower: &Counter<'_>,
        upper: &Counter<'_>,
        b: &mut Boundary,
    ) -> Result<()> {
        // The upper store counts from the boundary on before it refuses what is below: no writer is refused its own number.
        self.patiently(|| upper.admin.raise_number(upper.table, upper.column, b.at, None)).await?;
        self.patiently(|| upper.hang(layout, map.id, Some(b.at), None)).await?;
        if lower.side == Side::Target {
            // What the source gave out below the boundary is all there now.
            let counted = Some(lower.counted().await?).filter(|counted| *counted < b.at).unwrap_or(1);
            let next = counted
                .max(b.lower_from.unwrap_or(1))
                .max(lower.behind(Some(b.at)).await?)
                .max(upper.behind(Some(b.at)).await?);
            b.lower_from = Some(next);
            self.patiently(|| lower.admin.raise_number(lower.table, lower.column, next, Some(b.at - 1))).await?;
        }
        self.patiently(|| lower.hang(layout, map.id, b.lower_from, Some(b.at))).await?;
        if lower.side == Side::Source && lower.behind(None).await? > b.at {
            // The next try has another boundary.
            return Err(Error::retry(format!("rows with numbers beyond the boundary {} were written meanwhile", b.at)));
        }
        b.done = true;
        self.reporter.event(&Event::Note(described(map, lower, upper, b)));
        Ok(())
    }

    /// A line for each table whose numbers are parted now.
    pub(super) async fn number_ranges(&self, layout: &Layout) -> Result<Vec<String>> {
        let boundaries = self.boundaries(layout).await?;
        let line = |map: &TableMap| {
            let b = boundaries.iter().find(|b| b.done && b.table == map.id.0)?;
            let (lower, upper) = self.counters(map)?;
            Some(described(map, &lower, &upper, b))
        };
        Ok(layout.tables.iter().filter_map(line).collect())
    }

    /// Everything is one side's again: its store counts on behind both ranges, and refuses no number.
    pub(super) async fn join_numbers(&self, survey: &Survey, ownership: &Ownership) -> Result<()> {
        let layout = survey.layout();
        let Some(owner) = [Owner::Source, Owner::Target].into_iter().find(|side| ownership.owns_all(*side)) else {
            return Ok(());
        };
        let boundaries = self.boundaries(layout).await?;
        if boundaries.is_empty() {
            return Ok(());
        }
        self.patiently(|| self.source_admin.drop_ranges(layout, Side::Source)).await?;
        self.patiently(|| self.target_admin.drop_ranges(layout, Side::Target)).await?;
        failpoint("cutover.joining");
        if boundaries.iter().any(|b| b.used) {
            // Nobody else gives out numbers any more.
            self.carry_numbers(&self.way_of(survey, owner.other())?, false).await?;
        }
        self.write_boundaries(&[]).await
    }
}

fn described(map: &TableMap, lower: &Counter<'_>, upper: &Counter<'_>, b: &Boundary) -> String {
    let (below, from) = (side_name(lower.side), side_name(upper.side));
    format!("new numbers of \"{}\" are below {} at the {below}, from it on at the {from}", map.source, b.at)
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Source => Owner::Source.name(),
        Side::Target => Owner::Target.name(),
    }
}

/// Where the upper range begins. `there`: behind all numbers that are there or that the lower store gave out. `counted`:
/// where the upper store is, which an attempt that came to nothing may have moved far already.
fn boundary(map: &TableMap, there: i64, counted: i64) -> Result<i64> {
    let most = |kind: &schema::Kind| match kind {
        schema::Kind::Int { bits } if *bits < 64 => (1i64 << (bits - 1)) - 1,
        _ => i64::MAX,
    };
    let wire = map.ranged.map(|i| &map.columns[i]);
    let limit = wire.map_or(i64::MAX, |w| most(&w.source_kind).min(most(&w.target.kind)));
    let from = there.max(counted);
    let room = (limit.saturating_sub(from) / 8).min(ROOM);
    if room < LEAST_ROOM {
        let text = format!("the numbers of \"{}\" are nearly used up: there is no room for two ranges", map.source);
        return Err(Error::new(Kind::Gate, text).hint("cut over everything at once (`--all`), or use a wider integer"));
    }
    Ok(if counted.saturating_sub(there) >= LEAST_ROOM { counted } else { from + room })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Kind as K;

    fn at(bits: u8, there: i64, counted: i64) -> Option<i64> {
        let target = crate::schema::Column {
            name: "id".into(),
            kind: K::Int { bits },
            type_name: "int".into(),
            nullable: false,
            has_default: true,
            generated: false,
            identity_always: false,
            numbered: crate::schema::Numbered::Counts,
            binary_order: true,
            collation: None,
        };
        let wire = crate::mapping::WireColumn {
            origin: crate::mapping::Origin::Column("id".into()),
            source_kind: K::Int { bits: 64 },
            wire: K::Int { bits: 64 },
            target,
        };
        let name = TableName { schema: None, name: "t".into() };
        let map = TableMap {
            id: TableId(1),
            source: name.clone(),
            target: name,
            columns: vec![wire],
            key: vec![0],
            source_key: vec![],
            target_unique: vec![],
            constants: vec![],
            filter: None,
            owned: None,
            scope: None,
            ranged: Some(0),
            within: None,
            ordered_alike: true,
            tolerance: vec![],
        };
        boundary(&map, there, counted).ok()
    }

    #[test]
    fn both_ranges_have_room_or_there_are_none() {
        assert_eq!(at(64, 1_000, 1), Some(1_000 + ROOM));
        assert_eq!(at(32, 1_000, 900), Some(1_000 + (i64::from(i32::MAX) - 1_000) / 8));
        assert_eq!(at(16, 30_000, 1), None, "no room");
        assert_eq!(at(64, i64::MAX, 1), None);
    }

    #[test]
    fn an_attempt_that_came_to_nothing_uses_no_numbers_up() {
        let first = at(32, 1_000, 1).expect("room");
        assert_eq!(at(32, 2_000, first), Some(first));
        assert!(at(32, first - 10, first).is_some_and(|next| next > first + LEAST_ROOM), "the lower range is full");
    }
}
