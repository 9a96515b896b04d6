//! The applier: takes entries from the transport in order and applies those that extend the chain, each with its
//! checkpoint in one target transaction; tells the relay where it stands.
//!
//! Effects are exactly once: whatever arrives is judged against the checkpoint, and the transaction proves that the
//! checkpoint is still there.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::entry::{Control, Entry, Refs, Refusal, Report, Verdict};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::log::codec;
use crate::log::order::{Arrival, Standing, judge};
use crate::store::{Applied, Lease, LinkState, Side};
use crate::task::Stop;
use crate::transport::{Incoming, Receiver, Transport};

use super::Ends;

/// Entries applied in one transaction, at the most.
const BATCH_ENTRIES: usize = 64;
const BATCH_BYTES: usize = 8 << 20;
/// A report goes out at least this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

pub struct Applier<'a> {
    ends: &'a Ends,
    receiver: Box<dyn Receiver>,
    lease: Lease,
    standing: Standing,
    verdicts: Vec<Verdict>,
    lag_ms: i64,
    /// Rows that wait. A person may take some away, so it is counted anew while there are any.
    parked: u64,
    broken: bool,
    /// A row of the next entry is refused. Nothing is applied until a relay begins again: what it then sends is what
    /// the source holds by then, and the refused entry, which the stream may keep for long, is void.
    refusal: Option<Refusal>,
    reported: Instant,
    renewed: Instant,
}

/// Runs until `stop`; `Retry` errors have been retried inside. The lease is given back at the end.
pub async fn run(ends: Ends, transport: &dyn Transport, stop: &Stop) -> Result<()> {
    let migration = ends.layout.migration.clone();
    let lease =
        ends.store.take_lease(&migration, ends.layout.link(), Side::Target, &ends.holder, ends.lease_ttl_ms).await?;
    let result = follow(&ends, transport, &lease, stop).await;
    // Best effort: a lease that is not given back expires.
    let _ = ends.store.release_lease(&migration, &lease).await;
    result
}

async fn follow(ends: &Ends, transport: &dyn Transport, lease: &Lease, stop: &Stop) -> Result<()> {
    let mut pause = Duration::from_millis(50);
    while stop.requested().is_none() {
        let began = Instant::now();
        let result = match Applier::start(ends, transport, lease.clone()).await {
            Ok(mut applier) => applier.run(stop).await,
            Err(e) => Err(e),
        };
        match result {
            Err(e) if e.is_retry() => {
                if began.elapsed() > Duration::from_secs(10) {
                    pause = Duration::from_millis(50);
                }
                ends.reporter.event(&Event::Warning(format!("the target's side begins again: {e}")));
                stop.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            other => return other,
        }
    }
    Ok(())
}

impl<'a> Applier<'a> {
    async fn start(ends: &'a Ends, transport: &dyn Transport, lease: Lease) -> Result<Self> {
        let migration = ends.layout.migration.as_str();
        ends.store.renew_lease(migration, &lease).await?;
        let state = ends.store.link_state(migration, ends.layout.link(), Side::Target).await?;
        let verdicts = ends.store.verdicts(&ends.layout, ends.layout.link()).await?;
        let parked = ends.store.parked_count(migration).await?;
        let receiver = transport.receiver().await?;
        let now = Instant::now();
        let (standing, lag_ms) = (standing_of(&state), state.lag_ms);
        Ok(Self {
            ends,
            receiver,
            lease,
            standing,
            verdicts,
            lag_ms,
            parked,
            broken: false,
            refusal: None,
            reported: now,
            renewed: now,
        })
    }

    async fn run(&mut self, stop: &Stop) -> Result<()> {
        self.report().await?;
        let mut pending: Vec<(Entry, usize)> = Vec::new();
        while stop.requested().is_none() {
            self.renew().await?;
            let wait = if pending.is_empty() { Duration::from_millis(200) } else { Duration::ZERO };
            match self.receiver.next(wait).await? {
                Some(Incoming::Entry(bytes)) => {
                    let (size, entry) = (bytes.len(), self.read(&bytes));
                    // Rows are held once: they may be many megabytes.
                    drop(bytes);
                    match entry {
                        Ok(entry) => {
                            let alone = is_chunk(&entry);
                            if !batches_with(&pending, &entry, size) {
                                self.take(&mut pending).await?;
                            }
                            pending.push((entry, size));
                            if alone {
                                self.take(&mut pending).await?;
                            }
                        }
                        Err(e) => {
                            self.take(&mut pending).await?;
                            self.mistrust(&e).await?;
                        }
                    }
                }
                Some(Incoming::Announced(bytes)) => {
                    self.take(&mut pending).await?;
                    self.announced(&bytes).await?;
                }
                None => self.take(&mut pending).await?,
            }
            if self.reported.elapsed() >= REPORT_EVERY {
                if self.parked > 0 {
                    self.parked = self.ends.store.parked_count(&self.ends.layout.migration).await?;
                }
                self.report().await?;
            }
        }
        Ok(())
    }

    fn read(&self, bytes: &Bytes) -> Result<Entry> {
        let entry = codec::read_entry(bytes)?;
        if entry.header.migration != self.ends.layout.migration {
            let text = format!("the stream carries migration \"{}\"", entry.header.migration);
            return Err(
                Error::changed(text).hint("check \"events\" in the plan: each migration has a stream of its own")
            );
        }
        Ok(entry)
    }

    async fn announced(&mut self, bytes: &Bytes) -> Result<()> {
        let announcement = codec::read_announcement(bytes)?;
        if announcement.migration == self.ends.layout.migration && announcement.epoch > self.standing.epoch {
            let migration = self.ends.layout.migration.as_str();
            let state = self.ends.store.record_epoch(migration, &self.lease, announcement.epoch).await?;
            self.standing = standing_of(&state);
        }
        if announcement.epoch >= self.standing.epoch {
            self.broken = false;
            self.refusal = None;
            self.report().await?;
        }
        Ok(())
    }

    /// Applies what was gathered, as far as it extends the chain.
    async fn take(&mut self, pending: &mut Vec<(Entry, usize)>) -> Result<()> {
        if self.is_stuck() {
            pending.clear();
        }
        let mut at = self.standing;
        let mut good: Vec<Entry> = Vec::new();
        for (entry, _) in pending.drain(..) {
            match judge(&at, &entry.header, &entry.refs) {
                Arrival::Extends | Arrival::Begins => {
                    if let Err(e) = self.check_mapping(&entry) {
                        self.ends.reporter.event(&Event::Warning(e.to_string()));
                        self.broken = true;
                        break;
                    }
                    at = Standing { mark: entry.mark(), epoch: entry.header.epoch };
                    good.push(entry);
                }
                Arrival::Skip => {}
                Arrival::Break => self.broken = true,
            }
            if self.broken {
                break;
            }
        }
        pending.clear();
        if !good.is_empty() {
            self.apply(&good).await?;
        }
        if self.broken { self.report().await } else { Ok(()) }
    }

    /// A message that can't be ours (a flipped bit, a stranger's) has no effect; a relay sends again what is missing.
    async fn mistrust(&mut self, error: &Error) -> Result<()> {
        self.ends.reporter.event(&Event::Warning(error.to_string()));
        self.broken = true;
        self.report().await
    }

    fn check_mapping(&self, entry: &Entry) -> Result<()> {
        match &entry.refs {
            Refs::Control(Control::Begin { mapping }) if *mapping != self.ends.mapping => Err(Error::changed(
                "the stream carries entries of another plan under this migration's name: they are left out",
            )),
            _ => Ok(()),
        }
    }

    async fn apply(&mut self, entries: &[Entry]) -> Result<()> {
        let (ends, from) = (self.ends, self.standing.mark);
        let applied = ends.alive(&self.lease, ends.store.apply(&ends.layout, &self.lease, from, entries)).await;
        match applied {
            Ok(Applied::Done { verdicts, lag_ms, parked }) => {
                self.parked = parked;
                self.done(entries, verdicts, lag_ms).await
            }
            Ok(Applied::Moved) => {
                let state = ends.store.link_state(&ends.layout.migration, ends.layout.link(), Side::Target).await?;
                self.standing = standing_of(&state);
                self.broken = true;
                Ok(())
            }
            // Which one of several: one at a time, so that all before it are kept.
            Ok(Applied::Refused(_)) if entries.len() > 1 => self.apply_singly(entries).await,
            Err(e) if e.kind == Kind::GiveUp && entries.len() > 1 => self.apply_singly(entries).await,
            Ok(Applied::Refused(refusal)) => {
                self.refusal = Some(refusal);
                self.report().await
            }
            Err(e) => Err(e),
        }
    }

    async fn done(&mut self, entries: &[Entry], verdicts: Vec<Verdict>, lag_ms: i64) -> Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        if entries.iter().any(|e| matches!(e.refs, Refs::Control(Control::Begin { .. }))) {
            self.verdicts.clear();
        }
        self.standing = Standing { mark: last.mark(), epoch: last.header.epoch };
        self.verdicts.retain(|v| v.position > last.header.heard);
        self.verdicts.extend(verdicts);
        self.lag_ms = lag_ms;
        self.report().await
    }

    async fn apply_singly(&mut self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            Box::pin(self.apply(std::slice::from_ref(entry))).await?;
            if self.is_stuck() {
                break;
            }
        }
        Ok(())
    }

    fn is_stuck(&self) -> bool {
        self.broken || self.refusal.is_some()
    }

    async fn renew(&mut self) -> Result<()> {
        if self.renewed.elapsed() >= Duration::from_millis(self.lease.ttl_ms.unsigned_abs() / 3) {
            self.ends.store.renew_lease(&self.ends.layout.migration, &self.lease).await?;
            self.renewed = Instant::now();
        }
        Ok(())
    }

    async fn report(&mut self) -> Result<()> {
        let report = Report {
            mark: self.standing.mark,
            epoch: self.standing.epoch,
            broken: self.broken,
            verdicts: self.verdicts.clone(),
            refusal: self.refusal.clone(),
            parked: self.parked,
            lag_ms: self.lag_ms,
        };
        self.reported = Instant::now();
        self.receiver.report(codec::write_report(&report)).await
    }
}

fn is_chunk(entry: &Entry) -> bool {
    matches!(entry.refs, Refs::Chunk { .. })
}

/// Chunks go by themselves: the store applies them under other rules.
fn batches_with(pending: &[(Entry, usize)], entry: &Entry, size: usize) -> bool {
    let bytes: usize = pending.iter().map(|(_, s)| s).sum();
    let alike = pending.last().is_none_or(|(last, _)| !is_chunk(last) && !is_chunk(entry));
    alike && pending.len() < BATCH_ENTRIES && bytes + size <= BATCH_BYTES
}

fn standing_of(state: &LinkState) -> Standing {
    Standing { mark: state.mark, epoch: state.epoch }
}

/// A refusal as people read it: which table, which key (masked), why.
pub fn refusal_error(layout: &crate::mapping::Layout, refusal: &Refusal) -> Error {
    let map = layout.table(refusal.table);
    let (table, columns) = match map {
        Some(map) => (map.target.to_string(), map.target_key().map(|c| c.target.name.clone()).collect::<Vec<_>>()),
        None => (refusal.table.to_string(), vec![]),
    };
    let key = columns.join(", ");
    let text = format!(
        "the target refuses a row of table \"{table}\" (key \"{key}\" = {}) at position {}: {}",
        super::compare::show_key(&refusal.key, false),
        refusal.position,
        refusal.reason
    );
    Error::give_up(text).hint("mend the row at the source or the target's constraint, then run the same command again; nothing is lost meanwhile")
}
