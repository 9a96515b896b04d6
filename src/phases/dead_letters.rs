//! `migrate dead-letters`: rows that a store refused and that wait, in both directions.

use crate::error::{Error, Kind, Result};
use crate::link::compare::show_key;
use crate::link::heard::parked_text;
use crate::mapping::TableMap;
use crate::store::{Parked, Side};

use super::outcome;
use super::owner::Owner;
use super::report::{DeadLetter, DeadLettersReport, GateLine};
use super::session::Session;
use super::survey::Survey;
use super::way::Way;

/// Which of them a person means.
#[derive(Debug, Clone)]
pub enum Letters {
    All,
    /// As `list` shows them: `t1` waits at the target, `s1` at the source.
    These(Vec<String>),
}

impl Letters {
    fn has(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(ids) => ids.iter().any(|asked| asked.eq_ignore_ascii_case(id)),
        }
    }
}

/// What waits behind one link.
struct Waiting {
    giver: Owner,
    way: Way,
    parked: Vec<Parked>,
}

impl Waiting {
    fn id(&self, parked: &Parked) -> String {
        let at = if self.giver == Owner::Source { 't' } else { 's' };
        format!("{at}{}", parked.id)
    }
}

impl Session {
    /// Of both links, the oldest first.
    pub async fn dead_letters(&self, which: &Letters, show_values: bool) -> Result<DeadLettersReport> {
        let survey = self.survey().await?;
        let mut report = DeadLettersReport { migration: self.migration().to_owned(), ..DeadLettersReport::default() };
        for w in self.waiting(&survey, which).await? {
            let now_ms = w.way.receiver.now_ms().await?;
            let letters = w.parked.iter().map(|p| letter(&w, p, now_ms, show_values));
            report.letters.extend(letters);
        }
        report.next = match report.letters.is_empty() {
            true => String::new(),
            false => format!("mend the rows or the constraint, then {} --all", self.dead_letters_command("retry")),
        };
        Ok(report)
    }

    /// Marks their keys dirty at the sender: what it holds by then is brought again. What waits no more goes by itself.
    pub async fn retry_dead_letters(&self, which: &Letters) -> Result<DeadLettersReport> {
        let survey = self.survey().await?;
        let mut report = DeadLettersReport { migration: self.migration().to_owned(), ..DeadLettersReport::default() };
        for w in self.waiting(&survey, which).await? {
            report.count += w.parked.len() as u64;
            for (table, keys) in outcome::by_table(w.parked.into_iter().map(|p| (p.table, p.key))) {
                self.patiently(|| w.way.sender.mark_dirty(&w.way.layout, table, &keys)).await?;
            }
        }
        self.source.journal(self.migration(), "dead-letters", "retry", &format!("{} rows", report.count)).await?;
        report.next = match self.held().await? {
            Some(holder) => {
                format!("\"{holder}\" brings them; {} says what is left", self.dead_letters_command("list"))
            }
            None => format!("{}   brings what they hold now", self.command("apply")),
        };
        Ok(report)
    }

    /// Forgets them. The rows stay as they are: different, as `verify` will say.
    pub async fn drop_dead_letters(&self, which: &Letters) -> Result<DeadLettersReport> {
        let survey = self.survey().await?;
        let mut report = DeadLettersReport { migration: self.migration().to_owned(), ..DeadLettersReport::default() };
        report.count = self.forget_parked(&survey, which).await?;
        self.source.journal(self.migration(), "dead-letters", "drop", &format!("{} rows", report.count)).await?;
        report.next = format!("{}   compares them like any other row", self.command("verify"));
        Ok(report)
    }

    async fn waiting(&self, survey: &Survey, which: &Letters) -> Result<Vec<Waiting>> {
        let mut found = Vec::new();
        for giver in [Owner::Source, Owner::Target] {
            let Some(way) = self.receiving(survey, giver).await? else { continue };
            let parked = way.receiver.parked(&way.layout.migration).await?;
            found.push(Waiting { giver, way, parked });
        }
        let known: Vec<String> = found.iter().flat_map(|w| w.parked.iter().map(|p| w.id(p))).collect();
        if let Letters::These(ids) = which
            && let Some(missing) = ids.iter().find(|id| !known.iter().any(|k| k.eq_ignore_ascii_case(id)))
        {
            let text = format!("no row is parked as \"{missing}\"");
            return Err(Error::new(Kind::Usage, text).hint(self.dead_letters_command("list")));
        }
        for w in &mut found {
            let mut parked = std::mem::take(&mut w.parked);
            parked.retain(|p| which.has(&w.id(p)));
            w.parked = parked;
        }
        Ok(found)
    }

    /// The link's way, if its receiver was ever installed.
    async fn receiving(&self, survey: &Survey, giver: Owner) -> Result<Option<Way>> {
        if giver == Owner::Target && survey.back.is_err() {
            return Ok(None);
        }
        let way = self.way_of(survey, giver)?;
        let installed = way.receiver.is_installed(&way.layout.migration, Side::Target).await?;
        Ok(installed.then_some(way))
    }

    /// Of both directions.
    pub(super) async fn parked_count(&self, survey: &Survey) -> Result<u64> {
        let mut count = 0;
        for giver in [Owner::Source, Owner::Target] {
            if let Some(way) = self.receiving(survey, giver).await? {
                count += way.receiver.parked_count(&way.layout.migration).await?;
            }
        }
        Ok(count)
    }

    /// How many there were.
    pub(super) async fn forget_parked(&self, survey: &Survey, which: &Letters) -> Result<u64> {
        let mut count = 0;
        for w in self.waiting(survey, which).await? {
            let ids: Vec<u64> = w.parked.iter().map(|p| p.id).collect();
            count += self.patiently(|| w.way.receiver.forget_parked(&w.way.layout.migration, &ids)).await?;
        }
        Ok(count)
    }

    /// Where a row waits the stores are known to differ, so there is nothing to prove.
    pub(super) async fn refuse_while_parked(&self, survey: &Survey) -> Result<()> {
        match self.parked_count(survey).await? {
            0 => Ok(()),
            count => Err(Error::new(Kind::Gate, parked_text(count)).hint(self.dead_letters_command("list"))),
        }
    }

    pub(super) async fn parked_gate(&self, survey: &Survey) -> Result<GateLine> {
        let name = "dead letters";
        Ok(match self.parked_count(survey).await? {
            0 => GateLine::open(name, "no row waits"),
            count => GateLine::closed(name, parked_text(count), self.dead_letters_command("list")),
        })
    }

    pub(super) fn dead_letters_command(&self, what: &str) -> String {
        self.command("dead-letters").replacen("dead-letters", &format!("dead-letters {what}"), 1)
    }
}

fn key_columns(map: &TableMap) -> String {
    map.target_key().map(|c| c.target.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn letter(waiting: &Waiting, parked: &Parked, now_ms: i64, show_values: bool) -> DeadLetter {
    let map = waiting.way.layout.table(parked.table);
    DeadLetter {
        id: waiting.id(parked),
        store: waiting.giver.other().name().to_owned(),
        table: map.map_or_else(|| parked.table.to_string(), |map| map.target.to_string()),
        key_columns: map.map(key_columns).unwrap_or_default(),
        key: show_key(&parked.key, show_values),
        reason: parked.reason.clone(),
        position: parked.at.position.0,
        times: parked.times,
        since_ms: (now_ms - parked.first_ms).max(0),
    }
}
