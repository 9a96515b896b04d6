//! The gate's triggers, which hang from the beginning: DDL here waits for readers and stalls everybody behind it.
//!
//! Only a locking read counts for passing, since a plain one shows an older snapshot. A trigger reads both rows plainly,
//! and refuses by that without a lock, since a refused statement would keep it. Otherwise it reads the fence's row again
//! in share mode. Whoever fences changes that row, and so waits for every writer that passed, and they for it:
//! behind its commit each one reads the deadline. Open, that row also means that the owner's is open ([`gate`]), and
//! stays so while it is shared: one lock is enough. Closed and past its deadline it means nothing, and the owner's row is
//! read in share mode as well. Whoever decides changes that one. Both take the fence's row first, so they make no deadlock.
//!
//! What the wait for a row may last counts in milliseconds on MariaDB (`max_statement_time`), in whole seconds on MySQL.
//! Whoever writes meanwhile waits behind us, no longer than we do.
//!
//! Three kinds of writers hold no such lock. A prepared XA transaction that outlived a restart has lost its share locks:
//! all prepared ones must end before a fence counts. A snapshot older than the gate's table can't read it (1412): its
//! transaction passes, and must end as well; it is known by its age, where its session uses this database. `TRUNCATE`
//! fires no trigger.
//!
//! A refused write gets SQLSTATE 45000 (1644). The clock is the lesser of two: one is wrong in the hour in which a
//! session's time zone sets its clock back, the other a session may set.
//!
//! [`gate`]: crate::store::gate

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::name::{self, literal, quote, table};
use super::query::{fetch, script};
use super::{MySql, Tx, capture, install, int, text};
use crate::entry::TableId;
use crate::error::{Context, Error, Result};
use crate::mapping::Layout;
use crate::schema::TableName;
use crate::store::engine::Engine;
use crate::store::gate::{FENCE, OWNER, TABLE_MAX, arm, gate_table, plan_side, refusal, scope_column, tables};
use crate::store::{Fence, Side};

const EVENTS: [&str; 3] = ["insert", "update", "delete"];
const LIST_TRIES: usize = 20;

/// The server makes its list of transactions anew when nobody has read it for a tenth of a second: of several who wait
/// for that, none may keep the others from it.
fn list_age() -> Duration {
    let odd = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.subsec_micros());
    Duration::from_millis(105 + u64::from(odd % 150))
}

/// The lesser of the two clocks.
fn now() -> String {
    let other = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000";
    format!("LEAST({}, {other})", <MySql as Engine>::NOW_MS)
}

fn body(e: &MySql, layout: &Layout, side: Side, named: &TableName, grantee: &str, event: &str) -> String {
    if let Some(scope) = scope_column(layout, side, named) {
        return scoped_body(e, layout, side, named, grantee, event, scope);
    }
    let gate = e.control_name(layout.base(), gate_table(layout, side));
    let now = now();
    let short: String = named.name.chars().take(TABLE_MAX).collect();
    format!(
        "body: BEGIN DECLARE migrate_fence, migrate_until, migrate_owner BIGINT DEFAULT NULL; \
         DECLARE migrate_old BIGINT DEFAULT 0; \
         DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END; DECLARE CONTINUE HANDLER FOR 1412 SET migrate_old = 1; \
         IF {applier} THEN LEAVE body; END IF; \
         SELECT f.closed, f.deadline_ms, o.closed INTO migrate_fence, migrate_until, migrate_owner \
         FROM {gate} f JOIN {gate} o ON o.id = {OWNER} WHERE f.id = {FENCE}; \
         IF coalesce(migrate_owner, 0) = 0 AND (coalesce(migrate_fence, 0) = 0 OR {now} >= migrate_until) THEN \
         SELECT closed, deadline_ms INTO migrate_fence, migrate_until FROM {gate} WHERE id = {FENCE} LOCK IN SHARE MODE; \
         IF migrate_old = 1 OR migrate_fence = 0 THEN LEAVE body; END IF; \
         IF {now} >= migrate_until THEN SET migrate_owner = NULL; \
         SELECT closed INTO migrate_owner FROM {gate} WHERE id = {OWNER} LOCK IN SHARE MODE; \
         IF migrate_owner = 0 THEN LEAVE body; END IF; END IF; END IF; \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = {refusal}; END",
        applier = capture::is_applier(e, layout, grantee),
        refusal = literal(&refusal(&short)),
    )
}

/// As for whole tables, but of the owners' rows the one that the row's scope has, or else the rest's; an update asks for
/// both images. A closed fence's row says nothing of a scope that it does not cover, so then the owner's row is always
/// read in share mode.
fn scoped_body(
    e: &MySql,
    layout: &Layout,
    side: Side,
    named: &TableName,
    grantee: &str,
    event: &str,
    scope: &str,
) -> String {
    let gate = e.control_name(layout.base(), gate_table(layout, side));
    let now = now();
    let short: String = named.name.chars().take(TABLE_MAX).collect();
    let images: &[&str] = match event {
        "insert" => &["NEW"],
        "delete" => &["OLD"],
        _ => &["OLD", "NEW"],
    };
    let one = |image: &&str| {
        let scope = name::scope_text(&format!("{image}.{}", quote(scope)));
        format!(
            "one: BEGIN SET migrate_scope = {scope}, migrate_row = NULL, migrate_owner = NULL, migrate_covered = NULL; \
             SELECT id, closed, fenced INTO migrate_row, migrate_owner, migrate_covered FROM {gate} WHERE scope = migrate_scope; \
             IF migrate_row IS NULL THEN SELECT id, closed, fenced INTO migrate_row, migrate_owner, migrate_covered \
             FROM {gate} WHERE id = {OWNER}; END IF; \
             SELECT closed, deadline_ms INTO migrate_fence, migrate_until FROM {gate} WHERE id = {FENCE}; \
             IF coalesce(migrate_owner, 0) = 0 AND (coalesce(migrate_fence, 0) = 0 OR coalesce(migrate_covered, 0) = 0 \
             OR {now} >= migrate_until) THEN \
             SELECT closed, deadline_ms INTO migrate_fence, migrate_until FROM {gate} WHERE id = {FENCE} LOCK IN SHARE MODE; \
             IF migrate_old = 1 OR migrate_fence = 0 THEN LEAVE one; END IF; \
             SET migrate_row = NULL, migrate_owner = NULL, migrate_covered = NULL; \
             SELECT id, closed, fenced INTO migrate_row, migrate_owner, migrate_covered FROM {gate} \
             WHERE scope = migrate_scope LOCK IN SHARE MODE; \
             IF migrate_row IS NULL THEN SELECT id, closed, fenced INTO migrate_row, migrate_owner, migrate_covered \
             FROM {gate} WHERE id = {OWNER} LOCK IN SHARE MODE; END IF; \
             IF migrate_owner = 0 AND (migrate_covered = 0 OR {now} >= migrate_until) THEN LEAVE one; END IF; END IF; \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = {refusal}; END one;",
            refusal = literal(&refusal(&short)),
        )
    };
    format!(
        "body: BEGIN DECLARE migrate_fence, migrate_until, migrate_owner, migrate_row, migrate_covered BIGINT DEFAULT NULL; \
         DECLARE migrate_scope {} DEFAULT NULL; DECLARE migrate_old BIGINT DEFAULT 0; \
         DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END; DECLARE CONTINUE HANDLER FOR 1412 SET migrate_old = 1; \
         IF {} THEN LEAVE body; END IF; {} END",
        name::SCOPE,
        capture::is_applier(e, layout, grantee),
        images.iter().map(one).collect::<Vec<_>>().join(" "),
    )
}

/// At most 64 characters, and not what the fingerprint looks for.
fn trigger(layout: &Layout, side: Side, id: TableId, event: &str) -> String {
    let short = if plan_side(layout, side) == Side::Source { "s" } else { "t" };
    name::control(layout.base(), &format!("gate_{short}{}_{event}", id.0))
}

impl MySql {
    /// The rows say whether they refuse. What hangs as it must is left alone.
    pub(super) async fn gate_hang(&self, layout: &Layout, side: Side, grantee: &str) -> Result<()> {
        let mut tx = self.open_install().await?;
        let mariadb = capture::is_mariadb(&mut tx).await?;
        for (id, named) in tables(layout, side) {
            let doing = || format!("hanging the gate of table {named}");
            for event in EVENTS {
                let body = body(self, layout, side, named, grantee, event);
                let bare = trigger(layout, side, id, event);
                if capture::has_trigger(&mut tx, named, &bare, &body).await? {
                    continue;
                }
                let trigger = table(&TableName { schema: named.schema.clone(), name: bare });
                let when = format!("AFTER {} ON {} FOR EACH ROW {body}", event.to_ascii_uppercase(), table(named));
                let create = if mariadb { "CREATE OR REPLACE TRIGGER" } else { "CREATE TRIGGER" };
                if !mariadb {
                    let drop = format!("DROP TRIGGER IF EXISTS {trigger}");
                    install::in_passing(&mut tx, &drop).await.context(doing())?;
                }
                install::in_passing(&mut tx, &format!("{create} {trigger} {when}")).await.context(doing())?;
            }
        }
        self.close(tx).await
    }

    pub(super) async fn gate_shut(&self, l: &Layout, side: Side, fence: &Fence<'_>, deadline_ms: i64) -> Result<()> {
        let mut tx = self.open_install().await?;
        self.gate_take(&mut tx, l, side, FENCE, fence.lock_timeout_ms).await?;
        arm(self, &mut tx, l, side, fence, deadline_ms).await.context("setting the fence")?;
        self.close(tx).await?;
        let begun = Instant::now();
        let mut left = self.without_lock(l, side).await?;
        while !left.is_empty() && begun.elapsed().as_millis() < fence.lock_timeout_ms.max(0) as u128 {
            tokio::time::sleep(list_age()).await;
            let now = self.without_lock(l, side).await?;
            left.retain(|who| now.contains(who));
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::retry(format!("what was written before may not have ended yet: {}", left.join("; ")))
            .hint("wait until it has ended, or end it; then the same command goes on"))
    }

    /// The row is ours until the transaction ends. A time-out says who may hold it.
    pub(super) async fn gate_take(
        &self,
        tx: &mut Tx,
        layout: &Layout,
        side: Side,
        row: i64,
        limit_ms: i64,
    ) -> Result<()> {
        let gate = self.control_name(layout.base(), gate_table(layout, side));
        let lock = format!("SELECT id FROM {gate} WHERE id = {row} FOR UPDATE");
        let limit_ms = limit_ms.max(1);
        let locked = if capture::is_mariadb(tx).await? {
            let seconds = format!("{}.{:03}", limit_ms / 1000, limit_ms % 1000);
            script(tx, format!("SET STATEMENT max_statement_time = {seconds} FOR {lock}")).await
        } else {
            script(tx, "SET SESSION innodb_lock_wait_timeout = 1").await?;
            let locked = script(tx, lock).await;
            script(tx, "SET SESSION innodb_lock_wait_timeout = 5").await?;
            locked
        };
        match locked {
            Err(e) if e.is_retry() => {
                let mut who = holders(tx).await;
                who.extend(prepared(tx).await);
                let who = if who.is_empty() { "who held it is not to be seen".to_owned() } else { who.join("; ") };
                Err(Error::retry(format!("the gate's row was not free in time ({limit_ms} ms): {who}"))
                    .context("shutting or opening the gate")
                    .hint("wait until it has ended, or end it; then the same command goes on"))
            }
            done => done,
        }
    }

    /// Writers that no row's lock stands for.
    async fn without_lock(&self, layout: &Layout, side: Side) -> Result<Vec<String>> {
        let mut tx = self.open_install().await?;
        let bare = name::control(layout.base(), gate_table(layout, side));
        // The server lists only transactions that have done something, ours too.
        let begin = format!("SELECT id FROM {} WHERE id = {FENCE} LOCK IN SHARE MODE", quote(&bare));
        script(&mut tx, begin).await?;
        let mut tries = 0;
        let old = loop {
            let rows =
                fetch(&mut tx, OLDER, &[bare.as_str().into()]).await.context("looking for older transactions")?;
            if rows.iter().any(|r| int(&r[2]) == 1) {
                break rows;
            }
            if tries == LIST_TRIES {
                return Err(Error::retry("the server's list of transactions is out of date"));
            }
            tries += 1;
            tokio::time::sleep(list_age()).await;
        };
        let each = |r: &crate::value::Row| format!("session {} of {}, older than the gate", int(&r[0]), text(&r[1]));
        let mut found: Vec<String> = old.iter().filter(|r| int(&r[2]) == 0).map(each).collect();
        found.extend(prepared(&mut tx).await);
        self.close(tx).await?;
        Ok(found)
    }
}

/// Who has locks; needs the right PROCESS. Never their statements: those have values.
async fn holders(conn: &mut MySqlConnection) -> Vec<String> {
    let sql = "SELECT CAST(t.trx_mysql_thread_id AS SIGNED), coalesce(p.USER, '?'), coalesce(p.COMMAND, '?'),
            TIMESTAMPDIFF(SECOND, t.trx_started, (SELECT max(trx_started) FROM information_schema.INNODB_TRX))
        FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
        WHERE t.trx_mysql_thread_id <> CONNECTION_ID() AND t.trx_rows_locked > 0
        ORDER BY coalesce(p.DB = DATABASE(), 0) DESC, t.trx_started LIMIT 5";
    let each = |r: &crate::value::Row| {
        let (id, user, command, seconds) = (int(&r[0]), text(&r[1]), text(&r[2]), int(&r[3]));
        format!("session {id} of {user} ({command}), in a transaction for {seconds} s")
    };
    match fetch(conn, sql, &[]).await {
        Ok(rows) => rows.iter().map(each).collect(),
        Err(_) => vec!["the right PROCESS would let us name who holds it".to_owned()],
    }
}

/// Prepared XA transactions, of any database. Nothing where we may not know.
async fn prepared(conn: &mut MySqlConnection) -> Vec<String> {
    let rows = sqlx::raw_sql(AssertSqlSafe("XA RECOVER")).fetch_all(conn).await.unwrap_or_default();
    let each = |row: &MySqlRow| {
        let data = row.try_get_unchecked::<Vec<u8>, _>("data").unwrap_or_default();
        let gtrid = row.try_get_unchecked::<i64, _>("gtrid_length").unwrap_or_default();
        let gtrid = usize::try_from(gtrid).unwrap_or_default().min(data.len());
        format!("prepared transaction '{}'", String::from_utf8_lossy(&data[..gtrid]))
    };
    rows.iter().map(each).collect()
}

/// And ourselves, or the list is one from before. Ages are compared, since the two times are not in one time zone. They
/// are in whole seconds.
const OLDER: &str = "SELECT CAST(t.trx_mysql_thread_id AS SIGNED), coalesce(p.USER, '?'),
        t.trx_mysql_thread_id = CONNECTION_ID()
    FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
    JOIN information_schema.INNODB_TRX me ON me.trx_mysql_thread_id = CONNECTION_ID()
    JOIN information_schema.TABLES g ON g.TABLE_SCHEMA = DATABASE() AND g.TABLE_NAME = ?
    WHERE t.trx_mysql_thread_id = CONNECTION_ID() OR (
        t.trx_isolation_level IN ('REPEATABLE READ', 'SERIALIZABLE') AND coalesce(p.DB, DATABASE()) = DATABASE()
        AND TIMESTAMPDIFF(SECOND, t.trx_started, me.trx_started) + 1 >= TIMESTAMPDIFF(SECOND, g.CREATE_TIME, NOW()))
    ORDER BY 1";
