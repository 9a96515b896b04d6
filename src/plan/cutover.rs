//! What the plan says of the cut over: its gates, its bounds, and what is run around it.

use super::model::At;
use super::read::Reader;
use super::tree::Node;

const DAY_MS: u64 = 86_400_000;

/// The section `cutover`, with what holds where the plan is silent.
#[derive(Debug, Clone, PartialEq)]
pub struct Cutover {
    /// From the fence to the decision; beyond it writes are given back.
    pub max_write_pause_ms: u64,
    pub max_lag_ms: u64,
    /// How old the last comparison of everything may be.
    pub verified_within_ms: u64,
    /// Teams without whose approval nothing is cut over.
    pub approvals: Vec<String>,
    /// For one try on one table.
    pub lock_timeout_ms: u64,
    /// The source column by which ownership is divided, so that a part goes first.
    pub scope_by: Option<At<String>>,
    /// Nobody writes the rows of the plan's tables that are not the plan's: they may be refused too.
    pub whole_tables: bool,
}

impl Default for Cutover {
    fn default() -> Self {
        Self {
            max_write_pause_ms: 2_000,
            max_lag_ms: 500,
            verified_within_ms: 900_000,
            approvals: vec![],
            lock_timeout_ms: 300,
            scope_by: None,
            whole_tables: false,
        }
    }
}

/// A command of the user's around a cut over. It may run again, and must bear that.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// The program and its arguments; no shell.
    pub run: Vec<String>,
    pub timeout_ms: u64,
    /// Whether its failure stops the cut over; otherwise it is a warning.
    pub aborts: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hooks {
    pub before_cutover: Option<Hook>,
    pub after_cutover: Option<Hook>,
}

/// What is wrong is noted, and no plan comes of it: then what stands here does not count.
pub(super) fn cutover(reader: &mut Reader, node: &Node) -> Option<Cutover> {
    let keys =
        ["scope_by", "max_write_pause", "max_lag", "verified_within", "approvals", "lock_timeout", "whole_tables"];
    let fields = reader.fields(node, "cutover", &keys)?;
    let usual = Cutover::default();
    let mut time =
        |key: &str, range, usual| fields.get(key).and_then(|n| reader.millis(n, key, range)).unwrap_or(usual);
    let max_write_pause_ms = time("max_write_pause", 50..=600_000, usual.max_write_pause_ms);
    let max_lag_ms = time("max_lag", 1..=600_000, usual.max_lag_ms);
    let verified_within_ms = time("verified_within", 1_000..=30 * DAY_MS, usual.verified_within_ms);
    let lock_timeout_ms = time("lock_timeout", 10..=900, usual.lock_timeout_ms);
    let whole_tables = fields.get("whole_tables").and_then(|n| reader.flag(n, "whole_tables")).unwrap_or(false);
    let approvals = fields.get("approvals").and_then(|n| reader.names(n, "approvals")).unwrap_or_default();
    let approvals = approvals.into_iter().map(|name| name.value).collect();
    let scope_by = fields.get("scope_by").and_then(|n| reader.text(n, "scope_by"));
    Some(Cutover {
        scope_by,
        max_write_pause_ms,
        max_lag_ms,
        verified_within_ms,
        approvals,
        lock_timeout_ms,
        whole_tables,
    })
}

pub(super) fn hooks(reader: &mut Reader, node: &Node) -> Option<Hooks> {
    let fields = reader.fields(node, "hooks", &["before_cutover", "after_cutover"])?;
    let mut one = |key: &str, aborts| fields.get(key).and_then(|n| hook(reader, n, key, aborts));
    Some(Hooks { before_cutover: one("before_cutover", true), after_cutover: one("after_cutover", false) })
}

fn hook(reader: &mut Reader, node: &Node, what: &str, aborts: bool) -> Option<Hook> {
    let fields = reader.fields(node, what, &["run", "timeout", "on_failure"])?;
    let run = reader.required(&fields, "run", "[\"./freeze.sh\"]").and_then(|n| {
        let items = reader.list(n, "run", "run: [\"./freeze.sh\", \"--all\"]")?;
        let words: Vec<At<String>> =
            items.iter().filter_map(|item| reader.maybe_empty(item, "a word of run")).collect();
        if items.is_empty() {
            reader.wrong(n, "run names no program", "run: [\"./freeze.sh\"]");
        }
        (words.len() == items.len() && !items.is_empty()).then_some(words)
    });
    let timeout = fields.get("timeout").map_or(Some(60_000), |n| reader.millis(n, "timeout", 10..=DAY_MS));
    let on_failure = fields.get("on_failure").map(|n| reader.word(n, "on_failure", &["abort", "warn"]));
    let aborts = match on_failure {
        None => aborts,
        Some(word) => word? == "abort",
    };
    Some(Hook { run: run?.into_iter().map(|word| word.value).collect(), timeout_ms: timeout?, aborts })
}
