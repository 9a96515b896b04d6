//! What long work tells whoever watches: libraries report through [`Reporter`], only the command line draws.

/// Something that a person or a machine may want to see. Never holds a row's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A phase begins (`dual-write`, `backfill`, `verify`, `in sync`).
    Phase { name: String, detail: String },
    /// How far a table's backfill or verification is. `rows_total` is an estimate.
    Table { table: String, stage: Stage, rows: u64, rows_total: u64, done: bool },
    /// Where the stream stands.
    Stream { position: u64, confirmed: u64, in_flight: u64, lag_ms: i64 },
    /// A change of state worth a line.
    Note(String),
    /// Something is not as it should be, though work goes on.
    Warning(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Backfill,
    /// An index or a foreign key of a made table; its one "row" is the whole.
    Index,
    Verify,
}

/// Receives events; must not block and can't fail.
pub trait Reporter: Send + Sync {
    fn event(&self, event: &Event);
}

/// Sees nothing.
pub struct Silent;

impl Reporter for Silent {
    fn event(&self, _: &Event) {}
}
