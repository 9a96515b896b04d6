//! A store that was rewound behind a change of owner: nothing is overwritten, both links stop, and a person names the
//! side whose data counts.

mod support;

#[path = "cutover/bank.rs"]
mod bank;

use bank::Clients;
use support::compare::rows;
use support::live::App;
use support::product::{Copied, Place, Product, Ran, mariadb, postgres, sqlite};

const PLAN: &str = "cutover: { scope_by: tenant, max_write_pause: 30s, max_lag: 30s }\nlease: { ttl: 1s }\n\
                    tables:\n  - from: account\n  - from: transfer\n";

/// A backup comes back. A client's connection may close behind its back, and then brings its log into the file.
async fn put_back(backup: Copied) {
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    backup.put_back();
}

struct World {
    source: Place,
    target: Place,
    product: Product,
    _dir: tempfile::TempDir,
}

impl World {
    /// In step, rehearsed, some transfers done.
    async fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (source, target) = (sqlite(&dir, "s.db"), sqlite(&dir, "t.db"));
        bank::open(&source, true).await;
        bank::open(&target, false).await;
        let product = Product::new(name, &source, &target, None, PLAN);
        product.run(&["apply"]).await.expect(0);
        product.run(&["rehearse"]).await.expect(0);
        let world = Self { source, target, product, _dir: dir };
        world.write(3).await;
        world.product.run(&["apply"]).await.expect(0);
        world
    }

    async fn write(&self, transfers: u64) {
        let clients = Clients::start(&self.source, &self.target, 2, 7);
        clients.go_on(transfers).await;
        clients.stop().await;
    }

    async fn all(&self, place: &Place) -> Vec<String> {
        let sql = "SELECT CAST(tenant AS CHAR(9)), CAST(id AS CHAR(20)), CAST(balance AS CHAR(20)) FROM account \
            UNION ALL SELECT CAST(tenant AS CHAR(9)), CAST(id AS CHAR(20)), CAST(amount AS CHAR(20)) FROM transfer";
        let mut all = rows(&place.store_ref(), sql).await.cells();
        all.sort();
        all
    }

    /// Nothing goes on by itself, and no row of either store is touched.
    async fn stands_still(&self) -> Ran {
        let before = (self.all(&self.source).await, self.all(&self.target).await);
        let ran = self.product.run(&["apply"]).await.expect(6);
        assert!(ran.stderr.contains("nothing was overwritten"), "{}", ran.stderr);
        assert!(ran.stderr.contains("migrate survive"), "the way out: {}", ran.stderr);
        assert_eq!((self.all(&self.source).await, self.all(&self.target).await), before);
        ran
    }

    /// What counts is what `side` has; then everything works as ever.
    async fn survives(&self, side: &str) {
        let compared = self.product.run(&["survive", "--side", side]).await.expect(4);
        assert!(
            compared.stdout.contains("nothing was changed") && compared.stderr.contains("--yes"),
            "{}",
            compared.stdout
        );
        let (here, there) = match side {
            "source" => (&self.source, &self.target),
            _ => (&self.target, &self.source),
        };
        let counts = self.all(here).await;
        let done = self.product.run(&["survive", "--side", side, "--yes", "--json"]).await.expect(0).json();
        assert!(done["copied"] == true && done["mismatches"] == 0, "{done}");
        assert_eq!(self.all(there).await, counts);
        let status = self.product.run(&["status", "--json"]).await.expect(0).json();
        assert_eq!(status["owner"], side, "{status}");
        takes(here, there).await;
        self.product.run(&["apply"]).await.expect(0);
        let verbs = if side == "source" { ["cutover", "rollback"] } else { ["rollback", "cutover"] };
        for verb in verbs {
            self.write(3).await;
            self.product.run(&[verb, "--all"]).await.expect(0);
            self.product.run(&["apply"]).await.expect(0);
        }
        self.write(3).await;
        self.product.run(&["apply"]).await.expect(0);
        self.product.run(&["verify"]).await.expect(0);
        bank::assert_same(&self.source, &self.target).await;
    }
}

async fn takes(here: &Place, there: &Place) {
    let stray = "UPDATE account SET balance = balance WHERE tenant = 1 AND id = 1";
    App::connect(here).await.exec(stray).await.expect("a write at the survivor");
    let error = App::connect(there).await.exec(stray).await.expect_err("a write at the other");
    assert!(error.to_string().contains("migrate: writes to"), "{error}");
}

/// The target owned everything, and came back as it was a while after it took over: both sides say that it owns.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_restored_from_behind_the_open() {
    for side in ["target", "source"] {
        let world = World::new("sv-behind").await;
        world.product.run(&["cutover", "--all"]).await.expect(0);
        world.product.run(&["apply"]).await.expect(0);
        let backup = Copied::of(&world.target);
        world.write(5).await;
        world.product.run(&["apply"]).await.expect(0);
        put_back(backup).await;
        world.target.exec("UPDATE account SET balance = balance + 5 WHERE tenant = 1 AND id = 2").await;
        world.stands_still().await;
        world.survives(side).await;
    }
}

/// From before it took over: nobody takes writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_restored_from_before_the_open() {
    for side in ["source", "target"] {
        let world = World::new("sv-before").await;
        let backup = Copied::of(&world.target);
        world.product.run(&["cutover", "--all"]).await.expect(0);
        world.write(5).await;
        world.product.run(&["apply"]).await.expect(0);
        put_back(backup).await;
        let ran = world.product.run(&["apply"]).await;
        // The gates alone look like a decision on its way; the log knows better.
        assert_ne!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        world.survives(side).await;
    }
}

/// The source from before the cut over: both stores take writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_restored_from_before_the_cut_over() {
    for side in ["target", "source"] {
        let world = World::new("sv-source").await;
        let backup = Copied::of(&world.source);
        // Of which the restored one has not heard.
        world.product.run(&["cutover", "--scope", "1"]).await.expect(0);
        world.product.run(&["cutover", "--all"]).await.expect(0);
        world.write(5).await;
        world.product.run(&["apply"]).await.expect(0);
        put_back(backup).await;
        world.stands_still().await;
        let torn = world.product.run(&["status", "--json"]).await.expect(0).json();
        assert_eq!((&torn["phase"], &torn["can_roll_back"]), (&"torn".into(), &false.into()), "{torn}");
        world.product.run(&["cutover", "--all"]).await.expect(6);
        world.survives(side).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_any_cut_over_there_is_nothing_to_choose() {
    let world = World::new("sv-none").await;
    let refused = world.product.run(&["survive", "--side", "target", "--yes"]).await.expect(4);
    assert!(refused.stderr.contains("nothing was cut over"), "{}", refused.stderr);
    world.product.run(&["survive", "--yes"]).await.expect(64);
}

/// Killed at each step: nobody writes at both, and the same command again goes through.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_killed_at_each_step() {
    for side in ["source", "target"] {
        let mut world = World::new("sv-killed").await;
        let backup = Copied::of(&world.source);
        world.product.run(&["cutover", "--all"]).await.expect(0);
        world.write(3).await;
        put_back(backup).await;
        for step in ["survive.noted", "survive.counted", "survive.closed", "survive.opened"] {
            world.product.set("MIGRATE_FAILPOINT", step);
            let killed = world.product.run(&["survive", "--side", side, "--yes"]).await;
            assert_eq!(killed.code, -1, "{step}: {}{}", killed.stdout, killed.stderr);
            world.product.set("MIGRATE_FAILPOINT", "");
            let owner = world.product.run(&["status", "--json"]).await.expect(0).json()["owner"].clone();
            let expected = if step == "survive.opened" { vec![side] } else { vec!["unknown", side] };
            assert!(expected.iter().any(|e| owner == *e), "{side} at {step}: {owner}");
        }
        // A dead one's lease.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        world.survives(side).await;
    }
}

/// The side that did not own anything is named: it opens only once the other one is closed.
#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_two_owners_on_the_way() {
    let mut world = World::new("sv-two").await;
    world.product.run(&["cutover", "--all"]).await.expect(0);
    for step in ["survive.noted", "survive.counted", "survive.closed", "survive.opened"] {
        world.product.set("MIGRATE_FAILPOINT", step);
        assert_eq!(world.product.run(&["survive", "--side", "source", "--yes"]).await.code, -1, "{step}");
        let mut takers = 0;
        for place in [&world.source, &world.target] {
            let stray = "UPDATE account SET balance = balance WHERE tenant = 1 AND id = 1";
            takers += usize::from(App::connect(place).await.exec(stray).await.is_ok());
        }
        assert!(takers <= 1, "both took a write at {step}");
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    world.product.set("MIGRATE_FAILPOINT", "");
    world.survives("source").await;
}

/// Between servers, torn by hand as a restored backup tears them.
async fn between_servers(name: &str, source: Place, target: Place) {
    bank::open(&source, true).await;
    bank::open(&target, false).await;
    let product = Product::new(name, &source, &target, None, PLAN);
    product.run(&["apply"]).await.expect(0);
    product.run(&["rehearse"]).await.expect(0);
    product.run(&["cutover", "--scope", "1,2"]).await.expect(0);
    let control = |place: &Place, named: &str| match place {
        Place::Postgres(_) => format!("\"_migrate_{name}\".{named}"),
        _ => format!("`_migrate_{name}_{named}`"),
    };
    let torn = format!("UPDATE {} SET closed = 1, turn = 0 WHERE id > 1", control(&target, "gate_target"));
    target.exec(&torn).await;
    source.exec(&format!("UPDATE {} SET closed = 1, turn = 0 WHERE id = 2", control(&source, "gate_source"))).await;
    product.run(&["apply"]).await.expect(6);
    for (side, here, there) in [("target", &target, &source), ("source", &source, &target)] {
        product.run(&["survive", "--side", side, "--yes"]).await.expect(0);
        takes(here, there).await;
        bank::assert_same(&source, &target).await;
    }
    product.run(&["cutover", "--all"]).await.expect(0);
    takes(&target, &source).await;
    product.run(&["finish", "--release-source"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn between_postgres_and_mariadb() {
    between_servers("sv-pm", postgres("sv_pm_s").await, mariadb("sv_pm_t").await).await;
}

/// The new owner's table was altered: its capture is not to be trusted any more, and there is a way out.
#[tokio::test(flavor = "multi_thread")]
async fn capture_that_was_touched_at_the_new_owner() {
    let world = World::new("sv-touched").await;
    world.product.run(&["cutover", "--all"]).await.expect(0);
    world.product.run(&["apply"]).await.expect(0);
    world.target.exec("ALTER TABLE transfer ADD COLUMN remark TEXT").await;
    let ran = world.stands_still().await;
    assert!(ran.stderr.contains("--side target"), "{}", ran.stderr);
    world.product.run(&["rollback", "--all"]).await.expect(6);
    world.survives("target").await;
}
