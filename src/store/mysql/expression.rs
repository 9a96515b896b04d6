//! Whether an expression or a filter may stand in a plan: it reads one row of one table, and nothing else decides it.
//!
//! The server keeps no word on what is immutable, so only listed functions are let through, by token; then the server
//! parses it over the table and tells its type.

use sqlx::mysql::{MySql, MySqlConnection};
use sqlx::{AssertSqlSafe, Column as _, Either, Executor, SqlSafeStr, Statement as _, Type, TypeInfo};

use super::name::table;
use super::{catalog, errors};
use crate::error::Result;
use crate::schema::{Kind, Table, TableName};

type Verdict = Result<Option<Kind>, String>;

const WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "xor",
    "is",
    "null",
    "true",
    "false",
    "unknown",
    "in",
    "between",
    "like",
    "rlike",
    "regexp",
    "escape",
    "case",
    "when",
    "then",
    "else",
    "end",
    "div",
    "mod",
    "as",
    "using",
    "collate",
    "binary",
    "char",
    "signed",
    "unsigned",
    "decimal",
    "date",
    "time",
    "datetime",
    "double",
    "interval",
    "from",
    "for",
    "both",
    "leading",
    "trailing",
    "character",
    "set",
    "utf8mb4",
    "utf8mb3",
    "utf8",
    "latin1",
    "ascii",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "microsecond",
    "quarter",
    "week",
    "nchar",
    "float",
    "integer",
    "int",
];

/// What reads more than the row, even where a column has such a name: that one must stand in backticks.
const NEVER: &[&str] = &[
    "select",
    "with",
    "values",
    "value",
    "exists",
    "all",
    "any",
    "some",
    "into",
    "limit",
    "union",
    "over",
    "table",
    "row",
    "default",
    "match",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "utc_date",
    "utc_time",
    "utc_timestamp",
    "current_user",
    "current_role",
    "session_user",
    "system_user",
    "user",
    "next",
    "previous",
];

/// Functions of their arguments alone, whatever session or server.
const FUNCTIONS: &[&str] = &[
    "abs",
    "ascii",
    "bin",
    "bit_length",
    "cast",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "conv",
    "convert",
    "crc32",
    "date",
    "date_add",
    "date_sub",
    "datediff",
    "day",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "elt",
    "exp",
    "extract",
    "field",
    "find_in_set",
    "floor",
    "greatest",
    "hex",
    "hour",
    "if",
    "ifnull",
    "inet_aton",
    "inet_ntoa",
    "insert",
    "instr",
    "isnull",
    "json_extract",
    "json_unquote",
    "json_value",
    "json_valid",
    "last_day",
    "lcase",
    "least",
    "left",
    "length",
    "ln",
    "locate",
    "log",
    "log10",
    "log2",
    "lower",
    "lpad",
    "ltrim",
    "makedate",
    "maketime",
    "md5",
    "microsecond",
    "mid",
    "minute",
    "mod",
    "month",
    "nullif",
    "oct",
    "octet_length",
    "ord",
    "position",
    "pow",
    "power",
    "quarter",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "second",
    "sec_to_time",
    "sha1",
    "sha",
    "sha2",
    "sign",
    "space",
    "sqrt",
    "strcmp",
    "str_to_date",
    "substr",
    "substring",
    "substring_index",
    "time",
    "time_to_sec",
    "timestampadd",
    "timestampdiff",
    "to_days",
    "from_days",
    "to_base64",
    "from_base64",
    "trim",
    "truncate",
    "ucase",
    "unhex",
    "upper",
    "year",
    "and",
    "or",
    "not",
    "in",
    "between",
    "when",
    "then",
    "else",
    "case",
    "like",
    "xor",
    "is",
    "decimal",
    "char",
    "using",
    "regexp",
    "binary",
    "interval",
    "div",
    "rlike",
    "datetime",
];

pub async fn check(conn: &mut MySqlConnection, named: &TableName, sql: &str, filter: bool) -> Result<Verdict> {
    let Some(described) = catalog::describe(conn, named).await? else {
        return Ok(Err(format!("table {named} is gone")));
    };
    if let Err(reason) = words(&described, sql) {
        return Ok(Err(reason));
    }
    let probe = format!("SELECT ({sql}\n) FROM {} LIMIT 0", table(named));
    let statement = match conn.prepare(AssertSqlSafe(probe).into_sql_str()).await {
        Ok(statement) => statement,
        Err(e) => return refusal(e).map(Err),
    };
    let [column] = statement.columns() else { return Ok(Err("must give one value".to_owned())) };
    if !matches!(statement.parameters(), Some(Either::Right(0)) | None) {
        return Ok(Err("has a placeholder in it".to_owned()));
    }
    let info = column.type_info();
    // The driver's names take a text that is compared by its bytes for binary.
    let name = if <str as Type<MySql>>::compatible(info) { "TEXT" } else { info.name() };
    Ok(if filter { Ok(Some(Kind::Bool)) } else { kind(name).map(Some) })
}

fn refusal(error: sqlx::Error) -> Result<String> {
    match errors::number(&error) {
        Some(
            1054 | 1064 | 1305 | 1582 | 1583 | 1241 | 1267 | 1271 | 1210 | 1111 | 4078 | 4107 | 1115 | 1273 | 1253,
        ) => Ok(error.as_database_error().map_or_else(String::new, |e| e.message().to_owned())),
        _ => Err(errors::of(error)),
    }
}

/// The kind that a column of this type would have, so that the value is read in the same way.
fn kind(name: &str) -> Result<Kind, String> {
    Ok(match name {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" | "TINYINT UNSIGNED"
        | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" | "YEAR" => Kind::Int { bits: 64 },
        "BIGINT UNSIGNED" | "BIT" => Kind::Int { bits: 65 },
        "DECIMAL" => Kind::Decimal { precision: Some(65), scale: Some(30) },
        "FLOAT" | "DOUBLE" => Kind::Float { bits: 64 },
        "DATE" => Kind::Date,
        "TIME" => Kind::Time,
        "DATETIME" => Kind::Timestamp,
        "TIMESTAMP" => Kind::TimestampTz,
        "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "ENUM" | "SET" => {
            Kind::Text { max_chars: None }
        }
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => Kind::Bytes,
        other => return Err(format!("gives {}, which can't travel", other.to_ascii_lowercase())),
    })
}

fn words(described: &Table, sql: &str) -> Result<(), String> {
    let tokens = tokens(sql)?;
    let column = |name: &str| described.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
    let mut depth = 0i32;
    for (i, token) in tokens.iter().enumerate() {
        let calls = tokens.get(i + 1) == Some(&Token::Mark('('));
        match token {
            Token::Mark('(') => depth += 1,
            Token::Mark(')') => depth -= 1,
            Token::Mark(c @ (';' | '@' | '?' | '.')) => {
                return Err(format!("a \"{c}\" in it: columns stand alone, by their names"));
            }
            Token::Quoted(name) if !column(name) => return Err(format!("no such column: {name}")),
            Token::Word(w) if NEVER.contains(&w.as_str()) => {
                return Err(format!(
                    "{w} does not depend on the row alone (a column of that name stands in backticks)"
                ));
            }
            Token::Word(w) if calls && FUNCTIONS.contains(&w.as_str()) => {}
            Token::Word(w) if calls && !column(w) => {
                return Err(format!("{w}() is not known to depend on its arguments alone"));
            }
            Token::Word(w) if calls => return Err(format!("{w} is no function")),
            Token::Word(w) if column(w) || WORDS.contains(&w.as_str()) => {}
            Token::Word(w) => return Err(format!("{w} is neither a column nor known to depend on the row alone")),
            _ => {}
        }
        if depth < 0 {
            return Err("a parenthesis too many".to_owned());
        }
    }
    if depth == 0 { Ok(()) } else { Err("a parenthesis is missing".to_owned()) }
}

#[derive(Debug, PartialEq)]
enum Token {
    /// In lower case.
    Word(String),
    /// A name in backticks, without them.
    Quoted(String),
    Literal,
    Mark(char),
}

/// As the session reads it: double quotes are texts, a backslash escapes.
fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let (mut found, mut rest) = (Vec::new(), sql);
    while let Some(c) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        match c {
            '\'' | '"' | '`' => {
                let (text, length) = quoted(rest, c).ok_or("a quote in it does not end")?;
                found.push(if c == '`' { Token::Quoted(text) } else { Token::Literal });
                rest = &rest[length..];
            }
            '#' => return Err("a comment in it".to_owned()),
            '-' if rest.starts_with("--") => return Err("a comment in it".to_owned()),
            '/' if rest.starts_with("/*") => return Err("a comment in it".to_owned()),
            c if c.is_ascii_digit() => {
                let end = rest.find(|c: char| !(is_word(c) || c == '.')).unwrap_or(rest.len());
                found.push(Token::Literal);
                rest = &rest[end..];
            }
            c if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                found.push(Token::Word(rest[..end].to_lowercase()));
                rest = &rest[end..];
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token::Mark(c));
                }
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Ok(found)
}

/// The text inside, and the bytes that it takes with its quotes.
fn quoted(from: &str, quote: char) -> Option<(String, usize)> {
    let mut chars = from.char_indices().skip(1).peekable();
    let mut text = String::new();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next()?;
        } else if c == quote {
            if chars.peek().is_none_or(|(_, next)| *next != quote) {
                return Some((text, at + c.len_utf8()));
            }
            chars.next();
            text.push(c);
        } else {
            text.push(c);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_comments_are_told_apart() {
        assert_eq!(
            tokens("a + `b``c`").unwrap(),
            [Token::Word("a".into()), Token::Mark('+'), Token::Quoted("b`c".into())]
        );
        assert_eq!(tokens("'it''s \\' x' 1.5e3").unwrap(), [Token::Literal, Token::Literal]);
        for bad in ["a -- b", "a # b", "a /* b */", "'a", "`a"] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }
}
