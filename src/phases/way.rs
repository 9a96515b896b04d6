//! One direction of a migration as the phases see it: who sends, who receives, by which layout and over what.

use std::sync::Arc;

use crate::entry::{Hash, Link};
use crate::error::{Error, Kind, Result};
use crate::mapping::Layout;
use crate::store::{Gate, Side, Store};
use crate::transport::Transport;

use super::owner::{Owner, Ownership};
use super::session::Session;
use super::survey::Survey;

pub(super) struct Way {
    pub layout: Arc<Layout>,
    pub mapping: Hash,
    pub sender: Arc<dyn Store>,
    pub sender_admin: Arc<dyn Store>,
    pub receiver: Arc<dyn Store>,
    pub receiver_admin: Arc<dyn Store>,
    pub transport: Arc<dyn Transport>,
    /// Who owns the data while this link carries it.
    pub owner: Owner,
}

impl Session {
    pub(super) fn forward(&self, survey: &Survey) -> Way {
        Way {
            layout: Arc::new(survey.layout().clone()),
            mapping: survey.mapping,
            sender: self.source.clone(),
            sender_admin: self.source_admin.clone(),
            receiver: self.target.clone(),
            receiver_admin: self.target_admin.clone(),
            transport: self.transport.clone(),
            owner: Owner::Source,
        }
    }

    pub(super) fn back(&self, survey: &Survey) -> Result<Way> {
        let layout = survey.back.clone().map_err(|obstacles| {
            let text = format!("there is no way back:\n{}", obstacles.join("\n"));
            Error::new(Kind::Gate, text).hint("`migrate plan PLAN` shows how each column comes back")
        })?;
        Ok(Way {
            mapping: crate::plan::mapping_hash(&layout),
            layout: Arc::new(layout),
            sender: self.target.clone(),
            sender_admin: self.target_admin.clone(),
            receiver: self.source.clone(),
            receiver_admin: self.source_admin.clone(),
            transport: self.back_transport.clone(),
            owner: Owner::Target,
        })
    }

    /// The link that carries the data while this side owns it.
    pub(super) fn way_of(&self, survey: &Survey, owner: Owner) -> Result<Way> {
        match owner {
            Owner::Source => Ok(self.forward(survey)),
            Owner::Target => self.back(survey),
        }
    }

    pub(super) async fn gates(&self, layout: &Layout) -> Result<(Gate, Gate)> {
        debug_assert_eq!(layout.link(), Link::Forward);
        Ok((self.source.gate(layout, Side::Source).await?, self.target.gate(layout, Side::Target).await?))
    }

    pub(super) async fn ownership(&self, layout: &Layout) -> Result<Ownership> {
        let (source, target) = self.gates(layout).await?;
        Ok(Ownership::of(&source, &target))
    }

    /// The same, where the two stores agree.
    pub(super) async fn agreed(&self, layout: &Layout) -> Result<Ownership> {
        let ownership = self.ownership(layout).await?;
        match ownership.torn() {
            Some(why) => Err(self.torn(why)),
            None => Ok(ownership),
        }
    }

    pub(super) fn torn(&self, why: &str) -> Error {
        Error::changed(format!("the two stores do not agree about who owns the data: {why}")).hint(format!(
            "nothing was overwritten and both links stand still; `{} --side source` (or target) compares them, and \
             names the side that counts",
            self.command("survive")
        ))
    }
}
