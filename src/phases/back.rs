//! The way back, prepared before anything is cut over: capture at the taker, and control tables on both sides for the
//! reverse link. The forward link's own were made by `apply`.

use crate::entry::Link;
use crate::error::{Context, Error, Result};
use crate::store::Side;
use crate::task::failpoint;

use super::install::{capture_holds, capture_is_installed};
use super::owner::Owner;
use super::session::Session;
use super::survey::Survey;
use super::way::Way;

impl Session {
    /// Safe to repeat. Capture that is there must be whole: behind a gap the way back would lose writes. `anew`: what it
    /// missed is copied anyway, so it is installed again.
    pub(super) async fn prepare_back(&self, way: &Way, anew: bool) -> Result<()> {
        let (layout, m) = (&way.layout, way.layout.migration.as_str());
        let installed = way.sender.is_installed(m, Side::Source).await?
            && way.sender.get(m, Side::Source, "installed").await?.is_some();
        if installed {
            // A receiver that was restored from before has forgotten the link.
            if !way.receiver.is_installed(m, Side::Target).await? {
                let receiver = way.receiver.who().await?;
                self.patiently(|| way.receiver_admin.install_control(layout, Side::Target, &receiver)).await?;
            }
            if capture_holds(way.sender.as_ref(), layout).await? {
                return Ok(());
            }
            if !anew {
                return Err(self.capture_was_touched("target"));
            }
        }
        debug_assert_eq!(layout.link(), Link::Reverse);
        let (sender, receiver) = (way.sender.who().await?, way.receiver.who().await?);
        self.source.journal(self.migration(), "cutover", "preparing", "the way back").await?;
        self.patiently(|| way.sender_admin.install_control(layout, Side::Source, &sender)).await?;
        self.patiently(|| way.receiver_admin.install_control(layout, Side::Target, &receiver)).await?;
        // From here on at the latest nobody else writes there before it is opened, whatever the plan says of guards.
        self.patiently(|| way.sender_admin.make_gate(layout, Side::Source, &sender, true)).await?;
        for map in &layout.tables {
            self.check_stop()?;
            self.patiently(|| way.sender_admin.capture(layout, map.id, &sender))
                .await
                .context(format!("capture on \"{}\"", map.source))?;
        }
        failpoint("cutover.captured");
        capture_is_installed(way.sender.as_ref(), layout).await
    }

    fn capture_was_touched(&self, store: &str) -> Error {
        let text =
            format!("capture at the {store} is not as it was installed: a trigger or a captured table was altered");
        let (abort, survive) = (self.command("abort"), self.command("survive"));
        Error::changed(text).hint(format!(
            "nothing was overwritten; undo the change, or `{abort}` before anything is cut over; afterwards \
             `{survive} --side {store}` compares both stores, installs capture again and copies the {store} anew"
        ))
    }

    /// Each store that owns anything records what is written there: whoever altered it meanwhile is told at once, and not
    /// by the first write.
    pub(super) async fn check_captures(&self, survey: &Survey, senders: &[Owner]) -> Result<()> {
        for owner in senders {
            let way = self.way_of(survey, *owner)?;
            if !capture_holds(way.sender.as_ref(), &way.layout).await? {
                return Err(self.capture_was_touched(owner.name()));
            }
        }
        Ok(())
    }
}
