//! What a table's definition has beyond its columns and key; and the indexes and foreign keys of tables that we made.
//!
//! An index is built `CONCURRENTLY` and a foreign key is added without a check and then validated: neither keeps the
//! applier waiting for longer than a moment, however large the table is.

use sqlx::AssertSqlSafe;

use super::name::{quote, schema_of, table};
use super::query::{fetch, script};
use super::{Arg, Postgres, catalog, errors, flag, int, text};
use crate::error::{Context, Result};
use crate::schema::{Added, Addition, Definition, Index, TableName};
use crate::value::Value;

const DEFAULTS: &str = "SELECT a.attname::text, pg_get_expr(d.adbin, d.adrelid), a.attidentity <> ''
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE n.nspname = $1::text AND c.relname = $2::text AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attgenerated = '' AND (d.oid IS NOT NULL OR a.attidentity <> '') ORDER BY a.attnum";

const INDEXES: &str = "SELECT i.relname::text, x.indisunique, a.attname::text,
        CASE WHEN NOT x.indisvalid THEN 'is invalid' WHEN x.indpred IS NOT NULL THEN 'is partial'
             WHEN x.indexprs IS NOT NULL THEN 'is over an expression' WHEN x.indisexclusion THEN 'excludes'
             WHEN m.amname <> 'btree' THEN 'is of the kind ' || m.amname WHEN NOT x.indimmediate THEN 'is deferrable'
             WHEN to_jsonb(x)->>'indnullsnotdistinct' = 'true' THEN 'holds nulls to be equal' END
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
    JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL generate_series(0, x.indnkeyatts - 1) AS p(n)
    LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[p.n] AND a.attnum > 0
    WHERE n.nspname = $1::text AND c.relname = $2::text AND NOT x.indisprimary ORDER BY i.relname, p.n";

/// Foreign keys that act when their parent's key changes.
const UPDATING: &str = "SELECT k.conname::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.confupdtype IN ('c', 'n', 'd') AND n.nspname = $1::text AND c.relname = $2::text";

/// A cut-off build leaves an index that is no use to anybody.
const INVALID: &str = "SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT x.indisvalid AND n.nspname = $1::text AND c.relname = $2::text AND i.relname IN ($3::text, $4::text)";

const TAKEN: &str = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1::text AND c.relname = $2::text";

impl Postgres {
    pub(super) async fn define(&self, name: &TableName) -> Result<Definition> {
        let mut tx = self.open("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let place: [Arg; 2] = [schema_of(name).into(), name.name.as_str().into()];
        let mut definition = Definition::default();
        for row in fetch(&mut tx, DEFAULTS, &place).await? {
            let (column, default) = (text(&row[0]), text(&row[1]));
            if flag(&row[2]) || default.starts_with("nextval(") {
                definition.numbered.push(column);
            } else {
                definition.defaults.push((column, default));
            }
        }
        for row in fetch(&mut tx, INDEXES, &place).await? {
            let name = text(&row[0]);
            if definition.indexes.last().is_none_or(|i| i.name != name) {
                let unfit = (!row[3].is_null()).then(|| text(&row[3]));
                definition.indexes.push(Index { name, columns: vec![], unique: flag(&row[1]), unfit });
            }
            if let (Some(index), Value::Text(column)) = (definition.indexes.last_mut(), &row[2]) {
                index.columns.push(column.clone());
            }
        }
        let updating: Vec<String> = fetch(&mut tx, UPDATING, &place).await?.iter().map(|r| text(&r[0])).collect();
        if let Some(described) = catalog::describe(&mut tx, name).await? {
            definition.foreign_keys = described.foreign_keys;
        }
        for key in definition.foreign_keys.iter_mut().filter(|k| updating.contains(&k.name)) {
            key.on_delete_cascades = true;
        }
        self.close(tx).await?;
        Ok(definition)
    }

    pub(super) async fn add_to(&self, addition: &Addition) -> Result<bool> {
        let (named, list) = (table(&addition.table), columns(&addition.columns));
        let unique = match &addition.what {
            Added::Index { unique } => *unique,
            Added::ForeignKey { references, referenced_columns } => {
                let name = quote(&addition.name);
                let add = format!(
                    "ALTER TABLE {named} ADD CONSTRAINT {name} FOREIGN KEY ({list}) REFERENCES {} ({}) NOT VALID",
                    table(references),
                    columns(referenced_columns)
                );
                let added = self.restore_one(&add).await?;
                self.restore_one(&format!("ALTER TABLE {named} VALIDATE CONSTRAINT {name}")).await?;
                return Ok(added);
            }
        };
        if addition.is_in(&self.define(&addition.table).await?) {
            return Ok(false);
        }
        let name = quote(&self.free_name(addition).await?);
        let what = if unique { "UNIQUE INDEX" } else { "INDEX" };
        self.build(format!("CREATE {what} CONCURRENTLY {name} ON {named} ({list})")).await?;
        Ok(true)
    }

    /// The wished name where nobody has it, else one that nobody will have.
    async fn free_name(&self, addition: &Addition) -> Result<String> {
        let (schema, other) = (schema_of(&addition.table), addition.other_name());
        let mut tx = self.open_install().await?;
        let args: [Arg; 4] =
            [schema.into(), addition.table.name.as_str().into(), addition.name.as_str().into(), other.as_str().into()];
        for row in fetch(&mut tx, INVALID, &args).await? {
            let sql = format!("DROP INDEX {}.{}", quote(schema), quote(&text(&row[0])));
            script(&mut tx, sql).await.context("removing an index whose building was cut off")?;
        }
        let taken = fetch(&mut tx, TAKEN, &[schema.into(), addition.name.as_str().into()]).await?;
        self.close(tx).await?;
        Ok(if taken.first().is_some_and(|r| int(&r[0]) > 0) { other } else { addition.name.clone() })
    }

    /// Outside a transaction. The server waits for statements that are older than the index; a minute is long enough
    /// for those of ours.
    async fn build(&self, sql: String) -> Result<()> {
        let at = || format!("PostgreSQL at {}", self.address);
        let mut conn = self.pool.acquire().await.map_err(errors::of).context(at())?;
        script(&mut conn, "SET lock_timeout = '60s'").await?;
        let built = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await;
        // As each session of ours begins. A connection that can't be told is broken, and the pool finds that out.
        let reset = script(&mut conn, "SET lock_timeout = '5s'").await;
        built.map_err(errors::of)?;
        reset
    }
}

fn columns(names: &[String]) -> String {
    names.iter().map(|c| quote(c)).collect::<Vec<_>>().join(", ")
}
