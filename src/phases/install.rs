//! The dual-write phase: control tables, target tables and capture. Each step may be repeated; each is journalled
//! before it is done, so that `abort` finds whatever was begun.

use std::time::{Duration, Instant};

use crate::entry::Link;
use crate::error::{Context, Result};
use crate::event::Event;
use crate::mapping::Layout;
use crate::store::{BEGIN_ANEW, Side, Store};

use super::session::Session;
use super::survey::{Survey, full_hex};

/// Setting of a link's source: capture as it was installed.
const FINGERPRINT: &str = "fingerprint";
/// How long installing keeps trying for locks that the application holds.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

impl Session {
    /// Installs what is missing. Writers never wait longer for us than the stores' short lock time-out.
    pub(super) async fn install(&self, survey: &Survey) -> Result<()> {
        let (m, layout) = (self.migration(), survey.layout());
        let was_installed = self.is_installed().await?;
        let whole = was_installed && self.capture_is_whole(survey).await?;
        if whole && self.target_knows_us().await? {
            return Ok(());
        }
        if was_installed && !whole {
            // Before capture looks whole again: changes may have been missed, so everything is copied anew.
            self.source.put(m, Side::Source, BEGIN_ANEW, "1").await?;
        }
        let phase = Event::Phase { name: "dual-write".into(), detail: format!("{} tables", layout.tables.len()) };
        self.reporter.event(&phase);
        let (source_login, target_login) = (self.source.who().await?, self.target.who().await?);
        self.patiently(|| self.source_admin.install_control(layout, Side::Source, &source_login)).await?;
        self.refuse_if_held().await?;
        let installed = self.install_rest(survey, &source_login, &target_login).await;
        // Best effort: a lease that is not given back expires.
        let _ = self.refuse_if_held().await;
        installed
    }

    /// Each step takes the source's lease anew: whoever slept too long does nothing more.
    async fn install_rest(&self, survey: &Survey, source_login: &str, target_login: &str) -> Result<()> {
        let (m, layout) = (self.migration(), survey.layout());
        self.hold().await?;
        self.source.journal(m, "dual-write", "begin", &format!("{} tables", layout.tables.len())).await?;
        self.source.put(m, Side::Source, "mapping", &full_hex(&survey.mapping)).await?;
        self.patiently(|| self.target_admin.install_control(layout, Side::Target, target_login)).await?;
        self.make_target_tables(survey, target_login).await?;
        self.relax_target(survey).await?;
        self.make_gates(survey, source_login, target_login).await?;
        for map in &layout.tables {
            self.check_stop()?;
            let capture = || async {
                self.hold().await?;
                self.source_admin.capture(layout, map.id, source_login).await
            };
            self.patiently(capture).await.context(format!("capture on \"{}\"", map.source))?;
        }
        self.hold().await?;
        capture_is_installed(self.source.as_ref(), layout).await?;
        self.source.journal(m, "dual-write", "done", "capture is in place").await?;
        self.reporter.event(&Event::Note("dual-write: capture is in place".into()));
        Ok(())
    }

    /// The source's gate is open, and the target's closed: nobody but our applier writes there before it owns the rows.
    async fn make_gates(&self, survey: &Survey, source_login: &str, target_login: &str) -> Result<()> {
        let layout = survey.layout();
        let others = super::gates::shared_target(layout);
        if let Some(map) = others.filter(|_| self.plan.guard_target) {
            let text = format!("the target is not guarded: \"{}\" may hold rows of others, who write them", map.target);
            self.reporter.event(&Event::Note(text));
        }
        self.patiently(|| self.source_admin.make_gate(layout, Side::Source, source_login, false)).await?;
        self.patiently(|| async {
            match self.plan.guard_target && others.is_none() {
                true => self.target_admin.make_gate(layout, Side::Target, target_login, true).await,
                false => self.target_admin.mark_gate(layout, Side::Target, true).await,
            }
        })
        .await
    }

    /// Takes the source's lease, or renews it where it is ours.
    async fn hold(&self) -> Result<()> {
        let ttl = i64::try_from(self.plan.lease_ttl_ms).unwrap_or(10_000);
        self.source.take_lease(self.migration(), Link::Forward, Side::Source, &self.holder, ttl).await.map(drop)
    }

    async fn capture_is_whole(&self, survey: &Survey) -> Result<bool> {
        if !capture_holds(self.source.as_ref(), survey.layout()).await? {
            let text = "capture at the source was altered while nothing looked: it is installed again, and all rows are copied anew";
            self.reporter.event(&Event::Warning(text.into()));
            return Ok(false);
        }
        Ok(true)
    }

    /// Written down before it is made: only what we made is ever dropped by `abort --drop-created`.
    async fn make_target_tables(&self, survey: &Survey, login: &str) -> Result<()> {
        if survey.resolved.create.is_empty() {
            return Ok(());
        }
        let m = self.migration();
        let mut made = self.made_tables().await?;
        for table in &survey.resolved.create {
            if !made.contains(&table.name) {
                made.push(table.name.clone());
            }
        }
        let list: Vec<_> = made.iter().map(|t| serde_json::json!({ "schema": t.schema, "name": t.name })).collect();
        self.target.put(m, Side::Target, "created", &serde_json::Value::Array(list).to_string()).await?;
        self.note_additions(survey).await?;
        for table in &survey.resolved.create {
            self.patiently(|| self.target_admin.create_table(table, login))
                .await
                .context(format!("table \"{}\" at the target", table.name))?;
        }
        Ok(())
    }

    pub(super) async fn made_tables(&self) -> Result<Vec<crate::schema::TableName>> {
        let text = self.target.get(self.migration(), Side::Target, "created").await?.unwrap_or_default();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let name = |t: &serde_json::Value| {
            let schema = t["schema"].as_str().map(str::to_owned);
            Some(crate::schema::TableName { schema, name: t["name"].as_str()?.to_owned() })
        };
        Ok(list.as_array().map(|l| l.iter().filter_map(name).collect()).unwrap_or_default())
    }

    async fn relax_target(&self, survey: &Survey) -> Result<()> {
        let restoration = self.patiently(|| self.target_admin.relax(survey.layout())).await?;
        let text =
            if restoration.is_empty() { String::new() } else { serde_json::Value::from(restoration).to_string() };
        self.target.put(self.migration(), Side::Target, "restore", &text).await
    }

    /// Puts back what the backfill had to do without. Nothing happens where nothing was taken away.
    pub(super) async fn restore_target(&self) -> Result<()> {
        let m = self.migration();
        let text = self.target.get(m, Side::Target, "restore").await?.unwrap_or_default();
        let list: Vec<String> = serde_json::from_str(&text).unwrap_or_default();
        if list.is_empty() {
            return Ok(());
        }
        self.reporter.event(&Event::Note("putting the target's foreign keys back".into()));
        self.patiently(|| self.target_admin.restore(&list)).await?;
        self.target.put(m, Side::Target, "restore", "").await
    }

    /// Repeats what a lock time-out cut short: the application goes first.
    pub(super) async fn patiently<T, F>(&self, act: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let began = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            match act().await {
                Err(e) if e.is_retry() && began.elapsed() < LOCK_PATIENCE => {
                    self.check_stop()?;
                    self.stop.sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                other => return other,
            }
        }
    }
}

/// Whether capture at a link's source is as it was installed.
pub(super) async fn capture_holds(source: &dyn Store, layout: &Layout) -> Result<bool> {
    let was = source.get(&layout.migration, Side::Source, FINGERPRINT).await?;
    Ok(was == Some(source.fingerprint(layout).await?))
}

/// Remembers capture as it is now, at the end of its installation.
pub(super) async fn capture_is_installed(source: &dyn Store, layout: &Layout) -> Result<()> {
    let fingerprint = source.fingerprint(layout).await?;
    source.put(&layout.migration, Side::Source, FINGERPRINT, &fingerprint).await?;
    source.put(&layout.migration, Side::Source, "installed", "1").await
}
