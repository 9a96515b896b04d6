//! What a table's definition has beyond its columns and key; and the indexes of tables that we made. A foreign key can
//! be added to no table of SQLite's: it is part of its making.

use crate::error::{Error, Result};
use crate::schema::{Added, Addition, Definition, Index, TableName};

use super::Sqlite;
use super::catalog::{self, get, rows};
use super::connection::Purpose;
use super::dialect::{column, list, table, text};

impl Sqlite {
    pub(super) async fn define(&self, name: &TableName) -> Result<Definition> {
        let file = &self.file;
        let mut tx = file.begin(Purpose::Read).await?;
        let Some(entry) = catalog::entry(&mut tx, file, name).await? else { return Ok(Definition::default()) };
        let Some(described) = catalog::describe_in(&mut tx, file, name).await? else {
            return Ok(Definition::default());
        };
        let mut definition = Definition { foreign_keys: described.foreign_keys, ..Definition::default() };
        let named = text(&entry.name);
        let sql = format!(
            "SELECT name, dflt_value FROM pragma_table_xinfo({named}) WHERE dflt_value IS NOT NULL AND hidden = 0"
        );
        for row in &rows(&mut tx, file, sql).await? {
            definition.defaults.push((get(row, 0)?, get(row, 1)?));
        }
        let (_, is_rowid) = catalog::uniques(&mut tx, file, &entry, &described.columns).await?;
        if is_rowid {
            definition.numbered = described.primary_key;
        }
        let sql = format!(
            "SELECT l.name, l.\"unique\", l.partial, x.name, x.coll FROM pragma_index_list({named}) AS l \
             JOIN pragma_index_xinfo(l.name) AS x WHERE x.key = 1 AND l.origin <> 'pk' ORDER BY l.seq DESC, x.seqno"
        );
        for row in &rows(&mut tx, file, sql).await? {
            let name: String = get(row, 0)?;
            if definition.indexes.last().is_none_or(|i| i.name != name) {
                let unfit = get::<bool>(row, 2)?.then(|| "is partial".to_owned());
                definition.indexes.push(Index { name, columns: vec![], unique: get(row, 1)?, unfit });
            }
            let Some(index) = definition.indexes.last_mut() else { continue };
            let (part, collation): (Option<String>, String) = (get(row, 3)?, get(row, 4)?);
            let own = part.as_ref().and_then(|p| described.columns.iter().find(|c| c.name == *p));
            let own = own.map(|c| c.collation.as_deref().unwrap_or("\"BINARY\""));
            match own {
                None => index.unfit = Some("is over an expression".to_owned()),
                Some(own) if !own.eq_ignore_ascii_case(&table(&collation)) => {
                    index.unfit = Some("compares otherwise than its columns do".to_owned());
                }
                Some(_) => {}
            }
            index.columns.push(part.unwrap_or_default());
        }
        Ok(definition)
    }

    pub(super) async fn add_to(&self, addition: &Addition) -> Result<bool> {
        if addition.is_in(&self.define(&addition.table).await?) {
            return Ok(false);
        }
        let Added::Index { unique } = addition.what else {
            return Err(Error::give_up(format!("SQLite can't add the {addition} to a table that is there")));
        };
        let file = &self.file;
        let mut tx = file.begin(Purpose::Install).await?;
        let sql = format!("SELECT 1 FROM sqlite_master WHERE name = {} COLLATE NOCASE", text(&addition.name));
        let taken = !rows(&mut tx, file, sql).await?.is_empty();
        let name = if taken { addition.other_name() } else { addition.name.clone() };
        let what = if unique { "UNIQUE INDEX" } else { "INDEX" };
        let columns = list(&addition.columns, |c| column(c));
        tx.script(&format!("CREATE {what} {} ON {} ({columns})", table(&name), table(&addition.table.name))).await?;
        tx.commit().await?;
        Ok(true)
    }
}
