//! What a table's definition has beyond its columns and key; and the indexes and foreign keys of tables that we made.
//!
//! An index is built in place while the applier goes on. With its check a foreign key would copy the table under a
//! lock; so it is added without one, holds for what is written from then on, and a query looks for rows that it does
//! not hold for.

use super::install::orphans;
use super::name::{literal, quote, table};
use super::query::{fetch, script};
use super::{Arg, MySql, capture, catalog, int, text};
use crate::error::{Context, Result};
use crate::schema::{Added, Addition, Definition, ForeignKey, Index, TableName};
use crate::value::Row;

const COLUMNS: &str = "SELECT COLUMN_NAME, COLUMN_DEFAULT, EXTRA, DATA_TYPE FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = coalesce(?, DATABASE()) AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

const INDEXES: &str =
    "SELECT INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, INDEX_TYPE FROM information_schema.STATISTICS
    WHERE TABLE_SCHEMA = coalesce(?, DATABASE()) AND TABLE_NAME = ? AND INDEX_NAME <> 'PRIMARY'
    ORDER BY INDEX_NAME, SEQ_IN_INDEX";

const TAKEN: &str = "SELECT count(*) FROM information_schema.TABLE_CONSTRAINTS
    WHERE CONSTRAINT_SCHEMA = coalesce(?, DATABASE()) AND CONSTRAINT_NAME = ? AND CONSTRAINT_TYPE = 'FOREIGN KEY'";

impl MySql {
    pub(super) async fn define(&self, name: &TableName) -> Result<Definition> {
        let mut tx = self.open_install().await?;
        let mariadb = capture::is_mariadb(&mut tx).await?;
        let place: [Arg; 2] = [name.schema.as_deref().into(), name.name.as_str().into()];
        let mut definition = Definition::default();
        for row in fetch(&mut tx, COLUMNS, &place).await? {
            let (column, extra) = (text(&row[0]), text(&row[2]).to_ascii_lowercase());
            if extra.contains("auto_increment") {
                definition.numbered.push(column);
            } else if !row[1].is_null() && !extra.contains("virtual") && !extra.contains("stored") {
                let default = default_sql(mariadb, &text(&row[1]), &extra, &text(&row[3]).to_ascii_lowercase());
                definition.defaults.push((column, default));
            }
        }
        definition.indexes = indexes(&fetch(&mut tx, INDEXES, &place).await?);
        if let Some(described) = catalog::describe(&mut tx, name).await? {
            definition.foreign_keys = described.foreign_keys;
        }
        self.close(tx).await?;
        Ok(definition)
    }

    pub(super) async fn add_to(&self, addition: &Addition) -> Result<bool> {
        let is_there = addition.is_in(&self.define(&addition.table).await?);
        let (named, list) = (table(&addition.table), columns(&addition.columns));
        match &addition.what {
            Added::Index { .. } if is_there => {}
            Added::Index { unique } => {
                let what = if *unique { "UNIQUE INDEX" } else { "INDEX" };
                let sql = format!("ALTER TABLE {named} ADD {what} {} ({list})", quote(&addition.name));
                self.alter(1, sql).await?;
            }
            Added::ForeignKey { references, referenced_columns } => {
                if !is_there {
                    let name = quote(&self.free_name(addition).await?);
                    let (parent, to) = (table(references), columns(referenced_columns));
                    let sql = format!(
                        "ALTER TABLE {named} ADD CONSTRAINT {name} FOREIGN KEY ({list}) REFERENCES {parent} ({to})"
                    );
                    self.alter(0, sql).await?;
                }
                let key = ForeignKey {
                    name: addition.name.clone(),
                    columns: addition.columns.clone(),
                    references: references.clone(),
                    referenced_columns: referenced_columns.clone(),
                    on_delete_cascades: false,
                    deferrable: false,
                };
                self.run_checks(&[orphans(&addition.table, &key)]).await?;
            }
        }
        Ok(!is_there)
    }

    /// Only the applier writes to a made table: it is no harm if it waits for a moment, and a pity if the server gave
    /// up after having built.
    async fn alter(&self, checks: u8, sql: String) -> Result<()> {
        let mut tx = self.open_install().await?;
        script(&mut tx, format!("SET SESSION lock_wait_timeout = 30, foreign_key_checks = {checks}")).await?;
        let altered = script(&mut tx, sql).await;
        script(&mut tx, "SET SESSION foreign_key_checks = 1").await.and(altered)?;
        self.close(tx).await
    }

    /// A foreign key's name counts in the whole database.
    async fn free_name(&self, addition: &Addition) -> Result<String> {
        let mut tx = self.open_install().await?;
        let place: [Arg; 2] = [addition.table.schema.as_deref().into(), addition.name.as_str().into()];
        let taken = fetch(&mut tx, TAKEN, &place).await.context("looking for a free name")?;
        self.close(tx).await?;
        let is_taken = taken.first().is_some_and(|r| int(&r[0]) > 0);
        Ok(if is_taken { addition.other_name() } else { addition.name.clone() })
    }
}

fn columns(names: &[String]) -> String {
    names.iter().map(|c| quote(c)).collect::<Vec<_>>().join(", ")
}

/// As SQL spells it. MariaDB's catalogue does; MySQL's shows a literal's bare text, and marks what is an expression.
fn default_sql(mariadb: bool, shown: &str, extra: &str, data_type: &str) -> String {
    let is_number = data_type.ends_with("int") || ["decimal", "float", "double", "year"].contains(&data_type);
    let is_now = ["timestamp", "datetime"].contains(&data_type) && shown.starts_with("CURRENT_TIMESTAMP");
    match mariadb || extra.contains("default_generated") || is_number || is_now || data_type == "bit" {
        true => shown.to_owned(),
        false => literal(shown),
    }
}

fn indexes(rows: &[Row]) -> Vec<Index> {
    let mut found = Vec::<Index>::new();
    for row in rows {
        let (name, kind) = (text(&row[0]), text(&row[4]));
        if found.last().is_none_or(|i| i.name != name) {
            let unfit = (kind != "BTREE").then(|| format!("is of the kind {kind}"));
            found.push(Index { name, columns: vec![], unique: int(&row[1]) == 0, unfit });
        }
        let Some(index) = found.last_mut() else { continue };
        if row[2].is_null() {
            index.unfit = Some("is over an expression".to_owned());
        } else if !row[3].is_null() && index.unfit.is_none() {
            index.unfit = Some(format!("is over the beginning of \"{}\"", text(&row[2])));
        }
        index.columns.push(text(&row[2]));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::default_sql;

    #[test]
    fn a_default_is_spelled_as_sql_whichever_server_shows_it() {
        let cases = [
            (true, "'x'", "", "varchar", "'x'"),
            (true, "current_timestamp()", "", "datetime", "current_timestamp()"),
            (false, "x", "", "varchar", "'x'"),
            (false, "it's", "", "varchar", "'it''s'"),
            (false, "now()", "", "varchar", "'now()'"),
            (false, "0", "", "int", "0"),
            (false, "1.50", "", "decimal", "1.50"),
            (false, "CURRENT_TIMESTAMP", "", "timestamp", "CURRENT_TIMESTAMP"),
            (false, "CURRENT_TIMESTAMP(6)", "default_generated", "datetime", "CURRENT_TIMESTAMP(6)"),
            (false, "uuid()", "default_generated", "varchar", "uuid()"),
        ];
        for (mariadb, shown, extra, data_type, expected) in cases {
            assert_eq!(default_sql(mariadb, shown, extra, data_type), expected);
        }
    }
}
