//! A broker that is not there, does not let us in, or keeps no streams.

use super::{World, assert_refusal};
use crate::support::process::free_port;
use crate::support::product::Product;
use crate::support::{Nats, NatsOptions, NatsVersion};

const BODY: &str = "events: { url: \"${EVENTS}\" }\ncreate_tables: true\ntables:\n  - from: t\n";

async fn world() -> World {
    let world = World::sqlite(BODY).await;
    world.source.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    world
}

async fn streams(nats: &Nats) -> Vec<String> {
    use futures_util::TryStreamExt;
    async_nats::jetstream::new(nats.connect().await).stream_names().try_collect().await.expect("streams")
}

#[tokio::test(flavor = "multi_thread")]
async fn down() {
    let mut world = world().await;
    let port = free_port();
    world.product.set("EVENTS", &format!("nats://127.0.0.1:{port}"));
    let address = format!("127.0.0.1:{port}");
    world.is_refused("down", 1, &["cannot reach", &address, "check that nats-server runs there"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let mut world = world().await;
    let user = Some(("mover".to_owned(), "s3cret-canary-nats".to_owned()));
    for version in [NatsVersion::Debian, NatsVersion::Current] {
        let nats = Nats::start_with(version, NatsOptions { user: user.clone(), ..Default::default() });
        world.product.set("EVENTS", &format!("nats://mover:s3cret-canary-wrong@127.0.0.1:{}", nats.port()));
        world.is_refused("wrong password", 65, &["refuses our credentials", "check user and password"]).await;
        world.product.set("EVENTS", &nats.bare_url());
        world.is_refused("no password", 65, &["refuses our credentials"]).await;
        assert!(streams(&nats).await.is_empty());
        world.product.set("EVENTS", &nats.url());
        world.product.run(&["plan"]).await.expect(0);
        assert!(streams(&nats).await.is_empty(), "plan makes no stream");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_jetstream() {
    let mut world = world().await;
    let config = "accounts { plain { users: [{ user: u, password: p }] } }\nno_auth_user: u\n".to_owned();
    for version in [NatsVersion::Debian, NatsVersion::Current] {
        let nats = Nats::start_with(version, NatsOptions { config: config.clone(), ..Default::default() });
        world.product.set("EVENTS", &nats.bare_url());
        world.is_refused("no JetStream", 65, &["JetStream is not enabled", "--jetstream"]).await;
    }
}

/// A bad plan makes no stream; a good one makes exactly one, and abort takes it away.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_makes_no_stream() {
    let world = world().await;
    let nats = Nats::start(NatsVersion::Current);
    let tables = "create_tables: true\ntables:\n  - from: t\n";
    let bad = Product::new("s", &world.source, &world.target, Some(&nats), &format!("{tables}    where: \"id >\"\n"));
    for verb in ["plan", "apply"] {
        assert_refusal(&bad.run(&[verb]).await, verb, 65, &["\"where\" can't be used"]);
    }
    assert!(streams(&nats).await.is_empty());
    let good = Product::new("s", &world.source, &world.target, Some(&nats), tables);
    good.run(&["apply"]).await.expect(0);
    assert_eq!(streams(&nats).await.len(), 1);
    good.run(&["abort"]).await.expect(0);
    assert!(streams(&nats).await.is_empty());
}
