//! `migrate rehearse`: whether the way back works, table by table.

use super::args::Rehearse;
use super::table::{count, table};
use super::term::escape;
use super::{Context, exit};
use crate::error::Result;
use crate::phases::report::RehearseReport;

pub async fn run(context: &Context, args: &Rehearse) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    let report = session.rehearse().await?;
    context.result(args.json, &report, || text(&report))?;
    Ok(if report.works { exit::DONE } else { exit::GATE })
}

fn text(report: &RehearseReport) -> String {
    let rows = report.tables.iter().map(|t| {
        let lost = t.lost.iter().chain(&t.loses).cloned().collect::<Vec<_>>().join(", ");
        [t.table.clone(), count(t.rows), count(t.anew), count(t.refused.len() as u64), lost]
    });
    let mut text = table(["back to", ">rows", ">also anew", ">refusals", "columns lost"], rows);
    let verdict = if report.works { "the way back works" } else { "the way back does not work" };
    text += &format!("\n\n{}: {verdict}; every transaction was rolled back", escape(&report.migration));
    for table in &report.tables {
        for why in &table.refused {
            text += &format!("\n  - {}: {}", escape(&table.table), escape(why));
        }
        for column in &table.loses {
            text +=
                &format!("\n  - {}: a row that comes back has another \"{}\"", escape(&table.table), escape(column));
        }
    }
    text + &format!("\nnext: {}", report.next)
}
