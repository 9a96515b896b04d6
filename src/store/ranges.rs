//! Numbers of a range: while ownership is divided by scopes both stores give out numbers, each from its own.
//!
//! A boundary parts them. A trigger refuses a row of the application whose number is outside its store's range; the
//! applier of either link passes. The boundary stands in the trigger itself, so that no snapshot is too old for it, and
//! hanging a trigger waits for whoever writes the table: on return each number that was given out before is visible.
//!
//! A refused row gets SQLSTATE `MG003` (PostgreSQL), 45000 (MySQL) or an aborted statement (SQLite), and [`refusal`]'s
//! words. Trying again helps only who lets the store give the number.

use crate::entry::TableId;
use crate::error::Result;
use crate::mapping::Layout;
use crate::schema::TableName;

use super::engine::{Engine, Mode};
use super::gate::{TABLE_MAX, plan_side};
use super::sql::{Cells, Sql};
use super::{Side, engine};

/// What one store may give out of a table's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberRange {
    pub id: TableId,
    pub table: TableName,
    pub column: String,
    /// The least.
    pub from: Option<i64>,
    /// The first that is not of it any more.
    pub until: Option<i64>,
}

impl NumberRange {
    /// A condition that is true where this (quoted) number is outside.
    pub fn outside(&self, number: &str) -> String {
        let below = self.from.map(|from| format!("{number} < {from}"));
        let beyond = self.until.map(|until| format!("{number} >= {until}"));
        let both: Vec<String> = below.into_iter().chain(beyond).collect();
        format!("({})", if both.is_empty() { "1 = 0".to_owned() } else { both.join(" OR ") })
    }
}

/// At most 128 characters.
pub fn refusal(range: &NumberRange) -> String {
    let table: String = range.table.name.chars().take(TABLE_MAX).collect();
    let own = match (range.from, range.until) {
        (Some(from), Some(until)) => format!("from {from} to {}", until - 1),
        (Some(from), None) => format!("from {from} on"),
        (None, Some(until)) => format!("below {until}"),
        (None, None) => "any".to_owned(),
    };
    format!("migrate: this store's numbers of {table} are {own} for now")
}

/// Short names for the side, and for what a trigger is hung on.
pub fn short_side(layout: &Layout, side: Side) -> &'static str {
    if plan_side(layout, side) == Side::Source { "rs" } else { "rt" }
}

pub const EVENTS: [(&str, &str); 2] = [("ins", "INSERT"), ("upd", "UPDATE")];

/// The greatest number below a bound that is there now.
pub async fn greatest<E: Engine>(e: &E, table: &TableName, column: &str, below: Option<i64>) -> Result<Option<i64>> {
    let mut tx = e.begin(Mode::Look).await?;
    let (table, column) = (e.table(table), e.quote(column));
    let mut sql = Sql::new(e, "").push(&format!("SELECT max({column}) FROM {table}"));
    if let Some(below) = below {
        sql = sql.push(&format!(" WHERE {column} < ")).arg(engine::Arg::from(below));
    }
    let row = sql.first(&mut tx).await?;
    Ok(row.filter(|r| !r[0].is_null()).map(|r| r.int(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_fits_where_messages_are_short() {
        let table = TableName { schema: None, name: "t".repeat(64) };
        let range =
            NumberRange { id: TableId(1), table, column: "id".into(), from: Some(i64::MAX - 9), until: Some(i64::MAX) };
        assert!(refusal(&range).chars().count() <= 128, "{}", refusal(&range));
    }

    #[test]
    fn a_range_has_its_first_number_and_not_the_next_ranges() {
        let table = TableName { schema: None, name: "t".into() };
        let of = |from, until| NumberRange { id: TableId(1), table: table.clone(), column: "id".into(), from, until };
        assert_eq!(of(Some(5), Some(9)).outside("NEW.id"), "(NEW.id < 5 OR NEW.id >= 9)");
        assert_eq!(of(None, Some(9)).outside("NEW.id"), "(NEW.id >= 9)");
        assert_eq!(refusal(&of(Some(5), Some(9))), "migrate: this store's numbers of t are from 5 to 8 for now");
    }
}
