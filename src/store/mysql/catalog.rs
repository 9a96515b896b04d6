//! What the server's catalogue says of a table, and what of it cannot be migrated right.

use sqlx::mysql::MySqlConnection;

use super::query::fetch;
use super::types::charset;
use super::{Arg, int, text};
use crate::check::{self, Obstacle};
use crate::error::Result;
use crate::schema::{Column, ForeignKey, Kind, Numbered, Table, TableName, Unique};
use crate::store::TableSize;
use crate::value::Row;

const TABLES: &str = "SELECT TABLE_NAME FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' AND LEFT(TABLE_NAME, 9) <> '_migrate_' ORDER BY 1";

const TABLE: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_SCHEMA = DATABASE(), CREATE_OPTIONS,
        TABLE_ROWS, DATA_LENGTH + INDEX_LENGTH
    FROM information_schema.TABLES WHERE TABLE_SCHEMA = coalesce(?, DATABASE()) AND TABLE_NAME = ?";

const COLUMNS: &str = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA,
        CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, COLLATION_NAME
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

const UNIQUES: &str =
    "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART IS NOT NULL OR COLUMN_NAME IS NULL OR INDEX_TYPE <> 'BTREE'
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0
    ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX";

const FOREIGN_KEYS: &str = "SELECT k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME,
        k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, k.REFERENCED_TABLE_SCHEMA = DATABASE()
    FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
      ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
    WHERE k.TABLE_SCHEMA = ? AND k.TABLE_NAME = ? AND k.REFERENCED_TABLE_NAME IS NOT NULL
    ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION";

const SYSTEM: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];

pub async fn tables(conn: &mut MySqlConnection) -> Result<Vec<TableName>> {
    let rows = fetch(conn, TABLES, &[]).await?;
    Ok(rows.iter().map(|r| TableName { schema: None, name: text(&r[0]) }).collect())
}

fn by_name(name: &TableName) -> [Arg; 2] {
    [name.schema.as_deref().into(), name.name.as_str().into()]
}

pub async fn size(conn: &mut MySqlConnection, name: &TableName) -> Result<TableSize> {
    let rows = fetch(conn, TABLE, &by_name(name)).await?;
    let number = |i: usize| rows.first().map_or(0, |r| int(&r[i]).max(0) as u64);
    Ok(TableSize { rows: number(6), bytes: number(7) })
}

pub async fn exists(conn: &mut MySqlConnection, name: &TableName) -> Result<bool> {
    Ok(!fetch(conn, TABLE, &by_name(name)).await?.is_empty())
}

/// A table of the url's own database bears no schema, so that two spellings are one name.
pub async fn describe(conn: &mut MySqlConnection, name: &TableName) -> Result<Option<Table>> {
    let found = fetch(conn, TABLE, &by_name(name)).await?;
    let Some(facts) = found.first() else { return Ok(None) };
    let place = [Arg::One(facts[0].clone()), Arg::One(facts[1].clone())];
    let columns: Vec<Column> = fetch(conn, COLUMNS, &place).await?.iter().map(column).collect();
    let (primary_key, uniques) = uniques(&fetch(conn, UNIQUES, &place).await?);
    let foreign_keys = foreign_keys(&fetch(conn, FOREIGN_KEYS, &place).await?);
    let mut obstacles = obstacles(facts);
    let cascading = if obstacles.is_empty() { cascading(conn, &place).await? } else { None };
    obstacles.extend(cascading.map(|key| {
        let text = format!(
            "has the foreign key \"{key}\", whose cascades change rows behind the triggers' back: make it NO ACTION"
        );
        Obstacle::new(&check::UNSEEN_CASCADE, text)
    }));
    let listed =
        |c: &&Column| ["enum", "set"].iter().any(|t| c.type_name.starts_with(t)) && primary_key.contains(&c.name);
    obstacles.extend(columns.iter().find(listed).map(|c| {
        let text = format!(
            "has \"{}\" in its primary key, an ENUM or SET, which compares as a text and orders as a number",
            c.name
        );
        Obstacle::new(&check::KEY_KIND, text)
    }));
    let schema = (int(&facts[4]) == 0).then(|| text(&facts[0]));
    let name = TableName { schema, name: text(&facts[1]) };
    Ok(Some(Table { name, columns, primary_key, uniques, foreign_keys, obstacles }))
}

fn obstacles(facts: &Row) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let mut add = |check, text: &str| found.push(Obstacle::new(check, text));
    match text(&facts[2]).as_str() {
        "BASE TABLE" => {}
        "VIEW" | "SYSTEM VIEW" => add(&check::NOT_A_TABLE, "is a view"),
        "SYSTEM VERSIONED" => add(&check::UNFIT_TABLE, "is system-versioned: its history would not travel"),
        _ => add(&check::NOT_A_TABLE, "is no table"),
    }
    if found.is_empty() && !text(&facts[3]).eq_ignore_ascii_case("InnoDB") {
        let text = format!(
            "is kept by {}, which knows no transactions: a change could not be rolled back with its mark",
            text(&facts[3])
        );
        found.push(Obstacle::new(&check::NOT_DURABLE, text));
    }
    if SYSTEM.iter().any(|s| text(&facts[0]).eq_ignore_ascii_case(s)) {
        found.push(Obstacle::new(&check::SYSTEM_TABLE, "belongs to the system"));
    }
    found
}

fn column(row: &Row) -> Column {
    let (data_type, column_type) = (text(&row[1]).to_ascii_lowercase(), text(&row[2]));
    let extra = text(&row[5]).to_ascii_lowercase();
    let collation = (!row[9].is_null()).then(|| text(&row[9]).to_ascii_lowercase());
    let size = |i: usize| (!row[i].is_null()).then(|| int(&row[i]).clamp(0, u32::MAX.into()) as u32);
    let kind = kind(&data_type, &column_type, [size(6), size(7), size(8)], collation.as_deref());
    let is_text = matches!(kind, Kind::Text { .. });
    let set = text(&row[4]);
    Column {
        name: text(&row[0]),
        nullable: text(&row[3]) == "YES",
        has_default: !row[4].is_null() && set != "NULL" || extra.contains("auto_increment"),
        generated: extra.contains("virtual generated") || extra.contains("stored generated") || extra == "persistent",
        identity_always: false,
        numbered: if extra.contains("auto_increment") { Numbered::BehindGreatest } else { Numbered::No },
        // With any other the blanks at the end don't count, or case, or accents.
        binary_order: !is_text
            || collation.as_deref().is_some_and(|c| c.ends_with("_nopad_bin") || c == "utf8mb4_0900_bin"),
        collation: collation.filter(|_| is_text),
        type_name: type_name(&data_type, &column_type),
        kind,
    }
}

/// Older servers show a width for integers that means nothing.
fn type_name(data_type: &str, column_type: &str) -> String {
    let is_integer = data_type.ends_with("int") && !column_type.starts_with("tinyint(1)");
    match (column_type.split_once('('), column_type.split_once(')')) {
        (Some((name, _)), Some((_, rest))) if is_integer => format!("{name}{rest}"),
        _ => column_type.to_owned(),
    }
}

/// An unsigned integer is one of the next size; the largest has 65 bits.
pub fn kind(data_type: &str, column_type: &str, sizes: [Option<u32>; 3], collation: Option<&str>) -> Kind {
    let unsigned = column_type.contains("unsigned");
    let int = |signed: u8, wider: u8| Kind::Int { bits: if unsigned { wider } else { signed } };
    let known = ["utf8mb4", "utf8mb3", "utf8", "latin1", "ascii"];
    let in_known_set = collation.map(charset).is_some_and(|set| known.contains(&set));
    let [chars, precision, scale] = sizes;
    match data_type {
        "tinyint" => int(8, 16),
        "smallint" => int(16, 32),
        "mediumint" => int(24, 32),
        "int" => int(32, 64),
        "bigint" => int(64, 65),
        "year" => Kind::Int { bits: 16 },
        "bit" => Kind::Int { bits: if precision.unwrap_or(1) < 64 { 64 } else { 65 } },
        "decimal" => Kind::Decimal { precision, scale },
        "float" => Kind::Float { bits: 32 },
        "double" => Kind::Float { bits: 64 },
        "char" | "varchar" if in_known_set => Kind::Text { max_chars: chars },
        "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" if in_known_set => {
            Kind::Text { max_chars: None }
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "datetime" => Kind::Timestamp,
        "timestamp" => Kind::TimestampTz,
        "uuid" => Kind::Uuid,
        "json" => Kind::Json,
        _ => match collation {
            Some(collation) => Kind::Opaque(format!("{column_type} collate {collation}")),
            None => Kind::Opaque(column_type.to_owned()),
        },
    }
}

/// A primary key over the beginning of a text is none.
fn uniques(rows: &[Row]) -> (Vec<String>, Vec<Unique>) {
    let mut all = Vec::<Unique>::new();
    for row in rows {
        let name = text(&row[0]);
        if all.last().is_none_or(|u| u.name != name) {
            all.push(Unique { name, columns: Vec::new(), partial: false });
        }
        if let Some(unique) = all.last_mut() {
            unique.columns.push(text(&row[1]));
            unique.partial |= int(&row[2]) != 0;
        }
    }
    match all.first() {
        Some(first) if first.name == "PRIMARY" && !first.partial => (all.remove(0).columns, all),
        _ => (Vec::new(), all),
    }
}

/// A foreign key by which the server changes rows of this table by itself. A login that may only read sees no foreign
/// keys in the catalogue, but it sees the table's definition, one constraint a line.
async fn cascading(conn: &mut MySqlConnection, place: &[Arg; 2]) -> Result<Option<String>> {
    let [Arg::One(schema), Arg::One(name)] = place else { return Ok(None) };
    let named = TableName { schema: Some(text(schema)), name: text(name) };
    let rows = fetch(conn, &format!("SHOW CREATE TABLE {}", super::name::table(&named)), &[]).await?;
    let definition = rows.first().and_then(|r| r.get(1)).map(text).unwrap_or_default();
    let acts = |line: &&str| {
        let on = |event: &str| ["CASCADE", "SET NULL", "SET DEFAULT"].map(|act| format!(" ON {event} {act}"));
        on("DELETE").iter().chain(&on("UPDATE")).any(|act| line.contains(act))
    };
    let keys = definition.lines().filter(|l| l.starts_with("  CONSTRAINT `") && l.contains("` FOREIGN KEY ("));
    Ok(keys.filter(acts).find_map(|line| line.split('`').nth(1).map(str::to_owned)))
}

fn foreign_keys(rows: &[Row]) -> Vec<ForeignKey> {
    let mut keys = Vec::<ForeignKey>::new();
    for row in rows {
        let name = text(&row[0]);
        if keys.last().is_none_or(|k| k.name != name) {
            let schema = (int(&row[6]) == 0).then(|| text(&row[2]));
            keys.push(ForeignKey {
                name,
                columns: Vec::new(),
                references: TableName { schema, name: text(&row[3]) },
                referenced_columns: Vec::new(),
                on_delete_cascades: matches!(text(&row[5]).as_str(), "CASCADE" | "SET NULL" | "SET DEFAULT"),
                deferrable: false,
            });
        }
        if let Some(key) = keys.last_mut() {
            key.columns.push(text(&row[1]));
            key.referenced_columns.push(text(&row[4]));
        }
    }
    keys
}
