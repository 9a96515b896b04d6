//! Capture: triggers that write a changed row's key into `dirty_<id>`, inside the application's own transaction.
//!
//! No row image and no order is kept, so nothing can be stale or late: a dirty key is visible exactly when its change
//! is. Triggers and the fingerprint's function run with the rights of who installed them, so that neither the
//! application nor the daily login needs any. Keys are compared by their bytes: `A` that becomes `a` marks both.
//!
//! Beyond the backlog limit no key is kept; instead each connection leaves a marker of its own. A marker is written
//! anew by every transaction, so that it can't be taken for heard while one that relies on it is open: its row is
//! locked. The limit is read from a table that a transaction older than it can't read; such a one keeps its marks.
//!
//! What this migration's own applier writes is left alone: its login says so, and a row with its connection, which is there
//! only inside its transactions (a user variable would outlive them). A row that stays is seen by the fingerprint.
//!
//! `TRUNCATE` fires no trigger. It gives the table another id in the storage engine, which the fingerprint has.

use sqlx::mysql::MySqlConnection;

use super::name::{self, literal, quote, table};
use super::query::{execute, fetch, script};
use super::{Arg, MySql, install, int, text};
use crate::entry::TableId;
use crate::error::{Context, Error, Result};
use crate::mapping::{Layout, TableMap};
use crate::schema::{Column, Kind, TableName};

pub const LIMIT: &str = "capture_limit";
pub const OVERFLOW: &str = "capture_overflow";
pub const APPLIER: &str = "applier";
pub const FINGERPRINT: &str = "fingerprint";
const EVENTS: [&str; 3] = ["insert", "update", "delete"];

impl MySql {
    /// Does nothing at all where capture is there and whole: it runs while the fingerprint is watched. Each DDL
    /// statement commits by itself; the triggers come last, and a kill in between leaves what the next call finds.
    pub(super) async fn make_capture(&self, layout: &Layout, map: &TableMap, grantee: &str) -> Result<()> {
        let doing = || format!("installing capture on {}", map.source);
        let mut tx = self.open_install().await?;
        let conn = &mut *tx;
        for sql in control_tables(self, layout, map) {
            script(conn, sql).await.context(doing())?;
        }
        let limits = self.control_name(&layout.migration, LIMIT);
        let sql = format!(
            "INSERT INTO {limits}(table_id, limit_seq) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM {limits} WHERE table_id = ?)"
        );
        let id = Arg::from(u64::from(map.id.0));
        execute(conn, &sql, &[id.clone(), layout.backlog_limit.into(), id]).await.context(doing())?;
        self.make_fingerprint(conn, layout).await.context(doing())?;
        self.grant(conn, &layout.migration, grantee).await.context(doing())?;
        for event in EVENTS {
            let trigger = name::trigger(&layout.migration, map.id, event);
            let body = body(self, layout, map, event, grantee);
            if !has_trigger(conn, &map.source, &trigger, &body).await? {
                let at = TableTrigger { map, trigger: &trigger };
                let drop = format!("DROP TRIGGER IF EXISTS {}", at.qualified());
                install::in_passing(conn, &drop).await.context(doing())?;
                let when = event.to_ascii_uppercase();
                let on = table(&map.source);
                let sql = format!("CREATE TRIGGER {} AFTER {when} ON {on} FOR EACH ROW {body}", at.qualified());
                install::in_passing(conn, &sql).await.context(doing())?;
            }
        }
        self.close(tx).await
    }

    /// One function for all tables, so that one call in each seal tells it all.
    async fn make_fingerprint(&self, conn: &mut MySqlConnection, layout: &Layout) -> Result<()> {
        let name = name::control(&layout.migration, FINGERPRINT);
        let body = fingerprint_body(layout, &self.database, is_mariadb(conn).await?);
        let sql = "SELECT ROUTINE_COMMENT FROM information_schema.ROUTINES
            WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME = ?";
        let mark = blake3::hash(body.as_bytes()).to_hex().to_string();
        let found = fetch(conn, sql, &[name.as_str().into()]).await?;
        if found.first().is_some_and(|r| text(&r[0]) == mark) {
            return Ok(());
        }
        let named = self.control_name(&layout.migration, FINGERPRINT);
        script(conn, format!("DROP FUNCTION IF EXISTS {named}")).await?;
        let sql = format!(
            "CREATE FUNCTION {named}() RETURNS LONGTEXT CHARACTER SET utf8mb4 READS SQL DATA SQL SECURITY DEFINER COMMENT '{mark}' RETURN {body}"
        );
        script(conn, sql).await
    }
}

struct TableTrigger<'a> {
    map: &'a TableMap,
    trigger: &'a str,
}

impl TableTrigger<'_> {
    fn qualified(&self) -> String {
        match &self.map.source.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(self.trigger)),
            None => quote(self.trigger),
        }
    }
}

pub async fn is_mariadb(conn: &mut MySqlConnection) -> Result<bool> {
    Ok(fetch(conn, "SELECT VERSION()", &[]).await?.first().is_some_and(|r| text(&r[0]).contains("MariaDB")))
}

fn control_tables(e: &MySql, layout: &Layout, map: &TableMap) -> [String; 4] {
    let keys: String = map.source_key.iter().enumerate().fold(String::new(), |all, (i, column)| {
        let collation = column.collation.as_ref().map(|c| format!(" COLLATE {c}")).unwrap_or_default();
        format!("{all}, k{} {}{collation} NOT NULL", i + 1, wide(column))
    });
    let scope = if map.scope_columns().is_some() { format!(", scope {}", name::SCOPE) } else { String::new() };
    let control = |name: &str| e.control_name(&layout.migration, name);
    [
        format!(
            "CREATE TABLE IF NOT EXISTS {}(seq bigint NOT NULL AUTO_INCREMENT PRIMARY KEY{keys}{scope})",
            control(&name::dirty(map.id))
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {}(table_id bigint NOT NULL PRIMARY KEY, limit_seq bigint NOT NULL)",
            control(LIMIT)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {}(connection bigint NOT NULL PRIMARY KEY)",
            e.control_name(layout.base(), APPLIER)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {}(table_id bigint NOT NULL, connection bigint NOT NULL, times bigint NOT NULL, PRIMARY KEY (table_id, connection))",
            control(OVERFLOW)
        ),
    ]
}

/// The application's writes must not fail in our trigger when a key is widened.
fn wide(column: &Column) -> String {
    match column.kind {
        Kind::Int { bits: 65.. } => "bigint unsigned".to_owned(),
        Kind::Int { .. } => "bigint".to_owned(),
        _ => column.type_name.clone(),
    }
}

fn body(e: &MySql, layout: &Layout, map: &TableMap, event: &str, grantee: &str) -> String {
    let (old, new) = (mark(e, layout, map, "OLD"), mark(e, layout, map, "NEW"));
    let marks = match event {
        "insert" => new,
        "delete" => old,
        _ => format!("{old} IF {} THEN {new} END IF;", moved(map)),
    };
    let applier = is_applier(e, layout, grantee);
    // 1412: the table of limits is newer than the application's snapshot.
    format!(
        "body: BEGIN DECLARE migrate_limit BIGINT DEFAULT 9223372036854775807; DECLARE CONTINUE HANDLER FOR 1412 BEGIN END; \
         IF {applier} THEN LEAVE body; END IF; \
         SELECT limit_seq INTO migrate_limit FROM {} WHERE table_id = {}; {marks} END",
        e.control_name(&layout.migration, LIMIT),
        map.id.0
    )
}

/// `USER()` is the client's login, also where a trigger runs with its definer's rights; a user's name may have an `@`.
pub fn is_applier(e: &MySql, layout: &Layout, grantee: &str) -> String {
    let login = literal(grantee.rsplit_once('@').map_or(grantee, |(user, _)| user));
    let applier = e.control_name(layout.base(), APPLIER);
    format!(
        "LEFT(USER(), char_length(USER()) - char_length(SUBSTRING_INDEX(USER(), '@', -1)) - 1) = {login} \
         AND EXISTS (SELECT 1 FROM {applier} WHERE connection = CONNECTION_ID())"
    )
}

fn mark(e: &MySql, layout: &Layout, map: &TableMap, image: &str) -> String {
    let dirty = e.control_name(&layout.migration, &name::dirty(map.id));
    let overflow = e.control_name(&layout.migration, OVERFLOW);
    let mut columns: Vec<String> = (1..=map.source_key.len()).map(|i| format!("k{i}")).collect();
    let mut values: Vec<String> = map.source_key.iter().map(|c| format!("{image}.{}", quote(&c.name))).collect();
    if let Some((scope, ..)) = map.scope_columns() {
        columns.push("scope".to_owned());
        values.push(name::scope_text(&format!("{image}.{}", quote(scope))));
    }
    let (columns, values, id) = (columns.join(", "), values.join(", "), map.id.0);
    format!(
        "INSERT INTO {dirty} ({columns}) VALUES ({values}); \
         IF LAST_INSERT_ID() > migrate_limit THEN \
         DELETE FROM {dirty} WHERE seq = LAST_INSERT_ID(); \
         INSERT INTO {overflow} (table_id, connection, times) VALUES ({id}, CONNECTION_ID(), 1) \
         ON DUPLICATE KEY UPDATE times = times + 1; END IF;"
    )
}

fn moved(map: &TableMap) -> String {
    let differs = map.source_key.iter().map(|k| {
        let name = quote(&k.name);
        match k.kind {
            Kind::Text { .. } => format!("NOT (CAST(OLD.{name} AS BINARY) <=> CAST(NEW.{name} AS BINARY))"),
            _ => format!("NOT (OLD.{name} <=> NEW.{name})"),
        }
    });
    let scope = map.scope_columns().map(|(scope, ..)| {
        let [old, new] = ["OLD", "NEW"].map(|image| name::scope_text(&format!("{image}.{}", quote(scope))));
        format!("NOT ({old} <=> {new})")
    });
    differs.chain(scope).collect::<Vec<_>>().join(" OR ")
}

pub async fn has_trigger(conn: &mut MySqlConnection, named: &TableName, trigger: &str, body: &str) -> Result<bool> {
    let sql = "SELECT ACTION_STATEMENT FROM information_schema.TRIGGERS
        WHERE EVENT_OBJECT_SCHEMA = coalesce(?, DATABASE()) AND EVENT_OBJECT_TABLE = ? AND TRIGGER_NAME = ?";
    let args: [Arg; 3] = [named.schema.as_deref().into(), named.name.as_str().into(), trigger.into()];
    Ok(fetch(conn, sql, &args).await?.first().is_some_and(|r| text(&r[0]) == body))
}

pub async fn is_hung(conn: &mut MySqlConnection, named: &TableName, trigger: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM information_schema.TRIGGERS
        WHERE EVENT_OBJECT_SCHEMA = coalesce(?, DATABASE()) AND EVENT_OBJECT_TABLE = ? AND TRIGGER_NAME = ?";
    let args: [Arg; 3] = [named.schema.as_deref().into(), named.name.as_str().into(), trigger.into()];
    Ok(!fetch(conn, sql, &args).await?.is_empty())
}

/// Each table: its columns, our triggers on it (when each was made), and its identity in the storage engine. MySQL tells
/// that by the time of creation, MariaDB only by the id, to who has the right PROCESS.
fn fingerprint_body(layout: &Layout, database: &str, mariadb: bool) -> String {
    let applier = format!("{}.{}", quote(database), quote(&name::control(layout.base(), APPLIER)));
    let mut parts = vec![format!("(SELECT coalesce(group_concat(connection ORDER BY connection), '') FROM {applier})")];
    let mut files = Vec::new();
    for map in &layout.tables {
        let schema = literal(map.source.schema.as_deref().unwrap_or(database));
        let named = literal(&map.source.name);
        let ours = literal(&format!("{}{}_", name::prefix(&layout.migration), map.id.0));
        parts.push(format!(
            "(SELECT coalesce(group_concat(concat_ws(' ', COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, coalesce(COLLATION_NAME, ''), EXTRA) \
             ORDER BY ORDINAL_POSITION SEPARATOR ';'), 'none') FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {named})"
        ));
        parts.push(format!(
            "(SELECT coalesce(group_concat(concat_ws(' ', TRIGGER_NAME, CREATED, EVENT_MANIPULATION, ACTION_TIMING, md5(ACTION_STATEMENT)) \
             ORDER BY TRIGGER_NAME SEPARATOR ';'), 'none') FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {schema} \
             AND EVENT_OBJECT_TABLE = {named} AND LEFT(TRIGGER_NAME, char_length({ours})) = {ours})"
        ));
        if mariadb {
            let file = |n: &str| format!("CONVERT(CAST(CONVERT({n} USING filename) AS BINARY) USING utf8mb3)");
            let path = format!("concat({}, '/', {})", file(&schema), file(&named));
            files.push(format!("NAME = {path} OR LEFT(NAME, char_length({path}) + 3) = concat({path}, '#P#')"));
        } else {
            parts.push(format!("(SELECT CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {named})"));
        }
    }
    if !files.is_empty() {
        // In one go: each look is at all tables of the server.
        parts.push(format!(
            "(SELECT coalesce(group_concat(concat(NAME, ' ', TABLE_ID) ORDER BY NAME), 'none') \
             FROM information_schema.INNODB_SYS_TABLES WHERE {})",
            files.join(" OR ")
        ));
    }
    format!("concat_ws('\\n', {})", parts.join(", "))
}

pub async fn fingerprint(e: &MySql, conn: &mut MySqlConnection, layout: &Layout) -> Result<String> {
    let sql = format!("SELECT {}()", e.control_name(&layout.migration, FINGERPRINT));
    let rows = fetch(conn, &sql, &[]).await?;
    let whole = rows.first().map(|r| text(&r[0])).filter(|t| !t.is_empty());
    let whole = whole.ok_or_else(|| Error::changed("the function that watches over capture says nothing"))?;
    Ok(blake3::hash(whole.as_bytes()).to_hex().to_string())
}

pub async fn overflowed(e: &MySql, conn: &mut MySqlConnection, layout: &Layout) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {} LIMIT 1", e.control_name(&layout.migration, OVERFLOW));
    Ok(!fetch(conn, &sql, &[]).await?.is_empty())
}

/// The limit lies so far behind the oldest key that is left (or the last one given out), and is moved only once a tenth
/// of that has been used up. Reading the last one given out opens the table's definition, so only `tables` are looked at.
pub async fn advance_limit(
    e: &MySql,
    conn: &mut MySqlConnection,
    layout: &Layout,
    tables: &[TableId],
    reset: bool,
) -> Result<()> {
    let limits = e.control_name(&layout.migration, LIMIT);
    if reset {
        script(conn, format!("DELETE FROM {}", e.control_name(&layout.migration, OVERFLOW))).await?;
    }
    if tables.is_empty() && !reset {
        return Ok(());
    }
    let (width, slack) = (layout.backlog_limit as i64, (layout.backlog_limit / 10) as i64);
    let rows = fetch(conn, &format!("SELECT table_id, limit_seq FROM {limits}"), &[]).await?;
    for row in rows {
        let (id, limit) = (int(&row[0]), int(&row[1]));
        let wanted = |m: &&TableMap| i64::from(m.id.0) == id && (reset || tables.contains(&m.id));
        let Some(map) = layout.tables.iter().find(wanted) else { continue };
        let dirty = name::control(&layout.migration, &name::dirty(map.id));
        let last = install::last_number(conn, &dirty).await?;
        if !reset && limit.saturating_sub(last) >= width.saturating_sub(slack) {
            continue;
        }
        let named = quote(&dirty);
        let oldest = fetch(conn, &format!("SELECT seq FROM {named} ORDER BY seq LIMIT 1"), &[]).await?;
        let oldest = oldest.first().filter(|_| !reset).map(|r| int(&r[0]));
        let moved = oldest.unwrap_or(last).saturating_add(width);
        if reset || moved.saturating_sub(limit) > slack {
            let sql = format!("UPDATE {limits} SET limit_seq = ? WHERE table_id = ?");
            execute(conn, &sql, &[moved.into(), id.into()]).await?;
        }
    }
    Ok(())
}
