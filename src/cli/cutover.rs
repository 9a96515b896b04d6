//! `migrate cutover`, `migrate rollback` and `migrate approve`.

use super::args::{Approve, Cutover};
use super::table::millis;
use super::term::{ask, escape};
use super::{Context, exit, hint};
use crate::error::{Error, Kind, Result};
use crate::phases::report::CutReport;
use crate::phases::{CutOptions, Owner};

pub async fn run(context: &Context, args: &Cutover, to: Owner) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    if args.scope.is_empty() && !args.all && session.is_scoped() {
        let text = "the plan has \"scope_by\": say what is to change its owner";
        return Err(Error::new(Kind::Usage, text).hint("`--scope V[,V...]` for a part, `--all` for everything"));
    }
    if !args.dry_run && !args.yes {
        let what = match args.scope.is_empty() {
            true => "all rows".to_owned(),
            false => format!("the rows of {}", escape(&args.scope.join(", "))),
        };
        let question = match to {
            Owner::Target => format!(
                "move the ownership of {what} to the target? their writes at the source are refused from then on"
            ),
            Owner::Source => format!(
                "move the ownership of {what} back to the source? their writes at the target are refused from then on"
            ),
        };
        // In a script the command itself is the consent; at a terminal a slip of the hand is likelier.
        if ask(&question) == Some(false) {
            return Err(Error::new(Kind::Gate, "nothing was changed"));
        }
    }
    let scopes = (!args.scope.is_empty()).then(|| args.scope.clone());
    let report = session.cut_over(CutOptions { to, scopes, dry_run: args.dry_run }).await?;
    context.result(args.json, &report, || text(&report, args.dry_run))?;
    Ok(exit::DONE)
}

fn text(report: &CutReport, dry_run: bool) -> String {
    let name = escape(&report.migration);
    let what = match report.scopes.is_empty() {
        true => "the data".to_owned(),
        false => format!("scope {}", escape(&report.scopes.join(", "))),
    };
    if dry_run {
        return format!("{name}: every gate is open, the {} could own {what}", report.owner);
    }
    if !report.done {
        return format!("{name}: the {} owns {what} already (turn {}), nothing was done", report.owner, report.turn);
    }
    let pause = match report.pause_ms {
        0 => "the change of owner that was decided before is delivered".to_owned(),
        ms => format!("writes were refused for {} (forecast: {})", millis(ms), millis(report.forecast_ms)),
    };
    format!(
        "{name}: the {} owns {what} now (turn {}); {pause}, run by {}\nnext: {}",
        report.owner,
        report.turn,
        escape(&report.run_by),
        report.next
    )
}

pub async fn approve(context: &Context, args: &Approve) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    let report = session.approve(&args.team).await?;
    context.result(args.json, &report, || {
        format!(
            "{}: \"{}\" approves of this plan ({}); a change of the plan voids it\nnext: migrate cutover {}",
            escape(&report.migration),
            escape(&report.team),
            &report.plan[..12],
            hint::quoted(&args.plan)
        )
    })?;
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_owns_and_what_it_cost() {
        let mut report = CutReport {
            migration: "crm".into(),
            owner: "target".into(),
            turn: 1,
            run_by: "this process".into(),
            next: "migrate apply p.yaml --follow".into(),
            ..CutReport::default()
        };
        assert_eq!(text(&report, false), "crm: the target owns the data already (turn 1), nothing was done");
        (report.done, report.pause_ms, report.forecast_ms) = (true, 41, 30);
        let shown = text(&report, false);
        assert!(shown.contains("the target owns the data now (turn 1); writes were refused for 41 ms"), "{shown}");
        assert!(shown.ends_with("next: migrate apply p.yaml --follow"), "{shown}");
    }
}
