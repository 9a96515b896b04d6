//! What the file says of itself, and which triggers and CHECK constraints of others its tables have. Only reads.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use crate::check;
use crate::error::Result;
use crate::finding::{Finding, Health, Rule};
use crate::mapping::Layout;
use crate::schema::TableName;
use crate::store::Side;

use super::catalog;
use super::connection::{File, Purpose, Tx};
use super::dialect::text;
use super::errors;
use super::tokens::{Token, tokens, unquote};

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

pub async fn look(file: &File, side: Side, layout: &Layout) -> Result<Health> {
    let mut health = Health { free_bytes: free_bytes(&file.path), ..Health::default() };
    health.identity = std::fs::metadata(&file.path).ok().map(|m| format!("sqlite {} {}", m.dev(), m.ino()));
    let mut tx = file.begin(Purpose::Read).await?;
    health.encoding = strings(&mut tx, file, "SELECT encoding FROM pragma_encoding").await?.pop();
    let mode = strings(&mut tx, file, "SELECT journal_mode FROM pragma_journal_mode").await?.pop().unwrap_or_default();
    if mode != "wal" {
        let message = format!("the file's journal mode is {mode}: `apply` switches it to WAL, `abort` back");
        health.found.push(Finding::new(&check::JOURNAL, message, "PRAGMA journal_mode = WAL does it beforehand"));
    }
    for map in &layout.tables {
        let name = if side == Side::Source { &map.source } else { &map.target };
        if side == Side::Target {
            health.found.extend(triggers(&mut tx, file, name).await?);
        }
        if let Some(entry) = catalog::entry(&mut tx, file, name).await? {
            let columns = catalog::describe_in(&mut tx, file, name).await?.map(|t| t.columns).unwrap_or_default();
            let columns: Vec<String> = columns.into_iter().map(|c| c.name).collect();
            health.rules.extend(rules(name, &entry.ddl, &columns));
        }
    }
    Ok(health)
}

async fn strings(tx: &mut Tx, file: &File, sql: &str) -> Result<Vec<String>> {
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(tx.writer().await?).await;
    rows.map_err(|e| file.error(e))?.iter().map(|r| r.try_get(0).map_err(|e| file.error(e))).collect()
}

async fn triggers(tx: &mut Tx, file: &File, name: &TableName) -> Result<Option<Finding>> {
    let sql = format!(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = {} COLLATE NOCASE \
         AND substr(name, 1, 9) <> '_migrate_' ORDER BY name",
        text(&name.name)
    );
    let found: Vec<_> = strings(tx, file, &sql).await?.iter().map(|n| format!("\"{n}\"")).collect();
    let message = format!("\"{name}\" has triggers that fire for every row that arrives: {}", found.join(", "));
    let hint = "drop those that must not until the cut over: what they do was perhaps done at the source already";
    Ok((!found.is_empty()).then(|| Finding::new(&check::TARGET_TRIGGER, message, hint).table(name)))
}

/// The CHECK constraints of a table's definition. SQLite lists them nowhere else.
fn rules(table: &TableName, ddl: &str, columns: &[String]) -> Vec<Rule> {
    let words: Vec<(usize, Token<'_>)> = tokens(ddl).into_iter().filter(|(_, t)| *t != Token::Comment).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at + 1 < words.len() {
        let opens = words[at].1.is("CHECK") && words[at + 1].1 == Token::Mark('(');
        let Some(end) = opens.then(|| closing(&words, at + 1)).flatten() else {
            at += 1;
            continue;
        };
        let inside = &words[at + 2..end];
        let reads = |name: &&String| inside.iter().any(|(_, t)| names(t, name));
        let named = at >= 2 && words[at - 2].1.is("CONSTRAINT");
        let name = if named { unquoted(&words[at - 1].1) } else { format!("check {}", found.len() + 1) };
        let body = ddl.get(words[at + 1].0 + 1..words[end].0).unwrap_or_default().trim();
        let read = columns.iter().filter(reads).cloned().collect();
        found.push(Rule { table: table.clone(), name, text: body.to_owned(), columns: Some(read) });
        at = end;
    }
    found
}

/// The parenthesis that closes the one at `open`.
fn closing(words: &[(usize, Token<'_>)], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (i, (_, token)) in words.iter().enumerate().skip(open) {
        depth += match token {
            Token::Mark('(') => 1,
            Token::Mark(')') => -1,
            _ => 0,
        };
        if depth == 0 {
            return Some(i);
        }
    }
    None
}

fn unquoted(token: &Token<'_>) -> String {
    match token {
        Token::Word(word) => (*word).to_owned(),
        Token::Quoted(name) | Token::Text(name) => unquote(name),
        _ => String::new(),
    }
}

fn names(token: &Token<'_>, column: &str) -> bool {
    matches!(token, Token::Word(_) | Token::Quoted(_)) && unquoted(token).eq_ignore_ascii_case(column)
}

/// What the file system leaves to this user.
#[allow(clippy::useless_conversion)] // the fields are narrower on other systems
fn free_bytes(path: &Path) -> Option<u64> {
    let directory = CString::new(errors::directory(path).as_os_str().as_bytes()).ok()?;
    let mut told = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte, and the structure is read only where the call says that it was filled.
    let told = unsafe {
        if libc::statvfs(directory.as_ptr(), told.as_mut_ptr()) != 0 {
            return None;
        }
        told.assume_init()
    };
    Some(u64::from(told.f_bavail).saturating_mul(u64::from(told.f_frsize)))
}

/// Interrupts what runs on this connection after a while; zero takes that back, since the connection serves others too.
pub async fn limit_time(connection: &mut SqliteConnection, limit: Duration) -> sqlx::Result<()> {
    let until = Instant::now() + limit;
    let mut handle = connection.lock_handle().await?;
    if limit.is_zero() {
        handle.remove_progress_handler();
    } else {
        handle.set_progress_handler(STEPS, move || Instant::now() < until);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_from_the_definition() {
        let ddl = "CREATE TABLE t (id INTEGER CHECK (id > 0), -- CHECK (no)\n v TEXT DEFAULT 'CHECK (x)',
            CONSTRAINT \"a \"\"b\" CHECK (length(v) < (3 + id)), n INT CHECK(n IN (1, ')')))";
        let table = TableName { schema: None, name: "t".into() };
        let found = rules(&table, ddl, &["id".into(), "v".into(), "N".into()]);
        let told: Vec<_> = found.iter().map(|r| (r.name.as_str(), r.text.as_str())).collect();
        assert_eq!(told, [("check 1", "id > 0"), ("a \"b", "length(v) < (3 + id)"), ("check 3", "n IN (1, ')')")]);
        let columns: Vec<_> = found.iter().map(|r| r.columns.clone().unwrap_or_default().join(" ")).collect();
        assert_eq!(columns, ["id", "id v", "N"]);
    }

    #[test]
    fn the_disk_of_a_directory_is_known() {
        assert!(free_bytes(Path::new("/tmp/x.db")).is_some_and(|n| n > 0));
        assert_eq!(free_bytes(Path::new("/no/such/directory/x.db")), None);
    }
}
