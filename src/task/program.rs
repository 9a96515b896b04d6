//! A command of the user's, run beside us and ended with us.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::error::{Error, Result};

/// Runs a program without a shell; what it prints on stdout and stderr goes to ours (stderr). `GiveUp` where it can't be
/// started, ends with another code than 0, or takes longer than `limit` (then it is killed).
pub async fn run_program(words: &[String], env: &[(&str, String)], limit: Duration) -> Result<()> {
    let Some((program, args)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    command.envs(env.iter().map(|(name, value)| (*name, value.as_str())));
    let failed = |why: String| Error::give_up(format!("\"{program}\" {why}"));
    match tokio::time::timeout(limit, command.output()).await {
        Err(_) => Err(failed(format!("was killed: it took longer than {} ms", limit.as_millis()))),
        Ok(Err(e)) => Err(failed(format!("can't be run: {e}"))),
        Ok(Ok(out)) if out.status.success() => Ok(()),
        Ok(Ok(out)) => Err(failed(match out.status.code() {
            Some(code) => format!("ended with exit code {code}"),
            None => "was ended by a signal".to_owned(),
        })),
    }
}
