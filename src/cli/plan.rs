//! `migrate plan`: what would be done.

use super::args::{Output, Plan};
use super::table::{bytes, count, millis, table};
use super::term::{escape, escape_lines};
use super::{Context, exit, hint};
use crate::error::Result;
use crate::phases::report::{PlanReport, PlannedTable};

pub async fn run(context: &Context, args: &Plan) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    let report = match session.plan().await {
        Err(error) if args.json && !error.all_findings().is_empty() => {
            let refused = serde_json::json!({ "refused": true, "findings": error.all_findings() });
            if context.output == Output::Text {
                context.result(true, &refused, String::new)?;
            }
            return Err(error);
        }
        other => other?,
    };
    context.result(args.json, &report, || text(&report, &hint::quoted(&args.plan)))?;
    Ok(if report.changes && args.detailed_exitcode { exit::CHANGES } else { exit::DONE })
}

fn text(report: &PlanReport, plan: &str) -> String {
    let mut lines = vec![format!(
        "{}: {} -> {}, over {}",
        escape(&report.migration),
        escape(&report.source),
        escape(&report.target),
        escape(&report.events)
    )];
    lines.push(String::new());
    lines.push(tables(&report.tables));
    lines.push(String::new());
    lines.push("way back, in a rollback".to_owned());
    lines.extend(report.tables.iter().map(|t| format!("  {}", escape(&way_back(t)))));
    for phase in &report.phases {
        lines.push(String::new());
        lines.push(format!("{}{}", escape(&phase.name), if phase.done { " (done)" } else { "" }));
        lines.extend(
            phase.steps.iter().map(|step| format!("  {} {}", if phase.done { "=" } else { "+" }, escape(step))),
        );
    }
    if !report.warnings.is_empty() {
        lines.push(String::new());
        for (warning, way_out) in &report.warnings {
            lines.push(format!("warning: {}", escape_lines(warning)));
            lines.extend(way_out.iter().map(|way_out| format!("         = {}", escape_lines(way_out))));
        }
    }
    lines.push(String::new());
    lines.push(match report.changes {
        true => format!("nothing was changed\nnext: migrate apply {plan}"),
        false => "there is nothing to do".to_owned(),
    });
    lines.join("\n")
}

/// `people: id, email by name; price by cast; mail given: lower(email); loses secret`.
fn way_back(table: &PlannedTable) -> String {
    let named = |how: &str, by: &str| -> Option<String> {
        let own = table.rollback.iter().filter(|b| b.how == how && (by.is_empty() || b.by == by));
        let names: Vec<&str> = own.map(|b| b.column.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let given = table.rollback.iter().filter(|b| b.how == "given").map(|b| format!("{} given: {}", b.column, b.by));
    let parts: Vec<String> = [
        named("derived", "rename").map(|names| format!("{names} by name")),
        named("derived", "cast").map(|names| format!("{names} by cast")),
    ]
    .into_iter()
    .flatten()
    .chain(given)
    .chain(named("lost", "").map(|names| format!("loses {names}")))
    .collect();
    format!("{} <- {}: {}", table.source, table.target, parts.join("; "))
}

fn tables(tables: &[PlannedTable]) -> String {
    let about = |n: String| format!("~{n}");
    let row = |t: &PlannedTable| {
        let target = if t.create { format!("{} (created)", t.target) } else { t.target.clone() };
        [
            t.source.clone(),
            target,
            t.key.join(", "),
            count(t.columns as u64),
            about(count(t.rows_estimate)),
            about(bytes(t.bytes_estimate)),
            about(count(t.chunks_estimate)),
            about(millis(t.time_estimate_ms)),
        ]
    };
    table(["from", "to", "key", ">columns", ">rows", ">size", ">chunks", ">time"], tables.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::report::PlannedPhase;

    #[test]
    fn estimates_are_marked_and_names_escaped() {
        let orders = PlannedTable {
            source: "crm.orders\x1b[2J".into(),
            target: "orders".into(),
            key: vec!["region".into(), "no".into()],
            rows_estimate: 120_000,
            create: true,
            ..Default::default()
        };
        let phase = PlannedPhase { name: "backfill".into(), steps: vec!["move 1 table".into()], done: false };
        let report = PlanReport { changes: true, tables: vec![orders], phases: vec![phase], ..Default::default() };
        let shown = text(&report, "p.yaml");
        assert!(shown.contains("~120,000") && shown.contains("region, no") && shown.contains("(created)"), "{shown}");
        assert!(shown.contains("\nbackfill\n  + move 1 table\n"), "{shown}");
        assert!(shown.ends_with("\nnext: migrate apply p.yaml") && !shown.contains('\x1b'), "{shown}");
    }
}
