//! What a person sees: one file per verb, and the reporters that draw progress.
//!
//! Results go to stdout, everything else to stderr. [`exit`] says what the exit codes mean.

pub mod args;
pub mod exit;

mod abort;
mod apply;
mod bars;
mod cutover;
mod dead_letters;
mod demo;
mod explain;
mod finish;
mod grants;
mod hint;
mod init;
mod json;
mod plan;
mod progress;
mod rehearse;
mod status;
mod survive;
mod table;
mod term;
mod verify;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use clap::{ColorChoice, CommandFactory, FromArgMatches};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::phases::{Options, Owner, Session};
use crate::task::{Stop, Task};
use args::{Cli, Command, Global, Output};
use progress::Progress;

/// Reads the command line. `Err` is the exit code after help, version or a complaint was printed.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, i32> {
    let args: Vec<OsString> = args.into_iter().collect();
    let color = if args.iter().any(|arg| arg == "--no-color") { ColorChoice::Never } else { ColorChoice::Auto };
    let parsed = Cli::command().color(color).try_get_matches_from(args).and_then(|m| Cli::from_arg_matches(&m));
    parsed.map_err(|error| {
        // A pipe that was closed is no reason to fail.
        let _ = error.print();
        if error.use_stderr() { exit::USAGE } else { exit::DONE }
    })
}

/// What must stand in the environment for this command, before any thread begins: a plan takes secrets only from
/// there, and the demo writes a plan.
pub fn environment(cli: &Cli) -> Vec<(&'static str, String)> {
    match &cli.command {
        Command::Demo(args) => demo::environment(args),
        _ => Vec::new(),
    }
}

/// Runs one command to its exit code; whatever went wrong was printed.
pub async fn run(cli: Cli, stop: Stop) -> i32 {
    let color = wants_color(&cli.global);
    let outcome = match stop.listen_for_signals() {
        Ok(_listening) => command(&cli, stop).await,
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        if cli.global.output == Output::Json {
            term::json_line(&hint::error_json(&error).to_string());
        }
        term::say(&hint::error_text(&error, color));
        exit::code(error.kind)
    })
}

async fn command(cli: &Cli, stop: Stop) -> Result<i32> {
    if cli.global.output == Output::Json {
        term::json_line(&json::first_line(cli.command.name()).to_string());
    }
    let (progress, beating) = progress::start(&cli.global);
    let context = Context { stop, progress, output: cli.global.output, _beating: beating };
    let done = match &cli.command {
        Command::Init(args) => init::run(&context, args).await,
        Command::Plan(args) => plan::run(&context, args).await,
        Command::Apply(args) => apply::run(&context, args).await,
        Command::Verify(args) => verify::run(&context, args).await,
        Command::Status(args) => status::run(&context, args).await,
        Command::Rehearse(args) => rehearse::run(&context, args).await,
        Command::Approve(args) => cutover::approve(&context, args).await,
        Command::Cutover(args) => cutover::run(&context, args, Owner::Target).await,
        Command::Rollback(args) => cutover::run(&context, args, Owner::Source).await,
        Command::DeadLetters(args) => dead_letters::run(&context, args).await,
        Command::Survive(args) => survive::run(&context, args).await,
        Command::Finish(args) => finish::run(&context, args).await,
        Command::Abort(args) => abort::run(&context, args).await,
        Command::Grants(args) => grants::run(&context, args).await,
        Command::Explain(args) => explain::run(&context, args),
        Command::Demo(args) => demo::run(&context, args).await,
    };
    context.progress.finish();
    done
}

fn wants_color(global: &Global) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !global.no_color && !refused && term::stderr_is_terminal()
}

/// What every verb needs.
struct Context {
    stop: Stop,
    progress: Arc<dyn Progress>,
    output: Output,
    _beating: Task<()>,
}

impl Context {
    async fn open(&self, plan: &Path) -> Result<Session> {
        self.open_until(plan, self.stop.clone()).await
    }

    async fn open_until(&self, plan: &Path, stop: Stop) -> Result<Session> {
        Session::open(Options { plan_path: plan.to_owned(), reporter: self.progress.clone(), stop }).await
    }

    /// Prints a command's result in the form that was asked for: the bars make way first.
    fn result(&self, json: bool, report: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        self.progress.finish();
        let bug = |error| Error::give_up(format!("bug: the result is no JSON: {error}"));
        let value = || serde_json::to_value(report).map_err(bug);
        match self.output {
            Output::Json => {
                term::json_line(&serde_json::json!({ "event": "result", "result": value()? }).to_string());
            }
            Output::Text if json => term::json_line(&value()?.to_string()),
            Output::Text => term::result(&text()),
        }
        Ok(())
    }
}
