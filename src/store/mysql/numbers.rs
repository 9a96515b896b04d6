//! `AUTO_INCREMENT`. InnoDB moves it along with what is inserted; what was given out and deleted must be told.

use super::name::table;
use super::query::fetch;
use super::{Arg, MySql, install, int, text};
use crate::error::{Context, Result};
use crate::schema::TableName;

const NUMBERED: &str = "SELECT COLUMN_NAME FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = coalesce(?, DATABASE()) AND TABLE_NAME = ? AND EXTRA LIKE '%auto_increment%'";
const NEXT: &str = "SELECT CAST(coalesce(AUTO_INCREMENT, 1) AS SIGNED) FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = coalesce(?, DATABASE()) AND TABLE_NAME = ?";

impl MySql {
    pub(super) async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>> {
        let mut tx = self.open_install().await?;
        let place: [Arg; 2] = [name.schema.as_deref().into(), name.name.as_str().into()];
        let columns = fetch(&mut tx, NUMBERED, &place).await?;
        let next = fetch(&mut tx, NEXT, &place).await?.first().map_or(1, |r| int(&r[0]));
        Ok(columns.iter().map(|r| (text(&r[0]), next)).collect())
    }

    pub(super) async fn raise_number(&self, name: &TableName, column: &str, next: i64) -> Result<()> {
        let known = self.next_numbers(name).await?;
        if known.iter().all(|(c, at)| c != column || *at >= next) {
            return Ok(());
        }
        let mut tx = self.open_install().await?;
        let sql = format!("ALTER TABLE {} AUTO_INCREMENT = {next}", table(name));
        install::in_passing(&mut tx, &sql).await.context(format_args!("the numbers of {name}"))?;
        self.close(tx).await
    }
}
