//! The relay: seals the source's dirty keys, ranges and digests into entries, and sends them in order.
//!
//! Only one holds the lease; any doubt (a lost acknowledgement, a broken chain at the target) leads through
//! [`super::takeover`], which asks the target where it stands. What the target has not confirmed is bounded, so the
//! log at the source is too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::entry::{Control, Generation, Hash, Mark, Position, TableId};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Stage};
use crate::store::{Lease, SealRequest, Sealed, Side, Work};
use crate::task::{Stop, failpoint};
use crate::transport::{Sender, Transport};
use crate::value::Key;

use super::command::Command;
use super::compare::{Pass, PassResult};
use super::cut::{Handover, Opened, Recent, Settling};
use super::{Ends, Pulse};

/// Unconfirmed entries and bytes, at the most.
const IN_FLIGHT_ENTRIES: usize = 256;
const IN_FLIGHT_BYTES: u64 = 16 << 20;
/// Dirty keys and bytes of rows in one seal.
const SEAL_KEYS: u64 = 5_000;
const SEAL_BYTES: u64 = 4 << 20;
/// Confirmed entries whose references are kept, so that a short rewind of the target can be replayed.
pub(super) const KEEP_CONFIRMED: u64 = 1_000;
/// How long the target may report, being idle, that it has nothing new while something is on its way.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(10);
/// A target that is busy does not report; an idle one does every second.
const IDLE_REPORT: Duration = Duration::from_secs(3);
/// How often capture is looked at where nothing is dirty: triggers that were switched off leave no other trace.
const LOOK_AT_CAPTURE: Duration = Duration::from_secs(1);
/// How long the relay sleeps where nothing is dirty.
const IDLE: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub chunk_rows: u64,
    pub chunk_bytes: u64,
}

/// What a request says of where the relay is.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    head: Mark,
    may_drain: bool,
    settled: bool,
    heard: Position,
}

impl Terms {
    pub fn request<'a>(
        self,
        ends: &'a Ends,
        lease: &'a Lease,
        work: &Work,
        returned: &'a [(TableId, Vec<Key>)],
    ) -> SealRequest<'a> {
        let Terms { head, may_drain, settled, heard } = self;
        let (layout, max_keys, max_bytes, work) = (ends.layout.as_ref(), SEAL_KEYS, SEAL_BYTES, work.clone());
        SealRequest { layout, lease, head, max_keys, max_bytes, may_drain, settled, heard, work, returned }
    }
}

pub(super) struct InFlight {
    pub mark: Mark,
    pub bytes: u64,
    pub drained: bool,
}

pub struct Relay {
    pub(super) ends: Ends,
    pub(super) sender: Box<dyn Sender>,
    pub(super) lease: Lease,
    pub(super) head: Mark,
    pub(super) begin_anew: bool,
    pub(super) bounds: Bounds,
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) unsent: VecDeque<(Position, Bytes)>,
    pub(super) returned: Vec<(TableId, Vec<Key>)>,
    pub(super) heard: Position,
    /// The last chunk that this relay sealed.
    pub(super) last_chunk: Position,
    /// The last seal left nothing dirty.
    pub(super) caught_up: bool,
    /// When a report last brought something new, or nothing was on its way.
    pub(super) moved: Instant,
    /// When a report last arrived.
    pub(super) reported: Instant,
    /// Tables whose backfill is not read to its end, in plan order, and rows so far.
    pub(super) todo: VecDeque<TableId>,
    totals: Vec<(TableId, u64)>,
    pub(super) pass: Option<(Pass, oneshot::Sender<PassResult>)>,
    pub(super) recent: Recent,
    pub(super) settling: Option<Settling>,
    pub(super) handover: Option<Handover>,
    /// A decision that the receiver may not know of, and the one that is on its way.
    pub(super) to_tell: Option<Control>,
    pub(super) telling: Option<Opened>,
    pub(super) pinged: Option<(Option<Position>, oneshot::Sender<()>)>,
    pub(super) pulse: watch::Sender<Pulse>,
    pub(super) state: Pulse,
    renewed: Instant,
    sealed_at: Instant,
}

/// How a relay is started.
pub struct Start {
    pub ends: Ends,
    pub bounds: Bounds,
    /// Begin a new generation whatever the target says (capture was not whole).
    pub begin_anew: bool,
    /// Estimated rows per table, for progress.
    pub totals: Vec<(TableId, u64)>,
    pub pulse: watch::Sender<Pulse>,
    /// Told when the lease is had.
    pub leased: Option<oneshot::Sender<()>>,
}

/// Runs until `stop`. `Retry` errors are retried inside; the lease is given back at the end.
pub async fn run(
    mut start: Start,
    transport: &dyn Transport,
    commands: mpsc::Receiver<Command>,
    stop: &Stop,
) -> Result<()> {
    let (ends, migration) = (start.ends.clone(), start.ends.layout.migration.clone());
    let lease =
        ends.store.take_lease(&migration, ends.layout.link(), Side::Source, &ends.holder, ends.lease_ttl_ms).await?;
    if let Some(leased) = start.leased.take() {
        // Nobody may wait for it.
        let _ = leased.send(());
    }
    let result = follow(start, transport, lease.clone(), commands, stop).await;
    let state = ends.store.link_state(&migration, ends.layout.link(), Side::Source).await;
    let epoch = state.map(|s| s.lease_epoch).unwrap_or(lease.epoch);
    // Best effort: a lease that is not given back expires.
    let _ = ends.store.release_lease(&migration, &Lease { epoch, ..lease }).await;
    result
}

async fn follow(
    start: Start,
    transport: &dyn Transport,
    lease: Lease,
    mut commands: mpsc::Receiver<Command>,
    stop: &Stop,
) -> Result<()> {
    let mut relay = Relay::new(start, transport.sender().await?, lease);
    let mut pause = Duration::from_millis(50);
    while stop.requested().is_none() {
        let began = Instant::now();
        match relay.session(&mut commands, stop).await {
            Err(e) if e.is_retry() => {
                if began.elapsed() > Duration::from_secs(10) {
                    pause = Duration::from_millis(50);
                }
                relay.ends.reporter.event(&Event::Warning(format!("the source's side begins again: {e}")));
                if let Some(mut handover) = relay.handover.take() {
                    handover.fail(e);
                }
                stop.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            other => return other,
        }
    }
    Ok(())
}

impl Relay {
    fn new(start: Start, sender: Box<dyn Sender>, lease: Lease) -> Self {
        let state = Pulse::default();
        Self {
            ends: start.ends,
            sender,
            lease,
            head: Mark::default(),
            begin_anew: start.begin_anew,
            bounds: start.bounds,
            in_flight: VecDeque::new(),
            unsent: VecDeque::new(),
            returned: vec![],
            heard: Position(0),
            last_chunk: Position(0),
            caught_up: false,
            moved: Instant::now(),
            reported: Instant::now(),
            todo: VecDeque::new(),
            totals: start.totals,
            pass: None,
            recent: Recent::default(),
            settling: None,
            handover: None,
            to_tell: None,
            telling: None,
            pinged: None,
            pulse: start.pulse,
            state,
            renewed: Instant::now(),
            sealed_at: Instant::now(),
        }
    }

    async fn session(&mut self, commands: &mut mpsc::Receiver<Command>, stop: &Stop) -> Result<()> {
        if self.take_over(stop).await?.is_none() {
            return Ok(());
        }
        while stop.requested().is_none() {
            while let Ok(command) = commands.try_recv() {
                self.obey(command).await?;
            }
            self.step().await?;
        }
        // What was sealed is sent before we go; whoever comes next finds the rest in the stores.
        self.send_unsent().await?;
        self.sender.settle().await
    }

    /// One round: hear the target, send what waits, seal what is there.
    async fn step(&mut self) -> Result<()> {
        self.renew().await?;
        self.sender.settle().await?;
        self.hear(Duration::ZERO).await?;
        self.send_unsent().await?;
        if !self.has_room() || self.caught_up && self.in_flight.iter().any(|e| !e.drained) {
            // Behind an undrained entry that took all there was, its confirmation lets the next one be drained.
            self.watch_arrivals()?;
            return self.hear(Duration::from_millis(50)).await;
        }
        let work = self.next_work();
        // Behind a fence only a new snapshot says that nothing is left.
        let drains = self.handover.as_ref().is_some_and(Handover::is_draining);
        if work == Work::Nothing
            && !drains
            && self.returned.is_empty()
            && !self.ends.store.anything_dirty(&self.ends.layout).await?
        {
            self.watch_arrivals()?;
            let settled = self.in_flight.is_empty() && self.unsent.is_empty();
            self.set_in_sync(settled);
            if settled && self.sealed_at.elapsed() >= LOOK_AT_CAPTURE {
                return self.seal(Work::Nothing).await;
            }
            return self.hear(if settled { IDLE } else { Duration::from_millis(2) }).await;
        }
        self.seal(work).await
    }

    /// What was sent may be gone for good (a wiped stream, an applier that began again) with nothing behind it that
    /// would show the gap.
    fn watch_arrivals(&mut self) -> Result<()> {
        if self.in_flight.is_empty() {
            self.moved = Instant::now();
        } else if self.moved.elapsed() > ARRIVAL_PATIENCE && self.reported.elapsed() < IDLE_REPORT {
            return Err(Error::retry("what was sent does not arrive at the target"));
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let bytes: u64 = self.in_flight.iter().map(|e| e.bytes).sum();
        self.unsent.is_empty()
            && self.sender.has_room()
            && self.in_flight.len() < IN_FLIGHT_ENTRIES
            && bytes < IN_FLIGHT_BYTES
    }

    /// Backfill first; a comparison only when everything that it compares is confirmed at the target.
    fn next_work(&mut self) -> Work {
        if self.in_flight.iter().any(|e| !e.drained) {
            return Work::Nothing;
        }
        if let Some(&table) = self.todo.front() {
            let Bounds { chunk_rows, chunk_bytes } = self.bounds;
            return Work::Chunk { table, max_rows: chunk_rows, max_bytes: chunk_bytes };
        }
        if let Some(control) = &self.to_tell {
            return Work::Tell(control.clone());
        }
        if let Some(handover) = &mut self.handover {
            return handover.work(self.caught_up, &self.recent);
        }
        if let Some(settling) = &mut self.settling {
            let work = settling.work(&self.recent);
            self.settling.take_if(|s| s.is_done());
            return work;
        }
        match &mut self.pass {
            Some((pass, _)) if self.state.backfilled => match pass.next_tasks() {
                tasks if tasks.is_empty() => Work::Nothing,
                tasks => Work::Compare(tasks),
            },
            _ => Work::Nothing,
        }
    }

    async fn seal(&mut self, work: Work) -> Result<()> {
        let returned = std::mem::take(&mut self.returned);
        let request = self.terms().request(&self.ends, &self.lease, &work, &returned);
        let sealed = self.ends.alive(&self.lease, self.ends.store.seal(request)).await;
        let sealed = match sealed {
            // Nothing was sealed, and nobody decides by this fence any more; the link goes on.
            Err(e) if matches!(work, Work::Fence { .. }) && e.kind == Kind::Gate => {
                if let Some(mut handover) = self.handover.take() {
                    handover.fail(e);
                }
                self.returned = returned;
                return Ok(());
            }
            other => other?,
        };
        self.sealed_at = Instant::now();
        if matches!(work, Work::Begin { .. }) {
            // Begun here, and nobody has heard of it.
            failpoint("link.begun");
        }
        if sealed.overflowed {
            let text = "capture stopped at \"backlog_limit\", later changes were not recorded: a new generation begins";
            self.begin_anew = true;
            return Err(Error::retry(text));
        }
        if let (Work::Compare(tasks), Some((pass, _))) = (&work, &mut self.pass) {
            let entry = sealed.entries.iter().find(|e| e.name == "digest");
            pass.asked(tasks, entry.map(|e| e.mark.position), &sealed.ends);
        }
        if let Some(handover) = &mut self.handover {
            if sealed.breached {
                handover.breached();
            }
            handover.sealed(&work, &sealed);
        }
        if let Some(settling) = &mut self.settling {
            settling.sealed(&work, &sealed);
        }
        self.told(&work, &sealed);
        self.note_sealed(&sealed, &work);
        self.send_unsent().await
    }

    pub(super) fn terms(&self) -> Terms {
        let may_drain = self.in_flight.iter().all(|e| e.drained);
        Terms { head: self.head, may_drain, settled: self.state.backfilled, heard: self.heard }
    }

    pub(super) fn note_sealed(&mut self, sealed: &Sealed, work: &Work) {
        self.head = sealed.head;
        self.caught_up = sealed.caught_up;
        self.state.in_sync &= sealed.entries.is_empty();
        for entry in &sealed.entries {
            self.in_flight.push_back(InFlight {
                mark: entry.mark,
                bytes: entry.bytes.len() as u64,
                drained: entry.drained,
            });
            self.unsent.push_back((entry.mark.position, entry.bytes.clone()));
            match entry.name {
                "changes" => {
                    self.state.changes += entry.rows;
                    self.recent.changed(&entry.keys, entry.mark.position);
                }
                "chunk" => {
                    self.last_chunk = entry.mark.position;
                    self.state.rows += entry.rows;
                    self.state.bytes += entry.bytes.len() as u64;
                }
                _ => {}
            }
        }
        if let (Some((table, progress)), Work::Chunk { .. }) = (&sealed.progress, work) {
            if progress.done {
                self.todo.retain(|t| t != table);
            }
            self.tell_table(*table, progress.rows, progress.done);
        }
        self.publish();
    }

    fn tell_table(&self, table: TableId, rows: u64, done: bool) {
        let Some(map) = self.ends.layout.table(table) else { return };
        let total = self.totals.iter().find(|(t, _)| *t == table).map_or(0, |(_, n)| *n).max(rows);
        let rows_total = if done { rows } else { total };
        let event =
            Event::Table { table: self.ends.layout.source_label(map), stage: Stage::Backfill, rows, rows_total, done };
        self.ends.reporter.event(&event);
    }

    pub(super) async fn send_unsent(&mut self) -> Result<()> {
        while self.sender.has_room()
            && let Some((position, bytes)) = self.unsent.pop_front()
        {
            self.sender.send(position, bytes).await?;
        }
        Ok(())
    }

    pub(super) async fn renew(&mut self) -> Result<()> {
        if self.renewed.elapsed() >= Duration::from_millis(self.lease.ttl_ms.unsigned_abs() / 3) {
            self.ends.store.renew_lease(&self.ends.layout.migration, &self.lease).await?;
            self.renewed = Instant::now();
        }
        Ok(())
    }

    pub(super) fn forget_in_flight(&mut self) {
        self.in_flight.clear();
        self.telling = None;
        self.pinged = None;
        self.settling = None;
        self.unsent.clear();
        self.returned.clear();
        self.heard = Position(0);
        self.last_chunk = Position(0);
        self.caught_up = false;
        self.moved = Instant::now();
        self.state.confirmed = Position(0);
        self.state.drained = Position(0);
        self.state.backfilled = false;
        self.state.in_sync = false;
        if let Some((pass, _)) = &mut self.pass {
            pass.restart();
        }
    }

    pub(super) async fn begin(&mut self, generation: Generation, copied: bool) -> Result<()> {
        self.recent.forget();
        if copied {
            self.recent.begins_equal();
        }
        let mapping: Hash = self.ends.mapping;
        self.heard = Position(0);
        self.seal(Work::Begin { generation, mapping, copied }).await?;
        self.state.generations_begun += 1;
        Ok(())
    }

    /// Reads how far each table is, after a take-over.
    pub(super) async fn note_progress(&mut self) -> Result<()> {
        self.todo.clear();
        for (table, progress) in self.ends.store.progress(&self.ends.layout).await? {
            if !progress.done {
                self.tell_table(table, progress.rows, false);
                self.todo.push_back(table);
            }
        }
        Ok(())
    }

    fn set_in_sync(&mut self, in_sync: bool) {
        let idle_backfill = self.todo.is_empty();
        if self.state.in_sync != (in_sync && idle_backfill) {
            self.state.in_sync = in_sync && idle_backfill;
            self.publish();
        }
    }

    pub(super) fn publish(&mut self) {
        self.state.head = self.head;
        self.state.in_flight = self.in_flight.len() as u64;
        self.state.compared = self.recent.is_known();
        let (position, confirmed) = (self.head.position.0, self.state.confirmed.0);
        let event = Event::Stream { position, confirmed, in_flight: self.state.in_flight, lag_ms: self.state.lag_ms };
        self.ends.reporter.event(&event);
        self.pulse.send_replace(self.state.clone());
    }
}
