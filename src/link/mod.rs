//! One direction of a migration: a relay that seals and sends, an applier that applies and reports, and the
//! comparison that runs on both.
//!
//! Relay and applier know only their own store and the transport. Either may be killed at any moment and started
//! again anywhere: what they need is in the stores.

pub mod applier;
pub mod command;
pub mod compare;
pub mod cut;
pub mod heard;
pub mod relay;
mod takeover;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::entry::{Hash, Mark, Position, Turn};
use crate::event::Reporter;
use crate::mapping::Layout;
use crate::store::{Lease, Store};

/// What both ends are given.
#[derive(Clone)]
pub struct Ends {
    pub store: Arc<dyn Store>,
    pub layout: Arc<Layout>,
    /// Hash of the table pairs: both ends must work by the same.
    pub mapping: Hash,
    /// Who we are, for the lease.
    pub holder: String,
    pub lease_ttl_ms: i64,
    pub reporter: Arc<dyn Reporter>,
}

impl Ends {
    /// Works for however long, and says meanwhile that the lease's holder lives: one transaction (a digest of a whole
    /// table) may well take longer than the lease runs.
    async fn alive<T>(&self, lease: &Lease, work: impl Future<Output = T>) -> T {
        let every = Duration::from_millis(lease.ttl_ms.unsigned_abs().max(30) / 3);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep(every) => {}
            }
            // What it can't say now (a busy store) it says the next time; safety is the epoch. Neither is cut off in the
            // middle: a session of the store would stay behind with its transaction open.
            let mut beat = std::pin::pin!(self.store.say_alive(&self.layout.migration, lease));
            let mut done = None;
            loop {
                tokio::select! {
                    result = &mut work, if done.is_none() => done = Some(result),
                    _ = &mut beat => break,
                }
            }
            if let Some(result) = done {
                return result;
            }
        }
    }
}

/// What the relay tells of itself, as it goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pulse {
    pub head: Mark,
    pub confirmed: Position,
    /// The last drained entry that the target has confirmed.
    pub drained: Position,
    pub in_flight: u64,
    pub lag_ms: i64,
    /// Rows that the target refused and that wait.
    pub parked: u64,
    /// Every table's backfill has been read, sent and confirmed.
    pub backfilled: bool,
    /// Nothing was dirty at the last look, and everything sealed is confirmed.
    pub in_sync: bool,
    /// Backfilled rows and bytes of rows sealed since this relay began.
    pub rows: u64,
    pub bytes: u64,
    /// Keys of `changes` entries sealed since this relay began.
    pub changes: u64,
    /// Everything was compared, and what changed since is known.
    pub compared: bool,
    /// By scope, the last change of owner of which this relay told the receiver, once that is confirmed.
    pub told: BTreeMap<Option<String>, u64>,
    /// New generations begun since this relay began.
    pub generations_begun: u64,
}

impl Pulse {
    pub fn has_told(&self, turns: &[Turn]) -> bool {
        turns.iter().all(|t| self.told.get(&t.scope).is_some_and(|told| *told >= t.turn))
    }
}
