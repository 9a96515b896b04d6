//! Names in SQL: the only place that quotes, so that no identifier reaches a statement bare.

use crate::entry::TableId;
use crate::mapping::{Layout, TableMap};
use crate::schema::TableName;
use crate::store::Side;

pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A string constant, for the few statements (DDL) that take no arguments.
pub fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if escaped.contains('\\') { format!("E'{}'", escaped.replace('\\', "\\\\")) } else { format!("'{escaped}'") }
}

pub fn schema_of(name: &TableName) -> &str {
    name.schema.as_deref().unwrap_or("public")
}

pub fn table(name: &TableName) -> String {
    format!("{}.{}", quote(schema_of(name)), quote(&name.name))
}

/// The schema of a migration's control tables; 57 bytes at most.
pub fn home(migration: &str) -> String {
    format!("_migrate_{migration}")
}

pub fn control(migration: &str, name: &str) -> String {
    format!("{}.{}", quote(&home(migration)), quote(name))
}

pub fn dirty(id: TableId) -> String {
    format!("dirty_{}", number(id))
}

pub fn capture_function(id: TableId) -> String {
    format!("capture_{}", number(id))
}

/// A server cuts names at 63 bytes; these fit for the longest migration (48) and number. A table that stands in several
/// pairs has a trigger for each: all but the first bear their numbers.
pub fn row_trigger(layout: &Layout, map: &TableMap) -> String {
    let home = home(&layout.migration);
    let earlier = |m: &TableMap| m.source == map.source && m.id < map.id;
    if layout.tables.iter().any(earlier) { format!("{home}_{}", number(map.id)) } else { home }
}

pub fn truncate_trigger(migration: &str) -> String {
    format!("{}_trunc", home(migration))
}

/// The gate's, for rows and for TRUNCATE; source and target may share a table.
pub fn gate_triggers(migration: &str, side: Side) -> [String; 2] {
    let short = if side == Side::Source { "gs" } else { "gt" };
    [format!("{}_{short}", home(migration)), format!("{}_{short}t", home(migration))]
}

fn number(id: TableId) -> String {
    id.0.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_names_fit() {
        assert_eq!(quote("a\"b; DROP"), "\"a\"\"b; DROP\"");
        assert_eq!(literal("o'c\\"), "E'o''c\\\\'");
        assert_eq!(truncate_trigger(&"m".repeat(48)).len(), 63);
    }
}
