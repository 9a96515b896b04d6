//! `migrate finish`: the data stays where it is, and what carried it goes. The old tables stay, and stay fenced: a
//! forgotten job must not write into the past.

use crate::entry::Link;
use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::mapping::BACK;
use crate::store::Side;

use super::abort::bare;
use super::host::Host;
use super::owner::Owner;
use super::report::FinishReport;
use super::session::Session;
use super::survey::Survey;

/// What becomes of the old tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldTables {
    Fenced,
    /// They take writes again, of which nobody hears.
    Released,
    Dropped,
}

impl Session {
    /// May be repeated after a kill; and later, to release or drop what was left fenced.
    pub async fn finish(&self, old: OldTables) -> Result<FinishReport> {
        let m = self.migration();
        let mut report = FinishReport { migration: m.to_owned(), ..FinishReport::default() };
        if self.source.is_installed(m, Side::Source).await? {
            let survey = self.survey().await?;
            self.check_finishable(&survey).await?;
            self.bring_back_in_step(&survey).await?;
        } else if !self.source.has_gate(m, Side::Source).await? {
            let text = format!("migration \"{m}\" is not there: it was never begun, or is finished");
            return Err(Error::new(Kind::Gate, text).hint(self.command("status")));
        } else if self.source.gate(&bare(m), Side::Source).await?.parts().any(|p| !p.closed) {
            return Err(Error::changed("the old tables' gate is open"));
        }
        self.reporter.event(&Event::Phase { name: "finish".into(), detail: "removing what carried the data".into() });
        let back = format!("{m}{BACK}");
        let removed = self.patiently(|| self.target_admin.remove(&back)).await.context("the target")?;
        report.removed.extend(removed.into_iter().map(|line| format!("target: {line}")));
        let removed = self.patiently(|| self.source_admin.remove(&back)).await.context("the source")?;
        report.removed.extend(removed.into_iter().map(|line| format!("source: {line}")));
        if self.transport.remove().await? | self.back_transport.remove().await? {
            report.removed.push(format!("streams: at {}", self.transport.name()));
        }
        if self.plan.events.is_some() {
            report.kept.push("the route at the broker, which says that the target owns the data".into());
        }
        let removed = self.patiently(|| self.target_admin.remove(m)).await.context("the target")?;
        report.removed.extend(removed.into_iter().map(|line| format!("target: {line}")));
        self.finish_source(old, &mut report).await?;
        Ok(report)
    }

    /// Only where the target owns everything, and nobody is at work.
    async fn check_finishable(&self, survey: &Survey) -> Result<()> {
        if let Some(holder) = self.held().await? {
            let text = format!("\"{holder}\" runs this migration");
            return Err(
                Error::new(Kind::Locked, text).hint("stop that process first: nothing is kept in step afterwards")
            );
        }
        let ownership = self.agreed(survey.layout()).await?;
        match ownership.owns_all(Owner::Target) {
            // A process may have died before it did.
            true => self.join_numbers(survey, &ownership).await,
            false => {
                Err(Error::new(Kind::Gate, "the target does not own all of the data").hint(self.command("cutover")))
            }
        }
    }

    /// The old store gets the last writes of the new one: it is the picture of the last moment of this migration.
    async fn bring_back_in_step(&self, survey: &Survey) -> Result<()> {
        let way = self.way_of(survey, Owner::Target)?;
        debug_assert_eq!(way.layout.link(), Link::Reverse);
        let mut host = Host::start(self, &way, false, vec![]);
        let result = host.come_into_step(self).await;
        let ended = host.shut_down().await;
        result.and(ended)
    }

    async fn finish_source(&self, old: OldTables, report: &mut FinishReport) -> Result<()> {
        let m = self.migration();
        let keep_gate = old == OldTables::Fenced;
        if old == OldTables::Dropped {
            let survey = self.survey().await?;
            let mut tables: Vec<_> = survey.layout().tables.iter().map(|map| map.source.clone()).collect();
            tables.reverse();
            tables.dedup();
            for table in tables {
                self.patiently(|| self.source_admin.drop_table(&table)).await.context("the source")?;
                report.removed.push(format!("source: table \"{table}\" with all its rows"));
            }
        }
        let removed = match keep_gate {
            true => self.patiently(|| self.source_admin.remove_but_gate(m)).await,
            false => self.patiently(|| self.source_admin.remove(m)).await,
        };
        report.removed.extend(removed.context("the source")?.into_iter().map(|line| format!("source: {line}")));
        match old {
            OldTables::Fenced => report.kept.push(format!(
                "the old tables at the source, which refuse writes (`{} --release-source` or `--drop-source` ends that)",
                self.command("finish")
            )),
            OldTables::Released => report.kept.push("the old tables at the source, which take writes again".into()),
            OldTables::Dropped => {}
        }
        Ok(())
    }
}
