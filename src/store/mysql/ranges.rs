//! The ranges' triggers. Making one waits for whoever has written the table, and commits by itself.

use super::name::{self, literal, quote, table};
use super::{MySql, capture, install};
use crate::entry::TableId;
use crate::error::{Context, Result};
use crate::mapping::Layout;
use crate::schema::TableName;
use crate::store::Side;
use crate::store::ranges::{EVENTS, NumberRange, refusal, short_side};

/// At most 64 characters, and not what the fingerprint looks for.
fn trigger(layout: &Layout, side: Side, id: TableId, event: &str) -> String {
    name::control(layout.base(), &format!("gate_{}{}_{event}", short_side(layout, side), id.0))
}

fn body(e: &MySql, layout: &Layout, grantee: &str, range: &NumberRange, event: &str) -> String {
    let column = quote(&range.column);
    let moved = if event == "upd" { format!(" AND NOT (NEW.{column} <=> OLD.{column})") } else { String::new() };
    format!(
        "body: BEGIN IF NOT ({}{moved}) THEN LEAVE body; END IF; IF {} THEN LEAVE body; END IF; \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = {}; END",
        range.outside(&format!("NEW.{column}")),
        capture::is_applier(e, layout, grantee),
        literal(&refusal(range)),
    )
}

impl MySql {
    pub(super) async fn range_hang(
        &self,
        layout: &Layout,
        side: Side,
        grantee: &str,
        range: &NumberRange,
    ) -> Result<()> {
        let doing = || format!("hanging the range of the numbers of {}", range.table);
        let mut tx = self.open_install().await?;
        for (event, when) in EVENTS {
            let (bare, body) = (trigger(layout, side, range.id, event), body(self, layout, grantee, range, event));
            if capture::has_trigger(&mut tx, &range.table, &bare, &body).await? {
                continue;
            }
            let trigger = table(&TableName { schema: range.table.schema.clone(), name: bare });
            let drop = format!("DROP TRIGGER IF EXISTS {trigger}");
            install::in_passing(&mut tx, &drop).await.context(doing())?;
            let make = format!("CREATE TRIGGER {trigger} AFTER {when} ON {} FOR EACH ROW {body}", table(&range.table));
            install::in_passing(&mut tx, &make).await.context(doing())?;
        }
        self.close(tx).await
    }

    pub(super) async fn ranges_drop(&self, layout: &Layout, side: Side) -> Result<()> {
        let mut tx = self.open_install().await?;
        for map in &layout.tables {
            let named = if side == Side::Source { &map.source } else { &map.target };
            for (event, _) in EVENTS {
                let bare = trigger(layout, side, map.id, event);
                if !capture::is_hung(&mut tx, named, &bare).await? {
                    continue;
                }
                let trigger = table(&TableName { schema: named.schema.clone(), name: bare });
                let drop = format!("DROP TRIGGER IF EXISTS {trigger}");
                install::in_passing(&mut tx, &drop)
                    .await
                    .context(format_args!("removing the range of the numbers of {named}"))?;
            }
        }
        self.close(tx).await
    }
}
