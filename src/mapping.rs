//! A table pair as plan, store and link all speak of it: which columns travel, in which kind, by which key.
//!
//! Only *wire columns* travel; constants are added by the receiver and bound what it may touch. The key is the
//! source's, and a target key is those same columns renamed, plus constants: one to one by construction.

use std::borrow::Cow;

use crate::entry::{Link, Scopes, TableId};
use crate::schema::{Column, EngineName, Kind, TableName};
use crate::value::{Decimal, Value};

/// Where a wire column's value comes from at the source.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    Column(String),
    /// An immutable expression of the source's engine over one row of the table.
    Sql(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct WireColumn {
    pub origin: Origin,
    /// What the source gives before it is brought to `wire`.
    pub source_kind: Kind,
    /// The form in which the value travels and is digested; both stores can hold it exactly.
    pub wire: Kind,
    pub target: Column,
}

/// One table pair of one migration.
#[derive(Debug, Clone, PartialEq)]
pub struct TableMap {
    pub id: TableId,
    pub source: TableName,
    pub target: TableName,
    pub columns: Vec<WireColumn>,
    /// Indices into `columns`, in the order of the source's key index.
    pub key: Vec<usize>,
    /// The source's key columns, in the same order.
    pub source_key: Vec<Column>,
    /// All columns of the target's key (wire columns and constants), by which an upsert finds its row.
    pub target_unique: Vec<String>,
    /// Target columns that always hold one value; every statement at the target is bounded by them.
    pub constants: Vec<(Column, Value)>,
    /// SQL of the source's engine; a row outside it does not exist for us.
    pub filter: Option<String>,
    /// SQL of the target's engine; a row of the target outside it is not ours, and never touched.
    pub owned: Option<String>,
    /// Place in `columns` of the one by which ownership is divided; both sides hold it as a plain column.
    pub scope: Option<usize>,
    /// Place in `columns` of the one that both stores number, each from a range of its own while ownership is divided: a
    /// unique key is told apart by it.
    pub ranged: Option<usize>,
    /// Only these rows count, at either side; `None`: all.
    pub within: Option<Scopes>,
    /// Both stores order these keys alike, so that the target may evaluate a range by itself.
    pub ordered_alike: bool,
    /// Places in `columns`: how far the two sides' numbers may lie apart in a comparison.
    pub tolerance: Vec<(usize, Decimal)>,
}

impl TableMap {
    pub fn key_of(&self, row: &[Value]) -> crate::value::Key {
        crate::value::Key(self.key.iter().map(|&i| row[i].clone()).collect())
    }

    /// The target's key columns that travel, in key order.
    pub fn target_key(&self) -> impl Iterator<Item = &WireColumn> {
        self.key.iter().map(|&i| &self.columns[i])
    }

    /// The scope's column at the source, and at the target.
    pub fn scope_columns(&self) -> Option<(&str, &Column, &WireColumn)> {
        let wire = &self.columns[self.scope?];
        match &wire.origin {
            Origin::Column(name) => Some((name, &wire.target, wire)),
            Origin::Sql(_) => None,
        }
    }

    /// The numbered column at the source, and at the target.
    pub fn ranged_columns(&self) -> Option<(&str, &Column)> {
        let wire = &self.columns[self.ranged?];
        match &wire.origin {
            Origin::Column(name) => Some((name, &wire.target)),
            Origin::Sql(_) => None,
        }
    }

    /// Target columns outside the key, in wire order.
    pub fn rest(&self) -> impl Iterator<Item = (usize, &WireColumn)> {
        self.columns.iter().enumerate().filter(|(i, _)| !self.key.contains(i))
    }
}

/// All that a store must know about one migration to play its part.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// `[a-z0-9-]{1,48}`, and [`BACK`] behind it where this is the way back; names the link's control tables.
    pub migration: String,
    pub tables: Vec<TableMap>,
    /// Dirty keys that one table may gather while nothing runs; beyond it capture stops and the generation is void.
    pub backlog_limit: u64,
    /// Rows that the receiver may park at the most; a row that it refuses beyond them stops the link. 0: the first one does.
    pub max_parked: u64,
}

/// What stands behind a migration's name in the names of the reverse link's own tables, triggers and stream.
pub const BACK: &str = "$back";

/// The plan's name of the migration that a link belongs to.
pub fn base(migration: &str) -> &str {
    migration.strip_suffix(BACK).unwrap_or(migration)
}

impl Layout {
    /// Whether ownership can be divided by scopes.
    pub fn is_scoped(&self) -> bool {
        !self.tables.is_empty() && self.tables.iter().all(|map| map.scope.is_some())
    }

    /// The same of these rows only.
    pub fn within(&self, scopes: Option<&Scopes>) -> Cow<'_, Self> {
        let Some(scopes) = scopes.filter(|s| **s != Scopes::ALL) else { return Cow::Borrowed(self) };
        let mut layout = self.clone();
        for map in &mut layout.tables {
            map.within = Some(scopes.clone());
        }
        Cow::Owned(layout)
    }

    /// Which of the migration's two links this is.
    pub fn link(&self) -> Link {
        if self.migration.ends_with(BACK) { Link::Reverse } else { Link::Forward }
    }

    /// The migration's name, which both links have in common: an applier's mark bears it.
    pub fn base(&self) -> &str {
        base(&self.migration)
    }

    pub fn table(&self, id: TableId) -> Option<&TableMap> {
        self.tables.iter().find(|t| t.id == id)
    }

    /// A pair's source for people, no two alike.
    pub fn source_label(&self, map: &TableMap) -> String {
        match self.tables.iter().filter(|t| t.source == map.source).count() {
            0 | 1 => map.source.to_string(),
            _ => format!("{} -> {}", map.source, self.target_label(map)),
        }
    }

    /// A pair's target for people: with its source where other pairs go there too.
    pub fn target_label(&self, map: &TableMap) -> String {
        let is_shared = self.tables.iter().filter(|t| t.target == map.target).count() > 1;
        if is_shared { format!("{} ({})", map.target, map.source) } else { map.target.to_string() }
    }
}

/// Why a value of one kind can't go into a column of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// The target would silently change values.
    Lossy(String),
    /// No meaning is defined for the pair.
    Unsupported,
}

/// The kind in which a column pair's values travel: one that both stores hold exactly. A target that is merely too
/// small refuses the row loudly, so size alone is no misfit; what a target would *silently* change is.
///
/// SQLite has no temporal, uuid, decimal or json types of its own: its text columns hold them as text.
pub fn wire_kind(from: EngineName, source: &Kind, to: EngineName, target: &Kind) -> Result<Kind, Misfit> {
    use Kind::*;
    let lossy = |why: &str| Err(Misfit::Lossy(why.to_owned()));
    match (source, target) {
        (Opaque(a), Opaque(b)) if a == b && from == to => Ok(target.clone()),
        (Opaque(name), Text { .. }) if has_text(from, name) => Ok(target.clone()),
        (Opaque(_), _) | (_, Opaque(_)) => Err(Misfit::Unsupported),
        (Bool, Bool) | (Bytes, Bytes) | (Uuid, Uuid) | (Date, Date) | (Time, Time) => Ok(target.clone()),
        (Timestamp, Timestamp) | (TimestampTz, TimestampTz) | (Int { .. }, Int { .. }) => Ok(target.clone()),
        (Text { .. }, Text { .. }) => Ok(target.clone()),
        (Bool, Int { .. }) | (Date, Timestamp) => Ok(target.clone()),
        // MySQL has no truth values of its own; what is neither 0 nor 1 is refused.
        (Int { .. }, Bool) if from == EngineName::MySql => Ok(Bool),
        (Json, Json) if from == to => Ok(target.clone()),
        // A native json of MySQL's is normalized, and so would never be equal.
        (Json, Json) if from == EngineName::Postgres && to != EngineName::MySql => Ok(target.clone()),
        (Json, Text { .. }) if to == EngineName::MySql => Ok(Json),
        (Json, Text { .. }) if from == EngineName::MySql => Ok(target.clone()),
        (Float { bits: a }, Float { bits: b }) if a <= b => Ok(target.clone()),
        (Float { .. }, Float { .. }) => lossy("a double becomes a single precision float"),
        (Int { bits }, Float { bits: float }) if *bits <= 32 && *float == 64 => Ok(target.clone()),
        (Int { .. }, Float { .. }) => lossy("integers beyond 2^53 are rounded"),
        (Int { .. }, Decimal { .. }) => Ok(target.clone()),
        // From SQLite the number is one of its own already.
        (Decimal { .. }, Decimal { precision, .. })
            if to == EngineName::Sqlite && from != to && precision.is_none_or(|p| p > 15) =>
        {
            lossy("SQLite keeps 15 digits of a number; a DECIMAL_TEXT column keeps all")
        }
        (Decimal { scale: a, .. }, Decimal { scale: b, .. }) => match (a, b) {
            (_, None) => Ok(target.clone()),
            (Some(a), Some(b)) if a <= b => Ok(target.clone()),
            _ => lossy("digits behind the point are rounded away"),
        },
        (Timestamp, Date) => lossy("the time of day is cut off"),
        (Timestamp, TimestampTz) | (TimestampTz, Timestamp) => lossy("the time zone would have to be guessed"),
        (Decimal { .. }, Int { .. } | Float { .. }) | (Float { .. }, Int { .. } | Decimal { .. }) => {
            lossy("numbers are rounded")
        }
        (Uuid, Text { .. }) => Ok(Uuid),
        (Date | Time | Timestamp | TimestampTz | Json | Decimal { .. }, Text { .. }) if to == EngineName::Sqlite => {
            Ok(source.clone())
        }
        (Text { .. }, Date | Time | Timestamp | TimestampTz | Uuid | Decimal { .. }) if from == EngineName::Sqlite => {
            Ok(target.clone())
        }
        _ => Err(Misfit::Unsupported),
    }
}

/// Whether a value of this opaque type has a text that says all of it, in any text column. PostgreSQL's sessions of ours
/// pin what such texts depend on (time zone, styles), except the names of other objects and of a currency.
pub fn has_text(engine: EngineName, type_name: &str) -> bool {
    engine == EngineName::Postgres && !type_name.starts_with("reg") && !type_name.starts_with("money")
}

#[cfg(test)]
mod tests {
    use super::*;
    use EngineName::{Postgres, Sqlite};

    #[test]
    fn what_would_change_a_value_is_lossy() {
        let decimal = |p, s| Kind::Decimal { precision: Some(p), scale: Some(s) };
        let cases = [
            (Postgres, decimal(10, 4), Postgres, decimal(10, 2)),
            (Postgres, decimal(30, 4), Sqlite, decimal(30, 4)),
            (Postgres, Kind::Float { bits: 64 }, Postgres, Kind::Float { bits: 32 }),
            (Postgres, Kind::Int { bits: 64 }, Postgres, Kind::Float { bits: 64 }),
            (Postgres, Kind::TimestampTz, Postgres, Kind::Timestamp),
            (Postgres, Kind::Timestamp, Postgres, Kind::Date),
        ];
        for (from, source, to, target) in cases {
            assert!(matches!(wire_kind(from, &source, to, &target), Err(Misfit::Lossy(_))), "{source:?} {target:?}");
        }
    }

    #[test]
    fn a_number_that_sqlite_holds_goes_into_another_sqlite() {
        let wide = Kind::Decimal { precision: Some(19), scale: Some(4) };
        assert_eq!(wire_kind(Sqlite, &wide, Sqlite, &wide), Ok(wide.clone()));
    }

    #[test]
    fn text_stands_for_what_sqlite_lacks_and_nowhere_else() {
        let text = Kind::Text { max_chars: None };
        assert_eq!(wire_kind(Sqlite, &text, Postgres, &Kind::Timestamp), Ok(Kind::Timestamp));
        assert_eq!(wire_kind(Postgres, &Kind::Timestamp, Sqlite, &text), Ok(Kind::Timestamp));
        assert_eq!(wire_kind(Postgres, &text, Postgres, &Kind::Timestamp), Err(Misfit::Unsupported));
        let opaque = |name: &str| Kind::Opaque(name.to_owned());
        assert_eq!(wire_kind(Postgres, &opaque("mood"), Sqlite, &text), Ok(text.clone()));
        assert_eq!(wire_kind(Postgres, &opaque("money"), Sqlite, &text), Err(Misfit::Unsupported));
        assert_eq!(wire_kind(Sqlite, &opaque("ANY"), Postgres, &text), Err(Misfit::Unsupported));
        assert_eq!(wire_kind(Postgres, &text, Postgres, &opaque("mood")), Err(Misfit::Unsupported));
    }
}
