//! `migrate status`: where a migration stands, from what the two stores say. Writes nothing.

use crate::entry::Link;
use crate::error::Result;
use crate::store::{LinkState, Side};

use super::report::{Backlog, StatusReport, StatusTable};
use super::session::Session;
use super::survey::Survey;
use super::verify::is_alive;

/// Journal lines that are shown.
const JOURNAL_LINES: u32 = 10;

impl Session {
    pub async fn status(&self) -> Result<StatusReport> {
        let m = self.migration();
        let mut report = StatusReport { migration: m.to_owned(), ..StatusReport::default() };
        if !self.source.is_installed(m, Side::Source).await? {
            report.phase = "not begun".into();
            report.roll_back_why = "nothing was moved yet".into();
            report.can_roll_back = true;
            report.next = self.command("plan");
            return Ok(report);
        }
        let survey = self.survey().await?;
        let source = self.source.link_state(m, Link::Forward, Side::Source).await?;
        let target = self.target_state().await?;
        self.fill_positions(&mut report, &source, &target);
        if self.is_installed().await? {
            self.fill_tables(&mut report, &survey).await?;
        }
        report.last_verify = self.last_verify().await?.map(|v| describe_verify(&v, source.now_ms));
        report.phase = self.phase(&report).await?;
        report.can_roll_back = true;
        report.roll_back_why =
            "nothing was cut over: the source owns every row, and `migrate abort` leaves it as it was".into();
        let verb = if report.phase == "in sync" { "verify" } else { "apply" };
        report.next = self.command(verb);
        for line in self.source.journal_lines(m, JOURNAL_LINES).await? {
            report.journal.push(format!("{}: {} {}", line.phase, line.step, line.detail));
        }
        Ok(report)
    }

    /// The target may be away, or not begun: its half is then unknown, which is not zero.
    async fn target_state(&self) -> Result<Option<LinkState>> {
        if !self.target.is_installed(self.migration(), Side::Target).await? {
            return Ok(None);
        }
        self.target.link_state(self.migration(), Link::Forward, Side::Target).await.map(Some)
    }

    fn fill_positions(&self, report: &mut StatusReport, source: &LinkState, target: &Option<LinkState>) {
        report.generation = source.mark.generation.0;
        report.source_position = source.mark.position.0;
        report.confirmed = source.confirmed.0;
        report.holder = source.holder.clone();
        report.holder_for_ms = (source.now_ms - source.since_ms).max(0);
        report.holder_alive = is_alive(source);
        if let Some(target) = target {
            report.target_position = target.mark.position.0;
            report.lag_ms = target.lag_ms;
            if target.mark.generation == source.mark.generation {
                report.in_flight = source.mark.position.0.saturating_sub(target.mark.position.0);
            }
        }
    }

    async fn fill_tables(&self, report: &mut StatusReport, survey: &Survey) -> Result<()> {
        let layout = survey.layout();
        let dirty = self.source.backlog(layout, 1_000_000).await?;
        let limit = layout.backlog_limit;
        report.backlog = Backlog { keys: dirty.iter().map(|(_, n)| n).sum(), limit, ..Backlog::default() };
        for (id, progress) in self.source.progress(layout).await? {
            let Some(map) = layout.table(id) else { continue };
            report.tables.push(StatusTable {
                source: map.source.to_string(),
                target: map.target.to_string(),
                rows: progress.rows,
                rows_estimate: self.source.size(&map.source).await?.rows,
                done: progress.done,
                dirty: dirty.iter().find(|(t, _)| *t == id).map_or(0, |(_, n)| *n),
            });
        }
        Ok(())
    }

    async fn phase(&self, report: &StatusReport) -> Result<String> {
        if !self.is_installed().await? {
            return Ok("dual-write (begun)".into());
        }
        if report.generation == 0 {
            return Ok("dual-write".into());
        }
        if report.tables.iter().any(|t| !t.done) {
            return Ok("backfill".into());
        }
        let verified = self.last_verify().await?;
        let clean = verified.as_ref().is_some_and(|v| v["mismatches"] == 0);
        Ok(match (verified.is_some(), clean, report.backlog.keys == 0 && report.in_flight == 0) {
            (false, ..) => "backfilled",
            (true, false, _) => "verified: differs",
            (true, true, true) => "in sync",
            (true, true, false) => "verified, catching up",
        }
        .into())
    }
}

fn describe_verify(v: &serde_json::Value, now_ms: i64) -> String {
    let ago = (now_ms - v["at_ms"].as_i64().unwrap_or(now_ms)).max(0) / 1000;
    format!("{} s ago: {} digests at {} positions, {} differ", ago, v["digests"], v["positions"], v["mismatches"])
}
