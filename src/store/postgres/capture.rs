//! Capture: triggers that write a changed row's key into `dirty_<id>`, inside the application's own transaction.
//!
//! No row image and no order is kept, so nothing can be stale or late: a dirty key is visible exactly when its change
//! is. The triggers fire ALWAYS (replicated writes too) and run with the rights of who installed them, so that the
//! application needs none. Keys are compared by their bytes: `A` that becomes `a` marks both, whatever the collation.
//!
//! Beyond the backlog limit no key is kept, and the loss must be visible no later than the change is. A marker that is
//! committed already says so for everybody, if it stays until this transaction has ended: a share lock on it makes
//! whoever forgets it wait. Where none can be locked (there is none yet, or it is being forgotten) the transaction
//! leaves a marker of its own. So there are as many as transactions ran at once, not as many as ran.

use sqlx::postgres::PgConnection;

use super::name::{control, literal, quote, table};
use super::query::{execute, fetch, script};
use super::{Arg, Postgres, flag, install, int, name, text};
use crate::error::{Context, Result};
use crate::mapping::{Layout, TableMap};
use crate::schema::{Column, Kind};
use crate::value::Value;

const LIMIT: &str = "capture_limit";
const OVERFLOW: &str = "capture_overflow";
const REFUSE_TRUNCATE: &str = "refuse_truncate";

impl Postgres {
    /// Does nothing at all where capture is there and whole: it runs while the fingerprint is watched.
    pub(super) async fn make_capture(&self, layout: &Layout, map: &TableMap, grantee: &str) -> Result<()> {
        let doing = || format!("installing capture on {}", map.source);
        let mut tx = self.open_install().await?;
        let conn = &mut *tx;
        script(conn, control_tables(layout, map)).await.context(doing())?;
        install::grant(conn, &layout.migration, grantee).await.context(doing())?;
        for (function, sql, body) in functions(layout, map, grantee) {
            if !has_function(conn, &layout.migration, &function, &body).await? {
                script(conn, sql).await.context(doing())?;
            }
        }
        let limit = [Arg::from(u64::from(map.id.0)), layout.backlog_limit.into()];
        let sql = format!(
            "INSERT INTO {}(table_id, limit_seq) VALUES ($1::bigint, $2::bigint) ON CONFLICT DO NOTHING",
            control(&layout.migration, LIMIT)
        );
        execute(conn, &sql, &limit).await.context(doing())?;
        make_triggers(conn, layout, map).await.context(doing())?;
        self.close(tx).await
    }
}

fn sequence(layout: &Layout, map: &TableMap) -> String {
    control(&layout.migration, &format!("{}_seq", name::dirty(map.id)))
}

/// All with primary keys: where a publication covers all tables, a delete needs one.
fn control_tables(layout: &Layout, map: &TableMap) -> String {
    let keys: String = map.source_key.iter().enumerate().fold(String::new(), |all, (i, column)| {
        let collation = column.collation.as_ref().map(|c| format!(" COLLATE {c}")).unwrap_or_default();
        format!("{all}, {} {}{collation} NOT NULL", quote(&format!("k{}", i + 1)), wide(column))
    });
    let scope = if map.scope_columns().is_some() { ", scope text" } else { "" };
    let dirty = control(&layout.migration, &name::dirty(map.id));
    // A queue: dead rows come as fast as live ones, and each seal would have to step over them.
    let vacuum = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, \
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000, \
        autovacuum_vacuum_cost_delay = 0";
    format!(
        "CREATE TABLE IF NOT EXISTS {dirty}(seq bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {}) PRIMARY KEY{keys}{scope})
            WITH ({vacuum});
        CREATE TABLE IF NOT EXISTS {}(table_id bigint PRIMARY KEY, limit_seq bigint NOT NULL);
        CREATE TABLE IF NOT EXISTS {}(table_id bigint, seq bigint, PRIMARY KEY (table_id, seq))",
        sequence(layout, map),
        control(&layout.migration, LIMIT),
        control(&layout.migration, OVERFLOW),
    )
}

/// The widest type of a key's kind: the application's writes must not fail in our trigger when a key is widened.
fn wide(column: &Column) -> String {
    let name = &column.type_name;
    match column.kind {
        Kind::Int { .. } => "bigint".into(),
        Kind::Decimal { .. } => "numeric".into(),
        Kind::Text { .. } if name.starts_with("character varying") => "text".into(),
        _ => name.clone(),
    }
}

/// A setting of the transaction, which ends with it. Anybody may set it, so it counts only in the daily login's sessions.
pub const APPLIER: &str = "migrate.applier";

/// Name, definition and body of each function.
fn functions(layout: &Layout, map: &TableMap, grantee: &str) -> [(String, String, String); 2] {
    let migration = &layout.migration;
    let define = |function: &str, body: &str| define(migration, function, body);
    let refuse = format!(
        "BEGIN
    RAISE EXCEPTION 'table %.% is being migrated and must not be truncated', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'MG001', HINT = {};
END",
        literal(&format!("use DELETE, or wait until the migration {migration} has ended"))
    );
    let capture = name::capture_function(map.id);
    let body = capture_body(layout, map, grantee);
    [
        (REFUSE_TRUNCATE.to_owned(), define(REFUSE_TRUNCATE, &refuse), refuse),
        (capture.clone(), define(&capture, &body), body),
    ]
}

/// Runs with the rights of who installs it, whatever the session's search path is.
pub fn define(migration: &str, function: &str, body: &str) -> String {
    let named = control(migration, function);
    format!(
        "CREATE OR REPLACE FUNCTION {named}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog, pg_temp AS {};
        REVOKE ALL ON FUNCTION {named}() FROM PUBLIC",
        literal(body)
    )
}

fn capture_body(layout: &Layout, map: &TableMap, grantee: &str) -> String {
    let all = |record: &str| {
        let fields: Vec<String> = map.source_key.iter().map(|c| format!("{record}.{}", quote(&c.name))).collect();
        fields.join(", ")
    };
    let mut columns: Vec<String> = (1..=map.source_key.len()).map(|i| format!("k{i}")).collect();
    let scope = map.scope_columns().map(|(name, ..)| quote(name));
    columns.extend(scope.iter().map(|_| "scope".to_owned()));
    let scope = |record: &str| scope.as_ref().map(|name| format!(", {record}.{name}::text")).unwrap_or_default();
    let (dirty, id) = (control(&layout.migration, &name::dirty(map.id)), map.id.0);
    let (limit, overflow) = (control(&layout.migration, LIMIT), control(&layout.migration, OVERFLOW));
    let take = format!("taken := nextval({}::regclass);", literal(&sequence(layout, map)));
    let mark = |record: &str| {
        format!(
            "{take}
        INSERT INTO {dirty}(seq, {}) OVERRIDING SYSTEM VALUE
            SELECT taken, {} FROM {limit} WHERE table_id = {id} AND limit_seq >= taken;
        IF NOT FOUND THEN
            BEGIN
                PERFORM FROM {overflow} WHERE table_id = {id} LIMIT 1 FOR KEY SHARE SKIP LOCKED;
                known := FOUND;
            EXCEPTION WHEN serialization_failure THEN
                known := false;
            END;
            IF NOT known THEN
                INSERT INTO {overflow}(table_id, seq) VALUES ({id}, pg_current_xact_id()::text::bigint)
                    ON CONFLICT DO NOTHING;
            END IF;
        END IF;",
            columns.join(", "),
            all(record) + &scope(record)
        )
    };
    let (old, new) = (all("OLD") + &scope("OLD"), all("NEW") + &scope("NEW"));
    format!(
        "DECLARE
    taken bigint;
    moved boolean := true;
    known boolean;
BEGIN
    IF session_user = {} AND current_setting('{APPLIER}', true) = {} THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        {}
    END IF;
    IF TG_OP = 'UPDATE' THEN
        moved := pg_catalog.record_image_ne(ROW({old}), ROW({new}));
    END IF;
    IF TG_OP <> 'DELETE' AND moved THEN
        {}
    END IF;
    RETURN NULL;
END",
        literal(grantee),
        literal(layout.base()),
        mark("OLD"),
        mark("NEW")
    )
}

async fn has_function(conn: &mut PgConnection, migration: &str, function: &str, body: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = $1::text AND p.proname = $2::text AND p.prosrc = $3::text AND p.prosecdef";
    let home = name::home(migration);
    let rows = fetch(conn, sql, &[home.as_str().into(), function.into(), body.into()]).await?;
    Ok(rows.first().is_some_and(|r| int(&r[0]) == 1))
}

/// The table itself (false), and its partitions (true): TRUNCATE of a partition does not ask the parent's trigger.
/// Whether each has the row trigger `$3` and the truncate trigger `$4`, with functions in the schema `$5`.
pub const TRIGGERS: &str = "SELECT n.nspname::text, c.relname::text, c.oid <> m.root,
        coalesce((SELECT g.tgenabled = 'A' FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
            JOIN pg_namespace pn ON pn.oid = p.pronamespace
            WHERE g.tgrelid = c.oid AND g.tgname = $3::text AND pn.nspname = $5::text), false),
        coalesce((SELECT g.tgenabled = 'A' FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
            JOIN pg_namespace pn ON pn.oid = p.pronamespace
            WHERE g.tgrelid = c.oid AND g.tgname = $4::text AND pn.nspname = $5::text), false)
    FROM (SELECT r.oid AS root, t.relid FROM pg_class r JOIN pg_namespace s ON s.oid = r.relnamespace
            CROSS JOIN LATERAL (SELECT r.oid AS relid UNION SELECT relid FROM pg_partition_tree(r.oid)) t
            WHERE s.nspname = $1::text AND r.relname = $2::text) m
    JOIN pg_class c ON c.oid = m.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY c.oid <> m.root, c.oid";

async fn make_triggers(conn: &mut PgConnection, layout: &Layout, map: &TableMap) -> Result<()> {
    let (row_trigger, truncate) = (name::row_trigger(layout, map), name::truncate_trigger(&layout.migration));
    let home = name::home(&layout.migration);
    let args = [name::schema_of(&map.source), &map.source.name, &row_trigger, &truncate, &home].map(Arg::from);
    let found = fetch(conn, TRIGGERS, &args).await?;
    if found.iter().all(|r| flag(&r[3]) && flag(&r[4])) && !found.is_empty() {
        return Ok(());
    }
    install::lock(conn, &table(&map.source), "SHARE ROW EXCLUSIVE").await?;
    // Again, now that nobody can change it: another process may just have made them.
    let found = fetch(conn, TRIGGERS, &args).await?;
    for row in &found {
        let on = format!("{}.{}", quote(&text(&row[0])), quote(&text(&row[1])));
        let (is_partition, captured, guarded) = (flag(&row[2]), flag(&row[3]), flag(&row[4]));
        let mut sql = String::new();
        if !is_partition && !captured {
            sql += &trigger(
                &on,
                &row_trigger,
                "AFTER INSERT OR UPDATE OR DELETE",
                "ROW",
                &(control(&layout.migration, &name::capture_function(map.id)) + "()"),
            );
        } else if !captured {
            // Cloned from its parent's; an older server clones without ALWAYS.
            sql += &format!("ALTER TABLE {on} ENABLE ALWAYS TRIGGER {};", quote(&row_trigger));
        }
        if !guarded {
            let call = control(&layout.migration, REFUSE_TRUNCATE) + "()";
            sql += &trigger(&on, &truncate, "BEFORE TRUNCATE", "STATEMENT", &call);
        }
        script(conn, sql).await?;
    }
    Ok(())
}

pub fn trigger(on: &str, name: &str, when: &str, each: &str, call: &str) -> String {
    let name = quote(name);
    format!(
        "DROP TRIGGER IF EXISTS {name} ON {on};
        CREATE TRIGGER {name} {when} ON {on} FOR EACH {each} EXECUTE FUNCTION {call};
        ALTER TABLE {on} ENABLE ALWAYS TRIGGER {name};"
    )
}

/// `xmin` changes with each act on a trigger or function, so that disabling and enabling again is seen. Statistics,
/// indexes and vacuum touch nothing of this.
const FINGERPRINT: &str = "WITH RECURSIVE named AS (
        SELECT DISTINCT c.oid, n.nspname, c.relname FROM unnest($1::text[], $2::text[]) AS u(s, t)
        JOIN pg_namespace n ON n.nspname = u.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.t),
    tree(oid, parent) AS (SELECT oid, 0::oid FROM named
        UNION SELECT i.inhrelid, i.inhparent FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent),
    ours AS (SELECT p.oid, p.xmin FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace 
        WHERE n.nspname = $3::text AND NOT starts_with(p.proname, 'gate_')),
    fired AS (SELECT DISTINCT g.oid, g.xmin, g.tgrelid, g.tgenabled, g.tgtype, g.tgfoid FROM pg_trigger g
        JOIN ours ON ours.oid = g.tgfoid JOIN tree ON tree.oid = g.tgrelid)
    SELECT md5(string_agg(line, ';' ORDER BY line)) FROM (
        SELECT concat_ws(' ', 'table', oid, nspname, relname) FROM named
        UNION ALL SELECT concat_ws(' ', 'part', oid, parent) FROM tree
        UNION ALL SELECT concat_ws(' ', 'trigger', oid, xmin, tgrelid, tgenabled, tgtype, tgfoid) FROM fired
        UNION ALL SELECT concat_ws(' ', 'function', oid, xmin) FROM ours WHERE oid IN (SELECT tgfoid FROM fired)
        UNION ALL SELECT concat_ws(' ', 'column', attrelid, attnum, attname, atttypid, atttypmod, attcollation, attnotnull,
                attisdropped, attgenerated, xmin)
            FROM pg_attribute WHERE attrelid IN (SELECT oid FROM named) AND attnum > 0) AS facts(line)";

pub async fn fingerprint(conn: &mut PgConnection, layout: &Layout) -> Result<String> {
    let column =
        |pick: fn(&TableMap) -> &str| Arg::Texts(layout.tables.iter().map(|m| Some(pick(m).to_owned())).collect());
    let home = name::home(&layout.migration);
    let args = [column(|m| name::schema_of(&m.source)), column(|m| &m.source.name), home.as_str().into()];
    let rows = fetch(conn, FINGERPRINT, &args).await?;
    Ok(rows.first().map(|r| text(&r[0])).unwrap_or_default())
}

pub async fn overflowed(conn: &mut PgConnection, layout: &Layout) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT FROM {})", control(&layout.migration, OVERFLOW));
    Ok(fetch(conn, &sql, &[]).await?.first().is_some_and(|r| flag(&r[0])))
}

/// The limit lies so far behind the oldest key that is left (or the last one given out), and is moved only once a tenth
/// of that has been used up: a sequence's position costs nothing to read, an update each time would cost dead rows.
pub async fn advance_limit(conn: &mut PgConnection, layout: &Layout, reset: bool) -> Result<()> {
    if layout.tables.is_empty() {
        return Ok(());
    }
    let limits = control(&layout.migration, LIMIT);
    if reset {
        // Waits for those whose loss is told by one of these markers, or runs into the lock time-out: `Retry`.
        script(conn, format!("DELETE FROM {}", control(&layout.migration, OVERFLOW))).await?;
    }
    let given: Vec<String> = layout
        .tables
        .iter()
        .map(|m| format!("SELECT {}::bigint AS id, last_value AS last FROM {}", m.id.0, sequence(layout, m)))
        .collect();
    let sql = format!(
        "SELECT l.table_id, l.limit_seq, g.last FROM {limits} l JOIN ({}) g ON g.id = l.table_id",
        given.join(" UNION ALL ")
    );
    let (width, slack) = (layout.backlog_limit as i64, (layout.backlog_limit / 10) as i64);
    for row in fetch(conn, &sql, &[]).await? {
        let (id, limit, last) = (int(&row[0]), int(&row[1]), int(&row[2]));
        if !reset && limit.saturating_sub(last) >= width.saturating_sub(slack) {
            continue;
        }
        let oldest = if reset { None } else { oldest(conn, layout, id).await? };
        let moved = oldest.unwrap_or(last).saturating_add(width);
        if reset || moved.saturating_sub(limit) > slack {
            let sql = format!("UPDATE {limits} SET limit_seq = $1::bigint WHERE table_id = $2::bigint");
            execute(conn, &sql, &[moved.into(), id.into()]).await?;
        }
    }
    Ok(())
}

async fn oldest(conn: &mut PgConnection, layout: &Layout, id: i64) -> Result<Option<i64>> {
    let Some(map) = layout.tables.iter().find(|m| i64::from(m.id.0) == id) else { return Ok(None) };
    let sql = format!("SELECT min(seq) FROM {}", control(&layout.migration, &name::dirty(map.id)));
    Ok(fetch(conn, &sql, &[]).await?.first().and_then(|r| match &r[0] {
        Value::Null => None,
        other => Some(int(other)),
    }))
}
