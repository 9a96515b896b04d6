//! After the backfill and before the comparison: the indexes and foreign keys of the tables that we made.
//!
//! A filled table takes an index faster than one that is being filled. What is to be built is written down at the
//! target before the tables are made, and crossed out when all of it stands; each is found where it stands already, so
//! that a run that was killed goes on with the same command.

use serde_json::{Value as Json, json};

use crate::error::{Context, Error, Result};
use crate::event::{Event, Stage};
use crate::schema::{Added, Addition, TableName};
use crate::store::Side;

use super::session::Session;
use super::survey::Survey;

/// The setting at the target; empty where nothing is left.
const ADDITIONS: &str = "additions";

impl Session {
    /// What is left to be built: as it was written down, and what the survey found. An older wish counts for more: it
    /// was made when nothing was there yet.
    pub(super) async fn additions(&self, survey: &Survey) -> Result<Vec<Addition>> {
        let m = self.migration();
        let text = match self.target.is_installed(m, Side::Target).await? {
            true => self.target.get(m, Side::Target, ADDITIONS).await?.unwrap_or_default(),
            false => String::new(),
        };
        let mut all = read(&text)?;
        for new in &survey.resolved.additions {
            if !all.iter().any(|a| a.table == new.table && a.columns == new.columns && a.what == new.what) {
                all.push(new.clone());
            }
        }
        Ok(all)
    }

    pub(super) async fn note_additions(&self, survey: &Survey) -> Result<()> {
        let text = write(&self.additions(survey).await?);
        self.target.put(self.migration(), Side::Target, ADDITIONS, &text).await
    }

    /// Builds what is left.
    pub(super) async fn build_additions(&self, survey: &Survey) -> Result<()> {
        let m = self.migration();
        let additions = self.additions(survey).await?;
        if additions.is_empty() {
            return Ok(());
        }
        let detail = format!("{} to build at the target", additions.len());
        self.reporter.event(&Event::Phase { name: "indexes".into(), detail: detail.clone() });
        self.source.journal(m, "indexes", "begin", &detail).await?;
        let total = additions.len() as u64;
        for (i, addition) in additions.iter().enumerate() {
            self.check_stop()?;
            let step = |rows, done| Event::Table {
                table: addition.to_string(),
                stage: Stage::Index,
                rows,
                rows_total: 1,
                done,
            };
            self.reporter.event(&step(0, false));
            let made = self.patiently(|| self.target_admin.add(addition)).await;
            let made = made.context(format!("building {} of {total}, the {addition}", i + 1))?;
            self.reporter.event(&step(1, true));
            if made {
                self.source.journal(m, "indexes", "built", &addition.to_string()).await?;
            }
        }
        self.target.put(m, Side::Target, ADDITIONS, "").await?;
        self.source.journal(m, "indexes", "done", &format!("{total} at the target")).await
    }
}

fn write(additions: &[Addition]) -> String {
    let name = |t: &TableName| json!({ "schema": t.schema, "name": t.name });
    let one = |a: &Addition| {
        let mut value = json!({ "table": name(&a.table), "name": a.name, "columns": a.columns });
        match &a.what {
            Added::Index { unique } => value["unique"] = json!(unique),
            Added::ForeignKey { references, referenced_columns } => {
                value["references"] = name(references);
                value["referenced_columns"] = json!(referenced_columns);
            }
        }
        value
    };
    Json::Array(additions.iter().map(one).collect()).to_string()
}

fn read(text: &str) -> Result<Vec<Addition>> {
    if text.is_empty() {
        return Ok(vec![]);
    }
    let bad = || Error::changed(format!("the setting \"{ADDITIONS}\" in the target's control tables can't be read"));
    let list: Json = serde_json::from_str(text).map_err(|_| bad())?;
    list.as_array().ok_or_else(bad)?.iter().map(|v| one(v).ok_or_else(bad)).collect()
}

fn one(value: &Json) -> Option<Addition> {
    let name = |v: &Json| {
        let schema = v["schema"].as_str().map(str::to_owned);
        Some(TableName { schema, name: v["name"].as_str()?.to_owned() })
    };
    let texts = |v: &Json| v.as_array()?.iter().map(|c| c.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let what = match value["unique"].as_bool() {
        Some(unique) => Added::Index { unique },
        None => Added::ForeignKey {
            references: name(&value["references"])?,
            referenced_columns: texts(&value["referenced_columns"])?,
        },
    };
    let columns = texts(&value["columns"])?;
    Some(Addition { table: name(&value["table"])?, name: value["name"].as_str()?.to_owned(), columns, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_build_survives_a_restart() {
        let table = |schema: Option<&str>, name: &str| TableName { schema: schema.map(Into::into), name: name.into() };
        let index = Addition {
            table: table(Some("public"), "a\"b"),
            name: "i".into(),
            columns: vec!["x".into(), "y z".into()],
            what: Added::Index { unique: true },
        };
        let references = table(None, "p");
        let key = Addition {
            table: table(None, "c"),
            what: Added::ForeignKey { references, referenced_columns: vec!["id".into()] },
            ..index.clone()
        };
        let all = vec![index, key];
        assert_eq!(read(&write(&all)).unwrap(), all);
        assert!(read("").unwrap().is_empty() && read("[{}]").is_err() && read("{").is_err());
    }
}
