//! The parts of the model's world, and the rules that can be broken.

use migrate::entry as e;

pub const KEYS: usize = 2;
/// What the log keeps of what is confirmed.
pub const KEEP: u8 = 1;

pub type Values = [u8; KEYS];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mark {
    pub generation: u8,
    pub position: u8,
    pub hash: u64,
}

impl Mark {
    pub fn real(self) -> e::Mark {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.hash.to_le_bytes());
        let (generation, position) = (e::Generation(self.generation.into()), e::Position(self.position.into()));
        e::Mark { generation, position, hash: e::Hash(hash) }
    }

    pub fn of(mark: &e::Mark) -> Self {
        let hash = u64::from_le_bytes(mark.hash.0[..8].try_into().expect("eight bytes"));
        Self { generation: mark.generation.0 as u8, position: mark.position.0 as u8, hash }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    Begin,
    Changes(Vec<(u8, u8)>),
    Chunk(Values),
    Digest(Values),
    Fence,
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    pub mark: Mark,
    pub prev: u64,
    pub epoch: u8,
    pub drained: bool,
    pub what: What,
    /// The source's rows in the snapshot that it was sealed in. No process knows this.
    pub ghost: Values,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    Announced(u8),
    Sealed(Entry),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dirty {
    pub seq: u8,
    pub key: u8,
}

/// An application's transaction that has written and not committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pending {
    pub marks: Vec<Dirty>,
    pub value: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Source {
    pub rows: Values,
    pub dirty: Vec<Dirty>,
    pub next_seq: u8,
    pub pending: Option<Pending>,
    /// The only range has been read.
    pub reached: bool,
    pub log: Vec<(Mark, What)>,
    pub head: Mark,
    pub epoch: u8,
    pub confirmed: u8,
    /// Refuses writes until its deadline, which may come at any time.
    pub fenced: bool,
    /// Refuses for good.
    pub closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Target {
    pub rows: Values,
    pub mark: Mark,
    pub epoch: u8,
    /// The range of this generation has been applied.
    pub covered: bool,
    pub open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Relay {
    pub epoch: u8,
    pub head: Mark,
    /// It has heard from the target where that stands.
    pub ready: bool,
    pub unsent: Vec<Entry>,
    /// Position and whether it was drained.
    pub in_flight: Vec<(u8, bool)>,
    pub fence: Option<Mark>,
    /// A decision that the target may not know of.
    pub to_tell: bool,
    /// Of a relay that looks first and reads later (a broken rule).
    pub looked: Option<Vec<Dirty>>,
}

/// The protocol's rules; each can be broken, to see that the model notices.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub rows_of_the_snapshot: bool,
    pub delete_what_was_read: bool,
    pub chain: bool,
    pub lease_is_proven: bool,
    pub confirm_after_commit: bool,
    pub digest_behind_its_chunk: bool,
    pub fence_waits_for_writers: bool,
    pub decide_behind_the_fence: bool,
    pub decide_only_clean: bool,
    pub no_new_generation_behind_a_decision: bool,
}

pub const SOUND: Rules = Rules {
    rows_of_the_snapshot: true,
    delete_what_was_read: true,
    chain: true,
    lease_is_proven: true,
    confirm_after_commit: true,
    digest_behind_its_chunk: true,
    fence_waits_for_writers: true,
    decide_behind_the_fence: true,
    decide_only_clean: true,
    no_new_generation_behind_a_decision: true,
};
