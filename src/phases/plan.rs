//! `migrate plan`: looks at everything that `apply` will meet, changes nothing, and says what would be done.

use crate::entry::TableId;
use crate::error::Result;
use crate::plan::{Back, Facts, How, Problem};
use crate::schema::TableName;
use crate::store::TableSize;

use super::outcome;
use super::preflight::Preflight;
use super::report::{PlanReport, PlannedBack, PlannedPhase, PlannedTable, Tolerance};
use super::session::Session;
use super::survey::Survey;

/// What a cautious machine moves per second; only for the estimate, which is marked as one.
const ROWS_PER_S: u64 = 50_000;

impl Session {
    pub async fn plan(&self) -> Result<PlanReport> {
        let facts = self.look().await?;
        let installed = self.is_installed().await?;
        let Preflight { survey, warnings } = match installed {
            true => self.resumed(&facts).await?,
            false => self.preflight(&facts).await?,
        };
        let tables = self.planned_tables(&survey).await?;
        let done = installed && self.progress_is_done(&survey).await?;
        let verified = installed && self.last_verify().await?.is_some();
        let mut phases = vec![self.dual_write(&survey, installed), backfill(&tables, done)];
        let additions = self.additions(&survey).await?;
        if !additions.is_empty() {
            let steps = additions.iter().map(|a| format!("{a}, after the backfill")).collect();
            phases.push(PlannedPhase { name: "indexes".into(), steps, done: false });
        }
        phases.push(PlannedPhase { name: "verify".into(), steps: verify_steps(&tables), done: done && verified });
        let mut told: Vec<_> = warnings.iter().map(|p| (p.line(), p.hint.clone())).collect();
        told.extend(survey.resolved.left_out.iter().map(|text| (text.clone(), None)));
        Ok(PlanReport {
            migration: self.migration().to_owned(),
            source: format!("{} ({})", self.source.address(), self.plan.source.team),
            target: format!("{} ({})", self.target.address(), self.plan.target.team),
            events: self.transport.name(),
            changes: phases.iter().any(|p| !p.done),
            phases,
            tables,
            findings: warnings.iter().map(Problem::json).collect(),
            warnings: told,
            left_out: survey.resolved.left_out.clone(),
        })
    }

    /// A migration that began: what it was begun with must hold, and what it needs from outside must be there.
    async fn resumed(&self, facts: &Facts) -> Result<Preflight> {
        let survey = self.survey_of(facts).await?;
        self.check_rights(&survey).await?;
        self.check_same_plan(&survey).await?;
        let mut warnings = survey.resolved.warnings.clone();
        let probed = self.transport.probe(self.plan.backfill.chunk_bytes).await?;
        warnings.extend(probed.into_iter().map(|finding| self.plan.at_whole(finding)));
        Ok(Preflight { survey, warnings })
    }

    async fn progress_is_done(&self, survey: &Survey) -> Result<bool> {
        Ok(self.source.progress(survey.layout()).await?.iter().all(|(_, p)| p.done))
    }

    async fn planned_tables(&self, survey: &Survey) -> Result<Vec<PlannedTable>> {
        let mut tables = Vec::new();
        for map in &survey.layout().tables {
            let size = self.source.size(&map.source).await?;
            tables.push(PlannedTable {
                source: map.source.to_string(),
                target: map.target.to_string(),
                key: map.source_key.iter().map(|c| c.name.clone()).collect(),
                columns: map.columns.len() + map.constants.len(),
                rows_estimate: size.rows,
                bytes_estimate: size.bytes,
                chunks_estimate: self.chunks(&size),
                time_estimate_ms: size.rows * 1000 / ROWS_PER_S,
                create: is_made(survey, &map.target),
                rollback: rollback(survey, map.id),
                tolerances: outcome::tolerances(map),
            });
        }
        Ok(tables)
    }

    fn chunks(&self, size: &TableSize) -> u64 {
        let by_rows = size.rows.div_ceil(self.plan.backfill.chunk_rows.max(1));
        by_rows.max(size.bytes.div_ceil(self.plan.backfill.chunk_bytes.max(1))).max(1)
    }

    fn dual_write(&self, survey: &Survey, done: bool) -> PlannedPhase {
        let layout = survey.layout();
        let mut steps = vec![format!("control tables of migration \"{}\" in both stores", layout.migration)];
        steps.extend(survey.resolved.create.iter().map(|t| format!("table \"{}\" at the target", t.name)));
        steps.extend(layout.tables.iter().map(|t| format!("capture triggers on \"{}\" at the source", t.source)));
        steps.push(match &self.plan.events {
            Some(_) => format!("a stream at {}", self.transport.name()),
            None => "no stream: the direct transport, in process".to_owned(),
        });
        PlannedPhase { name: "dual-write".into(), steps, done }
    }
}

fn verify_steps(tables: &[PlannedTable]) -> Vec<String> {
    let mut steps = vec![format!(
        "every range of {} tables by digest at one position on both sides, then each table's whole key set",
        tables.len()
    )];
    for table in tables {
        let tolerated =
            |t: &Tolerance| format!("\"{}\" of \"{}\" may lie apart by {}", t.column, table.target, t.tolerance);
        steps.extend(table.tolerances.iter().map(tolerated));
    }
    steps
}

fn rollback(survey: &Survey, table: TableId) -> Vec<PlannedBack> {
    let backs = survey.resolved.backs.iter().find(|(id, _)| *id == table);
    let planned = |back: &Back| {
        let (how, by, from) = match &back.how {
            How::Name(from) => ("derived", "rename".to_owned(), Some(from.clone())),
            How::Cast(from, _) => ("derived", "cast".to_owned(), Some(from.clone())),
            How::Given(sql) => ("given", sql.clone(), None),
            How::Lost(why) => ("lost", why.clone(), None),
        };
        PlannedBack { column: back.column.clone(), how: how.to_owned(), by, from }
    };
    backs.iter().flat_map(|(_, backs)| backs).map(planned).collect()
}

fn is_made(survey: &Survey, target: &TableName) -> bool {
    survey.resolved.create.iter().any(|t| t.name == *target)
}

fn backfill(tables: &[PlannedTable], done: bool) -> PlannedPhase {
    let step = |t: &PlannedTable| {
        format!("\"{}\" to \"{}\": ~{} rows in ~{} chunks", t.source, t.target, t.rows_estimate, t.chunks_estimate)
    };
    PlannedPhase { name: "backfill".into(), steps: tables.iter().map(step).collect(), done }
}
