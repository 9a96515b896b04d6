//! `migrate survive`: shows what each store has that the other has not, and asks before one of them is overwritten.

use super::args::{Survive, Survivor};
use super::table::{count, table};
use super::term::{ask, escape};
use super::{Context, exit, hint};
use crate::error::{Error, Kind, Result};
use crate::phases::Owner;
use crate::phases::report::SurviveReport;

pub async fn run(context: &Context, args: &Survive) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    let side = match args.side {
        Survivor::Source => Owner::Source,
        Survivor::Target => Owner::Target,
    };
    if !args.yes {
        let compared = session.compare_stores(side).await?;
        context.progress.finish();
        context.result(args.json, &compared, || text(&compared))?;
        let question = format!("let the {} count? what only the {} has is lost", side.name(), side.other().name());
        if ask(&question) != Some(true) {
            let command = format!("migrate survive {} --side {} --yes", hint::quoted(&args.plan), side.name());
            return Err(Error::new(Kind::Gate, "nothing was changed: a person decides").hint(command));
        }
    }
    let report = session.survive(side).await?;
    context.result(args.json, &report, || text(&report))?;
    Ok(if report.mismatches == 0 { exit::DONE } else { exit::DIFFERS })
}

fn text(report: &SurviveReport) -> String {
    let rows = report.tables.iter().map(|t| {
        let counts = [t.source_rows, t.target_rows, t.only_source, t.only_target, t.differ].map(count);
        let [source, target, only_source, only_target, differ] = counts;
        [t.source.clone(), t.target.clone(), source, target, only_source, only_target, differ]
    });
    let head = ["at the source", "at the target", ">rows", ">rows there", ">only source", ">only target", ">differ"];
    let mut text = table(head, rows);
    let (name, side) = (escape(&report.migration), &report.survivor);
    text += &match report.copied {
        false => format!("\n\n{name}: as they were read just now; nothing was changed"),
        true => format!(
            "\n\n{name}: the {side} counts, owns every row (turn {}), and the other store is equal to it ({} digests differ)\nnext: {}",
            report.turn, report.mismatches, report.next
        ),
    };
    text
}
