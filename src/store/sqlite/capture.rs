//! The capture of one table, as SQL: the dirty table and its triggers. Pure; `install` runs it.
//!
//! Triggers mark keys as the table stores them, in the application's own transaction. The dirty table has neither
//! constraint nor declared type: a failing insert would be swallowed under `OR IGNORE` or break the application under
//! `UPDATE OR FAIL`, and a type would bend keys. `REPLACE` removes rows without firing delete triggers, so triggers
//! *before* an insert or update mark what any unique index (or the rowid) will make it remove; that they sometimes
//! mark a row which then stays is harmless. The SQL is what every SQLite since 3.8 parses, since it must parse in the
//! application's own.
//!
//! The last trigger never fires. Whatever is dropped and made again comes to stand behind it in the catalogue, which
//! the fingerprint sees; VACUUM keeps that order (but not the rowids). When we make something again ourselves the last
//! trigger is made anew too, and says when.
//!
//! What this migration's own applier writes is left alone: it holds the only write lock, and a row says that it is the one.
//! That row is there only inside its transactions; one that stays is seen by the fingerprint.
//!
//! The backlog is the span of `seq`. At the limit a row goes into the overflow table instead, once: the application
//! goes on, and the generation is void.

use crate::mapping::{TableMap, base};
use crate::schema::{Column, Kind};

use crate::store::sql::APPLIER;

use super::catalog::UniqueIndex;
use super::dialect::{column, control, list, table};
use super::tokens::index_parts;

/// What the triggers must know of the captured table.
pub struct Captured<'a> {
    pub migration: &'a str,
    pub map: &'a TableMap,
    pub columns: &'a [Column],
    pub uniques: &'a [UniqueIndex],
    pub without_rowid: bool,
    /// The rowid is the primary key itself.
    pub key_is_rowid: bool,
    pub limit: u64,
    pub now_ms: i64,
}

/// One object to make; `sql` is what `sqlite_master` then has.
pub struct Object {
    pub name: String,
    pub is_trigger: bool,
    pub sql: String,
}

pub fn dirty_name(migration: &str, map: &TableMap) -> String {
    control(migration, &format!("dirty_{}", map.id))
}

pub fn overflow_name(migration: &str) -> String {
    control(migration, "overflow")
}

pub fn applier_name(migration: &str) -> String {
    control(base(migration), APPLIER.0)
}

/// Where the triggers' names begin; the words behind are fixed.
pub fn trigger_name(migration: &str, map: &TableMap, event: &str) -> String {
    control(migration, &format!("capture_{}_{event}", map.id))
}

/// The words that end our triggers' names; the last one is made last.
pub const EVENTS: [&str; 6] = ["insert", "delete", "update", "replace", "move", LAST];
pub const LAST: &str = "last";

pub fn objects(c: &Captured<'_>) -> Vec<Object> {
    let keys = (1..).zip(&c.map.source_key).map(|(i, k)| match &k.collation {
        Some(collation) => format!(", k{i} COLLATE {collation}"),
        None => format!(", k{i}"),
    });
    let scope = if c.map.scope_columns().is_some() { ", scope" } else { "" };
    let dirty = table(&dirty_name(c.migration, c.map));
    let overflow = table(&overflow_name(c.migration));
    let applier = table(&applier_name(c.migration));
    let mut all = vec![
        Object {
            name: dirty_name(c.migration, c.map),
            is_trigger: false,
            sql: format!("CREATE TABLE {dirty} (seq INTEGER PRIMARY KEY{}{scope})", keys.collect::<String>()),
        },
        Object {
            name: overflow_name(c.migration),
            is_trigger: false,
            sql: format!("CREATE TABLE {overflow} (table_id INTEGER)"),
        },
        Object {
            name: applier_name(c.migration),
            is_trigger: false,
            sql: format!("CREATE TABLE {applier} ({})", APPLIER.1.replace("{int}", "INTEGER")),
        },
    ];
    let trigger = |event: &str, when: &str, body: String| {
        let name = trigger_name(c.migration, c.map, event);
        let on = table(&c.map.source.name);
        let sql = format!(
            "CREATE TRIGGER {} {when} ON {on} FOR EACH ROW WHEN NOT EXISTS (SELECT 1 FROM {applier}) BEGIN {body}END",
            table(&name)
        );
        Object { name, is_trigger: true, sql }
    };
    all.push(trigger("insert", "AFTER INSERT", c.mark_row("NEW", "")));
    all.push(trigger("delete", "AFTER DELETE", c.mark_row("OLD", "")));
    all.push(trigger("update", "AFTER UPDATE", c.mark_row("NEW", "") + &c.mark_row("OLD", &c.key_differs())));
    for (event, when, own) in [
        ("replace", "BEFORE INSERT", String::new()),
        ("move", "BEFORE UPDATE", format!(" AND NOT ({})", c.is_old_row())),
    ] {
        let victims: String = c.collisions().iter().map(|collide| c.mark(&format!("{collide}{own}"))).collect();
        if !victims.is_empty() {
            all.push(trigger(event, when, victims));
        }
    }
    let name = trigger_name(c.migration, c.map, LAST);
    let sql =
        format!("CREATE TRIGGER {} BEFORE UPDATE ON {dirty} WHEN {} < 0 BEGIN SELECT 1; END", table(&name), c.now_ms);
    all.push(Object { name, is_trigger: true, sql });
    all
}

impl Captured<'_> {
    fn mark_row(&self, image: &str, condition: &str) -> String {
        self.insert(image, "", condition)
    }

    /// Marks the rows `x` for which the condition holds.
    fn mark(&self, condition: &str) -> String {
        self.insert("x", &format!(" FROM {} AS x", table(&self.map.source.name)), condition)
    }

    fn insert(&self, image: &str, from: &str, condition: &str) -> String {
        let dirty = table(&dirty_name(self.migration, self.map));
        let overflow = table(&overflow_name(self.migration));
        let mut names = list(1..=self.map.source_key.len(), |i| format!("k{i}"));
        let mut keys = list(&self.map.source_key, |k| format!("{image}.{}", column(&k.name)));
        if let Some((scope, ..)) = self.map.scope_columns() {
            names += ", scope";
            keys += &format!(", CAST({image}.{} AS TEXT)", column(scope));
        }
        let span = format!("coalesce((SELECT max(seq) FROM {dirty}) - (SELECT min(seq) FROM {dirty}) + 1, 0)");
        let (id, limit) = (self.map.id, self.limit);
        let and = if condition.is_empty() { String::new() } else { format!("({condition}) AND ") };
        // First what would be dropped, since the mark itself may be the last that fits.
        format!(
            "INSERT INTO {overflow} (table_id) SELECT {id} WHERE {span} >= {limit} \
             AND NOT EXISTS (SELECT 1 FROM {overflow} WHERE table_id = {id}) \
             AND EXISTS (SELECT 1{from} WHERE {and}1); \
             INSERT INTO {dirty} ({names}) SELECT {keys}{from} WHERE {and}{span} < {limit}; "
        )
    }

    /// Whether an update moves the row to another key, by its bytes: a collation may call two spellings one. Numbers
    /// can be equal and yet be two values (1 and 1.0, 0.0 and -0.0), so those always count as moved.
    fn key_differs(&self) -> String {
        let differs = self.map.source_key.iter().map(|k| match k.kind {
            Kind::Float { .. } | Kind::Opaque(_) | Kind::Decimal { .. } => "1".to_owned(),
            _ => format!("OLD.{0} IS NOT NEW.{0} COLLATE BINARY", column(&k.name)),
        });
        let scope =
            self.map.scope_columns().map(|(name, ..)| format!("OLD.{0} IS NOT NEW.{0} COLLATE BINARY", column(name)));
        differs.chain(scope).collect::<Vec<_>>().join(" OR ")
    }

    fn is_old_row(&self) -> String {
        let same = self.map.source_key.iter().map(|k| format!("x.{0} IS OLD.{0} COLLATE BINARY", column(&k.name)));
        same.collect::<Vec<_>>().join(" AND ")
    }

    /// For each unique index a condition on `x`: it has what the row to come wants. Where the key alone decides, the
    /// row to come marks it by itself.
    fn collisions(&self) -> Vec<String> {
        let mut found: Vec<String> =
            self.uniques.iter().filter(|u| !self.is_key(u)).map(|u| self.collides(u)).collect();
        let rowid = ["rowid", "_rowid_", "oid"];
        let free = rowid.into_iter().find(|r| !self.columns.iter().any(|c| c.name.eq_ignore_ascii_case(r)));
        let plain = self.map.source_key.len() == 1 && self.key_is_rowid;
        match free {
            _ if self.without_rowid => {}
            // Another key than the integer one was chosen: rows can still be replaced by that one.
            Some(rowid) if !plain || !self.rowid_is_the_key() => found.push(format!("x.{rowid} = NEW.{rowid}")),
            _ => {}
        }
        found
    }

    fn rowid_is_the_key(&self) -> bool {
        self.map.source_key.iter().all(|k| k.type_name.trim().eq_ignore_ascii_case("INTEGER"))
    }

    /// Rows that collide here have the very key of the row to come.
    fn is_key(&self, unique: &UniqueIndex) -> bool {
        let within = |k: &Column| {
            let place = unique.unique.columns.iter().position(|c| *c == k.name);
            let exact = matches!(k.kind, Kind::Int { .. } | Kind::Text { .. } | Kind::Bytes | Kind::Uuid);
            exact && place.is_some_and(|p| unique.collations[p].eq_ignore_ascii_case("BINARY"))
        };
        self.map.source_key.iter().all(within)
    }

    fn collides(&self, unique: &UniqueIndex) -> String {
        let (parts, filter) = index_parts(&unique.ddl);
        // The row to come under its columns' own names, for expressions that are written with them.
        let new = list(self.columns, |c| format!("NEW.{0} AS {0}", column(&c.name)));
        let mut conditions = Vec::new();
        for (i, name) in unique.unique.columns.iter().enumerate() {
            let collation = table(&unique.collations[i]);
            conditions.push(match parts.get(i) {
                Some(part) if name.is_empty() => {
                    format!("({part}) COLLATE {collation} = (SELECT {part} FROM (SELECT {new}))")
                }
                _ => format!("x.{0} = NEW.{0} COLLATE {collation}", column(name)),
            });
        }
        conditions.extend(filter.map(|f| format!("({f})")));
        conditions.join(" AND ")
    }
}
