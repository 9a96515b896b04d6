//! Whether an expression or a filter of a plan is a pure function of one row.
//!
//! SQLite itself knows: an index on an expression takes nothing but that (no subquery, no aggregate, no parameter, no
//! other table, no function that may change its mind). So a private, empty, in-memory copy of the table gets such an
//! index; the application's file is only read. What SQLite lets through there is refused by its words: an unknown
//! name in double quotes (it would be a *string*), date functions of the present or of the machine's zone, and the
//! bare `rowid`, which VACUUM changes.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};

use crate::error::{Error, Result};
use crate::schema::Table;

use super::dialect::table;
use super::tokens::{Token, tokens, unquote};

const CLOCKED: [&str; 7] = ["date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"];
const CLOCK_WORDS: [&str; 3] = ["current_date", "current_time", "current_timestamp"];

/// A private database that holds an empty copy of one table.
pub async fn copy_of(ddl: &str) -> Result<SqliteConnection, String> {
    let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
    let mut memory = options.connect().await.map_err(|e| short(&e))?;
    run(&mut memory, ddl).await?;
    Ok(memory)
}

pub async fn run(memory: &mut SqliteConnection, sql: &str) -> Result<(), String> {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(memory).await.map(|_| ()).map_err(|e| short(&e))
}

fn short(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| "SQLite can't copy the table".to_owned(), |e| e.message().to_owned())
}

/// `Ok(Err(reason))` where it is unfit.
pub async fn check(described: &Table, ddl: &str, expression: &str) -> Result<Result<(), String>> {
    if let Err(reason) = words(described, expression) {
        return Ok(Err(reason));
    }
    let mut memory = copy_of(ddl).await.map_err(|why| {
        Error::plan(format!("table \"{}\" needs something that only the application has: {why}", described.name))
    })?;
    let name = table(&described.name.name);
    let select = format!("SELECT ({expression}) FROM {name} LIMIT 0");
    let index = format!("CREATE INDEX \"migrate check\" ON {name} (({expression}))");
    for sql in [select, index] {
        if let Err(reason) = run(&mut memory, &sql).await {
            let reason = reason.replace("index expressions", "it").replace("in an index", "in it");
            return Ok(Err(match reason.strip_prefix("the \".\" operator") {
                Some(_) => "a column must be named without its table".to_owned(),
                None => reason,
            }));
        }
    }
    Ok(Ok(()))
}

fn words(described: &Table, expression: &str) -> Result<(), String> {
    let found: Vec<Token<'_>> = tokens(expression).into_iter().map(|(_, t)| t).collect();
    let column = |name: &str| described.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
    let mut depth = 0i32;
    let calls: Vec<usize> = (0..found.len()).filter(|&i| is_date_call(&found[i..])).collect();
    let clocked = !calls.is_empty();
    if let Some(&at) = calls.iter().find(|&&at| arguments(&found[at + 1..]) < usize::from(found[at].is("strftime")) + 1)
    {
        let Token::Word(name) = found[at] else { return Ok(()) };
        return Err(format!("{name}() without a time in it: the result depends on when it runs"));
    }
    for (i, token) in found.iter().enumerate() {
        match token {
            Token::Comment => return Err("a comment in it".to_owned()),
            Token::Open => return Err("a quote in it does not end".to_owned()),
            Token::Mark(';') => return Err("it must be one expression".to_owned()),
            Token::Mark('(') => depth += 1,
            Token::Mark(')') => depth -= 1,
            Token::Quoted(name) if !column(&unquote(name)) && found.get(i + 1) != Some(&Token::Mark('(')) => {
                let text = if name.starts_with('"') { " (a text stands in single quotes)" } else { "" };
                return Err(format!("no such column: {name}{text}"));
            }
            Token::Text(text) if clocked && depends_on_clock(text) => {
                return Err(format!("{text} in a date function: the result depends on when or where it runs"));
            }
            word if CLOCK_WORDS.iter().any(|c| word.is(c)) => {
                return Err("the result depends on when it runs".to_owned());
            }
            Token::Word(w @ ("rowid" | "oid" | "_rowid_")) if !column(w) => {
                return Err(format!("{w} is not kept by VACUUM"));
            }
            _ => {}
        }
        if depth < 0 {
            return Err("a parenthesis too many".to_owned());
        }
    }
    if depth == 0 { Ok(()) } else { Err("a parenthesis is missing".to_owned()) }
}

fn is_date_call(from: &[Token<'_>]) -> bool {
    matches!(from, [word, Token::Mark('('), ..] if CLOCKED.iter().any(|f| word.is(f)))
}

/// How many arguments stand in the parentheses that open here.
fn arguments(from: &[Token<'_>]) -> usize {
    let (mut depth, mut commas) = (0, 0);
    for (i, token) in from.iter().enumerate() {
        match token {
            Token::Mark('(') => depth += 1,
            Token::Mark(')') if depth == 1 => return if i == 1 { 0 } else { commas + 1 },
            Token::Mark(')') => depth -= 1,
            Token::Mark(',') if depth == 1 => commas += 1,
            _ => {}
        }
    }
    commas + 1
}

fn depends_on_clock(text: &str) -> bool {
    let word = unquote(text).trim().to_ascii_lowercase();
    matches!(word.as_str(), "now" | "localtime" | "utc")
}
