//! `migrate init`: reads both catalogues and writes a plan for them. Changes nothing.

use std::sync::Arc;

use crate::error::{Context, Error, Kind, Result};
use crate::log::codec::Wire;
use crate::plan::init::{self, Draft};
use crate::schema::{Table, TableName};
use crate::store::{self, Store};

/// One store, as the command line gives it.
#[derive(Debug, Clone)]
pub struct InitSide {
    /// A URL, or the name of the variable that holds one (`$NAME`, `${NAME}`).
    pub given: String,
    /// The variable by which the plan names it where the URL itself was given.
    pub variable: String,
    pub team: Option<String>,
}

#[derive(Debug, Clone)]
pub struct InitOptions {
    pub source: InitSide,
    pub target: InitSide,
    pub migration: Option<String>,
    /// Source tables; all where empty.
    pub tables: Vec<String>,
}

/// The plan, and the variables that it wants.
#[derive(Debug, Clone)]
pub struct Initiated {
    pub draft: Draft,
    pub variables: Vec<String>,
}

const CODEC: &Wire = &Wire;

pub async fn init(options: &InitOptions) -> Result<Initiated> {
    let (source_variable, source_url) = url(&options.source).context("--source")?;
    let (target_variable, target_url) = url(&options.target).context("--target")?;
    let source = store::connect(&source_url, CODEC).context("--source")?;
    let target = store::connect(&target_url, CODEC).context("--target")?;
    let names = source.tables().await.context("the source")?;
    let names = wanted(names, &options.tables)?;
    let tables = described(&source, names).await.context("the source")?;
    let there = target.tables().await.context("the target")?;
    let there = described(&target, there).await.context("the target")?;
    let side = |side: &InitSide, store: &Arc<dyn Store>, variable: &str, url: &str, tables| init::Store {
        engine: store.engine(),
        team: side.team.clone(),
        database: database(url),
        url: variable.to_owned(),
        admin_url: admin_variable(variable),
        tables,
    };
    let source = side(&options.source, &source, &source_variable, &source_url, tables);
    let target = side(&options.target, &target, &target_variable, &target_url, there);
    let draft = init::draft(options.migration.as_deref(), &source, &target);
    Ok(Initiated { draft, variables: vec![source_variable, target_variable] })
}

/// The variable's name and the URL.
fn url(side: &InitSide) -> Result<(String, String)> {
    let Some(name) = side.given.strip_prefix('$') else { return Ok((side.variable.clone(), side.given.clone())) };
    let name = name.strip_prefix('{').and_then(|n| n.strip_suffix('}')).unwrap_or(name);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Error::new(Kind::Usage, "that is no variable's name").hint("write it as '${NAME}'"));
    }
    match std::env::var(name) {
        Ok(url) if !url.is_empty() => Ok((name.to_owned(), url)),
        _ => Err(Error::new(Kind::Usage, format!("the variable {name} is not set"))),
    }
}

/// `CRM_URL` -> `CRM_ADMIN_URL`
fn admin_variable(variable: &str) -> String {
    match variable.strip_suffix("_URL") {
        Some(begin) => format!("{begin}_ADMIN_URL"),
        None => format!("{variable}_ADMIN"),
    }
}

/// What a URL's path ends in: a database's or a file's name, which is no secret.
fn database(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once(':').map_or("", |(_, rest)| rest);
    // Behind the login, whatever stands in it; without a path only the host is left.
    let rest = path.strip_prefix("//").map_or(path, |rest| rest.rsplit_once('@').map_or(rest, |(_, host)| host));
    let last = rest.rsplit_once('/').map_or(if path.starts_with("//") { "" } else { rest }, |(_, last)| last);
    let name = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    if name.is_empty() { "store".to_owned() } else { name }
}

fn wanted(names: Vec<TableName>, asked: &[String]) -> Result<Vec<TableName>> {
    if names.is_empty() {
        return Err(Error::plan("the source has no tables that this login sees"));
    }
    if asked.is_empty() {
        return Ok(names);
    }
    let mut found = Vec::new();
    for ask in asked {
        let exact = names.iter().find(|n| n.name == *ask || n.to_string() == *ask);
        let any_case = || names.iter().find(|n| n.name.eq_ignore_ascii_case(ask));
        let Some(name) = exact.or_else(any_case) else {
            let known = names.iter().map(TableName::to_string).collect::<Vec<_>>().join(", ");
            let error = Error::plan(format!("the source has no table \"{ask}\""));
            return Err(error.hint(format!("its tables: {known}")));
        };
        if !found.contains(name) {
            found.push(name.clone());
        }
    }
    Ok(found)
}

async fn described(store: &Arc<dyn Store>, names: Vec<TableName>) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for name in names {
        // One that went meanwhile is none.
        tables.extend(store.describe(&name).await?);
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_called_by_its_database_and_by_nothing_secret() {
        for (url, name) in [
            ("postgres://me:hunter2@db:5432/crm?sslmode=require", "crm"),
            ("mysql://me:hunter2@db", "store"),
            ("sqlite:///var/lib/chinook.db", "chinook"),
            ("sqlite:here.sqlite", "here"),
            ("postgres://me:hun/ter2@db", "store"),
        ] {
            assert_eq!(database(url), name, "{url}");
        }
        assert_eq!(admin_variable("CRM_URL"), "CRM_ADMIN_URL");
    }
}
