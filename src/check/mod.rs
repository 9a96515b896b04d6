//! The catalogue of checks: everything that `plan` can find, each with an id that never changes its meaning.
//!
//! An id is what a script, a runbook and a colleague can name; the message says what was found here and now, the
//! catalogue says what it means, why it is refused or warned of, and the way out (`migrate explain MG0101`).
//!
//! Ids are grouped: MG00 the file, MG01 the plan against both catalogues, MG02 tables, MG03 data (counted by query),
//! MG04 servers and rights, MG05 the broker. An id that is given up is not used again.

mod data;
mod plans;
mod servers;
mod tables;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub use data::*;
pub use plans::*;
pub use servers::*;
pub use tables::*;

/// Whether it stops `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One entry of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    pub id: &'static str,
    /// For a list: words joined by `-`.
    pub name: &'static str,
    pub severity: Severity,
    pub title: &'static str,
    /// What it means, and why it is refused or warned of.
    pub means: &'static str,
    pub way_out: &'static str,
}

/// `CONSTANT "MG0101" "no-key" Error "title" "what it means" "the way out";`
macro_rules! catalogue {
    ($($constant:ident $id:literal $name:literal $severity:ident $title:literal $means:literal $way_out:literal;)*) => {
        $(
            #[doc = $title]
            pub static $constant: Check = Check {
                id: $id,
                name: $name,
                severity: Severity::$severity,
                title: $title,
                means: $means,
                way_out: $way_out,
            };
        )*
        pub(super) static ALL: &[&Check] = &[$(&$constant),*];
    };
}
use catalogue;

/// Every check, by id.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [plans::ALL, tables::ALL, data::ALL, servers::ALL].into_iter().flatten().copied()
}

/// The check of this id or name, in any case.
pub fn find(text: &str) -> Option<&'static Check> {
    all().find(|c| c.id.eq_ignore_ascii_case(text) || c.name.eq_ignore_ascii_case(text))
}

impl Check {
    /// The long text, as `migrate explain` prints it.
    pub fn text(&self) -> String {
        let Self { id, name, severity, title, means, way_out } = self;
        let mut text = format!("{id} {name} ({})\n{title}\n", severity.name());
        for paragraph in [*means, way_out] {
            let lead = if paragraph == *way_out { "Way out: " } else { "" };
            // Writing to a string can't fail.
            let _ = write!(text, "\n{}\n", wrapped(&format!("{lead}{paragraph}"), 90));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Lines of so many characters at most, where words allow.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 {
            let fits = used + 1 + length <= width;
            out.push(if fits { ' ' } else { '\n' });
            used = if fits { used + 1 } else { 0 };
        }
        out.push_str(word);
        used += length;
    }
    out
}

/// What an engine cannot capture or write right for one table: a reason to refuse at `plan`. It continues a sentence
/// that begins with the table's name (`is a view`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub check: &'static Check,
    pub text: String,
}

impl Obstacle {
    pub fn new(check: &'static Check, text: impl Into<String>) -> Self {
        Self { check, text: text.into() }
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T: Into<String>> From<T> for Obstacle {
    fn from(text: T) -> Self {
        Self::new(&UNFIT_TABLE, text)
    }
}
