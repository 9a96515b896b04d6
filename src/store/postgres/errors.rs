//! What a driver's error means to the caller, in words that hold no row's value and no password.
//!
//! The server's DETAIL and CONTEXT carry rows, and so do the messages of its data errors; of those only the code, the
//! constraint's and the column's names are kept. An application's own trigger may say anything: only that it refused.

use sqlx::postgres::PgDatabaseError;

use crate::error::{Error, Kind};

const CATALOGUE_RACE: &str = "another session changed the catalogue at the same moment";

/// A statement failed on an open connection.
pub fn of(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Database(e) => match e.try_downcast_ref::<PgDatabaseError>() {
            Some(e) => database(e),
            None => Error::give_up("the server refused a statement"),
        },
        sqlx::Error::Io(e) => Error::retry(format!("the connection was lost: {e}")),
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Error::retry("the connection broke off"),
        sqlx::Error::PoolClosed => Error::retry("the connections are closed"),
        sqlx::Error::PoolTimedOut => Error::retry("no connection became free in time"),
        sqlx::Error::Tls(e) => Error::plan(format!("TLS failed: {e}"))
            .hint("give the server's CA with sslrootcert=FILE in the url, or state sslmode there"),
        sqlx::Error::Configuration(_) => Error::plan("the url's options do not fit"),
        sqlx::Error::ColumnDecode { index, .. } => Error::give_up(format!("column {index} is not what was asked for")),
        sqlx::Error::RowNotFound => Error::give_up("a row was expected"),
        _ => Error::give_up("the driver could not carry out a statement"),
    }
}

/// The server's code, where the server has spoken.
pub fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|c| c.into_owned())
}

fn database(e: &PgDatabaseError) -> Error {
    let (code, message) = (e.code(), e.message());
    match code {
        "28P01" | "28000" => {
            Error::plan("the server refused the login: wrong user name or password, or no entry in pg_hba.conf")
                .hint("check user and password in the url")
        }
        "3D000" => Error::plan(message).hint("check the database's name in the url"),
        "55P03" => Error::retry("a lock was not free in time"),
        "40001" => Error::retry("another transaction came first"),
        "40P01" => Error::retry("the server ended a deadlock by rolling us back"),
        "23505" if e.schema() == Some("pg_catalog") => Error::retry(CATALOGUE_RACE),
        "XX000" if message.starts_with("tuple concurrently ") => Error::retry(CATALOGUE_RACE),
        "53300" => {
            Error::retry("the server has no connection to spare").hint("end some sessions or raise max_connections")
        }
        "53100" => Error::retry("the server's disk is full").hint("free space at the server"),
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "57014" => Error::retry(message),
        "42501" => Error::new(Kind::Gate, message).hint("migrate grants PLAN prints what is missing"),
        "42P01" | "42703" | "42883" | "3F000" | "42704" => Error::changed(message),
        "2BP01" => Error::new(Kind::Gate, message).hint("remove what depends on it, or was put beside it, first"),
        _ => by_class(e, code, message),
    }
}

fn by_class(e: &PgDatabaseError, code: &str, message: &str) -> Error {
    match code.get(..2).unwrap_or_default() {
        "08" | "53" => Error::retry(message),
        "23" => Error::give_up(violation(e, code)),
        "22" => Error::give_up(match column(e) {
            Some(column) => format!("{} (column {column})", data(code)),
            None => data(code),
        }),
        // Of these the server's words name objects, types and limits, never values.
        "0A" | "25" | "2B" | "34" | "3B" | "42" | "54" | "55" | "58" => Error::give_up(format!("{message} ({code})")),
        "P0" => Error::give_up(format!("a trigger or function of the application refused ({code})")),
        _ => Error::give_up(format!("the server failed with {code}")),
    }
}

fn violation(e: &PgDatabaseError, code: &str) -> String {
    let table = e.table().map(|t| format!(" of table {t}")).unwrap_or_default();
    let constraint = e.constraint().unwrap_or("?");
    match code {
        "23502" => format!("column {}{table} must not be null", e.column().unwrap_or("?")),
        "23503" => format!("foreign key {constraint}{table} is violated"),
        "23505" => format!("unique constraint {constraint}{table} is violated"),
        "23514" => format!("check constraint {constraint}{table} is violated"),
        "23P01" => format!("exclusion constraint {constraint}{table} is violated"),
        _ => format!("constraint {constraint}{table} is violated ({code})"),
    }
}

fn data(code: &str) -> String {
    let what = match code {
        "22001" => "a value is too long for its column",
        "22003" => "a number is out of its column's range",
        "22007" | "22008" => "a date or time is out of range or malformed",
        "22012" => "a division by zero",
        "22021" | "22P05" => "a text holds a character that the server can't store",
        "22P02" | "22P03" => "a text is no value of its column's type",
        _ => "the server refused a value",
    };
    format!("{what} ({code})")
}

/// The column's name: told by the error itself, or by COPY's context in front of the value.
fn column(e: &PgDatabaseError) -> Option<&str> {
    e.column().or_else(|| {
        let (_, rest) = e.r#where()?.lines().next()?.strip_prefix("COPY ")?.split_once(", column ")?;
        rest.split_once(": ").map(|(name, _)| name)
    })
}
