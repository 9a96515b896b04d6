//! The corpus: for each engine its types, each with a first plain value, what one unit beside it is, and its extremes.
//!
//! A type whose extremes some other engine can't hold stands twice: with what all can hold, and with what they can't.

use super::Engine;
use super::from_mariadb::MARIADB;
use super::from_postgres::POSTGRES;
use super::from_sqlite::SQLITE;

/// How a test reads and compares a cell, by its own SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Int,
    Decimal,
    Float,
    Text,
    /// Shown by the engine's own text form.
    Shown,
    Bytes,
    /// Dates, times and timestamps: zeros at the end of a fraction mean nothing.
    Time,
    /// As an instant.
    Zoned,
    Uuid,
    Bool,
}

/// One table of the corpus.
pub struct Case {
    /// As docs/types.md names it; unique per engine.
    pub name: &'static str,
    pub ddl: &'static str,
    pub class: Class,
    /// SQL literals; the first is the plain one. Empty: what the column gives itself.
    pub values: &'static [&'static str],
    /// What the target's first row is changed to: text that any engine takes for this type.
    pub unit: &'static str,
    /// A table that this target has already, with another type of the column.
    pub into: Option<(Engine, &'static str)>,
    /// Names that are no plain words.
    pub table: Option<&'static str>,
    pub column: &'static str,
}

impl Case {
    pub const fn into(self, engine: Engine, ddl: &'static str) -> Self {
        Case { into: Some((engine, ddl)), ..self }
    }

    pub const fn named(self, table: &'static str, column: &'static str) -> Self {
        Case { table: Some(table), column, ..self }
    }
}

pub const fn case(
    name: &'static str,
    ddl: &'static str,
    class: Class,
    values: &'static [&'static str],
    unit: &'static str,
) -> Case {
    Case { name, ddl, class, values, unit, into: None, table: None, column: "v" }
}

pub fn of(engine: Engine) -> &'static [Case] {
    match engine {
        Engine::Postgres => POSTGRES,
        Engine::MariaDb => MARIADB,
        Engine::Sqlite => SQLITE,
    }
}

/// A character of each plane of Unicode, as a text in quotes.
pub const PLANES: &str = "'\u{fffd}\u{e000}\u{10000}\u{1f980}\u{20000}\u{30000}\u{40000}\u{50000}\u{60000}\u{70000}\u{80000}\u{90000}\u{a0000}\
    \u{b0000}\u{c0000}\u{d0000}\u{e0001}\u{f0000}\u{10fffd}'";

/// Types that tables of PostgreSQL need.
pub const POSTGRES_TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'o''k', '');
    CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100);";
