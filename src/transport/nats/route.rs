//! The route in a key-value bucket: where applications that watch the broker find who takes their writes.
//!
//! Written by compare-and-set, and never back to an older change of owner. It is a hint: the stores refuse what the
//! route would send to the wrong one, and it can be told again at any time.

use async_nats::jetstream::{self, Context, kv};

use crate::error::{Error, Result};

pub const BUCKET: &str = "migrate_routing";
const TRIES: usize = 20;

fn failed(doing: &str, cause: impl std::fmt::Display) -> Error {
    Error::retry(format!("can't {doing} the bucket \"{BUCKET}\": {cause}"))
}

async fn bucket(context: &Context) -> Result<kv::Store> {
    if let Ok(bucket) = context.get_key_value(BUCKET).await {
        return Ok(bucket);
    }
    let config = kv::Config {
        bucket: BUCKET.to_owned(),
        description: "who takes the writes of each migration".to_owned(),
        history: 1,
        storage: jetstream::stream::StorageType::File,
        ..kv::Config::default()
    };
    context.create_key_value(config).await.map_err(|e| failed("make", e))
}

/// Nothing happens where a later change of owner was told already.
pub async fn publish(context: &Context, migration: &str, epoch: u64, route: &str) -> Result<()> {
    let bucket = bucket(context).await?;
    for _ in 0..TRIES {
        let known = bucket.entry(migration).await.map_err(|e| failed("read", e))?;
        let known = known.filter(|e| e.operation == kv::Operation::Put);
        if known.as_ref().is_some_and(|e| epoch_of(&e.value) > epoch) {
            return Ok(());
        }
        let value = bytes::Bytes::from(route.to_owned());
        let written = match known {
            Some(entry) => bucket.update(migration, value, entry.revision).await.is_ok(),
            None => bucket.create(migration, value).await.is_ok(),
        };
        if written {
            return Ok(());
        }
    }
    Err(failed("write into", "others write the same key all the time"))
}

fn epoch_of(value: &[u8]) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
    value["epoch"].as_u64().unwrap_or_default()
}

/// Forgets the migration's route, and the bucket with its last key. Says whether there was one.
pub async fn remove(context: &Context, migration: &str) -> Result<bool> {
    let Ok(bucket) = context.get_key_value(BUCKET).await else { return Ok(false) };
    let known = bucket.entry(migration).await.map_err(|e| failed("read", e))?;
    let was_there = known.is_some_and(|e| e.operation == kv::Operation::Put);
    if was_there {
        bucket.purge(migration).await.map_err(|e| failed("remove a key of", e))?;
    }
    use futures_util::StreamExt;
    let mut keys = bucket.keys().await.map_err(|e| failed("read", e))?;
    if keys.next().await.is_none() {
        context.delete_key_value(BUCKET).await.map_err(|e| failed("remove", e))?;
    }
    Ok(was_there)
}
