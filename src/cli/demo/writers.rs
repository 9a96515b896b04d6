//! Applications: they insert, update, delete and change keys, in transactions of one to five statements of one shop, some
//! of them rolled back, and note what was acknowledged. A store that refuses a shop's writes does not own them: the same
//! transaction is tried at the other one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ledger::{Filled, Ledger};
use crate::error::{Error, Result};
use crate::store::playground::{Demo, End, Op, Playground, SHOPS, Written};
use crate::task::{Stop, Task, spawn};

/// Writers at work.
pub struct Writers {
    tasks: Vec<Task<Ledger>>,
    stop: Stop,
    acknowledged: Arc<AtomicU64>,
    filled: Filled,
}

impl Writers {
    pub fn start(stores: &[Arc<Playground>; 2], filled: Filled, writers: u16) -> Self {
        let (stop, acknowledged) = (Stop::new(), Arc::new(AtomicU64::new(0)));
        let tasks = (0..writers).map(|number| {
            let writer = Writer::new(filled, number, writers);
            let (stores, stop, acknowledged) = (stores.clone(), stop.clone(), acknowledged.clone());
            spawn(format!("writer {number}"), async move { writer.work(&stores, &stop, &acknowledged).await })
        });
        Self { tasks: tasks.collect(), stop, acknowledged, filled }
    }

    /// Row writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets each finish its transaction, and joins their books.
    pub async fn stop(self) -> Result<Ledger> {
        self.stop.request(0);
        let mut all = Ledger::new(self.filled);
        for task in self.tasks {
            all.merge(task.join().await?);
        }
        Ok(all)
    }
}

/// One writer and the keys that are its own: those that leave its number when divided by the count of writers.
struct Writer {
    number: i64,
    of: i64,
    random: Random,
    book: Ledger,
    /// Its inserted rows, by table; some were deleted since.
    inserted: [Vec<i64>; 3],
    next_key: i64,
    next_version: i64,
    /// Which store took a shop's writes last.
    at: [usize; SHOPS as usize],
}

/// A transaction in the making: what each key of it would be.
#[derive(Default)]
struct Draft {
    ops: Vec<Op>,
    effects: Vec<(Demo, i64, Option<i64>)>,
}

impl Draft {
    fn effect(&self, table: Demo, n: i64) -> Option<Option<i64>> {
        self.effects.iter().rev().find(|(t, k, _)| (*t, *k) == (table, n)).map(|(_, _, version)| *version)
    }
}

/// Pauses between transactions: applications have other things to do, and the migration is to be seen at work.
const PAUSE_MS: u64 = 8;
/// Before a refused transaction is tried at the other store.
const AGAIN: Duration = Duration::from_millis(2);
/// Failures in a row after which a writer no longer believes in its store.
const PATIENCE: u64 = 100;

impl Writer {
    fn new(filled: Filled, number: u16, of: u16) -> Self {
        let (number, of) = (i64::from(number), i64::from(of));
        let beyond = Demo::ALL.into_iter().map(|table| filled.last(table)).max().unwrap_or(0);
        Self {
            number,
            of,
            random: Random(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03)),
            book: Ledger::new(filled),
            inserted: Default::default(),
            next_key: (beyond / of + 1) * of + number,
            next_version: 2,
            at: [0; SHOPS as usize],
        }
    }

    async fn work(mut self, stores: &[Arc<Playground>; 2], stop: &Stop, acknowledged: &AtomicU64) -> Result<Ledger> {
        let mut failures = 0;
        while stop.requested().is_none() {
            let (shop, draft) = self.draft();
            let end = if self.random.one_in(10) { End::Rollback } else { End::Commit };
            let written = loop {
                let written = stores[self.at[shop]].write(&draft.ops, end).await;
                if !matches!(written, Written::Refused) || stop.requested().is_some() {
                    break written;
                }
                // While the owner changes nobody takes it for a moment.
                self.book.refused += 1;
                self.at[shop] = 1 - self.at[shop];
                tokio::time::sleep(AGAIN).await;
            };
            let error = self.finish(written, draft, acknowledged);
            failures = if error.is_some() { failures + 1 } else { 0 };
            match error {
                Some(error) if !error.is_retry() || failures > PATIENCE => {
                    return Err(error.context(format!("writer {}", self.number)));
                }
                _ => {}
            }
            let pause = Duration::from_millis(1 + self.random.below(PAUSE_MS));
            let pause = if failures > 0 { pause * 10 } else { pause };
            tokio::time::sleep(pause).await;
        }
        Ok(self.book)
    }

    /// Notes what became of a transaction.
    fn finish(&mut self, written: Written, draft: Draft, acknowledged: &AtomicU64) -> Option<Error> {
        match written {
            Written::Committed => {
                self.book.transactions += 1;
                self.book.acknowledged += draft.ops.len() as u64;
                acknowledged.fetch_add(draft.ops.len() as u64, Ordering::Relaxed);
                for (table, n, version) in draft.effects {
                    let new = version.is_some() && self.book.version(table, n).is_none();
                    if new && n > self.book.filled.last(table) {
                        self.inserted[table as usize].push(n);
                    }
                    self.book.note(table, n, version);
                }
                None
            }
            Written::RolledBack => {
                self.book.rolled_back += 1;
                None
            }
            Written::Refused => None,
            Written::Failed(error) => {
                self.book.failed += 1;
                Some(error)
            }
            Written::Unknown(error) => {
                self.book.unknown += 1;
                for (table, n, version) in draft.effects {
                    self.book.doubt(table, n, version);
                }
                Some(error)
            }
        }
    }

    /// Of one shop: its rows are with one owner.
    fn draft(&mut self) -> (usize, Draft) {
        let mut draft = Draft::default();
        let any = self.filled_key(Demo::Customers).unwrap_or(self.next_key);
        let shop = Demo::shop(any);
        for _ in 0..1 + self.random.below(5) {
            let table = Demo::ALL[self.random.below(3) as usize];
            let version = self.next_version;
            self.next_version += 1;
            let existing = self.existing(table, shop, &draft);
            let (op, effects) = match (self.random.below(20), existing) {
                (0..=8, Some(n)) => (Op::Update { table, n, version }, vec![(table, n, Some(version))]),
                (9..=11, Some(n)) => (Op::Delete { table, n }, vec![(table, n, None)]),
                (12..=13, Some(from)) => {
                    let to = self.fresh_key(shop);
                    (Op::Rekey { table, from, to, version }, vec![(table, from, None), (table, to, Some(version))])
                }
                (14..=15, _) => {
                    let n = self.deleted(table, shop, &draft).unwrap_or_else(|| self.fresh_key(shop));
                    (Op::Insert { table, n, version }, vec![(table, n, Some(version))])
                }
                _ => {
                    let n = self.fresh_key(shop);
                    (Op::Insert { table, n, version }, vec![(table, n, Some(version))])
                }
            };
            draft.ops.push(op);
            draft.effects.extend(effects);
        }
        (usize::try_from(shop).unwrap_or_default(), draft)
    }

    /// A shop that any key of ours has comes again within as many keys as there are shops.
    fn fresh_key(&mut self, shop: i64) -> i64 {
        while Demo::shop(self.next_key) != shop {
            self.next_key += self.of;
        }
        let key = self.next_key;
        self.next_key += self.of;
        key
    }

    /// One of the filled rows' keys that are ours; now and then one of the first, which so are written often.
    fn filled_key(&mut self, table: Demo) -> Option<i64> {
        let last = self.book.filled.last(table);
        let ours = u64::try_from((last - self.number) / self.of).unwrap_or(0);
        let among = if self.random.one_in(5) { ours.min(5) } else { ours };
        let n = self.number + self.of * (i64::try_from(self.random.below(among + 1)).ok()?);
        (1..=last).contains(&n).then_some(n)
    }

    fn any_key(&mut self, table: Demo) -> Option<i64> {
        let inserted = self.inserted[table as usize].len() as u64;
        if inserted > 0 && self.random.one_in(2) {
            let at = self.random.below(inserted) as usize;
            return self.inserted[table as usize].get(at).copied();
        }
        self.filled_key(table)
    }

    /// A row that is surely there, as this draft would leave it.
    fn existing(&mut self, table: Demo, shop: i64, draft: &Draft) -> Option<i64> {
        self.find(table, shop, |book, n| draft.effect(table, n).unwrap_or_else(|| book.version(table, n)).is_some())
    }

    /// A key that once was, and is surely free.
    fn deleted(&mut self, table: Demo, shop: i64, draft: &Draft) -> Option<i64> {
        let free = super::ledger::State::Is(None);
        self.find(table, shop, |book, n| draft.effect(table, n).is_none() && book.state(table, n) == free)
    }

    fn find(&mut self, table: Demo, shop: i64, fits: impl Fn(&Ledger, i64) -> bool) -> Option<i64> {
        (0..24).find_map(|_| self.any_key(table).filter(|n| Demo::shop(*n) == shop && fits(&self.book, *n)))
    }
}

/// A small generator (splitmix64): the same run writes the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::ledger::Found;

    async fn read(store: &Playground, ledger: &Ledger) -> Found {
        let mut all = Found::default();
        for table in Demo::ALL {
            let mut check = ledger.check(table);
            store.rows(table, |key, version| check.row(key, version)).await.unwrap();
            all.add(check.end());
        }
        all
    }

    /// The store that was written itself must agree with the ledger: else the ledger would accuse the innocent.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_ledger_is_exact_about_the_store_that_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("a.db").display());
        let store = Arc::new(Playground::connect(&url, 4).await.unwrap());
        store.create_tables().await.unwrap();
        let filled = Filled { rows: 200 };
        for table in Demo::ALL {
            store.fill(table, 1, filled.last(table)).await.unwrap();
        }
        let writers = Writers::start(&[store.clone(), store.clone()], filled, 3);
        while writers.acknowledged() < 600 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let told = writers.acknowledged();
        let ledger = writers.stop().await.unwrap();
        assert!(ledger.acknowledged >= told && ledger.rolled_back > 0 && ledger.transactions > 0);
        assert_eq!((ledger.failed, ledger.unknown), (0, 0));
        let found = read(&store, &ledger).await;
        assert_eq!((found.lost, found.extra, &found.named[..]), (0, 0, &[][..]));

        // And it sees each of three small losses.
        let n = (1..).find(|n| ledger.version(Demo::Notes, *n).is_some()).unwrap();
        let lose = [Op::Delete { table: Demo::Notes, n }, Op::Insert { table: Demo::Orders, n: 4_000_000, version: 1 }];
        assert!(matches!(store.write(&lose, End::Commit).await, Written::Committed));
        let found = read(&store, &ledger).await;
        assert_eq!((found.lost, found.extra), (1, 1), "{:?}", found.named);
    }

    #[test]
    fn what_is_in_doubt_is_noted_as_such_and_left_alone() {
        let mut writer = Writer::new(Filled { rows: 40 }, 0, 2);
        let draft = Draft { ops: Vec::new(), effects: vec![(Demo::Notes, 2, None)] };
        let error = writer.finish(Written::Unknown(Error::retry("gone")), draft, &AtomicU64::new(0));
        assert!(error.is_some() && writer.book.unknown == 1);
        assert_eq!(writer.book.version(Demo::Notes, 2), None);
        for _ in 0..200 {
            assert_ne!(writer.existing(Demo::Notes, 2, &Draft::default()), Some(2));
            assert_ne!(writer.deleted(Demo::Notes, 2, &Draft::default()), Some(2));
        }
    }
}
