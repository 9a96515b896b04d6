//! `migrate explain`: what a check means, why it is refused or warned of, and the way out. Needs no plan.

use serde_json::json;

use super::args::Explain;
use super::table::table;
use super::{Context, exit};
use crate::check::{self, Check};
use crate::error::{Error, Kind, Result};

pub fn run(context: &Context, args: &Explain) -> Result<i32> {
    match &args.check {
        None => context.result(args.json, &check::all().map(object).collect::<Vec<_>>(), list)?,
        Some(asked) => {
            let found = check::find(asked).ok_or_else(|| unknown(asked))?;
            context.result(args.json, &object(found), || found.text())?;
        }
    }
    Ok(exit::DONE)
}

fn object(check: &Check) -> serde_json::Value {
    let Check { id, name, severity, title, means, way_out } = check;
    json!({
        "id": id, "name": name, "severity": severity.name(), "title": title, "means": means, "way_out": way_out,
    })
}

fn list() -> String {
    let row = |c: &Check| [c.id, c.name, c.severity.name(), c.title].map(str::to_owned);
    table(["id", "name", "severity", "what"], check::all().map(row))
}

fn unknown(asked: &str) -> Error {
    Error::new(Kind::Usage, format!("there is no check \"{asked}\"")).hint("`migrate explain` lists them all")
}
