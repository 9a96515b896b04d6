//! What a driver's error means to the caller, in words that hold no row's value and no password.
//!
//! The server's messages carry values (`Duplicate entry 'x' for key …`), so of those that speak of data only the
//! number, and the column's or constraint's name, are kept.

use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Error, Kind};

/// A statement failed on an open connection.
pub fn of(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Database(e) => match e.try_downcast_ref::<MySqlDatabaseError>() {
            Some(e) => database(e),
            None => Error::give_up("the server refused a statement"),
        },
        sqlx::Error::Io(e) => Error::retry(format!("the connection was lost: {e}")),
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Error::retry("the connection broke off"),
        sqlx::Error::PoolClosed => Error::retry("the connections are closed"),
        sqlx::Error::PoolTimedOut => Error::retry("no connection became free in time"),
        sqlx::Error::Tls(e) => Error::plan(format!("TLS failed: {e}"))
            .hint("give the server's CA with ssl-ca=FILE in the url, or state ssl-mode there"),
        sqlx::Error::Configuration(_) => Error::plan("the url's options do not fit"),
        sqlx::Error::ColumnDecode { index, .. } => Error::give_up(format!("column {index} is not what was asked for")),
        sqlx::Error::RowNotFound => Error::give_up("a row was expected"),
        _ => Error::give_up("the driver could not carry out a statement"),
    }
}

/// The server's number, where the server has spoken.
pub fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

fn database(e: &MySqlDatabaseError) -> Error {
    let (number, message) = (e.number(), e.message());
    match number {
        1045 | 1698 => Error::plan("the server refused the login: wrong user name or password")
            .hint("check user and password in the url"),
        1049 => Error::plan(message).hint("check the database's name in the url"),
        1044 | 1142 | 1143 | 1227 | 1370 => {
            Error::new(Kind::Gate, message).hint("migrate grants PLAN prints what is missing")
        }
        1419 => Error::new(Kind::Gate, "the server keeps a binary log and lets only SUPER make triggers")
            .hint("let an administrator run SET GLOBAL log_bin_trust_function_creators = 1, then try again"),
        1449 => Error::new(Kind::Gate, "the account that made the triggers is gone")
            .hint("make it again, or let another one abort and apply"),
        1290 | 1792 | 1836 => {
            Error::new(Kind::Gate, format!("the server is read only ({number})")).hint("name the primary in the url")
        }
        1665 => Error::new(Kind::Gate, "the server's binlog_format is STATEMENT")
            .hint("SET GLOBAL binlog_format = 'ROW' (or MIXED), then try again"),
        1146 | 1054 | 1305 | 1356 | 1360 | 1932 => Error::changed(message),
        _ => transient(number).unwrap_or_else(|| data(e)),
    }
}

fn transient(number: u16) -> Option<Error> {
    Some(Error::retry(match number {
        1205 => "a lock was not free in time",
        1213 | 1614 => "the server ended a deadlock by rolling us back",
        1020 => "another transaction came first",
        1412 | 1615 => "a table's definition was changed meanwhile",
        1040 | 1203 | 1226 => "the server has no connection to spare",
        1053 | 1077 | 1079 | 1152 | 1184 | 1927 | 1158..=1161 | 2006 | 2013 | 4031 => "the server ended the connection",
        1317 | 1969 | 3024 => "the server ended a statement",
        1021 | 1114 | 3 | 1026 => "the server's disk is full",
        1030 | 1180 | 1181 | 1196 => "the storage engine failed",
        1637 | 1638 | 1041 | 1037 | 1038 | 1135 => "the server is short of memory",
        1047 | 1831 => "the node is not ready",
        _ => return None,
    }))
}

fn data(e: &MySqlDatabaseError) -> Error {
    let (number, message) = (e.number(), e.message());
    let column = || quoted_behind(message, "column ").map(|c| format!(" (column {c})")).unwrap_or_default();
    let text = match number {
        1062 | 1022 | 1169 | 1586 | 1859 => {
            format!("unique key {} is violated", quoted_behind(message, "for key ").unwrap_or("?"))
        }
        1216 | 1217 | 1451 | 1452 => {
            let name = message.split("CONSTRAINT `").nth(1).and_then(|rest| rest.split('`').next());
            format!("foreign key {} is violated", name.unwrap_or("?"))
        }
        1048 | 1364 => format!("a column must not be null ({number})"),
        1406 => format!("a value is too long for its column{}", column()),
        1264 | 1690 | 1367 => format!("a number is out of its column's range{}", column()),
        1366 | 1292 | 1411 | 1525 => format!("a text is no value of its column's type or character set{}", column()),
        1265 => format!("a value does not fit its column{}", column()),
        3819 | 4025 => format!("check constraint {} is violated", backquoted(message).unwrap_or("?")),
        1365 => "a division by zero".to_owned(),
        1644 => "a trigger of the application refused".to_owned(),
        1153 => "a statement is larger than the server's max_allowed_packet".to_owned(),
        1118 => "a row is too large for the storage engine".to_owned(),
        1451..=1499 => format!("the server refused a statement ({number})"),
        // Of these the server's words name objects and syntax, never values.
        1050
        | 1060
        | 1061
        | 1064
        | 1066
        | 1109
        | 1110
        | 1113
        | 1166
        | 1235
        | 1267
        | 1271
        | 1303
        | 1304
        | 1359
        | 1442
        | 1500..=1524
        | 4078
        | 4079 => format!("{message} ({number})"),
        _ => format!("the server failed with {number}"),
    };
    Error::give_up(text)
}

/// The quoted word behind a word of the server's.
fn quoted_behind<'a>(message: &'a str, word: &str) -> Option<&'a str> {
    let rest = &message[message.rfind(word)? + word.len()..];
    // `tab`.`le`.`column` is how MariaDB names a column of a truncated value.
    let bare = rest.split(" at row").next().unwrap_or(rest);
    let name = bare.rsplit('.').next().unwrap_or(bare);
    Some(name.trim_matches(['\'', '`']))
}

fn backquoted(message: &str) -> Option<&str> {
    message.split(['`', '\'']).nth(1).map(|name| name.rsplit('.').next().unwrap_or(name))
}
