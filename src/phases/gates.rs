//! The gates before a cut over: each is open, or says what opens it. What can't be measured is closed.

use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::mapping::{Layout, TableMap};
use crate::plan;
use crate::store::Side;

use super::owner::Owner;
use super::report::{ApproveReport, GateLine};
use super::session::Session;
use super::survey::{Survey, full_hex};

impl Session {
    /// All of them, and an error that names the closed ones.
    pub(super) async fn check_gates(&self, survey: &Survey, to: Owner) -> Result<()> {
        let gates = self.gate_lines(survey, to).await?;
        if gates.iter().all(|g| g.open) {
            return Ok(());
        }
        let lines: Vec<String> = gates.iter().map(GateLine::line).collect();
        let closed = gates.iter().filter(|g| !g.open).count();
        let first = gates.iter().find(|g| !g.open).map(|g| g.opens_by.clone()).unwrap_or_default();
        let text = format!("{closed} of {} gates are closed\n{}", gates.len(), lines.join("\n"));
        let findings = gates.iter().map(|g| json!(g)).collect();
        Err(Error::new(Kind::Gate, text).hint(first).findings(findings))
    }

    pub(super) async fn gate_lines(&self, survey: &Survey, to: Owner) -> Result<Vec<GateLine>> {
        let mut gates = vec![self.whole_gate(survey), self.way_back_gate(survey).await?];
        gates.push(self.parked_gate(survey).await?);
        // On the way back nobody waits for papers: the store that is left may be on fire.
        if to == Owner::Target {
            gates.push(self.verified_gate().await?);
            gates.push(self.rehearsed_gate(survey).await?);
            for team in &self.plan.cutover.approvals {
                gates.push(self.approval_gate(team).await?);
            }
        }
        Ok(gates)
    }

    /// A store's gate refuses writes by table: whoever writes other rows of one would be refused too.
    fn whole_gate(&self, survey: &Survey) -> GateLine {
        let name = "whole tables";
        let layout = survey.layout();
        let filtered = layout.tables.iter().find(|map| map.filter.is_some()).map(|map| (&map.source, "a filter"));
        let shared = shared_target(layout).map(|map| (&map.target, "constants or \"owns\""));
        match filtered.or(shared) {
            None => GateLine::open(name, "every table is this migration's alone"),
            Some(_) if self.plan.cutover.whole_tables => {
                GateLine::open(name, "the plan accepts that other rows of its tables are refused too")
            }
            Some((table, why)) => GateLine::closed(
                name,
                format!("\"{table}\" has {why}: writes of its other rows would be refused too"),
                "cutover: { whole_tables: true } in the plan, if nobody writes those",
            ),
        }
    }

    pub(super) async fn way_back_gate(&self, survey: &Survey) -> Result<GateLine> {
        let name = "way back";
        let layout = match &survey.back {
            Ok(layout) => layout,
            Err(why) => {
                return Ok(GateLine::closed(name, why.join("; "), self.command("plan")));
            }
        };
        let mut lacking = Vec::new();
        for (store, role, side, login) in self.back_parts().await? {
            let missing = store.missing_rights(role, layout).await?;
            lacking.extend(missing.into_iter().map(|sql| format!("{side} ({login}): {sql}")));
        }
        Ok(match lacking.is_empty() {
            true => GateLine::open(name, "every column that must come back can, and both logins may"),
            false => {
                GateLine::closed(name, format!("rights are missing: {}", lacking.join("; ")), "let the owner run these")
            }
        })
    }

    async fn verified_gate(&self) -> Result<GateLine> {
        let (name, limit_ms) = ("verified", self.plan.cutover.verified_within_ms);
        let Some(last) = self.last_verify().await? else {
            return Ok(GateLine::closed(name, "never", self.command("verify")));
        };
        let age_ms = self.source.now_ms().await? - last["at_ms"].as_i64().unwrap_or_default();
        let clean = last["mismatches"] == 0;
        let state = format!("{} s ago, {}", age_ms.max(0) / 1000, if clean { "none differed" } else { "it differed" });
        Ok(match clean && (0..=limit_ms as i64).contains(&age_ms.max(0)) {
            true => GateLine::open(name, state),
            false => GateLine::closed(name, state, self.command("verify")),
        })
    }

    async fn approval_gate(&self, team: &str) -> Result<GateLine> {
        let name = format!("approval of {team}");
        let command = format!("{} --team {team}", self.command("approve"));
        let text = self.source.get(self.migration(), Side::Source, &approval_key(team)).await?.unwrap_or_default();
        let given: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let plan = full_hex(&plan::plan_hash(&self.plan));
        Ok(match given["plan"].as_str() {
            None => GateLine::closed(name, "not given", command),
            Some(approved) if approved != plan => GateLine::closed(name, "void: the plan was changed since", command),
            Some(_) => GateLine::open(name, "given"),
        })
    }

    /// Records that a team approves of exactly this plan.
    pub async fn approve(&self, team: &str) -> Result<ApproveReport> {
        let teams = &self.plan.cutover.approvals;
        if !teams.iter().any(|t| t == team) {
            let known = if teams.is_empty() { "none".to_owned() } else { teams.join(", ") };
            let text = format!("the plan does not ask for an approval of \"{team}\" (\"cutover.approvals\": {known})");
            return Err(Error::new(Kind::Usage, text).hint("name one of those teams"));
        }
        let survey = self.survey().await?;
        self.check_same_plan(&survey).await?;
        let plan = full_hex(&plan::plan_hash(&self.plan));
        let at_ms = self.source.now_ms().await?;
        let value = json!({ "plan": plan, "at_ms": at_ms }).to_string();
        let m = self.migration();
        self.source.put(m, Side::Source, &approval_key(team), &value).await?;
        self.source.journal(m, "approve", team, &plan).await?;
        Ok(ApproveReport { migration: m.to_owned(), team: team.to_owned(), plan })
    }
}

/// A pair whose target table may hold rows of others.
pub(super) fn shared_target(layout: &Layout) -> Option<&TableMap> {
    layout.tables.iter().find(|map| !map.constants.is_empty() || map.owned.is_some())
}

fn approval_key(team: &str) -> String {
    let hash = blake3::hash(team.as_bytes()).to_hex();
    format!("approval_{}", &hash.as_str()[..16])
}
