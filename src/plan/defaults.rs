//! Defaults that mean the same in two engines: literals, the time and the date of now. Anything else is none.
//!
//! A default is read from the catalogue's own spelling and written in the other engine's; what is in doubt is left
//! out, since the rows that travel bring their values along, and an application would meet a wrong default much later.

use crate::schema::{Column, EngineName, Kind};

/// What a default gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standard {
    Null,
    Bool(bool),
    /// Digits, with a sign and a point perhaps.
    Number(String),
    Text(String),
    Now,
    Today,
}

/// What the engine's SQL says; `None`: nothing that every engine has.
pub(super) fn read(engine: EngineName, sql: &str) -> Option<Standard> {
    let sql = bare(sql);
    let (sql, cast) = if engine == EngineName::Postgres { without_casts(sql)? } else { (sql, None) };
    let word = sql.to_ascii_lowercase();
    let call = word.split_once('(').map_or(word.as_str(), |(name, _)| name).trim_end();
    let bare_call = word == call || word[call.len()..].trim_start().trim_matches(['(', ')']).parse::<u8>().is_ok();
    let bare_call = bare_call || word[call.len()..].replace(' ', "") == "()";
    match call {
        "null" if word == call => return Some(Standard::Null),
        "true" | "false" if word == call => return Some(Standard::Bool(call == "true")),
        "current_timestamp" | "now" | "localtimestamp" if bare_call && (word != call || call != "now") => {
            return Some(Standard::Now);
        }
        "transaction_timestamp" if engine == EngineName::Postgres && bare_call => return Some(Standard::Now),
        "current_date" | "curdate" if bare_call => return Some(Standard::Today),
        _ => {}
    }
    if is_number(sql) {
        return Some(Standard::Number(sql.trim_start_matches('+').to_owned()));
    }
    let text = unquoted(engine, sql)?;
    // 'now' is evaluated when the row comes, in some casts.
    let special = ["now", "today", "tomorrow", "yesterday"].iter().any(|w| text.trim().eq_ignore_ascii_case(w));
    match cast {
        Some(cast) if special && cast == "date" && text == "now" => Some(Standard::Today),
        Some(cast) if special && !cast.starts_with("char") && cast != "text" => None,
        _ => Some(Standard::Text(text)),
    }
}

/// The same in another engine's SQL, for a column there; `None` where it would mean something else.
pub(super) fn write(engine: EngineName, default: &Standard, column: &Column) -> Option<String> {
    let (kind, is_mysql) = (&column.kind, engine == EngineName::MySql);
    let number = |n: &str| match kind {
        Kind::Bool if engine == EngineName::Postgres => {
            (n == "0" || n == "1").then(|| if n == "1" { "true" } else { "false" }.to_owned())
        }
        Kind::Decimal { .. } if column.type_name.to_ascii_uppercase().starts_with("DECIMAL_TEXT") => {
            Some(format!("'{n}'"))
        }
        Kind::Bool | Kind::Int { .. } | Kind::Decimal { .. } | Kind::Float { .. } => Some(n.to_owned()),
        Kind::Text { .. } => Some(format!("'{n}'")),
        _ => None,
    };
    let sql = match default {
        Standard::Null => column.nullable.then(|| "NULL".to_owned()),
        Standard::Bool(b) => number(if *b { "1" } else { "0" }).filter(|_| !matches!(kind, Kind::Text { .. })),
        Standard::Number(n) => number(n),
        Standard::Text(t) => text(engine, t, column, number),
        Standard::Now => now(engine, column),
        Standard::Today => match (engine, kind) {
            (EngineName::MySql, Kind::Date) => Some("(CURRENT_DATE)".to_owned()),
            (_, Kind::Date) => Some("CURRENT_DATE".to_owned()),
            _ => None,
        },
    }?;
    // Long texts take an expression only.
    let long = column.type_name.contains("text") || column.type_name.contains("blob");
    Some(if is_mysql && long && sql != "NULL" { format!("({sql})") } else { sql })
}

fn text(engine: EngineName, text: &str, column: &Column, number: impl Fn(&str) -> Option<String>) -> Option<String> {
    let quoted = || {
        let text = text.replace('\'', "''");
        format!("'{}'", if engine == EngineName::MySql { text.replace('\\', "\\\\") } else { text })
    };
    match &column.kind {
        Kind::Bool | Kind::Int { .. } | Kind::Decimal { .. } | Kind::Float { .. } => {
            let truth = match text {
                "t" | "true" => "1",
                "f" | "false" => "0",
                other => other,
            };
            is_number(truth).then(|| number(truth))?
        }
        Kind::Text { max_chars } => {
            let fits = max_chars.is_none_or(|max| text.chars().count() <= max as usize);
            (fits && !text.contains('\0')).then(quoted)
        }
        Kind::Uuid | Kind::Opaque(_) => Some(quoted()),
        Kind::Json => (engine != EngineName::MySql || column.type_name.contains("text")).then(quoted),
        Kind::Date => is_shape(text, "0000-00-00").then(quoted),
        Kind::Time => is_shape(text, "00:00:00").then(quoted),
        Kind::Timestamp => (is_shape(text, "0000-00-00 00:00:00") || is_shape(text, "0000-00-00")).then(quoted),
        Kind::TimestampTz | Kind::Bytes => None,
    }
}

fn now(engine: EngineName, column: &Column) -> Option<String> {
    match (engine, &column.kind) {
        (EngineName::MySql, Kind::Timestamp | Kind::TimestampTz) => {
            let digits = column.type_name.split_once('(').and_then(|(_, d)| d.strip_suffix(')')).unwrap_or_default();
            Some(if digits.is_empty() {
                "CURRENT_TIMESTAMP".to_owned()
            } else {
                format!("CURRENT_TIMESTAMP({digits})")
            })
        }
        (EngineName::Postgres, Kind::Timestamp | Kind::TimestampTz) => Some("CURRENT_TIMESTAMP".to_owned()),
        (EngineName::Sqlite, Kind::Timestamp) => Some("CURRENT_TIMESTAMP".to_owned()),
        (EngineName::Sqlite, Kind::TimestampTz) => Some("(strftime('%Y-%m-%d %H:%M:%SZ', 'now'))".to_owned()),
        // There the date is one of now, cut off.
        (EngineName::Postgres, Kind::Date) => Some("CURRENT_DATE".to_owned()),
        _ => None,
    }
}

/// Zeros stand for digits.
fn is_shape(text: &str, shape: &str) -> bool {
    let same = |(t, s): (char, char)| if s == '0' { t.is_ascii_digit() } else { t == s };
    text.len() == shape.len() && text.chars().zip(shape.chars()).all(same)
        // A year or a month of zero is no date elsewhere.
        && !text.starts_with("0000") && !text.contains("-00")
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    !whole.is_empty() && [whole, part].iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Without the parentheses around the whole.
fn bare(sql: &str) -> &str {
    let sql = sql.trim();
    match sql.strip_prefix('(').and_then(|s| s.strip_suffix(')')) {
        Some(inner) if !inner.contains(['(', ')', '\'', '"']) || is_one_literal(inner) => bare(inner),
        _ => sql,
    }
}

/// One quoted text and nothing else.
fn is_one_literal(sql: &str) -> bool {
    let sql = sql.trim();
    let inner = sql.strip_prefix('\'').and_then(|s| s.strip_suffix('\''));
    inner.is_some_and(|inner| !inner.replace("''", "").contains('\''))
}

/// PostgreSQL shows what the column's type made of a literal: `'x'::character varying`, `('now'::text)::date`.
fn without_casts(sql: &str) -> Option<(&str, Option<&str>)> {
    let mut sql = sql;
    let mut outermost = None;
    loop {
        let end = if sql.ends_with('\'') { None } else { sql.rfind("::") };
        let Some(at) = end else { return Some((sql, outermost)) };
        let (value, cast) = (bare(&sql[..at]), sql[at + 2..].trim());
        let is_type = |c: char| c.is_alphanumeric() || " _.\"(),[]".contains(c);
        // An operator or a call around it: the cast is not the whole.
        if !cast.chars().all(is_type) || cast.matches('(').count() != cast.matches(')').count() {
            return None;
        }
        outermost = outermost.or(Some(cast));
        sql = value.strip_prefix('(').and_then(|v| v.strip_suffix(')')).unwrap_or(value);
    }
}

/// A quoted text's value; its quotes are doubled inside.
fn unquoted(engine: EngineName, sql: &str) -> Option<String> {
    let sql = match engine {
        EngineName::Sqlite if sql.starts_with('"') && sql.len() > 1 => {
            let inner = sql.strip_prefix('"')?.strip_suffix('"')?;
            return (!inner.contains('"')).then(|| inner.to_owned());
        }
        EngineName::MySql => sql.strip_prefix("_utf8mb4").unwrap_or(sql).trim_start(),
        _ => sql,
    };
    if !is_one_literal(sql) {
        return None;
    }
    let text = sql.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
    // Escapes of MySQL's; PostgreSQL's come in an E'…', which is no plain literal.
    match engine {
        EngineName::MySql if text.contains('\\') => unescaped(&text),
        _ => Some(text),
    }
}

fn unescaped(text: &str) -> Option<String> {
    let (mut plain, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                c @ ('\\' | '\'' | '"') => c,
                _ => return None,
            },
            c => c,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use EngineName::{MySql, Postgres, Sqlite};

    fn column(engine: EngineName, kind: Kind) -> Column {
        super::super::derive::made("c", &kind, true, engine).unwrap()
    }

    #[test]
    fn what_every_engine_has_is_read_from_each_spelling() {
        let text = |t: &str| Some(Standard::Text(t.to_owned()));
        let number = |n: &str| Some(Standard::Number(n.to_owned()));
        let cases = [
            (Postgres, "'x'::character varying", text("x")),
            (Postgres, "'it''s :: (x)'::text", text("it's :: (x)")),
            (Postgres, "'a'::character varying(20)", text("a")),
            (Postgres, "NULL::character varying", Some(Standard::Null)),
            (Postgres, "0", number("0")),
            (Postgres, "'-1'::integer", text("-1")),
            (Postgres, "(0)::numeric", number("0")),
            (Postgres, "'0'::smallint", text("0")),
            (Postgres, "1.50", number("1.50")),
            (Postgres, "true", Some(Standard::Bool(true))),
            (Postgres, "now()", Some(Standard::Now)),
            (Postgres, "CURRENT_TIMESTAMP(6)", Some(Standard::Now)),
            (Postgres, "('now'::text)::date", Some(Standard::Today)),
            (Postgres, "CURRENT_DATE", Some(Standard::Today)),
            (Postgres, "nextval('s'::regclass)", None),
            (Postgres, "gen_random_uuid()", None),
            (Postgres, "lower('X'::text)", None),
            (Postgres, "(1 + 2)", None),
            (Postgres, "('a'::text || 'b'::text)", None),
            (Postgres, "timezone('utc'::text, now())", None),
            (Postgres, "E'a\\nb'::text", None),
            (MySql, "'x'", text("x")),
            (MySql, "'it''s'", text("it's")),
            (MySql, "'a\\\\b'", text("a\\b")),
            (MySql, "current_timestamp()", Some(Standard::Now)),
            (MySql, "current_timestamp(6)", Some(Standard::Now)),
            (MySql, "curdate()", Some(Standard::Today)),
            (MySql, "NULL", Some(Standard::Null)),
            (MySql, "uuid()", None),
            (MySql, "b'1'", None),
            (Sqlite, "'x'", text("x")),
            (Sqlite, "\"x\"", text("x")),
            (Sqlite, "-1", number("-1")),
            (Sqlite, "('x')", text("x")),
            (Sqlite, "CURRENT_TIMESTAMP", Some(Standard::Now)),
            (Sqlite, "TRUE", Some(Standard::Bool(true))),
            (Sqlite, "x'00'", None),
            (Sqlite, "(random())", None),
            (Sqlite, "1e5", None),
            (Sqlite, "", None),
        ];
        for (engine, sql, expected) in cases {
            assert_eq!(read(engine, sql), expected, "{engine}: {sql}");
        }
    }

    #[test]
    fn each_engine_gets_its_own_spelling() {
        let chars = |n| Kind::Text { max_chars: Some(n) };
        let long = Kind::Text { max_chars: None };
        let decimal = Kind::Decimal { precision: Some(30), scale: Some(2) };
        let (text, number) = (|t: &str| Standard::Text(t.into()), |n: &str| Standard::Number(n.into()));
        let cases = [
            (MySql, text("a\\'b"), chars(9), Some("'a\\\\''b'")),
            (MySql, text("x"), long.clone(), Some("('x')")),
            (Postgres, text("x"), chars(9), Some("'x'")),
            (Postgres, text("too long"), chars(3), None),
            (Postgres, text("0"), Kind::Int { bits: 32 }, Some("0")),
            (Postgres, text("x"), Kind::Int { bits: 32 }, None),
            (Postgres, number("1"), Kind::Bool, Some("true")),
            (Postgres, number("7"), Kind::Bool, None),
            (MySql, Standard::Bool(true), Kind::Bool, Some("1")),
            (Sqlite, Standard::Bool(false), Kind::Bool, Some("0")),
            (Sqlite, number("1.50"), decimal, Some("'1.50'")),
            (MySql, Standard::Now, Kind::Timestamp, Some("CURRENT_TIMESTAMP(6)")),
            (Postgres, Standard::Now, Kind::TimestampTz, Some("CURRENT_TIMESTAMP")),
            (Sqlite, Standard::Now, Kind::Timestamp, Some("CURRENT_TIMESTAMP")),
            (MySql, Standard::Today, Kind::Date, Some("(CURRENT_DATE)")),
            (MySql, Standard::Now, long, None),
            (MySql, text("0000-00-00"), Kind::Date, None),
            (Sqlite, text("2024-02-29"), Kind::Date, Some("'2024-02-29'")),
            (Postgres, text("2024-02-29 10:00:00"), Kind::Timestamp, Some("'2024-02-29 10:00:00'")),
            (Postgres, text("2024-02-29 10:00:00"), Kind::TimestampTz, None),
            (Postgres, Standard::Null, Kind::Uuid, Some("NULL")),
        ];
        for (engine, default, kind, expected) in cases {
            let column = column(engine, kind.clone());
            assert_eq!(write(engine, &default, &column).as_deref(), expected, "{engine}: {default:?} {kind:?}");
        }
    }
}
