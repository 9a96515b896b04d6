//! What the server says of itself and of whatever else touches the plan's tables. Only reads the catalogue.

use sqlx::postgres::PgConnection;

use super::name::schema_of;
use super::query::fetch;
use super::{flag, int, text};
use crate::check;
use crate::error::Result;
use crate::finding::{Finding, Health, Labels, Rule};
use crate::mapping::Layout;
use crate::schema::TableName;
use crate::store::Side;
use crate::value::Row;

/// Partitioned tables with keys and row triggers, generated columns, `pg_partition_tree`.
const OLDEST: i64 = 120_000;

const SERVER: &str = "SELECT current_setting('server_version_num')::int8, current_setting('server_version'),
        pg_is_in_recovery(), current_setting('fsync') = 'off', current_setting('full_page_writes') = 'off',
        pg_encoding_to_char(d.encoding)::text, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
        current_user::text, d.oid::int8,
        (SELECT count(*) FROM pg_prepared_xacts x WHERE x.database = d.datname),
        EXISTS (SELECT FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c
          WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
            AND c ~* '^default_transaction_read_only=(on|true|1|yes)$')
    FROM pg_database d WHERE d.datname = current_database()";

const EVENT_TRIGGERS: &str = "SELECT evtname::text FROM pg_event_trigger WHERE evtenabled <> 'D'
    AND evtevent IN ('ddl_command_start', 'ddl_command_end', 'sql_drop') ORDER BY 1";

const PUBLICATIONS: &str = "SELECT pubname::text FROM pg_publication WHERE puballtables ORDER BY 1";

/// The tables by schema and name, and what their partitions have too.
const NAMED: &str = "WITH named AS (
    SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN unnest($1::text[], $2::text[]) AS w(schema, name) ON n.nspname = w.schema AND c.relname = w.name
    WHERE c.relkind IN ('r', 'p')),
  whole AS (SELECT n.schema, n.name, n.oid FROM named n
    UNION SELECT n.schema, n.name, t.relid::oid FROM named n CROSS JOIN LATERAL pg_partition_tree(n.oid) t)";

const TRIGGERS: &str = "SELECT w.schema, w.name, string_agg(DISTINCT '\"' || t.tgname || '\"', ', ')
    FROM whole w JOIN pg_trigger t ON t.tgrelid = w.oid
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgname !~ '^_migrate_'
      AND t.tgtype::int & 28 <> 0
    GROUP BY w.schema, w.name ORDER BY 1, 2";

const SUBSCRIBED: &str = "SELECT DISTINCT w.schema, w.name FROM whole w JOIN pg_subscription_rel r ON r.srrelid = w.oid
    ORDER BY 1, 2";

/// CHECK and EXCLUDE constraints, and those of the columns' domains.
const RULES: &str = "SELECT n.schema, n.name, k.conname::text,
        CASE k.contype WHEN 'c' THEN pg_get_expr(k.conbin, k.conrelid) ELSE pg_get_constraintdef(k.oid) END,
        (SELECT string_agg(a.attname::text, chr(31)) FROM pg_attribute a
          WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
    FROM named n JOIN pg_constraint k ON k.conrelid = n.oid WHERE k.contype IN ('c', 'x')
    UNION ALL SELECT n.schema, n.name, d.typname || '.' || k.conname, pg_get_constraintdef(k.oid), a.attname::text
    FROM named n JOIN pg_attribute a ON a.attrelid = n.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type d ON d.oid = a.atttypid AND d.typtype = 'd'
    JOIN pg_constraint k ON k.contypid = d.oid AND k.contype = 'c'
    ORDER BY 1, 2, 3";

/// Labels of the columns that are of an enum, or of a domain over one.
const ENUMS: &str =
    "SELECT n.schema, n.name, a.attname::text, string_agg(e.enumlabel::text, chr(31) ORDER BY e.enumsortorder)
    FROM named n JOIN pg_attribute a ON a.attrelid = n.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_enum e ON e.enumtypid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";

pub async fn look(conn: &mut PgConnection, side: Side, layout: &Layout) -> Result<Health> {
    let mut health = Health::default();
    if let Some(row) = fetch(conn, SERVER, &[]).await?.first() {
        health.encoding = Some(text(&row[5]).to_ascii_uppercase());
        health.identity = identity(conn, int(&row[8])).await?;
        health.found = of_server(row);
    }
    for row in fetch(conn, EVENT_TRIGGERS, &[]).await? {
        let message = format!("the event trigger \"{}\" fires on DDL", text(&row[0]));
        let hint = "make sure that it lets objects of the schema _migrate_… pass";
        health.found.push(Finding::new(&check::EVENT_TRIGGER, message, hint));
    }
    for row in fetch(conn, PUBLICATIONS, &[]).await? {
        let message =
            format!("the publication \"{}\" is FOR ALL TABLES: it takes in what migrate makes", text(&row[0]));
        let hint = "replace it by one of named tables, or make sure that its subscribers bear tables that they lack";
        health.found.push(Finding::new(&check::ALL_TABLES_PUBLICATION, message, hint));
    }
    of_tables(conn, side, layout, &mut health).await?;
    Ok(health)
}

/// The cluster and the database in it, where this login may ask for the former.
async fn identity(conn: &mut PgConnection, database: i64) -> Result<Option<String>> {
    let may = "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')";
    if !fetch(conn, may, &[]).await?.first().is_some_and(|r| flag(&r[0])) {
        return Ok(None);
    }
    let rows = fetch(conn, "SELECT system_identifier::text FROM pg_control_system()", &[]).await?;
    Ok(rows.first().map(|r| format!("postgres {} {database}", text(&r[0]))))
}

fn of_server(row: &Row) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |check, message: String, hint: &str| found.push(Finding::new(check, message, hint));
    if int(&row[0]) < OLDEST {
        let message = format!("PostgreSQL {} is too old", text(&row[1]));
        add(&check::OLD_SERVER, message, "upgrade it to 12 or later");
    }
    if flag(&row[2]) {
        let hint = "give the primary's address in the plan";
        add(&check::READ_ONLY, "the server is a standby, which takes no triggers".to_owned(), hint);
    }
    if flag(&row[10]) {
        let message = "the database or the login is set to default_transaction_read_only";
        add(
            &check::READ_ONLY,
            message.to_owned(),
            "ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only",
        );
    }
    let off: Vec<&str> =
        [(3, "fsync"), (4, "full_page_writes")].iter().filter(|(i, _)| flag(&row[*i])).map(|(_, name)| *name).collect();
    if !off.is_empty() {
        let message = format!("{} is off: a power cut may lose or damage what was committed", off.join(" and "));
        add(&check::NOT_SAFE, message, "switch it on in the server's configuration");
    }
    if flag(&row[6]) {
        let message = format!("the login \"{}\" is a superuser, which migrate never needs", text(&row[7]));
        add(&check::SUPERUSER, message, "use a login with the least rights; `migrate grants PLAN` prints them");
    }
    let prepared = int(&row[9]);
    if prepared > 0 {
        let message = format!("{prepared} prepared transactions are open, and hold their locks until they are ended");
        add(
            &check::PREPARED,
            message,
            "COMMIT PREPARED or ROLLBACK PREPARED what pg_prepared_xacts lists and nobody needs",
        );
    }
    found
}

async fn of_tables(conn: &mut PgConnection, side: Side, layout: &Layout, health: &mut Health) -> Result<()> {
    let named = |map: &'_ crate::mapping::TableMap| match side {
        Side::Source => map.source.clone(),
        Side::Target => map.target.clone(),
    };
    let names: Vec<TableName> = layout.tables.iter().map(named).collect();
    let schemas = names.iter().map(|n| Some(schema_of(n).to_owned())).collect();
    let tables = names.iter().map(|n| Some(n.name.clone())).collect();
    let args = [super::Arg::Texts(schemas), super::Arg::Texts(tables)];
    let name = |row: &Row| TableName { schema: Some(text(&row[0])), name: text(&row[1]) };
    if side == Side::Target {
        for row in fetch(conn, &format!("{NAMED} {TRIGGERS}"), &args).await? {
            let message =
                format!("\"{}\" has triggers that fire for every row that arrives: {}", name(&row), text(&row[2]));
            let hint = "disable those that must not: what they do was perhaps done at the source already";
            health.found.push(Finding::new(&check::TARGET_TRIGGER, message, hint).table(&name(&row)));
        }
    }
    for row in fetch(conn, &format!("{NAMED} {SUBSCRIBED}"), &args).await? {
        let message = format!("a subscription fills \"{}\" by logical replication", name(&row));
        let finding = Finding::new(&check::SUBSCRIBED, message, check::SUBSCRIBED.way_out);
        health.found.push(finding.table(&name(&row)));
    }
    for row in fetch(conn, &format!("{NAMED} {RULES}"), &args).await? {
        let columns = text(&row[4]).split('\u{1f}').filter(|c| !c.is_empty()).map(str::to_owned).collect();
        let rule = Rule { table: name(&row), name: text(&row[2]), text: text(&row[3]), columns: Some(columns) };
        health.rules.push(rule);
    }
    for row in fetch(conn, &format!("{NAMED} {ENUMS}"), &args).await? {
        let names = text(&row[3]).split('\u{1f}').map(str::to_owned).collect();
        health.enums.push(Labels { table: name(&row), column: text(&row[2]), names });
    }
    Ok(())
}
