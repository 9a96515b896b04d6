//! What applications are told, where docs/applications.md says that they find it.

use serde_json::{Value, json};

use crate::Pair;
use crate::support::compare::{StoreRef, text_rows};
use crate::support::product::{Place, sqlite};
use crate::support::{Nats, NatsVersion};

/// The row named `route` of a store's control table, by the names that the page gives.
pub async fn told_by(place: &Place, migration: &str, side: &str) -> Value {
    let (table, quote) = match place {
        Place::Postgres(_) => (format!("\"_migrate_{migration}\".setting_{side}"), ""),
        Place::MariaDb(_) => (format!("_migrate_{migration}_setting_{side}"), "`"),
        Place::Sqlite(_) => (format!("_migrate_{migration}_setting_{side}"), "\""),
    };
    let store: StoreRef = place.store_ref();
    let rows = text_rows(&store, &format!("SELECT value FROM {quote}{table}{quote} WHERE name = 'route'")).await;
    let text = rows.first().and_then(|row| row[0].clone()).unwrap_or_default();
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")) }
}

/// All of the document but the position, which is some entry of the giver's log.
pub fn assert_route(route: &Value, owner: &str, epoch: u64) {
    let position = route["position"].as_u64().unwrap_or_else(|| panic!("no position: {route}"));
    assert!(position > 0, "{route}");
    let expected = json!({ "version": 1, "default": owner, "scopes": {}, "epoch": epoch, "position": position });
    assert_eq!(*route, expected);
}

async fn told_by_broker(nats: &Nats, migration: &str) -> Option<Value> {
    let context = async_nats::jetstream::new(nats.connect().await);
    let bucket = context.get_key_value("migrate_routing").await.ok()?;
    let value = bucket.get(migration).await.expect("the bucket")?;
    Some(serde_json::from_slice(&value).expect("JSON"))
}

async fn is_told(name: &str, nats: Option<Nats>) {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (sqlite(&dir, "s.db"), sqlite(&dir, "t.db"));
    let pair = Pair::of(name, dir, source, target, nats.as_ref(), "", "").await;
    assert_eq!(told_by(&pair.source, name, "source").await, Value::Null, "nobody was told anything yet");
    for (verb, owner, epoch) in [("cutover", "target", 1), ("rollback", "source", 2), ("cutover", "target", 3)] {
        pair.run(&[verb]).await.expect(0);
        let (at_source, at_target) =
            (told_by(&pair.source, name, "source").await, told_by(&pair.target, name, "target").await);
        assert_route(&at_source, owner, epoch);
        assert_eq!(at_source, at_target);
        if let Some(nats) = &nats {
            assert_eq!(told_by_broker(nats, name).await, Some(at_source), "the broker tells the same");
        }
    }
    pair.run(&["finish"]).await.expect(0);
    if let Some(nats) = &nats {
        assert_route(&told_by_broker(nats, name).await.expect("it stays"), "target", 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_broker_the_bucket_and_both_stores_tell_it() {
    is_told("told-n", Some(Nats::start(NatsVersion::Current))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_both_stores_tell_it() {
    is_told("told-d", None).await;
}
