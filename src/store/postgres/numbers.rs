//! Sequences behind a table's columns: identity, serial, or any default that takes from one.

use sqlx::postgres::PgConnection;

use super::name::{quote, schema_of, table};
use super::query::{execute, fetch};
use super::{Arg, Postgres, int, text};
use crate::error::{Context, Result};
use crate::schema::TableName;

/// Column, the sequence's schema and name, its step.
const SEQUENCES: &str = "SELECT DISTINCT a.attname::text, sn.nspname::text, s.relname::text, q.seqincrement
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    JOIN pg_depend p ON (p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass)
        OR (p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass AND p.refobjid = c.oid
            AND p.refobjsubid = a.attnum AND p.deptype = 'i')
    JOIN pg_class s ON s.relkind = 'S' AND s.oid = CASE WHEN p.classid = 'pg_attrdef'::regclass THEN p.refobjid ELSE p.objid END
    JOIN pg_namespace sn ON sn.oid = s.relnamespace JOIN pg_sequence q ON q.seqrelid = s.oid
    WHERE n.nspname = $1::text AND c.relname = $2::text AND NOT a.attisdropped ORDER BY 1";

struct Numbered {
    column: String,
    sequence: String,
}

async fn numbered(conn: &mut PgConnection, name: &TableName) -> Result<Vec<Numbered>> {
    let place: [Arg; 2] = [schema_of(name).into(), name.name.as_str().into()];
    let rows = fetch(conn, SEQUENCES, &place).await?;
    // Downwards they can't meet what counts upwards.
    let upwards = rows.iter().filter(|r| int(&r[3]) > 0);
    let one = |r: &crate::value::Row| Numbered {
        column: text(&r[0]),
        sequence: format!("{}.{}", quote(&text(&r[1])), quote(&text(&r[2]))),
    };
    Ok(upwards.map(one).collect())
}

impl Postgres {
    pub(super) async fn next_numbers(&self, name: &TableName) -> Result<Vec<(String, i64)>> {
        let mut tx = self.open("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY").await?;
        let mut next = Vec::new();
        for n in numbered(&mut tx, name).await? {
            let sql = format!("SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {}", n.sequence);
            let rows = fetch(&mut tx, &sql, &[]).await?;
            next.extend(rows.first().map(|r| (n.column, int(&r[0]))));
        }
        Ok(next)
    }

    /// Never back: what others took from a shared sequence stays taken.
    pub(super) async fn raise_number(
        &self,
        name: &TableName,
        column: &str,
        next: i64,
        upto: Option<i64>,
    ) -> Result<()> {
        let mut tx = self.open_install().await?;
        let found = numbered(&mut tx, name).await?;
        for n in found.iter().filter(|n| n.column == column) {
            let sql = format!(
                "SELECT setval($2::text::regclass, w.last) FROM (SELECT greatest($1::bigint - 1, (SELECT max({0})::bigint FROM {1} WHERE {0} <= $3::bigint)) AS last) w,
                    {2} s WHERE w.last > s.last_value - CASE WHEN s.is_called THEN 0 ELSE 1 END AND w.last > 0",
                quote(column),
                table(name),
                n.sequence
            );
            execute(&mut tx, &sql, &[next.into(), n.sequence.as_str().into(), upto.unwrap_or(i64::MAX).into()])
                .await
                .context(format_args!("the sequence of \"{column}\" of {name}"))?;
        }
        self.close(tx).await
    }
}
