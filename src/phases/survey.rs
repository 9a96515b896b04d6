//! Looking: both catalogues, joined with the plan. Writes nothing.

use std::collections::BTreeMap;

use crate::entry::{Hash, TableId};
use crate::error::{Context, Error, Kind, Result};
use crate::mapping::Layout;
use crate::plan::{self, Facts, Resolved};
use crate::schema::{Definition, EngineName, Table, TableName};
use crate::store::{Side, Store};

use super::session::Session;

pub struct Survey {
    pub resolved: Resolved,
    pub mapping: Hash,
    /// The layout of the way back, or what is in its way.
    pub back: Result<Layout, Vec<String>>,
}

impl Survey {
    pub fn layout(&self) -> &Layout {
        &self.resolved.layout
    }
}

/// What the layout's hash says of the mapping.
pub(super) fn surveyed(resolved: Resolved, facts: &Facts) -> Survey {
    let mapping = plan::mapping_hash(&resolved.layout);
    let back = plan::reverse(&resolved, facts);
    Survey { resolved, mapping, back }
}

impl Session {
    /// What both stores say of the plan's tables and expressions.
    pub(super) async fn look(&self) -> Result<Facts> {
        let plan = &self.plan;
        let named = |engine: EngineName, text: &str| plan::table_name(engine, text);
        let from = plan.tables.iter().map(|t| named(self.source.engine(), &t.from));
        let to = plan.tables.iter().map(|t| named(self.target.engine(), t.to_or_from()));
        let source = describe(self.source.as_ref(), from.collect()).await.map_err(|e| e.context("the source"))?;
        let target = describe(self.target.as_ref(), to.collect()).await.map_err(|e| e.context("the target"))?;
        let mut expressions = BTreeMap::new();
        for wanted in plan::wanted_expressions(plan) {
            let table = named(self.source.engine(), &wanted.from);
            if source.get(&table).is_some_and(|t| !t.columns.is_empty()) {
                let kind = match self.source.expression(&table, &wanted.sql, wanted.is_filter).await {
                    // A right that is missing is told with all the others.
                    Err(e) if e.kind == Kind::Gate => Err(e.message().to_owned()),
                    other => other?,
                };
                expressions.insert((wanted.from, wanted.sql), kind);
            }
        }
        let mut reverses = BTreeMap::new();
        for wanted in plan::wanted_reverses(plan) {
            let table = named(self.target.engine(), &wanted.from);
            if target.get(&table).is_some_and(|t| !t.columns.is_empty()) {
                let kind = match self.target.expression(&table, &wanted.sql, wanted.is_filter).await {
                    Err(e) if e.kind == Kind::Gate => Err(e.message().to_owned()),
                    other => other?,
                };
                reverses.insert((wanted.from, wanted.sql), kind);
            }
        }
        let (source_engine, target_engine) = (self.source.engine(), self.target.engine());
        Ok(Facts { source_engine, target_engine, source, target, expressions, reverses })
    }

    /// The plan joined with what the stores say now, or all its problems.
    pub(super) async fn survey(&self) -> Result<Survey> {
        let facts = self.look().await?;
        self.survey_of(&facts).await
    }

    /// The same of what was looked at already.
    pub(super) async fn survey_of(&self, facts: &Facts) -> Result<Survey> {
        let mut resolved = match plan::resolve(&self.plan, facts) {
            Ok(resolved) => resolved,
            Err(problems) => return Err(self.unresolved(plan::to_error(problems)).await),
        };
        let mut problems = plan::examine_family(&self.plan, facts, &resolved);
        problems.retain(plan::Problem::is_error);
        if !problems.is_empty() {
            return Err(plan::to_error(problems));
        }
        self.define(&mut resolved, facts).await?;
        Ok(surveyed(resolved, facts))
    }

    /// Completes the tables that are to be made. The owner's login sees all of the source's definitions.
    pub(super) async fn define(&self, resolved: &mut Resolved, facts: &Facts) -> Result<()> {
        let mut definitions: BTreeMap<TableName, Definition> = BTreeMap::new();
        for map in &resolved.layout.tables {
            if resolved.create.iter().any(|t| t.name == map.target) {
                let definition = self.source_admin.definition(&map.source).await.context("the source (admin_url)")?;
                definitions.insert(map.source.clone(), definition);
            }
        }
        plan::define(&self.plan, resolved, facts, &definitions);
        Ok(())
    }

    /// A plan that fitted both catalogues when the migration began, and does not now: one of the three was changed.
    async fn unresolved(&self, error: Error) -> Error {
        match self.is_installed().await {
            Ok(true) => {
                let (abort, apply) = (self.command("abort"), self.command("apply"));
                self.changed(&format!(": now it has problems\n{}", error.message())).hint(format!(
                    "when this migration began the plan fitted both catalogues: undo what was changed since, or start over: `{abort}`, then `{apply}`"
                ))
            }
            _ => error,
        }
    }

    fn changed(&self, what: &str) -> Error {
        let text = format!("the plan or a catalogue is not what it was when this migration began{what}");
        let (abort, apply) = (self.command("abort"), self.command("apply"));
        Error::changed(text).hint(format!("undo the change, or start over: `{abort}`, then `{apply}`"))
    }

    /// Target tables with rows that are there already.
    pub(super) async fn full_targets(&self, survey: &Survey) -> Result<Vec<(TableId, TableName)>> {
        let mut full = Vec::new();
        for map in &survey.layout().tables {
            let made = survey.resolved.create.iter().any(|t| t.name == map.target);
            if !made && !self.target.target_is_empty(survey.layout(), map.id).await? {
                full.push((map.id, map.target.clone()));
            }
        }
        Ok(full)
    }

    pub(super) async fn is_installed(&self) -> Result<bool> {
        Ok(self.source.is_installed(self.migration(), Side::Source).await?
            && self.source.get(self.migration(), Side::Source, "installed").await?.is_some())
    }

    /// The mapping under which the migration began must be the one that plan and catalogues give now.
    pub(super) async fn check_same_plan(&self, survey: &Survey) -> Result<()> {
        let began = self.source.get(self.migration(), Side::Source, "mapping").await?;
        match began {
            Some(hash) if hash != full_hex(&survey.mapping) => Err(self.changed("")),
            _ => Ok(()),
        }
    }
}

pub fn full_hex(hash: &Hash) -> String {
    hash.0.iter().map(|b| format!("{b:02x}")).collect()
}

/// The wanted tables; where one is missing, the others' names as well, so that a near one can be named.
async fn describe(store: &dyn Store, wanted: Vec<TableName>) -> Result<BTreeMap<TableName, Table>> {
    let mut found = BTreeMap::new();
    let mut missing = false;
    for name in wanted {
        match store.describe(&name).await? {
            Some(table) => drop(found.insert(name, table)),
            None => missing = true,
        }
    }
    if missing {
        for name in store.tables().await? {
            found.entry(name.clone()).or_insert_with(|| unread(name));
        }
    }
    Ok(found)
}

fn unread(name: TableName) -> Table {
    let (columns, primary_key, uniques, foreign_keys, obstacles) = (vec![], vec![], vec![], vec![], vec![]);
    Table { name, columns, primary_key, uniques, foreign_keys, obstacles }
}
