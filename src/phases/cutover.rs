//! `migrate cutover` and `migrate rollback`: the change of owner, which are one thing in two directions.
//!
//! Up to the decision everything may fail and nothing has happened: the fence runs out by itself. After the decision
//! there is only forward: whoever runs this migration next delivers it. The decision itself is the store's
//! (`store/decide`); here is when it is asked for.

use std::time::{Duration, Instant};

use crate::entry::Turn;
use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::schema;
use crate::store::Side;
use crate::store::gate::SCOPE_MAX;
use crate::task::failpoint;

use super::host::Host;
use super::owner::{Owner, Ownership};
use super::report::CutReport;
use super::session::Session;
use super::survey::Survey;
use super::way::Way;

/// How long the taker may need to hear of the decision before we say so.
const TELL_PATIENCE: Duration = Duration::from_secs(30);

const READY_TRIES: u64 = 6;

#[derive(Debug, Clone)]
pub struct CutOptions {
    pub to: Owner,
    /// `None`: everything.
    pub scopes: Option<Vec<String>>,
    /// Say which gates are closed and how long writes would be refused; change nothing.
    pub dry_run: bool,
}

impl Session {
    /// Moves the ownership of everything, or of some scopes, to one side. Where it is there already, nothing happens.
    pub async fn cut_over(&self, options: CutOptions) -> Result<CutReport> {
        let survey = self.survey().await?;
        self.check_begun(&survey).await?;
        self.check_same_plan(&survey).await?;
        let scopes = self.asked_scopes(&survey, options.scopes.as_deref())?;
        let mut report = self.cut_report(options.to, scopes.as_deref());
        loop {
            let ownership = self.agreed(survey.layout()).await?;
            match ownership.handing() {
                Some((to, _)) if to != options.to => {
                    let text = format!("a change of owner to the {} was decided and is not delivered yet", to.name());
                    return Err(Error::new(Kind::Gate, text).hint(self.command("apply")));
                }
                Some((to, turns)) if !options.dry_run => {
                    self.deliver(&survey, to, &turns).await?;
                    report.done = true;
                    continue;
                }
                _ => {}
            }
            if ownership.owns_these(options.to, scopes.as_deref()) {
                self.finish_opening(&survey, &ownership).await?;
                report.turn = ownership.turns();
                return Ok(report);
            }
            self.check_gates(&survey, options.to).await?;
            if options.dry_run {
                return Ok(report);
            }
            let Some(holder) = self.held().await? else { break };
            report.run_by = holder;
            let body = serde_json::json!({ "to": options.to.name(), "scopes": scopes }).to_string();
            match self.ask_host_for("cutover", &body).await {
                Ok(answer) => return CutReport::read(report, &answer),
                // It died before it answered: what is true is read again.
                Err(e) if e.is_retry() => {
                    self.reporter.event(&Event::Warning(e.to_string()));
                    if self.held().await?.is_none() {
                        self.wait_for_leases().await?;
                    }
                }
                Err(e) => return Err(e),
            }
        }
        let way = self.way_of(&survey, options.to.other())?;
        let mut host = Host::start(self, &way, false, vec![]);
        let result = self.cut_in(&survey, &mut host, options.to, scopes.as_deref()).await;
        let ended = host.shut_down().await;
        let report = result?;
        ended?;
        Ok(report)
    }

    fn cut_report(&self, to: Owner, scopes: Option<&[String]>) -> CutReport {
        let next = match to {
            Owner::Target => format!("{} --follow   keeps the old store in step", self.command("apply")),
            Owner::Source => format!("{} --follow", self.command("apply")),
        };
        let (migration, owner) = (self.migration().to_owned(), to.name().to_owned());
        let scopes = scopes.unwrap_or_default().to_vec();
        CutReport { migration, owner, scopes, run_by: "this process".into(), next, ..CutReport::default() }
    }

    /// The scopes as the stores spell them.
    fn asked_scopes(&self, survey: &Survey, scopes: Option<&[String]>) -> Result<Option<Vec<String>>> {
        let Some(scopes) = scopes else { return Ok(None) };
        let refuse = |text: String, hint: &str| Err(Error::new(Kind::Usage, text).hint(hint));
        let layout = survey.layout();
        if !layout.is_scoped() {
            let hint = "leave \"--scope\" out, or begin anew with \"scope_by\" in the plan: capture must know of it";
            return refuse("the plan has no \"cutover: { scope_by: ... }\", so nothing can go first".into(), hint);
        }
        let mut spelled = Vec::new();
        for scope in scopes {
            let kinds = layout.tables.iter().filter_map(|map| map.scope_columns()).map(|(.., wire)| &wire.wire);
            let mut text = scope.clone();
            for kind in kinds {
                match spelling(kind, &text) {
                    Some(canonical) => text = canonical,
                    None => {
                        let text = format!("\"{scope}\" is no {} of at most {SCOPE_MAX} characters", kind.name());
                        return refuse(text, "give a value of the column that \"scope_by\" names");
                    }
                }
            }
            spelled.push(text);
        }
        spelled.sort_unstable();
        spelled.dedup();
        Ok(Some(spelled))
    }

    /// With the giver's link running in `host`: from the way back to the open entry.
    pub(super) async fn cut_in(
        &self,
        survey: &Survey,
        host: &mut Host,
        to: Owner,
        scopes: Option<&[String]>,
    ) -> Result<CutReport> {
        let done = self.cut_from(survey, host, to, scopes).await;
        if done.is_err() && scopes.is_some() {
            // What was hung for a part that did not go goes, if it can; the next `apply` does it too.
            if let Ok(ownership) = self.agreed(survey.layout()).await {
                let _ = self.join_numbers(survey, &ownership).await;
            }
        }
        done
    }

    async fn cut_from(
        &self,
        survey: &Survey,
        host: &mut Host,
        to: Owner,
        scopes: Option<&[String]>,
    ) -> Result<CutReport> {
        let mut report = self.cut_report(to, scopes);
        report.forecast_ms = self.get_ready(survey, host, to, scopes).await?;
        self.hook("before_cutover", self.plan.hooks.before_cutover.as_ref(), to, scopes).await?;
        let opened = self.attempt(&self.way_of(survey, to.other())?, host, scopes, &mut report).await?;
        let ownership = self.patiently(|| self.agreed(survey.layout())).await?;
        (report.done, report.turn) = (true, ownership.turns());
        self.patiently(|| self.after_open(survey, &ownership, opened.position.0)).await?;
        self.hook("after_cutover", self.plan.hooks.after_cutover.as_ref(), to, scopes).await?;
        Ok(report)
    }

    /// All that comes before the fence, in which a lost connection is no reason to give up. The forecast of the pause.
    async fn get_ready(&self, survey: &Survey, host: &mut Host, to: Owner, scopes: Option<&[String]>) -> Result<u64> {
        let mut tries = 1;
        loop {
            match self.prepare(survey, host, to, scopes).await {
                Err(e) if e.is_retry() && tries < READY_TRIES => {
                    self.check_stop()?;
                    host.check().await?;
                    self.reporter.event(&Event::Warning(format!("{e}; once more")));
                    self.stop.sleep(Duration::from_millis(100 * tries)).await;
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    async fn prepare(&self, survey: &Survey, host: &mut Host, to: Owner, scopes: Option<&[String]>) -> Result<u64> {
        let (way, back) = (self.way_of(survey, to.other())?, self.way_of(survey, to)?);
        host.until(self, |p| p.backfilled).await?;
        self.prepare_back(&back, false).await.context("preparing the way back")?;
        self.name_scopes(&way, scopes).await?;
        if scopes.is_some() {
            self.part_numbers(survey).await?;
        }
        if !host.pulse().compared {
            self.reporter.event(&Event::Phase { name: "verify".into(), detail: "before the cut over".into() });
            let result = host.verify(self).await?;
            let verified = self.present(&way, &result, false).await?;
            self.note_verify(Some(&verified)).await?;
            if result.mismatches > 0 {
                let text = format!("{} digests differ: nothing is cut over", result.mismatches);
                return Err(Error::new(Kind::Differs, text).hint(format!("{} --repair", self.command("verify"))));
            }
        }
        host.settle(self).await?;
        self.forecast(&way, host).await
    }

    /// Both stores know these scopes before one of them is fenced, and each that the other knows (a process may have died
    /// between the two): what is not named is as the rest, and goes with it.
    pub(super) async fn name_scopes(&self, way: &Way, scopes: Option<&[String]>) -> Result<()> {
        let layout = way.layout.as_ref();
        let here = way.sender.gate(layout, Side::Source).await?;
        let there = way.receiver.gate(layout, Side::Target).await?;
        let known = here.scopes.iter().chain(&there.scopes).map(|s| &s.scope);
        let mut all: Vec<String> = known.chain(scopes.unwrap_or_default()).cloned().collect();
        all.sort_unstable();
        all.dedup();
        if all.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = (way.sender.who().await?, way.receiver.who().await?);
        self.patiently(|| way.receiver_admin.name_scopes(layout, Side::Target, &receiver, &all)).await?;
        failpoint("cutover.named");
        self.patiently(|| way.sender_admin.name_scopes(layout, Side::Source, &sender, &all)).await
    }

    /// How long writes would be refused, from what one entry takes now. More than the plan allows is a closed gate.
    async fn forecast(&self, way: &Way, host: &mut Host) -> Result<u64> {
        let began = Instant::now();
        way.sender.now_ms().await?;
        let round = began.elapsed();
        let ping = host.ping(self).await?.min(host.ping(self).await?);
        let tables = u32::try_from(way.layout.tables.len()).unwrap_or(u32::MAX);
        // The fence of each table; what is dirty, what was not compared, and the fence entry; the decision, and `open`.
        let forecast = round.saturating_mul(2 * tables) + ping.saturating_mul(4);
        let (forecast_ms, lag_ms) = (forecast.as_millis() as u64, host.pulse().lag_ms.max(0) as u64);
        let cutover = &self.plan.cutover;
        if lag_ms > cutover.max_lag_ms {
            let text = format!("the target is {lag_ms} ms behind, \"max_lag\" is {} ms", cutover.max_lag_ms);
            return Err(Error::new(Kind::Gate, text).hint("wait until it has caught up, then again"));
        }
        if forecast_ms > cutover.max_write_pause_ms {
            let text = format!(
                "writes would be refused for about {forecast_ms} ms, \"max_write_pause\" is {} ms",
                cutover.max_write_pause_ms
            );
            return Err(Error::new(Kind::Gate, text)
                .hint("raise \"max_write_pause\" in \"cutover\", or try when the stores are less busy"));
        }
        self.reporter.event(&Event::Note(format!("forecast of the write pause: {forecast_ms} ms")));
        Ok(forecast_ms)
    }

    pub(super) async fn wait_until_told(&self, host: &mut Host, turns: &[Turn]) -> Result<()> {
        if let Ok(told) = tokio::time::timeout(TELL_PATIENCE, host.until(self, |p| p.has_told(turns))).await {
            return told;
        }
        let text = "decided, but the taker has not heard of it: nobody takes writes until it has";
        self.reporter.event(&Event::Warning(text.into()));
        host.until(self, |p| p.has_told(turns)).await
    }

    /// A decision that was not delivered: whoever comes by delivers it.
    pub(super) async fn deliver(&self, survey: &Survey, to: Owner, turns: &[Turn]) -> Result<()> {
        // Whoever decided may be about to deliver it; if he died his lease runs out.
        while self.held().await?.is_some() {
            if self.agreed(survey.layout()).await?.handing().is_none() {
                return Ok(());
            }
            self.check_stop()?;
            self.stop.sleep(Duration::from_millis(100)).await;
        }
        self.reporter.event(&Event::Note(format!("delivering the decided change of owner to the {}", to.name())));
        let way = self.way_of(survey, to.other())?;
        let mut host = Host::start(self, &way, false, vec![]);
        let told = self.wait_until_told(&mut host, turns).await;
        let position = host.pulse().confirmed.0;
        let ended = host.shut_down().await;
        told?;
        ended?;
        let ownership = self.agreed(survey.layout()).await?;
        self.after_open(survey, &ownership, position).await?;
        let scopes: Vec<String> = turns.iter().filter_map(|t| t.scope.clone()).collect();
        let scopes = turns.iter().all(|t| t.scope.is_some()).then_some(scopes.as_slice());
        self.hook("after_cutover", self.plan.hooks.after_cutover.as_ref(), to, scopes).await
    }

    /// What a process that died behind the opening left undone.
    pub(super) async fn finish_opening(&self, survey: &Survey, ownership: &Ownership) -> Result<()> {
        if self.told_turn().await? >= ownership.turns() || self.held().await?.is_some() {
            return Ok(());
        }
        self.after_open(survey, ownership, 0).await?;
        // Of which it was is not known any more.
        self.hook("after_cutover", self.plan.hooks.after_cutover.as_ref(), ownership.split().0, None).await
    }

    /// The taker is open: what cost its writers something goes, and applications are told.
    async fn after_open(&self, survey: &Survey, ownership: &Ownership, position: u64) -> Result<()> {
        for owner in ownership.senders() {
            let way = self.way_of(survey, owner)?;
            self.patiently(|| way.sender_admin.unfence(&way.layout, Side::Source)).await?;
        }
        failpoint("cutover.unfenced");
        self.join_numbers(survey, ownership).await?;
        self.publish_route(ownership, position).await?;
        failpoint("cutover.routed");
        let (rest, others) = ownership.split();
        let mut text = format!("turn {}: the {} owns", ownership.turns(), rest.name());
        if !others.is_empty() {
            text += &format!(" the rest, the {} {}", rest.other().name(), others.join(", "));
        }
        self.source.journal(self.migration(), "cutover", "done", &text).await
    }

    /// A fence without a decision, left by a process that died: it has run out or will; what hangs on the tables goes.
    pub(super) async fn clear_stale_fence(&self, way: &Way) -> Result<()> {
        let gate = way.sender.gate(&way.layout, Side::Source).await?;
        if !gate.fenced || gate.deadline_ms == 0 || gate.parts().all(|p| p.closed) {
            return Ok(());
        }
        self.patiently(|| way.sender_admin.unfence(&way.layout, Side::Source)).await?;
        if gate.parts().any(|p| p.covered && !p.closed) {
            let text = format!("attempt {}: a process died before it decided", gate.cut);
            self.source.journal(self.migration(), "cutover", "aborted", &text).await?;
        }
        Ok(())
    }
}

/// A scope as both stores write it; `None`: it is no value of this kind.
fn spelling(kind: &schema::Kind, text: &str) -> Option<String> {
    let spelled = match kind {
        schema::Kind::Int { .. } => text.trim().parse::<i128>().ok()?.to_string(),
        schema::Kind::Uuid => {
            let lower = text.trim().to_lowercase();
            let shape =
                |(i, c): (usize, char)| if [8, 13, 18, 23].contains(&i) { c == '-' } else { c.is_ascii_hexdigit() };
            (lower.len() == 36 && lower.chars().enumerate().all(shape)).then_some(lower)?
        }
        _ => text.to_owned(),
    };
    (spelled.chars().count() <= SCOPE_MAX).then_some(spelled)
}
