//! The transport over NATS JetStream: one file-backed, bounded stream per link, reports on a plain subject.
//!
//! The broker is trusted with nothing that counts: publishing expects the stream's last sequence, reading needs no
//! consumer state, and whatever the broker loses is sent again. It works with servers from 2.9 on.

mod connect;
mod framing;
mod pipeline;
mod receiver;
mod route;
mod sender;
mod stream;

use std::time::Duration;

use async_nats::jetstream::{self, Context, context::RequestErrorKind};
use async_trait::async_trait;
use serde::Deserialize;

use super::{Receiver, Sender, Transport};
use crate::check;
use crate::error::{Error, Kind, Result};
use crate::finding::Finding;

pub use connect::{NatsOptions, Secret};

const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// A payload limit below this leaves no room for parts.
const MIN_PAYLOAD_BYTES: usize = 4096;
/// The first releases without CVE-2026-33222, in 2.11 and 2.12.
const FIXED_RELEASES: [(u64, u64, u64); 2] = [(2, 11, 15), (2, 12, 6)];

/// One link over one broker. Cheap to clone; connects when asked for an end.
#[derive(Debug, Clone)]
pub struct Nats {
    options: NatsOptions,
    stream: String,
    log_subject: String,
    report_subject: String,
}

impl Nats {
    /// `migration` and `link` are names of `[a-z0-9-]`, as a plan's are.
    pub fn new(options: NatsOptions, migration: &str, link: &str) -> Self {
        Self {
            options,
            stream: format!("MIGRATE_{migration}_{link}"),
            log_subject: format!("migrate.{migration}.{link}.log"),
            report_subject: format!("migrate.{migration}.{link}.report"),
        }
    }

    fn max_bytes(&self) -> u64 {
        self.options.max_bytes.unwrap_or(DEFAULT_MAX_BYTES)
    }

    /// A request that failed in passing.
    fn failed(&self, doing: &str, cause: impl std::fmt::Display) -> Error {
        Error::retry(format!("cannot {doing} {:?} at {}: {cause}", self.stream, self.options.address()))
    }

    async fn account(&self, context: &Context) -> Result<Account> {
        let address = self.options.address();
        let answer: Result<Account, _> = context.request("INFO", &()).await;
        let cause = match answer {
            Ok(Account { error: Some(error), .. }) => error.description,
            Ok(account) => return Ok(account),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => "nobody answers for it".into(),
            Err(error) => return Err(Error::retry(format!("{address} does not answer about JetStream: {error}"))),
        };
        Err(Error::plan(format!("JetStream is not enabled at {address}: {cause}"))
            .hint("start the server with `nats-server --jetstream`, or enable it for this account")
            .check(check::JETSTREAM_OFF.id))
    }

    fn check_limits(&self, account: &Account, exists: bool, largest_entry: u64) -> Result<()> {
        let limit = self.max_bytes();
        if self.stored_bytes_of(largest_entry) > limit {
            return Err(self
                .does_not_fit(Kind::Plan, &format!("an entry may have {largest_entry} bytes"), limit)
                .check(check::STREAM_BOUND.id));
        }
        let used = account.reserved_storage.max(account.storage);
        let most = u64::try_from(account.limits.max_storage).unwrap_or(u64::MAX);
        if exists || most.saturating_sub(used) >= limit {
            return Ok(());
        }
        let address = self.options.address();
        Err(Error::plan(format!("the account at {address} may store {most} bytes, {used} are taken, we want {limit}"))
            .hint("lower `events.max_bytes`, or raise the account's storage limit")
            .check(check::STORAGE.id))
    }
}

/// What a server says about our account. (The client's own type does not read a 2.9 server's answer.)
#[derive(Deserialize)]
struct Account {
    error: Option<AccountError>,
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    reserved_storage: u64,
    #[serde(default)]
    limits: AccountLimits,
}

#[derive(Deserialize)]
struct AccountError {
    #[serde(default)]
    description: String,
}

/// Negative is unlimited.
#[derive(Deserialize)]
#[serde(default)]
struct AccountLimits {
    max_storage: i64,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self { max_storage: -1 }
    }
}

#[async_trait]
impl Transport for Nats {
    fn name(&self) -> String {
        self.options.address()
    }

    async fn probe(&self, largest_entry: u64) -> Result<Vec<Finding>> {
        let client = connect::connect(&self.options, PROBE_TIMEOUT).await?;
        let address = self.options.address();
        let info = client.server_info();
        if info.max_payload < MIN_PAYLOAD_BYTES {
            let hint = "raise `max_payload` in the server's configuration, 1 MiB is its default";
            let error = Error::plan(format!("{address} takes at most {} bytes a message", info.max_payload));
            return Err(error.hint(hint).check(check::PAYLOAD.id));
        }
        let context = jetstream::new(client);
        let account = self.account(&context).await?;
        let exists = stream::look(self, &context).await?.is_some();
        self.check_limits(&account, exists, largest_entry)?;
        Ok(warn_about(&info.version).into_iter().collect())
    }

    async fn sender(&self) -> Result<Box<dyn Sender>> {
        let client = connect::connect(&self.options, CONNECT_TIMEOUT).await?;
        Ok(Box::new(sender::NatsSender::new(self.clone(), client).await?))
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        let client = connect::connect(&self.options, CONNECT_TIMEOUT).await?;
        Ok(Box::new(receiver::NatsReceiver::new(self.clone(), client)))
    }

    async fn publish_route(&self, migration: &str, epoch: u64, route: &str) -> Result<()> {
        let client = connect::connect(&self.options, CONNECT_TIMEOUT).await?;
        route::publish(&jetstream::new(client), migration, epoch, route).await
    }

    async fn remove_route(&self, migration: &str) -> Result<bool> {
        let client = connect::connect(&self.options, CONNECT_TIMEOUT).await?;
        route::remove(&jetstream::new(client), migration).await
    }

    async fn remove(&self) -> Result<bool> {
        let client = connect::connect(&self.options, CONNECT_TIMEOUT).await?;
        stream::remove(self, &jetstream::new(client)).await
    }
}

fn warn_about(version: &str) -> Option<Finding> {
    let mut numbers = version.split(['.', '-']).map(|n| n.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let release = (next(), next(), next());
    let [old, new] = FIXED_RELEASES;
    let fixed = release >= new || (release >= old && release < (2, 12, 0));
    let message = || format!("nats-server {version} has CVE-2026-33222 (fixed in 2.11.15 and 2.12.6)");
    (!fixed).then(|| Finding::new(&check::BROKER_RELEASE, message(), "upgrade it, or keep its JetStream API private"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_warned_about() {
        for version in ["2.9.10", "2.11.14", "2.12.5", "2.12.0-RC.1"] {
            assert!(warn_about(version).is_some_and(|found| found.message.contains(version)), "{version}");
        }
        for version in ["2.11.15", "2.12.6", "2.15.1", "3.0.0"] {
            assert_eq!(warn_about(version), None, "{version}");
        }
    }
}
