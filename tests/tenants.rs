//! A tenant at a time, through the real binary: with tenants on both sides both links run, each carries its own, and
//! every tenant's writes are taken by one store at a time.

mod support;

#[path = "cutover/bank.rs"]
mod bank;
#[path = "tenants/numbers.rs"]
mod numbers;
#[path = "tenants/plan.rs"]
mod plan;
#[path = "tenants/rounds.rs"]
mod rounds;

use bank::Clients;
use support::product::{Place, Product, mariadb, postgres, sqlite};
use support::{Nats, NatsVersion};

const PLAN: &str = "cutover: { scope_by: tenant, max_write_pause: 30s, max_lag: 30s }\n\
                    tables:\n  - from: account\n  - from: transfer\n";

/// Verb, what, and who owns the tenants 0 to 3 behind it (`s`, `t`).
const STEPS: [(&str, &[&str], &str); 6] = [
    ("cutover", &["--scope", "1"], "stss"),
    ("cutover", &["--scope", "2,3"], "sttt"),
    ("rollback", &["--scope", "1"], "sstt"),
    ("cutover", &["--all"], "tttt"),
    ("rollback", &["--scope", "2"], "ttst"),
    ("cutover", &["--all"], "tttt"),
];

async fn a_tenant_at_a_time(name: &str, source: Place, target: Place, nats: Option<Nats>) {
    let seed = rand::random();
    println!("seed {seed}");
    bank::open(&source, true).await;
    bank::open(&target, false).await;
    let (before_source, before_target) = (source.catalogue().await, target.catalogue().await);
    let product = Product::new(name, &source, &target, nats.as_ref(), PLAN);
    let clients = Clients::start(&source, &target, 4, seed);
    product.run(&["apply"]).await.expect(0);
    let mut host = product.start(&["apply", "--follow", "--heartbeat", "1s"]);
    host.says("follow").await;
    product.run(&["rehearse"]).await.expect(0);
    for (verb, what, owners) in STEPS {
        clients.go_on(20).await;
        let cut = product.run(&[&[verb, "--json"], what].concat()).await;
        assert_eq!(cut.code, 0, "{}\n{}\nthe host:\n{}", cut.stdout, cut.stderr, host.stderr());
        println!("{verb} {what:?}: {}", cut.json());
        clients.go_on(20).await;
        each_store_takes_its_own(&source, &target, owners).await;
        let verified = product.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{owners}: {}{}\n{}", verified.stdout, verified.stderr, host.stderr());
    }
    let ledger = clients.stop().await;
    println!("{} transfers, the longest pause of a client {:?}", ledger.acknowledged.len(), ledger.longest_pause);
    product.wait_in_step().await;
    host.signal("TERM");
    assert_eq!(host.wait().await, 143, "{}", host.stderr());
    bank::audit(&target, &ledger).await;
    bank::assert_same(&source, &target).await;
    product.run(&["finish", "--release-source"]).await.expect(0);
    assert_eq!(source.catalogue().await, before_source, "the source is as it was");
    assert_eq!(target.catalogue().await, before_target, "the target is as it was");
}

/// By a write that changes nothing.
async fn each_store_takes_its_own(source: &Place, target: &Place, owners: &str) {
    for (tenant, owner) in owners.chars().enumerate() {
        for (place, mark) in [(source, 's'), (target, 't')] {
            let mut app = support::live::App::connect(place).await;
            let done =
                app.exec(&format!("UPDATE account SET balance = balance WHERE tenant = {tenant} AND id = 1")).await;
            match done {
                Ok(()) => assert_eq!(owner, mark, "tenant {tenant} of {owners} was written at {mark}"),
                Err(e) => {
                    assert!(owner != mark && e.to_string().contains("migrate: writes to"), "{tenant} at {mark}: {e}");
                }
            }
        }
    }
}

/// With tenants on both sides and nobody writing nothing moves any more, and no row can change its owner by its tenant.
#[tokio::test(flavor = "multi_thread")]
async fn divided_and_quiet_nothing_moves() {
    let (source, target) = (postgres("tn_q_s").await, mariadb("tn_q_t").await);
    bank::open(&source, true).await;
    bank::open(&target, false).await;
    let product = Product::new("tn-q", &source, &target, None, PLAN);
    product.run(&["apply"]).await.expect(0);
    product.run(&["rehearse"]).await.expect(0);
    let bare = product.run(&["cutover"]).await.expect(64);
    assert!(bare.stderr.contains("--scope V[,V...]"), "{}", bare.stderr);
    let odd = product.run(&["cutover", "--scope", "one"]).await.expect(64);
    assert!(odd.stderr.contains("\"one\" is no"), "{}", odd.stderr);
    product.run(&["cutover", "--scope", "1"]).await.expect(0);
    let divided = product.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!((&divided["owner"], &divided["scopes"][0]["owner"]), (&"divided".into(), &"target".into()), "{divided}");
    assert_eq!(divided["can_roll_back"], true);
    source.exec("UPDATE account SET balance = balance + 1 WHERE tenant <> 1").await;
    target.exec("UPDATE account SET balance = balance - 1 WHERE tenant = 1").await;
    for place in [&source, &target] {
        for change in ["tenant = 1 WHERE tenant = 2", "tenant = 2 WHERE tenant = 1"] {
            let mut app = support::live::App::connect(place).await;
            let error = app.exec(&format!("UPDATE account SET id = id + 100, {change}")).await.expect_err("moved");
            assert!(error.to_string().contains("migrate: writes to"), "{error}");
        }
    }
    let mut host = product.start(&["apply", "--follow", "--heartbeat", "1s"]);
    host.says("each store owns some scopes").await;
    product.run(&["verify"]).await.expect(0);
    bank::assert_same(&source, &target).await;
    let log = async |place: &Place, migration: &str| {
        let table = match place {
            Place::Postgres(_) => format!("\"_migrate_{migration}\".log"),
            _ => format!("`_migrate_{migration}_log`"),
        };
        let sql = format!("SELECT CAST(max(position) AS CHAR(20)) FROM {table}");
        support::compare::rows(&place.store_ref(), &sql).await.cells()
    };
    let at = async || (log(&source, "tn-q").await, log(&target, "tn-q$back").await);
    let before = at().await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(at().await, before, "nobody writes, so nothing is sent");
    let finish = product.run(&["finish"]).await;
    assert_ne!(finish.code, 0, "{}", finish.stdout);
    host.signal("TERM");
    assert_eq!(host.wait().await, 143, "{}", host.stderr());
    product.run(&["finish"]).await.expect(4);
    product.run(&["abort"]).await.expect(4);
    product.run(&["rollback", "--all"]).await.expect(0);
    bank::assert_same(&source, &target).await;
    product.run(&["abort"]).await.expect(0);
}

/// Killed when only the taker knows a scope's name: everything goes with the rest all the same, and none is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_one_store_alone_knows_goes_with_the_rest() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (sqlite(&dir, "s.db"), sqlite(&dir, "t.db"));
    bank::open(&source, true).await;
    bank::open(&target, false).await;
    let mut product = Product::new("tn-name", &source, &target, None, &(PLAN.to_owned() + "lease: { ttl: 1s }\n"));
    product.run(&["apply"]).await.expect(0);
    product.run(&["rehearse"]).await.expect(0);
    product.set("MIGRATE_FAILPOINT", "cutover.named");
    assert_eq!(product.run(&["cutover", "--scope", "2"]).await.code, -1);
    product.set("MIGRATE_FAILPOINT", "");
    each_store_takes_its_own(&source, &target, "ssss").await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    product.run(&["cutover", "--all"]).await.expect(0);
    each_store_takes_its_own(&source, &target, "tttt").await;
    product.run(&["rollback", "--scope", "2"]).await.expect(0);
    each_store_takes_its_own(&source, &target, "ttst").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres_over_a_broker() {
    let nats = Nats::start(NatsVersion::Current);
    a_tenant_at_a_time("tn-pp", postgres("tn_pp_s").await, postgres("tn_pp_t").await, Some(nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_to_postgres_direct() {
    a_tenant_at_a_time("tn-mp", mariadb("tn_mp_s").await, postgres("tn_mp_t").await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_mariadb_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    a_tenant_at_a_time("tn-sm", sqlite(&dir, "s.db"), mariadb("tn_sm_t").await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_sqlite_direct() {
    let dir = tempfile::tempdir().expect("a directory");
    a_tenant_at_a_time("tn-ss", sqlite(&dir, "s.db"), sqlite(&dir, "t.db"), None).await;
}
