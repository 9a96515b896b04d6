//! The gate's triggers, which are there only while there is something to refuse.
//!
//! One function refuses for all tables of a side. A fence's deadline is a literal in it and no row, since a row is what
//! an older snapshot does not see; the function of the day is what every session runs once it has waited for a lock on
//! the table. So each table is locked against writers for a moment, whether or not its trigger hangs already: who wrote
//! before has ended by then, who writes later runs the new function. One table at a time, for less than the deadlock
//! detector's patience, so that no session of the application is ever chosen as a victim.
//!
//! Behind the deadline the owner's row counts. It is read plainly first, so that a refused statement holds no lock, and
//! then locked in share mode until the writer's transaction ends. A snapshot older than the decision fails there (40001).
//!
//! The function is written only by who has the fence's row locked, and says what that row says: of two processes that
//! fence, or of one that fences while one frees, none leaves the other's function or takes away its triggers.
//!
//! A refused write gets SQLSTATE `MG002`. TRUNCATE asks too, and is refused by capture anyhow where that hangs.

use sqlx::postgres::PgConnection;

use super::name::{control, literal, quote, table};
use super::query::{fetch, script};
use super::{Arg, Postgres, Tx, capture, errors, flag, guard, install, int, name, text};
use crate::error::{Context, Error, Kind, Result};
use crate::mapping::Layout;
use crate::schema::TableName;
use crate::store::gate::{FENCE, OWNER, arm, gate_table, plan_side, scope_column, tables};
use crate::store::{Fence, Side};

/// An autovacuum gives way after the deadlock detector's patience; no writer waits behind this.
const VACUUM_MS: i64 = 2_500;

/// What the names are made of: the migration, and the side as the plan has it.
pub(super) struct Gate<'a> {
    pub(super) migration: &'a str,
    side: Side,
    pub(super) rows: String,
    pub(super) function: String,
    /// The names of the columns that tell rows apart; none where ownership is not divided.
    pub(super) scopes: Vec<String>,
}

/// What the rows say, all locked.
pub(super) struct Held {
    pub(super) deadline_ms: i64,
    /// Any of the owners' rows is.
    closed: bool,
    /// Whether the fence covers the rest, and which scopes are named and covered.
    pub(super) covers_rest: bool,
    pub(super) scopes: Vec<(String, bool)>,
}

impl<'a> Gate<'a> {
    fn new(layout: &'a Layout, side: Side) -> Self {
        let (migration, named) = (layout.base(), gate_table(layout, side));
        let (rows, function) = (control(migration, named), format!("{named}_guard"));
        let mut scopes: Vec<String> = tables(layout, side)
            .iter()
            .filter_map(|(_, table)| scope_column(layout, side, table).map(str::to_owned))
            .collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self { migration, side: plan_side(layout, side), rows, function, scopes }
    }

    async fn write(&self, conn: &mut PgConnection, body: &str) -> Result<()> {
        script(conn, capture::define(self.migration, &self.function, body)).await
    }

    async fn written(&self, conn: &mut PgConnection) -> Result<Option<String>> {
        let sql = "SELECT p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = $1::text AND p.proname = $2::text";
        let home = name::home(self.migration);
        let found = fetch(conn, sql, &[home.as_str().into(), self.function.as_str().into()]).await?;
        Ok(found.first().map(|r| text(&r[0])))
    }

    /// Until the transaction ends nobody changes the rows; a writer that shares the owner's goes on.
    async fn hold(&self, conn: &mut PgConnection) -> Result<Held> {
        let sql = format!("SELECT id, closed, deadline_ms, fenced, scope FROM {} ORDER BY id FOR SHARE", self.rows);
        let rows = fetch(conn, &sql, &[]).await?;
        let row = |id: i64| rows.iter().find(|r| int(&r[0]) == id);
        match (row(FENCE), row(OWNER)) {
            (Some(fence), Some(owner)) => {
                let deadline_ms = if flag(&fence[1]) { int(&fence[2]) } else { 0 };
                let closed = rows.iter().any(|r| int(&r[0]) >= OWNER && flag(&r[1]));
                let named = rows.iter().filter(|r| int(&r[0]) > OWNER);
                let scopes = named.map(|r| (text(&r[4]), flag(&r[3]))).collect();
                Ok(Held { deadline_ms, closed, covers_rest: flag(&owner[3]), scopes })
            }
            _ => Err(Error::changed("the gate's rows are gone from the migration's control tables")),
        }
    }
}

fn overtaken() -> Error {
    Error::new(Kind::Locked, "another process has taken the fence meanwhile").hint("migrate status PLAN says who works")
}

impl Postgres {
    /// Does nothing where the function is there and the triggers hang; a function whose fence counts stays as it is, but
    /// for scopes that were named since.
    pub(super) async fn gate_hang(&self, layout: &Layout, side: Side, grantee: &str) -> Result<()> {
        let gate = Gate::new(layout, side);
        let mut tx = self.open_install().await?;
        let held = gate.hold(&mut tx).await?;
        let body = gate.body(grantee, &held);
        let written = gate.written(&mut tx).await?;
        if written.is_none() || !gate.scopes.is_empty() && written.as_ref() != Some(&body) {
            gate.write(&mut tx, &body).await.context("making the gate's function")?;
        }
        self.close(tx).await?;
        for (_, named) in tables(layout, side) {
            let mut tx = self.open_install().await?;
            let found = gate.triggers(&mut tx, named).await?;
            self.close(tx).await?;
            if found.is_empty() || found.iter().any(|t| !t.whole()) {
                self.hang_on(&gate, layout, side, named, None, install::LOCK_MS).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn gate_shut(&self, l: &Layout, side: Side, fence: &Fence<'_>, deadline_ms: i64) -> Result<()> {
        let gate = Gate::new(l, side);
        let mut tx = self.open_install().await?;
        arm(self, &mut tx, l, side, fence, deadline_ms).await.context("setting the fence")?;
        let held = gate.hold(&mut tx).await?;
        gate.write(&mut tx, &gate.body(fence.grantee, &held)).await.context("making the gate's function")?;
        let patience = fetch(&mut tx, "SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout'", &[]);
        let patience = patience.await?.first().map_or(1_000, |r| int(&r[0]));
        self.close(tx).await?;
        let limit_ms = fence.lock_timeout_ms.min(patience * 9 / 10).max(1);
        for (_, named) in tables(l, side) {
            self.hang_on(&gate, l, side, named, Some(deadline_ms), limit_ms).await?;
        }
        Ok(())
    }

    /// Locks the table for a moment, as a barrier too, and hangs what is missing. With a deadline: only while that counts.
    async fn hang_on(
        &self,
        gate: &Gate<'_>,
        layout: &Layout,
        side: Side,
        named: &TableName,
        deadline_ms: Option<i64>,
        limit_ms: i64,
    ) -> Result<()> {
        let doing = || format!("shutting the gate of table {named}");
        let mut tx = self.lock_gated(named, "SHARE ROW EXCLUSIVE", limit_ms).await.context(doing())?;
        let found = gate.triggers(&mut tx, named).await?;
        if deadline_ms.is_some_and(|ms| ms > 0) && Some(gate.hold(&mut tx).await?.deadline_ms) != deadline_ms {
            return Err(overtaken());
        }
        if found.is_empty() {
            return Err(Error::changed("it is gone").context(doing()));
        }
        for missing in found.iter().filter(|t| !t.whole()) {
            let scope = scope_column(layout, side, named);
            script(&mut tx, missing.make(gate, scope)).await.context(doing())?;
        }
        self.close(tx).await
    }

    /// A time-out says who holds the table.
    pub(super) async fn lock_gated(&self, named: &TableName, mode: &str, limit_ms: i64) -> Result<Tx> {
        let mut tx = self.open_install().await?;
        match install::lock_within(&mut tx, &table(named), mode, limit_ms, VACUUM_MS).await {
            Ok(()) => Ok(tx),
            Err(e) if e.is_retry() => {
                tx.rollback().await.map_err(errors::of)?;
                let who = self.holders(named, mode == "ACCESS EXCLUSIVE").await?;
                Err(Error::retry(format!("{} ({limit_ms} ms): {who}", e.message()))
                    .hint("wait until it has ended, or end it; then the same command goes on"))
            }
            Err(e) => Err(e),
        }
    }

    /// Who holds locks on the table that a writer holds (or any). Never their statements: those have values.
    async fn holders(&self, named: &TableName, readers_too: bool) -> Result<String> {
        let mut tx = self.open_install().await?;
        let args = [name::schema_of(named).into(), named.name.as_str().into(), Arg::from(i64::from(readers_too))];
        let rows = fetch(&mut tx, HOLDERS, &args).await?;
        self.close(tx).await?;
        let each = |r: &crate::value::Row| {
            let (pid, user, gid) = (int(&r[0]), text(&r[1]), text(&r[5]));
            if pid == 0 {
                return format!("prepared transaction '{gid}' of {user}, {} old", age(int(&r[4])));
            }
            let (application, state) = (text(&r[2]), text(&r[3]));
            let state = if state.is_empty() { String::new() } else { format!(", {state}") };
            let since =
                if int(&r[4]) < 0 { String::new() } else { format!(", in a transaction for {}", age(int(&r[4]))) };
            format!("session {pid} of {user}, application '{application}'{state}{since}")
        };
        let who: Vec<String> = rows.iter().map(each).collect();
        Ok(if who.is_empty() { "who held it has ended".to_owned() } else { format!("held by {}", who.join("; ")) })
    }

    /// Where the owner's row is closed the triggers stay, and what they cost.
    pub(super) async fn gate_free(&self, layout: &Layout, side: Side) -> Result<()> {
        let gate = Gate::new(layout, side);
        let mut tx = self.open_install().await?;
        let held = gate.hold(&mut tx).await?;
        let Some(body) = gate.written(&mut tx).await? else { return self.close(tx).await };
        if held.deadline_ms != 0 {
            return Err(overtaken());
        }
        // Writers get in from here on, however long the triggers take to go.
        let open = guard::without_deadline(&body);
        if open != body {
            gate.write(&mut tx, &open).await.context("opening the gate")?;
        }
        self.close(tx).await?;
        if held.closed {
            return Ok(());
        }
        let triggers = name::gate_triggers(gate.migration, gate.side);
        self.unhang(gate.migration, &gate.function, &triggers, "the gate", Some(&gate)).await
    }

    /// Drops these triggers wherever they call the function, table by table, and then the function; as long as `gate` stays
    /// open, where one is given.
    pub(super) async fn unhang(
        &self,
        migration: &str,
        function: &str,
        triggers: &[String],
        what: &str,
        gate: Option<&Gate<'_>>,
    ) -> Result<()> {
        let mut tx = self.open_install().await?;
        let hung = fetch(&mut tx, HUNG, &[Arg::from(name::home(migration).as_str()), function.into()]).await?;
        self.close(tx).await?;
        for row in hung {
            let named = TableName { schema: Some(text(&row[0])), name: text(&row[1]) };
            let doing = || format!("removing {what} of table {named}");
            let mut tx = match self.lock_gated(&named, "ACCESS EXCLUSIVE", install::LOCK_MS).await {
                // It vanished, and its triggers with it.
                Err(e) if e.kind == Kind::Changed => continue,
                other => other.context(doing())?,
            };
            if let Some(gate) = gate {
                gate.stays_open(&mut tx).await?;
            }
            for trigger in triggers {
                let sql = format!("DROP TRIGGER IF EXISTS {} ON {}", quote(trigger), table(&named));
                script(&mut tx, sql).await.context(doing())?;
            }
            self.close(tx).await?;
        }
        let mut tx = self.open_install().await?;
        if let Some(gate) = gate {
            gate.stays_open(&mut tx).await?;
        }
        let sql = format!("DROP FUNCTION IF EXISTS {}()", control(migration, function));
        script(&mut tx, sql).await.context(format_args!("removing the function of {what}"))?;
        self.close(tx).await
    }
}

impl Gate<'_> {
    /// Until the transaction ends nobody fences or closes.
    async fn stays_open(&self, conn: &mut PgConnection) -> Result<()> {
        let held = self.hold(conn).await?;
        if held.deadline_ms != 0 || held.closed { Err(overtaken()) } else { Ok(()) }
    }

    async fn triggers(&self, conn: &mut PgConnection, named: &TableName) -> Result<Vec<On>> {
        let home = name::home(self.migration);
        let [rows, truncate] = name::gate_triggers(self.migration, self.side);
        let args = [name::schema_of(named), &named.name, &rows, &truncate, &home].map(Arg::from);
        let found = fetch(conn, capture::TRIGGERS, &args).await?;
        let each = |r: &crate::value::Row| On {
            named: format!("{}.{}", quote(&text(&r[0])), quote(&text(&r[1]))),
            is_partition: flag(&r[2]),
            rows: flag(&r[3]),
            truncate: flag(&r[4]),
        };
        Ok(found.iter().map(each).collect())
    }
}

/// A table or one of its partitions, and which of the two triggers hang there, always firing.
struct On {
    named: String,
    is_partition: bool,
    rows: bool,
    truncate: bool,
}

impl On {
    fn whole(&self) -> bool {
        self.rows && self.truncate
    }

    fn make(&self, gate: &Gate<'_>, scope: Option<&str>) -> String {
        let [rows, truncate] = name::gate_triggers(gate.migration, gate.side);
        let function = control(gate.migration, &gate.function);
        let mut sql = String::new();
        if !self.rows && self.is_partition {
            // Cloned from its parent's; an older server clones without ALWAYS.
            sql += &format!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {};", self.named, quote(&rows));
        } else if !self.rows {
            let call = format!("{function}({})", scope.map(literal).unwrap_or_default());
            sql += &capture::trigger(&self.named, &rows, "AFTER INSERT OR UPDATE OR DELETE", "ROW", &call);
        }
        if !self.truncate {
            let call = format!("{function}()");
            sql += &capture::trigger(&self.named, &truncate, "BEFORE TRUNCATE", "STATEMENT", &call);
        }
        sql
    }
}

fn age(ms: i64) -> String {
    format!("{}.{} s", ms.max(0) / 1000, ms.max(0) % 1000 / 100)
}

const HOLDERS: &str = "SELECT DISTINCT coalesce(l.pid, 0)::bigint, coalesce(a.usename, p.owner, '?')::text,
        coalesce(a.application_name, ''), coalesce(a.state, ''),
        coalesce((extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared)) * 1000)::bigint, -1),
        coalesce(p.gid, '')
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
        AND x.virtualtransaction = l.virtualtransaction
    LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ($3::bigint = 1 OR l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
      AND l.relation IN (SELECT t.relid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (SELECT c.oid AS relid UNION SELECT relid FROM pg_partition_tree(c.oid)) t
        WHERE n.nspname = $1::text AND c.relname = $2::text)
    ORDER BY 1 LIMIT 8";

const HUNG: &str = "SELECT DISTINCT tn.nspname::text, c.relname::text
    FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace tn ON tn.oid = c.relnamespace
    WHERE n.nspname = $1::text AND p.proname = $2::text AND NOT g.tgisinternal AND g.tgparentid = 0 ORDER BY 1, 2";
