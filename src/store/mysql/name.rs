//! Names in SQL: the only place that quotes, so that no identifier reaches a statement bare.

use crate::entry::TableId;
use crate::schema::TableName;

/// A server takes names of 64 characters; the longest of ours behind the prefix has 16.
const PREFIX_MAX: usize = 46;

pub fn quote(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}

/// A string constant, for the few statements (DDL) that take no arguments.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Without a database it is one of the url's.
pub fn table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.name)),
        None => quote(&name.name),
    }
}

/// What all objects of a migration begin with. A migration's name has no `$` and no `_`, so no prefix is the beginning
/// of another's.
pub fn prefix(migration: &str) -> String {
    let plain = format!("_migrate_{migration}_");
    if plain.len() <= PREFIX_MAX {
        return plain;
    }
    let hash = blake3::hash(migration.as_bytes()).to_hex();
    let begin: String = migration.chars().take(20).collect();
    format!("_migrate_{begin}${}_", &hash.as_str()[..12])
}

/// The bare name of one of our objects.
pub fn control(migration: &str, name: &str) -> String {
    format!("{}{name}", prefix(migration))
}

pub fn dirty(id: TableId) -> String {
    format!("dirty_{}", id.0)
}

pub fn trigger(migration: &str, id: TableId, event: &str) -> String {
    control(migration, &format!("{}_{event}", id.0))
}

/// A login as the server names it (`user@host`, the last `@` counts), as grants take it.
pub fn account(who: &str) -> String {
    let (user, host) = who.rsplit_once('@').unwrap_or((who, "%"));
    format!("{}@{}", literal(user), literal(host))
}

/// Of a character more than any scope that can be named, in bytes.
pub const SCOPE: &str = "varbinary(764)";

/// Never longer than [`SCOPE`]: the application's writes must not fail in our trigger.
pub fn scope_text(expression: &str) -> String {
    format!("CAST(LEFT(CONVERT({expression} USING utf8mb4), 191) AS BINARY)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_names_fit() {
        assert_eq!(quote("a`b; DROP"), "`a``b; DROP`");
        assert_eq!(literal("o'c\\"), "'o''c\\\\'");
        assert_eq!(account("a@b@%"), "'a@b'@'%'");
        let long = control(&"m".repeat(48), "capture_overflow");
        assert!(long.len() <= 64, "{long}");
        assert_ne!(prefix(&"m".repeat(48)), prefix(&"m".repeat(47)));
        assert_eq!(prefix("shop"), "_migrate_shop_");
    }
}
