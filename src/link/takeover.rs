//! Taking over: how a relay that just took the lease, or came into doubt, finds where to go on.
//!
//! It announces its epoch and waits until the target has recorded it: after that nothing of an older relay can have
//! an effect any more, so the checkpoint that the target reports is final. From there the log is continued, rewound,
//! or, where the two histories do not meet, begun anew.

use std::time::{Duration, Instant};

use crate::entry::{Announcement, Generation, Link, Mark, Report};
use crate::error::Result;
use crate::event::Event;
use crate::log::codec;
use crate::log::order::{Course, Traces, course};
use crate::store::{BEGAN, LinkState, SURVIVES, Side};
use crate::task::Stop;

use super::Ends;
use super::relay::Relay;

/// The announcement is repeated this often while the target is silent: it may have missed the first.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(10);

impl Relay {
    /// After this the relay's head, its store's log and the target agree. `None`: asked to stop meanwhile.
    pub(super) async fn take_over(&mut self, stop: &Stop) -> Result<Option<()>> {
        let migration = self.ends.layout.migration.clone();
        // Ours or free: its epoch grows, also past one whose commit we never heard of.
        let (link, ttl_ms) = (self.ends.layout.link(), self.lease.ttl_ms);
        self.lease = self.ends.store.take_lease(&migration, link, Side::Source, &self.lease.holder, ttl_ms).await?;
        let Some(report) = self.announce(stop).await? else { return Ok(None) };
        let state = self.ends.store.link_state(&migration, self.ends.layout.link(), Side::Source).await?;
        self.head = state.mark;
        self.forget_in_flight();
        let traces = traces(&self.ends, &state, &report).await?;
        self.remember_decision().await?;
        let survives = self.ends.store.get(&migration, Side::Source, SURVIVES).await?.unwrap_or_default();
        match course(&self.head, &report.mark, traces) {
            // A person named the store that counts, so what only the other one has may be overwritten.
            _ if !survives.is_empty() => {
                self.begin_next(next_generation(&self.head, &report), survives == "copied").await?
            }
            _ if self.begin_anew => self.begin_generation(&report, "capture was not whole all the time").await?,
            Course::Continue => {}
            Course::RewindTo(mark) => {
                self.ends.store.rewind(&self.ends.layout, &self.lease, self.head, mark).await?;
                self.head = mark;
            }
            Course::BeginAgain => self.begin_again(&report).await?,
            Course::NewGeneration => {
                let why = "what the target has is not what the source's log says: one of them was rewound";
                self.begin_generation(&report, why).await?;
            }
        }
        self.note_progress().await?;
        self.take_report(report).await?;
        Ok(Some(()))
    }

    /// Announces until the target reports our epoch. An epoch above ours that the target has recorded (our store was
    /// restored from before it) is overtaken.
    async fn announce(&mut self, stop: &Stop) -> Result<Option<Report>> {
        let mut announced: Option<Instant> = None;
        let mut warned = false;
        let began = Instant::now();
        loop {
            if stop.requested().is_some() {
                return Ok(None);
            }
            self.renew().await?;
            if announced.is_none_or(|at: Instant| at.elapsed() >= ANNOUNCE_EVERY) {
                let migration = self.ends.layout.migration.clone();
                if announced.is_some() {
                    self.lease = self.ends.store.raise_epoch(&migration, &self.lease, self.lease.epoch).await?;
                }
                let a = Announcement { migration, link: self.ends.layout.link(), epoch: self.lease.epoch };
                self.sender.announce(self.lease.epoch, codec::write_announcement(&a)).await?;
                announced = Some(Instant::now());
            }
            if !warned && began.elapsed() > Duration::from_secs(10) {
                warned = true;
                self.ends.reporter.event(&Event::Warning("waiting for the target's side to answer".into()));
            }
            let Some(bytes) = self.sender.report(Duration::from_millis(100)).await? else { continue };
            let report = codec::read_report(&bytes)?;
            if report.epoch == self.lease.epoch {
                return Ok(Some(report));
            }
            if report.epoch > self.lease.epoch {
                let migration = self.ends.layout.migration.clone();
                self.lease = self.ends.store.raise_epoch(&migration, &self.lease, report.epoch).await?;
                announced = None;
            }
        }
    }

    /// Killed between the seal that began a generation and its arrival: what it had taken is dirty again.
    async fn begin_again(&mut self, report: &Report) -> Result<()> {
        let (layout, start) = (self.ends.layout.clone(), beginning(&self.head));
        let began = self.ends.store.get(&layout.migration, Side::Source, BEGAN).await?;
        self.ends.store.rewind(&layout, &self.lease, self.head, start).await?;
        self.head = start;
        self.begin_next(next_generation(&start, report), began.as_deref() == Some("copied")).await
    }

    async fn begin_next(&mut self, generation: Generation, copied: bool) -> Result<()> {
        self.begin(generation, copied).await?;
        self.begin_anew = false;
        Ok(())
    }

    /// The way back's first generation has nothing to copy: it begins where the forward link's fence made both equal.
    async fn begin_generation(&mut self, report: &Report, why: &str) -> Result<()> {
        let first = self.head.generation.0 == 0 && report.mark.generation.0 == 0 && !self.begin_anew;
        let copied = self.ends.layout.link() == Link::Reverse && first;
        if !copied {
            self.refuse_to_begin_anew(why).await?;
        }
        let generation = next_generation(&self.head, report);
        if generation.0 > 1 && report.mark.position.0 > 0 {
            let text = format!("generation {generation} begins, all rows are copied anew: {why}");
            self.ends.reporter.event(&Event::Warning(text));
        }
        self.begin_next(generation, copied).await
    }
}

async fn traces(ends: &Ends, state: &LinkState, report: &Report) -> Result<Traces> {
    let (layout, store) = (&ends.layout, &ends.store);
    let knows = async |mark: &Mark| store.knows(&layout.migration, layout.link(), mark).await;
    let known = knows(&report.mark).await?;
    // How an older version's generation began nobody knows.
    let noted = store.get(&layout.migration, Side::Source, BEGAN).await?.is_some_and(|how| !how.is_empty());
    let unheard = noted && state.confirmed.0 == 0 && knows(&beginning(&state.mark)).await?;
    Ok(Traces { known, unheard })
}

/// Before the first entry of its generation.
fn beginning(mark: &Mark) -> Mark {
    Mark { generation: mark.generation, ..Mark::default() }
}

/// Behind all that either side has begun.
fn next_generation(head: &Mark, report: &Report) -> Generation {
    Generation(head.generation.0.max(report.mark.generation.0)).next()
}
