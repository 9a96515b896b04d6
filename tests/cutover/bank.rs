//! A bank: accounts of a few tenants in two stores, of which one takes a tenant's writes; and clients that move money
//! within a tenant wherever that is, following refusals as an application would. Every acknowledged transfer is in the
//! ledger.

#![allow(dead_code)] // each test binary uses a part

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::compare::rows;
use crate::support::live::App;
use crate::support::product::Place;

pub const TENANTS: usize = 4;
/// Of each tenant.
pub const ACCOUNTS: i64 = 10;
pub const OPENING: i64 = 1_000;
pub async fn open(place: &Place, filled: bool) {
    let schema =
        "CREATE TABLE account (id BIGINT NOT NULL, tenant BIGINT NOT NULL, balance BIGINT NOT NULL, PRIMARY KEY (tenant, id));
        CREATE TABLE transfer (id BIGINT NOT NULL, tenant BIGINT NOT NULL, debit BIGINT NOT NULL, credit BIGINT NOT NULL, \
            amount BIGINT NOT NULL, PRIMARY KEY (tenant, id));";
    place.exec(schema).await;
    if filled {
        let of = |tenant| (1..=ACCOUNTS).map(move |id| format!("({id}, {tenant}, {OPENING})"));
        let values: Vec<String> = (0..TENANTS).flat_map(of).collect();
        place.exec(&format!("INSERT INTO account (id, tenant, balance) VALUES {}", values.join(", "))).await;
    }
}

/// Clients at work.
pub struct Clients {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Ledger>>,
}

#[derive(Default)]
pub struct Ledger {
    pub acknowledged: BTreeSet<i64>,
    /// The connection broke at the commit: it may be there or not.
    pub unknown: BTreeSet<i64>,
    /// The longest time for which a client found nobody to take its write.
    pub longest_pause: Duration,
}

impl Clients {
    pub fn start(source: &Place, target: &Place, count: i64, seed: u64) -> Self {
        let (stop, done, refused) = (Arc::default(), Arc::default(), Arc::default());
        let tasks = (0..count).map(|n| {
            let client = Client {
                places: [source.clone(), target.clone()],
                open: [None, None],
                at: [0; TENANTS],
                since: [None; TENANTS],
                next: n * 10_000_000 + 1,
                rng: StdRng::seed_from_u64(seed ^ n as u64),
                stop: Arc::clone(&stop),
                done: Arc::clone(&done),
                refused: Arc::clone(&refused),
            };
            tokio::spawn(client.run())
        });
        let tasks = tasks.collect();
        Self { stop, done, refused, tasks }
    }

    pub fn count(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until so many more transfers were acknowledged: somebody takes writes.
    pub async fn go_on(&self, more: u64) {
        let (from, until) = (self.count(), Instant::now() + Duration::from_secs(30));
        while self.count() < from + more {
            let refused = self.refused.load(Ordering::Relaxed);
            assert!(Instant::now() < until, "nobody takes writes ({refused} were refused)");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Ledger::default();
        for task in self.tasks {
            let ledger = task.await.expect("a client");
            all.acknowledged.extend(ledger.acknowledged);
            all.unknown.extend(ledger.unknown);
            all.longest_pause = all.longest_pause.max(ledger.longest_pause);
        }
        all
    }
}

struct Client {
    places: [Place; 2],
    open: [Option<App>; 2],
    /// Where a tenant's writes were taken last, and since when they were not.
    at: [usize; TENANTS],
    since: [Option<Instant>; TENANTS],
    next: i64,
    rng: StdRng,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Client {
    async fn run(mut self) -> Ledger {
        let mut ledger = Ledger::default();
        while !self.stop.load(Ordering::Relaxed) {
            let (debit, credit) = (self.rng.random_range(1..=ACCOUNTS), self.rng.random_range(1..=ACCOUNTS));
            if debit == credit {
                continue;
            }
            let (id, tenant, amount) = (self.next, self.rng.random_range(0..TENANTS), self.rng.random_range(1..20));
            self.next += 1;
            let place = self.at[tenant];
            if self.open[place].is_none() {
                self.open[place] = Some(App::connect(&self.places[place]).await);
            }
            let app = self.open[place].as_mut().expect("just opened");
            match transfer(app, id, tenant, (debit, credit), amount).await {
                Ok(()) => {
                    ledger.acknowledged.insert(id);
                    self.done.fetch_add(1, Ordering::Relaxed);
                    if let Some(since) = self.since[tenant].take() {
                        ledger.longest_pause = ledger.longest_pause.max(since.elapsed());
                    }
                    let pause = self.rng.random_range(0..4);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(Failure::Refused) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    self.since[tenant].get_or_insert_with(Instant::now);
                    self.at[tenant] = 1 - place;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(Failure::RolledBack) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(Failure::Unknown) => {
                    ledger.unknown.insert(id);
                    self.open[place] = None;
                }
            }
        }
        ledger
    }
}

enum Failure {
    Refused,
    RolledBack,
    Unknown,
}

async fn transfer(
    app: &mut App,
    id: i64,
    tenant: usize,
    (debit, credit): (i64, i64),
    amount: i64,
) -> Result<(), Failure> {
    let (low, high) =
        if debit < credit { ((debit, -amount), (credit, amount)) } else { ((credit, amount), (debit, -amount)) };
    let change = |(account, by): (i64, i64)| {
        format!("UPDATE account SET balance = balance + {by} WHERE tenant = {tenant} AND id = {account}")
    };
    let statements = [
        app.begin().to_owned(),
        format!(
            "INSERT INTO transfer (id, tenant, debit, credit, amount) VALUES ({id}, {tenant}, {debit}, {credit}, {amount})"
        ),
        change(low),
        change(high),
    ];
    for sql in statements {
        if let Err(error) = app.exec(&sql).await {
            let text = error.to_string();
            if app.exec("ROLLBACK").await.is_err() && !text.contains("migrate: writes to") {
                return Err(Failure::RolledBack);
            }
            return Err(if text.contains("migrate: writes to") { Failure::Refused } else { Failure::RolledBack });
        }
    }
    match app.exec("COMMIT").await {
        Ok(()) => Ok(()),
        Err(error) if error.as_database_error().is_some() => {
            let refused = error.to_string().contains("migrate: writes to");
            let _ = app.exec("ROLLBACK").await;
            // A database that answers says that it did not commit.
            Err(if refused { Failure::Refused } else { Failure::RolledBack })
        }
        Err(_) => Err(Failure::Unknown),
    }
}

/// Money is neither made nor lost, and every acknowledged transfer is there exactly once.
pub async fn audit(place: &Place, ledger: &Ledger) {
    let store = place.store_ref();
    let sums = rows(&store, "SELECT CAST(sum(balance) AS CHAR(20)) FROM account").await.cells();
    assert_eq!(sums, vec![(TENANTS as i64 * ACCOUNTS * OPENING).to_string()], "the sum of all accounts");
    let found = rows(&store, "SELECT CAST(id AS CHAR(20)) FROM transfer").await.cells();
    let found: BTreeSet<i64> = found.iter().map(|id| id.parse().expect("a number")).collect();
    let lost: Vec<_> = ledger.acknowledged.difference(&found).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    let made: Vec<_> =
        found.iter().filter(|id| !ledger.acknowledged.contains(id) && !ledger.unknown.contains(id)).take(5).collect();
    assert!(made.is_empty(), "never acknowledged: {made:?}");
    let expected = "SELECT CAST(count(*) AS CHAR(20)) FROM account a WHERE balance <> 1000 \
        + coalesce((SELECT sum(amount) FROM transfer t WHERE t.tenant = a.tenant AND t.credit = a.id), 0) \
        - coalesce((SELECT sum(amount) FROM transfer t WHERE t.tenant = a.tenant AND t.debit = a.id), 0)";
    assert_eq!(rows(&store, expected).await.cells(), vec!["0"], "accounts that their transfers do not explain");
}

/// Both stores hold the same.
pub async fn assert_same(source: &Place, target: &Place) {
    for sql in [
        "SELECT CAST(id AS CHAR(20)), CAST(tenant AS CHAR(20)), CAST(balance AS CHAR(20)) FROM account",
        "SELECT CAST(id AS CHAR(20)), CAST(debit AS CHAR(20)), CAST(credit AS CHAR(20)), CAST(amount AS CHAR(20)) FROM transfer",
    ] {
        let trimmed =
            async |place: &Place| rows(&place.store_ref(), sql).await.map_cells(|_, cell| cell.trim().to_owned());
        let (left, right) = (trimmed(source).await, trimmed(target).await);
        crate::support::compare::assert_same(sql, &left, &right);
    }
}

const STRAY: &str = "INSERT INTO transfer (id, tenant, debit, credit, amount) VALUES (-1, 0, 1, 1, 0)";

pub async fn assert_refused(place: &Place) {
    let error = App::connect(place).await.exec(STRAY).await.expect_err("this store took a write");
    assert!(error.to_string().contains("migrate: writes to"), "{error}");
}

pub async fn assert_taken(place: &Place) {
    let mut app = App::connect(place).await;
    app.exec(STRAY).await.expect("a write");
    app.exec("DELETE FROM transfer WHERE id = -1").await.expect("a write");
}
