//! Rounds of random commands and kills: whatever is asked for and whoever dies, every tenant has one owner or for a
//! while none, and every acknowledged transfer is there once.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::bank::{self, Clients};
use crate::support::product::{Place, Product, Running, mariadb, postgres, sqlite};
use crate::support::{Nats, NatsVersion};

/// A kill there leaves something half done that the next command must finish.
const STEPS: [&str; 9] = [
    "cutover.named",
    "cutover.begun",
    "cutover.fenced",
    "cutover.drained",
    "cutover.numbered",
    "cutover.committed",
    "cutover.told",
    "cutover.unfenced",
    "cutover.routed",
];
const PLAN: &str = "cutover: { scope_by: tenant, max_write_pause: 3s, max_lag: 30s }\nlease: { ttl: 1s }\n\
                    tables:\n  - from: account\n  - from: transfer\n";

struct Rounds {
    product: Product,
    host: Option<Running>,
    rng: StdRng,
}

impl Rounds {
    fn asked(&mut self) -> Vec<String> {
        let verb = ["cutover", "rollback"].choose(&mut self.rng).expect("two");
        let tenant = self.rng.random_range(0..=bank::TENANTS);
        match tenant {
            bank::TENANTS => vec![(*verb).into(), "--all".into()],
            tenant if self.rng.random_bool(0.5) => vec![(*verb).into(), "--scope".into(), tenant.to_string()],
            tenant => vec![(*verb).into(), "--scope".into(), format!("{tenant},{}", (tenant + 1) % bank::TENANTS)],
        }
    }

    /// 0: done. 4: a gate, or writes were given back. 5: a dead one's lease.
    async fn ask(&mut self, args: &[String]) -> i32 {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = self.product.run(&args).await;
        let host = self.host.as_ref().map(Running::stderr).unwrap_or_default();
        assert!([0, 4, 5, -1].contains(&ran.code), "{args:?}: {} {}{}\n{host}", ran.code, ran.stdout, ran.stderr);
        if ran.code == 4 {
            println!("{}\n{host}", ran.stderr);
        }
        ran.code
    }

    async fn round(&mut self) -> String {
        match self.rng.random_range(0..10) {
            0..5 => {
                let args = self.asked();
                let code = self.ask(&args).await;
                format!("{args:?} -> {code}")
            }
            5..8 => {
                // Whoever acts dies there: this command, or the host that it asks.
                let (args, step) = (self.asked(), *STEPS.choose(&mut self.rng).expect("some"));
                self.stop_host().await;
                self.product.set("MIGRATE_FAILPOINT", step);
                let code = self.ask(&args).await;
                self.product.set("MIGRATE_FAILPOINT", "");
                format!("{args:?} killed at {step} -> {code}")
            }
            _ => {
                if let Some(host) = &mut self.host {
                    host.kill9();
                }
                self.host = None;
                "the host is killed".to_owned()
            }
        }
    }

    async fn stop_host(&mut self) {
        if let Some(mut host) = self.host.take() {
            host.signal("TERM");
            assert_eq!(host.wait().await, 143, "{}", host.stderr());
        }
    }

    /// What was left half done is finished by whoever comes next.
    async fn settle(&mut self) {
        for _ in 0..100 {
            let code = self.product.run(&["apply"]).await;
            if code.code == 0 {
                return;
            }
            assert!([1, 5].contains(&code.code), "{} {}{}", code.code, code.stdout, code.stderr);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it never comes to rest");
    }
}

async fn rounds(name: &str, source: Place, target: Place, nats: Option<&Nats>, seed: u64, count: u32) {
    println!("{name}: seed {seed}, {count} rounds");
    bank::open(&source, true).await;
    bank::open(&target, false).await;
    let product = Product::new(name, &source, &target, nats, PLAN);
    let clients = Clients::start(&source, &target, 3, seed);
    product.run(&["apply"]).await.expect(0);
    product.run(&["rehearse"]).await.expect(0);
    let mut r = Rounds { product, host: None, rng: StdRng::seed_from_u64(seed) };
    for round in 0..count {
        if r.host.is_none() && r.rng.random_bool(0.5) {
            r.settle().await;
            let mut host = r.product.start(&["apply", "--follow", "--heartbeat", "1s"]);
            host.says("kept in step").await;
            r.host = Some(host);
        }
        let what = r.round().await;
        println!("round {round}: {what}");
        if r.host.is_none() {
            r.settle().await;
        }
        clients.go_on(3).await;
    }
    r.stop_host().await;
    r.settle().await;
    let ledger = clients.stop().await;
    println!("{} transfers", ledger.acknowledged.len());
    r.product.run(&["apply"]).await.expect(0);
    r.product.run(&["verify"]).await.expect(0);
    bank::assert_same(&source, &target).await;
    bank::audit(&source, &ledger).await;
}

fn wanted(usual: u32) -> (u64, u32) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    (number("MIGRATE_SEED").unwrap_or_else(rand::random), number("MIGRATE_ROUNDS").map_or(usual, |n| n as u32))
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_on_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let (seed, count) = wanted(12);
    rounds("tn-r", sqlite(&dir, "s.db"), sqlite(&dir, "t.db"), None, seed, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_on_postgres() {
    let (seed, count) = wanted(6);
    rounds("tn-rp", postgres("tn_rp_s").await, postgres("tn_rp_t").await, None, seed, count).await;
}

/// Every ordered pair with the direct transport, and JetStream between PostgreSQL's: a quarter of an hour.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a quarter of an hour: fifty rounds on each pair of engines"]
async fn fifty_rounds_on_every_pair() {
    let (seed, count) = wanted(50);
    let dir = tempfile::tempdir().expect("a directory");
    let place = async |kind: &str, name: &str| match kind {
        "p" => postgres(name).await,
        "m" => mariadb(name).await,
        _ => sqlite(&dir, &format!("{name}.db")),
    };
    let nats = Nats::start(NatsVersion::Current);
    for (from, to, broker) in
        [("p", "p", Some(&nats)), ("p", "p", None), ("p", "m", None), ("p", "s", None)].into_iter().chain([
            ("m", "p", None),
            ("m", "m", None),
            ("m", "s", None),
            ("s", "p", None),
            ("s", "m", None),
            ("s", "s", None),
        ])
    {
        let name = format!("r{from}{to}{}", if broker.is_some() { "n" } else { "" });
        let (source, target) = (place(from, &format!("{name}_s")).await, place(to, &format!("{name}_t")).await);
        rounds(&name, source, target, broker, seed, count).await;
    }
}
