//! Mappings between tables that are not one to one, end to end and under live writes: two tables into one, one table
//! into two, columns that are converted, and tolerances. Each run is killed in its middle and begun again; what is not
//! this migration's stays byte for byte; one wrong byte is found.

mod support;

#[path = "mapping/columns.rs"]
mod columns;
#[path = "mapping/tables.rs"]
mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::compare::{Rows, rows};
use support::live::App;
use support::product::{Place, Product, Ran, mariadb, postgres, sqlite};

/// `SELECT` of these expressions as text.
async fn texts(place: &Place, expressions: &[&str], from: &str) -> Rows {
    let cast = |e: &&str| match place {
        Place::MariaDb(_) => format!("CAST({e} AS CHAR)"),
        _ => format!("CAST({e} AS TEXT)"),
    };
    let items = expressions.iter().map(cast).collect::<Vec<_>>().join(", ");
    rows(&place.store_ref(), &format!("SELECT {items} FROM {from}")).await
}

/// An application that runs statements made by chance until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start(place: &Place, seed: u64, one: fn(&mut StdRng) -> String) -> Self {
        println!("writer: seed {seed}");
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (place, ended, count) = (place.clone(), stop.clone(), done.clone());
        let task = tokio::spawn(async move {
            let mut app = App::connect(&place).await;
            let mut rng = StdRng::seed_from_u64(seed);
            while !ended.load(Ordering::Relaxed) {
                let sql = one(&mut rng);
                match app.exec(&sql).await {
                    Ok(()) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Err(e) => {
                        let text = e.to_string();
                        let passing = ["locked", "deadlock", "Deadlock", "Lock wait", "uplicate", "UNIQUE"]
                            .iter()
                            .any(|w| text.contains(w));
                        assert!(passing, "{sql}: {text}");
                    }
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        });
        Self { stop, done, task }
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a writer");
        self.done.load(Ordering::Relaxed)
    }
}

/// `apply`, once whoever was killed is known to be dead.
async fn apply(product: &Product) -> Ran {
    for _ in 0..60 {
        let ran = product.run(&["apply"]).await;
        if ran.code != 5 {
            return ran.expect(0);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the lease of a dead process does not expire");
}

/// `verify` with this exit code, and its result.
async fn verified(product: &Product, code: i32) -> serde_json::Value {
    let ran = product.run(&["verify", "--output", "json"]).await.expect(code);
    let last = ran.stdout.lines().last().unwrap_or_default();
    let line: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout));
    line["result"].clone()
}

/// Killed at several moments, and begun again each time.
async fn killed_and_run_again(product: &Product, rng: &mut StdRng) {
    for _ in 0..4 {
        let mut host = product.start(&["apply", "--follow", "--heartbeat", "1s"]);
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..2_500))).await;
        host.kill9();
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    apply(product).await;
}
