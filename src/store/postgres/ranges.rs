//! The ranges' triggers. Who has a number outside is asked in their `WHEN`, so that every other row costs no call.

use super::name::{self, control, literal, quote, table};
use super::query::{fetch, script};
use super::{Arg, Postgres, capture, install};
use crate::error::{Context, Result};
use crate::mapping::Layout;
use crate::store::Side;
use crate::store::ranges::{EVENTS, NumberRange, refusal, short_side};

/// The trigger's argument, which has the boundary in it.
const HUNG_WITH: &str = "SELECT 1::bigint FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relname = $2::text
      AND g.tgname = $3::text AND g.tgenabled = 'A' AND encode(g.tgargs, 'escape') = $4::text || '\\000'";

fn function(layout: &Layout, side: Side) -> String {
    format!("gate_{}", short_side(layout, side))
}

/// At most 62 bytes.
fn trigger(layout: &Layout, side: Side, event: &str) -> String {
    format!("{}_{}{}", name::home(layout.base()), short_side(layout, side), &event[..1])
}

fn body(layout: &Layout, grantee: &str) -> String {
    format!(
        "BEGIN
    IF session_user = {} AND current_setting('{}', true) = {} THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'MG003';
END",
        literal(grantee),
        capture::APPLIER,
        literal(layout.base()),
    )
}

impl Postgres {
    pub(super) async fn range_hang(
        &self,
        layout: &Layout,
        side: Side,
        grantee: &str,
        range: &NumberRange,
    ) -> Result<()> {
        let doing = || format!("hanging the range of the numbers of {}", range.table);
        let function = function(layout, side);
        let mut tx = self.open_install().await?;
        script(&mut tx, capture::define(layout.base(), &function, &body(layout, grantee))).await.context(doing())?;
        self.close(tx).await?;
        let said = refusal(range);
        for (event, when) in EVENTS {
            let trigger = trigger(layout, side, event);
            let place = [name::schema_of(&range.table), &range.table.name, &trigger, &said].map(Arg::from);
            // Hung or not: writers that came before have ended behind this.
            let mut tx = self.lock_gated(&range.table, "SHARE ROW EXCLUSIVE", install::LOCK_MS).await?;
            if !fetch(&mut tx, HUNG_WITH, &place).await?.is_empty() {
                self.close(tx).await?;
                continue;
            }
            let (on, trigger, column) = (table(&range.table), quote(&trigger), quote(&range.column));
            let number = format!("NEW.{column}");
            let moved =
                if event == "upd" { format!(" AND {number} IS DISTINCT FROM OLD.{column}") } else { String::new() };
            let sql = format!(
                "DROP TRIGGER IF EXISTS {trigger} ON {on};
                CREATE TRIGGER {trigger} AFTER {when} ON {on} FOR EACH ROW WHEN ({}{moved})
                EXECUTE FUNCTION {}({});
                ALTER TABLE {on} ENABLE ALWAYS TRIGGER {trigger}",
                range.outside(&number),
                control(layout.base(), &function),
                literal(&said),
            );
            script(&mut tx, sql).await.context(doing())?;
            self.close(tx).await?;
        }
        Ok(())
    }

    pub(super) async fn ranges_drop(&self, layout: &Layout, side: Side) -> Result<()> {
        let triggers = EVENTS.map(|(event, _)| trigger(layout, side, event));
        let what = "the range of the numbers";
        self.unhang(layout.base(), &function(layout, side), &triggers, what, None).await
    }
}
