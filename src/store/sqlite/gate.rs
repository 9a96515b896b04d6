//! The gate's triggers, made in the very transaction that sets the rows they read, and there only while they may refuse.
//!
//! A file has one writer, whose snapshot is never stale: who began to read before can't write (`SQLITE_BUSY_SNAPSHOT`),
//! and who holds the write lock is waited for. So reading the rows is enough, and no lock is shared.
//!
//! Refused is whatever would write a row, before anything of it is done: `RAISE(ABORT)` undoes the statement whatever
//! its conflict clause says. A row that `OR IGNORE` would have left out is refused too. The SQL is what every SQLite
//! since 3.8 parses. An application may switch its triggers off (`SQLITE_DBCONFIG_ENABLE_TRIGGER`), and gets by.
//!
//! Who holds the lock can't be told: SQLite keeps no list of its users.

use std::time::Duration;

use super::capture::{Object, applier_name};
use super::connection::{SHORT_WAIT, Tx};
use super::dialect::{column, control, table, text};
use super::{NOW_MS, Sqlite, install};
use crate::error::{Context, Result};
use crate::mapping::Layout;
use crate::store::gate::{FENCE, OWNER, arm, gate_table, look_in, refusal, scope_column, tables};
use crate::store::{Fence, Side};

fn triggers(layout: &Layout, side: Side) -> Vec<Object> {
    let m = layout.base();
    let (gate, applier) = (gate_table(layout, side), table(&applier_name(m)));
    let rows = table(&control(m, gate));
    let fenced = format!("EXISTS (SELECT 1 FROM {rows} WHERE id = {FENCE} AND closed <> 0 AND deadline_ms > {NOW_MS})");
    let whole = format!("NOT EXISTS (SELECT 1 FROM {rows} WHERE id = {OWNER} AND closed = 0) OR {fenced}");
    let mut all = Vec::new();
    for (id, named) in tables(layout, side) {
        let scope = scope_column(layout, side, named);
        for (event, images) in [("insert", &["NEW"][..]), ("update", &["OLD", "NEW"]), ("delete", &["OLD"])] {
            let name = control(m, &format!("{gate}_{id}_{event}"));
            let refused = match scope {
                None => whole.clone(),
                Some(scope) => {
                    let refused = |image: &&str| refused(&rows, &fenced, &format!("{image}.{}", column(scope)));
                    images.iter().map(refused).collect::<Vec<_>>().join(" OR ")
                }
            };
            let sql = format!(
                "CREATE TRIGGER {} BEFORE {} ON {} FOR EACH ROW WHEN NOT EXISTS (SELECT 1 FROM {applier}) AND ({refused}) \
                 BEGIN SELECT RAISE(ABORT, {}); END",
                table(&name),
                event.to_ascii_uppercase(),
                table(&named.name),
                text(&refusal(&named.name))
            );
            all.push(Object { name, is_trigger: true, sql });
        }
    }
    all
}

/// Whether the scope's row, or where it has none the rest's, is closed or fenced.
fn refused(rows: &str, fenced: &str, scope: &str) -> String {
    let of = |field: &str| {
        let named = format!("(SELECT {field} FROM {rows} WHERE scope = CAST({scope} AS TEXT) COLLATE BINARY)");
        format!("coalesce({named}, (SELECT {field} FROM {rows} WHERE id = {OWNER}), 1) <> 0")
    };
    format!("{} OR {} AND {fenced}", of("closed"), of("fenced"))
}

impl Sqlite {
    async fn hang(&self, tx: &mut Tx, layout: &Layout, side: Side) -> Result<()> {
        for trigger in triggers(layout, side) {
            let there = install::definition(tx, &self.file, &trigger.name).await?;
            if there.as_ref() != Some(&trigger.sql) {
                install::make(tx, &trigger, there.is_some()).await.context("making the gate's triggers")?;
            }
        }
        Ok(())
    }

    pub(super) async fn gate_hang(&self, layout: &Layout, side: Side, _grantee: &str) -> Result<()> {
        let mut tx = self.file.begin_install(SHORT_WAIT).await?;
        self.hang(&mut tx, layout, side).await?;
        tx.commit().await
    }

    pub(super) async fn gate_shut(&self, l: &Layout, side: Side, fence: &Fence<'_>, deadline_ms: i64) -> Result<()> {
        let wait = Duration::from_millis(fence.lock_timeout_ms.max(1).unsigned_abs());
        let mut tx = self.file.begin_install(wait).await.context("shutting the gate")?;
        arm(self, &mut tx, l, side, fence, deadline_ms).await?;
        self.hang(&mut tx, l, side).await?;
        tx.commit().await
    }

    pub(super) async fn gate_free(&self, layout: &Layout, side: Side) -> Result<()> {
        let mut tx = self.file.begin_install(SHORT_WAIT).await?;
        let gate = look_in(self, &mut tx, layout, side).await?;
        if gate.is_open() && !gate.fenced {
            for trigger in triggers(layout, side) {
                tx.script(&format!("DROP TRIGGER IF EXISTS {}", table(&trigger.name))).await?;
            }
        }
        tx.commit().await
    }
}
