//! Installing, watching and removing what is ours in the file. Every step is one short transaction with a short wait
//! for the write lock: when the application holds it longer the step is tried again later.

use sqlx::{AssertSqlSafe, Connection, Row as _};

use crate::error::{Error, Result};
use crate::mapping::{Layout, TableMap};
use crate::schema::TableName;
use crate::store::Role;

use super::capture::{self, Captured, Object};
use super::catalog;
use super::connection::{File, Purpose, Tx};
use super::dialect::{control, list, table, text};
use super::errors;

/// Remembers, until everything is removed, how the file kept its journal before us.
const HOME: &str = "home";

pub(super) async fn strings(tx: &mut Tx, file: &File, sql: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(tx.writer().await?).await.map_err(|e| file.error(e))
}

/// `name` begins with what all objects of this migration begin with; `_` is no wildcard here. Migrations have no
/// underscore in their names, so `a` does not reach into `a-b`.
fn is_ours(migration: &str) -> String {
    let prefix = control(migration, "");
    format!("substr(name, 1, {}) = {}", prefix.len(), text(&prefix))
}

/// Makes the place for our tables. A write-ahead log is a must (readers and the writer must not wait for each other),
/// and switching to it is a change of the application's file: it is remembered and undone at the end.
pub async fn create_home(file: &File, migration: &str) -> Result<()> {
    let home = table(&control(migration, HOME));
    let mut outside = file.outside().await?;
    let mode = |c| sqlx::query_scalar::<_, String>("PRAGMA journal_mode").fetch_one(c);
    let before = mode(&mut *outside).await.map_err(|e| file.error(e))?;
    if before != "wal" {
        let set = sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(&mut *outside).await;
        if set.map_err(|e| file.error(e))? != "wal" {
            return Err(Error::new(
                crate::error::Kind::Gate,
                format!("\"{}\" can't keep a write-ahead log", file.path.display()),
            )
            .hint("put the file on a local disk"));
        }
    }
    drop(outside);
    let mut tx = file.begin(Purpose::Install).await?;
    let before = if before == "wal" { mode_before_others(&mut tx, file).await?.unwrap_or(before) } else { before };
    tx.script(&format!(
        "CREATE TABLE IF NOT EXISTS {home} (journal_mode TEXT NOT NULL); \
         INSERT INTO {home} (journal_mode) SELECT {} WHERE NOT EXISTS (SELECT 1 FROM {home})",
        text(&before)
    ))
    .await?;
    tx.commit().await
}

/// What another migration, which came first, remembers.
async fn mode_before_others(tx: &mut Tx, file: &File) -> Result<Option<String>> {
    let homes = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 9) = '_migrate_' \
                 AND substr(name, -5) = '_home'";
    match strings(tx, file, homes).await?.first() {
        Some(home) => Ok(strings(tx, file, &format!("SELECT journal_mode FROM {}", table(home))).await?.pop()),
        None => Ok(None),
    }
}

pub async fn capture(file: &File, layout: &Layout, map: &TableMap) -> Result<()> {
    let mut tx = file.begin(Purpose::Install).await?;
    let gone = || Error::changed(format!("table \"{}\" is gone", map.source));
    let entry = catalog::entry(&mut tx, file, &map.source).await?.ok_or_else(gone)?;
    let described = catalog::describe_in(&mut tx, file, &map.source).await?.ok_or_else(gone)?;
    let (uniques, key_is_rowid) = catalog::uniques(&mut tx, file, &entry, &described.columns).await?;
    let now = strings(&mut tx, file, &format!("SELECT CAST({} AS TEXT)", super::NOW_MS)).await?.pop();
    let now_ms = now.and_then(|ms| ms.parse().ok()).unwrap_or_default();
    let captured = Captured {
        migration: &layout.migration,
        map,
        columns: &described.columns,
        uniques: &uniques,
        without_rowid: entry.without_rowid,
        key_is_rowid: key_is_rowid
            && described.primary_key.len() == 1
            && described.primary_key[0] == map.source_key[0].name,
        limit: layout.backlog_limit,
        now_ms,
    };
    let last = capture::trigger_name(&layout.migration, map, capture::LAST);
    let mut made = false;
    for object in capture::objects(&captured) {
        let there = definition(&mut tx, file, &object.name).await?;
        let keep = if object.name == last { there.is_some() && !made } else { there.as_ref() == Some(&object.sql) };
        if !keep {
            make(&mut tx, &object, there.is_some()).await?;
            made = true;
        }
    }
    let name = table(&map.source.name);
    let first = &map.source_key[0].name;
    let first = super::dialect::column(first);
    // A trigger that does not compile would break the application's every write.
    for probe in [
        format!("EXPLAIN INSERT INTO {name} DEFAULT VALUES"),
        format!("EXPLAIN UPDATE {name} SET {first} = {first}"),
        format!("EXPLAIN DELETE FROM {name} WHERE {first} IS NULL"),
    ] {
        tx.script(&probe)
            .await
            .map_err(|e| Error::give_up(e.message()).context(format!("capture of table \"{name}\"")))?;
    }
    tx.commit().await
}

pub async fn definition(tx: &mut Tx, file: &File, name: &str) -> Result<Option<String>> {
    Ok(strings(tx, file, &format!("SELECT sql FROM sqlite_master WHERE name = {}", text(name))).await?.pop())
}

pub async fn make(tx: &mut Tx, object: &Object, is_there: bool) -> Result<()> {
    if is_there {
        let kind = if object.is_trigger { "TRIGGER" } else { "TABLE" };
        tx.script(&format!("DROP {kind} {}", table(&object.name))).await?;
    }
    tx.script(&object.sql).await
}

/// The definitions of the captured tables, their unique indexes, and our triggers and dirty tables; the triggers in
/// the order in which they were made, since one that was dropped and made again may have missed something meanwhile.
pub async fn fingerprint(tx: &mut Tx, file: &File, layout: &Layout) -> Result<String> {
    let m = &layout.migration;
    let captured = list(&layout.tables, |t| text(&t.source.name));
    let of = |t| capture::EVENTS.map(|event| text(&capture::trigger_name(m, t, event))).join(", ");
    let triggers = list(&layout.tables, of);
    let ours = list(&layout.tables, |t| text(&capture::dirty_name(m, t)));
    let sql = format!(
        "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master \
         WHERE (type = 'table' AND name COLLATE NOCASE IN ({captured})) \
         OR (type = 'index' AND tbl_name COLLATE NOCASE IN ({captured}) AND sql LIKE 'CREATE UNIQUE%') \
         OR (type = 'table' AND name IN ({ours}, {}, {})) OR (type = 'trigger' AND name IN ({triggers})) \
         ORDER BY type, CASE type WHEN 'trigger' THEN rowid ELSE 0 END, name",
        text(&capture::overflow_name(m)),
        text(&capture::applier_name(m)),
    );
    let objects = strings(tx, file, &sql).await?;
    let each = |o: &String| {
        let what: String = o.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
        format!("{what} {}", &blake3::hash(o.as_bytes()).to_hex()[..16])
    };
    let applier = table(&capture::applier_name(m));
    let left = strings(tx, file, &format!("SELECT 'capture is told to leave everything alone' FROM {applier}")).await?;
    Ok(objects.iter().map(each).chain(left).collect::<Vec<_>>().join("\n"))
}

pub async fn overflowed(tx: &mut Tx, file: &File, layout: &Layout) -> Result<bool> {
    let overflow = table(&capture::overflow_name(&layout.migration));
    Ok(!strings(tx, file, &format!("SELECT 'x' FROM {overflow} LIMIT 1")).await?.is_empty())
}

/// The limit is on the span of marks that wait, so it moves by itself. A reset forgets an overflow, and the marks too,
/// or the next write would overflow again: in a new generation every range is still to be read, so none is needed.
pub async fn advance_limit(tx: &mut Tx, layout: &Layout, reset: bool) -> Result<()> {
    if !reset {
        return Ok(());
    }
    let m = &layout.migration;
    let dirty = layout.tables.iter().map(|t| capture::dirty_name(m, t));
    let all = std::iter::once(capture::overflow_name(m)).chain(dirty);
    tx.script(&all.map(|name| format!("DELETE FROM {};", table(&name))).collect::<String>()).await
}

pub async fn remove(file: &File, migration: &str, keep_gate: bool) -> Result<Vec<String>> {
    let mut report = Vec::new();
    let mut before = None;
    for (kind, keyword) in [("trigger", "TRIGGER"), ("table", "TABLE")] {
        let mut tx = file.begin(Purpose::Install).await?;
        let home = control(migration, HOME);
        let found = format!(
            "SELECT name FROM sqlite_master WHERE type = {} AND {} ORDER BY name",
            text(kind),
            is_ours(migration)
        );
        let mut found = strings(&mut tx, file, &found).await?;
        if keep_gate {
            let gate = control(migration, "gate_");
            let stay = [home.as_str(), &capture::applier_name(migration)];
            found.retain(|name| !name.starts_with(&gate) && !stay.contains(&name.as_str()));
        }
        if found.contains(&home) {
            before = strings(&mut tx, file, &format!("SELECT journal_mode FROM {}", table(&home))).await?.pop();
        }
        for name in found {
            tx.script(&format!("DROP {keyword} {}", table(&name))).await?;
            report.push(format!("{kind} {}", table(&name)));
        }
        tx.commit().await?;
    }
    if let Some(mode) = before.filter(|mode| mode != "wal") {
        report.push(restore_journal(file, &mode).await?);
    }
    Ok(report)
}

/// Needs the file for itself alone. Where somebody has it open the write-ahead log stays, which is said.
async fn restore_journal(file: &File, mode: &str) -> Result<String> {
    let mut tx = file.begin(Purpose::Read).await?;
    let others = mode_before_others(&mut tx, file).await?.is_some();
    drop(tx);
    if others {
        return Ok("the write-ahead log stays on: another migration uses it".to_owned());
    }
    file.close_all().await;
    let mut outside = file.outside().await?;
    let sql = match mode {
        "truncate" => "PRAGMA journal_mode = TRUNCATE",
        "persist" => "PRAGMA journal_mode = PERSIST",
        _ => "PRAGMA journal_mode = DELETE",
    };
    let now = sqlx::query(sql).fetch_one(&mut *outside).await.and_then(|row| row.try_get::<String, _>(0));
    Ok(match now {
        Ok(now) if now != "wal" => format!("write-ahead log (journal mode is {now} again)"),
        _ => format!("the write-ahead log stays on: the file is open elsewhere (`{sql}` switches it off)"),
    })
}

/// Refuses where another table refers to it: dropping it would break those rows or take them along.
pub async fn drop_table(file: &File, name: &TableName) -> Result<()> {
    let mut tx = file.begin(Purpose::Install).await?;
    let referring = format!(
        "SELECT l.name FROM pragma_table_list AS l JOIN pragma_foreign_key_list(l.name) AS f \
         WHERE l.schema = 'main' AND f.\"table\" = {0} COLLATE NOCASE AND l.name <> {0} COLLATE NOCASE",
        text(&name.name)
    );
    if let Some(child) = strings(&mut tx, file, &referring).await?.pop() {
        return Err(Error::give_up(format!("table \"{name}\" is referred to by \"{child}\"")));
    }
    tx.script(&format!("DROP TABLE IF EXISTS {}", table(&name.name))).await?;
    tx.commit().await
}

/// Whether a deferred foreign key is violated at this moment. SQLite counts them, and tells the count to nobody but its
/// C interface; a check by SQL would read whole tables.
pub async fn check_deferred(tx: &mut Tx, file: &File) -> Result<()> {
    let violated = super::deferred::is_violated(tx.writer().await?).await.map_err(|e| file.error(e))?;
    if violated { Err(Error::give_up("FOREIGN KEY constraint failed")) } else { Ok(()) }
}

/// What the file system denies. SQLite has no roles.
pub async fn missing_rights(file: &File, role: Role) -> Result<Vec<String>> {
    let mut lacks = Vec::new();
    let directory = errors::directory(&file.path);
    let writable = |path: &std::path::Path| std::fs::metadata(path).map(|m| !m.permissions().readonly());
    // The log and its index lie beside the file, so every role must write there.
    let _ = role;
    for (path, rights) in [(file.path.as_path(), "u+rw"), (directory, "u+rwx")] {
        if !writable(path).unwrap_or(true) {
            lacks.push(format!("chmod {rights} \"{}\"", path.display()));
        }
    }
    if lacks.is_empty() {
        let mut outside = file.outside().await?;
        match outside.begin_with("BEGIN IMMEDIATE").await {
            Ok(tx) => tx.rollback().await.map_err(|e| file.error(e))?,
            Err(e) => match file.error(e) {
                e if e.kind == crate::error::Kind::Gate => lacks.extend(e.hint_text().map(str::to_owned)),
                e if e.is_retry() => {}
                e => return Err(e),
            },
        }
    }
    Ok(lacks)
}
