//! `migrate abort`: removes everything of ours, and nothing else.

use super::args::{Abort, Sides as SidesArg};
use super::table::counted;
use super::term::{ask, escape};
use super::{Context, exit};
use crate::error::{Error, Kind, Result};
use crate::phases::Sides;
use crate::phases::report::AbortReport;

pub async fn run(context: &Context, args: &Abort) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    if args.drop_created && !args.yes && args.side != SidesArg::Source {
        context.progress.finish();
        // In a script the option itself is the consent; at a terminal a slip of the hand is likelier.
        if ask("drop the target tables that migrate created, with all their rows?") == Some(false) {
            return Err(
                Error::new(Kind::Gate, "nothing was removed").hint("leave out --drop-created to keep the tables")
            );
        }
    }
    let sides = match args.side {
        SidesArg::Source => Sides::Source,
        SidesArg::Target => Sides::Target,
        SidesArg::Both => Sides::Both,
    };
    let report = session.abort(sides, args.drop_created).await?;
    context.result(false, &report, || text(&report))?;
    Ok(exit::DONE)
}

fn text(report: &AbortReport) -> String {
    let mut lines = vec![match report.removed.len() {
        0 => format!("{}: there was nothing to remove", escape(&report.migration)),
        n => format!("{}: removed {}", escape(&report.migration), counted(n as u64, "thing")),
    }];
    lines.extend(report.removed.iter().map(|what| format!("  - {}", escape(what))));
    if !report.kept.is_empty() {
        lines.push("kept".to_owned());
        lines.extend(report.kept.iter().map(|what| format!("  = {}", escape(what))));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lists_what_went_and_what_stayed() {
        let mut report = AbortReport { migration: "crm".into(), ..Default::default() };
        assert_eq!(text(&report), "crm: there was nothing to remove");
        report.removed = vec!["schema _migrate_crm".into()];
        report.kept = vec!["table \"a\x1b\"".into()];
        assert_eq!(text(&report), "crm: removed 1 thing\n  - schema _migrate_crm\nkept\n  = table \"a\\u{1b}\"");
    }
}
