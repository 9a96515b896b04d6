//! `migrate init`: writes a plan to stdout or to a file.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::args::Init;
use super::table::counted;
use super::term::{escape, say};
use super::{Context, exit, hint};
use crate::error::{Error, Kind, Result};
use crate::phases::{InitOptions, InitSide, init};

pub async fn run(context: &Context, args: &Init) -> Result<i32> {
    if let Some(path) = args.out.as_deref().filter(|path| !args.force && path.exists()) {
        return Err(exists(path));
    }
    let side = |given: &str, variable: &str, team: &Option<String>| InitSide {
        given: given.to_owned(),
        variable: variable.to_owned(),
        team: team.clone(),
    };
    let made = init(&InitOptions {
        source: side(&args.source, "MIGRATE_SOURCE_URL", &args.source_team),
        target: side(&args.target, "MIGRATE_TARGET_URL", &args.target_team),
        migration: args.migration.clone(),
        tables: args.tables.clone(),
    })
    .await?;
    match &args.out {
        Some(path) => write(path, &made.draft.text, args.force)?,
        None => {
            let json = serde_json::json!({ "plan": made.draft.text, "decisions": made.draft.decisions });
            context.result(false, &json, || made.draft.text.trim_end().to_owned())?;
        }
    }
    let plan = args.out.as_deref().map_or("PLAN".to_owned(), hint::quoted);
    let mut lines = Vec::new();
    if made.draft.decisions > 0 {
        let what = counted(made.draft.decisions as u64, "decision");
        lines.push(format!("{what} to make: look for \"decide:\" in the plan"));
    }
    let variables = made.variables.iter().map(|v| escape(v)).collect::<Vec<_>>();
    lines.push(format!("the plan reads its URLs from the environment: export {}", variables.join(" ")));
    lines.push(format!("next: migrate plan {plan}"));
    say(&lines.join("\n"));
    Ok(exit::DONE)
}

fn exists(path: &Path) -> Error {
    Error::new(Kind::Usage, format!("{} is there already", path.display())).hint("--force overwrites it")
}

fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let mut options = OpenOptions::new();
    let options =
        if force { options.write(true).create(true).truncate(true) } else { options.write(true).create_new(true) };
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(path),
        _ => Error::give_up(format!("cannot write {}: {error}", path.display())),
    })
}
