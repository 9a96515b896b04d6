//! `migrate status`: where a migration stands, from what the two stores say. Writes nothing.

use crate::error::Result;
use crate::store::{LinkState, Side};

use super::owner::{Owner, Ownership, Standing};
use super::report::{Backlog, StatusReport, StatusScope, StatusTable};
use super::session::Session;
use super::verify::is_alive;
use super::way::Way;

/// Journal lines that are shown.
const JOURNAL_LINES: u32 = 10;

impl Session {
    pub async fn status(&self) -> Result<StatusReport> {
        let m = self.migration();
        let mut report = StatusReport { migration: m.to_owned(), ..StatusReport::default() };
        if !self.source.is_installed(m, Side::Source).await? && self.source.has_gate(m, Side::Source).await? {
            report.phase = "finished".into();
            report.owner = "target".into();
            report.roll_back_why = "it has ended: the target owns the data, the old tables refuse writes".into();
            report.next =
                format!("{} --release-source   (or --drop-source) for the old tables", self.command("finish"));
            return Ok(report);
        }
        if !self.source.is_installed(m, Side::Source).await? {
            report.phase = "not begun".into();
            report.roll_back_why = "nothing was moved yet".into();
            report.can_roll_back = true;
            report.next = self.command("plan");
            return Ok(report);
        }
        let survey = self.survey().await?;
        let installed = self.is_installed().await?;
        let ownership = match installed {
            true => self.ownership(survey.layout()).await?,
            false => Ownership { rest: Standing::Owned { by: Owner::Source, turn: 0 }, scopes: vec![] },
        };
        let giver = match (&ownership.rest, ownership.handing()) {
            (_, Some((to, _))) => to.other(),
            (Standing::Owned { by, .. }, None) => *by,
            _ => Owner::Source,
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
        self.fill_owner(&mut report, &ownership);
        report.scopes = ownership.scopes.iter().map(|(scope, standing)| of_scope(scope, standing)).collect();
        report.told_turn = self.told_turn().await?;
        if installed {
            report.parked = self.parked_count(&survey).await?;
            report.numbers = self.number_ranges(survey.layout()).await?;
        }
        for line in self.source.journal_lines(m, JOURNAL_LINES).await? {
            report.journal.push(format!("{}: {} {}", line.phase, line.step, line.detail));
        }
        Ok(report)
    }

    /// Who owns the data, whether it can go back, and what comes next.
    fn fill_owner(&self, report: &mut StatusReport, ownership: &Ownership) {
        (report.can_roll_back, report.turn) = (true, ownership.turns());
        let any = ownership.handing();
        match (ownership.torn(), any) {
            (None, None) if ownership.owns_all(Owner::Source) => {
                report.owner = "source".into();
                report.roll_back_why = match report.turn {
                    0 => "nothing was cut over: the source owns every row, and `migrate abort` leaves it as it was",
                    _ => "it was rolled back: the source owns every row",
                }
                .into();
                let in_sync = report.phase == "in sync";
                report.next = self.command(if in_sync { "cutover" } else { "apply" });
            }
            (None, None) if !ownership.owns_all(Owner::Target) => {
                (report.owner, report.phase) = ("divided".into(), "divided".into());
                let rollback = self.command("rollback");
                report.roll_back_why =
                    format!("`{rollback} --all` (or `--scope`) gives every write of the target back");
                report.next = format!("{} --follow", self.command("apply"));
            }
            (None, None) => {
                report.owner = "target".into();
                report.phase = "cut over".into();
                report.roll_back_why = format!("`{}` gives every write of the target back", self.command("rollback"));
                report.next = format!("{} --follow", self.command("apply"));
            }
            (None, Some((to, _))) => {
                report.owner = "nobody".into();
                report.phase = "handing over".into();
                report.can_roll_back = false;
                report.roll_back_why = format!(
                    "a change of owner to the {} is decided and not delivered yet: nobody takes writes",
                    to.name()
                );
                report.next = self.command("apply");
            }
            (Some(why), _) => {
                (report.owner, report.phase) = ("unknown".into(), "torn".into());
                report.can_roll_back = false;
                report.roll_back_why = why.to_owned();
                report.next = format!("{} --side source   (or target) compares them", self.command("survive"));
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

fn of_scope(scope: &str, standing: &Standing) -> StatusScope {
    let (owner, turn) = match standing {
        Standing::Owned { by, turn } => (by.name(), *turn),
        Standing::Handing { turn, .. } => ("nobody", *turn),
        Standing::Torn(_) => ("unknown", 0),
    };
    StatusScope { scope: scope.to_owned(), owner: owner.into(), turn }
}

fn describe_verify(v: &serde_json::Value, now_ms: i64) -> String {
    let ago = (now_ms - v["at_ms"].as_i64().unwrap_or(now_ms)).max(0) / 1000;
    format!("{} s ago: {} digests at {} positions, {} differ", ago, v["digests"], v["positions"], v["mismatches"])
}
