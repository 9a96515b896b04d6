//! `migrate verify`: compares everything, exactly, while writes go on; by itself, or through the process that hosts
//! the links.

use std::time::{Duration, Instant};

use crate::entry::Link;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::link::compare::PassResult;
use crate::mapping::BACK;
use crate::store::{LinkState, Side};

use super::apply::OF_TARGET;
use super::install::capture_holds;
use super::outcome;
use super::owner::Owner;
use super::report::VerifyReport;
use super::session::Session;
use super::survey::Survey;

/// How often the answer of a host is looked for.
const ANSWER_EVERY: Duration = Duration::from_millis(200);

impl Session {
    pub async fn verify(&self, show_values: bool, repair: bool) -> Result<VerifyReport> {
        let began = Instant::now();
        let survey = self.survey().await?;
        self.check_begun(&survey).await?;
        self.check_same_plan(&survey).await?;
        self.refuse_while_parked(&survey).await?;
        let held = self.held().await?;
        let ownership = match &held {
            Some(_) => self.agreed(survey.layout()).await?,
            None => self.settle_owner(&survey).await?,
        };
        let mut all: Option<VerifyReport> = None;
        for owner in ownership.senders() {
            let result = match &held {
                Some(_) => self.verify_there(owner, repair).await?,
                None => self.verify_here(&survey, owner, repair).await?,
            };
            let report = self.present(&self.way_of(&survey, owner)?, &result, show_values).await?;
            all = Some(match all {
                Some(before) => before.and(report),
                None => report,
            });
        }
        let mut report = all.unwrap_or_default();
        self.note_verify(Some(&report)).await?;
        report.wall_ms = began.elapsed().as_millis() as u64;
        report.run_by = held.unwrap_or_else(|| "this process".to_owned());
        Ok(report)
    }

    /// What this side owns, compared by the process that hosts its link.
    async fn verify_there(&self, owner: Owner, repair: bool) -> Result<PassResult> {
        let of = if owner == Owner::Target { OF_TARGET } else { "" };
        let result = self.ask_host(&format!("verify{of}"), "{}").await?;
        if repair && !result.differences.is_empty() {
            self.ask_host(&format!("repair{of}"), &outcome::write(&result)).await?;
        }
        Ok(result)
    }

    pub(super) async fn check_begun(&self, survey: &Survey) -> Result<()> {
        let begun = self.is_installed().await?
            && self.source.link_state(self.migration(), Link::Forward, Side::Source).await?.mark.generation.0 > 0
            && self.source.progress(survey.layout()).await?.iter().all(|(_, p)| p.done);
        if begun {
            return Ok(());
        }
        let text =
            format!("migration \"{}\" has not been backfilled, so there is nothing to compare", self.migration());
        Err(Error::new(Kind::Gate, text).hint(self.command("apply")))
    }

    /// Who holds a giver's lease now, of either link, if anybody alive does.
    pub(super) async fn held(&self) -> Result<Option<String>> {
        let forward = async || self.source.link_state(self.migration(), Link::Forward, Side::Source).await;
        let state = forward().await?;
        if is_alive(&state) {
            return Ok(state.holder);
        }
        let back = format!("{}{BACK}", self.migration());
        if !self.target.is_installed(&back, Side::Source).await? {
            return Ok(None);
        }
        let state = self.target.link_state(&back, Link::Reverse, Side::Source).await?;
        if is_alive(&state) {
            return Ok(state.holder);
        }
        // A host that turned round between the two looks is at the first one by now.
        let state = forward().await?;
        Ok(if is_alive(&state) { state.holder } else { None })
    }

    /// After a host died: until each lease that it may have had is free, or somebody else hosts.
    pub(super) async fn wait_for_leases(&self) -> Result<()> {
        let (m, back) = (self.migration(), format!("{}{BACK}", self.migration()));
        let leases = [
            (&self.source, m, Link::Forward, Side::Source),
            (&self.target, m, Link::Forward, Side::Target),
            (&self.target, back.as_str(), Link::Reverse, Side::Source),
            (&self.source, back.as_str(), Link::Reverse, Side::Target),
        ];
        for (store, migration, link, side) in leases {
            while store.is_installed(migration, side).await?
                && is_alive(&store.link_state(migration, link, side).await?)
                && self.held().await?.is_none()
            {
                self.check_stop()?;
                self.stop.sleep(ANSWER_EVERY).await;
            }
        }
        Ok(())
    }

    async fn verify_here(&self, survey: &Survey, owner: Owner, repair: bool) -> Result<PassResult> {
        if !capture_holds(self.source.as_ref(), survey.layout()).await? {
            return Err(Error::changed("capture at the source is not as it was installed").hint(self.command("apply")));
        }
        let mut host = self.host_of(survey, owner).await?;
        let result = async {
            host.until(self, |p| p.backfilled).await?;
            let result = host.verify(self).await?;
            if repair && !result.differences.is_empty() {
                host.repair(self, outcome::keys_by_table(&result)).await?;
            }
            Ok(result)
        }
        .await;
        let ended = host.shut_down().await;
        let result = result?;
        ended.map(|()| result)
    }

    async fn ask_host(&self, verb: &str, body: &str) -> Result<PassResult> {
        outcome::read(&self.ask_host_for(verb, body).await?)
    }

    /// Leaves a request in the source's control tables and waits for its answer, as long as the host lives. An answer
    /// that is an error is one here.
    pub(super) async fn ask_host_for(&self, verb: &str, body: &str) -> Result<String> {
        let m = self.migration();
        let id = self.patiently(|| self.source.ask(m, verb, body)).await?;
        self.reporter.event(&Event::Note(format!("asked the running host to {verb} (request {id})")));
        loop {
            self.check_stop()?;
            if let Some(answer) = self.source.request(m, id).await?.and_then(|r| r.answer) {
                return outcome::answered(answer);
            }
            if self.held().await?.is_none() {
                return Err(Error::retry("the host ended before it answered").hint(self.command("verify")));
            }
            self.stop.sleep(ANSWER_EVERY).await;
        }
    }
}

/// Whether a lease is held by somebody who renewed it in time, by the database's clock.
pub fn is_alive(state: &LinkState) -> bool {
    state.holder.is_some() && state.expires_ms >= state.now_ms
}
