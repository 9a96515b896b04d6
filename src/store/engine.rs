//! What differs between engines, in one small trait. The one body that uses it is in `table`, `seal`, `apply` and
//! `control`; the SQL that all engines share is written there once.
//!
//! An implementation owns its `sqlx` pool and its transactions; a transaction never leaves `store/`.

use async_trait::async_trait;

use crate::entry::TableId;
use crate::error::Result;
use crate::finding::{Alike, Health, Violation};
use crate::mapping::{Layout, TableMap};
use crate::schema::{Addition, Column, Definition, EngineName, Kind, NewTable, Table, TableName};
use crate::value::{Row, Value};

use super::{Fence, NumberRange, Role, Side, TableSize};

/// Why a transaction is opened; decides isolation, locks and time-outs.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// Short reads and writes of control tables; read committed is enough.
    Control,
    /// One snapshot, read only in spirit (sizes, emptiness, rights).
    Look,
    /// The sealing transaction: the tables are locked against DDL *before* the snapshot is taken, dirty keys and rows
    /// come from that one snapshot, and a concurrent sealer fails.
    Seal(&'a Layout),
    /// Applying at the target: durable at commit, foreign keys checked at the end of a statement or later.
    /// `backfill`: ranges are pending, so a reference may point to a row that is yet to come.
    Apply { layout: &'a Layout, backfill: bool },
    /// DDL of ours (install, remove): short lock time-out; `Retry` when it runs out.
    Install,
}

/// One statement's argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// `Null`, `Bool`, `Int`, `Float`, `Text` or `Bytes`, bound natively.
    One(Value),
    /// A whole column (PostgreSQL's `text[]`).
    Texts(Vec<Option<String>>),
}

impl From<i64> for Arg {
    fn from(v: i64) -> Self {
        Self::One(Value::Int(v.into()))
    }
}

impl From<u64> for Arg {
    fn from(v: u64) -> Self {
        Self::One(Value::Int(v.into()))
    }
}

impl From<&str> for Arg {
    fn from(v: &str) -> Self {
        Self::One(Value::Text(v.to_owned()))
    }
}

impl From<Vec<u8>> for Arg {
    fn from(v: Vec<u8>) -> Self {
        Self::One(Value::Bytes(v))
    }
}

impl<T: Into<Arg>> From<Option<T>> for Arg {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::One(Value::Null), Into::into)
    }
}

/// How one result column is read: from the kind that the engine holds to the wire kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Out {
    pub held: Kind,
    pub wire: Kind,
    /// A key's: the store must hold it in the very form in which we would write it, since it is looked up by that.
    /// Otherwise `GiveUp` (matters where an engine keeps such kinds as text of any form).
    pub exact: bool,
}

/// SQL and its arguments, being written. Placeholders are numbered by the engine.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    pub sql: String,
    pub args: Vec<Arg>,
}

/// How many rows that are given as a list are written by one statement (`sql` has the statements).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dml {
    /// `WITH v AS (…)` in front of a `DELETE`, `UPDATE` or `INSERT … ON CONFLICT`; ranges compare whole keys.
    With,
    /// The list is joined (`DELETE t FROM (…) v STRAIGHT_JOIN t`), and always comes first, so that rows are found by
    /// their index and no other is locked. An upsert is an update of what is there and an insert of the rest. A key
    /// of several columns is compared column by column: only that uses an index.
    Joined,
}

#[async_trait]
pub trait Engine: Send + Sync + Sized + 'static {
    /// An open transaction, rolled back when dropped.
    type Tx: Send;

    const NAME: EngineName;
    /// Milliseconds since 1970 by the database's clock, now (not at the transaction's start). An SQL expression.
    const NOW_MS: &'static str;
    /// DDL spellings for control tables: 64-bit integer, text, bytes.
    const INT: &'static str;
    const TEXT: &'static str;
    const BYTES: &'static str;
    /// Whether [`mark_applier`](Engine::mark_applier) needs a table of its own.
    const APPLIER_TABLE: bool = true;
    /// A text of 190 characters at most, which can be a primary key.
    const SHORT: &'static str = Self::TEXT;
    /// The text of a row's scope, compared by its bytes.
    const SCOPE: &'static str = Self::TEXT;
    const DML: Dml = Dml::With;

    // -- transactions and statements

    async fn begin(&self, mode: Mode<'_>) -> Result<Self::Tx>;
    async fn commit(&self, tx: Self::Tx) -> Result<()>;

    /// Lets writers go on while this sealing transaction still reads: what was written so far is committed, the
    /// snapshot stays. What is written after must prove lease and head again. An engine whose sealing transaction
    /// stops nobody returns it as it is.
    async fn keep_snapshot(&self, tx: Self::Tx) -> Result<Self::Tx> {
        Ok(tx)
    }

    /// One statement; the number of rows that it touched.
    async fn execute(&self, tx: &mut Self::Tx, statement: &Statement) -> Result<u64>;

    /// One query. `each` gets row after row and says whether it wants more; what is left is discarded without being
    /// kept in memory. `outs` has one item per column; rows come in wire form. An empty `outs` means control values:
    /// every column comes back as `Null`, `Int`, `Text`, `Bytes` or `Float`, as the engine has it.
    async fn query(
        &self,
        tx: &mut Self::Tx,
        statement: &Statement,
        outs: &[Out],
        each: &mut (dyn FnMut(Row) -> Result<bool> + Send),
    ) -> Result<()>;

    /// One or several statements without arguments (DDL).
    async fn script(&self, tx: &mut Self::Tx, sql: &str) -> Result<()>;

    /// Marks a point inside the transaction to which `rollback_to` returns.
    async fn savepoint(&self, tx: &mut Self::Tx) -> Result<()>;
    /// Undoes what came behind the last savepoint, and forgets that savepoint.
    async fn rollback_to_savepoint(&self, tx: &mut Self::Tx) -> Result<()>;
    async fn release_savepoint(&self, tx: &mut Self::Tx) -> Result<()>;

    /// Marks this transaction as the applier's: capture of this migration in the same store leaves it alone, so that what
    /// came over one link does not go back over the other. Capture of another migration takes it like any write.
    async fn mark_applier(&self, tx: &mut Self::Tx, migration: &str) -> Result<()>;
    /// Takes the mark away, where it would otherwise outlive the transaction. Here: it ends with it.
    async fn unmark_applier(&self, _tx: &mut Self::Tx, _migration: &str) -> Result<()> {
        Ok(())
    }

    /// Checks now what was deferred to the commit (foreign keys), so that a violation is an error here. Kind `GiveUp`.
    async fn check_deferred(&self, tx: &mut Self::Tx) -> Result<()>;

    /// Ends the sessions of a holder whose lease has expired: it may hang with locks that no time limit ends. What it
    /// had open is rolled back. Here: the server's own limits end them.
    async fn end_sessions(&self, _holder: &str) -> Result<()> {
        Ok(())
    }

    // -- dialect (pure)

    /// Quotes an identifier by the engine's rules.
    fn quote(&self, identifier: &str) -> String;
    /// A quoted, schema-qualified table.
    fn table(&self, name: &TableName) -> String;
    /// The quoted name of one of our control tables or triggers (`log`, `dirty_3`): in the schema
    /// `_migrate_<migration>` on PostgreSQL, with the prefix `_migrate_<migration>_` elsewhere.
    fn control(&self, migration: &str, name: &str) -> String;
    /// The placeholder for the `n`th argument (from 1), natively typed: `$1::bigint`/`$1`, `?1`.
    fn place(&self, n: usize, arg: &Arg) -> String;
    /// A wire value as an argument for comparing with or storing into `column`, and the placeholder expression
    /// (`$1::text::numeric`). Kind `GiveUp` where the engine can't hold the value (NaN in SQLite, NUL in PostgreSQL text).
    fn typed(&self, n: usize, value: &Value, column: &Column) -> Result<(String, Arg)>;
    /// Appends a common table expression body that has these rows, typed for these columns, to `statement`:
    /// a query (`VALUES …` or `SELECT …`), without parentheses around it. Rows that don't fit one statement are the caller's to split by `max_rows`.
    fn rows(&self, statement: &mut Statement, columns: &[&Column], rows: &[Vec<&Value>]) -> Result<()>;
    /// How many rows of so many columns one statement can take.
    fn max_rows(&self, columns: usize) -> usize;
    /// A select item that gives `expression` (of kind `out.held`) in the form that `query` reads for `out`.
    fn select(&self, expression: &str, out: &Out) -> String;
    /// A text expression, to be compared by its bytes.
    fn by_bytes(&self, expression: &str) -> String;
    /// The text of a scope column's value, which has the bytes of [`scope`](Engine::scope) where it is that one.
    fn scope_text(&self, expression: &str) -> String;
    /// A scope, to be compared with `scope_text` and with columns of type [`SCOPE`](Engine::SCOPE).
    fn scope(&self, scope: &str) -> Arg {
        scope.into()
    }
    /// A condition of the plan's over a row of this table, where other rows are at hand too. Here: as it stands, since
    /// names without a table mean the table's own.
    fn of_row(&self, condition: &str, _table: &TableName) -> String {
        format!("({condition})")
    }
    /// Between `INSERT INTO t(cols)` and the rows (`OVERRIDING SYSTEM VALUE`), or nothing.
    fn overriding(&self, identity_always: bool) -> &'static str;

    // -- bulk

    /// Inserts rows where none can conflict, by the engine's fastest way. A unique violation is `GiveUp`, and the
    /// caller has set a savepoint. `rows` are wire rows; constants are added here.
    async fn load(&self, tx: &mut Self::Tx, map: &TableMap, rows: &[Row]) -> Result<()>;

    // -- catalogue

    fn address(&self) -> String;
    async fn who(&self) -> Result<String>;
    async fn tables(&self) -> Result<Vec<TableName>>;
    async fn describe(&self, name: &TableName) -> Result<Option<Table>>;
    async fn definition(&self, name: &TableName) -> Result<Definition>;
    /// Checks an expression (or a filter) over one table: parses, refers only to it, immutable, no aggregates or
    /// subqueries. `Ok(Err(reason))` where it is unfit; the kind, or `None` where the engine types dynamically.
    async fn expression(&self, name: &TableName, sql: &str, filter: bool) -> Result<Result<Option<Kind>, String>>;
    async fn size(&self, name: &TableName) -> Result<TableSize>;
    /// The statements that would give this login what it lacks for its role; empty where nothing is missing.
    async fn missing_rights(&self, role: Role, layout: &Layout) -> Result<Vec<String>>;
    /// The least set for a role, whether or not this login has it. An engine without roles says in words what counts.
    /// Here: only what is missing.
    async fn grants(&self, role: Role, layout: &Layout) -> Result<Vec<String>> {
        self.missing_rights(role, layout).await
    }
    /// What `plan` must know of the store besides its tables, looked at with the login of daily work and written
    /// nowhere. `layout` has only names. Findings bear a check of the catalogue (`crate::check`) and the table as the
    /// catalogue names it. Expected of each engine, as far as it can tell: a version that is too old, read-only or a
    /// replica, settings that endanger what is committed (or, as sql_mode and max_allowed_packet, what can be
    /// written), a superuser, triggers of others on the target's tables, cascades of the source that fire no triggers,
    /// publications and subscriptions, prepared transactions; CHECK constraints of the tables; free space. Here:
    /// nothing is known.
    async fn health(&self, _side: Side, _layout: &Layout) -> Result<Health> {
        Ok(Health::default())
    }
    /// Makes this transaction's statements give up after so many milliseconds, with an error of kind `Retry`; 0 takes
    /// the limit away again. Here: they take as long as they take.
    async fn limit_time(&self, _tx: &mut Self::Tx, _limit_ms: u64) -> Result<()> {
        Ok(())
    }
    /// A condition that is true for a value of `expression` that has this violation; `None` where such a value can't
    /// be, or can't be told. `Duplicate`, `Orphan`, `RowOver` and `OutsideBytes` are not asked for. Here: as the SQL standard has it.
    fn violates(&self, expression: &str, violation: &Violation) -> Option<String> {
        super::count::standard(expression, violation)
    }
    /// What texts have in common that a unique index calls one: an expression to group them by. Exactly that index's
    /// equality where this engine has its collation, otherwise no more than it surely calls one.
    fn folded(&self, expression: &str, alike: &Alike) -> String;
    /// How many bytes a text or byte string has.
    fn octets(&self, expression: &str) -> String {
        format!("octet_length({expression})")
    }

    // -- generated numbers

    /// The columns of a table that the engine numbers upwards, and the next number of each that it would give out.
    async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>>;
    /// Makes the next number at least this, and greater than any that is there (`upto`: of those up to it; what numbers
    /// behind the greatest heeds all). Never lowers it.
    async fn raise_number(&self, name: &TableName, column: &str, next: i64, upto: Option<i64>) -> Result<()>;

    /// Hangs what refuses numbers of a table outside this store's range. `Retry` where writers did not end in time.
    async fn hang_range(&self, layout: &Layout, side: Side, grantee: &str, range: &NumberRange) -> Result<()>;
    /// Takes all of them away.
    async fn drop_ranges(&self, layout: &Layout, side: Side) -> Result<()>;

    // -- the gate (`gate` has the rows; each of these is idempotent)

    /// Whether the gate's triggers are made with the control tables and armed by a row, since making them later would
    /// wait for readers and stall everybody behind.
    const GATE_HANGS: bool = false;
    /// Hangs the triggers on every table of the side, as the rows say whether they refuse.
    async fn hang_gate(&self, layout: &Layout, side: Side, grantee: &str) -> Result<()>;
    /// Sets the fence's row and makes it count for every transaction, also one with an older snapshot: on return each
    /// write that was accepted has committed, and none is accepted until `deadline_ms`.
    async fn shut_gate(&self, layout: &Layout, side: Side, fence: &Fence<'_>, deadline_ms: i64) -> Result<()>;
    /// Locks one of the gate's rows, to be changed in this transaction, waiting at most so long for the writers that
    /// share it. Here: what changes it waits by the transaction's own limits.
    async fn take_gate(&self, _tx: &mut Self::Tx, _l: &Layout, _side: Side, _row: i64, _limit_ms: i64) -> Result<()> {
        Ok(())
    }
    /// After the fence's row was taken back: takes away what costs writers something, where the owner's row is open.
    async fn free_gate(&self, layout: &Layout, side: Side) -> Result<()>;

    // -- installing (each idempotent)

    /// Creates the place of the control tables (a schema), and lets `grantee` work with what is in it.
    async fn create_home(&self, migration: &str, grantee: &str) -> Result<()>;
    /// The rights on the control tables for `grantee`, in the transaction that makes them: where DDL belongs to one, a
    /// process that dies in between must not leave tables that the daily login sees and may not read.
    async fn grant_home(&self, tx: &mut Self::Tx, migration: &str, grantee: &str) -> Result<()>;
    async fn create_table(&self, table: &NewTable, grantee: &str) -> Result<()>;
    /// Adds an index or a foreign key to a table that we made; what was left half done is found and finished.
    async fn add(&self, addition: &Addition) -> Result<bool>;
    /// Makes `dirty_<id>` (columns `seq`, then `k1`, `k2` … in the key columns' own types and collations) and the
    /// triggers. One table per transaction under a short lock time-out (`Retry` when it runs out).
    async fn capture(&self, layout: &Layout, map: &TableMap, grantee: &str) -> Result<()>;
    /// What makes capture trustworthy, as text: equal texts mean untouched triggers and table definitions. Read in
    /// every sealing transaction.
    async fn fingerprint(&self, tx: &mut Self::Tx, layout: &Layout) -> Result<String>;
    /// Whether capture has dropped keys because the backlog limit was reached. Read in every sealing transaction.
    async fn overflowed(&self, tx: &mut Self::Tx, layout: &Layout) -> Result<bool>;
    /// Moves the backlog limit along after dirty keys of `tables` were taken (and forgets an overflow when `reset`).
    /// Cheap: it writes only when that matters. An engine to which looking at all tables costs nothing does that.
    async fn advance_limit(&self, tx: &mut Self::Tx, layout: &Layout, tables: &[TableId], reset: bool) -> Result<()>;
    /// Removes every trigger, function and control table of the migration (the triggers first, table by table).
    /// Says what was removed. Tables that vanished in the meantime are fine.
    async fn remove(&self, migration: &str) -> Result<Vec<String>> {
        self.remove_parts(migration, false).await
    }
    /// The same. `keep_gate`: the gate's triggers stay, and what they need.
    async fn remove_parts(&self, migration: &str, keep_gate: bool) -> Result<Vec<String>>;
    /// Drops a table that `create_tables` made.
    async fn drop_table(&self, name: &TableName) -> Result<()>;
    /// Takes away what hinders the backfill (self-referencing foreign keys), having written down how to restore it in
    /// the same transaction, and returns that, one statement each, also when it is called again. `restore` runs them
    /// and skips what is there again; `remove` does so too. Nothing where the engine needs none.
    async fn relax(&self, layout: &Layout) -> Result<Vec<String>>;
    async fn restore(&self, statements: &[String]) -> Result<()>;
}
