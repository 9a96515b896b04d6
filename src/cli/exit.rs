//! Exit codes: what a script may rely on. `--help` prints [`HELP`].

use crate::error::Kind;

pub const DONE: i32 = 0;
pub const FAILED: i32 = 1;
pub const CHANGES: i32 = 2;
pub const DIFFERS: i32 = 3;
pub const GATE: i32 = 4;
pub const LOCKED: i32 = 5;
pub const CHANGED: i32 = 6;
pub const USAGE: i32 = 64;
pub const PLAN: i32 = 65;
/// What shells add to a signal's number: 130 for SIGINT, 143 for SIGTERM.
pub const SIGNAL: i32 = 128;

pub const HELP: &str = "\
Exit codes:
    0  done
    1  failed, nothing is lost: run the same command again, it resumes
    2  `plan` found something to do (only with --detailed-exitcode)
    3  a comparison found a difference
    4  stopped at a gate: a person decides
    5  another process holds the lock
    6  the plan, a catalogue or a store's history changed since the migration began
   64  the command line is wrong
   65  the plan file is wrong
  130  stopped by SIGINT, after a clean checkpoint
  143  stopped by SIGTERM, after a clean checkpoint";

pub fn code(kind: Kind) -> i32 {
    match kind {
        Kind::Retry | Kind::GiveUp => FAILED,
        Kind::Differs => DIFFERS,
        Kind::Gate => GATE,
        Kind::Locked => LOCKED,
        Kind::Changed => CHANGED,
        Kind::Usage => USAGE,
        Kind::Plan => PLAN,
        Kind::Stopped(signal) => SIGNAL + signal,
    }
}

/// The kind's name in JSON.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Retry => "retry",
        Kind::GiveUp => "give-up",
        Kind::Differs => "differs",
        Kind::Gate => "gate",
        Kind::Locked => "locked",
        Kind::Changed => "changed",
        Kind::Usage => "usage",
        Kind::Plan => "plan",
        Kind::Stopped(_) => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_code_and_each_code_is_documented() {
        let kinds = [
            (Kind::Retry, 1),
            (Kind::GiveUp, 1),
            (Kind::Differs, 3),
            (Kind::Gate, 4),
            (Kind::Locked, 5),
            (Kind::Changed, 6),
            (Kind::Usage, 64),
            (Kind::Plan, 65),
            (Kind::Stopped(2), 130),
            (Kind::Stopped(15), 143),
        ];
        for (kind, expected) in kinds {
            assert_eq!(code(kind), expected, "{kind:?}");
        }
        let documented: Vec<i32> =
            HELP.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
        assert_eq!(documented, [DONE, 1, CHANGES, 3, 4, 5, 6, 64, 65, 130, 143]);
    }
}
