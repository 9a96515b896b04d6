//! The ranges' triggers. A row's number is known behind the insert only: then it is refused, and the statement undone.

use super::capture::{Object, applier_name};
use super::connection::SHORT_WAIT;
use super::dialect::{column, control, table, text};
use super::{Sqlite, install};
use crate::entry::TableId;
use crate::error::{Context, Result};
use crate::mapping::Layout;
use crate::store::Side;
use crate::store::ranges::{EVENTS, NumberRange, refusal, short_side};

fn name(layout: &Layout, side: Side, id: TableId, event: &str) -> String {
    control(layout.base(), &format!("gate_{}{}_{event}", short_side(layout, side), id.0))
}

impl Sqlite {
    pub(super) async fn range_hang(&self, layout: &Layout, side: Side, range: &NumberRange) -> Result<()> {
        let (applier, number) = (table(&applier_name(layout.base())), column(&range.column));
        let mut tx = self.file.begin_install(SHORT_WAIT).await?;
        for (event, when) in EVENTS {
            let name = name(layout, side, range.id, event);
            let moved = if event == "upd" { format!(" AND NEW.{number} IS NOT OLD.{number}") } else { String::new() };
            let sql = format!(
                "CREATE TRIGGER {} AFTER {when} ON {} FOR EACH ROW WHEN {}{moved} AND NOT EXISTS (SELECT 1 FROM {applier}) \
                 BEGIN SELECT RAISE(ABORT, {}); END",
                table(&name),
                table(&range.table.name),
                range.outside(&format!("NEW.{number}")),
                text(&refusal(range)),
            );
            let there = install::definition(&mut tx, &self.file, &name).await?;
            if there.as_ref() != Some(&sql) {
                let trigger = Object { name, is_trigger: true, sql };
                install::make(&mut tx, &trigger, there.is_some()).await.context("hanging the range of numbers")?;
            }
        }
        tx.commit().await
    }

    pub(super) async fn ranges_drop(&self, layout: &Layout, side: Side) -> Result<()> {
        let mut tx = self.file.begin_install(SHORT_WAIT).await?;
        for map in &layout.tables {
            for (event, _) in EVENTS {
                let name = name(layout, side, map.id, event);
                tx.script(&format!("DROP TRIGGER IF EXISTS {}", table(&name))).await?;
            }
        }
        tx.commit().await
    }
}
