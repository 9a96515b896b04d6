//! Real input: Chinook, while an application sells tracks: by the checked-in plans over JetStream, and in all nine
//! pairs by the plans that `migrate init` writes.
//!
//! The comparison at the end is plain SQL on both sides; it shares nothing with the product's own digest.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::chinook;
use support::live::App;
use support::product::{Place, Product};
use support::shapes::{Engine, planned, shape};
use support::{MariaDb, Nats, NatsVersion, PgDatabase, Postgres};

fn plan(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plans").join(name)
}

/// Names as each shape spells them.
fn spell(place: &Place, name: &str) -> String {
    match place {
        Place::Sqlite(_) => format!("\"{name}\""),
        Place::MariaDb(_) => format!("`{name}`"),
        Place::Postgres(_) => chinook::snake_case(name),
    }
}

/// One sale, one change of price, one change of a boss, one customer who leaves: whole transactions, as a shop has.
fn sale(place: &Place, n: u64, rng: &mut StdRng) -> String {
    let s = |name: &str| spell(place, name);
    let (invoice, line) = (10_000 + n, 100_000 + n * 2);
    let customer = rng.random_range(1..=58);
    let mut sql = format!(
        "INSERT INTO {} ({}, {}, {}, {}) VALUES ({invoice}, {customer}, '2024-02-{:02} 10:{:02}:00', 1.98);",
        s("Invoice"),
        s("InvoiceId"),
        s("CustomerId"),
        s("InvoiceDate"),
        s("Total"),
        rng.random_range(1..=28),
        rng.random_range(0..60),
    );
    for i in 0..2 {
        sql += &format!(
            "INSERT INTO {} ({}, {}, {}, {}, {}) VALUES ({}, {invoice}, {}, 0.99, 1);",
            s("InvoiceLine"),
            s("InvoiceLineId"),
            s("InvoiceId"),
            s("TrackId"),
            s("UnitPrice"),
            s("Quantity"),
            line + i,
            rng.random_range(1..=3503),
        );
    }
    let price = rng.random_range(1..999);
    sql += &format!(
        "UPDATE {} SET {} = {}.{:02} WHERE {} = {};",
        s("Track"),
        s("UnitPrice"),
        price / 100,
        price % 100,
        s("TrackId"),
        rng.random_range(1..=3503),
    );
    sql += &format!(
        "UPDATE {} SET {} = {} WHERE {} = {};",
        s("Employee"),
        s("ReportsTo"),
        rng.random_range(1..=2),
        s("EmployeeId"),
        rng.random_range(3..=8),
    );
    if n > 20 && rng.random_range(0..3) == 0 {
        let old = 10_000 + rng.random_range(1..n - 10);
        sql += &format!("DELETE FROM {} WHERE {} = {old};", s("InvoiceLine"), s("InvoiceId"));
        sql += &format!("DELETE FROM {} WHERE {} = {old};", s("Invoice"), s("InvoiceId"));
    }
    if rng.random_range(0..4) == 0 {
        let (from, to) = (rng.random_range(1..=3503), rng.random_range(1..=3503));
        sql += &format!(
            "UPDATE {t} SET {k} = {to} WHERE {p} = 1 AND {k} = {from} AND NOT EXISTS (SELECT 1 FROM {t} WHERE {p} = 1 AND {k} = {to});",
            t = s("PlaylistTrack"),
            k = s("TrackId"),
            p = s("PlaylistId"),
        );
    }
    sql
}

struct Shop {
    stop: Arc<AtomicBool>,
    sales: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Shop {
    fn open(place: &Place) -> Self {
        let seed = rand::random();
        println!("shop: seed {seed}");
        let (stop, sales) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (place, stop_in, sales_in) = (place.clone(), stop.clone(), sales.clone());
        let task = tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut app = App::connect(&place).await;
            for n in 1.. {
                if stop_in.load(Ordering::Relaxed) {
                    return;
                }
                let begin = if matches!(place, Place::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
                app.exec(&format!("{begin}; {} COMMIT;", sale(&place, n, &mut rng))).await.expect("a sale");
                sales_in.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { stop, sales, task }
    }

    async fn close(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the shop");
        self.sales.load(Ordering::Relaxed)
    }
}

async fn moves_chinook(product: Product, source: Place, target: Place) {
    let before = (source.catalogue().await, target.catalogue().await);
    let planned = product.run(&["plan", "--json"]).await.expect(0).json();
    assert_eq!(planned["tables"].as_array().map(Vec::len), Some(11));
    assert_eq!((source.catalogue().await, target.catalogue().await), before, "plan changes nothing");
    let shop = Shop::open(&source);
    let applied = product.run(&["apply"]).await.expect(0);
    assert!(applied.stdout.contains("in sync"), "{}", applied.stdout);
    product.run(&["verify"]).await.expect(0);
    let sales = shop.close().await;
    assert!(sales > 20, "only {sales} sales");
    product.run(&["apply"]).await.expect(0);
    chinook::assert_chinook_same(&source.store_ref(), &target.store_ref()).await;
    product.run(&["abort", "--drop-created"]).await.expect(0);
    assert_eq!((source.catalogue().await, target.catalogue().await), before, "abort leaves both as they were");
}

async fn database(hint: &str) -> PgDatabase {
    let db = Postgres::shared().database(hint).await;
    db.grant_target_rights().await;
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlites_shape_into_postgresqls_with_its_foreign_keys() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("chinook.db");
    chinook::load_sqlite(&path).await;
    let db = database("chinook_to").await;
    chinook::create_postgres(&db).await;
    let nats = Nats::start(NatsVersion::Current);
    let (source, target) = (Place::Sqlite(path), Place::Postgres(db));
    let product = Product::with_plan(
        &plan("chinook-sqlite-to-postgres.yaml"),
        &[
            ("CHINOOK_SOURCE_URL", source.url()),
            ("CHINOOK_TARGET_URL", target.url()),
            ("CHINOOK_TARGET_ADMIN_URL", target.admin_url()),
            ("NATS_URL", nats.url()),
        ],
    );
    moves_chinook(product, source, target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgresql_to_postgresql() {
    let (from, to) = (database("chinook_a").await, database("chinook_b").await);
    chinook::load_postgres(&from).await;
    let nats = Nats::start(NatsVersion::Debian);
    let (source, target) = (Place::Postgres(from), Place::Postgres(to));
    let product = Product::with_plan(
        &plan("chinook-postgres-to-postgres.yaml"),
        &[
            ("CHINOOK_SOURCE_URL", source.url()),
            ("CHINOOK_SOURCE_ADMIN_URL", source.admin_url()),
            ("CHINOOK_TARGET_URL", target.url()),
            ("CHINOOK_TARGET_ADMIN_URL", target.admin_url()),
            ("NATS_URL", nats.url()),
        ],
    );
    moves_chinook(product, source, target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysqls_shape_into_postgresqls_with_its_foreign_keys() {
    let from = MariaDb::shared().database("chinook_m").await;
    chinook::load_mariadb(&from).await;
    let to = database("chinook_from_m").await;
    chinook::create_postgres(&to).await;
    let nats = Nats::start(NatsVersion::Current);
    let (source, target) = (Place::MariaDb(from), Place::Postgres(to));
    let product = Product::with_plan(
        &plan("chinook-mysql-to-postgres.yaml"),
        &[
            ("CHINOOK_SOURCE_URL", source.url()),
            ("CHINOOK_SOURCE_ADMIN_URL", source.admin_url()),
            ("CHINOOK_TARGET_URL", target.url()),
            ("CHINOOK_TARGET_ADMIN_URL", target.admin_url()),
            ("NATS_URL", nats.url()),
        ],
    );
    moves_chinook(product, source, target).await;
}

/// By the plan that `init` writes, as it stands, in process.
async fn moves_as_init_plans(from: Engine, to: Engine) {
    let dir = tempfile::tempdir().expect("a directory");
    let name = format!("{from:?}_{to:?}").to_lowercase();
    let source = shape(from, dir.path(), &format!("{name}_a"), true).await;
    let target = shape(to, dir.path(), &format!("{name}_b"), false).await;
    let product = planned(&source, &target, dir.path().join(format!("{name}.yaml")));
    moves_chinook(product, source, target).await;
}

macro_rules! pairs {
    ($($name:ident: $from:ident to $to:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            moves_as_init_plans(Engine::$from, Engine::$to).await;
        })*
    };
}

mod as_init_plans {
    use super::{Engine, moves_as_init_plans};

    pairs! {
        sqlite_to_sqlite: Sqlite to Sqlite,
        sqlite_to_postgres: Sqlite to Postgres,
        sqlite_to_mariadb: Sqlite to MariaDb,
        postgres_to_sqlite: Postgres to Sqlite,
        postgres_to_postgres: Postgres to Postgres,
        postgres_to_mariadb: Postgres to MariaDb,
        mariadb_to_sqlite: MariaDb to Sqlite,
        mariadb_to_postgres: MariaDb to Postgres,
        mariadb_to_mariadb: MariaDb to MariaDb,
    }
}
