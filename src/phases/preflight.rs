//! Preflight: every check of `plan`, all in one run, none of them writing anything.
//!
//! What could not be looked at because of another finding is left out; everything else is told together. An error of
//! the outside (a store that does not answer) ends it at once: nothing would be known of what depends on it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::check;
use crate::error::{Context, Error, Kind, Result};
use crate::finding::{Counted, Finding, Health};
use crate::mapping::Layout;
use crate::plan::{self, Examined, Facts, OnExisting, Problem};
use crate::schema::TableName;
use crate::store::{Role, Side};

use super::session::Session;
use super::survey::{Survey, surveyed};

/// Clocks that differ by less are taken for equal.
const CLOCKS_DIFFER_MS: i64 = 5_000;

/// No table's counting begins later than this.
const COUNTING: Duration = Duration::from_secs(300);

/// What holds for a plan that may be applied.
pub(super) struct Preflight {
    pub survey: Survey,
    pub warnings: Vec<Problem>,
}

impl Session {
    /// All checks. `Err` bears every finding, warnings too, if one of them is an error.
    pub(super) async fn preflight(&self, facts: &Facts) -> Result<Preflight> {
        let Examined { resolved, mut problems, names } = plan::examine(&self.plan, facts);
        problems.extend(resolved.warnings.iter().cloned());
        problems.extend(plan::examine_family(&self.plan, facts, &resolved));
        let names = self.known(facts, &names);
        let lacking = self.missing_rights(&names).await?;
        let lacks = |role| lacking.iter().any(|(lacking, _)| *lacking == role);
        let (may_read, may_look) = (!lacks(Role::SourceRun), !lacks(Role::TargetRun));
        problems.extend(self.rights_problem(&lacking));
        let (found, healths) = self.check_health(facts, &names, &resolved).await?;
        problems.extend(found);
        problems.extend(self.check_clocks().await?);
        let mut survey = surveyed(resolved, facts);
        if may_look {
            problems.extend(self.check_emptiness(&survey).await?);
        }
        if may_read {
            problems.extend(self.check_data(facts, &survey, &healths).await?);
        }
        let broker = self.check_broker().await;
        match broker {
            Ok(found) => problems.extend(found),
            // Told alone it is what it is: an error that may pass.
            Err(e) if !problems.iter().any(Problem::is_error) => return Err(e),
            Err(e) => problems.push(self.plan.at_whole(broker_finding(&e))),
        }
        if problems.iter().any(Problem::is_error) {
            return Err(plan::to_error(problems));
        }
        plan::sort(&mut problems);
        self.define(&mut survey.resolved, facts).await?;
        Ok(Preflight { survey, warnings: problems })
    }

    /// The pairs of which both tables are there, or one is to be made.
    fn known(&self, facts: &Facts, names: &Layout) -> Layout {
        let is_table = |t: &crate::schema::Table| {
            !t.obstacles.iter().any(|o| o.check == &check::NOT_A_TABLE || o.check == &check::SYSTEM_TABLE)
        };
        let mut known = names.clone();
        known.tables.retain(|map| {
            facts.source.get(&map.source).is_some_and(is_table)
                && facts.target.get(&map.target).map_or(self.plan.create_tables, is_table)
        });
        known
    }

    /// What each login lacks for its role, as `side (login): statement`.
    async fn missing_rights(&self, layout: &Layout) -> Result<Vec<(Role, String)>> {
        let mut lacking = Vec::new();
        for (store, role, side, login) in self.parts().await? {
            let missing = store.missing_rights(role, layout).await;
            for statement in missing.context(format_args!("the {side} ({login})"))? {
                lacking.push((role, format!("{side} ({login}): {statement}")));
            }
        }
        Ok(lacking)
    }

    fn rights_problem(&self, lacking: &[(Role, String)]) -> Option<Problem> {
        if lacking.is_empty() {
            return None;
        }
        let lines = lacking.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n  ");
        let hint = format!("let the owner run these, then try again; `{}` prints all", self.command("grants"));
        let finding = Finding::new(&check::RIGHTS, format!("rights are missing\n  {lines}"), hint);
        Some(self.plan.at_whole(finding.count(lacking.len() as u64)))
    }

    /// The same for a migration that is installed already.
    pub(super) async fn check_rights(&self, survey: &Survey) -> Result<()> {
        match self.rights_problem(&self.missing_rights(survey.layout()).await?) {
            Some(problem) => Err(plan::to_error(vec![problem])),
            None => Ok(()),
        }
    }

    /// And what both stores say of themselves.
    async fn check_health(
        &self,
        facts: &Facts,
        names: &Layout,
        resolved: &plan::Resolved,
    ) -> Result<(Vec<Problem>, [Health; 2])> {
        let source = told_once(self.source.health(Side::Source, names).await.context("the source")?);
        let target = told_once(self.target.health(Side::Target, names).await.context("the target")?);
        let mut problems = Vec::new();
        for (side, health) in [(Side::Source, &source), (Side::Target, &target)] {
            problems.extend(health.found.iter().map(|finding| self.placed(names, side, finding.clone())));
        }
        if source.identity.is_some() && source.identity == target.identity {
            let same = names.tables.iter().filter(|map| map.source == map.target);
            problems.extend(same.map(|map| {
                let message = format!("\"{}\" is to be moved into itself: both urls lead to one store", map.source);
                let finding =
                    Finding::new(&check::SAME_TABLE, message, "correct the target's url, or name it with `to:`");
                self.plan.at_target(map.id, finding.table(&map.target))
            }));
        }
        problems.extend(encoding(&source, &target).map(|finding| self.plan.at_whole(finding)));
        problems.extend(plan::unshared_rules(&self.plan, facts, resolved, &source.rules, &target.rules));
        problems.extend(self.check_space(names, target.free_bytes).await?);
        Ok((problems, [source, target]))
    }

    fn placed(&self, names: &Layout, side: Side, finding: Finding) -> Problem {
        let named = |table: &TableName| match side {
            Side::Source => names.tables.iter().find(|map| map.source == *table),
            Side::Target => names.tables.iter().find(|map| map.target == *table),
        };
        let map = finding.table.as_ref().and_then(named).map(|map| map.id);
        match (map, side) {
            (Some(id), Side::Source) => self.plan.at_source(id, finding),
            (Some(id), Side::Target) => self.plan.at_target(id, finding),
            (None, _) => {
                let name = if side == Side::Source { "the source" } else { "the target" };
                let message = format!("{name}: {}", finding.message);
                self.plan.at_whole(Finding { message, ..finding })
            }
        }
    }

    async fn check_space(&self, names: &Layout, free: Option<u64>) -> Result<Option<Problem>> {
        let Some(free) = free else { return Ok(None) };
        let mut bytes = 0;
        for map in &names.tables {
            bytes += self.source.size(&map.source).await?.bytes;
        }
        Ok(space(bytes, free).map(|finding| self.plan.at_whole(finding)))
    }

    async fn check_clocks(&self) -> Result<Option<Problem>> {
        let mut off = [0; 2];
        for (off, store) in off.iter_mut().zip([&self.source, &self.target]) {
            let before = local_ms();
            let now = store.now_ms().await?;
            // The answer is of some moment in between.
            *off = now - (before + local_ms()) / 2;
        }
        Ok(clocks(off[0], off[1]).map(|finding| self.plan.at_whole(finding)))
    }

    pub(super) async fn check_emptiness(&self, survey: &Survey) -> Result<Option<Problem>> {
        if self.plan.on_existing == OnExisting::Replace {
            return Ok(None);
        }
        let full = self.full_targets(survey).await?;
        let Some(first) = full.first() else { return Ok(None) };
        let names = full.iter().map(|(_, name)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let hint =
            "empty it, or say `on_existing: replace` in the plan: rows that the source does not have are then removed";
        let message = format!("the target holds rows already in {names}");
        Ok(Some(self.plan.at_target(first.0, Finding::new(&check::NOT_EMPTY, message, hint).table(&first.1))))
    }

    /// Rows of the source that the target would refuse, counted.
    async fn check_data(&self, facts: &Facts, survey: &Survey, healths: &[Health; 2]) -> Result<Vec<Problem>> {
        let began = Instant::now();
        let (suspects, mut problems) = plan::suspects(&self.plan, facts, &survey.resolved, healths);
        for map in &survey.layout().tables {
            let own: Vec<_> = suspects.iter().filter(|s| s.table == map.id).cloned().collect();
            if own.is_empty() {
                continue;
            }
            self.check_stop()?;
            let counts = match began.elapsed() < COUNTING {
                true => self.source.count(survey.layout(), &own).await.context("the source")?,
                false => vec![Counted::Unknown("the time for counting is used up".to_owned()); own.len()],
            };
            for (suspect, counted) in own.iter().zip(counts) {
                match counted {
                    Counted::Rows(0) => {}
                    Counted::Rows(rows) => {
                        problems.push(self.plan.at_source(map.id, plan::counted(map, suspect, rows)))
                    }
                    Counted::Unknown(why) => {
                        let message = format!(
                            "rows of \"{}\" could not be counted for {} ({}) in [{}]: {why}",
                            map.source,
                            suspect.check.id,
                            suspect.check.name,
                            plan::suspect_names(map, &suspect.columns)
                        );
                        let finding = Finding::new(&check::NOT_COUNTED, message, check::NOT_COUNTED.way_out);
                        problems.push(self.plan.at_source(map.id, finding.table(&map.source)));
                    }
                }
            }
        }
        Ok(problems)
    }

    async fn check_broker(&self) -> Result<Vec<Problem>> {
        match self.transport.probe(self.plan.backfill.chunk_bytes).await {
            Ok(found) => Ok(found.into_iter().map(|finding| self.plan.at_whole(finding)).collect()),
            Err(e) if e.kind == Kind::Plan => Ok(vec![self.plan.at_whole(broker_finding(&e))]),
            Err(e) => Err(e),
        }
    }
}

/// A table that stands in several pairs is looked at for each.
fn told_once(mut health: Health) -> Health {
    let (mut found, mut rules) = (Vec::new(), Vec::new());
    for finding in health.found {
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    for rule in health.rules {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    (health.found, health.rules) = (found, rules);
    health
}

fn broker_finding(e: &Error) -> Finding {
    let check = e.check_id().and_then(check::find).unwrap_or(&check::BROKER);
    Finding::new(check, e.message(), e.hint_text().unwrap_or(check.way_out))
}

fn encoding(source: &Health, target: &Health) -> Option<Finding> {
    let unicode = |name: &str| name.starts_with("UTF");
    let (Some(from), Some(to)) = (&source.encoding, &target.encoding) else { return None };
    if from == to || unicode(to) {
        return None;
    }
    let message = format!("the source keeps text in {from}, the target in {to}, which lacks most of its characters");
    Some(Finding::new(&check::ENCODING, message, "use a target database with the encoding UTF8"))
}

/// The rows and their indexes; twice the source's size is a cautious guess.
fn space(bytes: u64, free: u64) -> Option<Finding> {
    let wanted = bytes.saturating_mul(2);
    let mib = |n: u64| n.div_ceil(1 << 20);
    let message = || format!("the target's disk has {} MiB free, what comes may take {} MiB", mib(free), mib(wanted));
    (free < wanted).then(|| Finding::new(&check::FREE_SPACE, message(), check::FREE_SPACE.way_out))
}

/// How far the two stores' clocks are ahead of this machine's.
fn clocks(source: i64, target: i64) -> Option<Finding> {
    let differ = |a: i64, b: i64| a.abs_diff(b) > CLOCKS_DIFFER_MS.unsigned_abs();
    let told = |off: i64| format!("{:+.1} s", off as f64 / 1000.0);
    let message = || {
        format!(
            "against this machine's clock the source's is off by {}, the target's by {}",
            told(source),
            told(target)
        )
    };
    (differ(source, target) || differ(source, 0) || differ(target, 0))
        .then(|| Finding::new(&check::CLOCK, message(), check::CLOCK.way_out))
}

fn local_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told() {
        assert_eq!(clocks(0, 4_000), None);
        assert_eq!(clocks(-3_000, 1_000), None);
        let told = clocks(-2_000, 3_600_000).map(|f| (f.check.id, f.message));
        let text = "against this machine's clock the source's is off by -2.0 s, the target's by +3600.0 s";
        assert_eq!(told, Some(("MG0408", text.to_owned())));
        assert!(clocks(9_000, 9_000).is_some(), "both are off together");
    }

    #[test]
    fn a_full_disk_is_foreseen() {
        assert_eq!(space(1 << 20, 2 << 20), None);
        assert_eq!(space(2 << 20, 3 << 20).map(|f| f.check.id), Some("MG0407"));
    }

    #[test]
    fn only_a_smaller_encoding_is_refused() {
        let of = |name: &str| Health { encoding: Some(name.to_owned()), ..Health::default() };
        assert_eq!(encoding(&of("LATIN1"), &of("UTF8")), None);
        assert_eq!(encoding(&of("UTF-16LE"), &of("UTF8")), None);
        assert_eq!(encoding(&of("SQL_ASCII"), &of("SQL_ASCII")), None);
        assert_eq!(encoding(&of("UTF8"), &of("LATIN1")).map(|f| f.check.id), Some("MG0404"));
        assert_eq!(encoding(&of("UTF8"), &Health::default()), None, "unknown is no finding");
    }
}
