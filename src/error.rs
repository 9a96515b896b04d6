//! One error type, whose kind says what the caller may do about it.
//!
//! Messages are lowercase fragments that quote names and end without a full stop; a hint is the exact next
//! command or edit. Nothing here ever holds a password or a row's value: whoever builds an error from an
//! outside text (a driver's, a server's) strips those first.

use std::fmt;

/// What the caller may do. Each kind has one exit code (`cli::exit` documents them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The outside failed in passing (a lost connection, a lock time-out): the same call may succeed later.
    Retry,
    /// The plan file is wrong; running again without an edit fails again.
    Plan,
    /// The command line is wrong.
    Usage,
    /// A gate is closed: a person decides, or does what the hint says.
    Gate,
    /// Another process holds the lease.
    Locked,
    /// The plan, a catalogue or a store's history is not what it was when the migration began.
    Changed,
    /// A comparison found a difference.
    Differs,
    /// A row that the target refuses, bad data, or a bug: retrying does not help, the state is kept.
    GiveUp,
    /// A signal asked us to stop, and the checkpoint is saved.
    Stopped(i32),
}

/// An error: what failed, why, and what to do.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    message: String,
    hint: Option<String>,
    check: Option<&'static str>,
    findings: Vec<serde_json::Value>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, check: None, findings: Vec::new() }
    }

    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(Kind::Retry, message)
    }

    pub fn plan(message: impl Into<String>) -> Self {
        Self::new(Kind::Plan, message)
    }

    pub fn changed(message: impl Into<String>) -> Self {
        Self::new(Kind::Changed, message)
    }

    pub fn give_up(message: impl Into<String>) -> Self {
        Self::new(Kind::GiveUp, message)
    }

    /// Adds the exact next command or edit.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The id of the check that found it (`crate::check`).
    pub fn check(mut self, id: &'static str) -> Self {
        self.check = Some(id);
        self
    }

    /// What a script may want to know of it: one object for each thing that was found.
    pub fn findings(mut self, findings: Vec<serde_json::Value>) -> Self {
        self.findings = findings;
        self
    }

    /// Says what was being done, in front of the cause.
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub fn check_id(&self) -> Option<&'static str> {
        self.check
    }

    pub fn all_findings(&self) -> &[serde_json::Value] {
        &self.findings
    }

    pub fn is_retry(&self) -> bool {
        self.kind == Kind::Retry
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// `doing: cause`, for any result of ours.
pub trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.context(doing))
    }
}
