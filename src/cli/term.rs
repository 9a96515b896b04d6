//! The way out to a terminal or a log: results to stdout, everything else to stderr, and nothing that either acts on.
//!
//! Text from a catalogue, a plan or a server may hold control characters (a terminal obeys them), marks that turn
//! the direction of writing (they hide what is there), and line beginnings that GitHub's runner executes.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr, stdin, stdout};

/// One line of foreign text: whatever a terminal would act on is shown escaped.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_harmful(c) => {
                // Writing to a string can't fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// As [`escape`], for text whose own lines are meant as lines (the problems of a plan).
pub fn escape_lines(text: &str) -> String {
    let line = |line: &str| escape(line).replace("\\t", "\t");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Takes their meaning from the lines that GitHub's runner would execute: `::command` at a line's beginning,
/// `##[command]` anywhere.
pub fn disarm(block: &str) -> String {
    let line = |line: &str| {
        let body = line.trim_start();
        let indent = &line[..line.len() - body.len()];
        let body = body.replace("##[", "## [");
        match body.strip_prefix("::") {
            Some(rest) => format!("{indent}: :{rest}"),
            None => format!("{indent}{body}"),
        }
    };
    block.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// A result. A reader that went away (`| head`) is no error of ours.
pub fn result(block: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{}", disarm(block)).and_then(|()| out.flush());
}

/// Only a string can hold these characters, and there the escape means the same.
fn safe_json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.replace("##[", "##\\u005b").chars() {
        if is_harmful(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// One JSON document on one line.
pub fn json_line(document: &str) {
    let safe = safe_json(document);
    let mut out = stdout().lock();
    let _ = writeln!(out, "{safe}").and_then(|()| out.flush());
}

/// Everything that is no result.
pub fn say(block: &str) {
    let mut err = stderr().lock();
    let _ = writeln!(err, "{}", disarm(block)).and_then(|()| err.flush());
}

/// Asks on the terminal; `None` where nobody sits at one.
pub fn ask(question: &str) -> Option<bool> {
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return None;
    }
    let mut err = stderr().lock();
    let _ = write!(err, "{} [y/N] ", disarm(question)).and_then(|()| err.flush());
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer).is_ok();
    Some(read && matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub fn stderr_is_terminal() -> bool {
    stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

pub fn stdout_is_terminal() -> bool {
    stdout().is_terminal()
}

/// Clears the screen between two pictures of `--watch`.
pub fn clear_screen() {
    let mut out = stdout().lock();
    let _ = write!(out, "\x1b[H\x1b[2J\x1b[3J").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(escape("plain Zoë 🦀 'quoted'"), "plain Zoë 🦀 'quoted'");
        assert_eq!(escape("a\x1b[2Jb\u{9b}31m\x07"), "a\\u{1b}[2Jb\\u{9b}31m\\u{7}");
        assert_eq!(escape("one\ntwo\r\tthree"), "one\\ntwo\\r\\tthree");
        assert_eq!(escape("user\u{202e}txt.exe"), "user\\u{202e}txt.exe");
        assert_eq!(escape_lines("a: \x1b[0m\n\tb"), "a: \\u{1b}[0m\n\tb");
    }

    #[test]
    fn no_line_is_a_command_of_the_runner() {
        assert_eq!(disarm("::set-env name=X::y\n  ::add-mask::z"), ": :set-env name=X::y\n  : :add-mask::z");
        assert_eq!(disarm("a ::b\nx ##[error]y"), "a ::b\nx ## [error]y");
        assert_eq!(safe_json("\"\u{9b}31m\u{202e}Zoë##[\""), "\"\\u009b31m\\u202eZoë##\\u005b\"");
    }
}
