//! Foreign keys of the target once it is filled. Until the backfill is done they don't count (a row may refer to one
//! that is not copied yet, in its own table or in a ring), so at its end all of them are checked.

use sqlx::{AssertSqlSafe, Row as _};

use crate::error::{Error, Result};
use crate::mapping::Layout;

use super::catalog;
use super::connection::{File, Purpose};
use super::dialect::table;

/// The check of each table that refers to another. Nothing is taken away: whether keys count is a matter of the
/// connection.
pub async fn relax(file: &File, layout: &Layout) -> Result<Vec<String>> {
    let mut checks = Vec::new();
    for map in &layout.tables {
        let found = catalog::describe(file, &map.target).await?;
        let check = format!("PRAGMA foreign_key_check({})", table(&map.target.name));
        if found.is_some_and(|t| !t.foreign_keys.is_empty()) && !checks.contains(&check) {
            checks.push(check);
        }
    }
    Ok(checks)
}

pub async fn restore(file: &File, checks: &[String]) -> Result<()> {
    let mut tx = file.begin(Purpose::Read).await?;
    for check in checks {
        let broken = sqlx::query(AssertSqlSafe(check.clone())).fetch_optional(tx.writer().await?).await;
        let Some(row) = broken.map_err(|e| file.error(e))? else { continue };
        let name = |i: usize| row.try_get::<String, _>(i).unwrap_or_default();
        let (child, parent) = (name(0), name(2));
        return Err(Error::give_up(format!(
            "the target refuses a row of table \"{child}\": its foreign key refers to a row of \"{parent}\" that is not there"
        ))
        .hint(format!(
            "`{check}` at the target lists such rows; mend them at the source, then run the same command again"
        )));
    }
    Ok(())
}
