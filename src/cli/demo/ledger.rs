//! What the writers were told: for each key the version that the store acknowledged last, or that it was deleted.
//!
//! Each key belongs to one writer alone, so that what one book says about it is exact. Rows that were filled and
//! never written are not noted one by one: they stand at version 1.

use std::collections::HashMap;

use crate::store::playground::Demo;

/// What the source holds of a key, as far as its writer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// `None`: deleted.
    Is(Option<i64>),
    /// A commit failed on its way: any of these.
    Either(Vec<Option<i64>>),
}

/// How many rows each table was filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    pub rows: u64,
}

impl Filled {
    /// Rows `1..=last` of a table: half of all are customers, three in ten orders, the rest notes.
    pub fn last(self, table: Demo) -> i64 {
        let (customers, orders) = (self.rows / 2, self.rows * 3 / 10);
        let rows = match table {
            Demo::Customers => customers,
            Demo::Orders => orders,
            Demo::Notes => self.rows - customers - orders,
        };
        i64::try_from(rows).unwrap_or(i64::MAX)
    }
}

/// One writer's notes; [`Ledger::merge`] makes one of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub filled: Filled,
    written: HashMap<(Demo, i64), State>,
    /// Row writes that a commit acknowledged.
    pub acknowledged: u64,
    pub transactions: u64,
    pub rolled_back: u64,
    pub refused: u64,
    pub failed: u64,
    pub unknown: u64,
}

impl Ledger {
    pub fn new(filled: Filled) -> Self {
        let written = HashMap::new();
        Self { filled, written, acknowledged: 0, transactions: 0, rolled_back: 0, refused: 0, failed: 0, unknown: 0 }
    }

    pub fn state(&self, table: Demo, n: i64) -> State {
        match self.written.get(&(table, n)) {
            Some(state) => state.clone(),
            None => State::Is((1..=self.filled.last(table)).contains(&n).then_some(1)),
        }
    }

    /// The version that is surely there now.
    pub fn version(&self, table: Demo, n: i64) -> Option<i64> {
        match self.state(table, n) {
            State::Is(version) => version,
            State::Either(_) => None,
        }
    }

    pub fn note(&mut self, table: Demo, n: i64, version: Option<i64>) {
        self.written.insert((table, n), State::Is(version));
    }

    /// The write may have happened, or not.
    pub fn doubt(&mut self, table: Demo, n: i64, version: Option<i64>) {
        let mut either = match self.state(table, n) {
            State::Is(before) => vec![before],
            State::Either(either) => either,
        };
        either.push(version);
        self.written.insert((table, n), State::Either(either));
    }

    pub fn merge(&mut self, other: Ledger) {
        self.written.extend(other.written);
        self.acknowledged += other.acknowledged;
        self.transactions += other.transactions;
        self.rolled_back += other.rolled_back;
        self.refused += other.refused;
        self.failed += other.failed;
        self.unknown += other.unknown;
    }

    /// Begins the reading of one table.
    pub fn check(&self, table: Demo) -> Check<'_> {
        let last = self.written.keys().filter(|(t, _)| *t == table).map(|(_, n)| *n).max().unwrap_or(0);
        let last = last.max(self.filled.last(table));
        let words = usize::try_from(last / 64 + 1).unwrap_or(0);
        Check { ledger: self, table, last, seen: vec![0; words], found: Found::default() }
    }
}

/// What a reading of one or more tables came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub rows: u64,
    /// Rows whose last acknowledged write is not there: absent, at another version, or not deleted.
    pub lost: u64,
    /// Rows that nobody wrote.
    pub extra: u64,
    /// The first few, named.
    pub named: Vec<String>,
}

impl Found {
    const NAMED: usize = 5;

    fn name(&mut self, what: impl FnOnce() -> String) {
        if self.named.len() < Self::NAMED {
            self.named.push(what());
        }
    }

    pub fn add(&mut self, other: Found) {
        self.rows += other.rows;
        self.lost += other.lost;
        self.extra += other.extra;
        let room = Self::NAMED.saturating_sub(self.named.len());
        self.named.extend(other.named.into_iter().take(room));
    }
}

/// One table, read row by row against the ledger. Memory is one bit per key.
pub struct Check<'a> {
    ledger: &'a Ledger,
    table: Demo,
    last: i64,
    seen: Vec<u64>,
    found: Found,
}

impl Check<'_> {
    pub fn row(&mut self, key: &str, version: i64) {
        self.found.rows += 1;
        let name = self.table.name();
        let number = self.table.number(key).filter(|n| (1..=self.last).contains(n) && self.table.key(*n) == key);
        let Some(n) = number else {
            self.found.extra += 1;
            return self.found.name(|| format!("{name} {key}: nobody wrote it"));
        };
        let (word, bit) = (n as usize / 64, 1_u64 << (n % 64));
        if self.seen[word] & bit != 0 {
            self.found.extra += 1;
            return self.found.name(|| format!("{name} {key}: it is there twice"));
        }
        self.seen[word] |= bit;
        let said = match self.ledger.state(self.table, n) {
            State::Is(Some(expected)) if expected == version => return,
            State::Either(either) if either.contains(&Some(version)) => return,
            State::Is(Some(expected)) => format!("version {expected} was acknowledged, it has {version}"),
            State::Is(None) => "its delete was acknowledged".to_owned(),
            State::Either(_) => format!("version {version} is none of those written"),
        };
        self.found.lost += 1;
        self.found.name(|| format!("{name} {key}: {said}"));
    }

    /// Whatever was not seen must be deleted.
    pub fn end(mut self) -> Found {
        for n in 1..=self.last {
            if self.seen[n as usize / 64] & (1 << (n % 64)) != 0 {
                continue;
            }
            let expected = match self.ledger.state(self.table, n) {
                State::Is(None) => continue,
                State::Either(either) if either.contains(&None) => continue,
                State::Is(Some(version)) => version,
                State::Either(_) => 0,
            };
            let (name, key) = (self.table.name(), self.table.key(n));
            self.found.lost += 1;
            self.found.name(|| format!("{name} {key}: version {expected} was acknowledged, it is absent"));
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Demo = Demo::Orders;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(Filled { rows: 10 });
        assert_eq!(Demo::ALL.map(|t| ledger.filled.last(t)), [5, 3, 2]);
        ledger.note(TABLE, 2, Some(7));
        ledger.note(TABLE, 3, None);
        ledger.note(TABLE, 90, Some(8));
        ledger.doubt(TABLE, 91, Some(9));
        ledger
    }

    fn check(rows: &[(i64, i64)]) -> Found {
        let ledger = ledger();
        let mut check = ledger.check(TABLE);
        for (n, version) in rows {
            check.row(&TABLE.key(*n), *version);
        }
        check.end()
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_nothing_else() {
        let fine = [(1, 1), (2, 7), (90, 8)];
        assert_eq!(check(&fine), Found { rows: 3, ..Default::default() });
        assert_eq!(check(&[fine[0], fine[1], fine[2], (91, 9)]).lost, 0); // its commit was in doubt
        for (rows, lost, extra) in [
            (vec![(1, 1), (2, 7)], 1, 0),                    // a row is missing
            (vec![(1, 1), (2, 6), (90, 8)], 1, 0),           // an older version
            (vec![(1, 1), (2, 7), (3, 1), (90, 8)], 1, 0),   // a delete is missing
            (vec![(1, 1), (2, 7), (90, 8), (50, 1)], 1, 0),  // never written, in the range of keys
            (vec![(1, 1), (2, 7), (90, 8), (900, 1)], 0, 1), // nor this one
            (vec![(1, 1), (1, 1), (2, 7), (90, 8)], 0, 1),   // twice
            (vec![(1, 1), (2, 7), (90, 8), (91, 5)], 1, 0),  // in doubt, but not about this
            (vec![], 3, 0),
        ] {
            let found = check(&rows);
            assert_eq!(
                (found.lost, found.extra, found.named.len()),
                (lost, extra, (lost + extra) as usize),
                "{rows:?}"
            );
        }
    }

    #[test]
    fn a_key_in_another_spelling_is_another_key() {
        let ledger = ledger();
        let mut check = ledger.check(TABLE);
        check.row(&TABLE.key(1).replace("South", "south"), 1);
        let found = check.end();
        assert_eq!((found.extra, found.lost), (1, 3));
    }
}
