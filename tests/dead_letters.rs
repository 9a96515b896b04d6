//! Rows that a store refuses, through the real binary: only their keys wait, everybody is told, nothing is proven or cut
//! over meanwhile, and once they are mended they arrive.

mod support;

use support::compare::{assert_same, rows};
use support::product::{Place, Product, Ran, mariadb, postgres, sqlite};

const PLAN: &str = "guard_target: false\ntables:\n  - from: p\n  - from: c\n";
const VALUE: &str = "canary-value";

struct World {
    source: Place,
    target: Place,
    product: Product,
}

impl World {
    /// Parents and children; the target holds that `v` has at most eight characters, and that a child has a parent.
    async fn new(name: &str, source: Place, target: Place, more: &str) -> Self {
        let plain = "CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40));
            CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, p BIGINT, v VARCHAR(40));";
        source.exec(plain).await;
        let tight = "CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40), CONSTRAINT short_v CHECK (length(v) <= 8));
            CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, p BIGINT, v VARCHAR(40), FOREIGN KEY (p) REFERENCES p (id));";
        target.exec(tight).await;
        source
            .exec("INSERT INTO p VALUES (1, 'a'), (2, 'b'), (3, 'c'); INSERT INTO c VALUES (1, 1, 'x'), (2, 2, 'y')")
            .await;
        let product = Product::new(name, &source, &target, None, &format!("{more}{PLAN}"));
        Self { source, target, product }
    }

    async fn letters(&self, verb: &str, args: &[&str]) -> Ran {
        self.product.words(&["dead-letters", verb], args).await
    }

    /// Ids.
    async fn waiting(&self) -> Vec<String> {
        let listed = self.letters("list", &["--json"]).await.expect(0);
        assert!(!listed.stdout.contains(VALUE) && !listed.stdout.contains("700000"), "no value: {}", listed.stdout);
        let json = listed.json();
        json["letters"]
            .as_array()
            .expect("letters")
            .iter()
            .map(|l| l["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    async fn comes_to(&self, ids: &[&str]) {
        for _ in 0..100 {
            if self.waiting().await == ids {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(self.waiting().await, ids);
    }

    async fn is_equal(&self) {
        for sql in [
            "SELECT trim(CAST(id AS CHAR(20))), v FROM p",
            "SELECT trim(CAST(id AS CHAR(20))), trim(CAST(p AS CHAR(20))), v FROM c",
        ] {
            assert_same(sql, &rows(&self.source.store_ref(), sql).await, &rows(&self.target.store_ref(), sql).await);
        }
    }
}

async fn met_by_the_backfill_and_by_a_host(name: &str, source: Place, target: Place) {
    let world = World::new(name, source, target, "").await;
    let product = &world.product;
    // Counted by preflight if they were there before.
    product.run(&["apply", "--until", "dual-write"]).await.expect(0);
    world.source.exec(&format!("INSERT INTO p VALUES (700000001, '{VALUE}'); INSERT INTO c VALUES (9, 3, 'z')")).await;
    let ran = product.run(&["apply"]).await.expect(4);
    assert!(
        ran.stdout.contains("1 row refused and parked") && ran.stdout.contains("dead-letters list"),
        "{}",
        ran.stdout
    );
    assert_eq!(world.waiting().await, ["t1"]);
    let shown = world.letters("show", &["T1"]).await.expect(0);
    assert!(shown.stdout.contains("short_v") && shown.stdout.contains("id = ***"), "{}", shown.stdout);
    let shown = world.letters("list", &["--show-values"]).await.expect(0);
    assert!(shown.stdout.contains("id = 700000001"), "{}", shown.stdout);
    for (verb, code) in [("verify", 4), ("cutover", 4)] {
        let ran = product.run(&[verb]).await.expect(code);
        assert!(ran.stderr.contains("1 row is parked"), "{verb}: {}", ran.stderr);
    }
    let status = product.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["parked"], 1, "{status}");

    // A host goes on with everything else. A child of a parent that waits waits too.
    let mut host = product.start(&["apply", "--follow", "--heartbeat", "1s"]);
    host.says("row is parked").await;
    world.source.exec("INSERT INTO c VALUES (10, 700000001, 'child'); INSERT INTO p VALUES (4, 'd')").await;
    world.comes_to(&["t1", "t2"]).await;
    let there = rows(&world.target.store_ref(), "SELECT trim(CAST(id AS CHAR(20))) FROM p").await.count();
    assert_eq!(there, 4, "the rest flows");
    // Tried again too early: nothing changes but the count.
    world.letters("retry", &["t1"]).await.expect(0);
    // Mended at the source: the row comes by itself; who waited for it is asked for.
    world.source.exec("UPDATE p SET v = 'mended' WHERE id = 700000001").await;
    world.comes_to(&["t2"]).await;
    let retried = world.letters("retry", &["--all"]).await.expect(0);
    assert!(retried.stdout.contains("1 row will be brought again"), "{}", retried.stdout);
    world.comes_to(&[]).await;
    host.signal("TERM");
    assert_eq!(host.wait().await, 143, "{}", host.stderr());
    assert!(!host.stderr().contains(VALUE) && !host.stderr().contains("700000"), "{}", host.stderr());
    product.run(&["apply"]).await.expect(0);
    product.run(&["verify"]).await.expect(0);
    world.is_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_sqlite_files() {
    let dir = tempfile::tempdir().expect("a directory");
    met_by_the_backfill_and_by_a_host("dl-ss", sqlite(&dir, "s.db"), sqlite(&dir, "t.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_mariadb() {
    met_by_the_backfill_and_by_a_host("dl-pm", postgres("dl_pm_s").await, mariadb("dl_pm_t").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_postgres() {
    met_by_the_backfill_and_by_a_host("dl-mp", mariadb("dl_mp_s").await, postgres("dl_mp_t").await).await;
}

/// Mended at the target; then some that nobody mends.
#[tokio::test(flavor = "multi_thread")]
async fn retried_after_the_constraint_went_dropped_and_bounded() {
    let (source, target) = (postgres("dl_more_s").await, postgres("dl_more_t").await);
    let world = World::new("dl-more", source, target, "max_parked: 2\n").await;
    let product = &world.product;
    product.run(&["apply"]).await.expect(0);
    world.source.exec(&format!("INSERT INTO p VALUES (700000001, '{VALUE}'), (700000002, '{VALUE}')")).await;
    product.run(&["apply"]).await.expect(4);
    assert_eq!(world.waiting().await, ["t1", "t2"]);
    // The third is one too many: the run stops there, and nothing is lost.
    world.source.exec(&format!("INSERT INTO p VALUES (700000003, '{VALUE}'), (5, 'fine')")).await;
    let ran = product.run(&["apply"]).await.expect(1);
    assert!(ran.stderr.contains("refuses a row") && ran.stderr.contains("max_parked"), "{}", ran.stderr);
    world.target.exec("ALTER TABLE p DROP CONSTRAINT short_v").await;
    let ids = world.letters("retry", &["t2"]).await.expect(0);
    assert!(ids.stdout.contains("1 row will"), "{}", ids.stdout);
    product.run(&["apply"]).await.expect(4);
    assert_eq!(world.waiting().await, ["t1"]);
    // Forgotten is not mended.
    let asked = world.letters("drop", &["t1"]).await.expect(4);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    world.letters("drop", &["t1", "--yes"]).await.expect(0);
    assert_eq!(world.waiting().await, [""; 0]);
    let verified = product.run(&["verify"]).await;
    assert!(verified.code != 0 && verified.stdout.contains("missing"), "{} {}", verified.code, verified.stdout);
    product.run(&["verify", "--repair"]).await;
    product.run(&["verify"]).await.expect(0);
    world.is_equal().await;
    for (verb, args) in [("retry", &["t9"][..]), ("retry", &[]), ("show", &["x"])] {
        let ran = world.letters(verb, args).await.expect(64);
        assert!(ran.stderr.contains("dead-letters list"), "{}", ran.stderr);
    }
}

/// On the way back it is the old store that refuses.
#[tokio::test(flavor = "multi_thread")]
async fn on_the_way_back_it_waits_at_the_source() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (sqlite(&dir, "s.db"), sqlite(&dir, "t.db"));
    source.exec("CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40) CHECK (v <> 'refused')); INSERT INTO p VALUES (1, 'a')").await;
    target.exec("CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40))").await;
    let product = Product::new("dl-back", &source, &target, None, "tables:\n  - from: p\n");
    product.run(&["apply"]).await.expect(0);
    product.run(&["rehearse"]).await.expect(0);
    product.run(&["cutover"]).await.expect(0);
    target.exec("INSERT INTO p VALUES (2, 'refused'), (3, 'c')").await;
    let ran = product.run(&["apply"]).await.expect(4);
    assert!(ran.stdout.contains("1 row refused and parked"), "{}", ran.stdout);
    let world = World { source, target, product };
    assert_eq!(world.waiting().await, ["s1"]);
    let back = world.product.run(&["rollback"]).await.expect(4);
    assert!(back.stderr.contains("dead letters"), "{}", back.stderr);
    world.target.exec("UPDATE p SET v = 'b' WHERE id = 2").await;
    world.product.run(&["apply"]).await.expect(0);
    assert_eq!(world.waiting().await, [""; 0]);
    world.product.run(&["rollback"]).await.expect(0);
    let sql = "SELECT trim(CAST(id AS CHAR(20))), v FROM p";
    assert_same(sql, &rows(&world.source.store_ref(), sql).await, &rows(&world.target.store_ref(), sql).await);
}
