//! What to type next, and how an error is told.

use std::path::Path;

use super::{exit, term};
use crate::error::{Error, Kind};

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    quote(&path.display().to_string())
}

/// One word of a shell's command line.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%=,".contains(c);
    match word {
        "" => "''".to_owned(),
        _ if word.chars().all(plain) => word.to_owned(),
        _ => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// `error: …`, then `hint: …`: for stderr.
pub fn error_text(error: &Error, color: bool) -> String {
    let (head, style) = match error.kind {
        Kind::Stopped(_) => ("stopped", "\x1b[1;33m"),
        _ => ("error", "\x1b[1;31m"),
    };
    let paint = |word: &str, style: &str| {
        if color { format!("{style}{word}:\x1b[0m ") } else { format!("{word}: ") }
    };
    // A stop's message may begin with the same word.
    let message = term::escape_lines(error.message());
    let message = message.strip_prefix("stopped ").filter(|_| head == "stopped").unwrap_or(&message);
    let mut text = format!("{}{message}", paint(head, style));
    if let Some(hint) = error.hint_text().or_else(|| usual(error.kind)) {
        text += &format!("\n{}{}", paint("hint", "\x1b[1;36m"), term::escape_lines(hint));
    }
    text
}

/// What helps with errors of a kind where nobody knew better.
fn usual(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Retry => Some("nothing is lost: run the same command again, it resumes"),
        Kind::Locked => Some("`migrate status PLAN` says who holds it since when"),
        Kind::Usage => Some("`migrate --help` lists the commands and their options"),
        _ => None,
    }
}

/// The error as one JSON line.
pub fn error_json(error: &Error) -> serde_json::Value {
    let mut object = serde_json::json!({
        "event": "error",
        "kind": exit::name(error.kind),
        "message": error.message(),
        "hint": error.hint_text().or_else(|| usual(error.kind)),
        "exit_code": exit::code(error.kind),
    });
    if let Some(id) = error.check_id() {
        object["check"] = id.into();
    }
    if !error.all_findings().is_empty() {
        object["findings"] = error.all_findings().into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_hint_below_it_and_no_escapes_in_it() {
        let error = Error::plan("a.yaml:3:1: unknown key \"x\x1b[2J\"\n  3 | x").hint("did you mean \"y\"?");
        let shown = "error: a.yaml:3:1: unknown key \"x\\u{1b}[2J\"\n  3 | x\nhint: did you mean \"y\"?";
        assert_eq!(error_text(&error, false), shown);
        assert!(error_text(&error, true).starts_with("\x1b[1;31merror:\x1b[0m a.yaml"));
        let bare = error_text(&Error::retry("connection refused"), false);
        assert!(bare.contains("\nhint: nothing is lost"), "{bare}");
        let stopped = Error::new(Kind::Stopped(2), "stopped by SIGINT, all is saved");
        assert_eq!(error_text(&stopped, false), "stopped: by SIGINT, all is saved");
        assert_eq!(error_json(&error)["exit_code"], 65);
    }

    #[test]
    fn commands_can_be_pasted() {
        assert_eq!(quote("plans/a.yaml"), "plans/a.yaml");
        assert_eq!(quote("my plan's.yaml"), "'my plan'\\''s.yaml'");
    }
}
