//! What the install role makes and takes away: control tables and their rights, tables, triggers.
//!
//! DDL commits by itself here, so each step may be found done. What waits for a lock on a table gives up after a second
//! with `Retry`: meanwhile it would stall every other statement on that table. On tables that the application uses it
//! waits only when it found no moment without ([`in_passing`]).

use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnection;

use super::name::{self, account, literal, quote, table};
use super::query::{execute, fetch, script};
use super::{Arg, MySql, capture, catalog, int, text};
use crate::error::{Context, Error, Result};
use crate::mapping::Layout;
use crate::schema::{ForeignKey, NewTable, TableName};
use crate::value::Row;

/// Remembers whom we gave rights: they outlive the table that they are on, and must be taken back first.
const GRANTEES: &str = "grantees";
/// The comment of a table that we made, in front of whom we gave rights on it.
const MADE_FOR: &str = "made by migrate for ";

/// The last number given out for a table, whether or not its row is still there.
pub async fn last_number(conn: &mut MySqlConnection, table: &str) -> Result<i64> {
    let sql = "SELECT CAST(coalesce(AUTO_INCREMENT, 1) AS SIGNED) - 1 FROM information_schema.TABLES
        WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
    Ok(fetch(conn, sql, &[table.into()]).await?.first().map_or(0, |r| int(&r[0])))
}

/// Names that begin with the migration's prefix, in this database. `LEFT`, since `_` is a wildcard of `LIKE`.
async fn ours(conn: &mut MySqlConnection, migration: &str, sql: &str) -> Result<Vec<Row>> {
    let prefix = name::prefix(migration);
    fetch(conn, sql, &[Arg::from(prefix.as_str()), prefix.as_str().into()]).await
}

const OUR_TABLES: &str = "SELECT TABLE_NAME FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = DATABASE() AND LEFT(TABLE_NAME, char_length(?)) = ? ORDER BY 1";
const OUR_FUNCTIONS: &str = "SELECT ROUTINE_NAME FROM information_schema.ROUTINES
    WHERE ROUTINE_SCHEMA = DATABASE() AND LEFT(ROUTINE_NAME, char_length(?)) = ? ORDER BY 1";
const OUR_TRIGGERS: &str = "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS
    WHERE LEFT(TRIGGER_NAME, char_length(?)) = ? ORDER BY 1, 3, 2";

/// How long a moment is looked for in which nobody holds a lock on the table, and how often.
const LOOK_FOR: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// DDL on a table of the application. While it waits for its lock, a transaction that has read the table and now writes
/// it makes a deadlock, and the server ends that by failing the *application* (1213, measured on MariaDB 10.11: DDL
/// weighs more). So it is asked without waiting first (`lock_wait_timeout` of 0; MySQL knows none below a second).
pub async fn in_passing(conn: &mut MySqlConnection, sql: &str) -> Result<()> {
    script(conn, "SET SESSION lock_wait_timeout = 0").await?;
    let begun = Instant::now();
    let mut done = script(conn, sql).await;
    while done.as_ref().is_err_and(Error::is_retry) && begun.elapsed() < LOOK_FOR {
        tokio::time::sleep(LOOK_EVERY).await;
        done = script(conn, sql).await;
    }
    script(conn, "SET SESSION lock_wait_timeout = 1").await?;
    match done {
        Err(e) if e.is_retry() => script(conn, sql).await,
        done => done,
    }
}

impl MySql {
    pub(super) async fn make_home(&self, migration: &str, grantee: &str) -> Result<()> {
        let mut tx = self.open_install().await?;
        let doing = "making the place of the control tables";
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {}(grantee varchar(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY)",
            self.control_name(migration, GRANTEES)
        );
        script(&mut tx, sql).await.context(doing)?;
        self.grant(&mut tx, migration, grantee).await.context(doing)?;
        self.close(tx).await
    }

    /// Rights on each of our tables, for whoever does the daily work: a pattern can't be granted on tables.
    pub(super) async fn grant(&self, conn: &mut MySqlConnection, migration: &str, grantee: &str) -> Result<()> {
        let me = fetch(conn, "SELECT CURRENT_USER()", &[]).await?;
        if me.first().is_some_and(|r| text(&r[0]) == grantee) {
            return Ok(());
        }
        let (to, grantees) = (account(grantee), self.control_name(migration, GRANTEES));
        let remember = format!(
            "INSERT INTO {grantees}(grantee) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM {grantees} WHERE grantee = ?)"
        );
        execute(conn, &remember, &[grantee.into(), grantee.into()]).await?;
        for row in ours(conn, migration, OUR_TABLES).await? {
            let named = self.qualified(&text(&row[0]));
            script(conn, format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {named} TO {to}")).await?;
        }
        for row in ours(conn, migration, OUR_FUNCTIONS).await? {
            let named = self.qualified(&text(&row[0]));
            script(conn, format!("GRANT EXECUTE ON FUNCTION {named} TO {to}")).await?;
        }
        Ok(())
    }

    pub(super) async fn make_table(&self, new: &NewTable, grantee: &str) -> Result<()> {
        let doing = || format!("creating table {}", new.name);
        let mut tx = self.open_install().await?;
        let mariadb = capture::is_mariadb(&mut tx).await?;
        let mut parts: Vec<String> = Vec::new();
        for column in &new.columns {
            // The one collation that tells all texts apart has another name on each server.
            let spelled =
                |c: &String| if mariadb { c.clone() } else { c.replace("utf8mb4_nopad_bin", "utf8mb4_0900_bin") };
            let collation = column.collation.as_ref().map(|c| format!(" COLLATE {}", spelled(c))).unwrap_or_default();
            let null = if column.nullable && !new.primary_key.contains(&column.name) { "NULL" } else { "NOT NULL" };
            let default = new.default_of(&column.name).map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
            let number = if new.numbered.contains(&column.name) { " AUTO_INCREMENT" } else { "" };
            parts.push(format!("{} {}{collation} {null}{default}{number}", quote(&column.name), column.type_name));
        }
        if !new.primary_key.is_empty() {
            let key: Vec<String> = new.primary_key.iter().map(|c| quote(c)).collect();
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        let named = table(&new.name);
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {named}({}) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COMMENT = {}",
            parts.join(", "),
            literal(&format!("{MADE_FOR}{grantee}"))
        );
        script(&mut tx, sql).await.context(doing())?;
        let me = fetch(&mut tx, "SELECT CURRENT_USER()", &[]).await?;
        if me.first().is_none_or(|r| text(&r[0]) != grantee) {
            let sql = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {named} TO {}", account(grantee));
            script(&mut tx, sql).await.context(doing())?;
        }
        self.close(tx).await
    }

    /// Drops a table that we made, and takes back the rights that we gave on it, which would outlive it.
    pub(super) async fn unmake_table(&self, named: &TableName) -> Result<()> {
        let mut tx = self.open_install().await?;
        let sql = "SELECT TABLE_COMMENT FROM information_schema.TABLES
            WHERE TABLE_SCHEMA = coalesce(?, DATABASE()) AND TABLE_NAME = ?";
        let args: [Arg; 2] = [named.schema.as_deref().into(), named.name.as_str().into()];
        let found = fetch(&mut tx, sql, &args).await?;
        let comment = found.first().map(|r| text(&r[0])).unwrap_or_default();
        if let Some(who) = comment.strip_prefix(MADE_FOR) {
            revoke(&mut tx, &table(named), who).await?;
        }
        script(&mut tx, format!("DROP TABLE IF EXISTS {}", table(named)))
            .await
            .context(format_args!("dropping table {named}"))?;
        self.close(tx).await
    }

    /// Triggers first: one whose tables are gone would fail the application's every write. Then the rest.
    pub(super) async fn unmake(&self, migration: &str, keep_gate: bool) -> Result<Vec<String>> {
        let mut said = Vec::new();
        let mut tx = self.open_install().await?;
        let stays = |name: &str| keep_gate && is_of_gate(migration, name);
        for row in ours(&mut tx, migration, OUR_TRIGGERS).await? {
            if stays(&text(&row[1])) {
                continue;
            }
            let trigger = format!("{}.{}", quote(&text(&row[0])), quote(&text(&row[1])));
            in_passing(&mut tx, &format!("DROP TRIGGER IF EXISTS {trigger}"))
                .await
                .context(format_args!("removing a trigger of table {}", text(&row[2])))?;
            said.push(format!("trigger {} of table {}", text(&row[1]), text(&row[2])));
        }
        let functions = ours(&mut tx, migration, OUR_FUNCTIONS).await?;
        let tables: Vec<String> = ours(&mut tx, migration, OUR_TABLES).await?.iter().map(|r| text(&r[0])).collect();
        let grantees = name::control(migration, GRANTEES);
        let mut accounts = Vec::new();
        if tables.contains(&grantees) {
            let rows = fetch(&mut tx, &format!("SELECT grantee FROM {}", quote(&grantees)), &[]).await?;
            accounts = rows.iter().map(|r| text(&r[0])).collect();
        }
        for row in functions {
            let named = self.qualified(&text(&row[0]));
            script(&mut tx, format!("DROP FUNCTION IF EXISTS {named}")).await.context("removing a function")?;
            said.push(format!("function {}", text(&row[0])));
        }
        // The list of whom we gave rights goes last, so that a broken removal can be repeated.
        let tables: Vec<String> = tables.into_iter().filter(|name| !stays(name)).collect();
        let rest = tables.iter().filter(|t| **t != grantees).chain(tables.iter().filter(|t| **t == grantees));
        for name in rest {
            let named = self.qualified(name);
            for who in &accounts {
                revoke(&mut tx, &named, who).await?;
            }
            script(&mut tx, format!("DROP TABLE IF EXISTS {named}")).await.context("removing a control table")?;
            said.push(format!("table {name}"));
        }
        self.close(tx).await?;
        Ok(said)
    }

    /// Each foreign key of the target's tables, as the query that finds a row without its parent. Nothing is taken
    /// away: while ranges are pending the keys are not checked, which is a matter of the session.
    pub(super) async fn checks(&self, layout: &Layout) -> Result<Vec<String>> {
        let mut tx = self.open_install().await?;
        let mut checks = Vec::new();
        for map in &layout.tables {
            let found = catalog::describe(&mut tx, &map.target).await?;
            for key in found.iter().flat_map(|t| &t.foreign_keys) {
                let check = orphans(&map.target, key);
                if !checks.contains(&check) {
                    checks.push(check);
                }
            }
        }
        self.close(tx).await?;
        Ok(checks)
    }

    pub(super) async fn run_checks(&self, checks: &[String]) -> Result<()> {
        let mut tx = self.open("START TRANSACTION READ ONLY").await?;
        for check in checks {
            let found = fetch(&mut tx, check, &[]).await.context("checking a foreign key")?;
            let Some(row) = found.first() else { continue };
            return Err(Error::give_up(format!(
                "the target refuses a row of table \"{}\": its foreign key refers to a row of \"{}\" that is not there",
                text(&row[0]),
                text(&row[1])
            ))
            .hint("mend the row at the source, then run the same command again"));
        }
        self.close(tx).await
    }
}

/// What the gate's triggers are and read, and to whom rights on it were given.
fn is_of_gate(migration: &str, name: &str) -> bool {
    let own = name.strip_prefix(&name::prefix(migration)).unwrap_or_default();
    own.starts_with("gate_") || own == super::capture::APPLIER || own == GRANTEES
}

async fn revoke(conn: &mut MySqlConnection, named: &str, who: &str) -> Result<()> {
    let sql = format!("REVOKE SELECT, INSERT, UPDATE, DELETE ON {named} FROM {}", account(who));
    match sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await {
        Ok(_) => Ok(()),
        // There is no such grant, or no such account any more.
        Err(e) if matches!(super::errors::number(&e), Some(1141 | 1147 | 1269 | 1403)) => Ok(()),
        Err(e) => Err(super::errors::of(e)).context("taking back rights on a control table"),
    }
}

pub(super) fn orphans(child: &TableName, key: &ForeignKey) -> String {
    let pairs = key.columns.iter().zip(&key.referenced_columns);
    let same: Vec<String> = pairs.map(|(c, p)| format!("p.{} = c.{}", quote(p), quote(c))).collect();
    let set: Vec<String> = key.columns.iter().map(|c| format!("c.{} IS NOT NULL", quote(c))).collect();
    format!(
        "SELECT {}, {} FROM {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {}) LIMIT 1",
        literal(&child.to_string()),
        literal(&key.references.to_string()),
        table(child),
        set.join(" AND "),
        table(&key.references),
        same.join(" AND ")
    )
}
