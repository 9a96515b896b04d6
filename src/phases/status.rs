//! `migrate status`: where a migration stands, from what the two stores say. Writes nothing.

use crate::error::Result;
use crate::store::{LinkState, Side};

use super::owner::{Owner, Standing};
use super::report::{Backlog, StatusReport, StatusTable};
use super::session::Session;
use super::verify::is_alive;
use super::way::Way;

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
        let installed = self.is_installed().await?;
        let standing = match installed {
            true => self.standing(survey.layout()).await?,
            false => Standing::Owned { by: Owner::Source, turn: 0 },
        };
        let giver = match &standing {
            Standing::Owned { by, .. } => *by,
            Standing::Handing { to, .. } => to.other(),
            Standing::Torn(_) => Owner::Source,
        };
        let way = self.way_of(&survey, giver)?;
        let link = way.layout.link();
        let source = way.sender.link_state(&way.layout.migration, link, Side::Source).await?;
        let target = receiver_state(&way).await?;
        self.fill_positions(&mut report, &source, &target);
        if installed {
            self.fill_tables(&mut report, &way).await?;
        }
        report.last_verify = self.last_verify().await?.map(|v| describe_verify(&v, source.now_ms));
        report.phase = self.phase(&report).await?;
        self.fill_owner(&mut report, &standing);
        report.told_turn = self.told_turn().await?;
        for line in self.source.journal_lines(m, JOURNAL_LINES).await? {
            report.journal.push(format!("{}: {} {}", line.phase, line.step, line.detail));
        }
        Ok(report)
    }

    /// Who owns the data, whether it can go back, and what comes next.
    fn fill_owner(&self, report: &mut StatusReport, standing: &Standing) {
        report.can_roll_back = true;
        match standing {
            Standing::Owned { by: Owner::Source, turn } => {
                (report.owner, report.turn) = ("source".into(), *turn);
                report.roll_back_why = match turn {
                    0 => "nothing was cut over: the source owns every row, and `migrate abort` leaves it as it was",
                    _ => "it was rolled back: the source owns every row",
                }
                .into();
                let in_sync = report.phase == "in sync";
                report.next = self.command(if in_sync { "cutover" } else { "apply" });
            }
            Standing::Owned { by: Owner::Target, turn } => {
                (report.owner, report.turn) = ("target".into(), *turn);
                report.phase = "cut over".into();
                report.roll_back_why = format!("`{}` gives every write of the target back", self.command("rollback"));
                report.next = format!("{} --follow", self.command("apply"));
            }
            Standing::Handing { to, turn } => {
                (report.owner, report.turn) = ("nobody".into(), *turn);
                report.phase = "handing over".into();
                report.can_roll_back = false;
                report.roll_back_why = format!(
                    "a change of owner to the {} is decided and not delivered yet: nobody takes writes",
                    to.name()
                );
                report.next = self.command("apply");
            }
            Standing::Torn(why) => {
                (report.owner, report.phase) = ("unknown".into(), "torn".into());
                report.can_roll_back = false;
                report.roll_back_why = why.clone();
                report.next = "a person decides which store's data counts".into();
            }
        }
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

    async fn fill_tables(&self, report: &mut StatusReport, way: &Way) -> Result<()> {
        let layout = way.layout.as_ref();
        let dirty = way.sender.backlog(layout, 1_000_000).await?;
        let limit = layout.backlog_limit;
        report.backlog = Backlog { keys: dirty.iter().map(|(_, n)| n).sum(), limit, ..Backlog::default() };
        for (id, progress) in way.sender.progress(layout).await? {
            let Some(map) = layout.table(id) else { continue };
            report.tables.push(StatusTable {
                source: map.source.to_string(),
                target: map.target.to_string(),
                rows: progress.rows,
                rows_estimate: way.sender.size(&map.source).await?.rows,
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

/// The receiver may be away, or not begun: its half is then unknown, which is not zero.
async fn receiver_state(way: &Way) -> Result<Option<LinkState>> {
    let (m, link) = (way.layout.migration.as_str(), way.layout.link());
    if !way.receiver.is_installed(m, Side::Target).await? {
        return Ok(None);
    }
    way.receiver.link_state(m, link, Side::Target).await.map(Some)
}

fn describe_verify(v: &serde_json::Value, now_ms: i64) -> String {
    let ago = (now_ms - v["at_ms"].as_i64().unwrap_or(now_ms)).max(0) / 1000;
    format!("{} s ago: {} digests at {} positions, {} differ", ago, v["digests"], v["positions"], v["mismatches"])
}
