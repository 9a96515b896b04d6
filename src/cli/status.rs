//! `migrate status`: where it stands; with `--watch` again and again.

use std::time::Duration;

use super::args::{Output, Status};
use super::table::{count, counted, duration, lag, table};
use super::term::{clear_screen, escape, stdout_is_terminal};
use super::{Context, apply, exit};
use crate::error::Result;
use crate::phases::report::{StatusReport, StatusTable};

const WATCH_EVERY: Duration = Duration::from_secs(2);

pub async fn run(context: &Context, args: &Status) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    loop {
        let report = session.status().await?;
        if args.watch && stdout_is_terminal() && !args.json && context.output == Output::Text {
            clear_screen();
        }
        context.result(args.json, &report, || text(&report))?;
        if !args.watch {
            return Ok(exit::DONE);
        }
        // Nothing is under way here that could be lost: a signal is how watching ends.
        tokio::select! {
            signal = context.stop.wait() => return Ok(exit::SIGNAL + signal),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
}

fn text(report: &StatusReport) -> String {
    let mut lines = vec![format!("{}: {}", escape(&report.migration), escape(&report.phase)), String::new()];
    if !report.tables.is_empty() {
        lines.push(tables(&report.tables));
        lines.push(String::new());
    }
    lines.push(format!(
        "  stream     source at {}, target at {}, confirmed {} (generation {}); lag {}, {} in flight",
        count(report.source_position),
        count(report.target_position),
        count(report.confirmed),
        report.generation,
        lag(report.lag_ms),
        count(report.in_flight)
    ));
    lines.push(format!("  run by     {}", holder(report)));
    lines.push(format!("  backlog    {}", apply::backlog(&report.backlog)));
    lines.push(format!("  verified   {}", report.last_verify.as_deref().map_or("not yet".to_owned(), escape)));
    if report.parked > 0 {
        lines.push(format!("  waiting    {} refused and parked", counted(report.parked, "row")));
    }
    let why =
        if report.roll_back_why.is_empty() { String::new() } else { format!(": {}", escape(&report.roll_back_why)) };
    if !report.owner.is_empty() {
        lines.push(format!("  owner      {} (turn {})", escape(&report.owner), report.turn));
    }
    for s in &report.scopes {
        lines.push(format!("    scope    {}: {} (turn {})", escape(&s.scope), escape(&s.owner), s.turn));
    }
    lines.extend(report.numbers.iter().map(|line| format!("    {}", escape(line))));
    lines.push(format!("  roll back  {}{why}", if report.can_roll_back { "possible" } else { "not possible" }));
    if !report.journal.is_empty() {
        lines.push(String::new());
        lines.push("journal".to_owned());
        lines.extend(report.journal.iter().map(|line| format!("  - {}", escape(line))));
    }
    if !report.next.is_empty() {
        lines.push(String::new());
        lines.push(format!("next: {}", escape(&report.next)));
    }
    lines.join("\n")
}

fn tables(tables: &[StatusTable]) -> String {
    let rows = tables.iter().map(|t| {
        let state = if t.done { "done" } else { "" };
        [
            t.source.clone(),
            t.target.clone(),
            count(t.rows),
            format!("~{}", count(t.rows_estimate)),
            state.to_owned(),
            count(t.dirty),
        ]
    });
    table(["from", "to", ">rows moved", ">of", "backfill", ">dirty keys"], rows)
}

fn holder(report: &StatusReport) -> String {
    let Some(holder) = &report.holder else { return "nobody".to_owned() };
    let since = duration(Duration::from_millis(u64::try_from(report.holder_for_ms).unwrap_or(0)));
    match report.holder_alive {
        true => format!("{}, for {since}", escape(holder)),
        false => format!("nobody; {} held it last, taken {since} ago, and is gone", escape(holder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_and_where() {
        let table = StatusTable { source: "a".into(), target: "b".into(), rows: 1200, dirty: 7, ..Default::default() };
        let mut report = StatusReport {
            migration: "crm".into(),
            phase: "backfill".into(),
            holder: Some("host pid 7".into()),
            holder_for_ms: 60_000,
            holder_alive: true,
            lag_ms: -1,
            tables: vec![table],
            ..Default::default()
        };
        let shown = text(&report);
        assert!(shown.starts_with("crm: backfill\n"), "{shown}");
        assert!(shown.contains("host pid 7, for 1m 00s") && shown.contains("lag not known"), "{shown}");
        assert!(shown.contains("1,200") && shown.contains("verified   not yet"), "{shown}");
        report.holder_alive = false;
        assert!(text(&report).contains("nobody; host pid 7 held it last"));
    }
}
