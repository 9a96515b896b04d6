//! `migrate apply`: dual-write, backfill, verify, and, if asked, stay.
//!
//! Every stretch may be cut off and run again. What is done is found done: capture by its fingerprint, the backfill
//! by each table's frontier, the target by its checkpoint.

use std::time::{Duration, Instant};

use crate::entry::{Difference, TableId};
use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::link::compare::PassResult;
use crate::plan::{self, OnExisting};
use crate::store::{BEGIN_ANEW, Side};

use super::host::{Host, REQUEST_EVERY};
use super::hosts::Hosts;
use super::outcome;
use super::owner::{Owner, Ownership};
use super::preflight::Preflight;
use super::report::{ApplyReport, Backlog, CutReport, VerifyReport};
use super::session::{Session, Until};
use super::survey::Survey;

/// Behind a request's verb: it is for the link whose sender is the target.
pub(super) const OF_TARGET: &str = "-of-target";
/// Dirty keys are counted up to here; more is "at least".
const COUNT_MAX: u64 = 1_000_000;

impl Session {
    pub async fn apply(&self, until: Until, follow: bool) -> Result<ApplyReport> {
        let began = Instant::now();
        let survey = self.dual_write_phase().await?;
        let mut report = ApplyReport { migration: self.migration().to_owned(), ..ApplyReport::default() };
        report.phase = "dual-write".into();
        if until == Until::DualWrite {
            report.backlog = self.backlog(&survey, 0, 0).await?;
            report.next = self.command("apply");
            return Ok(report);
        }
        let ownership = self.settle_owner(&survey).await?;
        let mut hosts = self.hosts_of(&survey, &ownership).await?;
        let result = match ownership.owns_all(Owner::Source) {
            true => self.run_host(&survey, &mut hosts, until, follow, &mut report).await,
            false => self.keep_in_step(&survey, &mut hosts, &ownership, follow, &mut report).await,
        };
        let pulse = hosts.pulse();
        let ended = hosts.shut_down().await;
        result?;
        ended?;
        report.generation = pulse.head.generation.0;
        report.position = pulse.head.position.0;
        (report.rows, report.bytes, report.changes) = (pulse.rows, pulse.bytes, pulse.changes);
        report.wall_ms = began.elapsed().as_millis() as u64;
        report.backlog = self.backlog(&survey, pulse.changes, report.wall_ms).await?;
        report.parked = self.parked_count(&survey).await?;
        report.next = match report.parked {
            0 => self.next_command(until),
            _ => self.dead_letters_command("list"),
        };
        Ok(report)
    }

    /// Installs under the source's lease, so that two processes can't both.
    async fn dual_write_phase(&self) -> Result<Survey> {
        let facts = self.look().await?;
        let survey = if self.is_installed().await? {
            let survey = self.survey_of(&facts).await?;
            self.check_rights(&survey).await?;
            self.check_same_plan(&survey).await?;
            self.refuse_if_held().await?;
            if !self.target_knows_us().await? {
                let gone =
                    "the target has no record of this migration (another database, or its control tables are gone)";
                if let Some(problem) = self.check_emptiness(&survey).await? {
                    return Err(plan::to_error(vec![problem])).context(gone);
                }
            }
            survey
        } else {
            self.refuse_if_finished().await?;
            let Preflight { survey, warnings } = self.preflight(&facts).await?;
            if self.source.is_installed(self.migration(), Side::Source).await? {
                // A first install that was cut off: its triggers are numbered by that plan's tables.
                self.check_same_plan(&survey).await?;
            }
            for warning in warnings {
                self.reporter.event(&Event::Warning(warning.line()));
            }
            for text in &survey.resolved.left_out {
                self.reporter.event(&Event::Warning(text.clone()));
            }
            survey
        };
        self.install(&survey).await?;
        Ok(survey)
    }

    /// Old tables that stay fenced are what is left of a migration that has ended.
    async fn refuse_if_finished(&self) -> Result<()> {
        let m = self.migration();
        if self.source.is_installed(m, Side::Source).await? || !self.source.has_gate(m, Side::Source).await? {
            return Ok(());
        }
        let text = format!("migration \"{m}\" has finished: the target owns the data, the old tables stay fenced");
        let release = self.command("finish");
        Err(Error::new(Kind::Gate, text)
            .hint(format!("`{release} --release-source` lets the old tables take writes again")))
    }

    pub(super) async fn must_begin_anew(&self) -> Result<bool> {
        let set = self.source.get(self.migration(), Side::Source, BEGIN_ANEW).await?;
        Ok(set.is_some_and(|s| !s.is_empty()))
    }

    pub(super) async fn refuse_if_held(&self) -> Result<()> {
        let ttl = i64::try_from(self.plan.lease_ttl_ms).unwrap_or(10_000);
        let link = crate::entry::Link::Forward;
        // Taking and giving back says who holds it, in the lease's own words.
        let lease = self.source.take_lease(self.migration(), link, Side::Source, &self.holder, ttl).await?;
        self.source.release_lease(self.migration(), &lease).await?;
        match self.held().await? {
            None => Ok(()),
            Some(holder) => Err(Error::new(Kind::Locked, format!("\"{holder}\" runs the way back of this migration"))
                .hint("stop that process, or wait; `migrate status PLAN` shows it")),
        }
    }

    /// Who owns the data, after what was left half done is done: a decision is delivered, a fence without one goes.
    pub(super) async fn settle_owner(&self, survey: &Survey) -> Result<Ownership> {
        let ownership = loop {
            let ownership = self.agreed(survey.layout()).await?;
            match ownership.handing() {
                Some((to, turns)) => self.deliver(survey, to, &turns).await?,
                None => break ownership,
            }
        };
        self.finish_opening(survey, &ownership).await?;
        for owner in ownership.senders() {
            self.clear_stale_fence(&self.way_of(survey, owner)?).await?;
        }
        self.join_numbers(survey, &ownership).await?;
        Ok(ownership)
    }

    pub(super) async fn host_of(&self, survey: &Survey, owner: Owner) -> Result<Host> {
        let way = self.way_of(survey, owner)?;
        Ok(match owner {
            Owner::Source => Host::start(self, &way, self.must_begin_anew().await?, self.totals(survey).await?),
            Owner::Target => Host::start(self, &way, false, vec![]),
        })
    }

    /// After a cut over: each store is kept in step with what the other owns.
    async fn keep_in_step(
        &self,
        survey: &Survey,
        hosts: &mut Hosts,
        ownership: &Ownership,
        follow: bool,
        report: &mut ApplyReport,
    ) -> Result<()> {
        let whole = ownership.owns_all(Owner::Target);
        report.phase = if whole { "cut over" } else { "divided" }.into();
        let (name, detail) = match whole {
            true => ("reverse", "the target owns the data; the source is kept in step"),
            false => ("both ways", "each store owns some scopes, and is kept in step with the other's"),
        };
        self.reporter.event(&Event::Phase { name: name.into(), detail: detail.into() });
        self.check_captures(survey, &ownership.senders()).await?;
        hosts.settle(self).await?;
        if follow { self.follow(survey, hosts).await } else { Ok(()) }
    }

    async fn run_host(
        &self,
        survey: &Survey,
        hosts: &mut Hosts,
        until: Until,
        follow: bool,
        report: &mut ApplyReport,
    ) -> Result<()> {
        let (m, host) = (self.migration(), hosts.of(Owner::Source)?);
        self.reporter.event(&Event::Phase { name: "backfill".into(), detail: self.transport.name() });
        host.until(self, |p| p.backfilled).await?;
        if self.waits_for_people(host, until).await? {
            report.phase = "parked".into();
            return if follow { self.follow(survey, hosts).await } else { Ok(()) };
        }
        // With rows of its own at the target, keys may hold only once the comparison has removed those.
        let after_verify = until == Until::Verify && self.may_hold_more(host);
        if !after_verify {
            self.complete_patiently(survey, host, until).await?;
        }
        self.source.journal(m, "backfill", "done", &format!("{} rows", host.pulse().rows)).await?;
        report.phase = "backfill".into();
        if until == Until::Verify {
            self.reporter.event(&Event::Phase { name: "verify".into(), detail: String::new() });
            let result = self.verify_in(host).await?;
            let clean = result.mismatches == 0;
            report.verify = Some(self.present(&self.forward(survey), &result, false).await?);
            report.phase = if clean { "in sync" } else { "verify" }.into();
            self.note_verify(report.verify.as_ref()).await?;
            if clean && after_verify {
                self.complete_patiently(survey, host, until).await?;
            }
            if !clean && !follow {
                return Ok(());
            }
        }
        if follow {
            self.reporter.event(&Event::Phase { name: "follow".into(), detail: "both stores are kept in step".into() });
            self.follow(survey, hosts).await?;
        }
        Ok(())
    }

    /// Whether the target refuses a row: then neither what hangs on all rows can be built nor anything be proven.
    async fn waits_for_people(&self, host: &mut Host, until: Until) -> Result<bool> {
        if until == Until::Verify {
            // What came back during the backfill is decided only now.
            host.come_into_step(self).await?;
        }
        Ok(host.pulse().parked > 0)
    }

    /// The last entry that was applied may be an undrained one, in which a child is ahead of its parent.
    async fn complete_patiently(&self, survey: &Survey, host: &mut Host, until: Until) -> Result<()> {
        for _ in 0..30 {
            match self.complete_target(survey, until).await {
                Err(e) if e.kind == Kind::GiveUp => {
                    self.check_stop()?;
                    host.check().await?;
                    self.stop.sleep(Duration::from_secs(1)).await;
                }
                other => return other,
            }
        }
        self.complete_target(survey, until).await
    }

    /// What the target's tables get once they are filled, then what they had to do without.
    async fn complete_target(&self, survey: &Survey, until: Until) -> Result<()> {
        if until == Until::Verify {
            self.build_additions(survey).await?;
        }
        self.restore_target().await
    }

    /// Whether the target may hold rows of its own or of an older history.
    fn may_hold_more(&self, host: &Host) -> bool {
        self.plan.on_existing == OnExisting::Replace || host.pulse().head.generation.0 > 1
    }

    /// One pass. Where the target was not empty when its generation began, rows that only it has are of an older
    /// history: they are marked dirty, so that the log itself removes them, and the comparison is made again.
    async fn verify_in(&self, host: &mut Host) -> Result<PassResult> {
        let mut result = host.verify(self).await?;
        let replaced = self.may_hold_more(host);
        let mut left = u64::MAX;
        loop {
            let count = result.differences.len() as u64 + result.more;
            let only_extra = result.differences.iter().all(|(.., what)| *what == Difference::Extra);
            if !replaced || !only_extra || result.differences.is_empty() || count >= left {
                return Ok(result);
            }
            left = count;
            let text = format!("{count} rows of an older history are removed from the target");
            self.reporter.event(&Event::Note(text));
            host.repair(self, outcome::keys_by_table(&result)).await?;
            result = host.verify(self).await?;
        }
    }

    pub(super) async fn note_verify(&self, verify: Option<&VerifyReport>) -> Result<()> {
        let Some(v) = verify else { return Ok(()) };
        let now = self.source.now_ms().await?;
        let text = serde_json::json!({
            "at_ms": now, "digests": v.digests, "positions": v.positions, "mismatches": v.mismatches,
        });
        self.source.put(self.migration(), Side::Source, "verified", &text.to_string()).await?;
        let detail = format!("{} digests at {} positions, {} differ", v.digests, v.positions, v.mismatches);
        self.source.journal(self.migration(), "verify", "done", &detail).await
    }

    pub(super) async fn last_verify(&self) -> Result<Option<serde_json::Value>> {
        let text = self.source.get(self.migration(), Side::Source, "verified").await?.unwrap_or_default();
        Ok(serde_json::from_str(&text).ok())
    }

    /// Stays until a signal; answers requests.
    async fn follow(&self, survey: &Survey, hosts: &mut Hosts) -> Result<()> {
        loop {
            if let Some(signal) = self.stop.requested() {
                return Err(self.stopped(signal));
            }
            hosts.check().await?;
            match self.source.open_requests(self.migration()).await {
                Ok(requests) => {
                    for request in requests {
                        let answer = self.obey(survey, hosts, &request.verb, &request.body).await?;
                        let (store, m) = (&self.source, self.migration());
                        self.patiently(|| store.answer(m, request.id, &answer)).await?;
                        let ownership = self.patiently(|| self.agreed(survey.layout())).await?;
                        self.follow_owners(survey, hosts, &ownership).await?;
                    }
                }
                Err(e) if e.is_retry() => self.reporter.event(&Event::Warning(format!("requests can't be read: {e}"))),
                Err(e) => return Err(e),
            }
            self.stop.sleep(REQUEST_EVERY).await;
        }
    }

    async fn obey(&self, survey: &Survey, hosts: &mut Hosts, verb: &str, body: &str) -> Result<String> {
        if verb == "cutover" {
            return self.obey_cutover(survey, hosts, body).await;
        }
        let (what, giver) = match verb.strip_suffix(OF_TARGET) {
            Some(what) => (what, Owner::Target),
            None => (verb, Owner::Source),
        };
        let result = match (what, hosts.of(giver)) {
            (_, Err(e)) => Err(e),
            ("verify", Ok(host)) => host.verify(self).await,
            ("repair", Ok(host)) => match outcome::read(body) {
                Ok(asked) => host.repair(self, outcome::keys_by_table(&asked)).await.map(|()| PassResult::default()),
                Err(e) => Err(e),
            },
            (other, Ok(_)) => Err(Error::give_up(format!("this version knows no request \"{other}\""))),
        };
        match result {
            Ok(result) => Ok(outcome::write(&result)),
            Err(e) if matches!(e.kind, Kind::Stopped(_) | Kind::Locked | Kind::Changed) => Err(e),
            Err(e) => Ok(serde_json::json!({ "error": e.to_string() }).to_string()),
        }
    }

    async fn obey_cutover(&self, survey: &Survey, hosts: &mut Hosts, body: &str) -> Result<String> {
        let asked: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let to = match asked["to"].as_str() {
            Some("target") => Owner::Target,
            Some("source") => Owner::Source,
            _ => return Ok(serde_json::json!({ "error": "this version can't read the request" }).to_string()),
        };
        let scopes: Option<Vec<String>> = serde_json::from_value(asked["scopes"].clone()).unwrap_or_default();
        let ownership = self.patiently(|| self.agreed(survey.layout())).await?;
        if ownership.handing().is_none() && ownership.owns_these(to, scopes.as_deref()) {
            // Another one was faster.
            return Ok(CutReport { turn: ownership.turns(), ..CutReport::default() }.write());
        }
        let done = match hosts.of(to.other()) {
            Ok(host) => self.cut_in(survey, host, to, scopes.as_deref()).await,
            Err(e) => Err(e),
        };
        match done {
            Ok(report) => Ok(report.write()),
            Err(e) if matches!(e.kind, Kind::Stopped(_) | Kind::Locked | Kind::Changed) => Err(e),
            Err(e) => {
                let error = serde_json::json!({
                    "error": e.to_string(), "hint": e.hint_text(), "gate": e.kind == Kind::Gate,
                });
                Ok(error.to_string())
            }
        }
    }

    pub(super) async fn totals(&self, survey: &Survey) -> Result<Vec<(TableId, u64)>> {
        let mut totals = Vec::new();
        for map in &survey.layout().tables {
            totals.push((map.id, self.source.size(&map.source).await?.rows));
        }
        Ok(totals)
    }

    /// What capture holds now, and how long it may go on at the rate that was measured.
    pub(super) async fn backlog(&self, survey: &Survey, changes: u64, wall_ms: u64) -> Result<Backlog> {
        let counts = self.source.backlog(survey.layout(), COUNT_MAX).await?;
        let keys: u64 = counts.iter().map(|(_, n)| n).sum();
        let limit = survey.layout().backlog_limit;
        let rate = (changes > 0 && wall_ms > 0).then(|| changes as f64 * 1000.0 / wall_ms as f64);
        let fullest = counts.iter().map(|(_, n)| *n).max().unwrap_or_default();
        let lasts_s = rate.map(|r| (limit.saturating_sub(fullest) as f64 / r) as u64);
        Ok(Backlog { keys, limit, keys_per_s: rate, lasts_s })
    }

    fn next_command(&self, until: Until) -> String {
        match until {
            Until::DualWrite | Until::Backfill => self.command("apply"),
            Until::Verify => format!("{} --follow", self.command("apply")),
        }
    }
}
