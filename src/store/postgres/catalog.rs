//! What the server's catalogue says of a table, and what of it cannot be migrated right.

use sqlx::postgres::PgConnection;

use super::name::schema_of;
use super::query::fetch;
use super::{Arg, flag, int, text};
use crate::check::{self, Obstacle};
use crate::error::Result;
use crate::schema::{Column, ForeignKey, Kind, Numbered, Table, TableName, Unique};
use crate::store::TableSize;
use crate::value::{Row, Value};

/// A type without its domains: the base type's name, its modifier, and how DDL spells it.
pub const BASE_TYPE: &str = "LATERAL (
    WITH RECURSIVE layer(oid, modifier, typtype, typbasetype, typtypmod) AS (
        SELECT t.oid, x.modifier, t.typtype, t.typbasetype, t.typtypmod FROM pg_type t WHERE t.oid = x.type
        UNION ALL
        SELECT t.oid, layer.typtypmod, t.typtype, t.typbasetype, t.typtypmod
        FROM layer JOIN pg_type t ON t.oid = layer.typbasetype WHERE layer.typtype = 'd')
    SELECT CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE '' END AS base,
           layer.modifier AS modifier, format_type(layer.oid, layer.modifier) AS base_name
    FROM layer JOIN pg_type t ON t.oid = layer.oid WHERE layer.typtype <> 'd') b";

const TABLES: &str =
    "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^(pg_toast|pg_temp|_migrate_)'
    ORDER BY 1, 2";

const CLASS: &str = "SELECT c.oid::int8, c.relkind::text, c.relpersistence::text,
        c.relrowsecurity AND NOT pg_has_role(current_user, c.relowner, 'USAGE')
            AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user)
          OR c.relrowsecurity AND c.relforcerowsecurity
            AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user),
        n.nspname IN ('pg_catalog', 'information_schema') OR n.nspname LIKE 'pg_toast%',
        c.relispartition,
        (SELECT string_agg(p.oid::regclass::text, ', ') FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
          WHERE i.inhrelid = c.oid AND p.relkind <> 'p'),
        (SELECT string_agg(k.oid::regclass::text, ', ') FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid
          WHERE i.inhparent = c.oid AND c.relkind <> 'p'),
        (SELECT string_agg(k.relid::text, ', ') FROM pg_partition_tree(c.oid) k JOIN pg_class f ON f.oid = k.relid
          WHERE f.relkind = 'f'),
        EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate),
        EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relname = $2::text";

const UNIQUES: &str = "SELECT i.relname::text, x.indisprimary,
        x.indpred IS NOT NULL OR x.indexprs IS NOT NULL OR NOT x.indisvalid OR NOT x.indimmediate, a.attname::text
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
    CROSS JOIN LATERAL generate_series(0, x.indnkeyatts - 1) AS p(n)
    LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[p.n] AND a.attnum > 0
    WHERE x.indrelid = $1::int8::oid AND x.indisunique ORDER BY NOT x.indisprimary, i.relname, p.n";

const FOREIGN_KEYS: &str =
    "SELECT k.conname::text, rn.nspname::text, r.relname::text, k.confdeltype IN ('c', 'n', 'd'),
        k.condeferrable, a.attname::text, ra.attname::text
    FROM pg_constraint k JOIN pg_class r ON r.oid = k.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
    CROSS JOIN LATERAL generate_subscripts(k.conkey, 1) AS p(n)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[p.n]
    JOIN pg_attribute ra ON ra.attrelid = k.confrelid AND ra.attnum = k.confkey[p.n]
    WHERE k.contype = 'f' AND k.conrelid = $1::int8::oid AND k.conparentid = 0 ORDER BY k.conname, p.n";

/// Pages and rows of the table itself and of its partitions.
const SIZE: &str = "SELECT coalesce(sum(pg_total_relation_size(t.oid)), 0)::int8,
        coalesce(sum(CASE WHEN t.relkind = 'p' THEN 0 WHEN t.reltuples >= 0 AND t.relpages > 0
            THEN t.reltuples / t.relpages * (pg_relation_size(t.oid) / current_setting('block_size')::int8)
            WHEN t.reltuples > 0 THEN t.reltuples
            ELSE pg_relation_size(t.oid) / greatest(24 + (SELECT sum(CASE WHEN a.attlen > 0 THEN a.attlen ELSE 16 END)
                FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped), 28) END), 0)::int8
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (SELECT c.oid AS relid WHERE c.relkind <> 'p' UNION SELECT relid FROM pg_partition_tree(c.oid)) m
    JOIN pg_class t ON t.oid = m.relid
    WHERE n.nspname = $1::text AND c.relname = $2::text";

pub async fn tables(conn: &mut PgConnection) -> Result<Vec<TableName>> {
    let rows = fetch(conn, TABLES, &[]).await?;
    Ok(rows.iter().map(|r| TableName { schema: Some(text(&r[0])), name: text(&r[1]) }).collect())
}

pub async fn size(conn: &mut PgConnection, name: &TableName) -> Result<TableSize> {
    let rows = fetch(conn, SIZE, &by_name(name)).await?;
    let number = |i: usize| rows.first().map_or(0, |r| int(&r[i]).max(0) as u64);
    Ok(TableSize { rows: number(1), bytes: number(0) })
}

fn by_name(name: &TableName) -> [Arg; 2] {
    [schema_of(name).into(), name.name.as_str().into()]
}

pub async fn describe(conn: &mut PgConnection, name: &TableName) -> Result<Option<Table>> {
    let classes = fetch(conn, CLASS, &by_name(name)).await?;
    let Some(class) = classes.first() else { return Ok(None) };
    let relation = [Arg::One(class[0].clone())];
    let columns = columns(conn, &relation).await?;
    let (primary_key, uniques) = uniques(&fetch(conn, UNIQUES, &relation).await?);
    let foreign_keys = foreign_keys(&fetch(conn, FOREIGN_KEYS, &relation).await?);
    Ok(Some(Table {
        name: TableName { schema: Some(schema_of(name).to_owned()), name: name.name.clone() },
        columns,
        primary_key,
        uniques,
        foreign_keys,
        obstacles: obstacles(class),
    }))
}

fn obstacles(class: &Row) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let mut add = |check, text: &str| found.push(Obstacle::new(check, text));
    match text(&class[1]).as_str() {
        "r" | "p" => {}
        "v" => add(&check::NOT_A_TABLE, "is a view"),
        "m" => add(&check::NOT_A_TABLE, "is a materialized view"),
        "f" => add(
            &check::NOT_A_TABLE,
            "is a foreign table: its rows live elsewhere, where triggers don't see them change",
        ),
        _ => add(&check::NOT_A_TABLE, "is no table"),
    }
    match text(&class[2]).as_str() {
        "u" => add(&check::NOT_DURABLE, "is unlogged: a crash empties it without a trace"),
        "t" => add(&check::NOT_DURABLE, "is temporary"),
        _ => {}
    }
    if flag(&class[3]) {
        add(&check::ROW_SECURITY, "has row security, which hides rows from this login");
    }
    if flag(&class[4]) {
        add(&check::SYSTEM_TABLE, "belongs to the system");
    }
    if flag(&class[5]) {
        add(&check::PARTITION, "is a partition: name its parent instead");
    }
    if !class[6].is_null() {
        add(&check::INHERITANCE, &format!("inherits from {}", text(&class[6])));
    }
    if !class[7].is_null() {
        add(&check::INHERITANCE, &format!("is inherited by {}, whose rows it shows as its own", text(&class[7])));
    }
    if !class[8].is_null() {
        add(&check::PARTITION, &format!("has the foreign table {} as a partition", text(&class[8])));
    }
    if flag(&class[9]) {
        add(&check::DEFERRABLE_KEY, "has a deferrable primary key, by which no row can be upserted");
    }
    if flag(&class[10]) {
        add(&check::RULES, "has rules, which rewrite what is written to it");
    }
    found
}

/// Whether a column's default is the next of a sequence that counts upwards, and nothing else.
const COUNTS: &str = "(EXISTS (SELECT FROM pg_depend p JOIN pg_sequence q ON q.seqrelid = p.objid
                WHERE a.attidentity <> '' AND p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
                AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype = 'i' AND q.seqincrement > 0)
             OR EXISTS (SELECT FROM pg_attrdef f JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = f.oid
                    AND p.refclassid = 'pg_class'::regclass
                JOIN pg_sequence q ON q.seqrelid = p.refobjid AND q.seqincrement > 0
                WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum AND a.attgenerated = ''
                AND pg_get_expr(f.adbin, f.adrelid) ~ '^nextval[(]''[^'']+''::regclass[)]$'))";

async fn columns(conn: &mut PgConnection, relation: &[Arg]) -> Result<Vec<Column>> {
    let sql = format!(
        "SELECT a.attname::text, b.base, b.modifier, b.base_name, format_type(a.atttypid, a.atttypmod),
            NOT (a.attnotnull OR t.typtype = 'd' AND t.typnotnull), a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
            a.attgenerated <> '', a.attidentity = 'a',
            CASE WHEN a.attcollation NOT IN (0, 100) THEN quote_ident(cn.nspname) || '.' || quote_ident(k.collname) END,
            CASE WHEN a.attcollation = 0 THEN 'C'
                 WHEN a.attcollation = 100 AND coalesce(to_jsonb(d)->>'datlocprovider', 'c') IN ('c', 'b')
                    THEN coalesce(to_jsonb(d)->>'datlocale', d.datcollate::text)
                 WHEN k.collprovider = 'c' OR k.collprovider = 'b' THEN coalesce(k.collcollate::text, k.collname::text) END,
            {COUNTS}
        FROM (SELECT a.*, a.atttypid AS type, a.atttypmod AS modifier FROM pg_attribute a) x
        JOIN pg_attribute a ON a.attrelid = x.attrelid AND a.attnum = x.attnum JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_collation k ON k.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = k.collnamespace
        CROSS JOIN (SELECT * FROM pg_database WHERE datname = current_database()) d CROSS JOIN {BASE_TYPE}
        WHERE x.attrelid = $1::int8::oid AND x.attnum > 0 AND NOT x.attisdropped ORDER BY x.attnum"
    );
    let rows = fetch(conn, &sql, relation).await?;
    Ok(rows.iter().map(column).collect())
}

fn column(row: &Row) -> Column {
    let type_name = text(&row[4]);
    let (base, base_name) = (text(&row[1]), text(&row[3]));
    // Of a domain over char(n) nothing would tell later that it pads.
    let kind = if base == "bpchar" && base_name != type_name {
        Kind::Opaque(base_name)
    } else {
        kind(&base, int(&row[2]), &base_name)
    };
    let collation = text(&row[10]).to_ascii_lowercase();
    Column {
        name: text(&row[0]),
        kind,
        type_name,
        nullable: flag(&row[5]),
        has_default: flag(&row[6]),
        generated: flag(&row[7]),
        identity_always: flag(&row[8]),
        numbered: if flag(&row[11]) { Numbered::Counts } else { Numbered::No },
        binary_order: matches!(collation.as_str(), "c" | "posix" | "c.utf8" | "c.utf-8" | "ucs_basic" | "pg_c_utf8"),
        collation: (!row[9].is_null()).then(|| text(&row[9])),
    }
}

/// `base` is the type's name in pg_catalog, or empty; its modifier is -1 where there is none.
pub fn kind(base: &str, modifier: i64, base_name: &str) -> Kind {
    let length = (modifier >= 4).then(|| (modifier - 4) as u32);
    match base {
        "bool" => Kind::Bool,
        "int2" => Kind::Int { bits: 16 },
        "int4" => Kind::Int { bits: 32 },
        "int8" => Kind::Int { bits: 64 },
        "float4" => Kind::Float { bits: 32 },
        "float8" => Kind::Float { bits: 64 },
        "numeric" => match length {
            None => Kind::Decimal { precision: None, scale: None },
            // A scale is an eleven-bit signed number since PostgreSQL 15; a negative one rounds before the point.
            Some(m) if m & 0x400 != 0 => Kind::Opaque(base_name.to_owned()),
            Some(m) => Kind::Decimal { precision: Some(m >> 16), scale: Some(m & 0x3ff) },
        },
        "text" => Kind::Text { max_chars: None },
        "varchar" | "bpchar" => Kind::Text { max_chars: length },
        "bytea" => Kind::Bytes,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "timestamp" => Kind::Timestamp,
        "timestamptz" => Kind::TimestampTz,
        "uuid" => Kind::Uuid,
        "jsonb" => Kind::Json,
        _ => Kind::Opaque(base_name.to_owned()),
    }
}

fn uniques(rows: &[Row]) -> (Vec<String>, Vec<Unique>) {
    let (mut primary_key, mut uniques) = (Vec::new(), Vec::<Unique>::new());
    for row in rows {
        let (name, partial, column) = (text(&row[0]), flag(&row[2]), &row[3]);
        if flag(&row[1]) {
            primary_key.push(text(column));
            continue;
        }
        if uniques.last().is_none_or(|u| u.name != name) {
            uniques.push(Unique { name, columns: Vec::new(), partial });
        }
        if let (Some(unique), Value::Text(column)) = (uniques.last_mut(), column) {
            unique.columns.push(column.clone());
        }
    }
    (primary_key, uniques)
}

fn foreign_keys(rows: &[Row]) -> Vec<ForeignKey> {
    let mut keys = Vec::<ForeignKey>::new();
    for row in rows {
        let name = text(&row[0]);
        if keys.last().is_none_or(|k| k.name != name) {
            keys.push(ForeignKey {
                name,
                columns: Vec::new(),
                references: TableName { schema: Some(text(&row[1])), name: text(&row[2]) },
                referenced_columns: Vec::new(),
                on_delete_cascades: flag(&row[3]),
                deferrable: flag(&row[4]),
            });
        }
        if let Some(key) = keys.last_mut() {
            key.columns.push(text(&row[5]));
            key.referenced_columns.push(text(&row[6]));
        }
    }
    keys
}
