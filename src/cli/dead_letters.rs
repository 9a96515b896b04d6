//! `migrate dead-letters`: lists the rows that a store refused, brings them again, or forgets them.

use super::args::{DeadLetters, DeadLettersVerb, LetterIds};
use super::table::{count, counted, duration, table};
use super::term::{ask, escape};
use super::{Context, exit, hint};
use crate::error::{Error, Kind, Result};
use crate::phases::Letters;
use crate::phases::report::{DeadLetter, DeadLettersReport};

pub async fn run(context: &Context, args: &DeadLetters) -> Result<i32> {
    match &args.verb {
        DeadLettersVerb::List { plan, json, show_values } => {
            let session = context.open(plan).await?;
            let report = session.dead_letters(&Letters::All, *show_values).await?;
            context.result(*json, &report, || listed(&report))?;
        }
        DeadLettersVerb::Show { plan, id, json, show_values } => {
            let session = context.open(plan).await?;
            let report = session.dead_letters(&Letters::These(vec![id.clone()]), *show_values).await?;
            context.result(*json, &report, || report.letters.iter().map(shown).collect::<Vec<_>>().join("\n"))?;
        }
        DeadLettersVerb::Retry { plan, which, json } => {
            let session = context.open(plan).await?;
            let report = session.retry_dead_letters(&letters(which)?).await?;
            let text = || done(&report, "will be brought again as they are then");
            context.result(*json, &report, text)?;
        }
        DeadLettersVerb::Drop { plan, which, yes, json } => {
            let (session, which) = (context.open(plan).await?, letters(which)?);
            if !yes && ask("forget them? the rows stay different, and verify will say so") != Some(true) {
                let command = format!("migrate dead-letters drop {} … --yes", hint::quoted(plan));
                return Err(Error::new(Kind::Gate, "nothing was changed: a person decides").hint(command));
            }
            let report = session.drop_dead_letters(&which).await?;
            context.result(*json, &report, || done(&report, "forgotten; no row was changed"))?;
        }
    }
    Ok(exit::DONE)
}

fn letters(which: &LetterIds) -> Result<Letters> {
    match (which.all, which.ids.is_empty()) {
        (true, _) => Ok(Letters::All),
        (false, false) => Ok(Letters::These(which.ids.clone())),
        (false, true) => Err(Error::new(Kind::Usage, "which rows: give their ids, or --all")
            .hint("`migrate dead-letters list PLAN` shows the ids")),
    }
}

fn listed(report: &DeadLettersReport) -> String {
    let name = escape(&report.migration);
    if report.letters.is_empty() {
        return format!("{name}: no row waits");
    }
    let rows = report.letters.iter().map(|l| {
        let key = format!("{} = {}", l.key_columns, l.key);
        [l.id.clone(), l.store.clone(), l.table.clone(), key, count(l.times), since(l), l.reason.clone()]
    });
    let head = ["id", "refused by", "table", "key", ">times", ">since", "reason"];
    format!("{}\n\nnext: {}", table(head, rows), report.next)
}

fn since(letter: &DeadLetter) -> String {
    duration(std::time::Duration::from_millis(letter.since_ms.unsigned_abs()))
}

fn shown(letter: &DeadLetter) -> String {
    let lines = [
        ("id", letter.id.clone()),
        ("refused by", format!("the {}", letter.store)),
        ("table", letter.table.clone()),
        ("key", format!("{} = {}", letter.key_columns, letter.key)),
        ("reason", letter.reason.clone()),
        ("position", count(letter.position)),
        ("times", count(letter.times)),
        ("since", since(letter)),
    ];
    lines.iter().map(|(name, text)| format!("  {name:<11} {}", escape(text))).collect::<Vec<_>>().join("\n")
}

fn done(report: &DeadLettersReport, what: &str) -> String {
    format!("{}: {} {what}\nnext: {}", escape(&report.migration), counted(report.count, "row"), report.next)
}
