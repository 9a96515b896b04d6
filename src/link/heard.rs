//! What a relay makes of the target's reports: confirmations, verdicts, and doubt.

use std::time::{Duration, Instant};

use crate::entry::{Finding, Mark, Position, Report};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::log::codec;
use crate::log::order::{self, Standing};

use super::applier::refusal_error;
use super::relay::{KEEP_CONFIRMED, Relay};

/// Of rows that the receiver refused.
pub fn parked_text(count: u64) -> String {
    match count {
        1 => "1 row is parked: its receiver refuses it".to_owned(),
        _ => format!("{count} rows are parked: their receiver refuses them"),
    }
}

impl Relay {
    pub(super) async fn hear(&mut self, wait: Duration) -> Result<()> {
        match self.sender.report(wait).await? {
            Some(bytes) => self.take_report(codec::read_report(&bytes)?).await,
            None => Ok(()),
        }
    }

    pub(super) async fn take_report(&mut self, report: Report) -> Result<()> {
        self.reported = Instant::now();
        if let Some(refusal) = report.refusal.as_ref().filter(|_| report.epoch == self.lease.epoch) {
            return Err(refusal_error(&self.ends.layout, refusal));
        }
        if report.epoch > self.lease.epoch {
            self.ends.store.renew_lease(&self.ends.layout.migration, &self.lease).await?;
            return Err(Error::retry("the target has heard of a later relay"));
        }
        if report.broken && report.epoch == self.lease.epoch {
            return Err(Error::retry("the target misses a part of the log"));
        }
        let reported = Standing { mark: report.mark, epoch: report.epoch };
        let confirmed = order::confirmed(self.lease.epoch, self.head.generation, &reported);
        self.sender.confirmed(report.epoch, confirmed.unwrap_or_default()).await?;
        if confirmed.is_none() {
            return Ok(());
        }
        self.state.lag_ms = report.lag_ms;
        self.note_parked(report.parked);
        self.take_verdicts(&report);
        self.take_confirmation(&report.mark).await
    }

    /// With a row missing at the receiver nothing is handed over to it.
    fn note_parked(&mut self, parked: u64) {
        if parked > 0
            && let Some(handover) = &mut self.handover
        {
            handover
                .fail(Error::new(Kind::Gate, parked_text(parked)).hint("`migrate dead-letters list PLAN` names them"));
        }
        if parked > self.state.parked {
            let text = format!("{}: `migrate dead-letters list PLAN` names them", parked_text(parked));
            self.ends.reporter.event(&Event::Warning(text));
        }
        if parked != self.state.parked {
            self.state.parked = parked;
            self.publish();
        }
    }

    fn take_verdicts(&mut self, report: &Report) {
        for verdict in report.verdicts.iter().filter(|v| v.position > self.heard) {
            match &verdict.finding {
                Finding::Returned(keys) => self.returned.push((verdict.table, keys.clone())),
                _ => {
                    if let Some((pass, _)) = &mut self.pass {
                        pass.heard(verdict);
                    }
                    if let Some(handover) = &mut self.handover {
                        handover.heard(verdict);
                    }
                    if let Some(settling) = &mut self.settling {
                        settling.heard(verdict, &mut self.recent);
                    }
                }
            }
        }
        self.heard = self.heard.max(report.mark.position);
        if let Some((pass, _)) = &self.pass {
            pass.tell(&self.ends);
            if pass.is_done()
                && let Some((pass, reply)) = self.pass.take()
            {
                let result = pass.result();
                self.recent.pass_ends(result.mismatches == 0 && result.differences.is_empty());
                let _ = reply.send(result);
            }
        }
    }

    async fn take_confirmation(&mut self, mark: &Mark) -> Result<()> {
        let mut confirmed = None;
        while self.in_flight.front().is_some_and(|e| e.mark.position <= mark.position) {
            let Some(entry) = self.in_flight.pop_front() else { break };
            if entry.mark.position == mark.position && entry.mark.hash != mark.hash {
                return Err(Error::retry("the target has another entry at a position of ours"));
            }
            confirmed = Some(entry.mark.position);
            // Keys that came back are not there yet: a later entry brings them.
            if entry.drained && self.returned.is_empty() {
                self.state.drained = entry.mark.position;
            }
        }
        if mark.position < self.state.confirmed {
            return Err(Error::retry("the target was rewound"));
        }
        if mark.position > self.state.confirmed {
            self.moved = Instant::now();
        }
        let was = self.state.backfilled;
        self.state.confirmed = mark.position;
        if let Some(handover) = &mut self.handover {
            handover.confirmed(mark.position);
        }
        let arrived = |(at, _): &mut (Option<Position>, _)| at.is_some_and(|at| at <= mark.position);
        if let Some((_, reply)) = self.pinged.take_if(arrived) {
            let _ = reply.send(());
        }
        if let Some(opened) = self.telling.take_if(|o| o.position <= mark.position) {
            self.state.told.extend(opened.turns.into_iter().map(|t| (t.scope, t.turn)));
        }
        // Live changes behind the last chunk need no waiting for: they come for ever.
        self.state.backfilled |= self.todo.is_empty() && self.last_chunk <= mark.position;
        if let Some(position) = confirmed {
            self.ends.store.confirm(&self.ends.layout, &self.lease, position, KEEP_CONFIRMED).await?;
            self.publish();
        } else if self.state.backfilled != was {
            self.publish();
        }
        Ok(())
    }
}
