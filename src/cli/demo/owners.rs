//! The second half of a demo: one shop first, then everything, back again, and for good; then the end.

use serde::Serialize;

use super::place::Place;
use super::{Context, Said};
use crate::cli::table::millis;
use crate::error::{Context as _, Result};
use crate::event::Event;
use crate::phases::{CutOptions, OldTables, Owner};

/// A change of owner.
#[derive(Debug, Clone, Serialize)]
pub struct Pause {
    /// `canary`, `cut over`, `rollback`, `cut over`.
    pub step: &'static str,
    pub owner: String,
    /// Empty: everything.
    pub scopes: Vec<String>,
    /// For so long nobody took these rows' writes.
    pub pause_ms: u64,
}

impl Pause {
    pub fn text(&self) -> String {
        let what = match self.scopes.is_empty() {
            true => "everything".to_owned(),
            false => format!("shop {}", self.scopes.join(", ")),
        };
        format!("{what} to the {}: writes were refused for {}", self.owner, millis(self.pause_ms))
    }
}

/// Which shop goes first.
const FIRST: &str = "1";

pub async fn change(context: &Context, place: &Place, said: &mut Said) -> Result<()> {
    let rehearsed = context.open(&place.plan).await?.rehearse().await.context("migrate rehearse")?;
    context
        .progress
        .event(&Event::Note(format!("migrate rehearse: {}", if rehearsed.works { "works" } else { "fails" })));
    let steps = [
        ("canary", Owner::Target, Some(vec![FIRST.to_owned()])),
        ("cut over", Owner::Target, None),
        ("rollback", Owner::Source, None),
        ("cut over", Owner::Target, None),
    ];
    for (step, to, scopes) in steps {
        context.progress.event(&Event::Phase { name: step.to_owned(), detail: format!("to the {}", to.name()) });
        let session = context.open(&place.plan).await?;
        let cut = session.cut_over(CutOptions { to, scopes, dry_run: false }).await.context(step)?;
        said.pauses.push(Pause { step, owner: cut.owner, scopes: cut.scopes, pause_ms: cut.pause_ms });
    }
    context.open(&place.plan).await?.finish(OldTables::Fenced).await.context("migrate finish").map(|_| ())
}
