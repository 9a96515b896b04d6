//! The links that one process hosts: that of each side which owns anything.

use crate::error::{Error, Result};
use crate::link::Pulse;

use super::host::Host;
use super::owner::{Owner, Ownership};
use super::session::Session;
use super::survey::Survey;

#[derive(Default)]
pub(super) struct Hosts {
    forward: Option<Host>,
    back: Option<Host>,
}

impl Hosts {
    /// The link whose sender is this side.
    pub fn of(&mut self, giver: Owner) -> Result<&mut Host> {
        let host = match giver {
            Owner::Source => self.forward.as_mut(),
            Owner::Target => self.back.as_mut(),
        };
        host.ok_or_else(|| Error::retry(format!("the {} owns nothing, so its link does not run", giver.name())))
    }

    fn slot(&mut self, giver: Owner) -> &mut Option<Host> {
        match giver {
            Owner::Source => &mut self.forward,
            Owner::Target => &mut self.back,
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Host> {
        self.forward.iter_mut().chain(&mut self.back)
    }

    /// Of the link that runs, or the forward one.
    pub fn pulse(&self) -> Pulse {
        self.forward.as_ref().or(self.back.as_ref()).map(Host::pulse).unwrap_or_default()
    }

    /// The error of an end that has ended.
    pub async fn check(&mut self) -> Result<()> {
        for host in self.each() {
            host.check().await?;
        }
        Ok(())
    }

    /// Until each link has brought what it found.
    pub async fn settle(&mut self, session: &Session) -> Result<()> {
        for host in self.each() {
            host.come_into_step(session).await?;
        }
        Ok(())
    }

    pub async fn shut_down(mut self) -> Result<()> {
        let mut result = Ok(());
        for host in self.each() {
            let ended = host.end().await;
            result = result.and(ended);
        }
        result
    }
}

impl Session {
    pub(super) async fn hosts_of(&self, survey: &Survey, ownership: &Ownership) -> Result<Hosts> {
        let mut hosts = Hosts::default();
        for owner in ownership.senders() {
            *hosts.slot(owner) = Some(self.host_of(survey, owner).await?);
        }
        Ok(hosts)
    }

    /// Behind a change of owner. What is not wanted any more goes last: at every moment somebody is seen to host the
    /// migration.
    pub(super) async fn follow_owners(&self, survey: &Survey, hosts: &mut Hosts, ownership: &Ownership) -> Result<()> {
        let wanted = ownership.senders();
        for &owner in &wanted {
            if hosts.slot(owner).is_none() {
                let mut host = self.host_of(survey, owner).await?;
                host.come_into_step(self).await?;
                *hosts.slot(owner) = Some(host);
            }
        }
        for owner in [Owner::Source, Owner::Target].into_iter().filter(|o| !wanted.contains(o)) {
            if let Some(host) = hosts.slot(owner).take() {
                host.shut_down().await?;
            }
        }
        Ok(())
    }
}
