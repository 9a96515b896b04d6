//! How long writes are refused at a change of owner, under the load of four clients that follow it:
//!
//!     cargo bench --bench pause -- postgres postgres nats 20
//!     cargo bench --bench pause -- all
//!
//! Source, target (`postgres`, `mariadb`, `sqlite`), transport (`direct`, `nats`), cut overs (each with a rollback). The
//! stores are private servers with their durability switched off, the broker keeps its stream in files. One line for each
//! pair: median, nine tenths and maximum of the pauses, and the medians of their steps.

#[allow(unused_imports)]
#[path = "../tests/support/mod.rs"]
mod support;

#[path = "../tests/cutover/bank.rs"]
mod bank;

use std::collections::BTreeMap;

use bank::Clients;
use support::product::{Place, Product, mariadb, postgres, sqlite};
use support::{Nats, NatsVersion};

const PLAN: &str = "cutover: { max_write_pause: 30s, max_lag: 30s }\ntables:\n  - from: account\n  - from: transfer\n";
const KINDS: [&str; 3] = ["postgres", "mariadb", "sqlite"];

async fn place(kind: &str, dir: &tempfile::TempDir, side: &str) -> Place {
    match kind {
        "postgres" => postgres(&format!("pause_{side}")).await,
        "mariadb" => mariadb(&format!("pause_{side}")).await,
        "sqlite" => sqlite(dir, &format!("{side}.db")),
        other => panic!("no store is called {other:?}: {KINDS:?}"),
    }
}

/// Pauses and their steps, in milliseconds.
type Measured = BTreeMap<String, Vec<u64>>;

async fn measure(from: &str, to: &str, transport: &str, count: usize) -> Measured {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (place(from, &dir, "s").await, place(to, &dir, "t").await);
    bank::open(&source, true).await;
    bank::open(&target, false).await;
    let nats = (transport == "nats").then(|| Nats::start(NatsVersion::Current));
    let product = Product::new("pause", &source, &target, nats.as_ref(), PLAN);
    let clients = Clients::start(&source, &target, 4, 1);
    product.run(&["apply"]).await.expect(0);
    product.run(&["rehearse"]).await.expect(0);
    let mut host = product.start(&["apply", "--follow", "--heartbeat", "10s"]);
    host.says("follow").await;
    let mut measured = Measured::new();
    for verb in std::iter::repeat_n(["cutover", "rollback"], count).flatten() {
        clients.go_on(50).await;
        let cut = product.run(&[verb, "--json"]).await.expect(0).json();
        measured.entry("pause".into()).or_default().extend(cut["pause_ms"].as_u64());
        for step in cut["steps_ms"].as_array().into_iter().flatten() {
            let name = step[0].as_str().unwrap_or_default().to_owned();
            measured.entry(name).or_default().extend(step[1].as_u64());
        }
    }
    let ledger = clients.stop().await;
    measured.entry("transfers".into()).or_default().push(ledger.acknowledged.len() as u64);
    host.signal("TERM");
    host.wait().await;
    measured
}

fn at(measured: &Measured, what: &str, tenths: usize) -> u64 {
    let mut values = measured.get(what).cloned().unwrap_or_default();
    values.sort_unstable();
    values.get((values.len().max(1) - 1) * tenths / 10).copied().unwrap_or_default()
}

async fn line(from: &str, to: &str, transport: &str, count: usize) {
    let m = measure(from, to, transport, count).await;
    let steps = ["fence", "drain", "decide", "open"].map(|step| at(&m, step, 5).to_string());
    println!(
        "| {from} → {to} | {transport} | {} | {} | {} | {} | {} |",
        2 * count,
        at(&m, "pause", 5),
        at(&m, "pause", 9),
        at(&m, "pause", 10),
        steps.join(" + ")
    );
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    println!("| pair | transport | changes | median ms | 9 of 10 | max | fence + drain + decide + open |");
    println!("|---|---|---|---|---|---|---|");
    match args[..] {
        [] | ["all"] => {
            line("postgres", "postgres", "nats", 10).await;
            for (from, to) in KINDS.iter().flat_map(|from| KINDS.iter().map(move |to| (from, to))) {
                line(from, to, "direct", 5).await;
            }
        }
        [from, to, transport, count] => {
            line(from, to, transport, count.parse().expect("a count of cut overs")).await;
        }
        _ => panic!("cargo bench --bench pause -- postgres postgres nats 20, or all"),
    }
}
