//! What the server says of itself and of whatever else touches the plan's tables. Only reads, with the login of daily
//! work.

use sqlx::mysql::MySqlConnection;

use super::name::quote;
use super::query::fetch;
use super::{int, text};
use crate::check;
use crate::error::Result;
use crate::finding::{Finding, Health, Rule};
use crate::mapping::Layout;
use crate::schema::TableName;
use crate::store::Side;
use crate::value::Row;

/// Common table expressions, `utf8mb4_nopad_bin`, `idle_transaction_timeout`, atomic DDL.
const OLDEST_MARIADB: (u32, u32) = (10, 6);
/// Common table expressions, `utf8mb4_0900_bin`, metadata locks that outlive a crash.
const OLDEST_MYSQL: (u32, u32) = (8, 0);

const SERVER: &str = "SELECT VERSION(), @@global.read_only, @@global.sql_mode, @@global.max_allowed_packet,
        @@global.innodb_flush_log_at_trx_commit, @@global.innodb_doublewrite, @@global.innodb_flush_method,
        CURRENT_USER(), concat_ws(' ', @@hostname, @@port, @@datadir, DATABASE()),
        (SELECT count(*) FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'SUPER'
          AND GRANTEE = concat('''', replace(CURRENT_USER(), '@', '''@'''), ''''))";

/// `Slave_running` is ON while both threads run, `Slaves_running` counts such connections; MySQL has neither name.
const REPLICA: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_running', 'Slaves_running')";

const TRIGGERS: &str = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS
    WHERE EVENT_OBJECT_SCHEMA = coalesce(?, DATABASE()) AND EVENT_OBJECT_TABLE = ?
      AND LEFT(TRIGGER_NAME, 9) <> '_migrate_' ORDER BY 1";

/// By the table that each belongs to; a constraint of one column bears that column's name.
const RULES_MARIADB: &str = "SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
    WHERE CONSTRAINT_SCHEMA = coalesce(?, DATABASE()) AND TABLE_NAME = ? ORDER BY 1";
const RULES_MYSQL: &str = "SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS c
    JOIN information_schema.TABLE_CONSTRAINTS t
      ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME
    WHERE t.CONSTRAINT_SCHEMA = coalesce(?, DATABASE()) AND t.TABLE_NAME = ? AND t.CONSTRAINT_TYPE = 'CHECK'
      AND t.ENFORCED = 'YES' ORDER BY 1";

const COLUMNS: &str = "SELECT COLUMN_NAME FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = coalesce(?, DATABASE()) AND TABLE_NAME = ?";

pub async fn look(conn: &mut MySqlConnection, side: Side, layout: &Layout) -> Result<Health> {
    let mut health = Health::default();
    let mut is_mariadb = true;
    if let Some(row) = fetch(conn, SERVER, &[]).await?.first() {
        is_mariadb = text(&row[0]).contains("MariaDB");
        health.identity = Some(format!("mysql {}", text(&row[8])));
        health.packet_bytes = u64::try_from(int(&row[3])).ok().filter(|n| *n > 0);
        health.found = of_server(row, is_mariadb);
    }
    let threads = fetch(conn, REPLICA, &[]).await?;
    if threads.iter().any(|r| !["OFF", "0", ""].contains(&text(&r[1]).as_str())) {
        let message = "the server is a replica: rows that come by replication fire no triggers, and what is written \
                       here its primary does not know";
        health.found.push(Finding::new(&check::READ_ONLY, message, "give the primary's address in the plan"));
    }
    health.found.extend(prepared(conn).await);
    let rules = if is_mariadb { RULES_MARIADB } else { RULES_MYSQL };
    for map in &layout.tables {
        let name = if side == Side::Source { &map.source } else { &map.target };
        if side == Side::Target {
            health.found.extend(triggers(conn, name).await?);
        }
        health.rules.extend(of_table(conn, name, rules).await?);
    }
    Ok(health)
}

/// `10.11.19-MariaDB-log` and `8.0.36`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn of_server(row: &Row, is_mariadb: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |check, message: String, hint: &str| found.push(Finding::new(check, message, hint));
    let (product, oldest) = if is_mariadb { ("MariaDB", OLDEST_MARIADB) } else { ("MySQL", OLDEST_MYSQL) };
    if version(&text(&row[0])).is_some_and(|v| v < oldest) {
        let message = format!("{product} {} is too old", text(&row[0]));
        add(&check::OLD_SERVER, message, &format!("upgrade it to {}.{} or later", oldest.0, oldest.1));
    }
    if is_on(row, 1) {
        let hint = "give the primary's address in the plan, or SET GLOBAL read_only = 0 if it is no replica";
        add(&check::READ_ONLY, "the server is read-only".to_owned(), hint);
    }
    let modes = text(&row[2]).to_ascii_uppercase();
    if !modes.split(',').any(|m| m.starts_with("STRICT_") || m == "TRADITIONAL") {
        let message = "sql_mode is not strict: what does not fit a column is cut or zeroed for an application";
        add(&check::LAX_MODE, message.to_owned(), "SET GLOBAL sql_mode with STRICT_TRANS_TABLES in it");
    }
    let mut unsafe_settings = Vec::new();
    if int(&row[4]) != 1 {
        unsafe_settings.push(format!("innodb_flush_log_at_trx_commit is {}", int(&row[4])));
    }
    if !is_on(row, 5) {
        unsafe_settings.push("innodb_doublewrite is off".to_owned());
    }
    let method = text(&row[6]).to_ascii_lowercase();
    if method == "nosync" {
        unsafe_settings.push("innodb_flush_method is nosync".to_owned());
    }
    if !unsafe_settings.is_empty() {
        let message = format!("{}: a power cut may lose or damage what was committed", unsafe_settings.join(" and "));
        add(
            &check::NOT_SAFE,
            message,
            "SET GLOBAL innodb_flush_log_at_trx_commit = 1; the others in its configuration",
        );
    }
    if int(&row[9]) > 0 {
        let message = format!("the login {} has the right SUPER, which migrate never needs", text(&row[7]));
        add(&check::SUPERUSER, message, "use a login with the least rights; `migrate grants PLAN` prints them");
    }
    found
}

/// A setting that is shown as a number or as a word (MySQL's doublewrite knows more words than ON).
fn is_on(row: &Row, i: usize) -> bool {
    match text(&row[i]).as_str() {
        "" => int(&row[i]) != 0,
        word => !word.eq_ignore_ascii_case("OFF") && word != "0",
    }
}

/// MySQL shows these to few logins; who may not look says nothing.
async fn prepared(conn: &mut MySqlConnection) -> Option<Finding> {
    let open = fetch(conn, "XA RECOVER", &[]).await.map_or(0, |rows| rows.len());
    let message = format!("{open} prepared transactions are open, and hold their locks until they are ended");
    let hint = "XA COMMIT or XA ROLLBACK what XA RECOVER lists and nobody needs";
    (open > 0).then(|| Finding::new(&check::PREPARED, message, hint))
}

fn by_name(name: &TableName) -> [super::Arg; 2] {
    [name.schema.as_deref().into(), name.name.as_str().into()]
}

async fn triggers(conn: &mut MySqlConnection, name: &TableName) -> Result<Option<Finding>> {
    let rows = fetch(conn, TRIGGERS, &by_name(name)).await?;
    let found: Vec<String> = rows.iter().map(|r| format!("\"{}\"", text(&r[0]))).collect();
    let message = format!("\"{name}\" has triggers that fire for every row that arrives: {}", found.join(", "));
    let hint = "drop those that must not until the cut over: what they do was perhaps done at the source already";
    Ok((!found.is_empty()).then(|| Finding::new(&check::TARGET_TRIGGER, message, hint).table(name)))
}

async fn of_table(conn: &mut MySqlConnection, name: &TableName, sql: &str) -> Result<Vec<Rule>> {
    let rows = fetch(conn, sql, &by_name(name)).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let columns: Vec<String> = fetch(conn, COLUMNS, &by_name(name)).await?.iter().map(|r| text(&r[0])).collect();
    let rule = |row: &Row| {
        let clause = text(&row[1]);
        // The server itself has quoted every name in the clause.
        let read = columns.iter().filter(|c| clause.contains(&quote(c))).cloned().collect();
        Rule { table: name.clone(), name: text(&row[0]), text: clause, columns: Some(read) }
    };
    Ok(rows.iter().map(rule).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn server(version: &str, settings: [&str; 4]) -> Vec<&'static str> {
        let t = |t: &str| Value::Text(t.to_owned());
        let [read_only, mode, flush, doublewrite] = settings;
        let row = vec![
            t(version),
            t(read_only),
            t(mode),
            Value::Int(1 << 24),
            Value::Int(flush.parse().unwrap()),
            t(doublewrite),
            t("fsync"),
            t("me@%"),
            t("here"),
            Value::Int(0),
        ];
        of_server(&row, version.contains("MariaDB")).iter().map(|f| f.check.id).collect()
    }

    #[test]
    fn a_server_is_judged_by_its_settings() {
        let strict = "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION";
        let none: [&str; 0] = [];
        assert_eq!(server("10.11.19-MariaDB-0+deb12u1-log", ["0", strict, "1", "ON"]), none);
        assert_eq!(server("8.0.36", ["0", "TRADITIONAL", "1", "DETECT_AND_RECOVER"]), none);
        assert_eq!(server("5.7.44-log", ["0", strict, "1", "ON"]), ["MG0402"]);
        assert_eq!(server("10.5.1-MariaDB", ["0", strict, "1", "1"]), ["MG0402"]);
        assert_eq!(server("11.4.2-MariaDB", ["ON", "ANSI", "0", "OFF"]), ["MG0403", "MG0412", "MG0405"]);
        assert_eq!(version("later"), None, "what can't be read is not judged");
    }
}
