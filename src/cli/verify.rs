//! `migrate verify`: compares everything, and names what differs.

use super::args::Verify;
use super::table::{count, counted, millis, table};
use super::term::escape;
use super::{Context, exit, hint};
use crate::error::Result;
use crate::phases::report::VerifyReport;

pub async fn run(context: &Context, args: &Verify) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    let report = session.verify(args.show_values, args.repair).await?;
    context.result(false, &report, || text(&report, args, &hint::quoted(&args.plan)))?;
    Ok(if report.mismatches > 0 { exit::DIFFERS } else { exit::DONE })
}

fn text(report: &VerifyReport, args: &Verify, plan: &str) -> String {
    let rows = report
        .tables
        .iter()
        .map(|t| [t.source.clone(), t.target.clone(), count(t.rows), count(t.digests), count(t.differing)]);
    let mut text = table(["from", "to", ">rows", ">digests", ">differing"], rows);
    text += &format!("\n\n{}: {} ({})", escape(&report.migration), verdict(report), millis(report.wall_ms));
    if !report.run_by.is_empty() {
        text += &format!(", run by {}", escape(&report.run_by));
    }
    if report.mismatches == 0 {
        return text;
    }
    text += &format!("\n\n{}", differences(report));
    if args.repair {
        text += "\n\nthe differing rows were sent again, as the source has them now";
        text += &format!("\nnext: migrate verify {plan}");
    } else {
        let shown = if args.show_values { "" } else { "; --show-values shows what differs" };
        text += &format!("\n\nnext: migrate verify {plan} --repair   sends them again from the source{shown}");
    }
    text
}

/// `84 digests at 12 positions, none differed`.
pub fn verdict(report: &VerifyReport) -> String {
    let compared = format!("{} at {}", counted(report.digests, "digest"), counted(report.positions, "position"));
    let verdict = match report.mismatches {
        0 => format!("{compared}, none differed"),
        n => format!("{compared}, {} differed: {}", count(n), tables_that_differ(report)),
    };
    match tolerated(report) {
        Some(tolerated) => format!("{verdict}; {tolerated}"),
        None => verdict,
    }
}

/// `tolerated: contacts.price 0.001 (12 rows are equal only by that)`, for every table that declares any.
fn tolerated(report: &VerifyReport) -> Option<String> {
    let declared = report.tables.iter().filter(|t| !t.tolerances.is_empty());
    let told = declared.map(|t| {
        let columns: Vec<_> = t
            .tolerances
            .iter()
            .map(|c| format!("{}.{} {}", escape(&t.target), escape(&c.column), escape(&c.tolerance)))
            .collect();
        format!("{} ({} equal only by that)", columns.join(", "), counted(t.within_tolerance, "row"))
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| format!("tolerated: {}", told.join(", ")))
}

fn tables_that_differ(report: &VerifyReport) -> String {
    let names = report.tables.iter().filter(|t| t.differing > 0);
    names.map(|t| format!("{} ({})", escape(&t.target), counted(t.differing, "row"))).collect::<Vec<_>>().join(", ")
}

/// The differing rows, as far as they are listed.
pub fn differences(report: &VerifyReport) -> String {
    let rows =
        report.differences.iter().map(|d| [d.table.clone(), d.key.clone(), d.what.clone(), d.columns.join("; ")]);
    let mut text = table(["table", "key", "what", "columns (source -> target)"], rows);
    if report.more > 0 {
        text += &format!("\nand {} more", counted(report.more, "row"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::report::{DifferenceLine, VerifiedTable};
    use std::path::PathBuf;

    #[test]
    fn differing_rows_are_named_and_the_way_out_too() {
        let table = VerifiedTable { target: "contacts".into(), differing: 3, ..Default::default() };
        let line = DifferenceLine {
            table: "contacts".into(),
            key: "id=::x\n".into(),
            what: "changed".into(),
            columns: vec!["email: *** -> ***".into()],
        };
        let mut report = VerifyReport { digests: 4, positions: 2, ..Default::default() };
        let args = Verify { plan: PathBuf::new(), show_values: false, repair: false };
        let fine = text(&report, &args, "p.yaml");
        assert!(fine.contains("4 digests at 2 positions, none differed") && !fine.contains("--repair"), "{fine}");
        (report.mismatches, report.more, report.tables, report.differences) = (1, 2, vec![table], vec![line]);
        let shown = text(&report, &args, "p.yaml");
        assert!(shown.contains("1 differed: contacts (3 rows)") && shown.contains("and 2 rows more"), "{shown}");
        assert!(shown.contains("│ contacts ┆ id=::x\\n ┆ changed ┆ email: *** -> ***"), "{shown}");
        assert!(shown.contains("next: migrate verify p.yaml --repair"), "{shown}");
    }
}
