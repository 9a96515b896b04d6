//! `migrate survive`: a person names the store whose data counts, after one of them was rewound behind a change of owner
//! (a restored backup, a failover that lost its tail).
//!
//! Nothing is merged: what only the other store has is lost, and is shown before. The gates are set in an order in which
//! each step alone reads as torn or as done, so a kill in between leaves nothing that writes: first the survivor counts a
//! higher turn, then the other one closes with it, then the survivor opens. Before that both links were told how to
//! begin: the survivor's by copying everything, the other's as a copy that is made.

use crate::entry::Difference;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::link::compare::PassResult;
use crate::mapping::TableMap;
use crate::store::{SURVIVES, Side};
use crate::task::failpoint;
use crate::value::Key;

use super::dead_letters::Letters;
use super::host::Host;
use super::outcome;
use super::owner::Owner;
use super::report::{SurviveReport, SurviveTable};
use super::session::Session;
use super::survey::Survey;
use super::way::Way;

/// Rows that are looked at together.
const PAGE: u64 = 2_000;

impl Session {
    /// What each store has that the other has not. Read now, in pages: writers may move it.
    pub async fn compare_stores(&self, side: Owner) -> Result<SurviveReport> {
        self.compare(&self.survey().await?, side).await
    }

    async fn compare(&self, survey: &Survey, side: Owner) -> Result<SurviveReport> {
        let (_, turns) = self.known_turn().await?;
        if turns == 0 {
            let text = "nothing was cut over, so there is nothing to choose: a rewound store is copied anew by itself";
            return Err(Error::new(Kind::Gate, text).hint(self.command("apply")));
        }
        let way = self.forward(survey);
        let mut report = SurviveReport { migration: self.migration().to_owned(), ..SurviveReport::default() };
        (report.survivor, report.next) = (side.name().to_owned(), format!("{} --follow", self.command("apply")));
        for map in &way.layout.tables {
            self.check_stop()?;
            self.reporter.event(&Event::Note(format!("comparing \"{}\"", map.source)));
            let here = looked_through(&way, map, Side::Source).await?;
            let there = looked_through(&way, map, Side::Target).await?;
            report.tables.push(SurviveTable {
                source: map.source.to_string(),
                target: map.target.to_string(),
                source_rows: here.rows,
                target_rows: there.rows,
                only_source: here.alone,
                only_target: there.alone,
                differ: here.differ,
            });
        }
        Ok(report)
    }

    /// The highest turn that either store knows of any part, and how many changes of owner that were.
    async fn known_turn(&self) -> Result<(u64, u64)> {
        let m = self.migration();
        let (mut highest, mut all) = (0, 0);
        for (store, side) in [(&self.source, Side::Source), (&self.target, Side::Target)] {
            if store.is_installed(m, side).await? && store.has_gate(m, side).await? {
                let gate = store.gate(&super::abort::bare(m), side).await?;
                highest = highest.max(gate.parts().map(|p| p.turn).max().unwrap_or_default());
                all += gate.turns();
            }
        }
        Ok((highest, all))
    }

    /// Makes `side` the owner of everything, and the other store equal to it. May be repeated, also for the other side.
    pub async fn survive(&self, side: Owner) -> Result<SurviveReport> {
        let survey = self.survey().await?;
        let mut report = self.compare(&survey, side).await?;
        if let Some(holder) = self.held().await? {
            let text = format!("\"{holder}\" runs this migration");
            return Err(Error::new(Kind::Locked, text).hint("stop that process first"));
        }
        self.install(&survey).await?;
        let (way, other) = (self.way_of(&survey, side)?, self.way_of(&survey, side.other())?);
        self.prepare_back(&self.back(&survey)?, true).await?;
        self.source.journal(self.migration(), "survive", "begun", &format!("the {} counts", side.name())).await?;
        for (way, how) in [(&way, "anew"), (&other, "copied")] {
            way.sender.put(&way.layout.migration, Side::Source, SURVIVES, how).await?;
        }
        failpoint("survive.noted");
        // The survivor's rows are brought anew, and the other's count no more.
        self.forget_parked(&survey, &Letters::All).await?;
        self.name_scopes(&way, None).await?;
        let (highest, _) = self.known_turn().await?;
        // Even: the source's.
        let parity = u64::from(side == Owner::Target);
        let turn = highest + 1 + u64::from((highest + 1) % 2 != parity);
        self.set_owner(&survey, side, turn).await?;
        report.turn = turn;
        let result = self.copy_over(&way).await?;
        (report.copied, report.mismatches) = (true, result.mismatches);
        let verified = self.present(&way, &result, false).await?;
        self.note_verify(Some(&verified)).await?;
        let ownership = self.agreed(survey.layout()).await?;
        self.join_numbers(&survey, &ownership).await?;
        self.publish_route(&ownership, 0).await?;
        self.source.journal(self.migration(), "survive", "done", &format!("the {} owns", side.name())).await?;
        Ok(report)
    }

    async fn set_owner(&self, survey: &Survey, side: Owner, turn: u64) -> Result<()> {
        let layout = survey.layout();
        let of = |owner: Owner| match owner {
            Owner::Source => (&self.source_admin, &self.source, Side::Source),
            Owner::Target => (&self.target_admin, &self.target, Side::Target),
        };
        let ((mine, run, here), (other, other_run, there)) = (of(side), of(side.other()));
        let (login, other_login) = (run.who().await?, other_run.who().await?);
        self.patiently(|| mine.name_turn(layout, here, &login, None, turn)).await?;
        failpoint("survive.counted");
        self.patiently(|| other.name_turn(layout, there, &other_login, Some(true), turn)).await?;
        failpoint("survive.closed");
        self.patiently(|| mine.name_turn(layout, here, &login, Some(false), turn)).await?;
        failpoint("survive.opened");
        Ok(())
    }

    /// Every row again, and what only the other store has is removed.
    async fn copy_over(&self, way: &Way) -> Result<PassResult> {
        let name = way.layout.link().name();
        self.reporter.event(&Event::Phase { name: "copying over".into(), detail: format!("the {name} link") });
        let mut host = Host::start(self, way, false, vec![]);
        let result = async {
            host.until(self, |p| p.generations_begun > 0 && p.backfilled).await?;
            loop {
                let result = host.verify(self).await?;
                let extra = result.differences.iter().all(|(.., what)| *what == Difference::Extra);
                if result.differences.is_empty() || !extra {
                    return Ok(result);
                }
                host.repair(self, outcome::keys_by_table(&result)).await?;
            }
        }
        .await;
        let ended = host.shut_down().await;
        let result = result?;
        ended.map(|()| result)
    }
}

#[derive(Default)]
struct Looked {
    rows: u64,
    /// Whose key the other store has not.
    alone: u64,
    differ: u64,
}

/// One side's rows, and what the other store has under their keys.
async fn looked_through(way: &Way, map: &TableMap, side: Side) -> Result<Looked> {
    let (one, other, other_side) = match side {
        Side::Source => (&way.sender, &way.receiver, Side::Target),
        Side::Target => (&way.receiver, &way.sender, Side::Source),
    };
    let (mut looked, mut after): (Looked, Option<Key>) = Default::default();
    loop {
        let page = one.page(&way.layout, map.id, side, after.as_ref(), PAGE).await?;
        let keys: Vec<Key> = page.iter().map(|row| map.key_of(row)).collect();
        let found = other.look_up(&way.layout, map.id, other_side, &keys).await?;
        looked.rows += page.len() as u64;
        for (row, found) in page.iter().zip(&found) {
            looked.alone += u64::from(found.is_none());
            looked.differ += u64::from(found.as_ref().is_some_and(|found| found != row));
        }
        after = keys.last().cloned();
        if (page.len() as u64) < PAGE {
            return Ok(looked);
        }
    }
}
