//! One command's view of one migration: the plan, both stores under both logins, and the transport.

use std::path::PathBuf;
use std::sync::Arc;

use crate::entry::Link;
use crate::error::{Context, Error, Kind, Result};
use crate::event::Reporter;
use crate::log::codec::Wire;
use crate::plan::{self, Events, Plan};
use crate::store::{self, Role, Side, Store};
use crate::task::Stop;
use crate::transport::Transport;
use crate::transport::direct::Direct;
use crate::transport::nats::{Nats, NatsOptions, Secret};

pub struct Options {
    pub plan_path: PathBuf,
    pub reporter: Arc<dyn Reporter>,
    pub stop: Stop,
}

/// How far `apply` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    DualWrite,
    Backfill,
    Verify,
}

/// Which stores `abort` cleans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    Both,
    Source,
    Target,
}

/// Everything is connected lazily: an unreachable store is an error of the first call that needs it.
pub struct Session {
    pub(super) plan: Plan,
    pub(super) plan_path: PathBuf,
    pub(super) reporter: Arc<dyn Reporter>,
    pub(super) stop: Stop,
    pub(super) source: Arc<dyn Store>,
    pub(super) target: Arc<dyn Store>,
    pub(super) source_admin: Arc<dyn Store>,
    pub(super) target_admin: Arc<dyn Store>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) back_transport: Arc<dyn Transport>,
    pub(super) holder: String,
}

const CODEC: &Wire = &Wire;

impl Session {
    /// Whether the plan divides ownership.
    pub fn is_scoped(&self) -> bool {
        self.plan.cutover.scope_by.is_some() || self.plan.tables.iter().any(|t| t.scope_by.is_some())
    }

    pub async fn open(options: Options) -> Result<Self> {
        let env = |name: &str| std::env::var(name).ok();
        let plan = plan::load(&options.plan_path, &env).map_err(plan::to_error)?;
        let source = store::connect(plan.source.url.expose(), CODEC)?;
        let target = store::connect(plan.target.url.expose(), CODEC)?;
        let admin = |side: &plan::Side, daily: &Arc<dyn Store>| match &side.admin_url {
            Some(url) => store::connect(url.expose(), CODEC),
            None => Ok(daily.clone()),
        };
        let (source_admin, target_admin) = (admin(&plan.source, &source)?, admin(&plan.target, &target)?);
        let carry = |link: Link| -> Arc<dyn Transport> {
            match &plan.events {
                None => Arc::new(Direct::new(link.name())),
                Some(events) => Arc::new(Nats::new(nats_options(events), &plan.migration, link.name())),
            }
        };
        let (transport, back_transport) = (carry(Link::Forward), carry(Link::Reverse));
        let Options { plan_path, reporter, stop } = options;
        let holder = store::holder::name().to_owned();
        Ok(Self {
            plan,
            plan_path,
            reporter,
            stop,
            source,
            target,
            source_admin,
            target_admin,
            transport,
            back_transport,
            holder,
        })
    }

    pub(super) fn migration(&self) -> &str {
        &self.plan.migration
    }

    /// Whether the target has what we keep there. One that was restored from before the migration has not.
    pub(super) async fn target_knows_us(&self) -> Result<bool> {
        if !self.target.is_installed(self.migration(), Side::Target).await? {
            return Ok(false);
        }
        match self.target.link_state(self.migration(), Link::Forward, Side::Target).await {
            Ok(_) => Ok(true),
            Err(e) if e.kind == Kind::Changed => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Each login with the part that it plays, and how the plan calls it.
    pub(super) fn logins(&self) -> [(&Arc<dyn Store>, Role, &'static str, &'static str); 4] {
        [
            (&self.source, Role::SourceRun, "source", "url"),
            (&self.source_admin, Role::SourceInstall, "source", "admin_url"),
            (&self.target, Role::TargetRun, "target", "url"),
            (&self.target_admin, Role::TargetInstall, "target", "admin_url"),
        ]
    }

    /// The same for the way back: each side plays the other's part.
    fn back_logins(&self) -> [(&Arc<dyn Store>, Role, &'static str, &'static str); 4] {
        [
            (&self.target, Role::SourceRun, "target", "url"),
            (&self.target_admin, Role::SourceInstall, "target", "admin_url"),
            (&self.source, Role::TargetRun, "source", "url"),
            (&self.source_admin, Role::TargetInstall, "source", "admin_url"),
        ]
    }

    /// The same, where it is told whether one login plays both parts of a side.
    pub(super) async fn parts(&self) -> Result<[(&Arc<dyn Store>, Role, &'static str, &'static str); 4]> {
        self.parts_of(self.logins()).await
    }

    /// The same of the way back.
    pub(super) async fn back_parts(&self) -> Result<[(&Arc<dyn Store>, Role, &'static str, &'static str); 4]> {
        self.parts_of(self.back_logins()).await
    }

    async fn parts_of<'a>(
        &self,
        mut logins: [(&'a Arc<dyn Store>, Role, &'static str, &'static str); 4],
    ) -> Result<[(&'a Arc<dyn Store>, Role, &'static str, &'static str); 4]> {
        for (run, install) in [(0, 1), (2, 3)] {
            let (daily, admin, side) = (logins[run].0, logins[install].0, logins[run].2);
            let is_one = Arc::ptr_eq(daily, admin)
                || daily.who().await.context(format_args!("the {side} (url)"))?
                    == admin.who().await.context(format_args!("the {side} (admin_url)"))?;
            if is_one {
                logins[install].1 = logins[install].1.alone();
            }
        }
        Ok(logins)
    }

    /// `migrate <verb> <plan>`, for hints.
    pub(super) fn command(&self, verb: &str) -> String {
        format!("migrate {verb} {}", self.plan_path.display())
    }

    /// An error if a signal has asked us to stop.
    pub(super) fn check_stop(&self) -> Result<()> {
        match self.stop.requested() {
            None => Ok(()),
            Some(signal) => Err(self.stopped(signal)),
        }
    }

    pub(super) fn stopped(&self, signal: i32) -> Error {
        Error::new(Kind::Stopped(signal), "stopped by a signal; everything up to the last entry is saved")
            .hint(format!("go on with `{}`", self.command("apply")))
    }
}

fn nats_options(events: &Events) -> NatsOptions {
    let secret = |s: &plan::Secret| Secret::from(s.expose());
    NatsOptions {
        url: secret(&events.url),
        user: events.user.clone(),
        password: events.password.as_ref().map(secret),
        token: events.token.as_ref().map(secret),
        creds_file: events.creds.clone(),
        nkey_file: events.nkey.clone(),
        ca_file: events.ca.clone(),
        cert_file: events.cert.clone(),
        key_file: events.key.clone(),
        require_tls: events.tls,
        max_bytes: events.max_bytes,
        replicas: events.replicas.into(),
    }
}
