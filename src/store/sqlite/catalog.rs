//! What the file's catalogue says, in the words that all engines share.
//!
//! Names are compared as SQLite does, without case, and come back as the catalogue spells them. Collations of columns
//! stand in no pragma: an empty in-memory copy of the table is asked, by an index over the column.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use crate::check::{self, Obstacle};
use crate::error::{Error, Result};
use crate::schema::{Column, ForeignKey, Kind, Numbered, Table, TableName, Unique};
use crate::store::TableSize;

use super::connection::{File, Purpose, Tx};
use super::dialect::{column, table, text};
use super::expression;
use super::tokens::{Token, tokens};
use super::types;

/// Rows that are looked at to guess a row's size.
const SAMPLE_ROWS: u64 = 500;

type Rows = Vec<sqlx::sqlite::SqliteRow>;

pub(super) async fn rows(tx: &mut Tx, file: &File, sql: String) -> Result<Rows> {
    sqlx::query(AssertSqlSafe(sql)).fetch_all(tx.writer().await?).await.map_err(|e| file.error(e))
}

pub(super) fn get<T>(row: &sqlx::sqlite::SqliteRow, i: usize) -> Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get_unchecked(i).map_err(|_| Error::give_up("the catalogue of the SQLite file has an unexpected shape"))
}

/// What `sqlite_master` has of one table or view.
pub struct Entry {
    pub name: String,
    /// `table`, `view`, `virtual`, `shadow`.
    pub kind: String,
    pub without_rowid: bool,
    pub ddl: String,
}

pub async fn entry(tx: &mut Tx, file: &File, name: &TableName) -> Result<Option<Entry>> {
    if name.schema.as_ref().is_some_and(|s| !s.eq_ignore_ascii_case("main")) {
        return Ok(None);
    }
    let sql = format!(
        "SELECT l.name, l.type, l.wr, coalesce(m.sql, '') FROM pragma_table_list AS l JOIN sqlite_master AS m \
         ON m.name = l.name AND m.type IN ('table', 'view') \
         WHERE l.schema = 'main' AND l.name = {0} COLLATE NOCASE ORDER BY l.name = {0} DESC LIMIT 1",
        text(&name.name)
    );
    let found = rows(tx, file, sql).await?;
    let Some(row) = found.first() else { return Ok(None) };
    Ok(Some(Entry { name: get(row, 0)?, kind: get(row, 1)?, without_rowid: get(row, 2)?, ddl: get(row, 3)? }))
}

/// Ordinary tables that are neither SQLite's nor ours.
pub async fn tables(file: &File) -> Result<Vec<TableName>> {
    let mut tx = file.begin(Purpose::Read).await?;
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
               AND substr(name, 1, 7) <> 'sqlite_' AND substr(name, 1, 9) <> '_migrate_' ORDER BY name";
    let found = rows(&mut tx, file, sql.to_owned()).await?;
    found.iter().map(|r| Ok(TableName { schema: None, name: get(r, 0)? })).collect()
}

pub async fn describe(file: &File, name: &TableName) -> Result<Option<Table>> {
    let mut tx = file.begin(Purpose::Read).await?;
    describe_in(&mut tx, file, name).await
}

pub async fn describe_in(tx: &mut Tx, file: &File, name: &TableName) -> Result<Option<Table>> {
    let Some(entry) = entry(tx, file, name).await? else { return Ok(None) };
    let (mut columns, primary_key) = columns(tx, file, &entry).await?;
    let mut obstacles = obstacles(&entry);
    if entry.kind == "table" {
        collations(&entry, &mut columns, &mut obstacles).await;
    }
    let (uniques, key_is_rowid) = uniques(tx, file, &entry, &columns).await?;
    let noted = tokens(&entry.ddl).iter().any(|(_, token)| token.is("AUTOINCREMENT"));
    for c in &mut columns {
        let is_key = primary_key.contains(&c.name);
        c.nullable &= !(is_key && (entry.without_rowid || key_is_rowid));
        c.has_default |= is_key && key_is_rowid;
        c.numbered = match (is_key && key_is_rowid, noted) {
            (false, _) => Numbered::No,
            (true, true) => Numbered::BehindGreatest,
            (true, false) => Numbered::BehindPresent,
        };
    }
    Ok(Some(Table {
        name: TableName { schema: None, name: entry.name.clone() },
        foreign_keys: foreign_keys(tx, file, &entry).await?,
        columns,
        primary_key,
        uniques: uniques.into_iter().filter(|u| u.origin != "pk").map(|u| u.unique).collect(),
        obstacles,
    }))
}

fn obstacles(entry: &Entry) -> Vec<Obstacle> {
    let mut found = Vec::new();
    match entry.kind.as_str() {
        "table" => {}
        "view" => found.push(Obstacle::new(&check::NOT_A_TABLE, "is a view")),
        other => found.push(Obstacle::new(&check::NOT_A_TABLE, format!("is a {other} table, which takes no triggers"))),
    }
    let words: Vec<Token<'_>> = tokens(&entry.ddl).into_iter().map(|(_, t)| t).collect();
    let clause = words.windows(3).find(|w| w[0].is("ON") && w[1].is("CONFLICT") && !w[2].is("ABORT"));
    if let Some([_, _, Token::Word(what)]) = clause {
        let text = format!("has a constraint with ON CONFLICT {what}, which would hide collisions");
        found.push(Obstacle::new(&check::CONFLICT_CLAUSE, text));
    }
    found
}

async fn columns(tx: &mut Tx, file: &File, entry: &Entry) -> Result<(Vec<Column>, Vec<String>)> {
    let sql = format!(
        "SELECT name, coalesce(type, ''), \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo({}) \
         WHERE hidden <> 1 ORDER BY cid",
        text(&entry.name)
    );
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    for row in &rows(tx, file, sql).await? {
        let (name, type_name): (String, String) = (get(row, 0)?, get(row, 1)?);
        let (not_null, place, hidden): (bool, i64, i64) = (get(row, 2)?, get(row, 4)?, get(row, 5)?);
        if place > 0 {
            key.push((place, name.clone()));
        }
        columns.push(Column {
            kind: types::kind(&type_name),
            name,
            type_name,
            nullable: !not_null,
            has_default: get(row, 3)?,
            generated: hidden >= 2,
            identity_always: false,
            numbered: Numbered::No,
            binary_order: true,
            collation: None,
        });
    }
    key.sort();
    Ok((columns, key.into_iter().map(|(_, name)| name).collect()))
}

/// Fills in what each column is compared by.
async fn collations(entry: &Entry, columns: &mut [Column], obstacles: &mut Vec<Obstacle>) {
    let mut memory = match expression::copy_of(&entry.ddl).await {
        Ok(memory) => memory,
        Err(why) => {
            let text = format!("needs something that only the application has: {why}");
            return obstacles.push(Obstacle::new(&check::NEEDS_APPLICATION, text));
        }
    };
    for (i, c) in columns.iter_mut().enumerate() {
        let index = format!("CREATE INDEX \"migrate {i}\" ON {} ({})", table(&entry.name), column(&c.name));
        match expression::run(&mut memory, &index).await {
            Ok(()) => {}
            Err(why) if why.contains("collation") => {
                let text = format!("column \"{}\" is compared by the application's own code ({why})", c.name);
                obstacles.push(Obstacle::new(&check::NEEDS_APPLICATION, text));
                continue;
            }
            // A generated column over the clock can't be indexed; it has no say here.
            Err(_) => continue,
        }
        if let Some(name) = collation(&mut memory, &format!("migrate {i}")).await
            && !name.eq_ignore_ascii_case("BINARY")
        {
            c.binary_order = !matches!(c.kind, Kind::Text { .. } | Kind::Opaque(_));
            c.collation = Some(table(&name));
        }
    }
}

async fn collation(memory: &mut SqliteConnection, index: &str) -> Option<String> {
    let sql = format!("SELECT coll FROM pragma_index_xinfo({}) WHERE seqno = 0", text(index));
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(memory).await.ok().flatten()
}

/// A unique index, with what `REPLACE` needs to be foreseen.
pub struct UniqueIndex {
    pub unique: Unique,
    /// `pk`, `u` or `c` (made by `CREATE INDEX`).
    pub origin: String,
    /// Collation of each part.
    pub collations: Vec<String>,
    /// Empty where the table's own definition made it.
    pub ddl: String,
}

/// All unique indexes, and whether the primary key is the rowid itself (which has none).
pub async fn uniques(tx: &mut Tx, file: &File, entry: &Entry, columns: &[Column]) -> Result<(Vec<UniqueIndex>, bool)> {
    let sql = format!(
        "SELECT l.name, l.origin, l.partial, x.name, x.coll, coalesce(m.sql, '') FROM pragma_index_list({}) AS l \
         JOIN pragma_index_xinfo(l.name) AS x LEFT JOIN sqlite_master AS m ON m.type = 'index' AND m.name = l.name \
         WHERE l.\"unique\" = 1 AND x.key = 1 ORDER BY l.seq, x.seqno",
        text(&entry.name)
    );
    let mut found: Vec<UniqueIndex> = Vec::new();
    for row in &rows(tx, file, sql).await? {
        let name: String = get(row, 0)?;
        if found.last().is_none_or(|u| u.unique.name != name) {
            let unique = Unique { name, columns: vec![], partial: get(row, 2)? };
            found.push(UniqueIndex { unique, origin: get(row, 1)?, collations: vec![], ddl: get(row, 5)? });
        }
        let Some(last) = found.last_mut() else { continue };
        let (part, collation): (Option<String>, String) = (get(row, 3)?, get(row, 4)?);
        let own = part.as_ref().and_then(|p| columns.iter().find(|c| c.name == *p)).map(|c| c.collation.as_deref());
        let same = own.is_some_and(|own| own.unwrap_or("\"BINARY\"").eq_ignore_ascii_case(&table(&collation)));
        // An index that compares otherwise than its columns do, or that is over an expression, is no key.
        last.unique.partial |= !same;
        last.unique.columns.push(part.unwrap_or_default());
        last.collations.push(collation);
    }
    let has_key = "SELECT 1 FROM pragma_table_xinfo({}) WHERE pk > 0 LIMIT 1".replace("{}", &text(&entry.name));
    let keyed = !rows(tx, file, has_key).await?.is_empty();
    let is_rowid = keyed && !entry.without_rowid && found.iter().all(|u| u.origin != "pk");
    Ok((found, is_rowid))
}

async fn foreign_keys(tx: &mut Tx, file: &File, entry: &Entry) -> Result<Vec<ForeignKey>> {
    let sql = format!(
        "SELECT f.id, f.\"table\", f.\"from\", coalesce(f.\"to\", (SELECT p.name FROM pragma_table_info(f.\"table\") \
         AS p WHERE p.pk = f.seq + 1), ''), f.on_delete, f.on_update FROM pragma_foreign_key_list({}) AS f \
         ORDER BY f.id, f.seq",
        text(&entry.name)
    );
    let mut found: HashMap<i64, ForeignKey> = HashMap::new();
    for row in &rows(tx, file, sql).await? {
        let (id, parent, from, to): (i64, String, String, String) =
            (get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?);
        let (on_delete, on_update): (String, String) = (get(row, 4)?, get(row, 5)?);
        let acts = |what: &str| what.starts_with("CASCADE") || what.starts_with("SET");
        let key = found.entry(id).or_insert_with(|| ForeignKey {
            name: format!("foreign key {id} to {parent}"),
            columns: vec![],
            references: TableName { schema: None, name: parent },
            referenced_columns: vec![],
            on_delete_cascades: acts(&on_delete) || acts(&on_update),
            deferrable: true,
        });
        key.columns.push(from);
        key.referenced_columns.push(to);
    }
    let mut keys: Vec<_> = found.into_iter().collect();
    keys.sort_by_key(|(id, _)| *id);
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// Rows are counted, since SQLite keeps no number of them; bytes are guessed from the first ones.
pub async fn size(file: &File, name: &TableName) -> Result<TableSize> {
    let mut tx = file.begin(Purpose::Read).await?;
    let Some(entry) = entry(&mut tx, file, name).await? else { return Ok(TableSize::default()) };
    let (columns, _) = columns(&mut tx, file, &entry).await?;
    let count = format!("SELECT count(*) FROM {}", table(&entry.name));
    let count: i64 = match rows(&mut tx, file, count).await?.first() {
        Some(row) => get(row, 0)?,
        None => 0,
    };
    let length = columns.iter().map(|c| format!("coalesce(octet_length({}), 0) + 2", column(&c.name)));
    let length = length.collect::<Vec<_>>().join(" + ");
    let sample = format!(
        "SELECT CAST(coalesce(avg(n), 0) AS INTEGER) FROM (SELECT {length} AS n FROM {} LIMIT {SAMPLE_ROWS})",
        table(&entry.name)
    );
    let average: i64 = match rows(&mut tx, file, sample).await?.first() {
        Some(row) => get(row, 0)?,
        None => 0,
    };
    let unsigned = |n: i64| u64::try_from(n).unwrap_or_default();
    Ok(TableSize { rows: unsigned(count), bytes: unsigned(count) * unsigned(average) })
}
