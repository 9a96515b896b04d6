//! What is wrong with the broker, each under its own id, told together with what is wrong elsewhere.

use std::collections::BTreeSet;

use super::support::process::free_port;
use super::support::product::{Place, Product};
use super::support::{Nats, NatsOptions, NatsVersion};
use super::{file, findings, ids};

struct World {
    source: Place,
    target: Place,
    _dir: tempfile::TempDir,
}

const TABLE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v TEXT);";

async fn world() -> World {
    let dir = tempfile::tempdir().expect("a directory");
    let place = |path| Place::Sqlite(path);
    let (source, target) = (place(file(&dir, "a.db", true).await), place(file(&dir, "b.db", true).await));
    source.exec(TABLE).await;
    target.exec(TABLE).await;
    World { source, target, _dir: dir }
}

fn product(world: &World, events: &str, rest: &str) -> Product {
    let body = format!(
        "events: {{ url: \"${{EVENTS}}\"{rest} }}\nbackfill: {{ chunk_bytes: 512KiB }}\ntables:\n  - from: t\n"
    );
    let mut product = Product::new("broker", &world.source, &world.target, None, &body);
    product.set("EVENTS", events);
    product
}

async fn finds(product: &Product, code: i32, id: &str) {
    let found = findings(product, code).await;
    assert_eq!(ids(&found), BTreeSet::from([id.to_owned()]), "{found:#?}");
}

fn with_config(version: NatsVersion, config: &str) -> Nats {
    Nats::start_with(version, NatsOptions { config: config.to_owned(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_broker_has_its_id() {
    let world = world().await;
    let user = Some(("mover".to_owned(), "s3cret-canary-nats".to_owned()));
    let closed = Nats::start_with(NatsVersion::Current, NatsOptions { user, ..Default::default() });
    finds(&product(&world, &closed.bare_url(), ""), 65, "MG0501").await;

    let off = "accounts { plain { users: [{ user: u, password: p }] } }\nno_auth_user: u\n";
    finds(&product(&world, &with_config(NatsVersion::Current, off).bare_url(), ""), 65, "MG0502").await;

    let tiny = with_config(NatsVersion::Current, "max_payload: 2048\n");
    finds(&product(&world, &tiny.bare_url(), ""), 65, "MG0503").await;

    let plain = Nats::start(NatsVersion::Current);
    let mut large = product(&world, &plain.bare_url(), ", max_bytes: 1MiB");
    finds_nothing(&large).await;
    let text = std::fs::read_to_string(&large.plan).expect("the plan").replace("512KiB", "8MiB");
    std::fs::write(&large.plan, text).expect("write");
    finds(&large, 65, "MG0504").await;
    large.set("EVENTS", &Nats::start(NatsVersion::Debian).bare_url());

    let poor =
        "accounts { poor { users: [{ user: u, password: p }], jetstream: { max_file: 10MB } } }\nno_auth_user: u\n";
    finds(&product(&world, &with_config(NatsVersion::Current, poor).bare_url(), ""), 65, "MG0505").await;

    finds(&product(&world, &Nats::start(NatsVersion::Debian).bare_url(), ""), 0, "MG0506").await;
}

async fn finds_nothing(product: &Product) {
    let found = findings(product, 0).await;
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_stream_of_the_plan_can_hold() {
    let world = world().await;
    world.source.exec("INSERT INTO t VALUES (1, hex(zeroblob(600000))), (2, 'fits')").await;
    let nats = Nats::start(NatsVersion::Current);
    let found = findings(&product(&world, &nats.bare_url(), ", max_bytes: 1MiB"), 65).await;
    assert_eq!(ids(&found), BTreeSet::from(["MG0314".to_owned()]), "{found:#?}");
    assert_eq!(found[0]["count"], 1);
    finds_nothing(&product(&world, &nats.bare_url(), ", max_bytes: 2MiB")).await;
}

/// A broker that is not there hides nothing that is known without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_hides_nothing() {
    let world = world().await;
    let down = product(&world, &format!("nats://127.0.0.1:{}", free_port()), "");
    down.run(&["plan"]).await.expect(1);
    world.target.exec("INSERT INTO t VALUES (1, 'row-canary')").await;
    let found = findings(&down, 65).await;
    assert_eq!(ids(&found), BTreeSet::from(["MG0313".to_owned(), "MG0501".to_owned()]), "{found:#?}");
}
