//! SQL that every engine shares: a small builder, and the control tables, each statement written once.

use crate::entry::TableId;
use crate::error::Result;
use crate::mapping::base;
use crate::schema::{Column, EngineName, Kind, Numbered, TableName};
use crate::value::Value;

use super::Side;
use super::engine::{Arg, Dml, Engine, Out, Statement};

/// Writes one statement; placeholders and quoting are the engine's.
pub struct Sql<'e, E: Engine> {
    engine: &'e E,
    migration: &'e str,
    statement: Statement,
}

impl<'e, E: Engine> Sql<'e, E> {
    pub fn new(engine: &'e E, migration: &'e str) -> Self {
        Self { engine, migration, statement: Statement::default() }
    }

    pub fn push(mut self, sql: &str) -> Self {
        self.statement.sql.push_str(sql);
        self
    }

    /// One of our control tables, quoted.
    pub fn control(self, name: &str) -> Self {
        let name = self.engine.control(self.migration, name);
        self.push(&name)
    }

    pub fn arg(mut self, arg: impl Into<Arg>) -> Self {
        let arg = arg.into();
        let place = self.engine.place(self.statement.args.len() + 1, &arg);
        self.statement.args.push(arg);
        self.push(&place)
    }

    pub fn typed(mut self, value: &Value, column: &Column) -> Result<Self> {
        let (place, arg) = self.engine.typed(self.statement.args.len() + 1, value, column)?;
        self.statement.args.push(arg);
        Ok(self.push(&place))
    }

    /// The same for a text that is compared by its bytes.
    pub fn typed_by_bytes(mut self, value: &Value, column: &Column) -> Result<Self> {
        let (place, arg) = self.engine.typed(self.statement.args.len() + 1, value, column)?;
        self.statement.args.push(arg);
        let place = self.engine.by_bytes(&place);
        Ok(self.push(&place))
    }

    /// `v(c1, c2 …) AS (rows)`, to follow `WITH`.
    pub fn rows_as_v(mut self, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<Self> {
        let names = (1..=columns.len()).map(|i| format!("c{i}")).collect::<Vec<_>>().join(", ");
        self = self.push(&format!("v({names}) AS ("));
        Ok(self.rows(columns, rows)?.push(")"))
    }

    /// A query that gives these rows.
    pub fn rows(mut self, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<Self> {
        self.engine.rows(&mut self.statement, columns, rows)?;
        Ok(self)
    }

    /// A delete of the rows of `table` that the list names by these (quoted) columns, to be followed by ` AND …`.
    pub fn delete_listed(
        self,
        table: &str,
        names: &[String],
        columns: &[&Column],
        rows: &[Vec<&Value>],
    ) -> Result<Self> {
        let picked = (1..=names.len()).map(|i| format!("c{i}")).collect::<Vec<_>>().join(", ");
        if E::DML == Dml::With {
            let sql = self.push("WITH ").rows_as_v(columns, rows)?;
            let names = names.join(", ");
            return Ok(sql.push(&format!(" DELETE FROM {table} WHERE ({names}) IN (SELECT {picked} FROM v)")));
        }
        let same = (1..).zip(names).map(|(i, n)| format!("{table}.{n} = v.c{i}")).collect::<Vec<_>>().join(" AND ");
        let sql = self.push(&format!("DELETE {table} FROM (")).rows(columns, rows)?;
        Ok(sql.push(&format!(") v STRAIGHT_JOIN {table} ON {same} WHERE 1 = 1")))
    }

    pub fn done(self) -> Statement {
        self.statement
    }

    pub async fn execute(self, tx: &mut E::Tx) -> Result<u64> {
        let engine = self.engine;
        engine.execute(tx, &self.statement).await
    }

    /// All rows, as control values.
    pub async fn all(self, tx: &mut E::Tx) -> Result<Vec<Vec<Value>>> {
        self.read(tx, &[]).await
    }

    pub async fn read(self, tx: &mut E::Tx, outs: &[Out]) -> Result<Vec<Vec<Value>>> {
        let mut rows = Vec::new();
        let mut each = |row| {
            rows.push(row);
            Ok(true)
        };
        self.engine.query(tx, &self.statement, outs, &mut each).await?;
        Ok(rows)
    }

    pub async fn first(self, tx: &mut E::Tx) -> Result<Option<Vec<Value>>> {
        Ok(self.all(tx).await?.into_iter().next())
    }
}

/// Joins the list `v` (and what was joined to it) with more.
pub fn join<E: Engine>() -> &'static str {
    match E::DML {
        Dml::With => "JOIN",
        Dml::Joined => "STRAIGHT_JOIN",
    }
}

/// Behind the insert of a setting: what is there under that name gets the new value.
pub fn or_set<E: Engine>() -> &'static str {
    match E::DML {
        Dml::With => " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        Dml::Joined => " ON DUPLICATE KEY UPDATE value = VALUES(value)",
    }
}

/// Around an insert into one of our tables that does nothing where the primary key is there already.
pub fn insert_new<E: Engine>() -> [&'static str; 2] {
    match E::DML {
        Dml::With => ["INSERT INTO ", " ON CONFLICT DO NOTHING"],
        Dml::Joined => ["INSERT IGNORE INTO ", ""],
    }
}

/// A control table's name as the catalogue has it.
pub fn control_table<E: Engine>(migration: &str, name: &str) -> TableName {
    match E::NAME {
        EngineName::Postgres => TableName { schema: Some(format!("_migrate_{migration}")), name: name.to_owned() },
        EngineName::MySql => TableName { schema: None, name: super::mysql::control_name(migration, name) },
        EngineName::Sqlite => TableName { schema: None, name: format!("_migrate_{migration}_{name}") },
    }
}

pub fn link_table(side: Side) -> &'static str {
    match side {
        Side::Source => "link_source",
        Side::Target => "link_target",
    }
}

pub fn setting_table(side: Side) -> &'static str {
    match side {
        Side::Source => "setting_source",
        Side::Target => "setting_target",
    }
}

pub fn dirty_table(id: TableId) -> String {
    format!("dirty_{id}")
}

/// The column `seq` of dirty tables, for typed rows.
pub fn seq_column<E: Engine>() -> Column {
    Column {
        name: "seq".into(),
        kind: Kind::Int { bits: 64 },
        type_name: E::INT.into(),
        nullable: false,
        has_default: true,
        generated: false,
        identity_always: false,
        numbered: Numbered::No,
        binary_order: true,
        collation: None,
    }
}

pub fn int_out() -> Out {
    Out { held: Kind::Int { bits: 64 }, wire: Kind::Int { bits: 64 }, exact: false }
}

/// The control tables of one side: name and columns, `{int}`, `{text}`, `{short}` and `{bytes}` in the engine's spelling.
const SOURCE_TABLES: &[(&str, &str)] = &[
    (
        "log",
        "generation {int} NOT NULL, position {int} NOT NULL, epoch {int} NOT NULL, kind {text} NOT NULL, \
             refs {bytes} NOT NULL, prev {bytes} NOT NULL, hash {bytes} NOT NULL, rows_count {int} NOT NULL, \
             bytes_count {int} NOT NULL, sealed_ms {int} NOT NULL, PRIMARY KEY (generation, position)",
    ),
    (
        "backfill",
        "table_id {int} NOT NULL PRIMARY KEY, state {int} NOT NULL, frontier {bytes}, stop {bytes}, \
                  rows_count {int} NOT NULL, bytes_count {int} NOT NULL",
    ),
    (
        "journal",
        "seq {int} NOT NULL PRIMARY KEY, at_ms {int} NOT NULL, phase {text} NOT NULL, step {text} NOT NULL, \
                 detail {text} NOT NULL",
    ),
    (
        "request",
        "id {int} NOT NULL PRIMARY KEY, at_ms {int} NOT NULL, verb {text} NOT NULL, body {text} NOT NULL, \
                 answer {text}",
    ),
];

const TARGET_TABLES: &[(&str, &str)] = &[
    ("verdict", "position {int} NOT NULL, item {int} NOT NULL, verdict {bytes} NOT NULL, PRIMARY KEY (position, item)"),
    (
        "parked",
        "id {int} NOT NULL PRIMARY KEY, table_id {int} NOT NULL, key_hash {short} NOT NULL, row_key {bytes} NOT NULL, \
                reason {text} NOT NULL, generation {int} NOT NULL, position {int} NOT NULL, times {int} NOT NULL, \
                first_ms {int} NOT NULL, last_ms {int} NOT NULL",
    ),
];

/// Which session's open transaction is the applier's, where a setting of the session can't say so.
pub const APPLIER: (&str, &str) = ("applier", "connection {int} NOT NULL PRIMARY KEY");

/// [`super::gate`]'s rows, in the forward link's control tables.
const GATE: &str = "id {int} NOT NULL PRIMARY KEY, closed {int} NOT NULL, deadline_ms {int} NOT NULL, \
                    turn {int} NOT NULL, scope {scope}, fenced {int} NOT NULL, UNIQUE (scope)";
const LINK: &str = "name {short} NOT NULL PRIMARY KEY, generation {int} NOT NULL, position {int} NOT NULL, \
                    hash {bytes} NOT NULL, epoch {int} NOT NULL, lease_epoch {int} NOT NULL, holder {text}, \
                    since_ms {int} NOT NULL, expires_ms {int} NOT NULL, lag_ms {int} NOT NULL, confirmed {int} NOT NULL";
const SETTING: &str = "name {short} NOT NULL PRIMARY KEY, value {text} NOT NULL";

/// `CREATE TABLE IF NOT EXISTS` for every control table of a side, but the dirty tables (capture makes those).
pub fn control_ddl<E: Engine>(engine: &E, migration: &str, side: Side) -> String {
    let own = if side == Side::Source { SOURCE_TABLES } else { TARGET_TABLES };
    let shared = [(link_table(side), LINK), (setting_table(side), SETTING)];
    let gate = match side {
        Side::Source => ("gate_source", GATE),
        Side::Target => ("gate_target", GATE),
    };
    let gate = (migration == base(migration)).then_some(&gate);
    let mut ddl = String::new();
    let applier = (E::APPLIER_TABLE && migration == base(migration)).then_some(&APPLIER);
    for (name, columns) in own.iter().chain(&shared).chain(applier).chain(gate) {
        let columns = columns.replace("{int}", E::INT).replace("{text}", E::TEXT).replace("{bytes}", E::BYTES);
        let columns = columns.replace("{short}", E::SHORT).replace("{scope}", E::SCOPE);
        ddl += &format!("CREATE TABLE IF NOT EXISTS {} ({columns});\n", engine.control(migration, name));
    }
    ddl
}

/// Reads control values without trusting their shape.
pub trait Cells {
    fn int(&self, i: usize) -> i64;
    fn uint(&self, i: usize) -> u64;
    fn text(&self, i: usize) -> String;
    fn opt_text(&self, i: usize) -> Option<String>;
    fn bytes(&self, i: usize) -> Vec<u8>;
    fn opt_bytes(&self, i: usize) -> Option<Vec<u8>>;
}

impl Cells for Vec<Value> {
    fn int(&self, i: usize) -> i64 {
        match self.get(i) {
            Some(Value::Int(n)) => i64::try_from(*n).unwrap_or_default(),
            Some(Value::Bool(b)) => (*b).into(),
            _ => 0,
        }
    }

    fn uint(&self, i: usize) -> u64 {
        u64::try_from(self.int(i)).unwrap_or_default()
    }

    fn text(&self, i: usize) -> String {
        self.opt_text(i).unwrap_or_default()
    }

    fn opt_text(&self, i: usize) -> Option<String> {
        match self.get(i) {
            Some(Value::Text(t)) => Some(t.clone()),
            _ => None,
        }
    }

    fn bytes(&self, i: usize) -> Vec<u8> {
        self.opt_bytes(i).unwrap_or_default()
    }

    fn opt_bytes(&self, i: usize) -> Option<Vec<u8>> {
        match self.get(i) {
            Some(Value::Bytes(b)) => Some(b.clone()),
            _ => None,
        }
    }
}
