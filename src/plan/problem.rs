//! One thing that is wrong with a plan, or that a check found: place, message and id, the line with a caret, a way out.

use std::fmt;

use serde_json::json;

use super::secret::mask;
use crate::check::{self, Check, Severity};
use crate::error::{Error, Kind};
use crate::finding::Finding;

/// A place in the plan, from 1; line 0 is the file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    pub line: usize,
    /// In characters.
    pub column: usize,
}

/// Characters of a line that a message shows.
const SHOWN: usize = 160;

/// A plan's own text, to quote from.
#[derive(Default)]
pub(super) struct Text {
    pub file: String,
    pub lines: Vec<String>,
}

impl Text {
    pub fn new(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), lines: text.lines().map(str::to_owned).collect() }
    }

    /// A problem at `span`. `offending` is the plan's text, never what a variable was replaced by.
    pub fn problem(&self, span: Span, offending: &str, message: impl AsRef<str>) -> Problem {
        let line = span.line.checked_sub(1).and_then(|i| self.lines.get(i)).map_or("", String::as_str);
        let before = span.column.saturating_sub(1);
        let marked = if line.chars().skip(before).collect::<String>().starts_with(offending) {
            mask(offending, 0).0.chars().count().max(1)
        } else {
            1
        };
        let (line, caret) = window(mask(line, before));
        Problem {
            file: self.file.clone(),
            span,
            message: mask(message.as_ref(), 0).0,
            offending: mask(offending, 0).0,
            hint: None,
            check: &check::PLAN_FILE,
            table: None,
            column: None,
            count: None,
            line,
            caret,
            marked,
        }
    }
}

/// The part of a long line around its caret.
fn window((line, caret): (String, usize)) -> (String, usize) {
    if line.chars().count() <= SHOWN {
        return (line, caret);
    }
    let start = caret.saturating_sub(SHOWN / 2);
    (line.chars().skip(start).take(SHOWN).collect(), caret - start)
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.file)
    }
}

/// One thing wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    pub span: Span,
    pub message: String,
    pub offending: String,
    /// The exact next edit or command.
    pub hint: Option<String>,
    pub check: &'static Check,
    pub table: Option<String>,
    pub column: Option<String>,
    pub count: Option<u64>,
    line: String,
    caret: usize,
    marked: usize,
}

impl Problem {
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(mask(&hint.into(), 0).0), ..self }
    }

    pub(super) fn of(self, check: &'static Check) -> Self {
        Self { check, ..self }
    }

    pub(super) fn about(self, table: Option<String>, column: Option<&str>, count: Option<u64>) -> Self {
        Self { table, column: column.map(str::to_owned), count, ..self }
    }

    pub fn is_error(&self) -> bool {
        self.check.severity == Severity::Error
    }

    /// One line, without the plan's text.
    pub fn line(&self) -> String {
        let Self { file, span, message, check, .. } = self;
        let place = if span.line == 0 { String::new() } else { format!(":{}", span.line) };
        format!("{file}{place}: {message} [{}]", check.id)
    }

    /// For a script.
    pub fn json(&self) -> serde_json::Value {
        let Self { file, span, message, hint, check, table, column, count, .. } = self;
        json!({
            "id": check.id, "name": check.name, "severity": check.severity.name(), "message": message, "hint": hint,
            "table": table, "column": column, "count": count, "file": file, "line": span.line,
        })
    }
}

impl Text {
    /// What a check found, at the place in the plan that has to do with it.
    pub fn finding(&self, span: Span, offending: &str, finding: Finding) -> Problem {
        let Finding { check, message, hint, table, column, count } = finding;
        let table = table.map(|t| t.to_string());
        self.problem(span, offending, message).hint(hint).of(check).about(table, column.as_deref(), count)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, span, message, line, check, .. } = self;
        let word = if self.is_error() { "" } else { "warning: " };
        // The id closes the first line; a message may list statements below it.
        let (first, rest) = message.split_once('\n').map_or((message.as_str(), None), |(a, b)| (a, Some(b)));
        match span.line {
            0 => write!(f, "{file}: {word}{first} [{}]", check.id)?,
            _ => write!(f, "{file}:{}:{}: {word}{first} [{}]", span.line, span.column, check.id)?,
        }
        if let Some(rest) = rest {
            write!(f, "\n{rest}")?;
        }
        let number = span.line.to_string();
        let margin = " ".repeat(number.len());
        if !line.trim().is_empty() {
            // Tabs stay tabs before the caret, so that it stands below its character in any terminal.
            let lead: String = line.chars().take(self.caret).map(|c| if c == '\t' { c } else { ' ' }).collect();
            let line: String = line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
            write!(f, "\n  {number} | {line}\n  {margin} | {lead}{}", "^".repeat(self.marked.min(SHOWN)))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  {margin} = {hint}"),
            None => Ok(()),
        }
    }
}

/// In order of line, then of id.
pub fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|p| (p.span, p.check.id));
}

/// All problems as one error, in order of line; warnings among them are shown, too.
pub fn to_error(mut problems: Vec<Problem>) -> Error {
    sort(&mut problems);
    let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let errors = problems.iter().filter(|p| p.is_error()).count();
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let head = match (errors, problems.len() - errors) {
        (..=1, 0) => String::new(),
        (n, 0) => format!("the plan has {}\n", counted(n, "problem")),
        (n, m) => format!("the plan has {} and {}\n", counted(n, "problem"), counted(m, "warning")),
    };
    let error = Error::new(Kind::Plan, head + &shown.join("\n")).findings(problems.iter().map(Problem::json).collect());
    match problems.first() {
        Some(only) if problems.len() == 1 => error.check(only.check.id),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_and_a_caret_under_the_text() {
        let text = Text::new("x.yaml", "version: 1\ncolums: {}\n");
        let problem =
            text.problem(Span { line: 2, column: 1 }, "colums", "unknown key \"colums\"").hint("try \"columns\"");
        let shown =
            "x.yaml:2:1: unknown key \"colums\" [MG0001]\n  2 | colums: {}\n    | ^^^^^^\n    = try \"columns\"";
        assert_eq!(problem.to_string(), shown);
    }

    #[test]
    fn many_problems_are_one_error_in_order_of_line() {
        let text = Text::new("x.yaml", "a\nb\n");
        let at = |line, message: &str| text.problem(Span { line, column: 1 }, "", message);
        let error = to_error(vec![at(2, "second"), at(1, "first")]);
        assert_eq!(error.kind, Kind::Plan);
        assert!(error.message().starts_with("the plan has 2 problems\nx.yaml:1:1: first [MG0001]"), "{error}");
    }
}
