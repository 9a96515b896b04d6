//! `migrate verify`: compares everything, exactly, while writes go on; by itself, or through the process that hosts
//! the links.

use std::time::{Duration, Instant};

use crate::entry::Link;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::link::compare::PassResult;
use crate::mapping::BACK;
use crate::store::{LinkState, Side};

use super::outcome;
use super::owner::{Owner, Standing};
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
        let held = self.held().await?;
        let (result, run_by) = match &held {
            Some(holder) => (self.ask_host("verify", "{}").await?, holder.clone()),
            None => (self.verify_here(&survey, repair).await?, "this process".to_owned()),
        };
        if repair && held.is_some() && !result.differences.is_empty() {
            self.ask_host("repair", &outcome::write(&result)).await?;
        }
        let owner = match self.standing(survey.layout()).await? {
            Standing::Owned { by, .. } => by,
            _ => Owner::Source,
        };
        let way = self.way_of(&survey, owner)?;
        let mut report = self.present(&way, &result, show_values).await?;
        self.note_verify(Some(&report)).await?;
        report.wall_ms = began.elapsed().as_millis() as u64;
        report.run_by = run_by;
        Ok(report)
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
        let state = self.source.link_state(self.migration(), Link::Forward, Side::Source).await?;
        if is_alive(&state) {
            return Ok(state.holder);
        }
        let back = format!("{}{BACK}", self.migration());
        if !self.target.is_installed(&back, Side::Source).await? {
            return Ok(None);
        }
        let state = self.target.link_state(&back, Link::Reverse, Side::Source).await?;
        Ok(if is_alive(&state) { state.holder } else { None })
    }

    async fn verify_here(&self, survey: &Survey, repair: bool) -> Result<PassResult> {
        if !self.fingerprint_holds(survey).await? {
            return Err(Error::changed("capture at the source is not as it was installed").hint(self.command("apply")));
        }
        let owner = self.settle_owner(survey).await?;
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

    async fn fingerprint_holds(&self, survey: &Survey) -> Result<bool> {
        let was = self.source.get(self.migration(), Side::Source, "fingerprint").await?;
        Ok(was == Some(self.source.fingerprint(survey.layout()).await?))
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
    state.holder.is_some() && state.expires_ms > state.now_ms
}
