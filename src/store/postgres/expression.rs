//! Whether an expression or a filter may stand in a plan: it reads one row of one table, and nothing else decides it.
//!
//! The server itself judges: the expression becomes a generated column of a temporary copy of the table's definition,
//! in a transaction that is rolled back. A generated column may be nothing but an immutable expression over its row.
//! Where the login may make no temporary table, only what can be proved by names is let through: functions and
//! operators of which *every* variant is immutable, without casts.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Column as _, Executor, SqlSafeStr, Statement as _, TypeInfo};

use super::lexer::{Token, tokens};
use super::name::{quote, schema_of, table};
use super::query::fetch;
use super::{Arg, catalog, errors, flag, int, text};
use crate::error::Result;
use crate::schema::{Kind, TableName};

type Verdict = Result<Option<Kind>, String>;

pub async fn check(conn: &mut PgConnection, named: &TableName, sql: &str, filter: bool) -> Result<Verdict> {
    let tokens = match tokens(sql) {
        Ok(tokens) => tokens,
        Err(reason) => return Ok(Err(reason)),
    };
    let may = fetch(conn, "SELECT has_database_privilege(current_database(), 'TEMP')", &[]).await?;
    let kind = if may.first().is_some_and(|r| flag(&r[0])) {
        by_generated_column(conn, named, sql).await?
    } else {
        by_names(conn, named, sql, &tokens).await?
    };
    Ok(match kind {
        Ok(kind) if filter && kind != Kind::Bool => Err(format!("gives {} instead of true or false", kind.name())),
        Ok(kind) => Ok(Some(kind)),
        Err(reason) => Err(reason),
    })
}

/// What the server says against the expression, if it is that and no passing failure.
fn reason(error: sqlx::Error) -> Result<String> {
    let code = errors::code(&error).unwrap_or_default();
    let Some(database) = error.as_database_error() else { return Err(errors::of(error)) };
    match code.get(..2) {
        _ if code == "42P17" => {
            Ok("is not immutable: something else than the row decides its value (a clock, a setting, \
            a time zone, another table)"
                .to_owned())
        }
        _ if code == "42501" => Err(errors::of(error)),
        Some("42" | "0A") => Ok(database
            .message()
            .replace("column generation expressions", "expressions of a plan")
            .replace("column generation expression", "an expression of a plan")
            .replace("\"_migrate_probe\"", "itself")),
        Some("22") => Ok("fails on a constant in it".to_owned()),
        _ => Err(errors::of(error)),
    }
}

async fn tried(conn: &mut PgConnection, sql: String) -> Result<Result<(), String>> {
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await {
        Ok(_) => Ok(Ok(())),
        Err(e) => reason(e).map(Err),
    }
}

async fn by_generated_column(conn: &mut PgConnection, named: &TableName, sql: &str) -> Result<Result<Kind, String>> {
    // The same name, so that a column may be written as `customers.email`.
    let copy = format!("pg_temp.{}", quote(&named.name));
    let like = format!("CREATE TEMPORARY TABLE {copy} (LIKE {}) ON COMMIT DROP", table(named));
    if let Err(reason) = tried(conn, like).await? {
        return Ok(Err(reason));
    }
    let typed = format!(
        "CREATE TEMPORARY TABLE pg_temp._migrate_probe ON COMMIT DROP AS SELECT ({sql}\n) AS c FROM {copy} WITH NO DATA"
    );
    if let Err(reason) = tried(conn, typed).await? {
        return Ok(Err(reason));
    }
    let found = format!(
        "SELECT b.base, b.modifier, b.base_name, format_type(x.type, x.modifier)
        FROM (SELECT a.atttypid AS type, a.atttypmod AS modifier FROM pg_attribute a
            WHERE a.attrelid = 'pg_temp._migrate_probe'::regclass AND a.attnum = 1) x CROSS JOIN {}",
        catalog::BASE_TYPE
    );
    let rows = fetch(conn, &found, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Err("gives no column".to_owned())) };
    let kind = catalog::kind(&text(&row[0]), int(&row[1]), &text(&row[2]));
    let generated =
        format!("ALTER TABLE {copy} ADD COLUMN _migrate_probe {} GENERATED ALWAYS AS ({sql}\n) STORED", text(&row[3]));
    Ok(tried(conn, generated).await?.map(|()| kind))
}

/// Words of the grammar that bring in nothing but what stands beside them.
const PLAIN: [&str; 12] =
    ["and", "or", "not", "is", "null", "true", "false", "unknown", "from", "both", "leading", "trailing"];

/// Words of the grammar that compare, or bring several values to one type.
const COMPARING: [&str; 15] = [
    "in",
    "between",
    "symmetric",
    "distinct",
    "case",
    "when",
    "then",
    "else",
    "end",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "like",
    "ilike",
];

const COMPARISONS: [&str; 5] = ["=", "<=", ">=", "~~", "~~*"];

/// What keeps the expression from being proved. A function: one of its variants is not immutable, or has arguments that
/// are filled in. An operator: a variant is not immutable that a type at hand could select (a column's, or what a
/// function makes of text, numbers and booleans). A type: it is converted by itself, and not immutably (date to
/// timestamptz).
const MUTABLE: &str = "WITH held_by_columns AS (
        SELECT DISTINCT t.oid, t.typcategory FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
            WHERE n.nspname = $1::text AND c.relname = $2::text AND a.attnum > 0 AND a.attname = ANY ($3::text[])),
    held AS (SELECT * FROM held_by_columns
        UNION SELECT t.oid, t.typcategory FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
            WHERE p.proname = ANY ($4::text[])
              AND (EXISTS (SELECT FROM held_by_columns WHERE typcategory NOT IN ('S', 'N', 'B'))
                OR NOT EXISTS (SELECT FROM pg_type a WHERE a.oid = ANY (p.proargtypes) AND a.typcategory NOT IN ('S', 'N', 'B'))))
    SELECT 'function ' || f.name FROM unnest($4::text[]) AS f(name)
        WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.proname = f.name)
           OR EXISTS (SELECT FROM pg_proc p WHERE p.proname = f.name
                AND (p.provolatile <> 'i' OR p.prokind <> 'f' OR p.proretset OR 'regclass'::regtype = ANY (p.proargtypes)
                    OR p.pronargdefaults > 0 AND p.pronamespace <> 'pg_catalog'::regnamespace))
    UNION ALL
    SELECT 'operator ' || o.name FROM unnest($5::text[]) AS o(name) WHERE EXISTS (
        SELECT FROM pg_operator p JOIN pg_proc f ON f.oid = p.oprcode WHERE p.oprname = o.name AND f.provolatile <> 'i'
          AND EXISTS (SELECT FROM held WHERE held.typcategory IN ('D', 'T')
                OR held.oid IN (p.oprleft, p.oprright) AND held.oid <> 'text'::regtype
                OR held.typcategory <> 'S' AND p.oprname = '||'))
    UNION ALL
    SELECT 'the type ' || format_type(held.oid, NULL) FROM held JOIN pg_cast c ON c.castsource = held.oid
        JOIN pg_proc f ON f.oid = c.castfunc
        WHERE c.castcontext = 'i' AND c.casttarget <> 'regclass'::regtype AND f.provolatile <> 'i'
          AND cardinality($4::text[]) + cardinality($5::text[]) > 0";

async fn by_names(
    conn: &mut PgConnection,
    named: &TableName,
    sql: &str,
    tokens: &[Token],
) -> Result<Result<Kind, String>> {
    let unproven = |what: &str| {
        format!(
            "can't be proved immutable ({what}) without the right to make temporary tables: grant TEMPORARY on the database"
        )
    };
    let (mut columns, mut functions, mut operators) = (Vec::new(), Vec::new(), Vec::new());
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word) if PLAIN.contains(&word.as_str()) => {}
            Token::Word(word) if COMPARING.contains(&word.as_str()) => {
                operators.extend(COMPARISONS.map(str::to_owned));
            }
            Token::Word(word) if word == "trim" => functions.extend(["btrim", "ltrim", "rtrim"].map(str::to_owned)),
            Token::Word(word) | Token::Quoted(word) => match tokens.get(i + 1) {
                Some(Token::Open) => functions.push(word.clone()),
                Some(Token::Text) => return Ok(Err(unproven(&format!("the typed constant {word} '…'")))),
                _ => columns.push(word.clone()),
            },
            Token::Operator(o) if o == "::" => return Ok(Err(unproven("a cast"))),
            Token::Operator(o) => operators.push(o.clone()),
            Token::Dot => return Ok(Err(unproven("a qualified name"))),
            _ => {}
        }
    }
    if let Some(other) = not_a_column(conn, named, &columns).await? {
        return Ok(Err(unproven(&other)));
    }
    let list = |names: &[String]| Arg::Texts(names.iter().cloned().map(Some).collect());
    let args =
        [schema_of(named).into(), named.name.as_str().into(), list(&columns), list(&functions), list(&operators)];
    if let Some(row) = fetch(conn, MUTABLE, &args).await?.first() {
        return Ok(Err(unproven(&text(&row[0]))));
    }
    described(conn, named, sql).await
}

/// The first word that is no column of the table: a keyword with a meaning of its own (`current_date`, `select`).
async fn not_a_column(conn: &mut PgConnection, named: &TableName, words: &[String]) -> Result<Option<String>> {
    let sql = "SELECT w FROM unnest($3::text[]) AS u(w) WHERE NOT EXISTS (
        SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text AND c.relname = $2::text AND a.attnum > 0 AND a.attname = w)";
    let words = Arg::Texts(words.iter().cloned().map(Some).collect());
    let rows = fetch(conn, sql, &[schema_of(named).into(), named.name.as_str().into(), words]).await?;
    Ok(rows.first().map(|r| text(&r[0])))
}

/// The type, by preparing a query that is never run.
async fn described(conn: &mut PgConnection, named: &TableName, sql: &str) -> Result<Result<Kind, String>> {
    let probe = format!("SELECT ({sql}\n) AS c FROM {}", table(named));
    let statement = match (&mut *conn).prepare(AssertSqlSafe(probe).into_sql_str()).await {
        Ok(statement) => statement,
        Err(e) => return reason(e).map(Err),
    };
    let type_name = statement.columns().first().map(|c| c.type_info().name().to_owned()).unwrap_or_default();
    let oid = "SELECT b.base, b.modifier, b.base_name FROM (SELECT to_regtype($1::text)::oid AS type, -1 AS modifier) x CROSS JOIN";
    let rows = fetch(conn, &format!("{oid} {}", catalog::BASE_TYPE), &[type_name.as_str().into()]).await?;
    Ok(match rows.first() {
        Some(row) => Ok(catalog::kind(&text(&row[0]), int(&row[1]), &text(&row[2]))),
        None => Err(format!("gives the type {type_name}, which has no kind")),
    })
}
