//! What is looked for and found at `plan`: findings, a store's health, and which rows the target would refuse.
//!
//! Whoever looks (plan, store, transport) makes a [`Finding`] of a check of the catalogue; only `phases` decides what
//! follows from them. A finding holds names, counts and statements, never a row's value and never a secret.

use crate::check::Check;
use crate::entry::TableId;
use crate::schema::{CharSet, EngineName, Kind, TableName};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: &'static Check,
    pub message: String,
    /// The exact next edit or command.
    pub hint: String,
    /// As its store's catalogue has it.
    pub table: Option<TableName>,
    pub column: Option<String>,
    /// Rows, or groups of rows.
    pub count: Option<u64>,
}

impl Finding {
    pub fn new(check: &'static Check, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { check, message, hint, table: None, column: None, count: None }
    }

    pub fn table(self, name: &TableName) -> Self {
        Self { table: Some(name.clone()), ..self }
    }

    pub fn column(self, name: &str) -> Self {
        Self { column: Some(name.to_owned()), ..self }
    }

    pub fn count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }
}

/// What a store says of itself, looking with the login of daily work and writing nothing. What it can't know is `None`
/// or missing, and then nothing is concluded from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// What the engine judges by itself: its version and settings, read-only, tables that something else writes too.
    pub found: Vec<Finding>,
    /// The same text for the same database, however it was reached.
    pub identity: Option<String>,
    /// How text is kept, in capitals (`UTF8`, `LATIN1`).
    pub encoding: Option<String>,
    /// Where the store's files grow.
    pub free_bytes: Option<u64>,
    /// The largest statement, and so the largest row, that it takes.
    pub packet_bytes: Option<u64>,
    /// CHECK constraints of the tables.
    pub rules: Vec<Rule>,
    /// Columns of enums that are types of their own.
    pub enums: Vec<Labels>,
}

/// What a column of an enum takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub table: TableName,
    pub column: String,
    pub names: Vec<String>,
}

/// A CHECK constraint, in the engine's own spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub table: TableName,
    pub name: String,
    pub text: String,
    /// The columns that it reads, where the catalogue says so.
    pub columns: Option<Vec<String>>,
}

/// A condition under which the target would refuse a row of the source; how many rows meet it is counted by query.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    pub check: &'static Check,
    pub table: TableId,
    /// Indices into the pair's wire columns.
    pub columns: Vec<usize>,
    pub violation: Violation,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Violation {
    Null,
    /// More characters.
    LongerThan(u32),
    /// An integer that needs more bits.
    OutsideInt {
        bits: u8,
    },
    /// An integer beyond these bounds.
    Outside {
        low: i128,
        high: i128,
    },
    /// More digits before the point.
    WholeDigits(u32),
    /// A zero whose sign is negative.
    NegativeZero,
    /// Text with a character outside this set.
    OutsideSet(CharSet),
    /// Text that ends with a blank.
    EndsWithBlank,
    /// Fewer or more bytes.
    OutsideBytes {
        least: u64,
        most: u64,
    },
    /// Text that is none of these.
    NoneOf(Vec<String>),
    /// Text that is no list of some of these, in their order, with commas between.
    NotOfSet(Vec<String>),
    /// A key that means a value of this kind, but is not spelled as we would spell it.
    Misspelled(Kind),
    /// A number that, rounded to a whole one, is beyond these bounds.
    Rounded {
        low: i128,
        high: i128,
    },
    /// A number of which only an infinite float of so many bits would be left.
    BeyondFloat {
        bits: u8,
    },
    /// A version beyond 7 in a variant that has no versions.
    StrangeUuid,
    /// Text with a NUL character in it.
    Nul,
    /// NaN, which not every engine's numbers can be.
    NotFinite,
    /// An infinite number, which even fewer engines have.
    Infinite,
    /// What an engine keeps in place of a date though the calendar lacks it: a zero date, a zero month or day, day 31 of
    /// a shorter month.
    NoDate,
    /// A date, time or timestamp before or behind these, which are written as ISO texts in UTC.
    OutsideTime {
        low: &'static str,
        high: &'static str,
    },
    /// A time of day or timestamp that needs more digits behind its seconds.
    FinerThan {
        digits: u8,
    },
    /// A value that its column's declared kind can't mean (SQLite keeps what it is given).
    OtherClass(Kind),
    /// More bytes in all these columns of one row.
    RowOver {
        bytes: u64,
    },
    /// Several rows with the same values, none of them null: groups are counted, not rows. When two values are the same
    /// is said for each column.
    Duplicate {
        by: Vec<Alike>,
    },
    /// A row of another table of the plan, which goes to the same target, has the same values in its columns.
    Twice {
        other: TableId,
        columns: Vec<usize>,
    },
    /// No row of the parent, within the plan's filter, has these values in its columns.
    Orphan {
        parent: TableId,
        columns: Vec<usize>,
    },
}

/// Which texts a unique index calls one, as far as that can be counted elsewhere. Other kinds have one meaning of equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alike {
    pub case: Case,
    /// `é` and `e`.
    pub accents: bool,
    /// However many blanks there are at the end.
    pub blanks: bool,
    /// The collation's name, in whose engine it can be asked for itself. `None`: what is said above is all there is.
    pub collation: Option<(EngineName, String)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    #[default]
    Counts,
    /// Only that of A to Z does not count.
    Ascii,
    /// It does not count.
    Ignored,
}

impl Alike {
    pub fn is_exact(&self) -> bool {
        *self == Self::default()
    }

    /// Whether texts that differ for this one differ for the other too.
    pub fn covers(&self, other: &Self) -> bool {
        let folds = self.case >= other.case && self.accents >= other.accents && self.blanks >= other.blanks;
        other.is_exact() || self == other || folds && other.collation.is_none()
    }
}

impl Violation {
    /// Whether one row by itself decides it, so that all of a table's are counted in one pass.
    pub fn is_of_one_row(&self) -> bool {
        !matches!(self, Self::Duplicate { .. } | Self::Twice { .. } | Self::Orphan { .. })
    }
}

/// How often a suspicion was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    Rows(u64),
    /// It could not be told in time, or not at all: why.
    Unknown(String),
}
