//! `migrate apply`: does it, and says where it stands and what comes next.

use std::time::Duration;

use super::args::{Apply, Until as UntilArg};
use super::table::{bytes, count, counted, duration, millis};
use super::term::{escape, say};
use super::{Context, exit, hint, verify};
use crate::error::{Kind, Result};
use crate::phases::report::{ApplyReport, Backlog};
use crate::phases::{Session, Until};

pub async fn run(context: &Context, args: &Apply) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    let until = match args.until {
        Some(UntilArg::DualWrite) => Until::DualWrite,
        Some(UntilArg::Backfill) => Until::Backfill,
        Some(UntilArg::Verify) | None => Until::Verify,
    };
    let report = match session.apply(until, args.follow).await {
        Ok(report) => report,
        Err(error) => {
            context.progress.finish();
            if matches!(error.kind, Kind::Stopped(_)) {
                say_where(&session).await;
                if error.hint_text().is_none() {
                    return Err(error.hint(format!("`migrate apply {}` goes on from here", hint::quoted(&args.plan))));
                }
            }
            return Err(error);
        }
    };
    context.result(false, &report, || text(&report, &hint::quoted(&args.plan)))?;
    let differs = report.verify.as_ref().is_some_and(|verify| verify.mismatches > 0);
    Ok(match (differs, report.parked) {
        (true, _) => exit::DIFFERS,
        (false, 0) => exit::DONE,
        _ => exit::GATE,
    })
}

/// After a signal: where the checkpoint is. A store that is not there any more is no error on top.
async fn say_where(session: &Session) {
    let looked = tokio::time::timeout(Duration::from_secs(5), session.status()).await;
    let Ok(Ok(status)) = looked else { return };
    let rows: u64 = status.tables.iter().map(|table| table.rows).sum();
    say(&format!(
        "{}: {}, {} moved, source at position {}, target at {}",
        escape(&status.migration),
        escape(&status.phase),
        counted(rows, "row"),
        count(status.source_position),
        count(status.target_position)
    ));
    say(&backlog(&status.backlog));
}

fn text(report: &ApplyReport, plan: &str) -> String {
    let mut lines = vec![
        format!("{}: {}", escape(&report.migration), escape(&report.phase)),
        String::new(),
        format!(
            "  moved     {}, {}, in {}; log at position {} of generation {}",
            counted(report.rows, "row"),
            bytes(report.bytes),
            millis(report.wall_ms),
            count(report.position),
            report.generation
        ),
        format!("  changes   {} carried meanwhile", counted(report.changes, "row")),
    ];
    if let Some(verify) = &report.verify {
        lines.push(format!("  compared  {}", verify::verdict(verify)));
    }
    if report.parked > 0 {
        let text = "refused and parked: not compared, and nothing is cut over, before they are dealt with";
        lines.push(format!("  waiting   {} {text}", counted(report.parked, "row")));
    }
    lines.push(format!("  backlog   {}", backlog(&report.backlog)));
    if let Some(verify) = report.verify.as_ref().filter(|verify| verify.mismatches > 0) {
        lines.push(String::new());
        lines.push(verify::differences(verify));
    }
    let differs = report.verify.as_ref().is_some_and(|verify| verify.mismatches > 0);
    let next = if differs { format!("migrate verify {plan} --repair") } else { escape(&report.next) };
    if !next.is_empty() {
        lines.push(String::new());
        lines.push(format!("next: {next}"));
    }
    lines.join("\n")
}

/// What capture gathers while nothing runs, and how long that can go on.
pub fn backlog(backlog: &Backlog) -> String {
    let now = format!("capture goes on: {} now", counted(backlog.keys, "key"));
    let limit = count(backlog.limit);
    match (backlog.keys_per_s, backlog.lasts_s) {
        (Some(rate), Some(lasts)) => {
            let lasts = duration(Duration::from_secs(lasts));
            format!("{now}, {rate:.1} keys/s; the limit of {limit} is reached in ~{lasts} unless something runs")
        }
        (Some(rate), None) => format!("{now}, {rate:.1} keys/s; the limit is {limit}"),
        (None, _) => format!("{now}, none came while we ran; the limit is {limit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::report::VerifyReport;

    #[test]
    fn it_says_what_was_reached_and_how_long_it_may_rest() {
        let verify = VerifyReport { digests: 84, positions: 12, ..Default::default() };
        let backlog = Backlog { keys: 3, limit: 10_000_000, keys_per_s: Some(120.0), lasts_s: Some(83_333) };
        let mut report = ApplyReport {
            migration: "crm".into(),
            phase: "in sync".into(),
            rows: 100_000,
            changes: 1,
            verify: Some(verify),
            backlog,
            next: "migrate apply p.yaml --follow".into(),
            ..Default::default()
        };
        let shown = text(&report, "p.yaml");
        assert!(shown.starts_with("crm: in sync\n\n  moved     100,000 rows, "), "{shown}");
        assert!(
            shown.contains("changes   1 row carried") && shown.contains("84 digests at 12 positions, none differed")
        );
        let forecast = "3 keys now, 120.0 keys/s; the limit of 10,000,000 is reached in ~23h 08m unless something runs";
        assert!(shown.contains(forecast), "{shown}");
        assert!(shown.ends_with("\n\nnext: migrate apply p.yaml --follow"), "{shown}");
        report.verify = Some(VerifyReport { mismatches: 1, ..Default::default() });
        assert!(text(&report, "p.yaml").ends_with("\n\nnext: migrate verify p.yaml --repair"));
    }
}
