//! All that travels between two stores: entries of one ordered log per direction, and reports the other way.
//!
//! An entry names its generation, position, the epoch of the relay that made it and the hash of the entry before it.
//! Its own hash covers header, references and the hash of its rows: a chain, so that a position that a rewound
//! source uses again is seen to be another one. References (keys or a range) are what the source keeps until the
//! target confirms; rows are never kept, they are read again.

use std::fmt;

use crate::error::Result;
use crate::value::{Digest, Key, Row};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// Place in the log, from 1; 0 is before the first entry.
    Position
);
counter!(
    /// Counts the relays that held the lease. Of two entries at one position the higher epoch's is void of doubt.
    Epoch
);
counter!(
    /// Counts histories: a fork (one side was rewound) begins a new one, with every range pending again.
    Generation
);

/// The number of a table pair in its migration; names its dirty table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u16);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// BLAKE3 of an entry. All zero before a generation's first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A direction of one migration. `Forward` goes from the plan's source to its target, `Reverse` the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    Forward,
    Reverse,
}

impl Link {
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
        }
    }
}

/// Where a side stands in a link's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    pub generation: Generation,
    pub position: Position,
    pub hash: Hash,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub migration: String,
    pub link: Link,
    pub generation: Generation,
    pub position: Position,
    pub epoch: Epoch,
    /// Hash of the entry at `position - 1`; zero for the first of a generation.
    pub prev: Hash,
    /// Nothing was left dirty in the snapshot that this entry is of, and nothing undrained before it is unconfirmed:
    /// after it the target's covered ranges equal the source's.
    pub drained: bool,
    /// Every range had been confirmed when this was sealed. Before that a row may be refused for want of one that is
    /// still to come, or because of a stale one that is still to go: such keys go back, drained or not.
    pub settled: bool,
    /// Verdicts up to this position have reached the source for good; the target may forget them.
    pub heard: Position,
    /// When it was sealed, by the source's clock, in milliseconds since 1970. For lag only.
    pub sealed_ms: i64,
    /// What the sender owned in the snapshot that this is of, where that is not everything. The receiver touches and
    /// compares no other rows.
    pub owned: Option<Scopes>,
}

/// A range in the source's key order: after (exclusive) to upto (inclusive); `None` is unbounded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Range {
    pub after: Option<Key>,
    pub upto: Option<Key>,
}

/// What an entry refers to. The source's log keeps exactly this until the target confirms.
#[derive(Debug, Clone, PartialEq)]
pub enum Refs {
    /// Keys that were dirty; `true` where the key has a row now (in `Entry::rows`, in the same order).
    Changes(Vec<TableKeys>),
    /// All rows of a range, in `Entry::rows`. `fresh`: nothing has reached the range before.
    Chunk {
        table: TableId,
        range: Range,
        fresh: bool,
    },
    /// Digests to be compared at this very position.
    Digest(Vec<Check>),
    Control(Control),
}

impl Refs {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Changes(_) => "changes",
            Self::Chunk { .. } => "chunk",
            Self::Digest(_) => "digest",
            Self::Control(_) => "control",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct TableKeys {
    pub table: TableId,
    pub keys: Vec<(Key, bool)>,
}

/// One comparison. `id` is chosen by the relay and comes back in the verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub id: u64,
    pub table: TableId,
    pub what: Compare,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Compare {
    /// The digest of a range's rows. Where the target can't evaluate the range, `named` lists its keys.
    Range { range: Range, named: Option<Vec<Key>>, digest: Digest },
    /// Each row's key and hash, to name the keys that differ. `closed`: the target may look for extra rows in `range`.
    Rows { range: Range, closed: bool, rows: Vec<(Key, u128)> },
    /// As `Rows`, of a table whose numbers may lie apart: the hash is of all other columns, and theirs are told.
    Near { range: Range, closed: bool, rows: Vec<(Key, u128, Row)> },
    /// Count and sum of the hashes of *all* keys of the table, by [`bucket`] of the key's hash: no extra row can hide.
    KeySet { buckets: Vec<Digest> },
    /// All keys of some buckets of `of`, to name the extra and the missing ones.
    Keys { of: u32, buckets: Vec<u32>, keys: Vec<Key> },
}

/// The bucket of a key's hash among `of`.
pub fn bucket(hash: u128, of: u32) -> u32 {
    ((hash >> 96) as u32) % of
}

/// Which rows a side owns, by the text of their scope: the rest or not, and the other way round for these. A row whose
/// scope is null is of the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scopes {
    /// Rows of every scope that is not named.
    pub rest: bool,
    /// Sorted; no two alike.
    pub except: Vec<String>,
}

impl Scopes {
    pub const ALL: Self = Self { rest: true, except: vec![] };

    /// `None` is the rest.
    pub fn has(&self, scope: Option<&str>) -> bool {
        self.rest != scope.is_some_and(|s| self.except.iter().any(|e| e == s))
    }

    /// Whether any scope is of both.
    pub fn meets(&self, other: &Self) -> bool {
        let named = self.except.iter().chain(&other.except).map(|s| Some(s.as_str()));
        std::iter::once(None).chain(named).any(|scope| self.has(scope) && other.has(scope))
    }
}

/// How often rows have changed their owner, those of one scope (`None`: of every scope that is not named).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    pub scope: Option<String>,
    /// Even: the plan's source owns them, or is to.
    pub turn: u64,
}

/// A decision that the target obeys in the same transaction as its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Begins a generation. `mapping`: hash of the table pairs; the target refuses entries of another mapping.
    Begin { mapping: Hash },
    /// The sender takes no more writes of the application: nothing follows, unless an `Abort` does.
    Fence { cut: u64 },
    /// The decision: from here on the receiver owns these rows, each by the number of this change of owner.
    Open { turns: Vec<Turn> },
    /// The fence of this attempt is gone; the sender owns the data as before.
    Abort { cut: u64 },
}

/// One sealed entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub header: Header,
    pub refs: Refs,
    pub rows: Vec<Row>,
    /// Of `header`, `refs` and the hash of `rows`, as the codec computes it.
    pub hash: Hash,
}

impl Entry {
    pub fn mark(&self) -> Mark {
        Mark { generation: self.header.generation, position: self.header.position, hash: self.hash }
    }
}

/// What a relay says when it has taken the lease, outside the chain. Whatever of a lower epoch comes later is void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub migration: String,
    pub link: Link,
    pub epoch: Epoch,
}

/// What the target found at one check.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub position: Position,
    pub check: u64,
    pub table: TableId,
    pub finding: Finding,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    Equal,
    /// The range's digests differ; the target had this many rows.
    Differs {
        target_rows: u64,
    },
    /// These buckets of the key set differ.
    Buckets(Vec<u32>),
    /// These keys differ (all of them, up to the cap; `more` counts the rest).
    Keys {
        keys: Vec<(Key, Difference)>,
        more: u64,
    },
    /// The answer to `Near`: so many rows are equal only by the plan's tolerances, and these keys differ.
    Near {
        near: u64,
        keys: Vec<(Key, Difference)>,
        more: u64,
    },
    /// Not a digest's: keys of an undrained entry that the target could not take yet; the source marks them dirty.
    Returned(Vec<Key>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// At the source, not at the target.
    Missing,
    /// At the target, not at the source.
    Extra,
    /// At both, with other values.
    Changed,
}

impl Difference {
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Changed => "changed",
        }
    }
}

/// Why the target stopped: a row of a drained entry that it refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub position: Position,
    pub table: TableId,
    pub key: Key,
    /// The engine's reason without the row's values.
    pub reason: String,
}

/// Where the target stands: sent after each commit and every second; may be lost, may repeat.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub mark: Mark,
    /// The highest epoch that the target has recorded with its checkpoint.
    pub epoch: Epoch,
    /// The last message did not extend the chain: the target waits for a relay to begin again from `mark`.
    pub broken: bool,
    /// All verdicts since the last `Header::heard`, in order of position.
    pub verdicts: Vec<Verdict>,
    pub refusal: Option<Refusal>,
    /// Rows that the target refused and that wait.
    pub parked: u64,
    /// Applied entries' age when they were committed, by the two clocks: now − `sealed_ms`.
    pub lag_ms: i64,
}

/// How entries become bytes. The store needs it inside its sealing transaction, without knowing the format.
pub trait Codec: Send + Sync {
    /// Encodes an entry and computes its hash.
    fn seal(&self, header: &Header, refs: &Refs, rows: &[Row]) -> (Hash, bytes::Bytes);
    fn write_refs(&self, refs: &Refs) -> Vec<u8>;
    fn read_refs(&self, bytes: &[u8]) -> Result<Refs>;
    fn write_key(&self, key: &Key) -> Vec<u8>;
    fn read_key(&self, bytes: &[u8]) -> Result<Key>;
    fn write_verdict(&self, verdict: &Verdict) -> Vec<u8>;
    fn read_verdict(&self, bytes: &[u8]) -> Result<Verdict>;
}
