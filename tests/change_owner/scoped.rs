//! A part at a time: the route is the same document at the broker and in both stores, and hooks are told of which part.

use async_nats::jetstream;

use crate::support::compare::rows;
use crate::support::product::{Place, Product, postgres};
use crate::support::{Nats, NatsVersion};

async fn in_store(place: &Place, side: &str) -> serde_json::Value {
    let sql = format!("SELECT value FROM \"_migrate_route\".setting_{side} WHERE name = 'route'");
    let found = rows(&place.store_ref(), &sql).await.cells();
    serde_json::from_str(found.first().map_or("null", String::as_str)).expect("a document")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_at_the_broker_and_in_both_stores() {
    let nats = Nats::start(NatsVersion::Current);
    let (source, target) = (postgres("route_s").await, postgres("route_t").await);
    for place in [&source, &target] {
        place.exec("CREATE TABLE t (tenant bigint NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant, id))").await;
    }
    source.exec("INSERT INTO t VALUES (1, 1), (2, 1)").await;
    let body = "cutover: { scope_by: tenant, max_write_pause: 30s, max_lag: 30s }\n\
        hooks: { after_cutover: { run: [\"sh\", \"-c\", \"echo $$MIGRATE_OWNER:$$MIGRATE_SCOPES >>said\"] } }\n\
        tables:\n  - from: t\n";
    let product = Product::new("route", &source, &target, Some(&nats), body);
    product.run(&["apply"]).await.expect(0);
    product.run(&["rehearse"]).await.expect(0);
    let client = async_nats::connect(nats.url()).await.expect("a broker");
    let at_broker = async || {
        let bucket = jetstream::new(client.clone()).get_key_value("migrate_routing").await.ok()?;
        let value = bucket.get("route").await.expect("an answer")?;
        serde_json::from_slice::<serde_json::Value>(&value).ok()
    };
    assert_eq!(at_broker().await, None, "nothing was cut over");
    let mut epoch = 0;
    for (args, default, scopes) in [
        (&["cutover", "--scope", "2"][..], "source", serde_json::json!({ "2": "target" })),
        (&["cutover", "--all"], "target", serde_json::json!({})),
        (&["rollback", "--scope", "1"], "target", serde_json::json!({ "1": "source" })),
        (&["rollback", "--all"], "source", serde_json::json!({})),
    ] {
        product.run(args).await.expect(0);
        let route = at_broker().await.expect("a route");
        assert_eq!((&route["version"], &route["default"], &route["scopes"]), (&1.into(), &default.into(), &scopes));
        assert!(route["epoch"].as_u64() > Some(epoch) && route["position"].is_u64(), "{route}");
        epoch = route["epoch"].as_u64().unwrap_or_default();
        assert_eq!((in_store(&source, "source").await, in_store(&target, "target").await), (route.clone(), route));
    }
    let said = std::fs::read_to_string(product.dir.path().join("said")).expect("what hooks were told");
    assert_eq!(said.lines().collect::<Vec<_>>(), ["target:2", "target:", "source:1", "source:"]);
    product.run(&["abort"]).await.expect(0);
    assert_eq!(at_broker().await, None, "abort takes it away");
}
