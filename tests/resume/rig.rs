//! A migration of a live store, and what the tests do to it: start, kill, look at its control tables, run again.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::live::{self, Ledger, Writers};
use crate::support::product::{Place, Product, Ran, Running};
use crate::support::sql::sqlite_connect;
use crate::support::{Nats, NatsVersion, Postgres, query_text, sqlite_query_text};

/// Small chunks, so that there are many moments; a short lease, so that a dead holder is soon taken over.
pub const TABLES: &str = "guard_target: false\ncreate_tables: true\ntables:\n  - from: customers\n  - from: orders\n\
                          backfill: { chunk_rows: 20 }\nlease: { ttl: 1s }\n";

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

pub struct World {
    pub name: String,
    pub source: Place,
    pub target: Place,
    pub product: Product,
    pub rows: i64,
    pub seed: u64,
    body: String,
    _dir: tempfile::TempDir,
}

/// The broker that all tests of this binary share: never killed. Each migration has a stream of its own.
pub fn shared_nats() -> &'static Nats {
    static SHARED: OnceLock<Nats> = OnceLock::new();
    SHARED.get_or_init(|| Nats::start(NatsVersion::Current))
}

pub fn seeded(name: &str) -> (u64, StdRng) {
    let seed = std::env::var("MIGRATE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("{name}: MIGRATE_TEST_SEED={seed}");
    (seed, StdRng::seed_from_u64(seed))
}

pub async fn postgres_in(server: &Postgres, name: &str) -> Place {
    let db = server.database(&name.replace('-', "_")).await;
    db.grant_target_rights().await;
    Place::Postgres(db)
}

async fn place(engine: Engine, dir: &tempfile::TempDir, name: &str) -> Place {
    match engine {
        Engine::Postgres => postgres_in(Postgres::shared(), name).await,
        Engine::Sqlite => {
            let path = dir.path().join(format!("{name}.db"));
            std::fs::File::create(&path).expect("a file");
            Place::Sqlite(path)
        }
    }
}

impl World {
    /// A filled source and an empty target; `body` is the plan's.
    pub async fn new(name: &str, from: Engine, to: Engine, nats: Option<&Nats>, rows: i64, body: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let source = place(from, &dir, &format!("{name}-a")).await;
        let target = place(to, &dir, &format!("{name}-b")).await;
        Self::of(name, source, target, nats, rows, body, dir).await
    }

    pub async fn of(
        name: &str,
        source: Place,
        target: Place,
        nats: Option<&Nats>,
        rows: i64,
        body: &str,
        dir: tempfile::TempDir,
    ) -> Self {
        let (seed, _) = seeded(name);
        live::fill(&source, rows, seed).await;
        let product = Product::new(name, &source, &target, nats, body);
        Self { name: name.into(), source, target, product, rows, seed, body: body.into(), _dir: dir }
    }

    /// Another process's view of the same migration, with files of its own.
    pub fn second(&self, nats: Option<&Nats>) -> Product {
        Product::new(&self.name, &self.source, &self.target, nats, &self.body)
    }

    pub fn writers(&self) -> Writers {
        self.writers_at(Duration::from_millis(10), self.seed)
    }

    pub fn writers_at(&self, pause: Duration, seed: u64) -> Writers {
        Writers::start(&self.source, 2, self.rows, seed, pause)
    }

    /// Starts `apply` and kills it so long after its start, or after this word of its.
    pub async fn killed_after(&self, delay: Duration, word: &str) -> End {
        let mut running = self.product.start(&["apply"]);
        let mut since = word.is_empty().then(Instant::now);
        while since.is_none_or(|at| at.elapsed() < delay) {
            tokio::time::sleep(Duration::from_millis(3)).await;
            if !running.is_running() {
                return End::Itself(running.wait().await, running.stderr());
            }
            if since.is_none() && running.stderr().contains(word) {
                since = Some(Instant::now());
            }
        }
        running.kill9();
        End::Killed
    }

    /// The same command again: past a dead holder's lease it must end well.
    pub async fn finish(&self) -> Ran {
        self.finish_with(&["apply"]).await.expect(0)
    }

    /// Repeats while another holds the lease.
    pub async fn finish_with(&self, args: &[&str]) -> Ran {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let ran = self.product.run(args).await;
            if ran.code != 5 {
                return ran;
            }
            assert!(ran.stderr.contains("holds the migration since"), "{}", ran.stderr);
            assert!(Instant::now() < until, "the lease never passes on:\n{}", ran.stderr);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// After the writers have stopped: what is left is carried, and both stores are compared from outside.
    pub async fn settle(&self, ledger: &Ledger) -> Ran {
        let ran = self.finish().await;
        assert!(ran.stdout.contains("in sync"), "{}", ran.stdout);
        live::assert_nothing_lost(&self.source, &self.target, ledger).await;
        ran
    }

    /// Our control table, as SQL names it; what follows its name stays behind it.
    pub fn control(&self, place: &Place, table: &str) -> String {
        let (table, rest) = table.split_once(' ').unwrap_or((table, ""));
        match place {
            Place::Postgres(_) => format!("\"_migrate_{}\".\"{table}\" {rest}", self.name),
            Place::MariaDb(_) => format!("`_migrate_{}_{table}` {rest}", self.name),
            Place::Sqlite(_) => format!("\"_migrate_{}_{table}\" {rest}", self.name),
        }
    }

    /// One number out of a control table of the source (`link_source`, `backfill`, `dirty_<n>` …).
    pub async fn at_source(&self, what: &str, table: &str) -> i64 {
        number(&self.source, &format!("SELECT {what} FROM {}", self.control(&self.source, table))).await
    }

    pub async fn at_target(&self, what: &str, table: &str) -> i64 {
        number(&self.target, &format!("SELECT {what} FROM {}", self.control(&self.target, table))).await
    }

    /// Rows that the backfill has read so far; 0 where it has not begun.
    pub async fn moved(&self) -> i64 {
        self.moved_as(&mut Eye::open(&self.source).await).await
    }

    async fn moved_as(&self, eye: &mut Eye) -> i64 {
        let sum = format!("SELECT coalesce(sum(rows_count), 0) FROM {}", self.control(&self.source, "backfill"));
        eye.number(&sum).await.unwrap_or(0)
    }

    /// Lets a started `apply` get so far.
    pub async fn until_moved(&self, running: &mut Running, rows: i64) {
        let until = Instant::now() + Duration::from_secs(60);
        let mut eye = Eye::open(&self.source).await;
        while self.moved_as(&mut eye).await < rows {
            assert!(running.is_running(), "it ended before it had moved {rows} rows:\n{}", running.stderr());
            assert!(Instant::now() < until, "it never moves {rows} rows:\n{}", running.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub enum End {
    Killed,
    /// It ended by itself, with this code and stderr.
    Itself(i32, String),
}

/// A connection that stays open: looking often must be cheap.
enum Eye {
    Postgres(sqlx::PgConnection),
    MariaDb(sqlx::MySqlConnection),
    Sqlite(sqlx::SqliteConnection),
}

impl Eye {
    async fn open(place: &Place) -> Self {
        use sqlx::Connection;
        match place {
            Place::Postgres(db) => {
                Eye::Postgres(sqlx::PgConnection::connect(&db.superuser_url).await.expect("a connection"))
            }
            Place::MariaDb(db) => {
                Eye::MariaDb(sqlx::MySqlConnection::connect(&db.superuser_url).await.expect("a connection"))
            }
            Place::Sqlite(path) => Eye::Sqlite(sqlite_connect(path).await),
        }
    }

    /// `None` where the table is not there.
    async fn number(&mut self, sql: &str) -> Option<i64> {
        let integer = if matches!(self, Eye::MariaDb(_)) { "SIGNED" } else { "BIGINT" };
        let sql = sqlx::AssertSqlSafe(format!("SELECT CAST(({sql}) AS {integer})"));
        let found = match self {
            Eye::Postgres(c) => sqlx::query_scalar(sql).fetch_one(c).await,
            Eye::MariaDb(c) => sqlx::query_scalar(sql).fetch_one(c).await,
            Eye::Sqlite(c) => sqlx::query_scalar(sql).fetch_one(c).await,
        };
        found.ok()
    }
}

pub async fn number(place: &Place, sql: &str) -> i64 {
    let kind = if matches!(place, Place::MariaDb(_)) { "CHAR" } else { "TEXT" };
    text(place, &format!("SELECT CAST(({sql}) AS {kind})")).await.parse().unwrap_or_else(|_| panic!("no number: {sql}"))
}

/// The first cell.
pub async fn text(place: &Place, sql: &str) -> String {
    let rows = match place {
        Place::Postgres(db) => query_text(&db.superuser_url, sql).await,
        Place::MariaDb(db) => crate::support::mysql_query_text(&db.superuser_url, sql).await,
        Place::Sqlite(path) => sqlite_query_text(path, sql).await,
    };
    rows.first().and_then(|r| r[0].clone()).unwrap_or_else(|| panic!("nothing: {sql}"))
}
