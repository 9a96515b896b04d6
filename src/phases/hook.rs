//! The user's commands around a cut over. They run before the fence and after the route was told, may run again, and
//! are told what it is about by their environment.

use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::plan::Hook;
use crate::task::run_program;

use super::owner::Owner;
use super::session::Session;

impl Session {
    /// `scopes`: of which it is; `None` for everything.
    pub(super) async fn hook(
        &self,
        name: &str,
        hook: Option<&Hook>,
        to: Owner,
        scopes: Option<&[String]>,
    ) -> Result<()> {
        let Some(hook) = hook else { return Ok(()) };
        self.reporter.event(&Event::Note(format!("running the hook \"{name}\"; it may run again")));
        self.source.journal(self.migration(), "cutover", name, "run").await?;
        let env = [
            ("MIGRATE_MIGRATION", self.migration().to_owned()),
            ("MIGRATE_OWNER", to.name().to_owned()),
            ("MIGRATE_SCOPES", scopes.unwrap_or_default().join(",")),
            ("MIGRATE_HOOK", name.to_owned()),
        ];
        match run_program(&hook.run, &env, Duration::from_millis(hook.timeout_ms)).await {
            Ok(()) => Ok(()),
            Err(e) if hook.aborts => {
                let text = format!("the hook \"{name}\" failed: {}", e.message());
                Err(Error::new(Kind::Gate, text).hint("mend it, or say `on_failure: warn`"))
            }
            Err(e) => {
                self.reporter.event(&Event::Warning(format!("the hook \"{name}\" failed: {}", e.message())));
                Ok(())
            }
        }
    }
}
