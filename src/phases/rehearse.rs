//! `migrate rehearse`: shows before a cut over that the way back works, with real rows, in transactions that are rolled
//! back. It is a gate of the cut over.

use serde_json::json;

use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::plan::How;
use crate::store::Side;

use super::owner::Owner;
use super::report::{GateLine, RehearseReport, RehearsedTable};
use super::session::Session;
use super::survey::{Survey, full_hex};

/// Rows of each table, in transactions of so many: writers of the source wait for one of them at the most.
const ROWS: u64 = 500;
const AT_ONCE: usize = 50;
const REHEARSED: &str = "rehearsed";

impl Session {
    pub async fn rehearse(&self) -> Result<RehearseReport> {
        let survey = self.survey().await?;
        self.check_begun(&survey).await?;
        self.check_same_plan(&survey).await?;
        let gate = self.way_back_gate(&survey).await?;
        if !gate.open {
            return Err(Error::new(Kind::Gate, format!("the way back: {}", gate.state)).hint(gate.opens_by));
        }
        let way = self.way_of(&survey, Owner::Target)?;
        let mut report = RehearseReport { migration: self.migration().to_owned(), ..RehearseReport::default() };
        for map in &way.layout.tables {
            self.check_stop()?;
            self.reporter.event(&Event::Note(format!("rehearsing the way back of \"{}\"", map.source)));
            let rows = way.sender.page(&way.layout, map.id, Side::Source, None, ROWS).await?;
            let mut table = RehearsedTable { table: map.target.to_string(), ..RehearsedTable::default() };
            for page in rows.chunks(AT_ONCE) {
                let act = || way.receiver.rehearse(&way.layout, map.id, page);
                let done = self.patiently(act).await.context(format!("rehearsing \"{}\"", map.target))?;
                table.rows += done.rows;
                table.anew += done.anew;
                table.refused.extend(done.refused);
                table.loses.extend(done.changed);
            }
            let backs = survey.resolved.backs.iter().filter(|(id, _)| *id == map.id).flat_map(|(_, backs)| backs);
            table.lost.extend(backs.filter(|b| matches!(b.how, How::Lost(_))).map(|b| b.column.clone()));
            for list in [&mut table.refused, &mut table.loses] {
                list.sort();
                list.dedup();
            }
            report.tables.push(table);
        }
        report.works = report.tables.iter().all(|t| t.refused.is_empty() && t.loses.is_empty());
        let text =
            json!({ "at_ms": self.source.now_ms().await?, "works": report.works, "plan": full_hex(&survey.mapping) });
        let m = self.migration();
        self.source.put(m, Side::Source, REHEARSED, &text.to_string()).await?;
        self.source.journal(m, "rehearse", if report.works { "works" } else { "fails" }, "the way back").await?;
        report.next = self.command(if report.works { "cutover" } else { "plan" });
        Ok(report)
    }

    pub(super) async fn rehearsed_gate(&self, survey: &Survey) -> Result<GateLine> {
        let (name, command) = ("rehearsed", self.command("rehearse"));
        let text = self.source.get(self.migration(), Side::Source, REHEARSED).await?.unwrap_or_default();
        let last: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(match (last["works"].as_bool(), last["plan"].as_str()) {
            (None, _) => GateLine::closed(name, "never", command),
            (Some(_), Some(plan)) if plan != full_hex(&survey.mapping) => {
                GateLine::closed(name, "void: the plan or a catalogue was changed since", command)
            }
            (Some(true), _) => GateLine::open(name, "the way back works"),
            (Some(false), _) => GateLine::closed(name, "the way back did not work", command),
        })
    }
}
