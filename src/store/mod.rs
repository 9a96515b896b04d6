//! The contract of a store: whole operations, each one transaction, never a borrowed one.
//!
//! Every method may be called again after any error or crash: it either did all or nothing, and what it did once it
//! finds done. `Retry` errors passed; everything else will come again. Times are the database's own clock.

mod apply;
mod body;
mod control;
mod count;
mod decide;
mod digest;
pub mod engine;
pub mod gate;
pub mod holder;
mod lease;
mod log;
mod lossy;
pub mod mysql;
mod parked;
pub mod playground;
pub mod postgres;
pub mod ranges;
mod read;
mod rehearse;
mod seal;
mod socket;
mod sql;
pub mod sqlite;
pub mod text;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::entry::{
    Codec, Control, Entry, Epoch, Generation, Hash, Link, Mark, Position, Range, Refusal, TableId, TableKeys, Turn,
    Verdict,
};
use crate::error::{Error, Result};
use crate::finding::{Counted, Health, Suspect};
use crate::mapping::Layout;
use crate::schema::{Addition, Definition, EngineName, Kind, NewTable, Table, TableName};
use crate::value::Key;

use body::SqlStore;
pub use gate::{Fence, Gate, ScopeGate};
pub use parked::Parked;
pub use ranges::NumberRange;
pub use seal::{BEGAN, BEGIN_ANEW, SURVIVES};

/// Which part a login plays, for the rights that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    SourceRun,
    TargetRun,
    SourceInstall,
    TargetInstall,
    /// The same for a login that does the daily work too, and so gives no rights to another.
    SourceInstallAlone,
    TargetInstallAlone,
}

impl Role {
    pub fn alone(self) -> Self {
        match self {
            Self::SourceInstall => Self::SourceInstallAlone,
            Self::TargetInstall => Self::TargetInstallAlone,
            other => other,
        }
    }

    /// As if there were another login.
    pub fn part(self) -> Self {
        match self {
            Self::SourceInstallAlone => Self::SourceInstall,
            Self::TargetInstallAlone => Self::TargetInstall,
            other => other,
        }
    }
}

/// What the catalogue's statistics say; an estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSize {
    pub rows: u64,
    pub bytes: u64,
}

/// Which end of a link a store is for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
}

/// A held lease. Every write of its holder proves the epoch in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub link: Link,
    pub side: Side,
    pub epoch: Epoch,
    pub holder: String,
    pub ttl_ms: i64,
}

/// The link's row, as either side keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Source: the head of the log. Target: the checkpoint.
    pub mark: Mark,
    /// Source: the lease's epoch. Target: the highest relay epoch recorded.
    pub epoch: Epoch,
    pub lease_epoch: Epoch,
    pub holder: Option<String>,
    pub since_ms: i64,
    pub expires_ms: i64,
    /// The database's clock at the time of reading.
    pub now_ms: i64,
    /// Target: lag of the last applied entry. Source: 0.
    pub lag_ms: i64,
    /// Source: highest position that the target has confirmed.
    pub confirmed: Position,
}

/// How far one table's backfill is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableProgress {
    pub frontier: Option<Key>,
    pub done: bool,
    pub rows: u64,
    pub bytes: u64,
}

/// What a seal is to do once nothing is dirty any more.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    Nothing,
    /// Begin a generation: every range pending, capture's overflow forgotten. `copied`: both stores are known to be
    /// equal but for what is dirty, so every range counts as brought.
    Begin {
        generation: Generation,
        mapping: Hash,
        copied: bool,
    },
    /// The next range of a table's backfill.
    Chunk {
        table: TableId,
        max_rows: u64,
        max_bytes: u64,
    },
    Compare(Vec<Task>),
    /// Nothing follows any more: the application's writes are refused since before this snapshot.
    Fence {
        cut: u64,
    },
    /// What was decided in another transaction, told again: the receiver owns the data, or the fence is gone.
    Tell(Control),
}

/// One comparison that the relay wants made.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub id: u64,
    pub table: TableId,
    pub what: TaskKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TaskKind {
    /// Up to so many rows behind a key; `Sealed::ends` tells where it ended.
    RangeAfter {
        after: Option<Key>,
        max_rows: u64,
    },
    Rows {
        range: Range,
    },
    KeySet {
        buckets: u32,
    },
    Keys {
        of: u32,
        buckets: Vec<u32>,
    },
    /// These keys, whether or not they have a row.
    Named {
        keys: Vec<Key>,
    },
}

/// One sealing transaction.
pub struct SealRequest<'a> {
    pub layout: &'a Layout,
    pub lease: &'a Lease,
    pub head: Mark,
    /// Bounds on dirty keys and on the bytes of their rows; one row is always taken.
    pub max_keys: u64,
    pub max_bytes: u64,
    /// No undrained entry is unconfirmed and nothing it returned is missing: an entry may call itself drained.
    pub may_drain: bool,
    /// Every range is confirmed at the target: a row that it refuses in a drained entry is really refused.
    pub settled: bool,
    pub heard: Position,
    pub work: Work,
    /// Keys that the target returned; marked dirty first.
    pub returned: &'a [(TableId, Vec<Key>)],
}

/// What one sealing transaction committed.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// In order; empty where nothing was dirty and there was no work.
    pub entries: Vec<SealedEntry>,
    pub head: Mark,
    /// The last entry may call itself drained.
    pub drained: bool,
    /// Nothing visible was left dirty, whether or not the entry may call itself drained.
    pub caught_up: bool,
    /// A key of what is fenced was dirty.
    pub breached: bool,
    /// Capture dropped keys at `backlog_limit`, so nothing was sealed: a new generation must begin.
    pub overflowed: bool,
    /// For each `RangeAfter` task, by id: the last key of its range, `None` at the table's end; and its rows.
    pub ends: Vec<(u64, Option<Key>, u64)>,
    /// For a chunk: the table's progress after it.
    pub progress: Option<(TableId, TableProgress)>,
}

/// What became of a decision.
#[derive(Debug, Clone)]
pub enum Decided {
    /// Committed: this store has given the data up, and the `open` entry is in its log.
    Open { turns: Vec<Turn>, sealed: Sealed },
    /// Nothing was done, and why: the fence must be taken away.
    No(String),
}

#[derive(Debug, Clone)]
pub struct SealedEntry {
    pub mark: Mark,
    pub name: &'static str,
    pub rows: u64,
    pub drained: bool,
    pub sealed_ms: i64,
    pub bytes: Bytes,
    /// Of a `changes` entry.
    pub keys: Vec<TableKeys>,
}

/// What applying did.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// Committed: the checkpoint is at the last entry. Verdicts are kept until they are heard.
    Done { verdicts: Vec<Verdict>, lag_ms: i64, parked: u64 },
    /// Rolled back: a row of a drained entry is refused, for this reason, and no more may be parked.
    Refused(Refusal),
    /// Nothing was done: the checkpoint is not where the caller thought, or the entries do not extend it.
    Moved,
}

/// Rows that an operator may need: what was compared last, and what differed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub id: u64,
    pub verb: String,
    pub body: String,
    pub answer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLine {
    pub at_ms: i64,
    pub phase: String,
    pub step: String,
    pub detail: String,
}

/// What became of rows that were written and taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rehearsed {
    pub rows: u64,
    /// How many of them could also be removed and written anew.
    pub anew: u64,
    /// The engine's reasons, without values.
    pub refused: Vec<String>,
    /// Columns that would come back as something else.
    pub changed: Vec<String>,
}

/// A store of any engine. Object-safe, since engines are chosen at run time.
#[async_trait]
pub trait Store: Send + Sync {
    fn engine(&self) -> EngineName;
    /// Without secrets, for messages.
    fn address(&self) -> String;

    // -- looking (nothing is written)

    /// The login's name, as grants take it.
    async fn who(&self) -> Result<String>;
    async fn tables(&self) -> Result<Vec<TableName>>;
    async fn describe(&self, name: &TableName) -> Result<Option<Table>>;
    /// What `describe` leaves out: defaults, numbers, indexes.
    async fn definition(&self, name: &TableName) -> Result<Definition>;
    async fn expression(&self, name: &TableName, sql: &str, filter: bool) -> Result<Result<Option<Kind>, String>>;
    async fn size(&self, name: &TableName) -> Result<TableSize>;
    /// Whether the target holds no row within the pair's constants.
    async fn target_is_empty(&self, layout: &Layout, table: TableId) -> Result<bool>;
    async fn missing_rights(&self, role: Role, layout: &Layout) -> Result<Vec<String>>;
    /// The least set of rights for a role, as statements, whether or not this login has them.
    async fn grants(&self, role: Role, layout: &Layout) -> Result<Vec<String>>;
    /// What stands in the way at this side besides the tables' own shape. Of the layout only the names count. Writes
    /// nothing.
    async fn health(&self, side: Side, layout: &Layout) -> Result<Health>;
    /// How many rows of the source meet each of these conditions, under the plan's filter: one answer each, in order.
    /// Each query gives up after half a minute. Writes nothing.
    async fn count(&self, layout: &Layout, suspects: &[Suspect]) -> Result<Vec<Counted>>;
    async fn now_ms(&self) -> Result<i64>;
    /// Whether this migration's control tables are here.
    async fn is_installed(&self, migration: &str, side: Side) -> Result<bool>;

    // -- installing, with the install role; `grantee` is the daily login

    async fn install_control(&self, layout: &Layout, side: Side, grantee: &str) -> Result<()>;
    async fn create_table(&self, table: &NewTable, grantee: &str) -> Result<()>;
    /// Adds an index or a foreign key to a table that we made; `false` where it has it already. Writers of the table
    /// go on as far as the engine lets them.
    async fn add(&self, addition: &Addition) -> Result<bool>;
    async fn capture(&self, layout: &Layout, table: TableId, grantee: &str) -> Result<()>;
    /// Takes away what hinders the backfill at the target; how to restore it is durable before, and comes back.
    async fn relax(&self, layout: &Layout) -> Result<Vec<String>>;
    async fn restore(&self, statements: &[String]) -> Result<()>;
    async fn remove(&self, migration: &str) -> Result<Vec<String>>;
    /// The same, but for the gate at this store, which goes on refusing.
    async fn remove_but_gate(&self, migration: &str) -> Result<Vec<String>>;
    async fn drop_table(&self, name: &TableName) -> Result<()>;

    // -- journal, settings and requests (control tables of `side`)

    async fn get(&self, migration: &str, side: Side, key: &str) -> Result<Option<String>>;
    async fn put(&self, migration: &str, side: Side, key: &str, value: &str) -> Result<()>;
    async fn journal(&self, migration: &str, phase: &str, step: &str, detail: &str) -> Result<()>;
    async fn journal_lines(&self, migration: &str, last: u32) -> Result<Vec<JournalLine>>;
    async fn ask(&self, migration: &str, verb: &str, body: &str) -> Result<u64>;
    async fn answer(&self, migration: &str, id: u64, answer: &str) -> Result<()>;
    async fn open_requests(&self, migration: &str) -> Result<Vec<Request>>;
    async fn request(&self, migration: &str, id: u64) -> Result<Option<Request>>;

    // -- generated numbers, with the install role

    /// The columns of a table that the engine numbers upwards (sequences, `AUTO_INCREMENT`), and what each would give out next.
    async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>>;
    /// Makes the next number at least this, and greater than any that is there (`upto`: of those up to it; what numbers
    /// behind the greatest heeds all). Never lowers it.
    async fn raise_number(&self, name: &TableName, column: &str, next: i64, upto: Option<i64>) -> Result<()>;

    /// The greatest number below a bound that is in a column now.
    async fn greatest_number(&self, name: &TableName, column: &str, below: Option<i64>) -> Result<Option<i64>>;
    /// From the return on the application's rows whose number is outside are refused, and those that were written before
    /// are visible. Safe to repeat; another range of the table is replaced.
    async fn hang_range(&self, layout: &Layout, side: Side, grantee: &str, range: &NumberRange) -> Result<()>;
    /// No number is refused any more.
    async fn drop_ranges(&self, layout: &Layout, side: Side) -> Result<()>;

    // -- the gate, with the install role

    /// Makes the gate's rows, closed or open; safe to repeat, and then changes nothing. A closed gate refuses
    /// the application's writes on the tables of `side` from the return on.
    async fn make_gate(&self, layout: &Layout, side: Side, grantee: &str, closed: bool) -> Result<()>;
    /// The gate's rows alone: it is written down who owns, and nobody is refused.
    async fn mark_gate(&self, layout: &Layout, side: Side, closed: bool) -> Result<()>;
    /// Names scopes that are to change their owner by themselves: until then each is as the rest. Safe to repeat.
    async fn name_scopes(&self, layout: &Layout, side: Side, grantee: &str, scopes: &[String]) -> Result<()>;
    /// Whether the gate's rows were ever made; `migration` is the forward link's.
    async fn has_gate(&self, migration: &str, side: Side) -> Result<bool>;
    async fn gate(&self, layout: &Layout, side: Side) -> Result<Gate>;
    /// Refuses the application's writes until the deadline, which comes back (the database's clock). From the return on
    /// every write that was accepted is visible. `Retry` where a lock was not had in time: the error names who holds
    /// it, nobody waits for us any more, and a part of the tables may be fenced until the deadline.
    async fn fence(&self, layout: &Layout, side: Side, fence: &Fence<'_>) -> Result<i64>;
    /// Takes the fence and what hangs on the tables for it away; where the gate is closed for good it stays so.
    async fn unfence(&self, layout: &Layout, side: Side) -> Result<()>;

    /// Sets the turn of every part, after a person named the store that counts. `Some(closed)`: and closes or opens them
    /// all; from the return on the application's writes are refused, or taken. No fence is left.
    async fn name_turn(
        &self,
        layout: &Layout,
        side: Side,
        grantee: &str,
        closed: Option<bool>,
        turn: u64,
    ) -> Result<()>;

    // -- leases

    /// Takes the lease when it is free, expired, or already this holder's (the epoch grows each time). `Locked` says
    /// who holds it since when.
    async fn take_lease(&self, migration: &str, link: Link, side: Side, holder: &str, ttl_ms: i64) -> Result<Lease>;
    /// `Locked` when it was lost.
    async fn renew_lease(&self, migration: &str, lease: &Lease) -> Result<()>;
    /// While a long transaction holds the lease's own row: others see that the holder lives for another `ttl_ms`.
    async fn say_alive(&self, migration: &str, lease: &Lease) -> Result<()>;
    /// Gives it back early. Nothing happens where it was lost.
    async fn release_lease(&self, migration: &str, lease: &Lease) -> Result<()>;
    async fn link_state(&self, migration: &str, link: Link, side: Side) -> Result<LinkState>;

    // -- source

    /// Seals once. `Locked` when the lease is not ours any more, `Retry` when only the head is elsewhere, `Changed` when
    /// capture was touched.
    async fn seal(&self, request: SealRequest<'_>) -> Result<Sealed>;
    /// Decides the cut over `cut`: with the fence in place, the head at its `fence` entry and nothing dirty, this store
    /// gives the data up for good. May be called again after a commit of which nothing was heard: then the gate says
    /// `closed`.
    async fn decide(&self, request: SealRequest<'_>, cut: u64) -> Result<Decided>;
    /// Whether the log has exactly this mark.
    async fn knows(&self, migration: &str, link: Link, mark: &Mark) -> Result<bool>;
    /// Whether a seal would find something. Cheap.
    async fn anything_dirty(&self, layout: &Layout) -> Result<bool>;
    /// Makes our epoch higher than one that the target has recorded (the source was restored from before it).
    async fn raise_epoch(&self, migration: &str, lease: &Lease, above: Epoch) -> Result<Lease>;
    /// Undoes all entries behind `to`: their keys are dirty again, their ranges pending; the head is `to`.
    async fn rewind(&self, layout: &Layout, lease: &Lease, head: Mark, to: Mark) -> Result<()>;
    /// The target has this position for good. Older log rows are removed, but for the last `keep`.
    async fn confirm(&self, layout: &Layout, lease: &Lease, position: Position, keep: u64) -> Result<()>;
    /// Marks keys dirty: repair and re-sync are nothing else.
    async fn mark_dirty(&self, layout: &Layout, table: TableId, keys: &[Key]) -> Result<()>;
    async fn progress(&self, layout: &Layout) -> Result<Vec<(TableId, TableProgress)>>;
    /// Dirty keys per table, counted up to `cap` each.
    async fn backlog(&self, layout: &Layout, cap: u64) -> Result<Vec<(TableId, u64)>>;
    /// The fingerprint of capture now, to be stored under `put("fingerprint")` when it was just installed.
    async fn fingerprint(&self, layout: &Layout) -> Result<String>;

    // -- target

    /// Records a relay's epoch with the checkpoint, if it is higher. Returns the state.
    async fn record_epoch(&self, migration: &str, lease: &Lease, epoch: Epoch) -> Result<LinkState>;
    /// Applies entries that extend the chain from `from`, all in one transaction with the checkpoint.
    async fn apply(&self, layout: &Layout, lease: &Lease, from: Mark, entries: &[Entry]) -> Result<Applied>;
    /// Up to so many rows behind a key, in the side's own key order: read now, outside the log.
    async fn page(
        &self,
        layout: &Layout,
        table: TableId,
        side: Side,
        after: Option<&Key>,
        max_rows: u64,
    ) -> Result<Vec<crate::value::Row>>;
    /// Writes rows as the applier would, and rolls back: what a link would do to this store. Writers of the same rows
    /// wait meanwhile, so take few at once.
    async fn rehearse(&self, layout: &Layout, table: TableId, rows: &[crate::value::Row]) -> Result<Rehearsed>;
    /// Rows that this store refused and that wait, by their ids.
    async fn parked(&self, migration: &str) -> Result<Vec<Parked>>;
    async fn parked_count(&self, migration: &str) -> Result<u64>;
    /// Forgets some of them without any effect on the rows; how many there were.
    async fn forget_parked(&self, migration: &str, ids: &[u64]) -> Result<u64>;
    /// Verdicts not yet heard.
    async fn verdicts(&self, layout: &Layout, link: Link) -> Result<Vec<Verdict>>;
    /// Rows by their keys, for showing a difference to a person: read now, outside the log.
    async fn look_up(
        &self,
        layout: &Layout,
        table: TableId,
        side: Side,
        keys: &[Key],
    ) -> Result<Vec<Option<Vec<crate::value::Value>>>>;
}

/// Connects lazily: an unreachable store is an error of the first call.
pub fn connect(url: &str, codec: &'static dyn Codec) -> Result<Arc<dyn Store>> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(Arc::new(SqlStore { engine: postgres::Postgres::connect(url)?, codec })),
        Some("mysql" | "mariadb") => Ok(Arc::new(SqlStore { engine: mysql::MySql::connect(url)?, codec })),
        Some("sqlite") => Ok(Arc::new(SqlStore { engine: sqlite::Sqlite::connect(url)?, codec })),
        _ => Err(Error::plan("a store's url must begin with postgres://, mysql:// or sqlite://")),
    }
}
