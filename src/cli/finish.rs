//! `migrate finish`: what carried the data goes; the old tables stay fenced, unless they are released or dropped.

use super::args::Finish;
use super::table::counted;
use super::term::{ask, escape};
use super::{Context, exit};
use crate::error::{Error, Kind, Result};
use crate::phases::OldTables;
use crate::phases::report::FinishReport;

pub async fn run(context: &Context, args: &Finish) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    let old = match (args.release_source, args.drop_source) {
        (true, _) => OldTables::Released,
        (_, true) => OldTables::Dropped,
        _ => OldTables::Fenced,
    };
    if !args.yes {
        context.progress.finish();
        let question = match old {
            OldTables::Fenced => "finish? there is no way back afterwards",
            OldTables::Released => "finish and let the old tables take writes, of which nobody hears?",
            OldTables::Dropped => "finish and drop the old tables with all their rows?",
        };
        if ask(question) == Some(false) {
            return Err(Error::new(Kind::Gate, "nothing was changed"));
        }
    }
    let report = session.finish(old).await?;
    context.result(args.json, &report, || text(&report))?;
    Ok(exit::DONE)
}

fn text(report: &FinishReport) -> String {
    let removed = counted(report.removed.len() as u64, "thing");
    let mut lines = vec![format!("{}: finished, removed {removed}", escape(&report.migration))];
    lines.extend(report.removed.iter().map(|what| format!("  - {}", escape(what))));
    lines.push("kept".to_owned());
    lines.extend(report.kept.iter().map(|what| format!("  = {}", escape(what))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lists_what_went_and_what_stayed() {
        let (removed, kept) = (vec!["schema a".to_owned()], vec!["the old tables".to_owned()]);
        let report = FinishReport { migration: "crm".into(), removed, kept };
        assert_eq!(text(&report), "crm: finished, removed 1 thing\n  - schema a\nkept\n  = the old tables");
    }
}
