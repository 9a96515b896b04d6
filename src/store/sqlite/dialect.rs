//! How statements are spelled for SQLite. Pure.
//!
//! Columns stand in backticks: SQLite reads an unknown name in double quotes as a *string*, so that a column dropped
//! meanwhile would silently become a constant.

use crate::error::Result;
use crate::mapping::TableMap;
use crate::schema::{Column, NewTable};
use crate::store::engine::{Arg, Statement};
use crate::value::{Row, Value};

use super::types;

/// SQLite's limit on arguments of one statement, since 3.32.
pub const MAX_ARGS: usize = 32_766;
/// Rows of one bulk insert: more don't make it faster, and each distinct text is a statement to prepare.
const LOAD_ROWS: usize = 128;

pub fn column(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub fn table(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn text(literal: &str) -> String {
    format!("'{}'", literal.replace('\'', "''"))
}

/// The bare name of one of our objects.
pub fn control(migration: &str, name: &str) -> String {
    format!("_migrate_{migration}_{name}")
}

pub fn list<T>(items: impl IntoIterator<Item = T>, each: impl FnMut(T) -> String) -> String {
    items.into_iter().map(each).collect::<Vec<_>>().join(", ")
}

/// `VALUES (?1, ?2), …`, numbered behind the arguments that are there.
pub fn values(statement: &mut Statement, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<()> {
    statement.sql.push_str("VALUES ");
    for (i, row) in rows.iter().enumerate() {
        statement.sql.push_str(if i == 0 { "(" } else { ", (" });
        for (j, (value, column)) in row.iter().zip(columns).enumerate() {
            let arg = types::bound(value, column)?;
            statement.args.push(arg);
            let lead = if j == 0 { "?" } else { ", ?" };
            statement.sql.push_str(lead);
            statement.sql.push_str(&statement.args.len().to_string());
        }
        statement.sql.push(')');
    }
    Ok(())
}

/// How many rows one bulk insert takes.
pub fn load_rows(map: &TableMap) -> usize {
    let page = (MAX_ARGS - map.constants.len().min(MAX_ARGS)) / map.columns.len().max(1);
    page.clamp(1, LOAD_ROWS)
}

/// The insert that loads these rows; constants are bound once.
pub fn load(map: &TableMap, rows: &[Row]) -> Result<Statement> {
    let columns = || map.columns.iter().map(|c| &c.target);
    let names = list(columns().chain(map.constants.iter().map(|(c, _)| c)), |c| column(&c.name));
    let mut s = Statement::default();
    for (column, value) in &map.constants {
        s.args.push(types::bound(value, column)?);
    }
    let constants: String = (1..=map.constants.len()).map(|n| format!(", ?{n}")).collect();
    s.sql = format!("INSERT INTO {} ({names}) VALUES ", table(&map.target.name));
    for (i, row) in rows.iter().enumerate() {
        let first = s.args.len() + 1;
        for (value, column) in row.iter().zip(columns()) {
            s.args.push(types::bound(value, column)?);
        }
        let places = list(first..=s.args.len(), |n| format!("?{n}"));
        s.sql.push_str(&format!("{}({places}{constants})", if i == 0 { "" } else { ", " }));
    }
    Ok(s)
}

pub fn create_table(new: &NewTable) -> String {
    let definition = |c: &Column| {
        let collation = c.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
        // A primary key that isn't an integer may hold NULL in SQLite, unless it says otherwise.
        let not_null = if c.nullable && !new.primary_key.contains(&c.name) { "" } else { " NOT NULL" };
        let default = new.default_of(&c.name).map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
        format!("{} {}{collation}{not_null}{default}", column(&c.name), c.type_name)
    };
    let key = match new.primary_key.as_slice() {
        [] => String::new(),
        key => format!(", PRIMARY KEY ({})", list(key, |k| column(k))),
    };
    let columns = |names: &[String]| list(names, |c| column(c));
    let mut rest = key;
    rest.extend(new.uniques.iter().map(|unique| format!(", UNIQUE ({})", columns(unique))));
    rest.extend(new.foreign_keys.iter().map(|key| {
        let (parent, referred) = (table(&key.references.name), columns(&key.referenced_columns));
        format!(", FOREIGN KEY ({}) REFERENCES {parent} ({referred})", columns(&key.columns))
    }));
    format!("CREATE TABLE IF NOT EXISTS {} ({}{rest})", table(&new.name.name), list(&new.columns, definition))
}

/// The bound placeholder; SQLite takes its type from the argument.
pub fn place(n: usize, _arg: &Arg) -> String {
    format!("?{n}")
}
