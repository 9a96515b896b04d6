//! `migrate grants`: the least set of rights for each login, as statements for the owner to run.

use super::args::Grants;
use super::term::escape;
use super::{Context, exit};
use crate::error::Result;
use crate::phases::report::GrantsReport;

pub async fn run(context: &Context, args: &Grants) -> Result<i32> {
    let session = context.open(&args.plan).await?;
    let report = session.grants(args.cutover).await?;
    context.result(args.json, &report, || text(&report))?;
    Ok(exit::DONE)
}

/// SQL that can be piped into the store's shell: whatever is no statement is a comment.
fn text(report: &GrantsReport) -> String {
    let mut lines = Vec::new();
    for login in &report.logins {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(format!("-- {} ({}), {}: {}", login.side, login.login, escape(&login.store), login.part));
        let end = |s: &String| if s.starts_with("--") { escape(s) } else { format!("{};", escape(s)) };
        lines.extend(login.statements.iter().map(end));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::report::LoginGrants;

    #[test]
    fn statements_end_and_the_rest_is_comment() {
        let login = |store: &str, statement: &str| LoginGrants {
            side: "source".into(),
            login: "url".into(),
            store: store.into(),
            part: "reads".into(),
            statements: vec![statement.into()],
        };
        let logins = vec![login("db\x1b", "GRANT SELECT ON t TO a"), login("file", "-- no roles")];
        let shown = text(&GrantsReport { migration: "m".into(), logins });
        let expected = "-- source (url), db\\u{1b}: reads\nGRANT SELECT ON t TO a;\n\n\
                        -- source (url), file: reads\n-- no roles";
        assert_eq!(shown, expected);
    }
}
