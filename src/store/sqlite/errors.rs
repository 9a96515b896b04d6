//! What SQLite's result codes mean to the caller: what passes is `Retry`, what a person must change says how, and what
//! a row breaks is `GiveUp` with the constraint's name. No message carries a value: SQLite's own name only schema
//! objects, but for `RAISE`, whose text is the application's and is left out.

use std::path::Path;

use crate::error::{Error, Kind};

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const SCHEMA: i32 = 17;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;
const PERM: i32 = 3;
const CONSTRAINT_TRIGGER: i32 = CONSTRAINT | 7 << 8;

/// The error of ours for one of the driver's, met while working on the file at `path`.
pub fn from_driver(error: sqlx::Error, path: &Path) -> Error {
    match error {
        sqlx::Error::Database(e) => {
            let code = e.code().and_then(|c| c.parse().ok()).unwrap_or(1);
            from_code(code, e.message(), path)
        }
        sqlx::Error::Io(e) => Error::retry(format!("\"{}\" can't be read: {}", path.display(), e.kind())),
        sqlx::Error::PoolTimedOut => Error::retry("no connection to the file became free in time"),
        sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed | sqlx::Error::BeginFailed => {
            Error::retry(format!("the connection to \"{}\" was lost", path.display()))
        }
        sqlx::Error::Configuration(e) => Error::plan(format!("the SQLite URL is wrong: {e}"))
            .hint("write `sqlite:///absolute/path.db` or `sqlite://relative/path.db`"),
        _ => Error::give_up("the SQLite driver failed in a way that it should not"),
    }
}

fn from_code(code: i32, message: &str, path: &Path) -> Error {
    let file = path.display();
    match code & 0xff {
        BUSY | LOCKED | PROTOCOL => Error::retry(format!("another process holds the lock on \"{file}\"")),
        SCHEMA | INTERRUPT | NOMEM => Error::retry(format!("SQLite could not finish on \"{file}\": {message}")),
        FULL => Error::retry(format!("the disk that holds \"{file}\" is full")).hint("free some space there"),
        IOERR => Error::retry(format!("the disk failed under \"{file}\": {message}")),
        CANTOPEN => cannot_open(path),
        NOTADB => Error::plan(format!("\"{file}\" is not a SQLite database"))
            .hint("check the path in `url`; an encrypted file can't be read"),
        CORRUPT => Error::give_up(format!("\"{file}\" is damaged: {message}"))
            .hint(format!("see what is lost: sqlite3 \"{file}\" 'PRAGMA integrity_check'")),
        READONLY | PERM | AUTH => Error::new(Kind::Gate, format!("\"{file}\" may not be written"))
            .hint(format!("chmod u+w \"{file}\" \"{}\"", directory(path).display())),
        CONSTRAINT if code == CONSTRAINT_TRIGGER => Error::give_up("a trigger of the application refuses the row"),
        CONSTRAINT | MISMATCH | TOOBIG => Error::give_up(message.to_owned()),
        _ => Error::give_up(format!("SQLite refused a statement: {message}")),
    }
}

/// Whether another connection holds the lock.
pub fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i32>().ok());
    matches!(code.map(|c| c & 0xff), Some(BUSY | LOCKED))
}

/// SQLite says only "unable to open database file"; the file system knows more.
fn cannot_open(path: &Path) -> Error {
    let file = path.display();
    if path.is_dir() {
        return Error::plan(format!("\"{file}\" is a directory")).hint("name the database file in `url`");
    }
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Error::plan(format!("there is no file \"{file}\""))
            .hint("check the path in `url`, or add `?mode=rwc` to it to have an empty database made"),
        Err(e) => Error::new(Kind::Gate, format!("\"{file}\" can't be reached: {}", e.kind()))
            .hint("give this user the right to enter its directory"),
        Ok(_) => Error::new(Kind::Gate, format!("\"{file}\" can't be opened"))
            .hint(format!("chmod u+rw \"{file}\" and chmod u+rwx \"{}\"", directory(path).display())),
    }
}

/// Where SQLite keeps the write-ahead log.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_what_the_caller_may_do() {
        let kind = |code| from_code(code, "text", Path::new("/nowhere/x.db")).kind;
        assert_eq!([5, 6, 517, 261, 13, 10].map(kind), [Kind::Retry; 6]);
        assert_eq!([19, 2067, 787, 1811, 20, 18, 11, 1].map(kind), [Kind::GiveUp; 8]);
        assert_eq!([14, 26].map(kind), [Kind::Plan; 2]);
        assert_eq!([8, 3].map(kind), [Kind::Gate; 2]);
    }

    #[test]
    fn the_text_of_a_trigger_is_left_out() {
        assert!(!from_code(1811, "secret", Path::new("x")).message().contains("secret"));
        assert!(from_code(2067, "UNIQUE constraint failed: t.a", Path::new("x")).message().contains("t.a"));
    }
}
