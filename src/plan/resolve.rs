//! A plan joined with both catalogues: the layout by which stores and links work, or all that stands in its way.
//!
//! Pure: the caller asks the stores for [`Facts`] first. Nothing is guessed; what can't be done right is a problem
//! at its line, with a way out.

use std::collections::BTreeMap;

use super::back::{self, Back};
use super::columns::{self, Columns};
use super::derive;
use super::keys;
use super::model::{At, Plan, TablePlan};
use super::order;
use super::problem::{Problem, Span, Text};
use super::scope;
use super::shared;
use super::suggest::did_you_mean;
use super::tolerance;
use crate::check::{self, Check};
use crate::entry::TableId;
use crate::finding::Finding;
use crate::mapping::{Layout, TableMap};
use crate::schema::{Addition, EngineName, Kind, NewTable, Table, TableName};

/// What the two stores say about themselves.
#[derive(Debug, Clone)]
pub struct Facts {
    pub source_engine: EngineName,
    pub target_engine: EngineName,
    pub source: BTreeMap<TableName, Table>,
    pub target: BTreeMap<TableName, Table>,
    /// By `from` and SQL text, as [`wanted_expressions`] lists them: the kind that the source gives it (`None` where
    /// its types are dynamic), or why it can't be used.
    pub expressions: BTreeMap<(String, String), Result<Option<Kind>, String>>,
    /// The same of the target, by `to`, as [`super::wanted_reverses`] lists them; not of tables that are to be made.
    pub reverses: BTreeMap<(String, String), Result<Option<Kind>, String>>,
}

/// An expression that the source must be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub from: String,
    pub sql: String,
    /// It is a filter: it must give a truth value.
    pub is_filter: bool,
}

#[derive(Debug, Clone)]
pub struct Resolved {
    /// Tables in parents-first order; their ids follow the plan's.
    pub layout: Layout,
    /// What the target lacks, in the layout's order.
    pub create: Vec<NewTable>,
    /// What they get once they are filled ([`super::define`] finds it).
    pub additions: Vec<Addition>,
    /// What of the source's definitions they don't get, and why.
    pub left_out: Vec<String>,
    /// Target tables whose foreign keys go round (one alone refers to itself), each in plan order.
    pub cycles: Vec<Vec<TableName>>,
    /// How each source column comes back, in the layout's order.
    pub backs: Vec<(TableId, Vec<Back>)>,
    pub warnings: Vec<Problem>,
}

/// Every expression and filter of the plan.
pub fn wanted_expressions(plan: &Plan) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for table in &plan.tables {
        let mut want = |sql: &str, is_filter| {
            let entry = Wanted { from: table.from.value.clone(), sql: sql.to_owned(), is_filter };
            if !wanted.contains(&entry) {
                wanted.push(entry);
            }
        };
        for column in table.columns.iter().flat_map(|c| c.iter()) {
            if let Some(sql) = column.source.expression(plan.source.engine) {
                want(&sql, false);
            }
        }
        if let Some(filter) = &table.filter {
            want(filter, true);
        }
    }
    wanted
}

/// The table that a plan means by `name` or `schema.name`: without a schema, PostgreSQL's is `public`, and MySQL's the
/// url's database.
pub fn table_name(engine: EngineName, text: &str) -> TableName {
    match (engine, text.split_once('.')) {
        (EngineName::Sqlite, _) | (EngineName::MySql, None) => TableName { schema: None, name: text.to_owned() },
        (EngineName::Postgres | EngineName::MySql, Some((schema, name))) => {
            TableName { schema: Some(schema.to_owned()), name: name.to_owned() }
        }
        (EngineName::Postgres, None) => TableName { schema: Some("public".to_owned()), name: text.to_owned() },
    }
}

/// How a plan and the two catalogues go together, as far as they do.
#[derive(Debug, Clone)]
pub struct Examined {
    /// Of the tables that came out well.
    pub resolved: Resolved,
    pub problems: Vec<Problem>,
    /// Every pair by its names alone, also one that has problems: enough to ask for rights and health.
    pub names: Layout,
}

/// Joins a plan with what the stores say, or tells all that stands in the way.
pub fn resolve(plan: &Plan, facts: &Facts) -> Result<Resolved, Vec<Problem>> {
    let Examined { resolved, problems, .. } = examine(plan, facts);
    if problems.is_empty() { Ok(resolved) } else { Err(problems) }
}

/// As [`resolve`], with what could be joined besides what could not.
pub fn examine(plan: &Plan, facts: &Facts) -> Examined {
    let mut notes = Notes { text: &plan.text, problems: Vec::new(), warnings: Vec::new(), table: None, column: None };
    let empty = || Layout {
        migration: plan.migration.clone(),
        tables: Vec::new(),
        backlog_limit: plan.backlog_limit,
        max_parked: plan.max_parked,
    };
    let (mut names, mut layout) = (empty(), empty());
    let mut tables = Vec::new();
    let targets: Vec<TableName> = plan.tables.iter().map(|table| target_name(facts, table)).collect();
    for (i, (table, target)) in plan.tables.iter().zip(&targets).enumerate() {
        let source = lookup(facts.source_engine, &facts.source, &table.from);
        notes.table = Some(source.to_string());
        names.tables.extend(bare(i, source, target.clone()));
        let is_shared = targets.iter().filter(|t| *t == target).count() > 1;
        let pair = Pair::find(plan, facts, table, target.clone(), &mut notes).map(|pair| Pair { is_shared, ..pair });
        if let Some(resolved) = pair.and_then(|pair| pair.resolve(plan, i, &mut notes)) {
            tables.push(resolved);
        }
    }
    let maps: Vec<&TableMap> = tables.iter().map(|t| &t.map).collect();
    shared::check(plan, &maps, &mut notes);
    let family: Vec<_> =
        tables.iter().map(|t| order::Member { map: &t.map, source: t.source, target: t.target }).collect();
    let (sorted, cycles) = order::parents_first(&family);
    let mut tables: Vec<_> = tables.into_iter().map(Some).collect();
    let (mut create, mut backs) = (Vec::new(), Vec::new());
    for table in sorted.into_iter().filter_map(|i| tables[i].take()) {
        if let Some(new) = table.create {
            shared::make(plan, &mut create, new, &table.map, &mut notes);
        }
        backs.push((table.map.id, table.backs));
        layout.tables.push(table.map);
    }
    notes.problems.sort_by_key(|p| p.span);
    Examined {
        resolved: Resolved {
            layout,
            create,
            additions: Vec::new(),
            left_out: Vec::new(),
            cycles,
            backs,
            warnings: notes.warnings,
        },
        problems: notes.problems,
        names,
    }
}

/// The loader allows 4096 tables.
fn id_of(place: usize) -> Option<TableId> {
    Some(TableId(u16::try_from(place + 1).ok()?))
}

fn bare(place: usize, source: TableName, target: TableName) -> Option<TableMap> {
    Some(TableMap {
        id: id_of(place)?,
        source,
        target,
        columns: Vec::new(),
        key: Vec::new(),
        source_key: Vec::new(),
        target_unique: Vec::new(),
        constants: Vec::new(),
        filter: None,
        owned: None,
        scope: None,
        ranged: None,
        within: None,
        ordered_alike: false,
        tolerance: Vec::new(),
    })
}

impl Plan {
    /// A finding at the line that names a table's source.
    pub fn at_source(&self, table: TableId, finding: Finding) -> Problem {
        self.at(self.table_plan(table).map(|t| &t.from), finding)
    }

    /// A finding at the line that names a table's target.
    pub fn at_target(&self, table: TableId, finding: Finding) -> Problem {
        self.at(self.table_plan(table).map(TablePlan::to_or_from), finding)
    }

    /// A finding that has to do with the plan as a whole.
    pub fn at_whole(&self, finding: Finding) -> Problem {
        self.at(None, finding)
    }

    fn at(&self, at: Option<&At<String>>, finding: Finding) -> Problem {
        match at {
            Some(at) => self.text.finding(at.span, &at.shown, finding),
            None => self.text.finding(Span::default(), "", finding),
        }
    }

    pub(super) fn table_plan(&self, id: TableId) -> Option<&TablePlan> {
        self.tables.get(usize::from(id.0).checked_sub(1)?)
    }
}

/// Problems and warnings as they are found.
pub(super) struct Notes<'a> {
    text: &'a Text,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
    /// The table and the column that are being looked at.
    pub table: Option<String>,
    pub column: Option<String>,
}

impl Notes<'_> {
    pub fn at<T>(&mut self, check: &'static Check, at: &At<T>, message: impl AsRef<str>, hint: impl Into<String>) {
        self.place(check, at.span, &at.shown, message, hint);
    }

    pub fn place(
        &mut self,
        check: &'static Check,
        span: Span,
        offending: &str,
        message: impl AsRef<str>,
        hint: impl Into<String>,
    ) {
        let problem = self.text.problem(span, offending, message).hint(hint).of(check);
        self.problems.push(problem.about(self.table.clone(), self.column.as_deref(), None));
    }

    pub fn warn<T>(&mut self, check: &'static Check, at: &At<T>, message: impl AsRef<str>) {
        self.warn_place(check, at.span, &at.shown, message);
    }

    pub fn warn_place(&mut self, check: &'static Check, span: Span, shown: &str, message: impl AsRef<str>) {
        let problem = self.text.problem(span, shown, message).hint(check.way_out).of(check);
        self.warnings.push(problem.about(self.table.clone(), self.column.as_deref(), None));
    }
}

/// A table of the plan with both of its tables; no target: it is to be made.
pub(super) struct Pair<'a> {
    pub plan: &'a TablePlan,
    pub facts: &'a Facts,
    pub source: &'a Table,
    pub target: Option<&'a Table>,
    pub target_name: TableName,
    /// Another table of the plan goes there too: constants are then part of the key.
    pub is_shared: bool,
}

struct ResolvedTable<'a> {
    map: TableMap,
    source: &'a Table,
    target: Option<&'a Table>,
    create: Option<NewTable>,
    backs: Vec<Back>,
}

/// The table meant, as the catalogue has it: names with a dot in them are found too.
fn lookup(engine: EngineName, catalogue: &BTreeMap<TableName, Table>, text: &str) -> TableName {
    let public = TableName { schema: Some("public".to_owned()), name: text.to_owned() };
    let bare = TableName { schema: None, name: text.to_owned() };
    match engine {
        EngineName::Postgres if catalogue.contains_key(&public) => public,
        EngineName::MySql if catalogue.contains_key(&bare) => bare,
        _ => match catalogue.keys().find(|name| name.schema.is_some() && name.to_string() == text) {
            Some(name) => name.clone(),
            None => table_name(engine, text),
        },
    }
}

fn target_name(facts: &Facts, table: &TablePlan) -> TableName {
    if let Some(to) = &table.to {
        return lookup(facts.target_engine, &facts.target, to);
    }
    let source = lookup(facts.source_engine, &facts.source, &table.from);
    match (facts.source_engine, facts.target_engine) {
        (EngineName::Postgres, EngineName::Postgres) => source,
        (_, EngineName::Sqlite | EngineName::MySql) => TableName { schema: None, name: source.name },
        (_, EngineName::Postgres) => lookup(facts.target_engine, &facts.target, &source.name),
    }
}

impl<'a> Pair<'a> {
    fn find(
        plan: &Plan,
        facts: &'a Facts,
        table: &'a TablePlan,
        target_name: TableName,
        notes: &mut Notes,
    ) -> Option<Self> {
        let source_name = lookup(facts.source_engine, &facts.source, &table.from);
        let source = facts.source.get(&source_name);
        if source.is_none() {
            let message = format!("the source has no table \"{source_name}\"");
            notes.at(
                &check::SOURCE_TABLE,
                &table.from,
                message,
                near(&facts.source, &source_name).unwrap_or_else(|| "name a table".to_owned()),
            );
        }
        let target = facts.target.get(&target_name);
        if target.is_none() && !plan.create_tables {
            let message = format!("the target has no table \"{target_name}\"");
            let hint = "create_tables: true makes it";
            let hint = match near(&facts.target, &target_name) {
                Some(near) => format!("{near} Or {hint}"),
                None => hint.to_owned(),
            };
            notes.at(&check::TARGET_TABLE, table.to_or_from(), message, hint);
        }
        for (at, found) in [(&table.from, source), (table.to_or_from(), target)] {
            for obstacle in found.iter().flat_map(|t| &t.obstacles) {
                let name = found.map(|t| t.name.to_string()).unwrap_or_default();
                let hint = "remove the table from the plan, or change it first";
                notes.at(obstacle.check, at, format!("\"{name}\" {obstacle}"), hint);
            }
        }
        if target.is_none() && !plan.create_tables {
            return None;
        }
        Some(Self { plan: table, facts, source: source?, target, target_name, is_shared: false })
    }

    fn resolve(self, plan: &Plan, place: usize, notes: &mut Notes) -> Option<ResolvedTable<'a>> {
        let before = notes.problems.len();
        self.check_filter(notes);
        shared::check_owned(&self, notes);
        let columns = columns::resolve(&self, notes);
        self.check_names(&columns, notes);
        let key = keys::resolve(&self, &columns, notes);
        let tolerance = tolerance::resolve(&self, &columns, key.as_ref().map_or(&[][..], |k| &k.wire), notes);
        let divided = scope::resolve(plan, &self, &columns, key.as_ref().map_or(&[][..], |k| &k.target), notes);
        if notes.problems.len() > before {
            return None;
        }
        let backs = back::resolve(&self, &columns, key.as_ref()?, notes);
        if notes.problems.len() > before {
            return None;
        }
        let Columns { mut wire, mut constants, .. } = columns;
        let keys::ResolvedKey { wire: key, source: source_key, target: target_unique } = key?;
        if self.target.is_none() {
            key.iter().for_each(|&i| derive::bound_key(&mut wire[i].target, self.facts.target_engine));
            if self.is_shared {
                constants.iter_mut().for_each(|(c, _)| derive::bound_key(c, self.facts.target_engine));
            }
        }
        let create = (self.target.is_none() && plan.create_tables).then(|| {
            let columns = wire.iter().map(|w| &w.target).chain(constants.iter().map(|(c, _)| c));
            NewTable::plain(self.target_name.clone(), columns.cloned().collect(), target_unique.clone())
        });
        let ordered_alike = keys::ordered_alike(self.facts, key.iter().zip(&source_key).map(|(&i, s)| (s, &wire[i])));
        let map = TableMap {
            id: id_of(place)?,
            source: self.source.name.clone(),
            target: self.target_name,
            columns: wire,
            key,
            source_key,
            target_unique,
            constants,
            filter: self.plan.filter.as_ref().map(|f| f.value.clone()),
            owned: self.plan.owned.as_ref().map(|f| f.value.clone()),
            scope: divided.as_ref().map(|d| d.scope),
            ranged: divided.and_then(|d| d.ranged),
            within: None,
            ordered_alike,
            tolerance,
        };
        Some(ResolvedTable { map, source: self.source, target: self.target, create, backs })
    }

    /// A table that is to be made, and its columns, keep their names.
    fn check_names(&self, columns: &Columns, notes: &mut Notes) {
        if self.target.is_some() {
            return;
        }
        let of_columns = columns.wire.iter().map(|w| &w.target).chain(columns.constants.iter().map(|(c, _)| c));
        let engine = self.facts.target_engine;
        for name in of_columns.map(|c| &c.name).chain([&self.target_name.name]) {
            if !derive::can_be_named(engine, name) {
                let message = format!("\"{name}\" is no name that a table or column of {engine} keeps");
                notes.at(&check::NAME_TOO_LONG, self.plan.to_or_from(), message, check::NAME_TOO_LONG.way_out);
            }
        }
    }

    fn check_filter(&self, notes: &mut Notes) {
        let Some(filter) = &self.plan.filter else { return };
        let kind = match self.expression(filter) {
            Err(why) => {
                return notes.at(&check::FILTER, filter, format!("\"where\" can't be used: {why}"), EXPRESSION_HINT);
            }
            Ok(kind) => kind,
        };
        if !matches!(kind, None | Some(Kind::Bool)) && self.facts.source_engine == EngineName::Postgres {
            let what = kind.as_ref().map_or("", Kind::name);
            notes.at(
                &check::FILTER,
                filter,
                format!("\"where\" gives {what}, not true or false"),
                "write a condition: \"… IS NOT NULL\"",
            );
        }
    }

    /// What the source said about an expression of this table.
    pub fn expression(&self, sql: &str) -> Result<Option<Kind>, String> {
        let asked = (self.plan.from.value.clone(), sql.to_owned());
        self.facts
            .expressions
            .get(&asked)
            .cloned()
            .unwrap_or_else(|| Err("the source was not asked about it".to_owned()))
    }
}

pub(super) const EXPRESSION_HINT: &str =
    "an immutable expression of the source's engine over columns of this one row, such as lower(email)";

/// "did you mean", over a catalogue's tables: by the bare name first.
fn near(catalogue: &BTreeMap<TableName, Table>, name: &TableName) -> Option<String> {
    let elsewhere = catalogue.keys().find(|other| other.name == name.name).map(|t| format!("did you mean \"{t}\"?"));
    let full: Vec<_> = catalogue.keys().map(|t| (t.to_string(), t)).collect();
    elsewhere
        .or_else(|| did_you_mean(&name.to_string(), full.iter().map(|(text, _)| text.as_str())))
        .or_else(|| did_you_mean(&name.name, catalogue.keys().map(|t| t.name.as_str())))
}
