//! Which rights a login lacks for its part, as the statements that would give them: what `migrate grants` prints.

use std::collections::HashSet;

use sqlx::mysql::MySqlConnection;

use super::capture::is_mariadb;
use super::name::{account, quote, table};
use super::query::fetch;
use super::{MySql, catalog, text};
use crate::error::Result;
use crate::mapping::{Layout, TableMap};
use crate::schema::TableName;
use crate::store::Role;

const RUN_SOURCE: &[&str] = &["SELECT"];
const RUN_TARGET: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE"];
const INSTALL: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP"];
const ROUTINES: &[&str] = &["CREATE ROUTINE", "ALTER ROUTINE", "EXECUTE"];

/// What the catalogue says of us: global rights, by database (a pattern), by table; upper case.
#[derive(Default)]
struct Held {
    global: HashSet<String>,
    schemas: Vec<(String, String, bool)>,
    tables: Vec<(String, String, String)>,
}

impl Held {
    async fn read(conn: &mut MySqlConnection) -> Result<Self> {
        let us = "(GRANTEE = concat('''', replace(CURRENT_USER(), '@', '''@'''), '''') OR GRANTEE = concat('''', CURRENT_ROLE(), ''''))";
        let sql = format!("SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE {us}");
        let global = fetch(conn, &sql, &[]).await?.iter().map(|r| text(&r[0])).collect();
        let sql = format!(
            "SELECT TABLE_SCHEMA, PRIVILEGE_TYPE, IS_GRANTABLE = 'YES' FROM information_schema.SCHEMA_PRIVILEGES WHERE {us}"
        );
        let rows = fetch(conn, &sql, &[]).await?;
        let schemas = rows.iter().map(|r| (text(&r[0]), text(&r[1]), super::int(&r[2]) != 0)).collect();
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, PRIVILEGE_TYPE FROM information_schema.TABLE_PRIVILEGES WHERE {us}"
        );
        let rows = fetch(conn, &sql, &[]).await?;
        let tables = rows.iter().map(|r| (text(&r[0]), text(&r[1]), text(&r[2]))).collect();
        Ok(Self { global, schemas, tables })
    }

    fn has_global(&self, right: &str) -> bool {
        self.global.contains(right) || self.global.contains("SUPER")
    }

    fn on_schema(&self, database: &str, right: &str) -> bool {
        let here = |(pattern, held, _): &(String, String, bool)| held == right && like(pattern, database);
        self.global.contains(right) || self.schemas.iter().any(here)
    }

    fn on_table(&self, database: &str, table: &str, right: &str) -> bool {
        let here = |(d, t, held): &(String, String, String)| d == database && t == table && held == right;
        self.on_schema(database, right) || self.tables.iter().any(here)
    }

    fn may_grant(&self, database: &str) -> bool {
        let here = |(pattern, _, grantable): &(String, String, bool)| *grantable && like(pattern, database);
        self.global.contains("SUPER") || self.schemas.iter().any(here)
    }
}

/// A pattern of `LIKE`, as the names of databases are in grants.
fn like(pattern: &str, name: &str) -> bool {
    let (mut p, n) = (pattern.chars(), name);
    match p.next() {
        None => n.is_empty(),
        Some('%') => {
            let rest = p.as_str();
            (0..=n.len()).filter(|i| n.is_char_boundary(*i)).any(|i| like(rest, &n[i..]))
        }
        Some('_') => n.chars().next().is_some_and(|c| like(p.as_str(), &n[c.len_utf8()..])),
        Some('\\') => match p.next() {
            Some(c) => n.strip_prefix(c).is_some_and(|n| like(p.as_str(), n)),
            None => n == "\\",
        },
        Some(c) => n.strip_prefix(c).is_some_and(|n| like(p.as_str(), n)),
    }
}

pub async fn missing(e: &MySql, conn: &mut MySqlConnection, role: Role, layout: &Layout) -> Result<Vec<String>> {
    let held = Held::read(conn).await?;
    statements(e, conn, role, layout, &held).await
}

/// The least set, whether or not this login has it.
pub async fn all(e: &MySql, conn: &mut MySqlConnection, role: Role, layout: &Layout) -> Result<Vec<String>> {
    statements(e, conn, role, layout, &Held::default()).await
}

async fn statements(
    e: &MySql,
    conn: &mut MySqlConnection,
    role: Role,
    layout: &Layout,
    held: &Held,
) -> Result<Vec<String>> {
    let who = fetch(conn, "SELECT CURRENT_USER()", &[]).await?;
    let me = account(&who.first().map(|r| text(&r[0])).unwrap_or_default());
    let mut found = Vec::new();
    let (to_others, role) = (role == role.part(), role.part());
    match role {
        Role::SourceInstall => {
            found.extend(on_database(e, held, INSTALL, to_others, &me));
            found.extend(on_database(e, held, ROUTINES, false, &me));
            if is_mariadb(conn).await? && !held.has_global("PROCESS") {
                found.push(format!("GRANT PROCESS ON *.* TO {me}"));
            }
            found.extend(triggers_are_distrusted(conn, held).await?);
        }
        Role::TargetInstall => {
            found.extend(on_database(e, held, INSTALL, to_others, &me));
            // A right on a table that is yet to be made can only be had on all of them.
            if some_is_missing(conn, layout).await? {
                found.extend(on_database(e, held, &["TRIGGER"], false, &me));
            }
            found.extend(triggers_are_distrusted(conn, held).await?);
        }
        _ => {}
    }
    for map in &layout.tables {
        let right = on_table(e, conn, role, map, held, &me).await?;
        found.extend(right.filter(|r| !found.contains(r)));
    }
    Ok(found)
}

fn on_database(e: &MySql, held: &Held, rights: &[&str], to_others: bool, me: &str) -> Option<String> {
    let lacks: Vec<&str> = rights.iter().filter(|r| !held.on_schema(&e.database, r)).copied().collect();
    let option = if to_others && !held.may_grant(&e.database) { " WITH GRANT OPTION" } else { "" };
    if lacks.is_empty() && option.is_empty() {
        return None;
    }
    let all = if option.is_empty() { lacks } else { rights.to_vec() };
    Some(format!("GRANT {} ON {}.* TO {me}{option}", all.join(", "), pattern(&e.database)))
}

async fn on_table(
    e: &MySql,
    conn: &mut MySqlConnection,
    role: Role,
    map: &TableMap,
    held: &Held,
    me: &str,
) -> Result<Option<String>> {
    let (named, wanted): (&TableName, &[&str]) = match role {
        Role::SourceRun => (&map.source, RUN_SOURCE),
        Role::SourceInstall | Role::SourceInstallAlone => (&map.source, &["SELECT", "TRIGGER"]),
        Role::TargetRun => (&map.target, RUN_TARGET),
        Role::TargetInstall | Role::TargetInstallAlone => (&map.target, &["SELECT", "TRIGGER"]),
    };
    // What is yet to be made is granted when it is.
    if matches!(role, Role::TargetRun | Role::TargetInstall) && !catalog::exists(conn, named).await? {
        let seen_by_others = role == Role::TargetRun;
        if !seen_by_others || held.schemas.is_empty() {
            return Ok(None);
        }
    }
    let schema = named.schema.as_deref().unwrap_or(&e.database);
    let lacks: Vec<&str> = wanted.iter().filter(|r| !held.on_table(schema, &named.name, r)).copied().collect();
    let on = TableName { schema: Some(schema.to_owned()), name: named.name.clone() };
    Ok((!lacks.is_empty()).then(|| format!("GRANT {} ON {} TO {me}", lacks.join(", "), table(&on))))
}

async fn some_is_missing(conn: &mut MySqlConnection, layout: &Layout) -> Result<bool> {
    for map in &layout.tables {
        if !catalog::exists(conn, &map.target).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn triggers_are_distrusted(conn: &mut MySqlConnection, held: &Held) -> Result<Option<String>> {
    let distrusted = !held.has_global("SUPER") && distrusts(conn).await?;
    Ok(distrusted.then(|| "SET GLOBAL log_bin_trust_function_creators = 1".to_owned()))
}

/// With a binary log only SUPER makes triggers, unless the server is told to trust others.
async fn distrusts(conn: &mut MySqlConnection) -> Result<bool> {
    let sql = "SELECT @@global.log_bin AND NOT @@global.log_bin_trust_function_creators";
    Ok(fetch(conn, sql, &[]).await?.first().is_some_and(|r| super::int(&r[0]) != 0))
}

/// A database's name in a grant, where `_` and `%` stand for any characters.
fn pattern(database: &str) -> String {
    quote(&database.replace('_', "\\_").replace('%', "\\%"))
}

#[cfg(test)]
mod tests {
    use super::{like, pattern};

    #[test]
    fn a_grant_is_for_this_database_alone() {
        assert_eq!(pattern("shop_1%"), "`shop\\_1\\%`");
        assert!(like(pattern("shop_1").trim_matches('`'), "shop_1"));
    }

    #[test]
    fn a_pattern_of_a_grant_is_one_of_like() {
        assert!(like("shop", "shop") && like("shop%", "shop_1") && like("shop\\_1", "shop_1") && like("s_op", "shop"));
        assert!(!like("shop\\_1", "shopx1") && !like("shop", "shops") && !like("", "x"));
    }
}
