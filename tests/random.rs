//! Random schemas, random rows, a random application: moved between any two engines, and equal by the test's own SQL.
//!
//! From one seed come a few tables with names, kinds, keys and nullability of all sorts, rows for them, and a stream of
//! changes that goes on while the product moves them. Afterwards one cell, one row less or one row more at the target
//! must be found, by name. `MIGRATE_RANDOM_RUNS=100 tests/run --test random` runs more; `MIGRATE_TEST_SEED` repeats one.

mod support;

#[path = "random/kinds.rs"]
mod kinds;
#[path = "random/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::live::App;
use support::product::{Place, Product};
use support::{MariaDb, Postgres};
use world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Postgres,
    MariaDb,
    Sqlite,
}

const ENGINES: [Engine; 3] = [Engine::Postgres, Engine::MariaDb, Engine::Sqlite];

async fn place(engine: Engine, dir: &std::path::Path, name: &str) -> Place {
    match engine {
        Engine::Postgres => {
            let db = Postgres::shared().database(name).await;
            db.grant_target_rights().await;
            Place::Postgres(db)
        }
        Engine::MariaDb => {
            let db = MariaDb::shared().database(name).await;
            db.grant_target_rights().await;
            Place::MariaDb(db)
        }
        Engine::Sqlite => {
            let path = dir.join(format!("{name}.db"));
            std::fs::File::create(&path).expect("a file");
            Place::Sqlite(path)
        }
    }
}

/// The application: one transaction after another until it is told to stop.
async fn change(place: Place, world: Arc<World>, seed: u64, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut app = App::connect(&place).await;
    let begin = if matches!(place, Place::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
    while !stop.load(Ordering::Relaxed) {
        let sql: String = (0..rng.random_range(1..6)).map(|_| world.change(&mut rng)).collect();
        let end = if rng.random_range(0..10) == 0 { "ROLLBACK" } else { "COMMIT" };
        app.exec(&format!("{begin}; {sql} {end};")).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
        done.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn moves(seed: u64, from: Engine, to: Engine) {
    println!("{from:?} to {to:?}: MIGRATE_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (place(from, dir.path(), "random_a").await, place(to, dir.path(), "random_b").await);
    let world = Arc::new(World::new(from, &mut rng));
    source.exec(&world.ddl()).await;
    source.exec(&world.rows(&mut rng)).await;
    let chunk = rng.random_range(3..60);
    let body = format!(
        "guard_target: false\ncreate_tables: true\nbackfill: {{ chunk_rows: {chunk} }}\ntables:\n{}",
        world.plan()
    );
    let product = Product::new("random", &source, &target, None, &body);

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn(change(source.clone(), world.clone(), seed ^ 1, stop.clone(), done.clone()));
    product.run(&["apply"]).await.expect(0);
    product.run(&["verify"]).await.expect(0);
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("the application");
    assert!(done.load(Ordering::Relaxed) > 5, "nothing was changed meanwhile");
    product.run(&["apply"]).await.expect(0);
    world.assert_same(&source, (&target, to)).await;

    let Some(fault) = world.fault(&target, to, &mut rng).await else { return };
    target.exec(&fault).await;
    let found = product.run(&["verify"]).await;
    assert_eq!(found.code, 3, "{fault}\n{}\n{}", found.stdout, found.stderr);
    assert!(found.stdout.contains("1 row"), "{fault}\n{}", found.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_schema_between_any_engines() {
    let given = std::env::var("MIGRATE_TEST_SEED").ok().and_then(|s| s.parse().ok());
    let runs: usize = std::env::var("MIGRATE_RANDOM_RUNS").ok().and_then(|s| s.parse().ok()).unwrap_or(9);
    let first: u64 = given.unwrap_or_else(rand::random);
    for run in 0..if given.is_some() { 1 } else { runs } {
        let seed = first.wrapping_add(run as u64);
        // Consecutive seeds go through all nine pairs.
        let pair = (seed % 9) as usize;
        moves(seed, ENGINES[pair / 3], ENGINES[pair % 3]).await;
    }
}
