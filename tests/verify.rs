//! `migrate verify` never lies: whatever is wrong at the target is named, and nothing else; and while writers write
//! there is no false alarm. Every pair of engines, by the real binary.
//!
//! In CI ten runs under writers; the full hundred for each pair: `cargo test --test verify -- --ignored`, or any number
//! by `MIGRATE_VERIFY_RUNS=100 cargo test --test verify`.

mod support;

#[path = "verify/alarms.rs"]
mod alarms;
#[path = "verify/data.rs"]
mod data;
#[path = "verify/faults.rs"]
mod faults;

use data::Data;
use faults::{Fault, Named};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value as Json;
use support::product::{Place, Product, Ran, postgres, sqlite};
use support::{Nats, NatsVersion};

const ROWS: usize = 400;
const PLAN: &str = "guard_target: false\ncreate_tables: true\ntables:\n  - from: kinds\n  - from: pairs\n  - from: words\n  - from: uuids\n\
                    backfill: { chunk_rows: 64 }\n";

/// The result that ends the JSON lines.
fn result(ran: &Ran) -> Json {
    let last = ran.stdout.lines().last().unwrap_or_default();
    let line: Json = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}\n{}", ran.stdout, ran.stderr));
    assert_eq!(line["event"], "result", "{}\n{}", ran.stdout, ran.stderr);
    line["result"].clone()
}

fn named(result: &Json) -> Named {
    let text = |v: &Json| v.as_str().expect("text").to_owned();
    let differences = result["differences"].as_array().expect("a list");
    // PostgreSQL's tables are named with their schema.
    let table = |v: &Json| text(v).trim_start_matches("public.").to_owned();
    differences.iter().map(|d| (table(&d["table"]), text(&d["key"]), text(&d["what"]))).collect()
}

fn expected(faults: &[&Fault]) -> Named {
    faults.iter().flat_map(|f| f.named.clone()).collect()
}

#[track_caller]
fn assert_named(found: &Named, faults: &[&Fault]) {
    let wanted = expected(faults);
    let lost: Vec<_> = wanted.difference(found).collect();
    let more: Vec<_> = found.difference(&wanted).collect();
    let about: Vec<&str> = faults.iter().map(|f| f.about.as_str()).collect();
    assert!(lost.is_empty() && more.is_empty(), "not named: {lost:#?}\nnamed for nothing: {more:#?}\nof {about:#?}");
}

/// The columns that a changed row is told to differ in.
fn assert_columns(result: &Json, faults: &[&Fault]) {
    let lines = result["differences"].as_array().expect("a list");
    for fault in faults {
        let Some(column) = fault.column else { continue };
        for (table, key, _) in &fault.named {
            let is = |d: &&Json| d["key"] == **key && d["table"].as_str().is_some_and(|t| t.ends_with(table));
            let line = lines.iter().find(is).expect("named before");
            let columns: Vec<&str> =
                line["columns"].as_array().expect("a list").iter().flat_map(Json::as_str).collect();
            assert_eq!(columns.len(), 1, "{}: {columns:?}", fault.about);
            assert!(columns[0].starts_with(&format!("{column}: ")), "{}: {columns:?}", fault.about);
        }
    }
}

fn assert_masked(ran: &Ran, faults: &[&Fault]) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(all.contains("***"), "{all}");
    for value in faults.iter().flat_map(|f| &f.values) {
        assert!(!all.contains(value.as_str()), "{value} is shown:\n{all}");
    }
}

/// One body for each pair.
struct World {
    source: Place,
    target: Place,
    product: Product,
    data: Data,
    rng: StdRng,
    _nats: Option<Nats>,
}

impl World {
    async fn new(name: &str, source: Place, target: Place, nats: Option<Nats>) -> Self {
        let seed: u64 =
            std::env::var("MIGRATE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
        println!("{name}: seed {seed} (MIGRATE_TEST_SEED)");
        let mut rng = StdRng::seed_from_u64(seed);
        let data = data::make(ROWS, &mut rng);
        data::fill(&source, &data).await;
        let product = Product::new(name, &source, &target, nats.as_ref(), PLAN);
        product.run(&["apply"]).await.expect(0);
        Self { source, target, product, data, rng, _nats: nats }
    }

    async fn break_target(&self, faults: &[&Fault]) {
        let sql: String = faults.iter().map(|f| f.sql.as_str()).collect();
        let sql = if matches!(self.target, Place::Sqlite(_)) { format!("BEGIN; {sql} COMMIT;") } else { sql };
        self.target.exec(&sql).await;
    }

    async fn verify_json(&self, more: &[&str], code: i32) -> (Json, Ran) {
        let args = [&["verify", "--output", "json"], more].concat();
        let ran = self.product.run(&args).await.expect(code);
        (result(&ran), ran)
    }

    /// Everything that a person or a script sees of these faults, then the repair.
    async fn is_found_and_repaired(&self, faults: &[&Fault], run_by: Option<&str>) {
        let (shown, ran) = self.verify_json(&["--show-values"], 3).await;
        assert_named(&named(&shown), faults);
        assert_columns(&shown, faults);
        if let Some(who) = run_by {
            assert!(shown["run_by"].as_str().is_some_and(|by| by.contains(who)), "{}", ran.stdout);
        }
        let text = self.product.run(&["verify"]).await.expect(3);
        assert_masked(&text, faults);
        let (masked, ran) = self.verify_json(&[], 3).await;
        assert_masked(&ran, faults);
        assert_eq!(masked["differences"].as_array().map(Vec::len), Some(expected(faults).len()));
        self.is_repaired(faults).await;
    }

    async fn is_repaired(&self, faults: &[&Fault]) {
        let (repaired, ran) = self.verify_json(&["--repair"], 3).await;
        assert_eq!(repaired["differences"].as_array().map(Vec::len), Some(expected(faults).len()), "{}", ran.stdout);
        let after = self.product.run(&["verify", "--show-values"]).await;
        let about: Vec<&str> = faults.iter().map(|f| f.about.as_str()).collect();
        assert_eq!(after.code, 0, "after the repair of {about:#?}\n{}\n{}", after.stdout, after.stderr);
    }
}

/// All at once, a few one by one, and again while a host runs the links.
async fn finds_what_is_wrong(name: &str, source: Place, target: Place, nats: Option<Nats>) {
    let mut world = World::new(name, source, target, nats).await;
    let faults = faults::all(&world.target, &world.data, &mut world.rng);
    let mut some: Vec<&Fault> = faults.iter().collect();
    world.break_target(&some).await;
    world.is_found_and_repaired(&some, Some("this process")).await;

    some.shuffle(&mut world.rng);
    for fault in &some[..3] {
        world.break_target(&[fault]).await;
        let (shown, _) = world.verify_json(&["--show-values"], 3).await;
        assert_named(&named(&shown), &[fault]);
        world.is_repaired(&[fault]).await;
    }

    let mut host = world.product.start(&["apply", "--follow"]);
    host.says("follow").await;
    let few = &some[3..3 + world.rng.random_range(1..10)];
    world.break_target(few).await;
    world.is_found_and_repaired(few, Some("pid")).await;
    host.signal("TERM");
    assert_eq!(host.wait().await, 143, "{}", host.stderr());
    assert_same_by_sql(&world).await;
}

/// What was repaired is equal by plain SQL too.
async fn assert_same_by_sql(world: &World) {
    for (table, columns) in [
        ("kinds", vec!["CAST(id AS TEXT)", "CAST(i AS TEXT)", "t", "s"]),
        ("pairs", vec!["CAST(a AS TEXT)", "b", "v"]),
        ("words", vec!["word", "CAST(v AS TEXT)"]),
        ("uuids", vec!["CAST(u AS TEXT)", "CAST(v AS TEXT)"]),
    ] {
        let sql = format!("SELECT {} FROM {table}", columns.join(", "));
        let left = support::compare::rows(&world.source.store_ref(), &sql).await;
        let right = support::compare::rows(&world.target.store_ref(), &sql).await;
        support::compare::assert_same(table, &left, &right);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_sqlite_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    finds_what_is_wrong("v-s-s", sqlite(&dir, "a.db"), sqlite(&dir, "b.db"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres_direct() {
    finds_what_is_wrong("v-p-p", postgres("v_from").await, postgres("v_to").await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_postgres_over_nats() {
    let dir = tempfile::tempdir().expect("a directory");
    let nats = Nats::start(NatsVersion::Current);
    finds_what_is_wrong("v-s-p", sqlite(&dir, "a.db"), postgres("v_s_p").await, Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_sqlite_over_nats() {
    let dir = tempfile::tempdir().expect("a directory");
    let nats = Nats::start(NatsVersion::Debian);
    finds_what_is_wrong("v-p-s", postgres("v_p_s").await, sqlite(&dir, "b.db"), Some(nats)).await;
}
