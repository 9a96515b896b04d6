//! `migrate grants`: the least rights of each login, whether or not it has them. Changes nothing, and needs no more of
//! the plan than its names.

use crate::error::{Context, Result};
use crate::plan;
use crate::store::Role;

use super::report::{GrantsReport, LoginGrants};
use super::session::Session;

impl Session {
    /// `cutover`: also what the way back needs, with source and target in each other's part.
    pub async fn grants(&self, cutover: bool) -> Result<GrantsReport> {
        let facts = self.look().await?;
        let names = plan::examine(&self.plan, &facts).names;
        let mut logins = Vec::new();
        if cutover {
            let mut swapped = names.clone();
            swapped.tables.iter_mut().for_each(|map| std::mem::swap(&mut map.source, &mut map.target));
            for (store, role, side, login) in self.back_parts().await? {
                let statements = store.missing_rights(role, &swapped).await;
                logins.push(LoginGrants {
                    side: side.to_owned(),
                    login: login.to_owned(),
                    store: store.address(),
                    part: format!("on the way back: {}", part(role)),
                    statements: statements.context(format_args!("the {side} ({login})"))?,
                });
            }
        }
        for (store, role, side, login) in self.parts().await? {
            let statements = store.grants(role, &names).await;
            logins.push(LoginGrants {
                side: side.to_owned(),
                login: login.to_owned(),
                store: store.address(),
                part: part(role).to_owned(),
                statements: statements.context(format_args!("the {side} ({login})"))?,
            });
        }
        Ok(GrantsReport { migration: self.migration().to_owned(), logins })
    }
}

fn part(role: Role) -> &'static str {
    match role {
        Role::SourceRun => "daily work, reads the tables",
        Role::SourceInstall => "installs capture and removes it",
        Role::TargetRun => "daily work, writes the rows",
        Role::TargetInstall => "makes tables and removes what is ours",
        Role::SourceInstallAlone | Role::TargetInstallAlone => "installs and does the daily work",
    }
}
