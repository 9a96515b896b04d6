//! `AUTOINCREMENT`: SQLite notes the greatest number in `sqlite_sequence`. Without that word it takes the greatest that
//! is there and adds one, so there is nothing to carry.

use super::Sqlite;
use super::catalog;
use super::connection::Purpose;
use super::dialect::text;
use super::tokens::tokens;
use crate::error::Result;
use crate::schema::TableName;

impl Sqlite {
    pub(super) async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>> {
        let mut tx = self.file.begin(Purpose::Read).await?;
        let Some(entry) = catalog::entry(&mut tx, &self.file, name).await? else { return Ok(vec![]) };
        if !tokens(&entry.ddl).iter().any(|(_, token)| token.is("AUTOINCREMENT")) {
            return Ok(vec![]);
        }
        let described = catalog::describe_in(&mut tx, &self.file, name).await?;
        let sql = format!(
            "SELECT CAST(coalesce(max(seq), 0) AS TEXT) FROM sqlite_sequence WHERE name = {}",
            text(&name.name)
        );
        let found = super::install::strings(&mut tx, &self.file, &sql).await?;
        let last: i64 = found.first().and_then(|n| n.parse().ok()).unwrap_or_default();
        let key = described.map(|t| t.primary_key).unwrap_or_default();
        Ok(key.into_iter().map(|column| (column, last + 1)).collect())
    }

    pub(super) async fn raise_number(&self, name: &TableName, column: &str, next: i64) -> Result<()> {
        let known = self.next_numbers(name).await?;
        if known.iter().all(|(c, at)| c != column || *at >= next) {
            return Ok(());
        }
        let (mut tx, named, last) = (self.file.begin(Purpose::Install).await?, text(&name.name), next - 1);
        tx.script(&format!(
            "UPDATE sqlite_sequence SET seq = {last} WHERE name = {named} AND seq < {last}; \
             INSERT INTO sqlite_sequence (name, seq) SELECT {named}, {last} \
             WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = {named})"
        ))
        .await?;
        tx.commit().await
    }
}
