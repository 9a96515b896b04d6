//! A plan as its file says it: checked by itself, not yet against any store.
//!
//! What a message may have to point at is an [`At`]: the value, where it stands, and the plan's own text of it,
//! which is shown in place of what a variable was replaced by.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use super::cutover::{Cutover, Hooks};
use super::problem::{Span, Text};
use super::secret::Secret;
use crate::schema::EngineName;
use crate::value::Decimal;

/// A value, its place in the plan, and its text before substitution.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    pub value: T,
    pub span: Span,
    pub shown: String,
}

impl<T> At<T> {
    /// Another value read from the same place.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> At<U> {
        At { value: to(self.value), span: self.span, shown: self.shown }
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub version: u64,
    /// `[a-z0-9-]{1,48}`.
    pub migration: String,
    pub source: Side,
    pub target: Side,
    /// `None`: the direct transport, in process.
    pub events: Option<Events>,
    pub create_tables: bool,
    pub on_existing: OnExisting,
    pub tables: Vec<TablePlan>,
    pub backfill: Backfill,
    /// Dirty keys that one table may gather while nothing runs.
    pub backlog_limit: u64,
    /// Rows that a store refuses and that may wait; 0 where `on_error: stop`.
    pub max_parked: u64,
    pub lease_ttl_ms: u64,
    pub cutover: Cutover,
    pub hooks: Hooks,
    /// The target refuses the application's writes as long as it does not own the rows.
    pub guard_target: bool,
    pub(super) text: Arc<Text>,
}

/// One team's store.
#[derive(Debug, Clone)]
pub struct Side {
    pub team: String,
    /// By the URL's scheme.
    pub engine: EngineName,
    pub url: Secret,
    /// Where it differs from `url`: who installs, fences and removes.
    pub admin_url: Option<Secret>,
}

impl Side {
    /// The URL that installs and removes.
    pub fn admin(&self) -> &Secret {
        self.admin_url.as_ref().unwrap_or(&self.url)
    }
}

/// How to reach JetStream. Where the plan is silent, the `nats` CLI's environment variables speak.
#[derive(Debug, Clone)]
pub struct Events {
    /// One or more servers, separated by commas.
    pub url: Secret,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub token: Option<Secret>,
    pub creds: Option<PathBuf>,
    pub nkey: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Refuse a connection without TLS.
    pub tls: bool,
    /// The stream's bound; `None`: the transport's default.
    pub max_bytes: Option<u64>,
    pub replicas: u8,
}

/// What to do with rows that a target table holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    Refuse,
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backfill {
    pub chunk_rows: u64,
    pub chunk_bytes: u64,
}

#[derive(Debug, Clone)]
pub struct TablePlan {
    pub from: At<String>,
    /// `None`: the same name.
    pub to: Option<At<String>>,
    /// `None`: the source's primary key.
    pub key: Option<At<Vec<At<String>>>>,
    /// In the plan's order. `None`: every column that isn't skipped, under its own name.
    pub columns: Option<At<Vec<ColumnPlan>>>,
    pub skip: Vec<At<String>>,
    /// The key `where`: SQL of the source's engine.
    pub filter: Option<At<String>>,
    /// The key `owns`: SQL of the target's engine that tells which of its rows are ours.
    pub owned: Option<At<String>>,
    /// What a source column gets on the way back: the column, and SQL of the target's engine.
    pub reverse: Vec<(At<String>, At<String>)>,
    /// By target column: how far values may lie apart and still count as equal.
    pub tolerance: Vec<(At<String>, At<Decimal>)>,
    /// The key `scope_by`: the source column that stands in for the one of `cutover`.
    pub scope_by: Option<At<String>>,
}

impl TablePlan {
    /// What to point at for the target: `to`, or the name that stands for both.
    pub fn to_or_from(&self) -> &At<String> {
        self.to.as_ref().unwrap_or(&self.from)
    }
}

#[derive(Debug, Clone)]
pub struct ColumnPlan {
    pub target: At<String>,
    pub source: At<ColumnSource>,
    /// The plan accepts that values change on their way.
    pub accept_lossy: bool,
    /// SQL of the target's engine that gives the one source column back.
    pub reverse: Option<At<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ColumnSource {
    Column(String),
    /// A column, converted by the source into a type of its own.
    Cast {
        column: String,
        to: String,
    },
    Sql(String),
    /// A scalar as YAML types it; text where a variable was replaced.
    Const(serde_yaml::Value),
}

impl ColumnSource {
    /// What the source computes, in its own SQL; `None` for a plain column and for a constant.
    pub fn expression(&self, engine: EngineName) -> Option<String> {
        match self {
            Self::Sql(sql) => Some(sql.clone()),
            Self::Cast { column, to } => Some(format!("CAST({} AS {to})", quoted(engine, column))),
            Self::Column(_) | Self::Const(_) => None,
        }
    }
}

/// A name in SQL, by the engine's rules.
pub(super) fn quoted(engine: EngineName, name: &str) -> String {
    let quote = if engine == EngineName::MySql { '`' } else { '"' };
    format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
}
