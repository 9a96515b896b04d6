//! `migrate grants`: the least rights of each login, whether or not it has them. Changes nothing, and needs no more of
//! the plan than its names.

use crate::error::{Context, Result};
use crate::plan;
use crate::store::Role;

use super::report::{GrantsReport, LoginGrants};
use super::session::Session;

impl Session {
    pub async fn grants(&self) -> Result<GrantsReport> {
        let facts = self.look().await?;
        let names = plan::examine(&self.plan, &facts).names;
        let mut logins = Vec::new();
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
