//! Which rights a login lacks for its part, as the statements that would give them: what `migrate grants` prints.

use sqlx::postgres::PgConnection;

use super::name::{quote, schema_of, table};
use super::query::fetch;
use super::{flag, text};
use crate::error::Result;
use crate::mapping::Layout;
use crate::schema::TableName;
use crate::store::Role;
use crate::value::Row;

const DATABASE: &str = "SELECT current_database()::text, current_user::text,
    has_database_privilege(current_database(), 'CONNECT'), has_database_privilege(current_database(), 'CREATE')";

/// The table (by OID, so that a name is never parsed), its schema, and what this login may do. No row: no such table.
const TABLE: &str = "SELECT has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
        has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'),
        pg_has_role(current_user, c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p')";

const SCHEMA: &str = "SELECT has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE')
    FROM pg_namespace WHERE nspname = $1::text";

/// One right, as the words between GRANT and TO, and whether this login has it.
struct Right {
    what: String,
    has: bool,
}

pub async fn missing(conn: &mut PgConnection, role: Role, layout: &Layout) -> Result<Vec<String>> {
    statements(conn, role, layout, |has| !has).await
}

/// The least set, whether or not this login has it. A membership in oneself is no right to be given.
pub async fn all(conn: &mut PgConnection, role: Role, layout: &Layout) -> Result<Vec<String>> {
    statements(conn, role, layout, |_| true).await
}

async fn statements(
    conn: &mut PgConnection,
    role: Role,
    layout: &Layout,
    wanted: fn(bool) -> bool,
) -> Result<Vec<String>> {
    let role = role.part();
    let database = fetch(conn, DATABASE, &[]).await?;
    let Some(database) = database.first() else { return Ok(Vec::new()) };
    let (name, me) = (quote(&text(&database[0])), quote(&text(&database[1])));
    let install = matches!(role, Role::SourceInstall | Role::TargetInstall);
    let on_database = |what: &str, i: usize| (what.to_owned(), flag(&database[i]));
    let rights: Vec<(String, bool)> =
        [("CONNECT", 2, true), ("CREATE", 3, install)].iter().filter(|r| r.2).map(|r| on_database(r.0, r.1)).collect();
    let mut found: Vec<String> = Vec::new();
    for (what, has) in rights {
        found.extend(wanted(has).then(|| format!("GRANT {what} ON DATABASE {name} TO {me}")));
    }
    for map in &layout.tables {
        let of_source = matches!(role, Role::SourceRun | Role::SourceInstall);
        let named = if of_source { &map.source } else { &map.target };
        let rows = fetch(conn, TABLE, &[schema_of(named).into(), named.name.as_str().into()]).await?;
        let on_schema = of_schema(conn, role, named, rows.is_empty()).await?;
        found.extend(grant(on_schema, wanted, &format!("ON SCHEMA {}", quote(schema_of(named))), &me));
        if let Some(row) = rows.first() {
            match role {
                // Only an owner may set a trigger to fire always, or drop a constraint.
                Role::SourceInstall | Role::TargetInstall => found.extend(membership(row, wanted, &me)),
                _ => found.extend(grant(of_table(role, row), wanted, &format!("ON {}", table(named)), &me)),
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|m| seen.insert(m.clone()));
    Ok(found)
}

fn grant(rights: Vec<Right>, wanted: fn(bool) -> bool, on: &str, me: &str) -> Option<String> {
    let words: Vec<&str> = rights.iter().filter(|r| wanted(r.has)).map(|r| r.what.as_str()).collect();
    (!words.is_empty()).then(|| format!("GRANT {} {on} TO {me}", words.join(", ")))
}

async fn of_schema(conn: &mut PgConnection, role: Role, named: &TableName, to_be_made: bool) -> Result<Vec<Right>> {
    let rows = fetch(conn, SCHEMA, &[schema_of(named).into()]).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let mut rights = vec![Right { what: "USAGE".to_owned(), has: flag(&row[0]) }];
    if role == Role::TargetInstall && to_be_made {
        rights.push(Right { what: "CREATE".to_owned(), has: flag(&row[1]) });
    }
    Ok(rights)
}

fn of_table(role: Role, row: &Row) -> Vec<Right> {
    let wanted: &[(usize, &str)] = match role {
        Role::SourceRun => &[(0, "SELECT")],
        Role::TargetRun => &[(0, "SELECT"), (1, "INSERT"), (2, "UPDATE"), (3, "DELETE")],
        _ => &[],
    };
    wanted.iter().map(|(i, what)| Right { what: (*what).to_owned(), has: flag(&row[*i]) }).collect()
}

/// Being a member of the tables' owner.
fn membership(row: &Row, wanted: fn(bool) -> bool, me: &str) -> Option<String> {
    let owner = quote(&text(&row[5]));
    (owner != me && wanted(flag(&row[4]))).then(|| format!("GRANT {owner} TO {me}"))
}
