//! `migrate abort`: removes everything of ours and leaves data alone, in an order that never lets the application
//! meet half a trigger: capture first, then the stream, then the target's side.

use std::sync::Arc;

use crate::entry::Link;
use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::mapping::{BACK, Layout};
use crate::schema::TableName;
use crate::store::{Side, Store};

use super::report::AbortReport;
use super::session::{Session, Sides};

impl Session {
    /// May be repeated; what is gone is fine. `drop_created` also drops tables that `create_tables` made.
    pub async fn abort(&self, sides: Sides, drop_created: bool) -> Result<AbortReport> {
        let stores: &[Side] = match sides {
            Sides::Both => &[Side::Source, Side::Target],
            Sides::Source => &[Side::Source],
            Sides::Target => &[Side::Target],
        };
        let result = self.remove_all(sides, stores, drop_created).await;
        if result.is_err() {
            for &side in stores {
                // Best effort: what can't be given back expires.
                let _ = self.let_others_in(side).await;
            }
        }
        result
    }

    async fn remove_all(&self, sides: Sides, stores: &[Side], drop_created: bool) -> Result<AbortReport> {
        let m = self.migration();
        let mut report = AbortReport { migration: m.to_owned(), ..AbortReport::default() };
        self.refuse_if_cut_over(sides).await?;
        for &side in stores {
            self.keep_others_out(side).await.map_err(|e| self.away(sides, side, e))?;
        }
        let made = if sides == Sides::Source { vec![] } else { self.made_if_begun().await? };
        let back = format!("{m}{BACK}");
        if sides != Sides::Source {
            let removed = self.patiently(|| self.target_admin.remove(&back)).await.context("the target")?;
            report.removed.extend(removed.into_iter().map(|line| format!("target: {line}")));
        }
        if sides != Sides::Target {
            self.reporter.event(&Event::Note("removing capture from the source".into()));
            let removed = self.patiently(|| self.source_admin.remove(&back)).await.context("the source")?;
            report.removed.extend(removed.into_iter().map(|line| format!("source: {line}")));
            let removed = self.patiently(|| self.source_admin.remove(m)).await.context("the source")?;
            report.removed.extend(removed.into_iter().map(|line| format!("source: {line}")));
        }
        let stream = if sides == Sides::Both { self.remove_streams().await } else { Ok(false) };
        if sides != Sides::Source {
            self.remove_target(&made, drop_created, &mut report).await.context("the target")?;
        }
        // A broker that is away keeps nobody from cleaning the stores; what is left of it is said, and kept harmless
        // by the epochs.
        if stream.context("both stores are clean, but the stream is still there")? {
            report.removed.push(format!("stream: at {}", self.transport.name()));
        }
        Ok(report)
    }

    /// Both links' streams and the route.
    pub(super) async fn remove_streams(&self) -> Result<bool> {
        let removed = [
            self.transport.remove().await?,
            self.back_transport.remove().await?,
            self.transport.remove_route(self.migration()).await?,
        ];
        Ok(removed.contains(&true))
    }

    /// While the target owns the data, or may, removing everything would leave it behind.
    async fn refuse_if_cut_over(&self, sides: Sides) -> Result<()> {
        let m = self.migration();
        let looks = |side: Side, wanted: bool| async move {
            let store = self.store(side);
            match wanted && store.is_installed(m, side).await? && store.has_gate(m, side).await? {
                true => store.gate(&bare(m), side).await.map(Some),
                false => Ok(None),
            }
        };
        let source =
            looks(Side::Source, sides != Sides::Target).await.map_err(|e| self.away(sides, Side::Source, e))?;
        let target =
            looks(Side::Target, sides != Sides::Source).await.map_err(|e| self.away(sides, Side::Target, e))?;
        let source_gave = source.is_some_and(|gate| !gate.is_open());
        let target_took = target.is_some_and(|gate| gate.parts().any(|p| !p.closed && p.turn > 0));
        if !source_gave && !target_took {
            return Ok(());
        }
        let text = format!("\"{m}\" was cut over: the target owns the data, or is about to");
        let (rollback, finish) = (self.command("rollback"), self.command("finish"));
        Err(Error::new(Kind::Gate, text).hint(format!("`{rollback}` first, or `{finish}` if it is to stay so")))
    }

    /// The lease says whether somebody runs this migration; taking it keeps others out until it is gone.
    async fn keep_others_out(&self, side: Side) -> Result<()> {
        let (store, m) = (self.store(side), self.migration());
        if store.is_installed(m, side).await? {
            store.take_lease(m, Link::Forward, side, &self.holder, 60_000).await?;
        }
        Ok(())
    }

    /// A store that is not there must not keep the other one from being cleaned.
    fn away(&self, sides: Sides, side: Side, error: Error) -> Error {
        let (name, other) = if side == Side::Source { ("source", "target") } else { ("target", "source") };
        if !error.is_retry() {
            return error;
        }
        let error = error.context(format!("the {name}"));
        match sides {
            Sides::Both => {
                let (one, rest) = (self.command("abort"), "for this one when it is back");
                error.hint(format!(
                    "nothing was removed; `{one} --side {other}` cleans the other store now, `--side {name}` is {rest}"
                ))
            }
            Sides::Source | Sides::Target => error,
        }
    }

    /// The next one need not wait for our lease to expire.
    async fn let_others_in(&self, side: Side) -> Result<()> {
        let (store, m) = (self.store(side), self.migration());
        let lease = store.take_lease(m, Link::Forward, side, &self.holder, 0).await?;
        store.release_lease(m, &lease).await
    }

    fn store(&self, side: Side) -> &Arc<dyn Store> {
        if side == Side::Source { &self.source } else { &self.target }
    }

    async fn made_if_begun(&self) -> Result<Vec<TableName>> {
        if !self.target.is_installed(self.migration(), Side::Target).await? {
            return Ok(vec![]);
        }
        self.made_tables().await
    }

    async fn remove_target(&self, made: &[TableName], drop_created: bool, report: &mut AbortReport) -> Result<()> {
        for table in made.iter().rev() {
            if drop_created {
                self.patiently(|| self.target_admin.drop_table(table)).await?;
                report.removed.push(format!("target: table \"{table}\""));
            } else {
                report.kept.push(format!("target: table \"{table}\" and its rows (`--drop-created` takes it too)"));
            }
        }
        let removed = self.patiently(|| self.target_admin.remove(self.migration())).await?;
        report.removed.extend(removed.into_iter().map(|line| format!("target: {line}")));
        Ok(())
    }
}

/// What is enough to look at a gate.
pub(super) fn bare(migration: &str) -> Layout {
    Layout { migration: migration.to_owned(), tables: vec![], backlog_limit: 0, max_parked: 0 }
}
