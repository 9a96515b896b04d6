//! What each command found or did, for the command line to draw or to print as JSON.

use serde::Serialize;

/// `migrate plan`: what `apply` would do. Estimates are marked as such where they are shown.
#[derive(Debug, Clone, Serialize, Default)]
pub struct PlanReport {
    pub migration: String,
    pub source: String,
    pub target: String,
    pub events: String,
    /// Whether `apply` has anything to do.
    pub changes: bool,
    pub phases: Vec<PlannedPhase>,
    pub tables: Vec<PlannedTable>,
    /// Warnings as objects: `id`, `severity`, `message`, `hint`, `table`, `column`, `count`, `line`.
    pub findings: Vec<serde_json::Value>,
    /// What of the source's definitions the tables that are made don't get, and why.
    pub left_out: Vec<String>,
    /// The same for a person, each with its way out.
    #[serde(skip)]
    pub warnings: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct PlannedPhase {
    /// `dual-write`, `backfill`, `verify`.
    pub name: String,
    /// One line each: what would be created, moved, checked.
    pub steps: Vec<String>,
    pub done: bool,
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct PlannedTable {
    pub source: String,
    pub target: String,
    pub key: Vec<String>,
    pub columns: usize,
    pub rows_estimate: u64,
    pub bytes_estimate: u64,
    pub chunks_estimate: u64,
    pub time_estimate_ms: u64,
    pub create: bool,
    /// How each source column would come back.
    pub rollback: Vec<PlannedBack>,
    pub tolerances: Vec<Tolerance>,
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct PlannedBack {
    /// Of the source.
    pub column: String,
    /// `derived`, `given` or `lost`.
    pub how: String,
    /// `rename`, `cast`, the SQL that is given, or why it is lost.
    pub by: String,
    /// The target's column from which it is derived.
    pub from: Option<String>,
}

/// `migrate grants`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct GrantsReport {
    pub migration: String,
    pub logins: Vec<LoginGrants>,
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct LoginGrants {
    /// `source`, `target`.
    pub side: String,
    /// `url`, `admin_url`.
    pub login: String,
    pub store: String,
    pub part: String,
    pub statements: Vec<String>,
}

/// `migrate apply`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct ApplyReport {
    pub migration: String,
    /// The phase that was reached: `dual-write`, `backfill`, `verify`, `in sync`.
    pub phase: String,
    pub generation: u64,
    pub position: u64,
    pub rows: u64,
    pub bytes: u64,
    pub changes: u64,
    pub verify: Option<VerifyReport>,
    /// Rows that a store refused and that wait.
    pub parked: u64,
    pub backlog: Backlog,
    pub wall_ms: u64,
    pub next: String,
}

/// What capture gathers while nothing runs.
#[derive(Debug, Clone, Serialize, Default)]
pub struct Backlog {
    pub keys: u64,
    pub limit: u64,
    /// Measured while we ran; `None`: nothing was written meanwhile.
    pub keys_per_s: Option<f64>,
    pub lasts_s: Option<u64>,
}

/// `migrate verify`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct VerifyReport {
    pub migration: String,
    pub tables: Vec<VerifiedTable>,
    pub digests: u64,
    pub positions: u64,
    pub mismatches: u64,
    pub differences: Vec<DifferenceLine>,
    /// Differing rows beyond those listed.
    pub more: u64,
    pub wall_ms: u64,
    /// `this process` or the holder that hosts the links.
    pub run_by: String,
}

impl VerifyReport {
    /// Both, where each compared another part.
    pub fn and(mut self, other: Self) -> Self {
        self.tables.extend(other.tables);
        self.digests += other.digests;
        self.positions += other.positions;
        self.mismatches += other.mismatches;
        self.differences.extend(other.differences);
        self.more += other.more;
        self
    }
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct VerifiedTable {
    pub source: String,
    pub target: String,
    pub rows: u64,
    pub digests: u64,
    pub differing: u64,
    /// Rows that are equal only by these tolerances.
    pub within_tolerance: u64,
    pub tolerances: Vec<Tolerance>,
}

/// How far a column's numbers may lie apart, as the plan declares.
#[derive(Debug, Clone, Serialize, Default)]
pub struct Tolerance {
    pub column: String,
    pub tolerance: String,
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct DifferenceLine {
    pub table: String,
    /// `name=value` pairs; a value is `***` unless shown was asked for (key values are shown masked alike).
    pub key: String,
    /// `missing`, `extra`, `changed`.
    pub what: String,
    /// Columns that differ when read now, as `name: source -> target` (values masked unless asked for).
    pub columns: Vec<String>,
}

/// `migrate status`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct StatusReport {
    pub migration: String,
    pub phase: String,
    pub generation: u64,
    pub source_position: u64,
    pub target_position: u64,
    pub confirmed: u64,
    pub in_flight: u64,
    pub lag_ms: i64,
    pub backlog: Backlog,
    pub tables: Vec<StatusTable>,
    /// Who runs it: holder, for how long by the source's clock, whether the lease is alive.
    pub holder: Option<String>,
    pub holder_for_ms: i64,
    pub holder_alive: bool,
    pub last_verify: Option<String>,
    /// Rows that a store refused and that wait.
    pub parked: u64,
    /// `source`, `target`; `divided` where each owns some scopes; `nobody` while a decided change of owner is not delivered; `unknown` where the stores disagree.
    pub owner: String,
    /// Scopes that were ever named.
    pub scopes: Vec<StatusScope>,
    /// What of which numbers each store gives out while ownership is divided.
    pub numbers: Vec<String>,
    /// Changes of owner so far, and the last of which applications were told.
    pub turn: u64,
    pub told_turn: u64,
    pub can_roll_back: bool,
    pub roll_back_why: String,
    pub next: String,
    pub journal: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct StatusScope {
    pub scope: String,
    /// `source`, `target`, `nobody` or `unknown`.
    pub owner: String,
    pub turn: u64,
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct StatusTable {
    pub source: String,
    pub target: String,
    pub rows: u64,
    pub rows_estimate: u64,
    pub done: bool,
    pub dirty: u64,
}

/// `migrate abort`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct AbortReport {
    pub migration: String,
    pub removed: Vec<String>,
    pub kept: Vec<String>,
}

/// `migrate cutover` and `migrate rollback`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct CutReport {
    pub migration: String,
    /// Who owns the data now: `source` or `target`.
    pub owner: String,
    /// Of which this is said; empty: everything.
    pub scopes: Vec<String>,
    /// Whether the owner changed.
    pub done: bool,
    /// Changes of owner so far.
    pub turn: u64,
    pub forecast_ms: u64,
    /// From before the first write could be refused until the new owner took them.
    pub pause_ms: u64,
    /// The pause by its steps: `fence`, `drain` (and generated numbers), `decide`, `open`.
    pub steps_ms: Vec<(String, u64)>,
    pub run_by: String,
    pub next: String,
}

impl CutReport {
    /// As it travels from the process that hosts the links.
    pub fn write(&self) -> String {
        serde_json::json!({
            "cut": { "done": self.done, "turn": self.turn, "forecast_ms": self.forecast_ms, "pause_ms": self.pause_ms,
                "steps_ms": self.steps_ms },
        })
        .to_string()
    }

    pub fn read(mut self, answer: &str) -> crate::error::Result<Self> {
        let value: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
        let cut = &value["cut"];
        let Some(turn) = cut["turn"].as_u64() else {
            return Err(crate::error::Error::give_up("the running host's answer can't be read"));
        };
        self.turn = turn;
        self.done = cut["done"].as_bool().unwrap_or_default();
        self.forecast_ms = cut["forecast_ms"].as_u64().unwrap_or_default();
        self.pause_ms = cut["pause_ms"].as_u64().unwrap_or_default();
        self.steps_ms = serde_json::from_value(cut["steps_ms"].clone()).unwrap_or_default();
        Ok(self)
    }
}

/// `migrate survive`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct SurviveReport {
    pub migration: String,
    /// `source` or `target`: whose data counts.
    pub survivor: String,
    pub tables: Vec<SurviveTable>,
    /// Whether the other store was made equal; otherwise nothing was changed.
    pub copied: bool,
    pub turn: u64,
    pub mismatches: u64,
    pub next: String,
}

/// What each store had that the other had not, when they were compared.
#[derive(Debug, Clone, Serialize, Default)]
pub struct SurviveTable {
    pub source: String,
    pub target: String,
    pub source_rows: u64,
    pub target_rows: u64,
    pub only_source: u64,
    pub only_target: u64,
    /// The key is at both, with other values.
    pub differ: u64,
}

/// `migrate dead-letters`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct DeadLettersReport {
    pub migration: String,
    pub letters: Vec<DeadLetter>,
    /// How many were retried or dropped.
    pub count: u64,
    pub next: String,
}

/// A row that a store refused.
#[derive(Debug, Clone, Serialize, Default)]
pub struct DeadLetter {
    /// `t1` waits at the target, `s1` at the source.
    pub id: String,
    /// `source`, `target`: who refuses it.
    pub store: String,
    /// As that store names it.
    pub table: String,
    pub key_columns: String,
    /// Masked unless asked for.
    pub key: String,
    pub reason: String,
    pub position: u64,
    pub times: u64,
    pub since_ms: i64,
}

/// A gate before the cut over.
#[derive(Debug, Clone, Serialize, Default)]
pub struct GateLine {
    pub gate: String,
    pub open: bool,
    pub state: String,
    /// The command that opens it; empty where it is open.
    pub opens_by: String,
}

impl GateLine {
    pub fn open(gate: impl Into<String>, state: impl Into<String>) -> Self {
        Self { gate: gate.into(), open: true, state: state.into(), opens_by: String::new() }
    }

    pub fn closed(gate: impl Into<String>, state: impl Into<String>, opens_by: impl Into<String>) -> Self {
        Self { gate: gate.into(), open: false, state: state.into(), opens_by: opens_by.into() }
    }

    pub fn line(&self) -> String {
        match self.open {
            true => format!("  open    {}: {}", self.gate, self.state),
            false => format!("  closed  {}: {}   opened by: {}", self.gate, self.state, self.opens_by),
        }
    }
}

/// `migrate approve`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct ApproveReport {
    pub migration: String,
    pub team: String,
    /// The hash of the plan that was approved.
    pub plan: String,
}

/// `migrate rehearse`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct RehearseReport {
    pub migration: String,
    /// No row was refused, and none came back as another.
    pub works: bool,
    pub tables: Vec<RehearsedTable>,
    pub next: String,
}

#[derive(Debug, Clone, Serialize, Default)]
pub struct RehearsedTable {
    /// Of the source.
    pub table: String,
    /// Rows that were written over what is there.
    pub rows: u64,
    /// Of these, rows that were also removed first and written anew.
    pub anew: u64,
    /// The engine's reasons, each once.
    pub refused: Vec<String>,
    /// Columns that would come back as something else.
    pub loses: Vec<String>,
    /// Columns that never come back, as `plan` says.
    pub lost: Vec<String>,
}

/// `migrate finish`.
#[derive(Debug, Clone, Serialize, Default)]
pub struct FinishReport {
    pub migration: String,
    pub removed: Vec<String>,
    pub kept: Vec<String>,
}
