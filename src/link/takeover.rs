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
use crate::log::order::{Course, course};
use crate::store::{SURVIVES, Side};
use crate::task::Stop;

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
        let known = self.ends.store.knows(&migration, self.ends.layout.link(), &report.mark).await?;
        self.remember_decision().await?;
        let survives = self.ends.store.get(&migration, Side::Source, SURVIVES).await?.unwrap_or_default();
        match course(&self.head, &report.mark, known) {
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

/// Behind all that either side has begun.
fn next_generation(head: &Mark, report: &Report) -> Generation {
    Generation(head.generation.0.max(report.mark.generation.0)).next()
}
